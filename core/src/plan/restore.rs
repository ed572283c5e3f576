//! What is done on the hosts of a control plane when all of etcd goes back to a snapshot, or from it to what it had before.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Phase;
use crate::ids::{HostName, OperationId};

/// One part of it. A restore is known by the operation that made it: data that is put aside carries its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "part", rename_all = "camelCase")]
pub enum RestorePart {
    /// Bring the snapshot to the host and restore it beside the data that is in use, with the `etcdutl` of its etcd's image.
    Prepare(Restored),
    /// Stop the kubelet, take the static pods' manifests out of its sight, end scheduler, controller-manager, API server and etcd.
    Stop,
    /// Exchange the data: what was in use is kept beside its place.
    #[serde(rename_all = "camelCase")]
    Exchange {
        /// Whose restored or kept data comes in.
        of: OperationId,
        /// Which way.
        way: Exchange,
    },
    /// Bring back etcd's manifest and start the kubelet: only etcd runs then. Waits for its majority.
    StartEtcd,
    /// Prove that etcd has exactly these members, that they are well, hold the same, and that no alarm is raised.
    #[serde(rename_all = "camelCase")]
    Prove {
        /// Their hosts.
        members: Vec<HostName>,
        /// The least revision that they must have.
        least_revision: i64,
    },
    /// Bring back the API server's manifest and wait until it is ready.
    StartServer,
    /// Start the kubelet again, and end the containers of kube-proxy and the network add-on: they have seen another cluster.
    Refresh,
    /// Wait until the kubelets of these nodes have renewed their leases.
    Leases {
        /// Which nodes.
        nodes: Vec<HostName>,
    },
    /// Bring back the manifests of controller-manager and scheduler and wait until they are healthy.
    StartControllers,
    /// Delete what a restore kept beside etcd's data.
    Finalize {
        /// Which restore.
        of: OperationId,
    },
}

/// How data is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Exchange {
    /// The restored data comes in.
    Forward,
    /// The data from before comes back.
    Back,
}

/// What is restored. The same on every member, or they would not be one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// Where the snapshot is read from, as seen from the operator's machine.
    pub snapshot: String,
    /// SHA-256 of the snapshot, unpacked, in hex.
    pub sha256: String,
    /// Drawn for this restore: who still has the old data can never become a member (etcd.md §4).
    pub initial_cluster_token: String,
    /// Peer URL by host.
    pub members: BTreeMap<HostName, String>,
    /// By how much the revision grows, beyond everything that a client may have seen.
    pub bump: u64,
}

impl RestorePart {
    /// The verb that ends the step's id.
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Prepare(_) => "restore",
            Self::Stop => "stop",
            Self::Exchange { .. } => "exchange",
            Self::StartEtcd => "etcd",
            Self::Prove { .. } => "agree",
            Self::StartServer => "server",
            Self::Refresh => "refresh",
            Self::Leases { .. } => "leases",
            Self::StartControllers => "controllers",
            Self::Finalize { .. } => "finalize",
        }
    }

    /// The part of the story it belongs to.
    pub fn phase(&self) -> Phase {
        match self {
            Self::Prepare(_) => Phase::Stage,
            Self::Stop | Self::Exchange { .. } | Self::Finalize { .. } => Phase::Maintain,
            Self::StartEtcd | Self::StartServer => Phase::Start,
            Self::Prove { .. } => Phase::Start,
            Self::Refresh | Self::Leases { .. } | Self::StartControllers => Phase::Prove,
        }
    }

    /// About how long it takes, in seconds, on an idle machine.
    pub fn about_seconds(&self) -> u32 {
        match self {
            Self::Prepare(_) | Self::Exchange { .. } | Self::Finalize { .. } | Self::Prove { .. } => 1,
            Self::Stop | Self::StartControllers => 5,
            Self::StartEtcd | Self::StartServer | Self::Leases { .. } => 6,
            Self::Refresh => 2,
        }
    }
}
