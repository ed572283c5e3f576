//! What a cluster must show before we go on, and whether it shows it: conditions as data, a verdict on what was seen.
//!
//! Who looks (lists, watches) is no business of this file; it only judges an [`Observation`].

mod returned;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::HostName;
use crate::maintenance::Controller;

/// Components that kubeadm's layout runs as static pods on every control plane with its own etcd.
pub const CONTROL_PLANE: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// Where static pods of the control plane live.
pub const KUBE_SYSTEM: &str = "kube-system";

/// So many complaints fit one line of progress; the rest is counted.
const SPELLED_OUT: usize = 3;

/// Something to wait for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Condition {
    /// The node has registered itself.
    NodeExists {
        /// Which.
        node: HostName,
    },
    /// All of these nodes are Ready.
    NodesReady {
        /// Which.
        nodes: Vec<HostName>,
    },
    /// On each of these nodes each of these components is Ready, as its mirror pod in `kube-system` tells.
    StaticPodsReady {
        /// Where.
        nodes: Vec<HostName>,
        /// Such as [`CONTROL_PLANE`].
        components: Vec<String>,
    },
    /// Every wanted replica of the newest template is available and no older one is left.
    DeploymentAvailable {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Its newest template is available on at least so many nodes, and on all it is meant for.
    DaemonSetRolledOut {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// How many nodes it must reach.
        nodes: u32,
    },
    /// No volume is attached to the node but those of pods that are there.
    VolumesDetached {
        /// Which.
        node: HostName,
    },
    /// The node is Ready, and its kubelet reports this very boot: what it says is no memory of an earlier one.
    NodeBooted {
        /// Which.
        node: HostName,
        /// `/proc/sys/kernel/random/boot_id` of the machine as it runs.
        boot_id: String,
    },
    /// The node is Ready, and its kubelet reports this version.
    NodeRuns {
        /// Which.
        node: HostName,
        /// Such as `v1.36.3`.
        kubelet: String,
    },
    /// Static pods of a node, each Ready with this image: what runs is what was written.
    StaticPodsRun {
        /// Which node.
        node: HostName,
        /// Images by component, such as `kube-apiserver`.
        images: BTreeMap<String, String>,
    },
    /// The node's lease was renewed: its kubelet lives.
    LeaseRenewed {
        /// Which.
        node: HostName,
        /// When it had been renewed last before, in the API's words.
        after: Option<String>,
    },
    /// Of the pods that stay on a node those serve that are named: by their DaemonSet, static ones by themselves (kind `Pod`).
    StayingPodsReady {
        /// Which node.
        node: HostName,
        /// Whose.
        pods: BTreeSet<Controller>,
    },
    /// These ReplicaSets and StatefulSets have all the pods they want, serving; one that is gone wants none.
    WorkloadsWhole {
        /// Which.
        workloads: BTreeSet<Controller>,
    },
    /// All of these.
    All {
        /// Which.
        conditions: Vec<Condition>,
    },
}

/// Whether a condition holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Met,
    /// Not yet; what is missing, in one line.
    Waiting(String),
}

/// What was seen of the cluster; only what the condition asks for needs to be filled in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// Nodes by name.
    pub nodes: BTreeMap<String, NodeState>,
    /// Pods by namespace and name.
    pub pods: BTreeMap<(String, String), PodState>,
    /// Deployments by namespace and name.
    pub deployments: BTreeMap<(String, String), DeploymentState>,
    /// DaemonSets by namespace and name.
    pub daemon_sets: BTreeMap<(String, String), DaemonSetState>,
    /// ReplicaSets and StatefulSets.
    pub workloads: BTreeMap<Controller, WorkloadState>,
    /// Attachments of volumes to nodes, by their names.
    pub attachments: BTreeMap<String, AttachmentState>,
    /// Namespace and name of the claim that each volume is bound to.
    pub claims: BTreeMap<String, (String, String)>,
    /// When each node's lease was renewed last, in the API's words.
    pub leases: BTreeMap<String, String>,
}

/// A ReplicaSet or a StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadState {
    /// Its controller has seen the newest version of it.
    pub observed: bool,
    /// Replicas wanted.
    pub wanted: u32,
    /// Replicas that serve.
    pub ready: u32,
}

/// A volume that is attached, or is being attached or detached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentState {
    /// To which node.
    pub node: String,
    /// Which volume; `None` for one that only its pod describes.
    pub volume: Option<String>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeState {
    /// Why it is not Ready, in the kubelet's words made short; `None` where it is.
    pub not_ready: Option<String>,
    /// The boot that its kubelet runs in; empty before it has reported.
    pub boot_id: String,
    /// Version of its kubelet, such as `v1.36.3`; empty before it has reported.
    pub kubelet: String,
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodState {
    /// Kind and name of its controller.
    pub owner: Option<(String, String)>,
    /// It stands for a static pod.
    pub mirror: bool,
    /// Claims that its volumes come from.
    pub claims: Vec<String>,
    /// Where it runs; `None` before it is scheduled.
    pub node: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Images that its containers are to have.
    pub images: BTreeSet<String>,
    /// Why it is not Ready; `None` where it is.
    pub not_ready: Option<String>,
}

/// A Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentState {
    /// Its controller has seen the newest version of it.
    pub observed: bool,
    /// Replicas wanted.
    pub wanted: u32,
    /// Replicas that exist, old templates included.
    pub present: u32,
    /// Replicas of the newest template.
    pub updated: u32,
    /// Replicas available.
    pub available: u32,
    /// Labels its pods carry.
    pub selector: BTreeMap<String, String>,
}

/// A DaemonSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonSetState {
    /// Its controller has seen the newest version of it.
    pub observed: bool,
    /// Nodes it is meant for.
    pub wanted: u32,
    /// Nodes that run the newest template.
    pub updated: u32,
    /// Nodes where it is available.
    pub available: u32,
    /// Labels its pods carry.
    pub selector: BTreeMap<String, String>,
}

impl Condition {
    /// All four components Ready on these control planes with stacked etcd.
    pub fn control_planes_ready(nodes: &[HostName]) -> Self {
        Self::StaticPodsReady { nodes: nodes.to_vec(), components: CONTROL_PLANE.map(str::to_owned).to_vec() }
    }

    /// What it waits for, for a message: "nodes cp1, cp2 Ready".
    pub fn wants(&self) -> String {
        match self {
            Self::NodeExists { node } => format!("node {node}"),
            Self::NodesReady { nodes } => format!("{} Ready", names(nodes)),
            Self::StaticPodsReady { nodes, components } => {
                format!("{} Ready on {}", components.join(", "), names(nodes))
            }
            Self::DeploymentAvailable { namespace, name } => format!("Deployment {namespace}/{name} available"),
            Self::DaemonSetRolledOut { namespace, name, nodes } => {
                format!("DaemonSet {namespace}/{name} on {nodes} nodes")
            }
            Self::VolumesDetached { node } => format!("volumes detached from {node}"),
            Self::NodeBooted { node, boot_id } => format!("{node} Ready in boot {boot_id}"),
            Self::NodeRuns { node, kubelet } => format!("{node} Ready with kubelet {kubelet}"),
            Self::StaticPodsRun { node, images } => {
                let components: Vec<&str> = images.keys().map(String::as_str).collect();
                format!("{} Ready on {node} with new images", components.join(", "))
            }
            Self::LeaseRenewed { node, .. } => format!("a renewed lease of {node}"),
            Self::StayingPodsReady { node, .. } => format!("Ready pods of DaemonSets and static pods on {node}"),
            Self::WorkloadsWhole { workloads } => {
                let names: Vec<String> = workloads.iter().map(ToString::to_string).collect();
                format!("{} with all pods", in_one_line(&names))
            }
            Self::All { conditions } => conditions.iter().map(Self::wants).collect::<Vec<_>>().join("; "),
        }
    }

    /// Judges what was seen.
    pub fn judge(&self, seen: &Observation) -> Verdict {
        let missing = self.missing(seen);
        if missing.is_empty() { Verdict::Met } else { Verdict::Waiting(in_one_line(&missing)) }
    }

    fn missing(&self, seen: &Observation) -> Vec<String> {
        match self {
            Self::NodeExists { node } if seen.nodes.contains_key(node.as_str()) => Vec::new(),
            Self::NodeExists { node } => vec![format!("{node} has not registered")],
            Self::NodesReady { nodes } => nodes.iter().filter_map(|node| node_complaint(node, seen)).collect(),
            Self::StaticPodsReady { nodes, components } => nodes
                .iter()
                .flat_map(|node| {
                    components.iter().filter_map(move |component| static_pod_complaint(component, node, seen))
                })
                .collect(),
            Self::DeploymentAvailable { namespace, name } => {
                deployment_complaint(namespace, name, seen).into_iter().collect()
            }
            Self::DaemonSetRolledOut { namespace, name, nodes } => {
                daemon_set_complaint(namespace, name, *nodes, seen).into_iter().collect()
            }
            Self::VolumesDetached { node } => returned::attached(node, seen),
            Self::NodeBooted { node, boot_id } => returned::boot_complaint(node, boot_id, seen).into_iter().collect(),
            Self::NodeRuns { node, kubelet } => returned::version_complaint(node, kubelet, seen).into_iter().collect(),
            Self::StaticPodsRun { node, images } => images
                .iter()
                .filter_map(|(component, image)| {
                    static_pod_complaint(component, node, seen)
                        .or_else(|| returned::image_complaint(component, node, image, seen))
                })
                .collect(),
            Self::LeaseRenewed { node, after } => {
                returned::lease_complaint(node, after.as_deref(), seen).into_iter().collect()
            }
            Self::StayingPodsReady { node, pods } => returned::staying_pods(node, pods, seen),
            Self::WorkloadsWhole { workloads } => returned::short_workloads(workloads, seen),
            Self::All { conditions } => conditions.iter().flat_map(|condition| condition.missing(seen)).collect(),
        }
    }
}

fn node_complaint(node: &HostName, seen: &Observation) -> Option<String> {
    match seen.nodes.get(node.as_str()) {
        None => Some(format!("{node} has not registered")),
        Some(NodeState { not_ready: Some(why), .. }) => Some(format!("{node} not Ready: {why}")),
        Some(NodeState { not_ready: None, .. }) => None,
    }
}

fn static_pod_complaint(component: &str, node: &HostName, seen: &Observation) -> Option<String> {
    let pod = seen.pods.get(&(KUBE_SYSTEM.to_owned(), format!("{component}-{node}")));
    match pod.filter(|pod| pod.node.as_deref() == Some(node.as_str())) {
        None => Some(format!("{component} on {node} has no mirror pod yet")),
        Some(PodState { not_ready: Some(why), .. }) => Some(format!("{component} on {node} not Ready: {why}")),
        Some(_) => None,
    }
}

fn deployment_complaint(namespace: &str, name: &str, seen: &Observation) -> Option<String> {
    let Some(state) = seen.deployments.get(&(namespace.to_owned(), name.to_owned())) else {
        return Some(format!("no Deployment {namespace}/{name} yet"));
    };
    let count = if !state.observed {
        "its controller has not seen it yet".to_owned()
    } else if state.updated < state.wanted || state.available < state.wanted {
        format!("{} of {} replicas available", state.available.min(state.updated), state.wanted)
    } else if state.present > state.updated {
        format!("{} old replicas still there", state.present - state.updated)
    } else {
        return None;
    };
    Some(format!("{name}: {count}{}", pod_complaint(namespace, &state.selector, seen)))
}

fn daemon_set_complaint(namespace: &str, name: &str, nodes: u32, seen: &Observation) -> Option<String> {
    let Some(state) = seen.daemon_sets.get(&(namespace.to_owned(), name.to_owned())) else {
        return Some(format!("no DaemonSet {namespace}/{name} yet"));
    };
    let wanted = state.wanted.max(nodes);
    if state.observed && state.updated >= wanted && state.available >= wanted {
        return None;
    }
    let count = if state.observed {
        format!("available on {} of {wanted} nodes", state.available.min(state.updated))
    } else {
        "its controller has not seen it yet".to_owned()
    };
    Some(format!("{name}: {count}{}", pod_complaint(namespace, &state.selector, seen)))
}

/// The first reason a pod of theirs gives, in brackets, so that "0 of 2 available" says why.
fn pod_complaint(namespace: &str, selector: &BTreeMap<String, String>, seen: &Observation) -> String {
    if selector.is_empty() {
        return String::new();
    }
    seen.pods
        .iter()
        .filter(|((of, _), pod)| {
            of == namespace && selector.iter().all(|(key, value)| pod.labels.get(key) == Some(value))
        })
        .find_map(|((_, name), pod)| {
            let place = pod.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
            pod.not_ready.as_ref().map(|why| format!(" ({name}{place}: {why})"))
        })
        .unwrap_or_default()
}

fn in_one_line(missing: &[String]) -> String {
    let mut line = missing.iter().take(SPELLED_OUT).map(String::as_str).collect::<Vec<_>>().join("; ");
    if missing.len() > SPELLED_OUT {
        line.push_str(&format!("; and {} more", missing.len() - SPELLED_OUT));
    }
    line
}

fn names(nodes: &[HostName]) -> String {
    nodes.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ")
}

/// A kubelet's sentence about why its node is not Ready, without the wrapping that says it twice.
///
/// `container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin
/// returns error: cni plugin not initialized` becomes `network plugin not ready: cni plugin not initialized`; other
/// sentences stay as they are (kubernetes pkg/kubelet/nodestatus/setters.go, ReadyCondition).
pub fn shorten_kubelet_sentence(sentence: &str) -> String {
    const PLUGIN: &str = "reason:NetworkPluginNotReady message:";
    let Some((_, message)) = sentence.split_once(PLUGIN) else {
        return sentence.trim().trim_end_matches('.').to_owned();
    };
    let message = message.split(']').next().unwrap_or(message);
    let message = message.trim().trim_start_matches("Network plugin returns error:").trim();
    format!("network plugin not ready: {message}")
}

#[cfg(test)]
mod tests;
