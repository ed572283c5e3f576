//! `kubewright node maintain` and `node reboot`: work on nodes while their pods are elsewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::ArgGroup;
use kubewright_core::ids::HostName;
use kubewright_core::planner::{self, Choices, Desired, Identity, Nodes, Outcome, Script, Work};

use super::known;
use super::sight::Sight;
use crate::cli::approval::possible;
use crate::cli::options::{OfSpec, Patience};
use crate::cli::planning::new_operation;
use crate::cli::world::World;
use crate::error::{Error, ExitCode};

/// A script stands in the plan once for each node, and the plan is kept on every control plane.
const LONGEST_SCRIPT: usize = 64 << 10;

/// Update, script, restart nodes while their pods are elsewhere
///
/// Each node in turn is emptied as by `node drain`, worked on, proved back and uncordoned, and the workloads that had
/// pods there are whole again before the next begins in its place. Workers come first, as many of a pool at a time as
/// its `maxUnavailable` allows, one where it says nothing; control planes after them, one after another, the one whose
/// etcd leads last. What is done on a node, where asked for, has this order: packages, script, restart.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("whom").required(true).args(["nodes", "all"]))]
#[command(group = ArgGroup::new("work").required(true).multiple(true).args(["packages", "reboot", "script"]))]
pub struct Maintain {
    /// The nodes, by their names in the spec
    #[arg(value_name = "NODE")]
    nodes: Vec<String>,
    /// Every node of the cluster that the spec names
    #[arg(long)]
    all: bool,
    /// Bring the distribution's packages up to date; those of Kubernetes and containerd, and any that own a file of
    /// kubewright's, stay as they are
    #[arg(long)]
    packages: bool,
    /// Restart the machine
    #[arg(long)]
    reboot: bool,
    /// Run this script as root, with NODE_NAME in its environment; it has to bear being run again
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}

/// Restart a node while its pods are elsewhere, and prove that it is back
///
/// The same as `node maintain NODE --reboot`.
#[derive(Debug, clap::Args)]
pub struct Reboot {
    /// The node, by its name in the spec
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    how: How,
}

/// Of which cluster, and how pods are moved.
#[derive(Debug, clap::Args)]
struct How {
    #[command(flatten)]
    of: OfSpec,
    #[command(flatten)]
    patience: Patience,
}

impl Maintain {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let script = self.script.as_deref().map(read_script).transpose()?;
        let mut command = vec!["maintain".to_owned()];
        command.extend(self.nodes.iter().cloned());
        let flags = [("--all", self.all), ("--packages", self.packages), ("--reboot", self.reboot)];
        command.extend(flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag.to_owned()));
        command.extend(self.script.iter().map(|path| format!("--script {}", path.display())));
        let work = Work { packages: self.packages, reboot: self.reboot, script };
        let nodes = if self.all { Vec::new() } else { self.nodes };
        carry_out(world, &nodes, &work, &self.how, &command.join(" ")).await
    }
}

impl Reboot {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let work = Work { reboot: true, ..Work::default() };
        let command = format!("reboot {}", self.node);
        carry_out(world, &[self.node], &work, &self.how, &command).await
    }
}

/// Looks, plans, shows, asks, runs; without names all nodes are meant.
async fn carry_out(world: &World, names: &[String], work: &Work, how: &How, command: &str) -> Result<ExitCode, Error> {
    let first = names.first().map_or("NODE", String::as_str);
    possible(world, world.yes, "whether to begin", "--yes", &format!("kubewright node why {first}"))?;
    let choices = how.patience.choices();
    let sight = see(world, &how.of, names, &choices).await?;
    let (identity, desired) =
        (Identity { operation: new_operation()?, initial_cluster_token: String::new() }, Desired::default());
    let input = sight.input(&identity, &desired);
    let nodes = Nodes { input, seen: &sight.nodes, denied: &sight.denied, choices: &choices };
    let plan = match planner::maintain(nodes, work) {
        Outcome::Blocked { findings } => return Err(Error::blocked(findings)),
        Outcome::Nothing { .. } => {
            return Err(Error::usage(format!("the cluster has no node that {} names", how.of.file.display()))
                .next("kubewright status"));
        }
        Outcome::Plan(plan) => *plan,
    };
    let command = format!("kubewright node {command} -f {}", how.of.file.display());
    sight.carry_out(world, plan, &command, &how.patience.agreed).await
}

/// A script as it will stand in the plan.
fn read_script(path: &Path) -> Result<Script, Error> {
    let wrong = |why: String| Err(Error::usage(format!("{}: {why}; nothing was contacted", path.display())));
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return wrong(error.to_string()),
    };
    if text.len() > LONGEST_SCRIPT {
        return wrong(format!("a script may have {} KiB; let it fetch the rest", LONGEST_SCRIPT >> 10));
    }
    if text.trim().is_empty() || text.contains('\0') {
        return wrong("this is no script".to_owned());
    }
    let name = path.file_name().map_or_else(|| "script".to_owned(), |name| name.to_string_lossy().into_owned());
    Ok(Script { name, text })
}

/// Looks at hosts, cluster and etcd, and at each node with its pods.
async fn see(world: &World, of: &OfSpec, names: &[String], choices: &Choices) -> Result<Sight, Error> {
    let mut sight = Sight::open(world, of)?;
    let mut wanted: BTreeSet<HostName> =
        names.iter().map(|name| known(&sight.spec, name, of)).collect::<Result<_, Error>>()?;
    sight.ask_hosts().await;
    sight.ask_etcd(world).await;
    if names.is_empty() {
        let nodes = sight.facts.cluster.known().map(|cluster| &cluster.nodes);
        let is_node = |name: &&HostName| nodes.is_some_and(|nodes| nodes.contains_key(*name));
        wanted.extend(sight.spec.hosts.iter().map(|host| &host.name).filter(is_node).cloned());
    }
    sight.ask_nodes(world, wanted, choices).await?;
    Ok(sight)
}
