//! Emptying nodes beside `kubectl drain`: a real API server, controller manager and scheduler, kubelets stood in for.
//! What was asked is counted by the API server's audit log, and budgets are looked at in every revision.

mod audit;
mod bound;
mod cluster;
mod kubelets;
mod revisions;
mod scenario;
pub mod wide;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use futures::future::try_join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams};
use kubewright::exec::cancel::Cancel;
use kubewright::exec::drain::{Errand, empty};
use kubewright::facts::nodes::{look, survey};
use kubewright::kube::ClusterApi;
use kubewright::ports::{Clock, SystemClock, Whose, Workloads};
use kubewright_core::drain::{Name, Policy};
use kubewright_core::ids::{HostName, OperationId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use xtask::bench::{Machine, rounded};
use xtask::cache::Cache;
use xtask::command::output;
use xtask::loopback::Programs;

use self::audit::{Audit, Tally};
use self::cluster::{Cluster, Identity, connect};
use self::revisions::{Observer, PodSeen};
use self::scenario::{Scenario, Workload, mixed};
use crate::memory;

/// A look at a node that takes longer hangs.
const LOOK: Duration = Duration::from_secs(60);

/// How large a measurement is.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Pods of the case without budgets.
    pub pods: usize,
    /// Their grace.
    pub grace: Duration,
    /// Pods under one budget of 1.
    pub under_budget: usize,
    /// Nodes that are emptied one after another.
    pub nodes: usize,
    /// Pods on each of these.
    pub pods_per_node: usize,
    /// Grace of these pods, and how long they take until Ready.
    pub rolling: Duration,
    /// Only the cases of these names; all where none is named.
    pub only: Vec<String>,
}

impl Default for Setting {
    /// What is quoted.
    fn default() -> Self {
        Self {
            pods: 110,
            grace: Duration::from_secs(20),
            under_budget: 20,
            nodes: 100,
            pods_per_node: 50,
            rolling: Duration::from_secs(5),
            only: Vec::new(),
        }
    }
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Each case.
    pub cases: Vec<Case>,
    /// The most memory of our process when it looks at a node of a cluster of 1,000 nodes and 50,000 pods.
    pub wide_rss_mb: f64,
    /// Whether the compiler optimised: figures of a debug build are for tests alone.
    pub optimised: bool,
    /// Processors of the machine, and its load when this began.
    #[serde(flatten)]
    pub machine: Machine,
}

/// One case.
#[derive(Debug, Serialize)]
pub struct Case {
    /// `grace`, `budget`, `rolling`.
    pub name: &'static str,
    /// Its size, in words.
    pub what: String,
    /// From the start of our process until its end.
    pub wall_s: f64,
    /// The same of kubectl's, added up where it is called for one node after another.
    pub kubectl_s: f64,
    /// What it takes at least: raw parallel deletions, or the arithmetic of readiness.
    pub floor_s: f64,
    /// Ours divided by that.
    pub wall_over_floor: f64,
    /// The share of our evictions that were refused as too many.
    pub rejected_ratio: f64,
    /// The same of kubectl's.
    pub kubectl_rejected_ratio: f64,
    /// Evictions of ours that were granted, for each pod that was there.
    pub evictions_per_pod: f64,
    /// Our deletions that asked no budget.
    pub bypassed: usize,
    /// Budgets that had too few pods in any revision while we drained.
    pub budgets_violated: usize,
    /// The most memory of our process, all of it.
    pub peak_rss_mb: f64,
}

/// What our process is told.
#[derive(Debug, Serialize, Deserialize)]
struct Order {
    address: SocketAddr,
    kubeconfig: PathBuf,
    nodes: Vec<String>,
    uncordon: bool,
}

/// What our process found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    rss_mb: f64,
}

/// Measures every case. `part` begins a process that runs [`one`], `wide` one that runs [`wide::one`].
///
/// # Errors
/// There are no programs, a server fails, or a node does not empty.
pub async fn measure(
    setting: &Setting,
    part: impl Fn(&Path) -> Result<Part>,
    wide: impl FnOnce() -> Result<Part>,
) -> Result<Report> {
    let machine = Machine::now()?;
    let cache = Cache::open()?;
    let programs = Programs::find(&cache);
    let programs =
        programs.with_context(|| format!("no servers in {}; `make demo` builds them", cache.root().display()))?;
    let cluster = Cluster::start(&programs).await?;
    let client = cluster.api(Identity::Others)?.client();
    let kubelets = tokio::spawn(kubelets::run(client.clone()));
    let bench = Bench { cluster, programs, observer: Observer::start(&client), part: &part };
    let mut cases = Vec::new();
    for (name, scenario, floor) in scenarios(setting) {
        if setting.only.is_empty() || setting.only.iter().any(|only| only == name) {
            cases.push(bench.case(name, &scenario, floor).await?);
        }
    }
    kubelets.abort();
    let wide_rss_mb = rounded(tokio::task::block_in_place(wide)?.rss_mb);
    Ok(Report { cases, wide_rss_mb, optimised: !cfg!(debug_assertions), machine })
}

/// Where a floor comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Floor {
    Deletions,
    Arithmetic,
}

fn scenarios(setting: &Setting) -> [(&'static str, Scenario, Floor); 3] {
    let scenario = |name: &str, workloads, grace, ready| Scenario {
        name: name.to_owned(),
        nodes: 1,
        spare: 1,
        workloads,
        grace,
        ready,
    };
    let one = |replicas, max_unavailable| vec![Workload { name: "w000".to_owned(), replicas, max_unavailable }];
    let seconds = Duration::from_secs;
    let grace = scenario("grace", one(setting.pods, None), setting.grace, seconds(1));
    // A replacement that is Ready after 3 s: kubectl's pauses of 5 s after a refusal cost it two more.
    let budget = scenario("budget", one(setting.under_budget, Some(json!(1))), seconds(2), seconds(3));
    let workloads = mixed(setting.nodes * setting.pods_per_node);
    let rolling = scenario("rolling", workloads, setting.rolling, setting.rolling);
    let rolling = Scenario { nodes: setting.nodes, spare: 0, ..rolling };
    [("grace", grace, Floor::Deletions), ("budget", budget, Floor::Arithmetic), ("rolling", rolling, Floor::Arithmetic)]
}

/// One run of whoever empties nodes.
struct Run {
    seconds: f64,
    tally: Tally,
    violated: usize,
    /// Every pod that had a node meanwhile.
    placed: BTreeMap<Name, PodSeen>,
}

struct Bench<'p, P> {
    cluster: Cluster,
    programs: Programs,
    observer: Observer,
    part: &'p P,
}

impl<P: Fn(&Path) -> Result<Part>> Bench<'_, P> {
    async fn case(&self, name: &'static str, scenario: &Scenario, floor: Floor) -> Result<Case> {
        let of = |who: &str| Scenario { name: format!("{}-{who}", scenario.name), ..scenario.clone() };
        let theirs = of("kubectl");
        let kubectl = self.run(&theirs, async || self.kubectl(&theirs)).await?;
        let (ours, mut rss_mb) = (of("ours"), 0.0);
        let run = self.run(&ours, async || {
            rss_mb = self.ours(&ours)?.rss_mb;
            Ok(())
        });
        let run = run.await?;
        let floor_s = match floor {
            Floor::Deletions => {
                let raw = of("raw");
                self.run(&raw, async || self.delete_all(&raw).await).await?.seconds
            }
            Floor::Arithmetic => least(&ours, &run).as_secs_f64(),
        };
        let (pods, nodes) = (scenario.pods(), scenario.nodes);
        Ok(Case {
            name,
            what: format!(
                "{pods} pods on {nodes} node(s), {} s grace, Ready after {} s",
                scenario.grace.as_secs(),
                scenario.ready.as_secs()
            ),
            wall_s: rounded(run.seconds),
            kubectl_s: rounded(kubectl.seconds),
            floor_s: rounded(floor_s),
            wall_over_floor: rounded(run.seconds / floor_s),
            rejected_ratio: rounded(run.tally.refused_ratio()),
            kubectl_rejected_ratio: rounded(kubectl.tally.refused_ratio()),
            evictions_per_pod: rounded(run.tally.evicted.len() as f64 / pods as f64),
            bypassed: run.tally.bypassed,
            budgets_violated: run.violated,
            peak_rss_mb: rounded(rss_mb),
        })
    }

    /// Raises a scenario, has its nodes emptied, and waits until all is whole again: what was done is seen by then.
    async fn run(&self, scenario: &Scenario, mut doing: impl AsyncFnMut() -> Result<()>) -> Result<Run> {
        eprintln!("{}: {} pods on {} node(s)", scenario.name, scenario.pods(), scenario.nodes);
        let api = self.cluster.api(Identity::Others)?;
        scenario.raise(&api, &self.observer).await?;
        self.observer.begin();
        let audit = Audit::begin(&self.cluster.audit())?;
        let began = Instant::now();
        doing().await?;
        let seconds = began.elapsed().as_secs_f64();
        scenario.wait_whole(&self.observer).await?;
        let (tally, placed) = (audit.tally()?, self.observer.placed());
        let violated = self.observer.violated();
        eprintln!(
            "  {seconds:.1} s, {} evictions, {} refused, budgets violated {violated:?}",
            tally.evicted.len(),
            tally.refused
        );
        scenario.take_away(&api.client(), &self.observer).await?;
        Ok(Run { seconds, tally, violated: violated.len(), placed })
    }

    fn ours(&self, scenario: &Scenario) -> Result<Part> {
        let order = Order {
            address: self.cluster.address(),
            kubeconfig: self.cluster.kubeconfig(Identity::Drainer),
            nodes: scenario.nodes(),
            uncordon: scenario.nodes > 1,
        };
        let file = self.cluster.folder().join("order.json");
        fs::write(&file, serde_json::to_string(&order)?)?;
        tokio::task::block_in_place(|| (self.part)(&file))
    }

    fn kubectl(&self, scenario: &Scenario) -> Result<()> {
        let call = |words: &[&str]| {
            let mut kubectl = Command::new(&self.programs.kubectl);
            kubectl.arg("--kubeconfig").arg(self.cluster.kubeconfig(Identity::Drainer)).args(words);
            tokio::task::block_in_place(|| output(&mut kubectl)).map(drop)
        };
        for node in scenario.nodes() {
            call(&["drain", &node])?;
            if scenario.nodes > 1 {
                call(&["uncordon", &node])?;
            }
        }
        Ok(())
    }

    /// Deletes every pod at once and waits until all are gone.
    async fn delete_all(&self, scenario: &Scenario) -> Result<()> {
        let on = |pod: &PodSeen| pod.node.as_ref().is_some_and(|node| scenario.nodes().contains(node));
        let pods: Vec<(Name, String)> = self.observer.look(|state| {
            let there = state.pods.iter().filter(|(_, pod)| on(pod));
            there.map(|(name, pod)| (name.clone(), pod.uid.clone())).collect()
        });
        let api = Api::<Pod>::namespaced(self.cluster.api(Identity::Others)?.client(), &scenario.name);
        let how = DeleteParams::default();
        try_join_all(pods.iter().map(|(name, _)| api.delete(&name.name, &how))).await?;
        let hangs = scenario.grace * 10 + Duration::from_secs(60);
        self.observer
            .until("deleted pods to go", hangs, |state| pods.iter().all(|(name, _)| !state.pods.contains_key(name)))
            .await
    }
}

/// The least that those evictions can have taken, in the order of nodes in which they were.
fn least(scenario: &Scenario, run: &Run) -> Duration {
    let mut turns: BTreeMap<&str, Vec<Option<Name>>> = BTreeMap::new();
    let allowed = scenario.allowed();
    for name in &run.tally.evicted {
        if let Some(pod) = run.placed.get(name) {
            let turn = turns.entry(pod.node.as_deref().unwrap_or_default()).or_default();
            turn.push(Some(pod.workload.clone()).filter(|budget| allowed.contains_key(budget)));
        }
    }
    let turns: Vec<_> = turns.into_values().collect();
    bound::least(&turns, &allowed, scenario.grace, scenario.ready)
}

/// Empties nodes in this process.
///
/// # Errors
/// A node does not empty.
pub fn one(order: &Path) -> Result<Part> {
    let order: Order = serde_json::from_str(&fs::read_to_string(order)?)?;
    memory::forget_peak()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let api = connect(order.address, &order.kubeconfig)?;
        for node in &order.nodes {
            drain(&api, &HostName::new(node.clone()), order.uncordon).await?;
        }
        anyhow::Ok(())
    })?;
    Ok(Part { rss_mb: memory::own()?.peak })
}

async fn drain(api: &ClusterApi, node: &HostName, uncordon: bool) -> Result<()> {
    let (operation, policy, cancel) = (OperationId::new("7f3a9c"), Policy::default(), Cancel::default());
    let mut seen = look(api, node, SystemClock.now(), LOOK).await?;
    survey(api, [&mut seen]).await;
    let errand = Errand { api, node, operation: &operation, policy: &policy, clock: &SystemClock, cancel: &cancel };
    let mut telling = |line: &str| tracing::debug!("{line}");
    empty(errand, &mut telling).await.map_err(|failure| anyhow!("{}", failure.text))?;
    if uncordon {
        api.uncordon(node, &Whose::Of(operation)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small cluster: no times are judged, only that what is counted is what happened.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_small_cluster_is_emptied_by_all_and_counted() {
        if Programs::find(&Cache::open().unwrap()).is_none() {
            eprintln!("SKIPPED: no servers; `make demo` builds them");
            return;
        }
        let setting = Setting {
            pods: 5,
            grace: Duration::from_secs(1),
            under_budget: 2,
            only: vec!["grace".to_owned(), "budget".to_owned()],
            ..Setting::default()
        };
        let apart = |order: &Path| {
            let order = order.to_owned();
            std::thread::spawn(move || one(&order)).join().unwrap()
        };
        let report = measure(&setting, apart, || wide::one(wide::Size { nodes: 20, pods: 40 })).await.unwrap();
        let names: Vec<_> = report.cases.iter().map(|case| case.name).collect();
        assert_eq!(names, ["grace", "budget"]);
        for case in &report.cases {
            assert_eq!((case.bypassed, case.budgets_violated), (0, 0), "{case:?}");
            assert!(case.wall_over_floor >= 1.0 && case.evictions_per_pod >= 1.0, "{case:?}");
            assert!(case.kubectl_s >= case.floor_s, "{case:?}");
        }
        let [grace, budget] = report.cases.as_slice() else { unreachable!() };
        assert_eq!((grace.evictions_per_pod, budget.evictions_per_pod), (1.0, 1.0));
        assert_eq!(budget.floor_s, 3.0 + 2.0);
        assert!(budget.kubectl_rejected_ratio > 0.0, "it asks before the budget has room: {budget:?}");
    }
}
