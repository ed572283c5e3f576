//! flannel as its own manifest deploys it (`Documentation/kube-flannel.yml` of that version).

use kubewright_core::spec::{CniName, Spec};
use serde_json::{Value, json};

use super::{cluster_role_binding, service_account_subject};
use crate::{endpoint, images};

const NAMESPACE: &str = "kube-flannel";

/// Namespace, account, role, configuration, DaemonSet; nothing where the spec asks for no CNI of ours.
pub fn flannel(spec: &Spec) -> Vec<Value> {
    if spec.network.cni.name != CniName::Flannel {
        return Vec::new();
    }
    let mut binding = cluster_role_binding("flannel", "flannel", &[service_account_subject(NAMESPACE, "flannel")]);
    binding["metadata"]["labels"] = json!({ "k8s-app": "flannel" });
    vec![namespace(), service_account(), cluster_role(), binding, config_map(spec), daemon_set(spec)]
}

fn namespace() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": NAMESPACE,
            "labels": { "k8s-app": "flannel", "pod-security.kubernetes.io/enforce": "privileged" },
        },
    })
}

fn service_account() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": "flannel", "namespace": NAMESPACE, "labels": { "k8s-app": "flannel" } },
    })
}

fn cluster_role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": "flannel", "labels": { "k8s-app": "flannel" } },
        "rules": [
            { "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] },
            { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"] },
            { "apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"] },
        ],
    })
}

fn config_map(spec: &Spec) -> Value {
    let cni = json!({
        "name": "cbr0",
        "cniVersion": "0.3.1",
        "plugins": [
            { "type": "flannel", "delegate": { "hairpinMode": true, "isDefaultGateway": true } },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    });
    let range = spec.network.pod_cidr;
    let mut network = json!({ "EnableNFTables": false, "Backend": { "Type": "vxlan" } });
    if range.network.is_ipv4() {
        network["Network"] = json!(range);
    } else {
        network["EnableIPv4"] = json!(false);
        network["EnableIPv6"] = json!(true);
        network["IPv6Network"] = json!(range);
    }
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "kube-flannel-cfg",
            "namespace": NAMESPACE,
            "labels": { "tier": "node", "k8s-app": "flannel", "app": "flannel" },
        },
        // `{:#}` is indented JSON.
        "data": { "cni-conf.json": format!("{cni:#}\n"), "net-conf.json": format!("{network:#}\n") },
    })
}

fn daemon_set(spec: &Spec) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {
            "name": "kube-flannel-ds",
            "namespace": NAMESPACE,
            "labels": { "tier": "node", "app": "flannel", "k8s-app": "flannel" },
        },
        "spec": {
            "selector": { "matchLabels": { "app": "flannel" } },
            "template": { "metadata": { "labels": { "tier": "node", "app": "flannel" } }, "spec": pod_spec(spec) },
        },
    })
}

fn pod_spec(spec: &Spec) -> Value {
    let linux = json!({ "matchExpressions": [{ "key": "kubernetes.io/os", "operator": "In", "values": ["linux"] }] });
    let host_path = |name: &str, path: &str| json!({ "name": name, "hostPath": { "path": path } });
    json!({
        "affinity": { "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [linux] },
        } },
        "hostNetwork": true,
        "priorityClassName": "system-node-critical",
        "tolerations": [{ "operator": "Exists", "effect": "NoSchedule" }],
        "serviceAccountName": "flannel",
        "initContainers": [
            copy("install-cni-plugin", &images::flannel_cni_plugin(), "/flannel", "/opt/cni/bin/flannel", &[("cni-plugin", "/opt/cni/bin")]),
            copy(
                "install-cni",
                &images::flannel(),
                "/etc/kube-flannel/cni-conf.json",
                "/etc/cni/net.d/10-flannel.conflist",
                &[("cni", "/etc/cni/net.d"), ("flannel-cfg", "/etc/kube-flannel/")],
            ),
        ],
        "containers": [daemon(spec)],
        "volumes": [
            host_path("run", "/run/flannel"),
            host_path("cni-plugin", "/opt/cni/bin"),
            host_path("cni", "/etc/cni/net.d"),
            { "name": "flannel-cfg", "configMap": { "name": "kube-flannel-cfg" } },
            { "name": "xtables-lock", "hostPath": { "path": "/run/xtables.lock", "type": "FileOrCreate" } },
        ],
    })
}

/// An init container that copies one file to the host.
fn copy(name: &str, image: &str, from: &str, to: &str, mounts: &[(&str, &str)]) -> Value {
    json!({
        "name": name,
        "image": image,
        "command": ["cp"],
        "args": ["-f", from, to],
        "volumeMounts": volume_mounts(mounts),
    })
}

fn daemon(spec: &Spec) -> Value {
    let mut args = vec!["--ip-masq".to_owned(), "--kube-subnet-mgr".to_owned()];
    args.extend(spec.network.cni.interface.iter().map(|interface| format!("--iface={interface}")));
    json!({
        "name": "kube-flannel",
        "image": images::flannel(),
        "command": ["/opt/bin/flanneld"],
        "args": args,
        "resources": { "requests": { "cpu": "100m", "memory": "50Mi" } },
        "securityContext": { "privileged": false, "capabilities": { "add": ["NET_ADMIN", "NET_RAW"] } },
        "env": environment(spec),
        "volumeMounts": volume_mounts(&[
            ("run", "/run/flannel"),
            ("flannel-cfg", "/etc/kube-flannel/"),
            ("xtables-lock", "/run/xtables.lock"),
        ]),
    })
}

fn environment(spec: &Spec) -> Vec<Value> {
    let field = |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let value = |name: &str, value: &str| json!({ "name": name, "value": value });
    // Ours alone: flannel shares the host's network, so it can ask the API where the host's kube-proxy does. The Service
    // address would have to wait for kube-proxy's rules, and on a host without a default route it never works: the kernel
    // finds no way to it before it asks any rule (seen on the lab).
    let endpoint = endpoint::on_every_node(spec);
    let (host, port) = endpoint.rsplit_once(':').expect("an endpoint has a port");
    vec![
        field("POD_NAME", "metadata.name"),
        field("POD_NAMESPACE", "metadata.namespace"),
        value("EVENT_QUEUE_DEPTH", "5000"),
        value("CONT_WHEN_CACHE_NOT_READY", "false"),
        // client-go puts the brackets of IPv6 back.
        value("KUBERNETES_SERVICE_HOST", host.trim_start_matches('[').trim_end_matches(']')),
        value("KUBERNETES_SERVICE_PORT", port),
    ]
}

fn volume_mounts(mounts: &[(&str, &str)]) -> Vec<Value> {
    mounts.iter().map(|(name, path)| json!({ "name": name, "mountPath": path })).collect()
}
