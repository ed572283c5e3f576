//! What a drain has tried so far, and what it has seen move.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::consent::{Class, classify};
use super::outcome::Outcome;
use super::world::{Name, Pod, World};

/// What was tried with one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Try {
    /// The pod's name; tries are kept by its uid, for another may take its name while one is under way.
    pub pod: Name,
    /// How often it was tried.
    pub tries: u32,
    /// The budgets it was to come from, as they were then: name and version.
    pub budgets: Vec<(Name, String)>,
    /// What it came to, and when; `None` while it is under way.
    pub outcome: Option<(Outcome, Timestamp)>,
}

/// What a drain has tried and seen. It begins empty with each process: everything in it can be seen again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    tries: BTreeMap<String, Try>,
    /// Budgets by the version of their status that was used up: what it allowed may have gone to an eviction of ours, or
    /// to somebody else's before it.
    used: BTreeMap<Name, String>,
    /// Pods that moved or had to, by uid.
    known: BTreeSet<String>,
    /// Owners of which a pod was evicted from the node.
    evicted: BTreeSet<String>,
    /// Of these, the pods that came to the node afterwards.
    returned: BTreeMap<String, BTreeSet<String>>,
    /// What could move, as it was when something moved last, and when that was.
    moved: Option<(Vec<(String, String)>, Timestamp)>,
    /// Evictions sent, and those of them that were refused by a budget.
    sent: (u32, u32),
}

impl Ledger {
    /// Takes note of what is there and whether anything moved since the last look.
    pub fn look(&mut self, world: &World) {
        if !world.is_listed() {
            return;
        }
        let node = world.target();
        let mut mark = Vec::new();
        for (name, pod) in &world.pods {
            if matches!(classify(pod, node), Class::Moves(_)) {
                let is_new = self.known.insert(pod.uid.clone());
                if let Some(owner) = pod.owner.as_ref().filter(|owner| is_new && self.evicted.contains(&owner.uid)) {
                    self.returned.entry(owner.uid.clone()).or_default().insert(pod.uid.clone());
                }
                mark.push((pod.uid.clone(), format!("{:?}", pod.deletion.map(|deletion| deletion.due))));
                for (key, budget) in world.budgets_of(name, pod) {
                    mark.push((key.to_string(), format!("{} {} {}", budget.allowed, budget.healthy, budget.desired)));
                }
            }
        }
        if self.moved.as_ref().is_none_or(|(before, _)| *before != mark) {
            self.moved = Some((mark, world.now));
        }
        let is_there = |uid: &String, one: &Try| world.pods.get(&one.pod).is_some_and(|pod| pod.uid == *uid);
        self.tries.retain(|uid, one| one.outcome.is_none() || is_there(uid, one));
    }

    /// An eviction, or a deletion, is sent.
    pub fn send<'n>(&mut self, world: &World, pod: &Name, uid: &str, budgets: impl IntoIterator<Item = &'n Name>) {
        let tries = self.of(uid).map_or(0, |one| one.tries) + 1;
        let version = |name: &Name| world.budgets.get(name).map(|budget| budget.version.clone()).unwrap_or_default();
        let budgets: Vec<_> = budgets.into_iter().map(|name| (name.clone(), version(name))).collect();
        self.used.extend(budgets.clone());
        self.tries.insert(uid.to_owned(), Try { pod: pod.clone(), tries, budgets, outcome: None });
        self.sent.0 += 1;
    }

    /// It was answered.
    pub fn answer(&mut self, world: &World, pod: &Name, uid: &str, outcome: Outcome, at: Timestamp) {
        match &outcome {
            Outcome::NoRoom { .. } | Outcome::NotObserved { .. } => self.sent.1 += 1,
            Outcome::Accepted => {
                let owner = world.pods.get(pod).and_then(|pod| pod.owner.as_ref());
                self.evicted.extend(owner.map(|owner| owner.uid.clone()));
            }
            _ => {}
        }
        if let Some(one) = self.tries.get_mut(uid) {
            let spends = matches!(outcome, Outcome::Accepted | Outcome::NoRoom { .. } | Outcome::NotObserved { .. });
            if !spends {
                one.budgets.iter().for_each(|(budget, _)| drop(self.used.remove(budget)));
            }
            one.outcome = Some((outcome, at));
        }
    }

    /// Whether what a budget's status allows, as it stands, may have been used up.
    pub fn is_used(&self, budget: &Name, version: &str) -> bool {
        self.used.get(budget).is_some_and(|used| used == version)
    }

    /// Whether this very pod was asked to go and may do so any moment.
    pub fn is_asked(&self, uid: &str) -> bool {
        let may_go = |outcome: &Outcome| matches!(outcome, Outcome::Accepted | Outcome::Unknown { .. });
        self.of(uid).is_some_and(|one| one.outcome.as_ref().is_none_or(|(outcome, _)| may_go(outcome)))
    }

    /// What was tried with this very pod.
    pub fn of(&self, uid: &str) -> Option<&Try> {
        self.tries.get(uid)
    }

    /// Everything that is under way, or was tried with pods that are still there.
    pub fn tries(&self) -> impl Iterator<Item = &Try> {
        self.tries.values()
    }

    /// How many pods of a pod's owner came to the node after one of them was evicted, this pod being among them; none
    /// where it is not.
    pub fn returned_with(&self, pod: &Pod) -> usize {
        let owner = pod.owner.as_ref().and_then(|owner| self.returned.get(&owner.uid));
        owner.filter(|returned| returned.contains(&pod.uid)).map_or(0, BTreeSet::len)
    }

    /// Pods that moved or had to since the beginning.
    pub fn known(&self) -> usize {
        self.known.len()
    }

    /// When something moved last.
    pub fn moved_at(&self) -> Option<Timestamp> {
        self.moved.as_ref().map(|(_, at)| *at)
    }

    /// Evictions sent, and those of them that a budget refused.
    pub fn sent(&self) -> (u32, u32) {
        self.sent
    }
}
