//! Runs a plan. [`driver`] decides nothing but what may begin now; [`hands`] does what a step says, one file per
//! family of steps; [`lock`] makes sure that only one run writes, [`mirror`] that another machine can go on, [`session`] holds these together, and
//! [`recover`] finds what there is to go on with.

pub mod abandon;
pub mod cancel;
pub mod drain;
pub mod driver;
mod files;
pub mod hands;
mod keys;
pub mod lock;
mod maintain;
pub mod members;
pub mod mirror;
pub mod objects;
mod prepare;
mod reboot;
pub mod recover;
pub mod reset;
mod restore;
pub mod schedule;
pub mod session;
mod settle;
mod start;
mod swap;
pub mod upkeep;

use async_trait::async_trait;
use kubewright_core::guard::Guard;
use kubewright_core::ids::StepId;
use kubewright_core::plan::Step;

/// Answer of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The step's effect is there.
    Done,
    /// It is not, or not whole: doing the step (again) is right.
    NotDone,
    /// Nobody can tell: a person must look.
    Unknown(String),
}

/// Why an effect did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// What failed, with the tool's own last lines.
    pub text: String,
    /// What to do about it, where the failure tells.
    pub hint: Option<String>,
    /// Another run has taken over: nothing more may be tried.
    pub fenced: bool,
    /// Nothing of the step is left behind: there is nothing to go on with or to take back.
    pub undone: bool,
    /// It ended because the user asked to stop.
    pub stopped: bool,
}

impl Failure {
    /// A failure that is nobody's takeover.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hint: None, fenced: false, undone: false, stopped: false }
    }
}

/// Receives what a step does or waits for, in words.
pub type Telling<'a> = &'a mut (dyn FnMut(&str) + Send);

/// What the driver needs of the world: a question before, a question after a crash, and the deed.
#[async_trait]
pub trait Effects: Send + Sync {
    /// Whether all guards of a step hold, on fresh facts; `begun` where it was begun before.
    ///
    /// # Errors
    /// `Ok(Err(why))` for a guard that does not hold; [`Failure`] where the facts cannot be had.
    async fn guards(&self, guards: &[Guard], begun: bool) -> Result<Result<(), String>, Failure>;

    /// Whether a step in doubt was done; `attempt` is the try in doubt. Changes nothing, but waits for what still runs.
    ///
    /// # Errors
    /// [`Failure`] where the question cannot be put.
    async fn probe(&self, step: &Step, attempt: u32, telling: Telling<'_>) -> Result<Verdict, Failure>;

    /// Does it, and returns when it is proved done.
    ///
    /// # Errors
    /// [`Failure`].
    async fn perform(&self, step: &Step, attempt: u32, telling: Telling<'_>) -> Result<(), Failure>;

    /// Called after each record, with the whole journal so far; must not block.
    fn recorded(&self, journal: &[u8]);
}

/// How a run ended that did not finish, step by step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The step.
    pub step: StepId,
    /// What about it.
    pub what: Breakage,
}

/// What stopped a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// It failed; resumable.
    Failed(Failure),
    /// Its guard does not hold: reality moved since the plan.
    Guard(String),
    /// Whether it was done cannot be told.
    InDoubt(String),
}
