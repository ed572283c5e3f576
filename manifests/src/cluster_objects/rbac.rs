//! Who may do what, beyond the API server's own defaults (kubeadm's `phases/bootstraptoken`, `phases/kubeconfig`).

use serde_json::{Value, json};

use super::{BOOTSTRAPPERS, NODES, cluster_role_binding, config_map_readers, group, user};

/// Group of admin.conf (`ClusterAdminsGroupAndClusterRoleBinding`).
const CLUSTER_ADMINS: &str = "kubeadm:cluster-admins";

/// Bindings and roles. The first one makes admin.conf work: apply it as super-admin.
pub fn rbac() -> Vec<Value> {
    let mut objects = vec![
        cluster_role_binding(CLUSTER_ADMINS, "cluster-admin", &[group(CLUSTER_ADMINS)]),
        // API servers reach kubelets by the name in their certificate. kubeadm has it since 1.34.8 and 1.36.1, where
        // the certificate lost its admin group; we have it always, so that it is there before such a certificate is.
        cluster_role_binding(
            "kubeadm:apiserver-kubelet-client",
            "system:kubelet-api-admin",
            &[user("kube-apiserver-kubelet-client")],
        ),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": { "name": "kubeadm:get-nodes" },
            "rules": [{ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }],
        }),
        cluster_role_binding("kubeadm:get-nodes", "kubeadm:get-nodes", &[group(BOOTSTRAPPERS)]),
        cluster_role_binding("kubeadm:kubelet-bootstrap", "system:node-bootstrapper", &[group(BOOTSTRAPPERS)]),
        cluster_role_binding(
            "kubeadm:node-autoapprove-bootstrap",
            "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
            &[group(BOOTSTRAPPERS)],
        ),
        cluster_role_binding(
            "kubeadm:node-autoapprove-certificate-rotation",
            "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
            &[group(NODES)],
        ),
    ];
    objects.extend(config_map_readers(
        "kube-public",
        "kubeadm:bootstrap-signer-clusterinfo",
        "cluster-info",
        &[user("system:anonymous")],
    ));
    let nodes = [group(BOOTSTRAPPERS), group(NODES)];
    objects.extend(config_map_readers("kube-system", "kubeadm:nodes-kubeadm-config", "kubeadm-config", &nodes));
    objects.extend(config_map_readers("kube-system", "kubeadm:kubelet-config", "kubelet-config", &nodes));
    objects
}
