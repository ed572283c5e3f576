//! A run as it unfolds: what the journal's events add up to, with their times and what each step says it does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::estimate::{longest, remaining, typical};
use crate::ids::{HostName, StepId};
use crate::journal::{Event, Illegal, Record, Status, StepState};
use crate::plan::{Plan, Step, StepKind, Target};
use crate::progress::{News, Progress};

/// One run of one plan, as far as it was told.
#[derive(Clone, Debug)]
pub struct Run {
    plan: Plan,
    status: Status,
    /// Every try of every step, in order.
    tries: BTreeMap<StepId, Vec<Span>>,
    /// Periods in which a process worked on it.
    working: Vec<Span>,
    /// What running steps say.
    doing: BTreeMap<StepId, Doing>,
    /// Guards that did not hold since the last resume.
    guards: BTreeMap<StepId, String>,
    stopping: bool,
    by: Option<String>,
    last: Option<Timestamp>,
}

/// From when to when; open while it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub began: Timestamp,
    pub ended: Option<Timestamp>,
}

/// What a step says it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doing {
    pub text: String,
    /// Since when it says the same but for numbers.
    pub since: Timestamp,
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing has happened.
    Planned,
    /// A process works on it, or did when it was last heard of.
    Running,
    /// It stopped in good order.
    Paused {
        /// Why.
        why: String,
    },
    /// A guard did not hold: reality moved since the plan.
    Moved {
        /// Whose guard.
        step: StepId,
        /// Why it did not hold.
        why: String,
    },
    /// It stopped because a step failed.
    Failed {
        /// The first that failed, in the order of the plan.
        step: StepId,
        /// Why.
        error: String,
    },
    /// It was cut off while a step ran; whether that step was done is asked when it is resumed.
    InDoubt {
        /// Which.
        steps: Vec<StepId>,
    },
    /// Everything is done.
    Finished,
    /// Somebody gave it up for good.
    Abandoned {
        /// user@machine.
        by: String,
    },
}

impl Span {
    fn until(&self, now: Timestamp) -> Duration {
        between(self.began, self.ended.unwrap_or(now))
    }
}

/// From one time to another; nothing where the operator's clock was set back meanwhile.
pub(super) fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}

/// Whether two texts differ in nothing but numbers: `pulling 61 %` says the same as `pulling 62 %`.
pub(super) fn same_but_numbers(one: &str, other: &str) -> bool {
    let words = |text: &str| text.chars().filter(|char| !char.is_ascii_digit()).collect::<String>();
    words(one) == words(other)
}

impl Run {
    /// Before anything has happened.
    pub fn new(plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
            status: Status::new(plan),
            tries: BTreeMap::new(),
            working: Vec::new(),
            doing: BTreeMap::new(),
            guards: BTreeMap::new(),
            stopping: false,
            by: None,
            last: None,
        }
    }

    /// What a journal tells; `digest` is that of the plan's file ([`crate::plan::digest_of`]). Whether somebody still works on it the journal cannot say; see [`Run::interrupted`].
    ///
    /// # Errors
    /// [`Illegal`] for the first record that cannot be.
    pub fn replay(plan: &Plan, digest: &str, records: &[Record]) -> Result<Self, Illegal> {
        let status = Status::fold(plan, digest, records)?;
        let mut run = Self::new(plan);
        for record in records {
            run.time(&record.event, record.at);
        }
        run.status = status;
        Ok(run)
    }

    /// The same, known to be nobody's work any more: what ran is in doubt.
    #[must_use]
    pub fn interrupted(mut self) -> Self {
        self.cut_off();
        self
    }

    /// Takes in one event. Never fails: a display that missed the beginning (a run resumed, say) shows what it knows.
    pub fn observe(&mut self, progress: &Progress) {
        match &progress.news {
            News::Recorded { record } => {
                if self.status.apply(record).is_err() {
                    self.believe(record);
                }
                self.time(record, progress.at);
            }
            News::Doing { step, text } => {
                let since = match self.doing.get(step) {
                    Some(doing) if same_but_numbers(&doing.text, text) => doing.since,
                    _ => progress.at,
                };
                self.doing.insert(step.clone(), Doing { text: text.clone(), since });
            }
            News::Note { .. } | News::Found { .. } => {}
            News::Stopping { .. } => self.stopping = true,
        }
        self.last = Some(progress.at);
    }

    /// An event that cannot follow what we know, taken as it is.
    fn believe(&mut self, event: &Event) {
        self.status.accepted = true;
        let known = |id: &StepId| self.status.steps.contains_key(id);
        match event {
            Event::StepStarted { step, attempt } if known(step) => {
                self.status.steps.insert(step.clone(), StepState::Started { attempt: *attempt });
            }
            Event::StepSucceeded { step, .. } | Event::StepFoundDone { step } if known(step) => {
                self.status.steps.insert(step.clone(), StepState::Succeeded);
            }
            Event::StepFailed { step, attempt, error } if known(step) => {
                self.status.steps.insert(step.clone(), StepState::Failed { attempt: *attempt, error: error.clone() });
            }
            Event::TakenUp { fence, .. } => {
                self.status.fence = *fence;
                self.status.paused = None;
            }
            Event::Paused { why } => self.status.paused = Some(why.clone()),
            Event::Finished => self.status.finished = true,
            Event::Abandoned { by } => self.status.abandoned = Some(by.clone()),
            _ => {}
        }
    }

    fn time(&mut self, event: &Event, at: Timestamp) {
        if let Event::TakenUp { .. } = event {
            self.cut_off();
            self.stopping = false;
            self.guards.clear();
        }
        if self.working.last().is_none_or(|span| span.ended.is_some()) {
            self.working.push(Span { began: at, ended: None });
        }
        match event {
            Event::Accepted { by, .. } | Event::TakenUp { by, .. } => self.by = Some(by.clone()),
            Event::StepStarted { step, .. } => {
                self.doing.remove(step);
                self.tries.entry(step.clone()).or_default().push(Span { began: at, ended: None });
            }
            Event::StepSucceeded { step, .. } | Event::StepFailed { step, .. } => self.end_try(step, at),
            Event::StepFoundDone { step } => self.end_try(step, at),
            Event::GuardFailed { step, why } => {
                self.guards.insert(step.clone(), why.clone());
            }
            Event::Paused { .. } | Event::Finished | Event::Abandoned { .. } => {
                if let Some(span) = self.working.last_mut() {
                    span.ended = Some(at);
                }
            }
        }
        self.last = Some(at);
    }

    fn end_try(&mut self, step: &StepId, at: Timestamp) {
        self.doing.remove(step);
        if let Some(span) = self.tries.get_mut(step).and_then(|spans| spans.last_mut())
            && span.ended.is_none()
        {
            span.ended = Some(at);
        }
    }

    /// Whoever worked on it is gone: what was open ended when it was last heard of.
    fn cut_off(&mut self) {
        let last = self.last;
        for span in self.working.iter_mut().chain(self.tries.values_mut().flatten()) {
            if span.ended.is_none() {
                span.ended = Some(last.unwrap_or(span.began));
            }
        }
        self.doing.clear();
    }

    /// Its plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What its events add up to.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Who last took it up, as user@machine.
    pub fn by(&self) -> Option<&str> {
        self.by.as_deref()
    }

    /// When it began.
    pub fn started(&self) -> Option<Timestamp> {
        self.working.first().map(|span| span.began)
    }

    /// When it was last heard of.
    pub fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// Whether the user asked it to stop.
    pub fn is_stopping(&self) -> bool {
        self.stopping
    }

    /// For how long it was worked on; the time between a stop and a resume is left out.
    pub fn elapsed(&self, now: Timestamp) -> Duration {
        self.working.iter().map(|span| span.until(now)).sum()
    }

    /// How much longer it usually takes; `None` where nobody works on it.
    pub fn left(&self, now: Timestamp) -> Option<Duration> {
        if !self.is_worked_on() {
            return None;
        }
        Some(longest(&self.plan, |step| match self.status.steps.get(&step.id) {
            Some(StepState::Succeeded) => Duration::ZERO,
            _ => self
                .running_since(&step.id)
                .map_or(typical(&step.kind), |since| remaining(&step.kind, between(since, now))),
        }))
    }

    fn is_worked_on(&self) -> bool {
        self.working.last().is_some_and(|span| span.ended.is_none())
    }

    /// Steps that run right now, in the order of the plan.
    pub fn running(&self) -> impl Iterator<Item = &Step> {
        self.plan.steps.iter().filter(|step| self.running_since(&step.id).is_some())
    }

    /// Since when the step runs, if it does.
    pub(super) fn running_since(&self, step: &StepId) -> Option<Timestamp> {
        self.tries(step).last().filter(|span| span.ended.is_none()).map(|span| span.began)
    }

    /// Every try of a step.
    pub(super) fn tries(&self, step: &StepId) -> &[Span] {
        self.tries.get(step).map(Vec::as_slice).unwrap_or_default()
    }

    /// What a running step says.
    pub(super) fn doing(&self, step: &StepId) -> Option<&Doing> {
        self.doing.get(step)
    }

    /// How long the step took in all its tries; `None` for one that never began.
    pub fn took(&self, step: &StepId, now: Timestamp) -> Option<Duration> {
        let tries = self.tries(step);
        if tries.is_empty() { None } else { Some(tries.iter().map(|span| span.until(now)).sum()) }
    }

    /// Steps that began and of which nobody knows whether they were done.
    pub fn in_doubt(&self) -> Vec<StepId> {
        let doubtful = |step: &&Step| {
            matches!(self.status.steps.get(&step.id), Some(StepState::Started { .. }))
                && self.running_since(&step.id).is_none()
        };
        self.plan.steps.iter().filter(doubtful).map(|step| step.id.clone()).collect()
    }

    /// Whether the step is done.
    pub fn is_done(&self, step: &StepId) -> bool {
        self.status.steps.get(step) == Some(&StepState::Succeeded)
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        if self.status.finished {
            return Standing::Finished;
        }
        if let Some(by) = &self.status.abandoned {
            return Standing::Abandoned { by: by.clone() };
        }
        if !self.status.accepted && self.working.is_empty() {
            return Standing::Planned;
        }
        if self.is_worked_on() {
            return Standing::Running;
        }
        if let Some((step, why)) = self.guards.iter().next() {
            return Standing::Moved { step: step.clone(), why: why.clone() };
        }
        let failed = self.plan.steps.iter().find_map(|step| match self.status.steps.get(&step.id) {
            Some(StepState::Failed { error, .. }) => Some((step.id.clone(), error.clone())),
            _ => None,
        });
        let steps = self.in_doubt();
        match (failed, steps.is_empty()) {
            (Some((step, error)), _) => Standing::Failed { step, error },
            (None, false) => Standing::InDoubt { steps },
            (None, true) => {
                Standing::Paused { why: self.status.paused.clone().unwrap_or_else(|| "its process ended".to_owned()) }
            }
        }
    }

    /// The command that goes on from here; `None` while it runs.
    pub fn next_command(&self) -> Option<String> {
        match self.standing() {
            Standing::Running => None,
            Standing::Planned => Some("kubewright apply".to_owned()),
            // Its plan no longer fits, and a new one needs this run out of the way.
            Standing::Moved { .. } => Some(format!("kubewright ops abandon {}", self.plan.operation)),
            Standing::Finished => Some("kubewright status".to_owned()),
            Standing::Abandoned { .. } => Some("kubewright plan".to_owned()),
            Standing::Paused { .. } | Standing::Failed { .. } | Standing::InDoubt { .. } => {
                Some(format!("kubewright ops resume {}", self.plan.operation))
            }
        }
    }

    /// Hosts on which steps of this sort are done.
    pub(super) fn hosts_with(&self, wanted: impl Fn(&StepKind) -> bool) -> BTreeSet<HostName> {
        let done = self.plan.steps.iter().filter(|step| wanted(&step.kind) && self.is_done(&step.id));
        done.filter_map(|step| match &step.target {
            Target::Host(host) => Some(host.clone()),
            _ => None,
        })
        .collect()
    }
}
