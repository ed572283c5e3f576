//! Where the time went: how long each part took, and which chain of steps decided the whole.

use std::time::Duration;

use jiff::Timestamp;

use super::outline::phase_of;
use super::run::{Run, between};
use crate::ids::StepId;
use crate::plan::{Phase, Step};

/// How long ago something was: `4 min ago`, `just now`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = Duration::try_from(now.duration_since(then)).unwrap_or_default().as_secs();
    match seconds {
        0..10 => "just now".to_owned(),
        10..MINUTE => format!("{seconds} s ago"),
        MINUTE..HOUR => format!("{} min ago", seconds / MINUTE),
        HOUR..DAY => format!("{} h ago", seconds / HOUR),
        _ => format!("{} d ago", seconds / DAY),
    }
}

/// How long one part of the story took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseTime {
    /// Which.
    pub phase: Phase,
    /// Steps done.
    pub done: usize,
    /// Steps in all.
    pub steps: usize,
    /// From the run's begin to the begin of its first step; `None` before that.
    pub began: Option<Duration>,
    /// Time in which at least one of its steps ran.
    pub took: Duration,
    /// The step of it that took longest.
    pub slowest: Option<StepId>,
}

/// One step of the chain that decided how long the run took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Which.
    pub step: StepId,
    /// Its own time.
    pub took: Duration,
}

impl Run {
    /// How long each part took so far. Parts overlap: hosts load software while keys are made.
    pub fn phases(&self, now: Timestamp) -> Vec<PhaseTime> {
        let plan = self.plan();
        let mut phases: Vec<Phase> = plan.steps.iter().map(|step| phase_of(plan, step)).collect();
        phases.sort();
        phases.dedup();
        phases.into_iter().map(|phase| self.phase_time(phase, now)).collect()
    }

    fn phase_time(&self, phase: Phase, now: Timestamp) -> PhaseTime {
        let plan = self.plan();
        let steps: Vec<&Step> = plan.steps.iter().filter(|step| phase_of(plan, step) == phase).collect();
        let first = steps.iter().filter_map(|step| self.tries(&step.id).first()).map(|span| span.began).min();
        let began = first.zip(self.started()).map(|(began, start)| between(start, began));
        let slowest = steps
            .iter()
            .filter_map(|step| self.took(&step.id, now).map(|took| (took, &step.id)))
            .max_by_key(|(took, _)| *took)
            .map(|(_, id)| id.clone());
        PhaseTime {
            phase,
            done: steps.iter().filter(|step| self.is_done(&step.id)).count(),
            steps: steps.len(),
            began,
            took: self.covered(&steps, now).unwrap_or_default(),
            slowest,
        }
    }

    /// The chain of steps, each begun when the one before it ended, that led to the last end; empty where nothing ended.
    pub fn critical_path(&self) -> Vec<Link> {
        let ended = |id: &StepId| self.tries(id).last().and_then(|span| span.ended).filter(|_| self.is_done(id));
        let mut chain = Vec::new();
        let last = self
            .plan()
            .steps
            .iter()
            .filter_map(|step| ended(&step.id).map(|end| (end, step)))
            .max_by_key(|(end, _)| *end);
        let mut next = last.map(|(_, step)| step);
        while let Some(step) = next {
            let took = self.tries(&step.id).iter().filter_map(|span| Some(between(span.began, span.ended?))).sum();
            chain.push(Link { step: step.id.clone(), took });
            let before = step.after.iter().filter_map(|id| ended(id).map(|end| (end, id))).max_by_key(|(end, _)| *end);
            next = before.and_then(|(_, id)| self.plan().step(id));
        }
        chain.reverse();
        chain
    }

    /// The time in which at least one of the steps ran; `None` where none of them began.
    pub(super) fn covered(&self, steps: &[&Step], now: Timestamp) -> Option<Duration> {
        let spans = steps.iter().flat_map(|step| self.tries(&step.id));
        let mut spans: Vec<(Timestamp, Timestamp)> =
            spans.map(|span| (span.began, span.ended.unwrap_or(now))).collect();
        spans.sort();
        let mut until = spans.first()?.0;
        let mut sum = Duration::ZERO;
        for (began, ended) in spans {
            sum += between(began.max(until), ended);
            until = until.max(ended);
        }
        Some(sum)
    }
}
