//! Whom a snapshot is taken from: who answers, best first.

use std::cmp::Reverse;

use crate::facts::etcd::{Answer, EtcdFacts, Member, MemberId, Sight};
use crate::quorum::{Standing, View};

/// How well a member serves as a source; the least is the best. Reading a whole database takes a core of its server and the disk's
/// time, which a leader needs for everybody's writes (etcd's own advice), so followers come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Follower,
    Leader,
    /// It has a vote and is not well: behind, or without a majority.
    Voter,
    Learner,
    Corrupt,
}

/// Members that can be asked for a snapshot, the best first: a follower that is well, the leader, then who has come furthest.
/// Without a majority that is the best survivor. Members of another cluster are none of ours.
pub fn sources(facts: &EtcdFacts) -> Vec<MemberId> {
    let view = View::of(facts);
    let mut able: Vec<(&Member, &Answer)> =
        facts.members.iter().filter_map(|member| Some((member, answer(facts, member)?))).collect();
    able.sort_by_key(|(member, answer)| {
        (rank(&view, member), Reverse((answer.term, answer.applied_index, answer.revision)), member.id)
    });
    able.into_iter().map(|(member, _)| member.id).collect()
}

fn answer<'f>(facts: &'f EtcdFacts, member: &Member) -> Option<&'f Answer> {
    match facts.sights.get(&member.id) {
        Some(Sight::Answers(answer)) if answer.cluster == facts.cluster => Some(answer),
        _ => None,
    }
}

fn rank(view: &View<'_>, member: &Member) -> Rank {
    match view.standing(member.id) {
        Some(Standing::Corrupt) => Rank::Corrupt,
        _ if member.learner => Rank::Learner,
        Some(Standing::Well) if view.leader() == Some(member.id) => Rank::Leader,
        Some(Standing::Well) => Rank::Follower,
        _ => Rank::Voter,
    }
}
