//! Plans for one node: what they consist of, what is asked before them, and that they keep the invariants on the simulator.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use jiff::Timestamp;
use kubewright_core::drain::{Consent, News, Node, Object, Owner, Permission, Phase, Pod, Readiness, View, World};
use kubewright_core::finding::Severity;
use kubewright_core::ids::{HostName, OperationId};
use kubewright_core::plan::{NO_DEADLINE, Plan, StepKind, Undo};
use kubewright_core::planner::{Choices, Identity, NodeInput, Outcome, cordon, drain, uncordon};
use kubewright_core::sim;
use kubewright_core::spec::{Spec, read};

const SPEC: &str = include_str!("../../examples/lab-ha.yaml");

fn spec() -> Spec {
    read("lab-ha.yaml", SPEC).spec.unwrap()
}

fn pod(owner: Option<&str>) -> Pod {
    let owner = owner.map(|kind| Owner { kind: kind.into(), name: "cart".into(), uid: "o".into() });
    Pod {
        uid: "u".into(),
        owner,
        phase: Phase::Running,
        readiness: Readiness::Ready,
        grace_seconds: 30,
        ..Pod::default()
    }
}

/// w1 with these pods, w2 beside it.
fn seen(schedulable: bool, cordoned_by: Option<&str>, pods: Vec<Pod>) -> World {
    let mut world = World::new("w1", Timestamp::UNIX_EPOCH);
    let w1 = Node { schedulable, cordoned_by: cordoned_by.map(str::to_owned), ..Node::default() };
    let w2 = Node { schedulable: true, ..Node::default() };
    world.take(&View::Nodes, News::All(vec![Object::Node("w1".into(), w1), Object::Node("w2".into(), w2)]));
    world.take(&View::Budgets, News::All(Vec::new()));
    let named = pods.into_iter().enumerate().map(|(index, pod)| {
        Object::Pod(kubewright_core::drain::Name::new("shop", format!("cart-{index}")), Box::new(pod))
    });
    world.take(&View::PodsOn { node: "w1".into() }, News::All(named.collect()));
    world
}

fn asked(plan: fn(NodeInput<'_>) -> Outcome, world: &World, consents: &[&str], denied: &[Permission]) -> Outcome {
    let spec = spec();
    let consents: BTreeSet<String> = consents.iter().map(|code| (*code).to_owned()).collect();
    plan(NodeInput {
        spec: &spec,
        node: &HostName::new("w1"),
        world,
        denied,
        choices: &Choices { consents, wait: false, patience_seconds: 60 },
        identity: &Identity { operation: OperationId::new("7f3a9c"), initial_cluster_token: String::new() },
        tool_version: "0.0.0",
    })
}

fn planned(outcome: Outcome) -> Plan {
    match outcome {
        Outcome::Plan(plan) => *plan,
        other => panic!("{other:#?}"),
    }
}

fn codes(plan: &Plan, severity: Severity) -> Vec<&str> {
    plan.findings.iter().filter(|one| one.severity == severity).map(|one| one.code.as_str()).collect()
}

#[test]
fn a_drain_is_a_cordon_and_then_the_pods() {
    let plan =
        planned(asked(drain, &seen(true, None, vec![pod(Some("ReplicaSet")), pod(Some("DaemonSet"))]), &[], &[]));
    let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.as_str()).collect();
    assert_eq!(ids, ["01-w1-cordon", "02-w1-drain"]);
    let StepKind::Drain { policy, pods, .. } = &plan.steps[1].kind else { panic!("{:#?}", plan.steps) };
    assert_eq!((*pods, policy.patience_seconds, plan.steps[1].deadline_seconds), (1, 60, NO_DEADLINE));
    assert!(plan.steps.iter().all(|step| step.undo == Undo::Uncordon));
    assert_eq!(codes(&plan, Severity::NeedsConsent), Vec::<&str>::new());
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn what_was_agreed_to_stands_in_the_step() {
    let world = seen(true, None, vec![pod(None)]);
    assert_eq!(codes(&planned(asked(drain, &world, &[], &[])), Severity::NeedsConsent), ["DRAIN001"]);
    let plan = planned(asked(drain, &world, &["DRAIN001"], &[]));
    let StepKind::Drain { policy, .. } = &plan.steps[1].kind else { panic!("{:#?}", plan.steps) };
    assert_eq!(policy.consents, BTreeSet::from([Consent::Bare]));
}

#[test]
fn a_second_drain_of_an_empty_node_is_nothing_to_do() {
    let outcome = asked(drain, &seen(false, Some("7f3a9c"), vec![pod(Some("DaemonSet"))]), &[], &[]);
    assert!(matches!(outcome, Outcome::Nothing { .. }), "{outcome:#?}");
    let outcome = asked(cordon, &seen(false, None, Vec::new()), &[], &[]);
    assert!(matches!(&outcome, Outcome::Nothing { findings } if findings[0].code == "DRAIN011"), "{outcome:#?}");
    assert!(matches!(asked(uncordon, &seen(true, None, Vec::new()), &[], &[]), Outcome::Nothing { .. }));
}

#[test]
fn a_cordon_of_others_needs_a_yes_to_be_taken() {
    let plan = planned(asked(uncordon, &seen(false, None, Vec::new()), &[], &[]));
    assert_eq!(codes(&plan, Severity::NeedsConsent), ["DRAIN013"]);
    assert_eq!(plan.steps[0].kind, StepKind::Uncordon { foreign: true });
    let plan = planned(asked(uncordon, &seen(false, Some("beef"), Vec::new()), &[], &[]));
    assert_eq!(
        (codes(&plan, Severity::NeedsConsent), &plan.steps[0].kind),
        (vec![], &StepKind::Uncordon { foreign: false })
    );
}

#[test]
fn what_we_may_not_do_is_said_before_the_cordon() {
    let world = seen(true, None, vec![pod(Some("ReplicaSet"))]);
    let blocked = |outcome: Outcome| match outcome {
        Outcome::Blocked { findings } => findings.iter().map(|one| format!("{}: {}", one.code, one.text)).collect(),
        other => panic!("{other:#?}"),
    };
    let said: Vec<String> = blocked(asked(drain, &world, &[], &[Permission::PatchNodes, Permission::Evict]));
    assert_eq!(said, ["DRAIN010: the API does not let us patch nodes, create pods/eviction"]);
    let said: Vec<String> = blocked(asked(cordon, &world, &[], &[Permission::PatchNodes]));
    assert_eq!(said, ["DRAIN010: the API does not let us patch nodes"]);
    planned(asked(cordon, &world, &[], &[Permission::Evict]));
}

#[test]
fn a_node_that_is_none_is_named() {
    let mut world = seen(true, None, Vec::new());
    world.take(&View::Nodes, News::All(Vec::new()));
    for plan in [drain as fn(NodeInput<'_>) -> Outcome, cordon, uncordon] {
        let Outcome::Blocked { findings } = asked(plan, &world, &[], &[]) else { panic!("there is no such node") };
        assert_eq!(findings[0].code, "DRAIN014");
    }
}

#[test]
fn on_the_simulator_a_node_is_emptied_and_given_back() {
    let spec = spec();
    let mut world = sim::World::bare(&spec);
    let plan = planned(asked(drain, &seen(true, None, vec![pod(Some("ReplicaSet"))]), &[], &[]));
    assert!(world.perform(&plan.steps[0]).is_err(), "there is no API yet");
    for machine in world.machines.values_mut() {
        (machine.prepared, machine.files, machine.kubelet) = (true, Some("t".into()), true);
        machine.etcd_data = Some("t".into());
    }
    world.nodes.extend(spec.hosts.iter().map(|host| host.name.clone()));
    // Twice, as after a crash.
    for step in plan.steps.iter().chain(&plan.steps) {
        world.perform(step).unwrap();
    }
    assert!(world.cordoned.contains("w1") && world.drained.contains("w1"));
    let back = planned(asked(uncordon, &seen(false, Some("7f3a9c"), Vec::new()), &[], &[]));
    world.perform(&back.steps[0]).unwrap();
    assert!(world.cordoned.is_empty() && world.drained.is_empty());
}
