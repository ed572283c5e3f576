//! One writer: a fence number on a majority of the control planes, higher than any before (DESIGN.md §3).

use std::fs;
use std::path::Path;
use std::process;
use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use kubewright_core::facts::lock::{Holder, Seen};
use kubewright_core::ids::{HostName, OperationId};
use kubewright_core::plan::Plan;
use kubewright_core::quorum::{has_quorum, majority};
use kubewright_core::spec::Spec;
use kubewright_core::takeover::{Held, Process, candidates, may_take};

use crate::host::fence::{Taken, read_lock, release_lock, renew_lock, take_lock};
use crate::host::unit::running_units;
use crate::ports::{Clock, Host, HostError, Hosts};

/// Why the lock was not taken. No host was changed but, at most, its fence number.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It is somebody else's.
    #[error(transparent)]
    Held(#[from] Held),
    /// Too few control planes could be asked, or could write the lock down.
    #[error("{answered} of {all} control planes could be asked and locked; {} are needed to be sure that nobody else is at work", majority(*.all))]
    NoMajority {
        /// How many could.
        answered: usize,
        /// Of how many.
        all: usize,
        /// Why the others could not.
        reasons: Vec<String>,
    },
    /// Another run took it in the same moment.
    #[error("another run took the lock in the same moment")]
    Overtaken,
    /// Work of another operation goes on; it would meet ours on the same hosts.
    #[error("work of another operation still runs: {}", .units.join(", "))]
    Running {
        /// `HOST: UNIT`.
        units: Vec<String>,
    },
    /// A host that was reached cannot tell what runs on it.
    #[error(transparent)]
    Host(HostError),
}

/// The lock in our hands.
pub struct Lock {
    /// Our number; hosts refuse a lower one.
    pub fence: u64,
    holder: Holder,
    hosts: Vec<Arc<dyn Host>>,
}

/// This process as a holder, before it does anything.
pub fn holder(plan: &Plan, operator: String, now: Timestamp) -> Holder {
    let pid = process::id();
    let word =
        |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    Holder {
        operation: plan.operation.clone(),
        cluster: plan.spec.name.clone(),
        holder: operator,
        pid,
        machine_id: word("/etc/machine-id"),
        boot_id: word("/proc/sys/kernel/random/boot_id"),
        pid_namespace: pid_namespace(),
        started: started(pid),
        since: now,
        doing: "beginning".into(),
        seen: now,
    }
}

impl Lock {
    /// Takes the lock for `holder` on a majority of the plan's keepers, and makes sure that no work of another operation
    /// runs on any host of the spec. `forced` takes it from a holder on another machine that still seems to work.
    ///
    /// The number is higher than any that a host of the spec has seen: where the control planes were taken apart, a worker
    /// that was silent then remembers more than they do.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn take(
        hosts: &dyn Hosts,
        keepers: &[HostName],
        spec: &Spec,
        holder: Holder,
        forced: bool,
    ) -> Result<Self, LockError> {
        let all = keepers.len();
        let ask = |name| async move {
            let host = hosts.host(name).await?;
            let seen = read_lock(host.as_ref()).await?;
            Ok::<_, HostError>((host, seen))
        };
        let others = spec.hosts.iter().map(|host| &host.name).filter(|name| !keepers.contains(name));
        let (asked, others) = tokio::join!(join_all(keepers.iter().map(ask)), join_all(others.map(ask)));
        let remembered = others.into_iter().flatten().map(|(_, seen)| seen.lock.fence);
        let (mut answered, mut answers, mut reasons) = (Vec::new(), Vec::new(), Vec::new());
        for outcome in asked {
            match outcome {
                Ok((host, seen)) => {
                    answered.push(host);
                    answers.push(seen);
                }
                Err(error) => reasons.push(reason(&error)),
            }
        }
        if !has_quorum(all, answers.len()) {
            return Err(LockError::NoMajority { answered: answers.len(), all, reasons });
        }
        is_free(&answers, all, &holder, forced)?;

        let highest = answers.iter().map(|seen| seen.lock.fence).chain(remembered).max().unwrap_or(0);
        let fence = highest + 1;
        let taken = join_all(answered.iter().map(|host| take_lock(host.as_ref(), highest, fence, &holder))).await;
        let (mut ours, mut in_doubt, mut refused) = (Vec::new(), Vec::new(), 0);
        for (host, taken) in answered.into_iter().zip(taken) {
            match taken {
                Ok(Taken::Ours) => ours.push(host),
                Ok(Taken::Refused(_)) => refused += 1,
                Err(error) => {
                    reasons.push(reason(&error));
                    in_doubt.push(host);
                }
            }
        }
        let got = ours.len();
        let mut lock = Self { fence, holder, hosts: ours };
        if !has_quorum(all, got) {
            // Where the answer was lost the host may have written it down.
            lock.hosts.extend(in_doubt);
            lock.release().await;
            let lost_to_another = !has_quorum(all, all - refused);
            return Err(if lost_to_another {
                LockError::Overtaken
            } else {
                LockError::NoMajority { answered: got, all, reasons }
            });
        }
        if let Err(error) = nothing_else_runs(hosts, spec, &lock.holder.operation).await {
            lock.hosts.extend(in_doubt);
            lock.release().await;
            return Err(error);
        }
        Ok(lock)
    }

    /// The control planes that hold it for us.
    pub fn hosts(&self) -> &[Arc<dyn Host>] {
        &self.hosts
    }

    /// Tells the hosts that we live and what we do.
    ///
    /// # Errors
    /// [`HostError::Fenced`] where another run has taken over; a host that cannot be reached is no error here.
    pub async fn renew(&self, doing: &str, clock: &dyn Clock) -> Result<(), HostError> {
        let holder = Holder { doing: doing.to_owned(), seen: clock.now(), ..self.holder.clone() };
        for outcome in join_all(self.hosts.iter().map(|host| renew_lock(host.as_ref(), self.fence, &holder))).await {
            match outcome {
                Err(fenced @ HostError::Fenced { .. }) => return Err(fenced),
                Err(error) => tracing::debug!(%error, "a lock was not renewed"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Gives it back; a host that cannot be reached keeps a holder that no longer lives, which `ops resume` sees.
    pub async fn release(&self) {
        for outcome in join_all(self.hosts.iter().map(|host| release_lock(host.as_ref(), self.fence))).await {
            if let Err(error) = outcome {
                tracing::debug!(%error, "a lock was not given back");
            }
        }
    }
}

/// Whether everybody who may hold the lock lets it go.
fn is_free(answers: &[Seen], control_planes: usize, ours: &Holder, forced: bool) -> Result<(), Held> {
    candidates(answers, control_planes).iter().try_for_each(|candidate| {
        let process = Process::of(candidate.holder, ours, started(candidate.holder.pid));
        may_take(candidate, &ours.operation, process, forced)
    })
}

/// Units outlive whoever started them, and a fence does not stop them. From here on no new one begins; those of our
/// own operation are attached to. A host that cannot be reached now cannot be worked on either.
async fn nothing_else_runs(hosts: &dyn Hosts, spec: &Spec, ours: &OperationId) -> Result<(), LockError> {
    let asked = join_all(spec.hosts.iter().map(|host| async move {
        let connected = hosts.host(&host.name).await?;
        Ok((&host.name, running_units(connected.as_ref()).await?))
    }))
    .await;
    let mut units = Vec::new();
    for outcome in asked {
        match outcome {
            Ok((host, running)) => {
                let foreign = running.iter().filter(|unit| &unit.operation != ours);
                units.extend(foreign.map(|unit| format!("{host}: {}.service", unit.systemd())));
            }
            Err(error @ (HostError::Connect { .. } | HostError::Lost { .. })) => {
                tracing::debug!(%error, "a host was not asked what runs on it");
            }
            Err(error) => return Err(LockError::Host(error)),
        }
    }
    if units.is_empty() { Ok(()) } else { Err(LockError::Running { units }) }
}

/// An error in one line, with the tool's own last words.
fn reason(error: &HostError) -> String {
    match error {
        HostError::Failed { stderr, .. } => match stderr.lines().rfind(|line| !line.trim().is_empty()) {
            Some(last) => format!("{error}: {last}"),
            None => error.to_string(),
        },
        _ => error.to_string(),
    }
}

/// When the process of that number was started, in ticks since the boot; none where no such process lives.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    start_of(&stat)
}

/// Fields 3 (state) and 22 of `/proc/PID/stat`. The second one is the program's name in parentheses and may hold any
/// character.
fn start_of(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    // Ended, and nobody has asked how.
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The namespace of our process's number. None where `/proc` hides other people's processes (`hidepid`): then not to
/// see one proves nothing.
fn pid_namespace() -> Option<String> {
    fs::metadata("/proc/1/stat").ok()?;
    Some(fs::read_link("/proc/self/ns/pid").ok()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests;
