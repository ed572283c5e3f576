//! Measures kubewright's own code on many hosts. What needs a whole lab is measured by `xtask`.

pub mod fanout;
pub mod memory;
