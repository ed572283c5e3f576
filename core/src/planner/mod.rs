//! Spec and facts in, plan out. Each intent is one file that reads as a story.

mod apply;
mod bootstrap;
mod converge;
mod difference;
mod drain;
pub mod etcd;
mod join;
mod maintain;
pub mod members;
mod preflight;
mod remove;
mod reset;
mod steps;
mod story;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::apply::apply;
use self::reset::reset;
use crate::facts::Facts;
use crate::finding::Finding;
use crate::ids::{HostName, OperationId};
use crate::marks::NodeMarks;
use crate::plan::{FileSet, Plan, Preparation, lint};
use crate::spec::Spec;

pub use drain::{Choices, NodeInput, cordon, drain, foresee, uncordon};
pub use maintain::{Maintenance, Script, Work, maintain};
pub use remove::{Removal, remove};
pub use reset::Reset;

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
    /// By path, every file whose text follows from the spec alone.
    pub files: BTreeMap<String, DesiredFile>,
    /// Labels and taints of its node.
    pub marks: NodeMarks,
}

/// A file as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredFile {
    /// SHA-256 in hex. Several where more than one rendering is right (the first etcd manifest says `new`, a later one
    /// `existing`).
    pub digests: Vec<String>,
    /// The files it is placed with on a node that runs; `None` where a running node needs more than a file for it.
    pub refreshed_with: Option<FileSet>,
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

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Make reality what the spec says; `only` these of its hosts, where some were named.
    Apply {
        /// Their names.
        only: Option<Vec<HostName>>,
    },
    /// Take hosts apart.
    Reset(Reset),
}

/// Plans what was asked for.
pub fn plan(input: Input<'_>, request: &Request) -> Outcome {
    match request {
        Request::Apply { only } => apply(input, only.as_deref()),
        Request::Reset(wanted) => reset(input, wanted),
    }
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

impl Outcome {
    /// The plan, unless it contradicts itself: then it is not run, and what is wrong in it is told.
    fn checked(plan: Plan) -> Self {
        let contradictions = lint(&plan);
        if contradictions.is_empty() { Self::Plan(Box::new(plan)) } else { Self::Blocked { findings: contradictions } }
    }
}
