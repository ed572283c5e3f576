//! Hosts over real ssh, and what is built on them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, and `unwrap` says so in the fewest words")]

mod facts;
mod local;
pub mod login;
mod ssh;
pub mod sshd;
