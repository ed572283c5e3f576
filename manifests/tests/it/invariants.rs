//! Rules that hold for every rendering.

use kubewright_core::plan::{ClusterState, EtcdStart};
use kubewright_core::spec::{EndpointMode, Role};
use kubewright_manifests::static_pods::static_pods;
use kubewright_manifests::{artefacts, cluster_objects, endpoint, kubelet, node_local};
use serde_json::Value;

use crate::recorded::{file, parse};
use crate::specs;

fn command(pod: &str) -> Vec<String> {
    let pod = parse(pod);
    let words = pod["spec"]["containers"][0]["command"].as_array().unwrap();
    words.iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn flag(command: &[String], name: &str) -> Option<String> {
    command.iter().find_map(|word| word.strip_prefix(&format!("--{name}=")).map(str::to_owned))
}

const ETCD: &str = "/etc/kubernetes/manifests/etcd.yaml";
const API_SERVER: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

#[test]
fn all_members_start_with_the_same_cluster() {
    let spec = specs::ha();
    let wanted = "cp1=https://10.77.0.11:2380,cp2=https://10.77.0.12:2380,cp3=https://10.77.0.13:2380";
    for host in spec.with_role(Role::Etcd) {
        let pods = static_pods(&spec, host, &specs::first_start(&spec));
        let command = command(file(&pods, ETCD));
        assert_eq!(flag(&command, "initial-cluster").as_deref(), Some(wanted));
        assert_eq!(flag(&command, "initial-cluster-state").as_deref(), Some("new"));
        assert_eq!(flag(&command, "name").as_deref(), Some(host.name.as_str()));
    }
}

#[test]
fn a_later_manifest_cannot_found_a_second_cluster() {
    let spec = specs::ha();
    let later = EtcdStart { state: ClusterState::Existing, ..specs::first_start(&spec) };
    let pods = static_pods(&spec, &spec.hosts[0], &later);
    assert_eq!(flag(&command(file(&pods, ETCD)), "initial-cluster-state").as_deref(), Some("existing"));
}

#[test]
fn etcd_on_hosts_of_its_own_is_reached_over_the_network() {
    let mut spec = specs::ha();
    spec.hosts[0].roles = vec![Role::ControlPlane];
    let pods = static_pods(&spec, &spec.hosts[0], &specs::first_start(&spec));
    assert!(pods.iter().all(|pod| pod.path != ETCD));
    let servers = flag(&command(file(&pods, API_SERVER)), "etcd-servers");
    assert_eq!(servers.as_deref(), Some("https://10.77.0.12:2379,https://10.77.0.13:2379"));
}

#[test]
fn authorization_config_excludes_authorization_mode() {
    let mut spec = specs::ha();
    spec.api_server.extra_args = specs::args(&[("authorization-config", "/etc/kubernetes/authz.yaml")]);
    let pods = static_pods(&spec, &spec.hosts[0], &specs::first_start(&spec));
    assert_eq!(flag(&command(file(&pods, API_SERVER)), "authorization-mode"), None);
}

#[test]
fn a_worker_has_the_proxy_and_nothing_else() {
    let spec = specs::ha();
    for host in &spec.hosts {
        let worker = !host.is(Role::ControlPlane);
        assert_eq!(static_pods(&spec, host, &specs::first_start(&spec)).is_empty(), worker);
        assert_eq!(node_local::files(&spec, host).is_empty(), !worker);
    }
}

#[test]
fn only_node_local_clusters_have_proxies() {
    let mut spec = specs::ha();
    spec.endpoint.mode = EndpointMode::External;
    spec.endpoint.address = Some("api.example.org".into());
    assert!(node_local::files(&spec, &spec.hosts[3]).is_empty());
    assert!(artefacts::images(&spec, &spec.hosts[3]).iter().all(|image| !image.contains("haproxy")));
    assert_eq!(endpoint::for_kubelet(&spec, &spec.hosts[3]), "https://api.example.org:6443");
    assert_eq!(endpoint::for_kubelet(&spec, &spec.hosts[0]), "https://10.77.0.11:6443");
}

#[test]
fn a_control_plane_registers_with_its_taint() {
    let spec = specs::ha();
    let files = kubelet::files(&spec, &spec.hosts[0], None);
    let config = parse(file(&files, "/var/lib/kubelet/config.yaml"));
    assert_eq!(config["registerWithTaints"][0]["key"], "node-role.kubernetes.io/control-plane");
    let mut untainted = spec.hosts[0].clone();
    untainted.taints = Some(Vec::new());
    let files = kubelet::files(&spec, &untainted, None);
    assert_eq!(parse(file(&files, "/var/lib/kubelet/config.yaml")).get("registerWithTaints"), None);
}

#[test]
fn a_hosts_own_taint_wins_over_its_pools() {
    let spec = specs::ha();
    let values: Vec<_> = spec.hosts[3..].iter().map(|host| cluster_objects::node_marks(&spec, host).taints).collect();
    assert_eq!(values[0][0].value, "general");
    assert_eq!(values[1].len(), 1);
    assert_eq!(values[1][0].value, "db");
}

#[test]
fn minors_differ_where_kubeadm_does() {
    for (version, flexvolume, pause_flag, etcd) in [
        ("1.34.8", true, true, "registry.k8s.io/etcd:3.6.5-0"),
        ("1.35.4", true, false, "registry.k8s.io/etcd:3.6.6-0"),
        ("1.36.3", false, false, "registry.k8s.io/etcd:3.6.8-0"),
    ] {
        let mut spec = specs::ha();
        spec.kubernetes.version = version.parse().unwrap();
        let pods = static_pods(&spec, &spec.hosts[0], &specs::first_start(&spec));
        let manager = file(&pods, "/etc/kubernetes/manifests/kube-controller-manager.yaml");
        assert_eq!(manager.contains("flexvolume-dir"), flexvolume, "{version}");
        assert!(manager.contains(&format!("image: registry.k8s.io/kube-controller-manager:v{version}\n")));
        assert!(file(&pods, ETCD).contains(&format!("image: {etcd}\n")));
        let files = kubelet::files(&spec, &spec.hosts[0], None);
        let flags = file(&files, "/var/lib/kubelet/kubeadm-flags.env");
        assert_eq!(flags.contains("--pod-infra-container-image=registry.k8s.io/pause:"), pause_flag);
    }
}

#[test]
fn systemd_resolved_is_bypassed() {
    let spec = specs::ha();
    let files = kubelet::files(&spec, &spec.hosts[3], Some(kubelet::SYSTEMD_RESOLVED));
    for name in ["config.yaml", "instance-config.yaml"] {
        let config = parse(file(&files, &format!("/var/lib/kubelet/{name}")));
        assert_eq!(config["resolvConf"], "/run/systemd/resolve/resolv.conf");
    }
}

#[test]
fn addresses_are_in_brackets_where_they_must_be() {
    let mut spec = specs::single();
    spec.hosts[0].private_address = "fd00::11".parse().unwrap();
    spec.network.service_cidr = "fd00:96::/112".to_owned().try_into().unwrap();
    spec.network.pod_cidr = "fd00:244::/56".to_owned().try_into().unwrap();
    let pods = static_pods(&spec, &spec.hosts[0], &specs::first_start(&spec));
    let etcd = command(file(&pods, ETCD));
    assert_eq!(flag(&etcd, "listen-client-urls").as_deref(), Some("https://[::1]:2379,https://[fd00::11]:2379"));
    assert_eq!(flag(&command(file(&pods, API_SERVER)), "etcd-servers").as_deref(), Some("https://[::1]:2379"));
    assert_eq!(endpoint::outside(&spec), "[fd00::11]:6443");
}

#[test]
fn every_object_can_be_applied() {
    let spec = specs::ha();
    let mut seen = std::collections::BTreeSet::new();
    for object in cluster_objects::all(&spec, "PEM") {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let identity = (
            text("/apiVersion").unwrap(),
            text("/kind").unwrap(),
            text("/metadata/namespace"),
            text("/metadata/name").unwrap(),
        );
        assert!(seen.insert(identity.clone()), "twice: {identity:?}");
    }
}
