//! kube-proxy as kubeadm deploys it (`phases/addons/proxy`).

use kubewright_core::spec::Spec;
use serde_json::{Value, json};

use super::{BOOTSTRAPPERS, cluster_role_binding, config_map_readers, group, service_account, service_account_subject};
use crate::{endpoint, images, merge, yaml};

/// Where the pod sees its ConfigMap.
const CONFIG_DIR: &str = "/var/lib/kube-proxy";

/// ServiceAccount, bindings, configuration, DaemonSet.
pub fn kube_proxy(spec: &Spec) -> Vec<Value> {
    let account = service_account_subject("kube-system", "kube-proxy");
    let mut objects = vec![
        service_account("kube-system", "kube-proxy"),
        cluster_role_binding("kubeadm:node-proxier", "system:node-proxier", &[account]),
    ];
    objects.extend(config_map_readers("kube-system", "kube-proxy", "kube-proxy", &[group(BOOTSTRAPPERS)]));
    objects.extend([config_map(spec), daemon_set(spec)]);
    objects
}

/// Not signed with kubeadm's hash annotation: mode and address are the user's, and kubeadm must keep them.
fn config_map(spec: &Spec) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "kube-proxy", "namespace": "kube-system", "labels": { "app": "kube-proxy" } },
        "data": {
            "config.conf": yaml::document(&configuration(spec)),
            "kubeconfig.conf": yaml::document(&kubeconfig(spec)),
        },
    })
}

/// `KubeProxyConfiguration`: kubeadm's defaults, the spec's mode and its `kubeProxy.config` over them. kubeadm also
/// writes out zero values that mean "the default"; they are left out here.
fn configuration(spec: &Spec) -> Value {
    let any = if spec.network.pod_cidr.network.is_ipv4() { "0.0.0.0" } else { "::" };
    let ours = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "bindAddress": any,
        "clientConnection": { "kubeconfig": format!("{CONFIG_DIR}/kubeconfig.conf") },
        "clusterCIDR": spec.network.pod_cidr,
        "mode": spec.network.kube_proxy.mode,
    });
    merge::over(ours, &spec.network.kube_proxy.config)
}

fn kubeconfig(spec: &Spec) -> Value {
    let account = "/var/run/secrets/kubernetes.io/serviceaccount";
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "default",
            "cluster": { "certificate-authority": format!("{account}/ca.crt"), "server": endpoint::for_kube_proxy(spec) },
        }],
        "contexts": [{ "name": "default", "context": { "cluster": "default", "namespace": "default", "user": "default" } }],
        "current-context": "default",
        "users": [{ "name": "default", "user": { "tokenFile": format!("{account}/token") } }],
    })
}

fn daemon_set(spec: &Spec) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": { "name": "kube-proxy", "namespace": "kube-system", "labels": { "k8s-app": "kube-proxy" } },
        "spec": {
            "selector": { "matchLabels": { "k8s-app": "kube-proxy" } },
            "updateStrategy": { "type": "RollingUpdate" },
            "template": { "metadata": { "labels": { "k8s-app": "kube-proxy" } }, "spec": pod_spec(spec) },
        },
    })
}

fn pod_spec(spec: &Spec) -> Value {
    json!({
        "priorityClassName": "system-node-critical",
        "hostNetwork": true,
        "serviceAccountName": "kube-proxy",
        "nodeSelector": { "kubernetes.io/os": "linux" },
        "tolerations": [{ "operator": "Exists" }],
        "containers": [{
            "name": "kube-proxy",
            "image": images::kubernetes(spec, "kube-proxy"),
            "imagePullPolicy": "IfNotPresent",
            "command": [
                "/usr/local/bin/kube-proxy",
                format!("--config={CONFIG_DIR}/config.conf"),
                "--hostname-override=$(NODE_NAME)",
            ],
            "env": [{ "name": "NODE_NAME", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } }],
            "securityContext": { "privileged": true },
            "volumeMounts": [
                { "name": "kube-proxy", "mountPath": CONFIG_DIR },
                { "name": "xtables-lock", "mountPath": "/run/xtables.lock" },
                { "name": "lib-modules", "mountPath": "/lib/modules", "readOnly": true },
            ],
        }],
        "volumes": [
            { "name": "kube-proxy", "configMap": { "name": "kube-proxy" } },
            { "name": "xtables-lock", "hostPath": { "path": "/run/xtables.lock", "type": "FileOrCreate" } },
            { "name": "lib-modules", "hostPath": { "path": "/lib/modules" } },
        ],
    })
}
