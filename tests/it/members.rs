//! Members of etcd restarted, replaced, taken out and brought back on fakes: killed before and after every effect, cut off from
//! the host, it ends the same; one that never comes up is told from one that is slow.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kubewright::etcd::fake::{FakeEtcd, Health};
use kubewright::exec::Breakage;
use kubewright::exec::driver::End;
use kubewright::host::fake::{Call, FakeHosts, Fault, Reply};
use kubewright::ports::{EtcdApi, SystemClock};
use kubewright_core::facts::Facts;
use kubewright_core::facts::etcd::{Alarm, AlarmKind, EtcdFacts, MemberId};
use kubewright_core::ids::HostName;
use kubewright_core::intent::{EtcdWork, MemberWork};
use kubewright_core::plan::Plan;
use kubewright_core::quorum::View;
use tokio::time::sleep;

use super::backup::golden;
use super::hands::{Agreeable, Death, Reached, run};
use super::setting::{NAMES, are_part, changing, spec, working};

/// How the etcd of a host comes up that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coming {
    Well,
    /// So many entries behind, and level after so many seconds.
    Slow(u64, u64),
    /// Its process answers once and ends.
    Dying,
}

struct Stage {
    etcd: FakeEtcd,
    hosts: FakeHosts,
    planned: (Plan, Facts),
    state: tempfile::TempDir,
    said: Arc<Mutex<Vec<String>>>,
}

/// Peer URL of a host of the spec.
fn peer_url(host: &HostName) -> String {
    spec().host(host).unwrap().etcd_peer_url()
}

/// Hosts that are a part of the cluster, whose static pods are etcd's members.
fn hosts(etcd: &FakeEtcd, coming: Coming) -> FakeHosts {
    let (ends, starts, again) = (etcd.clone(), etcd.clone(), etcd.clone());
    let restarted: Mutex<BTreeSet<HostName>> = Mutex::default();
    let hosts = FakeHosts::new(NAMES)
        .on("debian/set-etcd-aside.sh", move |call| {
            ends.set(call.host.as_str(), Health::Down);
            Reply::ok(":: etcd: its data is kept\n")
        })
        .on("debian/start-etcd-member.sh", move |call| {
            starts.start(&peer_url(&call.host), call.host.as_str(), Health::Well);
            match coming {
                Coming::Well => {}
                Coming::Dying => starts.set(call.host.as_str(), Health::Down),
                Coming::Slow(entries, seconds) => {
                    starts.set(call.host.as_str(), Health::Behind(entries));
                    let (etcd, host) = (starts.clone(), call.host.clone());
                    tokio::spawn(async move {
                        sleep(Duration::from_secs(seconds)).await;
                        etcd.set(host.as_str(), Health::Well);
                    });
                }
            }
            Reply::ok(":: etcd: healthy\n")
        })
        .on("debian/restart-etcd.sh", move |call| {
            assert_ne!(call.value("STEP"), "");
            assert!(restarted.lock().unwrap().insert(call.host.clone()) || call.unit.as_ref().unwrap().attempt > 1);
            again.set(call.host.as_str(), Health::Down);
            let (etcd, host) = (again.clone(), call.host.clone());
            tokio::spawn(async move {
                sleep(Duration::from_secs(3)).await;
                etcd.set(host.as_str(), Health::Well);
            });
            Reply::ok(":: etcd: ending\n")
        })
        .on("debian/start-control-plane.sh", |_| Reply::ok(":: control plane healthy\n"))
        .on("debian/verify.sh", |_| Reply::ok("not-done: nobody knows\n"))
        .on("common/etcd-logs.sh", |_| Reply::ok("etcd: no space left on device\n"));
    are_part(&hosts, &spec());
    hosts
}

/// The plan of a change, from what is seen now.
async fn plan_of(etcd: &FakeEtcd, hosts: &FakeHosts, work: &MemberWork, consents: &[&str]) -> (Plan, Facts) {
    changing(&spec(), hosts, etcd, work, consents).await
}

/// The plan to restart all members, from what is seen now.
async fn plan_of_restart(etcd: &FakeEtcd, hosts: &FakeHosts, consents: &[&str]) -> (Plan, Facts) {
    working(&spec(), hosts, etcd, &EtcdWork::Restart { hosts: Vec::new() }, consents).await
}

fn three() -> FakeEtcd {
    let etcd = FakeEtcd::new(["cp1", "cp2", "cp3"]);
    for host in ["cp1", "cp2", "cp3"] {
        etcd.hold(host, golden("etcd-3.6-history"));
    }
    etcd
}

impl Stage {
    /// cp3's disk is lost, and it is to be replaced.
    async fn of_a_lost_disk(coming: Coming) -> Self {
        let etcd = three();
        etcd.set("cp3", Health::Down);
        let hosts = hosts(&etcd, coming);
        let planned = plan_of(&etcd, &hosts, &MemberWork::Replace { host: "cp3".into() }, &[]).await;
        Self::with(etcd, hosts, planned)
    }

    fn with(etcd: FakeEtcd, hosts: FakeHosts, planned: (Plan, Facts)) -> Self {
        Self { etcd, hosts, planned, state: tempfile::tempdir().unwrap(), said: Arc::default() }
    }

    async fn process_on(&self, state: &Path, death: Option<Death>) -> Result<End, String> {
        let reached = Reached {
            api: Arc::new(Agreeable::default()),
            etcd: Some(Arc::new(self.etcd.clone())),
            clock: Arc::new(SystemClock),
            death,
        };
        run(&self.hosts, &reached, &self.planned, state).await
    }

    async fn process(&self, death: Option<Death>) -> Result<End, String> {
        self.process_on(self.state.path(), death).await
    }

    async fn finish(&self, what: &str) {
        for _ in 0..4 {
            match self.process(None).await {
                Ok(End::Finished) => return,
                other => self.said.lock().unwrap().push(format!("{other:?}")),
            }
        }
        panic!("{what}: it does not come to its end: {:#?}", self.said.lock().unwrap());
    }

    async fn seen(&self) -> EtcdFacts {
        self.etcd.observe().await.unwrap()
    }

    /// Three voters that are well, the one on cp3 another than before, which was taken out once.
    async fn is_replaced(&self, what: &str) {
        let facts = self.seen().await;
        let view = View::of(&facts);
        assert_eq!((view.voters(), view.well(), facts.members.len()), (3, 3, 3), "{what}: {facts:#?}");
        let member = facts.member_on(&"cp3".into()).unwrap();
        assert!(member.id > MemberId(3), "{what}");
        assert_eq!(member.peer_urls, [peer_url(&"cp3".into())], "{what}");
        let calls = self.etcd.calls();
        let removed: BTreeSet<&String> = calls.iter().filter(|call| call.starts_with("remove ")).collect();
        assert_eq!(removed, BTreeSet::from([&"remove 3".to_owned()]), "{what}: {calls:?}");
        assert_eq!(calls.iter().filter(|call| call.starts_with("add ")).count(), 1, "{what}: {calls:?}");
    }

    /// The scripts that hosts ran as units, in order.
    fn units(&self) -> Vec<String> {
        let units = self.hosts.calls().into_iter().filter(|call| call.unit.is_some());
        units.map(|Call { host, script, .. }| format!("{host} {script}")).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_disk_is_lost_comes_back_as_a_new_one() {
    let stage = Stage::of_a_lost_disk(Coming::Well).await;
    assert_eq!(stage.process(None).await, Ok(End::Finished));
    stage.is_replaced("undisturbed").await;
    let units =
        ["cp3 debian/set-etcd-aside.sh", "cp3 debian/start-etcd-member.sh", "cp3 debian/start-control-plane.sh"];
    assert_eq!(stage.units(), units);
    let files = stage.hosts.files("cp3");
    let text =
        |name: &str| String::from_utf8_lossy(&files[&format!("/etc/kubernetes/manifests/{name}.yaml")].1).into_owned();
    let etcd = text("etcd");
    assert!(etcd.contains("--initial-cluster-state=existing"), "{etcd}");
    let initial = etcd.lines().find(|line| line.contains("--initial-cluster=")).unwrap();
    assert!(initial.contains(&format!("cp3={}", peer_url(&"cp3".into()))) && initial.contains("cp1="), "{initial}");
    assert!(text("kube-apiserver").contains("kube-apiserver"));
    assert!(!stage.hosts.files("cp1").keys().any(|path| path.contains("manifests")), "nobody else is touched");
    assert!(!files.keys().any(|path| path.contains("/pki/")), "its keys are its own still");
}

#[tokio::test(start_paused = true)]
async fn killed_before_or_after_any_effect_it_is_resumed_to_the_same_end() {
    let effects = Stage::of_a_lost_disk(Coming::Well).await.planned.0.steps.len();
    assert_eq!(effects, 10);
    for number in 1..=effects {
        for death in [Death::Before(number), Death::After(number)] {
            let stage = Stage::of_a_lost_disk(Coming::Well).await;
            // On a machine that is lost with it: the mirror on the control planes has to do.
            let lost = tempfile::tempdir().unwrap();
            assert_eq!(stage.process_on(lost.path(), Some(death)).await, Err("killed".into()), "{death:?}");
            stage.finish(&format!("{death:?}")).await;
            stage.is_replaced(&format!("{death:?}")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_lost_change_nothing() {
    let scripts = [
        "debian/set-etcd-aside.sh",
        "debian/start-etcd-member.sh",
        "debian/start-control-plane.sh",
        "common/files.sh",
        "common/facts.sh",
    ];
    for script in scripts {
        for fault in [Fault::Refused, Fault::LostBefore, Fault::LostInside, Fault::LostAfter] {
            let stage = Stage::of_a_lost_disk(Coming::Well).await;
            stage.hosts.fault("cp3", script, fault);
            stage.finish(&format!("{script} {fault:?}")).await;
            stage.is_replaced(&format!("{script} {fault:?}")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_learner_is_waited_for() {
    let stage = Stage::of_a_lost_disk(Coming::Slow(900_000, 300)).await;
    assert_eq!(stage.process(None).await, Ok(End::Finished));
    stage.is_replaced("slow").await;
}

#[tokio::test(start_paused = true)]
async fn a_learner_that_does_not_run_is_told_with_its_own_words() {
    let stage = Stage::of_a_lost_disk(Coming::Dying).await;
    let Ok(End::Broken(broken)) = stage.process(None).await else { panic!("it should have broken") };
    assert_eq!(broken[0].step.as_str(), "06-cp3-promote");
    let Breakage::Failed(failure) = &broken[0].what else { panic!("{broken:?}") };
    let words = "cp3 does not run (connection refused) for 60 s; it is no slow learner\nthe last lines of its etcd:\netcd: no space left on device";
    assert_eq!(failure.text, words);
    let facts = stage.seen().await;
    assert_eq!((View::of(&facts).voters(), View::of(&facts).well()), (2, 2), "it has no vote");
    // Once it is mended the same run goes on.
    stage.etcd.set("cp3", Health::Well);
    stage.finish("mended").await;
    stage.is_replaced("mended").await;
}

#[tokio::test(start_paused = true)]
async fn another_member_that_is_ill_by_then_stops_it_before_anything_ends() {
    let stage = Stage::of_a_lost_disk(Coming::Well).await;
    stage.etcd.set("cp2", Health::Silent);
    let Ok(End::Broken(broken)) = stage.process(None).await else { panic!("it should have stopped") };
    let Breakage::Guard(why) = &broken[0].what else { panic!("{broken:?}") };
    assert!(why.contains("etcd does not bear it now"), "{why}");
    assert_eq!((stage.units(), stage.etcd.calls()), (Vec::<String>::new(), Vec::<String>::new()));
}

#[tokio::test(start_paused = true)]
async fn contents_that_differ_in_the_end_are_told() {
    let stage = Stage::of_a_lost_disk(Coming::Well).await;
    stage.etcd.hold("cp3", super::backup::damaged());
    let Ok(End::Broken(broken)) = stage.process(None).await else { panic!("it should have broken") };
    let Breakage::Failed(failure) = &broken[0].what else { panic!("{broken:?}") };
    assert!(failure.text.starts_with("cp3 holds other contents than the others at revision "), "{failure:?}");
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_member_is_replaced_and_its_alarm_taken_back() {
    let etcd = three();
    etcd.raise(Alarm { member: Some(MemberId(3)), kind: AlarmKind::Corrupt });
    let hosts = hosts(&etcd, Coming::Well);
    let planned = plan_of(&etcd, &hosts, &MemberWork::Replace { host: "cp3".into() }, &[]).await;
    let stage = Stage::with(etcd, hosts, planned);
    assert_eq!(stage.process(None).await, Ok(End::Finished));
    stage.is_replaced("corrupt").await;
    assert_eq!(stage.seen().await.alarms, []);
}

#[tokio::test(start_paused = true)]
async fn a_corrupt_member_is_taken_out_and_its_alarm_with_it() {
    let alarm = |member, kind| Alarm { member: Some(MemberId(member)), kind };
    let etcd = three();
    etcd.raise(alarm(3, AlarmKind::Corrupt));
    etcd.raise(alarm(1, AlarmKind::NoSpace));
    let hosts = hosts(&etcd, Coming::Well);
    let remove = MemberWork::Remove { member: "cp3".into() };
    let planned = plan_of(&etcd, &hosts, &remove, &["VOTER009"]).await;
    let stage = Stage::with(etcd.clone(), hosts, planned);
    assert_eq!(stage.process(Some(Death::After(4))).await, Err("killed".into()));
    stage.finish("killed once it was taken back").await;
    assert_eq!(etcd.observe().await.unwrap().alarms, [alarm(1, AlarmKind::NoSpace)]);
    assert_eq!(etcd.calls(), ["remove 3", "disarm alarms of 3", "disarm alarms of 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_hands_over_leaves_and_is_brought_back() {
    let etcd = three();
    let hosts = hosts(&etcd, Coming::Well);
    let leave = plan_of(&etcd, &hosts, &MemberWork::Remove { member: "cp1".into() }, &["VOTER009"]).await;
    let stage = Stage::with(etcd.clone(), hosts.clone(), leave);
    assert_eq!(stage.process(None).await, Ok(End::Finished));
    assert_eq!(etcd.calls(), ["moveLeader 2", "remove 1"]);
    assert_eq!(stage.units(), ["cp1 debian/set-etcd-aside.sh"]);
    let facts = stage.seen().await;
    assert!(facts.member_on(&"cp1".into()).is_none() && View::of(&facts).may_lose() == 0);

    let (mut back, seen) = plan_of(&etcd, &hosts, &MemberWork::Add { host: "cp1".into() }, &[]).await;
    back.operation = "7f3a9d".into();
    let stage = Stage::with(etcd.clone(), hosts, (back, seen));
    stage.finish("back").await;
    let facts = stage.seen().await;
    assert_eq!((View::of(&facts).voters(), View::of(&facts).well()), (3, 3), "{facts:#?}");
}

#[tokio::test(start_paused = true)]
async fn the_removal_of_one_does_not_wait_for_another_that_was_ill_before() {
    let stage = || async {
        let etcd = FakeEtcd::new(["cp1", "cp2", "cp3", "old4", "old5"]);
        for host in ["cp1", "cp2", "cp3", "old4", "old5"] {
            etcd.hold(host, golden("etcd-3.6-history"));
        }
        etcd.set("old4", Health::Unseen);
        etcd.set("old5", Health::Down);
        let hosts = hosts(&etcd, Coming::Well);
        let planned = plan_of(&etcd, &hosts, &MemberWork::Remove { member: "4".into() }, &["VOTER005"]).await;
        Stage::with(etcd, hosts, planned)
    };
    let done = stage().await;
    assert_eq!(done.process(None).await, Ok(End::Finished));
    assert_eq!(done.etcd.calls(), ["remove 4"]);

    // Who was well when it was planned is waited for, and in vain where it is not well again.
    let stage = stage().await;
    assert_eq!(stage.process(Some(Death::After(1))).await, Err("killed".into()));
    stage.etcd.set("cp3", Health::Silent);
    let Ok(End::Broken(broken)) = stage.process(None).await else { panic!("it should have waited") };
    assert_eq!(broken[0].step.as_str(), "02-cluster-agree");
    let Breakage::Failed(failure) = &broken[0].what else { panic!("{broken:?}") };
    assert_eq!(failure.text, "no end within 300 s");
}

#[tokio::test(start_paused = true)]
async fn all_are_restarted_once_the_leader_last_and_never_two() {
    let effects = 3;
    let deaths = (1..=effects).flat_map(|number| [Death::Before(number), Death::After(number)]).map(Some);
    for death in std::iter::once(None).chain(deaths) {
        let etcd = three();
        let hosts = hosts(&etcd, Coming::Well);
        let planned = plan_of_restart(&etcd, &hosts, &[]).await;
        let stage = Stage::with(etcd.clone(), hosts, planned);
        if death.is_some() {
            assert_eq!(stage.process(death).await, Err("killed".into()), "{death:?}");
        }
        stage.finish(&format!("{death:?}")).await;
        let facts = stage.seen().await;
        assert_eq!(View::of(&facts).well(), 3, "{death:?}");
        let moved: Vec<String> = etcd.calls().into_iter().filter(|call| call.starts_with("moveLeader")).collect();
        assert_eq!(moved.len(), 1, "the leader's turn comes last, so that it moves once: {moved:?}");
        let mut order: Vec<String> = stage.units();
        order.dedup();
        let restarts = ["cp2", "cp3", "cp1"].map(|host| format!("{host} debian/restart-etcd.sh"));
        assert_eq!(order, restarts, "{death:?}");
        let notes: BTreeMap<String, String> = stage
            .hosts
            .calls()
            .into_iter()
            .filter(|call| call.script == "debian/restart-etcd.sh")
            .map(|call| (call.value("STEP").to_owned(), call.value("OPERATION").to_owned()))
            .collect();
        assert!(notes.len() == 3 && notes.values().all(|operation| operation == "7f3a9c"), "{notes:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_restart_of_the_only_member_is_resumed_while_it_is_down() {
    let stage = || async {
        let etcd = FakeEtcd::new(["cp1"]);
        let hosts = hosts(&etcd, Coming::Well);
        let planned = plan_of_restart(&etcd, &hosts, &["WORK004"]).await;
        Stage::with(etcd, hosts, planned)
    };
    let killed = stage().await;
    assert_eq!(killed.process(Some(Death::Before(1))).await, Err("killed".into()));
    // Its unit went on without it.
    killed.etcd.set("cp1", Health::Down);
    assert_eq!(killed.process(None).await, Ok(End::Finished));
    assert_eq!(View::of(&killed.seen().await).well(), 1);

    let other = stage().await;
    other.etcd.set("cp1", Health::Down);
    let Ok(End::Broken(broken)) = other.process(None).await else { panic!("it should have stopped") };
    let Breakage::Failed(failure) = &broken[0].what else { panic!("{broken:?}") };
    assert!(failure.text.contains("no member answers"), "{failure:?}");
    assert_eq!(other.units(), [""; 0], "what it did not cause it does not touch");
}
