//! What a cluster's API says of its nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::HostName;
use crate::marks::Carried;

/// What can be seen of a cluster that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFacts {
    /// Its nodes by name.
    pub nodes: BTreeMap<HostName, NodeFacts>,
}

/// A node, as its object tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeFacts {
    /// Why it is not Ready; `None` where it is.
    pub not_ready: Option<String>,
    /// Whether new pods may be scheduled on it.
    pub schedulable: bool,
    /// From `node-role.kubernetes.io/<role>`.
    pub roles: Vec<String>,
    /// Version of its kubelet, as the kubelet writes it (`v1.35.4`).
    pub kubelet: String,
    /// Its internal addresses.
    pub addresses: Vec<String>,
    /// Such as `containerd://2.4.2`.
    pub container_runtime: String,
    /// Such as `Debian GNU/Linux 12 (bookworm)`.
    pub os_image: String,
    /// `/etc/machine-id` of the machine that registered it.
    pub machine_id: String,
    /// Its labels and taints.
    pub marks: Carried,
}

impl NodeFacts {
    /// Whether it is a control plane.
    pub fn is_control_plane(&self) -> bool {
        self.roles.iter().any(|role| role == "control-plane")
    }
}
