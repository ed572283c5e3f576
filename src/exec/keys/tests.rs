use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use kubewright_core::facts::Facts;
use kubewright_core::intent::Intent;
use kubewright_core::plan::{FORMAT, Plan};
use kubewright_core::spec::read;
use tempfile::TempDir;
use tokio::sync::{OnceCell, mpsc};

use super::*;
use crate::exec::cancel::Cancel;
use crate::exec::mirror::{Mirror, Origin};
use crate::host::fake::{FakeHosts, Fault};
use crate::ports::Clock;

const NAMES: [&str; 3] = ["cp1", "cp2", "cp3"];
const COPY: &str = "/var/lib/kubewright/secrets/7f3a/keys.json";

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }
}

fn plan() -> Plan {
    let text = "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {name: lab}\nspec:\n  \
        kubernetes: {version: 1.35.4}\n  endpoint: {mode: nodeLocal}\n  \
        certificates: {encryptionAlgorithm: ECDSA-P256}\n  hosts:\n  \
        - {name: cp1, address: 10.77.0.11, roles: [controlPlane, etcd]}\n  \
        - {name: cp2, address: 10.77.0.12, roles: [controlPlane, etcd]}\n  \
        - {name: cp3, address: 10.77.0.13, roles: [controlPlane, etcd]}\n";
    let reading = read("test.yaml", text);
    Plan {
        format: FORMAT,
        operation: "7f3a".into(),
        tool_version: "0.0.0".into(),
        intent: Intent::Bootstrap,
        spec: reading.spec.unwrap_or_else(|| panic!("{:#?}", reading.findings)),
        keepers: NAMES.map(HostName::from).to_vec(),
        assumptions: Vec::new(),
        findings: Vec::new(),
        steps: Vec::new(),
    }
}

/// A run on a machine whose secret store is this folder.
fn hands(hosts: &FakeHosts, store: &TempDir) -> Hands {
    let plan = plan();
    let (notes, _) = mpsc::unbounded_channel();
    let nothing: Arc<[u8]> = Arc::from(Vec::new());
    let origin = Origin { operation: plan.operation.clone(), fence: 1, plan: nothing.clone(), facts: nothing };
    Hands {
        cancel: Cancel::default(),
        plan,
        facts: Facts::default(),
        hosts: Arc::new(hosts.clone()),
        fence: 1,
        secrets: Secrets::new(store.path().join("secrets")),
        clock: Arc::new(Noon),
        mirror: Mirror::start(Vec::new(), &origin, &notes).sender(),
        keys: OnceCell::new(),
        api: OnceCell::new(),
        etcd: OnceCell::new(),
        whole: Mutex::default(),
    }
}

fn bundle(word: &str) -> Vec<u8> {
    format!(r#"{{"hosts":{{"cp1":[{{"path":"{AUTHORITY}","mode":420,"text":"{word}"}}]}}}}"#).into_bytes()
}

fn word(found: Option<Keys>) -> Option<String> {
    found.map(|keys| keys.authority().unwrap().to_owned())
}

fn silence(hosts: &FakeHosts, names: &[&str]) {
    names.iter().for_each(|name| hosts.fault(*name, "common/files.sh", Fault::LostBefore));
}

#[tokio::test]
async fn never_made_only_where_a_majority_says_so() {
    let (hosts, store) = (FakeHosts::new(NAMES), TempDir::new().unwrap());
    let hands = hands(&hosts, &store);
    assert_eq!(word(find(&hands).await.unwrap()), None);
    silence(&hosts, &["cp2"]);
    assert_eq!(word(find(&hands).await.unwrap()), None);
    silence(&hosts, &["cp2", "cp3"]);
    let failure = find(&hands).await.err().unwrap();
    assert!(failure.text.contains("cp2") && failure.text.contains("cp3") && !failure.text.contains("cp1"), "{failure}");
}

#[tokio::test]
async fn a_failed_look_makes_no_second_set() {
    let (hosts, store) = (FakeHosts::new(NAMES), TempDir::new().unwrap());
    let hands = hands(&hosts, &store);
    hosts.put_file("cp1", COPY, 0o600, bundle("theirs"));
    hosts.fault("cp1", "connect", Fault::Refused);
    silence(&hosts, &["cp2"]);
    assert!(make(&hands, KeySource::New, &[], &[], &mut |_| {}).await.is_err());
    assert_eq!(hands.secrets.load(BUNDLE).unwrap(), None, "nothing was made");
}

#[tokio::test]
async fn a_copy_on_a_control_plane_wins_over_a_stale_one_here() {
    let (hosts, store) = (FakeHosts::new(NAMES), TempDir::new().unwrap());
    let hands = hands(&hosts, &store);
    hands.secrets.keep(BUNDLE, &bundle("stale")).unwrap();
    hosts.put_file("cp3", COPY, 0o600, bundle("theirs"));
    silence(&hosts, &["cp1", "cp2"]);
    assert_eq!(word(find(&hands).await.unwrap()).as_deref(), Some("theirs"));
    assert_eq!(hands.secrets.load(BUNDLE).unwrap().unwrap().as_slice(), bundle("theirs"));
}

#[tokio::test]
async fn the_copy_here_counts_where_no_control_plane_has_one() {
    let (hosts, store) = (FakeHosts::new(NAMES), TempDir::new().unwrap());
    let hands = hands(&hosts, &store);
    hands.secrets.keep(BUNDLE, &bundle("ours")).unwrap();
    assert_eq!(word(find(&hands).await.unwrap()).as_deref(), Some("ours"));
    silence(&hosts, &NAMES);
    assert_eq!(word(find(&hands).await.unwrap()).as_deref(), Some("ours"));
}

#[tokio::test]
async fn different_copies_are_for_a_person() {
    let (hosts, store) = (FakeHosts::new(NAMES), TempDir::new().unwrap());
    let hands = hands(&hosts, &store);
    hosts.put_file("cp1", COPY, 0o600, bundle("one"));
    hosts.put_file("cp2", COPY, 0o600, bundle("two"));
    hosts.put_file("cp3", COPY, 0o600, bundle("two"));
    let failure = find(&hands).await.err().unwrap();
    assert!(failure.text.contains("different keys") && failure.text.contains("cp2, cp3"), "{failure}");
    assert!(failure.hint.is_some_and(|hint| hint.contains(COPY)));
    assert!(!failure.text.contains("two\""), "no key is shown");
}

#[tokio::test]
async fn making_again_makes_the_same() {
    let (hosts, store) = (FakeHosts::new(NAMES), TempDir::new().unwrap());
    let names: Vec<HostName> = NAMES.iter().map(|name| (*name).into()).collect();
    let first = hands(&hosts, &store);
    first.secrets.keep(BUNDLE, &bundle("ours")).unwrap();
    // The look succeeds, the writing does not on two of three: the step fails, one copy is out.
    for name in ["cp2", "cp3"] {
        hosts.put_lock(name, kubewright_core::facts::lock::Lock { fence: 9, holder: None }, 0);
    }
    assert!(make(&first, KeySource::New, &names, &names, &mut |_| {}).await.unwrap_err().fenced);
    for name in ["cp2", "cp3"] {
        hosts.put_lock(name, kubewright_core::facts::lock::Lock::default(), 0);
    }
    let elsewhere = TempDir::new().unwrap();
    let second = hands(&hosts, &elsewhere);
    make(&second, KeySource::New, &names, &names, &mut |_| {}).await.unwrap();
    for name in NAMES {
        assert_eq!(hosts.files(name)[COPY], (0o600, bundle("ours")), "{name}");
    }
    assert_eq!(second.secrets.load(BUNDLE).unwrap().unwrap().as_slice(), bundle("ours"));
}

#[tokio::test]
async fn made_once_and_found_from_another_machine() {
    let (hosts, store) = (FakeHosts::new(NAMES), TempDir::new().unwrap());
    let names: Vec<HostName> = NAMES.iter().map(|name| (*name).into()).collect();
    make(&hands(&hosts, &store), KeySource::New, &names, &names, &mut |_| {}).await.unwrap();
    let (_, made) = hosts.files("cp1")[COPY].clone();
    let elsewhere = TempDir::new().unwrap();
    make(&hands(&hosts, &elsewhere), KeySource::New, &names, &names, &mut |_| {}).await.unwrap();
    assert!(NAMES.iter().all(|name| hosts.files(*name)[COPY].1 == made));
}

#[test]
fn authorities_stay_and_kubelets_renew_their_own() {
    let renewed =
        ["pki/apiserver.crt", "pki/apiserver.key", "pki/etcd/peer.crt", "pki/front-proxy-client.key", "admin.conf"];
    assert!(renewed.iter().all(|path| is_renewed(&format!("{KUBERNETES_DIR}/{path}"))));
    let stay = ["pki/ca.crt", "pki/etcd/ca.key", "pki/front-proxy-ca.crt", "pki/sa.key", "pki/sa.pub", "kubelet.conf"];
    assert!(!stay.iter().any(|path| is_renewed(&format!("{KUBERNETES_DIR}/{path}"))));
    assert!(!is_renewed("/var/lib/kubelet/pki/kubelet-client-current.pem"));
    assert!(is_renewed("/var/lib/kubelet/pki/kubelet.crt") && is_renewed("/var/lib/kubelet/pki/kubelet.key"));
}
