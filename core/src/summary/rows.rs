//! One line per host: which parts of the story are done there, what happens now, or what it waits for.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::outline::phase_of;
use super::run::{Run, between};
use crate::ids::StepId;
use crate::journal::StepState;
use crate::plan::{Phase, Plan, Step, Target};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose.
    pub target: Target,
    /// The parts of the story that happen there, in order.
    pub cells: Vec<Cell>,
    /// What happens now.
    pub now: Now,
}

/// One part of the story at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Which.
    pub phase: Phase,
    /// How far it is.
    pub state: CellState,
    /// For how long it ran; `None` before it began.
    pub took: Option<Duration>,
}

/// How far one part of the story is at one place, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CellState {
    /// A step of it failed.
    Failed,
    /// A step of it was cut off.
    InDoubt,
    /// A step of it runs.
    Running,
    /// Some of it is done, nothing runs.
    Begun,
    /// Nothing of it began.
    Waiting,
    /// All of it is done.
    Done,
}

/// What happens at one place now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Now {
    /// A step failed there.
    Failed {
        /// Which.
        step: StepId,
        /// Its error's first line.
        error: String,
    },
    /// A step was cut off there; whether it was done is not known.
    InDoubt {
        /// Which.
        step: StepId,
    },
    /// A step runs there.
    Doing {
        /// Which.
        step: StepId,
        /// What it says, or its verb before it says anything.
        text: String,
        /// For how long it says so.
        since: Duration,
    },
    /// Something else has to end first.
    WaitsFor {
        /// What, such as `start of cp2, cp3`.
        what: String,
    },
    /// It may begin any moment.
    Next {
        /// The step that comes.
        step: StepId,
    },
    /// All is done there.
    Done,
}

impl Run {
    /// One line per host in the order of the spec, then the cluster, then this machine.
    pub fn rows(&self, now: Timestamp) -> Vec<Row> {
        let plan = self.plan();
        let hosts = plan.spec.hosts.iter().map(|host| Target::Host(host.name.clone()));
        hosts
            .chain([Target::Cluster, Target::Here])
            .filter(|target| plan.steps.iter().any(|step| &step.target == target))
            .map(|target| Row { cells: self.cells(&target, now), now: self.now(&target, now), target })
            .collect()
    }

    fn cells(&self, target: &Target, now: Timestamp) -> Vec<Cell> {
        let plan = self.plan();
        let mut cells: Vec<Cell> = Vec::new();
        for phase in phases(plan, target) {
            let steps: Vec<&Step> =
                plan.steps.iter().filter(|step| &step.target == target && phase_of(plan, step) == phase).collect();
            let done = steps.iter().filter(|step| self.is_done(&step.id)).count();
            let worst = steps.iter().map(|step| self.step_state(&step.id)).min().unwrap_or(CellState::Waiting);
            let state = match worst {
                CellState::Waiting if done > 0 => CellState::Begun,
                worst => worst,
            };
            cells.push(Cell { phase, state, took: self.covered(&steps, now) });
        }
        cells
    }

    /// How far one step is.
    pub fn step_state(&self, step: &StepId) -> CellState {
        match self.status().steps.get(step) {
            Some(StepState::Succeeded) => CellState::Done,
            Some(StepState::Failed { .. }) => CellState::Failed,
            Some(StepState::Started { .. }) if self.running_since(step).is_some() => CellState::Running,
            Some(StepState::Started { .. }) => CellState::InDoubt,
            Some(StepState::Waiting) | None => CellState::Waiting,
        }
    }

    fn now(&self, target: &Target, now: Timestamp) -> Now {
        let open: Vec<&Step> =
            self.plan().steps.iter().filter(|step| &step.target == target && !self.is_done(&step.id)).collect();
        let in_state = |state| open.iter().find(|step| self.step_state(&step.id) == state);
        if let Some(step) = in_state(CellState::Failed) {
            let error = match self.status().steps.get(&step.id) {
                Some(StepState::Failed { error, .. }) => error.lines().next().unwrap_or_default().to_owned(),
                _ => String::new(),
            };
            return Now::Failed { step: step.id.clone(), error };
        }
        if let Some(step) = in_state(CellState::Running) {
            return self.activity(step, now);
        }
        if let Some(step) = in_state(CellState::InDoubt) {
            return Now::InDoubt { step: step.id.clone() };
        }
        let Some(next) = open.first() else { return Now::Done };
        let what = self.awaited(next);
        if what.is_empty() { Now::Next { step: next.id.clone() } } else { Now::WaitsFor { what } }
    }

    fn activity(&self, step: &Step, now: Timestamp) -> Now {
        let began = self.running_since(&step.id).unwrap_or(now);
        let (text, since) = match self.doing(&step.id) {
            Some(doing) => (doing.text.clone(), doing.since),
            None => (step.kind.verb().to_owned(), began),
        };
        Now::Doing { step: step.id.clone(), text, since: between(since, now) }
    }

    /// What a step still waits for: parts of the story, with places where only some of a part is missing.
    fn awaited(&self, waiting: &Step) -> String {
        let plan = self.plan();
        let missing: Vec<&Step> =
            waiting.after.iter().filter(|id| !self.is_done(id)).filter_map(|id| plan.step(id)).collect();
        let mut phases: Vec<Phase> = missing.iter().map(|step| phase_of(plan, step)).collect();
        phases.sort();
        phases.dedup();
        let parts = phases.into_iter().map(|phase| {
            let part = |step: &&Step| phase_of(plan, step) == phase && step.target != waiting.target;
            let places: BTreeSet<&Target> = missing.iter().copied().filter(part).map(|step| &step.target).collect();
            let all: BTreeSet<&Target> = plan.steps.iter().filter(part).map(|step| &step.target).collect();
            let names: Vec<String> = places.iter().map(ToString::to_string).collect();
            if places == all { phase.to_string() } else { format!("{phase} of {}", names.join(", ")) }
        });
        parts.collect::<Vec<_>>().join("; ")
    }
}

fn phases(plan: &Plan, target: &Target) -> Vec<Phase> {
    let mut phases: Vec<Phase> =
        plan.steps.iter().filter(|step| &step.target == target).map(|step| phase_of(plan, step)).collect();
    phases.sort();
    phases.dedup();
    phases
}
