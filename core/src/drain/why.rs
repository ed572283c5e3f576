//! Why a pod does not go: pod → budget → unready peer → pending replacement → missing capacity, as data, with the
//! cheapest change that would free it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::budget::{Budget, Never};
use super::consent::Consent;
use super::decide::{Reason, Wait};
use super::world::{Name, Pod, Readiness, World};

/// The chain behind one wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The pod that does not go.
    pub pod: Name,
    /// How many more pods wait for the same.
    #[serde(default)]
    pub more: usize,
    /// From what holds it to what is at the bottom of that.
    pub links: Vec<Link>,
    /// The cheapest change that frees it, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// One link of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Link {
    /// A budget has no room.
    #[serde(rename_all = "camelCase")]
    Budget {
        /// Which.
        budget: Name,
        /// What it asks for, in words.
        words: String,
        /// Pods that serve.
        healthy: i32,
        /// Pods that must.
        desired: i32,
        /// Pods there should be.
        expected: i32,
        /// Evictions it allows.
        allowed: i32,
    },
    /// The budget will never have room as things are.
    Never {
        /// Why.
        why: Never,
    },
    /// The controller has not caught up with the budget.
    Behind {
        /// Which budget.
        budget: Name,
    },
    /// A peer does not serve.
    Unready {
        /// Which pod.
        pod: Name,
        /// Where it runs.
        node: Option<String>,
        /// In its own words.
        why: String,
        /// Since when.
        since: Option<Timestamp>,
    },
    /// A peer ends, and its replacement comes after it.
    Ending {
        /// Which pod.
        pod: Name,
        /// Where.
        node: Option<String>,
    },
    /// A replacement has no node: capacity is missing.
    Unscheduled {
        /// Which pod.
        pod: Name,
        /// The scheduler's words.
        said: String,
    },
    /// Peers are missing altogether.
    Missing {
        /// How many.
        pods: i32,
    },
    /// Several budgets count the pod.
    TwoBudgets {
        /// Which.
        budgets: Vec<Name>,
    },
    /// Somebody else said no.
    Refused {
        /// In their words.
        said: String,
    },
    /// The user has not agreed.
    Consent {
        /// To what.
        to: Consent,
    },
    /// Finalizers hold the object.
    Held {
        /// Which.
        finalizers: Vec<String>,
    },
    /// It has not ended in its time.
    Stuck {
        /// When it should have.
        due: Timestamp,
    },
}

/// Peers that are told by name; the rest is as stuck as these.
const PEERS: usize = 3;

/// Why a pod does not go, and more of them for the same reason.
pub fn why(world: &World, wait: &Wait, more: usize) -> Why {
    let mut chain = Why { pod: wait.pod.clone(), more, links: Vec::new(), fix: None };
    match &wait.reason {
        Reason::Budget { budget } => chain.budget(world, budget),
        Reason::Behind { budget } => {
            chain.links.push(Link::Behind { budget: budget.clone() });
            chain.fix = Some("see that kube-controller-manager runs: it works the budget's status out".to_owned());
        }
        Reason::TwoBudgets { budgets } => {
            chain.links.push(Link::TwoBudgets { budgets: budgets.clone() });
            chain.fix = Some("narrow the selectors so that one budget counts it".to_owned());
        }
        Reason::Refused { said, .. } | Reason::Forbidden { said } => {
            chain.links.push(Link::Refused { said: said.clone() });
        }
        Reason::Consent { to } => {
            chain.links.push(Link::Consent { to: *to });
            chain.fix = Some(format!("agree to it: --consent {}", to.code()));
        }
        Reason::Held { finalizers } => {
            chain.links.push(Link::Held { finalizers: finalizers.clone() });
            chain.fix = Some(format!(
                "mend whoever owns the finalizer, or go on without it: --consent {}",
                Consent::FinalizerHeld.code()
            ));
        }
        Reason::Stuck { due } => {
            chain.links.push(Link::Stuck { due: *due });
            chain.fix = Some(format!(
                "see journalctl -u kubelet on {}, or go on without it: --consent {}",
                world.node,
                Consent::StuckTerminating.code()
            ));
        }
        Reason::Asked | Reason::Ending { .. } | Reason::Turn { .. } | Reason::Tier => {}
    }
    chain
}

impl Why {
    fn budget(&mut self, world: &World, name: &Name) {
        let (Some(budget), Some(pod)) = (world.budgets.get(name), world.pods.get(&self.pod)) else { return };
        self.links.push(Link::Budget {
            budget: name.clone(),
            words: budget.words(),
            healthy: budget.healthy,
            desired: budget.desired,
            expected: budget.expected,
            allowed: budget.allowed,
        });
        if let Some(never) = budget.never(pod) {
            self.fix = Some(format!("{name}: {}", budget.smallest_change(&never)));
            self.links.push(Link::Never { why: never });
            return;
        }
        self.peers(world, name, budget);
    }

    /// What the budget's other pods lack.
    fn peers(&mut self, world: &World, name: &Name, budget: &Budget) {
        let peers = world.peers.get(name);
        let lacking = peers.into_iter().flatten().filter(|(_, pod)| !pod.is_finished() && !pod.is_ready());
        let mut lacking: Vec<_> = lacking.chain(peers.into_iter().flatten().filter(|(_, pod)| ends(pod))).collect();
        lacking.sort_by_key(|(name, pod)| (rank(pod), *name));
        lacking.dedup_by_key(|(name, _)| *name);
        self.links.extend(lacking.iter().take(PEERS).map(|(name, pod)| link(name, pod)));
        let there = peers.map_or(0, |peers| peers.values().filter(|pod| !pod.is_finished()).count());
        let missing = budget.expected - i32::try_from(there).unwrap_or(i32::MAX);
        if peers.is_some() && missing > 0 {
            self.links.push(Link::Missing { pods: missing });
        }
        let first = lacking.first();
        self.fix = first.map(|(name, pod)| match (&pod.unscheduled, &pod.node) {
            (Some(_), _) => format!("make room for {name}: a node more, or smaller requests"),
            (None, Some(node)) => {
                format!(
                    "see why {name} on {node} is not Ready: kubectl -n {} describe pod {}",
                    name.namespace, name.name
                )
            }
            (None, None) => format!("see kubectl -n {} describe pod {}", name.namespace, name.name),
        });
    }

    /// The pod, and how many more: `shop/cart-1 and 2 more`.
    pub fn pods(&self) -> String {
        match self.more {
            0 => self.pod.to_string(),
            more => format!("{} and {more} more", self.pod),
        }
    }

    /// All of it in lines, the pod's own left out.
    pub fn sentences(&self) -> Vec<String> {
        self.links.iter().map(Link::sentence).collect()
    }
}

fn ends(pod: &Pod) -> bool {
    pod.deletion.is_some()
}

/// What is most worth telling first: a pod without a node, one that does not serve, one that only ends.
fn rank(pod: &Pod) -> u8 {
    match pod {
        pod if ends(pod) => 2,
        Pod { unscheduled: Some(_), .. } => 0,
        _ => 1,
    }
}

fn link(name: &Name, pod: &Pod) -> Link {
    if ends(pod) {
        return Link::Ending { pod: name.clone(), node: pod.node.clone() };
    }
    if let Some(said) = &pod.unscheduled {
        return Link::Unscheduled { pod: name.clone(), said: said.clone() };
    }
    let (why, since) = match &pod.readiness {
        Readiness::Ready => (String::new(), None),
        Readiness::NotReady { why, since } => (why.clone(), *since),
    };
    Link::Unready { pod: name.clone(), node: pod.node.clone(), why, since }
}

impl Link {
    /// In words, a fragment without a full stop.
    pub fn sentence(&self) -> String {
        match self {
            Self::Budget { budget, words, healthy, desired, allowed, .. } => {
                format!("budget {budget} ({words}): {healthy} healthy, {desired} wanted, {allowed} may be disrupted")
            }
            Self::Never { why } => match why {
                Never::Zero => "it can never allow an eviction: it wants every pod there should be".to_owned(),
                Never::OnlyReplica => "it can never allow an eviction: its only replica must serve".to_owned(),
                Never::SyncFailed { said } => format!("its controller cannot work it out: {said}"),
                Never::Permissive => {
                    "it wants no healthy pod, and the API server then lets none go that is not Ready".to_owned()
                }
            },
            Self::Behind { budget } => format!("the status of budget {budget} is behind its wishes"),
            Self::Unready { pod, node, why, since } => {
                let place = node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
                let since = since.map(|since| format!(" since {}", clock(since))).unwrap_or_default();
                format!("because {pod}{place} is not Ready{since} ({why})")
            }
            Self::Ending { pod, node } => {
                let place = node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
                format!("because {pod}{place} still ends")
            }
            Self::Unscheduled { pod, said } => format!("because {pod} has no node: {said}"),
            Self::Missing { pods: 1 } => "because 1 pod is missing altogether".to_owned(),
            Self::Missing { pods } => format!("because {pods} pods are missing altogether"),
            Self::TwoBudgets { budgets } => {
                let names: Vec<String> = budgets.iter().map(ToString::to_string).collect();
                format!("budgets {} all count it, and the API server evicts no such pod", names.join(", "))
            }
            Self::Refused { said } => said.clone(),
            Self::Consent { to } => format!("you have not agreed: {}", to.loss()),
            Self::Held { finalizers } => format!("it has ended, and {} holds its object", finalizers.join(", ")),
            Self::Stuck { due } => format!("it should have ended by {}", clock(*due)),
        }
    }
}

/// The time of day, in UTC: the only zone that operator, cluster and logs share.
fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%S UTC").to_string()
}
