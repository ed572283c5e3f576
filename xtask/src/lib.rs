//! Developer tasks, as a library for tests and benches.
//!
//! * [`artefact`] obtains everything that a cluster needs and lays it out under its official addresses;
//! * [`lab`] raises hosts that look like real machines, with that mirror and registry beside them;
//! * [`bench`] measures, and sums up what others measured;
//! * [`cluster`] has kubewright build the example's cluster on a lab, [`conformance`] runs Kubernetes' own tests on it;
//! * [`loopback`] runs a control plane's programs without a lab;
//! * [`kubeadm`] runs the real kubeadm on the lab's hosts;
//! * [`flags`] records what the programs of each Kubernetes release take;
//! * [`golden`] makes the snapshots that the tests of `snapshot/` read;
//! * [`parity`] tells how ours differs from kubeadm's, and whether that is accepted.
//!
//! The first two keep what they make in one cache outside the checkout, see [`cache::Cache`].

pub mod artefact;
pub mod bench;
pub mod cache;
pub mod cluster;
pub mod command;
pub mod conformance;
pub mod demo;
pub mod flags;
pub mod golden;
pub mod kubeadm;
pub mod lab;
pub mod loopback;
pub mod parity;
pub mod progress;
