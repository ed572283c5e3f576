//! Clusters to plan for, as data, and runs on the simulator.

use std::collections::{BTreeMap, BTreeSet};

use kubewright_core::facts::sample;
pub use kubewright_core::facts::sample::known;
use kubewright_core::facts::{Facts, HostFacts, HostRecord};
use kubewright_core::finding::{Finding, Severity};
use kubewright_core::ids::{HostName, StepId};
use kubewright_core::journal::{self, Event, Status};
use kubewright_core::plan::{Plan, Step, waves};
use kubewright_core::planner::{self, Desired, DesiredHost, Identity, Input, Outcome, Request};
use kubewright_core::sim::World;
use kubewright_core::spec::{Host, Spec, read};
use proptest::prelude::*;

use crate::schema::as_published;

/// The identity of the cluster's etcd.
pub const TOKEN: &str = "lab-0123";

/// A host that is a finished part of the cluster.
pub fn part(host: &Host) -> HostFacts {
    let record =
        HostRecord { cluster: "lab".into(), operation: "0ld".into(), roles: host.roles.clone(), settled: true };
    HostFacts { record: known(record), etcd_token: known(TOKEN.into()), ..sample::bare(host) }
}

pub fn spec(control_planes: usize, workers: usize) -> Spec {
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

pub fn bare(name: &HostName) -> HostFacts {
    sample::bare(spec(5, 9).host(name).expect("a host of any setting"))
}

pub fn facts(spec: &Spec) -> Facts {
    let hosts = spec.hosts.iter().map(|host| (host.name.clone(), known(sample::bare(host)))).collect();
    Facts { hosts, ..Facts::default() }
}

pub fn outcome(spec: &Spec, facts: &Facts) -> Outcome {
    let desired = Desired {
        hosts: spec.hosts.iter().map(|host| (host.name.clone(), DesiredHost::default())).collect::<BTreeMap<_, _>>(),
    };
    asked(spec, facts, &desired, &Request::Apply { only: None })
}

/// What a request comes to.
pub fn asked(spec: &Spec, facts: &Facts, desired: &Desired, request: &Request) -> Outcome {
    let identity = Identity { operation: "7f3a9c".into(), initial_cluster_token: TOKEN.into() };
    let input = Input { spec, facts, desired, findings: &[], identity: &identity, tool_version: "0.0.0" };
    planner::plan(input, request)
}

pub fn plan(control_planes: usize, workers: usize) -> Plan {
    let spec = spec(control_planes, workers);
    planned(outcome(&spec, &facts(&spec)))
}

/// The plan that planning came to.
pub fn planned(outcome: Outcome) -> Plan {
    match outcome {
        Outcome::Plan(plan) => as_published(*plan),
        other => panic!("{other:#?}"),
    }
}

/// The steps of a plan, those that may run side by side in one line.
pub fn told(plan: &Plan) -> String {
    let waves = waves(&plan.steps).unwrap();
    let lines = waves.iter().map(|wave| wave.iter().map(|step| step.id.as_str()).collect::<Vec<_>>().join("  "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Codes of what stands in the way; what is only worth a line is left out.
pub fn codes(outcome: &Outcome) -> Vec<&str> {
    let counts = |finding: &&Finding| finding.severity != Severity::Info;
    match outcome {
        Outcome::Blocked { findings } => findings.iter().filter(counts).map(|finding| finding.code.as_str()).collect(),
        other => panic!("{other:#?}"),
    }
}

/// What the world may do next.
#[derive(Clone, Debug)]
pub enum Move {
    Begin(usize),
    End(usize),
    Crash,
}

pub fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        8 => any::<usize>().prop_map(Move::Begin),
        8 => any::<usize>().prop_map(Move::End),
        1 => Just(Move::Crash),
    ];
    proptest::collection::vec(one, 0..300)
}

/// A run on the simulator: effects happen at begin, successes are recorded at end, crashes leave steps in doubt.
pub struct Rehearsal<'p> {
    pub plan: &'p Plan,
    pub world: World,
    pub status: Status,
    running: BTreeSet<StepId>,
    attempts: BTreeMap<StepId, u32>,
}

impl<'p> Rehearsal<'p> {
    /// From this world on.
    pub fn new(plan: &'p Plan, world: World) -> Self {
        let mut status = Status::new(plan);
        let accepted =
            Event::Accepted { operation: plan.operation.clone(), plan_digest: String::new(), by: "test".into() };
        status.apply(&accepted).unwrap();
        Self { plan, world: world.under(plan), status, running: BTreeSet::new(), attempts: BTreeMap::new() }
    }

    fn startable(&self) -> Vec<&'p Step> {
        journal::ready(self.plan, &self.status, &self.running)
    }

    pub fn begin(&mut self, pick: usize) -> bool {
        let ready = self.startable();
        let Some(step) = ready.get(pick % ready.len().max(1)).copied() else { return false };
        let attempt = self.attempts.entry(step.id.clone()).or_default();
        *attempt += 1;
        self.status.apply(&Event::StepStarted { step: step.id.clone(), attempt: *attempt }).unwrap();
        self.running.insert(step.id.clone());
        self.world.perform(step).unwrap();
        true
    }

    pub fn end(&mut self, pick: usize) -> bool {
        let reached: Vec<StepId> =
            self.running.iter().filter(|id| self.world.is_reached(self.plan.step(id).unwrap())).cloned().collect();
        let Some(step) = reached.get(pick % reached.len().max(1)) else { return false };
        self.running.remove(step);
        self.status.apply(&Event::StepSucceeded { step: step.clone(), attempt: self.attempts[step] }).unwrap();
        true
    }

    /// Makes one move.
    pub fn play_one(&mut self, one: Move) {
        match one {
            Move::Begin(pick) => drop(self.begin(pick)),
            Move::End(pick) => drop(self.end(pick)),
            Move::Crash => self.running.clear(),
        }
    }

    /// Makes these moves, then goes on until nothing more can begin or end.
    pub fn play(&mut self, moves: Vec<Move>) {
        moves.into_iter().for_each(|one| self.play_one(one));
        // Left to itself it always comes to its end: whatever happened before, nothing waits for ever.
        while self.begin(0) || self.end(0) {}
    }
}
