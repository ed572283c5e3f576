//! What can be seen of an etcd cluster: its members, each as it was found at its own endpoint. Nothing is guessed: a member
//! that was not asked is unseen, which is neither alive nor dead.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::HostName;
use crate::spec::Host;

/// A member's identity. Written as etcdctl writes it: 16 hexadecimal digits at most, for JSON's numbers are too short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String")]
pub struct MemberId(pub u64);

/// A cluster's identity, written in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u64);

macro_rules! hexadecimal {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{:x}", self.0)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                u64::from_str_radix(&text, 16).map(Self).map_err(D::Error::custom)
            }
        }
    };
}

hexadecimal!(MemberId);
hexadecimal!(ClusterId);

/// One entry of the member list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its identity.
    pub id: MemberId,
    /// Its name; empty until it has started for the first time.
    pub name: String,
    /// Where the others reach it.
    pub peer_urls: Vec<String>,
    /// Where clients reach it; none until it has started.
    pub client_urls: Vec<String>,
    /// Whether it only listens: it has no vote and counts for no majority.
    pub learner: bool,
}

impl Member {
    /// Whether it has ever joined; until then it is an entry in a list and nothing else.
    pub fn has_started(&self) -> bool {
        !self.name.is_empty()
    }
}

/// What people call it: its name, or where it will be.
impl fmt::Display for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name.as_str(), self.peer_urls.first()) {
            ("", Some(url)) => write!(formatter, "the unstarted member at {url}"),
            ("", None) => write!(formatter, "the unstarted member {}", self.id),
            (name, _) => formatter.write_str(name),
        }
    }
}

/// Where a member list comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Listing {
    /// A majority stands behind it: it is the newest there is.
    Agreed,
    /// There was no majority to ask: so one member remembers it, maybe wrongly.
    Remembered {
        /// Which member.
        by: HostName,
    },
}

/// What was seen at a member's own endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "seen", rename_all = "camelCase")]
pub enum Sight {
    /// It answered.
    Answers(Box<Answer>),
    /// Its host answered, and nothing listens there: the process does not run at this moment.
    Down {
        /// What was seen.
        why: String,
    },
    /// Something is there and gave no answer in time, or none that can be read: slow, stopped, without a valid certificate.
    Silent {
        /// What was seen.
        why: String,
    },
    /// It cannot be seen from here: no way to its host, or no host of ours goes by its name.
    Unseen {
        /// Why not.
        why: String,
    },
}

/// What a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// When, by our clock.
    pub at: Timestamp,
    /// The cluster that it belongs to.
    pub cluster: ClusterId,
    /// Who leads, in its eyes; none while it knows no leader.
    pub leader: Option<MemberId>,
    /// Number of the election that it lives in.
    pub term: u64,
    /// Revision of its key space.
    pub revision: i64,
    /// Last entry of its log.
    pub raft_index: u64,
    /// Last entry that it has carried out.
    pub applied_index: u64,
    /// Bytes of its database file.
    pub db_bytes: u64,
    /// Bytes of these in use; the rest is free after a defragmentation.
    pub db_used_bytes: u64,
    /// Bytes that the file may have; told from etcd 3.6 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_bytes: Option<u64>,
    /// Version of its server, such as `3.6.6`.
    pub version: String,
    /// Whether it takes itself for a learner.
    pub learner: bool,
    /// Why a read that needs a majority failed at this endpoint; none where it succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_failed: Option<String>,
    /// What it complains of, in its own words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// What an alarm is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AlarmKind {
    /// NOSPACE: a database has reached its quota; the cluster only reads and deletes.
    NoSpace,
    /// CORRUPT: a member's content differs from that of the others.
    Corrupt,
    /// One that we know nothing of, by its number.
    Other(i32),
}

impl fmt::Display for AlarmKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace => formatter.write_str("NOSPACE"),
            Self::Corrupt => formatter.write_str("CORRUPT"),
            Self::Other(number) => write!(formatter, "alarm {number}"),
        }
    }
}

/// An alarm that is raised.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alarm {
    /// About whom; none where etcd does not know (3.5 does not, of corruption).
    pub member: Option<MemberId>,
    /// About what.
    pub kind: AlarmKind,
}

/// What a member holds at a revision: HashKV, a CRC-32C over its keys' history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContentHash {
    /// The revision.
    pub revision: i64,
    /// Where its history begins; -1 where nothing was compacted.
    pub compact_revision: i64,
    /// The hash.
    pub hash: u32,
}

impl ContentHash {
    /// Whether equal contents would have equal hashes.
    pub fn comparable(&self, other: &Self) -> bool {
        (self.revision, self.compact_revision) == (other.revision, other.compact_revision)
    }
}

/// What members hold, or why they did not say. Who was not asked is missing.
pub type Hashes = BTreeMap<MemberId, Result<ContentHash, String>>;

/// One observation of an etcd cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EtcdFacts {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Where the list of members comes from.
    pub listing: Listing,
    /// The members, by identity.
    pub members: Vec<Member>,
    /// What was seen of each; a member that is missing here is unseen.
    pub sights: BTreeMap<MemberId, Sight>,
    /// The host of ours that each member lives on, where that is known.
    #[serde(default)]
    pub hosts: BTreeMap<MemberId, HostName>,
    /// Alarms that are raised.
    #[serde(default)]
    pub alarms: Vec<Alarm>,
    /// Endpoints of ours that no member of the list was found at, with what was seen there.
    #[serde(default)]
    pub elsewhere: BTreeMap<HostName, Sight>,
}

impl EtcdFacts {
    /// The member with this identity.
    pub fn member(&self, id: MemberId) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// Whether members were asked in the middle of an election: they name several leaders or terms, or a leader that gave no answer.
    pub fn is_amid_election(&self) -> bool {
        let named: BTreeSet<(u64, Option<MemberId>)> = self
            .sights
            .values()
            .filter_map(|sight| match sight {
                Sight::Answers(answer) if answer.cluster == self.cluster => Some((answer.term, answer.leader)),
                _ => None,
            })
            .collect();
        let is_gone = |leader| matches!(self.sights.get(&leader), Some(Sight::Silent { .. } | Sight::Down { .. }));
        named.len() > 1 || named.iter().any(|(_, leader)| leader.is_some_and(is_gone))
    }

    /// The member that lives on a host of ours: found there, or named after it.
    pub fn member_on(&self, host: &HostName) -> Option<&Member> {
        let found = self.hosts.iter().find(|(_, name)| *name == host).and_then(|(id, _)| self.member(*id));
        found.or_else(|| self.members.iter().find(|member| member.name == host.as_str()))
    }

    /// The member that another installation of this host left behind: of its name or at its place, once started.
    pub fn started_on(&self, host: &Host) -> Option<&Member> {
        let url = host.etcd_peer_url();
        self.member_on(&host.name).or_else(|| self.member_at(&url)).filter(|member| member.has_started())
    }

    /// The member that others reach at this URL.
    pub fn member_at(&self, peer_url: &str) -> Option<&Member> {
        self.members.iter().find(|member| member.peer_urls.iter().any(|url| url == peer_url))
    }

    /// Those with a vote.
    pub fn voters(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| !member.learner)
    }

    /// Those without one.
    pub fn learners(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.learner)
    }

    /// What makes a plan about these members legal, by path: which cluster, who is in it, with a vote or without. Who leads,
    /// who lags and who answers never is: guards ask that anew.
    pub fn assumed(&self) -> Vec<(String, String)> {
        let mut members: Vec<&Member> = self.members.iter().collect();
        members.sort_by_key(|member| member.id);
        let member = |member: &Member| {
            let role = if member.learner { "learner" } else { "voter" };
            (format!("etcd.members.{}", member.id), format!("{} {role} {}", member.name, member.peer_urls.join(",")))
        };
        let mut assumed = vec![("etcd.cluster".to_owned(), self.cluster.to_string())];
        let ids: Vec<String> = members.iter().map(|member| member.id.to_string()).collect();
        assumed.push(("etcd.members".to_owned(), ids.join(",")));
        assumed.extend(members.into_iter().map(member));
        assumed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, name: &str, learner: bool) -> Member {
        let peer_urls = vec![format!("https://10.0.0.{id}:2380")];
        Member { id: MemberId(id), name: name.to_owned(), peer_urls, client_urls: Vec::new(), learner }
    }

    fn facts() -> EtcdFacts {
        let down = Sight::Down { why: "connection refused".to_owned() };
        EtcdFacts {
            cluster: ClusterId(u64::MAX),
            listing: Listing::Remembered { by: "cp1".into() },
            members: vec![member(3, "", true), member(2, "cp2", false), member(1, "etcd-a", false)],
            sights: BTreeMap::from([(MemberId(2), down)]),
            hosts: BTreeMap::from([(MemberId(1), "cp1".into())]),
            alarms: vec![Alarm { member: None, kind: AlarmKind::Corrupt }],
            elsewhere: BTreeMap::new(),
        }
    }

    #[test]
    fn identities_survive_json() {
        let text = serde_json::to_string(&facts()).unwrap();
        assert!(text.contains(r#""cluster":"ffffffffffffffff""#), "{text}");
        assert_eq!(serde_json::from_str::<EtcdFacts>(&text).unwrap(), facts());
        assert!(serde_json::from_str::<MemberId>("\"xyz\"").is_err());
    }

    #[test]
    fn members_are_found_by_host_name_and_url() {
        let facts = facts();
        let id = |member: Option<&Member>| member.map(|member| member.id.0);
        assert_eq!(id(facts.member_on(&"cp1".into())), Some(1), "found there");
        assert_eq!(id(facts.member_on(&"cp2".into())), Some(2), "named after it");
        assert_eq!(id(facts.member_on(&"cp3".into())), None);
        assert_eq!(id(facts.member_at("https://10.0.0.3:2380")), Some(3));
        assert_eq!(facts.members[0].to_string(), "the unstarted member at https://10.0.0.3:2380");
    }

    #[test]
    fn an_election_is_seen_in_what_members_say_of_their_leader() {
        let answer = |term, leader: Option<u64>| {
            let (at, version) = (Timestamp::UNIX_EPOCH, "3.6.6".to_owned());
            Sight::Answers(Box::new(Answer {
                at,
                cluster: ClusterId(u64::MAX),
                leader: leader.map(MemberId),
                term,
                revision: 1,
                raft_index: 1,
                applied_index: 1,
                db_bytes: 1,
                db_used_bytes: 1,
                quota_bytes: None,
                version,
                learner: false,
                read_failed: None,
                errors: Vec::new(),
            }))
        };
        let amid = |sights: [(u64, Sight); 3]| {
            let sights = sights.into_iter().map(|(id, sight)| (MemberId(id), sight)).collect();
            EtcdFacts { sights, ..facts() }.is_amid_election()
        };
        let down = || Sight::Down { why: "connection refused".to_owned() };
        let unseen = || Sight::Unseen { why: "nobody knows its host".to_owned() };
        assert!(!amid([(1, answer(5, Some(1))), (2, answer(5, Some(1))), (3, down())]));
        assert!(!amid([(1, answer(5, None)), (2, down()), (3, down())]), "it will stay so");
        assert!(!amid([(1, answer(5, Some(2))), (2, unseen()), (3, unseen())]), "nobody asked the leader");
        assert!(amid([(1, answer(5, Some(2))), (2, answer(6, Some(2))), (3, down())]));
        assert!(amid([(1, answer(5, Some(3))), (2, answer(5, Some(3))), (3, down())]));
    }

    #[test]
    fn a_plan_relies_on_who_is_in_it_and_not_on_how_they_are() {
        let assumed = facts().assumed();
        let lines: Vec<String> = assumed.iter().map(|(path, value)| format!("{path} = {value}")).collect();
        assert_eq!(
            lines,
            [
                "etcd.cluster = ffffffffffffffff",
                "etcd.members = 1,2,3",
                "etcd.members.1 = etcd-a voter https://10.0.0.1:2380",
                "etcd.members.2 = cp2 voter https://10.0.0.2:2380",
                "etcd.members.3 =  learner https://10.0.0.3:2380",
            ]
        );
        let mut other = facts();
        other.sights.clear();
        other.members.reverse();
        assert_eq!(other.assumed(), assumed);
    }
}
