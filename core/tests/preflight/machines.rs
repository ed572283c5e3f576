//! Machines that are well, wrong in one way, or not to be judged.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use kubewright_core::facts::sample::{bare, clock, known, room};
use kubewright_core::facts::{Fact, HostFacts, HostRecord};
use kubewright_core::finding::codes::{PREFLIGHT, lookup};
use kubewright_core::finding::{Finding, Severity, Subject};

use crate::setting::{GB, codes, fit, found, on, route, spec, sysctl, value, words};
use crate::wrongs::{Wrong, wrongs};

#[test]
fn well_machines_are_only_told_of_their_clocks() {
    let findings = found(&spec(""), |_, _| {});
    assert_eq!(findings.len(), 1, "{findings:#?}");
    assert_eq!((findings[0].code.as_str(), findings[0].severity), ("TIME002", Severity::Info));
    assert_eq!(findings[0].text, "clocks agree within 11 ms");
}

#[test]
fn a_firewall_has_to_let_in_the_port_that_the_api_server_gets() {
    for (endpoint, port) in [
        ("mode: nodeLocal, port: 7443", "7443 from all"),
        ("mode: external, address: api.example.com, port: 443", "6443 from all"),
    ] {
        let findings = found(&spec(&format!("  endpoint: {{{endpoint}}}\n")), |_, seen| {
            value(&mut seen.fitness).firewalls = words(&["ufw"]);
            value(&mut seen.fitness).names.insert("api.example.com".into(), words(&["192.0.2.1"]));
        });
        let hints: Vec<&str> =
            findings.iter().filter(|one| one.code == "HOST064").filter_map(|one| one.hint.as_deref()).collect();
        assert!(hints.iter().any(|hint| hint.contains(port)), "{port}: {hints:?}");
    }
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
