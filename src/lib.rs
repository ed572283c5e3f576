//! kubewright: builds Kubernetes clusters over SSH. `main.rs` is the program, this is its parts, so that tests can
//! take them one by one. ARCHITECTURE.md says who may use whom.

pub mod backup;
pub mod cli;
pub mod digests;
pub mod error;
pub mod etcd;
pub mod exec;
pub mod facts;
pub mod host;
pub mod kube;
pub mod playbooks;
pub mod ports;
pub mod render;
pub mod report;
pub mod store;
pub mod ui;
