//! Collects steps while a planner tells its story, and gives them their ids.

use crate::guard::Guard;
use crate::ids::{HostName, StepId};
use crate::plan::{Probe, Step, StepKind, Target, Undo};

/// The steps so far.
#[derive(Debug, Default)]
pub(super) struct Story {
    steps: Vec<Step>,
}

/// One step while it is being described.
pub(super) struct Draft<'a> {
    story: &'a mut Story,
    step: Step,
}

impl Story {
    /// Something done on one host.
    pub fn on(&mut self, host: &HostName, kind: StepKind) -> Draft<'_> {
        self.draft(Target::Host(host.clone()), kind)
    }

    /// Something done on the operator's machine.
    pub fn here(&mut self, kind: StepKind) -> Draft<'_> {
        self.draft(Target::Here, kind)
    }

    /// Something done through the cluster's API.
    pub fn in_cluster(&mut self, kind: StepKind) -> Draft<'_> {
        self.draft(Target::Cluster, kind)
    }

    fn draft(&mut self, target: Target, kind: StepKind) -> Draft<'_> {
        let id = StepId::new(format!("{:02}-{target}-{}", self.steps.len() + 1, kind.verb()));
        let step = Step {
            id,
            target,
            kind,
            after: Vec::new(),
            guards: Vec::new(),
            probe: Probe::Repeatable,
            undo: Undo::Nothing,
            deadline_seconds: 60,
            why: String::new(),
        };
        Draft { story: self, step }
    }

    /// Whether nothing was told yet.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// All of them, in the order told.
    pub fn steps(self) -> Vec<Step> {
        self.steps
    }
}

impl Draft<'_> {
    pub fn after<'i>(mut self, ids: impl IntoIterator<Item = &'i StepId>) -> Self {
        self.step.after.extend(ids.into_iter().cloned());
        self.step.after.sort();
        self.step.after.dedup();
        self
    }

    pub fn guard(mut self, guard: Guard) -> Self {
        self.step.guards.push(guard);
        self
    }

    pub fn probe(mut self, probe: Probe) -> Self {
        self.step.probe = probe;
        self
    }

    pub fn undo(mut self, undo: Undo) -> Self {
        self.step.undo = undo;
        self
    }

    pub fn within(mut self, seconds: u32) -> Self {
        self.step.deadline_seconds = seconds;
        self
    }

    /// Ends the description with its reason and hands out the step's id.
    pub fn because(mut self, why: impl Into<String>) -> StepId {
        self.step.why = why.into();
        let id = self.step.id.clone();
        self.story.steps.push(self.step);
        id
    }
}
