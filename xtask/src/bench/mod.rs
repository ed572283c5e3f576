//! Measurements: how they are summed up and where they are written. A figure without the machine's load at that time
//! says little, so it stands beside each.

pub mod bootstrap;
pub mod size;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

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
    fn the_machine_is_told() {
        let machine = Machine::now().unwrap();
        assert!(machine.cores > 0);
        assert_eq!(machine.load_average.len(), 3);
    }
}
