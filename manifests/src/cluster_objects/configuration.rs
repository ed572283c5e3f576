//! The cluster's own record of how it was made, in kubeadm's form, so that kubeadm can take it over: ConfigMaps
//! `kubeadm-config`, `kubelet-config` and `cluster-info`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kubewright_core::spec::{Component, HostPathMount, Role, Spec};
use serde_json::{Map, Value, json};

use crate::layout::{ETCD_DATA_DIR, PKI_DIR, pki};
use crate::static_pods::{api_server_extra_args, etcd_client_urls};
use crate::{endpoint, images, kubelet, yaml};

/// The three ConfigMaps. `ca_pem` is the cluster's authority, which cluster-info shows to everybody.
pub fn configuration(spec: &Spec, ca_pem: &str) -> Vec<Value> {
    vec![
        config_map("kube-system", "kubeadm-config", "ClusterConfiguration", &cluster_configuration(spec)),
        // Not signed with kubeadm's hash annotation: that would tell kubeadm it may be made anew from its own defaults.
        config_map("kube-system", "kubelet-config", "kubelet", &kubelet::config(spec)),
        config_map("kube-public", "cluster-info", "kubeconfig", &cluster_info(spec, ca_pem)),
    ]
}

fn config_map(namespace: &str, name: &str, key: &str, content: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": namespace },
        "data": { key: yaml::document(content) },
    })
}

/// A kubeconfig without user or context, as kubeadm publishes it. Tokens are not our way in, so there are no
/// signatures.
fn cluster_info(spec: &Spec, ca_pem: &str) -> Value {
    let cluster = json!({
        "certificate-authority-data": STANDARD.encode(ca_pem),
        "server": format!("https://{}", endpoint::outside(spec)),
    });
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "", "cluster": cluster }],
        "contexts": null,
        "current-context": "",
        "users": null,
    })
}

/// kubeadm's `ClusterConfiguration`, `v1beta4`: given this, kubeadm renders our static pods.
fn cluster_configuration(spec: &Spec) -> Value {
    let certificates = &spec.certificates;
    let mut api_server = component(&Component { extra_args: api_server_extra_args(spec), ..spec.api_server.clone() });
    if !spec.api_server.cert_sans.is_empty() {
        api_server["certSANs"] = json!(spec.api_server.cert_sans);
    }
    json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "apiServer": api_server,
        "caCertificateValidityPeriod": hours(certificates.ca_certificate_validity_hours),
        "certificateValidityPeriod": hours(certificates.certificate_validity_hours),
        "certificatesDir": PKI_DIR,
        "clusterName": spec.name,
        "controlPlaneEndpoint": endpoint::outside(spec),
        "controllerManager": component(&spec.controller_manager),
        "dns": {},
        "encryptionAlgorithm": certificates.encryption_algorithm,
        "etcd": etcd(spec),
        "imageRepository": images::REPOSITORY,
        "kubernetesVersion": spec.kubernetes.version.tag(),
        "networking": {
            "dnsDomain": spec.network.dns_domain,
            "podSubnet": spec.network.pod_cidr,
            "serviceSubnet": spec.network.service_cidr,
        },
        "proxy": {},
        "scheduler": component(&spec.scheduler),
    })
}

fn component(component: &Component) -> Value {
    let mut fields = Map::new();
    if !component.extra_args.is_empty() {
        fields.insert("extraArgs".to_owned(), json!(component.extra_args));
    }
    if !component.extra_envs.is_empty() {
        fields.insert("extraEnvs".to_owned(), json!(component.extra_envs));
    }
    if !component.extra_volumes.is_empty() {
        fields.insert("extraVolumes".to_owned(), component.extra_volumes.iter().map(extra_volume).collect());
    }
    Value::Object(fields)
}

fn extra_volume(mount: &HostPathMount) -> Value {
    let mut volume = json!({ "name": mount.name, "hostPath": mount.host_path, "mountPath": mount.mount_path });
    if mount.read_only {
        volume["readOnly"] = json!(true);
    }
    if let Some(path_type) = &mount.path_type {
        volume["pathType"] = json!(path_type);
    }
    volume
}

/// Stacked where a control plane runs a member, else kubeadm's external etcd.
fn etcd(spec: &Spec) -> Value {
    let stacked = spec.with_role(Role::ControlPlane).any(|host| host.is(Role::Etcd));
    if !stacked {
        return json!({ "external": {
            "endpoints": etcd_client_urls(spec),
            "caFile": pki("etcd/ca.crt"),
            "certFile": pki("apiserver-etcd-client.crt"),
            "keyFile": pki("apiserver-etcd-client.key"),
        } });
    }
    // kubeadm has no extraVolumes for etcd.
    let mut local = component(&Component { extra_volumes: Vec::new(), ..spec.etcd.clone() });
    local["dataDir"] = json!(ETCD_DATA_DIR);
    if !spec.etcd.cert_sans.is_empty() {
        local["serverCertSANs"] = json!(spec.etcd.cert_sans);
        local["peerCertSANs"] = json!(spec.etcd.cert_sans);
    }
    json!({ "local": local })
}

/// Go's way to write a duration.
fn hours(hours: u32) -> String {
    format!("{hours}h0m0s")
}
