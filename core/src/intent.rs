//! What the user asked for now, once arguments are understood.

use crate::etcd::schedule::Schedule;
use crate::ids::{HostName, OperationId};
use crate::version::Version;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A request to the planner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Intent {
    /// Make reality what the spec says, starting from hosts without Kubernetes.
    Bootstrap,
    /// Make reality what the spec says, starting from a cluster that stands.
    Converge,
    /// Take hosts apart.
    Reset {
        /// Which; all of the spec's where the cluster goes as a whole.
        hosts: Vec<HostName>,
    },
    /// Take a node out of the cluster, its host apart.
    RemoveNode {
        /// Which.
        node: HostName,
    },
    /// Keep new pods away from a node.
    Cordon {
        /// Which.
        node: HostName,
    },
    /// Let pods come to a node again.
    Uncordon {
        /// Which.
        node: HostName,
    },
    /// Move a node's pods away.
    Drain {
        /// Which.
        node: HostName,
    },
    /// Work on nodes while their pods are elsewhere.
    Maintain {
        /// Which, in the order of their turns.
        nodes: Vec<HostName>,
        /// What is done on each, in a few words: `OS packages, reboot`.
        work: String,
    },
    /// Go over to another version of Kubernetes, one node after another.
    Upgrade {
        /// What the oldest API server runs.
        from: Version,
        /// What all are to run.
        to: Version,
    },
    /// Work on etcd; who is a member stays.
    MaintainEtcd {
        /// What.
        work: EtcdWork,
    },
    /// Change who is a member of etcd.
    ChangeEtcd {
        /// How.
        change: MemberWork,
    },
    /// Have the hosts take copies of etcd by themselves, or stop it.
    ScheduleCopies {
        /// When, and what becomes of them; none where they are to stop.
        schedule: Option<Schedule>,
    },
    /// Have all of etcd go back to a snapshot, take that back, or make it final.
    RestoreEtcd {
        /// Which of these.
        work: RestoreWork,
    },
}

/// What becomes of a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum RestoreWork {
    /// It is made.
    Make {
        /// The snapshot, as it was named.
        snapshot: String,
    },
    /// It is taken back.
    Undo {
        /// The operation that made it.
        of: OperationId,
    },
    /// What was kept for taking it back is deleted.
    Finalize {
        /// The operation that made it.
        of: OperationId,
    },
}

/// A change of etcd's members that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum MemberWork {
    /// Take the member of a host out, and bring it back as a new one that gets its data from the others.
    Replace {
        /// Which host.
        host: HostName,
    },
    /// Bring a member to a host that has none.
    Add {
        /// Which host.
        host: HostName,
    },
    /// Take a member out.
    Remove {
        /// Its host, its name, or its identity in hexadecimal digits.
        member: String,
    },
}

impl MemberWork {
    /// As it is typed behind `kubewright etcd member`.
    pub fn words(&self) -> String {
        match self {
            Self::Replace { host } => format!("replace {host}"),
            Self::Add { host } => format!("add {host}"),
            Self::Remove { member } => format!("remove {member}"),
        }
    }
}

/// Work on etcd that changes none of its members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum EtcdWork {
    /// Let another member lead.
    MoveLeader {
        /// On which host; whoever is best where none is named.
        to: Option<HostName>,
    },
    /// Give what is free in databases back to the disks.
    Defragment {
        /// Of the members on these hosts; of all where none is named.
        hosts: Vec<HostName>,
    },
    /// Restart members.
    Restart {
        /// Those on these hosts; all where none is named.
        hosts: Vec<HostName>,
    },
    /// Forget all history but the newest.
    Compact,
    /// Take alarms back whose cause is gone.
    Disarm,
}

impl Intent {
    /// The node that it is about, where it is about one.
    pub fn node(&self) -> Option<&HostName> {
        match self {
            Self::Maintain { nodes, .. } => match nodes.as_slice() {
                [node] => Some(node),
                _ => None,
            },
            Self::Bootstrap | Self::Converge | Self::Reset { .. } | Self::Upgrade { .. } => None,
            Self::MaintainEtcd { .. } | Self::ChangeEtcd { .. } | Self::ScheduleCopies { .. } => None,
            Self::RestoreEtcd { .. } => None,
            Self::RemoveNode { node } | Self::Cordon { node } | Self::Uncordon { node } | Self::Drain { node } => {
                Some(node)
            }
        }
    }
}
