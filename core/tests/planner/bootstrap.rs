//! The bootstrap planner on the simulator: any order a plan allows, crashes anywhere, every prefix.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kubewright_core::facts::{ClusterFacts, Fact, Facts, HostFacts, HostRecord};
use kubewright_core::finding::{Finding, Severity, Subject};
use kubewright_core::journal::{self, Event, Status};
use kubewright_core::plan::{Plan, Step, StepKind, Target, lint, waves};
use kubewright_core::planner::{self, Desired, DesiredFile, DesiredHost, Identity, Input, Outcome, Request};
use kubewright_core::sim::World;
use kubewright_core::spec::EncryptionAlgorithm;
use proptest::prelude::*;

use crate::setting::{Rehearsal, asked, bare, codes, facts, known, moves, outcome, part, plan, spec};

#[test]
fn the_story_of_three_control_planes_and_two_workers() {
    let plan = plan(3, 2);
    let lines: Vec<String> = waves(&plan.steps)
        .unwrap()
        .iter()
        .map(|wave| wave.iter().map(|step| step.id.as_str()).collect::<Vec<_>>().join("  "))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_plan_survives_json() {
    let plan = plan(3, 2);
    let text = serde_json::to_string(&plan).unwrap();
    let again: Plan = serde_json::from_str(&text).unwrap();
    assert_eq!(plan, again);
}

#[test]
fn an_unreachable_host_blocks_and_is_named() {
    let spec = spec(3, 1);
    let mut facts = facts(&spec);
    facts.hosts.insert("w1".into(), Fact::unreadable("connection refused"));
    assert_eq!(codes(&outcome(&spec, &facts)), ["HOST001"]);
}

#[test]
fn clones_are_noticed() {
    let spec = spec(1, 2);
    let mut facts = facts(&spec);
    let mut twin = bare(&"w2".into());
    twin.machine_id = bare(&"w1".into()).machine_id;
    facts.hosts.insert("w2".into(), known(twin));
    assert_eq!(codes(&outcome(&spec, &facts)), ["HOST005"]);
}

#[test]
fn foreign_etcd_data_and_foreign_clusters_are_left_alone() {
    let spec = spec(3, 0);
    let mut facts = facts(&spec);
    let mut first = bare(&"cp1".into());
    first.etcd_data = known(true);
    let mut second = bare(&"cp2".into());
    second.record =
        known(HostRecord { cluster: "other".into(), operation: "beef".into(), roles: Vec::new(), settled: true });
    facts.hosts.insert("cp1".into(), known(first));
    facts.hosts.insert("cp2".into(), known(second));
    assert_eq!(codes(&outcome(&spec, &facts)), ["HOST010", "HOST012"]);
}

#[test]
fn what_cannot_be_read_is_not_harmless() {
    let spec = spec(3, 1);
    let mut facts = facts(&spec);
    let mut first = bare(&"cp1".into());
    first.etcd_data = Fact::unreadable("no permission");
    let mut second = bare(&"cp2".into());
    second.record = Fact::unreadable("`{` is not a value of its kind");
    facts.hosts.insert("cp1".into(), known(first));
    facts.hosts.insert("cp2".into(), known(second));
    let outcome = outcome(&spec, &facts);
    assert_eq!(codes(&outcome), ["HOST014", "HOST014"]);
    let Outcome::Blocked { findings } = outcome else { panic!("it is blocked") };
    let mut blocking = findings.iter().filter(|finding| finding.severity == Severity::Blocks);
    assert!(blocking.all(|finding| finding.text.contains("cannot be read")), "{findings:#?}");
}

#[test]
fn a_settled_cluster_needs_nothing() {
    let spec = spec(3, 2);
    let mut facts = facts(&spec);
    for host in &spec.hosts {
        facts.hosts.insert(host.name.clone(), known(part(host)));
    }
    facts.cluster = known(ClusterFacts::default());
    assert_eq!(outcome(&spec, &facts), Outcome::Nothing { findings: Vec::new() });
}

#[test]
fn a_deleted_manifest_is_told_and_not_guessed() {
    let spec = spec(1, 0);
    let mut facts = Facts { cluster: known(ClusterFacts::default()), ..Facts::default() };
    let seen = HostFacts { files: known(BTreeMap::new()), ..part(&spec.hosts[0]) };
    facts.hosts.insert("cp1".into(), known(seen));
    let mut wanted = DesiredHost::default();
    let file = DesiredFile { digests: vec!["abc".into()], ..DesiredFile::default() };
    wanted.files.insert("/etc/kubernetes/manifests/kube-scheduler.yaml".into(), file);
    let desired = Desired { hosts: BTreeMap::from([("cp1".into(), wanted)]) };
    let outcome = asked(&spec, &facts, &desired, &Request::Apply { only: None });
    let Outcome::Blocked { findings } = outcome else { panic!("it is not as the spec says") };
    assert_eq!(findings[0].code, "CONV002");
    assert!(findings[0].text.contains("kube-scheduler.yaml"), "{}", findings[0].text);
}

#[test]
fn a_control_plane_whose_member_was_taken_out_is_told_how_it_comes_back() {
    let spec = spec(1, 0);
    let mut facts = Facts { cluster: known(ClusterFacts::default()), ..Facts::default() };
    let path = "/etc/kubernetes/manifests/etcd.yaml".to_owned();
    let file = DesiredFile { digests: vec!["abc".into()], ..DesiredFile::default() };
    let wanted = DesiredHost { files: BTreeMap::from([(path.clone(), file)]), ..DesiredHost::default() };
    let desired = Desired { hosts: BTreeMap::from([("cp1".into(), wanted)]) };
    let mut hint = |files| {
        facts.hosts.insert("cp1".into(), known(HostFacts { files: known(files), ..part(&spec.hosts[0]) }));
        match asked(&spec, &facts, &desired, &Request::Apply { only: None }) {
            Outcome::Blocked { findings } => findings[0].hint.clone().unwrap(),
            other => panic!("{other:#?}"),
        }
    };
    assert!(hint(BTreeMap::new()).ends_with("kubewright etcd member add cp1"));
    let other = hint(BTreeMap::from([(path, "def".to_owned())]));
    assert!(!other.contains("member add"), "one that differs is another matter: {other}");
}

#[test]
fn what_reading_and_rendering_found_blocks_the_plan() {
    let spec = spec(1, 0);
    let facts = facts(&spec);
    let desired = Desired::default();
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: "lab-0123".into() };
    let findings = [Finding::new(Severity::Blocks, "ART001", Subject::Cluster, "no checksum")];
    let input = Input {
        spec: &spec,
        facts: &facts,
        desired: &desired,
        findings: &findings,
        identity: &identity,
        tool_version: "0.0.0",
    };
    assert_eq!(codes(&planner::plan(input, &Request::Apply { only: None })), ["ART001"]);
}

#[test]
fn the_time_for_keys_grows_with_hosts_and_algorithm() {
    let deadline = |workers: usize, algorithm| {
        let mut spec = spec(3, workers);
        spec.certificates.encryption_algorithm = algorithm;
        let Outcome::Plan(plan) = outcome(&spec, &facts(&spec)) else { panic!("no plan") };
        plan.steps.iter().find(|step| matches!(step.kind, StepKind::MakeKeys { .. })).unwrap().deadline_seconds
    };
    // 103 files for 5 hosts took up to 16 s: there is room for a machine that is much slower.
    assert!(deadline(2, EncryptionAlgorithm::Rsa2048) >= 60 + 2 * 16);
    // Sixteen times the work for each key, forty times the hosts.
    assert!(deadline(197, EncryptionAlgorithm::Rsa4096) >= 40 * 16 * 16 * 2);
    assert!(deadline(197, EncryptionAlgorithm::EcdsaP256) < 600);
}

#[test]
fn lint_sees_a_control_plane_that_waits_for_another() {
    let mut plan = plan(3, 0);
    let starts: Vec<usize> =
        (0..plan.steps.len()).filter(|index| plan.steps[*index].kind == StepKind::StartControlPlane).collect();
    let first = plan.steps[starts[0]].id.clone();
    plan.steps[starts[1]].after.push(first);
    let codes: Vec<String> = lint(&plan).into_iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["PLAN005"]);
}

#[test]
fn lint_sees_a_member_started_before_the_others_have_files() {
    let mut plan = plan(3, 0);
    let files =
        |step: &Step| matches!(step.kind, StepKind::PlaceFiles { .. }) && step.target == Target::Host("cp3".into());
    let placed = plan.steps.iter().find(|step| files(step)).unwrap().id.clone();
    for step in &mut plan.steps {
        if step.kind == StepKind::StartControlPlane {
            step.after.retain(|id| id != &placed);
        }
    }
    let codes: BTreeSet<String> = lint(&plan).into_iter().map(|finding| finding.code).collect();
    assert_eq!(codes, BTreeSet::from(["PLAN006".to_owned()]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_prefix_of_every_order_is_safe_and_leads_to_the_cluster(
        control_planes in prop_oneof![Just(1usize), Just(3), Just(5)],
        workers in 0usize..4,
        moves in moves(),
    ) {
        let plan = plan(control_planes, workers);
        let mut run = Rehearsal::new(&plan, World::bare(&plan.spec));
        run.play(moves);
        prop_assert_eq!(run.status.done(), plan.steps.len());
        prop_assert!(run.world.is_complete(&plan));
    }

    #[test]
    fn a_journal_cut_anywhere_reads_as_a_prefix(cut in any::<prop::sample::Index>()) {
        let plan = plan(3, 1);
        let digest = "digest".to_owned();
        let mut text = String::new();
        let mut link = String::new();
        let mut events = vec![Event::Accepted { operation: plan.operation.clone(), plan_digest: digest, by: "ada@desk".into() }];
        for step in &plan.steps {
            events.push(Event::StepStarted { step: step.id.clone(), attempt: 1 });
            events.push(Event::StepSucceeded { step: step.id.clone(), attempt: 1 });
        }
        events.push(Event::Finished);
        for (count, event) in events.iter().enumerate() {
            let (line, next) = journal::write(count as u64, Timestamp::UNIX_EPOCH, &link, event).unwrap();
            text += &line;
            link = next;
        }
        let whole = journal::read(text.as_bytes()).unwrap();
        prop_assert_eq!(whole.records.len(), events.len());
        let cut = cut.index(text.len() + 1);
        let part = journal::read(&text.as_bytes()[..cut]).unwrap();
        prop_assert_eq!(&part.records[..], &whole.records[..part.records.len()]);
        prop_assert!(part.whole <= cut);
        prop_assert!(Status::fold(&plan, "digest", &part.records).is_ok());
    }

    #[test]
    fn an_edited_journal_is_noticed(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let plan = plan(1, 0);
        let (mut text, mut link) = (String::new(), String::new());
        for (count, step) in plan.steps.iter().enumerate() {
            let event = Event::StepStarted { step: step.id.clone(), attempt: 1 };
            let (line, next) = journal::write(count as u64, Timestamp::UNIX_EPOCH, &link, &event).unwrap();
            text += &line;
            link = next;
        }
        let mut bytes = text.clone().into_bytes();
        // The last line has nobody behind it to vouch for it.
        let vouched = text.trim_end().rfind('\n').unwrap();
        let at = at.index(vouched);
        prop_assume!(bytes[at] != byte && byte != b'\n');
        bytes[at] = byte;
        prop_assert!(journal::read(&bytes).is_err());
    }
}
