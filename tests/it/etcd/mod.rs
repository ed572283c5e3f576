//! The etcd port against real members: asked at their own endpoints, stopped, lost, replaced, and without a majority.
//!
//! Where the etcd of the lab is not built, these are left out, loudly. On the demo's own cluster, and through real SSH, the
//! port is tried by `tests/lab/e2e/etcd.rs`.

mod backup;
mod change;
mod members;
mod snapshot;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use kubewright::etcd::EtcdCluster;
use kubewright::kube::Way;
use kubewright::ports::{ConnectionFault, EtcdApi, EtcdChange, EtcdFault};
use kubewright_core::facts::etcd::{EtcdFacts, Listing, MemberId, Sight};
use kubewright_core::quorum::{Change, Machine, Reason, Standing, View, decide};

use self::members::Members;
use super::kube_api::tunnel::TunnelHosts;

/// Asks until the cluster is as wanted; etcd has no event for it, and each question takes its time.
async fn until(etcd: &EtcdCluster, members: &Members, what: &str, wanted: impl Fn(&EtcdFacts) -> bool) -> EtcdFacts {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let seen = etcd.observe().await;
        match seen {
            Ok(facts) if wanted(&facts) => return facts,
            _ if tokio::time::Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(200)).await,
            seen => panic!("not {what}: {seen:#?}\n{}", (1..=4).map(|number| members.log(number)).collect::<String>()),
        }
    }
}

fn all_well(facts: &EtcdFacts) -> bool {
    let view = View::of(facts);
    view.well() == 3 && view.voters() == 3
}

fn id(facts: &EtcdFacts, host: &str) -> MemberId {
    facts.member_on(&host.into()).unwrap().id
}

fn reasons(facts: &EtcdFacts, change: &Change) -> Vec<Reason> {
    decide(facts, change).obstacles().iter().map(|obstacle| obstacle.reason).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_seen_lost_and_replaced() {
    let Some(program) = members::program() else { return };
    let mut members = Members::start(program);
    let way = Way::Ssh(Arc::new(TunnelHosts::default()));
    let etcd = members.cluster(&way, &[1, 2, 3, 4]).patience(Duration::from_secs(2));
    let facts = until(&etcd, &members, "a cluster of three", all_well).await;
    is_whole(&facts);
    refuses(&etcd, &facts, &members).await;
    leadership_moves(&etcd, &facts).await;
    is_paused(&etcd, &members).await;
    is_replaced(&etcd, &mut members).await;
    loses_its_majority(&etcd, &mut members).await;
}

fn is_whole(facts: &EtcdFacts) {
    assert_eq!((facts.members.len(), &facts.listing, facts.alarms.len()), (3, &Listing::Agreed, 0));
    assert_eq!(facts.hosts.len(), 3, "each is known to live on its host");
    assert!(matches!(facts.elsewhere["cp4"], Sight::Down { .. }), "{:?}", facts.elsewhere);
    for sight in facts.sights.values() {
        let Sight::Answers(answer) = sight else { panic!("{sight:?}") };
        assert!(answer.db_bytes > 0 && answer.term > 0 && answer.version.starts_with("3."), "{answer:?}");
    }
}

async fn refuses(etcd: &EtcdCluster, facts: &EtcdFacts, members: &Members) {
    let error = etcd.add_learner(&members.peer_url(1)).await.unwrap_err();
    assert_eq!((error.fault, error.said.as_str()), (EtcdFault::PeerUrlTaken, "cp1 has this peer URL"));
    assert_eq!(etcd.promote(MemberId(99)).await.unwrap_err().fault, EtcdFault::NoSuchMember);
    assert_eq!(etcd.promote(id(facts, "cp1")).await, Ok(EtcdChange::FoundDone));
    assert_eq!(etcd.remove(MemberId(99)).await, Ok(EtcdChange::FoundDone));
    assert_eq!(etcd.alarms().await, Ok(Vec::new()));
}

async fn leadership_moves(etcd: &EtcdCluster, facts: &EtcdFacts) {
    let view = View::of(facts);
    let leader = view.leader().unwrap();
    let verdict = decide(facts, &Change::Stop { member: leader });
    let to = verdict.obstacles()[0].move_leader_to.unwrap();
    assert_eq!(etcd.move_leader(to).await, Ok(EtcdChange::Made));
    assert_eq!(etcd.move_leader(to).await, Ok(EtcdChange::FoundDone));
    let facts = etcd.observe().await.unwrap();
    assert_eq!(View::of(&facts).leader(), Some(to));
    assert_eq!(reasons(&facts, &Change::Stop { member: leader }), []);
}

/// Alive, and not to be told from here.
async fn is_paused(etcd: &EtcdCluster, members: &Members) {
    // A follower: without its leader a cluster decides nothing until it has another.
    let facts = until(etcd, members, "whole", all_well).await;
    etcd.move_leader(id(&facts, "cp1")).await.unwrap();
    until(etcd, members, "whole under cp1", |facts| {
        all_well(facts) && View::of(facts).leader() == Some(id(facts, "cp1"))
    })
    .await;
    members.signal(3, "-STOP");
    let began = std::time::Instant::now();
    let facts = etcd.observe().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    let member = id(&facts, "cp3");
    assert!(matches!(View::of(&facts).standing(member), Some(Standing::Silent(_))), "{:?}", facts.sights);
    assert_eq!(facts.listing, Listing::Agreed);
    assert_eq!(reasons(&facts, &Change::Remove { member, machine: Machine::AsSeen })[0], Reason::Unknown);
    members.signal(3, "-CONT");
    until(etcd, members, "whole again", all_well).await;

    // The others elect another one while the leader's answer is waited for: told is what comes of that.
    members.signal(1, "-STOP");
    let facts = etcd.observe().await.unwrap();
    let view = View::of(&facts);
    assert!(view.has_quorum() && view.leader().is_some_and(|leader| leader != id(&facts, "cp1")), "{:?}", facts.sights);
    members.signal(1, "-CONT");
    until(etcd, members, "whole once more", all_well).await;
}

/// Its disk is lost: removed, added as a learner, started, promoted.
async fn is_replaced(etcd: &EtcdCluster, members: &mut Members) {
    members.lose(3);
    let down = |facts: &EtcdFacts| {
        let standing = facts.member_on(&"cp3".into()).map(|member| member.id);
        matches!(standing.and_then(|id| View::of(facts).standing(id).cloned()), Some(Standing::Down(_)))
            && View::of(facts).well() == 2
    };
    let facts = until(etcd, members, "down on cp3", down).await;
    let (old, peer_url) = (id(&facts, "cp3"), members.peer_url(3));
    let replace = Change::Replace { member: old, machine: Machine::AsSeen, peer_urls: vec![peer_url.clone()] };
    assert_eq!(reasons(&facts, &replace), []);
    assert_eq!(etcd.remove(old).await, Ok(EtcdChange::Made));
    assert_eq!(etcd.remove(old).await, Ok(EtcdChange::FoundDone));
    let added = etcd.add_learner(&peer_url).await.unwrap();
    assert_eq!((added.change, added.member.learner), (EtcdChange::Made, true));
    let again = etcd.add_learner(&peer_url).await.unwrap();
    assert_eq!((again.change, &again.member), (EtcdChange::FoundDone, &added.member));
    let second = etcd.add_learner(&members.peer_url(4)).await.unwrap_err();
    assert_eq!(second.fault, EtcdFault::TooManyLearners);
    let promote = Change::Promote { member: added.member.id };
    assert_eq!(reasons(&etcd.observe().await.unwrap(), &promote), [Reason::NeverStarted]);
    assert_eq!(etcd.promote(added.member.id).await.unwrap_err().fault, EtcdFault::LearnerNotReady);

    members.launch(3, "existing", &[1, 2, 3]);
    until(etcd, members, "caught up on cp3", |facts| reasons(facts, &promote).is_empty()).await;
    assert_eq!(etcd.promote(added.member.id).await, Ok(EtcdChange::Made));
    assert_eq!(etcd.promote(added.member.id).await, Ok(EtcdChange::FoundDone));
    until(etcd, members, "three voters again", all_well).await;
}

async fn loses_its_majority(etcd: &EtcdCluster, members: &mut Members) {
    let leader = View::of(&etcd.observe().await.unwrap()).leader().unwrap();
    members.kill(2);
    members.kill(3);
    let facts = until(etcd, members, "without a majority", |facts| facts.listing != Listing::Agreed).await;
    assert_eq!(facts.listing, Listing::Remembered { by: "cp1".into() });
    assert_eq!(facts.members.len(), 3, "the list is remembered");
    let change = Change::Remove { member: id(&facts, "cp2"), machine: Machine::AsSeen };
    assert_eq!(reasons(&facts, &change), [Reason::NoQuorum, Reason::ListUncertain]);
    let error = etcd.remove(id(&facts, "cp2")).await.unwrap_err();
    assert_eq!(error.fault, EtcdFault::NoLeader, "{error}");
    let error = etcd.move_leader(id(&facts, "cp1")).await;
    assert!(leader == id(&facts, "cp1") || error.unwrap_err().fault == EtcdFault::NoLeader);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_connection_is_said() {
    let Some(program) = members::program() else { return };
    let members = Members::start(program);
    let etcd = members.cluster(&Way::Direct, &[1]);
    until(&etcd, &members, "a cluster of three", |facts| View::of(facts).well() == 1).await;
    let facts = etcd.observe().await.unwrap();
    let unseen = facts.sights.values().filter(|sight| matches!(sight, Sight::Unseen { .. })).count();
    assert_eq!(unseen, 2, "two members live on no host that was named");

    let stranger = members.cluster_as(&Way::Direct, &[1], &members::foreign_credentials());
    let error = stranger.observe().await.unwrap_err();
    assert_eq!(error.fault, EtcdFault::Connection(ConnectionFault::Tls), "{error}");
    assert_eq!(error.to_string(), "ask etcd: cp1: its certificate was signed by another authority than this cluster's");
    let nobody = members.cluster(&Way::Ssh(Arc::new(TunnelHosts::default())), &[4]);
    let error = nobody.members().await.unwrap_err();
    assert_eq!(error.fault, EtcdFault::Connection(ConnectionFault::Refused), "{error}");
}
