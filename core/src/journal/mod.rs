//! The journal's language: which events a run may record, in which order, and what they add up to.
//!
//! A journal is append-only JSON lines. `stepStarted` is on disk before the effect, `stepSucceeded` before the next
//! step: so after a crash a step is either done, not begun, or *in doubt*, and only those in doubt need a probe.

mod abandon;
mod reconcile;
mod text;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{OperationId, StepId};
use crate::plan::Plan;

pub use abandon::{HalfOut, Remains, remains};
pub use reconcile::{Best, Doubt, Told, best};
pub use text::{ReadError, Reading, read, write};

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// 0, 1, 2, … without gaps.
    pub seq: u64,
    /// When it was written, by the operator's clock.
    pub at: Timestamp,
    /// First 16 hex digits of the SHA-256 of the line before: an edited or missing line is seen.
    pub previous: String,
    /// What happened.
    pub event: Event,
}

/// What may happen to a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Event {
    /// First of all: which plan this journal belongs to.
    #[serde(rename_all = "camelCase")]
    Accepted {
        /// The operation.
        operation: OperationId,
        /// SHA-256 of the plan's file in hex.
        plan_digest: String,
        /// user@machine.
        by: String,
    },
    /// A process took the run up: the first one, or another after a stop.
    #[serde(rename_all = "camelCase")]
    TakenUp {
        /// user@machine.
        by: String,
        /// Its fence number, higher than any before.
        fence: u64,
    },
    /// The effect may begin now.
    StepStarted {
        /// Which.
        step: StepId,
        /// 1 for the first try.
        attempt: u32,
    },
    /// The effect is done.
    StepSucceeded {
        /// Which.
        step: StepId,
        /// The try that did it.
        attempt: u32,
    },
    /// The effect failed; what it left behind is in doubt.
    StepFailed {
        /// Which.
        step: StepId,
        /// The try that failed.
        attempt: u32,
        /// Why, for people.
        error: String,
    },
    /// A step in doubt was asked for and found done.
    StepFoundDone {
        /// Which.
        step: StepId,
    },
    /// A guard did not hold: nothing was done, a new plan is needed.
    GuardFailed {
        /// Of which step.
        step: StepId,
        /// Why.
        why: String,
    },
    /// The run stopped in good order and can be resumed.
    Paused {
        /// Why.
        why: String,
    },
    /// Every step has succeeded.
    Finished,
    /// Somebody gave the run up for good: it can neither be resumed nor undone from here.
    Abandoned {
        /// user@machine.
        by: String,
    },
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase")]
pub enum StepState {
    /// Never begun.
    Waiting,
    /// Begun, end unknown: running, or in doubt after a crash.
    Started {
        /// Which try.
        attempt: u32,
    },
    /// Done.
    Succeeded,
    /// Begun and failed.
    Failed {
        /// Which try.
        attempt: u32,
        /// Why.
        error: String,
    },
}

/// What a journal adds up to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// By step, every step of the plan.
    pub steps: BTreeMap<StepId, StepState>,
    /// Whether the plan was accepted.
    pub accepted: bool,
    /// Whether everything is done.
    pub finished: bool,
    /// Who gave it up for good, if somebody did.
    #[serde(default)]
    pub abandoned: Option<String>,
    /// Why it paused, if that was the last word.
    pub paused: Option<String>,
    /// Highest fence number recorded.
    pub fence: u64,
}

/// An event that cannot follow what was recorded before it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} cannot be: {why}")]
pub struct Illegal {
    /// Which record.
    pub seq: u64,
    /// Why it cannot be.
    pub why: String,
}

impl Status {
    /// Before the first record.
    pub fn new(plan: &Plan) -> Self {
        Self {
            steps: plan.steps.iter().map(|step| (step.id.clone(), StepState::Waiting)).collect(),
            accepted: false,
            finished: false,
            abandoned: None,
            paused: None,
            fence: 0,
        }
    }

    /// All records of a journal, one after another. `digest` is [`crate::plan::digest_of`] the plan's file.
    ///
    /// # Errors
    /// [`Illegal`] for the first record that cannot be.
    pub fn fold(plan: &Plan, digest: &str, records: &[Record]) -> Result<Self, Illegal> {
        let mut status = Self::new(plan);
        for record in records {
            if let Event::Accepted { plan_digest, .. } = &record.event
                && plan_digest != digest
            {
                return Err(Illegal {
                    seq: record.seq,
                    why: "it was written for another plan than the one beside it".into(),
                });
            }
            status.apply(&record.event).map_err(|why| Illegal { seq: record.seq, why })?;
        }
        Ok(status)
    }

    /// The transition function: one event more.
    ///
    /// # Errors
    /// Why the event cannot follow; the status is unchanged then.
    pub fn apply(&mut self, event: &Event) -> Result<(), String> {
        if let Event::Accepted { .. } = event {
            return if std::mem::replace(&mut self.accepted, true) {
                Err("a plan is accepted once".into())
            } else {
                Ok(())
            };
        }
        if !self.accepted {
            return Err("the plan was not accepted yet".into());
        }
        if self.finished {
            return Err("the run has finished".into());
        }
        if self.abandoned.is_some() {
            return Err("the run was abandoned".into());
        }
        match event {
            Event::Accepted { .. } => {}
            Event::TakenUp { fence, .. } => {
                if *fence <= self.fence {
                    return Err(format!("fence {fence} is not higher than {}", self.fence));
                }
                self.fence = *fence;
                self.paused = None;
            }
            Event::StepStarted { step, attempt } => {
                let last = match self.state(step)? {
                    StepState::Waiting => 0,
                    StepState::Started { attempt } | StepState::Failed { attempt, .. } => *attempt,
                    StepState::Succeeded => return Err(format!("{step} is done already")),
                };
                if *attempt != last + 1 {
                    return Err(format!("try {attempt} of {step} cannot follow try {last}"));
                }
                self.set(step, StepState::Started { attempt: *attempt });
            }
            Event::StepSucceeded { step, attempt } => {
                self.running(step, *attempt)?;
                self.set(step, StepState::Succeeded);
            }
            Event::StepFailed { step, attempt, error } => {
                self.running(step, *attempt)?;
                self.set(step, StepState::Failed { attempt: *attempt, error: error.clone() });
            }
            Event::StepFoundDone { step } => match self.state(step)? {
                StepState::Started { .. } | StepState::Failed { .. } => self.set(step, StepState::Succeeded),
                StepState::Waiting => return Err(format!("{step} was never begun")),
                StepState::Succeeded => return Err(format!("{step} is done already")),
            },
            Event::GuardFailed { step, .. } => {
                self.state(step)?;
            }
            Event::Paused { why } => self.paused = Some(why.clone()),
            Event::Finished => {
                if let Some((step, _)) = self.steps.iter().find(|(_, state)| **state != StepState::Succeeded) {
                    return Err(format!("{step} is not done"));
                }
                self.finished = true;
            }
            Event::Abandoned { by } => self.abandoned = Some(by.clone()),
        }
        Ok(())
    }

    fn state(&self, step: &StepId) -> Result<&StepState, String> {
        self.steps.get(step).ok_or_else(|| format!("the plan has no step {step}"))
    }

    fn running(&self, step: &StepId, attempt: u32) -> Result<(), String> {
        match self.state(step)? {
            StepState::Started { attempt: running } if *running == attempt => Ok(()),
            _ => Err(format!("try {attempt} of {step} is not running")),
        }
    }

    fn set(&mut self, step: &StepId, state: StepState) {
        self.steps.insert(step.clone(), state);
    }

    /// Whether there is nothing left to go on with.
    pub fn is_over(&self) -> bool {
        self.finished || self.abandoned.is_some()
    }

    /// How many steps are done.
    pub fn done(&self) -> usize {
        self.steps.values().filter(|state| **state == StepState::Succeeded).count()
    }
}

/// Steps that may begin now: never begun, failed or in doubt, not in `running`, and everything they wait for done.
/// Nothing begins once the run has finished or was abandoned.
pub fn ready<'p>(
    plan: &'p Plan,
    status: &Status,
    running: &std::collections::BTreeSet<StepId>,
) -> Vec<&'p crate::plan::Step> {
    if status.is_over() {
        return Vec::new();
    }
    let done = |id: &StepId| status.steps.get(id) == Some(&StepState::Succeeded);
    plan.steps
        .iter()
        .filter(|step| !done(&step.id) && !running.contains(&step.id) && step.after.iter().all(done))
        .collect()
}
