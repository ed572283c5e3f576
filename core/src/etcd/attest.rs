//! Whether a file holds what the cluster holds: HashKV of the file beside that of the members at the same revision. A digest says
//! that a file is as it was sent; a member whose data went wrong sends a right digest of wrong data.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::facts::etcd::{ContentHash, EtcdFacts, Hashes, MemberId};
use crate::quorum::majority;

/// What became of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// A majority of the voters holds the same: the file is proved.
    Majority,
    /// Nobody holds anything else, and those who hold the same are no majority.
    Part,
    /// Somebody holds something else, and no majority tells who is right.
    Disputed,
    /// A majority of the voters holds the same, and it is not this: the file is of a damaged member.
    Contradicted,
}

/// Who said what of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attestation {
    /// What follows from it.
    pub verdict: Verdict,
    /// At which revision.
    pub revision: i64,
    /// How many voters the cluster has.
    pub voters: usize,
    /// Members that hold the same.
    pub agree: Vec<MemberId>,
    /// Members that hold something else.
    pub differ: Vec<MemberId>,
    /// Members that could not be compared, and why.
    pub unknown: BTreeMap<MemberId, String>,
}

impl Attestation {
    /// Whether the file holds what the cluster goes on with.
    pub fn is_proved(&self) -> bool {
        self.verdict == Verdict::Majority
    }
}

/// Compares a file with the members' answers. `file` has the file's HashKV at this revision for each compaction that a member
/// answered with, by the compaction's revision: members compact by themselves, and a file can be hashed as if compacted there.
pub fn attest(facts: &EtcdFacts, revision: i64, file: &BTreeMap<i64, u32>, answers: &Hashes) -> Attestation {
    let mut attestation = Attestation {
        verdict: Verdict::Part,
        revision,
        voters: facts.voters().count(),
        agree: Vec::new(),
        differ: Vec::new(),
        unknown: BTreeMap::new(),
    };
    let mut others: BTreeMap<ContentHash, usize> = BTreeMap::new();
    let mut agreed = 0;
    for member in &facts.members {
        match answers.get(&member.id) {
            Some(Ok(said)) if said.revision == revision => match file.get(&said.compact_revision) {
                Some(hash) if *hash == said.hash => {
                    attestation.agree.push(member.id);
                    agreed += usize::from(!member.learner);
                }
                Some(_) => {
                    attestation.differ.push(member.id);
                    *others.entry(*said).or_default() += usize::from(!member.learner);
                }
                None => {
                    let why =
                        format!("its history begins at revision {}, that of the file later", said.compact_revision);
                    attestation.unknown.insert(member.id, why);
                }
            },
            Some(Ok(said)) => {
                attestation.unknown.insert(member.id, format!("it told of revision {}", said.revision));
            }
            Some(Err(why)) => {
                attestation.unknown.insert(member.id, why.clone());
            }
            None => {
                attestation.unknown.insert(member.id, "it was not asked".to_owned());
            }
        }
    }
    let needed = majority(attestation.voters);
    attestation.verdict = if agreed >= needed {
        Verdict::Majority
    } else if others.values().any(|count| *count >= needed) {
        Verdict::Contradicted
    } else if attestation.differ.is_empty() {
        Verdict::Part
    } else {
        Verdict::Disputed
    };
    attestation
}
