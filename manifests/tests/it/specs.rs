//! The clusters that the tests render.

use std::collections::BTreeMap;

use kubewright_core::plan::EtcdStart;
use kubewright_core::spec::{
    Arg, Certificates, Cni, CniName, Component, Containerd, EncryptionAlgorithm, Endpoint, EndpointMode, Env, Host,
    HostPathMount, KubeProxy, KubeProxyMode, Kubernetes, Network, Pool, Role, Spec, Taint, TaintEffect,
};
use serde_json::{Map, Value, json};

/// One stacked control plane and one worker: what `kubeadm init` knows about.
pub fn single() -> Spec {
    Spec {
        name: "lab".into(),
        kubernetes: Kubernetes { version: "1.35.4".parse().unwrap() },
        endpoint: Endpoint { mode: EndpointMode::NodeLocal, address: None, port: 6443 },
        network: Network {
            pod_cidr: "10.244.0.0/16".to_owned().try_into().unwrap(),
            service_cidr: "10.96.0.0/12".to_owned().try_into().unwrap(),
            dns_domain: "cluster.local".into(),
            cni: Cni { name: CniName::Flannel, interface: None },
            kube_proxy: KubeProxy { mode: KubeProxyMode::Nftables, config: Map::new() },
        },
        ssh: Default::default(),
        hosts: vec![control_plane("cp1", 11), worker("w1", 21)],
        pools: BTreeMap::new(),
        artefacts: Default::default(),
        certificates: Certificates {
            encryption_algorithm: EncryptionAlgorithm::Rsa2048,
            certificate_validity_hours: 8760,
            ca_certificate_validity_hours: 87600,
        },
        api_server: Component::default(),
        controller_manager: Component::default(),
        scheduler: Component::default(),
        etcd: Component::default(),
        kubelet: Default::default(),
        containerd: Containerd { version: "2.4.2".into(), restrict_oom_score_adj: false },
        backup: Default::default(),
    }
}

/// Three control planes and two workers of a pool, on hosts like the lab's.
pub fn ha() -> Spec {
    let mut spec = single();
    spec.hosts = vec![
        control_plane("cp1", 11),
        control_plane("cp2", 12),
        control_plane("cp3", 13),
        Host { pool: Some("general".into()), ..worker("w1", 21) },
        Host {
            pool: Some("general".into()),
            labels: BTreeMap::from([("disk".into(), "ssd".into())]),
            taints: Some(vec![taint("dedicated", "db")]),
            ..worker("w2", 22)
        },
    ];
    spec.pools.insert(
        "general".into(),
        Pool {
            labels: BTreeMap::from([("pool".into(), "general".into())]),
            taints: vec![taint("dedicated", "general")],
            max_unavailable: None,
        },
    );
    spec.network.cni.interface = Some("eth0".into());
    spec.network.kube_proxy.config = object(json!({ "conntrack": { "maxPerCore": 0 } }));
    spec.kubelet.config = object(json!({
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": false,
        "failSwapOn": false,
        "featureGates": { "KubeletInUserNamespace": true },
    }));
    spec.containerd.restrict_oom_score_adj = true;
    spec.artefacts.mirror = Some("http://10.77.0.1:8080".into());
    for (registry, mirror) in
        [("registry.k8s.io", "http://10.77.0.1:5000"), ("docker.io", "https://mirror.example/v2/hub")]
    {
        spec.artefacts.registry_mirrors.insert(registry.into(), vec![mirror.into()]);
    }
    spec
}

/// A single control plane with every knob turned that kubeadm knows too.
pub fn tuned() -> Spec {
    let mut spec = single();
    spec.name = "tuned".into();
    spec.endpoint = Endpoint { mode: EndpointMode::External, address: Some("api.example.org".into()), port: 443 };
    spec.network.pod_cidr = "10.10.0.0/16".to_owned().try_into().unwrap();
    spec.network.service_cidr = "10.20.0.0/16".to_owned().try_into().unwrap();
    spec.network.dns_domain = "k8s.example".into();
    spec.network.kube_proxy.mode = KubeProxyMode::Iptables;
    spec.network.kube_proxy.config = object(json!({ "conntrack": { "maxPerCore": 0 } }));
    spec.certificates = Certificates {
        encryption_algorithm: EncryptionAlgorithm::EcdsaP256,
        certificate_validity_hours: 100,
        ca_certificate_validity_hours: 1000,
    };
    spec.api_server = Component {
        extra_args: args(&[
            ("v", "4"),
            ("enable-admission-plugins", "NodeRestriction,AlwaysPullImages"),
            ("shutdown-delay-duration", "3s"),
            ("service-account-issuer", "https://issuer.example"),
            ("service-account-issuer", "https://kubernetes.default.svc.k8s.example"),
        ]),
        extra_envs: vec![env("ZZZ", "last"), env("AAA", "yes")],
        extra_volumes: vec![
            volume("audit", "/var/log/audit", false, Some("DirectoryOrCreate")),
            volume("ca-certs", "/srv/ca-certs", true, Some("Directory")),
        ],
        cert_sans: vec!["api.example.org".into(), "192.0.2.1".into()],
    };
    spec.controller_manager.extra_args = args(&[("bind-address", "0.0.0.0"), ("flex-volume-plugin-dir", "/opt/flex")]);
    spec.scheduler.extra_args = args(&[("bind-address", "10.77.0.11"), ("v", "1.5e3")]);
    spec.etcd = Component {
        extra_args: args(&[
            ("listen-metrics-urls", "https://10.77.0.11:2391,http://127.0.0.1:2381"),
            ("snapshot-count", "5000"),
        ]),
        extra_envs: vec![env("ETCD_EXPERIMENT", "on")],
        extra_volumes: Vec::new(),
        cert_sans: vec!["etcd.example.org".into()],
    };
    spec.kubelet.config = object(json!({
        "maxPods": 200,
        "cgroupDriver": "cgroupfs",
        "authentication": { "anonymous": { "enabled": true } },
        "clusterDNS": ["169.254.20.10"],
    }));
    spec.kubelet.extra_args = args(&[("v", "2"), ("node-labels", "a=b,c=d")]);
    spec
}

/// The first start of etcd.
pub fn first_start(spec: &Spec) -> EtcdStart {
    EtcdStart::first(spec, "0f1e2d3c")
}

pub fn control_plane(name: &str, number: u8) -> Host {
    host(name, number, &[Role::ControlPlane, Role::Etcd])
}

pub fn worker(name: &str, number: u8) -> Host {
    host(name, number, &[Role::Worker])
}

fn host(name: &str, number: u8, roles: &[Role]) -> Host {
    let address = format!("10.77.0.{number}");
    Host {
        name: name.into(),
        private_address: address.parse().unwrap(),
        address,
        roles: roles.to_vec(),
        pool: None,
        labels: BTreeMap::new(),
        taints: None,
        ssh: Default::default(),
    }
}

pub fn args(pairs: &[(&str, &str)]) -> Vec<Arg> {
    let arg = |(name, value): &(&str, &str)| Arg { name: (*name).into(), value: (*value).into() };
    pairs.iter().map(arg).collect()
}

fn env(name: &str, value: &str) -> Env {
    Env { name: name.into(), value: value.into() }
}

fn volume(name: &str, path: &str, read_only: bool, path_type: Option<&str>) -> HostPathMount {
    HostPathMount {
        name: name.into(),
        host_path: path.into(),
        mount_path: path.into(),
        read_only,
        path_type: path_type.map(Into::into),
    }
}

fn taint(key: &str, value: &str) -> Taint {
    Taint { key: key.into(), value: value.into(), effect: TaintEffect::NoSchedule }
}

fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}
