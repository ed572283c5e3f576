//! Whether a run may take the cluster's lock from whoever holds it. Who that is, a majority of the control planes tells.

use jiff::SignedDuration;

use crate::facts::lock::{Holder, Seen};
use crate::ids::OperationId;
use crate::quorum::has_quorum;

/// A holder renews at least every 30 s; four missed renewals are more than a slow line explains.
pub const QUIET: SignedDuration = SignedDuration::from_mins(2);

/// What is known about the holder's process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// It was on this machine and is gone.
    Gone,
    /// It is on this machine and alive.
    Alive,
    /// It is on another machine, or nobody can tell.
    Elsewhere,
}

impl Process {
    /// The process of a holder as seen from the machine of `ours`; `started` is when the process that has its number
    /// here now was started, if there is one. A number alone proves nothing: it is given again.
    pub fn of(holder: &Holder, ours: &Holder, started: Option<u64>) -> Self {
        let same = |one: &Option<String>, other: &Option<String>| one.is_some() && one == other;
        if !same(&holder.machine_id, &ours.machine_id) {
            return Self::Elsewhere;
        }
        let (Some(theirs), Some(now), Some(begun)) = (&holder.boot_id, &ours.boot_id, holder.started) else {
            return Self::Elsewhere;
        };
        if theirs != now {
            return Self::Gone;
        }
        // Containers of one image share machine-id and kernel and do not see each other's processes.
        if !same(&holder.pid_namespace, &ours.pid_namespace) {
            return Self::Elsewhere;
        }
        if started == Some(begun) { Self::Alive } else { Self::Gone }
    }
}

/// How a holder stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The lock may be its own: nothing that was seen speaks against a majority.
    Held,
    /// It has no majority, but may be taking one at this moment.
    Beginning,
}

/// A run that may hold the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Who, in its newest words.
    pub holder: &'a Holder,
    /// Since its last sign of life, by the clock of the host that has it from the run: the youngest of all.
    pub age: SignedDuration,
    /// How it stands.
    pub standing: Standing,
}

/// Everybody who may hold the lock of a cluster with so many control planes, of which these answered.
///
/// Two runs may have drawn the same number, and one may have given it back on some hosts: so all answers with the
/// highest number count, and whoever did not answer may say anything. A host with a lower number was never reached by
/// whoever has the highest: either that run failed to get it, or it is getting it just now.
pub fn candidates(answers: &[Seen], control_planes: usize) -> Vec<Candidate<'_>> {
    let highest = answers.iter().map(|seen| seen.lock.fence).max().unwrap_or_default();
    let silent = control_planes.saturating_sub(answers.len());
    let lower = answers.iter().filter(|seen| seen.lock.fence < highest).count();
    let named: Vec<(&Holder, SignedDuration)> = answers
        .iter()
        .filter(|seen| seen.lock.fence == highest)
        .filter_map(|seen| seen.lock.holder.as_ref().map(|holder| (holder, seen.age)))
        .collect();
    let mut found: Vec<Candidate<'_>> = Vec::new();
    for (holder, _) in &named {
        if found.iter().any(|known| known.holder.is_same_run(holder)) {
            continue;
        }
        let naming = named.iter().filter(|(other, _)| other.is_same_run(holder));
        let Some(&(newest, age)) = naming.clone().min_by_key(|(_, age)| *age) else { continue };
        let most = naming.count() + silent;
        let standing = if has_quorum(control_planes, most) {
            Standing::Held
        } else if has_quorum(control_planes, most + lower) {
            Standing::Beginning
        } else {
            continue;
        };
        found.push(Candidate { holder: newest, age, standing });
    }
    found
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

/// Decides on one candidate; the lock may be taken where all of them let it go.
///
/// # Errors
/// [`Held`] where the lock is somebody else's.
pub fn may_take(candidate: &Candidate<'_>, ours: &OperationId, process: Process, forced: bool) -> Result<(), Held> {
    let holder = candidate.holder;
    let working = match process {
        Process::Alive => true,
        Process::Gone => false,
        Process::Elsewhere => candidate.age < QUIET && !forced,
    };
    if working {
        return Err(Held::Working(Box::new(holder.clone())));
    }
    if candidate.standing == Standing::Held && &holder.operation != ours {
        return Err(Held::Unfinished(Box::new(holder.clone())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::lock::Lock;

    fn holder(operation: &str) -> Holder {
        Holder {
            operation: operation.into(),
            cluster: "lab".into(),
            holder: "ada@desk".into(),
            pid: 7,
            machine_id: Some("m1".into()),
            boot_id: Some("b1".into()),
            pid_namespace: Some("pid:[1]".into()),
            started: Some(100),
            since: "2026-01-01T10:00:00Z".parse().unwrap(),
            doing: "06-here-keys".into(),
            seen: "2026-01-01T10:05:00Z".parse().unwrap(),
        }
    }

    fn says(fence: u64, operation: Option<&str>) -> Seen {
        Seen { lock: Lock { fence, holder: operation.map(holder) }, age: SignedDuration::from_secs(5) }
    }

    fn who(answers: &[Seen], control_planes: usize) -> Vec<(String, Standing)> {
        let found = candidates(answers, control_planes);
        found.into_iter().map(|one| (one.holder.operation.to_string(), one.standing)).collect()
    }

    fn held(operation: &str) -> Vec<(String, Standing)> {
        vec![(operation.to_owned(), Standing::Held)]
    }

    #[test]
    fn a_lock_that_nobody_names_is_free() {
        assert_eq!(who(&[says(0, None), says(0, None), says(0, None)], 3), []);
        assert_eq!(who(&[says(7, None), says(7, None)], 3), []);
    }

    #[test]
    fn of_two_that_raced_the_one_with_the_majority_is_seen() {
        // A and B drew 5; B got two hosts, A gave its one back. Whichever host answers first, B has the lock.
        let mut answers = [says(5, None), says(5, Some("b")), says(5, Some("b"))];
        for _ in 0..3 {
            assert_eq!(who(&answers, 3), held("b"));
            assert_eq!(who(&answers[..2], 3), held("b"), "one host is silent");
            answers.rotate_left(1);
        }
        assert_eq!(who(&[says(5, Some("a")), says(5, Some("b")), says(5, Some("b"))], 3), held("b"));
    }

    #[test]
    fn of_two_that_raced_either_may_have_the_host_that_is_silent() {
        let both = who(&[says(5, Some("a")), says(5, Some("b"))], 3);
        assert_eq!(both, [held("a"), held("b")].concat());
    }

    #[test]
    fn a_host_that_missed_the_release_proves_nothing() {
        let answers = [says(5, None), says(5, None), says(5, Some("a"))];
        assert_eq!(who(&answers, 3), []);
        // With one silent it may have been two of three.
        assert_eq!(who(&answers[1..], 3), held("a"));
    }

    #[test]
    fn a_lower_number_is_history() {
        assert_eq!(who(&[says(6, Some("b")), says(6, Some("b")), says(5, Some("a"))], 3), held("b"));
        assert_eq!(who(&[says(6, None), says(6, None), says(5, Some("a"))], 3), []);
    }

    #[test]
    fn a_run_that_is_taking_the_lock_is_seen_and_a_failed_attempt_stops_nobody() {
        let answers = [says(5, Some("a")), says(4, None), says(4, None)];
        let found = candidates(&answers, 3);
        assert_eq!(found[0].standing, Standing::Beginning);
        let ours = "beef".into();
        assert!(matches!(may_take(&found[0], &ours, Process::Elsewhere, false), Err(Held::Working(_))));
        let quiet = Candidate { age: QUIET, ..found[0] };
        assert_eq!(may_take(&quiet, &ours, Process::Elsewhere, false), Ok(()));
        assert_eq!(may_take(&found[0], &ours, Process::Gone, false), Ok(()));
    }

    #[test]
    fn renewals_that_reached_some_hosts_are_one_run_and_the_youngest_age_counts() {
        let mut late = says(5, Some("a"));
        late.age = SignedDuration::from_mins(9);
        if let Some(holder) = &mut late.lock.holder {
            holder.doing = "older words".into();
            holder.seen = "2026-01-01T09:00:00Z".parse().unwrap();
        }
        let answers = [late, says(5, Some("a")), says(5, None)];
        let found = candidates(&answers, 3);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].age, found[0].holder.doing.as_str()), (SignedDuration::from_secs(5), "06-here-keys"));
    }

    fn take(operation: &str, process: Process, age: i64, forced: bool) -> Result<(), Held> {
        let holder = holder("7f3a");
        let age = SignedDuration::from_secs(age);
        let candidate = Candidate { holder: &holder, age, standing: Standing::Held };
        may_take(&candidate, &operation.into(), process, forced)
    }

    #[test]
    fn our_own_dead_process_is_followed_at_once() {
        assert_eq!(take("7f3a", Process::Gone, 1, false), Ok(()));
    }

    #[test]
    fn a_living_process_is_never_overtaken() {
        assert!(matches!(take("7f3a", Process::Alive, 86_400, true), Err(Held::Working(_))));
    }

    #[test]
    fn another_machine_is_followed_when_quiet_or_forced() {
        assert!(matches!(take("7f3a", Process::Elsewhere, 119, false), Err(Held::Working(_))));
        // The host's clock was set back.
        assert!(matches!(take("7f3a", Process::Elsewhere, -500, false), Err(Held::Working(_))));
        assert_eq!(take("7f3a", Process::Elsewhere, 60, true), Ok(()));
        assert_eq!(take("7f3a", Process::Elsewhere, 120, false), Ok(()));
    }

    #[test]
    fn another_operation_does_not_build_on_half_a_first() {
        assert!(matches!(take("beef", Process::Gone, 86_400, true), Err(Held::Unfinished(_))));
    }

    #[test]
    fn a_process_is_known_by_machine_boot_and_start() {
        let old = holder("7f3a");
        let ours = Holder { pid: 9, started: Some(500), holder: "ada@renamed".into(), ..old.clone() };
        assert_eq!(Process::of(&old, &ours, Some(100)), Process::Alive);
        assert_eq!(Process::of(&old, &ours, None), Process::Gone);
        assert_eq!(Process::of(&old, &ours, Some(300)), Process::Gone, "its number was given again");
        let restarted = Holder { boot_id: Some("b2".into()), ..ours.clone() };
        assert_eq!(Process::of(&old, &restarted, Some(100)), Process::Gone);
        let other = Holder { machine_id: Some("m2".into()), holder: "ada@desk".into(), ..ours.clone() };
        assert_eq!(Process::of(&old, &other, Some(100)), Process::Elsewhere, "the same name and number");
        let container = Holder { pid_namespace: Some("pid:[2]".into()), ..ours.clone() };
        assert_eq!(Process::of(&old, &container, None), Process::Elsewhere);
        let unknown = Holder { machine_id: None, boot_id: None, started: None, pid_namespace: None, ..ours.clone() };
        assert_eq!(Process::of(&unknown, &unknown, Some(100)), Process::Elsewhere);
        assert_eq!(Process::of(&Holder { started: None, ..old }, &ours, None), Process::Elsewhere);
    }
}
