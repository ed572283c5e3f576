//! How each member stands, from what was seen of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::{has_quorum, majority};
use crate::facts::etcd::{Alarm, AlarmKind, Answer, EtcdFacts, Listing, Member, MemberId, Sight};
use crate::ids::HostName;

/// Entries that a member may be behind and still count as well. etcd keeps so many of its log behind a snapshot
/// (`DefaultSnapshotCatchUpEntries`): one that is further behind may need the whole database before it is of any use. It is
/// also more than members that are asked one after the other seem to be apart while a busy cluster writes.
pub const LAG_LIMIT: u64 = 5_000;

/// How a member stands. Only [`Standing::Well`] counts for a majority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It answers, follows the leader that the others follow (or is it), read through a majority, and keeps up.
    Well,
    /// It is so many entries behind.
    Behind(u64),
    /// It answers and knows no leader, or another one than the others.
    Leaderless,
    /// A read that needs a majority failed at its endpoint, for this reason.
    CannotRead(String),
    /// It serves another cluster.
    Foreign,
    /// Its content differs from that of the others.
    Corrupt,
    /// It has a vote in the list and takes itself for a learner, or the other way round: it has not caught up with the list.
    RoleUnclear,
    /// It was added and has never started.
    Unstarted,
    /// Its process does not run, for this reason.
    Down(String),
    /// It gives no answer, for this reason.
    Silent(String),
    /// It cannot be seen from here, for this reason.
    Unseen(String),
}

impl Standing {
    /// Whether it counts for a majority.
    pub fn is_well(&self) -> bool {
        matches!(self, Self::Well)
    }

    /// Whether nobody can tell from here if it is alive.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Self::Silent(_) | Self::Unseen(_))
    }
}

/// A half sentence that follows the member's name.
impl fmt::Display for Standing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Well => formatter.write_str("is well"),
            Self::Behind(entries) => {
                write!(formatter, "is {entries} entries behind the others ({LAG_LIMIT} may be)")
            }
            Self::Leaderless => formatter.write_str("follows no leader, or not the one of the others"),
            Self::CannotRead(why) => write!(formatter, "cannot read through a majority ({why})"),
            Self::Foreign => formatter.write_str("serves another cluster"),
            Self::Corrupt => formatter.write_str("holds other content than the others (alarm CORRUPT)"),
            Self::RoleUnclear => formatter.write_str("does not know yet whether it has a vote"),
            Self::Unstarted => formatter.write_str("has never started"),
            Self::Down(why) => write!(formatter, "does not run ({why})"),
            Self::Silent(why) => write!(formatter, "gives no answer ({why})"),
            Self::Unseen(why) => write!(formatter, "cannot be seen from here ({why})"),
        }
    }
}

/// A cluster as the rules look at it.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// Members by identity.
    pub(super) members: BTreeMap<MemberId, &'a Member>,
    pub(super) standings: BTreeMap<MemberId, Standing>,
    pub(super) alarms: Vec<&'a Alarm>,
    /// The host whose member alone remembers the list, where no majority stands behind it.
    pub(super) remembered_by: Option<&'a HostName>,
    leader: Option<MemberId>,
    applied: BTreeMap<MemberId, u64>,
    newest: u64,
    term: u64,
    minors: BTreeSet<(u64, u64)>,
}

impl<'a> View<'a> {
    /// Looks at an observation.
    pub fn of(facts: &'a EtcdFacts) -> Self {
        let members: BTreeMap<_, _> = facts.members.iter().map(|member| (member.id, member)).collect();
        let answers: BTreeMap<MemberId, &Answer> = members
            .keys()
            .filter_map(|id| match facts.sights.get(id) {
                Some(Sight::Answers(answer)) if answer.cluster == facts.cluster => Some((*id, answer.as_ref())),
                _ => None,
            })
            .collect();
        let leader = leader(&members, &answers);
        let newest = answers.values().map(|answer| answer.raft_index).max().unwrap_or_default();
        let mut view = Self {
            applied: answers.iter().map(|(id, answer)| (*id, answer.applied_index)).collect(),
            term: answers.values().map(|answer| answer.term).max().unwrap_or_default(),
            minors: answers.values().filter_map(|answer| minor(&answer.version)).collect(),
            members,
            standings: BTreeMap::new(),
            alarms: facts.alarms.iter().collect(),
            remembered_by: match &facts.listing {
                Listing::Agreed => None,
                Listing::Remembered { by } => Some(by),
            },
            leader,
            newest,
        };
        view.standings = view.members.values().map(|member| (member.id, view.standing_of(facts, member))).collect();
        view
    }

    fn standing_of(&self, facts: &EtcdFacts, member: &Member) -> Standing {
        let answer = match facts.sights.get(&member.id) {
            Some(Sight::Answers(answer)) => answer,
            _ if !member.has_started() => return Standing::Unstarted,
            Some(Sight::Down { why }) => return Standing::Down(why.clone()),
            Some(Sight::Silent { why }) => return Standing::Silent(why.clone()),
            Some(Sight::Unseen { why }) => return Standing::Unseen(why.clone()),
            None => return Standing::Unseen("nobody looked".to_owned()),
        };
        let corrupt = |alarm: &Alarm| alarm.kind == AlarmKind::Corrupt && alarm.member == Some(member.id);
        let lag = self.newest.saturating_sub(answer.applied_index);
        if answer.cluster != facts.cluster {
            Standing::Foreign
        } else if facts.alarms.iter().any(corrupt) {
            Standing::Corrupt
        } else if answer.learner != member.learner {
            Standing::RoleUnclear
        } else if self.leader.is_none() || answer.leader != self.leader || answer.term != self.term {
            Standing::Leaderless
        // A learner serves no such read; it needs none, for it has no vote.
        } else if let (Some(why), false) = (&answer.read_failed, member.learner) {
            Standing::CannotRead(why.clone())
        } else if lag > LAG_LIMIT {
            Standing::Behind(lag)
        } else if !member.has_started() {
            // It answers before the list tells its name: it is joining at this moment.
            Standing::Unstarted
        } else {
            Standing::Well
        }
    }

    /// Who leads, where all who live in the newest term agree; it may be somebody who cannot be seen.
    pub fn leader(&self) -> Option<MemberId> {
        self.leader
    }

    /// How a member stands; none for who is no member.
    pub fn standing(&self, id: MemberId) -> Option<&Standing> {
        self.standings.get(&id)
    }

    /// Members with a vote.
    pub fn voters(&self) -> usize {
        self.members.values().filter(|member| !member.learner).count()
    }

    /// Those of them that are well.
    pub fn well(&self) -> usize {
        self.well_voters().count()
    }

    /// Whether those that are well are a majority.
    pub fn has_quorum(&self) -> bool {
        has_quorum(self.voters(), self.well())
    }

    /// How many that are well may be lost before the others decide nothing any more; 0 where they do not now.
    pub fn may_lose(&self) -> usize {
        self.well().saturating_sub(majority(self.voters()))
    }

    /// Whom leadership is best given to instead of `from`: a voter that is well, the one that keeps up best.
    pub fn successor(&self, from: MemberId) -> Option<&'a Member> {
        let others = self.well_voters().filter(|member| member.id != from);
        others.max_by_key(|member| (self.applied.get(&member.id), std::cmp::Reverse(member.id)))
    }

    pub(super) fn well_voters(&self) -> impl Iterator<Item = &'a Member> {
        let well =
            |member: &&'a Member| !member.learner && self.standings.get(&member.id).is_some_and(Standing::is_well);
        self.members.values().copied().filter(well)
    }

    /// Voters that are not well, with how they stand.
    pub(super) fn sick_voters(&self) -> impl Iterator<Item = (&'a Member, &Standing)> {
        self.ill().filter(|(member, _)| !member.learner)
    }

    /// Members that are not well, with a vote or without, and how they stand.
    pub fn ill(&self) -> impl Iterator<Item = (&'a Member, &Standing)> {
        let all = self.members.values().map(|member| (*member, &self.standings[&member.id]));
        all.filter(|(_, standing)| !standing.is_well())
    }

    /// Voters that were ever started, which is what etcd counts before it changes its list.
    pub(super) fn started_voters(&self) -> usize {
        self.members.values().filter(|member| !member.learner && member.has_started()).count()
    }

    /// What a member has carried out, and the newest entry that anybody knows.
    pub fn progress(&self, id: MemberId) -> Option<(u64, u64)> {
        self.applied.get(&id).map(|applied| (*applied, self.newest))
    }

    /// The oldest and the newest minor version at work, where they are further apart than etcd lets members of one cluster
    /// be: one minor, for the length of an upgrade.
    pub fn too_far_apart(&self) -> Option<((u64, u64), (u64, u64))> {
        let (oldest, newest) = (*self.minors.first()?, *self.minors.last()?);
        (oldest.0 != newest.0 || newest.1 - oldest.1 > 1).then_some((oldest, newest))
    }

    /// The same cluster once a member is off the list, and its alarms with it.
    pub(super) fn without(&self, id: MemberId) -> Self {
        let mut view = self.clone();
        view.members.remove(&id);
        view.standings.remove(&id);
        view.alarms.retain(|alarm| alarm.member != Some(id));
        view
    }
}

/// Whom everybody in the newest term follows. One who names another leader in the same term, or a leader who is not in the
/// list, makes it unknown: leadership is moving, or the list is old.
fn leader(members: &BTreeMap<MemberId, &Member>, answers: &BTreeMap<MemberId, &Answer>) -> Option<MemberId> {
    let term = answers.values().map(|answer| answer.term).max()?;
    let named: BTreeSet<MemberId> =
        answers.values().filter(|answer| answer.term == term).filter_map(|answer| answer.leader).collect();
    let mut named = named.into_iter();
    match (named.next(), named.next()) {
        (Some(leader), None) => members.get(&leader).filter(|member| !member.learner).map(|member| member.id),
        _ => None,
    }
}

/// 3 and 6 in `3.6.6`.
fn minor(version: &str) -> Option<(u64, u64)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}
