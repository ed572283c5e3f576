//! Every way in which kubewright ends without having done what was asked: what happened, where, what is safe now and
//! what to do next. Drawn by [`crate::report::failure`]; nothing here writes anything.

mod causes;
mod exit;

use std::path::Path;

use kubewright_core::finding::{Finding, Severity};
use kubewright_core::ids::{HostName, OperationId, StepId};
use kubewright_core::plan::Target;
use kubewright_core::summary::Run;
use schemars::JsonSchema;
use serde::Serialize;

pub use exit::ExitCode;

/// What sort of end it was; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ErrorKind {
    /// A mistake of ours, or a machine that cannot even write a file.
    Internal,
    /// The command line or the spec is wrong.
    Usage,
    /// Something has to be mended before anything can begin; nothing was changed.
    Blocked,
    /// The user has to say yes to something first; nothing was changed.
    Consent,
    /// A run stopped because something failed; it can be resumed.
    Failed,
    /// A run stopped because the user asked; it can be resumed.
    Stopped,
    /// Reality moved since the plan was made; a new plan is needed.
    Moved,
    /// Somebody else works on the cluster.
    Locked,
    /// Nobody can tell whether something was done; a person must look.
    InDoubt,
}

/// Why kubewright did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(Box<Parts>);

/// What there is to tell about an error, in the order it is told.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Parts {
    /// Decides the exit code.
    pub kind: ErrorKind,
    /// Where it comes from, such as `STEP` or `HOST`.
    pub code: &'static str,
    /// What happened: a lower-case fragment.
    pub message: String,
    /// On which host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// The host's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Where on it, such as `container etcd` or a script's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// The tool's own last lines.
    pub lines: Vec<String>,
    /// What else went wrong in the same run, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// What is wrong with the spec or stands in the way of a plan.
    pub findings: Vec<Finding>,
    /// The findings drawn on the user's own lines, where a file is at hand.
    #[serde(skip)]
    pub drawn: Option<String>,
    /// What is safe now, a fragment each.
    pub safe_now: Vec<String>,
    /// The likely cause, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub likely: Option<String>,
    /// What to do, most useful first.
    pub next: Vec<String>,
    /// Where there is more to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
}

/// So many of a tool's last lines are kept: a panic with its reason fits, a whole log does not.
const LAST_LINES: usize = 12;

impl Error {
    /// An error of which only this is known.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            code,
            message: message.into(),
            host: None,
            address: None,
            place: None,
            lines: Vec::new(),
            also: Vec::new(),
            findings: Vec::new(),
            drawn: None,
            safe_now: Vec::new(),
            likely: None,
            next: Vec::new(),
            details: None,
        }))
    }

    /// A mistake of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, "INTERNAL", message)
    }

    /// A command line that cannot be.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, "USAGE", message)
    }

    /// A spec with mistakes; `drawn` shows them on its lines.
    pub fn spec(findings: Vec<Finding>, drawn: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::Usage, "SPEC", "the spec has mistakes; nothing was contacted");
        error.0.findings = findings;
        error.0.drawn = Some(drawn.into());
        error
    }

    /// Findings that leave no plan.
    pub fn blocked(findings: Vec<Finding>) -> Self {
        let count = findings.iter().filter(|finding| finding.severity == Severity::Blocks).count();
        let message = if count == 1 { "1 finding blocks".to_owned() } else { format!("{count} findings block") };
        let mut error = Self::new(ErrorKind::Blocked, "BLOCKED", format!("{message}; nothing was changed"));
        error.0.findings = findings;
        error
    }

    /// Findings that the user has to say yes to; names the option that does.
    pub fn consent(findings: Vec<Finding>) -> Self {
        let asks = |finding: &&Finding| finding.severity == Severity::NeedsConsent;
        let mut codes: Vec<&str> = findings.iter().filter(asks).map(|finding| finding.code.as_str()).collect();
        codes.dedup();
        let options: Vec<String> = codes.iter().map(|code| format!("--consent {code}")).collect();
        let message = format!("consent is needed for {}; nothing was changed", codes.join(", "));
        let mut error = Self::new(ErrorKind::Consent, "CONSENT", message);
        error.0.next.push(format!("read them, then add {}", options.join(" ")));
        error.0.findings = findings;
        error
    }

    /// Something that failed and may be tried again; within a run see [`Error::during`].
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, "FAILED", message)
    }

    /// A plan made for another reality.
    pub fn moved(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Moved, "MOVED", message).next("make a new plan: kubewright plan")
    }

    /// Somebody else holds the lock.
    pub fn locked(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Locked, "LOCKED", message)
    }

    /// Something only a person can decide.
    pub fn in_doubt(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InDoubt, "DOUBT", message)
    }

    /// A step that failed; the first line of `why` says what, the rest are the tool's own words.
    pub fn step_failed(run: &Run, step: &StepId, why: impl AsRef<str>) -> Self {
        let mut lines = why.as_ref().lines();
        let first = lines.next().unwrap_or("it gave no reason");
        let tail: Vec<&str> = lines.collect();
        Self::new(ErrorKind::Failed, "STEP", format!("{step} failed: {first}"))
            .at_step(run, step)
            .lines(tail)
            .during(run)
    }

    /// A step whose guard did not hold.
    pub fn guard_failed(run: &Run, step: &StepId, why: impl std::fmt::Display) -> Self {
        let message = format!("{step} was not begun, because reality moved since the plan: {why}");
        Self::new(ErrorKind::Moved, "GUARD", message).at_step(run, step).during(run)
    }

    /// A step of which nobody can tell whether it was done.
    pub fn step_in_doubt(run: &Run, step: &StepId, why: impl std::fmt::Display) -> Self {
        let message = format!("nobody can tell whether {step} was done: {why}");
        Self::new(ErrorKind::InDoubt, "DOUBT", message).at_step(run, step).next("look at the host").during(run)
    }

    /// A run that the user stopped while it was taken up.
    pub fn unbegun(operation: &OperationId) -> Self {
        let message = "stopped before anything was begun; nothing was changed";
        Self::new(ErrorKind::Stopped, "STOPPED", message).next(format!("kubewright ops resume {operation}"))
    }

    /// A run that the user stopped.
    pub fn stopped(run: &Run) -> Self {
        let (done, steps) = (run.status().done(), run.plan().steps.len());
        let safe = run.safe_now();
        let rest = match safe.running.len() + safe.in_doubt.len() {
            0 => "nothing is half done".to_owned(),
            1 => "one step is half done".to_owned(),
            several => format!("{several} steps are half done"),
        };
        Self::new(ErrorKind::Stopped, "STOPPED", format!("stopped after {done} of {steps} steps; {rest}")).during(run)
    }

    fn at_step(self, run: &Run, step: &StepId) -> Self {
        match run.plan().step(step).map(|step| &step.target) {
            Some(Target::Host(host)) => {
                let address = run.plan().spec.host(host).map(|host| host.address.clone());
                self.on(host, address)
            }
            _ => self,
        }
    }

    /// The same, met while a run was under way: it can be resumed, and what is safe now is known. Kinds that say more
    /// (locked, moved, in doubt) keep their kind.
    #[must_use]
    pub fn during(mut self, run: &Run) -> Self {
        if matches!(self.0.kind, ErrorKind::Blocked | ErrorKind::Usage) {
            self.0.kind = ErrorKind::Failed;
        }
        if self.0.safe_now.is_empty() {
            self.0.safe_now = run.safe_now().sentences();
        }
        let resume = format!("kubewright ops resume {}", run.plan().operation);
        match self.0.kind {
            // Half a run is in the way of a new plan, so giving it up comes first.
            ErrorKind::Moved => {
                self.0.next.push(format!("make it as it was, then: {resume} -f FILE"));
                self.0.next.push(format!(
                    "or give the run up, then plan anew: kubewright ops abandon {} -f FILE",
                    run.plan().operation
                ));
            }
            ErrorKind::Locked => {}
            _ if self.0.next.is_empty() => self.0.next.push(resume),
            _ => self.0.next.push(format!("then: {resume}")),
        }
        self.0.next.dedup();
        self
    }

    /// The same with the host it happened on.
    #[must_use]
    pub fn on(mut self, host: &HostName, address: Option<String>) -> Self {
        self.0.host = Some(host.clone());
        self.0.address = address.or(self.0.address);
        self
    }

    /// The same with the place on the host, such as `container etcd`.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        self.0.place = Some(place.into());
        self
    }

    /// The same with a tool's own words, of which the last lines are kept.
    #[must_use]
    pub fn lines<'l>(mut self, lines: impl IntoIterator<Item = &'l str>) -> Self {
        let lines: Vec<&str> = lines.into_iter().filter(|line| !line.trim().is_empty()).collect();
        let from = lines.len().saturating_sub(LAST_LINES);
        self.0.lines = lines[from..].iter().map(|line| (*line).to_owned()).collect();
        self
    }

    /// The same with what else went wrong.
    #[must_use]
    pub fn also(mut self, others: impl IntoIterator<Item = String>) -> Self {
        self.0.also.extend(others);
        self
    }

    /// The same with one more thing that is safe now.
    #[must_use]
    pub fn safe(mut self, sentence: impl Into<String>) -> Self {
        self.0.safe_now.push(sentence.into());
        self
    }

    /// The same with its likely cause.
    #[must_use]
    pub fn likely(mut self, cause: impl Into<String>) -> Self {
        self.0.likely = Some(cause.into());
        self
    }

    /// The same with one more thing to do.
    #[must_use]
    pub fn next(mut self, advice: impl Into<String>) -> Self {
        self.0.next.push(advice.into());
        self
    }

    /// The same with advice from elsewhere, where there is any, before all other.
    #[must_use]
    pub fn hint(mut self, advice: Option<&str>) -> Self {
        self.0.next.splice(0..0, advice.map(str::to_owned));
        self
    }

    /// The same with a place to read more.
    #[must_use]
    pub fn details(mut self, place: impl AsRef<Path>) -> Self {
        self.0.details = Some(place.as_ref().display().to_string());
        self
    }

    /// The same under another code.
    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        self.0.code = code;
        self
    }

    /// What sort of end it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The status the process ends with.
    pub fn exit_code(&self) -> ExitCode {
        self.0.kind.into()
    }

    /// Everything there is to tell.
    pub fn parts(&self) -> &Parts {
        &self.0
    }
}

#[cfg(test)]
mod tests;
