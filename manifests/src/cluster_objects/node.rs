//! What a node carries besides what its kubelet says about it (kubeadm's `phases/markcontrolplane`).

use std::collections::BTreeMap;

use kubewright_core::ids::HostName;
use kubewright_core::spec::{Host, Role, Spec, Taint};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::kubelet::{self, CONTROL_PLANE};

/// `LabelExcludeFromExternalLB`: control planes take no traffic of cloud load balancers.
const NO_EXTERNAL_LOAD_BALANCER: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// Labels and taints of a node.
///
/// kubeadm's annotation `kubeadm.alpha.kubernetes.io/cri-socket` is not among them: since 1.34 kubeadm itself writes
/// `instance-config.yaml` on the node instead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMarks {
    /// A kubelet may not give itself `node-role.kubernetes.io/*`, so labels are applied from outside.
    pub labels: BTreeMap<String, String>,
    /// The kubelet registers with these. Where they change later, merge them into the node's list as kubeadm does:
    /// server-side apply takes the list as a whole, and with it the taints of the node lifecycle controller.
    pub taints: Vec<Taint>,
}

/// What the node of a host carries.
pub fn node_marks(spec: &Spec, host: &Host) -> NodeMarks {
    let mut labels = kubelet::pool(spec, host).map(|pool| pool.labels.clone()).unwrap_or_default();
    labels.extend(host.labels.clone());
    if host.is(Role::ControlPlane) {
        labels.insert(CONTROL_PLANE.to_owned(), String::new());
        labels.insert(NO_EXTERNAL_LOAD_BALANCER.to_owned(), String::new());
    }
    NodeMarks { labels, taints: kubelet::taints(spec, host) }
}

impl NodeMarks {
    /// The labels as an object for server-side apply.
    pub fn object(&self, name: &HostName) -> Value {
        json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": self.labels } })
    }
}
