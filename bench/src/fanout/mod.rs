//! Many hosts at once. How long facts and a plan of 200 hosts take is measured on fakes with the delay of a long line,
//! as 200 logins into this machine would measure the machine; what one host costs is counted on real sshds.

pub mod fakes;
pub mod sshds;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use xtask::bench::{Machine, Spread, rounded};

/// How large a measurement is.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Hosts in memory.
    pub hosts: usize,
    /// What each round trip to one of them takes.
    pub delay: Duration,
    /// Hosts that are real sshds.
    pub sshds: usize,
    /// Runs of each.
    pub rounds: usize,
}

/// What was found. The figures to quote stand first.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Facts of all fakes, from the first question to the last answer read; the median.
    pub facts_s: f64,
    /// The whole way of `apply` on a finished cluster of fakes: the spec read, facts, rendering, planning, nothing to do.
    pub noop_apply_s: f64,
    /// The most memory our process held at once meanwhile, the fakes themselves included.
    pub peak_rss_mb: f64,
    /// What the ssh processes of the real hosts hold, added up.
    pub children_rss_mb: f64,
    /// Scripts sent to one real host for a plan, with connections that stand; the most of any host.
    pub round_trips_per_host: f64,
    /// ssh processes that we keep for one real host.
    pub processes_per_host: f64,
    /// On fakes.
    pub fakes: Fakes,
    /// On real sshds.
    pub sshds: Sshds,
    /// Whether the compiler optimised: figures of a debug build are for tests alone.
    pub optimised: bool,
    /// Processors of the machine, and its load when this began.
    pub cores: usize,
    /// See [`Machine`].
    pub load_average: Vec<f64>,
}

/// What was found on fakes.
#[derive(Debug, Serialize, Deserialize)]
pub struct Fakes {
    /// How many.
    pub hosts: usize,
    /// What a round trip takes.
    pub delay_ms: f64,
    /// Facts, in all rounds.
    pub facts_s: Spread,
    /// Nothing to do, in all rounds.
    pub noop_apply_s: Spread,
    /// Round trips to one host for that; the most of any host.
    pub round_trips_per_host: f64,
    /// Memory before: the program and the fakes.
    pub rss_before_mb: f64,
    /// The most that was held.
    pub peak_rss_mb: f64,
}

/// What was found on real sshds.
#[derive(Debug, Serialize, Deserialize)]
pub struct Sshds {
    /// How many.
    pub hosts: usize,
    /// The first plan, with every login.
    pub cold_s: f64,
    /// A plan with connections that stand.
    pub warm_s: Spread,
    /// Logins to one host in all; the most of any host.
    pub connections_per_host: f64,
    /// Scripts to one host for a warm plan; the most of any host.
    pub round_trips_per_host: f64,
    /// Scripts in all, by our count; the sshds' own logs say the same, or the measurement fails.
    pub round_trips: u64,
    /// ssh processes in all while connections stand.
    pub processes: usize,
    /// Their memory, pages that they share counted for each of them.
    pub children_rss_mb: f64,
    /// Their memory, shared pages counted once.
    pub children_pss_mb: f64,
    /// The most our own process held at once.
    pub peak_rss_mb: f64,
}

/// Measures both parts, each in a process of its own, so that neither's memory stands in the other's account.
///
/// # Errors
/// A part fails, or what was counted contradicts what the sshds saw.
pub fn measure(setting: &Setting, program: &Path) -> Result<Report> {
    let Machine { cores, load_average } = Machine::now()?;
    let (hosts, delay, rounds) =
        (setting.hosts.to_string(), setting.delay.as_millis().to_string(), setting.rounds.to_string());
    let fakes: Fakes = part(Command::new(program).args(["fanout-fakes", &hosts, &delay, &rounds]))?;
    let field = sshds::Field::raise(setting.sshds)?;
    let sshds: Sshds = part(Command::new(program).arg("fanout-sshds").arg(field.spec()).arg(&rounds))?;
    field.agrees(sshds.round_trips)?;
    Ok(Report {
        facts_s: fakes.facts_s.median,
        noop_apply_s: fakes.noop_apply_s.median,
        peak_rss_mb: fakes.peak_rss_mb.max(sshds.peak_rss_mb),
        children_rss_mb: sshds.children_rss_mb,
        round_trips_per_host: sshds.round_trips_per_host,
        processes_per_host: rounded(sshds.processes as f64 / setting.sshds as f64),
        fakes,
        sshds,
        optimised: !cfg!(debug_assertions),
        cores,
        load_average,
    })
}

/// Runs a part and reads the one line that it prints.
fn part<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("cannot start a part")?;
    if !output.status.success() {
        bail!("a part of the measurement ended with {}", output.status);
    }
    serde_json::from_slice(&output.stdout).context("a part of the measurement told something else than its figures")
}

/// Scripts per host and round, of the host with the most.
fn most_per_round(counts: impl Iterator<Item = u64>, rounds: usize) -> f64 {
    rounded(counts.max().unwrap_or_default() as f64 / rounds as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two looks at a small field, in this process: no times are judged, only that what is measured is what is meant.
    #[tokio::test]
    async fn a_finished_cluster_of_fakes_is_asked_once_and_left_alone() {
        let found = fakes::measure(5, Duration::from_millis(1), 2).await.unwrap();
        // Facts of every host, and of a control plane its way into the API.
        assert_eq!((found.hosts, found.round_trips_per_host), (5, 2.0));
        assert_eq!((found.facts_s.runs, found.noop_apply_s.runs), (2, 2));
        assert!(found.noop_apply_s.min >= 0.001, "a round trip takes as long as was asked for: {found:?}");
        assert!(found.peak_rss_mb >= found.rss_before_mb && found.rss_before_mb > 0.0, "{found:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn round_trips_to_real_hosts_are_counted_as_the_hosts_count_them() {
        if !sshds::possible() {
            return;
        }
        let field = sshds::Field::raise(2).unwrap();
        let found = sshds::measure(&field.spec(), 2).await.unwrap();
        field.agrees(found.round_trips).unwrap();
        assert!(field.agrees(found.round_trips + 1).is_err());
        assert_eq!((found.hosts, found.processes, found.connections_per_host), (2, 2, 1.0));
        assert_eq!((found.round_trips_per_host, found.round_trips), (1.0, 6));
        assert!(found.children_rss_mb >= found.children_pss_mb && found.children_pss_mb > 0.0, "{found:?}");
    }

    #[test]
    fn the_spec_of_many_hosts_is_valid() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cluster.yaml");
        std::fs::write(&file, fakes::spec(200)).unwrap();
        assert_eq!(fakes::load(&file).unwrap().spec.hosts.len(), 200);
    }
}
