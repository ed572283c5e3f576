//! The loop: what may begin now begins, behind guard and journal; what ends is recorded; what breaks ends the run
//! in good order. It improvises nothing.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kubewright_core::ids::StepId;
use kubewright_core::journal::{self, Event, StepState};
use kubewright_core::plan::{Plan, Probe, Step};
use kubewright_core::progress::{FORMAT, News, Progress};

use super::cancel::Cancel;
use super::{Breakage, Broken, Effects, Failure, Verdict};
use crate::ports::Clock;
use crate::report::Reporter;
use crate::store::{Journal, JournalError};

/// Guards read facts: one script of well under a second, after at most one new login.
const GUARDS: Duration = Duration::from_secs(60);

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Every step is done.
    Finished,
    /// The user asked to stop and every running step was ended first.
    Stopped,
    /// The user asked twice: these steps may still run on their hosts.
    Abandoned {
        /// In doubt until resumed.
        running: Vec<StepId>,
    },
    /// Steps broke; the others that were running have ended.
    Broken(Vec<Broken>),
    /// Everything that may begin was to be held back; nothing runs.
    Held {
        /// These would begin next.
        steps: Vec<StepId>,
    },
}

/// One run of one plan.
pub struct Run<'a> {
    plan: &'a Plan,
    journal: Mutex<Journal>,
    effects: &'a dyn Effects,
    reporter: &'a dyn Reporter,
    clock: &'a dyn Clock,
    told: Mutex<u64>,
}

impl<'a> Run<'a> {
    /// A run that goes on where the journal stands.
    pub fn new(
        plan: &'a Plan,
        journal: Journal,
        effects: &'a dyn Effects,
        reporter: &'a dyn Reporter,
        clock: &'a dyn Clock,
    ) -> Self {
        Self { plan, journal: Mutex::new(journal), effects, reporter, clock, told: Mutex::new(0) }
    }

    /// Runs to an end.
    ///
    /// # Errors
    /// [`JournalError`] where the journal cannot be written: the run ends at once, as after a crash.
    pub async fn drive(&self, cancel: &Cancel) -> Result<End, JournalError> {
        self.drive_up_to(&BTreeSet::new(), cancel).await
    }

    /// The same up to steps that are not to begin yet: what does not wait for one of them is done first.
    ///
    /// # Errors
    /// As [`Run::drive`].
    pub async fn drive_up_to(&self, held: &BTreeSet<StepId>, cancel: &Cancel) -> Result<End, JournalError> {
        let mut running: FuturesUnordered<_> = FuturesUnordered::new();
        let mut names: BTreeSet<StepId> = BTreeSet::new();
        let mut broken: Vec<Broken> = Vec::new();
        let mut told_stopping = false;
        loop {
            if broken.is_empty() && !cancel.is_stopping() {
                for step in self.startable(&names).into_iter().filter(|step| !held.contains(&step.id)) {
                    names.insert(step.id.clone());
                    running.push(async move { (step, self.one(step).await) });
                }
            } else if cancel.is_stopping() && !told_stopping {
                told_stopping = true;
                self.tell(News::Stopping { steps: names.iter().cloned().collect() });
            }
            if names.is_empty() {
                break;
            }
            tokio::select! {
                biased;
                Some((step, outcome)) = running.next() => {
                    names.remove(&step.id);
                    match outcome {
                        Ok(()) => {}
                        Err(Stop::Broken(what)) => broken.push(Broken { step: step.id.clone(), what }),
                        Err(Stop::Journal(error)) => return Err(error),
                    }
                }
                () = cancel.stopping(), if !told_stopping => {}
                () = cancel.abandoned() => {
                    return Ok(End::Abandoned { running: names.into_iter().collect() });
                }
            }
        }
        let next: Vec<StepId> = self.startable(&names).into_iter().map(|step| step.id.clone()).collect();
        if broken.is_empty() && !cancel.is_stopping() && !next.is_empty() && next.iter().all(|id| held.contains(id)) {
            return Ok(End::Held { steps: next });
        }
        self.end(broken)
    }

    fn end(&self, broken: Vec<Broken>) -> Result<End, JournalError> {
        if !broken.is_empty() {
            let why = broken.iter().map(|broken| broken.step.as_str()).collect::<Vec<_>>().join(", ");
            self.record(Event::Paused { why: format!("{why} did not succeed") })?;
            return Ok(End::Broken(broken));
        }
        if self.journal().status().done() < self.plan.steps.len() {
            self.record(Event::Paused { why: "stopped by the user".into() })?;
            return Ok(End::Stopped);
        }
        if !self.journal().status().finished {
            self.record(Event::Finished)?;
        }
        Ok(End::Finished)
    }

    fn startable(&self, running: &BTreeSet<StepId>) -> Vec<&'a Step> {
        journal::ready(self.plan, self.journal().status(), running)
    }

    /// One step: probe where in doubt, guards, started on disk, effect, succeeded on disk.
    async fn one(&self, step: &Step) -> Result<(), Stop> {
        let attempt = match self.journal().status().steps.get(&step.id) {
            Some(StepState::Started { attempt } | StepState::Failed { attempt, .. }) => Some(*attempt),
            _ => None,
        };
        let mut telling = |text: &str| self.tell(News::Doing { step: step.id.clone(), text: text.to_owned() });
        let deadline = Duration::from_secs(step.deadline_seconds.into());
        if let Some(attempt) = attempt
            && step.probe != Probe::Repeatable
        {
            let probe = self.effects.probe(step, attempt, &mut telling);
            match within(deadline, probe).await {
                Ok(Verdict::Done) => return Ok(self.record(Event::StepFoundDone { step: step.id.clone() })?),
                Ok(Verdict::NotDone) => {}
                Ok(Verdict::Unknown(why)) => return Err(Stop::Broken(Breakage::InDoubt(why))),
                Err(failure) => return Err(Stop::Broken(Breakage::Failed(failure))),
            }
        }
        match within(GUARDS, self.effects.guards(&step.guards, attempt.is_some())).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => {
                self.record(Event::GuardFailed { step: step.id.clone(), why: why.clone() })?;
                return Err(Stop::Broken(Breakage::Guard(why)));
            }
            Err(failure) => return Err(Stop::Broken(Breakage::Failed(failure))),
        }
        let attempt = attempt.unwrap_or(0) + 1;
        self.record(Event::StepStarted { step: step.id.clone(), attempt })?;
        let outcome = within(deadline, self.effects.perform(step, attempt, &mut telling)).await;
        match outcome {
            Ok(()) => Ok(self.record(Event::StepSucceeded { step: step.id.clone(), attempt })?),
            Err(failure) => {
                self.record(Event::StepFailed { step: step.id.clone(), attempt, error: failure.text.clone() })?;
                Err(Stop::Broken(Breakage::Failed(failure)))
            }
        }
    }

    /// Writes down who goes on with it, and that its plan was accepted where nobody did before.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn take_up(&self, by: &str, fence: u64) -> Result<(), JournalError> {
        let (accepted, plan_digest) = {
            let journal = self.journal();
            (journal.status().accepted, journal.plan_digest().to_owned())
        };
        if !accepted {
            let operation = self.plan.operation.clone();
            self.record(Event::Accepted { operation, plan_digest, by: by.to_owned() })?;
        }
        self.record(Event::TakenUp { by: by.to_owned(), fence })
    }

    /// Records an event, tells the mirror and the reader.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn record(&self, event: Event) -> Result<(), JournalError> {
        {
            let mut journal = self.journal();
            journal.record(self.clock.now(), &event)?;
            self.effects.recorded(journal.bytes());
        }
        self.tell(News::Recorded { record: event });
        Ok(())
    }

    /// Tells the reader something.
    pub fn tell(&self, news: News) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let progress = Progress { v: FORMAT, seq: *told, at: self.clock.now(), op: self.plan.operation.clone(), news };
        *told += 1;
        self.reporter.event(&progress);
    }

    /// Its journal, for whoever goes on.
    pub fn into_journal(self) -> Journal {
        self.journal.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Steps that were begun and have not ended.
    pub fn running(&self) -> Vec<StepId> {
        let started = |state: &StepState| matches!(state, StepState::Started { .. });
        self.journal().status().steps.iter().filter(|(_, state)| started(state)).map(|(id, _)| id.clone()).collect()
    }

    /// The journal as it stands.
    pub fn journal(&self) -> MutexGuard<'_, Journal> {
        // A panic while holding it cannot leave half an event: an event is complete or the run is over.
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that was not answered in time is a failure like any other.
async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(limit, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Failure::new(format!("no end within {} s", limit.as_secs()))),
    }
}

/// Why one step's future ended without success.
enum Stop {
    Broken(Breakage),
    Journal(JournalError),
}

impl From<JournalError> for Stop {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}
