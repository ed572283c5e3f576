//! Work on etcd: one member at a time, the leader last, and nothing that etcd does not bear.

use std::collections::BTreeSet;

use kubewright_core::facts::etcd::{Alarm, AlarmKind, EtcdFacts, MemberId, Sight};
use kubewright_core::facts::{Fact, Facts};
use kubewright_core::guard::{Guard, MemberChange};
use kubewright_core::ids::HostName;
use kubewright_core::intent::EtcdWork;
use kubewright_core::plan::{Plan, Probe, StepKind, Undo, waves};
use kubewright_core::planner::etcd::{EtcdInput, maintain};
use kubewright_core::planner::{Desired, Identity, Input, Outcome};
use kubewright_core::sim::World;
use kubewright_core::spec::Spec;
use proptest::prelude::*;

use crate::converge::standing;
use crate::setting::{Rehearsal, TOKEN, codes, moves, planned, spec};

fn asked(spec: &Spec, facts: &Facts, work: &EtcdWork, consents: &[&str]) -> Outcome {
    let consents: BTreeSet<String> = consents.iter().map(|code| (*code).to_owned()).collect();
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: String::new() };
    let desired = Desired::default();
    let input = Input { spec, facts, desired: &desired, findings: &[], identity: &identity, tool_version: "0.0.0" };
    maintain(EtcdInput { input, consents: &consents }, work)
}

fn defrag(hosts: &[&str]) -> EtcdWork {
    EtcdWork::Defragment { hosts: hosts.iter().map(|host| HostName::from(*host)).collect() }
}

fn restart(hosts: &[&str]) -> EtcdWork {
    EtcdWork::Restart { hosts: hosts.iter().map(|host| HostName::from(*host)).collect() }
}

/// A cluster that stands, its etcd changed.
fn with(spec: &Spec, change: impl FnOnce(&mut EtcdFacts)) -> Facts {
    let mut facts = standing(spec, |_| true);
    facts.etcd = facts.etcd.map(|mut etcd| {
        change(&mut etcd);
        etcd
    });
    facts
}

fn order(plan: &Plan) -> Vec<&str> {
    let waves = waves(&plan.steps).unwrap();
    assert!(waves.iter().all(|wave| wave.len() == 1), "one at a time");
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

#[test]
fn followers_are_defragmented_first_and_the_leader_last() {
    let spec = spec(3, 1);
    let facts = standing(&spec, |_| true);
    let plan = planned(asked(&spec, &facts, &defrag(&[]), &[]));
    assert_eq!(order(&plan), ["01-cp2-defragment", "02-cp3-defragment", "03-cp1-defragment"], "cp1 leads");
    assert!(plan.findings.is_empty() && plan.assumptions.iter().any(|assumed| assumed.path == "etcd.members"));
    for step in &plan.steps {
        assert!(matches!(
            &step.guards[..],
            [Guard::EtcdBears { change: MemberChange::Pause { standstill: false, .. } }]
        ));
    }
    let one = planned(asked(&spec, &facts, &defrag(&["cp3"]), &[]));
    assert_eq!(order(&one), ["01-cp3-defragment"]);
    assert_eq!(codes(&asked(&spec, &facts, &defrag(&["w1"]), &[])), ["WORK003"]);
}

#[test]
fn followers_are_restarted_first_and_the_leader_last() {
    let spec = spec(5, 1);
    let facts = standing(&spec, |_| true);
    let plan = planned(asked(&spec, &facts, &restart(&[]), &[]));
    let told = ["01-cp2-restart", "02-cp3-restart", "03-cp4-restart", "04-cp5-restart", "05-cp1-restart"];
    assert_eq!(order(&plan), told, "cp1 leads");
    assert!(plan.steps.iter().all(|step| step.probe == Probe::Repeatable && step.undo == Undo::Nothing));
    let one = planned(asked(&spec, &facts, &restart(&["cp1", "cp4"]), &[]));
    assert_eq!(order(&one), ["01-cp4-restart", "02-cp1-restart"]);
    assert_eq!(codes(&asked(&spec, &facts, &restart(&["cp9"]), &[])), ["WORK003"]);
}

#[test]
fn a_restart_that_was_begun_goes_on_where_it_is_why_nobody_decides() {
    let silent = |facts: &Facts| Facts { etcd: Fact::unreadable("cp1: connection refused"), ..facts.clone() };
    let guard = |plan: &Plan, host: &str| {
        plan.steps.iter().find(|step| step.id.as_str().contains(host)).unwrap().guards[0].clone()
    };
    let one = spec(1, 0);
    let facts = standing(&one, |_| true);
    let plan = planned(asked(&one, &facts, &restart(&[]), &["WORK004"]));
    let only = guard(&plan, "cp1");
    assert!(only.check(&silent(&facts)).is_err(), "before it was begun that has another cause");
    assert_eq!(only.check_again(&silent(&facts)), Ok(()));

    let two = spec(2, 0);
    let leaderless = |sick: u64| {
        with(&two, |etcd| {
            etcd.sights.insert(MemberId(sick), Sight::Down { why: "connection refused".to_owned() });
            let answers = etcd.sights.values_mut().filter_map(|sight| match sight {
                Sight::Answers(answer) => Some(answer),
                _ => None,
            });
            answers.for_each(|answer| answer.leader = None);
        })
    };
    let plan = planned(asked(&two, &standing(&two, |_| true), &restart(&[]), &["WORK004"]));
    assert!(guard(&plan, "cp2").check(&leaderless(2)).is_err());
    assert_eq!(guard(&plan, "cp2").check_again(&leaderless(2)), Ok(()));

    let three = spec(3, 0);
    let facts = standing(&three, |_| true);
    let plan = planned(asked(&three, &facts, &restart(&[]), &[]));
    assert!(guard(&plan, "cp2").check_again(&silent(&facts)).is_err(), "of three none that restarts is why");
}

#[test]
fn who_hangs_may_be_restarted_and_nobody_beside_it() {
    let spec = spec(3, 0);
    let facts = with(&spec, |etcd| {
        etcd.sights.insert(MemberId(3), Sight::Silent { why: "slow".to_owned() });
    });
    assert_eq!(order(&planned(asked(&spec, &facts, &restart(&["cp3"]), &[]))), ["01-cp3-restart"]);
    assert_eq!(codes(&asked(&spec, &facts, &restart(&["cp2"]), &[])), ["WORK002"]);
    assert_eq!(codes(&asked(&spec, &facts, &restart(&[]), &[])), ["WORK002", "WORK002"], "cp2 and cp1");
}

#[test]
fn nothing_is_paused_that_the_others_need() {
    let spec = spec(3, 0);
    let facts = with(&spec, |etcd| {
        etcd.sights.insert(MemberId(3), Sight::Silent { why: "slow".to_owned() });
    });
    let outcome = asked(&spec, &facts, &defrag(&["cp2"]), &[]);
    assert_eq!(codes(&outcome), ["WORK002"]);
    // A full database is what it is good against; contents that differ are none of its business.
    let full = |kind: AlarmKind| with(&spec, |etcd| etcd.alarms.push(Alarm { member: None, kind }));
    assert!(matches!(asked(&spec, &full(AlarmKind::NoSpace), &defrag(&[]), &[]), Outcome::Plan(_)));
    assert_eq!(codes(&asked(&spec, &full(AlarmKind::Corrupt), &defrag(&["cp2"]), &[])), ["WORK002"]);
}

#[test]
fn one_member_stands_still_only_with_consent() {
    let spec = spec(1, 1);
    let facts = standing(&spec, |_| true);
    let plan = planned(asked(&spec, &facts, &defrag(&[]), &[]));
    assert_eq!(plan.findings[0].code, "WORK004");
    let guard = &plan.steps[0].guards[0];
    assert!(guard.check(&facts).is_err(), "a plan without consent does nothing");
    let plan = planned(asked(&spec, &facts, &defrag(&[]), &["WORK004"]));
    assert_eq!(plan.steps[0].guards[0].check(&facts), Ok(()));
}

#[test]
fn leadership_goes_to_who_is_well_and_once() {
    let spec = spec(3, 0);
    let facts = standing(&spec, |_| true);
    let lead = |to: Option<&str>| EtcdWork::MoveLeader { to: to.map(HostName::from) };
    assert_eq!(order(&planned(asked(&spec, &facts, &lead(None), &[]))), ["01-cp2-lead"]);
    assert_eq!(order(&planned(asked(&spec, &facts, &lead(Some("cp3")), &[]))), ["01-cp3-lead"]);
    assert!(matches!(asked(&spec, &facts, &lead(Some("cp1")), &[]), Outcome::Nothing { .. }));
    let facts = with(&spec, |etcd| {
        etcd.sights.insert(MemberId(3), Sight::Down { why: "refused".to_owned() });
    });
    assert_eq!(codes(&asked(&spec, &facts, &lead(Some("cp3")), &[])), ["WORK002"]);
}

#[test]
fn alarms_go_once_their_cause_is_gone() {
    let spec = spec(3, 0);
    assert!(matches!(asked(&spec, &standing(&spec, |_| true), &EtcdWork::Disarm, &[]), Outcome::Nothing { .. }));
    let full = |percent: u64| {
        with(&spec, |etcd| {
            etcd.alarms.push(Alarm { member: Some(MemberId(2)), kind: AlarmKind::NoSpace });
            if let Some(Sight::Answers(answer)) = etcd.sights.get_mut(&MemberId(2)) {
                (answer.quota_bytes, answer.db_bytes) = (Some(1000), percent * 10);
            }
        })
    };
    assert_eq!(codes(&asked(&spec, &full(95), &EtcdWork::Disarm, &[])), ["WORK005"]);
    assert_eq!(order(&planned(asked(&spec, &full(94), &EtcdWork::Disarm, &[]))), ["01-cluster-disarm"]);
    let corrupt = with(&spec, |etcd| etcd.alarms.push(Alarm { member: None, kind: AlarmKind::Corrupt }));
    assert_eq!(planned(asked(&spec, &corrupt, &EtcdWork::Disarm, &[])).findings[0].code, "WORK006");
}

#[test]
fn history_goes_up_to_the_newest_revision_of_a_majority() {
    let spec = spec(3, 0);
    let facts = with(&spec, |etcd| {
        if let Some(Sight::Answers(answer)) = etcd.sights.get_mut(&MemberId(2)) {
            answer.revision = 4711;
        }
    });
    let plan = planned(asked(&spec, &facts, &EtcdWork::Compact, &[]));
    assert_eq!(plan.steps[0].kind, StepKind::CompactEtcd { revision: 4711 });
    let lost = with(&spec, |etcd| {
        for id in [2, 3] {
            etcd.sights.insert(MemberId(id), Sight::Down { why: "refused".to_owned() });
        }
    });
    for work in [EtcdWork::Compact, defrag(&[]), EtcdWork::MoveLeader { to: None }] {
        let outcome = asked(&spec, &lost, &work, &[]);
        assert!(codes(&outcome).contains(&"WORK002"), "{work:?}: {outcome:?}");
    }
}

proptest! {
    /// In any order that the plan allows, with crashes anywhere: quorum is never lost, whose turn it is does not lead, and all
    /// of them come to it.
    #[test]
    fn every_member_comes_to_it_and_quorum_is_kept(
        members in 1_usize..=5,
        restarts in any::<bool>(),
        moves in moves(),
    ) {
        let spec = spec(members, 1);
        let work = if restarts { restart(&[]) } else { defrag(&[]) };
        let plan = planned(asked(&spec, &standing(&spec, |_| true), &work, &["WORK004"]));
        let mut world = World::standing(&spec, TOKEN, |_| true);
        world.leader = Some("cp1".into());
        let mut rehearsal = Rehearsal::new(&plan, world);
        rehearsal.play(moves);
        prop_assert!(rehearsal.status.is_over() || rehearsal.status.done() == plan.steps.len());
        let had_their_turn = if restarts { &rehearsal.world.restarted } else { &rehearsal.world.defragmented };
        prop_assert_eq!(had_their_turn, &rehearsal.world.voters);
        let leads = rehearsal.world.leader.as_ref().is_some_and(|leader| leader.as_str() == "cp1");
        prop_assert_eq!(leads, members == 1, "it handed over before its turn, where it could");
    }
}

#[test]
fn the_simulator_lets_so_few_stand_still_only_where_that_was_agreed_to() {
    for members in [1, 2] {
        let spec = spec(members, 0);
        let facts = standing(&spec, |_| true);
        let plan_with = |consents: &[&str]| planned(asked(&spec, &facts, &restart(&[]), consents));
        let world = World::standing(&spec, TOKEN, |_| true);
        let violation = world.clone().perform(&plan_with(&[]).steps[0]).unwrap_err();
        assert!(violation.what.contains("quorum would be lost"), "{violation}");
        world.clone().perform(&plan_with(&["WORK004"]).steps[0]).unwrap();
    }
}
