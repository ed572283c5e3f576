//! What a cluster's API says of its nodes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Fact;
use crate::ids::HostName;
use crate::marks::Carried;
use crate::version::Version;

/// What can be seen of a cluster that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterFacts {
    /// Its nodes by name.
    pub nodes: BTreeMap<HostName, NodeFacts>,
    /// What its control planes run; absent where nobody asked.
    #[serde(default)]
    pub running: Fact<Running>,
}

/// Versions of what runs, by the images of the pods that say so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Running {
    /// By control plane and component, such as `kube-apiserver`; what has no version as its image's tag is left out.
    pub control_planes: BTreeMap<HostName, BTreeMap<String, Version>>,
    /// kube-proxy's DaemonSet; none where there is none.
    pub kube_proxy: Option<Version>,
}

impl Running {
    /// The oldest API server.
    pub fn oldest_server(&self) -> Option<&Version> {
        self.control_planes.values().filter_map(|components| components.get("kube-apiserver")).min()
    }
}

impl ClusterFacts {
    /// Versions of the kubelets that say one.
    pub fn kubelets(&self) -> BTreeMap<HostName, Version> {
        let version = |node: &NodeFacts| node.kubelet.parse::<Version>().ok();
        self.nodes.iter().filter_map(|(name, node)| Some((name.clone(), version(node)?))).collect()
    }

    /// What makes a plan to change versions legal, by path: which run now.
    pub fn assumed(&self) -> Vec<(String, String)> {
        let kubelets = self.nodes.iter().map(|(name, node)| (format!("cluster.{name}.kubelet"), node.kubelet.clone()));
        let running = self.running.known().into_iter().flat_map(|running| &running.control_planes);
        let components = running.flat_map(|(host, components)| {
            components.iter().map(move |(name, version)| (format!("cluster.{host}.{name}"), version.to_string()))
        });
        kubelets.chain(components).collect()
    }
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
