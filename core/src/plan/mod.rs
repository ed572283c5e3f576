//! The plan: everything that matters for safety, decided and written down before anything is done.

mod kind;
mod lint;
mod order;
mod restore;
mod turns;

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::facts::etcd::EtcdFacts;
use crate::facts::{ClusterFacts, Facts};
use crate::finding::Finding;
use crate::guard::Guard;
use crate::ids::{HostName, OperationId, StepId};
use crate::intent::Intent;
use crate::spec::Spec;

pub use kind::{
    Artefact, ArtefactKind, ClusterState, EtcdStart, FileSet, Image, KeySource, NO_DEADLINE, ObjectGroup, Phase,
    Preparation, Probe, StepKind, Undo,
};
pub use lint::lint;
pub use order::{Cycle, waves};
pub use restore::{Exchange, RestorePart, Restored};
pub use turns::{Turn, beside, emptied_for, turns};

/// Format of `plan.json`. A reader refuses a higher one; nothing older exists.
pub const FORMAT: u32 = 1;

/// What will be done, by whom to what, in which order and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// Format of the plan.
    #[schemars(extend("const" = FORMAT))]
    pub format: u32,
    /// Name of the run.
    pub operation: OperationId,
    /// Version of the kubewright that planned.
    pub tool_version: String,
    /// What was asked.
    pub intent: Intent,
    /// The spec it serves, with everything that it left to defaults: a plan is complete without the user's file.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub spec: Spec,
    /// Control planes that carry the run's lock and the journal's mirror: those that there will be at a bootstrap,
    /// later those that there are. A majority of them must agree, so hosts that only join have no voice.
    pub keepers: Vec<HostName>,
    /// What the planner read and relied on.
    pub assumptions: Vec<Assumption>,
    /// What the user should know; none of them blocks, or there would be no plan.
    pub findings: Vec<Finding>,
    /// The steps, each after all that it waits for.
    pub steps: Vec<Step>,
}

/// A fact that made the plan legal. A plan whose assumption no longer holds is refused, naming it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Assumption {
    /// Such as `hosts.cp1.machineId`.
    pub path: String,
    /// The value it had; `absent` where there was none.
    pub value: String,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Stable: position, target, verb.
    pub id: StepId,
    /// Where it happens.
    pub target: Target,
    /// What is done.
    pub kind: StepKind,
    /// Steps that must have succeeded.
    pub after: Vec<StepId>,
    /// Checked again on fresh facts just before the step.
    pub guards: Vec<Guard>,
    /// How to learn whether a step in doubt was done.
    pub probe: Probe,
    /// How to take it back.
    pub undo: Undo,
    /// After so many seconds without an end it has failed.
    pub deadline_seconds: u32,
    /// One sentence for the reader of the plan.
    pub why: String,
}

/// Where a step happens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// On the operator's machine.
    Here,
    /// On one host.
    Host(HostName),
    /// In the cluster, through its API.
    Cluster,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Here => "here",
            Self::Host(host) => host.as_str(),
            Self::Cluster => "cluster",
        })
    }
}

impl Plan {
    /// The step of that id.
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps.iter().find(|step| &step.id == id)
    }
}

impl Plan {
    /// The spec as it is once the plan is done: without who leaves.
    pub fn remaining(&self) -> Spec {
        let mut spec = self.spec.clone();
        if let Intent::RemoveNode { node } = &self.intent {
            spec.hosts.retain(|host| &host.name != node);
        }
        spec
    }
}

/// SHA-256 over the bytes of `plan.json` as they stand on disk, in hex: what the journal's first record binds a run to.
/// Over bytes, so that another version's way of writing JSON changes nothing.
pub fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The assumptions of a plan that no longer hold, each as a sentence.
pub fn moved(plan: &Plan, facts: &Facts) -> Vec<String> {
    let hosts = plan.spec.hosts.iter().flat_map(|host| crate::facts::assumed_of(&host.name, facts));
    let members = facts.etcd.known().into_iter().flat_map(EtcdFacts::assumed);
    let versions = facts.cluster.known().into_iter().flat_map(ClusterFacts::assumed);
    let now: BTreeMap<String, String> = hosts.chain(members).chain(versions).collect();
    plan.assumptions
        .iter()
        .filter_map(|assumed| {
            let value = now.get(&assumed.path).map_or("absent", String::as_str);
            (value != assumed.value)
                .then(|| format!("{} was {} when planned and is {value} now", assumed.path, assumed.value))
        })
        .collect()
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
