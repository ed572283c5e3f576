//! Which host gets what: the layout of whole clusters, as golden text and as rules.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use kubewright_certs::Error;
use kubewright_certs::cluster::{Authorities, ClusterFiles, ClusterPki, Roles};
use kubewright_certs::inspect::CertificateFacts;
use kubewright_certs::key::KeyAlgorithm;
use kubewright_certs::names::Endpoint;
use kubewright_certs::profile::{KubernetesVersion, LeafName};
use secrecy::ExposeSecret;

use crate::dump::{self, Dump};
use crate::samples;

fn issue(pki: &ClusterPki) -> ClusterFiles {
    let authorities = Authorities::create(pki.algorithm, pki.validity, pki.now).unwrap();
    pki.issue(&authorities, &all(pki), NonZeroUsize::new(2).unwrap()).unwrap()
}

/// All hosts of a cluster.
pub fn all(pki: &ClusterPki) -> Vec<&str> {
    pki.hosts.iter().map(|host| host.name.as_str()).collect()
}

fn golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{}", path.display());
}

fn text_of<'a>(files: &'a ClusterFiles, host: &str, path: &str) -> Option<&'a str> {
    files.hosts[host].iter().find(|file| file.path == path).and_then(|file| file.expose_text())
}

/// Every file of a cluster of three control planes and two workers, with its certificates' fields.
#[test]
fn a_highly_available_cluster() {
    let files = issue(&samples::ha());
    let mut all = Dump::new();
    for (host, files) in &files.hosts {
        for file in files {
            let text = match file.link_target() {
                Some(target) => format!("link to {target}\n"),
                None => dump::file(file.mode, file.expose_text().unwrap()),
            };
            all.insert(format!("{host} {}", file.path), text);
        }
    }
    let operator = files.operator.kubeconfig(files.operator.clusters.clone()).render();
    all.insert("operator".to_owned(), dump::file(0o600, operator.expose_secret()));
    golden("cluster-ha.txt", &dump::render(&all));
}

#[test]
fn paths_are_known_before_any_key_is_made() {
    let pki = samples::ha();
    for (host, files) in issue(&pki).hosts {
        let delivered: Vec<_> = files.into_iter().map(|file| file.path).collect();
        assert_eq!(pki.host_paths(&host).unwrap(), delivered);
        assert_eq!(delivered.iter().collect::<BTreeSet<_>>().len(), delivered.len(), "each path once");
    }
}

#[test]
fn secrets_stay_where_they_belong() {
    let files = issue(&samples::ha());
    for (host, files) in &files.hosts {
        let has = |suffix: &str| files.iter().any(|file| file.path.ends_with(suffix));
        let control_plane = host.starts_with("cp");
        for suffix in ["ca.key", "etcd/ca.key", "front-proxy-ca.key", "sa.key", "admin.conf"] {
            assert_eq!(has(suffix), control_plane, "{suffix} on {host}");
        }
        assert_eq!(has("super-admin.conf"), host == "cp1");
        assert!(has("/kubelet.conf") && has("pki/ca.crt"));
    }
    // Everything of the authorities is the same everywhere, everything else is nowhere twice.
    let mut owners: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in files.hosts.values().flatten().filter(|file| file.is_secret()) {
        owners.entry(file.expose_text().unwrap()).or_default().insert(&file.path);
    }
    let shared = |path: &str| path.ends_with("ca.key") || path.ends_with("sa.key");
    for paths in owners.values() {
        assert_eq!(paths.len(), 1, "{paths:?}");
    }
    let secrets = files.hosts.values().flatten().filter(|file| file.is_secret());
    assert_eq!(secrets.filter(|file| !shared(&file.path)).count() + 4, owners.len());
}

#[test]
fn kubelets_talk_to_the_right_api_server() {
    let mut pki = samples::ha();
    pki.control_plane_endpoint = Some("api.example:443".parse().unwrap());
    pki.hosts[4].kubelet_api_server = pki.control_plane_endpoint.clone();
    let files = issue(&pki);
    let server = |host: &str, file: &str| {
        let text = text_of(&files, host, &format!("/etc/kubernetes/{file}")).unwrap();
        text.lines().find_map(|line| line.trim().strip_prefix("server: ")).unwrap().to_owned()
    };
    assert_eq!(server("cp2", "kubelet.conf"), "https://10.90.0.12:6443");
    assert_eq!(server("cp2", "controller-manager.conf"), "https://10.90.0.12:6443");
    assert_eq!(server("cp2", "scheduler.conf"), "https://10.90.0.12:6443");
    assert_eq!(server("cp2", "admin.conf"), "https://api.example:443");
    assert_eq!(server("w1", "kubelet.conf"), "https://127.0.0.1:6443");
    assert_eq!(server("w2", "kubelet.conf"), "https://api.example:443");
    assert_eq!(files.operator.clusters.len(), 1);
    assert_eq!(files.operator.clusters[0].server, Endpoint::new("api.example", 443).unwrap());
}

#[test]
fn etcd_on_hosts_of_its_own() {
    let mut pki = samples::single();
    pki.hosts[0].roles = Roles { etcd: false, ..Roles::STACKED };
    pki.hosts.push(samples::host("etcd1", "10.90.0.31", Roles::ETCD));
    let files = issue(&pki);
    let paths = |host: &str| files.hosts[host].iter().map(|file| file.path.as_str()).collect::<Vec<_>>();
    assert_eq!(
        paths("etcd1"),
        [
            "/etc/kubernetes/pki/etcd/ca.crt",
            "/etc/kubernetes/pki/etcd/server.crt",
            "/etc/kubernetes/pki/etcd/server.key",
            "/etc/kubernetes/pki/etcd/peer.crt",
            "/etc/kubernetes/pki/etcd/peer.key",
            "/etc/kubernetes/pki/etcd/healthcheck-client.crt",
            "/etc/kubernetes/pki/etcd/healthcheck-client.key",
        ]
    );
    let etcd: Vec<_> = paths("cp1").into_iter().filter(|path| path.contains("etcd")).collect();
    assert_eq!(
        etcd,
        [
            "/etc/kubernetes/pki/etcd/ca.crt",
            "/etc/kubernetes/pki/etcd/ca.key",
            "/etc/kubernetes/pki/apiserver-etcd-client.crt",
            "/etc/kubernetes/pki/apiserver-etcd-client.key",
        ]
    );
}

#[test]
fn two_families_of_addresses() {
    let mut pki = samples::single();
    pki.service_addresses.push("fd00:96::1".parse().unwrap());
    pki.hosts[0].addresses.push("fd00:90::11".parse().unwrap());
    pki.hosts[0].dns_names.push("cp1.lab.example".to_owned());
    let files = issue(&pki);
    let names = |path: &str| {
        let facts = &CertificateFacts::from_pem(text_of(&files, "cp1", path).unwrap()).unwrap()[0];
        let addresses = facts.addresses.iter().map(ToString::to_string);
        facts.dns_names.iter().cloned().chain(addresses).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        names("/etc/kubernetes/pki/apiserver.crt"),
        "cp1 cp1.lab.example kubernetes kubernetes.default kubernetes.default.svc \
         kubernetes.default.svc.cluster.local localhost 10.96.0.1 fd00:96::1 10.90.0.11 127.0.0.1 fd00:90::11"
    );
    assert_eq!(
        names("/etc/kubernetes/pki/etcd/peer.crt"),
        "cp1 cp1.lab.example localhost 10.90.0.11 127.0.0.1 ::1 fd00:90::11"
    );
    assert_eq!(names("/var/lib/kubelet/pki/kubelet.crt"), "cp1 cp1.lab.example 10.90.0.11 fd00:90::11");
}

#[test]
fn contradictions_are_refused_before_keys_are_made() {
    let refused = |change: fn(&mut ClusterPki)| {
        let mut pki = samples::ha();
        change(&mut pki);
        pki.validate().unwrap_err().to_string()
    };
    assert!(refused(|pki| pki.hosts.clear()).contains("no control plane"));
    assert!(refused(|pki| pki.hosts.iter_mut().for_each(|h| h.roles.etcd = false)).contains("no etcd member"));
    assert!(refused(|pki| pki.hosts[1].name = "cp1".to_owned()).contains("`cp1` is there twice"));
    assert!(refused(|pki| pki.hosts[1].name = "Cp_2".to_owned()).contains("Cp_2"));
    assert!(refused(|pki| pki.hosts[4].addresses.clear()).contains("`w2` has no address"));
    assert!(refused(|pki| pki.hosts[4].addresses = pki.hosts[0].addresses.clone()).contains("share the address"));
    assert!(refused(|pki| pki.service_addresses.clear()).contains("no service address"));
    assert!(refused(|pki| pki.api_port = 0).contains("port is 0"));
    let mut pki = samples::ha();
    pki.extra_api_server_names.push("not a name".to_owned());
    assert!(matches!(pki.host_paths("cp1"), Err(Error::InvalidName { .. })));
    assert!(matches!(samples::ha().host_paths("cp9"), Err(Error::UnknownHost { .. })));
}

#[test]
fn the_api_servers_group_towards_kubelets_depends_on_the_patch() {
    let group = |minor, patch| {
        let subject = LeafName::ApiServerKubeletClient.subject(KubernetesVersion::new(minor, patch), "cp1");
        subject.organization.is_some()
    };
    for (minor, patch) in [(34, 4), (34, 7), (35, 4), (36, 0)] {
        assert!(group(minor, patch), "1.{minor}.{patch}");
    }
    for (minor, patch) in [(34, 8), (36, 1), (36, 3), (37, 0)] {
        assert!(!group(minor, patch), "1.{minor}.{patch}");
    }
}

/// Not a test of speed, which no shared machine can promise: it prints what RSA costs.
#[test]
#[ignore = "a measurement: run with --ignored --nocapture"]
fn what_rsa_costs() {
    let pki = ClusterPki { algorithm: KeyAlgorithm::Rsa2048, ..samples::ha() };
    for threads in [1, 2] {
        let begun = Instant::now();
        let authorities = Authorities::create(pki.algorithm, pki.validity, pki.now).unwrap();
        let made = begun.elapsed();
        pki.issue(&authorities, &all(&pki), NonZeroUsize::new(threads).unwrap()).unwrap();
        eprintln!("{threads} threads: authorities {made:?}, with all leaves {:?}", begun.elapsed());
    }
}
