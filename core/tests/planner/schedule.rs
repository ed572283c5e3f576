//! Hosts take copies of etcd by themselves, or stop it.

use kubewright_core::etcd::schedule::Schedule;
use kubewright_core::facts::{Fact, Facts};
use kubewright_core::plan::StepKind;
use kubewright_core::planner::{Desired, Identity, Input, Outcome, schedule, unschedule};
use kubewright_core::spec::Spec;

use crate::converge::standing;
use crate::setting::{codes, planned, spec, told};

fn every_six_hours(to: &str) -> Schedule {
    Schedule { every: "6h".parse().unwrap(), to: to.parse().unwrap(), keep: 14 }
}

fn asked(spec: &Spec, facts: &Facts, plan: impl FnOnce(Input<'_>) -> Outcome) -> Outcome {
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: String::new() };
    let desired = Desired::default();
    plan(Input { spec, facts, desired: &desired, findings: &[], identity: &identity, tool_version: "0.0.0" })
}

#[test]
fn each_host_with_a_member_gets_its_place_and_nobody_waits_for_another() {
    let spec = spec(3, 2);
    let facts = standing(&spec, |_| true);
    let wanted = every_six_hours("s3://backups/etcd");
    let plan = planned(asked(&spec, &facts, |input| schedule(input, &wanted, "the spec")));
    insta::assert_snapshot!(told(&plan));
    for (number, step) in plan.steps.iter().enumerate() {
        assert!(step.after.is_empty());
        let StepKind::ScheduleCopies { position, spec, .. } = &step.kind else { panic!("{step:?}") };
        assert_eq!((*position, spec.as_str()), (number, "the spec"));
    }
}

#[test]
fn nobody_needs_an_etcd_that_answers() {
    let spec = spec(3, 1);
    let mut facts = standing(&spec, |host| host.as_str() != "cp3");
    facts.etcd = Fact::unreadable("no member answers");
    let plan = planned(asked(&spec, &facts, unschedule));
    let targets: Vec<String> = plan.steps.iter().map(|step| step.target.to_string()).collect();
    assert_eq!(targets, ["cp1", "cp2"]);
    assert_eq!(plan.findings.iter().map(|one| one.code.as_str()).collect::<Vec<_>>(), ["WORK007"]);
    let none = standing(&spec, |_| false);
    assert!(codes(&asked(&spec, &none, unschedule)).contains(&"WORK001"));
}

#[test]
fn a_folder_is_a_path_that_a_unit_can_name() {
    let (spec, wrong) = (spec(1, 0), ["copies", "/var/my copies", "/", "/var/%h", "/var/a;b"]);
    let facts = standing(&spec, |_| true);
    for folder in wrong {
        let blocked = asked(&spec, &facts, |input| schedule(input, &every_six_hours(folder), ""));
        assert_eq!(codes(&blocked), ["WORK008"], "{folder}");
    }
}
