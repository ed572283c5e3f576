//! The integration tests: one binary, a module per subject.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where")]

mod backup;
mod bad_input;
mod cli;
mod downloads;
mod drain;
mod driver;
mod etcd;
mod hands;
mod host;
mod kube_api;
mod maintain;
mod members;
mod restore;
mod s3;
mod setting;
mod static_pods;
mod swap;
mod ui;
mod web;
