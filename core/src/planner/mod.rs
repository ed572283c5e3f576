//! Spec and facts in, plan out. Each intent is one file that reads as a story.

mod bootstrap;
mod preflight;
mod story;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::Facts;
use crate::finding::Finding;
use crate::ids::{HostName, OperationId};
use crate::plan::{Plan, Preparation};
use crate::spec::Spec;

pub use bootstrap::bootstrap;

/// What each host should have, rendered from the spec outside of this crate (`manifests` knows the texts; the
/// planner only compares digests).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Desired {
    /// By host.
    pub hosts: BTreeMap<HostName, DesiredHost>,
}

/// What one host should have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredHost {
    /// What it needs before Kubernetes starts.
    pub preparation: Preparation,
    /// SHA-256 in hex by path, for every file whose text follows from the spec alone. Several where more than one
    /// rendering is right (the first etcd manifest says `new`, a later one `existing`).
    pub files: BTreeMap<String, Vec<String>>,
}

/// What the caller drew at random for this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the run.
    pub operation: OperationId,
    /// Name of the etcd cluster's identity. A fresh one keeps members of an older cluster out (etcd.md §4).
    pub initial_cluster_token: String,
}

/// Everything a planner may look at.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// What is wanted.
    pub spec: &'a Spec,
    /// What was seen.
    pub facts: &'a Facts,
    /// What the spec comes to on each host.
    pub desired: &'a Desired,
    /// What was found while reading the spec and rendering it.
    pub findings: &'a [Finding],
    /// Drawn at random by the caller.
    pub identity: &'a Identity,
    /// Version of this kubewright.
    pub tool_version: &'a str,
}

/// What planning came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Reality is as the spec says.
    Nothing {
        /// What to tell all the same.
        findings: Vec<Finding>,
    },
    /// Something has to be mended first.
    Blocked {
        /// Among them at least one that blocks.
        findings: Vec<Finding>,
    },
    /// There is something to do.
    Plan(Box<Plan>),
}
