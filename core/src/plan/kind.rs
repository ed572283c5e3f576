//! What a step can be: everything kubewright knows how to do, how to learn whether it was done, how to take it back.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::restore::RestorePart;
use crate::drain::Policy;
use crate::etcd::schedule::Schedule;
use crate::facts::etcd::MemberId;
use crate::ids::HostName;
use crate::spec::{Role, Spec};
use crate::version::Version;

/// Everything kubewright knows how to do. Closed on purpose: an executor that met an unknown step would have to guess.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum StepKind {
    /// Make certificates, kubeconfigs and, for a new cluster, its authorities; keep a copy on the hosts named until the
    /// files in place are the authority.
    #[serde(rename_all = "camelCase")]
    MakeKeys {
        /// Where the authorities come from.
        authorities: KeySource,
        /// Hosts that get keys.
        hosts: Vec<HostName>,
        /// Control planes that keep the copy.
        keep_on: Vec<HostName>,
    },
    /// Packages, kernel settings, containerd, binaries, images.
    PrepareHost(Preparation),
    /// Programs and images of a version that a host goes over to later; what runs stays what it is.
    Stage(Preparation),
    /// Go over to another version: the kubelet and the static pods stop, their files and programs change, the kubelet starts
    /// again, and what runs is proved. Where that does not succeed, the host goes back to what it ran before, but never to
    /// an older etcd than one that has served, and the step fails.
    #[serde(rename_all = "camelCase")]
    SwapVersion {
        /// Which.
        version: Version,
        /// Its programs, staged before.
        programs: Vec<Artefact>,
        /// Whether its certificates and kubeconfigs take the place of the old ones meanwhile, made by [`StepKind::MakeKeys`]
        /// before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        renew_certificates: bool,
        /// What its etcd's manifest says of its first start, where it has one.
        etcd: EtcdStart,
        /// How long what starts may take until it serves, each way.
        serve_seconds: u32,
        /// How long the node may take then until the API calls it Ready, each way.
        ready_seconds: u32,
    },
    /// Files of one host, all atomically.
    PlaceFiles {
        /// Which of them.
        files: FileSet,
        /// How its etcd begins, where it has one.
        etcd: EtcdStart,
    },
    /// Add a learner to etcd: a member that gets the data and has no vote yet.
    #[serde(rename_all = "camelCase")]
    AddEtcdMember {
        /// Where the others will reach it.
        peer_url: String,
    },
    /// Start the kubelet of a host of whose control plane only etcd's manifest is there, and wait for that etcd.
    StartEtcdMember,
    /// Give a learner its vote, once it has caught up.
    PromoteEtcdMember,
    /// Take the member of this host out of etcd, whoever it is by then; its leadership moves away before.
    RemoveEtcdMember,
    /// Take the member of this identity out of etcd, and no other that has its place by then; its leadership moves away before.
    ForgetEtcdMember {
        /// Whom.
        member: MemberId,
    },
    /// End the etcd of this host and the static pods that cannot serve without it. Their manifests and its data are kept beside
    /// their places; everything else on the host goes on.
    SetEtcdAside {
        /// Whose etcd it is; none where the host has no member. Where it has another by then, that is left alone.
        member: Option<MemberId>,
    },
    /// Prove that etcd's members are well and hold the same.
    #[serde(rename_all = "camelCase")]
    ProveEtcd {
        /// But for these: they were ill when it was planned, and nothing here mends them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        not_waited_for: Vec<MemberId>,
    },
    /// Let the member of this host lead.
    MoveEtcdLeader,
    /// Give what is free in the database of this host's member back to the disk; its leadership moves away before. It answers nobody
    /// meanwhile.
    DefragmentEtcd,
    /// End the container of this host's etcd and wait for the kubelet's next one to be well; its leadership moves away before.
    RestartEtcdMember,
    /// Forget the history of all keys before this revision.
    CompactEtcd {
        /// The newest when it was planned.
        revision: i64,
    },
    /// Take alarms back; who raised them raises them again where their cause is still there.
    DisarmEtcd {
        /// Only those about this member: etcd keeps the alarms of who has left. All where none is named.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        of: Option<MemberId>,
    },
    /// Have a host take copies of etcd by itself: kubewright, the spec and a timer are put there.
    #[serde(rename_all = "camelCase")]
    ScheduleCopies {
        /// When, and what becomes of them.
        schedule: Schedule,
        /// Which of the hosts that do it is this, from 0: they begin one after another.
        position: usize,
        /// The text of the spec's file.
        spec: String,
    },
    /// Have a host stop it; copies stay.
    UnscheduleCopies,
    /// Take off a host what kubewright put on it; etcd's data moves aside.
    #[serde(rename_all = "camelCase")]
    ResetHost {
        /// Whether containerd, binaries and images stay for the next cluster.
        keep_prepared: bool,
        /// Whether etcd's data is deleted, because the user said so in so many words; else it is kept beside its place.
        delete_etcd_data: bool,
    },
    /// Start the kubelet of a control plane, or restart it where its files changed, and wait for etcd's quorum and this node's API server.
    StartControlPlane,
    /// Apply one group of cluster objects.
    ApplyObjects {
        /// Which.
        group: ObjectGroup,
    },
    /// Start the kubelet of a worker, or restart it where its files changed, and wait for its way to the API.
    StartWorker,
    /// Labels, taints and annotations that a kubelet may not give itself, as the spec says.
    MarkNode,
    /// Delete the object of a node that is no more.
    DeleteNode,
    /// Prove what was promised: nodes Ready, control-plane pods Ready, add-ons available.
    #[serde(rename_all = "camelCase")]
    Prove {
        /// Nodes that must be Ready.
        nodes: Vec<HostName>,
        /// Whether the add-ons must be available everywhere, too: other nodes of a cluster that stands may be down for
        /// reasons of their own.
        add_ons: bool,
    },
    /// Write each host's record, remove our copies of keys.
    #[serde(rename_all = "camelCase")]
    Settle {
        /// Hosts that get the record.
        hosts: Vec<HostName>,
        /// Control planes that kept a copy of the keys.
        copies_on: Vec<HostName>,
    },
    /// Keep new pods away from a node. A cordon that is there already stays whose it is.
    Cordon,
    /// Move a node's pods away, cordoning it first where it is not. Where it cannot be done to its end, a cordon of this
    /// operation is taken back by the step itself.
    #[serde(rename_all = "camelCase")]
    Drain {
        /// What it may do.
        policy: Policy,
        /// Pods that were to move when it was planned; nothing is decided on it.
        pods: u32,
        /// How long it usually takes by what was seen then; nothing is decided on it.
        about_seconds: u32,
    },
    /// Let pods come to a node again.
    Uncordon {
        /// Even where the cordon is none of kubewright's.
        foreign: bool,
    },
    /// Write down on the host of a node, before its pods move, whose they are and which of these controllers have all
    /// the pods they want: what was whole before has to be whole after. What stands there already stays.
    NoteWorkloads,
    /// Let another member of etcd lead, where this host's does.
    HandOverEtcdLead,
    /// Wait until no volume is attached to a node but those of pods that stay there.
    AwaitDetached,
    /// Bring the distribution's packages up to date.
    UpdatePackages {
        /// Packages that stay as they are, where they are installed; those that own a file of ours do so anyway.
        held: Vec<String>,
    },
    /// Run a script of the user's as root.
    RunScript {
        /// What it is called in messages.
        name: String,
        /// The whole of it; its first line may name its interpreter.
        text: String,
    },
    /// Restart the machine, and wait until it answers with another boot id than the one written down before.
    Reboot,
    /// Prove that a node is back: its kubelet reports the boot that runs, renews its lease and says Ready; the pods that stay
    /// there serve again, with containers that run.
    ProveReturned,
    /// Let pods come to a node again where this operation's own cordon keeps them away; a cordon of others stays.
    TakeBackCordon,
    /// Wait until the controllers that were whole before have all the pods they want again.
    AwaitWorkloads,
    /// A part of all of etcd going back to a snapshot, or of taking that back.
    Restore(RestorePart),
}

/// A deadline for steps that have ends of their own: what a drain waits for may be as slow as its users' pods are.
pub const NO_DEADLINE: u32 = u32::MAX;

/// Where a cluster's authorities come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum KeySource {
    /// They are made.
    New,
    /// A control plane has them; its files are the authority.
    Cluster,
}

/// Some of the files of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FileSet {
    /// Keys, kubeconfigs, manifests and kubelet configuration.
    All,
    /// As all, but of the static pods only etcd's: a kube-apiserver beside a learner could not serve, and would end
    /// again and again.
    Etcd,
    /// Of the static pods' manifests only etcd's, and nothing else: on a host that runs, whose kubelet then starts it.
    EtcdManifest,
    /// The static pods' manifests.
    StaticPods,
    /// Configuration, flags and unit of its kubelet.
    Kubelet,
    /// The proxy to the API servers on a worker: its configuration names every control plane.
    Proxy,
}

/// How a member's etcd starts when it has no data yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EtcdStart {
    /// Random per cluster, so that members of two clusters that share addresses can never mix.
    pub initial_cluster_token: String,
    /// Every member that there is when it starts, itself included: peer URL by name.
    pub members: BTreeMap<HostName, String>,
    /// Whether this start forms the cluster.
    pub state: ClusterState,
}

/// etcd's `--initial-cluster-state`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ClusterState {
    /// All members start together and form it. Only the very first manifest says so.
    #[default]
    New,
    /// It exists: a member without data must have been added first, and cannot found a second cluster by mistake.
    Existing,
}

impl EtcdStart {
    /// The first start of all members of a spec together.
    pub fn first(spec: &Spec, initial_cluster_token: &str) -> Self {
        let members = spec.with_role(Role::Etcd).map(|host| (host.name.clone(), host.etcd_peer_url()));
        Self {
            initial_cluster_token: initial_cluster_token.to_owned(),
            members: members.collect(),
            state: ClusterState::New,
        }
    }

    /// As `--initial-cluster` wants it.
    pub fn initial_cluster(&self) -> String {
        self.members.iter().map(|(name, url)| format!("{name}={url}")).collect::<Vec<_>>().join(",")
    }

    /// Reads what [`EtcdStart::initial_cluster`] writes; what is no pair is left out.
    pub fn members_of(initial_cluster: &str) -> BTreeMap<HostName, String> {
        let pairs = initial_cluster.split(',').filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, url)| (HostName::new(name), url.to_owned())).collect()
    }
}

/// What a host needs before Kubernetes starts on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// Where people and units look for it: a symbolic link to the destination, which names the version. None where the
    /// destination itself is that place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Members of the archive to install; all where empty.
    pub members: Vec<String>,
}

/// How an artefact is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ArtefactKind {
    /// As it is.
    File,
    /// tar + gzip.
    Tgz,
}

/// A container image and the digest it must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Image {
    /// Such as `registry.k8s.io/pause:3.10.1`.
    pub reference: String,
    /// Such as `sha256:…`; `None` where the registry did not tell, a finding then says so.
    pub digest: Option<String>,
}

/// Cluster objects that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// No need to ask: doing it again does no harm and ends the same.
    Repeatable,
    /// Ask the host whether everything of its preparation is in place.
    HostPrepared,
    /// Ask the host whether its etcd runs, with a vote or without.
    EtcdMemberUp,
    /// Ask the host whether its control plane answers.
    ControlPlaneUp,
    /// Ask the host whether its kubelet runs and reaches the API.
    WorkerUp,
    /// Ask what became of the earlier try's unit: a result is an answer; without one the step is done again.
    UnitEnded,
    /// Ask the host whether it runs another boot than the one that was written down.
    Rebooted,
}

/// How a step is taken back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Undo {
    /// Nothing stays behind that would matter.
    Nothing,
    /// `kubewright reset` of the host takes it back.
    ResetHost,
    /// `kubewright node uncordon` takes it back; pods that moved stay where they are.
    Uncordon,
    /// It cannot be taken back, because …
    Impossible(String),
}

/// The part of the story a step belongs to, in the order it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Programs and images of another version brought to hosts.
    Stage,
    /// Pods moved away.
    Drain,
    /// Packages, containerd, binaries, images.
    Prepare,
    /// What is done on a host while its pods are elsewhere; etcd's databases, history, alarms, leader; a member of it
    /// that is taken out.
    Maintain,
    /// Hosts that go over to another version.
    Upgrade,
    /// Authorities, certificates, kubeconfigs.
    Keys,
    /// Files in place, control planes up.
    Start,
    /// Cluster objects and add-ons.
    Objects,
    /// Workers in, nodes marked.
    Join,
    /// Hosts and members out.
    Leave,
    /// Promises checked, records written.
    Prove,
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Stage => "stage",
            Self::Drain => "drain",
            Self::Upgrade => "upgrade",
            Self::Maintain => "maintain",
            Self::Prepare => "prepare",
            Self::Keys => "keys",
            Self::Start => "start",
            Self::Objects => "objects",
            Self::Join => "join",
            Self::Leave => "leave",
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
            Self::Stage(_) => "stage",
            Self::SwapVersion { .. } => "swap",
            Self::PlaceFiles { files: FileSet::EtcdManifest, .. } => "manifest",
            Self::PlaceFiles { files: FileSet::StaticPods, .. } => "manifests",
            Self::PlaceFiles { files: FileSet::Kubelet, .. } => "kubelet",
            Self::PlaceFiles { files: FileSet::Proxy, .. } => "proxy",
            Self::PlaceFiles { .. } => "files",
            Self::StartControlPlane | Self::StartWorker => "start",
            Self::ApplyObjects { group } => group.name(),
            Self::MarkNode => "mark",
            Self::AddEtcdMember { .. } => "member",
            Self::StartEtcdMember => "etcd",
            Self::PromoteEtcdMember => "promote",
            Self::RemoveEtcdMember | Self::ForgetEtcdMember { .. } => "unmember",
            Self::SetEtcdAside { .. } => "aside",
            Self::ProveEtcd { .. } => "agree",
            Self::MoveEtcdLeader => "lead",
            Self::DefragmentEtcd => "defragment",
            Self::RestartEtcdMember => "restart",
            Self::CompactEtcd { .. } => "compact",
            Self::ScheduleCopies { .. } => "schedule",
            Self::UnscheduleCopies => "unschedule",
            Self::DisarmEtcd { .. } => "disarm",
            Self::ResetHost { .. } => "reset",
            Self::DeleteNode => "delete",
            Self::Prove { .. } => "prove",
            Self::Settle { .. } => "settle",
            Self::Cordon => "cordon",
            Self::Drain { .. } => "drain",
            Self::Uncordon { .. } | Self::TakeBackCordon => "uncordon",
            Self::NoteWorkloads => "note",
            Self::HandOverEtcdLead => "leader",
            Self::AwaitDetached => "detach",
            Self::UpdatePackages { .. } => "packages",
            Self::RunScript { .. } => "script",
            Self::Reboot => "reboot",
            Self::ProveReturned => "returned",
            Self::AwaitWorkloads => "workloads",
            Self::Restore(part) => part.verb(),
        }
    }

    /// The part of the story it belongs to.
    pub fn phase(&self) -> Phase {
        match self {
            Self::MakeKeys { .. } => Phase::Keys,
            Self::PrepareHost(_) => Phase::Prepare,
            Self::Stage(_) => Phase::Stage,
            Self::SwapVersion { .. } => Phase::Upgrade,
            Self::PlaceFiles { .. } | Self::StartControlPlane => Phase::Start,
            Self::AddEtcdMember { .. } | Self::StartEtcdMember | Self::PromoteEtcdMember => Phase::Start,
            // Whoever comes in its stead comes after.
            Self::ForgetEtcdMember { .. } | Self::SetEtcdAside { .. } => Phase::Maintain,
            Self::RemoveEtcdMember | Self::ResetHost { .. } => Phase::Leave,
            Self::MoveEtcdLeader | Self::DefragmentEtcd | Self::RestartEtcdMember => Phase::Maintain,
            Self::CompactEtcd { .. } | Self::DisarmEtcd { .. } => Phase::Maintain,
            Self::ScheduleCopies { .. } | Self::UnscheduleCopies => Phase::Maintain,
            Self::ApplyObjects { .. } => Phase::Objects,
            Self::StartWorker | Self::MarkNode | Self::DeleteNode => Phase::Join,
            Self::Prove { .. } | Self::ProveEtcd { .. } | Self::Settle { .. } => Phase::Prove,
            Self::Cordon | Self::Drain { .. } | Self::Uncordon { .. } => Phase::Drain,
            Self::NoteWorkloads | Self::AwaitDetached => Phase::Drain,
            Self::HandOverEtcdLead | Self::UpdatePackages { .. } | Self::RunScript { .. } | Self::Reboot => {
                Phase::Maintain
            }
            Self::ProveReturned | Self::TakeBackCordon | Self::AwaitWorkloads => Phase::Prove,
            Self::Restore(part) => part.phase(),
        }
    }
}
