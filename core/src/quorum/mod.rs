//! Majorities, and whether a change to etcd keeps one. Every command that stops, starts, adds or removes a member asks
//! [`decide`]; nobody counts members on his own.
//!
//! The rules are those of etcd's own check (`--strict-reconfig-check`: `mayAddMember`, `mayRemoveMember` and
//! `mayPromoteMember` in `server/etcdserver/server.go`), made stricter by one sentence: **slow is not dead**. What cannot be
//! seen from here counts neither as well nor as gone.

mod obstacle;
mod rules;
mod standing;

use serde::{Deserialize, Serialize};

pub use self::obstacle::{Obstacle, Reason};
pub use self::standing::{LAG_LIMIT, Standing, View};
use crate::facts::etcd::{EtcdFacts, MemberId};

/// How far back etcd looks before it believes that a member is there (`HealthInterval`): a change of members is refused
/// until everybody who has to be connected has been so for as long.
pub const LOOKS_BACK: std::time::Duration = std::time::Duration::from_secs(5);

/// Members that must agree: more than half.
pub fn majority(members: usize) -> usize {
    members / 2 + 1
}

/// Whether so many running members of so many voters can decide anything.
pub fn has_quorum(members: usize, running: usize) -> bool {
    members > 0 && running >= majority(members)
}

/// What somebody wants to do to an etcd cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "camelCase")]
pub enum Change {
    /// Stop a member, or restart it: it is away for a while and stays a member.
    Stop {
        /// Whom.
        member: MemberId,
    },
    /// Add a member without a vote.
    #[serde(rename_all = "camelCase")]
    AddLearner {
        /// Where the others will reach it.
        peer_urls: Vec<String>,
    },
    /// Give a learner its vote.
    Promote {
        /// Whom.
        member: MemberId,
    },
    /// Take a member off the list for good.
    Remove {
        /// Whom.
        member: MemberId,
        /// What the operator says of its machine.
        machine: Machine,
    },
    /// Remove a member, then add one in its stead as a learner. The promotion is asked about by itself, later.
    #[serde(rename_all = "camelCase")]
    Replace {
        /// Whom.
        member: MemberId,
        /// What the operator says of its machine.
        machine: Machine,
        /// Where the others will reach the new one.
        peer_urls: Vec<String>,
    },
    /// Let another member lead.
    MoveLeader {
        /// Whom.
        to: MemberId,
    },
}

/// What is known of a member's machine beside what can be seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Machine {
    /// Nothing: what was seen decides.
    AsSeen,
    /// Somebody vouches that it is gone for good, or switched off. It counts as dead, never as well.
    DeclaredGone,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verdict", rename_all = "camelCase")]
pub enum Verdict {
    /// It may be done now.
    Safe(Outlook),
    /// It may not, for all of these reasons.
    Unsafe {
        /// At least one; the weightiest first.
        obstacles: Vec<Obstacle>,
    },
}

/// How the cluster stands once a safe change is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outlook {
    /// Nothing has to be changed: it is so already.
    pub done: bool,
    /// Members with a vote.
    pub voters: usize,
    /// Those of them that are known to be well and are not stopped.
    pub well: usize,
    /// How many of these may be lost before etcd decides nothing any more.
    pub may_lose: usize,
}

impl Verdict {
    /// Whether it may be done now.
    pub fn is_safe(&self) -> bool {
        matches!(self, Self::Safe(_))
    }

    /// Why not; nothing where it may be done.
    pub fn obstacles(&self) -> &[Obstacle] {
        match self {
            Self::Safe(_) => &[],
            Self::Unsafe { obstacles } => obstacles,
        }
    }
}

/// Whether a change may be made to a cluster that was seen like this.
pub fn decide(facts: &EtcdFacts, change: &Change) -> Verdict {
    let view = View::of(facts);
    match rules::judge(&view, change) {
        Ok(outlook) => Verdict::Safe(outlook),
        Err(obstacles) => Verdict::Unsafe { obstacles },
    }
}
