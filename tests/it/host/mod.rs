//! Hosts over real ssh, and what is built on them.

mod contract;
mod local;
mod login;
mod ssh;
pub mod sshd;
