//! An etcd cluster in memory, for tests and for runs on the simulator. It refuses what the real one refuses (strict
//! reconfiguration check, one learner at a time), loses answers on request, and keeps every call.

mod held;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;
use kubewright_core::facts::etcd::{
    Alarm, Answer, ClusterId, ContentHash, EtcdFacts, Listing, Member, MemberId, Sight,
};
use kubewright_core::ids::HostName;
use kubewright_core::quorum::{has_quorum, majority};

use self::held::Held;
use super::fault::by_sentence;
use crate::ports::{Added, ConnectionFault, EtcdApi, EtcdChange, EtcdError, EtcdFault, MemberList, SnapshotStream};

/// How a member is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// In order.
    Well,
    /// Connected, and so many entries behind.
    Behind(u64),
    /// Its process does not run.
    Down,
    /// It is alive, connected to the others, and gives us no answer.
    Silent,
    /// There is no way to its host; the others are connected to it.
    Unseen,
}

/// When an answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// Before anything was done.
    Before,
    /// Once it was done.
    After,
}

/// Entries in the log of a cluster that nobody wrote to in particular.
const NEWEST: u64 = 1_000_000;

struct World {
    members: BTreeMap<MemberId, (Member, Health)>,
    leader: Option<MemberId>,
    term: u64,
    alarms: Vec<Alarm>,
    losses: BTreeMap<String, VecDeque<Lost>>,
    held: BTreeMap<HostName, Held>,
    calls: Vec<String>,
    next: u64,
}

/// An etcd cluster in memory. Clones are the same cluster.
#[derive(Clone)]
pub struct FakeEtcd(Arc<Mutex<World>>);

impl FakeEtcd {
    /// One identity for all of them: no test has two.
    pub const CLUSTER: ClusterId = ClusterId(0xc1);

    /// A cluster of voters in order, named after their hosts, the first leading. Peer URLs are
    /// `https://10.0.0.<number>:2380`, identities 1, 2, …
    pub fn new<N: Into<HostName>>(hosts: impl IntoIterator<Item = N>) -> Self {
        let fake = Self(Arc::new(Mutex::new(World {
            members: BTreeMap::new(),
            leader: None,
            term: 2,
            alarms: Vec::new(),
            losses: BTreeMap::new(),
            held: BTreeMap::new(),
            calls: Vec::new(),
            next: 1,
        })));
        for host in hosts {
            let mut world = fake.world();
            let peer_url = format!("https://10.0.0.{}:2380", world.next);
            let member = world.enter(&peer_url, false);
            world.start(member.id, &host.into());
            world.leader.get_or_insert(member.id);
        }
        fake
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how the member of this name is. A leader that is not connected any more is replaced by the first that is, if
    /// there is a majority.
    pub fn set(&self, name: &str, health: Health) {
        let mut world = self.world();
        if let Some((_, state)) = world.members.values_mut().find(|(member, _)| member.name == name) {
            *state = health;
        }
        world.elect();
    }

    /// Starts the member that was added at this peer URL.
    pub fn start(&self, peer_url: &str, name: &str, health: Health) {
        let mut world = self.world();
        let at = |(member, _): &&(Member, Health)| member.peer_urls.iter().any(|url| url == peer_url);
        if let Some(id) = world.members.values().find(at).map(|(member, _)| member.id) {
            world.start(id, &name.into());
            if let Some((_, state)) = world.members.get_mut(&id) {
                *state = health;
            }
        }
    }

    /// Raises an alarm.
    pub fn raise(&self, alarm: Alarm) {
        self.world().alarms.push(alarm);
    }

    /// Gives the member on this host contents: a snapshot that a real etcd wrote.
    pub fn hold(&self, host: &str, bytes: impl Into<Vec<u8>>) {
        let held = Held { bytes: Arc::new(bytes.into()), breaks_at: None };
        self.world().held.insert(host.into(), held);
    }

    /// Loses the connection to the member on this host once it has sent so many bytes of a snapshot.
    pub fn break_at(&self, host: &str, bytes: usize) {
        if let Some(held) = self.world().held.get_mut(host) {
            held.breaks_at = Some(bytes);
        }
    }

    /// Loses the answer to the next call of this name (`add`, `promote`, `remove`, `moveLeader`); several are used up one
    /// after the other. The caller sees [`EtcdFault::Timeout`].
    pub fn lose(&self, call: &str, when: Lost) {
        self.world().losses.entry(call.to_owned()).or_default().push_back(when);
    }

    /// Every change that was asked for, in order, such as `remove 3`.
    pub fn calls(&self) -> Vec<String> {
        self.world().calls.clone()
    }

    /// Who leads.
    pub fn leader(&self) -> Option<MemberId> {
        self.world().leader
    }

    fn make<T>(
        &self,
        call: &str,
        subject: &str,
        deed: impl FnOnce(&mut World) -> Result<T, &'static str>,
    ) -> Result<T, EtcdError> {
        let mut world = self.world();
        let doing = format!("{call} {subject}");
        world.calls.push(doing.clone());
        let loss = world.losses.get_mut(call).and_then(VecDeque::pop_front);
        let lost = || EtcdError::new(EtcdFault::Timeout, &doing, "no answer in time");
        if loss == Some(Lost::Before) {
            return Err(lost());
        }
        if !world.decides() {
            return Err(EtcdError::new(EtcdFault::NoLeader, &doing, "etcdserver: no leader"));
        }
        let done = deed(&mut world)
            .map_err(|said| EtcdError::new(by_sentence(said).unwrap_or(EtcdFault::Server), &doing, said))?;
        if loss == Some(Lost::After) { Err(lost()) } else { Ok(done) }
    }
}

impl World {
    fn enter(&mut self, peer_url: &str, learner: bool) -> Member {
        let member = Member {
            id: MemberId(self.next),
            name: String::new(),
            peer_urls: vec![peer_url.to_owned()],
            client_urls: Vec::new(),
            learner,
        };
        self.next += 1;
        self.members.insert(member.id, (member.clone(), Health::Down));
        member
    }

    fn start(&mut self, id: MemberId, name: &HostName) {
        if let Some((member, health)) = self.members.get_mut(&id) {
            member.name = name.to_string();
            member.client_urls = member.peer_urls.iter().map(|url| url.replace(":2380", ":2379")).collect();
            *health = Health::Well;
        }
    }

    fn voters(&self) -> impl Iterator<Item = &(Member, Health)> {
        self.members.values().filter(|(member, _)| !member.learner)
    }

    fn decides(&self) -> bool {
        has_quorum(self.voters().count(), self.voters().filter(|state| connected(state)).count())
    }

    fn elect(&mut self) {
        let able: Vec<MemberId> = self.voters().filter(|state| connected(state)).map(|(member, _)| member.id).collect();
        if !self.decides() {
            self.leader = None;
        } else if !self.leader.is_some_and(|leader| able.contains(&leader)) {
            self.leader = able.first().copied();
            self.term += 1;
        }
    }

    fn add(&mut self, peer_url: &str) -> Result<(Member, EtcdChange), &'static str> {
        let at = |(member, _): &&(Member, Health)| member.peer_urls.iter().any(|url| url == peer_url);
        match self.members.values().find(at) {
            Some((member, _)) if member.learner && !member.has_started() => {
                return Ok((member.clone(), EtcdChange::FoundDone));
            }
            Some(_) => return Err("etcdserver: Peer URLs already exists"),
            None => {}
        }
        if self.members.values().any(|(member, _)| member.learner) {
            return Err("etcdserver: too many learner members in cluster");
        }
        if !self.voters().all(connected) {
            return Err("etcdserver: unhealthy cluster");
        }
        Ok((self.enter(peer_url, true), EtcdChange::Made))
    }

    fn promote(&mut self, id: MemberId) -> Result<EtcdChange, &'static str> {
        let started = self.voters().filter(|(member, _)| member.has_started()).count() + 1;
        let needed = majority(self.voters().count() + 1);
        let Some((member, health)) = self.members.get_mut(&id) else { return Err("etcdserver: member not found") };
        if !member.learner {
            return Ok(EtcdChange::FoundDone);
        }
        let behind = matches!(health, Health::Behind(entries) if *entries > NEWEST / 10);
        if *health == Health::Down || behind || !member.has_started() {
            return Err("etcdserver: can only promote a learner member which is in sync with leader");
        }
        if started < needed {
            return Err("etcdserver: re-configuration failed due to not enough started members");
        }
        member.learner = false;
        Ok(EtcdChange::Made)
    }

    fn remove(&mut self, id: MemberId) -> Result<EtcdChange, &'static str> {
        let Some((member, health)) = self.members.get(&id).cloned() else { return Ok(EtcdChange::FoundDone) };
        if !member.learner {
            let others = || self.voters().filter(|(member, _)| member.id != id);
            let (count, alive) = (others().count(), others().filter(|state| connected(state)).count());
            if !has_quorum(count, others().filter(|(member, _)| member.has_started()).count()) {
                return Err("etcdserver: re-configuration failed due to not enough started members");
            }
            if connected(&(member, health)) && !has_quorum(count, alive) {
                return Err("etcdserver: unhealthy cluster");
            }
        }
        self.members.remove(&id);
        self.elect();
        Ok(EtcdChange::Made)
    }

    fn move_leader(&mut self, to: MemberId) -> Result<EtcdChange, &'static str> {
        if self.leader == Some(to) {
            return Ok(EtcdChange::FoundDone);
        }
        if !self.voters().any(|state| state.0.id == to && connected(state)) {
            return Err("etcdserver: bad leader transferee");
        }
        self.leader = Some(to);
        self.term += 1;
        Ok(EtcdChange::Made)
    }

    /// What the member on a host holds, if it answers.
    fn held(&self, host: &HostName, doing: &str) -> Result<&Held, EtcdError> {
        let silent = |fault| EtcdError::new(EtcdFault::Connection(fault), doing, "no answer").at(host);
        match self.members.values().find(|(member, _)| member.name == host.as_str()).map(|(_, health)| health) {
            Some(Health::Well | Health::Behind(_)) => self.held.get(host).ok_or_else(|| silent(ConnectionFault::Lost)),
            Some(Health::Down) | None => Err(silent(ConnectionFault::Refused)),
            Some(Health::Silent) => Err(silent(ConnectionFault::Timeout)),
            Some(Health::Unseen) => Err(silent(ConnectionFault::Unreachable)),
        }
    }

    fn sight(&self, host: &str, health: Health, learner: bool) -> Sight {
        let lag = match health {
            Health::Well => 0,
            Health::Behind(entries) => entries,
            Health::Down => return Sight::Down { why: "connection refused".to_owned() },
            Health::Silent => return Sight::Silent { why: "no answer within 5 s".to_owned() },
            Health::Unseen => return Sight::Unseen { why: "no SSH".to_owned() },
        };
        let read_failed = if learner {
            Some("etcdserver: rpc not supported for learner".to_owned())
        } else {
            (!self.decides()).then(|| "etcdserver: request timed out".to_owned())
        };
        Sight::Answers(Box::new(Answer {
            at: Timestamp::UNIX_EPOCH,
            cluster: FakeEtcd::CLUSTER,
            leader: self.leader,
            term: self.term,
            revision: self.held.get(host).map_or(1, Held::revision),
            raft_index: NEWEST,
            applied_index: NEWEST.saturating_sub(lag),
            db_bytes: 20 << 20,
            db_used_bytes: 10 << 20,
            quota_bytes: Some(2 << 30),
            version: "3.6.6".to_owned(),
            learner,
            read_failed,
            errors: Vec::new(),
        }))
    }

    fn list(&self) -> Result<MemberList, EtcdError> {
        let answers = |(_, health): &&(Member, Health)| matches!(health, Health::Well | Health::Behind(_));
        let Some((teller, _)) = self.members.values().find(answers) else {
            let fault = EtcdFault::Connection(ConnectionFault::Unreachable);
            return Err(EtcdError::new(fault, "ask etcd", "no member answers"));
        };
        let listing =
            if self.decides() { Listing::Agreed } else { Listing::Remembered { by: teller.name.as_str().into() } };
        let members = self.members.values().map(|(member, _)| member.clone()).collect();
        Ok(MemberList { cluster: FakeEtcd::CLUSTER, listing, members })
    }
}

/// Whether the other members are connected to it, whatever we see.
fn connected((member, health): &(Member, Health)) -> bool {
    member.has_started() && *health != Health::Down
}

#[async_trait]
impl EtcdApi for FakeEtcd {
    async fn observe(&self) -> Result<EtcdFacts, EtcdError> {
        let world = self.world();
        let list = world.list()?;
        let started = || world.members.values().filter(|(member, _)| member.has_started());
        Ok(EtcdFacts {
            cluster: list.cluster,
            listing: list.listing,
            members: list.members,
            sights: started()
                .map(|(member, health)| (member.id, world.sight(&member.name, *health, member.learner)))
                .collect(),
            hosts: started().map(|(member, _)| (member.id, member.name.as_str().into())).collect(),
            alarms: world.alarms.clone(),
            elsewhere: BTreeMap::new(),
        })
    }

    async fn members(&self) -> Result<MemberList, EtcdError> {
        self.world().list()
    }

    async fn add_learner(&self, peer_url: &str) -> Result<Added, EtcdError> {
        let (member, change) = self.make("add", peer_url, |world| world.add(peer_url))?;
        Ok(Added { member, change })
    }

    async fn promote(&self, member: MemberId) -> Result<EtcdChange, EtcdError> {
        self.make("promote", &member.to_string(), |world| world.promote(member))
    }

    async fn remove(&self, member: MemberId) -> Result<EtcdChange, EtcdError> {
        self.make("remove", &member.to_string(), |world| world.remove(member))
    }

    async fn move_leader(&self, to: MemberId) -> Result<EtcdChange, EtcdError> {
        self.make("moveLeader", &to.to_string(), |world| world.move_leader(to))
    }

    async fn alarms(&self) -> Result<Vec<Alarm>, EtcdError> {
        Ok(self.world().alarms.clone())
    }

    async fn hashes(&self, hosts: &[HostName], revision: i64) -> BTreeMap<HostName, Result<ContentHash, EtcdError>> {
        let world = self.world();
        let hash = |host: &HostName| world.held(host, "ask for HashKV").and_then(|held| held.hash(host, revision));
        hosts.iter().map(|host| (host.clone(), hash(host))).collect()
    }

    async fn defragment(&self, host: &HostName) -> Result<(), EtcdError> {
        let mut world = self.world();
        world.calls.push(format!("defragment {host}"));
        world.held(host, "defragment a database").map(drop)
    }

    async fn compact(&self, revision: i64) -> Result<EtcdChange, EtcdError> {
        self.make("compact", &revision.to_string(), |_| Ok(EtcdChange::Made))
    }

    async fn disarm(&self, of: Option<MemberId>) -> Result<Vec<Alarm>, EtcdError> {
        let meant = |alarm: &mut Alarm| of.is_none() || alarm.member == of;
        let whose = of.map_or("alarms".to_owned(), |member| format!("alarms of {member}"));
        self.make("disarm", &whose, |world| Ok(world.alarms.extract_if(.., meant).collect()))
    }

    async fn snapshot(&self, host: &HostName) -> Result<Box<dyn SnapshotStream>, EtcdError> {
        let mut world = self.world();
        world.calls.push(format!("snapshot {host}"));
        Ok(world.held(host, "begin a snapshot")?.clone().stream(host.clone()))
    }
}

#[cfg(test)]
mod tests {
    use kubewright_core::quorum::{Change, Reason, decide};

    use super::*;

    async fn reasons(etcd: &FakeEtcd, change: Change) -> Vec<Reason> {
        let facts = etcd.observe().await.unwrap();
        decide(&facts, &change).obstacles().iter().map(|obstacle| obstacle.reason).collect()
    }

    #[tokio::test]
    async fn a_dead_member_is_replaced_while_answers_are_lost() {
        let etcd = FakeEtcd::new(["cp1", "cp2", "cp3"]);
        etcd.set("cp3", Health::Down);
        let url = "https://10.0.0.3:2380";
        let error = etcd.add_learner("https://10.0.0.9:2380").await.unwrap_err();
        assert_eq!(error.fault, EtcdFault::Unhealthy);
        assert!(error.hint().is_some_and(|hint| hint.contains("5 s")));

        etcd.lose("remove", Lost::After);
        assert_eq!(etcd.remove(MemberId(3)).await.unwrap_err().fault, EtcdFault::Timeout);
        assert_eq!(etcd.remove(MemberId(3)).await, Ok(EtcdChange::FoundDone));

        etcd.lose("add", Lost::After);
        assert_eq!(etcd.add_learner(url).await.unwrap_err().fault, EtcdFault::Timeout);
        let added = etcd.add_learner(url).await.unwrap();
        assert_eq!((added.change, added.member.id, added.member.learner), (EtcdChange::FoundDone, MemberId(4), true));
        let promote = || Change::Promote { member: MemberId(4) };
        assert_eq!(reasons(&etcd, promote()).await, [Reason::NeverStarted]);
        assert_eq!(etcd.promote(MemberId(4)).await.unwrap_err().fault, EtcdFault::LearnerNotReady);
        assert_eq!(etcd.add_learner("https://10.0.0.9:2380").await.unwrap_err().fault, EtcdFault::TooManyLearners);

        etcd.start(url, "cp3", Health::Behind(500_000));
        assert_eq!(reasons(&etcd, promote()).await, [Reason::NotCaughtUp]);
        etcd.set("cp3", Health::Well);
        assert_eq!(reasons(&etcd, promote()).await, []);
        assert_eq!(etcd.promote(MemberId(4)).await, Ok(EtcdChange::Made));
        assert_eq!(etcd.promote(MemberId(4)).await, Ok(EtcdChange::FoundDone));
        assert_eq!(etcd.add_learner(url).await.unwrap_err().fault, EtcdFault::PeerUrlTaken);
    }

    #[tokio::test]
    async fn leadership_moves_to_voters_that_are_there() {
        let etcd = FakeEtcd::new(["cp1", "cp2", "cp3"]);
        assert_eq!(reasons(&etcd, Change::Stop { member: MemberId(1) }).await, [Reason::Leads]);
        assert_eq!(etcd.move_leader(MemberId(2)).await, Ok(EtcdChange::Made));
        assert_eq!(etcd.move_leader(MemberId(2)).await, Ok(EtcdChange::FoundDone));
        assert_eq!(reasons(&etcd, Change::Stop { member: MemberId(1) }).await, []);
        etcd.set("cp1", Health::Down);
        assert_eq!(etcd.move_leader(MemberId(1)).await.unwrap_err().fault, EtcdFault::BadLeader);
        etcd.set("cp2", Health::Down);
        assert_eq!(etcd.leader(), None);
        assert_eq!(etcd.move_leader(MemberId(3)).await.unwrap_err().fault, EtcdFault::NoLeader);
        assert_eq!(etcd.members().await.unwrap().listing, Listing::Remembered { by: "cp3".into() });
        assert_eq!(reasons(&etcd, Change::Stop { member: MemberId(1) }).await[0], Reason::NoQuorum);
    }
}
