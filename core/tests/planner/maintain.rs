//! Nodes are worked on one after another, and nothing is cut off, out-voted or begun too early.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use kubewright_core::drain::{Budget, Name, Node, Owner, Phase, Pod, Readiness, Selector, Wanted, World as Observed};
use kubewright_core::facts::etcd::{MemberId, Sight};
use kubewright_core::facts::{Fact, Facts, Os, OsFamily};
use kubewright_core::finding::Severity;
use kubewright_core::guard::{Guard, MemberChange};
use kubewright_core::ids::HostName;
use kubewright_core::plan::{Plan, Probe, StepKind, waves};
use kubewright_core::planner::{Choices, Desired, Identity, Input, Nodes, Outcome, Script, Work, maintain};
use kubewright_core::sim::World;
use kubewright_core::spec::{Pool, Role, Spec};
use kubewright_core::summary::headline;
use proptest::prelude::*;

use crate::converge::standing;
use crate::setting::{Rehearsal, TOKEN, codes, known, moves, planned, spec, told};
use crate::upgrade::pooled;

pub fn reboot() -> Work {
    Work { reboot: true, ..Work::default() }
}

fn everything() -> Work {
    let script = Script { name: "fix.sh".into(), text: "#!/bin/sh\nexit 0\n".into() };
    Work { packages: true, reboot: true, script: Some(script) }
}

/// A node with one pod.
fn observed(name: &str) -> Observed {
    let mut world = Observed::new(name, Timestamp::UNIX_EPOCH);
    let node = Node { schedulable: true, ..Node::default() };
    world.nodes = Arc::new(BTreeMap::from([(name.to_owned(), node.clone()), ("elsewhere".to_owned(), node)]));
    let owner = Owner { kind: "ReplicaSet".into(), name: "cart".into(), uid: "o".into() };
    let pod = Pod {
        uid: "u".into(),
        node: Some(name.to_owned()),
        labels: BTreeMap::from([("app".to_owned(), "cart".to_owned())]),
        owner: Some(owner),
        phase: Phase::Running,
        readiness: Readiness::Ready,
        grace_seconds: 30,
        ..Pod::default()
    };
    world.pods.insert(Name::new("shop", format!("cart-{name}")), pod);
    world
}

pub fn seen(names: &[&str]) -> BTreeMap<HostName, Observed> {
    names.iter().map(|name| (HostName::new(*name), observed(name))).collect()
}

fn asked(spec: &Spec, facts: &Facts, nodes: &BTreeMap<HostName, Observed>, work: &Work, consents: &[&str]) -> Outcome {
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: String::new() };
    let desired = Desired::default();
    let input = Input { spec, facts, desired: &desired, findings: &[], identity: &identity, tool_version: "0.0.0" };
    let consents: BTreeSet<String> = consents.iter().map(|code| (*code).to_owned()).collect();
    let choices = Choices { consents, wait: false, patience_seconds: 60 };
    maintain(Nodes { input, seen: nodes, denied: &[], choices: &choices }, work)
}

pub fn plan_for(spec: &Spec, names: &[&str], work: &Work) -> Plan {
    planned(asked(spec, &standing(spec, |_| true), &seen(names), work, &[]))
}

fn noted(plan: &Plan, severity: Severity) -> Vec<&str> {
    plan.findings.iter().filter(|one| one.severity == severity).map(|one| one.code.as_str()).collect()
}

#[test]
fn a_reboot_empties_the_node_proves_it_back_and_only_then_uncordons() {
    insta::assert_snapshot!(told(&plan_for(&spec(3, 1), &["w1"], &reboot())));
}

#[test]
fn all_that_can_be_done_on_a_control_plane_has_its_order() {
    let plan = plan_for(&spec(3, 1), &["cp2"], &everything());
    insta::assert_snapshot!(told(&plan));
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    for step in &plan.steps {
        let expected = match step.kind {
            StepKind::UpdatePackages { .. } | StepKind::RunScript { .. } => Probe::UnitEnded,
            StepKind::Reboot => Probe::Rebooted,
            _ => Probe::Repeatable,
        };
        assert_eq!(step.probe, expected, "{}", step.id);
    }
    let stop = Guard::EtcdBears { change: MemberChange::Stop { host: "cp2".into(), outage: false } };
    let guarded: Vec<&str> =
        plan.steps.iter().filter(|step| step.guards.contains(&stop)).map(|step| step.id.as_str()).collect();
    assert_eq!(guarded, ["01-cp2-note", "05-cp2-packages", "07-cp2-script", "08-cp2-reboot"]);
}

#[test]
fn workers_come_first_and_the_leader_last_and_never_two_at_a_time() {
    // In the facts of these tests the first member leads.
    let plan = plan_for(&spec(3, 2), &["cp1", "cp3", "w2", "cp2", "w1"], &reboot());
    let reboots: Vec<&str> = plan
        .steps
        .iter()
        .filter(|step| step.kind == StepKind::Reboot)
        .map(|step| step.id.as_str().split_once('-').unwrap().1)
        .collect();
    assert_eq!(reboots, ["w1-reboot", "w2-reboot", "cp2-reboot", "cp3-reboot", "cp1-reboot"]);
    assert!(waves(&plan.steps).unwrap().iter().all(|wave| wave.len() == 1), "{}", told(&plan));
}

#[test]
fn nodes_of_a_pool_have_their_turns_side_by_side_and_control_planes_theirs_alone() {
    let work = Work { packages: true, ..Work::default() };
    let names = ["cp1", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"];
    let plan = plan_for(&pooled(8, "2"), &names, &work);
    let of = |host: &str, verb: &str| {
        plan.steps.iter().find(|step| step.id.as_str().ends_with(&format!("{host}-{verb}"))).unwrap()
    };
    let waits = |host: &str, other: &str| of(host, "note").after.contains(&of(other, "workloads").id);
    // The pool that lets two be away: w1, w4, w5, w8. Then w2 and w6 of one that lets one, then w3 and w7, of none.
    assert!(of("w1", "note").after.is_empty() && of("w4", "note").after.is_empty(), "{}", told(&plan));
    for (host, other) in
        [("w5", "w1"), ("w8", "w4"), ("w2", "w5"), ("w2", "w8"), ("w6", "w2"), ("w3", "w6"), ("w7", "w3")]
    {
        assert!(waits(host, other), "{host}, {other}: {}", told(&plan));
    }
    assert!(waits("cp1", "w7"));
    // A budget that the other node holds up is waited for as long as that one may take: packages and its return, 70 minutes.
    let patience = |host: &str| match &of(host, "drain").kind {
        StepKind::Drain { policy, .. } => policy.patience_seconds,
        other => panic!("{other:?}"),
    };
    assert_eq!((patience("w1"), patience("w2"), patience("cp1")), (60 + 4200, 60, 60));
    assert_eq!(of("w1", "workloads").deadline_seconds, of("w2", "workloads").deadline_seconds + 4200);
    assert_eq!(headline(&plan), "maintain 9 nodes up to 2 at a time: OS packages");
    assert_eq!(noted(&plan, Severity::Warns), Vec::<&str>::new());
    let all = plan_for(&pooled(1, "2"), &["w1"], &work);
    assert_eq!(noted(&all, Severity::Warns), Vec::<&str>::new(), "one worker is away whatever is said");
}

#[test]
fn a_pool_that_lets_all_workers_be_away_is_told() {
    let mut spec = spec(3, 2);
    spec.pools.insert("all".into(), Pool { max_unavailable: Some("100%".into()), ..Pool::default() });
    spec.hosts.iter_mut().filter(|host| host.is(Role::Worker)).for_each(|host| host.pool = Some("all".into()));
    assert_eq!(noted(&plan_for(&spec, &["w1", "w2"], &reboot()), Severity::Warns), ["MAINT007"]);
    assert_eq!(noted(&plan_for(&spec, &["w1"], &reboot()), Severity::Warns), Vec::<&str>::new());
}

#[test]
fn packages_alone_need_nothing_of_etcd_and_are_held_back() {
    let spec = spec(3, 1);
    let mut facts = standing(&spec, |_| true);
    facts.etcd = Fact::unreadable("no credentials");
    let work = Work { packages: true, ..Work::default() };
    let plan = planned(asked(&spec, &facts, &seen(&["cp1"]), &work, &[]));
    let held = plan.steps.iter().find_map(|step| match &step.kind {
        StepKind::UpdatePackages { held } => Some(held.clone()),
        _ => None,
    });
    let held = held.unwrap();
    for package in ["kubelet", "kubeadm", "kubectl", "containerd", "cri-tools"] {
        assert!(held.iter().any(|of| of == package), "{package}");
    }
    assert!(noted(&plan, Severity::Info).contains(&"MAINT005"));
}

#[test]
fn a_system_that_we_cannot_update_is_named_before_anything() {
    let spec = spec(1, 1);
    let mut facts = standing(&spec, |_| true);
    let rocky = Os { id: "rocky".into(), version: "9".into(), family: OsFamily::RedHat, name: "Rocky Linux 9".into() };
    facts.hosts.entry("w1".into()).and_modify(|host| {
        *host = host.clone().map(|mut seen| {
            seen.os = known(rocky.clone());
            seen
        });
    });
    assert_eq!(codes(&asked(&spec, &facts, &seen(&["w1"]), &everything(), &[])), ["MAINT004"]);
    planned(asked(&spec, &facts, &seen(&["w1"]), &reboot(), &[]));
}

#[test]
fn etcd_that_needs_the_member_keeps_it() {
    let spec = spec(3, 1);
    let mut facts = standing(&spec, |_| true);
    facts.etcd = facts.etcd.map(|mut etcd| {
        etcd.sights.insert(MemberId(2), Sight::Down { why: "connection refused".into() });
        etcd
    });
    assert_eq!(codes(&asked(&spec, &facts, &seen(&["cp3", "w1"]), &reboot(), &[])), ["MAINT002"]);
    planned(asked(&spec, &facts, &seen(&["w1"]), &reboot(), &[]));
    facts.etcd = Fact::unreadable("no credentials");
    assert_eq!(codes(&asked(&spec, &facts, &seen(&["cp3"]), &reboot(), &[])), ["MAINT002"]);
}

#[test]
fn the_only_etcd_restarts_with_a_yes() {
    let spec = spec(1, 1);
    let plan = plan_for(&spec, &["cp1"], &reboot());
    assert_eq!(noted(&plan, Severity::NeedsConsent), ["MAINT001"]);
    assert!(!told(&plan).contains("leader"), "{}", told(&plan));
    assert_eq!(noted(&plan_for(&spec, &["w1"], &reboot()), Severity::NeedsConsent), Vec::<&str>::new());
}

#[test]
fn a_host_that_is_silent_or_another_machine_is_left_alone() {
    let spec = spec(1, 1);
    let mut facts = standing(&spec, |_| true);
    facts.hosts.insert("w1".into(), Fact::unreadable("no route to host"));
    assert_eq!(codes(&asked(&spec, &facts, &seen(&["w1"]), &reboot(), &[])), ["MAINT003"]);
    let mut facts = standing(&spec, |_| true);
    facts.cluster = facts.cluster.map(|mut cluster| {
        cluster.nodes.get_mut(&HostName::new("w1")).unwrap().machine_id = "another".into();
        cluster
    });
    assert_eq!(codes(&asked(&spec, &facts, &seen(&["w1"]), &reboot(), &[])), ["MAINT003"]);
}

#[test]
fn a_name_that_is_no_node_blocks() {
    let spec = spec(1, 1);
    let mut nodes = seen(&["w1"]);
    nodes.get_mut(&HostName::new("w1")).unwrap().nodes = Arc::default();
    assert_eq!(codes(&asked(&spec, &standing(&spec, |_| true), &nodes, &reboot(), &[])), ["DRAIN014"]);
}

#[test]
fn budgets_that_were_agreed_to_are_agreed_to_wherever_their_pods_go() {
    let spec = spec(1, 2);
    let mut nodes = seen(&["w1", "w2"]);
    let selector =
        Selector { labels: BTreeMap::from([("app".to_owned(), "cart".to_owned())]), requirements: Vec::new() };
    let budget = Budget {
        selector: Some(selector),
        wanted: Wanted::MinAvailable("1".into()),
        desired: 1,
        expected: 1,
        healthy: 1,
        ..Budget::default()
    };
    let world = nodes.get_mut(&HostName::new("w1")).unwrap();
    Arc::make_mut(&mut world.budgets).insert(Name::new("shop", "cart"), budget);
    let facts = standing(&spec, |_| true);
    // Nothing is cordoned before somebody has agreed.
    let plan = planned(asked(&spec, &facts, &nodes, &reboot(), &[]));
    assert_eq!(noted(&plan, Severity::NeedsConsent), ["PDB002"]);
    let plan = planned(asked(&spec, &facts, &nodes, &reboot(), &["PDB002"]));
    let past = plan.steps.iter().filter_map(|step| match &step.kind {
        StepKind::Drain { policy, .. } => Some(policy.past_budgets.len()),
        _ => None,
    });
    assert_eq!(past.collect::<Vec<_>>(), [1, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn every_prefix_of_maintenance_keeps_quorum_pods_and_order(
        control_planes in prop_oneof![Just(1usize), Just(3), Just(5)],
        workers in 0usize..6,
        together in prop_oneof![Just("1"), Just("2"), Just("100%")],
        left_out in any::<prop::sample::Index>(),
        work in prop_oneof![Just(reboot()), Just(everything())],
        moves in moves(),
    ) {
        let mut spec = spec(control_planes, workers);
        spec.pools.insert("general".into(), Pool { max_unavailable: Some(together.into()), ..Pool::default() });
        // Every third one is in no pool.
        let pooled = spec.hosts.iter_mut().skip(control_planes).enumerate().filter(|(index, _)| index % 3 != 2);
        pooled.for_each(|(_, host)| host.pool = Some("general".into()));
        let skipped = left_out.index(spec.hosts.len() + 1);
        let hosts = spec.hosts.iter().enumerate().filter(|(index, _)| *index != skipped);
        let names: Vec<&str> = hosts.map(|(_, host)| host.name.as_str()).collect();
        prop_assume!(!names.is_empty());
        let plan = plan_for(&spec, &names, &work);
        let mut world = World::standing(&spec, TOKEN, |_| true);
        world.leader = Some("cp1".into());
        let mut run = Rehearsal::new(&plan, world);
        run.play(moves);
        prop_assert_eq!(run.status.done(), plan.steps.len());
        prop_assert!(run.world.cordoned.is_empty() && run.world.drained.is_empty());
        for name in names {
            let machine = &run.world.machines[&HostName::new(name)];
            prop_assert!(machine.reboots > 0 && !machine.away);
        }
        prop_assert!(run.world.api_answers());
    }
}
