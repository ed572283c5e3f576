//! From a cluster that stands to what its spec has become.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kubewright_core::facts::etcd::{Answer, ClusterId, EtcdFacts, Listing, Member, MemberId, Sight};
use kubewright_core::facts::{ClusterFacts, Fact, Facts, HostFacts, NodeFacts, UnitFacts, sample};
use kubewright_core::finding::Severity;
use kubewright_core::ids::HostName;
use kubewright_core::marks::NodeMarks;
use kubewright_core::plan::FileSet;
use kubewright_core::plan::{Plan, StepKind, Target};
use kubewright_core::planner::{Desired, DesiredFile, DesiredHost, Outcome, Request};
use kubewright_core::sim::World;
use kubewright_core::spec::{Host, Role, Spec};
use proptest::prelude::*;

use crate::setting::{Rehearsal, TOKEN, asked, codes, known, moves, part, planned, spec, told};

/// The facts of a spec of which those hosts are a part that are named.
pub fn standing(spec: &Spec, is_part: impl Fn(&HostName) -> bool) -> Facts {
    let parts: Vec<&Host> = spec.hosts.iter().filter(|host| is_part(&host.name)).collect();
    let seen = |host: &Host| if is_part(&host.name) { part(host) } else { sample::bare(host) };
    Facts {
        hosts: spec.hosts.iter().map(|host| (host.name.clone(), known(seen(host)))).collect(),
        cluster: known(ClusterFacts {
            nodes: parts.iter().map(|host| (host.name.clone(), node(None))).collect(),
            ..ClusterFacts::default()
        }),
        etcd: known(etcd(&parts)),
        ..Facts::default()
    }
}

fn node(not_ready: Option<&str>) -> NodeFacts {
    NodeFacts { not_ready: not_ready.map(str::to_owned), schedulable: true, ..NodeFacts::default() }
}

/// An etcd whose members are all well; the first leads.
fn etcd(parts: &[&Host]) -> EtcdFacts {
    let hosts: Vec<&&Host> = parts.iter().filter(|host| host.is(Role::Etcd)).collect();
    let id = |index: usize| MemberId(index as u64 + 1);
    let answer = Answer {
        at: Timestamp::UNIX_EPOCH,
        cluster: ClusterId(7),
        leader: Some(id(0)),
        term: 2,
        revision: 100,
        raft_index: 100,
        applied_index: 100,
        db_bytes: 1,
        db_used_bytes: 1,
        quota_bytes: None,
        version: "3.6.6".into(),
        learner: false,
        read_failed: None,
        errors: Vec::new(),
    };
    let member = |(index, host): (usize, &&&Host)| Member {
        id: id(index),
        name: host.name.to_string(),
        peer_urls: vec![host.etcd_peer_url()],
        client_urls: vec![host.etcd_peer_url().replace("2380", "2379")],
        learner: false,
    };
    EtcdFacts {
        cluster: ClusterId(7),
        listing: Listing::Agreed,
        members: hosts.iter().enumerate().map(member).collect(),
        sights: (0..hosts.len()).map(|index| (id(index), Sight::Answers(Box::new(answer.clone())))).collect(),
        hosts: hosts.iter().enumerate().map(|(index, host)| (id(index), host.name.clone())).collect(),
        alarms: Vec::new(),
        elsewhere: BTreeMap::new(),
    }
}

fn desired(spec: &Spec) -> Desired {
    Desired { hosts: spec.hosts.iter().map(|host| (host.name.clone(), DesiredHost::default())).collect() }
}

fn apply(spec: &Spec, facts: &Facts) -> Outcome {
    asked(spec, facts, &desired(spec), &Request::Apply { only: None })
}

/// Hosts that any step of the plan is about.
fn touched(plan: &Plan) -> Vec<&str> {
    let mut hosts: Vec<&str> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.target {
            Target::Host(host) => Some(host.as_str()),
            _ => None,
        })
        .collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

#[test]
fn a_worker_that_was_added_is_the_only_thing_added() {
    let spec = spec(3, 2);
    let plan = planned(apply(&spec, &standing(&spec, |host| host.as_str() != "w2")));
    assert_eq!(touched(&plan), ["w2"]);
    let keepers: Vec<&str> = plan.keepers.iter().map(HostName::as_str).collect();
    assert_eq!(keepers, ["cp1", "cp2", "cp3"]);
    insta::assert_snapshot!(told(&plan));
}

#[test]
fn control_planes_come_one_after_the_other_as_learners() {
    let spec = spec(3, 1);
    let plan = planned(apply(&spec, &standing(&spec, |host| matches!(host.as_str(), "cp1" | "w1"))));
    assert_eq!(touched(&plan), ["cp2", "cp3"]);
    assert_eq!(plan.keepers, ["cp1".into()], "who only joins has no voice");
    insta::assert_snapshot!(told(&plan));
    let members: Vec<Vec<&str>> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.kind {
            StepKind::PlaceFiles { files: FileSet::Etcd, etcd } => {
                Some(etcd.members.keys().map(HostName::as_str).collect())
            }
            _ => None,
        })
        .collect();
    assert_eq!(members, [vec!["cp1", "cp2"], vec!["cp1", "cp2", "cp3"]], "each is told of those before it");
}

#[test]
fn a_host_that_was_installed_anew_frees_its_name_first() {
    let spec = spec(3, 1);
    let mut facts = standing(&spec, |host| !matches!(host.as_str(), "cp3" | "w1"));
    // Both were parts; their machines are bare now.
    let all = standing(&spec, |_| true);
    facts.cluster = known(ClusterFacts {
        nodes: spec
            .hosts
            .iter()
            .map(|host| (host.name.clone(), node(host.name.as_str().ends_with('1').then_some("gone"))))
            .collect(),
        ..ClusterFacts::default()
    });
    facts.etcd = all.etcd.map(|mut etcd| {
        etcd.sights.insert(MemberId(3), Sight::Down { why: "connection refused".into() });
        etcd
    });
    let Outcome::Blocked { findings } = apply(&spec, &facts) else { panic!("two machines have one name") };
    let counts = findings.iter().filter(|finding| finding.severity != Severity::Info);
    let codes: Vec<_> = counts.map(|finding| (finding.code.as_str(), finding.severity)).collect();
    assert_eq!(codes, [("CONV005", Severity::Blocks), ("CONV005", Severity::Warns)]);
    let nodes = |name: &str| node(matches!(name, "cp3" | "w1").then_some("gone"));
    facts.cluster = known(ClusterFacts {
        nodes: spec.hosts.iter().map(|host| (host.name.clone(), nodes(host.name.as_str()))).collect(),
        ..ClusterFacts::default()
    });
    let plan = planned(apply(&spec, &facts));
    assert!(plan.findings.iter().any(|finding| finding.code == "CONV005"));
    insta::assert_snapshot!(told(&plan));
}

#[test]
fn dead_members_go_before_any_comes_back() {
    let spec = spec(5, 0);
    let mut facts = standing(&spec, |host| !matches!(host.as_str(), "cp4" | "cp5"));
    facts.etcd = standing(&spec, |_| true).etcd.map(|mut etcd| {
        for id in [4, 5] {
            etcd.sights.insert(MemberId(id), Sight::Down { why: "connection refused".into() });
        }
        etcd
    });
    let plan = planned(apply(&spec, &facts));
    let at = |verb: &str| plan.steps.iter().position(|step| step.id.as_str().ends_with(verb)).unwrap();
    assert!(at("cp4-unmember") < at("cp5-unmember") && at("cp5-unmember") < at("cp4-member"));
    let added = &plan.steps[at("cp4-member")];
    assert!(added.after.contains(&plan.steps[at("cp5-unmember")].id), "{added:?}");
    let StepKind::PlaceFiles { etcd, .. } = &plan.steps[at("cp4-files")].kind else { panic!("files") };
    let members: Vec<&str> = etcd.members.keys().map(HostName::as_str).collect();
    assert_eq!(members, ["cp1", "cp2", "cp3", "cp4"], "the list there is when it starts");
}

#[test]
fn another_name_at_a_dead_members_place_takes_its_place() {
    let was = spec(3, 0);
    let etcd = standing(&was, |_| true).etcd.map(|mut etcd| {
        etcd.sights.insert(MemberId(3), Sight::Down { why: "connection refused".into() });
        etcd
    });
    let mut spec = was.clone();
    spec.hosts[2].name = "cp9".into();
    let mut facts = standing(&spec, |host| host.as_str() != "cp9");
    facts.etcd = etcd;
    let plan = planned(apply(&spec, &facts));
    let files = plan.steps.iter().find_map(|step| match &step.kind {
        StepKind::PlaceFiles { files: FileSet::Etcd, etcd } => Some(etcd.members.clone()),
        _ => None,
    });
    let names: Vec<String> = files.unwrap().keys().map(ToString::to_string).collect();
    assert_eq!(names, ["cp1", "cp2", "cp9"]);
}

#[test]
fn nobody_joins_where_there_is_no_cluster() {
    let spec = spec(1, 1);
    let facts = standing(&spec, |_| false);
    let only = Request::Apply { only: Some(vec!["w1".into()]) };
    assert_eq!(codes(&asked(&spec, &facts, &desired(&spec), &only)), ["CONV009"]);
}

#[test]
fn nobody_joins_a_cluster_that_cannot_be_asked() {
    let spec = spec(3, 1);
    let mut facts = standing(&spec, |host| host.as_str() != "w1");
    facts.cluster = Fact::unreadable("connection refused");
    assert_eq!(codes(&apply(&spec, &facts)), ["CONV003"]);
    let whole = Facts { cluster: Fact::unreadable("connection refused"), ..standing(&spec, |_| true) };
    let Outcome::Nothing { findings } = apply(&spec, &whole) else { panic!("there is nothing to do") };
    assert_eq!(findings[0].code, "CONV003");
}

#[test]
fn no_member_is_added_to_an_etcd_that_does_not_bear_it() {
    let spec = spec(4, 0);
    let mut facts = standing(&spec, |host| host.as_str() != "cp4");
    facts.etcd = facts.etcd.map(|mut etcd| {
        etcd.sights.insert(MemberId(2), Sight::Silent { why: "no answer within 5 s".into() });
        etcd
    });
    assert_eq!(codes(&apply(&spec, &facts)), ["CONV007"]);
    facts.etcd = Fact::unreadable("no credentials");
    assert_eq!(codes(&apply(&spec, &facts)), ["CONV007"]);
}

#[test]
fn a_member_that_never_started_is_in_the_way_unless_it_is_ours() {
    let spec = spec(4, 0);
    let mut facts = standing(&spec, |host| host.as_str() != "cp4");
    let stray = |url: &str| Member {
        id: MemberId(9),
        name: String::new(),
        peer_urls: vec![url.to_owned()],
        client_urls: Vec::new(),
        learner: true,
    };
    let with = |facts: &Facts, url: &str| {
        let mut facts = facts.clone();
        facts.etcd = facts.etcd.map(|mut etcd| {
            etcd.members.push(stray(url));
            etcd
        });
        facts
    };
    let outcome = apply(&spec, &with(&facts, "https://10.9.9.9:2380"));
    assert!(codes(&outcome).contains(&"CONV008"), "{outcome:#?}");
    facts = with(&facts, "https://10.77.0.14:2380");
    planned(apply(&spec, &facts));
}

#[test]
fn only_named_hosts_are_touched_and_the_others_may_be_away() {
    let spec = spec(3, 3);
    let mut facts = standing(&spec, |host| host.as_str() < "w2");
    facts.hosts.insert("w1".into(), Fact::unreadable("no route to host"));
    assert_eq!(codes(&apply(&spec, &facts)), ["HOST001"]);
    let only = Request::Apply { only: Some(vec!["w3".into()]) };
    facts.hosts.insert("cp2".into(), Fact::unreadable("no route to host"));
    let plan = planned(asked(&spec, &facts, &desired(&spec), &only));
    let keepers: Vec<&str> = plan.keepers.iter().map(HostName::as_str).collect();
    assert_eq!(keepers, ["cp1", "cp2", "cp3"], "one that is silent may be part of the cluster");
    assert_eq!(touched(&plan), ["w3"]);
    assert!(plan.findings.iter().any(|finding| finding.code == "HOST001"), "it is told all the same");
}

#[test]
fn labels_that_changed_are_the_only_change() {
    let spec = spec(1, 2);
    let facts = standing(&spec, |_| true);
    let mut desired = desired(&spec);
    let marks = NodeMarks { labels: BTreeMap::from([("tier".into(), "b".into())]), ..NodeMarks::default() };
    desired.hosts.get_mut("w1").unwrap().marks = marks;
    let plan = planned(asked(&spec, &facts, &desired, &Request::Apply { only: None }));
    assert_eq!(touched(&plan), ["w1"]);
    assert!(plan.steps.iter().all(|step| matches!(step.kind, StepKind::MarkNode | StepKind::Prove { .. })));
}

#[test]
fn what_stopped_is_started_again() {
    let spec = spec(3, 1);
    let mut facts = standing(&spec, |_| true);
    for name in ["cp1", "cp2", "w1"] {
        let stopped = UnitFacts { active: "failed".into(), sub: "failed".into(), enabled: "enabled".into() };
        let mut seen = part(spec.host(&name.into()).unwrap());
        seen.units.insert("kubelet".into(), known(stopped));
        facts.hosts.insert(name.into(), known(seen));
    }
    // The API is away with the quorum.
    facts.cluster = Fact::unreadable("connection refused");
    let plan = planned(apply(&spec, &facts));
    assert_eq!(touched(&plan), ["cp1", "cp2", "w1"]);
    assert!(plan.steps.iter().take(3).all(|step| step.after.is_empty()), "etcd needs a majority at once");
}

/// Every host has another configuration of its kubelet than the spec says.
fn with_new_kubelets(spec: &Spec) -> (Facts, Desired) {
    let mut facts = standing(spec, |_| true);
    for host in &spec.hosts {
        let seen = HostFacts { files: known(BTreeMap::new()), ..part(host) };
        facts.hosts.insert(host.name.clone(), known(seen));
    }
    let mut desired = desired(spec);
    for host in desired.hosts.values_mut() {
        let file = DesiredFile {
            digests: vec!["abc".into()],
            refreshed_with: Some(FileSet::Kubelet),
            ..DesiredFile::default()
        };
        host.files.insert("/var/lib/kubelet/config.yaml".into(), file);
    }
    (facts, desired)
}

#[test]
fn kubelets_get_a_new_configuration_one_at_a_time_until_a_worker_has_proved_it() {
    let spec = spec(3, 3);
    let (facts, desired) = with_new_kubelets(&spec);
    let plan = planned(asked(&spec, &facts, &desired, &Request::Apply { only: None }));
    insta::assert_snapshot!(told(&plan));
}

#[test]
fn a_node_that_the_spec_does_not_name_is_told_and_left_alone() {
    let all = spec(1, 2);
    let mut facts = standing(&all, |_| true);
    facts.hosts.remove("w2");
    let without = spec(1, 1);
    let Outcome::Nothing { findings } = apply(&without, &facts) else { panic!("nothing is to be done") };
    assert_eq!(findings[0].code, "CONV004");
}

#[test]
fn a_role_is_not_changed_in_place() {
    let was = spec(3, 1);
    let facts = standing(&was, |_| true);
    let mut wants = was.clone();
    wants.hosts[2].roles = vec![Role::ControlPlane];
    assert_eq!(codes(&apply(&wants, &facts)), ["CONV006"]);
}

#[test]
fn workers_without_their_control_planes_are_orphans() {
    let spec = spec(1, 2);
    let outcome = apply(&spec, &standing(&spec, |host| host.as_str() != "cp1"));
    assert_eq!(codes(&outcome), ["CONV001", "CONV001"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_prefix_of_every_joining_is_safe_and_leads_to_the_cluster(
        control_planes in prop_oneof![Just(1usize), Just(3), Just(5)],
        workers in 0usize..3,
        joining in proptest::collection::btree_set(0usize..8, 1..6),
        moves in moves(),
    ) {
        let spec = spec(control_planes, workers);
        let names: Vec<HostName> = spec.hosts.iter().map(|host| host.name.clone()).collect();
        // The first control plane always stands.
        let joins = |host: &HostName| {
            let index = names.iter().position(|name| name == host).unwrap();
            index != 0 && joining.contains(&index)
        };
        let Outcome::Plan(plan) = apply(&spec, &standing(&spec, |host| !joins(host))) else { return Ok(()) };
        let mut run = Rehearsal::new(&plan, World::standing(&spec, TOKEN, |host| !joins(host)));
        run.play(moves);
        prop_assert_eq!(run.status.done(), plan.steps.len());
        prop_assert!(run.world.is_complete(&plan));
        prop_assert_eq!(run.world.voters.len(), control_planes);
    }

    #[test]
    fn every_prefix_of_new_kubelets_keeps_the_cluster(workers in 0usize..4, moves in moves()) {
        let spec = spec(3, workers);
        let (facts, desired) = with_new_kubelets(&spec);
        let plan = planned(asked(&spec, &facts, &desired, &Request::Apply { only: None }));
        let mut run = Rehearsal::new(&plan, World::standing(&spec, TOKEN, |_| true));
        run.play(moves);
        prop_assert_eq!(run.status.done(), plan.steps.len());
    }
}
