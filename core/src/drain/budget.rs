//! PodDisruptionBudgets: what they count, what they allow now, and whether they ever will
//! (kubernetes pkg/registry/core/pod/storage/eviction.go and pkg/controller/disruption).

use serde::{Deserialize, Serialize};

use super::selector::Selector;
use super::world::{Owner, Pod};

/// A PodDisruptionBudget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Budget {
    /// Changes with every write; tells an event from old news.
    pub version: String,
    /// Which pods it counts; `None` means none.
    pub selector: Option<Selector>,
    /// What it asks for.
    pub wanted: Wanted,
    /// What becomes of pods that are not Ready.
    pub unhealthy: UnhealthyPolicy,
    /// Version of its wishes.
    pub generation: i64,
    /// Version of its wishes that the status below was worked out for.
    pub observed_generation: i64,
    /// How many evictions it allows now.
    pub allowed: i32,
    /// Pods that serve.
    pub healthy: i32,
    /// Pods that must serve.
    pub desired: i32,
    /// Pods there should be.
    pub expected: i32,
    /// The controller's words where it could not work the status out.
    pub sync_failed: Option<String>,
    /// Whoever made it and keeps it so, where it was made by a program.
    pub owner: Option<Owner>,
}

/// What a budget asks for, in the API's words (`1`, `50%`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Wanted {
    /// So many must serve.
    MinAvailable(String),
    /// So many may be missing.
    MaxUnavailable(String),
    /// Nothing: no pod must serve.
    #[default]
    Unset,
}

/// What becomes of pods that are not Ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum UnhealthyPolicy {
    /// They may go while the others are enough.
    #[default]
    IfHealthyBudget,
    /// They may always go.
    AlwaysAllow,
}

/// Why a budget will never let a pod go as things are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Never {
    /// Its own words allow nothing, whatever is Ready.
    Zero,
    /// Its only replica must serve.
    OnlyReplica,
    /// Its controller cannot work it out.
    SyncFailed {
        /// The controller's words.
        said: String,
    },
    /// It asks for nothing, which the API server reads as nothing to give: no pod is healthy and this one is not Ready.
    Permissive,
}

/// What a budget says to one eviction now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It is not asked: the eviction changes nothing that it counts.
    NotAsked,
    /// There is room for it.
    Yes,
    /// There is none.
    No,
    /// Its status is behind its wishes; the API server refuses until the controller has caught up.
    Behind,
}

impl Wanted {
    /// How many must serve where there should be so many. A percentage is rounded up whichever wish it is for
    /// (kubernetes pkg/controller/disruption, `GetScaledValueFromIntOrPercent` with `roundUp`).
    pub fn desired(&self, expected: i32) -> Option<i32> {
        let scaled = |value: &str| match value.strip_suffix('%') {
            Some(percent) => {
                let percent: i64 = percent.parse().ok()?;
                i32::try_from((i64::from(expected) * percent + 99).div_euclid(100)).ok()
            }
            None => value.parse().ok(),
        };
        match self {
            Self::MinAvailable(value) => scaled(value),
            Self::MaxUnavailable(value) => scaled(value).map(|most| (expected - most).max(0)),
            Self::Unset => Some(0),
        }
    }
}

impl Budget {
    /// Whether it counts the pod; its namespace is the caller's business.
    pub fn counts(&self, pod: &Pod) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.matches(&pod.labels))
    }

    /// What it says to the eviction of a pod, as the API server decides.
    pub fn room(&self, pod: &Pod) -> Room {
        if pod.is_of_no_budget() {
            return Room::NotAsked;
        }
        if !pod.is_ready() {
            let enough = self.healthy >= self.desired && self.desired > 0;
            if self.unhealthy == UnhealthyPolicy::AlwaysAllow || enough {
                return Room::NotAsked;
            }
        }
        if self.observed_generation < self.generation {
            return Room::Behind;
        }
        if self.allowed > 0 { Room::Yes } else { Room::No }
    }

    /// Why it will never let this pod go without somebody changing something, if that is so.
    pub fn never(&self, pod: &Pod) -> Option<Never> {
        if matches!(self.room(pod), Room::NotAsked | Room::Yes) {
            return None;
        }
        if let Some(said) = &self.sync_failed {
            return Some(Never::SyncFailed { said: said.clone() });
        }
        if self.observed_generation < self.generation {
            // The status is of other wishes; how many pods there should be hangs on none of them.
            let by_words = self.wanted.desired(self.expected).is_some_and(|desired| desired >= self.expected);
            return (self.is_zero_by_words() || (self.expected > 0 && by_words)).then_some(Never::Zero);
        }
        if self.expected > 0 && self.desired >= self.expected {
            let only = (self.expected, self.desired) == (1, 1) && !self.is_zero_by_words();
            return Some(if only { Never::OnlyReplica } else { Never::Zero });
        }
        (self.desired == 0 && self.healthy == 0 && !pod.is_ready()).then_some(Never::Permissive)
    }

    /// Whether it holds a pod that does not serve anyway, because too few others do.
    pub fn holds_unready(&self, pod: &Pod) -> bool {
        !pod.is_ready() && self.room(pod) == Room::No && self.healthy < self.desired
    }

    /// `maxUnavailable` of nothing, `minAvailable` of all.
    fn is_zero_by_words(&self) -> bool {
        match &self.wanted {
            Wanted::MaxUnavailable(value) => matches!(value.as_str(), "0" | "0%"),
            Wanted::MinAvailable(value) => value == "100%",
            Wanted::Unset => false,
        }
    }

    /// What it asks for, in words: `minAvailable 1`.
    pub fn words(&self) -> String {
        match &self.wanted {
            Wanted::MinAvailable(value) => format!("minAvailable {value}"),
            Wanted::MaxUnavailable(value) => format!("maxUnavailable {value}"),
            Wanted::Unset => "neither minAvailable nor maxUnavailable".to_owned(),
        }
    }

    /// The arithmetic of its status: `2 healthy, 2 wanted, 0 may be disrupted`.
    pub fn arithmetic(&self) -> String {
        format!("{} healthy, {} wanted, {} may be disrupted", self.healthy, self.desired, self.allowed)
    }

    /// The smallest change that frees a pod that it would never let go.
    pub fn smallest_change(&self, never: &Never) -> String {
        match (never, &self.wanted) {
            (Never::OnlyReplica, _) => "replicas 2, or maxUnavailable 1".to_owned(),
            (Never::Zero, Wanted::MaxUnavailable(_)) => "maxUnavailable 1".to_owned(),
            // More replicas help a number only.
            (Never::Zero, Wanted::MinAvailable(value)) if self.expected > 1 && value.ends_with('%') => {
                format!("minAvailable {}", self.expected - 1)
            }
            (Never::Zero, _) if self.expected > 1 => {
                format!("minAvailable {}, or replicas {}", self.expected - 1, self.desired + 1)
            }
            (Never::Zero, _) => "maxUnavailable 1 instead of minAvailable".to_owned(),
            (Never::SyncFailed { .. }, _) => {
                "a number for minAvailable instead of maxUnavailable or a percentage".to_owned()
            }
            (Never::Permissive, _) => "unhealthyPodEvictionPolicy: AlwaysAllow".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::world::{Phase, Readiness};

    fn pod(ready: bool) -> Pod {
        let readiness = if ready { Readiness::Ready } else { Readiness::default() };
        Pod { phase: Phase::Running, readiness, ..Pod::default() }
    }

    fn budget(healthy: i32, desired: i32, expected: i32) -> Budget {
        let allowed = (healthy - desired).max(0);
        Budget { healthy, desired, expected, allowed, ..Budget::default() }
    }

    #[test]
    fn a_pod_that_is_not_ready_may_go_while_the_others_are_enough() {
        assert_eq!(budget(2, 2, 3).room(&pod(false)), Room::NotAsked);
        assert_eq!(budget(1, 2, 3).room(&pod(false)), Room::No);
        assert_eq!(budget(2, 2, 3).room(&pod(true)), Room::No);
        assert_eq!(budget(3, 2, 3).room(&pod(true)), Room::Yes);
        let open = Budget { unhealthy: UnhealthyPolicy::AlwaysAllow, ..budget(0, 2, 3) };
        assert_eq!(open.room(&pod(false)), Room::NotAsked);
    }

    #[test]
    fn percentages_are_rounded_up_for_either_wish() {
        let least = |value: &str, of| Wanted::MinAvailable(value.into()).desired(of);
        let most = |value: &str, of| Wanted::MaxUnavailable(value.into()).desired(of);
        assert_eq!((least("50%", 1), least("50%", 3), least("2", 5)), (Some(1), Some(2), Some(2)));
        assert_eq!((most("30%", 3), most("50%", 1), most("7", 5)), (Some(2), Some(0), Some(0)));
        assert_eq!(least("many", 3), None);
    }

    #[test]
    fn a_pod_that_never_ran_is_nobodys_budget() {
        let pending = Pod { phase: Phase::Pending, ..pod(false) };
        assert_eq!(budget(0, 2, 3).room(&pending), Room::NotAsked);
    }

    #[test]
    fn a_status_behind_its_wishes_is_refused() {
        let behind = Budget { generation: 2, observed_generation: 1, ..budget(3, 1, 3) };
        assert_eq!(behind.room(&pod(true)), Room::Behind);
        assert_eq!(behind.never(&pod(true)), None);
    }

    #[test]
    fn budgets_that_can_never_give_are_told_from_those_that_only_wait() {
        let by_words = Budget { wanted: Wanted::MaxUnavailable("0".into()), ..budget(3, 3, 3) };
        assert_eq!(by_words.never(&pod(true)), Some(Never::Zero));
        assert_eq!(by_words.smallest_change(&Never::Zero), "maxUnavailable 1");
        let single = Budget { wanted: Wanted::MinAvailable("1".into()), ..budget(1, 1, 1) };
        assert_eq!(single.never(&pod(true)), Some(Never::OnlyReplica));
        let all = Budget { wanted: Wanted::MinAvailable("3".into()), ..budget(3, 3, 3) };
        assert_eq!(all.smallest_change(&all.never(&pod(true)).unwrap()), "minAvailable 2, or replicas 4");
        let far = Budget { wanted: Wanted::MinAvailable("5".into()), ..budget(3, 5, 3) };
        assert_eq!(far.smallest_change(&far.never(&pod(true)).unwrap()), "minAvailable 2, or replicas 6");
        let percent = Budget { wanted: Wanted::MinAvailable("100%".into()), ..budget(3, 3, 3) };
        assert_eq!(percent.smallest_change(&percent.never(&pod(true)).unwrap()), "minAvailable 2");
        let alone = Budget { wanted: Wanted::MinAvailable("4".into()), ..budget(1, 4, 1) };
        assert_eq!(alone.never(&pod(true)), Some(Never::Zero), "another replica would not do");
        assert_eq!(budget(1, 1, 2).never(&pod(true)), None, "it waits for the second");
        assert_eq!(budget(0, 0, 2).never(&pod(false)), Some(Never::Permissive));
        let failed = Budget { sync_failed: Some("no scale".into()), ..budget(0, 0, 0) };
        assert!(matches!(failed.never(&pod(true)), Some(Never::SyncFailed { .. })));
    }
}
