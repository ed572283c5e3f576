//! The command line: one file per command, each turning arguments into a request and the answer into text and an
//! exit code. Arguments end here.

mod abandon;
mod apply;
mod approval;
mod completions;
mod etcd;
mod further;
mod init;
mod kubeconfig;
mod node;
mod ops;
mod options;
mod pause;
mod pin;
mod plan;
pub mod planning;
mod reset;
mod run;
mod status;
mod upgrade;
mod validate;
mod version;
pub mod world;

use clap::{Parser, Subcommand, ValueEnum};

use crate::error::{Error, ExitCode};
use crate::report;
use world::World;

/// Builds highly available Kubernetes clusters on your own machines, over SSH.
///
/// Every command plans before it acts, says what it waits for, and goes on exactly where it stopped.
#[derive(Debug, Parser)]
#[command(name = "kubewright", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// How to print: text for people, json for machines (one value or event a line)
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Answer yes to "Run it now?"
    #[arg(long, short, global = true)]
    yes: bool,
    /// Log what is done to standard error; twice for more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Validate(validate::Validate),
    Plan(plan::Plan),
    Apply(apply::Apply),
    Pin(pin::Pin),
    Status(status::Status),
    Upgrade(upgrade::Upgrade),
    #[command(subcommand)]
    Node(node::Node),
    #[command(subcommand)]
    Etcd(etcd::Etcd),
    Reset(reset::Reset),
    #[command(subcommand)]
    Ops(ops::Ops),
    Kubeconfig(kubeconfig::Kubeconfig),
    Version(version::Version),
    Completions(completions::Completions),
}

/// Parses the command line, does what it says, and returns how the process is to end.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { ExitCode::Usage } else { ExitCode::Done };
            // Nobody is left to tell if this fails.
            let _ = error.print();
            return code;
        }
    };
    log(cli.global.verbose);
    let json = cli.global.output == Output::Json;
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            report::print_error(&error, json);
            error.exit_code()
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Error> {
    let Global { output, yes, .. } = cli.global;
    let json = output == Output::Json;
    // The first five need neither hosts nor a home.
    match cli.command {
        Command::Init(command) => command.run(),
        Command::Validate(command) => command.run(json),
        Command::Version(command) => command.run(json),
        Command::Completions(command) => command.run(),
        Command::Etcd(command) => command.run(output, yes),
        Command::Plan(command) => within(output, yes, async |world| command.run(world).await),
        Command::Apply(command) => within(output, yes, async |world| command.run(world).await),
        Command::Pin(command) => within(output, yes, async |world| command.run(world).await),
        Command::Upgrade(command) => within(output, yes, async |world| command.run(world).await),
        Command::Status(command) => within(output, yes, async |world| command.run(world).await),
        Command::Reset(command) => within(output, yes, async |world| command.run(world).await),
        Command::Node(command) => within(output, yes, async |world| command.run(world).await),
        Command::Ops(command) => within(output, yes, async |world| command.run(world).await),
        Command::Kubeconfig(command) => within(output, yes, async |world| command.run(world).await),
    }
}

/// Runs a command that may contact hosts or keep something.
fn within(
    output: Output,
    yes: bool,
    command: impl AsyncFnOnce(&World) -> Result<ExitCode, Error>,
) -> Result<ExitCode, Error> {
    let world = World::new(output, yes)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::internal(format!("no threads to work with: {error}")))?;
    let outcome = runtime.block_on(command(&world));
    // A thread that still makes keys must not hold up a process that was told to stop.
    runtime.shutdown_background();
    outcome
}

/// Logs go to standard error and never hold values of scripts; `RUST_LOG` overrides.
fn log(verbose: u8) {
    let level = match verbose {
        0 => "error",
        1 => "kubewright=info",
        _ => "kubewright=debug,openssh=debug,kube=info",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
}
