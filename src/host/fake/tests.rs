use jiff::Timestamp;
use kubewright_core::facts::lock::Holder;

use super::*;
use crate::facts::{Questions, gather};
use crate::host::fence::{Taken, read_lock, release_lock, renew_lock, run_fenced, take_lock};
use crate::host::files::{RemoteFile, put_files, read_files, remove_files};
use crate::host::mirror::{Appended, MirrorFile, append, fetch, list, replace};
use crate::host::unit::{UnitEnd, UnitState, run_unit, running_units, unit_state};
use crate::ports::quiet;

async fn host(hosts: &FakeHosts) -> Arc<dyn Host> {
    hosts.host(&"cp1".into()).await.unwrap()
}

fn holder(pid: u32) -> Holder {
    Holder {
        operation: "7f3a".into(),
        cluster: "lab".into(),
        holder: "ada@desk".into(),
        pid,
        machine_id: None,
        boot_id: None,
        pid_namespace: None,
        started: None,
        since: Timestamp::UNIX_EPOCH,
        doing: "x".into(),
        seen: Timestamp::UNIX_EPOCH,
    }
}

fn unit(attempt: u32) -> UnitName {
    UnitName { operation: "7f3a".into(), step: "01-cp1-prepare".into(), attempt }
}

fn prepare() -> Script {
    Script::new("debian/prepare.sh", "true").value("WORD", "yes")
}

#[tokio::test]
async fn closures_answer_and_calls_are_kept() {
    let hosts =
        FakeHosts::new(["cp1"]).on("debian/prepare.sh", |call| Reply::ok(format!("said {}\n", call.value("WORD"))));
    let host = host(&hosts).await;
    let mut lines = Vec::new();
    let output = host.run(&prepare(), &mut |line: &str| lines.push(line.to_owned())).await.unwrap();
    assert_eq!((output.status, output.stdout.as_str()), (0, "said yes\n"));
    assert_eq!(lines, ["said yes"]);
    assert_eq!(hosts.calls()[0].script, "debian/prepare.sh");
    assert_eq!(hosts.round_trips("cp1"), 1);
    assert!(hosts.host(&"cp2".into()).await.is_err());
}

#[tokio::test]
async fn faults_come_once_each() {
    let hosts = FakeHosts::new(["cp1"]);
    for fault in [Fault::Refused, Fault::LostBefore, Fault::LostInside, Fault::LostAfter] {
        hosts.fault("cp1", "debian/prepare.sh", fault);
    }
    let host = host(&hosts).await;
    assert!(matches!(host.run(&prepare(), &mut quiet()).await, Err(HostError::Connect { .. })));
    for _ in 0..3 {
        assert!(matches!(host.run(&prepare(), &mut quiet()).await, Err(HostError::Lost { .. })));
    }
    assert_eq!(host.run(&prepare(), &mut quiet()).await.unwrap().status, 0);
    assert_eq!(hosts.calls().iter().filter(|call| call.inside).count(), 1);
}

#[tokio::test]
async fn a_unit_outlives_its_watcher() {
    let hosts = FakeHosts::new(["cp1"]).on("debian/prepare.sh", |_| Reply {
        status: 3,
        stdout: "work\n".into(),
        stderr: "oops\n".into(),
    });
    let host = host(&hosts).await;
    assert_eq!(unit_state(host.as_ref(), &unit(1)).await.unwrap(), UnitState::Absent);
    hosts.fault("cp1", "debian/prepare.sh", Fault::LostInside);
    let lost = run_unit(host.as_ref(), &unit(1), 1, &prepare(), &mut quiet()).await;
    assert!(matches!(lost, Err(HostError::Lost { .. })));
    assert_eq!(unit_state(host.as_ref(), &unit(1)).await.unwrap(), UnitState::Running);
    assert_eq!(running_units(host.as_ref()).await.unwrap(), [unit(1)]);
    for _ in 0..2 {
        let result = run_unit(host.as_ref(), &unit(1), 1, &prepare(), &mut quiet()).await.unwrap();
        assert_eq!((result.end, result.output_tail.as_str()), (UnitEnd::Finished { status: 3 }, "work\noops\n"));
    }
    // Begun once, ended once; the second time its result was read.
    assert_eq!(hosts.calls().iter().filter(|call| call.unit.is_some()).count(), 3);
}

#[tokio::test]
async fn a_restart_makes_units_vanish() {
    let hosts = FakeHosts::new(["cp1"]);
    let host = host(&hosts).await;
    hosts.fault("cp1", "debian/prepare.sh", Fault::Restart);
    assert!(run_unit(host.as_ref(), &unit(1), 1, &prepare(), &mut quiet()).await.is_err());
    let result = run_unit(host.as_ref(), &unit(1), 1, &prepare(), &mut quiet()).await.unwrap();
    assert_eq!(result.end, UnitEnd::Vanished);
    let result = run_unit(host.as_ref(), &unit(2), 1, &prepare(), &mut quiet()).await.unwrap();
    assert_eq!(result.end, UnitEnd::Finished { status: 0 });
}

#[tokio::test]
async fn a_lower_fence_is_refused() {
    let hosts = FakeHosts::new(["cp1"]);
    let host = host(&hosts).await;
    let host = host.as_ref();
    assert_eq!(take_lock(host, 0, 1, &holder(1)).await.unwrap(), Taken::Ours);
    assert_eq!(take_lock(host, 0, 1, &holder(1)).await.unwrap(), Taken::Ours);
    assert!(
        matches!(take_lock(host, 0, 1, &holder(2)).await.unwrap(), Taken::Refused(lock) if lock.holder == Some(holder(1)))
    );
    assert_eq!(take_lock(host, 1, 2, &holder(2)).await.unwrap(), Taken::Ours);
    assert!(matches!(renew_lock(host, 1, &holder(1)).await, Err(HostError::Fenced { ours: 1, seen: 2, .. })));
    assert!(matches!(
        run_fenced(host, 1, &prepare(), &mut quiet()).await,
        Err(HostError::Fenced { ours: 1, seen: 2, .. })
    ));
    assert!(matches!(put_files(host, 1, &[RemoteFile::plain("/a", 0o644, "x")]).await, Err(HostError::Fenced { .. })));
    release_lock(host, 2).await.unwrap();
    assert_eq!(read_lock(host).await.unwrap().lock, Lock { fence: 2, holder: None });
}

#[tokio::test]
async fn files_and_mirror_behave_as_on_hosts() {
    let hosts = FakeHosts::new(["cp1"]);
    let host = host(&hosts).await;
    let host = host.as_ref();
    let files = [
        RemoteFile::plain("/etc/a", 0o644, "one"),
        RemoteFile::secret("/etc/b", 0o600, "two".into()),
        RemoteFile::link("/etc/c", "b"),
    ];
    assert_eq!(put_files(host, 1, &files).await.unwrap(), ["/etc/a", "/etc/b", "/etc/c"]);
    assert!(put_files(host, 1, &files).await.unwrap().is_empty());
    assert_eq!(read_files(host, &["/etc/b", "/etc/none"]).await.unwrap()["/etc/b"].contents.expose_secret(), b"two");
    assert_eq!(remove_files(host, 1, &["/etc/a", "/etc/none"]).await.unwrap(), ["/etc/a"]);

    let operation = "7f3a".into();
    let journal = MirrorFile::Journal;
    assert_eq!(append(host, 1, &operation, journal, 0, b"abc").await.unwrap(), Appended::Done { size: 3 });
    assert_eq!(append(host, 1, &operation, journal, 1, b"bcd").await.unwrap(), Appended::Done { size: 4 });
    assert_eq!(append(host, 1, &operation, journal, 9, b"x").await.unwrap(), Appended::Gap { size: 4 });
    assert_eq!(append(host, 1, &operation, journal, 3, b"x").await.unwrap(), Appended::Conflict { size: 4 });
    assert_eq!(fetch(host, &operation).await.unwrap().journal.unwrap(), b"abcd");
    assert_eq!(list(host).await.unwrap()[0].journal, Some(4));

    replace(host, 1, &operation, journal, b"abcde").await.unwrap();
    replace(host, 1, &operation, journal, b"aX").await.unwrap();
    replace(host, 1, &operation, journal, b"Y").await.unwrap();
    assert_eq!(fetch(host, &operation).await.unwrap().journal.unwrap(), b"Y");
    let kept = |number: u32| {
        hosts.files("cp1")[&format!("/var/lib/kubewright/ops/7f3a/journal.jsonl.fork-{number}")].1.clone()
    };
    assert_eq!((kept(1), kept(2)), (b"abcde".to_vec(), b"aX".to_vec()));
    assert_eq!(list(host).await.unwrap()[0].journal, Some(1));
    take_lock(host, 1, 2, &holder(2)).await.unwrap();
    assert!(matches!(replace(host, 1, &operation, journal, b"Z").await, Err(HostError::Fenced { .. })));
}

#[tokio::test]
async fn facts_come_from_all_hosts_at_once() {
    let names: Vec<HostName> = (1..=40).map(|number| format!("cp{number}").as_str().into()).collect();
    let hosts = FakeHosts::new(names.clone()).delay(Duration::from_millis(50));
    hosts.fault("cp2", "connect", Fault::Refused);
    hosts.put_file("cp1", "/etc/kubernetes/manifests/etcd.yaml", 0o600, "- --initial-cluster-token=t1\n");
    let begin = std::time::Instant::now();
    let facts = gather(&hosts, &names, &Questions::default()).await;
    // One after the other they would take two seconds.
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(facts.host(&names[0]).unwrap().etcd_token.known().unwrap(), "t1");
    assert!(facts.hosts[&names[1]].why().unwrap().contains("refused"));
    assert_eq!(facts.host(&names[2]).unwrap().machine_id.known().unwrap(), "cp3");
}
