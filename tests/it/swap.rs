//! A host goes over to another version, or back: the very text of `playbooks/debian/swap.sh`, run by a shell on folders of its
//! own, killed before every single effect. What systemd and containerd would do is told here; the lab has the real ones.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kubewright_core::plan::hex;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const PARTS: &str = concat!(
    include_str!("../../playbooks/debian/say.sh"),
    include_str!("../../playbooks/debian/artefacts.sh"),
    include_str!("../../playbooks/debian/static-pods.sh"),
    include_str!("../../playbooks/debian/swap.sh"),
);

/// What begins the task at the end of its text.
const BEGIN: &str = "swap </dev/null\nexit\n";

/// In place of the host: its folders; a kubelet that serves unless it is told not to; effects that count, and end the shell
/// before the one that is named.
const HERE: &str = r#"
STATE=$ROOT/state RUN=$ROOT/run
take_lock() { :; }
begin() { now; BEGAN=$NOW; }
wait_for() { :; }
etcd_serves() { [ "${SERVES:-all}" != none ] || fail timed_out "no etcd"; }
start_kubelet() { echo up >"$ROOT/kubelet"; }
servers_serve() { [ "${SERVES:-all}" = all ] || fail timed_out "it does not serve"; }
control_plane_serves() { etcd_serves && servers_serve; }
worker_serves() { servers_serve; }
systemctl() { case $1 in stop) rm -f "$ROOT/kubelet" ;; is-active) [ -f "$ROOT/kubelet" ] ;; esac; }
crictl() { :; }
timeout() { shift; "$@"; }
sync() { :; }
effect() {
	effects=$(($(cat "$ROOT/effects" 2>/dev/null || echo 0) + 1))
	echo "$effects" >"$ROOT/effects"
	[ "$effects" != "${KILL_BEFORE:-0}" ] || kill -9 $$
}
mv() { effect; command mv "$@"; }
ln() { effect; command ln "$@"; }
rm() { effect; command rm "$@"; }
cp() { effect; command cp "$@"; }
"#;

/// Texts of a node by their path; the third is new with the version, the last one is not there before.
const TEXTS: [(&str, &str, &str); 4] = [
    ("etc/kubernetes/manifests/etcd.yaml", "etcd 1", "etcd 2"),
    ("etc/kubernetes/manifests/kube-apiserver.yaml", "api 1", "api 2"),
    ("var/lib/kubelet/config.yaml", "same", "same"),
    ("var/lib/kubelet/more.yaml", "", "more"),
];

struct Node(TempDir);

impl Node {
    /// A node of the version before, with the next one staged and its texts beside.
    fn new() -> Self {
        let node = Self(tempfile::tempdir().unwrap());
        for (path, old, new) in TEXTS {
            if !old.is_empty() {
                node.write(path, old);
            }
            let root = node.0.path().strip_prefix("/").unwrap().join(path);
            node.write(&format!("swap/new/{}", root.display()), new);
        }
        for version in ["v1", "v2"] {
            node.write(&format!("lib/{version}/kubelet"), version);
        }
        fs::create_dir_all(node.path("bin")).unwrap();
        symlink(node.path("lib/v1/kubelet"), node.path("bin/kubelet")).unwrap();
        node.write("state/artefacts/kubelet", &format!("{}\n\n", digest("v1")));
        node.write("kubelet", "up");
        fs::create_dir_all(node.path("run")).unwrap();
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn go(&self, way: &str, more: &[(&str, &str)]) -> Output {
        let parts = PARTS.strip_suffix(BEGIN).expect("the task begins at its end");
        let (place, link) = (self.path("lib/v2/kubelet"), self.path("bin/kubelet"));
        let program =
            format!("kubelet http://a/kubelet {} file {} 0755 {}", digest("v2"), place.display(), link.display());
        let folder = self.path("swap");
        let values: [(&str, &str); 11] = [
            ("WAY", way),
            ("FOLDER", folder.to_str().unwrap()),
            ("VERSION", "v2"),
            ("PROGRAMS", &program),
            ("NODE_NAME", "cp1"),
            ("ADVERTISE_ADDRESS", "10.0.0.1"),
            ("CRI_SOCKET", "unix:///none"),
            ("CONTROL_PLANE", "yes"),
            ("ETCD", "yes"),
            ("NODE_LOCAL", "no"),
            ("DEADLINE_SECONDS", "1"),
        ];
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{parts}\n{HERE}\nswap\n")).env("ROOT", self.0.path()).stdin(Stdio::null());
        shell.envs(values.into_iter().chain(more.iter().copied())).output().unwrap()
    }

    fn goes(&self, way: &str, more: &[(&str, &str)]) {
        let output = self.go(way, more);
        assert!(output.status.success(), "{way}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Everything that counts: texts, what the link leads to, what the stamp says, whether the kubelet runs.
    fn state(&self) -> BTreeMap<String, String> {
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let mut state: BTreeMap<String, String> =
            TEXTS.iter().map(|(path, ..)| ((*path).to_owned(), read(&self.path(path)))).collect();
        state.insert("program".to_owned(), read(&self.path("bin/kubelet")));
        state.insert("stamp".to_owned(), read(&self.path("state/artefacts/kubelet")).trim().to_owned());
        state.insert("kubelet".to_owned(), read(&self.path("kubelet")).trim().to_owned());
        state
    }

    fn effects(&self) -> usize {
        fs::read_to_string(self.path("effects")).unwrap_or_default().trim().parse().unwrap_or(0)
    }
}

fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// The state of a node that nothing went wrong on.
fn gone(way: &[&str], more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let node = Node::new();
    way.iter().for_each(|way| node.goes(way, more));
    node.state()
}

#[test]
fn forward_changes_everything_and_back_brings_everything_back() {
    let before = Node::new().state();
    let after = gone(&["forward"], &[]);
    assert_eq!(after["etc/kubernetes/manifests/kube-apiserver.yaml"], "api 2");
    assert_eq!((after["program"].as_str(), after["stamp"].as_str()), ("v2", digest("v2").as_str()));
    assert_eq!(after["var/lib/kubelet/more.yaml"], "more");
    assert_eq!(gone(&["forward", "forward"], &[]), after, "what is there is not done again");
    assert_eq!(gone(&["back"], &[]), before, "back from nothing is nothing");

    let node = Node::new();
    assert!(!node.go("forward", &[("SERVES", "none")]).status.success());
    node.goes("back", &[]);
    assert_eq!(node.state(), before, "an etcd that never served goes back with the rest");
    assert!(!node.path("var/lib/kubelet/more.yaml").exists(), "what was not there is gone again");
    node.goes("forward", &[]);
    assert_eq!(node.state(), after, "and the next try goes forward");
}

#[test]
fn an_etcd_that_has_served_does_not_go_back() {
    let before = Node::new().state();
    let node = Node::new();
    let failed = node.go("forward", &[("SERVES", "etcd")]);
    assert!(String::from_utf8_lossy(&failed.stderr).contains("it does not serve"));
    node.goes("back", &[]);
    let mut expected = before;
    expected.insert("etc/kubernetes/manifests/etcd.yaml".to_owned(), "etcd 2".to_owned());
    assert_eq!(node.state(), expected);
}

#[test]
fn killed_before_any_effect_either_way_finishes() {
    let (before, after) = (Node::new().state(), gone(&["forward"], &[]));
    let counted = Node::new();
    counted.goes("forward", &[]);
    let effects = counted.effects();
    assert!(effects > 15, "{effects} effects");
    for effect in 1..=effects {
        let killed = |way: &str| {
            let node = Node::new();
            let output = node.go("forward", &[("KILL_BEFORE", &effect.to_string())]);
            assert!(!output.status.success(), "killed before effect {effect}");
            node.goes(way, &[]);
            node.state()
        };
        assert_eq!(killed("forward"), after, "forward after a kill before effect {effect}");
        let mut back = killed("back");
        if back["etc/kubernetes/manifests/etcd.yaml"] == "etcd 2" {
            // It had served by then.
            back.insert("etc/kubernetes/manifests/etcd.yaml".to_owned(), "etcd 1".to_owned());
        }
        assert_eq!(back, before, "back after a kill before effect {effect}");
    }
}

#[test]
fn a_program_that_was_not_staged_or_is_somebody_elses_stops_it_before_anything_changes() {
    let before = Node::new().state();
    let node = Node::new();
    node.write("lib/v2/kubelet", "another");
    let refused = node.go("forward", &[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not what was planned"));
    assert_eq!(node.state(), before);
    let node = Node::new();
    fs::remove_file(node.path("bin/kubelet")).unwrap();
    node.write("bin/kubelet", "v1");
    let refused = node.go("forward", &[]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is not what kubewright put there"));
    assert_eq!(node.state(), before);
}
