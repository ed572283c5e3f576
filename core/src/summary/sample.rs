//! A plan and a run of the lab, made by hand: what displays are tested and demonstrated with. Invented figures.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::finding::{Finding, Severity, Subject};
use crate::ids::{HostName, StepId};
use crate::intent::Intent;
use crate::journal::{Event, Record};
use crate::plan::{
    Artefact, ArtefactKind, EtcdStart, FORMAT, FileSet, Image, KeySource, ObjectGroup, Plan, Preparation, Probe, Step,
    StepKind, Target, Undo,
};
use crate::progress::{self, News, Progress};
use crate::spec::{self, Role};
use crate::summary::Run;

const SPEC: &str = "\
apiVersion: kubewright.dev/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  kubernetes: {version: 1.35.4}
  endpoint: {mode: nodeLocal}
  network:
    podCIDR: 10.244.0.0/16
    serviceCIDR: 10.96.0.0/12
    cni: {name: flannel}
  hosts:
  - {name: cp1, address: 10.77.0.11, roles: [controlPlane, etcd]}
  - {name: cp2, address: 10.77.0.12, roles: [controlPlane, etcd]}
  - {name: cp3, address: 10.77.0.13, roles: [controlPlane, etcd]}
  - {name: w1, address: 10.77.0.21, roles: [worker], pool: general}
  - {name: w2, address: 10.77.0.22, roles: [worker], pool: general}
  pools:
    general: {labels: {tier: general}}
";

/// When the sample run begins.
const BEGIN: &str = "2026-11-20T23:00:00Z";

/// A bootstrap of three control planes and two workers.
///
/// # Panics
/// If the sample's own spec is refused, which a test would notice.
#[expect(clippy::expect_used, reason = "its input is the constant above")]
pub fn plan() -> Plan {
    let spec = spec::read("lab.yaml", SPEC).accepted().cloned().expect("the sample's spec is right");
    let mut steps = Vec::new();
    let on = |host: &HostName| Target::Host(host.clone());
    let hosts: Vec<HostName> = spec.hosts.iter().map(|host| host.name.clone()).collect();
    let control_planes: Vec<HostName> = spec.with_role(Role::ControlPlane).map(|host| host.name.clone()).collect();

    let prepared: Vec<StepId> = hosts
        .iter()
        .map(|host| add(&mut steps, on(host), StepKind::PrepareHost(preparation(host.as_str() == "w2")), &[]))
        .collect();
    let making =
        StepKind::MakeKeys { authorities: KeySource::New, hosts: hosts.clone(), keep_on: control_planes.clone() };
    let keys = add(&mut steps, Target::Here, making, &[]);
    let placed: Vec<StepId> = hosts
        .iter()
        .zip(&prepared)
        .map(|(host, prepared)| {
            let files = StepKind::PlaceFiles { files: FileSet::All, etcd: EtcdStart::first(&spec, "lab-1") };
            add(&mut steps, on(host), files, &[keys.clone(), prepared.clone()])
        })
        .collect();
    let members = &placed[..control_planes.len()];
    let started: Vec<StepId> =
        control_planes.iter().map(|host| add(&mut steps, on(host), StepKind::StartControlPlane, members)).collect();
    let rbac = add(&mut steps, Target::Cluster, StepKind::ApplyObjects { group: ObjectGroup::Rbac }, &started);
    let mut last = vec![rbac.clone()];
    for group in [ObjectGroup::Configuration, ObjectGroup::KubeProxy, ObjectGroup::CoreDns, ObjectGroup::Network] {
        last.push(add(&mut steps, Target::Cluster, StepKind::ApplyObjects { group }, std::slice::from_ref(&rbac)));
    }
    for (host, files) in hosts.iter().zip(&placed).skip(control_planes.len()) {
        let after: Vec<StepId> = started.iter().chain([files]).cloned().collect();
        let joined = add(&mut steps, on(host), StepKind::StartWorker, &after);
        last.push(add(&mut steps, on(host), StepKind::MarkNode, &[joined, rbac.clone()]));
    }
    let proved = add(&mut steps, Target::Cluster, StepKind::Prove { nodes: hosts.clone(), add_ons: true }, &last);
    add(&mut steps, Target::Here, StepKind::Settle { hosts, copies_on: control_planes.clone() }, &[proved]);

    Plan {
        format: FORMAT,
        operation: "7f3a".into(),
        tool_version: "0.1.0".into(),
        intent: Intent::Bootstrap,
        spec,
        keepers: control_planes,
        assumptions: Vec::new(),
        findings: vec![
            Finding::new(Severity::Warns, "HOST017", Subject::Host("w2".into()), "swap is on (/dev/sdb2)")
                .hint("it will be turned off and removed from /etc/fstab"),
            Finding::new(Severity::Info, "TIME002", Subject::Cluster, "clocks agree within 12 ms"),
        ],
        steps,
    }
}

fn add(steps: &mut Vec<Step>, target: Target, kind: StepKind, after: &[StepId]) -> StepId {
    let id = StepId::new(format!("{:02}-{target}-{}", steps.len() + 1, kind.verb()));
    steps.push(Step {
        id: id.clone(),
        target,
        kind,
        after: after.to_vec(),
        guards: Vec::new(),
        probe: Probe::Repeatable,
        undo: Undo::Nothing,
        deadline_seconds: 60,
        why: "for show".into(),
    });
    id
}

fn preparation(swap_off: bool) -> Preparation {
    let artefact = |name: &str| Artefact {
        name: name.into(),
        url: format!("https://dl.k8s.io/release/v1.35.4/bin/linux/amd64/{name}"),
        sha256: "0".repeat(64),
        kind: ArtefactKind::File,
        destination: format!("/usr/bin/{name}"),
        mode: "0755".into(),
        link: None,
        members: Vec::new(),
    };
    let image = |name: &str| Image { reference: format!("registry.k8s.io/{name}"), digest: None };
    Preparation {
        packages: ["conntrack", "nftables", "socat"].map(str::to_owned).to_vec(),
        modules: ["overlay", "br_netfilter"].map(str::to_owned).to_vec(),
        artefacts: ["kubelet", "kubectl", "containerd"].map(artefact).to_vec(),
        images: ["pause:3.10.1", "kube-proxy:v1.35.4"].map(image).to_vec(),
        swap_off,
    }
}

/// What [`story`] says its plan's digest is.
pub const DIGEST: &str = "digest-of-the-sample";

/// Everything a run of [`plan`] tells from begin to end; each step begins as soon as it may.
pub fn story(plan: &Plan) -> Vec<Progress> {
    let mut tale = Tale { plan, progress: Vec::new() };
    let accepted =
        Event::Accepted { operation: plan.operation.clone(), plan_digest: DIGEST.into(), by: "ada@desk".into() };
    tale.tell(0, News::Recorded { record: accepted });
    tale.tell(0, News::Recorded { record: Event::TakenUp { by: "ada@desk".into(), fence: 1 } });
    let mut done: BTreeSet<&StepId> = BTreeSet::new();
    let mut running: BTreeMap<&StepId, u64> = BTreeMap::new();
    let mut clock = 0;
    while done.len() < plan.steps.len() {
        for step in &plan.steps {
            if !done.contains(&step.id)
                && !running.contains_key(&step.id)
                && step.after.iter().all(|id| done.contains(id))
            {
                running.insert(&step.id, clock + seconds(step));
                tale.tell(clock, News::Recorded { record: Event::StepStarted { step: step.id.clone(), attempt: 1 } });
            }
        }
        let Some((step, end)) = running.iter().min_by_key(|(id, end)| (**end, **id)).map(|(id, end)| (*id, *end))
        else {
            break;
        };
        tale.say(clock, end, &running);
        clock = end;
        running.remove(step);
        done.insert(step);
        tale.tell(clock, News::Recorded { record: Event::StepSucceeded { step: step.clone(), attempt: 1 } });
    }
    tale.tell(clock, News::Recorded { record: Event::Finished });
    tale.progress
}

/// The journal of such a story.
pub fn records(story: &[Progress]) -> Vec<Record> {
    let events = story.iter().filter_map(|progress| match &progress.news {
        News::Recorded { record } => Some((progress.at, record.clone())),
        _ => None,
    });
    events.zip(0..).map(|((at, event), seq)| Record { seq, at, previous: String::new(), event }).collect()
}

struct Tale<'a> {
    plan: &'a Plan,
    progress: Vec<Progress>,
}

impl Tale<'_> {
    fn tell(&mut self, second: u64, news: News) {
        let begin: Timestamp = BEGIN.parse().unwrap_or_default();
        let at = begin + SignedDuration::from_secs(i64::try_from(second).unwrap_or_default());
        let seq = self.progress.len() as u64;
        self.progress.push(Progress { v: progress::FORMAT, seq, at, op: self.plan.operation.clone(), news });
    }

    /// What the running steps say between two ends.
    fn say(&mut self, from: u64, to: u64, running: &BTreeMap<&StepId, u64>) {
        for second in from + 1..to {
            for (id, end) in running {
                let text = match self.plan.step(id).map(|step| &step.kind) {
                    Some(StepKind::PrepareHost(_)) => {
                        format!("pulling kube-proxy {} %", 100 - 5 * (end - second).min(20))
                    }
                    Some(StepKind::StartControlPlane) if end - second > 8 => "etcd: waiting for a majority".to_owned(),
                    Some(StepKind::StartControlPlane) => {
                        "etcd follower · kube-apiserver: waiting for /readyz".to_owned()
                    }
                    Some(StepKind::Prove { .. }) => "w1, w2 not Ready: network plugin not ready".to_owned(),
                    _ => continue,
                };
                self.tell(second, News::Doing { step: (*id).clone(), text });
            }
        }
    }
}

fn seconds(step: &Step) -> u64 {
    match &step.kind {
        StepKind::PrepareHost(_) => match step.target.to_string().as_str() {
            "cp3" => 19,
            "cp2" => 15,
            "w1" => 13,
            _ => 14,
        },
        StepKind::StartControlPlane => 17,
        StepKind::Prove { .. } => 9,
        StepKind::MakeKeys { .. } | StepKind::StartWorker => 2,
        _ => 1,
    }
}

/// The sample's run as it stands so many seconds after its beginning, and that moment.
pub fn run_until(second: i64) -> (Run, Timestamp) {
    let plan = plan();
    let story = story(&plan);
    let now = story[0].at + SignedDuration::from_secs(second);
    let mut run = Run::new(&plan);
    for progress in story.iter().filter(|progress| progress.at <= now) {
        run.observe(progress);
    }
    (run, now)
}
