//! The lock on each host: a number that only grows, and who holds it. Whoever changes a host says its number, and a
//! host that has seen a higher one refuses (DESIGN.md §3, "one writer").

use kubewright_core::facts::lock::{Holder, Lock, Seen};

use crate::playbooks;
use crate::ports::{Host, HostError, Lines, Output, Script, quiet};

/// How `fence-check.sh` and `fence.sh` say that a higher number was seen. No script of ours uses it otherwise, and
/// the check also looks for its words.
pub(crate) const REFUSED: i32 = 97;

/// What stands before the number on standard error.
const REFUSAL: &str = "kubewright-fenced ";

/// How an attempt to take the lock ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is ours on this host.
    Ours,
    /// Another run was faster; this is what the host says.
    Refused(Box<Lock>),
}

/// The script with the fence check before it.
pub fn fenced(script: &Script, fence: u64) -> Script {
    let mut script = script.clone().value("FENCE", fence.to_string());
    script.before.insert(0, playbooks::FENCE_CHECK);
    script
}

/// Runs a script that changes the host, unless another run has taken over.
///
/// # Errors
/// [`HostError::Fenced`], or as [`Host::run`].
pub async fn run_fenced(host: &dyn Host, fence: u64, script: &Script, lines: Lines<'_>) -> Result<Output, HostError> {
    let output = host.run(&fenced(script, fence), lines).await?;
    let refusal = output.stderr.lines().find_map(|line| line.strip_prefix(REFUSAL)?.trim().parse().ok());
    match refusal {
        Some(seen) if output.status == REFUSED => {
            Err(HostError::Fenced { host: host.name().clone(), ours: fence, seen })
        }
        _ => Ok(output),
    }
}

/// What the host says about the lock, and how old that is.
///
/// # Errors
/// [`HostError`].
pub async fn read_lock(host: &dyn Host) -> Result<Seen, HostError> {
    let script = Script::new("common/fence.sh", playbooks::FENCE).value("ACTION", "read");
    let output = host.run(&script, &mut quiet()).await?.success(host.name(), &script)?;
    Seen::parse(&output.stdout).map_err(|error| unreadable(host, &script, error.to_string()))
}

/// Takes the lock with the number `next`, if the host has seen none above `highest`. The same again is no error: the
/// first answer may have been lost.
///
/// # Errors
/// [`HostError`].
pub async fn take_lock(host: &dyn Host, highest: u64, next: u64, holder: &Holder) -> Result<Taken, HostError> {
    let script = action(host, "take", next, Some(holder))?.value("HIGHEST", highest.to_string());
    let output = host.run(&script, &mut quiet()).await?;
    if output.status == REFUSED {
        return Ok(Taken::Refused(Box::new(lock(host, &script, &output)?)));
    }
    output.success(host.name(), &script)?;
    Ok(Taken::Ours)
}

/// Says that we live and what we do.
///
/// # Errors
/// [`HostError::Fenced`] where another run has taken over.
pub async fn renew_lock(host: &dyn Host, fence: u64, holder: &Holder) -> Result<(), HostError> {
    change(host, "renew", fence, Some(holder)).await
}

/// Gives the lock back; the host keeps the number.
///
/// # Errors
/// [`HostError::Fenced`] where another run has taken over.
pub async fn release_lock(host: &dyn Host, fence: u64) -> Result<(), HostError> {
    change(host, "release", fence, None).await
}

async fn change(host: &dyn Host, what: &'static str, fence: u64, holder: Option<&Holder>) -> Result<(), HostError> {
    let script = action(host, what, fence, holder)?;
    let output = host.run(&script, &mut quiet()).await?;
    if output.status == REFUSED {
        let seen = lock(host, &script, &output)?.fence;
        return Err(HostError::Fenced { host: host.name().clone(), ours: fence, seen });
    }
    output.success(host.name(), &script).map(|_| ())
}

fn action(host: &dyn Host, what: &'static str, fence: u64, holder: Option<&Holder>) -> Result<Script, HostError> {
    let script =
        Script::new("common/fence.sh", playbooks::FENCE).value("ACTION", what).value("FENCE", fence.to_string());
    let Some(holder) = holder else { return Ok(script) };
    match serde_json::to_string(holder) {
        Ok(text) => Ok(script.value("HOLDER", text)),
        Err(error) => Err(unreadable(host, &script, error.to_string())),
    }
}

fn lock(host: &dyn Host, script: &Script, output: &Output) -> Result<Lock, HostError> {
    Lock::parse(&output.stdout).map_err(|error| unreadable(host, script, error.to_string()))
}

fn unreadable(host: &dyn Host, script: &Script, reason: String) -> HostError {
    HostError::Answer { host: host.name().clone(), script: script.name.to_owned(), reason }
}
