//! Hosts are taken apart, and only those that are ours to take apart.

use std::collections::BTreeMap;

use kubewright_core::facts::{Fact, Facts, HostFacts, HostRecord, sample};
use kubewright_core::finding::Severity;
use kubewright_core::ids::HostName;
use kubewright_core::planner::{Desired, Outcome, Request, Reset};
use kubewright_core::sim::World;
use kubewright_core::spec::Spec;
use proptest::prelude::*;

use crate::setting::{Rehearsal, TOKEN, asked, bare, codes, known, moves, part, planned, spec};

fn standing(spec: &Spec) -> Facts {
    let hosts = spec.hosts.iter().map(|host| (host.name.clone(), known(part(host)))).collect();
    Facts { hosts, ..Facts::default() }
}

fn reset(spec: &Spec, facts: &Facts, hosts: Option<&[&str]>) -> Outcome {
    let hosts = hosts.map(|names| names.iter().map(|name| HostName::from(*name)).collect());
    asked(spec, facts, &Desired::default(), &Request::Reset(Reset { hosts, ..Reset::default() }))
}

#[test]
fn workers_go_before_control_planes() {
    let spec = spec(1, 2);
    let plan = planned(reset(&spec, &standing(&spec), None));
    let steps: Vec<(&str, usize)> = plan.steps.iter().map(|step| (step.id.as_str(), step.after.len())).collect();
    assert_eq!(steps, [("01-w1-reset", 0), ("02-w2-reset", 0), ("03-cp1-reset", 2)]);
}

#[test]
fn bare_hosts_have_nothing_to_take_apart() {
    let spec = spec(1, 1);
    let hosts = spec.hosts.iter().map(|host| (host.name.clone(), known(sample::bare(host)))).collect();
    let bare = Facts { hosts, ..Facts::default() };
    assert_eq!(reset(&spec, &bare, None), Outcome::Nothing { findings: Vec::new() });
}

#[test]
fn software_that_we_brought_is_ours_even_without_a_record() {
    let spec = spec(1, 0);
    let artefacts = known(BTreeMap::from([("kubelet".to_owned(), "abc".to_owned())]));
    let seen = HostFacts { artefacts, ..bare(&"cp1".into()) };
    let facts = Facts { hosts: BTreeMap::from([("cp1".into(), known(seen))]), ..Facts::default() };
    assert_eq!(planned(reset(&spec, &facts, None)).steps.len(), 1);
}

#[test]
fn a_host_that_is_clean_already_keeps_nothing_of_the_run() {
    // The first time cp2 was silent: the others are bare by now.
    let spec = spec(3, 1);
    let mut facts = standing(&spec);
    for name in ["cp1", "cp3", "w1"] {
        facts.hosts.insert(name.into(), known(bare(&name.into())));
    }
    let plan = planned(reset(&spec, &facts, None));
    assert_eq!(plan.keepers, [HostName::from("cp2")]);
    // Where no control plane has anything any more, the host itself.
    facts = standing(&spec);
    for name in ["cp1", "cp2", "cp3"] {
        facts.hosts.insert(name.into(), known(bare(&name.into())));
    }
    assert_eq!(planned(reset(&spec, &facts, None)).keepers, [HostName::from("w1")]);
}

#[test]
fn other_clusters_are_left_alone() {
    let spec = spec(1, 2);
    let mut facts = standing(&spec);
    let record = HostRecord { cluster: "other".into(), operation: "a".into(), roles: Vec::new(), settled: true };
    facts.hosts.insert("w1".into(), known(HostFacts { record: known(record), ..bare(&"w1".into()) }));
    let foreign = HostFacts { ca_fingerprint: known("abc".into()), ..bare(&"w2".into()) };
    facts.hosts.insert("w2".into(), known(foreign));
    assert_eq!(codes(&reset(&spec, &facts, None)), ["RESET002", "RESET004"]);
    let dark = HostFacts { record: Fact::unreadable("I/O error"), ..bare(&"w1".into()) };
    facts.hosts.insert("w1".into(), known(dark));
    assert!(codes(&reset(&spec, &facts, None)).contains(&"RESET002"));
}

#[test]
fn a_part_of_a_cluster_that_stands_leaves_by_another_door() {
    let spec = spec(3, 1);
    let facts = standing(&spec);
    assert_eq!(codes(&reset(&spec, &facts, Some(&["w1"]))), ["RESET003"]);
    // Without any control plane that stays, nothing is left to leave.
    planned(reset(&spec, &facts, Some(&["w1", "cp1", "cp2", "cp3"])));
    // One that an abandoned run left behind is no part yet.
    let mut facts = facts;
    let record = HostRecord { cluster: "lab".into(), operation: "a".into(), roles: Vec::new(), settled: false };
    facts.hosts.insert("w1".into(), known(HostFacts { record: known(record), ..bare(&"w1".into()) }));
    planned(reset(&spec, &facts, Some(&["w1"])));
}

#[test]
fn silence_is_not_taken_for_absence() {
    let spec = spec(3, 0);
    let mut facts = standing(&spec);
    for name in ["cp2", "cp3"] {
        facts.hosts.insert(name.into(), Fact::unreadable("no route to host"));
    }
    assert_eq!(codes(&reset(&spec, &facts, Some(&["cp1"]))), ["RESET003"]);
    // One that an abandoned run left behind may have its vote by now.
    let mut facts = standing(&spec);
    let record = HostRecord { cluster: "lab".into(), operation: "a".into(), roles: Vec::new(), settled: false };
    let left = HostFacts { record: known(record), etcd_data: known(true), ..bare(&"cp3".into()) };
    facts.hosts.insert("cp3".into(), known(left));
    assert_eq!(codes(&reset(&spec, &facts, Some(&["cp3"]))), ["RESET003"]);
}

#[test]
fn a_silent_host_stays_as_it_is_if_the_user_agrees() {
    let spec = spec(3, 1);
    let mut facts = standing(&spec);
    facts.hosts.insert("cp2".into(), Fact::unreadable("no route to host"));
    let plan = planned(reset(&spec, &facts, None));
    assert_eq!(plan.steps.len(), 3);
    assert_eq!(plan.findings[0].severity, Severity::NeedsConsent);
    let keepers: Vec<&str> = plan.keepers.iter().map(HostName::as_str).collect();
    assert_eq!(keepers, ["cp1", "cp3"], "the lock is taken where it can be");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_order_leads_to_bare_hosts(control_planes in 1usize..4, workers in 0usize..3, moves in moves()) {
        let spec = spec(control_planes, workers);
        let plan = planned(reset(&spec, &standing(&spec), None));
        let mut run = Rehearsal::new(&plan, World::standing(&spec, TOKEN, |_| true));
        run.play(moves);
        prop_assert_eq!(run.status.done(), plan.steps.len());
        prop_assert!(run.world.machines.values().all(|machine| *machine == Default::default()));
    }
}
