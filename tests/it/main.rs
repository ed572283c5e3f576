//! The integration tests: one binary, a module per subject.

mod driver;
mod host;
mod kube_api;
