//! What facts alone say of machines: each check provoked on hosts that are otherwise well, and each told by nothing else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use kubewright_core::facts::sample::{address, bare, clock, known, room};
use kubewright_core::facts::{
    ClusterFacts, Exchange, Fact, Facts, Fitness, FsyncLatency, HostFacts, HostRecord, Module, OsFamily, Proxy, Route,
    Space, Sysctl, Trace, UnitFacts,
};
use kubewright_core::finding::codes::{PREFLIGHT, lookup};
use kubewright_core::finding::{Finding, Severity, Subject};
use kubewright_core::planner::{self, Desired, DesiredHost, Identity, Input, Outcome, Request};
use kubewright_core::spec::{Cidr, Spec, read};
use proptest::prelude::*;

const GB: u64 = 1_000_000_000;

fn spec(more: &str) -> Spec {
    let text = format!(
        "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: lab}}\nspec:\n  kubernetes: {{version: 1.35.4}}\n  \
         hosts:\n  - {{name: cp1, address: 10.77.0.11, roles: [controlPlane, etcd]}}\n  - {{name: w1, address: 10.77.0.21, roles: [worker]}}\n{more}"
    );
    let reading = read("test.yaml", &text);
    reading.spec.unwrap_or_else(|| panic!("{:#?}", reading.findings))
}

fn facts(spec: &Spec, change: impl Fn(&str, &mut HostFacts)) -> Facts {
    let seen = |host: &kubewright_core::spec::Host| {
        let mut seen = bare(host);
        change(host.name.as_str(), &mut seen);
        (host.name.clone(), known(seen))
    };
    Facts { hosts: spec.hosts.iter().map(seen).collect(), cluster: known(ClusterFacts::default()), ..Facts::default() }
}

fn judged(spec: &Spec, facts: &Facts) -> Vec<Finding> {
    let mut host = DesiredHost::default();
    host.preparation.swap_off = true;
    let desired = Desired { hosts: spec.hosts.iter().map(|named| (named.name.clone(), host.clone())).collect() };
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: "lab-0123".into() };
    let input = Input { spec, facts, desired: &desired, findings: &[], identity: &identity, tool_version: "0.0.0" };
    match planner::plan(input, &Request::Apply { only: None }) {
        Outcome::Blocked { findings } | Outcome::Nothing { findings } => findings,
        Outcome::Plan(plan) => plan.findings,
    }
}

fn found(spec: &Spec, change: impl Fn(&str, &mut HostFacts)) -> Vec<Finding> {
    judged(spec, &facts(spec, change))
}

/// Findings on hosts as `CODE severity host`; what is about the cluster is left out.
fn codes(findings: &[Finding]) -> Vec<String> {
    let told = |finding: &Finding| match &finding.subject {
        Subject::Host(host) => Some(format!("{} {} {host}", finding.code, finding.severity)),
        _ => None,
    };
    findings.iter().filter_map(told).collect()
}

/// The same of what is about the cluster, `TIME002` left out.
fn of_cluster(findings: &[Finding]) -> Vec<String> {
    let all = findings.iter().filter(|finding| finding.subject == Subject::Cluster && finding.code != "TIME002");
    all.map(|finding| format!("{} {}", finding.code, finding.severity)).collect()
}

fn on(wanted: &'static str, change: impl Fn(&mut HostFacts)) -> impl Fn(&str, &mut HostFacts) {
    move |name, seen| {
        if name == wanted {
            change(seen);
        }
    }
}

fn fit(change: impl Fn(&mut Fitness)) -> impl Fn(&mut HostFacts) {
    move |seen| {
        let Fact::Known { value, .. } = &mut seen.fitness else { panic!("the sample is fit") };
        change(value);
    }
}

fn value<T>(fact: &mut Fact<T>) -> &mut T {
    match fact {
        Fact::Known { value, .. } => value,
        other => panic!("the sample knows it: {:?}", other.why()),
    }
}

fn route(destination: &str, interface: &str) -> Route {
    Route { destination: Cidr::try_from(destination.to_owned()).unwrap(), interface: interface.to_owned() }
}

fn unit(active: &str, enabled: &str) -> Fact<UnitFacts> {
    known(UnitFacts { active: active.into(), sub: "any".into(), enabled: enabled.into() })
}

fn words(words: &[&str]) -> Fact<Vec<String>> {
    known(words.iter().map(|word| (*word).to_owned()).collect())
}

type Change = Box<dyn Fn(&mut HostFacts)>;

/// One thing wrong with one host: what is changed there, and what alone is to be said. The words have to be in the text: a
/// finding tells its figures.
struct Wrong {
    host: &'static str,
    more: &'static str,
    change: Change,
    code: &'static str,
    severity: Severity,
    tells: &'static [&'static str],
}

fn wrong(
    host: &'static str,
    change: impl Fn(&mut HostFacts) + 'static,
    code: &'static str,
    severity: Severity,
    tells: &'static [&'static str],
) -> Wrong {
    Wrong { host, more: "", change: Box::new(change), code, severity, tells }
}

impl Wrong {
    fn with(self, more: &'static str) -> Self {
        Self { more, ..self }
    }
}

fn sysctl(name: &'static str, value: &'static str, writable: bool) -> impl Fn(&mut HostFacts) {
    fit(move |fitness| {
        let sysctls = self::value(&mut fitness.sysctls);
        sysctls.insert(name.into(), Sysctl { value: value.into(), writable });
    })
}

fn disk(folder: &'static str, room: Space) -> impl Fn(&mut HostFacts) {
    move |seen| {
        value(&mut seen.space).insert(folder.into(), room);
    }
}

fn wrongs() -> Vec<Wrong> {
    use Severity::{Blocks, Info, NeedsConsent, Warns};
    let external = "  endpoint: {mode: external, address: api.example.com}\n";
    vec![
        // The system.
        wrong("w1", |seen| value(&mut seen.os).family = OsFamily::Suse, "HOST002", Blocks, &["Debian 12"]),
        wrong("w1", |seen| seen.os = Fact::unreadable("no permission"), "HOST002", Blocks, &["no permission"]),
        wrong("w1", |seen| seen.os = Fact::Absent, "HOST002", Blocks, &["no os-release"]),
        wrong("w1", |seen| seen.machine_id = Fact::Absent, "HOST003", Blocks, &["machine-id"]),
        wrong("w1", fit(|fitness| fitness.systemd = known(false)), "HOST038", Blocks, &["systemd"]),
        wrong("w1", |seen| seen.swap = words(&["/dev/sdb2"]), "HOST017", Warns, &["/dev/sdb2"]),
        wrong("cp1", |seen| seen.memory_bytes = known(GB), "HOST022", Warns, &["953 MB", "1700 MB"]),
        wrong("cp1", |seen| seen.cpus = known(1), "HOST023", Warns, &["1 processor"]),
        wrong("w1", |seen| seen.cgroup_version = known(1), "HOST025", Blocks, &["cgroup v1", "1.35.4"]),
        wrong("w1", |seen| seen.cgroup_version = known(1), "HOST024", Warns, &["cgroup v1"])
            .with("  kubelet: {config: {failCgroupV1: false}}\n"),
        wrong(
            "w1",
            fit(|fitness| fitness.cgroup_controllers = words(&["cpuset", "cpu", "io", "pids"])),
            "HOST036",
            Blocks,
            &["memory"],
        ),
        wrong("w1", fit(|fitness| fitness.clock_synchronised = known(false)), "TIME007", Info, &["time server"]),
        wrong("w1", |seen| seen.clock = Fact::unreadable("no date"), "TIME006", Warns, &["no date"]),
        // Names and addresses.
        wrong("w1", |seen| seen.hostname = known("Worker_1".into()), "HOST030", Warns, &["Worker_1", "w1"]),
        wrong("w1", |seen| seen.hostname = known("debian".into()), "HOST029", Info, &["debian", "w1"]),
        wrong("w1", |seen| seen.hostname = known("cp1".into()), "HOST028", Warns, &["cp1"]),
        wrong("w1", |seen| seen.machine_id = known("id-of-cp1".into()), "HOST005", Blocks, &["cp1", "id-of-cp1"]),
        wrong(
            "w1",
            |seen| value(&mut seen.addresses).push(address("eth1", "10.77.0.11".parse().unwrap())),
            "HOST031",
            Blocks,
            &["cp1's address", "10.77.0.11", "eth1"],
        ),
        wrong(
            "w1",
            |seen| seen.addresses = known(vec![address("ens3", "10.0.0.5".parse().unwrap())]),
            "HOST032",
            Blocks,
            &["10.77.0.21", "10.0.0.5 on ens3"],
        ),
        wrong("w1", |seen| seen.addresses = known(Vec::new()), "HOST032", Blocks, &["it has none"]),
        // The kernel.
        wrong(
            "w1",
            |seen| seen.kernel = known("5.10.0-28-amd64".into()),
            "HOST033",
            Blocks,
            &["5.10.0-28-amd64", "5.13"],
        ),
        wrong("w1", |seen| seen.kernel = known("4.18.0".into()), "HOST034", Warns, &["4.18.0", "4.19"])
            .with("  network: {kubeProxy: {mode: iptables}}\n"),
        wrong("w1", |seen| seen.kernel = known("5.4.0-1".into()), "HOST034", Warns, &["5.4.0-1", "5.8"])
            .with("  network: {kubeProxy: {mode: iptables}}\n"),
        wrong(
            "w1",
            fit(|fitness| {
                fitness.modules.insert("vxlan".into(), Fact::Absent);
                fitness.modules.insert("overlay".into(), known(Module::Forbidden));
            }),
            "HOST050",
            Blocks,
            &["vxlan for flannel is not there", "overlay for containerd's images is forbidden in /etc/modprobe.d"],
        ),
        wrong(
            "w1",
            fit(|fitness| drop(fitness.modules.insert("nf_tables".into(), Fact::Absent))),
            "HOST050",
            Blocks,
            &["nf_tables"],
        ),
        wrong(
            "w1",
            fit(|fitness| drop(fitness.modules.insert("br_netfilter".into(), Fact::Absent))),
            "HOST051",
            Warns,
            &["br_netfilter"],
        ),
        wrong("w1", sysctl("net.ipv4.ip_forward", "0", false), "HOST052", Blocks, &["net.ipv4.ip_forward is 0"]),
        wrong("w1", sysctl("vm.overcommit_memory", "0", false), "HOST052", Blocks, &["the kubelet wants 1"]),
        wrong(
            "w1",
            sysctl("net.netfilter.nf_conntrack_max", "65536", false),
            "HOST052",
            Blocks,
            &["kube-proxy wants 131072"],
        ),
        wrong("w1", sysctl("fs.inotify.max_user_instances", "100", true), "HOST053", Warns, &["is 100"]),
        wrong("w1", |seen| seen.container = known("lxc".into()), "HOST053", Warns, &["is 128", "all containers"]),
        wrong("w1", fit(|fitness| fitness.selinux = known("enforcing".into())), "HOST055", Info, &["SELinux"]),
        // Disks.
        wrong("w1", disk("/usr/local", room(GB, 2 * GB)), "HOST020", Blocks, &["/usr/local", "1.0 GB"]),
        wrong("w1", disk("/var/lib", room(9 * GB, 20 * GB)), "HOST021", Warns, &["9.0 GB"]),
        wrong(
            "w1",
            disk("/var/lib", room(14 * GB, 100 * GB)),
            "HOST040",
            Blocks,
            &["14.0 GB of 100.0 GB", "15.0 GB (imagefs.available)"],
        ),
        wrong(
            "w1",
            disk("/var/lib/kubelet", room(4 * GB, 50 * GB)),
            "HOST040",
            Blocks,
            &["/var/lib/kubelet has 4.0 GB of 50.0 GB", "5.0 GB (nodefs.available)"],
        ),
        wrong("w1", disk("/var/lib", room(16 * GB, 100 * GB)), "HOST041", Warns, &["16.0 GB of 100.0 GB"]),
        wrong(
            "w1",
            |seen| value(&mut seen.space).get_mut("/var/lib").unwrap().free_inodes = Some(1000),
            "HOST040",
            Blocks,
            &["1000 files", "imagefs.inodesFree"],
        ),
        wrong(
            "w1",
            |seen| {
                let room = value(&mut seen.space).get_mut("/var/lib").unwrap();
                (room.free_inodes, room.total_inodes) = (Some(90_000), Some(1_000_000));
            },
            "HOST042",
            Warns,
            &["90000 more files"],
        ),
        wrong(
            "w1",
            fit(|fitness| value(&mut fitness.mounts).get_mut("/var/lib").unwrap().read_only = true),
            "HOST043",
            Blocks,
            &["/var/lib"],
        ),
        wrong(
            "w1",
            fit(|fitness| value(&mut fitness.mounts).get_mut("/usr/local").unwrap().no_exec = true),
            "HOST044",
            Blocks,
            &["/usr/local"],
        ),
        wrong(
            "w1",
            fit(|fitness| value(&mut fitness.mounts).get_mut("/var/lib").unwrap().no_exec = true),
            "HOST045",
            Warns,
            &["noexec"],
        ),
        wrong(
            "cp1",
            fit(|fitness| value(&mut fitness.mounts).get_mut("/var/lib/etcd").unwrap().kind = "tmpfs".into()),
            "HOST046",
            NeedsConsent,
            &["tmpfs"],
        ),
        wrong("cp1", disk("/var/lib/etcd", room(100_000_000, GB)), "HOST047", Blocks, &["100 MB", "200 MB"]),
        wrong("cp1", disk("/var/lib/etcd", room(GB, 2 * GB)), "HOST048", Warns, &["1.0 GB", "2.1 GB"]),
        wrong(
            "cp1",
            fit(|fitness| {
                fitness.fsync = known(FsyncLatency { writes: 80, median_us: 8_000, p99_us: 23_400, worst_us: 90_000 });
            }),
            "HOST049",
            Warns,
            &["8.0 ms", "23.4 ms", "80 measured", "10 ms"],
        ),
        // The network.
        wrong(
            "cp1",
            |seen| seen.listening = known([(2379, "etcd".into())].into()),
            "HOST026",
            Blocks,
            &["2379 (etcd) by etcd"],
        ),
        wrong(
            "w1",
            |seen| seen.listening = known([(10250, String::new())].into()),
            "HOST026",
            Blocks,
            &["10250 (kubelet) by a process that cannot be seen"],
        ),
        wrong(
            "w1",
            |seen| seen.listening = known([(6443, "nginx".into())].into()),
            "HOST026",
            Blocks,
            &["6443 (kube-apiserver-proxy) by nginx"],
        ),
        wrong(
            "cp1",
            |seen| seen.listening = known([(8443, "nginx".into())].into()),
            "HOST026",
            Blocks,
            &["8443 (kube-apiserver)"],
        )
        .with("  endpoint: {mode: nodeLocal, port: 8443}\n"),
        wrong(
            "w1",
            fit(|fitness| fitness.listening_udp = known([(8472, "vpn".into())].into())),
            "HOST026",
            Blocks,
            &["UDP 8472 (flannel) by vpn"],
        ),
        wrong(
            "w1",
            fit(|fitness| value(&mut fitness.routes).push(route("10.244.7.0/24", "br0"))),
            "HOST056",
            NeedsConsent,
            &["10.244.7.0/24 on br0", "10.244.0.0/16"],
        ),
        wrong(
            "w1",
            fit(|fitness| value(&mut fitness.routes).push(route("10.96.0.0/12", "tun0"))),
            "HOST056",
            NeedsConsent,
            &["service network 10.96.0.0/12"],
        ),
        wrong(
            "w1",
            fit(|fitness| value(&mut fitness.routes).push(route("10.0.0.0/8", "tun0"))),
            "HOST057",
            Warns,
            &["10.0.0.0/8 on tun0", "pod network"],
        ),
        wrong("cp1", |seen| seen.default_interface = Fact::Absent, "HOST072", Warns, &["10.96.0.0/12", "webhooks"]),
        wrong(
            "w1",
            |seen| value(&mut seen.addresses).push(address("cni0", "10.1.0.1".parse().unwrap())),
            "HOST058",
            Blocks,
            &["cni0", "10.1.0.1/24"],
        ),
        wrong("w1", fit(|fitness| fitness.firewalls = words(&["ufw"])), "HOST064", Warns, &["ufw"]),
        wrong(
            "w1",
            fit(|fitness| {
                fitness.proxy = known(Proxy { address: "http://proxy:3128".into(), except: vec!["localhost".into()] })
            }),
            "HOST063",
            Warns,
            &["http://proxy:3128", "NO_PROXY lacks 10.77.0.11"],
        ),
        // Names.
        wrong("w1", fit(|fitness| fitness.name_servers = words(&[])), "HOST059", Blocks, &["/etc/resolv.conf"]),
        wrong(
            "w1",
            fit(|fitness| fitness.name_servers = words(&["10.0.0.2", "127.0.0.1"])),
            "HOST060",
            Blocks,
            &["127.0.0.1"],
        ),
        wrong(
            "w1",
            fit(|fitness| drop(fitness.names.insert("w1".into(), Fact::Absent))),
            "HOST062",
            Info,
            &["its own name, w1"],
        ),
        wrong(
            "w1",
            fit(|fitness| drop(fitness.names.insert("api.example.com".into(), Fact::Absent))),
            "HOST061",
            Blocks,
            &["api.example.com"],
        )
        .with(external),
        wrong(
            "w1",
            fit(|fitness| {
                drop(fitness.names.insert("api.example.com".into(), Fact::unreadable("no answer within 5 s")))
            }),
            "HOST061",
            Blocks,
            &["no answer within 5 s"],
        )
        .with(external),
        // Packages and programs.
        wrong(
            "w1",
            |seen| seen.package_lock = known("unattended-upgr (812)".into()),
            "HOST027",
            Warns,
            &["unattended-upgr (812)"],
        ),
        wrong(
            "w1",
            fit(|fitness| fitness.broken_packages = words(&["a", "b", "c", "d", "e", "f", "g"])),
            "HOST039",
            Warns,
            &["a, b, c, d, e and 2 more"],
        ),
        wrong(
            "w1",
            fit(|fitness| fitness.missing_programs = words(&["tar", "gzip"])),
            "HOST037",
            Blocks,
            &["tar, gzip"],
        ),
        // Others.
        wrong("cp1", |seen| seen.etcd_data = known(true), "HOST012", Blocks, &["/var/lib/etcd"]),
        wrong("w1", |seen| seen.ca_fingerprint = known("ab".into()), "HOST013", Blocks, &["ca.crt"]),
        wrong(
            "w1",
            fit(|fitness| fitness.traces = known(vec![Trace { tool: "k3s".into(), path: "/etc/rancher/k3s".into() }])),
            "HOST065",
            Blocks,
            &["k3s (/etc/rancher/k3s)"],
        ),
        wrong(
            "w1",
            |seen| drop(seen.units.insert("kubelet".into(), unit("active", "enabled"))),
            "HOST066",
            Blocks,
            &["kubelet"],
        ),
        wrong(
            "w1",
            |seen| drop(seen.units.insert("kubelet".into(), unit("activating", "enabled"))),
            "HOST067",
            Warns,
            &["activating"],
        ),
        wrong(
            "w1",
            fit(|fitness| fitness.runtime_sockets = words(&["/run/docker.sock", "/run/containerd/containerd.sock"])),
            "HOST068",
            NeedsConsent,
            &["Docker"],
        ),
        wrong(
            "w1",
            fit(|fitness| fitness.runtime_sockets = words(&["/run/crio/crio.sock"])),
            "HOST069",
            Warns,
            &["/run/crio/crio.sock"],
        ),
        wrong(
            "w1",
            fit(|fitness| fitness.cni_configurations = words(&["05-cilium.conflist"])),
            "HOST070",
            Blocks,
            &["05-cilium.conflist"],
        ),
        wrong(
            "w1",
            fit(|fitness| fitness.cni_configurations = words(&["87-podman-bridge.conflist"])),
            "HOST071",
            NeedsConsent,
            &["87-podman-bridge.conflist"],
        ),
        // What cannot be seen.
        wrong("w1", |seen| seen.listening = Fact::unreadable("no ss"), "HOST035", Warns, &["its open ports (no ss)"]),
        wrong("w1", |seen| seen.fitness = Fact::unreadable("nobody looked"), "HOST035", Warns, &["nobody looked"]),
        wrong("w1", |seen| seen.fitness = Fact::Absent, "HOST035", Warns, &["not asked"]),
        wrong(
            "cp1",
            fit(|fitness| fitness.fsync = Fact::unreadable("read-only")),
            "HOST035",
            Warns,
            &["how fast its disk is (read-only)"],
        ),
        wrong("w1", fit(|fitness| *fitness = Fitness::default()), "HOST035", Warns, &["and 9 more"]),
    ]
}

#[test]
fn well_machines_are_only_told_of_their_clocks() {
    let findings = found(&spec(""), |_, _| {});
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!((findings[0].code.as_str(), findings[0].severity), ("TIME002", Severity::Info));
    assert_eq!(findings[0].text, "clocks agree within 11 ms");
}

#[test]
fn each_wrong_is_found_alone_with_its_figures_and_a_way_out() {
    for Wrong { host, more, change, code, severity, tells } in wrongs() {
        let spec = spec(more);
        let resolved = |seen: &mut HostFacts| {
            value(&mut seen.fitness).names.insert("api.example.com".into(), words(&["192.0.2.1"]));
        };
        let findings = found(&spec, |name, seen| {
            resolved(seen);
            if name == host {
                change(seen);
            }
        });
        let told: Vec<&Finding> =
            findings.iter().filter(|finding| finding.subject == Subject::Host(host.into())).collect();
        // Some things are wrong in two ways.
        let allowed: &[&str] = match code {
            "HOST040" => &["HOST040", "HOST042"],
            "HOST047" => &["HOST047"],
            _ => &[],
        };
        assert!(
            told.iter().all(|finding| finding.code == code || allowed.contains(&finding.code.as_str())),
            "{code}: {told:#?}"
        );
        let finding = told
            .iter()
            .find(|finding| finding.code == code)
            .unwrap_or_else(|| panic!("{code} is not told: {findings:#?}"));
        assert_eq!(finding.severity, severity, "{code}");
        for words in tells {
            assert!(finding.text.contains(words), "{code}: {words:?} is not in {:?}", finding.text);
        }
        // What blocks or needs consent has a way out.
        assert!(finding.hint.is_some() || severity > Severity::NeedsConsent, "{code} has no hint");
        // An unreadable fitness hides nothing of the other host.
        assert!(
            findings
                .iter()
                .all(|finding| finding.subject == Subject::Host(host.into()) || finding.subject == Subject::Cluster),
            "{code}: {findings:#?}"
        );
    }
}

/// The table above, the tests below and those of the bootstrap show every code of this area.
#[test]
fn every_code_of_a_bare_host_is_provoked() {
    let mut shown: BTreeSet<&str> = wrongs().iter().map(|wrong| wrong.code).collect();
    shown.extend(["TIME001", "TIME002", "TIME003", "TIME004", "TIME005"]);
    let judged_by_fitness = |code: &&str| code.starts_with("TIME") || *code >= "HOST017";
    let known: Vec<&str> = PREFLIGHT
        .codes
        .iter()
        .map(|code| code.code)
        .filter(judged_by_fitness)
        .filter(|code| code.starts_with("HOST") || code.starts_with("TIME"))
        .collect();
    let missing: Vec<&&str> = known.iter().filter(|code| !shown.contains(**code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for wrong in wrongs() {
        assert_eq!(lookup(wrong.code).unwrap().severity, wrong.severity, "{}", wrong.code);
    }
}

#[test]
fn what_the_spec_allows_for_is_no_finding() {
    let none = Vec::<String>::new();
    let quiet = |more: &str, change: &dyn Fn(&mut HostFacts)| {
        let findings = found(&spec(more), |_, seen| change(seen));
        assert_eq!(codes(&findings), none, "{more} {findings:#?}");
    };
    quiet(
        "  kubelet: {config: {featureGates: {KubeletInUserNamespace: true}}}\n",
        &sysctl("vm.overcommit_memory", "0", false),
    );
    quiet(
        "  network: {kubeProxy: {config: {conntrack: {maxPerCore: 0}}}}\n",
        &sysctl("net.netfilter.nf_conntrack_max", "65536", false),
    );
    quiet("", &sysctl("net.netfilter.nf_conntrack_max", "262144", false));
    quiet(
        "  kubelet: {config: {resolvConf: /etc/real.conf}}\n",
        &fit(|fitness| fitness.name_servers = words(&["127.0.0.1"])),
    );
    quiet(
        "  network: {cni: {name: none}}\n",
        &fit(|fitness| fitness.cni_configurations = words(&["05-cilium.conflist"])),
    );
    quiet(
        "  network: {cni: {name: none}}\n",
        &fit(|fitness| drop(fitness.modules.insert("vxlan".into(), Fact::Absent))),
    );
    quiet(
        "  network: {kubeProxy: {mode: iptables}}\n",
        &fit(|fitness| drop(fitness.modules.insert("nf_tables".into(), Fact::Absent))),
    );
    quiet("  kubelet: {config: {evictionHard: {nodefs.available: 1Gi}}}\n", &|seen| {
        value(&mut seen.space).insert("/var/lib".into(), room(14 * GB, 1000 * GB));
    });
    quiet("", &|seen| {
        let name = format!("{}.example.com", value(&mut seen.hostname));
        seen.hostname = known(name);
    });
    // A route of everything is a default route; another vxlan interface shares the port.
    quiet(
        "",
        &fit(|fitness| value(&mut fitness.routes).extend([route("0.0.0.0/1", "tun0"), route("128.0.0.0/1", "tun0")])),
    );
    quiet("", &fit(|fitness| fitness.listening_udp = known([(8472, String::new())].into())));
    quiet("", &fit(|fitness| fitness.clock_synchronised = Fact::unreadable("no timedatectl")));
}

#[test]
fn protected_kernel_settings_have_to_be_right_already() {
    let findings = found(&spec("  kubelet: {config: {protectKernelDefaults: true}}\n"), |_, _| {});
    assert_eq!(codes(&findings), ["HOST052 blocks cp1", "HOST052 blocks w1"]);
    assert!(findings[0].text.contains("vm.overcommit_memory is 0, the kubelet wants 1"), "{}", findings[0].text);
}

#[test]
fn workers_are_not_asked_what_only_control_planes_need() {
    let findings = found(
        &spec(""),
        on("w1", |seen| {
            seen.cpus = known(1);
            seen.memory_bytes = known(GB);
            seen.listening = known([(2379, "etcd".into())].into());
            value(&mut seen.space).insert("/var/lib/etcd".into(), room(1, GB));
            let fitness = value(&mut seen.fitness);
            fitness.fsync = Fact::Absent;
            value(&mut fitness.mounts).get_mut("/var/lib/etcd").unwrap().kind = "tmpfs".into();
        }),
    );
    assert_eq!(codes(&findings), Vec::<String>::new());
}

#[test]
fn a_clock_that_differs_from_the_others_is_its_own_fault() {
    let three = "  - {name: w2, address: 10.77.0.22, roles: [worker]}\n";
    let off = |seconds: i64| {
        found(&spec(three), on("w1", move |seen| seen.clock = known(clock(SignedDuration::from_secs(seconds)))))
    };
    assert_eq!(codes(&off(4)), Vec::<String>::new());
    assert_eq!(codes(&off(-6)), ["TIME005 warns w1"]);
    assert!(
        off(-6)[0].text.starts_with("its clock is 5 s behind most hosts'"),
        "the network's share is not counted: {}",
        off(-6)[0].text
    );
    assert_eq!(codes(&off(-59)), ["TIME005 warns w1"]);
    assert_eq!(codes(&off(7200)), ["TIME004 blocks w1"]);
    assert_eq!(of_cluster(&off(7200)), Vec::<String>::new(), "this machine agrees with the others");
    assert!(off(6).iter().all(|finding| finding.code != "TIME002"), "they do not agree");
    // Of two, the one that agrees with this machine is right.
    let two = found(&spec(""), on("cp1", |seen| seen.clock = known(clock(SignedDuration::from_secs(90)))));
    assert_eq!(codes(&two), ["TIME004 blocks cp1"]);
    assert!(two[0].text.contains("ahead of w1's"), "{}", two[0].text);
}

#[test]
fn an_offset_that_all_share_is_this_machines() {
    let all =
        |seconds: i64| found(&spec(""), move |_, seen| seen.clock = known(clock(SignedDuration::from_secs(seconds))));
    assert_eq!(codes(&all(7200)), Vec::<String>::new(), "no host is to blame");
    assert_eq!(of_cluster(&all(7200)), ["TIME003 warns"]);
    assert_eq!(of_cluster(&all(-200)), ["TIME003 warns"], "certificates are valid from five minutes before");
    assert_eq!(of_cluster(&all(-310)), ["TIME001 blocks"]);
    assert_eq!(of_cluster(&all(366 * 86_400)), ["TIME001 blocks"], "they would have expired");
    assert_eq!(of_cluster(&all(3)), Vec::<String>::new());
    let alone = spec("");
    let mut alone = alone;
    alone.hosts.truncate(1);
    let one = found(&alone, |_, seen| seen.clock = known(clock(SignedDuration::from_secs(-310))));
    assert_eq!(codes(&one), ["TIME001 blocks cp1"], "one host and this machine: nobody knows whose it is");
}

#[test]
fn members_of_the_cluster_are_not_judged_again() {
    let spec = spec("");
    let findings = found(&spec, |name, seen| {
        seen.cpus = known(1);
        seen.cgroup_version = known(1);
        seen.clock = known(clock(SignedDuration::from_secs(90)));
        seen.listening = known(BTreeMap::from([(10250, "kubelet".into())]));
        seen.space = known(BTreeMap::from([("/var/lib".into(), room(1, 1))]));
        seen.fitness = Fact::Absent;
        seen.hostname = known("other".into());
        let roles = spec.host(&name.into()).unwrap().roles.clone();
        seen.record = known(HostRecord { cluster: "lab".into(), operation: "7f3a9c".into(), roles, settled: true });
    });
    assert_eq!(findings, Vec::<Finding>::new());
}

/// Facts of a version that knew less.
#[test]
fn old_facts_are_read() {
    let old = r#"{"hostname": {"known": {"value": "cp1", "at": "2026-01-01T00:00:00Z"}},
        "space": {"known": {"value": {"/var/lib": {"freeBytes": 5, "freeInodes": null}}, "at": "2026-01-01T00:00:00Z"}}}"#;
    let seen: HostFacts = serde_json::from_str(old).unwrap();
    assert!(seen.fitness.why().is_some());
    assert_eq!(seen.space.known().unwrap()["/var/lib"].total_bytes, None);
    // What a newer version says more is no reason to refuse an operation's facts.
    let text = serde_json::to_string(&bare(&spec("").hosts[0])).unwrap();
    assert_eq!(serde_json::from_str::<HostFacts>(&text).unwrap(), bare(&spec("").hosts[0]));
}

/// Strings and numbers as they may stand in any answer.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(vec![
            "",
            "0",
            "-1",
            "18446744073709551615",
            "rw",
            "ro",
            "true",
            "false",
            "present",
            "127.0.0.1",
            "::1",
            "10.244.0.0/16",
            "0.0.0.0/0",
            "255.255.255.255/32",
            "eth0",
            "cni0",
            "/var/lib",
            "/var/lib/etcd",
            "tmpfs",
            "é",
            "5.4.0",
            "enforcing",
            "/run/docker.sock",
            "net.ipv4.ip_forward",
            "10-flannel.conflist",
            "100",
            "1",
            "9223372036854775807",
            "253402207200999999999",
            "-377705023201000000000",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,12}",
    ]
}

fn statement() -> impl Strategy<Value = String> {
    let keys = vec![
        "hostname",
        "machine-id",
        "os",
        "kernel",
        "cpus",
        "memory-kib",
        "cgroup",
        "container",
        "swap",
        "clock-began",
        "clock-ended",
        "space",
        "address",
        "package-lock",
        "listening",
        "systemd-resolved",
        "unit/kubelet",
        "ca-fingerprint",
        "etcd-data",
        "record",
        "fitness",
        "systemd",
        "missing-program",
        "broken-package",
        "clock-synchronised",
        "selinux",
        "cgroup-controllers",
        "module/overlay",
        "module/vxlan",
        "sysctl",
        "mount",
        "fsync",
        "route",
        "listening-udp",
        "name-server",
        "name/cp1",
        "proxy",
        "firewall",
        "cni-configuration",
        "trace",
        "runtime-socket",
    ];
    let signs = proptest::sample::select(vec!["=", "+", ".", "-", "!"]);
    (signs, proptest::sample::select(keys), proptest::collection::vec(word(), 0..6))
        .prop_map(|(sign, key, words)| format!("{sign} {key} {}", words.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever hosts say, judging them never panics, and every code it gives is known.
    #[test]
    fn no_answer_makes_preflight_panic(
        answers in proptest::collection::vec(proptest::collection::vec(statement(), 0..60), 3),
        built in any::<bool>(),
    ) {
        let spec = spec("  - {name: w2, address: 10.77.0.22, roles: [worker]}\n");
        let exchange = Exchange { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };
        let mut facts = Facts::default();
        for (host, answer) in spec.hosts.iter().zip(answers) {
            // Most of what is judged is judged of bare hosts that were asked.
            let begin = if built { "" } else { "- record\n= fitness asked\n" };
            let answer: Vec<&String> =
                answer.iter().filter(|line| built || !(line.contains(" record ") || line.contains(" fitness "))).collect();
            let lines: String = answer.iter().map(|line| format!("{line}\n")).collect();
            if let Ok(seen) = HostFacts::parse(&format!("{begin}{lines}. facts\n"), exchange) {
                facts.hosts.insert(host.name.clone(), known(seen));
            }
        }
        for finding in judged(&spec, &facts) {
            prop_assert!(lookup(&finding.code).is_some(), "{}", finding.code);
            prop_assert!(!finding.text.is_empty());
        }
    }
}
