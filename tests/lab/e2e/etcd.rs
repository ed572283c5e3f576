//! etcd of the running demo cluster, asked and changed through SSH by the port that the commands use. It is left as it was.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use kubewright::etcd::{EtcdCluster, Place, credentials};
use kubewright::host::ssh::{SshHosts, SshTarget};
use kubewright::kube::Way;
use kubewright::ports::{EtcdApi, EtcdChange, EtcdFault, Hosts, SystemClock};
use kubewright_core::facts::etcd::{EtcdFacts, Listing, MemberId, Sight};
use kubewright_core::ids::HostName;
use kubewright_core::quorum::{Change, Machine, Reason, Standing, View, decide};
use kubewright_core::spec::Ssh;
use xtask::lab::Lab;

const MEMBERS: [&str; 3] = ["cp1", "cp2", "cp3"];

/// Nobody lives there: a member that is added at this address never starts.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 99);

/// Observes the three members, is refused what must be, adds a learner that never starts and removes it, and moves leadership there
/// and back.
pub fn is_asked_and_changed(lab: &Lab, told: &dyn Fn(&str)) {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let etcd = connect(lab).await;
        let before = etcd.observe().await.expect("etcd answers");
        is_whole(&before);
        told("every etcd member answers at its own endpoint, and they agree");
        moves_leadership(&etcd, &before).await;
        told("etcd's leadership moved to another member and back");
        adds_and_removes_a_learner(&etcd, &before).await;
        told("a learner on nothing was added, not promoted, and removed");
        is_paused(lab, &etcd, &before).await;
        told("a paused etcd is silent, not dead");
        let after = etcd.observe().await.expect("etcd answers");
        assert_eq!((&after.members, View::of(&after).leader()), (&before.members, View::of(&before).leader()));
    });
}

async fn connect(lab: &Lab) -> EtcdCluster {
    let targets = MEMBERS.map(|name| SshTarget {
        name: name.into(),
        address: lab.host(name).expect("a control plane").address.to_string(),
        ssh: Ssh {
            user: Some("root".to_owned()),
            config_file: Some(lab.ssh_config.to_string_lossy().into_owned()),
            ..Ssh::default()
        },
        sudo_password: None,
    });
    let hosts: Arc<dyn Hosts> = Arc::new(SshHosts::new(targets).expect("a folder for sockets"));
    let names = MEMBERS.map(HostName::from);
    let credentials = credentials::read(hosts.as_ref(), "lab", &names).await.expect("a client certificate of etcd's");
    let places = MEMBERS.map(|name| Place {
        host: name.into(),
        client: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 2379),
        peer: IpAddr::V4(lab.host(name).expect("a control plane").address),
    });
    EtcdCluster::connect(&Way::Ssh(hosts), &places, &credentials, Arc::new(SystemClock)).expect("etcd's port")
}

fn reasons(facts: &EtcdFacts, change: &Change) -> Vec<Reason> {
    decide(facts, change).obstacles().iter().map(|obstacle| obstacle.reason).collect()
}

fn is_whole(facts: &EtcdFacts) {
    let view = View::of(facts);
    assert_eq!((view.voters(), view.well(), view.may_lose()), (3, 3, 1), "{facts:#?}");
    assert_eq!((&facts.listing, facts.alarms.len(), facts.elsewhere.len()), (&Listing::Agreed, 0, 0));
    for name in MEMBERS {
        let member = facts.member_on(&name.into()).expect("a member on each control plane");
        assert_eq!(member.name, name);
        let Some(Sight::Answers(answer)) = facts.sights.get(&member.id) else { panic!("{name}: {facts:#?}") };
        assert!(answer.db_bytes > 0 && answer.version.starts_with("3."), "{answer:?}");
    }
}

async fn moves_leadership(etcd: &EtcdCluster, facts: &EtcdFacts) {
    let leader = View::of(facts).leader().expect("somebody leads");
    let verdict = decide(facts, &Change::Stop { member: leader });
    let [obstacle] = verdict.obstacles() else { panic!("{verdict:?}") };
    assert_eq!(obstacle.reason, Reason::Leads);
    let other = obstacle.move_leader_to.expect("another could lead");
    assert_eq!(etcd.move_leader(other).await, Ok(EtcdChange::Made));
    assert_eq!(etcd.move_leader(other).await, Ok(EtcdChange::FoundDone));
    let moved = etcd.observe().await.expect("etcd answers");
    assert_eq!(View::of(&moved).leader(), Some(other));
    assert_eq!(reasons(&moved, &Change::Stop { member: leader }), []);
    assert_eq!(etcd.move_leader(leader).await, Ok(EtcdChange::Made));
}

async fn adds_and_removes_a_learner(etcd: &EtcdCluster, before: &EtcdFacts) {
    let peer_url = format!("https://{NOWHERE}:2380");
    let taken = &before.members[0].peer_urls[0];
    assert_eq!(etcd.add_learner(taken).await.expect_err("taken").fault, EtcdFault::PeerUrlTaken);
    assert_eq!(etcd.remove(MemberId(99)).await, Ok(EtcdChange::FoundDone));

    assert_eq!(reasons(before, &Change::AddLearner { peer_urls: vec![peer_url.clone()] }), []);
    let added = etcd.add_learner(&peer_url).await.expect("a learner is added");
    assert_eq!((added.change, added.member.learner), (EtcdChange::Made, true));
    assert_eq!(etcd.add_learner(&peer_url).await.expect("found").change, EtcdChange::FoundDone);
    let second = etcd.add_learner(&peer_url.replace(".99:", ".98:")).await.expect_err("one at a time");
    assert_eq!(second.fault, EtcdFault::TooManyLearners);
    let with = etcd.observe().await.expect("etcd answers");
    assert_eq!(View::of(&with).standing(added.member.id), Some(&Standing::Unstarted));
    assert_eq!(reasons(&with, &Change::Promote { member: added.member.id }), [Reason::NeverStarted]);
    assert_eq!(etcd.promote(added.member.id).await.expect_err("never started").fault, EtcdFault::LearnerNotReady);
    assert_eq!(etcd.remove(added.member.id).await, Ok(EtcdChange::Made));
    assert_eq!(etcd.remove(added.member.id).await, Ok(EtcdChange::FoundDone));
}

/// A follower's process is stopped in its tracks for one observation: well within the kubelet's patience with its probe.
async fn is_paused(lab: &Lab, etcd: &EtcdCluster, before: &EtcdFacts) {
    let leader = View::of(before).leader();
    let follower = before.members.iter().find(|member| Some(member.id) != leader).expect("a follower");
    let signal = |signal: &str| lab.exec(&follower.name, &format!("pkill {signal} -x etcd")).expect("etcd runs");
    signal("-STOP");
    let seen = etcd.observe().await;
    signal("-CONT");
    let seen = seen.expect("the others answer");
    assert!(matches!(View::of(&seen).standing(follower.id), Some(Standing::Silent(_))), "{seen:#?}");
    let remove = Change::Remove { member: follower.id, machine: Machine::AsSeen };
    assert_eq!(reasons(&seen, &remove), [Reason::Unknown]);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !etcd.observe().await.is_ok_and(|facts| View::of(&facts).well() == 3) {
        assert!(tokio::time::Instant::now() < deadline, "{} did not come back", follower.name);
        // etcd has no event for it.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}
