//! The plan: everything that matters for safety, decided and written down before anything is done.

mod lint;
mod order;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::facts::Facts;
use crate::finding::Finding;
use crate::guard::Guard;
use crate::ids::{HostName, OperationId, StepId};
use crate::intent::Intent;
use crate::spec::Spec;

pub use lint::lint;
pub use order::{Cycle, waves};

/// Format of `plan.json`. A reader refuses a higher one; nothing older exists.
pub const FORMAT: u32 = 1;

/// What will be done, by whom to what, in which order and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// Name of the run.
    pub operation: OperationId,
    /// Version of the kubewright that planned.
    pub tool_version: String,
    /// What was asked.
    pub intent: Intent,
    /// The spec it serves: a plan is complete without the user's file.
    pub spec: Spec,
    /// What the planner read and relied on.
    pub assumptions: Vec<Assumption>,
    /// What the user should know; none of them blocks, or there would be no plan.
    pub findings: Vec<Finding>,
    /// The steps, each after all that it waits for.
    pub steps: Vec<Step>,
}

/// A fact that made the plan legal. A plan whose assumption no longer holds is refused, naming it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Assumption {
    /// Such as `hosts.cp1.machineId`.
    pub path: String,
    /// The value it had; `absent` where there was none.
    pub value: String,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

/// Everything kubewright knows how to do. Closed on purpose: an executor that met an unknown step would have to guess.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum StepKind {
    /// Make authorities, certificates, kubeconfigs and the admin's identity; keep a copy on the hosts named until
    /// their own files are the authority.
    MakeKeys {
        /// Control planes that keep the copy.
        keep_on: Vec<HostName>,
    },
    /// Packages, kernel settings, containerd, binaries, images.
    PrepareHost(Preparation),
    /// Keys, kubeconfigs, manifests and kubelet configuration of one host, all atomically.
    PlaceFiles {
        /// Name of the etcd cluster's identity; the same on every member.
        initial_cluster_token: String,
    },
    /// Start the kubelet of a control plane and wait for etcd's quorum and this node's API server.
    StartControlPlane,
    /// Apply one group of cluster objects.
    ApplyObjects {
        /// Which.
        group: ObjectGroup,
    },
    /// Start the kubelet of a worker and wait for its way to the API.
    StartWorker,
    /// Labels, taints and annotations that a kubelet may not give itself, as the spec says.
    MarkNode,
    /// Prove what was promised: nodes Ready, control-plane pods Ready, add-ons available.
    Prove {
        /// Nodes that must be Ready.
        nodes: Vec<HostName>,
    },
    /// Write each host's record, remove our copies of keys.
    Settle {
        /// Hosts that get the record.
        hosts: Vec<HostName>,
    },
}

/// What a host needs before Kubernetes starts on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preparation {
    /// Packages of the distribution.
    pub packages: Vec<String>,
    /// Kernel modules.
    pub modules: Vec<String>,
    /// Binaries, each with its digest.
    pub artefacts: Vec<Artefact>,
    /// Images, each with its digest.
    pub images: Vec<Image>,
    /// Whether swap is turned off.
    pub swap_off: bool,
}

/// A download with the digest it must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artefact {
    /// Such as `kubelet`.
    pub name: String,
    /// Where from, mirror applied.
    pub url: String,
    /// SHA-256 in hex.
    pub sha256: String,
    /// A plain file or an archive.
    pub kind: ArtefactKind,
    /// File or, for an archive, folder.
    pub destination: String,
    /// Mode of what is installed, such as `0755`.
    pub mode: String,
    /// Members of the archive to install; all where empty.
    pub members: Vec<String>,
}

/// How an artefact is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ArtefactKind {
    /// As it is.
    File,
    /// tar + gzip.
    Tgz,
}

/// A container image and the digest it must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Such as `registry.k8s.io/pause:3.10.1`.
    pub reference: String,
    /// Such as `sha256:…`; `None` where the registry did not tell, a finding then says so.
    pub digest: Option<String>,
}

/// Cluster objects that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ObjectGroup {
    /// Bindings by which nodes and the administrator may do their work.
    Rbac,
    /// kubeadm-config, kubelet-config, cluster-info.
    Configuration,
    /// kube-proxy.
    KubeProxy,
    /// CoreDNS.
    CoreDns,
    /// The network add-on.
    Network,
}

impl ObjectGroup {
    /// As it stands in step ids.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rbac => "rbac",
            Self::Configuration => "configuration",
            Self::KubeProxy => "kube-proxy",
            Self::CoreDns => "coredns",
            Self::Network => "network",
        }
    }
}

/// How to learn, without changing anything, whether a step that may have run was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// No need to ask: doing it again does no harm and ends the same.
    Repeatable,
    /// Ask the host whether everything of its preparation is in place.
    HostPrepared,
    /// Ask the host whether its control plane answers.
    ControlPlaneUp,
    /// Ask the host whether its kubelet runs and reaches the API.
    WorkerUp,
}

/// How a step is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Undo {
    /// Nothing stays behind that would matter.
    Nothing,
    /// `kubewright reset` of the host takes it back.
    ResetHost,
    /// It cannot be taken back, because …
    Impossible(String),
}

/// The part of the story a step belongs to, in the order it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Packages, containerd, binaries, images.
    Prepare,
    /// Authorities, certificates, kubeconfigs.
    Keys,
    /// Files in place, control planes up.
    Start,
    /// Cluster objects and add-ons.
    Objects,
    /// Workers in, nodes marked.
    Join,
    /// Promises checked, records written.
    Prove,
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Prepare => "prepare",
            Self::Keys => "keys",
            Self::Start => "start",
            Self::Objects => "objects",
            Self::Join => "join",
            Self::Prove => "prove",
        })
    }
}

impl StepKind {
    /// The verb that ends the step's id.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::MakeKeys { .. } => "keys",
            Self::PrepareHost(_) => "prepare",
            Self::PlaceFiles { .. } => "files",
            Self::StartControlPlane | Self::StartWorker => "start",
            Self::ApplyObjects { group } => group.name(),
            Self::MarkNode => "mark",
            Self::Prove { .. } => "prove",
            Self::Settle { .. } => "settle",
        }
    }

    /// The part of the story it belongs to.
    pub fn phase(&self) -> Phase {
        match self {
            Self::MakeKeys { .. } => Phase::Keys,
            Self::PrepareHost(_) => Phase::Prepare,
            Self::PlaceFiles { .. } | Self::StartControlPlane => Phase::Start,
            Self::ApplyObjects { .. } => Phase::Objects,
            Self::StartWorker | Self::MarkNode => Phase::Join,
            Self::Prove { .. } | Self::Settle { .. } => Phase::Prove,
        }
    }
}

impl Plan {
    /// The step of that id.
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps.iter().find(|step| &step.id == id)
    }
}

/// SHA-256 over the bytes of `plan.json` as they stand on disk, in hex: what the journal's first record binds a run to.
/// Over bytes, so that another version's way of writing JSON changes nothing.
pub fn digest_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The assumptions of a plan that no longer hold, each as a sentence.
pub fn moved(plan: &Plan, facts: &Facts) -> Vec<String> {
    let now: BTreeMap<String, String> =
        plan.spec.hosts.iter().flat_map(|host| crate::facts::assumed_of(&host.name, facts)).collect();
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
