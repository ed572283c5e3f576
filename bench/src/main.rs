//! `kubewright-bench`: see docs/reference/benchmarks.md.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use kubewright_bench::drain;
use kubewright_bench::etcd;
use kubewright_bench::fanout::{self, Setting};
use kubewright_bench::verify;
use xtask::bench;

/// Measures kubewright's own code.
#[derive(Parser)]
#[command(name = "kubewright-bench")]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Facts and a plan of many hosts at once: on fakes, and on private sshds of this machine
    Fanout {
        /// Hosts in memory
        #[arg(long, default_value_t = 200)]
        hosts: usize,
        /// Milliseconds that each round trip to one of them takes
        #[arg(long, default_value_t = 50)]
        delay: u64,
        /// Hosts that are real sshds
        #[arg(long, default_value_t = 20)]
        sshds: usize,
        /// Runs of each measurement
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// What verifying a snapshot takes beside a plain SHA-256 of it; a real etcd writes the snapshot
    Verify {
        /// How large it is to be
        #[arg(long, default_value_t = 1000)]
        megabytes: u64,
        /// Runs of each
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// What our snapshot of an etcd takes beside that of etcdctl, and how long writes wait for a defragmentation
    Etcd {
        /// How large its database is to be
        #[arg(long, default_value_t = 1000)]
        megabytes: u64,
        /// Runs of each
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// Emptying nodes beside `kubectl drain`, on a real control plane with kubelets that run nothing
    Drain {
        /// Nodes that are emptied one after another
        #[arg(long, default_value_t = 100)]
        nodes: usize,
        /// Pods on each of them
        #[arg(long, default_value_t = 50)]
        pods: usize,
        /// Seconds that each of these pods takes to end, and to become Ready
        #[arg(long, default_value_t = 5)]
        seconds: u64,
        /// Only this case: grace, budget or rolling; may be repeated
        #[arg(long)]
        only: Vec<String>,
    },
    /// A part of `drain` in a process of its own
    #[command(hide = true)]
    DrainPart { order: PathBuf },
    /// The other part
    #[command(hide = true)]
    DrainWide { nodes: usize, pods: usize },
    /// A part of `etcd` in a process of its own
    #[command(hide = true)]
    EtcdPart { home: PathBuf },
    /// A part of `verify` in a process of its own
    #[command(hide = true)]
    VerifyPart { what: String, file: PathBuf },
    /// A part of `fanout` in a process of its own, whose memory is then its own
    #[command(hide = true)]
    FanoutFakes { hosts: usize, delay: u64, rounds: usize },
    /// The other part
    #[command(hide = true)]
    FanoutSshds { spec: PathBuf, rounds: usize },
}

fn main() -> ExitCode {
    match run(Arguments::parse().what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: What) -> Result<()> {
    match what {
        What::Fanout { hosts, delay, sshds, rounds } => {
            let setting = Setting { hosts, delay: Duration::from_millis(delay), sshds, rounds };
            bench::publish("fanout", &fanout::measure(&setting, &std::env::current_exe()?)?).map(drop)
        }
        What::Verify { megabytes, rounds } => {
            let part = |what: &str, file: &Path| apart(&["verify-part", what], file);
            bench::publish("verify", &verify::measure(megabytes, rounds, part)?).map(drop)
        }
        What::VerifyPart { what, file } => tell(&verify::one(&what, &file)?),
        What::Etcd { megabytes, rounds } => {
            let part = |home: &Path| apart(&["etcd-part"], home);
            bench::publish("etcd", &etcd::measure(megabytes, rounds, part)?).map(drop)
        }
        What::Drain { nodes, pods, seconds, only } => {
            let rolling = Duration::from_secs(seconds);
            let setting = drain::Setting { nodes, pods_per_node: pods, rolling, only, ..drain::Setting::default() };
            let part = |order: &Path| apart(&["drain-part"], order);
            let wide = || apart(&["drain-wide", "1000"], Path::new("50000"));
            bench::publish("drain", &threads()?.block_on(drain::measure(&setting, part, wide))?).map(drop)
        }
        What::DrainPart { order } => tell(&drain::one(&order)?),
        What::DrainWide { nodes, pods } => tell(&drain::wide::one(drain::wide::Size { nodes, pods })?),
        What::EtcdPart { home } => tell(&etcd::snapshot::one(&home)?),
        What::FanoutFakes { hosts, delay, rounds } => {
            tell(&threads()?.block_on(fanout::fakes::measure(hosts, Duration::from_millis(delay), rounds))?)
        }
        What::FanoutSshds { spec, rounds } => tell(&threads()?.block_on(fanout::sshds::measure(&spec, rounds))?),
    }
}

/// A part in a process of its own, whose memory is then its own.
fn apart<T: serde::de::DeserializeOwned>(words: &[&str], path: &Path) -> Result<T> {
    let output = Command::new(std::env::current_exe()?).args(words).arg(path).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "a part of the measurement ended with {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// As many threads as the program itself works with.
fn threads() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn tell(part: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(part)?);
    Ok(())
}
