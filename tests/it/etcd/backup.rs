//! Status and copies of running members: one is stopped, paused, damaged behind its back, out of space; clients write meanwhile; the
//! majority is lost. What is taken is accepted by etcd's own tools.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use etcd_client::{AlarmAction, AlarmOptions, AlarmType};
use kubewright::backup::companions::Companions;
use kubewright::backup::live::live;
use kubewright::backup::{Order, Taken, reading, take};
use kubewright::error::Error;
use kubewright::etcd::{EtcdCluster, contents};
use kubewright::kube::Way;
use kubewright::ports::{EtcdApi, SystemClock};
use kubewright::store::copies::Copies;
use kubewright_core::etcd::attest::Verdict;
use kubewright_core::etcd::status::{EtcdStatus, Seen, assess};
use kubewright_core::facts::etcd::{EtcdFacts, Sight};
use kubewright_core::ids::HostName;
use kubewright_core::quorum::{Standing, View};
use kubewright_core::spec::Compression;
use kubewright_snapshot::{Change, Filter, Snapshot, SnapshotFile, diff};

use super::members::{self, Members};
use super::{all_well, id, until};
use crate::backup::folder;
use crate::kube_api::tunnel::TunnelHosts;
use crate::s3::S3Server;

async fn status(etcd: &EtcdCluster) -> EtcdStatus {
    let facts = etcd.observe().await.unwrap();
    let agreement = contents::compare(etcd, &facts).await;
    let certificates = BTreeMap::new();
    let now = jiff::Timestamp::now();
    assess(&Seen {
        cluster: "lab",
        file: "lab.yaml",
        facts: &facts,
        agreement: agreement.as_ref(),
        certificates: &certificates,
        copies: None,
        now,
    })
}

fn codes(status: &EtcdStatus) -> Vec<&str> {
    status.findings.iter().map(|finding| finding.code.as_str()).collect()
}

async fn saved(etcd: &EtcdCluster, folder: &Path, from: Option<&str>) -> Result<Taken, Error> {
    let facts = etcd.observe().await.unwrap();
    let copies = Copies::in_folder(folder, "lab").unwrap();
    let from = from.map(HostName::from);
    let order = Order {
        cluster: "lab",
        etcd,
        from: from.as_ref(),
        copies: &copies,
        compress: Compression::None,
        clock: &SystemClock,
        progress: &|_| {},
    };
    take(order, &facts, async { Companions::default() }).await
}

/// etcd's own tools read it and make a data directory of it.
fn is_accepted(members: &Members, taken: &Taken) {
    let etcdutl = members.beside("etcdutl");
    let file = folder(taken).join("etcd.snap");
    let status = Command::new(&etcdutl).args(["snapshot", "status", "-w", "json"]).arg(&file).output().unwrap();
    assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let contents = &taken.manifest.contents;
    assert_eq!(status["hash"], contents.status_hash);
    assert_eq!(status["revision"], contents.revision);
    is_restored(members, &file);
}

fn is_restored(members: &Members, file: &Path) {
    let data = tempfile::tempdir().unwrap();
    let restored = Command::new(members.beside("etcdutl"))
        .args(["snapshot", "restore", "--bump-revision=1000000000", "--mark-compacted", "--data-dir"])
        .arg(data.path().join("data"))
        .arg(file)
        .output()
        .unwrap();
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
}

async fn write(members: &Members, keys: u32) {
    let mut client = members.client_of(1).await;
    for number in 0..keys {
        client
            .put(format!("/registry/pods/default/pod-{number}"), format!("a-value-to-be-found-{number}"), None)
            .await
            .unwrap();
    }
}

fn leader_is<'a>(name: &'a str) -> impl Fn(&EtcdFacts) -> bool + 'a {
    move |facts| all_well(facts) && View::of(facts).leader() == Some(id(facts, name))
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_running_members_are_proved_and_accepted() {
    let Some(program) = members::program() else { return };
    let mut members = Members::start(program);
    let etcd = members.cluster(&Way::Ssh(Arc::new(TunnelHosts::default())), &[1, 2, 3]);
    let facts = until(&etcd, &members, "a cluster of three", all_well).await;
    etcd.move_leader(id(&facts, "cp1")).await.unwrap();
    until(&etcd, &members, "led by cp1", leader_is("cp1")).await;
    write(&members, 300).await;
    let home = tempfile::tempdir().unwrap();

    let taken = saved(&etcd, home.path(), None).await.unwrap();
    assert_eq!((taken.manifest.attestation.verdict, taken.manifest.attestation.agree.len()), (Verdict::Majority, 3));
    assert!(taken.findings.is_empty() && !taken.manifest.from.led && taken.manifest.with_quorum, "{taken:#?}");
    is_accepted(&members, &taken);
    is_compared_with_now(&etcd, &members, &taken).await;
    while_clients_write(&etcd, &members, home.path()).await;
    goes_packed_into_a_bucket(&etcd, &members).await;

    members.kill(3);
    let taken = saved(&etcd, home.path(), None).await.unwrap();
    assert_eq!((taken.manifest.attestation.verdict, taken.manifest.from.name.as_str()), (Verdict::Majority, "cp2"));
    assert_eq!(taken.manifest.attestation.agree.len(), 2);
    members.kill(1);
    until(&etcd, &members, "without a majority", |facts| !View::of(facts).has_quorum()).await;
    let began = Instant::now();
    let told = status(&etcd).await;
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(codes(&told)[0], "MEMB001");
    let taken = saved(&etcd, home.path(), None).await.unwrap();
    assert_eq!((taken.manifest.attestation.verdict, taken.manifest.with_quorum), (Verdict::Part, false));
    assert_eq!(taken.manifest.attestation.agree, [taken.manifest.from.member], "it stands by itself");
    assert!(taken.findings[0].text.contains("best survivor"), "{:?}", taken.findings);
    is_accepted(&members, &taken);
}

/// What was written since is what differs, by resource and namespace.
async fn is_compared_with_now(etcd: &EtcdCluster, members: &Members, taken: &Taken) {
    let before = Snapshot::open(SnapshotFile::open(folder(taken).join("etcd.snap")).unwrap()).unwrap();
    let now = async || {
        let (file, host) = live(etcd, &etcd.observe().await.unwrap(), &|_| {}).await.unwrap();
        assert_ne!(host.as_str(), "cp1", "the leader is spared");
        Snapshot::open(file).unwrap()
    };
    let differ = diff(&before, &now().await, &Filter::default(), 10).unwrap();
    assert_eq!((differ.differences, differ.unchanged), (vec![], 300));
    let mut client = members.client_of(1).await;
    client.put("/registry/pods/default/pod-7", "another value", None).await.unwrap();
    client.put("/registry/pods/other/pod-new", "new", None).await.unwrap();
    let last = client.delete("/registry/pods/default/pod-8", None).await.unwrap();
    let revision = last.header().unwrap().revision();
    let behind = |facts: &EtcdFacts| {
        facts.sights.values().any(|sight| !matches!(sight, Sight::Answers(answer) if answer.revision >= revision))
    };
    until(etcd, members, "as far as the leader", |facts| !behind(facts)).await;
    let differ = diff(&before, &now().await, &Filter::default(), 10).unwrap();
    let [pods] = differ.differences.as_slice() else { panic!("{differ:#?}") };
    let names = |change| pods.names[&change].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(names(Change::Added), ["other/pod-new"]);
    assert_eq!(names(Change::Changed), ["default/pod-7"]);
    assert_eq!(names(Change::Removed), ["default/pod-8"]);
    assert_eq!(pods.namespaces["default"], BTreeMap::from([(Change::Changed, 1), (Change::Removed, 1)]));
    assert_eq!((pods.namespaces["other"][&Change::Added], differ.unchanged), (1, 298));
}

/// Fetched and unpacked again, it is what etcd's own tools take.
async fn goes_packed_into_a_bucket(etcd: &EtcdCluster, members: &Members) {
    let (server, scratch) = (S3Server::start("backups"), tempfile::tempdir().unwrap());
    let store = "s3://backups/etcd".parse().unwrap();
    let copies = Copies::open(&store, "lab", scratch.path(), &server.access()).await.unwrap();
    let facts = etcd.observe().await.unwrap();
    let order = Order {
        cluster: "lab",
        etcd,
        from: None,
        copies: &copies,
        compress: Compression::Zstd,
        clock: &SystemClock,
        progress: &|_| {},
    };
    let taken = take(order, &facts, async { Companions::default() }).await.unwrap();
    let file = &taken.manifest.file;
    assert!(file.name == "etcd.snap.zst" && file.bytes < file.snapshot_bytes() / 2, "{file:?}");
    let opened = reading::open(&taken.place, &server.access()).await.unwrap();
    let report = Snapshot::open(opened.file).unwrap().verify();
    assert_eq!((report.faults.len(), report.size), (0, file.snapshot_bytes()));
    let object = taken.place.below(&file.name).to_string();
    let packed = server.object("backups", object.strip_prefix("s3://backups/").unwrap());
    let plain = scratch.path().join("etcd.snap");
    let unpacked = Command::new("zstd").args(["--decompress", "--quiet", "-o"]).arg(&plain).arg(&packed).status();
    // zstd's own program is on most machines, and on no list of what the tests need.
    if unpacked.is_ok_and(|status| status.success()) {
        is_restored(members, &plain);
    }
}

/// The copy has a revision that was the newest for a moment; the members are far beyond it, and compact at it, while they are asked.
async fn while_clients_write(etcd: &EtcdCluster, members: &Members, home: &Path) {
    let (mut client, stop) = (members.client_of(1).await, Arc::new(AtomicBool::new(false)));
    let written = Arc::new(AtomicU32::new(0));
    let writing = tokio::spawn({
        let (stop, written) = (stop.clone(), written.clone());
        async move {
            let mut number = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                written.store(number, Ordering::Relaxed);
                let put = client
                    .put(format!("/registry/events/event-{}", number % 50), format!("{number}"), None)
                    .await
                    .unwrap();
                number += 1;
                if number.is_multiple_of(200) {
                    // Far enough behind that whoever is asked still has the revision.
                    client.compact(put.header().unwrap().revision() - 150, None).await.ok();
                }
            }
        }
    });
    let (mut copies, mut proved) = (0, 0);
    // A busy machine writes slowly; without a compaction among them the copies would tell less.
    while copies < 5 || written.load(Ordering::Relaxed) <= 200 {
        copies += 1;
        let taken = saved(etcd, home, None).await.unwrap();
        let attestation = &taken.manifest.attestation;
        assert!(attestation.differ.is_empty() && attestation.verdict != Verdict::Contradicted, "{attestation:#?}");
        proved += u32::from(attestation.is_proved());
        is_accepted(members, &taken);
    }
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    assert!(proved * 5 >= copies * 3, "{proved} of {copies} were proved while {written:?} changes were made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silently_damaged_member_is_named_and_never_the_source() {
    let Some(program) = members::program() else { return };
    let mut members = Members::start(program);
    let etcd = members.cluster(&Way::Ssh(Arc::new(TunnelHosts::default())), &[1, 2, 3]);
    let facts = until(&etcd, &members, "a cluster of three", all_well).await;
    write(&members, 50).await;
    etcd.move_leader(id(&facts, "cp1")).await.unwrap();
    until(&etcd, &members, "led by cp1", leader_is("cp1")).await;
    let told = status(&etcd).await;
    assert_eq!((codes(&told), told.contents_proved, told.may_lose), (vec![], true, 1));

    members.kill(2);
    assert!(members.damage(2, b"a-value-to-be-found-17", b"a-value-to-be-f0und-17") > 0);
    members.launch(2, "existing", &[1, 2, 3]);
    until(&etcd, &members, "whole in etcd's own eyes", leader_is("cp1")).await;
    let told = status(&etcd).await;
    assert_eq!(codes(&told), ["MEMB002"], "{:#?}", told.findings);
    assert_eq!(told.findings[0].subject, kubewright_core::finding::Subject::Host("cp2".into()));
    assert!(told.is_broken() && told.alarms.is_empty() && told.well == 3);

    let home = tempfile::tempdir().unwrap();
    let taken = saved(&etcd, home.path(), None).await.unwrap();
    assert_eq!(taken.manifest.attestation.verdict, Verdict::Majority);
    assert_ne!(taken.manifest.from.name, "cp2");
    assert!(taken.findings.iter().any(|finding| finding.code == "SAVE001"), "{:?}", taken.findings);
    is_accepted(&members, &taken);
    let error = saved(&etcd, home.path(), Some("cp2")).await.unwrap_err();
    assert!(error.parts().lines[0].contains("is damaged"), "{:?}", error.parts());
    assert_eq!(Copies::in_folder(home.path(), "lab").unwrap().list().await.unwrap().manifests.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_names_who_is_stopped_paused_and_out_of_space() {
    let Some(program) = members::program() else { return };
    let mut members = Members::start(program);
    let etcd = members.cluster(&Way::Ssh(Arc::new(TunnelHosts::default())), &[1, 2, 3]);
    let facts = until(&etcd, &members, "a cluster of three", all_well).await;
    etcd.move_leader(id(&facts, "cp1")).await.unwrap();
    let facts = until(&etcd, &members, "led by cp1", leader_is("cp1")).await;

    members.signal(3, "-STOP");
    let began = Instant::now();
    let told = status(&etcd).await;
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    members.signal(3, "-CONT");
    assert_eq!((codes(&told), told.decides, told.may_lose), (vec!["MEMB004"], true, 0));
    assert!(told.findings[0].text.contains("gives no answer"), "{:?}", told.findings);
    assert!(told.contents_proved, "two of three are a majority");
    assert_eq!(told.next.command.as_deref(), Some("kubewright etcd logs cp3 -f lab.yaml"));
    until(&etcd, &members, "whole again", all_well).await;

    let mut client = members.client_of(1).await;
    let member = id(&facts, "cp2").0;
    let of_cp2 = || {
        let mut options = AlarmOptions::new();
        options.with_member(member);
        Some(options)
    };
    client.alarm(AlarmAction::Activate, AlarmType::Nospace, of_cp2()).await.unwrap();
    let told = status(&etcd).await;
    assert_eq!(codes(&told)[0], "MEMB005", "{:#?}", told.findings);
    assert!(told.findings[0].text.contains("alarm NOSPACE is raised for cp2"), "{:?}", told.findings);
    let home = tempfile::tempdir().unwrap();
    let taken = saved(&etcd, home.path(), None).await.unwrap();
    assert!(taken.findings.iter().any(|finding| finding.code == "SAVE006"), "{:?}", taken.findings);
    client.alarm(AlarmAction::Deactivate, AlarmType::Nospace, of_cp2()).await.unwrap();

    members.kill(3);
    let told = status(&etcd).await;
    let standing = told.members.iter().find(|member| member.name == "cp3").unwrap();
    assert!(!standing.well && standing.standing.starts_with("does not run"), "{standing:?}");
    assert!(matches!(View::of(&etcd.observe().await.unwrap()).standing(standing.id), Some(Standing::Down(_))));
}
