//! What a snapshot holds beside keys: its place in the raft log, members, alarms, leases, users.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::bolt::Entry;
use crate::error::{Error, RowFault};
use crate::mvcc::main_revision;
use crate::wire::{Fields, Value};

/// The number of a member, written in hex as etcd does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct MemberId(pub u64);

impl fmt::Display for MemberId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:x}", self.0)
    }
}

impl fmt::Debug for MemberId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for MemberId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A member as it is in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its number.
    pub id: MemberId,
    /// Its name; empty before it started for the first time.
    #[serde(default)]
    pub name: String,
    /// Where the others reach it.
    #[serde(default, rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    /// Where clients reach it; none before it started for the first time.
    #[serde(default, rename = "clientURLs")]
    pub client_urls: Vec<String>,
    /// Whether it has no vote.
    #[serde(default, rename = "isLearner")]
    pub learner: bool,
}

/// Who has a vote, as raft had it when it was written down. After a restore it tells of the cluster before, until
/// membership changes for the first time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfState {
    /// They vote.
    pub voters: Vec<MemberId>,
    /// They do not.
    pub learners: Vec<MemberId>,
    /// They vote until a change of several members at once is through.
    #[serde(rename(deserialize = "voters_outgoing", serialize = "votersOutgoing"))]
    pub voters_outgoing: Vec<MemberId>,
    /// They become learners then.
    #[serde(rename(deserialize = "learners_next", serialize = "learnersNext"))]
    pub learners_next: Vec<MemberId>,
}

impl ConfState {
    fn has(&self, id: MemberId) -> bool {
        [&self.voters, &self.learners, &self.voters_outgoing, &self.learners_next].iter().any(|list| list.contains(&id))
    }
}

/// Why a cluster raised an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AlarmKind {
    /// The quota is used up: reads and deletions only.
    NoSpace,
    /// A member's data differs from the others'.
    Corrupt,
    /// One that this crate does not know.
    Other(u64),
}

/// An alarm that is raised in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Alarm {
    /// The member that raised it; 0 where nobody knows which one it was.
    pub member: MemberId,
    /// Why.
    pub kind: AlarmKind,
}

impl fmt::Display for Alarm {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            AlarmKind::NoSpace => write!(formatter, "NOSPACE of member {}", self.member),
            AlarmKind::Corrupt => write!(formatter, "CORRUPT of member {}", self.member),
            AlarmKind::Other(number) => write!(formatter, "number {number} of member {}", self.member),
        }
    }
}

/// etcd's own users, which Kubernetes does not use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Auth {
    /// Whether clients must log in.
    pub enabled: bool,
    /// How many users there are.
    pub users: u64,
    /// How many roles.
    pub roles: u64,
}

/// A member that is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Zombie {
    /// Its number.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// What shows that it is none.
    pub why: &'static str,
}

impl fmt::Display for Zombie {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({}) {}", self.id, self.name, self.why)
    }
}

/// Two numbers of a version; storage changes with the second one only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Such as 3.
    pub major: u64,
    /// Such as 6.
    pub minor: u64,
}

impl Version {
    /// Reads `3.6`, `3.6.14` or `v3.6.14-rc.0`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.strip_prefix('v').unwrap_or(text).split(['.', '-', '+']);
        Some(Self { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Everything beside the keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// The last entry of the raft log that is in the data.
    pub consistent_index: Option<u64>,
    /// The term it is of, from 3.5 on.
    pub term: Option<u64>,
    /// Who voted, from 3.5 on.
    pub conf_state: Option<ConfState>,
    /// As etcd writes it from 3.6 on.
    #[serde(skip)]
    pub written_storage_version: Option<Version>,
    /// What all members had agreed to be, from 3.5 on.
    pub cluster_version: Option<Version>,
    /// Where the last compaction that was asked for begins history.
    #[serde(skip)]
    pub scheduled_compaction: Option<i64>,
    /// Where the last one that is through does.
    #[serde(skip)]
    pub finished_compaction: Option<i64>,
    /// Its members.
    pub members: Vec<Member>,
    /// Those that were removed, whose numbers never come back.
    pub removed_members: BTreeSet<MemberId>,
    /// Its alarms.
    pub alarms: Vec<Alarm>,
    /// How many leases are granted.
    pub leases: u64,
    /// Its users.
    pub auth: Auth,
}

impl State {
    /// The etcd whose way of storing it is: written in the file from 3.6 on; a term without it is 3.5's. Absent for older
    /// ones, and for 3.5 before its first raft snapshot.
    pub fn storage_version(&self) -> Option<Version> {
        let older = self.term.filter(|term| *term > 0).map(|_| Version { major: 3, minor: 5 });
        self.written_storage_version.or(older)
    }

    /// Where history begins: as the server has it from the moment a compaction is asked for.
    pub(crate) fn compact_revision(&self) -> Option<i64> {
        self.scheduled_compaction.max(self.finished_compaction)
    }

    /// Members that are none. A restore of etcd 3.4 leaves those of the cluster before beside the new ones.
    pub fn zombies(&self) -> Vec<Zombie> {
        let voted = self.conf_state.as_ref();
        // One that knows none of the members is of the cluster before a restore, and tells nothing about this one.
        let voted = voted.filter(|voted| self.members.iter().any(|member| voted.has(member.id)));
        let mut peers: BTreeMap<&str, u32> = BTreeMap::new();
        for url in self.members.iter().flat_map(|member| &member.peer_urls) {
            *peers.entry(url).or_default() += 1;
        }
        let zombie = |member: &Member| {
            let why = if self.removed_members.contains(&member.id) {
                "was removed"
            } else if voted.is_some_and(|voted| !voted.has(member.id)) {
                "is unknown to raft"
            } else if member.peer_urls.iter().any(|url| peers.get(url.as_str()).is_some_and(|count| *count > 1)) {
                "shares its peer URL with another one"
            } else {
                return None;
            };
            Some(Zombie { id: member.id, name: member.name.clone(), why })
        };
        self.members.iter().filter_map(zombie).collect()
    }

    /// Takes in an entry of a bucket that is not the keys'. Buckets and keys that are not known are of a later etcd.
    pub(crate) fn note(&mut self, bucket: &str, entry: &Entry<'_>) -> Result<(), Error> {
        let read = match (bucket, entry.key) {
            ("meta", b"consistent_index") => {
                number(entry.value, "index").map(|index| self.consistent_index = Some(index))
            }
            ("meta", b"term") => number(entry.value, "term").map(|term| self.term = Some(term)),
            ("meta", b"confState") => json(entry.value, "conf state").map(|state| self.conf_state = Some(state)),
            ("meta", b"storageVersion") => {
                // etcd itself passes over one that it cannot read.
                self.written_storage_version = version(entry.value);
                Ok(())
            }
            ("meta", b"scheduledCompactRev") => {
                compaction(entry.value).map(|revision| self.scheduled_compaction = Some(revision))
            }
            ("meta", b"finishedCompactRev") => {
                compaction(entry.value).map(|revision| self.finished_compaction = Some(revision))
            }
            ("cluster", b"clusterVersion") => {
                self.cluster_version = version(entry.value);
                Ok(())
            }
            ("members", key) => member(key, entry.value).map(|member| self.members.push(member)),
            ("members_removed", key) => member_id(key).map(|id| self.removed_members.extend([id])),
            ("alarm", key) => alarm(key).map(|alarm| self.alarms.push(alarm)),
            ("lease", _) => {
                self.leases += 1;
                Ok(())
            }
            ("auth", b"authEnabled") => {
                self.auth.enabled = entry.value == [1];
                Ok(())
            }
            ("authUsers", _) => {
                self.auth.users += 1;
                Ok(())
            }
            ("authRoles", _) => {
                self.auth.roles += 1;
                Ok(())
            }
            _ => Ok(()),
        };
        read.map_err(|what| entry.wrong(bucket, RowFault::Malformed(what)))
    }
}

fn number(value: &[u8], what: &'static str) -> Result<u64, &'static str> {
    Ok(u64::from_be_bytes(value.try_into().map_err(|_| what)?))
}

fn json<'a, T: Deserialize<'a>>(value: &'a [u8], what: &'static str) -> Result<T, &'static str> {
    serde_json::from_slice(value).map_err(|_| what)
}

fn version(value: &[u8]) -> Option<Version> {
    Version::parse(std::str::from_utf8(value).ok()?)
}

fn compaction(value: &[u8]) -> Result<i64, &'static str> {
    main_revision(value).ok_or("revision of a compaction")
}

fn member_id(key: &[u8]) -> Result<MemberId, &'static str> {
    let text = std::str::from_utf8(key).map_err(|_| "number of a member")?;
    u64::from_str_radix(text, 16).map(MemberId).map_err(|_| "number of a member")
}

fn member(key: &[u8], value: &[u8]) -> Result<Member, &'static str> {
    let member: Member = json(value, "member")?;
    if member.id == member_id(key)? { Ok(member) } else { Err("member: it carries another one's number") }
}

fn alarm(key: &[u8]) -> Result<Alarm, &'static str> {
    let mut alarm = Alarm { member: MemberId(0), kind: AlarmKind::Other(0) };
    for field in Fields::of(key) {
        match field.ok_or("alarm")? {
            (1, Value::Number(id)) => alarm.member = MemberId(id),
            (2, Value::Number(1)) => alarm.kind = AlarmKind::NoSpace,
            (2, Value::Number(2)) => alarm.kind = AlarmKind::Corrupt,
            (2, Value::Number(other)) => alarm.kind = AlarmKind::Other(other),
            _ => {}
        }
    }
    Ok(alarm)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member_of(id: u64, url: &str) -> Member {
        Member {
            id: MemberId(id),
            name: format!("m{id}"),
            peer_urls: vec![url.into()],
            client_urls: vec![],
            learner: false,
        }
    }

    fn zombies(state: &State) -> Vec<(u64, &'static str)> {
        state.zombies().iter().map(|zombie| (zombie.id.0, zombie.why)).collect()
    }

    #[test]
    fn members_that_are_none_are_told() {
        let voters = |ids: &[u64]| {
            Some(ConfState { voters: ids.iter().map(|id| MemberId(*id)).collect(), ..Default::default() })
        };
        let mut state = State { members: vec![member_of(1, "a"), member_of(2, "b")], ..State::default() };
        assert_eq!(zombies(&state), [], "nothing is known against them");
        state.conf_state = voters(&[1, 2]);
        assert_eq!(zombies(&state), []);
        state.conf_state = voters(&[1, 3]);
        assert_eq!(zombies(&state), [(2, "is unknown to raft")]);
        state.conf_state = voters(&[8, 9]);
        assert_eq!(zombies(&state), [], "of the cluster before a restore");
        state.removed_members.insert(MemberId(1));
        assert_eq!(zombies(&state), [(1, "was removed")]);
        // What etcd 3.4 leaves: the old ones beside the new one, in the same places.
        let state =
            State { members: vec![member_of(1, "a"), member_of(2, "b"), member_of(3, "a")], ..State::default() };
        assert_eq!(zombies(&state).iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1, 3]);
    }

    #[test]
    fn versions_are_read() {
        for text in ["3.6", "3.6.14", "v3.6.0-rc.1"] {
            assert_eq!(Version::parse(text), Some(Version { major: 3, minor: 6 }), "{text}");
        }
        for text in ["", "3", "three.six", "3.", "v"] {
            assert_eq!(Version::parse(text), None, "{text}");
        }
    }
}
