//! What the rest of the program asks of an etcd cluster, in plain data: no type of the client crate shows here.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use kubewright_core::facts::etcd::{Alarm, ClusterId, ContentHash, EtcdFacts, Listing, Member, MemberId};
use kubewright_core::ids::HostName;

use super::ConnectionFault;

/// How long after another etcd is asked again for what it has no event for: a learner or a member that has caught up, a member that has
/// come as far as a revision, a change that it would agree to now. A follower applies what the leader has within a second, and a question
/// costs etcd nothing.
pub const ETCD_AGAIN: Duration = Duration::from_secs(1);

/// An etcd cluster, each of its members at its own endpoint.
///
/// Everything here may be repeated without harm: a change looks first whether it is done already, and looks again before
/// it is tried a second time. None of it asks whether a change is safe; that is `core::quorum`'s to say, before.
#[async_trait]
pub trait EtcdApi: Send + Sync {
    /// Asks every member at its own endpoint, all at once and in bounded time. Whoever does not answer is part of the
    /// observation. Reads only; works without a majority.
    ///
    /// # Errors
    /// [`EtcdError`] where no endpoint at all gave a list of members.
    async fn observe(&self) -> Result<EtcdFacts, EtcdError>;

    /// The list of members that a majority stands behind, or, where there is none, what one member remembers.
    ///
    /// # Errors
    /// [`EtcdError`] where no endpoint at all gave a list of members.
    async fn members(&self) -> Result<MemberList, EtcdError>;

    /// Adds a member without a vote. One that is there already at this URL and has never started is it.
    ///
    /// # Errors
    /// [`EtcdError`]; [`EtcdFault::PeerUrlTaken`] where another member has the URL.
    async fn add_learner(&self, peer_url: &str) -> Result<Added, EtcdError>;

    /// Gives a learner its vote. One that has it is done.
    ///
    /// # Errors
    /// [`EtcdError`]; [`EtcdFault::LearnerNotReady`] while it has not caught up, [`EtcdFault::NoSuchMember`].
    async fn promote(&self, member: MemberId) -> Result<EtcdChange, EtcdError>;

    /// Takes a member off the list. One that is not on it is done.
    ///
    /// # Errors
    /// [`EtcdError`]; [`EtcdFault::Unhealthy`] where etcd itself fears for its quorum.
    async fn remove(&self, member: MemberId) -> Result<EtcdChange, EtcdError>;

    /// Lets this voter lead. One that leads is done.
    ///
    /// # Errors
    /// [`EtcdError`]; [`EtcdFault::NoLeader`] where nobody leads or the leader cannot be asked,
    /// [`EtcdFault::BadLeader`] where etcd does not accept it.
    async fn move_leader(&self, to: MemberId) -> Result<EtcdChange, EtcdError>;

    /// Alarms that are raised, by majority. [`EtcdApi::observe`] tells what the members know of them by themselves.
    ///
    /// # Errors
    /// [`EtcdError`].
    async fn alarms(&self) -> Result<Vec<Alarm>, EtcdError>;

    /// What the members on these hosts hold at a revision (HashKV), all asked at once and in bounded time. Reads only; works
    /// without a majority. A member reads its whole database for it.
    async fn hashes(&self, hosts: &[HostName], revision: i64) -> BTreeMap<HostName, Result<ContentHash, EtcdError>>;

    /// Has the member on this host write its database anew, without what is free in it. It answers nobody meanwhile.
    ///
    /// # Errors
    /// [`EtcdError`].
    async fn defragment(&self, host: &HostName) -> Result<(), EtcdError>;

    /// Has all members forget what was before this revision. Where it is forgotten already, or more of it, that is done.
    ///
    /// # Errors
    /// [`EtcdError`].
    async fn compact(&self, revision: i64) -> Result<EtcdChange, EtcdError>;

    /// Takes back every alarm that is raised, or those about one member, which need not be one any more; tells which.
    ///
    /// # Errors
    /// [`EtcdError`].
    async fn disarm(&self, of: Option<MemberId>) -> Result<Vec<Alarm>, EtcdError>;

    /// Begins to receive a snapshot of the member on this host. Reads only; works without a majority.
    ///
    /// # Errors
    /// [`EtcdError`].
    async fn snapshot(&self, host: &HostName) -> Result<Box<dyn SnapshotStream>, EtcdError>;
}

/// A snapshot on its way: the database and, as its last 32 bytes, the SHA-256 of everything before.
#[async_trait]
pub trait SnapshotStream: Send {
    /// Appends what comes next, and tells how many bytes of the database are still to come; `None` at the end.
    ///
    /// # Errors
    /// [`EtcdError`] where it ends before its end, or nothing comes for a long time.
    async fn next(&mut self, into: &mut Vec<u8>) -> Result<Option<u64>, EtcdError>;
}

/// A list of members and how far to trust it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberList {
    /// Whose.
    pub cluster: ClusterId,
    /// Who stands behind it.
    pub listing: Listing,
    /// The members.
    pub members: Vec<Member>,
}

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtcdChange {
    /// It was made by us now.
    Made,
    /// It was there already.
    FoundDone,
}

/// A member that was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Added {
    /// The new member, without a name until it starts.
    pub member: Member,
    /// Whether we added it.
    pub change: EtcdChange,
}

/// What kind of failure a call met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtcdFault {
    /// No member could be spoken to.
    Connection(ConnectionFault),
    /// Credentials that cannot be used, or no endpoint at all.
    Invalid,
    /// etcd does not let us.
    Denied,
    /// Nobody leads, or no majority stands behind anything: nothing is decided now.
    NoLeader,
    /// No answer in time; whether it was done is unknown.
    Timeout,
    /// etcd fears for its quorum: somebody whom it needs has not been connected for the last 5 seconds.
    Unhealthy,
    /// Too many members of the list have never started.
    NotEnoughStarted,
    /// Another learner is there.
    TooManyLearners,
    /// The learner has not caught up.
    LearnerNotReady,
    /// Only a learner can be promoted.
    NotLearner,
    /// Another member has this peer URL.
    PeerUrlTaken,
    /// No member has this identity.
    NoSuchMember,
    /// This member cannot lead.
    BadLeader,
    /// The database has reached its quota.
    NoSpace,
    /// The members' contents differ.
    Corrupt,
    /// It failed inside, or said something that is not an answer.
    Server,
}

/// Why etcd did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{doing}: {said}")]
pub struct EtcdError {
    /// What kind of failure.
    pub fault: EtcdFault,
    /// What we were about to do, such as `promote member 8e9e05c52164694d`.
    pub doing: String,
    /// etcd's own sentence, or what was seen of the connection.
    pub said: String,
    /// At whose endpoint, where it was one.
    pub host: Option<HostName>,
}

impl EtcdError {
    /// A failure of which nothing but this is known.
    pub fn new(fault: EtcdFault, doing: impl Into<String>, said: impl Into<String>) -> Self {
        Self { fault, doing: doing.into(), said: said.into(), host: None }
    }

    /// The same, met at this host's endpoint.
    #[must_use]
    pub fn at(mut self, host: &HostName) -> Self {
        self.host = Some(host.clone());
        self
    }

    /// What to do about it, where the fault tells.
    pub fn hint(&self) -> Option<&'static str> {
        match self.fault {
            EtcdFault::Connection(ConnectionFault::Tls) => Some(
                "etcd's certificates and our copy of /etc/kubernetes/pki/etcd/ca.crt must belong together; compare the clocks too",
            ),
            EtcdFault::Connection(ConnectionFault::Unreachable) => Some("check that the hosts answer to ssh"),
            EtcdFault::Connection(ConnectionFault::Refused) => {
                Some("see `crictl ps -a` and `journalctl -u kubelet` on the host: is etcd running?")
            }
            EtcdFault::NoLeader => Some("nothing is lost: bring a majority of the members back, then ask again"),
            EtcdFault::Timeout => {
                Some("look at the list of members before it is tried again; a slow disk is the usual cause")
            }
            EtcdFault::Unhealthy => Some(
                "every voter must have been connected for 5 s; mend the one that is not, or remove it if it is dead",
            ),
            EtcdFault::NotEnoughStarted => Some("start the members that were added, or remove them, then go on"),
            EtcdFault::TooManyLearners => Some("promote or remove the learner that is there first"),
            EtcdFault::LearnerNotReady => Some("it is still receiving the database; wait until it has caught up"),
            EtcdFault::PeerUrlTaken => Some("remove the member that has the URL first"),
            EtcdFault::BadLeader => Some("only a voter that is connected can lead; name another"),
            EtcdFault::NoSpace => Some("compact, defragment the members one after the other, then disarm the alarm"),
            EtcdFault::Corrupt => Some("find the member that differs, replace it, then disarm the alarm"),
            EtcdFault::Denied => Some("the client certificate has expired, or etcd's own users are switched on"),
            EtcdFault::Connection(_)
            | EtcdFault::Invalid
            | EtcdFault::NotLearner
            | EtcdFault::NoSuchMember
            | EtcdFault::Server => None,
        }
    }
}
