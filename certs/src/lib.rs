//! kubeadm's public key infrastructure as a library: it makes, reads and describes the certificates, keys and
//! kubeconfigs of a cluster in kubeadm's layout, and knows nothing of SSH, hosts or the running cluster.
//!
//! It reads no clock, no environment and no file: the moment is given, and texts come in and go out. Randomness
//! comes from aws-lc-rs.
//!
//! | module | question it answers |
//! | --- | --- |
//! | [`profile`] | what does each certificate look like? |
//! | [`key`], [`names`] | which keys and names are there, and how are they written? |
//! | [`issue`] | how is a certificate made? |
//! | [`load`] | do these texts belong together? |
//! | [`inspect`] | what does this certificate say? |
//! | [`kubeconfig`] | how is access written down? |
//! | [`cluster`] | which files does each host of a cluster get? |

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on shall say where"))]

pub mod cluster;
mod der;
mod error;
pub mod inspect;
pub mod issue;
pub mod key;
pub mod kubeconfig;
pub mod load;
pub mod names;
mod pem;
pub mod profile;

pub use error::Error;
