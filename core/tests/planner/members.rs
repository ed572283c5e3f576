//! Members of etcd are replaced, added and taken out: never one that may be alive without a word, never one that the others need,
//! and never one that starts again without the data it had.

use std::collections::{BTreeMap, BTreeSet};

use kubewright_core::facts::etcd::{Alarm, AlarmKind, EtcdFacts, Member, MemberId, Sight};
use kubewright_core::facts::{Fact, Facts, HostFacts};
use kubewright_core::finding::Severity;
use kubewright_core::guard::{Guard, MemberChange};
use kubewright_core::ids::HostName;
use kubewright_core::intent::MemberWork;
use kubewright_core::plan::{ClusterState, FileSet, Plan, StepKind, Target, waves};
use kubewright_core::planner::etcd::EtcdInput;
use kubewright_core::planner::members::change;
use kubewright_core::planner::{Desired, DesiredFile, DesiredHost, Identity, Input, Outcome};
use kubewright_core::sim::World;
use kubewright_core::spec::Spec;
use kubewright_core::summary::Outline;
use proptest::prelude::*;

use crate::converge::standing;
use crate::setting::{Rehearsal, TOKEN, codes, known, moves, planned, spec};

const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

fn asked_with(spec: &Spec, facts: &Facts, desired: &Desired, work: &MemberWork, consents: &[&str]) -> Outcome {
    let consents: BTreeSet<String> = consents.iter().map(|code| (*code).to_owned()).collect();
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: String::new() };
    let input = Input { spec, facts, desired, findings: &[], identity: &identity, tool_version: "0.0.0" };
    change(EtcdInput { input, consents: &consents }, work)
}

fn asked(spec: &Spec, facts: &Facts, work: &MemberWork, consents: &[&str]) -> Outcome {
    asked_with(spec, facts, &Desired::default(), work, consents)
}

fn replace(host: &str) -> MemberWork {
    MemberWork::Replace { host: host.into() }
}

fn add(host: &str) -> MemberWork {
    MemberWork::Add { host: host.into() }
}

fn remove(member: &str) -> MemberWork {
    MemberWork::Remove { member: member.into() }
}

/// A cluster that stands, whose hosts' files were read, its etcd changed.
fn with(spec: &Spec, change: impl FnOnce(&mut EtcdFacts)) -> Facts {
    let mut facts = standing(spec, |_| true);
    for host in facts.hosts.values_mut() {
        *host = host.clone().map(|host| HostFacts { files: known(BTreeMap::new()), ..host });
    }
    facts.etcd = facts.etcd.map(|mut etcd| {
        change(&mut etcd);
        etcd
    });
    facts
}

fn seen(etcd: &mut EtcdFacts, id: u64, sight: fn(String) -> Sight) {
    etcd.sights.insert(MemberId(id), sight("seen".to_owned()));
}

fn down(why: String) -> Sight {
    Sight::Down { why }
}

fn silent(why: String) -> Sight {
    Sight::Silent { why }
}

fn unseen(why: String) -> Sight {
    Sight::Unseen { why }
}

/// A host of which nothing is known.
fn unreachable(facts: &mut Facts, host: &str) {
    facts.hosts.insert(host.into(), Fact::unreadable("no route to host"));
}

fn told(plan: &Plan) -> Vec<&str> {
    assert!(waves(&plan.steps).unwrap().iter().all(|wave| wave.len() == 1), "one step at a time");
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

fn noted(plan: &Plan) -> Vec<(&str, Severity)> {
    plan.findings.iter().map(|finding| (finding.code.as_str(), finding.severity)).collect()
}

#[test]
fn a_dead_member_ends_leaves_and_comes_back_as_a_learner() {
    let spec = spec(3, 1);
    let facts = with(&spec, |etcd| seen(etcd, 3, down));
    let plan = planned(asked(&spec, &facts, &replace("cp3"), &[]));
    let steps = [
        "01-cp3-aside",
        "02-cp3-unmember",
        "03-cp3-member",
        "04-cp3-manifest",
        "05-cp3-etcd",
        "06-cp3-promote",
        "07-cluster-agree",
        "08-cp3-manifests",
        "09-cp3-start",
        "10-cluster-prove",
    ];
    assert_eq!(told(&plan), steps);
    assert_eq!(noted(&plan), []);
    let placed = plan.steps.iter().filter_map(|step| match &step.kind {
        StepKind::PlaceFiles { files, etcd } => Some((*files, etcd)),
        _ => None,
    });
    let placed: Vec<_> = placed.collect();
    assert_eq!(
        placed.iter().map(|(files, _)| *files).collect::<Vec<_>>(),
        [FileSet::EtcdManifest, FileSet::StaticPods]
    );
    for (_, etcd) in placed {
        assert_eq!((etcd.state, etcd.initial_cluster_token.as_str()), (ClusterState::Existing, TOKEN));
        assert_eq!(etcd.members.keys().map(HostName::as_str).collect::<Vec<_>>(), ["cp1", "cp2", "cp3"]);
    }
    // It is asked again before it ends, before it leaves and before another comes.
    let asks: Vec<&str> = plan
        .steps
        .iter()
        .filter(|step| step.guards.iter().any(|guard| matches!(guard, Guard::EtcdBears { .. })))
        .map(|step| step.id.as_str())
        .collect();
    assert_eq!(asks, ["01-cp3-aside", "02-cp3-unmember", "03-cp3-member"]);
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn the_plan_is_told_in_a_few_lines() {
    let spec = spec(3, 1);
    let lines = |work: &MemberWork, consents: &[&str]| {
        let facts = with(&spec, |etcd| seen(etcd, 3, down));
        let outline = Outline::of(&planned(asked(&spec, &facts, work, consents)));
        let phases = outline.phases.iter().map(|line| format!("\n{}: {}", line.phase, line.description));
        format!("{}{}", outline.headline, phases.collect::<String>())
    };
    insta::assert_snapshot!(lines(&replace("cp3"), &[]));
    insta::assert_snapshot!(lines(&remove("cp3"), &["VOTER009"]));
}

#[test]
fn nothing_is_replaced_that_the_others_need() {
    let spec = spec(3, 0);
    let two = with(&spec, |etcd| {
        seen(etcd, 2, down);
        seen(etcd, 3, down);
    });
    assert_eq!(codes(&asked(&spec, &two, &replace("cp3"), &[])), ["VOTER002"]);
    let other = with(&spec, |etcd| seen(etcd, 2, silent));
    assert_eq!(codes(&asked(&spec, &other, &replace("cp3"), &["VOTER006"])), ["VOTER002", "VOTER006"]);
    let learner = with(&spec, |etcd| {
        seen(etcd, 3, down);
        let peer_urls = vec!["https://10.77.0.99:2380".to_owned()];
        let client_urls = Vec::new();
        etcd.members.push(Member { id: MemberId(9), name: String::new(), peer_urls, client_urls, learner: true });
    });
    assert_eq!(codes(&asked(&spec, &learner, &replace("cp3"), &[])), ["VOTER002"], "one learner at a time");
    let pair = with(&spec, |etcd| etcd.members.retain(|member| member.id != MemberId(2)));
    let of_two = asked(&spec, &pair, &replace("cp3"), &["VOTER006"]);
    assert_eq!(codes(&of_two), ["VOTER002", "VOTER006"], "it ends first, and one of two cannot decide that it leaves");
    let single = super::setting::spec(1, 1);
    let facts = with(&single, |_| ());
    assert_eq!(codes(&asked(&single, &facts, &replace("cp1"), &[])), ["VOTER002", "VOTER006"]);
}

#[test]
fn a_corrupt_member_is_replaced_and_nobody_else_is() {
    let spec = spec(3, 0);
    let facts = with(&spec, |etcd| etcd.alarms.push(Alarm { member: Some(MemberId(3)), kind: AlarmKind::Corrupt }));
    let plan = planned(asked(&spec, &facts, &replace("cp3"), &[]));
    assert_eq!(noted(&plan), []);
    let steps = told(&plan);
    assert_eq!(steps[6..8], ["07-cluster-agree", "08-cluster-disarm"], "not before contents agree");
    // Its alarm stays when it has left, and hinders no new one.
    let mut left = facts.clone();
    left.etcd = left.etcd.map(|mut etcd| {
        etcd.members.retain(|member| member.id != MemberId(3));
        etcd.sights.remove(&MemberId(3));
        etcd
    });
    let added = plan.steps.iter().find(|step| step.id.as_str().ends_with("-member")).unwrap();
    assert_eq!(added.guards[0].check(&left), Ok(()));
    assert_eq!(codes(&asked(&spec, &facts, &replace("cp2"), &[])), ["VOTER002", "VOTER006"]);
}

#[test]
fn the_alarm_of_a_member_that_is_taken_out_goes_after_it() {
    let spec = spec(3, 0);
    let alarm = |member: u64, kind| Alarm { member: Some(MemberId(member)), kind };
    let facts = with(&spec, |etcd| etcd.alarms = vec![alarm(3, AlarmKind::Corrupt), alarm(1, AlarmKind::NoSpace)]);
    let plan = planned(asked(&spec, &facts, &remove("cp3"), &[]));
    assert_eq!(told(&plan), ["01-cp3-unmember", "02-cp3-aside", "03-cluster-agree", "04-cluster-disarm"]);
    assert_eq!(plan.steps[3].kind, StepKind::DisarmEtcd { of: Some(MemberId(3)) }, "that of cp1 has a cause still");
    let facts = with(&spec, |etcd| etcd.alarms = vec![alarm(1, AlarmKind::NoSpace)]);
    let plan = planned(asked(&spec, &facts, &remove("cp3"), &[]));
    assert_eq!(told(&plan).len(), 3, "none is about who leaves");
    let old: StepKind = serde_json::from_str(r#"{"type":"disarmEtcd"}"#).unwrap();
    assert_eq!(old, StepKind::DisarmEtcd { of: None }, "a plan of an older kubewright takes all back");
}

#[test]
fn slow_is_not_dead() {
    let spec = spec(3, 0);
    let facts = with(&spec, |etcd| seen(etcd, 3, silent));
    let plan = planned(asked(&spec, &facts, &replace("cp3"), &[]));
    assert_eq!(noted(&plan), [("VOTER005", Severity::NeedsConsent)]);
    let text = &plan.findings[0].text;
    assert!(text.contains("it may be alive. Without it 2 of 2 voters are well, and 0 may be lost"), "{text}");
    let guard = |plan: &Plan, verb: &str| {
        let step = plan.steps.iter().find(|step| step.id.as_str().ends_with(verb)).unwrap();
        step.guards.iter().find(|guard| matches!(guard, Guard::EtcdBears { .. })).unwrap().check(&facts)
    };
    assert!(guard(&plan, "-aside").is_err(), "without consent the plan does nothing");
    let plan = planned(asked(&spec, &facts, &replace("cp3"), &["VOTER005"]));
    assert_eq!(guard(&plan, "-aside"), Ok(()));
    assert!(guard(&plan, "-unmember").is_err(), "it leaves only once it is seen not to run");

    // Whom the others follow is alive, whatever anybody says.
    let leader = with(&spec, |etcd| seen(etcd, 1, silent));
    assert_eq!(codes(&asked(&spec, &leader, &replace("cp1"), &["VOTER005"])), ["VOTER002", "VOTER005"]);
}

#[test]
fn only_a_host_that_is_a_part_and_answers_gets_a_member() {
    let spec = spec(3, 1);
    let mut facts = with(&spec, |etcd| seen(etcd, 3, unseen));
    unreachable(&mut facts, "cp3");
    let outcome = asked(&spec, &facts, &replace("cp3"), &["VOTER005"]);
    assert_eq!(codes(&outcome), ["VOTER004"]);
    let Outcome::Blocked { findings } = outcome else { panic!("{outcome:?}") };
    assert!(findings[0].hint.as_deref().unwrap().contains("kubewright etcd member remove cp3"), "{findings:?}");
    assert_eq!(codes(&asked(&spec, &facts, &replace("w1"), &[])), ["VOTER003"]);
    assert_eq!(codes(&asked(&spec, &facts, &replace("cp9"), &[])), ["VOTER003"]);
    let mut facts = with(&spec, |etcd| seen(etcd, 3, down));
    facts.hosts.insert("cp3".into(), known(super::setting::bare(&"cp3".into())));
    assert_eq!(codes(&asked(&spec, &facts, &replace("cp3"), &[])), ["VOTER004"], "node add does it");
}

#[test]
fn manifests_that_differ_are_not_changed_by_the_way() {
    let spec = spec(3, 0);
    let mut facts = with(&spec, |etcd| seen(etcd, 3, down));
    let seen = |facts: &Facts, host: &str| facts.host(&host.into()).unwrap().clone();
    let desired_on = |hosts: &[&str]| {
        let file = DesiredFile { digests: vec!["a".to_owned(), "b".to_owned()], ..DesiredFile::default() };
        let host = DesiredHost { files: BTreeMap::from([(MANIFEST.to_owned(), file)]), ..DesiredHost::default() };
        Desired { hosts: hosts.iter().map(|name| ((*name).into(), host.clone())).collect() }
    };
    let mut has = |digest: Option<&str>| {
        let files = digest.map(|digest| (MANIFEST.to_owned(), digest.to_owned())).into_iter().collect();
        facts.hosts.insert("cp3".into(), known(HostFacts { files: known(files), ..seen(&facts, "cp3") }));
        asked_with(&spec, &facts, &desired_on(&["cp3"]), &replace("cp3"), &[])
    };
    assert!(matches!(has(Some("b")), Outcome::Plan(_)));
    assert!(matches!(has(None), Outcome::Plan(_)), "one that is gone is written");
    let outcome = has(Some("c"));
    assert_eq!(codes(&outcome), ["VOTER007"]);
    let Outcome::Blocked { findings } = outcome else { panic!("{outcome:?}") };
    assert!(findings[0].text.contains("kube-apiserver.yaml"), "{findings:?}");
    // Where its own are gone, the others tell whether the spec is what runs.
    facts.hosts.insert("cp3".into(), known(HostFacts { files: known(BTreeMap::new()), ..seen(&facts, "cp3") }));
    let files = BTreeMap::from([(MANIFEST.to_owned(), "c".to_owned())]);
    facts.hosts.insert("cp1".into(), known(HostFacts { files: known(files), ..seen(&facts, "cp1") }));
    let outcome = asked_with(&spec, &facts, &desired_on(&["cp1", "cp2", "cp3"]), &replace("cp3"), &[]);
    assert_eq!(codes(&outcome), ["VOTER007"]);
}

#[test]
fn a_member_is_added_where_there_is_none() {
    let spec = spec(3, 0);
    let without = with(&spec, |etcd| {
        etcd.members.retain(|member| member.id != MemberId(3));
        etcd.sights.remove(&MemberId(3));
        etcd.hosts.remove(&MemberId(3));
    });
    let plan = planned(asked(&spec, &without, &add("cp3"), &[]));
    assert_eq!(told(&plan)[..3], ["01-cp3-aside", "02-cp3-member", "03-cp3-manifest"]);
    let again = planned(asked(&spec, &without, &replace("cp3"), &[]));
    assert_eq!(told(&again), told(&plan), "a replacement that was given up after its first half");
    assert!(matches!(asked(&spec, &with(&spec, |_| ()), &add("cp3"), &[]), Outcome::Nothing { .. }));
    let ill = with(&spec, |etcd| seen(etcd, 3, down));
    assert_eq!(codes(&asked(&spec, &ill, &add("cp3"), &[])), ["VOTER008"]);
    let learner = with(&spec, |etcd| {
        etcd.members.iter_mut().filter(|member| member.id == MemberId(3)).for_each(|member| member.learner = true);
        if let Some(Sight::Answers(answer)) = etcd.sights.get_mut(&MemberId(3)) {
            answer.learner = true;
        }
    });
    assert_eq!(codes(&asked(&spec, &learner, &add("cp3"), &[])), ["VOTER008"], "it has no vote yet");
    assert_eq!(noted(&planned(asked(&spec, &learner, &replace("cp3"), &[]))), [], "so nothing depends on it");
    // An entry that never started is another try's: it goes first.
    let unstarted = with(&spec, |etcd| {
        etcd.sights.remove(&MemberId(3));
        etcd.hosts.remove(&MemberId(3));
        let member = etcd.members.iter_mut().find(|member| member.id == MemberId(3)).unwrap();
        (member.name, member.client_urls, member.learner) = (String::new(), Vec::new(), true);
    });
    assert_eq!(told(&planned(asked(&spec, &unstarted, &add("cp3"), &[])))[1], "02-cp3-unmember");
}

#[test]
fn a_zombie_leaves_by_its_identity() {
    let mut spec = spec(3, 1);
    let facts = with(&spec, |etcd| {
        seen(etcd, 3, unseen);
        etcd.members.iter_mut().filter(|member| member.id == MemberId(3)).for_each(|member| member.id = MemberId(0xab));
        let sight = etcd.sights.remove(&MemberId(3)).unwrap();
        etcd.sights.insert(MemberId(0xab), sight);
        etcd.hosts.remove(&MemberId(3));
    });
    spec.hosts.retain(|host| host.name.as_str() != "cp3");
    let plan = planned(asked(&spec, &facts, &remove("ab"), &["VOTER005"]));
    assert_eq!(told(&plan), ["01-cluster-unmember", "02-cluster-agree"]);
    assert_eq!(plan.steps[0].kind, StepKind::ForgetEtcdMember { member: MemberId(0xab) });
    assert_eq!(noted(&plan), [("VOTER005", Severity::NeedsConsent)]);
    assert_eq!(plan.steps[0].guards[0].check(&facts), Ok(()));
    let doubted = planned(asked(&spec, &facts, &remove("ab"), &[]));
    assert!(doubted.steps[0].guards[0].check(&facts).is_err());
    assert_eq!(codes(&asked(&spec, &facts, &remove("abc"), &[])), ["VOTER003"]);
}

#[test]
fn a_living_control_plane_loses_its_member_only_with_consent() {
    let spec = spec(3, 0);
    let plan = planned(asked(&spec, &with(&spec, |_| ()), &remove("cp3"), &[]));
    assert_eq!(told(&plan), ["01-cp3-unmember", "02-cp3-aside", "03-cluster-agree"]);
    assert_eq!(noted(&plan), [("VOTER009", Severity::NeedsConsent), ("VOTER010", Severity::Info)]);
    let mut facts = with(&spec, |etcd| seen(etcd, 3, unseen));
    unreachable(&mut facts, "cp3");
    let plan = planned(asked(&spec, &facts, &remove("cp3"), &["VOTER005"]));
    assert_eq!(told(&plan), ["01-cp3-unmember", "02-cluster-agree"], "nothing is done on a host that is gone");
    let two = super::setting::spec(2, 0);
    let facts = with(&two, |etcd| seen(etcd, 2, down));
    assert!(codes(&asked(&two, &facts, &remove("cp2"), &[])).contains(&"VOTER002"), "nobody decides");
}

/// Two more voters than the spec names hosts for.
fn of_five(etcd: &mut EtcdFacts) {
    for id in [4, 5] {
        let (mut member, sight) = (etcd.members[0].clone(), etcd.sights[&MemberId(1)].clone());
        member.id = MemberId(id);
        member.name = format!("old{id}");
        member.peer_urls = vec![format!("https://10.77.0.9{id}:2380")];
        etcd.sights.insert(member.id, sight);
        etcd.members.push(member);
    }
}

#[test]
fn another_that_is_ill_is_told_of_and_not_waited_for() {
    let spec = spec(3, 0);
    let facts = with(&spec, |etcd| {
        of_five(etcd);
        seen(etcd, 4, unseen);
        seen(etcd, 3, down);
    });
    let plan = planned(asked(&spec, &facts, &remove("4"), &["VOTER005"]));
    assert_eq!(told(&plan), ["01-cluster-unmember", "02-cluster-agree"]);
    assert_eq!(noted(&plan), [("VOTER005", Severity::NeedsConsent), ("VOTER011", Severity::Warns)]);
    assert_eq!(plan.steps[1].kind, StepKind::ProveEtcd { not_waited_for: vec![MemberId(3)] });
    assert!(plan.steps[1].why.contains("all but cp3"), "{}", plan.steps[1].why);
    let text = &plan.findings[1].text;
    assert_eq!(text, "cp3 does not run (seen): it is left as it is, and not waited for in the end");
    assert!(plan.findings[1].hint.as_ref().unwrap().contains("kubewright etcd member replace cp3"));
    let prove = Outline::of(&plan).phases.pop().unwrap();
    assert_eq!(prove.description, "etcd's members that are well, and of one content; 1 other not waited for");
    // A plan of an older kubewright waits for all.
    let old: StepKind = serde_json::from_str(r#"{"type":"proveEtcd"}"#).unwrap();
    assert_eq!(old, StepKind::ProveEtcd { not_waited_for: Vec::new() });
}

#[test]
fn a_removal_that_was_given_up_in_between_is_brought_to_its_end() {
    let spec = spec(3, 0);
    let mut facts = with(&spec, |etcd| {
        etcd.members.retain(|member| member.id != MemberId(3));
        etcd.sights.remove(&MemberId(3));
        etcd.hosts.remove(&MemberId(3));
        etcd.alarms.push(Alarm { member: Some(MemberId(3)), kind: AlarmKind::Corrupt });
    });
    assert!(matches!(asked(&spec, &facts, &remove("cp3"), &[]), Outcome::Nothing { .. }), "nothing of it is left");
    let Fact::Known { value: seen, at } = facts.hosts["cp3"].clone() else { panic!("{facts:?}") };
    let files = known(BTreeMap::from([("/etc/kubernetes/manifests/etcd.yaml".to_owned(), "a".to_owned())]));
    let is = |seen: HostFacts| BTreeMap::from([(HostName::from("cp3"), Fact::Known { value: seen, at })]);
    let left = [HostFacts { files, ..seen.clone() }, HostFacts { etcd_data: known(true), ..seen }];
    for seen in left {
        facts.hosts.extend(is(seen));
        let plan = planned(asked(&spec, &facts, &remove("cp3"), &[]));
        assert_eq!(told(&plan), ["01-cp3-aside", "02-cluster-agree", "03-cluster-disarm"]);
        assert_eq!(noted(&plan), [("VOTER010", Severity::Info), ("VOTER012", Severity::Info)]);
        assert_eq!(plan.steps[0].kind, StepKind::SetEtcdAside { member: None });
        assert_eq!(plan.steps[2].kind, StepKind::DisarmEtcd { of: Some(MemberId(3)) });
    }
    assert_eq!(codes(&asked(&spec, &facts, &remove("cp9"), &[])), ["VOTER003"]);
    unreachable(&mut facts, "cp3");
    assert_eq!(codes(&asked(&spec, &facts, &remove("cp3"), &[])), ["VOTER003"], "nobody can tell what is left there");
}

fn facts_of_a_member(spec: &Spec, leads: bool) -> Facts {
    with(spec, |etcd| {
        if !leads {
            seen(etcd, 2, down);
        }
    })
}

proptest! {
    /// In any order that the plan allows, with crashes anywhere: quorum is kept, no voter starts without its data, one learner at a
    /// time; and all are voters again.
    #[test]
    fn whoever_is_replaced_is_back_and_quorum_was_kept(
        members in prop::sample::select(vec![3_usize, 5]),
        leads in any::<bool>(),
        moves in moves(),
    ) {
        let spec = spec(members, 1);
        // Either who leads, damaged, or another whose disk was lost.
        let name = if leads { "cp1" } else { "cp2" };
        let plan = planned(asked(&spec, &facts_of_a_member(&spec, leads), &replace(name), &["VOTER006"]));
        let mut world = World::standing(&spec, TOKEN, |_| true);
        world.leader = Some("cp1".into());
        if !leads {
            world.machines.get_mut(&HostName::from(name)).unwrap().etcd_data = None;
        }
        let mut rehearsal = Rehearsal::new(&plan, world);
        rehearsal.play(moves);
        prop_assert_eq!(rehearsal.status.done(), plan.steps.len());
        prop_assert_eq!(rehearsal.world.voters.len(), members);
        prop_assert!(rehearsal.world.learners.is_empty());
        let machine = &rehearsal.world.machines[&HostName::from(name)];
        prop_assert!(machine.manifests && machine.kubelet && machine.etcd_data.is_some());
    }

    /// The same of one that leaves and is added again.
    #[test]
    fn whoever_leaves_may_come_back(members in prop::sample::select(vec![3_usize, 5]), there in moves(), back in moves()) {
        let spec = spec(members, 0);
        let plan = planned(asked(&spec, &with(&spec, |_| ()), &remove("cp2"), &["VOTER009"]));
        let mut rehearsal = Rehearsal::new(&plan, World::standing(&spec, TOKEN, |_| true));
        rehearsal.play(there);
        prop_assert_eq!(rehearsal.status.done(), plan.steps.len());
        prop_assert_eq!(rehearsal.world.voters.len(), members - 1);
        let world = rehearsal.world;
        let without = with(&spec, |etcd| {
            etcd.members.retain(|member| member.id != MemberId(2));
            etcd.sights.remove(&MemberId(2));
            etcd.hosts.remove(&MemberId(2));
        });
        let plan = planned(asked(&spec, &without, &add("cp2"), &[]));
        let mut rehearsal = Rehearsal::new(&plan, world);
        rehearsal.play(back);
        prop_assert_eq!(rehearsal.status.done(), plan.steps.len());
        prop_assert_eq!(rehearsal.world.voters.len(), members);
    }
}

#[test]
fn the_simulator_knows_what_must_not_be() {
    let spec = spec(3, 0);
    let facts = with(&spec, |etcd| seen(etcd, 3, down));
    let plan = planned(asked(&spec, &facts, &replace("cp3"), &[]));
    let step = |verb: &str| plan.steps.iter().find(|step| step.id.as_str().ends_with(verb)).unwrap();
    let mut world = World::standing(&spec, TOKEN, |_| true).under(&plan);
    world.perform(step("-aside")).unwrap();
    let violation = world.clone().perform(step("-manifest")).unwrap_err();
    assert!(violation.what.contains("vote twice"), "{violation}");
    world.perform(step("-unmember")).unwrap();
    let violation = world.clone().perform(step("-manifest")).unwrap_err();
    assert!(violation.what.contains("before it was added"), "{violation}");
    // What is agreed to of a restart is not of an end: one of two cannot decide that the other leaves.
    let two = super::setting::spec(2, 0);
    let facts = with(&two, |_| ());
    let mut aside = step("-aside").clone();
    aside.target = Target::Host("cp2".into());
    let change = MemberChange::Pause { host: "cp2".into(), standstill: true };
    aside.guards.push(Guard::EtcdBears { change });
    let violation = World::standing(&two, TOKEN, |_| true).perform(&aside).unwrap_err();
    assert!(violation.what.contains("quorum would be lost"), "{violation}");
    assert_eq!(
        codes(&asked(&two, &facts, &replace("cp2"), &["VOTER006"])),
        ["VOTER002", "VOTER006"],
        "as the product says"
    );
    let guard = MemberChange::Forget { member: MemberId(3), gone: false };
    assert!(step("-unmember").guards.contains(&Guard::EtcdBears { change: guard }));
}
