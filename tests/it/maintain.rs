//! Maintenance on fakes that restart: killed before and after every effect and in every second, cut off from its hosts, it
//! ends the same, with nothing cut off and only cordons of its own taken back.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use kubewright::etcd::fake::{FakeEtcd, Health};
use kubewright::exec::Breakage;
use kubewright::exec::driver::End;
use kubewright::facts::nodes::look;
use kubewright::host::fake::{FakeHosts, Fault, Reply};
use kubewright::ports::Clock;
use kubewright_core::drain::Name;
use kubewright_core::facts::etcd::MemberId;
use kubewright_core::facts::{ClusterFacts, Fact, Facts, NodeFacts};
use kubewright_core::ids::HostName;
use kubewright_core::plan::Plan;
use kubewright_core::planner::{Choices, Desired, Nodes, Script, Work, maintain};
use kubewright_core::spec::{Host, Spec};
use tokio::time::{Instant, sleep, timeout};

use super::drain::cluster::Cluster;
use super::hands::{Death, Reached, run};
use super::setting::{NAMES, are_part, facts, identity, input, planned, spec};

fn reboot() -> Work {
    Work { reboot: true, ..Work::default() }
}

fn everything() -> Work {
    Work { packages: true, reboot: true, script: Some(Script { name: "fix.sh".into(), text: "true\n".into() }) }
}

/// Two applications with budgets, one of them with volumes, and a DaemonSet.
fn cluster() -> Cluster {
    let cluster = Cluster::new()
        .app("cart", &["w1", "w1", "w2"])
        .budget("cart", 2)
        .app("db", &["w1", "w3"])
        .budget("db", 1)
        .volumes("db")
        .daemon_set("logs", &["w1", "w2", "w3"])
        .control_plane("cp1")
        .control_plane("cp2")
        .control_plane("cp3")
        .kubelets();
    cluster.change(|state| {
        for name in ["cp1", "cp2", "cp3", "w1", "w2", "w3"] {
            state.boots.insert(name.to_owned(), format!("{name}-1"));
        }
    });
    cluster
}

/// Hosts that are a part of the cluster, whose machines restart with its nodes.
fn hosts(cluster: &Cluster, etcd: &FakeEtcd) -> FakeHosts {
    let hosts = FakeHosts::new(NAMES)
        .on("debian/update-packages.sh", |_| Reply::ok(":: packages: 3 newer or new\n"))
        .on("common/run-script.sh", |_| Reply::ok(""));
    let (truth, boots) = (cluster.clone(), hosts.clone());
    let hosts = hosts.on("common/returned.sh", move |call| {
        let containers = truth.seen(|state| state.running.get(call.host.as_str()).cloned().unwrap_or_default());
        let lines: String = containers.iter().map(|id| format!("container {id}\n")).collect();
        Reply::ok(format!("boot {}\nkernel 6.1.0\n{lines}", boots.boot_id(call.host.clone())))
    });
    let (cluster, etcd) = (cluster.clone(), etcd.clone());
    let hosts = hosts.restarted(move |host, boot| {
        cluster.restart(host.as_str(), boot);
        if host.as_str().starts_with("cp") {
            etcd.set(host.as_str(), Health::Down);
            let (etcd, host) = (etcd.clone(), host.clone());
            tokio::spawn(async move {
                sleep(Duration::from_secs(5)).await;
                etcd.set(host.as_str(), Health::Well);
            });
        }
    });
    are_part(&hosts, &spec());
    hosts
}

/// Everything that a run needs.
struct Stage {
    cluster: Cluster,
    etcd: FakeEtcd,
    hosts: FakeHosts,
    planned: (Plan, Facts),
    state: tempfile::TempDir,
}

impl Stage {
    async fn of(cluster: Cluster, names: &[&str], work: &Work) -> Self {
        Self::of_spec(spec(), cluster, names, work).await
    }

    /// Both workers of the pool may be away at once.
    async fn side_by_side(cluster: Cluster, work: &Work) -> Self {
        let mut spec = spec();
        spec.pools.values_mut().for_each(|pool| pool.max_unavailable = Some("2".into()));
        Self::of_spec(spec, cluster, &["w1", "w2"], work).await
    }

    async fn of_spec(spec: Spec, cluster: Cluster, names: &[&str], work: &Work) -> Self {
        let etcd = FakeEtcd::new(["cp1", "cp2", "cp3"]);
        let hosts = hosts(&cluster, &etcd);
        let mut facts = facts(&spec, &hosts, &etcd).await;
        let node = |host: &Host| (host.name.clone(), NodeFacts::default());
        let at = cluster.clock.now();
        facts.cluster = Fact::Known {
            value: ClusterFacts { nodes: spec.hosts.iter().map(node).collect(), ..ClusterFacts::default() },
            at,
        };
        let mut nodes = BTreeMap::new();
        for name in names {
            let name = HostName::new(*name);
            let seen = look(&cluster, &name, at, Duration::from_secs(5)).await.unwrap();
            nodes.insert(name, seen);
        }
        let (identity, desired) = (identity(), Desired::default());
        let input = input(&spec, &facts, &desired, &identity);
        let choices = Choices { consents: Default::default(), wait: false, patience_seconds: 60 };
        let nodes = Nodes { input, seen: &nodes, denied: &[], choices: &choices };
        let plan = planned(maintain(nodes, work));
        Self { cluster, etcd, hosts, planned: (plan, facts), state: tempfile::tempdir().unwrap() }
    }

    /// One process, from this machine's own journal.
    async fn process(&self, death: Option<Death>) -> Result<End, String> {
        self.process_on(self.state.path(), death).await
    }

    async fn process_on(&self, state: &Path, death: Option<Death>) -> Result<End, String> {
        let reached = Reached {
            api: Arc::new(self.cluster.clone()),
            etcd: Some(Arc::new(self.etcd.clone())),
            clock: Arc::new(self.cluster.clock),
            death,
        };
        run(&self.hosts, &reached, &self.planned, state).await
    }

    /// Goes on until it is finished, as somebody would who resumes after each failure.
    async fn finish(&self, what: &str) {
        for _ in 0..4 {
            match self.process(None).await {
                Ok(End::Finished) => return self.check(what),
                other => println!("{what}: {other:?}"),
            }
        }
        panic!("{what}: it does not come to its end");
    }

    /// Every node was restarted exactly once, nothing was cut off, nothing stays cordoned, everything is whole.
    fn check(&self, what: &str) {
        let nodes: Vec<String> = self
            .planned
            .0
            .steps
            .iter()
            .filter(|step| step.id.as_str().ends_with("-reboot"))
            .map(|step| step.target.to_string())
            .collect();
        self.cluster.seen(|state| {
            assert_eq!(state.broken, Vec::<String>::new(), "{what}");
            let restarted: Vec<(String, u32)> = state.restarts.clone().into_iter().collect();
            let mut once: Vec<(String, u32)> = nodes.iter().map(|node| (node.clone(), 1)).collect();
            once.sort();
            assert_eq!(restarted, once, "{what}");
            assert!(state.excluded.is_empty(), "{what}: {:?}", state.excluded);
            let ours = state.nodes.values().filter(|node| node.cordoned_by.is_some()).count();
            assert_eq!(ours, 0, "{what}");
            assert!(
                nodes.iter().filter(|node| node.starts_with('w')).all(|node| state.nodes[node].schedulable),
                "{what}"
            );
            assert!(state.pods.values().all(kubewright_core::drain::Pod::is_ready), "{what}");
        });
    }

    fn effects(&self) -> usize {
        self.planned.0.steps.len()
    }
}

#[tokio::test(start_paused = true)]
async fn two_workers_are_restarted_one_after_another() {
    let stage = Stage::of(cluster(), &["w1", "w2"], &everything()).await;
    assert_eq!(stage.process(None).await, Ok(End::Finished));
    stage.check("undisturbed");
    let scripts: Vec<(String, String)> = stage
        .hosts
        .calls()
        .into_iter()
        .filter(|call| call.unit.is_some())
        .map(|call| (call.host.to_string(), call.script))
        .collect();
    let on = |host: &str, script: &str| (host.to_owned(), script.to_owned());
    assert_eq!(
        scripts,
        [
            on("w1", "debian/update-packages.sh"),
            on("w1", "common/run-script.sh"),
            on("w2", "debian/update-packages.sh"),
            on("w2", "common/run-script.sh"),
        ]
    );
    let held = stage.hosts.calls().into_iter().find(|call| call.script == "debian/update-packages.sh").unwrap();
    assert!(held.value("HELD").split(' ').any(|package| package == "kubelet"), "{}", held.value("HELD"));
}

#[tokio::test(start_paused = true)]
async fn a_process_killed_before_or_after_any_effect_is_resumed_to_the_same_end() {
    let effects = Stage::of(cluster(), &["w1"], &everything()).await.effects();
    for number in 1..=effects {
        for death in [Death::Before(number), Death::After(number)] {
            let stage = Stage::of(cluster(), &["w1"], &everything()).await;
            assert_eq!(stage.process(Some(death)).await, Err("killed".into()), "{death:?}");
            stage.finish(&format!("{death:?}")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_killed_in_any_second_is_resumed_to_the_same_end() {
    let began = Instant::now();
    let undisturbed = Stage::of(cluster(), &["w1"], &reboot()).await;
    undisturbed.finish("undisturbed").await;
    let whole = began.elapsed().as_secs();
    assert!(whole > 30, "{whole} s: nothing was waited for");
    for second in 0..=whole {
        let stage = Stage::of(cluster(), &["w1"], &reboot()).await;
        // Off the beat of the fakes' own timers.
        let moment = Duration::from_millis(second * 1000 + 137);
        let killed = timeout(moment, stage.process(None)).await;
        if killed.is_err() {
            // Longer than the machine is away: somebody comes back to it later.
            if second % 2 == 0 {
                sleep(Duration::from_secs(20)).await;
            }
            stage.finish(&format!("second {second}")).await;
        }
    }
}

/// Between the drain and the restart somebody uncordons the node, and the scheduler finds it at once.
#[tokio::test(start_paused = true)]
async fn a_node_that_was_let_have_pods_again_is_emptied_again_before_it_restarts() {
    let stage = Stage::of(cluster(), &["w1"], &everything()).await;
    let truth = stage.cluster.clone();
    let _ = stage.hosts.clone().on("common/run-script.sh", move |_| {
        truth.change(|state| {
            let node = state.nodes.get_mut("w1").unwrap();
            (node.schedulable, node.cordoned_by) = (true, None);
            let one = state.pods.values_mut().find(|pod| pod.labels["app"] == "cart").unwrap();
            one.node = Some("w1".to_owned());
        });
        Reply::ok("")
    });
    assert_eq!(stage.process(None).await, Ok(End::Finished));
    stage.check("uncordoned in the middle");
    assert!(stage.cluster.seen(|state| state.evictions.len() > 2), "the pod that came was evicted too");
}

/// kube-proxy's pod runs and is Ready before its rules are written.
#[tokio::test(start_paused = true)]
async fn load_balancers_come_back_once_kube_proxy_has_written_its_rules() {
    let cluster = cluster();
    cluster.change(|state| {
        let logs: Vec<_> = state.pods.extract_if(.., |_, pod| pod.labels["app"] == "logs").collect();
        for (name, mut pod) in logs {
            pod.owner.as_mut().unwrap().name = "kube-proxy".to_owned();
            state.pods.insert(Name::new("kube-system", name.name), pod);
        }
    });
    let stage = Stage::of(cluster, &["w1"], &reboot()).await;
    let (truth, boots) = (stage.cluster.clone(), stage.hosts.clone());
    let began = Arc::new(OnceLock::new());
    let _ = stage.hosts.clone().on("common/returned.sh", move |call| {
        let containers = truth.seen(|state| state.running[call.host.as_str()].clone());
        let mut lines: String = containers.iter().map(|id| format!("container {id}\n")).collect();
        if call.value("KUBE_PROXY") == "127.0.0.1:10249" {
            assert!(truth.seen(|state| state.excluded.contains_key("w1")), "it does not serve yet");
            let since = began.get_or_init(Instant::now).elapsed();
            lines += if since < Duration::from_secs(20) { "proxy pending\n" } else { "proxy written\n" };
        }
        Reply::ok(format!("boot {}\nkernel 6.1.0\n{lines}", boots.boot_id(call.host.clone())))
    });
    assert_eq!(stage.process(None).await, Ok(End::Finished));
    stage.check("kube-proxy late");
    let asked = stage.hosts.calls().into_iter().filter(|call| !call.value("KUBE_PROXY").is_empty()).count();
    assert!(asked > 5, "asked {asked} times");
}

#[tokio::test(start_paused = true)]
async fn another_machine_goes_on_from_the_mirror_alone() {
    for number in [3, 5, 6] {
        let stage = Stage::of(cluster(), &["w1"], &reboot()).await;
        let lost = tempfile::tempdir().unwrap();
        assert!(stage.process_on(lost.path(), Some(Death::After(number))).await.is_err());
        stage.finish(&format!("effect {number}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn connections_that_are_lost_change_nothing() {
    let scripts = [
        "common/reboot.sh",
        "common/files.sh",
        "common/returned.sh",
        "debian/update-packages.sh",
        "common/run-script.sh",
        "common/facts.sh",
    ];
    for script in scripts {
        for fault in [Fault::Refused, Fault::LostBefore, Fault::LostInside, Fault::LostAfter] {
            let stage = Stage::of(cluster(), &["w1"], &everything()).await;
            stage.hosts.fault("w1", script, fault);
            stage.finish(&format!("{script} {fault:?}")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn leadership_moves_before_the_leader_restarts_and_the_others_stay() {
    let stage = Stage::of(cluster(), &["cp1", "cp2", "cp3"], &reboot()).await;
    assert_eq!(stage.etcd.leader(), Some(MemberId(1)));
    assert_eq!(stage.process(None).await, Ok(End::Finished));
    stage.check("control planes");
    let moved: Vec<String> = stage.etcd.calls().into_iter().filter(|call| call.starts_with("moveLeader")).collect();
    assert_eq!(moved.len(), 1, "the leader's turn comes last, so that it moves once: {moved:?}");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_ill_by_then_stops_the_run_before_the_cordon() {
    let stage = Stage::of(cluster(), &["cp2"], &reboot()).await;
    stage.etcd.set("cp3", Health::Down);
    let Ok(End::Broken(broken)) = stage.process(None).await else { panic!("it should have stopped") };
    let Breakage::Guard(why) = &broken[0].what else { panic!("{broken:?}") };
    assert!(why.contains("etcd does not bear it now"), "{why}");
    stage.cluster.seen(|state| {
        assert!(state.restarts.is_empty() && state.nodes["cp2"].cordoned_by.is_none());
    });
}

#[tokio::test(start_paused = true)]
async fn a_cordon_of_others_stays() {
    let cluster = cluster();
    cluster.change(|state| state.nodes.get_mut("w1").unwrap().schedulable = false);
    let stage = Stage::of(cluster, &["w1"], &reboot()).await;
    assert_eq!(stage.process(None).await, Ok(End::Finished));
    stage.cluster.seen(|state| {
        assert_eq!((state.nodes["w1"].schedulable, &state.nodes["w1"].cordoned_by), (false, &None));
        assert!(state.excluded.is_empty());
        assert_eq!(state.restarts.get("w1"), Some(&1));
    });
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_does_not_restart_is_told_of_and_stays_cordoned() {
    let stage = Stage::of(cluster(), &["w1", "w2"], &reboot()).await;
    stage.hosts.stubborn("w1", true);
    let Ok(End::Broken(broken)) = stage.process(None).await else { panic!("it should have broken") };
    let Breakage::Failed(failure) = &broken[0].what else { panic!("{broken:?}") };
    assert_eq!(failure.text, "w1 was told to restart 300 s ago and goes on as before");
    assert_eq!(failure.hint.as_deref(), Some("on w1: systemctl list-jobs; systemd-inhibit --list"));
    stage.cluster.seen(|state| {
        assert_eq!(state.nodes["w1"].cordoned_by.as_deref(), Some("7f3a9c"));
        assert!(state.nodes["w2"].schedulable, "the next node was not begun");
    });
}

/// Whether two nodes were under way at the same time: each was cordoned before the other's workloads were whole again.
fn overlap(stage: &Stage) -> bool {
    let journal = std::fs::read_to_string(stage.state.path().join("ops/7f3a9c/journal.jsonl")).unwrap();
    let at = |event: &str, step: &str| {
        journal.lines().position(|line| line.contains(event) && line.contains(step)).unwrap_or(usize::MAX)
    };
    let begins = |node: &str| at("stepStarted", &format!("{node}-cordon"));
    let ends = |node: &str| at("stepSucceeded", &format!("{node}-workloads"));
    begins("w1") < ends("w2") && begins("w2") < ends("w1")
}

#[tokio::test(start_paused = true)]
async fn two_of_a_pool_are_away_at_once_where_it_may_be() {
    let stage = Stage::side_by_side(cluster(), &reboot()).await;
    assert_eq!(stage.process(None).await, Ok(End::Finished));
    stage.check("side by side");
    assert!(overlap(&stage));
    for number in 1..=stage.effects() {
        for death in [Death::Before(number), Death::After(number)] {
            let stage = Stage::side_by_side(cluster(), &reboot()).await;
            assert_eq!(stage.process(Some(death)).await, Err("killed".into()), "{death:?}");
            stage.finish(&format!("side by side, {death:?}")).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_does_not_restart_holds_up_only_its_own_turn() {
    let stage = Stage::side_by_side(cluster(), &reboot()).await;
    stage.hosts.stubborn("w1", true);
    let Ok(End::Broken(broken)) = stage.process(None).await else { panic!("it should have broken") };
    let steps: Vec<&str> = broken.iter().map(|broken| broken.step.as_str()).collect();
    assert!(steps.len() == 1 && steps[0].ends_with("w1-reboot"), "{steps:?}");
    stage.cluster.seen(|state| {
        assert_eq!(state.broken, Vec::<String>::new());
        assert_eq!(state.nodes["w1"].cordoned_by.as_deref(), Some("7f3a9c"));
        assert!(state.nodes["w2"].schedulable, "its turn had begun, and was over before the first was given up");
        assert_eq!(state.restarts, BTreeMap::from([("w2".to_owned(), 1)]));
    });
    stage.hosts.stubborn("w1", false);
    stage.finish("resumed").await;
}

/// What a turn beside it made short was whole before, and has to be whole after.
#[tokio::test(start_paused = true)]
async fn what_another_turn_made_short_is_waited_for_too() {
    let stage = Stage::side_by_side(cluster(), &reboot()).await;
    stage.cluster.change(|state| {
        state.sick = true;
        state.budgets.clear();
    });
    // The second node's note comes when the first one's pods are gone.
    for step in ["the first node's note", "the first node's drain"] {
        stage.hosts.fault("w2", "common/files.sh", Fault::Refused);
        assert!(matches!(stage.process(None).await, Ok(End::Broken(_))), "{step}");
    }
    assert!(stage.cluster.seen(|state| state.serving("cart") < 3), "nothing is short yet");
    assert!(matches!(stage.process(None).await, Ok(End::Broken(_))), "what is sick never comes back");
    let (_, note) = &stage.hosts.files("w2")["/var/lib/kubewright/ops/7f3a9c/w2.note.json"];
    assert!(String::from_utf8_lossy(note).contains(r#""name":"cart""#), "{}", String::from_utf8_lossy(note));
}

#[tokio::test(start_paused = true)]
async fn workloads_that_do_not_come_back_stop_the_next_turn() {
    let stage = Stage::of(cluster(), &["w1", "w2"], &reboot()).await;
    stage.cluster.change(|state| {
        state.sick = true;
        // Without it the drain itself would wait for replacements.
        state.budgets.clear();
    });
    let Ok(End::Broken(broken)) = stage.process(None).await else { panic!("it should have broken") };
    assert_eq!(broken[0].step.as_str(), "08-w1-workloads");
    let Breakage::Failed(failure) = &broken[0].what else { panic!("{broken:?}") };
    assert!(failure.hint.as_deref().unwrap().starts_with("no further node is begun"), "{failure:?}");
    stage.cluster.seen(|state| {
        assert!(state.nodes["w1"].schedulable, "pods that fit only there would else never come back");
        assert_eq!(state.restarts.len(), 1);
    });
}

#[tokio::test(start_paused = true)]
async fn a_script_that_fails_leaves_the_node_cordoned_and_runs_again_on_resume() {
    let stage = Stage::of(cluster(), &["w1"], &everything()).await;
    let tries = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = tries.clone();
    let hosts = stage.hosts.clone().on("common/run-script.sh", move |_| {
        match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Reply::failed(3, "no such disk\nfix.sh ended with status 3\n"),
            _ => Reply::ok("done\n"),
        }
    });
    let stage = Stage { hosts, ..stage };
    let Ok(End::Broken(broken)) = stage.process(None).await else { panic!("it should have broken") };
    let Breakage::Failed(failure) = &broken[0].what else { panic!("{broken:?}") };
    assert_eq!(
        failure.text,
        "common/run-script.sh on w1 ended with status 3\nno such disk\nfix.sh ended with status 3"
    );
    assert!(stage.cluster.seen(|state| state.restarts.is_empty()));
    stage.finish("resumed").await;
    assert_eq!(tries.load(std::sync::atomic::Ordering::SeqCst), 2);
}
