//! Measures kubewright's own code: on many hosts, and on large snapshots. What needs a whole lab is measured by `xtask`.

pub mod etcd;
pub mod fanout;
pub mod memory;
mod server;
pub mod verify;
