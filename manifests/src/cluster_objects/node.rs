//! What a node carries besides what its kubelet says about it (kubeadm's `phases/markcontrolplane`).

use kubewright_core::marks::NodeMarks;
use kubewright_core::spec::{Host, Role, Spec};

use crate::kubelet::{self, CONTROL_PLANE};

/// `LabelExcludeFromExternalLB`: control planes take no traffic of cloud load balancers.
const NO_EXTERNAL_LOAD_BALANCER: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// What the node of a host carries.
///
/// kubeadm's annotation `kubeadm.alpha.kubernetes.io/cri-socket` is not among them: since 1.34 kubeadm itself writes
/// `instance-config.yaml` on the node instead.
pub fn node_marks(spec: &Spec, host: &Host) -> NodeMarks {
    let mut labels = kubelet::pool(spec, host).map(|pool| pool.labels.clone()).unwrap_or_default();
    labels.extend(host.labels.clone());
    if host.is(Role::ControlPlane) {
        labels.insert(CONTROL_PLANE.to_owned(), String::new());
        labels.insert(NO_EXTERNAL_LOAD_BALANCER.to_owned(), String::new());
    }
    NodeMarks { labels, taints: kubelet::taints(spec, host) }
}
