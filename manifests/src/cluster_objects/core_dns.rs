//! CoreDNS as kubeadm deploys it (`phases/addons/dns/manifests.go`).

use kubewright_core::spec::Spec;
use serde_json::{Value, json};

use super::{cluster_role_binding, service_account, service_account_subject};
use crate::kubelet::CONTROL_PLANE;
use crate::{images, network};

/// kubeadm's `coreDNSReplicas`.
const REPLICAS: u32 = 2;

/// ServiceAccount, role, Corefile, Deployment, Service.
pub fn core_dns(spec: &Spec) -> Vec<Value> {
    vec![
        service_account("kube-system", "coredns"),
        cluster_role(),
        cluster_role_binding("system:coredns", "system:coredns", &[service_account_subject("kube-system", "coredns")]),
        config_map(spec),
        deployment(spec),
        service(spec),
    ]
}

fn cluster_role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": "system:coredns" },
        "rules": [
            { "apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"] },
            { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] },
        ],
    })
}

/// The Corefile must equal kubeadm's letter by letter: CoreDNS' migration tool, which kubeadm runs at upgrades,
/// recognises defaults by their text.
fn config_map(spec: &Spec) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": "coredns", "namespace": "kube-system" },
        "data": { "Corefile": include_str!("../files/Corefile").replace("{domain}", &spec.network.dns_domain) },
    })
}

fn deployment(spec: &Spec) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": "coredns", "namespace": "kube-system", "labels": { "k8s-app": "kube-dns" } },
        "spec": {
            "replicas": REPLICAS,
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } },
            "selector": { "matchLabels": { "k8s-app": "kube-dns" } },
            "template": { "metadata": { "labels": { "k8s-app": "kube-dns" } }, "spec": pod_spec(spec) },
        },
    })
}

fn pod_spec(spec: &Spec) -> Value {
    json!({
        "priorityClassName": "system-cluster-critical",
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "nodeSelector": { "kubernetes.io/os": "linux" },
        "tolerations": [
            { "key": "CriticalAddonsOnly", "operator": "Exists" },
            { "key": CONTROL_PLANE, "effect": "NoSchedule" },
        ],
        "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "podAffinityTerm": {
                "labelSelector": { "matchExpressions": [{ "key": "k8s-app", "operator": "In", "values": ["kube-dns"] }] },
                "topologyKey": "kubernetes.io/hostname",
            },
        }] } },
        "containers": [container(spec)],
        "volumes": [{
            "name": "config-volume",
            "configMap": { "name": "coredns", "items": [{ "key": "Corefile", "path": "Corefile" }] },
        }],
    })
}

fn container(spec: &Spec) -> Value {
    let port = |name: &str, number: u16, protocol: &str| json!({ "name": name, "containerPort": number, "protocol": protocol });
    json!({
        "name": "coredns",
        "image": images::core_dns(spec),
        "imagePullPolicy": "IfNotPresent",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "resources": { "limits": { "memory": "170Mi" }, "requests": { "cpu": "100m", "memory": "70Mi" } },
        "volumeMounts": [{ "name": "config-volume", "mountPath": "/etc/coredns", "readOnly": true }],
        "ports": [
            port("dns", 53, "UDP"),
            port("dns-tcp", 53, "TCP"),
            port("metrics", 9153, "TCP"),
            port("liveness-probe", 8080, "TCP"),
            port("readiness-probe", 8181, "TCP"),
        ],
        "livenessProbe": {
            "httpGet": { "path": "/health", "port": "liveness-probe", "scheme": "HTTP" },
            "initialDelaySeconds": 60,
            "timeoutSeconds": 5,
            "successThreshold": 1,
            "failureThreshold": 5,
        },
        "readinessProbe": { "httpGet": { "path": "/ready", "port": "readiness-probe", "scheme": "HTTP" } },
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": { "add": ["NET_BIND_SERVICE"], "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
        },
    })
}

fn service(spec: &Spec) -> Value {
    let port = |name: &str, number: u16, protocol: &str| json!({ "name": name, "port": number, "protocol": protocol, "targetPort": number });
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
            "annotations": { "prometheus.io/port": "9153", "prometheus.io/scrape": "true" },
        },
        "spec": {
            "clusterIP": network::cluster_dns(spec.network.service_cidr),
            "ports": [port("dns", 53, "UDP"), port("dns-tcp", 53, "TCP"), port("metrics", 9153, "TCP")],
            "selector": { "k8s-app": "kube-dns" },
        },
    })
}
