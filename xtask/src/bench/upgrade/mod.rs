//! kubewright against the real kubeadm with `kubectl drain`: each takes a cluster of its own, on the same hosts, from one minor to the
//! next, while a client asks the API. Neither has anything of the new version on the hosts before.

mod client;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde_json::Value;

use self::client::{Answers, Client};
use super::{CONTROL_PLANES, Machine, PREPARED, Part, VERSION, WORKER, is_ready, kubeadm, ours, repository, rounded};
use crate::cache::Cache;
use crate::cluster::Kubectl;
use crate::lab::{self, Lab, LabSpec};

/// Where both go.
const TO: &str = "1.36.3";

/// kubeadm takes three minutes for one control plane, on a busy machine three times as long.
const PATIENCE: Duration = Duration::from_secs(900);

/// A cluster that was just built still starts CoreDNS and the network; whoever upgrades it then would measure that.
const SETTLED: Duration = Duration::from_secs(180);

/// Between two looks at the whole cluster, which cost the API server some hundredths of a second.
const LOOK: Duration = Duration::from_millis(500);

/// What has to be agreed to where there is one control plane: its API is away while it changes.
const CONSENTS: [&str; 1] = ["MAINT001"];

/// Where and how often.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Name of the lab that is raised for it.
    pub lab: String,
    /// Its network.
    pub subnet: String,
    /// Upgrades by each tool, of each cluster.
    pub rounds: usize,
}

/// What was found. The figures to quote stand first, the medians of all rounds.
#[derive(Debug, Serialize)]
pub struct Report {
    /// From kubewright's start until every node has the new version, three control planes and a worker.
    pub kubewright_s: f64,
    /// The same of kubeadm.
    pub kubeadm_s: f64,
    /// The first divided by the second.
    pub ratio: f64,
    /// Requests to the API that failed meanwhile, all rounds together.
    pub api_failed: usize,
    /// The same of kubeadm.
    pub api_failed_kubeadm: usize,
    /// One control plane and a worker: the longest time without an answer.
    pub api_gap_s: f64,
    /// The same of kubeadm.
    pub api_gap_kubeadm_s: f64,
    /// The first divided by the second.
    pub api_gap_ratio: f64,
    /// Kubernetes before and after.
    pub versions: [&'static str; 2],
    /// Every run in its order.
    pub runs: Vec<Timed>,
    /// The machine before the first run.
    #[serde(flatten)]
    pub machine: Machine,
}

/// One upgrade.
#[derive(Debug, Serialize)]
pub struct Timed {
    /// `kubewright` or `kubeadm`.
    pub tool: &'static str,
    /// How many control planes.
    pub control_planes: usize,
    /// Until every node had the new version.
    pub whole_s: f64,
    /// What became of requests to the API meanwhile.
    pub api: Answers,
    /// Its parts, each with its begin and end on the same clock.
    pub steps: Vec<Part>,
    /// One-minute load average when it ended.
    pub load: f64,
}

/// Raises labs, measures, and takes them down again whatever came of it.
///
/// # Errors
/// An upgrade fails, or a lab does.
pub fn measure(cache: &Cache, setting: &Setting) -> Result<Report> {
    lab::preflight::check()?;
    lab::prepare(cache, &[VERSION, TO].map(str::to_owned))?;
    let machine = Machine::now()?;
    let mut runs = Vec::new();
    for control_planes in [3, 1] {
        let hosts = CONTROL_PLANES[..control_planes].iter().copied().chain([WORKER]);
        let spec = LabSpec::new(&setting.lab, &setting.subnet)?.with_hosts(hosts)?;
        let lab = Lab::raise(cache, &spec)?;
        let done = on(cache, &lab, setting.rounds);
        let gone = lab::forget_snapshot(cache, PREPARED).and(lab::clear(cache, &setting.lab));
        runs.extend(done?);
        gone?;
    }
    report(runs, machine)
}

fn report(runs: Vec<Timed>, machine: Machine) -> Result<Report> {
    let of = |tool: &str, control_planes: usize| {
        let runs = runs.iter().filter(move |run| run.tool == tool && run.control_planes == control_planes);
        runs.collect::<Vec<_>>()
    };
    let median = |runs: Vec<&Timed>, figure: &dyn Fn(&Timed) -> f64| {
        super::Spread::of(runs.into_iter().map(figure)).map(|spread| spread.median)
    };
    let failed = |tool: &str| of(tool, CONTROL_PLANES.len()).iter().map(|run| run.api.failed).sum();
    let whole = |tool: &str| median(of(tool, CONTROL_PLANES.len()), &|run| run.whole_s);
    let gap = |tool: &str| median(of(tool, 1), &|run| run.api.gap_s);
    let (kubewright_s, kubeadm_s) = (whole("kubewright")?, whole("kubeadm")?);
    let (api_gap_s, api_gap_kubeadm_s) = (gap("kubewright")?, gap("kubeadm")?);
    Ok(Report {
        kubewright_s,
        kubeadm_s,
        ratio: rounded(kubewright_s / kubeadm_s),
        api_failed: failed("kubewright"),
        api_failed_kubeadm: failed("kubeadm"),
        api_gap_s,
        api_gap_kubeadm_s,
        api_gap_ratio: rounded(api_gap_s / api_gap_kubeadm_s),
        versions: [VERSION, TO],
        runs,
        machine,
    })
}

/// All rounds on one lab.
fn on(cache: &Cache, lab: &Lab, rounds: usize) -> Result<Vec<Timed>> {
    ours::Kubewright::new(lab)?.prepare(lab)?;
    kubeadm::of(lab, VERSION).install()?;
    lab.snapshot(cache, PREPARED)?;
    let mut runs = Vec::new();
    for round in 0..rounds {
        let mut tools = ["kubewright", "kubeadm"];
        if round % 2 == 1 {
            tools.reverse();
        }
        for tool in tools {
            lab.restore(cache, PREPARED)?;
            let run = one(cache, lab, tool);
            runs.push(run.with_context(|| format!("{tool}, {} hosts, round {}", lab.spec.hosts.len(), round + 1))?);
        }
    }
    Ok(runs)
}

/// A cluster of that tool, and its upgrade.
fn one(cache: &Cache, lab: &Lab, tool: &'static str) -> Result<Timed> {
    let folder = tempfile::tempdir()?;
    let ours = ours::Kubewright::new(lab)?;
    let control_planes = lab.spec.hosts.len() - 1;
    let kubeconfig = if tool == "kubewright" {
        ours.bootstrap(Instant::now())?;
        ours.kubeconfig()?
    } else {
        kubeadm::place(lab)?;
        kubeadm::bootstrap(lab, Instant::now(), PATIENCE, false)?;
        kubeadm::kubeconfig(lab, folder.path())?
    };
    let kubectl = Kubectl::new(cache, VERSION, kubeconfig);
    if tool != "kubewright" {
        add_network(&kubectl)?;
    }
    await_whole(&kubectl, VERSION, Instant::now() + SETTLED)?;
    let client = Client::begin(lab)?;
    let began = Instant::now();
    let steps = match tool {
        "kubewright" => ours.upgrade(TO, if control_planes == 1 { &CONSENTS } else { &[] }, began),
        _ => kubeadm::upgrade(lab, &kubectl, TO, began, PATIENCE),
    };
    let whole = steps.and_then(|steps| {
        await_whole(&kubectl, TO, Instant::now() + SETTLED)?;
        Ok((steps, rounded(began.elapsed().as_secs_f64())))
    });
    let api = client.end(lab);
    let ((steps, whole_s), api) = (whole?, api?);
    let load = Machine::now()?.load_average[0];
    eprintln!(
        "  {tool}, {control_planes} control planes: {whole_s:.1} s; of {} requests to the API {} failed, {:.1} s without one at most; \
         load {load}",
        api.asked, api.failed, api.gap_s
    );
    Ok(Timed { tool, control_planes, whole_s, api, steps, load })
}

/// Gives a cluster of kubeadm's the network that kubewright gives to its own.
fn add_network(kubectl: &Kubectl) -> Result<()> {
    let folder = repository().join("manifests/tests/golden/ha/objects");
    let mut files: Vec<_> = std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    files.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains("flannel")));
    files.sort();
    if files.is_empty() {
        bail!("{} has no network", folder.display());
    }
    files.iter().try_for_each(|file| kubectl.run(&["apply", "-f", &file.to_string_lossy()]).map(drop))
}

/// Waits until all of a cluster is of that version and at work.
fn await_whole(kubectl: &Kubectl, version: &str, until: Instant) -> Result<()> {
    loop {
        let lacking = kubectl.run(&["get", "nodes,pods", "-A", "-o", "json"]).and_then(|text| {
            let list: Value = serde_json::from_str(&text)?;
            Ok(lacking(&list, version))
        });
        match lacking {
            Ok(lacking) if lacking.is_empty() => return Ok(()),
            Ok(lacking) if Instant::now() > until => bail!("not as it should be: {}", lacking.join(", ")),
            Err(error) if Instant::now() > until => return Err(error),
            _ => std::thread::sleep(LOOK),
        }
    }
}

/// Nodes and pods that are not Ready, cordoned, or of another version.
fn lacking(list: &Value, version: &str) -> Vec<String> {
    let mut lacking = Vec::new();
    for object in list["items"].as_array().into_iter().flatten() {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let images = object["spec"]["containers"].as_array().into_iter().flatten();
        let of_version = match object["kind"].as_str() {
            Some("Node") => object["status"]["nodeInfo"]["kubeletVersion"] == format!("v{version}"),
            _ => images.filter_map(|one| one["image"].as_str()).all(|image| is_of(image, version)),
        };
        let is_well = is_ready(object) && object["spec"]["unschedulable"] != true;
        if !of_version || !is_well {
            lacking.push(name.to_owned());
        }
    }
    lacking
}

/// Whether an image of Kubernetes itself is of that version; others are.
fn is_of(image: &str, version: &str) -> bool {
    let (name, tag) = image.rsplit_once(':').unwrap_or((image, ""));
    let ours = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"];
    !ours.iter().any(|one| name.ends_with(&format!("/{one}"))) || tag == format!("v{version}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, version: &str, ready: &str) -> Value {
        json!({ "kind": "Node", "metadata": { "name": name }, "spec": {},
            "status": { "nodeInfo": { "kubeletVersion": version }, "conditions": [{ "type": "Ready", "status": ready }] } })
    }

    #[test]
    fn what_is_lacking_is_named() {
        let pod = |image: &str| {
            json!({ "kind": "Pod", "metadata": { "name": image }, "spec": { "containers": [{ "image": image }] },
                "status": { "conditions": [{ "type": "Ready", "status": "True" }] } })
        };
        let mut cordoned = node("w2", "v1.36.3", "True");
        cordoned["spec"]["unschedulable"] = json!(true);
        let items = [
            node("cp1", "v1.36.3", "True"),
            node("cp2", "v1.35.4", "True"),
            node("w1", "v1.36.3", "Unknown"),
            cordoned,
            pod("registry.k8s.io/kube-proxy:v1.35.4"),
            pod("registry.k8s.io/kube-scheduler:v1.36.3"),
            pod("registry.k8s.io/etcd:3.6.8-0"),
        ];
        let found = lacking(&json!({ "items": items }), "1.36.3");
        assert_eq!(found, ["cp2", "w1", "w2", "registry.k8s.io/kube-proxy:v1.35.4"]);
    }

    #[test]
    fn figures_are_those_of_their_clusters() {
        let run = |tool: &'static str, control_planes: usize, whole_s: f64, failed: usize, gap_s: f64| Timed {
            tool,
            control_planes,
            whole_s,
            api: Answers { asked: 100, failed, gap_s, failures: Vec::new() },
            steps: Vec::new(),
            load: 0.0,
        };
        let runs = vec![
            run("kubewright", 3, 50.0, 0, 0.2),
            run("kubeadm", 3, 500.0, 7, 3.0),
            run("kubewright", 1, 20.0, 40, 6.0),
            run("kubeadm", 1, 200.0, 300, 30.0),
        ];
        let report = report(runs, Machine { cores: 2, load_average: vec![] }).unwrap();
        assert_eq!((report.ratio, report.api_failed, report.api_failed_kubeadm), (0.1, 0, 7));
        assert_eq!((report.api_gap_s, report.api_gap_kubeadm_s, report.api_gap_ratio), (6.0, 30.0, 0.2));
    }
}
