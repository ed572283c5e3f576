//! End to end: the real binary, real SSH, real Kubernetes, on one raised lab. `tests/run` calls this where the machine
//! can host a lab; scenarios follow one another, because they share it.

mod cluster;
mod contract;
mod converge;
mod copies;
mod drain;
mod etcd;
mod kubeadm;
mod maintain;
mod members;
mod operator;
mod pages;
mod parity;
mod preflight;
mod projection;
mod restore;
mod scenarios;
mod topology;
mod upgrade;
mod wizard;
mod workflow;
