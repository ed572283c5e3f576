//! `xtask lab …`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use xtask::cache::Cache;
use xtask::lab::{self, Lab, LabSpec};

/// Arguments of `xtask lab`.
#[derive(Args)]
pub struct LabArguments {
    /// The lab that is meant
    #[arg(long, global = true, default_value = lab::DEFAULT_NAME)]
    name: String,
    #[command(subcommand)]
    command: LabCommand,
}

#[derive(Subcommand)]
enum LabCommand {
    /// Say whether this machine can host a lab
    Preflight,
    /// Raise a lab; one of the same name is replaced
    Up {
        /// Host names: cp1 gets address .11, w1 gets .21 and so on
        #[arg(default_values = lab::DEFAULT_HOSTS)]
        hosts: Vec<String>,
        /// Its network
        #[arg(long, default_value = lab::DEFAULT_SUBNET)]
        subnet: String,
        /// Start from this snapshot
        #[arg(long)]
        prepared: Option<String>,
        /// Kubernetes versions to serve, the catalogue's default if none is named
        #[arg(long = "kubernetes")]
        versions: Vec<String>,
    },
    /// Take a lab down; nothing is left of it
    Down {
        /// All labs
        #[arg(long)]
        all: bool,
    },
    /// Show the lab's hosts and how to reach them
    Status,
    /// Log in to a host, or run a command there
    Ssh {
        /// The host
        host: String,
        /// The user: ops, opspw (sudo password "lab") or root
        #[arg(long, default_value = "ops")]
        user: String,
        /// A command instead of a login
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run a shell command as root in a host, not through SSH
    Exec {
        /// The host
        host: String,
        /// The command
        command: String,
    },
    /// Reboot a host and wait until it is up again
    Reboot {
        /// The host
        host: String,
    },
    /// Shut a host down
    Stop {
        /// The host
        host: String,
    },
    /// Cut a host's power
    Kill {
        /// The host
        host: String,
    },
    /// Start a host that is down
    Start {
        /// The host
        host: String,
    },
    /// Install a host anew: the same name on a bare system
    Reinstall {
        /// The host
        host: String,
    },
    /// Save the state of all hosts under a label
    Snapshot {
        /// The label
        label: String,
    },
    /// Put all hosts back to a saved state
    Restore {
        /// The label
        label: String,
    },
}

/// Does what the arguments ask for.
///
/// # Errors
/// As the library's functions; or no lab of this name stands.
pub fn run(arguments: LabArguments) -> Result<ExitCode> {
    let cache = Cache::open()?;
    let name = arguments.name;
    let standing =
        || Lab::open(&cache, &name)?.with_context(|| format!("no lab {name} stands; `xtask lab up` raises one"));
    match arguments.command {
        LabCommand::Preflight => {
            lab::preflight::check()?;
            println!("This machine can host a lab.");
        }
        LabCommand::Up { hosts, subnet, prepared, versions } => {
            lab::preflight::check()?;
            lab::prepare(&cache, &versions)?;
            let mut spec = LabSpec::new(&name, &subnet)?.with_hosts(hosts.iter().map(String::as_str))?;
            spec.prepared = prepared;
            print_status(&Lab::raise(&cache, &spec)?)?;
        }
        LabCommand::Down { all } => {
            let names = if all { lab::names(&cache)? } else { vec![name] };
            for name in names {
                lab::clear(&cache, &name)?;
            }
        }
        LabCommand::Status => match Lab::open(&cache, &name)? {
            Some(lab) => print_status(&lab)?,
            None => println!("No lab {name} stands."),
        },
        LabCommand::Ssh { host, user, command } => {
            let status = standing()?.ssh(&user, &host).args(command).status().context("cannot start ssh")?;
            return Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(255)).unwrap_or(255)));
        }
        LabCommand::Exec { host, command } => println!("{}", standing()?.exec(&host, &command)?),
        LabCommand::Reboot { host } => standing()?.reboot(&host)?,
        LabCommand::Stop { host } => standing()?.stop(&host)?,
        LabCommand::Kill { host } => standing()?.kill(&host)?,
        LabCommand::Start { host } => standing()?.start(&host)?,
        LabCommand::Reinstall { host } => standing()?.reinstall(&cache, &host)?,
        LabCommand::Snapshot { label } => standing()?.snapshot(&cache, &label)?,
        LabCommand::Restore { label } => standing()?.restore(&cache, &label)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print_status(lab: &Lab) -> Result<()> {
    for (host, status) in lab.status()? {
        println!("{:<8} {:<15} {status}", host.name, host.address);
    }
    println!("mirror      {}", lab.mirror());
    println!("registry    {}", lab.registry());
    println!("key         {}", lab.key.display());
    println!("known_hosts {}", lab.known_hosts.display());
    println!("ssh_config  {}", lab.ssh_config.display());
    Ok(())
}
