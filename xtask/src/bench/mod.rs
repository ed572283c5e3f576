//! Measurements: how they are summed up and where they are written. A figure without the machine's load at that time
//! says little, so it stands beside each.

pub mod bootstrap;
mod kubeadm;
mod ours;
pub mod size;
pub mod upgrade;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::cache::repository;

/// Several runs of one thing. The median is the figure to quote; a wide spread says that the machine was busy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The smallest.
    pub min: f64,
    /// The one in the middle; of an even number the mean of the two there.
    pub median: f64,
    /// The largest.
    pub max: f64,
    /// How many runs.
    pub runs: usize,
}

impl Spread {
    /// Sums up at least one run.
    ///
    /// # Errors
    /// There is none.
    pub fn of(runs: impl IntoIterator<Item = f64>) -> Result<Self> {
        let mut runs: Vec<f64> = runs.into_iter().collect();
        runs.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (runs.first().copied(), runs.last().copied()) else {
            anyhow::bail!("nothing was measured");
        };
        let middle = runs.len() / 2;
        let median = if runs.len() % 2 == 1 { runs[middle] } else { f64::midpoint(runs[middle - 1], runs[middle]) };
        Ok(Self { min: rounded(min), median: rounded(median), max: rounded(max), runs: runs.len() })
    }
}

/// Three digits behind the point: no clock here tells more.
pub fn rounded(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

/// Three control planes and a worker: the smallest cluster that survives a loss and has a place for workloads.
const CONTROL_PLANES: [&str; 3] = ["cp1", "cp2", "cp3"];
const WORKER: &str = "w1";

/// Kubernetes of both tools' clusters, to begin with.
const VERSION: &str = "1.35.4";

/// The hosts as both begin: containerd runs, programs are installed, images imported.
const PREPARED: &str = "bench-prepared";

/// A part of a run.
#[derive(Debug, Serialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// When it began.
    pub began_s: f64,
    /// When it ended.
    pub ended_s: f64,
}

/// Runs something as a part on that clock.
fn part<T>(name: &str, began: Instant, work: impl FnOnce() -> Result<T>) -> Result<(T, Part)> {
    let at = || rounded(began.elapsed().as_secs_f64());
    let began_s = at();
    let done = work()?;
    Ok((done, Part { name: name.to_owned(), began_s, ended_s: at() }))
}

/// Whether a node or a pod says of itself that it is Ready.
fn is_ready(object: &Value) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["type"] == "Ready" && one["status"] == "True"))
}

/// The machine that was measured on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Processors that we may use.
    pub cores: usize,
    /// How many processes wanted one, on average over the last 1, 5 and 15 minutes. Far above `cores` the machine was
    /// busy with other things, and only ratios of one run can be trusted.
    pub load_average: Vec<f64>,
}

impl Machine {
    /// As it is now.
    ///
    /// # Errors
    /// The kernel does not tell its load.
    pub fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/loadavg").context("cannot read /proc/loadavg")?;
        let load_average = text.split_whitespace().take(3).map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { cores: available_parallelism()?.get(), load_average })
    }
}

/// Processor time of the whole machine since it started, by whoever had it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Processors {
    /// That was spent, in seconds over all of them.
    pub busy_s: f64,
    /// That another machine on the same hardware had while ours wanted it.
    pub stolen_s: f64,
}

/// The kernel counts in hundredths of a second whatever its own tick is (`USER_HZ`).
const TICKS: f64 = 100.0;

impl Processors {
    /// As it is now.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        Self::read(&text).context("/proc/stat is not as it was")
    }

    /// proc(5): user, nice, system, idle, iowait, irq, softirq, steal.
    fn read(text: &str) -> Option<Self> {
        let words = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let ticks: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
        let [user, nice, system, _, _, irq, softirq, steal, ..] = ticks[..] else { return None };
        Some(Self { busy_s: (user + nice + system + irq + softirq) / TICKS, stolen_s: steal / TICKS })
    }

    /// What came on top of that since then.
    ///
    /// # Errors
    /// The kernel does not tell.
    pub fn since(before: Self) -> Result<Self> {
        let now = Self::now()?;
        Ok(Self { busy_s: rounded(now.busy_s - before.busy_s), stolen_s: rounded(now.stolen_s - before.stolen_s) })
    }
}

/// A program as users get it, which `cargo build --release` has built beside this one.
///
/// # Errors
/// It is not there.
pub fn released(program: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folders = own.ancestors().skip(1);
    let found = folders.map(|folder| folder.join("release").join(program)).find(|path| path.is_file());
    found.with_context(|| format!("there is no released {program}: cargo build --release --locked --package {program}"))
}

/// Writes a report to `target/bench/<name>.json` of the checkout, wherever cargo builds, and tells it on standard output.
///
/// # Errors
/// It cannot be written.
pub fn publish(name: &str, report: &impl Serialize) -> Result<PathBuf> {
    let path = repository().join("target/bench").join(format!("{name}.json"));
    write(&path, report)?;
    println!("{}", serde_json::to_string_pretty(report)?);
    eprintln!("written to {}", path.display());
    Ok(path)
}

/// Writes a report to a file.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, report: &impl Serialize) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let text = serde_json::to_string_pretty(report)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_summed_up() {
        let odd = Spread::of([3.0, 1.0, 2.00049]).unwrap();
        assert_eq!(odd, Spread { min: 1.0, median: 2.0, max: 3.0, runs: 3 });
        assert_eq!(Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert!(Spread::of([]).is_err());
    }

    #[test]
    fn processor_time_is_that_of_all_but_who_waits() {
        let read = Processors::read("cpu  100 20 30 4000 5 1 2 50 7 0\ncpu0 1 2 3\n").unwrap();
        assert_eq!(read, Processors { busy_s: 1.53, stolen_s: 0.5 });
        assert_eq!(Processors::read("cpu  1 2 3\n"), None);
        assert_eq!(Processors::read(""), None);
    }

    #[test]
    fn the_machine_is_told() {
        let machine = Machine::now().unwrap();
        assert!(machine.cores > 0);
        assert_eq!(machine.load_average.len(), 3);
    }
}
