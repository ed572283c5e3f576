//! What was seen of a cluster, as far as emptying one node needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::amounts::Amounts;
use super::budget::Budget;
use super::room::{Apart, Occupancy, Unjudged};
use super::selector::{Requirement, Selector};

/// An object in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl Name {
    /// The object of that name there.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&format!("{}/{}", self.namespace, self.name))
    }
}

/// A pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pod {
    /// Tells it from another of the same name.
    pub uid: String,
    /// Where it runs; `None` before it is scheduled.
    pub node: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its controller, which would replace it.
    pub owner: Option<Owner>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Whether it serves.
    pub readiness: Readiness,
    /// How long its containers may take to end.
    pub grace_seconds: u32,
    /// Set once it is being deleted.
    pub deletion: Option<Deletion>,
    /// Who must agree before the object goes.
    pub finalizers: Vec<String>,
    /// Containers that run, as the runtime names them.
    pub containers: Vec<String>,
    /// It stands for a static pod: the kubelet makes it anew whatever the API says.
    pub mirror: bool,
    /// Scratch volumes, gone with the pod.
    pub empty_dirs: Vec<EmptyDir>,
    /// Its priority, by which it goes earlier or later.
    pub priority: i32,
    /// Whether the scheduler evicts pods of lower priority for it.
    pub preempts: bool,
    /// Taints it puts up with.
    pub tolerations: Vec<Toleration>,
    /// Labels that its node must have.
    pub node_labels: BTreeMap<String, String>,
    /// Alternatives, of which its node must satisfy one; none where any node will do.
    pub node_terms: Vec<Vec<Requirement>>,
    /// What it asks for, `pods` among it.
    pub requests: Amounts,
    /// Whom it keeps apart from.
    pub apart: Vec<Apart>,
    /// What else decides over where it may go.
    pub unjudged: BTreeSet<Unjudged>,
    /// The scheduler's words where it found no node for it.
    pub unscheduled: Option<String>,
}

/// A pod's controller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Owner {
    /// Such as `ReplicaSet`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Tells it from another of the same name.
    pub uid: String,
}

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Phase {
    /// Not all of its containers were started.
    #[default]
    Pending,
    /// It runs.
    Running,
    /// It has done its work.
    Succeeded,
    /// It has failed for good.
    Failed,
}

/// Whether a pod serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not.
    NotReady {
        /// In the words of its container or its conditions.
        why: String,
        /// Since when, where it is told.
        since: Option<Timestamp>,
    },
}

impl Default for Readiness {
    fn default() -> Self {
        Self::NotReady { why: "no status yet".to_owned(), since: None }
    }
}

/// A deletion under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// When its grace is over: the API's `deletionTimestamp` lies in the future.
    pub due: Timestamp,
}

/// A scratch volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmptyDir {
    /// Its name in the pod.
    pub name: String,
    /// It lies in memory.
    pub memory: bool,
    /// How much it may hold, in the API's words.
    pub limit: Option<String>,
}

/// A taint that a pod puts up with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toleration {
    /// Which key; `None` for all.
    pub key: Option<String>,
    /// Which value; `None` for all.
    pub value: Option<String>,
    /// Which effect; `None` for all.
    pub effect: Option<String>,
}

/// A node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// Tells it from another of the same name.
    pub uid: String,
    /// Whether new pods may be scheduled on it.
    pub schedulable: bool,
    /// Why it is not Ready; `None` where it is.
    pub not_ready: Option<String>,
    /// Its kubelet has not been heard of: pods there can neither end nor be known to have ended.
    pub unreachable: bool,
    /// Our operation that cordoned it, if one of ours did.
    pub cordoned_by: Option<String>,
    /// Our operation that keeps external load balancers away from it, if one of ours does.
    pub excluded_by: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints that keep pods away: key, value, effect.
    pub taints: Vec<(String, String, String)>,
    /// What it has for pods; empty where its kubelet has not told.
    pub allocatable: Amounts,
}

/// One list-and-watch that a drain needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum View {
    /// All nodes.
    Nodes,
    /// All budgets.
    Budgets,
    /// Pods bound to a node.
    PodsOn {
        /// Which.
        node: String,
    },
    /// Pods that a budget counts, wherever they are.
    Peers {
        /// Which budget.
        budget: Name,
        /// Its selector.
        selector: Selector,
    },
}

/// One object of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A node by name.
    Node(String, Node),
    /// A budget.
    Budget(Name, Box<Budget>),
    /// A pod.
    Pod(Name, Box<Pod>),
}

/// What a view tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Everything there is.
    All(Vec<Object>),
    /// One that is new or has changed.
    Changed(Object),
    /// One that is gone.
    Gone(Object),
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// The node to empty.
    pub node: String,
    /// When it was looked at.
    pub now: Timestamp,
    /// All nodes; one copy for all who look at the same cluster.
    pub nodes: Arc<BTreeMap<String, Node>>,
    /// Pods bound to the node to empty.
    pub pods: BTreeMap<Name, Pod>,
    /// All budgets, as the nodes.
    pub budgets: Arc<BTreeMap<Name, Budget>>,
    /// For budgets that were looked at closely: every pod they count.
    pub peers: BTreeMap<Name, BTreeMap<Name, Pod>>,
    /// Services with `externalTrafficPolicy: Local` whose serving endpoints are all on the node, when it was looked at.
    pub served_alone: BTreeSet<Name>,
    /// What runs on all nodes, or why that is not known, where it was asked for: what has to move may not fit beside it.
    pub occupancy: Option<Result<Arc<Occupancy>, String>>,
    /// Views that were listed whole at least once since [`World::forget`].
    listed: BTreeSet<View>,
}

impl World {
    /// Nothing seen yet.
    pub fn new(node: impl Into<String>, now: Timestamp) -> Self {
        Self {
            node: node.into(),
            now,
            nodes: Arc::default(),
            pods: BTreeMap::new(),
            budgets: Arc::default(),
            peers: BTreeMap::new(),
            served_alone: BTreeSet::new(),
            occupancy: None,
            listed: BTreeSet::new(),
        }
    }

    /// The same cluster with another node to empty, of whose own pods nothing is seen yet.
    pub fn about(&self, node: impl Into<String>) -> Self {
        let shared = |view: &&View| Self::SHARED.contains(view);
        Self {
            nodes: Arc::clone(&self.nodes),
            budgets: Arc::clone(&self.budgets),
            occupancy: self.occupancy.clone(),
            listed: self.listed.iter().filter(shared).cloned().collect(),
            ..Self::new(node, self.now)
        }
    }

    /// The views that are the same whichever node is to be emptied.
    pub const SHARED: [View; 2] = [View::Nodes, View::Budgets];

    /// The views without which nothing can be decided.
    pub fn views(&self) -> BTreeSet<View> {
        Self::SHARED.into_iter().chain([View::PodsOn { node: self.node.clone() }]).collect()
    }

    /// Whether all of these were listed.
    pub fn is_listed(&self) -> bool {
        self.views().is_subset(&self.listed)
    }

    /// What is known is old news until it is listed anew.
    pub fn forget(&mut self) {
        self.listed.clear();
    }

    /// The node to empty, if it exists.
    pub fn target(&self) -> Option<&Node> {
        self.nodes.get(&self.node)
    }

    /// Enters news.
    pub fn take(&mut self, view: &View, news: News) {
        match news {
            News::Changed(object) => self.put(view, object),
            News::Gone(Object::Node(name, _)) => drop(Arc::make_mut(&mut self.nodes).remove(&name)),
            News::Gone(Object::Budget(name, _)) => {
                Arc::make_mut(&mut self.budgets).remove(&name);
                self.peers.remove(&name);
            }
            News::Gone(Object::Pod(name, _)) => drop(self.shelf(view).and_then(|shelf| shelf.remove(&name))),
            News::All(objects) => {
                self.listed.insert(view.clone());
                match view {
                    View::Nodes => self.nodes = Arc::default(),
                    View::Budgets => self.budgets = Arc::default(),
                    View::PodsOn { .. } | View::Peers { .. } => {
                        if let Some(shelf) = self.shelf(view) {
                            shelf.clear();
                        }
                    }
                }
                objects.into_iter().for_each(|object| self.put(view, object));
            }
        }
    }

    fn put(&mut self, view: &View, object: Object) {
        match object {
            Object::Node(name, node) => drop(Arc::make_mut(&mut self.nodes).insert(name, node)),
            Object::Budget(name, budget) => drop(Arc::make_mut(&mut self.budgets).insert(name, *budget)),
            Object::Pod(name, pod) => {
                if let Some(shelf) = self.shelf(view) {
                    shelf.insert(name, *pod);
                }
            }
        }
    }

    /// Where pods of a view are kept.
    fn shelf(&mut self, view: &View) -> Option<&mut BTreeMap<Name, Pod>> {
        match view {
            View::PodsOn { node } if *node == self.node => Some(&mut self.pods),
            View::Peers { budget, .. } => Some(self.peers.entry(budget.clone()).or_default()),
            _ => None,
        }
    }

    /// The budgets that count a pod.
    pub fn budgets_of<'a>(&'a self, name: &'a Name, pod: &'a Pod) -> impl Iterator<Item = (&'a Name, &'a Budget)> {
        // Names are sorted by namespace first.
        let of_namespace = self.budgets.range(Name::new(name.namespace.clone(), "")..);
        let of_namespace = of_namespace.take_while(|(key, _)| key.namespace == name.namespace);
        of_namespace.filter(|(_, budget)| budget.counts(pod))
    }
}

impl Pod {
    /// It has ended by itself; nothing of it runs.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Whether no budget is asked for it, however many count it: it never ran, has ended, or goes already
    /// (kubernetes pkg/registry/core/pod/storage/eviction.go, `canIgnorePDB`).
    pub fn is_of_no_budget(&self) -> bool {
        self.phase == Phase::Pending || self.is_finished() || self.deletion.is_some()
    }

    /// Whether it serves.
    pub fn is_ready(&self) -> bool {
        self.readiness == Readiness::Ready
    }

    /// Whether it puts up with a taint.
    pub fn tolerates(&self, key: &str, value: &str, effect: &str) -> bool {
        self.tolerations.iter().any(|toleration| {
            toleration.key.as_deref().is_none_or(|of| of == key)
                && toleration.value.as_deref().is_none_or(|of| of == value)
                && toleration.effect.as_deref().is_none_or(|of| of == effect)
        })
    }

    /// Whether a cordon does not keep it away.
    pub fn tolerates_cordon(&self) -> bool {
        self.tolerates("node.kubernetes.io/unschedulable", "", "NoSchedule")
    }

    /// Whether the scheduler may put it there, by everything but room.
    pub fn fits(&self, node: &Node) -> bool {
        let welcome = |(key, value, effect): &(String, String, String)| {
            effect == "PreferNoSchedule" || self.tolerates(key, value, effect)
        };
        node.not_ready.is_none()
            && (node.schedulable || self.tolerates_cordon())
            && node.taints.iter().all(welcome)
            && self.node_labels.iter().all(|(key, value)| node.labels.get(key) == Some(value))
            && (self.node_terms.is_empty()
                || self.node_terms.iter().any(|term| term.iter().all(|one| one.holds(&node.labels))))
    }
}

impl Deletion {
    /// Whether its grace, and what a kubelet may take beyond it, are over.
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        now > self.limit()
    }

    /// Until when a deletion is what it should be.
    pub fn limit(&self) -> Timestamp {
        // After the grace the kubelet kills, unmounts and reports; the runtime's own timeout for a kill is two minutes
        // (kubelet `--runtime-request-timeout`), and volumes rarely take longer than that.
        const BEYOND_GRACE: jiff::SignedDuration = jiff::SignedDuration::from_mins(2);
        self.due.saturating_add(BEYOND_GRACE).unwrap_or(Timestamp::MAX)
    }
}
