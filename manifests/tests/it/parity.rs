//! Ours against the real kubeadm of each proven minor: every difference stands, with its reason, in `ACCEPTED.md`.
//!
//! `plain` is kubeadm left to itself. `tuned` is kubeadm given the very configuration that we put into the cluster: it
//! must come to the same static pods, flags and configuration as we do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use kubewright_core::spec::Spec;
use kubewright_manifests::{cluster_objects, kubelet, static_pods::static_pods};
use serde_json::{Value, json};
use xtask::parity::{Accepted, Compared, differences};

use crate::recorded::{Case, by_identity, file, parse};
use crate::specs;

const VERSIONS: [&str; 3] = ["1.34.4", "1.35.4", "1.36.3"];
const CASES: [&str; 2] = ["plain", "tuned"];
/// What `record.sh` writes of each case.
const RECORDINGS: [&str; 8] = [
    "etcd.yaml",
    "kube-apiserver.yaml",
    "kube-controller-manager.yaml",
    "kube-scheduler.yaml",
    "kubelet/config.yaml",
    "kubelet/instance-config.yaml",
    "kubelet/kubeadm-flags.env",
    "objects.yaml",
];
const POD_DIR: &str = "/etc/kubernetes/manifests";
const KUBELET_DIR: &str = "/var/lib/kubelet";

fn cases() -> impl Iterator<Item = Case> {
    VERSIONS.iter().flat_map(|version| CASES.iter().map(|name| Case { version, name }))
}

fn spec(case: Case) -> Spec {
    let mut spec = if case.name == "plain" { specs::single() } else { specs::tuned() };
    spec.kubernetes.version = case.version.parse().unwrap();
    spec
}

#[test]
fn every_difference_is_accepted_and_every_accepted_difference_is_there() {
    let mut seen_in: BTreeMap<String, BTreeSet<Case>> = BTreeMap::new();
    for case in cases() {
        for line in differences_of(case, &spec(case)) {
            seen_in.entry(line).or_default().insert(case);
        }
    }
    let found: BTreeSet<String> = seen_in.iter().map(|(line, cases)| format!("{} {line}", label(cases))).collect();
    Accepted::read().unwrap().check(Compared::Recorded, &found).unwrap();
}

/// Where a difference was seen, as short as it can be said: `all`, `plain`, `1.34.4+1.35.4`.
fn label(seen: &BTreeSet<Case>) -> String {
    let versions: BTreeSet<&str> = seen.iter().map(|case| case.version).collect();
    let names: BTreeSet<&str> = seen.iter().map(|case| case.name).collect();
    assert_eq!(seen.len(), versions.len() * names.len(), "no short way to say {seen:?}");
    let mut parts = Vec::new();
    if versions.len() < VERSIONS.len() {
        parts.push(versions.into_iter().collect::<Vec<_>>().join("+"));
    }
    if names.len() < CASES.len() {
        parts.extend(names.into_iter().map(str::to_owned));
    }
    if parts.is_empty() { "all".to_owned() } else { parts.join(" ") }
}

/// What kubeadm was given is what we would give it.
#[test]
fn kubeadm_was_recorded_with_our_configuration() {
    for case in cases().filter(|case| case.name == "tuned") {
        let ours = recorder_input(&spec(case));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(case.path("config.yaml"), &ours).unwrap();
        }
        assert_eq!(case.text("config.yaml"), ours, "run with UPDATE_GOLDEN=1, then tests/kubeadm/record.sh");
    }
}

/// `KUBEADM` names a binary: what it writes now is what was recorded of its version.
#[test]
fn the_recordings_are_what_kubeadm_writes() {
    let Some(kubeadm) = std::env::var_os("KUBEADM") else {
        eprintln!("skipped: KUBEADM names no kubeadm binary");
        return;
    };
    let answer = Command::new(&kubeadm).args(["version", "-o", "short"]).output().unwrap();
    let said = String::from_utf8(answer.stdout).unwrap();
    let version = VERSIONS.into_iter().find(|version| said.trim() == format!("v{version}"));
    let version = version.unwrap_or_else(|| panic!("nothing is recorded of {said}"));
    let folder = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kubeadm/record.sh");
    let recorded = Command::new("sh").arg(script).arg(&kubeadm).arg(folder.path()).output().unwrap();
    assert!(recorded.status.success(), "{}", String::from_utf8_lossy(&recorded.stderr));
    for case in CASES.map(|name| Case { version, name }) {
        for file in RECORDINGS {
            let now = std::fs::read_to_string(folder.path().join(case.name).join(file)).unwrap();
            assert_eq!(now, case.text(file), "{}", case.path(file).display());
        }
    }
}

fn differences_of(case: Case, spec: &Spec) -> BTreeSet<String> {
    let host = &spec.hosts[0];
    let mut found = BTreeSet::new();
    let mut note = |document: &str, theirs: Option<&Value>, ours: Option<&Value>| {
        found.extend(differences(theirs, ours).into_iter().map(|line| format!("{document} {line}")));
    };

    let pods = static_pods(spec, host, &specs::first_start(spec));
    for pod in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let ours = parse(file(&pods, &format!("{POD_DIR}/{pod}.yaml")));
        note(&format!("{pod}.yaml"), Some(&case.yaml(&format!("{pod}.yaml"))), Some(&ours));
    }

    let files = kubelet::files(spec, host, None);
    for name in ["config.yaml", "instance-config.yaml"] {
        let ours = parse(file(&files, &format!("{KUBELET_DIR}/{name}")));
        note(&format!("kubelet/{name}"), Some(&case.yaml(&format!("kubelet/{name}"))), Some(&ours));
    }
    let ours = flags(file(&files, &format!("{KUBELET_DIR}/kubeadm-flags.env")));
    note("kubeadm-flags.env", Some(&flags(&case.text("kubelet/kubeadm-flags.env"))), Some(&ours));

    let theirs = case.objects();
    let groups = [
        cluster_objects::rbac(),
        cluster_objects::kube_proxy(spec),
        cluster_objects::core_dns(spec),
        cluster_objects::configuration(spec, "RECORDED"),
    ];
    let mut ours = by_identity(groups.concat());
    let info = ours.get_mut("ConfigMap kube-public/cluster-info").unwrap();
    info["data"]["kubeconfig"]["clusters"][0]["cluster"]["certificate-authority-data"] = json!("RECORDED");
    for identity in theirs.keys().chain(ours.keys()).collect::<BTreeSet<_>>() {
        note(identity, theirs.get(identity), ours.get(identity));
    }
    found
}

/// The flags of an environment file.
fn flags(text: &str) -> Value {
    let line = text.trim().strip_prefix("KUBELET_KUBEADM_ARGS=\"").and_then(|rest| rest.strip_suffix('"')).unwrap();
    json!({ "flags": line.split(' ').collect::<Vec<_>>() })
}

/// InitConfiguration for the host, and the three documents that we keep in the cluster.
fn recorder_input(spec: &Spec) -> String {
    let host = &spec.hosts[0];
    let init = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        "bootstrapTokens": [{ "token": "abcdef.0123456789abcdef" }],
        "localAPIEndpoint": { "advertiseAddress": host.private_address, "bindPort": 6443 },
        "nodeRegistration": {
            "name": host.name,
            "criSocket": "unix:///run/containerd/containerd.sock",
            "kubeletExtraArgs": spec.kubelet.extra_args,
        },
    });
    let objects = [cluster_objects::configuration(spec, ""), cluster_objects::kube_proxy(spec)].concat();
    let kept = |name: &str, key: &str| {
        let map = objects.iter().find(|object| object["kind"] == "ConfigMap" && object["metadata"]["name"] == name);
        map.unwrap()["data"][key].as_str().unwrap().to_owned()
    };
    [
        kubewright_manifests::yaml::document(&init),
        kept("kubeadm-config", "ClusterConfiguration"),
        kept("kubelet-config", "kubelet"),
        kept("kube-proxy", "config.conf"),
    ]
    .join("---\n")
}
