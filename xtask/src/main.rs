//! Developer tasks from the command line.

mod cli;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

use xtask::artefact;
use xtask::cache::Cache;
use xtask::demo;

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
    },
    /// Raise, look at and take down labs
    Lab(cli::LabArguments),
    /// Build a real cluster on the lab and run a workload on it
    Demo,
    /// Take the demo away again
    DemoDown,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        TaskCommand::Artefacts { versions } => Cache::open().and_then(|cache| artefact::ensure(&cache, &versions)),
        TaskCommand::Demo => Cache::open().and_then(|cache| demo::up(&cache)),
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
