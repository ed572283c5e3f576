//! Databases, history, alarms and leadership of running members, while clients write.

use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client};
use kubewright::exec::upkeep;
use kubewright::kube::Way;
use kubewright::ports::{EtcdApi, EtcdChange};
use kubewright_core::facts::etcd::{Alarm, AlarmKind, EtcdFacts, Sight};
use kubewright_core::ids::HostName;
use kubewright_core::quorum::View;
use tokio_util::sync::CancellationToken;

use super::members::{self, Members};
use super::{all_well, id, until};
use crate::kube_api::tunnel::TunnelHosts;

/// How long a write may be held up on a machine that is busy with other tests; alone it is a tenth of a second, and what it
/// takes is measured elsewhere. etcd itself gives a request up after seven.
const HANGS: Duration = Duration::from_secs(20);

/// Bytes of a member's database, and those in use.
fn sizes(facts: &EtcdFacts, host: &str) -> (u64, u64) {
    match &facts.sights[&id(facts, host)] {
        Sight::Answers(answer) => (answer.db_bytes, answer.db_used_bytes),
        other => panic!("{host}: {other:?}"),
    }
}

/// So much that giving it back shows.
async fn fill(client: &mut Client) {
    for round in 0..3 {
        for number in 0..300 {
            let value = vec![round as u8; 20_000];
            client.put(format!("/registry/pods/default/pod-{number}"), value, None).await.unwrap();
        }
    }
}

/// The longest time between two writes that etcd confirmed, until it is told to stop.
async fn longest_gap(mut client: Client, stop: CancellationToken) -> Duration {
    let (mut longest, mut last) = (Duration::ZERO, Instant::now());
    while !stop.is_cancelled() {
        let put = client.put("/registry/events/default/tick", "x", None).await;
        if put.is_ok() {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    longest.max(last.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_shrink_one_after_the_other_while_clients_write() {
    let Some(program) = members::program() else { return };
    let members = Members::start(program);
    let etcd = members.cluster(&Way::Ssh(Arc::new(TunnelHosts::default())), &[1, 2, 3]);
    until(&etcd, &members, "a cluster of three", all_well).await;
    let mut client = members.client_of(3).await;
    fill(&mut client).await;
    let newest = client.get("x", None).await.unwrap().header().unwrap().revision();
    assert_eq!(etcd.compact(newest).await, Ok(EtcdChange::Made));
    assert_eq!(etcd.compact(newest - 5).await, Ok(EtcdChange::FoundDone));
    assert!(etcd.compact(newest + 1000).await.is_err(), "a revision that is not there yet");
    // A member counts what is free only when something is written after its compaction, which each does in its own time.
    let stop = CancellationToken::new();
    let ticking = tokio::spawn(longest_gap(client, stop.clone()));
    let before = until(&etcd, &members, "with much that is free", |facts| {
        let free = |host| sizes(facts, host).1 < sizes(facts, host).0 / 2;
        all_well(facts) && ["cp1", "cp2", "cp3"].into_iter().all(free)
    })
    .await;
    stop.cancel();
    ticking.await.unwrap();

    // cp2 is the one whose client waits while it is its turn; whoever writes through another is not held up.
    let stop = CancellationToken::new();
    let writing = tokio::spawn(longest_gap(members.client_of(3).await, stop.clone()));
    upkeep::defragment(&etcd, &"cp2".into(), &mut |_| {}).await.unwrap();
    upkeep::lead(&etcd, &"cp1".into(), &mut |_| {}).await.unwrap();
    let mut told = Vec::new();
    upkeep::defragment(&etcd, &"cp1".into(), &mut |line| told.push(line.to_owned())).await.unwrap();
    assert!(told[0].starts_with("leadership moved to "), "it hands over before its turn: {told:?}");
    stop.cancel();
    let gap = writing.await.unwrap();
    eprintln!("while the members of cp2 and cp1 were defragmented the longest time between two writes was {gap:.1?}");
    assert!(gap < HANGS, "nothing was written for {gap:?}");
    upkeep::defragment(&etcd, &"cp3".into(), &mut |_| {}).await.unwrap();
    let after = until(&etcd, &members, "whole", all_well).await;
    for host in ["cp1", "cp2", "cp3"] {
        assert!(
            sizes(&after, host).0 < sizes(&before, host).0 / 2,
            "{host}: {:?} {:?}",
            sizes(&before, host),
            sizes(&after, host)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_are_taken_back_and_leadership_is_given() {
    let Some(program) = members::program() else { return };
    let members = Members::start(program);
    let etcd = members.cluster(&Way::Ssh(Arc::new(TunnelHosts::default())), &[1, 2, 3]);
    let facts = until(&etcd, &members, "a cluster of three", all_well).await;
    let mut client = members.client_of(1).await;
    let mut options = AlarmOptions::new();
    options.with_member(id(&facts, "cp2").0);
    client.alarm(AlarmAction::Activate, AlarmType::Nospace, Some(options)).await.unwrap();
    assert!(client.put("x", "y", None).await.is_err(), "nothing is written");
    let raised = [Alarm { member: Some(id(&facts, "cp2")), kind: AlarmKind::NoSpace }];
    assert_eq!(etcd.disarm(None).await.as_deref(), Ok(&raised[..]));
    assert_eq!(etcd.disarm(None).await.as_deref(), Ok(&[][..]));
    client.put("x", "y", None).await.unwrap();
    for host in ["cp3", "cp2", "cp2"] {
        upkeep::lead(&etcd, &HostName::from(host), &mut |_| {}).await.unwrap();
        let facts = etcd.observe().await.unwrap();
        assert_eq!(View::of(&facts).leader(), Some(id(&facts, host)));
    }
    assert!(upkeep::lead(&etcd, &"cp9".into(), &mut |_| {}).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_alarm_of_who_has_left_stays_until_it_is_taken_back() {
    let Some(program) = members::program() else { return };
    let mut members = Members::start(program);
    let etcd = members.cluster(&Way::Ssh(Arc::new(TunnelHosts::default())), &[1, 2, 3]);
    let facts = until(&etcd, &members, "a cluster of three", all_well).await;
    let (left, stays) = (id(&facts, "cp3"), id(&facts, "cp1"));
    let mut client = members.client_of(1).await;
    let mut options = AlarmOptions::new();
    options.with_member(left.0);
    client.alarm(AlarmAction::Activate, AlarmType::Corrupt, Some(options)).await.unwrap();
    members.kill(3);
    etcd.remove(left).await.unwrap();
    assert!(client.put("x", "y", None).await.is_err(), "nothing is written, though the member is gone");
    let raised = [Alarm { member: Some(left), kind: AlarmKind::Corrupt }];
    assert_eq!(etcd.observe().await.unwrap().alarms, raised);
    assert_eq!(etcd.disarm(Some(stays)).await.as_deref(), Ok(&[][..]), "of nobody else");
    assert_eq!(etcd.disarm(Some(left)).await.as_deref(), Ok(&raised[..]));
    client.put("x", "y", None).await.unwrap();
}
