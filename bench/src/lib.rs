//! Measures kubewright's own code: on many hosts, on large snapshots, on nodes that are emptied. What needs a whole lab is measured by `xtask`.

pub mod drain;
pub mod etcd;
pub mod fanout;
pub mod memory;
mod server;
pub mod verify;
