//! Whether pods that must move find room elsewhere: by requests, taints, node selectors, required node affinity and
//! required anti-affinity. What else the scheduler asks is told as not judged, never guessed.

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
}

/// What runs on the nodes already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    /// What is asked for on each node, pods counted as `pods`.
    pub used: BTreeMap<String, Amounts>,
    /// Pods that matter beyond what they ask for.
    pub neighbours: Vec<Neighbour>,
}

impl Occupancy {
    /// Enters a pod that is bound and not finished. Pods that nobody keeps apart from are only counted, so that fifty
    /// thousand of them take no memory.
    pub fn enter(&mut self, pod: Neighbour, requests: &Amounts, kept_apart: &BTreeSet<Apart>) {
        self.used.entry(pod.node.clone()).or_default().add(requests);
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

struct Place<'w> {
    name: &'w str,
    node: &'w Node,
    free: Amounts,
    is_told: bool,
}

/// Finds a node for each of these pods, the others' rooms counted: those that keep apart first, then the largest, each on
/// the first node that takes it. The scheduler may find a way that this does not, as it may miss one.
pub fn room(world: &World, occupancy: &Occupancy, pods: &[(&Name, &Pod)]) -> Room {
    let mut places: Vec<Place<'_>> = places(world, occupancy).collect();
    let mut neighbours: Vec<Neighbour> =
        occupancy.neighbours.iter().filter(|one| one.node != world.node).cloned().collect();
    let mut room = Room::default();
    let mut pods = pods.to_vec();
    let size = |pod: &Pod| (pod.requests.get("cpu"), pod.requests.get("memory"));
    pods.sort_by_key(|(name, pod)| (pod.apart.is_empty(), Reverse(size(pod)), *name));
    for (name, pod) in pods {
        let closed = closed(world, &neighbours, name, pod);
        let mut lack: Option<Lack> = None;
        let mut taken = None;
        for place in places.iter_mut().filter(|place| pod.fits(place.node)) {
            let lack = lack.get_or_insert_with(|| Lack { from_its_kind: from_its_kind(name, pod), ..Lack::default() });
            let short: Vec<String> = place.free.short_of(&pod.requests).map(str::to_owned).collect();
            let is_short = place.is_told && !short.is_empty();
            let is_closed = closed.iter().any(|(key, value)| place.node.labels.get(*key) == Some(*value));
            if !is_short && !is_closed {
                taken = Some(place);
                break;
            }
            lack.short.extend(short.into_iter().filter(|_| is_short));
            lack.apart |= is_closed;
        }
        match (taken, lack) {
            (Some(place), _) => {
                place.free.take(&pod.requests);
                if !place.is_told {
                    room.untold.insert(place.name.to_owned());
                }
                for kind in &pod.unjudged {
                    *room.unjudged.entry(*kind).or_default() += 1;
                }
                room.placed.insert(name.clone(), place.name.to_owned());
                let node = place.name.to_owned();
                let (labels, apart) = (pod.labels.clone(), pod.apart.clone());
                neighbours.push(Neighbour { namespace: name.namespace.clone(), node, labels, apart });
            }
            (None, Some(lack)) => drop(room.crowded.insert(name.clone(), lack)),
            // No node takes it whatever the room.
            (None, None) => {}
        }
    }
    room
}

fn from_its_kind(name: &Name, pod: &Pod) -> bool {
    pod.apart.iter().any(|apart| apart.is_of(&name.namespace, &pod.labels))
}

fn places<'w>(world: &'w World, occupancy: &'w Occupancy) -> impl Iterator<Item = Place<'w>> {
    world.nodes.iter().filter(|(name, _)| **name != world.node).map(|(name, node)| {
        let mut free = node.allocatable.clone();
        if let Some(used) = occupancy.used.get(name) {
            free.take(used);
        }
        Place { name, node, free, is_told: !node.allocatable.is_empty() }
    })
}

/// Parts of the cluster, by label and value of their nodes, where a pod may not go: it keeps apart from somebody there, or
/// somebody there from it.
fn closed<'w>(
    world: &'w World,
    neighbours: &[Neighbour],
    name: &Name,
    pod: &Pod,
) -> BTreeSet<(&'w String, &'w String)> {
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
