//! Which pods move, which stay, and which only move where the user has agreed to what is lost.
//!
//! | pod | what becomes of it |
//! | --- | --- |
//! | of a DaemonSet | stays: its controller would make it anew on the same node at once |
//! | static (mirror) | stays: the kubelet runs it from a file, whatever the API says |
//! | finished | stays: nothing of it runs |
//! | any other | evicted |
//! | … with a scratch volume on disk | evicted with consent: its data is gone |
//! | … without a controller | evicted with consent: nobody makes it anew |
//! | … being deleted, held by a finalizer | waited for; gone past with consent: the object stays, the finalizer is never taken |
//! | … being deleted, not ended in time | waited for; gone past with consent: it may still run |
//! | … on a node that nobody reaches | evicted with consent and not waited for: it may still run |
//! | … that comes back because it tolerates the cordon | evicted twice, then left with consent |

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::world::{Node, Pod};

/// Something that a drain does only where the user has agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Consent {
    /// Evict pods that nobody makes anew.
    Bare,
    /// Evict pods whose scratch volumes lie on the node's disk.
    EmptyDir,
    /// Go on although a finalizer holds a pod that has ended.
    FinalizerHeld,
    /// Go on although a pod has not ended in its time.
    StuckTerminating,
    /// Evict pods from a node that nobody reaches, and not wait until they have ended.
    Unreachable,
    /// Leave pods that come back: they tolerate the cordon, or name the node themselves.
    Returning,
}

impl Consent {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Bare, Self::EmptyDir, Self::FinalizerHeld, Self::StuckTerminating, Self::Unreachable, Self::Returning];

    /// The code of its finding: `--consent CODE` gives it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Bare => "DRAIN001",
            Self::EmptyDir => "DRAIN002",
            Self::FinalizerHeld => "DRAIN003",
            Self::StuckTerminating => "DRAIN004",
            Self::Unreachable => "DRAIN005",
            Self::Returning => "DRAIN006",
        }
    }

    /// What is lost, as the end of a sentence about pods.
    pub fn loss(self) -> &'static str {
        match self {
            Self::Bare => "no controller makes it anew: it is gone for good",
            Self::EmptyDir => "what it keeps in scratch volumes on the node's disk is gone with it",
            Self::FinalizerHeld => "its object stays until whoever set the finalizer lets it go",
            Self::StuckTerminating => "it may still run, and whatever stops the node cuts it off",
            Self::Unreachable => "whether it has ended cannot be known: it may still run while its replacement starts",
            Self::Returning => "it stays, and whatever stops the node cuts it off",
        }
    }
}

/// Why a pod stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Left {
    /// It belongs to a DaemonSet.
    DaemonSet,
    /// It is a static pod.
    Static,
    /// It has ended by itself.
    Finished,
}

/// What becomes of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// It stays.
    Stays(Left),
    /// It moves, where the user has agreed to all of these.
    Moves(Vec<Consent>),
}

/// What becomes of a pod on a node; one that is being deleted already needs no consent to be moved.
pub fn classify(pod: &Pod, node: Option<&Node>) -> Class {
    if pod.mirror {
        return Class::Stays(Left::Static);
    }
    if pod.owner.as_ref().is_some_and(|owner| owner.kind == "DaemonSet") {
        return Class::Stays(Left::DaemonSet);
    }
    if pod.deletion.is_some() {
        return Class::Moves(Vec::new());
    }
    if pod.is_finished() {
        return Class::Stays(Left::Finished);
    }
    let mut needs = Vec::new();
    if pod.owner.is_none() {
        needs.push(Consent::Bare);
    }
    // Memory is empty after every restart of the node, so nobody may rely on it.
    if pod.empty_dirs.iter().any(|volume| !volume.memory) {
        needs.push(Consent::EmptyDir);
    }
    if node.is_some_and(|node| node.unreachable) {
        needs.push(Consent::Unreachable);
    }
    Class::Moves(needs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drain::sample::{owned, pod};
    use crate::drain::world::{EmptyDir, Phase};

    #[test]
    fn each_kind_of_pod_has_its_policy() {
        let reachable = Node::default();
        let class = |pod: &Pod| classify(pod, Some(&reachable));
        assert_eq!(class(&Pod { mirror: true, ..pod() }), Class::Stays(Left::Static));
        assert_eq!(class(&owned("DaemonSet")), Class::Stays(Left::DaemonSet));
        assert_eq!(class(&Pod { phase: Phase::Succeeded, owner: None, ..pod() }), Class::Stays(Left::Finished));
        assert_eq!(class(&owned("ReplicaSet")), Class::Moves(Vec::new()));
        assert_eq!(class(&Pod { owner: None, ..pod() }), Class::Moves(vec![Consent::Bare]));
        let scratch = |memory| vec![EmptyDir { name: "tmp".into(), memory, limit: None }];
        assert_eq!(class(&Pod { empty_dirs: scratch(false), ..pod() }), Class::Moves(vec![Consent::EmptyDir]));
        assert_eq!(class(&Pod { empty_dirs: scratch(true), ..pod() }), Class::Moves(Vec::new()));
        let silent = Node { unreachable: true, ..Node::default() };
        assert_eq!(classify(&pod(), Some(&silent)), Class::Moves(vec![Consent::Unreachable]));
    }

    #[test]
    fn every_consent_has_a_code_in_the_table() {
        for consent in Consent::ALL {
            let known = crate::finding::codes::lookup(consent.code()).unwrap();
            assert_eq!(known.severity, crate::finding::Severity::NeedsConsent, "{}", consent.code());
        }
    }
}
