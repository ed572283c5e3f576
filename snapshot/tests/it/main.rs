//! The reader against files of real etcd, files made for one fault each, and files damaged at random.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

mod builder;
mod crafted;
mod damage;
mod differences;
mod everything;
mod fuzzing;
mod golden;
mod listing;
