//! What `kubeadm init` puts into a fresh cluster, and the network add-on: objects for server-side apply.
//!
//! Names are kubeadm's. Bootstrap tokens are not made: nodes get their certificates from us.

mod configuration;
mod core_dns;
mod flannel;
mod kube_proxy;
mod node;
mod rbac;

use kubewright_core::spec::Spec;
use serde_json::{Value, json};

pub use configuration::configuration;
pub use core_dns::core_dns;
pub use flannel::flannel;
pub use kube_proxy::kube_proxy;
pub use node::node_marks;
pub use rbac::rbac;

/// What kube-proxy reaches the API through on nodes that are not ours, see [`crate::node_local`].
pub use crate::node_local::objects as api_proxy;

/// All of them, in the order to apply: who may do what, the network from the bottom up, then names.
pub fn all(spec: &Spec, ca_pem: &str) -> Vec<Value> {
    let groups =
        [rbac(), kube_proxy(spec), flannel(spec), core_dns(spec), configuration(spec, ca_pem), api_proxy(spec)];
    groups.into_iter().flatten().collect()
}

const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

/// Group of the bootstrap tokens that kubeadm makes for joining nodes (`NodeBootstrapTokenAuthGroup`).
const BOOTSTRAPPERS: &str = "system:bootstrappers:kubeadm:default-node-token";
/// Group of all kubelets (`NodesGroup`).
const NODES: &str = "system:nodes";

fn group(name: &str) -> Value {
    json!({ "kind": "Group", "name": name })
}

fn user(name: &str) -> Value {
    json!({ "kind": "User", "name": name })
}

fn service_account_subject(namespace: &str, name: &str) -> Value {
    json!({ "kind": "ServiceAccount", "name": name, "namespace": namespace })
}

fn cluster_role_binding(name: &str, role: &str, subjects: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": name },
        "roleRef": { "apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": role },
        "subjects": subjects,
    })
}

/// A Role that may read one ConfigMap, and its binding of the same name.
fn config_map_readers(namespace: &str, name: &str, config_map: &str, subjects: &[Value]) -> [Value; 2] {
    let metadata = json!({ "name": name, "namespace": namespace });
    [
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": metadata,
            "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "resourceNames": [config_map], "verbs": ["get"] }],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": { "apiGroup": RBAC_GROUP, "kind": "Role", "name": name },
            "subjects": subjects,
        }),
    ]
}

fn service_account(namespace: &str, name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name, "namespace": namespace } })
}
