//! One writer: a fence number on a majority of the control planes, higher than any before (DESIGN.md §3).

use std::path::Path;
use std::sync::Arc;

use futures::future::join_all;
use kubewright_core::facts::lock::Holder;
use kubewright_core::ids::HostName;
use kubewright_core::quorum::{has_quorum, majority};
use kubewright_core::takeover::{Held, Process, may_take};

use crate::host::fence::{Taken, read_lock, release_lock, renew_lock, take_lock};
use crate::ports::{Clock, Host, HostError, Hosts};

/// Why the lock was not taken. No host was changed but, at most, its fence number.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It is somebody else's.
    #[error(transparent)]
    Held(#[from] Held),
    /// Too few control planes could be asked.
    #[error("{answered} of {all} control planes answered; {} are needed to be sure that nobody else is at work", majority(*.all))]
    NoMajority {
        /// How many answered.
        answered: usize,
        /// Of how many.
        all: usize,
        /// Why the others did not.
        reasons: Vec<HostError>,
    },
    /// Another run took it in the same moment.
    #[error("another run took the lock in the same moment")]
    Overtaken,
}

/// The lock in our hands.
pub struct Lock {
    /// Our number; hosts refuse a lower one.
    pub fence: u64,
    holder: Holder,
    hosts: Vec<Arc<dyn Host>>,
}

impl Lock {
    /// Takes the lock for `holder` on a majority of the control planes. `forced` takes it from a holder on another
    /// machine that still seems to work.
    ///
    /// # Errors
    /// [`LockError`].
    pub async fn take(
        hosts: &dyn Hosts,
        control_planes: &[HostName],
        holder: Holder,
        clock: &dyn Clock,
        forced: bool,
    ) -> Result<Self, LockError> {
        let asked = join_all(control_planes.iter().map(|name| async move {
            let host = hosts.host(name).await?;
            let lock = read_lock(host.as_ref()).await?;
            Ok::<_, HostError>((host, lock))
        }))
        .await;
        let (answers, reasons): (Vec<_>, Vec<_>) = asked.into_iter().partition(Result::is_ok);
        let answers: Vec<_> = answers.into_iter().flatten().collect();
        if !has_quorum(control_planes.len(), answers.len()) {
            let reasons = reasons.into_iter().filter_map(Result::err).collect();
            return Err(LockError::NoMajority { answered: answers.len(), all: control_planes.len(), reasons });
        }
        let newest = answers.iter().max_by_key(|(_, lock)| lock.fence).and_then(|(_, lock)| lock.holder.as_ref());
        may_take(newest, &holder.operation, newest.map_or(Process::Gone, |old| process(old, &holder)), clock.now(), forced)?;

        let highest = answers.iter().map(|(_, lock)| lock.fence).max().unwrap_or(0);
        let next = highest + 1;
        let taken = join_all(answers.iter().map(|(host, _)| take_lock(host.as_ref(), highest, next, &holder))).await;
        let ours: Vec<Arc<dyn Host>> = answers
            .into_iter()
            .zip(taken)
            .filter(|(_, taken)| matches!(taken, Ok(Taken::Ours)))
            .map(|((host, _), _)| host)
            .collect();
        let lock = Self { fence: next, holder, hosts: ours };
        if has_quorum(control_planes.len(), lock.hosts.len()) {
            Ok(lock)
        } else {
            lock.release().await;
            Err(LockError::Overtaken)
        }
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

/// Whether the old holder's process lives, which can be told only where it ran on this machine.
fn process(old: &Holder, ours: &Holder) -> Process {
    if old.holder != ours.holder {
        Process::Elsewhere
    } else if old.pid != ours.pid && Path::new("/proc").join(old.pid.to_string()).exists() {
        Process::Alive
    } else {
        Process::Gone
    }
}
