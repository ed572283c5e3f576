//! A member goes back to a snapshot and from it again: the very text of `playbooks/debian/restore.sh`, run by a shell on folders of
//! its own, killed before every single effect. What systemd, containerd and etcdutl would do is told here.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

const PARTS: &str = concat!(
    include_str!("../../playbooks/debian/say.sh"),
    include_str!("../../playbooks/debian/static-pods.sh"),
    include_str!("../../playbooks/debian/etcd.sh"),
    include_str!("../../playbooks/debian/restore.sh"),
);

/// What begins the task at the end of its text.
const BEGIN: &str = "restore </dev/null\nexit\n";

/// In place of the host: a kubelet that starts what it has manifests of and writes down which; an etcdutl that makes a directory of
/// the snapshot's text, or none; effects that count, and end the shell before the one that is named.
const HERE: &str = r#"
STATE=$ROOT/state RUN=$ROOT/run
take_lock() { :; }
begin() { :; }
wait_for() { :; }
follow_kubelet() { :; }
start_kubelet() {
	echo up >"$ROOT/kubelet"
	for pod in "$MANIFESTS"/*.yaml; do
		case $pod in */etcd.yaml) cat /var/lib/etcd/member/data >"$ROOT/serves" || exit 1 ;; esac
	done
	ls "$MANIFESTS" | tr '\n' ' ' >"$ROOT/runs"
}
systemctl() {
	case $1 in
	stop) rm -f "$ROOT/kubelet" "$ROOT/runs" ;;
	restart) start_kubelet ;;
	is-active) [ -f "$ROOT/kubelet" ] ;;
	esac
}
crictl() { :; }
mountpoint() { return 1; }
umount() { :; }
ctr() {
	case "$*" in *"images mount r.example/etcd:1 "*) ;; *) return 0 ;; esac
	for mount_place in "$@"; do :; done
	command mkdir -p "$mount_place/usr/local/bin"
	ln -sf "$ROOT/etcdutl" "$mount_place/usr/local/bin/etcdutl"
}
timeout() { shift; "$@"; }
sync() { :; }
effect() {
	effects=$(($(cat "$ROOT/effects" 2>/dev/null || echo 0) + 1))
	echo "$effects" >"$ROOT/effects"
	[ "$effects" != "${KILL_BEFORE:-0}" ] || kill -9 $$
}
mv() { effect; command mv "$@"; }
rm() { effect; command rm "$@"; }
cp() { effect; command cp "$@"; }
mkdir() { effect; command mkdir "$@"; }
rmdir() { effect; command rmdir "$@"; }
"#;

const ETCDUTL: &str = r#"#!/bin/sh
[ "$1" != version ] || { echo "etcdutl version: 3.6.14"; exit; }
snapshot=$3
while [ "$1" != --data-dir ]; do shift; done
mkdir -p "$2/member"
case "$(cat "$snapshot")" in damaged) echo "expected sha256" >&2; exit 1 ;; esac
cat "$snapshot" >"$2/member/data"
"#;

const PODS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

const FORWARD: [&str; 6] = ["prepare", "stop", "exchange", "start-etcd", "start-server", "start-controllers"];
const BACK: [&str; 5] = ["stop", "exchange", "start-etcd", "start-server", "start-controllers"];

struct Member(TempDir);

impl Member {
    fn new() -> Self {
        let member = Self(tempfile::tempdir().unwrap());
        for pod in PODS {
            member.write(&format!("etc/kubernetes/manifests/{pod}.yaml"), &format!("  image: r.example/{pod}:1\n"));
        }
        member.write("var/lib/etcd/member/data", "before");
        member.write("etcdutl", ETCDUTL);
        Command::new("chmod").arg("+x").arg(member.path("etcdutl")).status().unwrap();
        for folder in ["run", "state"] {
            fs::create_dir_all(member.path(folder)).unwrap();
        }
        member
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path(name)).ok()
    }

    fn do_part(&self, part: &str, way: &str, kill_before: u32) -> Output {
        let root = self.0.path().to_str().unwrap();
        let parts = PARTS.strip_suffix(BEGIN).expect("the task begins at its end");
        let parts = parts.replace("/var/lib/", &format!("{root}/var/lib/")).replace("=/etc/", &format!("={root}/etc/"));
        let here = HERE.replace("/var/lib/", &format!("{root}/var/lib/"));
        let snapshot = self.path("snapshot.db");
        if part == "prepare" {
            // The executor brings it at each try.
            let text = self.text("given").unwrap_or("the snapshot".to_owned());
            fs::write(&snapshot, text).unwrap();
        }
        let values = [
            ("PART", part),
            ("WAY", way),
            ("OF", "7f3a9c"),
            ("NODE_NAME", "cp1"),
            ("ADVERTISE_ADDRESS", "10.0.0.1"),
            ("CRI_SOCKET", "unix:///none"),
            ("DEADLINE_SECONDS", "1"),
            ("SNAPSHOT", snapshot.to_str().unwrap()),
            ("TOKEN", "lab-1"),
            ("INITIAL_CLUSTER", "cp1=https://10.0.0.1:2380"),
            ("PEER_URL", "https://10.0.0.1:2380"),
            ("BUMP", "1000000000"),
        ];
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(format!("{parts}\n{here}\nrestore\n")).env("ROOT", root).stdin(Stdio::null());
        let digest = Sha256::digest(self.text("planned").unwrap_or("the snapshot".to_owned()));
        shell.env("DIGEST", kubewright_core::plan::hex(&digest)).env("KILL_BEFORE", kill_before.to_string());
        fs::remove_file(self.path("effects")).ok();
        shell.envs(values).output().unwrap()
    }

    fn effects(&self) -> u32 {
        self.text("effects").and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    fn go(&self, parts: &[&str], way: &str) {
        for part in parts {
            let output = self.do_part(part, way, 0);
            assert!(output.status.success(), "{part}: {output:?}");
        }
    }

    fn serves(&self, data: &str) {
        assert_eq!(self.text("serves").as_deref(), Some(data));
        assert_eq!(self.text("var/lib/etcd/member/data").as_deref(), Some(data));
        let runs = self.text("runs").unwrap();
        assert!(PODS.iter().all(|pod| runs.contains(pod)), "{runs}");
    }
}

#[test]
fn the_snapshot_comes_in_and_what_was_there_comes_back() {
    let member = Member::new();
    member.go(&FORWARD, "forward");
    member.serves("the snapshot");
    assert_eq!(member.text("var/lib/etcd.before-7f3a9c/member/data").as_deref(), Some("before"));
    let said = member.do_part("sight", "", 0);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(
        said.contains("etcdutl 3.6.14\n") && said.contains("kept 7f3a9c data\n") && said.contains("free "),
        "{said}"
    );
    member.go(&BACK, "back");
    member.serves("before");
    assert_eq!(member.text("var/lib/etcd.undone-7f3a9c/member/data").as_deref(), Some("the snapshot"));
    let said = member.do_part("sight", "", 0);
    assert!(!String::from_utf8_lossy(&said.stdout).contains("kept"), "nothing is left to undo");
}

#[test]
fn only_etcd_runs_before_it_is_proved_and_no_controller_before_the_api_server() {
    let member = Member::new();
    member.go(&FORWARD[..4], "forward");
    assert_eq!(member.text("runs").as_deref(), Some("etcd.yaml "));
    member.go(&FORWARD[4..5], "forward");
    assert_eq!(member.text("runs").as_deref(), Some("etcd.yaml kube-apiserver.yaml "));
}

#[test]
fn a_kill_before_any_effect_changes_nothing_of_the_end() {
    for (parts, way) in [(&FORWARD[..], "forward"), (&BACK[..], "back")] {
        for (number, part) in parts.iter().enumerate() {
            for kill_before in 1.. {
                let member = Member::new();
                if way == "back" {
                    member.go(&FORWARD, "forward");
                }
                member.go(&parts[..number], way);
                let killed = member.do_part(part, way, kill_before);
                let is_over = member.effects() < kill_before;
                assert!(is_over || !killed.status.success(), "{part} {kill_before}: {killed:?}");
                member.go(&parts[number..], way);
                let (serves, kept) = match way {
                    "forward" => ("the snapshot", "var/lib/etcd.before-7f3a9c/member/data"),
                    _ => ("before", "var/lib/etcd.undone-7f3a9c/member/data"),
                };
                member.serves(serves);
                let other = if serves == "before" { "the snapshot" } else { "before" };
                assert_eq!(member.text(kept).as_deref(), Some(other), "{part} {kill_before}");
                if is_over {
                    break;
                }
            }
        }
    }
}

#[test]
fn what_is_damaged_or_another_file_stops_nothing() {
    for (given, planned, why) in [
        ("damaged", "damaged", "etcdutl does not restore it"),
        ("another", "the snapshot", "not the snapshot that was"),
    ] {
        let member = Member::new();
        member.write("given", given);
        member.write("planned", planned);
        let output = member.do_part("prepare", "", 0);
        assert!(!output.status.success());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(why) && told.contains("Nothing was stopped"), "{told}");
        assert_eq!(member.text("var/lib/etcd/member/data").as_deref(), Some("before"));
        assert!(!member.path("var/lib/etcd.restored-7f3a9c").exists());
    }
}

#[test]
fn a_lost_disk_leaves_nothing_to_undo_and_final_is_final() {
    let member = Member::new();
    fs::remove_dir_all(member.path("var/lib/etcd")).unwrap();
    member.go(&FORWARD, "forward");
    member.serves("the snapshot");
    let said = member.do_part("sight", "", 0);
    assert!(String::from_utf8_lossy(&said.stdout).contains("kept 7f3a9c none\n"), "{said:?}");
    member.go(&["finalize"], "");
    let said = member.do_part("sight", "", 0);
    assert!(!String::from_utf8_lossy(&said.stdout).contains("kept"), "{said:?}");
    member.serves("the snapshot");
}
