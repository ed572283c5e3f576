//! What kubewright tells of the running cluster's etcd, and the copies that it takes of it: with a member paused, stopped, damaged
//! behind its back, and with an alarm. The cluster is left as it was.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use age::secrecy::ExposeSecret;
use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Certificate, Client, ConnectOptions, Identity, TlsOptions};
use kubewright_core::facts::etcd::MemberId;
use serde_json::Value;
use xtask::cache::Cache;
use xtask::lab::Lab;

use super::cluster::Kubectl;
use super::operator::Operator;

const DATABASE: &str = "/var/lib/etcd/member/snap/db";
const MANIFEST: &str = "/etc/kubernetes/manifests/etcd.yaml";
const ASIDE: &str = "/root/etcd.yaml.aside";

/// A value that nothing else has, and what a bad disk makes of it.
const MARKER: &str = "kubewright-marker-as-written";
const DAMAGED: &str = "kubewright-marker-as-wr1tten";

/// Status and snapshots, with everything in order and with everything that may be wrong with one member.
pub fn are_told_and_taken(cache: &Cache, lab: &Lab, operator: &Operator, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    let status = status(operator, 0);
    assert_eq!(
        (&status["well"], &status["mayLose"], &status["contentsProved"]),
        (&3.into(), &1.into(), &true.into()),
        "{status:#}"
    );
    assert!(status["next"]["command"].is_null(), "{status:#}");
    for member in members(&status) {
        assert!(member["certificate"]["expires"].is_string() && member["contents"] == "agree", "{member:#}");
    }
    told("etcd status: three members agree, one may be lost, certificates are known");

    let home = operator.folder().join("copies");
    let first = saved(operator, &home, 3);
    is_accepted(cache, &first);
    looks_at(operator, &first);
    told("etcd snapshot: three members attest it; etcdutl reads and restores it");
    sealed(lab, operator, kubectl);
    told("a copy with the cluster's keys, sealed: they open to what the control planes have; what came since is told");
    by_themselves(lab, operator);
    told("hosts took copies by themselves, proved by three members without logging in anywhere, and stopped it");
    paused(lab, operator);
    told("etcd status tells of a paused member within its time, even of the one that leads");
    stopped(lab, operator, &one_that(operator, false), &home);
    told("etcd status and logs tell of a stopped member; two attest a copy");
    out_of_space(lab, operator, "cp2");
    told("etcd status tells of NOSPACE, and nothing is called in order; the alarm is taken back");
    is_maintained(operator, &one_that(operator, false));
    told("etcd's leader handed over, its history was compacted, three databases defragmented, the leader's last");
    let damaged_one = one_that(operator, false);
    damaged(lab, operator, kubectl, &damaged_one, &home);
    told(&format!("{damaged_one} was damaged behind etcd's back: status names it, and no copy of it is kept"));
    until_well(operator);
}

pub fn status(operator: &Operator, code: i32) -> Value {
    let text = operator.expect(&["etcd", "status", "--output", "json"], code);
    serde_json::from_str(&text).expect("JSON")
}

pub fn members(status: &Value) -> &[Value] {
    status["members"].as_array().expect("members")
}

pub fn member<'s>(status: &'s Value, host: &str) -> &'s Value {
    members(status).iter().find(|member| member["host"] == host).unwrap_or_else(|| panic!("{host} in {status:#}"))
}

pub fn codes(status: &Value) -> Vec<&str> {
    let findings = status["findings"].as_array().expect("findings");
    findings.iter().filter_map(|finding| finding["code"].as_str()).collect()
}

/// Takes a copy that so many members attest; its folder.
fn saved(operator: &Operator, home: &Path, by: usize) -> PathBuf {
    let text =
        operator.expect(&["etcd", "snapshot", "--to", &home.to_string_lossy(), "--keep", "2", "--output", "json"], 0);
    let line: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&line["event"], &line["verified"]), (&"saved".into(), &true.into()), "{line:#}");
    let manifest = &line["manifest"];
    assert_eq!(manifest["attestation"]["agree"].as_array().map(Vec::len), Some(by), "{manifest:#}");
    for key in ["authority", "etcdAuthority", "serviceAccount"] {
        assert!(manifest["keys"][key].as_str().is_some_and(|hash| hash.starts_with("sha256:")), "{key}: {manifest:#}");
    }
    let companions = manifest["companions"].as_object().expect("companions");
    for file in ["kubeadm-config.yaml", "cp1/kube-scheduler.yaml", "cp2/kube-apiserver.yaml", "cp3/kube-scheduler.yaml"]
    {
        assert!(companions.contains_key(&format!("companions/{file}")), "{file}: {companions:?}");
    }
    // A member that was stopped has its manifest elsewhere, whichever it is.
    let members = companions.keys().filter(|file| file.ends_with("/etcd.yaml")).count();
    assert!(members >= by, "{companions:?}");
    PathBuf::from(line["copy"].as_str().expect("a folder"))
}

fn is_accepted(cache: &Cache, copy: &Path) {
    let etcdutl = cache.newest_build("etcd-", "etcdutl").expect("the lab's etcd");
    let data = tempfile::tempdir().expect("a folder");
    for arguments in [
        vec!["snapshot", "status"],
        vec!["snapshot", "restore", "--data-dir", &data.path().join("data").to_string_lossy()],
    ] {
        let told =
            Command::new(&etcdutl).args(&arguments).arg(copy.join("etcd.snap")).output().expect("etcdutl starts");
        assert!(told.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&told.stderr));
    }
}

fn looks_at(operator: &Operator, copy: &Path) {
    let file = copy.join("etcd.snap").to_string_lossy().into_owned();
    operator.expect_bare(&["etcd", "verify", &file], 0);
    let listed = operator.expect_bare(&["etcd", "ls", &file, "--resource", "pods", "--namespaces"], 0);
    assert!(listed.contains("kube-system"), "{listed}");
    operator.expect_bare(&["etcd", "diff", &file, &file], 3);
}

/// A copy with keys, listed, opened again, and compared with what the cluster holds now.
fn sealed(lab: &Lab, operator: &Operator, kubectl: &Kubectl) {
    let home = operator.folder().join("sealed");
    let store = home.to_string_lossy().into_owned();
    let identity = age::x25519::Identity::generate();
    let secret = operator.folder().join("identity.txt");
    std::fs::write(&secret, identity.to_string().expose_secret()).expect("a file");
    let recipient = identity.to_public().to_string();
    let arguments = ["etcd", "snapshot", "--to", &store, "--with-pki", "--recipient", &recipient, "--output", "json"];
    let text = operator.expect(&arguments, 0);
    let line: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    let copy = line["copy"].as_str().expect("a folder");
    assert!(operator.expect(&["etcd", "copies", &store], 0).contains("1 cop"), "one is listed");

    let (into, secret) = (operator.folder().join("opened"), secret.to_string_lossy().into_owned());
    let folder = into.to_string_lossy().into_owned();
    operator.expect_bare(&["etcd", "companions", copy, "--into", &folder, "--identity", &secret], 0);
    for key in ["/etc/kubernetes/pki/ca.key", "/etc/kubernetes/pki/etcd/ca.key", "/etc/kubernetes/pki/sa.key"] {
        let there = lab.exec("cp1", &format!("cat {key}")).expect("a key");
        let here = std::fs::read_to_string(into.join(format!("keys{key}"))).expect("the same key");
        assert_eq!(here.trim(), there.trim(), "{key}");
    }

    kubectl.expect(&["-n", "default", "create", "configmap", "since-then"]);
    let file = format!("{copy}/etcd.snap");
    let told = operator.expect(&["etcd", "diff", &file, "--live", "--all"], 0);
    assert!(told.contains("since-then"), "{told}");
    kubectl.expect(&["-n", "default", "delete", "configmap", "since-then"]);
}

/// Timers come, take a proved copy, take none where there is a young one, tell how they go, and leave nothing but copies.
fn by_themselves(lab: &Lab, operator: &Operator) {
    let program = "/var/lib/kubewright/backup/kubewright";
    let spec = "--file /var/lib/kubewright/backup/cluster.yaml";
    let goes = |timer: &str| {
        let said = operator.expect(&["etcd", "schedule", "--output", "json"], 0);
        let said: Value = serde_json::from_str(said.lines().last().expect("a line")).expect("JSON");
        let hosts = said["hosts"].as_array().expect("hosts");
        assert_eq!(hosts.len(), 3, "{said:#}");
        assert!(hosts.iter().all(|host| host["goes"]["timer"] == timer), "{said:#}");
        said
    };
    goes("none");
    operator.expect(&["etcd", "schedule", "--every", "6h", "--to", "copies", "--yes"], 5);
    operator.expect(&["etcd", "schedule", "--every", "6h", "--to", "/var/backups/etcd", "--keep", "2", "--yes"], 0);
    goes("active");
    lab.exec("cp2", "systemctl start kubewright-etcd-backup.service").expect("a copy");
    let list = format!("{program} etcd copies /var/backups/etcd {spec} --output json");
    let listed: Value = serde_json::from_str(lab.exec("cp2", &list).expect("copies").trim()).expect("JSON");
    let copies = listed["copies"].as_array().expect("a list");
    assert_eq!((copies.len(), &copies[0]["verified"]), (1, &true.into()), "{listed:#}");
    assert_eq!(copies[0]["manifest"]["attestation"]["agree"].as_array().map(Vec::len), Some(3), "{listed:#}");
    let young = format!("{program} etcd snapshot {spec} --here cp2 --to /var/backups/etcd --unless-younger 1h");
    let young = format!("{young} >/dev/null; echo $?");
    assert_eq!(lab.exec("cp2", &young).expect("an answer").trim(), "3");
    let said = goes("active");
    let result = said["hosts"].as_array().and_then(|hosts| hosts.iter().find(|host| host["host"] == "cp2"));
    assert_eq!(result.map(|host| &host["goes"]["result"]), Some(&"success".into()), "{said:#}");

    operator.expect(&["etcd", "schedule", "--remove", "--yes"], 0);
    goes("none");
    for host in ["cp1", "cp2", "cp3"] {
        let left =
            lab.exec(host, "ls /var/lib/kubewright/backup; ls /etc/systemd/system | grep kubewright-etcd-backup; :");
        let left = left.expect("lists");
        assert!(!left.contains("kubewright") && !left.contains("cluster.yaml"), "{host}: {left}");
    }
    lab.exec("cp2", "ls /var/backups/etcd/lab/*/manifest.json && rm -rf /var/backups/etcd").expect("copies stay");
}

/// A host whose member leads, or does not. Who leads may change at any time on a busy machine.
fn one_that(operator: &Operator, leads: bool) -> String {
    let status = status(operator, 0);
    let one = members(&status).iter().find(|member| member["leads"] == leads).expect("a member");
    one["host"].as_str().expect("its host").to_owned()
}

/// The one that leads, so that the others elect another meanwhile; well within the kubelet's patience with etcd's probe.
fn paused(lab: &Lab, operator: &Operator) {
    let host = one_that(operator, true);
    let signal = |signal: &str| lab.exec(&host, &format!("pkill {signal} -x etcd")).expect("etcd runs");
    signal("-STOP");
    let began = Instant::now();
    let text = operator.run(&["etcd", "status", "--output", "json"]);
    let took = began.elapsed();
    signal("-CONT");
    let status: Value = serde_json::from_slice(&text.stdout).expect("JSON");
    assert!(took < Duration::from_secs(25), "{took:?}");
    assert_eq!((text.status.code(), codes(&status)), (Some(0), vec!["MEMB004"]), "{status:#}");
    let standing = member(&status, &host)["standing"].as_str().expect("words");
    assert!(standing.starts_with("gives no answer"), "{standing}");
    assert_eq!(status["mayLose"], 0);
    until_well(operator);
}

fn stopped(lab: &Lab, operator: &Operator, host: &str, home: &Path) {
    lab.exec(host, &format!("mv {MANIFEST} {ASIDE}")).expect("its manifest moves");
    let status = until(operator, "down", |status| {
        member(status, host)["standing"].as_str().is_some_and(|words| words.starts_with("does not run"))
    });
    assert_eq!((&status["decides"], &status["mayLose"]), (&true.into(), &0.into()));
    let command = status["next"]["command"].as_str().expect("a command");
    assert!(command.starts_with(&format!("kubewright etcd logs {host} ")), "{command}");
    let logs = operator.expect(&["etcd", "logs", host], 0);
    assert!(logs.contains("\"level\":"), "{logs}");
    saved(operator, home, 2);
    lab.exec(host, &format!("mv {ASIDE} {MANIFEST}")).expect("its manifest comes back");
    // By itself that takes 26 s to 2 minutes: the kubelet waits for its own API server, which waits for this etcd.
    operator.expect(&["etcd", "restart", host, "--yes"], 0);
    until_well(operator);
}

fn out_of_space(lab: &Lab, operator: &Operator, host: &str) {
    let id = member(&status(operator, 0), host)["id"].as_str().map(|id| u64::from_str_radix(id, 16).expect("hex"));
    let id = MemberId(id.expect("an identity"));
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let mut options = AlarmOptions::new();
        options.with_member(id.0);
        let mut client = client(lab, host).await;
        client.alarm(AlarmAction::Activate, AlarmType::Nospace, Some(options)).await.expect("etcd takes it");
    });
    let output = operator.run(&["etcd", "status", "--output", "json"]);
    let listed = operator.expect(&["etcd", "alarm", "list"], 0);
    operator.expect(&["etcd", "alarm", "disarm", "--yes"], 0);
    operator.expect(&["etcd", "alarm", "disarm", "--yes"], 3);
    assert!(listed.contains("NOSPACE of"), "{listed}");
    let status: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), codes(&status)[0]), (Some(5), "MEMB005"), "{status:#}");
    until_well(operator);
}

/// A client of the member on a host, with the certificate that lies there.
pub async fn client(lab: &Lab, host: &str) -> Client {
    let read = |file: &str| lab.exec(host, &format!("cat /etc/kubernetes/pki/etcd/{file}")).expect("a file of its");
    let tls = TlsOptions::new()
        .ca_certificate(Certificate::from_pem(read("ca.crt")))
        .identity(Identity::from_pem(read("healthcheck-client.crt"), read("healthcheck-client.key")));
    let url = format!("https://{}:2379", lab.host(host).expect("a host").address);
    Client::connect([url], Some(ConnectOptions::new().with_tls(tls))).await.expect("a client")
}

/// Leadership to the follower and away again: it is the leader's turn last.
fn is_maintained(operator: &Operator, host: &str) {
    operator.expect(&["etcd", "move-leader", host, "--yes"], 0);
    operator.expect(&["etcd", "move-leader", host, "--yes"], 3);
    assert_eq!(member(&status(operator, 0), host)["leads"], true);
    operator.expect(&["etcd", "compact", "--yes"], 0);
    let told = operator.expect(&["etcd", "defrag", "--yes"], 0);
    assert!(told.contains("etcd's databases have given back what was free"), "{told}");
    until_well(operator);
    assert_eq!(member(&status(operator, 0), host)["leads"], false, "it handed over before its turn");
}

/// The server maps its database into memory: what is written into the file is what it reads.
fn damaged(lab: &Lab, operator: &Operator, kubectl: &Kubectl, host: &str, home: &Path) {
    kubectl.expect(&["create", "configmap", "marker", &format!("--from-literal=value={MARKER}")]);
    let replace = |from: &str, to: &str| {
        let script = format!(
            "n=0; for at in $(LC_ALL=C grep -obUaF '{from}' {DATABASE} | cut -d: -f1); do \
             printf %s '{to}' | dd of={DATABASE} bs=1 seek=$at conv=notrunc status=none; n=$((n + 1)); done; echo $n"
        );
        lab.exec(host, &script).expect("its database is written").trim().parse::<u32>().expect("a number")
    };
    assert!(replace(MARKER, DAMAGED) > 0, "{host} has the value");
    let status = status(operator, 5);
    assert!(codes(&status).contains(&"MEMB002"), "{status:#}");
    assert_eq!((&member(&status, host)["contents"], &member(&status, host)["well"]), (&"differ".into(), &true.into()));
    assert_eq!(status["alarms"], Value::Array(Vec::new()), "etcd itself knows nothing of it");
    saved(operator, home, 2);
    let arguments = ["etcd", "snapshot", "--to", &home.to_string_lossy(), "--from", host];
    operator.expect(&arguments, 7);
    assert_eq!(home.join("lab").read_dir().expect("copies").count(), 2, "two are kept, and no half one");
    replace(DAMAGED, MARKER);
    kubectl.expect(&["delete", "configmap", "marker"]);
}

pub fn until_well(operator: &Operator) {
    until(operator, "well", |status| {
        status["well"] == 3 && status["contentsProved"] == true && status["findings"] == Value::Array(Vec::new())
    });
}

pub fn until(operator: &Operator, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let output = operator.run(&["etcd", "status", "--output", "json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        if status["members"].is_array() && wanted(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "not {what}: {status:#}\n{}", String::from_utf8_lossy(&output.stderr));
        // etcd has no event for it.
        std::thread::sleep(Duration::from_millis(500));
    }
}
