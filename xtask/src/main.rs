//! Developer tasks from the command line.

mod cli;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

use xtask::artefact::{self, catalogue::Wanted};
use xtask::bench;
use xtask::cache::Cache;
use xtask::conformance::{self, Setting};
use xtask::demo;
use xtask::flags;
use xtask::golden;

/// Developer tasks of kubewright.
#[derive(Parser)]
#[command(name = "xtask")]
struct Arguments {
    #[command(subcommand)]
    task: TaskCommand,
}

#[derive(Subcommand)]
enum TaskCommand {
    /// Obtain everything a lab serves: the mirror's files and the registry's images
    Artefacts {
        /// Kubernetes versions, the catalogue's default if none is named
        versions: Vec<String>,
        /// Kubernetes' own end-to-end tests, too, and the images that they use
        #[arg(long)]
        conformance: bool,
    },
    /// Raise, look at and take down labs
    Lab(cli::LabArguments),
    /// Build a real cluster on the lab and run a workload on it
    Demo,
    /// Take the demo away again
    DemoDown,
    /// Run Kubernetes' own conformance tests on a cluster that kubewright built on the lab
    Conformance {
        /// Only tests with this in their names; may be repeated
        #[arg(long)]
        focus: Vec<String>,
        /// Tests at once
        #[arg(long, default_value_t = conformance::PROCESSES)]
        processes: usize,
        /// Leave the lab standing
        #[arg(long)]
        keep: bool,
    },
    /// Record which flags, feature gates and fields the programs of each Kubernetes release take, in core/src/releases
    Flags,
    /// Make the golden snapshots of snapshot/tests/golden anew, by real etcd of each minor
    GoldenSnapshots,
    /// Measure, and write the figures to target/bench; docs/reference/benchmarks.md tells what they mean
    #[command(subcommand)]
    Bench(BenchCommand),
}

#[derive(Subcommand)]
enum BenchCommand {
    /// The released program: its size, and how fast it starts
    Size,
    /// kubewright against the real kubeadm on the lab
    Bootstrap {
        /// Name of the lab that is raised for it
        #[arg(long, default_value = "bench")]
        lab: String,
        /// Its network
        #[arg(long, default_value = "10.82.0.0/24")]
        subnet: String,
        /// Runs of each tool
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Measure kubeadm with all joins at once too
        #[arg(long)]
        parallel: bool,
    },
    /// kubewright against the real kubeadm with `kubectl drain` on the lab
    Upgrade {
        /// Name of the lab that is raised for it
        #[arg(long, default_value = "bench")]
        lab: String,
        /// Its network
        #[arg(long, default_value = "10.82.0.0/24")]
        subnet: String,
        /// Upgrades by each tool, of each cluster
        #[arg(long, default_value_t = 1)]
        rounds: usize,
    },
}

fn measure(what: BenchCommand) -> anyhow::Result<()> {
    match what {
        BenchCommand::Size => bench::publish("size", &bench::size::measure(&bench::released("kubewright")?)?),
        BenchCommand::Bootstrap { lab, subnet, rounds, parallel } => {
            let setting = bench::bootstrap::Setting { lab, subnet, rounds, parallel };
            bench::publish("bootstrap", &bench::bootstrap::measure(&Cache::open()?, &setting)?)
        }
        BenchCommand::Upgrade { lab, subnet, rounds } => {
            let setting = bench::upgrade::Setting { lab, subnet, rounds };
            bench::publish("upgrade", &bench::upgrade::measure(&Cache::open()?, &setting)?)
        }
    }
    .map(drop)
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        TaskCommand::Artefacts { versions, conformance } => {
            Cache::open().and_then(|cache| artefact::ensure(&cache, &Wanted { versions, conformance }))
        }
        TaskCommand::Demo => Cache::open().and_then(|cache| demo::up(&cache)),
        TaskCommand::Flags => Cache::open().and_then(|cache| flags::refresh(&cache)),
        TaskCommand::GoldenSnapshots => Cache::open().and_then(|cache| golden::refresh(&cache)),
        TaskCommand::Bench(what) => measure(what),
        TaskCommand::Conformance { focus, processes, keep } => {
            Cache::open().and_then(|cache| conformance::run(&cache, &Setting { focus, processes, keep }))
        }
        TaskCommand::DemoDown => Cache::open().and_then(|cache| demo::down(&cache)),
        TaskCommand::Lab(arguments) => match cli::run(arguments) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
