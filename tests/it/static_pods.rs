//! The scripts that end etcd's static pod: the very text of `playbooks/debian/`, run by a shell with its folders moved and with a kubelet,
//! a container runtime and an etcd of a few lines each.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kubewright::playbooks;

/// Lists what runs; ends it. The kubelet, if it runs, then starts the next one at once.
const CRICTL: &str = r#"#!/bin/sh
echo "crictl $*" >>"$HOST/calls"
[ ! -f "$HOST/no-runtime" ] || { echo 'connection refused' >&2; exit 1; }
shift 2
case "$*" in
*namespace=kube-system*) ;;
ps* | pods*) echo 'WARN all namespaces'; echo "$*" >>"$HOST/too-wide" ;;
esac
case "$*" in
ps*pod.name=etcd-cp1*) echo 'WARN something' >&2; cat "$HOST/etcd" 2>/dev/null ;;
ps*pod.name=kube-apiserver-cp1*) cat "$HOST/server" 2>/dev/null ;;
ps*pod.name=*) ;;
ps*container.name=etcd*running*) cat "$HOST/etcd" "$HOST/foreign" 2>/dev/null ;;
pods*pod.name=etcd-cp1*) cat "$HOST/pod" 2>/dev/null ;;
stop*000002) rm -f "$HOST/server" ;;
stop*) rm -f "$HOST/etcd"; [ ! -f "$HOST/kubelet" ] || printf '%064d\n' "$(wc -l <"$HOST/calls")" >"$HOST/etcd" ;;
rmp*) rm -f "$HOST/pod" ;;
esac
exit 0
"#;

const SYSTEMCTL: &str = r#"#!/bin/sh
echo "systemctl $*" >>"$HOST/calls"
case "$*" in
is-active*) [ -f "$HOST/kubelet" ] ;;
is-failed*) false ;;
stop*) rm -f "$HOST/kubelet" ;;
start*) [ ! -f "$HOST/broken" ] && touch "$HOST/kubelet" ;;
restart*)
	touch "$HOST/kubelet"
	[ -f "$HOST/etcd" ] || [ ! -f "$HOST/etc/kubernetes/manifests/etcd.yaml" ] || printf '%064d\n' 99 >"$HOST/etcd" ;;
show*) echo 0 ;;
esac
"#;

const CURL: &str = r#"#!/bin/sh
[ -f "$HOST/etcd" ] || exit 7
printf '{"health":"true"}\n200'
"#;

/// A host in a folder.
struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let this = Self { folder: tempfile::tempdir().unwrap() };
        for folder in ["bin", "etc/kubernetes/manifests", "var/lib/etcd/member", "var/lib/kubelet", "run"] {
            fs::create_dir_all(this.path(folder)).unwrap();
        }
        for (name, text) in [("crictl", CRICTL), ("systemctl", SYSTEMCTL), ("curl", CURL), ("kubelet", "#!/bin/sh\n")] {
            let path = this.path("bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for pod in ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-vip"] {
            fs::write(this.path(&format!("etc/kubernetes/manifests/{pod}.yaml")), pod).unwrap();
        }
        fs::write(this.path("var/lib/etcd/member/data"), "of etcd").unwrap();
        // As the kernel tells it: port 2379 is listened at, and somebody is connected to another.
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:0035 00000000:0000 0A 0\n   \
                     1: 00000000:094B 00000000:0000 0A 0\n   2: 0100007F:1F90 0100007F:ABCD 01 0\n";
        fs::write(this.path("tcp"), table).unwrap();
        fs::write(this.path("kubelet"), "").unwrap();
        fs::write(this.path("etcd"), format!("{:064}\n", 1)).unwrap();
        fs::write(this.path("pod"), format!("{:064}\n", 7)).unwrap();
        this
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn run(&self, text: &str) -> Output {
        let root = self.folder.path().to_str().unwrap();
        let moved = text
            .replace("/etc/kubernetes", &format!("{root}/etc/kubernetes"))
            .replace("/var/lib/", &format!("{root}/var/lib/"))
            .replace("/var/log/", &format!("{root}/var/log/"))
            .replace("=/run/", &format!("={root}/run/"))
            .replace("/proc/net/tcp", &format!("{root}/tcp"))
            .replace("PATH=/usr/local/sbin:", &format!("PATH={root}/bin:/usr/local/sbin:"));
        let values = "NODE_NAME=cp1\nADVERTISE_ADDRESS=10.0.0.1\nCRI_SOCKET=unix:///x\nOPERATION=7f3a9c\nSTEP=01-cp1-restart\n\
                      DEADLINE_SECONDS=5\n";
        let mut command = Command::new("/bin/sh");
        command.arg("-s").env("HOST", root).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), format!("{values}{moved}").as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// What it said; it has to end with this code.
    fn ends(&self, text: &str, code: i32) -> String {
        let output = self.run(text);
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        said
    }

    /// How often something was called that begins so.
    fn called(&self, words: &str) -> usize {
        let calls = fs::read_to_string(self.path("calls")).unwrap_or_default();
        calls.lines().filter(|line| line.contains(words)).count()
    }

    /// Nothing of etcd's has moved, and the kubelet runs.
    fn is_as_before(&self) {
        assert_eq!(fs::read_to_string(self.path("var/lib/etcd/member/data")).unwrap(), "of etcd");
        assert!(self.path("kubelet").exists(), "the host's other pods need it");
    }

    fn manifests(&self) -> Vec<String> {
        names(&self.path("etc/kubernetes/manifests"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn etcd_is_ended_once_however_often_it_is_asked_for() {
    let host = Host::new();
    let said = host.ends(playbooks::RESTART_ETCD, 0);
    assert!(said.contains("etcd: ending") && said.contains("etcd: healthy"), "{said}");
    assert_eq!(host.called(" stop --timeout"), 1);
    let said = host.ends(playbooks::RESTART_ETCD, 0);
    assert!(said.contains("was ended before"), "{said}");
    assert_eq!(host.called(" stop --timeout"), 1);
    assert_eq!(host.called("systemctl restart kubelet"), 0, "nothing else of the host is touched");
}

#[test]
fn a_port_that_is_not_open_is_not_asked() {
    let host = Host::new();
    // Somebody is connected there, and nobody listens.
    fs::write(host.path("tcp"), "  sl  local_address rem_address   st\n   0: 00000000:094B 0100007F:ABCD 01 0\n")
        .unwrap();
    let said = host.ends(playbooks::RESTART_ETCD, 26);
    assert!(said.contains("last answer: port not open yet"), "{said}");
    // Without the kernel's table it is asked after all.
    fs::remove_file(host.path("tcp")).unwrap();
    host.ends(playbooks::RESTART_ETCD, 0);
}

#[test]
fn one_that_waits_for_its_next_try_is_started_at_once() {
    let host = Host::new();
    fs::remove_file(host.path("etcd")).unwrap();
    let said = host.ends(playbooks::RESTART_ETCD, 0);
    assert!(said.contains("etcd: does not run") && said.contains("etcd: healthy"), "{said}");
    assert_eq!((host.called(" stop --timeout"), host.called("systemctl restart kubelet")), (0, 1));
}

#[test]
fn no_server_without_etcd_keeps_the_kubelet_waiting() {
    let host = Host::new();
    fs::remove_file(host.path("etcd")).unwrap();
    fs::write(host.path("server"), format!("{:064}\n", 2)).unwrap();
    let said = host.ends(playbooks::RESTART_ETCD, 0);
    assert!(said.contains("kube-apiserver: ended after"), "{said}");
    assert!(!host.path("server").exists());
    let calls = fs::read_to_string(host.path("calls")).unwrap();
    let (ended, started) = (calls.find(" stop --timeout").unwrap(), calls.find("systemctl restart kubelet").unwrap());
    assert!(ended < started, "{calls}");
}

#[test]
fn one_that_would_not_come_back_is_not_ended() {
    let host = Host::new();
    fs::remove_file(host.path("etc/kubernetes/manifests/etcd.yaml")).unwrap();
    assert!(host.ends(playbooks::RESTART_ETCD, 25).contains("Nothing was ended"));
    let host = Host::new();
    fs::write(host.path("no-runtime"), "").unwrap();
    assert!(host.ends(playbooks::RESTART_ETCD, 25).contains("connection refused"));
    assert!(!host.path("var/lib/kubewright/ops/7f3a9c/01-cp1-restart.container").exists(), "nothing is known of it");
}

#[test]
fn one_that_does_not_come_up_again_says_so_within_its_time() {
    let host = Host::new();
    // No kubelet starts the next one.
    fs::remove_file(host.path("kubelet")).unwrap();
    let log = host.path("var/log/pods/kube-system_etcd-cp1_5e1f/etcd");
    fs::create_dir_all(&log).unwrap();
    fs::write(log.join("3.log"), DIED).unwrap();
    let said = host.ends(playbooks::RESTART_ETCD, 26);
    assert!(said.contains("etcd on cp1 did not become healthy within 5 s"), "{said}");
    assert!(said.contains("slow fdatasync") && said.contains("failed to save member to store"), "{said}");
    assert!(!said.contains("schedule.go:101"), "what it died of, not where it stood\n{said}");
}

/// A container's log as the CRI keeps it, of a program that panicked.
const DIED: &str = r#"2026-11-28T00:00:01Z stderr F {"level":"warn","caller":"wal/wal.go:1","msg":"slow fdatasync"}
2026-11-28T00:00:02Z stderr F {"level":"panic","caller":"membership/storev2.go:141","msg":"failed to save member to store"}
2026-11-28T00:00:02Z stderr F panic: failed to save member to store
2026-11-28T00:00:02Z stderr F goroutine 176 [running]:
2026-11-28T00:00:02Z stderr F  go.etcd.io/etcd/pkg/v3@v3.6.6/schedule/schedule.go:101 +0x16f
"#;

#[test]
fn data_and_manifests_move_aside_and_nothing_is_deleted() {
    let host = Host::new();
    let said = host.ends(playbooks::SET_ETCD_ASIDE, 0);
    assert_eq!(host.manifests(), ["kube-vip.yaml"], "{said}");
    let aside = host.path("var/lib/kubewright/aside/7f3a9c");
    let kept = ["etcd.yaml", "kube-apiserver.yaml", "kube-controller-manager.yaml", "kube-scheduler.yaml"];
    assert_eq!(names(&aside), kept);
    assert_eq!(fs::metadata(&aside).unwrap().permissions().mode() & 0o777, 0o700);
    let lib = names(&host.path("var/lib"));
    let data: Vec<&String> = lib.iter().filter(|name| name.starts_with("etcd.")).collect();
    assert_eq!(data.len(), 1, "{lib:?}");
    let text = fs::read_to_string(host.path("var/lib").join(data[0]).join("member/data")).unwrap();
    assert_eq!(text, "of etcd");
    assert!(!host.path("var/lib/etcd").exists() && !host.path("etcd").exists() && !host.path("pod").exists());
    assert!(host.path("kubelet").exists(), "the kubelet runs in the end");
    host.ends(playbooks::SET_ETCD_ASIDE, 0);
    assert_eq!(names(&host.path("var/lib")), lib, "again at any time");
    assert_eq!(names(&aside), kept);
}

#[test]
fn nothing_moves_while_its_end_cannot_be_seen() {
    let host = Host::new();
    fs::write(host.path("no-runtime"), "").unwrap();
    let said = host.ends(playbooks::SET_ETCD_ASIDE, 25);
    assert!(
        said.contains("containerd does not tell what runs: connection refused. etcd's data is untouched."),
        "{said}"
    );
    assert!(said.contains("The kubelet runs again; manifests that have moved already are in "), "{said}");
    host.is_as_before();
    fs::remove_file(host.path("no-runtime")).unwrap();
    host.ends(playbooks::SET_ETCD_ASIDE, 0);
    assert!(!host.path("var/lib/etcd").exists());
    assert!(!host.path("too-wide").exists(), "pods of other namespaces are nobody's business here");
}

#[test]
fn a_kubelet_that_does_not_start_again_is_told_of() {
    let host = Host::new();
    for name in ["no-runtime", "broken"] {
        fs::write(host.path(name), "").unwrap();
    }
    let said = host.ends(playbooks::SET_ETCD_ASIDE, 25);
    assert!(said.contains("The kubelet is stopped and does not start: see 'journalctl -u kubelet'"), "{said}");
}

#[test]
fn without_a_place_for_manifests_the_kubelet_is_not_even_stopped() {
    let host = Host::new();
    fs::create_dir_all(host.path("var/lib/kubewright")).unwrap();
    fs::write(host.path("var/lib/kubewright/aside"), "in its way").unwrap();
    let said = host.ends(playbooks::SET_ETCD_ASIDE, 23);
    assert!(said.contains("Nothing was ended or moved, and the kubelet was left alone"), "{said}");
    assert_eq!((host.called("systemctl stop"), host.manifests().len()), (0, 5));
    host.is_as_before();
}

#[test]
fn nothing_moves_while_any_etcd_runs() {
    let host = Host::new();
    fs::write(host.path("foreign"), format!("{:064}\n", 8)).unwrap();
    let said = host.ends(playbooks::SET_ETCD_ASIDE, 25);
    assert!(said.contains("A container of etcd still runs: ") && said.contains("The kubelet runs again"), "{said}");
    host.is_as_before();
    fs::remove_file(host.path("foreign")).unwrap();

    // As one does that systemd started.
    fs::create_dir(host.path("var/lib/etcd/member/snap")).unwrap();
    let database = fs::File::create(host.path("var/lib/etcd/member/snap/db")).unwrap();
    database.lock().unwrap();
    let said = host.ends(playbooks::SET_ETCD_ASIDE, 25);
    assert!(said.contains("A process still has etcd's database open"), "{said}");
    host.is_as_before();
    drop(database);
    host.ends(playbooks::SET_ETCD_ASIDE, 0);
    assert!(!host.path("var/lib/etcd").exists());
}
