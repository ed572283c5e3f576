//! What an answer to an eviction means, and what follows from it.
//!
//! A 429 has three meanings: the budget has no room, its status is behind its wishes, or the API server sheds load. Only
//! the first two wait for the budget. A 500 may be two budgets over one pod, which no repetition mends; a refusal may be
//! a webhook's, whose words are for the user.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Where no event tells that something has changed (a webhook's mind, a lost answer), it is tried again this often
/// (DESIGN.md §1: 15 s or more).
pub const SAFETY: SignedDuration = SignedDuration::from_secs(15);

/// After the API server itself gave up on concurrent writes: it has tried for 10 s already.
const AFTER_CONFLICT: SignedDuration = SignedDuration::from_secs(1);

/// Kubernetes' cause of a refusal by a budget.
const BUDGET: &str = "DisruptionBudget";
/// Kubernetes' cause of a refusal in a namespace that goes.
const TERMINATING: &str = "NamespaceTerminating";

/// An answer as it came, in plain data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status; `None` where there was no answer.
    pub code: Option<u16>,
    /// The API's word for it, such as `TooManyRequests`.
    pub reason: String,
    /// The API's sentence, or what was seen of the connection.
    pub said: String,
    /// What the API names as causes.
    pub causes: Vec<Cause>,
    /// How long the API asked us to stay away.
    pub retry_after: Option<Duration>,
}

/// One cause in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// Kubernetes' word, such as `DisruptionBudget`.
    pub reason: String,
    /// Its sentence.
    pub said: String,
}

/// What an eviction came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Outcome {
    /// The pod is being deleted.
    Accepted,
    /// Its budget has no room.
    NoRoom {
        /// The API's words.
        said: String,
    },
    /// Its budget's status is behind its wishes.
    NotObserved {
        /// The API's words.
        said: String,
    },
    /// The API server sheds load; it says nothing about any budget.
    Throttled {
        /// How long it asked us to stay away.
        #[serde(default)]
        seconds: u64,
    },
    /// More than one budget counts the pod: the API server evicts no such pod, ever.
    TwoBudgets {
        /// The API's words.
        said: String,
    },
    /// An admission webhook refused or did not answer, or a policy refused.
    Denied {
        /// Its words.
        said: String,
    },
    /// Its namespace is going, and the pod with it.
    Closing,
    /// Others wrote the same objects all the while.
    Conflict,
    /// There is no such pod.
    Gone,
    /// Another pod has taken its name.
    Replaced,
    /// We may not.
    Forbidden {
        /// The API's words.
        said: String,
    },
    /// Whether anything happened is not known; the watch will tell.
    Unknown {
        /// What was seen.
        said: String,
    },
}

/// What follows from an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The watch tells how it goes on; if it does not, it is tried again then.
    Watch(Timestamp),
    /// Asleep until its budget changes; the time is the safety re-check, where there is one.
    Budget(Option<Timestamp>),
    /// Tried again then.
    Again(Timestamp),
    /// Nothing we could do would change it; looked at again then, where we wait at all.
    Never(Timestamp),
}

impl Outcome {
    /// What an answer means.
    pub fn of(answer: &Answer) -> Self {
        let said = answer.said.clone();
        let cause = |reason: &str| answer.causes.iter().find(|cause| cause.reason == reason);
        let refuses = ["admission webhook", "calling webhook", "ValidatingAdmissionPolicy"];
        let not_admitted = refuses.iter().any(|words| said.contains(words));
        match answer.code {
            None => Self::Unknown { said },
            Some(200..=299) => Self::Accepted,
            Some(_) if said.contains("more than one PodDisruptionBudget") => Self::TwoBudgets { said },
            Some(_) if not_admitted => Self::Denied { said },
            Some(_) if cause(TERMINATING).is_some() => Self::Closing,
            Some(404) => Self::Gone,
            // An eviction and a deletion say it in different words.
            Some(409) if said.contains("UID in the precondition") || said.contains("UID in precondition") => {
                Self::Replaced
            }
            Some(409) => Self::Conflict,
            Some(429) => match cause(BUDGET) {
                // The API server sends a time only where the controller has to catch up first.
                Some(cause) if answer.retry_after.is_some() || cause.said.contains("still being processed") => {
                    Self::NotObserved { said: cause.said.clone() }
                }
                Some(cause) => Self::NoRoom { said: cause.said.clone() },
                None => Self::Throttled { seconds: answer.retry_after.map_or(1, |time| time.as_secs().max(1)) },
            },
            Some(403) if cause(BUDGET).is_some() => Self::Denied { said },
            Some(401 | 403) => Self::Forbidden { said },
            Some(504) => Self::Conflict,
            // A policy written in CEL answers 422 without the word webhook; so does anything that is wrong for good.
            Some(400..=499) => Self::Denied { said },
            Some(_) => Self::Unknown { said },
        }
    }

    /// What follows, seen at a time after so many tries.
    pub fn next(&self, at: Timestamp, tries: u32) -> Next {
        let after = |pause: SignedDuration| at.saturating_add(pause).unwrap_or(Timestamp::MAX);
        match self {
            Self::Accepted | Self::Gone | Self::Replaced | Self::Closing => Next::Watch(after(SAFETY)),
            Self::NoRoom { .. } => Next::Budget(None),
            Self::NotObserved { .. } => Next::Budget(Some(after(SAFETY))),
            Self::Throttled { seconds } => {
                Next::Again(after(SignedDuration::from_secs(i64::try_from(*seconds).unwrap_or(i64::MAX))))
            }
            Self::Conflict => Next::Again(after(AFTER_CONFLICT)),
            // Doubled up to the safety re-check: an API server that is being replaced is back within seconds.
            Self::Unknown { .. } => {
                let pause = SignedDuration::from_secs(1_i64 << tries.saturating_sub(1).min(4));
                Next::Again(after(pause.min(SAFETY)))
            }
            Self::Denied { .. } => Next::Again(after(SAFETY)),
            Self::TwoBudgets { .. } | Self::Forbidden { .. } => Next::Never(after(SAFETY)),
        }
    }

    /// In words for the person who waits; `None` where there is nothing to say.
    pub fn words(&self) -> Option<String> {
        Some(match self {
            Self::Accepted | Self::Gone | Self::Replaced => return None,
            Self::NoRoom { said } | Self::NotObserved { said } => said.clone(),
            Self::Throttled { seconds } => format!("the API server sheds load and asked for {seconds} s"),
            Self::TwoBudgets { said } => said.clone(),
            Self::Denied { said } => format!("refused: {said}"),
            Self::Closing => "its namespace is being deleted, and it with it".to_owned(),
            Self::Conflict => "others write the same objects".to_owned(),
            Self::Forbidden { said } => format!("we may not: {said}"),
            Self::Unknown { said } => format!("no answer: {said}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, said: &str, causes: &[(&str, &str)], retry_after: Option<u64>) -> Outcome {
        let causes =
            causes.iter().map(|(reason, said)| Cause { reason: (*reason).into(), said: (*said).into() }).collect();
        let retry_after = retry_after.map(Duration::from_secs);
        Outcome::of(&Answer { code: Some(code), reason: String::new(), said: said.into(), causes, retry_after })
    }

    #[test]
    fn one_code_has_three_meanings() {
        let needs = "The disruption budget cart needs 2 healthy pods and has 2 currently";
        let budget = answer(429, "Cannot evict pod", &[("DisruptionBudget", needs)], None);
        assert_eq!(budget, Outcome::NoRoom { said: needs.into() });
        let behind = "The disruption budget cart is still being processed by the server.";
        let stale = answer(429, "Cannot evict pod", &[("DisruptionBudget", behind)], Some(10));
        assert_eq!(stale, Outcome::NotObserved { said: behind.into() });
        assert_eq!(answer(429, "too many requests", &[], Some(3)), Outcome::Throttled { seconds: 3 });
    }

    #[test]
    fn what_no_repetition_mends_is_told_from_what_passes() {
        let two = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
        assert!(matches!(answer(500, two, &[], None), Outcome::TwoBudgets { .. }));
        let denied = "admission webhook \"zpdb\" denied the request: zone b is down";
        for code in [400, 403, 429, 500] {
            assert_eq!(answer(code, denied, &[], None), Outcome::Denied { said: denied.into() }, "{code}");
        }
        let hangs = "Internal error occurred: failed calling webhook \"zpdb\": context deadline exceeded";
        assert!(matches!(answer(500, hangs, &[], None), Outcome::Denied { .. }));
        assert!(matches!(answer(500, "etcdserver: leader changed", &[], None), Outcome::Unknown { .. }));
        assert!(matches!(answer(503, "shutting down", &[], None), Outcome::Unknown { .. }));
        assert_eq!(answer(403, "no", &[("NamespaceTerminating", "")], None), Outcome::Closing);
        assert!(matches!(answer(403, "cannot create pods/eviction", &[], None), Outcome::Forbidden { .. }));
    }

    #[test]
    fn a_name_that_was_taken_over_is_told_from_a_race() {
        let said = "Precondition failed: UID in precondition: a, UID in object meta: b";
        assert_eq!(answer(409, said, &[], None), Outcome::Replaced);
        let said = "Operation cannot be fulfilled on Pod \"a\": the UID in the precondition (x) does not match the UID in record (y)";
        assert_eq!(answer(409, said, &[], None), Outcome::Replaced);
        assert_eq!(answer(409, "the object has been modified", &[], None), Outcome::Conflict);
        assert_eq!(answer(504, "couldn't update budget in time", &[], None), Outcome::Conflict);
        assert_eq!(answer(404, "pods \"a\" not found", &[], None), Outcome::Gone);
        assert_eq!(Outcome::of(&Answer::default()), Outcome::Unknown { said: String::new() });
    }

    #[test]
    fn no_answer_is_asked_for_again_soon_and_then_less_often() {
        let at = Timestamp::UNIX_EPOCH;
        let pause = |tries| match (Outcome::Unknown { said: String::new() }).next(at, tries) {
            Next::Again(then) => then.duration_since(at).as_secs(),
            other => panic!("{other:?}"),
        };
        assert_eq!([1, 2, 3, 4, 5, 50].map(pause), [1, 2, 4, 8, 15, 15]);
    }
}
