//! `kubewright node`: one node of a running cluster. Each command looks, plans, and has the one executor run it.

mod add;
mod drain;
mod maintain;
mod remove;
mod sight;
mod why;

use clap::Subcommand;
use kubewright_core::ids::HostName;
use kubewright_core::planner::{Identity, NodeInput, Outcome, cordon, uncordon};
use kubewright_core::spec::Spec;

use self::sight::Sight;
pub(super) use self::why::told as why;
use super::approval::possible;
use super::options::{Agreed, OfSpec, Patience};
use super::planning::new_operation;
use super::world::World;
use crate::error::{Error, ExitCode};
use crate::report::{self, Paint};

/// Work on one node of the cluster
#[derive(Debug, Subcommand)]
pub enum Node {
    Add(add::Add),
    Remove(remove::Remove),
    Cordon(Cordon),
    Uncordon(Uncordon),
    Drain(drain::Drain),
    Reboot(maintain::Reboot),
    Maintain(maintain::Maintain),
    Why(why::WhyNot),
}

/// Which node of which cluster.
#[derive(Debug, clap::Args)]
struct Which {
    /// The node, by its name in the spec
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    of: OfSpec,
}

/// Keep new pods away from a node; pods that are there stay
#[derive(Debug, clap::Args)]
pub struct Cordon {
    #[command(flatten)]
    which: Which,
}

/// Let pods come to a node again
#[derive(Debug, clap::Args)]
pub struct Uncordon {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    agreed: Agreed,
}

impl Node {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        match self {
            Self::Add(command) => command.run(world).await,
            Self::Remove(command) => command.run(world).await,
            Self::Cordon(command) => command.which.carry_out(world, "cordon", Patience::default(), cordon).await,
            Self::Uncordon(Uncordon { which, agreed }) => {
                which.carry_out(world, "uncordon", Patience::with(agreed), uncordon).await
            }
            Self::Drain(command) => command.run(world).await,
            Self::Reboot(command) => command.run(world).await,
            Self::Maintain(command) => command.run(world).await,
            Self::Why(command) => command.run(world).await,
        }
    }
}

impl Which {
    /// Looks, plans, shows, asks, runs.
    async fn carry_out(
        self,
        world: &World,
        verb: &str,
        patience: Patience,
        plan: fn(NodeInput<'_>) -> Outcome,
    ) -> Result<ExitCode, Error> {
        let question = format!("whether to {verb} the node");
        possible(world, world.yes, &question, "--yes", &format!("kubewright node why {}", self.node))?;
        let choices = patience.choices();
        let mut sight = Sight::open(world, &self.of)?;
        let node = known(&sight.spec, &self.node, &self.of)?;
        sight.ask_nodes(world, [node.clone()], &choices).await?;
        let observed = sight.nodes.get(&node).ok_or_else(|| Error::internal(format!("{node} was lost")))?;
        let outcome = plan(NodeInput {
            spec: &sight.spec,
            node: &node,
            world: observed,
            denied: &sight.denied,
            choices: &choices,
            identity: &Identity { operation: new_operation()?, initial_cluster_token: String::new() },
            tool_version: env!("CARGO_PKG_VERSION"),
        });
        let plan = match outcome {
            Outcome::Blocked { findings } => return Err(Error::blocked(findings)),
            Outcome::Nothing { findings } => {
                nothing(world, &node, verb, &findings)?;
                return Ok(ExitCode::NothingToDo);
            }
            Outcome::Plan(plan) => *plan,
        };
        let command = format!("kubewright node {verb} {node} -f {}", self.of.file.display());
        sight.carry_out(world, plan, &command, &patience.agreed).await
    }
}

/// The host of that name.
pub(super) fn known(spec: &Spec, name: &str, of: &OfSpec) -> Result<HostName, Error> {
    match spec.hosts.iter().find(|host| host.name.as_str() == name) {
        Some(host) => Ok(host.name.clone()),
        None => {
            let names: Vec<&str> = spec.hosts.iter().map(|host| host.name.as_str()).collect();
            let message = format!("{} has no host {name}; nothing was contacted", of.file.display());
            Err(Error::usage(message).next(format!("one of {}", names.join(", "))))
        }
    }
}

/// Says that there is nothing to do.
fn nothing(
    world: &World,
    node: &HostName,
    verb: &str,
    findings: &[kubewright_core::finding::Finding],
) -> Result<(), Error> {
    if world.json {
        let said = serde_json::json!({ "event": "nothingToDo", "node": node, "asked": verb, "findings": findings });
        return report::print_json(&said);
    }
    report::print(&report::plan::findings(findings, Paint::stdout()))?;
    let already = match verb {
        "cordon" => "takes no new pods already",
        "uncordon" => "takes new pods already",
        _ => "is cordoned, and nothing on it has to move",
    };
    report::print(&format!("{node} {already}; nothing to do.\n"))
}
