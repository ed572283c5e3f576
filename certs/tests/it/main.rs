//! Tests of the PKI library through its public face: one binary, one module per question.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

mod cluster;
mod dump;
mod keys;
mod names;
mod openssl;
mod parity;
mod samples;
