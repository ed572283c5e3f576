//! Long work on a host: a script in a systemd unit that we name, so that it outlives us and its answer can be read
//! afterwards. Running the same unit again attaches to it, or reads its result if it has ended.

use kubewright_core::ids::{OperationId, StepId};

use super::fence::run_fenced;
use super::shell::nonce;
use crate::playbooks;
use crate::ports::{Host, HostError, Lines, Output, Script, quiet};

/// How much of the end of a unit's output is handed on; `unit.sh` cuts the same.
const TAIL: usize = 64 << 10;

/// Which unit: one attempt at one step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitName {
    /// The run.
    pub operation: OperationId,
    /// The step.
    pub step: StepId,
    /// Counts from 1; a new one after a unit vanished, and its step was found not done.
    pub attempt: u32,
}

impl UnitName {
    /// What systemd calls it, without `.service`.
    pub fn systemd(&self) -> String {
        format!("kubewright-{}-{}.{}", self.operation, self.step, self.attempt)
    }

    /// Reads systemd's name. An operation's name has no dash.
    pub fn parse(name: &str) -> Option<Self> {
        let (operation, rest) = name.strip_prefix("kubewright-")?.split_once('-')?;
        let (step, attempt) = rest.rsplit_once('.')?;
        let (operation, step) = (operation.to_owned().try_into().ok()?, step.to_owned().try_into().ok()?);
        Some(Self { operation, step, attempt: attempt.parse().ok()? })
    }

    /// The script with this name as its values; names that are no plain words would leave their folder.
    fn given_to(&self, script: Script) -> Result<Script, HostError> {
        for (name, text) in [("operation", self.operation.as_str()), ("step", self.step.as_str())] {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.';
            if text.is_empty() || text.starts_with('.') || !text.chars().all(plain) {
                return Err(HostError::Value {
                    script: script.name.to_owned(),
                    name: name.to_owned(),
                    why: "is no plain word",
                });
            }
        }
        Ok(script
            .value("OPERATION", self.operation.as_str())
            .value("STEP", self.step.as_str())
            .value("ATTEMPT", self.attempt.to_string()))
    }
}

/// How a unit ended, and its last words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitResult {
    /// How it ended.
    pub end: UnitEnd,
    /// The end of its output, 64 KiB at most; all of it is on the host, in its folder.
    pub output_tail: String,
}

/// How a unit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitEnd {
    /// Its script ended.
    Finished {
        /// With this status.
        status: i32,
    },
    /// It is gone and left no result: the host was restarted, or it was killed. How far it came, a probe must tell.
    Vanished,
}

/// What a host knows of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitState {
    /// It runs.
    Running,
    /// Its script ended.
    Finished {
        /// With this status.
        status: i32,
    },
    /// It was started and left no result.
    Vanished,
    /// It was never started.
    Absent,
}

/// Runs a script as that unit and follows it to its end; each line of its output goes to `lines`, again from the
/// first if we attach. One round trip, whatever is found.
///
/// # Errors
/// [`HostError::Lost`] leaves the unit running: call again. [`HostError::Fenced`] where another run has taken over.
pub async fn run_unit(
    host: &dyn Host,
    unit: &UnitName,
    fence: u64,
    script: &Script,
    lines: Lines<'_>,
) -> Result<UnitResult, HostError> {
    let mark = format!("kubewright-unit-{}", nonce().as_str());
    let outer = Script::new("common/unit.sh", playbooks::UNIT)
        .value("MARK", mark.as_str())
        .value("WRAPPER", playbooks::UNIT_WRAPPER)
        .carrying(script.clone());
    let outer = unit.given_to(outer)?;

    let mut without_mark = |line: &str| {
        if !line.starts_with(&mark) {
            lines(line);
        }
    };
    let output = run_fenced(host, fence, &outer, &mut without_mark).await?.success(host.name(), &outer)?;
    read_result(host, &outer, &output, &mark)
}

fn read_result(host: &dyn Host, script: &Script, output: &Output, mark: &str) -> Result<UnitResult, HostError> {
    // Ours is the last line, as the script that prints it ends there.
    let (said, verdict) = match output.stdout.rfind(mark) {
        Some(at) => (&output.stdout[..at], output.stdout[at + mark.len()..].trim()),
        None => return Err(unexpected(host, script, "the verdict is missing")),
    };
    let end = match state(verdict) {
        Some(UnitState::Finished { status }) => UnitEnd::Finished { status },
        Some(UnitState::Vanished) => UnitEnd::Vanished,
        _ => return Err(unexpected(host, script, verdict)),
    };
    let mut from = said.len().saturating_sub(TAIL);
    while !said.is_char_boundary(from) {
        from += 1;
    }
    Ok(UnitResult { end, output_tail: said[from..].to_owned() })
}

/// What the host knows of a unit.
///
/// # Errors
/// [`HostError`].
pub async fn unit_state(host: &dyn Host, unit: &UnitName) -> Result<UnitState, HostError> {
    let script = unit.given_to(Script::new("common/unit-state.sh", playbooks::UNIT_STATE))?;
    let output = host.run(&script, &mut quiet()).await?.success(host.name(), &script)?;
    let said = output.stdout.trim();
    state(said).ok_or_else(|| unexpected(host, &script, said))
}

/// All units of ours that run on the host, of whatever operation: who takes over looks here first.
///
/// # Errors
/// [`HostError`].
pub async fn running_units(host: &dyn Host) -> Result<Vec<UnitName>, HostError> {
    let script = Script::new("common/unit-state.sh", playbooks::UNIT_STATE);
    let output = host.run(&script, &mut quiet()).await?.success(host.name(), &script)?;
    output.stdout.lines().map(|line| UnitName::parse(line).ok_or_else(|| unexpected(host, &script, line))).collect()
}

fn state(said: &str) -> Option<UnitState> {
    match said.split_once(' ').unwrap_or((said, "")) {
        ("running", _) => Some(UnitState::Running),
        ("vanished", _) => Some(UnitState::Vanished),
        ("absent", _) => Some(UnitState::Absent),
        ("finished", status) => Some(UnitState::Finished { status: status.parse().ok()? }),
        _ => None,
    }
}

fn unexpected(host: &dyn Host, script: &Script, reason: &str) -> HostError {
    HostError::Answer { host: host.name().clone(), script: script.name.to_owned(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let unit = UnitName { operation: "7f3a".into(), step: "06-cp1-start".into(), attempt: 12 };
        assert_eq!(unit.systemd(), "kubewright-7f3a-06-cp1-start.12");
        assert_eq!(UnitName::parse(&unit.systemd()), Some(unit));
        for odd in ["kubelet", "kubewright-7F-a.1", "kubewright-7f-../a.1", "kubewright--a.1"] {
            assert_eq!(UnitName::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_folder() {
        let unit = UnitName { operation: "../x".into(), step: "a".into(), attempt: 1 };
        assert!(matches!(unit.given_to(Script::new("x", "")), Err(HostError::Value { .. })));
    }
}
