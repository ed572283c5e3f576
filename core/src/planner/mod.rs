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
pub mod restore;
mod schedule;
mod steps;
mod story;
mod turn;
mod upgrade;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::apply::apply;
use self::reset::reset;
use self::story::Story;
use crate::facts::{Facts, HostFacts};
use crate::finding::{Finding, Severity, worst};
use crate::ids::{HostName, OperationId};
use crate::intent::Intent;
use crate::marks::NodeMarks;
use crate::plan::{Artefact, Assumption, FORMAT, FileSet, Plan, Preparation, lint};
use crate::spec::Spec;

pub use drain::{Choices, NodeInput, cordon, drain, foresee, uncordon};
pub use maintain::{Script, Work, maintain};
pub use remove::{Removal, remove};
pub use reset::Reset;
pub use schedule::{schedule, unschedule};
pub use turn::Nodes;
pub use upgrade::{Hop, upgrade};

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

impl DesiredHost {
    /// Files that a host does not have, or has otherwise; all of them where nobody could see.
    fn other_files<'s>(&'s self, seen: &'s HostFacts) -> impl Iterator<Item = (&'s String, &'s DesiredFile)> {
        let has = |path: &str| seen.files.known().and_then(|files| files.get(path));
        self.files.iter().filter(move |(path, file)| has(path).is_none_or(|digest| !file.digests.contains(digest)))
    }

    /// Programs that a host does not run as they should be; all of them where nobody could see.
    fn other_artefacts<'s>(&'s self, seen: &'s HostFacts) -> impl Iterator<Item = &'s Artefact> {
        let runs = |name: &str| seen.artefacts.known().and_then(|artefacts| artefacts.get(name));
        self.preparation.artefacts.iter().filter(move |wanted| runs(&wanted.name) != Some(&wanted.sha256))
    }
}

/// A file as it should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DesiredFile {
    /// SHA-256 in hex. Several where more than one rendering is right (the first etcd manifest says `new`, a later one
    /// `existing`).
    pub digests: Vec<String>,
    /// Whether it is put in place while the host is prepared, before anything of Kubernetes.
    #[serde(default)]
    pub preparation: bool,
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

impl Input<'_> {
    /// The plan of a story.
    fn plan(
        self,
        intent: Intent,
        keepers: Vec<HostName>,
        assumptions: Vec<Assumption>,
        findings: Vec<Finding>,
        story: Story,
    ) -> Plan {
        Plan {
            format: FORMAT,
            operation: self.identity.operation.clone(),
            tool_version: self.tool_version.to_owned(),
            intent,
            spec: self.spec.clone(),
            keepers,
            assumptions,
            findings,
            steps: story.steps(),
        }
    }

    /// The control planes that carry the lock of a run on a cluster that stands.
    fn keepers(self) -> Vec<HostName> {
        self.facts.keepers(self.spec).into_iter().map(|host| host.name.clone()).collect()
    }
}

impl Outcome {
    /// How planning for a cluster that stands ends: blocked by the worst that was found, with nothing where there is no step, else with
    /// the plan.
    fn of(
        input: Input<'_>,
        intent: Intent,
        assumptions: Vec<Assumption>,
        mut findings: Vec<Finding>,
        story: Story,
    ) -> Self {
        findings.sort();
        findings.dedup();
        if worst(&findings) == Some(Severity::Blocks) {
            return Self::Blocked { findings };
        }
        if story.is_empty() {
            return Self::Nothing { findings };
        }
        Self::checked(input.plan(intent, input.keepers(), assumptions, findings, story))
    }

    /// The plan, unless it contradicts itself: then it is not run, and what is wrong in it is told.
    fn checked(plan: Plan) -> Self {
        let contradictions = lint(&plan);
        if contradictions.is_empty() { Self::Plan(Box::new(plan)) } else { Self::Blocked { findings: contradictions } }
    }
}
