//! Pods and budgets at every revision of the cluster's database: one list, then a watch that goes on where it ended. One
//! that missed a revision fails the measurement.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Client, Resource, ResourceExt};
use kubewright_core::drain::Name;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The label by which pods belong to a workload; its budget has the workload's name.
pub const APP: &str = "app";

/// How long one watch lasts, in seconds: the API server's own is 30 to 60 minutes, kube's client takes less than 295 s.
const WATCH_SECONDS: u32 = 290;

/// A pod, as far as budgets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSeen {
    /// Tells it from another of its name.
    pub uid: String,
    /// Its workload.
    pub workload: Name,
    /// Where it runs.
    pub node: Option<String>,
    /// It serves and is not being deleted.
    pub healthy: bool,
}

/// A budget's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetSeen {
    /// How many pods must serve.
    pub desired: i32,
    /// How many there should be.
    pub expected: i32,
    /// How many may go now.
    pub allowed: i32,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Of a pod; `None` where it is gone.
    Pod(Name, Option<PodSeen>),
    /// Of a budget.
    Budget(Name, Option<BudgetSeen>),
}

/// Everything there is after some revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Pods.
    pub pods: BTreeMap<Name, PodSeen>,
    /// Budgets.
    pub budgets: BTreeMap<Name, BudgetSeen>,
}

impl State {
    fn enter(&mut self, change: Change) {
        match change {
            Change::Pod(name, Some(pod)) => drop(self.pods.insert(name, pod)),
            Change::Pod(name, None) => drop(self.pods.remove(&name)),
            Change::Budget(name, Some(budget)) => drop(self.budgets.insert(name, budget)),
            Change::Budget(name, None) => drop(self.budgets.remove(&name)),
        }
    }
}

/// Budgets of which at some revision fewer pods served than must, from this state on through these changes.
pub fn violated(start: &State, changes: &[(u64, Change)]) -> BTreeSet<Name> {
    let mut state = start.clone();
    let mut healthy: BTreeMap<Name, i32> = BTreeMap::new();
    for pod in state.pods.values().filter(|pod| pod.healthy) {
        *healthy.entry(pod.workload.clone()).or_default() += 1;
    }
    let is_short = |state: &State, healthy: &BTreeMap<Name, i32>, workload: &Name| {
        let there = healthy.get(workload).copied().unwrap_or(0);
        state.budgets.get(workload).is_some_and(|budget| there < budget.desired)
    };
    let mut found: BTreeSet<Name> =
        state.budgets.keys().filter(|budget| is_short(&state, &healthy, budget)).cloned().collect();
    // Each stream is in order; which of two streams' writes was first only their revisions tell, which are comparable
    // within one database.
    let mut changes: Vec<&(u64, Change)> = changes.iter().collect();
    changes.sort_by_key(|(revision, _)| *revision);
    for (_, change) in changes {
        let mut touched = BTreeSet::new();
        match change {
            Change::Pod(name, now) => {
                for (pod, by) in [(state.pods.get(name), -1), (now.as_ref(), 1)] {
                    if let Some(pod) = pod.filter(|pod| pod.healthy) {
                        *healthy.entry(pod.workload.clone()).or_default() += by;
                        touched.insert(pod.workload.clone());
                    }
                }
            }
            Change::Budget(name, _) => drop(touched.insert(name.clone())),
        }
        state.enter(change.clone());
        found.extend(touched.into_iter().filter(|budget| is_short(&state, &healthy, budget)));
    }
    found
}

#[derive(Default)]
struct Book {
    state: State,
    start: State,
    changes: Vec<(u64, Change)>,
    failure: Option<String>,
}

struct Shared {
    book: Mutex<Book>,
    changed: watch::Sender<()>,
}

impl Shared {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, revision: u64, change: Change) {
        let mut book = self.book();
        book.state.enter(change.clone());
        book.changes.push((revision, change));
        drop(book);
        self.changed.send_replace(());
    }
}

/// Watches until it is dropped.
pub struct Observer {
    shared: Arc<Shared>,
    _watching: JoinSet<()>,
}

impl Observer {
    /// Begins.
    pub fn start(client: &Client) -> Self {
        let shared = Arc::new(Shared { book: Mutex::default(), changed: watch::Sender::new(()) });
        let mut watching = JoinSet::new();
        watching.spawn(follow(Api::<Pod>::all(client.clone()), pod, Arc::clone(&shared)));
        watching.spawn(follow(Api::<PodDisruptionBudget>::all(client.clone()), budget, Arc::clone(&shared)));
        Self { shared, _watching: watching }
    }

    /// A measurement begins: what was seen so far is where it starts from.
    pub fn begin(&self) {
        let mut book = self.shared.book();
        book.start = book.state.clone();
        book.changes.clear();
    }

    /// Budgets that were violated since it began.
    pub fn violated(&self) -> BTreeSet<Name> {
        let book = self.shared.book();
        violated(&book.start, &book.changes)
    }

    /// Every pod that had a node since it began.
    pub fn placed(&self) -> BTreeMap<Name, PodSeen> {
        let book = self.shared.book();
        let changed = book.changes.iter().filter_map(|(_, change)| match change {
            Change::Pod(name, Some(pod)) => Some((name, pod)),
            _ => None,
        });
        let all = book.start.pods.iter().chain(changed).filter(|(_, pod)| pod.node.is_some());
        all.map(|(name, pod)| (name.clone(), pod.clone())).collect()
    }

    /// Looks at what there is.
    pub fn look<T>(&self, at: impl FnOnce(&State) -> T) -> T {
        at(&self.shared.book().state)
    }

    /// Waits until what there is is as wanted.
    ///
    /// # Errors
    /// It is not in time, or the watch missed something.
    pub async fn until(&self, what: &str, within: Duration, wanted: impl Fn(&State) -> bool) -> Result<()> {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            loop {
                {
                    let book = self.shared.book();
                    if let Some(failure) = &book.failure {
                        bail!("pods and budgets were not seen at every revision: {failure}");
                    }
                    if wanted(&book.state) {
                        return Ok(());
                    }
                }
                changed.changed().await?;
            }
        };
        tokio::time::timeout(within, waiting).await.with_context(|| format!("waited {within:?} for {what}"))?
    }
}

/// Lists once and watches from there, for ever.
async fn follow<K>(api: Api<K>, read: fn(&K) -> Change, shared: Arc<Shared>)
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let Err(error) = follow_until_lost(&api, read, &shared).await;
    shared.book().failure = Some(format!("{error:#}"));
    shared.changed.send_replace(());
}

async fn follow_until_lost<K>(api: &Api<K>, read: fn(&K) -> Change, shared: &Shared) -> Result<std::convert::Infallible>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let listed = api.list(&ListParams::default()).await?;
    let mut from = listed.metadata.resource_version.context("a list without a version")?;
    for object in &listed.items {
        shared.enter(revision(object)?, read(object));
    }
    loop {
        let stream = api.watch(&WatchParams::default().timeout(WATCH_SECONDS), &from).await?;
        pin_mut!(stream);
        while let Some(event) = stream.next().await {
            match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    from = object.resource_version().context("an object without a version")?;
                    shared.enter(revision(&object)?, read(&object));
                }
                WatchEvent::Deleted(object) => {
                    from = object.resource_version().context("an object without a version")?;
                    let change = match read(&object) {
                        Change::Pod(name, _) => Change::Pod(name, None),
                        Change::Budget(name, _) => Change::Budget(name, None),
                    };
                    shared.enter(revision(&object)?, change);
                }
                WatchEvent::Bookmark(mark) => from = mark.metadata.resource_version,
                WatchEvent::Error(status) => bail!("the watch ended: {}", status.message),
            }
        }
    }
}

/// Versions are numbers, and comparable within one database (kubernetes KEP-5504, 1.35).
fn revision(object: &impl ResourceExt) -> Result<u64> {
    let version = object.resource_version().context("an object without a version")?;
    version.parse().with_context(|| format!("a version that is no number: {version}"))
}

fn pod(pod: &Pod) -> Change {
    let namespace = pod.namespace().unwrap_or_default();
    let ready = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = ready.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let seen = PodSeen {
        uid: pod.uid().unwrap_or_default(),
        workload: Name::new(namespace.clone(), pod.labels().get(APP).cloned().unwrap_or_default()),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        healthy: ready && pod.metadata.deletion_timestamp.is_none(),
    };
    Change::Pod(Name::new(namespace, pod.name_any()), Some(seen))
}

fn budget(budget: &PodDisruptionBudget) -> Change {
    let status = budget.status.as_ref();
    let count = |number: Option<i32>| number.unwrap_or(0);
    let seen = BudgetSeen {
        desired: count(status.and_then(|status| status.desired_healthy)),
        expected: count(status.and_then(|status| status.expected_pods)),
        allowed: count(status.and_then(|status| status.disruptions_allowed)),
    };
    Change::Budget(Name::new(budget.namespace().unwrap_or_default(), budget.name_any()), Some(seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cart() -> Name {
        Name::new("shop", "cart")
    }

    fn write(revision: u64, pod: &str, healthy: Option<bool>) -> (u64, Change) {
        let seen = |healthy| PodSeen { uid: pod.to_owned(), workload: cart(), node: None, healthy };
        (revision, Change::Pod(Name::new("shop", pod), healthy.map(seen)))
    }

    /// Two pods of which one must serve.
    fn start() -> State {
        let mut state = State::default();
        state.enter(write(1, "a", Some(true)).1);
        state.enter(write(2, "b", Some(true)).1);
        let budget = BudgetSeen { desired: 1, expected: 2, allowed: 1 };
        state.enter(Change::Budget(cart(), Some(budget)));
        state
    }

    #[test]
    fn a_budget_that_always_had_its_pods_is_whole() {
        let moved = [
            write(3, "a", Some(false)),
            write(4, "c", Some(false)),
            write(5, "a", None),
            write(6, "c", Some(true)),
            write(7, "b", Some(false)),
        ];
        assert_eq!(violated(&start(), &moved), BTreeSet::new());
        assert_eq!(violated(&start(), &[]), BTreeSet::new());
    }

    #[test]
    fn one_revision_with_too_few_is_seen_though_the_next_has_enough() {
        let moved = [write(3, "a", Some(false)), write(4, "b", None), write(5, "c", Some(true))];
        assert_eq!(violated(&start(), &moved), BTreeSet::from([cart()]));
    }

    #[test]
    fn pods_that_no_budget_counts_may_all_go_and_a_late_budget_counts_them() {
        let mut none = start();
        none.budgets.clear();
        let gone = [write(3, "a", None), write(4, "b", Some(false))];
        assert_eq!(violated(&none, &gone), BTreeSet::new());
        let late = Change::Budget(cart(), Some(BudgetSeen { desired: 1, expected: 2, allowed: 1 }));
        assert_eq!(violated(&none, &[write(3, "a", None), (4, late.clone())]), BTreeSet::new());
        assert_eq!(violated(&none, &[gone.as_slice(), &[(5, late)]].concat()), BTreeSet::from([cart()]));
    }

    #[test]
    fn writes_are_told_in_the_order_of_their_revisions() {
        let wants_both = Change::Budget(cart(), Some(BudgetSeen { desired: 2, expected: 2, allowed: 0 }));
        let before = [write(5, "a", Some(false)), write(7, "a", Some(true)), (6, wants_both.clone())];
        assert_eq!(violated(&start(), &before), BTreeSet::from([cart()]));
        let after = [write(5, "a", Some(false)), write(6, "a", Some(true)), (7, wants_both)];
        assert_eq!(violated(&start(), &after), BTreeSet::new());
    }
}
