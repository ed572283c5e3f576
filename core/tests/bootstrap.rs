//! The bootstrap planner on the simulator: any order a plan allows, crashes anywhere, every prefix.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kubewright_core::facts::{Fact, Facts, HostFacts, HostRecord, Os, OsFamily, UnitFacts};
use kubewright_core::finding::{Finding, Severity, Subject};
use kubewright_core::ids::{HostName, StepId};
use kubewright_core::journal::{self, Event, Status};
use kubewright_core::plan::{Plan, Step, StepKind, Target, lint, waves};
use kubewright_core::planner::{Desired, DesiredHost, Identity, Input, Outcome, bootstrap};
use kubewright_core::sim::World;
use kubewright_core::spec::{EncryptionAlgorithm, Spec, read};
use proptest::prelude::*;

fn spec(control_planes: usize, workers: usize) -> Spec {
    let mut text = String::from(
        "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {name: lab}\nspec:\n  kubernetes: {version: 1.35.4}\n  \
         endpoint: {mode: nodeLocal}\n  hosts:\n",
    );
    for index in 1..=control_planes {
        text += &format!("  - {{name: cp{index}, address: 10.77.0.{}, roles: [controlPlane, etcd]}}\n", 10 + index);
    }
    for index in 1..=workers {
        text +=
            &format!("  - {{name: w{index}, address: 10.77.{}.{}, roles: [worker]}}\n", index / 200, 20 + index % 200);
    }
    let reading = read("test.yaml", &text);
    reading.spec.unwrap_or_else(|| panic!("{:#?}", reading.findings))
}

fn known<T>(value: T) -> Fact<T> {
    Fact::Known { value, at: Timestamp::UNIX_EPOCH }
}

fn bare(name: &HostName) -> HostFacts {
    HostFacts {
        machine_id: known(format!("id-of-{name}")),
        os: known(Os { id: "debian".into(), version: "12".into(), family: OsFamily::Debian, name: "Debian 12".into() }),
        architecture: known("x86_64".into()),
        etcd_data: known(false),
        record: Fact::Absent,
        ca_fingerprint: Fact::Absent,
        ..HostFacts::default()
    }
}

fn facts(spec: &Spec) -> Facts {
    let hosts = spec.hosts.iter().map(|host| (host.name.clone(), known(bare(&host.name)))).collect();
    Facts { hosts, ..Facts::default() }
}

fn outcome(spec: &Spec, facts: &Facts) -> Outcome {
    let desired = Desired {
        hosts: spec.hosts.iter().map(|host| (host.name.clone(), DesiredHost::default())).collect::<BTreeMap<_, _>>(),
    };
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: "lab-0123".into() };
    bootstrap(Input { spec, facts, desired: &desired, findings: &[], identity: &identity, tool_version: "0.0.0" })
}

fn plan(control_planes: usize, workers: usize) -> Plan {
    let spec = spec(control_planes, workers);
    match outcome(&spec, &facts(&spec)) {
        Outcome::Plan(plan) => *plan,
        other => panic!("{other:#?}"),
    }
}

fn codes(outcome: &Outcome) -> Vec<&str> {
    match outcome {
        Outcome::Blocked { findings } => findings.iter().map(|finding| finding.code.as_str()).collect(),
        other => panic!("{other:#?}"),
    }
}

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
    let twin = facts.host(&"w1".into()).unwrap().clone();
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
    assert!(findings.iter().all(|finding| finding.text.contains("cannot be read")), "{findings:#?}");
}

#[test]
fn a_settled_cluster_needs_nothing() {
    let spec = spec(3, 2);
    let mut facts = facts(&spec);
    for host in &spec.hosts {
        let mut seen = bare(&host.name);
        let record =
            HostRecord { cluster: "lab".into(), operation: "7f3a9c".into(), roles: host.roles.clone(), settled: true };
        seen.record = known(record);
        facts.hosts.insert(host.name.clone(), known(seen));
    }
    assert_eq!(outcome(&spec, &facts), Outcome::Nothing { findings: Vec::new() });
}

#[test]
fn a_deleted_manifest_and_a_stopped_kubelet_are_differences() {
    let spec = spec(1, 0);
    let mut seen = bare(&"cp1".into());
    let record = HostRecord {
        cluster: "lab".into(),
        operation: "7f3a9c".into(),
        roles: spec.hosts[0].roles.clone(),
        settled: true,
    };
    seen.record = known(record);
    seen.files = known(BTreeMap::new());
    let stopped = UnitFacts { active: "failed".into(), sub: "failed".into(), enabled: "enabled".into() };
    seen.units.insert("kubelet".into(), known(stopped));
    let mut facts = Facts::default();
    facts.hosts.insert("cp1".into(), known(seen));
    let mut wanted = DesiredHost::default();
    wanted.files.insert("/etc/kubernetes/manifests/kube-scheduler.yaml".into(), vec!["abc".into()]);
    let desired = Desired { hosts: BTreeMap::from([("cp1".into(), wanted)]) };
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: "lab-0123".into() };
    let input = Input {
        spec: &spec,
        facts: &facts,
        desired: &desired,
        findings: &[],
        identity: &identity,
        tool_version: "0.0.0",
    };
    let Outcome::Blocked { findings } = bootstrap(input) else { panic!("it is not as the spec says") };
    assert_eq!(findings[0].code, "CONV002");
    assert!(findings[0].text.contains("kube-scheduler.yaml"), "{}", findings[0].text);
    assert!(findings[0].text.contains("kubelet.service is failed"), "{}", findings[0].text);
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
    assert_eq!(codes(&bootstrap(input)), ["ART001"]);
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

/// What the world may do next.
#[derive(Clone, Debug)]
enum Move {
    Begin(usize),
    End(usize),
    Crash,
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        8 => any::<usize>().prop_map(Move::Begin),
        8 => any::<usize>().prop_map(Move::End),
        1 => Just(Move::Crash),
    ];
    proptest::collection::vec(one, 0..300)
}

/// A run on the simulator: effects happen at begin, successes are recorded at end, crashes leave steps in doubt.
struct Rehearsal<'p> {
    plan: &'p Plan,
    world: World,
    status: Status,
    running: BTreeSet<StepId>,
    attempts: BTreeMap<StepId, u32>,
}

impl<'p> Rehearsal<'p> {
    fn new(plan: &'p Plan) -> Self {
        let mut status = Status::new(plan);
        let accepted =
            Event::Accepted { operation: plan.operation.clone(), plan_digest: String::new(), by: "test".into() };
        status.apply(&accepted).unwrap();
        Self { plan, world: World::bare(&plan.spec), status, running: BTreeSet::new(), attempts: BTreeMap::new() }
    }

    fn startable(&self) -> Vec<&'p Step> {
        journal::ready(self.plan, &self.status, &self.running)
    }

    fn begin(&mut self, pick: usize) -> bool {
        let ready = self.startable();
        let Some(step) = ready.get(pick % ready.len().max(1)).copied() else { return false };
        let attempt = self.attempts.entry(step.id.clone()).or_default();
        *attempt += 1;
        self.status.apply(&Event::StepStarted { step: step.id.clone(), attempt: *attempt }).unwrap();
        self.running.insert(step.id.clone());
        self.world.perform(step).unwrap();
        true
    }

    fn end(&mut self, pick: usize) -> bool {
        let reached: Vec<StepId> =
            self.running.iter().filter(|id| self.world.is_reached(self.plan.step(id).unwrap())).cloned().collect();
        let Some(step) = reached.get(pick % reached.len().max(1)) else { return false };
        self.running.remove(step);
        self.status.apply(&Event::StepSucceeded { step: step.clone(), attempt: self.attempts[step] }).unwrap();
        true
    }
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
        let mut run = Rehearsal::new(&plan);
        for one in moves {
            match one {
                Move::Begin(pick) => { run.begin(pick); }
                Move::End(pick) => { run.end(pick); }
                Move::Crash => run.running.clear(),
            }
        }
        // Left to itself it always comes to its end: whatever happened before, nothing waits for ever.
        while run.begin(0) || run.end(0) {}
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
