//! All of etcd goes back to a snapshot and from it again; never do members of two times run beside each other.

use std::collections::BTreeMap;

use kubewright_core::facts::{Fact, Facts};
use kubewright_core::ids::HostName;
use kubewright_core::plan::{Plan, RestorePart, StepKind};
use kubewright_core::planner::restore::{Kept, RestoreInput, Seen, Sight, finalize, restore, undo};
use kubewright_core::planner::{Desired, Identity, Input, Outcome};
use kubewright_core::sim::World;
use kubewright_core::spec::Spec;
use proptest::prelude::*;

use crate::converge::standing;
use crate::setting::{Rehearsal, TOKEN, codes, moves, planned, spec, told};

type Sights = BTreeMap<HostName, Result<Sight, String>>;

fn seen() -> Seen {
    Seen {
        snapshot: "copy".into(),
        sha256: "aa".into(),
        bytes: 1000,
        revision: 70,
        damage: Vec::new(),
        storage: Some((3, 6)),
        has_manifest: true,
        other_cluster: Vec::new(),
        age_seconds: Some(3600),
        writes_per_second: Some(2.0),
        lost: Ok(vec!["2 pods".into()]),
    }
}

fn sights(spec: &Spec) -> Sights {
    let sight = || Sight { etcdutl: Some((3, 6, 14)), free_bytes: 1 << 30, is_mount: false, restore: None };
    let names = spec.hosts.iter().map(|host| host.name.clone()).filter(|name| name.as_str().starts_with("cp"));
    names.map(|name| (name, Ok(sight()))).collect()
}

fn asked(spec: &Spec, facts: &Facts, sights: &Sights, plan: impl FnOnce(RestoreInput<'_>) -> Outcome) -> Outcome {
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: "fresh".into() };
    let desired = Desired::default();
    let input = Input { spec, facts, desired: &desired, findings: &[], identity: &identity, tool_version: "0.0.0" };
    plan(RestoreInput { input, sights })
}

fn at(sights: &mut Sights, host: &str, change: impl FnOnce(&mut Sight)) {
    change(sights.get_mut(&HostName::from(host)).unwrap().as_mut().unwrap());
}

fn kept_by_all(spec: &Spec) -> Sights {
    let mut sights = sights(spec);
    for sight in sights.values_mut().flatten() {
        sight.restore = Some(Kept { of: "7f3a9c".into(), has_data: true });
    }
    sights
}

fn made(spec: &Spec) -> Plan {
    let mut facts = standing(spec, |_| true);
    // Nobody needs an etcd or an API that answers.
    (facts.etcd, facts.cluster) = (Fact::unreadable("no quorum"), Fact::unreadable("no API"));
    planned(asked(spec, &facts, &sights(spec), |input| restore(input, &seen())))
}

#[test]
fn everything_stops_before_anything_is_exchanged_and_controllers_come_last() {
    insta::assert_snapshot!(told(&made(&spec(3, 1))));
}

#[test]
fn what_stands_in_the_way_is_found_before_anything_stops() {
    let spec = spec(3, 1);
    let facts = standing(&spec, |_| true);
    let blocked = |seen: &Seen, change: &dyn Fn(&mut Sights)| {
        let mut sights = sights(&spec);
        change(&mut sights);
        let outcome = asked(&spec, &facts, &sights, |input| restore(input, seen));
        let codes = codes(&outcome).into_iter().filter(|code| *code != "REST005");
        codes.map(str::to_owned).collect::<Vec<_>>()
    };
    let whole = seen();
    let silent = |sights: &mut Sights| drop(sights.insert("cp2".into(), Err("no route to host".into())));
    assert_eq!(blocked(&whole, &silent), ["REST001"]);
    let other = |change: fn(&mut Seen)| {
        let mut seen = seen();
        change(&mut seen);
        blocked(&seen, &|_| {})
    };
    assert_eq!(other(|seen| seen.damage.push("a page".into())), ["REST002"]);
    assert_eq!(other(|seen| seen.storage = Some((3, 7))), ["REST003"; 3]);
    assert_eq!(other(|seen| seen.other_cluster.push("its CA".into())), ["REST004"]);
    assert_eq!(other(|seen| seen.bytes = 2 << 30), ["REST007", "REST007", "REST007", "REST014"]);
    let host = |change: fn(&mut Sight)| blocked(&whole, &|sights| at(sights, "cp3", change));
    assert_eq!(host(|sight| sight.etcdutl = None), ["REST006"]);
    assert_eq!(host(|sight| sight.etcdutl = Some((3, 5, 9))), ["REST006"]);
    assert_eq!(host(|sight| sight.free_bytes = 2499), ["REST007"]);
    assert_eq!(host(|sight| sight.is_mount = true), ["REST008"]);
    assert_eq!(host(|sight| sight.restore = Some(Kept { of: "0ld".into(), has_data: true })), ["REST009"]);
}

#[test]
fn what_is_lost_needs_consent_and_the_revision_goes_beyond_it() {
    let plan = made(&spec(3, 0));
    let found = plan.findings.iter().find(|finding| finding.code == "REST005").unwrap();
    assert!(found.text.contains("1 h 00 min ago, at revision 70") && found.text.contains("2 pods"), "{}", found.text);
    let bumps = |plan: &Plan| {
        let bump = |part: &StepKind| match part {
            StepKind::Restore(RestorePart::Prepare(restored)) => Some((restored.bump, restored.members.len())),
            _ => None,
        };
        plan.steps.iter().filter_map(|step| bump(&step.kind)).collect::<Vec<_>>()
    };
    assert_eq!(bumps(&plan), [(1_000_000_000, 3); 3]);
    let (spec, busy) = (spec(1, 0), Seen { writes_per_second: Some(1e6), ..seen() });
    let facts = standing(&spec, |_| true);
    let plan = planned(asked(&spec, &facts, &sights(&spec), |input| restore(input, &busy)));
    assert_eq!(bumps(&plan), [(36_000_000_000, 1)]);
}

#[test]
fn undo_and_finalize_want_what_a_restore_has_kept() {
    let spec = spec(3, 1);
    let facts = standing(&spec, |_| true);
    assert_eq!(codes(&asked(&spec, &facts, &sights(&spec), undo)), ["REST009"]);
    assert_eq!(codes(&asked(&spec, &facts, &sights(&spec), finalize)), ["REST009"]);
    let mut lost = kept_by_all(&spec);
    at(&mut lost, "cp1", |sight| sight.restore.as_mut().unwrap().has_data = false);
    assert!(codes(&asked(&spec, &facts, &lost, undo)).contains(&"REST012"));
    let mut mixed = kept_by_all(&spec);
    at(&mut mixed, "cp1", |sight| sight.restore.as_mut().unwrap().of = "0ther".into());
    assert_eq!(codes(&asked(&spec, &facts, &mixed, undo)), ["REST009"]);
    let plan = planned(asked(&spec, &facts, &kept_by_all(&spec), finalize));
    assert_eq!(plan.steps.len(), 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_order_and_no_crash_lets_two_times_meet(
        size in prop_oneof![Just(1usize), Just(3), Just(5)],
        moves in moves(),
        stop in any::<prop::sample::Index>(),
    ) {
        let spec = spec(size, 1);
        let plan = made(&spec);
        let before = World::standing(&spec, TOKEN, |_| true);
        let mut rehearsal = Rehearsal::new(&plan, before);
        rehearsal.play(moves.clone());
        // Given up anywhere, it can be taken back.
        let cut = stop.index(moves.len() + 1);
        let mut given_up = Rehearsal::new(&plan, World::standing(&spec, TOKEN, |_| true));
        for one in moves.into_iter().take(cut) {
            given_up.play_one(one);
        }
        rehearsal.play(Vec::new());
        for voter in &rehearsal.world.voters {
            prop_assert_eq!(rehearsal.world.machines[voter].etcd_data.as_deref(), Some("fresh"));
            prop_assert!(!rehearsal.world.restores[voter].no_controllers);
        }
        let facts = standing(&spec, |_| true);
        let back = planned(asked(&spec, &facts, &kept_by_all(&spec), undo));
        for world in [given_up.world, rehearsal.world] {
            let mut undone = Rehearsal::new(&back, world);
            undone.play(Vec::new());
            for voter in &undone.world.voters {
                prop_assert_eq!(undone.world.machines[voter].etcd_data.as_deref(), Some(TOKEN));
            }
        }
    }
}
