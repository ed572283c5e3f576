use kubewright_core::facts::lock::Lock as Record;
use kubewright_core::spec::{Role, read};

use super::*;
use crate::host::fake::{FakeHosts, Fault, Reply};
use crate::host::unit::{UnitName, run_unit};
use crate::ports::{Script, quiet};

const NAMES: [&str; 4] = ["cp1", "cp2", "cp3", "w1"];

fn spec() -> Spec {
    let text = "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {name: lab}\nspec:\n  \
        kubernetes: {version: 1.35.4}\n  endpoint: {mode: nodeLocal}\n  hosts:\n  \
        - {name: cp1, address: 10.77.0.11, roles: [controlPlane, etcd]}\n  \
        - {name: cp2, address: 10.77.0.12, roles: [controlPlane, etcd]}\n  \
        - {name: cp3, address: 10.77.0.13, roles: [controlPlane, etcd]}\n  \
        - {name: w1, address: 10.77.0.21, roles: [worker]}\n";
    let reading = read("test.yaml", text);
    reading.spec.unwrap_or_else(|| panic!("{:#?}", reading.findings))
}

/// A run on a machine of its own.
fn run(operation: &str) -> Holder {
    Holder {
        operation: operation.into(),
        cluster: "lab".into(),
        holder: "ada@desk".into(),
        pid: 7,
        machine_id: Some(format!("machine-of-{operation}")),
        boot_id: Some("b".into()),
        pid_namespace: Some("pid:[1]".into()),
        started: Some(1),
        since: Timestamp::UNIX_EPOCH,
        doing: "x".into(),
        seen: Timestamp::UNIX_EPOCH,
    }
}

fn keepers() -> Vec<HostName> {
    spec().with_role(Role::ControlPlane).map(|host| host.name.clone()).collect()
}

async fn take(hosts: &FakeHosts, operation: &str) -> Result<Lock, LockError> {
    Lock::take(hosts, &keepers(), &spec(), run(operation), false).await
}

fn put(hosts: &FakeHosts, host: &str, fence: u64, operation: Option<&str>) {
    hosts.put_lock(host, Record { fence, holder: operation.map(run) }, 10);
}

fn holders(hosts: &FakeHosts) -> Vec<Option<String>> {
    let named = |name: &&str| hosts.lock(*name).holder.map(|holder| holder.operation.to_string());
    NAMES[..3].iter().map(named).collect()
}

#[tokio::test]
async fn taken_given_back_and_taken_again() {
    let hosts = FakeHosts::new(NAMES);
    let lock = take(&hosts, "a").await.unwrap();
    assert_eq!((lock.fence, lock.hosts().len()), (1, 3));
    assert!(matches!(take(&hosts, "b").await, Err(LockError::Held(Held::Working(_)))));
    lock.release().await;
    assert_eq!(take(&hosts, "b").await.unwrap().fence, 2);
}

#[tokio::test]
async fn a_worker_that_remembers_more_is_outdone() {
    let hosts = FakeHosts::new(NAMES);
    put(&hosts, "w1", 7, None);
    assert_eq!(take(&hosts, "a").await.unwrap().fence, 8);
    let hosts = FakeHosts::new(NAMES);
    put(&hosts, "cp2", 3, None);
    hosts.fault("w1", "connect", Fault::Refused);
    assert_eq!(take(&hosts, "a").await.unwrap().fence, 4);
}

#[tokio::test]
async fn after_a_race_the_third_sees_who_won() {
    let hosts = FakeHosts::new(NAMES);
    put(&hosts, "cp1", 5, None);
    put(&hosts, "cp2", 5, Some("b"));
    put(&hosts, "cp3", 5, Some("b"));
    for silent in ["none", "cp1", "cp3"] {
        hosts.fault(silent, "connect", Fault::Refused);
        match take(&hosts, "c").await {
            Err(LockError::Held(Held::Working(holder))) => assert_eq!(holder.operation, "b".into()),
            other => panic!("without {silent}: {:?}", other.err()),
        }
    }
}

#[tokio::test]
async fn a_host_that_was_away_at_the_release_holds_up_nobody() {
    let hosts = FakeHosts::new(NAMES);
    let lock = take(&hosts, "a").await.unwrap();
    hosts.fault("cp3", "common/fence.sh", Fault::LostBefore);
    lock.release().await;
    assert_eq!(holders(&hosts), [None, None, Some("a".to_owned())]);
    assert_eq!(take(&hosts, "b").await.unwrap().fence, 2);
}

#[tokio::test]
async fn quiet_is_what_the_hosts_say_not_what_clocks_of_operators_say() {
    let hosts = FakeHosts::new(NAMES);
    // Its `seen` is decades ago by our clock; the hosts have it from ten seconds ago.
    for host in &NAMES[..3] {
        put(&hosts, host, 5, Some("a"));
    }
    assert!(matches!(take(&hosts, "a2").await, Err(LockError::Held(Held::Working(_)))));
    for host in &NAMES[..2] {
        hosts.put_lock(*host, Record { fence: 5, holder: Some(run("a")) }, 500);
    }
    assert!(matches!(take(&hosts, "a2").await, Err(LockError::Held(Held::Working(_)))), "one has heard of it");
    hosts.put_lock("cp3", Record { fence: 5, holder: Some(run("a")) }, 121);
    assert!(matches!(take(&hosts, "a2").await, Err(LockError::Held(Held::Unfinished(_)))));
    assert_eq!(take(&hosts, "a").await.unwrap().fence, 6);
}

#[tokio::test]
async fn our_own_process_is_known_by_its_start() {
    let pid = process::id();
    let hosts = FakeHosts::new(NAMES);
    let ours = Holder { pid, started: started(pid), ..run("a") };
    let put = |holder: &Holder| {
        for host in &NAMES[..3] {
            hosts.put_lock(*host, Record { fence: 5, holder: Some(holder.clone()) }, 10);
        }
    };
    put(&ours);
    let again = Lock::take(&hosts, &keepers(), &spec(), ours.clone(), true).await;
    assert!(matches!(again, Err(LockError::Held(Held::Working(_)))), "it lives");
    put(&Holder { started: Some(1), ..ours.clone() });
    assert_eq!(
        Lock::take(&hosts, &keepers(), &spec(), ours, false).await.unwrap().fence,
        6,
        "its number was given again"
    );
}

#[tokio::test]
async fn too_few_control_planes_are_told_with_reasons() {
    let hosts = FakeHosts::new(NAMES);
    hosts.fault("cp1", "connect", Fault::Refused);
    hosts.fault("cp2", "connect", Fault::Refused);
    match take(&hosts, "a").await {
        Err(LockError::NoMajority { answered: 1, all: 3, reasons }) => {
            assert!(reasons[0].contains("cp1"), "{reasons:?}")
        }
        other => panic!("{:?}", other.err()),
    }
}

#[tokio::test]
async fn a_full_disk_is_not_another_run() {
    let full = |call: &crate::host::fake::Call| match call.value("ACTION") {
        "read" => Reply::ok("0\nage 0\n"),
        _ if call.host == "cp3".into() => Reply::ok("1\n"),
        _ => Reply::failed(98, "cannot write /var/lib/kubewright/fence: 100% full\n"),
    };
    let hosts = FakeHosts::new(NAMES).on("common/fence.sh", full);
    match take(&hosts, "a").await {
        Err(LockError::NoMajority { answered: 1, all: 3, reasons }) => {
            assert_eq!(reasons.len(), 2);
            assert!(reasons.iter().all(|reason| reason.contains("100% full")), "{reasons:?}");
        }
        other => panic!("{:?}", other.err()),
    }
    // Those that failed may have written it down: they are told as well.
    let released = hosts.calls().iter().filter(|call| call.value("ACTION") == "release").count();
    assert_eq!(released, 3);
}

#[tokio::test]
async fn whoever_is_slower_is_overtaken_and_gives_back_what_it_got() {
    // Every host tells of nobody and has given the number away when it comes to taking.
    let faster = |call: &crate::host::fake::Call| match call.value("ACTION") {
        "read" => Reply::ok("0\nage 0\n"),
        "take" if call.host != "cp1".into() => {
            Reply { status: crate::host::fence::REFUSED, stdout: "1\n".into(), stderr: String::new() }
        }
        _ => Reply::ok("1\n"),
    };
    let hosts = FakeHosts::new(NAMES).on("common/fence.sh", faster);
    assert!(matches!(take(&hosts, "a").await, Err(LockError::Overtaken)));
    let released: Vec<HostName> =
        hosts.calls().into_iter().filter(|call| call.value("ACTION") == "release").map(|call| call.host).collect();
    assert_eq!(released, ["cp1".into()]);
}

async fn leave_a_unit(hosts: &FakeHosts, operation: &str) {
    let unit = UnitName { operation: operation.into(), step: "01-w1-prepare".into(), attempt: 1 };
    hosts.fault("w1", "debian/prepare.sh", Fault::LostInside);
    let host = hosts.host(&"w1".into()).await.unwrap();
    let lost = run_unit(host.as_ref(), &unit, 0, &Script::new("debian/prepare.sh", "true"), &mut quiet()).await;
    assert!(lost.is_err());
}

#[tokio::test]
async fn work_of_another_operation_is_not_joined() {
    let hosts = FakeHosts::new(NAMES);
    leave_a_unit(&hosts, "beef").await;
    match take(&hosts, "a").await {
        Err(LockError::Running { units }) => assert_eq!(units, ["w1: kubewright-beef-01-w1-prepare.1.service"]),
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(holders(&hosts), [None, None, None], "it was given back");
    assert_eq!(take(&hosts, "beef").await.unwrap().fence, 2, "its own operation attaches to it");
}

#[tokio::test]
async fn a_host_out_of_reach_is_not_asked_what_runs() {
    let hosts = FakeHosts::new(NAMES);
    leave_a_unit(&hosts, "beef").await;
    // Once for its number, once for its units.
    hosts.fault("w1", "connect", Fault::Refused);
    hosts.fault("w1", "connect", Fault::Refused);
    assert!(take(&hosts, "a").await.is_ok());
}

#[test]
fn a_process_is_read_from_proc() {
    let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 9 9";
    assert_eq!(start_of(stat), Some(12345));
    assert_eq!(start_of(&stat.replace(" S ", " Z ")), None);
    assert_eq!(start_of("42"), None);
    assert!(started(process::id()).is_some());
    assert_eq!(started(u32::MAX), None);
}
