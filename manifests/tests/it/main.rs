//! Tests of the rendered text: golden files, and comparison with what the real kubeadm wrote.
#![allow(clippy::unwrap_used)]

mod flannel;
mod golden;
mod haproxy;
mod invariants;
mod parity;
mod recorded;
mod specs;
