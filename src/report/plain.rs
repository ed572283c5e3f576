//! A run for logs and pipes: one line per event that matters, with the time since the beginning, no control codes.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kubewright_core::ids::StepId;
use kubewright_core::journal::Event;
use kubewright_core::plan::{Step, Target};
use kubewright_core::progress::{News, Progress};
use kubewright_core::summary::{Outline, Run, Standing, count};

use super::Reporter;
use super::quantity::{clock, whole};
use super::sink::Sink;
use super::text::{clean, pad};

/// A step that says the same but for numbers is heard again after so long: often enough to see that it moves, and for
/// CI systems that end a job without output (the strictest after ten minutes).
const REPEAT: Duration = Duration::from_secs(30);

/// Reports to a log or pipe.
pub struct Plain {
    inner: Mutex<Inner>,
}

struct Inner {
    run: Run,
    sink: Sink,
    began: Option<Timestamp>,
    /// What each running step last said here, numbers left out, and when.
    said: BTreeMap<StepId, (String, Timestamp)>,
}

impl Plain {
    /// A report of a run into a sink.
    pub(super) fn new(run: Run, sink: Sink) -> Self {
        Self { inner: Mutex::new(Inner { run, sink, began: None, said: BTreeMap::new() }) }
    }
}

impl Reporter for Plain {
    fn event(&self, progress: &Progress) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.event(progress);
    }

    fn close(&self) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).sink.flush();
    }
}

impl Inner {
    fn event(&mut self, progress: &Progress) {
        let at = progress.at;
        if self.began.is_none() {
            self.began = Some(at);
            let outline = Outline::of(self.run.plan());
            let steps = count(outline.steps, "step");
            let text = format!("{}: {}, {steps}, operation {}", outline.cluster, outline.headline, outline.operation);
            self.line(at, &text);
        }
        self.run.observe(progress);
        match &progress.news {
            News::Recorded { record } => self.recorded(record, at),
            News::Doing { step, text } => self.doing(step, &clean(text), at),
            // The plan was shown, with them.
            News::Found { .. } => {}
            News::Note { text } => self.line(at, &format!("note: {}", clean(text))),
            News::Stopping { steps } => {
                let names: Vec<&str> = steps.iter().map(StepId::as_str).collect();
                let text = if names.is_empty() {
                    "stopping".to_owned()
                } else {
                    format!("finishing {}, then stopping; press Ctrl-C again to stop waiting", names.join(", "))
                };
                self.line(at, &text);
            }
        }
    }

    fn recorded(&mut self, event: &Event, at: Timestamp) {
        match event {
            Event::Accepted { .. } | Event::Paused { .. } => {}
            Event::TakenUp { by, .. } => {
                let done = self.run.status().done();
                if done > 0 {
                    let steps = self.run.plan().steps.len();
                    self.line(at, &format!("resumed by {}, {done} of {steps} steps done", clean(by)));
                }
            }
            Event::StepStarted { step, attempt } => {
                let again = if *attempt > 1 { format!(", try {attempt}") } else { String::new() };
                self.step(step, at, &format!("started{again}"));
            }
            Event::StepSucceeded { step, .. } => {
                let took = self.run.took(step, at).unwrap_or_default();
                let (done, steps) = (self.run.status().done(), self.run.plan().steps.len());
                self.step(step, at, &format!("done in {} ({done} of {steps})", whole(took)));
            }
            Event::StepFoundDone { step } => self.step(step, at, "was done already"),
            Event::StepFailed { step, error, .. } => {
                let first = error.lines().next().unwrap_or_default();
                self.step(step, at, &format!("failed: {}", clean(first)));
            }
            Event::GuardFailed { step, why } => {
                self.step(step, at, &format!("not begun, reality moved since the plan: {}", clean(why)));
            }
            Event::Finished => {
                debug_assert_eq!(self.run.standing(), Standing::Finished);
                self.line(at, &format!("finished in {}", whole(self.run.elapsed(at))));
            }
            Event::Abandoned { by } => self.line(at, &format!("abandoned by {}", clean(by))),
        }
    }

    /// Says what a step does, unless it said the same but for numbers a moment ago.
    fn doing(&mut self, step: &StepId, text: &str, at: Timestamp) {
        let words: String = text.chars().filter(|char| !char.is_ascii_digit()).collect();
        let fresh = self.said.get(step).is_none_or(|(before, when)| {
            *before != words || Duration::try_from(at.duration_since(*when)).unwrap_or_default() >= REPEAT
        });
        if fresh {
            self.said.insert(step.clone(), (words, at));
            self.step(step, at, text);
        }
    }

    fn step(&mut self, id: &StepId, at: Timestamp, text: &str) {
        let widest = self.run.plan().steps.iter().map(|step| step.target.to_string().len()).max().unwrap_or_default();
        let (target, verb) = match self.run.plan().step(id) {
            Some(Step { target, kind, .. }) => (target.clone(), kind.verb()),
            None => (Target::Here, id.as_str()),
        };
        let line = format!("{}  {}  {text}", pad(&target.to_string(), widest), pad(verb, 13));
        self.line(at, &line);
    }

    fn line(&mut self, at: Timestamp, text: &str) {
        let since = self.began.map(|began| Duration::try_from(at.duration_since(began)).unwrap_or_default());
        self.sink.line(&format!("{}  {text}", clock(since.unwrap_or_default())));
    }
}
