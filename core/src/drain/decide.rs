//! What to do now and what to wait for: pure, asked again at every event.
//!
//! One eviction at a time is under way for a budget, and the next one only on news of it: concurrent ones fight over one
//! status object in the API server, and a status that was used says nothing. Evictions of different budgets know no
//! limit here.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::budget::{Budget, Room};
use super::consent::{Class, Consent, Left, classify};
use super::ledger::{Ledger, Try};
use super::outcome::{Next, Outcome};
use super::policy::Policy;
use super::world::{Name, Pod, World};

/// Pods from this priority on (`system-cluster-critical`) go last: DNS, storage and network serve the others while they
/// end.
const CRITICAL: i32 = 2_000_000_000;

/// Pods of one owner that came back so often are evicted once more; those that come after them will come for ever.
const RETURNS: usize = 2;

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Evict through the Eviction API.
    Evict {
        /// Which pod.
        pod: Name,
        /// Which one of that name.
        uid: String,
        /// The budget it comes from; `None` where none is asked.
        budget: Option<Name>,
    },
    /// Delete with its whole grace, as the user agreed: past a budget that can never have room, or because several count it.
    Delete {
        /// Which pod.
        pod: Name,
        /// Which one of that name.
        uid: String,
        /// The budgets that count it.
        budgets: Vec<Name>,
    },
}

impl Action {
    /// Whom it is about.
    pub fn pod(&self) -> &Name {
        match self {
            Self::Evict { pod, .. } | Self::Delete { pod, .. } => pod,
        }
    }
}

/// A pod that does not go right now, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// Which pod.
    pub pod: Name,
    /// Why.
    pub reason: Reason,
}

/// Why a pod does not go right now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Reason {
    /// Our request is under way, or its effect is not seen yet.
    Asked,
    /// It ends, and may take until then.
    Ending {
        /// When its grace is over.
        due: Timestamp,
    },
    /// Others of its budget go first.
    Turn {
        /// Which budget.
        budget: Name,
    },
    /// Pods of lower priority go first.
    Tier,
    /// Its budget has no room.
    Budget {
        /// Which budget.
        budget: Name,
    },
    /// Its budget's status is behind its wishes.
    Behind {
        /// Which budget.
        budget: Name,
    },
    /// More than one budget counts it, and the API server evicts no such pod.
    TwoBudgets {
        /// Which.
        budgets: Vec<Name>,
    },
    /// It was refused, and is tried again then.
    Refused {
        /// Why, in words.
        said: String,
        /// When.
        again: Timestamp,
    },
    /// We may not evict it.
    Forbidden {
        /// The API's words.
        said: String,
    },
    /// The user has not agreed.
    Consent {
        /// To what.
        to: Consent,
    },
    /// It has ended, and a finalizer holds its object.
    Held {
        /// Which finalizers.
        finalizers: Vec<String>,
    },
    /// It has not ended in its time.
    Stuck {
        /// When it should have.
        due: Timestamp,
    },
}

/// Where a drain stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Pods that had to move since the beginning.
    pub all: usize,
    /// Of these, the ones that are gone.
    pub gone: usize,
    /// Asked for or ending.
    pub moving: usize,
    /// Waiting for something.
    pub waiting: usize,
    /// Pods that stay.
    pub left: usize,
}

/// Whether it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It does.
    Going,
    /// Nothing that had to move is there any more.
    Drained,
    /// It cannot go on; the waits say why.
    Blocked,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Things to do.
    pub actions: Vec<Action>,
    /// Pods that do not go right now.
    pub waits: Vec<Wait>,
    /// Where it stands.
    pub standing: Standing,
    /// Pods that stay, and why.
    pub left: Vec<(Name, Left)>,
    /// Pods that the user agreed to go on without.
    pub passed: Vec<(Name, Consent)>,
    /// Whether it goes on.
    pub end: End,
    /// When to decide again although nothing was heard; `None` where only news change anything.
    pub wake: Option<Timestamp>,
}

impl Reason {
    /// Whether the pod moves already.
    pub fn is_moving(&self) -> bool {
        matches!(self, Self::Asked | Self::Ending { .. })
    }

    /// Whether it only waits for other pods of this drain.
    pub fn is_queueing(&self) -> bool {
        matches!(self, Self::Turn { .. } | Self::Tier)
    }

    /// Whether waiting changes nothing: a person has to.
    fn is_hopeless(&self, policy: &Policy) -> bool {
        match self {
            // A kubelet that starts anew is not heard of for a moment.
            Self::Consent { to } => *to != Consent::Unreachable,
            Self::Forbidden { .. } => true,
            // Somebody may take one of the budgets away meanwhile.
            Self::TwoBudgets { .. } => !policy.wait,
            _ => false,
        }
    }
}

/// Decides.
pub fn decide(world: &World, policy: &Policy, ledger: &Ledger) -> Decision {
    let mut work = Work::new(world, policy, ledger);
    if !world.is_listed() {
        return work.decision(End::Going);
    }
    let node = world.target();
    let mut rest: Vec<(&Name, &Pod)> = Vec::new();
    for (name, pod) in &world.pods {
        match classify(pod, node) {
            Class::Stays(why) => work.left.push((name.clone(), why)),
            Class::Moves(_) if pod.deletion.is_some() => work.ending(name, pod),
            Class::Moves(needs) => match needs.into_iter().find(|need| !policy.agrees(*need)) {
                Some(to) => work.wait(name, Reason::Consent { to }),
                None if returns(pod, ledger) => work.returning(name),
                None => rest.push((name, pod)),
            },
        }
    }
    // Evicting others while this one can never go would be disruption for nothing.
    let hopeless = work.waits.iter().any(|wait| wait.reason.is_hopeless(policy));
    rest.sort_by_key(|(name, pod)| (tier(pod), std::cmp::Reverse(pod.grace_seconds), *name));
    let first = work.lowest_ending_tier().into_iter().chain(rest.first().map(|(_, pod)| tier(pod))).min();
    for (name, pod) in rest {
        if first.is_some_and(|first| tier(pod) > first) {
            work.wait(name, Reason::Tier);
        } else {
            work.candidate(name, pod, hopeless);
        }
    }
    let end = work.end();
    work.decision(end)
}

/// Whether the node is as a drain by these rules leaves it: cordoned, and nothing there that such a drain would move.
pub fn is_emptied(world: &World, policy: &Policy) -> bool {
    let Decision { actions, waits, .. } = decide(world, policy, &Ledger::default());
    let moving = actions.iter().map(Action::pod).chain(waits.iter().map(|wait| &wait.pod));
    // Those that come again whatever is done, as was agreed, had their tries.
    let comes_again = |pod: &Pod| pod.owner.is_some() && policy.agrees(Consent::Returning);
    let mut others = moving.filter(|name| !world.pods.get(*name).is_some_and(comes_again));
    world.is_listed() && world.target().is_some_and(|node| !node.schedulable) && others.next().is_none()
}

fn tier(pod: &Pod) -> u8 {
    u8::from(pod.priority >= CRITICAL)
}

/// Whether its owner's pods came back here after we evicted them, and will again.
fn returns(pod: &Pod, ledger: &Ledger) -> bool {
    ledger.returned_with(pod) > RETURNS
}

struct Work<'a> {
    world: &'a World,
    policy: &'a Policy,
    ledger: &'a Ledger,
    /// Budgets with an eviction under way.
    busy: BTreeSet<Name>,
    actions: Vec<Action>,
    waits: Vec<Wait>,
    left: Vec<(Name, Left)>,
    passed: Vec<(Name, Consent)>,
    wake: Option<Timestamp>,
}

impl<'a> Work<'a> {
    fn new(world: &'a World, policy: &'a Policy, ledger: &'a Ledger) -> Self {
        let under_way = ledger.tries().filter(|one| one.outcome.is_none());
        let busy = under_way.flat_map(|one| one.budgets.iter().map(|(budget, _)| budget.clone())).collect();
        let (actions, waits, left, passed) = Default::default();
        Self { world, policy, ledger, busy, actions, waits, left, passed, wake: None }
    }

    fn wait(&mut self, pod: &Name, reason: Reason) {
        self.waits.push(Wait { pod: pod.clone(), reason });
    }

    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |before| before.min(at)));
    }

    /// A pod that is being deleted: its whole grace is its own.
    fn ending(&mut self, name: &Name, pod: &Pod) {
        let Some(deletion) = pod.deletion else { return };
        if self.world.target().is_some_and(|node| node.unreachable) {
            if self.policy.agrees(Consent::Unreachable) {
                self.passed.push((name.clone(), Consent::Unreachable));
            } else {
                self.wait(name, Reason::Consent { to: Consent::Unreachable });
            }
            return;
        }
        if !deletion.is_overdue(self.world.now) {
            self.wake_at(deletion.limit().saturating_add(SignedDuration::from_secs(1)).unwrap_or(Timestamp::MAX));
            return self.wait(name, Reason::Ending { due: deletion.due });
        }
        let (consent, reason) = if pod.finalizers.is_empty() {
            (Consent::StuckTerminating, Reason::Stuck { due: deletion.due })
        } else {
            (Consent::FinalizerHeld, Reason::Held { finalizers: pod.finalizers.clone() })
        };
        if self.policy.agrees(consent) {
            self.passed.push((name.clone(), consent));
        } else {
            self.wait(name, reason);
        }
    }

    fn returning(&mut self, name: &Name) {
        if self.policy.agrees(Consent::Returning) {
            self.passed.push((name.clone(), Consent::Returning));
        } else {
            self.wait(name, Reason::Consent { to: Consent::Returning });
        }
    }

    /// The lowest tier of which pods still end.
    fn lowest_ending_tier(&self) -> Option<u8> {
        let ending = self.waits.iter().filter(|wait| !matches!(wait.reason, Reason::Consent { .. }));
        ending.filter_map(|wait| self.world.pods.get(&wait.pod).map(tier)).min()
    }

    /// A pod that may be evicted now, if its budget and its past let it.
    fn candidate(&mut self, name: &Name, pod: &Pod, hopeless: bool) {
        if let Some(reason) = self.past(name, pod) {
            return self.wait(name, reason);
        }
        let counts = self.world.budgets_of(name, pod).filter(|_| !pod.is_of_no_budget());
        let budgets: Vec<(&Name, &Budget)> = counts.collect();
        let names = || budgets.iter().map(|(key, _)| (*key).clone()).collect();
        if budgets.len() > 1 && !self.policy.past_several {
            return self.wait(name, Reason::TwoBudgets { budgets: names() });
        }
        if let Some(reason) = budgets.iter().find_map(|(key, budget)| self.held_by(key, budget, pod)) {
            return self.wait(name, reason);
        }
        match budgets.as_slice() {
            [] => self.evict(name, pod, None, hopeless),
            [(key, budget)] if !self.is_passed(key, budget, pod) => {
                self.evict(name, pod, (budget.room(pod) != Room::NotAsked).then_some(*key), hopeless);
            }
            _ => self.delete(name, pod, names(), hopeless),
        }
    }

    /// Whether it can never let this pod go, and the user agreed to go past it.
    fn is_passed(&self, key: &Name, budget: &Budget, pod: &Pod) -> bool {
        self.policy.past_budgets.contains(key) && budget.never(pod).is_some()
    }

    /// What a budget has against the pod's going now. One that is gone past lets one pod go after another, the next when as many serve as
    /// must.
    fn held_by(&mut self, key: &Name, budget: &Budget, pod: &Pod) -> Option<Reason> {
        let budget_of = || key.clone();
        match budget.room(pod) {
            Room::NotAsked => None,
            _ if self.busy.contains(key) => Some(Reason::Turn { budget: budget_of() }),
            Room::Yes if !self.is_used(key, &budget.version) => None,
            Room::Yes => Some(Reason::Turn { budget: budget_of() }),
            Room::Behind => Some(Reason::Behind { budget: budget_of() }),
            Room::No if self.is_passed(key, budget, pod) => self.held_back(key, budget, pod),
            Room::No => Some(Reason::Budget { budget: budget_of() }),
        }
    }

    /// The same of a budget that is gone past.
    fn held_back(&mut self, key: &Name, budget: &Budget, pod: &Pod) -> Option<Reason> {
        let goes = |one: &Pod| budget.counts(one) && (one.deletion.is_some() || self.ledger.is_asked(&one.uid));
        let turn = Reason::Turn { budget: key.clone() };
        if self.world.pods.iter().any(|(name, one)| name.namespace == key.namespace && goes(one)) {
            return Some(turn);
        }
        // What is not Ready costs nobody anything, and a status that cannot be worked out tells nothing.
        if !pod.is_ready() || budget.sync_failed.is_some() {
            return None;
        }
        if self.is_used(key, &budget.version) {
            return Some(turn);
        }
        (budget.healthy < budget.desired).then(|| Reason::Budget { budget: key.clone() })
    }

    /// Why the last try of this pod keeps it from another one now.
    fn past(&mut self, name: &Name, pod: &Pod) -> Option<Reason> {
        let one = self.ledger.of(&pod.uid)?;
        let Some((outcome, at)) = &one.outcome else { return Some(Reason::Asked) };
        let (reason, until) = match outcome.next(*at, one.tries) {
            Next::Budget(_) => return None,
            Next::Watch(until) => {
                let closing = matches!(outcome, Outcome::Closing);
                let said = outcome.words().filter(|_| closing);
                (said.map_or(Reason::Asked, |said| Reason::Refused { said, again: until }), until)
            }
            Next::Again(again) => (Reason::Refused { said: outcome.words().unwrap_or_default(), again }, again),
            Next::Never(until) => (self.never(name, pod, outcome), until),
        };
        if self.world.now >= until {
            return None;
        }
        self.wake_at(until);
        Some(reason)
    }

    fn never(&self, name: &Name, pod: &Pod, outcome: &Outcome) -> Reason {
        match outcome {
            Outcome::TwoBudgets { .. } => {
                let budgets = self.world.budgets_of(name, pod).map(|(key, _)| key.clone()).collect();
                Reason::TwoBudgets { budgets }
            }
            other => Reason::Forbidden { said: other.words().unwrap_or_default() },
        }
    }

    /// Whether the status of a budget was used up; the controller that caught up late is asked again in the end.
    fn is_used(&mut self, key: &Name, version: &str) -> bool {
        if !self.ledger.is_used(key, version) {
            return false;
        }
        let of_it = |one: &&Try| one.budgets.iter().any(|(budget, _)| budget == key);
        let behind = self.ledger.tries().filter(of_it).find_map(|one| match &one.outcome {
            Some((outcome @ Outcome::NotObserved { .. }, at)) => Some(outcome.next(*at, one.tries)),
            _ => None,
        });
        if let Some(Next::Budget(Some(until))) = behind {
            if self.world.now >= until {
                return false;
            }
            self.wake_at(until);
        }
        true
    }

    fn evict(&mut self, name: &Name, pod: &Pod, budget: Option<&Name>, hopeless: bool) {
        if hopeless {
            return;
        }
        self.busy.extend(budget.cloned());
        self.actions.push(Action::Evict { pod: name.clone(), uid: pod.uid.clone(), budget: budget.cloned() });
    }

    fn delete(&mut self, name: &Name, pod: &Pod, budgets: Vec<Name>, hopeless: bool) {
        if hopeless {
            return;
        }
        self.busy.extend(budgets.iter().cloned());
        self.actions.push(Action::Delete { pod: name.clone(), uid: pod.uid.clone(), budgets });
    }

    fn end(&mut self) -> End {
        if !self.actions.is_empty() {
            return End::Going;
        }
        if self.waits.is_empty() {
            return End::Drained;
        }
        let asked = self.waits.iter().any(|wait| wait.reason == Reason::Asked);
        if self.waits.iter().any(|wait| wait.reason.is_hopeless(self.policy)) {
            return if asked { End::Going } else { End::Blocked };
        }
        let moving = self.waits.iter().any(|wait| matches!(wait.reason, Reason::Ending { .. }));
        if self.policy.wait || moving {
            return End::Going;
        }
        let patience = SignedDuration::from_secs(self.policy.patience_seconds.into());
        let Some(limit) = self.ledger.moved_at().and_then(|at| at.checked_add(patience).ok()) else {
            return End::Going;
        };
        if self.world.now >= limit {
            return End::Blocked;
        }
        self.wake_at(limit);
        End::Going
    }

    fn decision(self, end: End) -> Decision {
        let moving = self.waits.iter().filter(|wait| wait.reason.is_moving()).count() + self.actions.len();
        let waiting = self.waits.len() + self.actions.len() - moving;
        let passed = self.passed.len();
        let all = self.ledger.known().max(moving + waiting + passed);
        let standing = Standing { all, gone: all - moving - waiting - passed, moving, waiting, left: self.left.len() };
        let (actions, waits, left, passed) = (self.actions, self.waits, self.left, self.passed);
        Decision { actions, waits, standing, left, passed, end, wake: self.wake }
    }
}

impl Decision {
    /// Budgets without room, whose pods are worth a close look.
    pub fn blocked_budgets(&self) -> BTreeSet<&Name> {
        let of = |wait: &'_ Wait| matches!(wait.reason, Reason::Budget { .. });
        self.waits.iter().filter(|wait| of(wait)).filter_map(|wait| wait.budget()).collect()
    }

    /// Waits that hold the drain up, one for each budget or other cause, with how many more pods wait for the same.
    pub fn blockers(&self) -> Vec<(&Wait, usize)> {
        let mut seen: BTreeMap<(bool, &Name), (&Wait, usize)> = BTreeMap::new();
        for wait in self.waits.iter().filter(|wait| !wait.reason.is_moving() && !wait.reason.is_queueing()) {
            let cause = wait.budget().map_or((false, &wait.pod), |budget| (true, budget));
            seen.entry(cause).and_modify(|(_, more)| *more += 1).or_insert((wait, 0));
        }
        seen.into_values().collect()
    }
}

impl Wait {
    /// The budget it waits for, if it waits for one.
    pub fn budget(&self) -> Option<&Name> {
        match &self.reason {
            Reason::Budget { budget } | Reason::Behind { budget } | Reason::Turn { budget } => Some(budget),
            _ => None,
        }
    }
}
