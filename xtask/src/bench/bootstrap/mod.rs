//! kubewright against the real kubeadm: the same hosts, prepared the same, one after the other in one run, and the clock
//! stopped by the same observer: when every static pod of the control planes is Ready and every node registered.

mod observer;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

use self::observer::{Observer, Tool};
use super::{CONTROL_PLANES, Machine, PREPARED, Part, Processors, Spread, VERSION, WORKER, kubeadm, ours, rounded};
use crate::cache::Cache;
use crate::command;
use crate::lab::{self, Lab, LabSpec};

/// A bootstrap on an idle machine takes half a minute with one and a minute with the other tool; on one whose cores are
/// all busy with other things up to five times as long.
const PATIENCE: Duration = Duration::from_secs(400);

/// Where and how often.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Name of the lab that is raised for it.
    pub lab: String,
    /// Its network.
    pub subnet: String,
    /// Runs of each tool.
    pub rounds: usize,
    /// Whether kubeadm's joins are measured all at once too, for those who run it so.
    pub parallel: bool,
}

/// What was found. The figures to quote stand first: medians, and the ratio of the medians.
#[derive(Debug, Serialize)]
pub struct Report {
    /// From kubewright's start until the cluster stands.
    pub kubewright_s: f64,
    /// From the start of `kubeadm init` until the cluster stands, joins one after another.
    pub kubeadm_s: f64,
    /// The first divided by the second.
    pub ratio: f64,
    /// kubeadm with all joins at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeadm_parallel_s: Option<f64>,
    /// What ran.
    pub versions: Versions,
    /// kubewright in all rounds.
    pub kubewright: Spread,
    /// kubeadm in all rounds.
    pub kubeadm: Spread,
    /// Ratio round by round: the machine's speed may drift between rounds.
    pub ratios: Spread,
    /// Every run in its order.
    pub runs: Vec<Timed>,
    /// The machine before the first run.
    #[serde(flatten)]
    pub machine: Machine,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct Versions {
    /// Of both clusters.
    pub kubernetes: String,
    /// As it names itself.
    pub kubewright: String,
    /// As it names itself.
    pub kubeadm: String,
}

/// One bootstrap.
#[derive(Debug, Serialize)]
pub struct Timed {
    /// `kubewright`, `kubeadm` or `kubeadm-parallel`.
    pub tool: &'static str,
    /// Until the cluster stood.
    pub stood_s: f64,
    /// Until the tool itself had ended.
    pub ended_s: f64,
    /// Its parts, each with its begin and end on the same clock.
    pub steps: Vec<Part>,
    /// What came last of what was waited for.
    pub last: String,
    /// One-minute load average when it ended.
    pub load: f64,
    /// Processor time that the whole machine spent until the cluster stood. Divided by the number of processors it is what nobody could
    /// have been faster than.
    pub busy_s: f64,
    /// Processor time that other machines on the same hardware had meanwhile.
    pub stolen_s: f64,
}

/// Raises the lab, measures, and takes the lab down again whatever came of it.
///
/// # Errors
/// A bootstrap fails, or the lab does.
pub fn measure(cache: &Cache, setting: &Setting) -> Result<Report> {
    lab::preflight::check()?;
    lab::prepare(cache, &[VERSION.to_owned()])?;
    let hosts = CONTROL_PLANES.into_iter().chain([WORKER]);
    let spec = LabSpec::new(&setting.lab, &setting.subnet)?.with_hosts(hosts)?;
    let lab = Lab::raise(cache, &spec)?;
    let report = on(cache, &lab, setting);
    let gone = lab::forget_snapshot(cache, PREPARED).and(lab::clear(cache, &setting.lab));
    report.and_then(|report| gone.map(|()| report))
}

fn on(cache: &Cache, lab: &Lab, setting: &Setting) -> Result<Report> {
    let bench = Bench { cache, lab, kubewright: ours::Kubewright::new(lab)? };
    bench.kubewright.prepare(lab)?;
    kubeadm::of(lab, VERSION).install()?;
    lab.snapshot(cache, PREPARED)?;
    let machine = Machine::now()?;
    let mut runs = Vec::new();
    for round in 0..setting.rounds {
        let mut tools = vec!["kubewright", "kubeadm"];
        if round % 2 == 1 {
            // Whoever comes second finds warm caches and a hotter processor; so the order changes.
            tools.reverse();
        }
        if setting.parallel {
            tools.push("kubeadm-parallel");
        }
        for tool in tools {
            runs.push(bench.one(tool).with_context(|| format!("{tool}, round {}", round + 1))?);
        }
    }
    let of = |tool: &str| runs.iter().filter(|run| run.tool == tool).map(|run| run.stood_s).collect::<Vec<_>>();
    let (ours, theirs) = (of("kubewright"), of("kubeadm"));
    let (kubewright, kubeadm) = (Spread::of(ours.clone())?, Spread::of(theirs.clone())?);
    Ok(Report {
        kubewright_s: kubewright.median,
        kubeadm_s: kubeadm.median,
        ratio: rounded(kubewright.median / kubeadm.median),
        kubeadm_parallel_s: Spread::of(of("kubeadm-parallel")).ok().map(|spread| spread.median),
        versions: Versions {
            kubernetes: VERSION.to_owned(),
            kubewright: bench.kubewright.version()?,
            kubeadm: lab.exec(CONTROL_PLANES[0], "kubeadm version -o short")?,
        },
        kubewright,
        kubeadm,
        ratios: Spread::of(ours.iter().zip(&theirs).map(|(one, other)| one / other))?,
        runs,
        machine,
    })
}

struct Bench<'a> {
    cache: &'a Cache,
    lab: &'a Lab,
    kubewright: ours::Kubewright,
}

impl Bench<'_> {
    /// One bootstrap on hosts that were put back.
    fn one(&self, tool: &'static str) -> Result<Timed> {
        let lab = self.lab;
        lab.restore(self.cache, PREPARED)?;
        if tool != "kubewright" {
            kubeadm::place(lab)?;
        }
        // The cores still write back what was copied; nobody's clock runs meanwhile.
        command::output(&mut std::process::Command::new("sync"))?;
        let (began, processors) = (Instant::now(), Processors::now()?);
        let observer = Observer::begin(self.cache, lab, began)?;
        let state = Mutex::new(Tool::Works);
        let (steps, stood, spent) = std::thread::scope(|scope| {
            let work = scope.spawn(|| {
                let done = match tool {
                    "kubewright" => self.kubewright.bootstrap(began),
                    "kubeadm" => kubeadm::bootstrap(lab, began, PATIENCE, false),
                    _ => kubeadm::bootstrap(lab, began, PATIENCE, true),
                };
                *state.lock().unwrap_or_else(PoisonError::into_inner) =
                    if done.is_ok() { Tool::Ended } else { Tool::Failed };
                done
            });
            let stood = observer.stood(PATIENCE, || *state.lock().unwrap_or_else(PoisonError::into_inner));
            let spent = Processors::since(processors);
            let done = work.join().unwrap_or_else(|_| anyhow::bail!("it panicked"));
            // Whoever failed says why; that nothing stands is then no news.
            done.and_then(|steps| Ok((steps, stood?, spent?)))
        })?;
        let ended_s = steps.iter().map(|part| part.ended_s).fold(0.0, f64::max);
        let load = Machine::now()?.load_average[0];
        let Processors { busy_s, stolen_s } = spent;
        let stood_s = rounded(stood.after.as_secs_f64());
        eprintln!("  {tool}: stood after {stood_s} s, ended after {ended_s} s, processors {busy_s} s, load {load}");
        Ok(Timed { tool, stood_s, ended_s, steps, last: stood.last, load, busy_s, stolen_s })
    }
}
