//! Whether a run may take the cluster's lock from whoever holds it.

use jiff::{SignedDuration, Timestamp};

use crate::facts::lock::Holder;
use crate::ids::OperationId;

/// A holder renews at least every 30 s; four missed renewals are more than a slow line explains.
pub const QUIET: SignedDuration = SignedDuration::from_mins(2);

/// What is known about the holder's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// It was on this machine and is gone.
    Gone,
    /// It is on this machine and alive.
    Alive,
    /// It is on another machine.
    Elsewhere,
}

/// Why the lock cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    /// Somebody is working.
    #[error("{} is working on {} since {}: {}, last sign of life {}", .0.holder, .0.cluster, .0.since, .0.doing, .0.seen)]
    Working(Box<Holder>),
    /// Another operation was left unfinished; a second one on top of half a first would mix them.
    #[error("operation {} of {} is unfinished since {}: {}", .0.operation, .0.holder, .0.seen, .0.doing)]
    Unfinished(Box<Holder>),
}

/// Decides on the newest holder that any control plane knows.
///
/// # Errors
/// [`Held`] where the lock is somebody else's.
pub fn may_take(holder: Option<&Holder>, ours: &OperationId, process: Process, now: Timestamp, forced: bool) -> Result<(), Held> {
    let Some(holder) = holder else { return Ok(()) };
    let quiet = now.duration_since(holder.seen) >= QUIET;
    let working = match process {
        Process::Alive => true,
        Process::Gone => false,
        Process::Elsewhere => !quiet && !forced,
    };
    if working {
        return Err(Held::Working(Box::new(holder.clone())));
    }
    if &holder.operation != ours {
        return Err(Held::Unfinished(Box::new(holder.clone())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(operation: &str) -> Holder {
        Holder {
            operation: operation.into(),
            cluster: "lab".into(),
            holder: "ada@desk".into(),
            pid: 7,
            since: "2026-01-01T10:00:00Z".parse().unwrap(),
            doing: "06-here-keys".into(),
            seen: "2026-01-01T10:05:00Z".parse().unwrap(),
        }
    }

    fn take(operation: &str, process: Process, now: &str, forced: bool) -> Result<(), Held> {
        may_take(Some(&holder("7f3a")), &operation.into(), process, now.parse().unwrap(), forced)
    }

    #[test]
    fn a_free_lock_is_taken() {
        assert_eq!(may_take(None, &"7f3a".into(), Process::Elsewhere, Timestamp::UNIX_EPOCH, false), Ok(()));
    }

    #[test]
    fn our_own_dead_process_is_followed_at_once() {
        assert_eq!(take("7f3a", Process::Gone, "2026-01-01T10:05:01Z", false), Ok(()));
    }

    #[test]
    fn a_living_process_is_never_overtaken() {
        assert!(matches!(take("7f3a", Process::Alive, "2026-01-02T10:05:00Z", true), Err(Held::Working(_))));
    }

    #[test]
    fn another_machine_is_followed_when_quiet_or_forced() {
        assert!(matches!(take("7f3a", Process::Elsewhere, "2026-01-01T10:06:00Z", false), Err(Held::Working(_))));
        assert_eq!(take("7f3a", Process::Elsewhere, "2026-01-01T10:06:00Z", true), Ok(()));
        assert_eq!(take("7f3a", Process::Elsewhere, "2026-01-01T10:07:00Z", false), Ok(()));
    }

    #[test]
    fn another_operation_does_not_build_on_half_a_first() {
        assert!(matches!(take("beef", Process::Gone, "2026-01-02T10:00:00Z", true), Err(Held::Unfinished(_))));
    }
}
