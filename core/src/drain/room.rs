//! Whether pods that must move find room elsewhere: by requests, priorities, taints, node selectors, required node affinity
//! and required anti-affinity. What else the scheduler asks is told as not judged, never guessed.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::amounts::Amounts;
use super::selector::Selector;
use super::world::{Name, Node, Pod, World};

/// A required anti-affinity: no pod of these in the same part of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Apart {
    /// The node label whose values name the parts: `kubernetes.io/hostname`.
    pub topology_key: String,
    /// Which pods.
    pub selector: Selector,
    /// Of which namespaces.
    pub namespaces: BTreeSet<String>,
}

impl Apart {
    fn is_of(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        self.namespaces.contains(namespace) && self.selector.matches(labels)
    }
}

/// Something that decides over where a pod may go and is not judged here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Unjudged {
    /// Where its volumes can be attached.
    Volumes,
    /// Topology spread that must hold.
    Spread,
    /// Pods that it must stand beside.
    Beside,
    /// Anti-affinity whose pods are not named by labels and namespaces alone.
    Apart,
    /// Ports of the host.
    Ports,
    /// Devices that it claims.
    Devices,
    /// Pods of lower priority that it keeps apart from, or they from it: the scheduler may evict them for it.
    Preemption,
}

impl Unjudged {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Volumes => "where volumes can be attached",
            Self::Spread => "topology spread",
            Self::Beside => "required affinity to other pods",
            Self::Apart => "anti-affinity by selectors of namespaces",
            Self::Ports => "ports of the host",
            Self::Devices => "claims of devices",
            Self::Preemption => "the eviction of pods of lower priority that are kept apart from",
        }
    }
}

/// A pod that others must, or that must itself, keep apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its namespace.
    pub namespace: String,
    /// Where it runs.
    pub node: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whom it keeps apart from.
    pub apart: Vec<Apart>,
    /// Its priority.
    pub priority: i32,
}

/// What is asked for on a node, by the priority of the pods that ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Used(BTreeMap<i32, Amounts>);

impl Used {
    /// So much by pods of this priority.
    pub fn by(priority: i32, amounts: Amounts) -> Self {
        Self(BTreeMap::from([(priority, amounts)]))
    }

    /// Adds what a pod of this priority asks for.
    pub fn add(&mut self, priority: i32, requests: &Amounts) {
        self.0.entry(priority).or_default().add(requests);
    }

    /// By all of them.
    pub fn all(&self) -> Amounts {
        sum(self.0.values())
    }

    /// By pods of lower priority than this: the scheduler evicts them where one of this priority finds no other room.
    pub fn below(&self, priority: i32) -> Amounts {
        sum(self.0.range(..priority).map(|(_, amounts)| amounts))
    }
}

fn sum<'a>(amounts: impl Iterator<Item = &'a Amounts>) -> Amounts {
    amounts.fold(Amounts::default(), |mut sum, one| {
        sum.add(one);
        sum
    })
}

/// What runs on the nodes already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// What is asked for on each node, pods counted as `pods`.
    pub used: BTreeMap<String, Used>,
    /// Pods that matter beyond what they ask for.
    pub neighbours: Vec<Neighbour>,
}

impl Occupancy {
    /// Enters a pod that is bound and not finished. Pods that nobody keeps apart from are only counted, so that fifty
    /// thousand of them take no memory.
    pub fn enter(&mut self, pod: Neighbour, requests: &Amounts, kept_apart: &BTreeSet<Apart>) {
        self.used.entry(pod.node.clone()).or_default().add(pod.priority, requests);
        if !pod.apart.is_empty() || kept_apart.iter().any(|apart| apart.is_of(&pod.namespace, &pod.labels)) {
            self.neighbours.push(pod);
        }
    }
}

/// Where pods that must move could go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// A node for each pod that finds one.
    pub placed: BTreeMap<Name, String>,
    /// Those of them that find one only in place of pods of lower priority, which the scheduler evicts.
    pub pushing: BTreeSet<Name>,
    /// Pods that a node would take by all but room, and that find none.
    pub crowded: BTreeMap<Name, Lack>,
    /// How many pods something decides over that is not judged.
    pub unjudged: BTreeMap<Unjudged, usize>,
    /// Nodes that have not told how much they have: pods were assumed to fit there.
    pub untold: BTreeSet<String>,
}

/// What a pod lacks on the nodes that would take it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lack {
    /// Resources.
    pub short: BTreeSet<String>,
    /// Pods it must keep apart from are there.
    pub apart: bool,
    /// It keeps apart from its own kind, of which there is then one less.
    pub from_its_kind: bool,
}

impl Lack {
    /// Whether it is but one of several that are spread as far as they can be. Whoever asks to be kept apart from his own
    /// kind wants to be fewer rather than side by side: every workload with as many replicas as nodes does.
    pub fn is_spread(&self) -> bool {
        self.short.is_empty() && self.from_its_kind
    }
}

/// A node that is not emptied.
struct Place<'w> {
    name: &'w str,
    node: &'w Node,
    /// What is left; less than nothing where pods of lower priority will have to go.
    free: Amounts,
    used: Used,
    is_told: bool,
}

impl Place<'_> {
    fn take(&mut self, pod: &Pod) {
        self.free.take(&pod.requests);
        self.used.add(pod.priority, &pod.requests);
    }

    /// What is there for a pod; `pushing` where those of lower priority count for nothing.
    fn left_for(&self, pod: &Pod, pushing: bool) -> Amounts {
        let mut left = self.free.clone();
        if pushing {
            left.add(&self.used.below(pod.priority));
        }
        left
    }
}

/// Finds a node for each of these pods, the others' rooms counted: the highest priority first, as the scheduler does, then those that
/// keep apart, then the largest, each on the first node that takes it. The scheduler may find a way that this does not, as it may miss
/// one.
pub fn room(world: &World, occupancy: &Occupancy, pods: &[(&Name, &Pod)]) -> Room {
    let mut places: Vec<Place<'_>> = places(world, occupancy).collect();
    let mut neighbours: Vec<Neighbour> =
        occupancy.neighbours.iter().filter(|one| one.node != world.node).cloned().collect();
    let mut room = Room::default();
    let mut pods = pods.to_vec();
    let size = |pod: &Pod| (pod.requests.get("cpu"), pod.requests.get("memory"));
    pods.sort_by_key(|(name, pod)| (Reverse(pod.priority), pod.apart.is_empty(), Reverse(size(pod)), *name));
    for (name, pod) in pods {
        let place = match place_of(world, &places, &neighbours, name, pod) {
            Found::Nowhere => continue,
            Found::Crowded(lack) => {
                room.crowded.insert(name.clone(), lack);
                continue;
            }
            Found::Room(place) => place,
            Found::Pushing(place) => {
                room.pushing.insert(name.clone());
                place
            }
            Found::IfEvicted(place) => {
                *room.unjudged.entry(Unjudged::Preemption).or_default() += 1;
                place
            }
        };
        let place = &mut places[place];
        place.take(pod);
        if !place.is_told {
            room.untold.insert(place.name.to_owned());
        }
        for kind in &pod.unjudged {
            *room.unjudged.entry(*kind).or_default() += 1;
        }
        let node = place.name.to_owned();
        room.placed.insert(name.clone(), node.clone());
        let (labels, apart, priority) = (pod.labels.clone(), pod.apart.clone(), pod.priority);
        neighbours.push(Neighbour { namespace: name.namespace.clone(), node, labels, apart, priority });
    }
    room
}

/// Where a pod goes, by the number of the place.
enum Found {
    /// Beside all that are there.
    Room(usize),
    /// In place of pods of lower priority.
    Pushing(usize),
    /// There, if the scheduler evicts pods of lower priority that are kept apart from: whether it would is not judged.
    IfEvicted(usize),
    /// To none of those that would take it.
    Crowded(Lack),
    /// No node takes it whatever the room.
    Nowhere,
}

fn place_of(world: &World, places: &[Place<'_>], neighbours: &[Neighbour], name: &Name, pod: &Pod) -> Found {
    let closed_by = |least: i32| closed(world, neighbours.iter().filter(|one| one.priority >= least), name, pod);
    let closed = closed_by(i32::MIN);
    let mut lack: Option<Lack> = None;
    for (number, place) in places.iter().enumerate().filter(|(_, place)| pod.fits(place.node)) {
        let left = place.left_for(pod, false);
        let short: Vec<&str> = left.short_of(&pod.requests).filter(|_| place.is_told).collect();
        let is_closed = is_in(place, &closed);
        if short.is_empty() && !is_closed {
            return Found::Room(number);
        }
        let lack = lack.get_or_insert_with(|| Lack { from_its_kind: from_its_kind(name, pod), ..Lack::default() });
        lack.short.extend(short.into_iter().map(str::to_owned));
        lack.apart |= is_closed;
    }
    let Some(lack) = lack else { return Found::Nowhere };
    let pushed = |closed: &Parts<'_>| {
        let is_enough = |left: Amounts| left.short_of(&pod.requests).next().is_none();
        let has_room = |place: &Place<'_>| !place.is_told || is_enough(place.left_for(pod, true));
        let takes = |place: &Place<'_>| pod.fits(place.node) && has_room(place) && !is_in(place, closed);
        places.iter().position(takes).filter(|_| pod.preempts)
    };
    match pushed(&closed) {
        Some(number) => Found::Pushing(number),
        None => pushed(&closed_by(pod.priority)).map_or(Found::Crowded(lack), Found::IfEvicted),
    }
}

fn from_its_kind(name: &Name, pod: &Pod) -> bool {
    pod.apart.iter().any(|apart| apart.is_of(&name.namespace, &pod.labels))
}

fn places<'w>(world: &'w World, occupancy: &'w Occupancy) -> impl Iterator<Item = Place<'w>> {
    world.nodes.iter().filter(|(name, _)| **name != world.node).map(|(name, node)| {
        let used = occupancy.used.get(name).cloned().unwrap_or_default();
        let mut free = node.allocatable.clone();
        free.take(&used.all());
        Place { name, node, free, used, is_told: !node.allocatable.is_empty() }
    })
}

/// Parts of the cluster, by label and value of their nodes.
type Parts<'w> = BTreeSet<(&'w String, &'w String)>;

fn is_in(place: &Place<'_>, parts: &Parts<'_>) -> bool {
    parts.iter().any(|(key, value)| place.node.labels.get(*key) == Some(*value))
}

/// Where a pod may not go: it keeps apart from somebody there, or somebody there from it.
fn closed<'w, 'n>(
    world: &'w World,
    neighbours: impl Iterator<Item = &'n Neighbour>,
    name: &Name,
    pod: &Pod,
) -> Parts<'w> {
    let mut closed = BTreeSet::new();
    for one in neighbours {
        let ours = pod.apart.iter().filter(|apart| apart.is_of(&one.namespace, &one.labels));
        let theirs = one.apart.iter().filter(|apart| apart.is_of(&name.namespace, &pod.labels));
        let Some(node) = world.nodes.get(&one.node) else { continue };
        // A node without that label is in no part, and nobody is kept apart there.
        closed.extend(ours.chain(theirs).filter_map(|apart| node.labels.get_key_value(&apart.topology_key)));
    }
    closed
}

#[cfg(test)]
mod tests;
