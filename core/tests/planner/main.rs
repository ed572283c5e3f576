//! Planners on the simulator: any order a plan allows, crashes anywhere, every prefix.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bootstrap;
mod converge;
mod etcd;
mod maintain;
mod members;
mod remove;
mod reset;
mod restore;
mod schedule;
mod schema;
mod setting;
mod turns;
mod upgrade;
mod upgrade_findings;
