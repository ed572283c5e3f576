//! Why a change may not be made: what is in the way, who it is about, what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::facts::etcd::MemberId;

/// What is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// No majority is known to be well now, so that nothing can be decided.
    NoQuorum,
    /// The list of members is what one member remembers; no majority stands behind it.
    ListUncertain,
    /// No majority would be left.
    LosesQuorum,
    /// It is the only voter.
    LastVoter,
    /// There is no such member.
    NoSuchMember,
    /// Nobody can tell from here whether the member is alive.
    Unknown,
    /// Another member is not well; this one can wait.
    AnotherIsNotWell,
    /// The member leads, and another could.
    Leads,
    /// The member itself is not well enough for what it should do.
    NotWell,
    /// A learner has to catch up first.
    NotCaughtUp,
    /// A learner has never started.
    NeverStarted,
    /// Another learner is there.
    LearnerInTheWay,
    /// The member has no vote, and what is asked needs one.
    HasNoVote,
    /// A peer URL is taken by another member, or none is given.
    PeerUrl,
    /// An alarm is raised.
    Alarm,
    /// Members are more than one minor version apart.
    MixedVersions,
}

/// One thing in the way of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Obstacle {
    /// What kind of thing.
    pub reason: Reason,
    /// About which member; none where it is about the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<MemberId>,
    /// What is wrong, a lower-case sentence without a full stop.
    pub text: String,
    /// What to do about it.
    pub hint: String,
    /// Whom leadership is best given to, where it has to move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub move_leader_to: Option<MemberId>,
}

impl Obstacle {
    /// Something in the way of the whole cluster.
    pub(super) fn new(reason: Reason, text: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { reason, member: None, text: text.into(), hint: hint.into(), move_leader_to: None }
    }

    /// The same, about a member.
    #[must_use]
    pub(super) fn about(mut self, member: MemberId) -> Self {
        self.member = Some(member);
        self
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}; {}", self.text, self.hint)
    }
}
