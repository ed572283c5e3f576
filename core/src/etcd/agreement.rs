//! Whether members hold the same, by their HashKV at one revision.
//!
//! Hashes can be compared where both the revision and that of the last compaction are the same (`mvcc/hash.go`). A majority of
//! the voters with one hash is right, for it is what the cluster would go on with; who differs from it is damaged. Without such
//! a majority nobody can tell who is right.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::etcd::{ContentHash, EtcdFacts, Hashes, MemberId, Sight};
use crate::quorum::{Standing, View, majority};

/// What is known of a member's contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "contents", rename_all = "camelCase")]
pub enum Contents {
    /// They are those of every other member that could be compared.
    Agree,
    /// They are not those of a majority: this member is damaged.
    Differ,
    /// They are not those of another member, and no majority tells which of them is right.
    Disputed,
    /// They could not be compared.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// The members' contents at one revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Agreement {
    /// At which.
    pub revision: i64,
    /// Whether a majority of the voters has the same contents.
    pub proved: bool,
    /// What is known of each member.
    pub members: BTreeMap<MemberId, Contents>,
}

impl Agreement {
    /// Members with these contents.
    pub fn with(&self, contents: &Contents) -> Vec<MemberId> {
        self.members.iter().filter(|(_, known)| *known == contents).map(|(id, _)| *id).collect()
    }

    /// Whether asking again, at a newer revision, may tell more: somebody answered and could not be compared.
    pub fn is_worth_another_try(&self, answers: &Hashes) -> bool {
        let unknown = |id: &MemberId| matches!(self.members.get(id), Some(Contents::Unknown { .. }));
        answers.keys().any(unknown)
    }
}

/// The newest revision that all who keep up have: one that members can be asked for. A member that is far behind does not hold the
/// others to a revision that they may have compacted; where nobody keeps up, such as without a majority, all count.
pub fn common_revision(facts: &EtcdFacts) -> Option<i64> {
    let view = View::of(facts);
    let answers = || {
        facts.sights.iter().filter_map(|(id, sight)| match sight {
            Sight::Answers(answer) if answer.cluster == facts.cluster => Some((*id, answer)),
            _ => None,
        })
    };
    let keeps_up = |id: MemberId| view.standing(id).is_some_and(Standing::is_well);
    let lowest = answers().filter(|(id, _)| keeps_up(*id)).map(|(_, answer)| answer.revision).min();
    lowest.or_else(|| answers().map(|(_, answer)| answer.revision).min())
}

/// Compares what the members of this list answered.
pub fn agreement(facts: &EtcdFacts, revision: i64, answers: &Hashes) -> Agreement {
    let voters: Vec<MemberId> = facts.voters().map(|member| member.id).collect();
    let said = |id: &MemberId| answers.get(id).and_then(|answer| answer.as_ref().ok()).copied();
    let mut votes: BTreeMap<ContentHash, usize> = BTreeMap::new();
    for hash in voters.iter().filter_map(said) {
        *votes.entry(hash).or_default() += 1;
    }
    let right = votes.iter().find(|(_, count)| **count >= majority(voters.len())).map(|(hash, _)| *hash);
    let all: Vec<ContentHash> = facts.members.iter().filter_map(|member| said(&member.id)).collect();
    let members = facts.members.iter().map(|member| {
        let known = match answers.get(&member.id) {
            Some(Ok(hash)) => judge(*hash, right, &all),
            Some(Err(why)) => Contents::Unknown { why: why.clone() },
            None => Contents::Unknown { why: "it was not asked".to_owned() },
        };
        (member.id, known)
    });
    Agreement { revision, proved: right.is_some(), members: members.collect() }
}

/// One member's contents beside those that are right, or, where nobody knows, beside all others.
fn judge(hash: ContentHash, right: Option<ContentHash>, all: &[ContentHash]) -> Contents {
    let alone = |others: &str| Contents::Unknown {
        why: format!("its history begins at revision {}, {others}", hash.compact_revision),
    };
    match right {
        Some(right) if right == hash => Contents::Agree,
        Some(right) if right.comparable(&hash) => Contents::Differ,
        Some(_) => alone("that of the others elsewhere"),
        None => {
            let peers = || all.iter().filter(|other| other.comparable(&hash));
            if peers().any(|other| *other != hash) {
                Contents::Disputed
            } else if peers().count() > 1 {
                Contents::Agree
            } else {
                alone("and nobody else's can be compared with it")
            }
        }
    }
}
