//! Ours against kubeadm's: what differs, and which differences are accepted.
//!
//! The tests that compare are in `manifests/tests/it`, `certs/tests/it` and, with a living cluster, `tests/lab/e2e`. All read one list,
//! `manifests/tests/kubeadm/ACCEPTED.md`.

mod accepted;
mod difference;
pub mod objects;

pub use accepted::{Accepted, Compared};
pub use difference::{Differences, differences, document_differences, text_differences};
