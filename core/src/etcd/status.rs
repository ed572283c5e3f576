//! How each member is and what may be lost now.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::advice::{self, Advice};
use super::agreement::{Agreement, Contents};
use super::retention::Copy;
use crate::facts::etcd::{Alarm, Answer, ClusterId, EtcdFacts, Listing, Member, MemberId, Sight};
use crate::finding::{Finding, Severity};
use crate::ids::HostName;
use crate::quorum::{Change, Standing, View, decide};

/// A certificate of a host, by its file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate {
    /// The file.
    pub path: String,
    /// Last moment of validity.
    pub expires: Timestamp,
}

/// etcd's certificates on each host, or why they could not be read.
pub type Certificates = BTreeMap<HostName, Result<Vec<Certificate>, String>>;

/// The copies of a cluster's etcd that its store holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopiesSeen {
    /// Where.
    pub store: String,
    /// How many are whole.
    pub count: usize,
    /// When the newest was taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Timestamp>,
    /// When the newest was taken that a majority of the members attested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_verified: Option<Timestamp>,
    /// Why the store could not be asked, where it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

impl CopiesSeen {
    /// What a store holds, or why it could not be asked.
    pub fn of(store: String, copies: Result<&[Copy], String>) -> Self {
        let (copies, unreadable) = match copies {
            Ok(copies) => (copies, None),
            Err(why) => (&[][..], Some(why)),
        };
        Self {
            store,
            count: copies.len(),
            last: copies.iter().map(|copy| copy.taken).max(),
            last_verified: copies.iter().filter(|copy| copy.verified).map(|copy| copy.taken).max(),
            unreadable,
        }
    }
}

/// Everything that was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The cluster's name.
    pub cluster: &'a str,
    /// The spec's file, for commands.
    pub file: &'a str,
    /// The members.
    pub facts: &'a EtcdFacts,
    /// Their contents, where anybody could be asked for them.
    pub agreement: Option<&'a Agreement>,
    /// The certificates of the hosts.
    pub certificates: &'a Certificates,
    /// The copies of it, where a store was asked for them.
    pub copies: Option<&'a CopiesSeen>,
    /// When.
    pub now: Timestamp,
}

/// An etcd cluster at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EtcdStatus {
    /// The cluster's name.
    pub cluster: String,
    /// etcd's own number for it.
    pub id: ClusterId,
    /// Who stands behind the list of members.
    pub listing: Listing,
    /// Whether a majority of the voters is well: without one nothing is written.
    pub decides: bool,
    /// Members with a vote.
    pub voters: usize,
    /// Those of them that are well.
    pub well: usize,
    /// How many of these may be lost before nothing is written any more; who holds other content than the others is no reserve.
    pub may_lose: usize,
    /// Who leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<MemberId>,
    /// The members, by name.
    pub members: Vec<MemberStatus>,
    /// At which revision contents were compared; none where nobody could be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared_at: Option<i64>,
    /// Whether a majority of the voters holds the same there.
    pub contents_proved: bool,
    /// Alarms that are raised.
    pub alarms: Vec<Alarm>,
    /// The copies of it, where a store was asked for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copies: Option<CopiesSeen>,
    /// What is worth knowing, the worst first.
    pub findings: Vec<Finding>,
    /// What to do now.
    pub next: Advice,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Its identity.
    pub id: MemberId,
    /// What people call it.
    pub name: String,
    /// The host of ours that it lives on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostName>,
    /// Whether it has no vote.
    pub learner: bool,
    /// Whether it leads.
    pub leads: bool,
    /// Whether it is well.
    pub well: bool,
    /// How it stands: a half sentence after its name.
    pub standing: String,
    /// Entries that it is behind whoever has most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<u64>,
    /// What it says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// What is known of its contents.
    #[serde(flatten)]
    pub contents: Contents,
    /// That of its host's certificates which expires first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// Why it may not be stopped now; empty where it may.
    pub not_to_be_stopped: Vec<String>,
}

impl EtcdStatus {
    /// Whether something has to be mended before etcd can be relied on.
    pub fn is_broken(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Blocks)
    }
}

/// Judges what was seen.
pub fn assess(seen: &Seen<'_>) -> EtcdStatus {
    let (facts, view) = (seen.facts, View::of(seen.facts));
    let mut members: Vec<MemberStatus> =
        facts.members.iter().map(|member| member_status(seen, &view, member)).collect();
    members.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
    let suspect = suspect(&mut members);
    let mut status = EtcdStatus {
        cluster: seen.cluster.to_owned(),
        id: facts.cluster,
        listing: facts.listing.clone(),
        decides: view.has_quorum(),
        voters: view.voters(),
        well: view.well(),
        may_lose: view.may_lose().saturating_sub(suspect),
        leader: view.leader(),
        members,
        compared_at: seen.agreement.map(|agreement| agreement.revision),
        contents_proved: seen.agreement.is_some_and(|agreement| agreement.proved),
        alarms: facts.alarms.clone(),
        copies: seen.copies.cloned(),
        findings: Vec::new(),
        next: Advice::nothing(),
    };
    status.findings = advice::findings(seen, &view, &status);
    status.next = advice::next(seen, &view, &status);
    status
}

/// Members that are not to be trusted are no reserve: what is left when another is lost must be right. Tells how many well voters
/// are none, and says to the others why they may not be stopped.
fn suspect(members: &mut [MemberStatus]) -> usize {
    let is_suspect = |member: &MemberStatus| matches!(member.contents, Contents::Differ | Contents::Disputed);
    let names: Vec<String> =
        members.iter().filter(|member| is_suspect(member)).map(|member| member.name.clone()).collect();
    if names.is_empty() {
        return 0;
    }
    let why = format!("what is left must be right, and the contents of {} are not, or may not be", names.join(", "));
    for member in members.iter_mut().filter(|member| member.contents != Contents::Differ && !member.learner) {
        member.not_to_be_stopped.push(why.clone());
    }
    members.iter().filter(|member| is_suspect(member) && member.well && !member.learner).count()
}

fn member_status(seen: &Seen<'_>, view: &View<'_>, member: &Member) -> MemberStatus {
    let host = seen.facts.hosts.get(&member.id).cloned();
    let standing = view.standing(member.id);
    let verdict = decide(seen.facts, &Change::Stop { member: member.id });
    let unknown = || Contents::Unknown { why: "nobody could be asked".to_owned() };
    let certificates = host.as_ref().and_then(|host| seen.certificates.get(host)).and_then(|read| read.as_ref().ok());
    MemberStatus {
        id: member.id,
        name: member.to_string(),
        learner: member.learner,
        leads: view.leader() == Some(member.id),
        well: standing.is_some_and(Standing::is_well),
        standing: standing.map(ToString::to_string).unwrap_or_default(),
        lag: view.progress(member.id).map(|(applied, newest)| newest.saturating_sub(applied)),
        answer: match seen.facts.sights.get(&member.id) {
            Some(Sight::Answers(answer)) => Some(answer.as_ref().clone()),
            _ => None,
        },
        contents: seen
            .agreement
            .and_then(|agreement| agreement.members.get(&member.id).cloned())
            .unwrap_or_else(unknown),
        certificate: certificates.and_then(|all| all.iter().min_by_key(|certificate| certificate.expires).cloned()),
        not_to_be_stopped: verdict.obstacles().iter().map(ToString::to_string).collect(),
        host,
    }
}
