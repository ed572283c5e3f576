//! What `upgrade` tells before it begins, and what it refuses.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kubewright_core::etcd::status::{Certificate, CopiesSeen};
use kubewright_core::facts::etcd::{Alarm, AlarmKind, MemberId, Sight};
use kubewright_core::facts::{ApisInUse, DeprecatedApi, Fact, Facts, Use, sample};
use kubewright_core::finding::{Finding, Severity};
use kubewright_core::ids::HostName;
use kubewright_core::planner::Outcome;
use kubewright_core::spec::Spec;
use kubewright_core::version::{Minor, Version};

use crate::maintain::seen;
use crate::setting::{codes, known, planned, spec};
use crate::upgrade::{NEW, OLD, Wanted, asked, running};

/// Three control planes and a worker that run the old version, otherwise as this makes them.
fn outcome(change: impl FnOnce(&Spec, &mut Facts)) -> Outcome {
    let spec = spec(3, 1);
    let mut facts = running(&spec, &OLD);
    change(&spec, &mut facts);
    let names = seen(&["cp1", "cp2", "cp3", "w1"]);
    asked(&Wanted { spec: &spec, facts: &facts, nodes: &names, way: &[NEW] })
}

/// Findings of those codes; what stands in the way of none of it is a plan.
fn findings(outcome: Outcome, code: &str) -> Vec<Finding> {
    let all = match outcome {
        Outcome::Blocked { findings } | Outcome::Nothing { findings } => findings,
        Outcome::Plan(plan) => plan.findings,
    };
    all.into_iter().filter(|finding| finding.code == code).collect()
}

fn host<'f>(facts: &'f mut Facts, name: &str) -> &'f mut kubewright_core::facts::HostFacts {
    match facts.hosts.get_mut(&HostName::new(name)) {
        Some(Fact::Known { value, .. }) => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nothing_that_was_asked_for_and_found_well_is_told() {
    let plan = planned(outcome(|_, facts| {
        facts.apis = known(ApisInUse::default());
        facts.certificates = BTreeMap::from([("cp1".into(), known(Vec::new()))]);
    }));
    let told: Vec<&str> = plan.findings.iter().map(|one| one.code.as_str()).collect();
    assert!(!told.iter().any(|code| code.starts_with("UPG") || code.starts_with("API")), "{told:?}");
}

#[test]
fn an_alarm_of_etcd_blocks() {
    for kind in [AlarmKind::NoSpace, AlarmKind::Corrupt] {
        let blocked = outcome(|_, facts| {
            facts.etcd = facts.etcd.clone().map(|mut etcd| {
                etcd.alarms = vec![Alarm { member: Some(MemberId(2)), kind: kind.clone() }];
                etcd
            });
        });
        let named = findings(blocked, "MAINT002");
        assert!(named.iter().any(|one| one.text.contains(&kind.to_string())), "{named:#?}");
    }
}

#[test]
fn an_etcd_that_cannot_be_asked_blocks() {
    assert_eq!(codes(&outcome(|_, facts| facts.etcd = Fact::unreadable("no member answers"))), ["MAINT002"; 3]);
}

#[test]
fn a_control_plane_that_is_not_ready_blocks_and_cannot_be_left() {
    let blocked = outcome(|_, facts| {
        facts.cluster = facts.cluster.clone().map(|mut cluster| {
            cluster.nodes.get_mut(&HostName::new("cp2")).unwrap().not_ready = Some("kubelet stopped".into());
            cluster
        });
    });
    let named = findings(blocked, "UPG004");
    assert_eq!(named.len(), 1);
    assert!(!named[0].hint.as_ref().unwrap().contains("--leave"), "{named:#?}");
}

#[test]
fn a_certificate_that_has_ended_blocks_even_where_the_api_is_silent_for_it() {
    let at = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 400);
    let ended = |expires| {
        let certificate = Certificate { path: "/etc/kubernetes/pki/apiserver.crt".into(), expires };
        BTreeMap::from([("cp1".into(), Fact::Known { value: vec![certificate], at })])
    };
    let day = SignedDuration::from_hours(24);
    let blocked = outcome(|_, facts| {
        facts.certificates = ended(at - day);
        facts.cluster = Fact::unreadable("its certificate has expired");
    });
    assert_eq!(codes(&blocked), ["UPG010", "UPG005"]);
    let near = outcome(|_, facts| facts.certificates = ended(at + day * 30));
    assert!(matches!(near, Outcome::Plan(_)));
    assert_eq!(findings(near, "UPG011").len(), 1);
    assert_eq!(findings(outcome(|_, facts| facts.certificates = ended(at + day * 91)), "UPG011"), []);
}

#[test]
fn an_api_that_the_target_does_not_serve_warns() {
    let told = |removed_in, code| {
        let api = DeprecatedApi {
            removed_in,
            group: "resource.k8s.io".into(),
            version: "v1beta1".into(),
            resource: "deviceclasses".into(),
        };
        findings(
            outcome(|_, facts| {
                let deprecated = BTreeMap::from([(api, Use::default())]);
                facts.apis = known(ApisInUse { deprecated, untold: BTreeMap::new() });
            }),
            code,
        )
    };
    assert_eq!(told(Minor::new(1, 36), "API004")[0].severity, Severity::Warns);
    assert_eq!(told(Minor::new(1, 37), "API005")[0].severity, Severity::Info);
    assert_eq!(told(Minor::new(1, 37), "API004"), []);
}

#[test]
fn a_node_without_room_for_the_software_blocks_and_says_how_much() {
    const MB: u64 = 1_000_000;
    let with = |images: u64, programs: u64| {
        findings(
            outcome(|_, facts| {
                let space = &mut host(facts, "w1").space;
                *space = space.clone().map(|mut space| {
                    space.clear();
                    space.insert("/usr/local".into(), sample::room(programs * MB, 10_000 * MB));
                    space.insert("/var/lib".into(), sample::room(images * MB, 20_000 * MB));
                    space
                });
            }),
            "UPG007",
        )
    };
    assert_eq!(with(1000, 1000), []);
    let images = with(100, 1000);
    assert_eq!(images.len(), 1);
    assert_eq!(images[0].text, "/var/lib has 100 MB free; programs and images of 1.36.3 need about 150 MB");
    assert!(with(1000, 80)[0].text.starts_with("/usr/local has 80 MB free"), "a program of its own version");
}

#[test]
fn folders_of_one_disk_share_its_room() {
    let one_disk = |free: u64| {
        findings(
            outcome(|_, facts| {
                let space = &mut host(facts, "w1").space;
                *space = space
                    .clone()
                    .map(|space| space.into_keys().map(|path| (path, sample::room(free, 1 << 40))).collect());
            }),
            "UPG007",
        )
    };
    assert_eq!(one_disk(200_000_000).len(), 1, "either would fit, both do not");
    assert_eq!(one_disk(300_000_000), []);
}

#[test]
fn etcd_before_3_5_26_does_not_go_to_3_6() {
    let from = |version: &str| {
        findings(
            outcome(|_, facts| {
                facts.etcd = facts.etcd.clone().map(|mut etcd| {
                    for sight in etcd.sights.values_mut() {
                        if let Sight::Answers(answer) = sight {
                            answer.version = version.to_owned();
                        }
                    }
                    etcd
                });
            }),
            "UPG008",
        )
    };
    let blocked = from("3.5.21");
    assert_eq!(blocked.len(), 3, "{blocked:#?}");
    assert!(blocked.iter().all(|one| one.severity == Severity::Blocks && one.text.contains("3.5.26")), "{blocked:#?}");
    assert_eq!(from("3.5.26"), []);
    assert_eq!(from("3.6.6"), []);
    assert_eq!(from("3.7.0").len(), 3, "never back");
}

#[test]
fn an_old_containerd_warns_and_blocks_where_its_kubelet_would_not_start() {
    let spec = spec(1, 1);
    let from = |from: u64, to: u64| {
        let mut facts = running(&spec, &Version::new(1, from, 4));
        facts.cluster = facts.cluster.map(|mut cluster| {
            cluster.nodes.get_mut(&HostName::new("w1")).unwrap().container_runtime = "containerd://1.7.29".into();
            cluster
        });
        let way = [Version::new(1, to, 3)];
        let nodes = seen(&["cp1", "w1"]);
        let asked = asked(&Wanted { spec: &spec, facts: &facts, nodes: &nodes, way: &way });
        findings(asked, "UPG009").into_iter().map(|one| one.severity).collect::<Vec<_>>()
    };
    assert_eq!(from(35, 36), [Severity::Warns]);
    assert_eq!(from(36, 37), [Severity::Blocks]);
}

#[test]
fn cgroup_v1_blocks_a_kubelet_that_refuses_it() {
    let blocked = outcome(|_, facts| host(facts, "w1").cgroup_version = known(1));
    assert_eq!(codes(&blocked), ["HOST025"]);
}

#[test]
fn an_old_copy_of_etcd_is_told() {
    let told = |copies| {
        let value = CopiesSeen::of("/backups/lab".into(), copies);
        let plan = planned(outcome(|_, facts| facts.copies = known(value)));
        let codes: Vec<String> = plan.findings.into_iter().map(|one| one.code).collect();
        codes.into_iter().filter(|code| code.starts_with("ETCD01")).collect::<Vec<_>>()
    };
    assert_eq!(told(Ok(&[])), ["ETCD012"]);
    assert_eq!(told(Err("no answer".into())), ["ETCD013"]);
}
