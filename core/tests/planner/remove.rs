//! A node leaves: in an order that loses nothing, or not at all.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use kubewright_core::drain::{Node, World as Observed};
use kubewright_core::facts::etcd::{MemberId, Sight};
use kubewright_core::facts::{Fact, Facts, HostFacts};
use kubewright_core::ids::HostName;
use kubewright_core::plan::StepKind;
use kubewright_core::planner::{Choices, Desired, Identity, Input, Outcome, Removal, remove};
use kubewright_core::sim::World;
use kubewright_core::spec::Spec;
use proptest::prelude::*;

use crate::converge::standing;
use crate::setting::{Rehearsal, TOKEN, bare, codes, known, moves, planned, spec, told};

fn leaving(spec: &Spec, facts: &Facts, name: &str) -> Outcome {
    let host = spec.host(&name.into()).unwrap();
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: String::new() };
    let desired = Desired::default();
    let input = Input { spec, facts, desired: &desired, findings: &[], identity: &identity, tool_version: "0.0.0" };
    let choices = Choices { consents: Default::default(), wait: false, patience_seconds: 60 };
    let node = facts.cluster.known().and_then(|cluster| cluster.nodes.get(&host.name));
    let world = node.map(|_| observed(name));
    remove(Removal { input, host, world: world.as_ref(), denied: &[], choices: &choices })
}

/// A node without pods.
fn observed(name: &str) -> Observed {
    let mut world = Observed::new(name, Timestamp::UNIX_EPOCH);
    world.nodes = Arc::new(BTreeMap::from([(name.to_owned(), Node { schedulable: true, ..Node::default() })]));
    world
}

#[test]
fn a_control_plane_leaves_its_traffic_then_etcd_then_its_host() {
    let spec = spec(3, 2);
    let plan = planned(leaving(&spec, &standing(&spec, |_| true), "cp3"));
    insta::assert_snapshot!(told(&plan));
    assert_eq!(plan.remaining().hosts.len(), 4);
    let keepers: Vec<&str> = plan.keepers.iter().map(HostName::as_str).collect();
    assert_eq!(keepers, ["cp1", "cp2", "cp3"]);
}

#[test]
fn only_who_is_there_is_proved_to_serve() {
    let spec = spec(3, 1);
    let plan = planned(leaving(&spec, &standing(&spec, |host| host.as_str() != "cp3"), "w1"));
    let proved = plan.steps.iter().find_map(|step| match &step.kind {
        StepKind::Prove { nodes, .. } => Some(nodes.clone()),
        _ => None,
    });
    assert_eq!(proved, Some(vec!["cp1".into(), "cp2".into()]), "cp3 left before and stands in the file still");
}

#[test]
fn a_worker_leaves_with_its_pods_moved() {
    let spec = spec(1, 2);
    insta::assert_snapshot!(told(&planned(leaving(&spec, &standing(&spec, |_| true), "w1"))));
}

#[test]
fn the_last_control_plane_stays() {
    let spec = spec(1, 1);
    let outcome = leaving(&spec, &standing(&spec, |_| true), "cp1");
    assert!(codes(&outcome).contains(&"LEAVE001"), "{outcome:#?}");
}

#[test]
fn etcd_keeps_a_member_that_it_needs() {
    let spec = spec(3, 0);
    let mut facts = standing(&spec, |_| true);
    facts.etcd = facts.etcd.map(|mut etcd| {
        etcd.sights.insert(MemberId(2), Sight::Down { why: "connection refused".into() });
        etcd
    });
    assert_eq!(codes(&leaving(&spec, &facts, "cp3")), ["LEAVE004"]);
    facts.etcd = Fact::unreadable("no credentials");
    assert_eq!(codes(&leaving(&spec, &facts, "cp3")), ["LEAVE004"]);
}

#[test]
fn a_dead_member_can_be_let_go_if_somebody_vouches_for_its_machine() {
    let spec = spec(3, 0);
    let mut facts = standing(&spec, |_| true);
    facts.hosts.insert("cp3".into(), Fact::unreadable("no route to host"));
    facts.etcd = facts.etcd.map(|mut etcd| {
        etcd.sights.insert(MemberId(3), Sight::Unseen { why: "no route to host".into() });
        etcd
    });
    let plan = planned(leaving(&spec, &facts, "cp3"));
    assert!(plan.findings.iter().any(|finding| finding.code == "LEAVE003"));
    assert!(!told(&plan).contains("reset") && !told(&plan).contains("drain"), "{}", told(&plan));
}

#[test]
fn another_machine_at_the_nodes_address_is_left_alone() {
    let spec = spec(1, 1);
    let mut facts = standing(&spec, |_| true);
    let foreign = HostFacts { ca_fingerprint: known("abc".into()), ..bare(&"w1".into()) };
    facts.hosts.insert("w1".into(), known(foreign));
    assert_eq!(codes(&leaving(&spec, &facts, "w1")), ["LEAVE005"]);
    let dark = HostFacts { etcd_data: Fact::unreadable("I/O error"), ..bare(&"w1".into()) };
    facts.hosts.insert("w1".into(), known(dark));
    assert_eq!(codes(&leaving(&spec, &facts, "w1")), ["LEAVE005"]);
    // Bare, it was installed anew: there is nothing to move and nothing to take apart.
    facts.hosts.insert("w1".into(), known(bare(&"w1".into())));
    let plan = planned(leaving(&spec, &facts, "w1"));
    assert!(!told(&plan).contains("reset") && !told(&plan).contains("drain"), "{}", told(&plan));
}

#[test]
fn nobody_leaves_a_cluster_that_cannot_be_asked() {
    let spec = spec(3, 1);
    let facts = Facts { cluster: Fact::unreadable("connection refused"), ..standing(&spec, |_| true) };
    assert_eq!(codes(&leaving(&spec, &facts, "w1")), ["LEAVE002"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_prefix_of_a_leaving_keeps_quorum_and_data(
        control_planes in prop_oneof![Just(2usize), Just(3), Just(5)],
        workers in 0usize..3,
        who in any::<prop::sample::Index>(),
        moves in moves(),
    ) {
        let spec = spec(control_planes, workers);
        let name = who.get(&spec.hosts).name.clone();
        let plan = planned(leaving(&spec, &standing(&spec, |_| true), name.as_str()));
        let mut run = Rehearsal::new(&plan, World::standing(&spec, TOKEN, |_| true));
        run.play(moves);
        prop_assert_eq!(run.status.done(), plan.steps.len());
        prop_assert!(!run.world.nodes.contains(&name) && !run.world.voters.contains(&name));
        prop_assert!(run.world.api_answers());
    }
}
