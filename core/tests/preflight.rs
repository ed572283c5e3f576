//! What facts alone say of machines: each check provoked on hosts that are otherwise well.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kubewright_core::facts::{Clock, ClusterFacts, Fact, Facts, HostFacts, HostRecord, Os, OsFamily, Space};
use kubewright_core::finding::{Finding, Severity, Subject};
use kubewright_core::planner::{self, Desired, DesiredHost, Identity, Input, Outcome, Request};
use kubewright_core::spec::{Spec, read};

const GB: u64 = 1_000_000_000;

fn spec(more: &str) -> Spec {
    let text = format!(
        "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: lab}}\nspec:\n  kubernetes: {{version: 1.35.4}}\n  \
         hosts:\n  - {{name: cp1, address: 10.77.0.11, roles: [controlPlane, etcd]}}\n  - {{name: w1, address: 10.77.0.21, roles: [worker]}}\n{more}"
    );
    let reading = read("test.yaml", &text);
    reading.spec.unwrap_or_else(|| panic!("{:#?}", reading.findings))
}

fn known<T>(value: T) -> Fact<T> {
    Fact::Known { value, at: Timestamp::UNIX_EPOCH }
}

fn clock(ahead: SignedDuration) -> Clock {
    let at = |milliseconds| Timestamp::UNIX_EPOCH + SignedDuration::from_millis(milliseconds);
    Clock { sent: at(0), began: at(10) + ahead, ended: at(30) + ahead, received: at(40) }
}

fn room(bytes: u64) -> Space {
    Space { free_bytes: bytes, free_inodes: None }
}

/// A machine that nothing is wrong with.
fn well(name: &str) -> HostFacts {
    HostFacts {
        machine_id: known(format!("id-of-{name}")),
        os: known(Os { id: "debian".into(), version: "12".into(), family: OsFamily::Debian, name: "Debian 12".into() }),
        cpus: known(2),
        memory_bytes: known(4 * GB),
        cgroup_version: known(2),
        swap: known(Vec::new()),
        clock: known(clock(SignedDuration::ZERO)),
        space: known(BTreeMap::from([("/var/lib".into(), room(40 * GB)), ("/usr/local".into(), room(40 * GB))])),
        package_lock: Fact::Absent,
        listening: known(BTreeMap::from([(22, "sshd".into())])),
        etcd_data: known(false),
        ca_fingerprint: Fact::Absent,
        record: Fact::Absent,
        ..HostFacts::default()
    }
}

fn found(spec: &Spec, change: impl Fn(&str, &mut HostFacts)) -> Vec<Finding> {
    let seen = |name: &str| {
        let mut seen = well(name);
        change(name, &mut seen);
        seen
    };
    let hosts = spec.hosts.iter().map(|host| (host.name.clone(), known(seen(host.name.as_str())))).collect();
    let facts = Facts { hosts, cluster: known(ClusterFacts::default()), ..Facts::default() };
    let desired =
        Desired { hosts: spec.hosts.iter().map(|host| (host.name.clone(), DesiredHost::default())).collect() };
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: "lab-0123".into() };
    let input =
        Input { spec, facts: &facts, desired: &desired, findings: &[], identity: &identity, tool_version: "0.0.0" };
    match planner::plan(input, &Request::Apply { only: None }) {
        Outcome::Blocked { findings } | Outcome::Nothing { findings } => findings,
        Outcome::Plan(plan) => plan.findings,
    }
}

/// Findings on hosts as `CODE severity host`; what is about the cluster is left out.
fn codes(findings: &[Finding]) -> Vec<String> {
    let told = |finding: &Finding| match &finding.subject {
        Subject::Host(host) => Some(format!("{} {} {host}", finding.code, finding.severity)),
        _ => None,
    };
    findings.iter().filter_map(told).collect()
}

fn on(wanted: &'static str, change: impl Fn(&mut HostFacts)) -> impl Fn(&str, &mut HostFacts) {
    move |name, seen| {
        if name == wanted {
            change(seen);
        }
    }
}

#[test]
fn well_machines_are_only_told_of_their_clocks() {
    let findings = found(&spec(""), |_, _| {});
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!((findings[0].code.as_str(), findings[0].severity), ("TIME002", Severity::Info));
    assert_eq!(findings[0].text, "clocks agree within 11 ms");
}

#[test]
fn clocks_warn_and_then_block() {
    let off = |seconds: i64| {
        found(&spec(""), on("w1", move |seen| seen.clock = known(clock(SignedDuration::from_secs(seconds)))))
    };
    assert_eq!(codes(&off(4)), Vec::<String>::new());
    assert_eq!(codes(&off(-6)), ["TIME003 warns w1"]);
    assert!(off(-6)[0].text.starts_with("its clock is 5 s behind"), "what the network may have taken is not counted");
    assert_eq!(codes(&off(-59)), ["TIME003 warns w1"]);
    assert_eq!(codes(&off(7200)), ["TIME001 blocks w1"]);
    assert!(off(6).iter().all(|finding| finding.code != "TIME002"), "they do not agree");
}

#[test]
fn room_warns_and_then_blocks() {
    let left = |folder: &'static str, bytes: u64| {
        let seen = on("w1", move |seen| {
            let Fact::Known { value, .. } = &mut seen.space else { unreachable!() };
            value.insert(folder.into(), room(bytes));
        });
        codes(&found(&spec(""), seen))
    };
    assert_eq!(left("/var/lib", 10 * GB), Vec::<String>::new());
    assert_eq!(left("/var/lib", 9 * GB), ["HOST021 warns w1"]);
    assert_eq!(left("/usr/local", GB), ["HOST020 blocks w1"]);
    assert_eq!(left("/etc", 1), Vec::<String>::new());
}

#[test]
fn small_control_planes_are_told_and_small_workers_are_not() {
    let findings = found(&spec(""), |_, seen| {
        seen.cpus = known(1);
        seen.memory_bytes = known(GB);
    });
    assert_eq!(codes(&findings), ["HOST022 warns cp1", "HOST023 warns cp1"]);
}

#[test]
fn cgroup_v1_blocks_only_kubelets_that_refuse_it() {
    let old = on("w1", |seen| seen.cgroup_version = known(1));
    assert_eq!(codes(&found(&spec(""), &old)), ["HOST025 blocks w1"]);
    assert_eq!(codes(&found(&spec("  kubelet: {config: {failCgroupV1: false}}\n"), &old)), ["HOST024 warns w1"]);
    let mut earlier = spec("");
    earlier.kubernetes.version = "1.34.4".parse().unwrap();
    assert_eq!(codes(&found(&earlier, &old)), ["HOST024 warns w1"]);
}

#[test]
fn ports_block_where_the_role_needs_them() {
    let taken = |host: &'static str, port: u16| {
        found(&spec(""), on(host, move |seen| seen.listening = known(BTreeMap::from([(port, "nginx".into())]))))
    };
    assert_eq!(codes(&taken("cp1", 2379)), ["HOST026 blocks cp1"]);
    assert_eq!(taken("cp1", 10250)[0].text, "ports are taken: 10250 (kubelet) by nginx");
    assert_eq!(codes(&taken("w1", 2379)), Vec::<String>::new());
    assert_eq!(codes(&taken("w1", 6443)), ["HOST026 blocks w1"], "the proxy of mode nodeLocal listens there");
}

#[test]
fn a_held_package_lock_warns() {
    let findings = found(&spec(""), on("w1", |seen| seen.package_lock = known("unattended-upgr (812)".into())));
    assert_eq!(codes(&findings), ["HOST027 warns w1"]);
    assert!(findings.iter().any(|finding| finding.text.contains("unattended-upgr (812)")));
}

#[test]
fn members_of_the_cluster_are_not_judged_again() {
    let spec = spec("");
    let findings = found(&spec, |name, seen| {
        seen.cpus = known(1);
        seen.cgroup_version = known(1);
        seen.clock = known(clock(SignedDuration::from_secs(90)));
        seen.listening = known(BTreeMap::from([(10250, "kubelet".into())]));
        seen.space = known(BTreeMap::from([("/var/lib".into(), room(1))]));
        let roles = spec.host(&name.into()).unwrap().roles.clone();
        seen.record = known(HostRecord { cluster: "lab".into(), operation: "7f3a9c".into(), roles, settled: true });
    });
    assert_eq!(findings, Vec::<Finding>::new());
}
