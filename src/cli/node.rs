//! `kubewright node`: one node of a running cluster. Each command looks, plans, and has the one executor run it.

mod add;
mod drain;
mod maintain;
mod remove;
mod why;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Subcommand;
use futures::future::try_join_all;
use kubewright_core::drain::{Permission, Policy, World as Observed};
use kubewright_core::facts::Facts;
use kubewright_core::ids::HostName;
use kubewright_core::plan::Plan;
use kubewright_core::planner::{Choices, Identity, NodeInput, Outcome, cordon, uncordon};
use kubewright_core::spec::Spec;
use secrecy::ExposeSecret;

use super::approval::{Approval, asked as run_it, consented, possible};
use super::kubeconfig::admin_conf;
use super::planning::new_operation;
use super::run;
use super::world::World;
use crate::error::{Error, ExitCode};
use crate::exec::drain::{look, survey};
use crate::kube::{ClusterApi, Credentials};
use crate::ports::{Hosts, Workloads};
use crate::report::plan::Around;
use crate::report::{self, Paint};

/// How long the API may take to tell everything about one node.
const LOOK: Duration = Duration::from_secs(30);

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
    /// The spec
    #[arg(long, short, default_value = "cluster.yaml")]
    file: PathBuf,
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
    /// Agree to a finding that needs consent, by its code; may be repeated
    #[arg(long, value_name = "CODE")]
    consent: Vec<String>,
}

impl Node {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        match self {
            Self::Add(command) => command.run(world).await,
            Self::Remove(command) => command.run(world).await,
            Self::Cordon(command) => {
                let asked = Asked { verb: "cordon", choices: choices(Vec::new()), plan: cordon };
                command.which.carry_out(world, asked).await
            }
            Self::Uncordon(command) => {
                let asked = Asked { verb: "uncordon", choices: choices(command.consent), plan: uncordon };
                command.which.carry_out(world, asked).await
            }
            Self::Drain(command) => command.run(world).await,
            Self::Reboot(command) => command.run(world).await,
            Self::Maintain(command) => command.run(world).await,
            Self::Why(command) => command.run(world).await,
        }
    }
}

/// The choices of somebody who only agrees to findings.
fn choices(consents: Vec<String>) -> Choices {
    let consents: BTreeSet<String> = consents.into_iter().collect();
    Choices { consents, wait: false, patience_seconds: Policy::PATIENCE_SECONDS }
}

/// What is asked of a node.
struct Asked {
    verb: &'static str,
    choices: Choices,
    plan: fn(NodeInput<'_>) -> Outcome,
}

/// A node as it was seen, with all that led there.
struct Seen {
    spec: Spec,
    node: HostName,
    hosts: Arc<dyn Hosts>,
    observed: Observed,
    denied: Vec<Permission>,
    took: Duration,
}

impl Which {
    /// Looks, plans, shows, asks, runs.
    async fn carry_out(self, world: &World, asked: Asked) -> Result<ExitCode, Error> {
        let question = format!("whether to {} the node", asked.verb);
        possible(world, world.yes, &question, "--yes", &format!("kubewright node why {}", self.node))?;
        let seen = self.see(world, &asked.choices).await?;
        let identity = Identity { operation: new_operation()?, initial_cluster_token: String::new() };
        let outcome = (asked.plan)(NodeInput {
            spec: &seen.spec,
            node: &seen.node,
            world: &seen.observed,
            denied: &seen.denied,
            choices: &asked.choices,
            identity: &identity,
            tool_version: env!("CARGO_PKG_VERSION"),
        });
        let plan = match outcome {
            Outcome::Blocked { findings } => return Err(Error::blocked(findings)),
            Outcome::Nothing { findings } => {
                nothing(world, &seen.node, asked.verb, &findings)?;
                return Ok(ExitCode::NothingToDo);
            }
            Outcome::Plan(plan) => *plan,
        };
        let command = format!("kubewright node {} {} -f {}", asked.verb, seen.node, self.file.display());
        let consents: Vec<String> = asked.choices.consents.into_iter().collect();
        carry_out_plan(world, plan, &Facts::default(), seen.hosts, seen.took, &command, &consents).await
    }

    /// Asks the API for the node, its pods and their budgets, and whether we may do what we are about to.
    async fn see(&self, world: &World, choices: &Choices) -> Result<Seen, Error> {
        let began = Instant::now();
        let (spec, node, hosts, api) = self.connect(world).await?;
        let mut wanted = Permission::needed(&Policy::default());
        if choices.consents.iter().any(|code| code.starts_with("PDB")) {
            wanted.push(Permission::DeletePods);
        }
        let may = try_join_all(wanted.iter().map(|permission| api.may(*permission)));
        let (allowed, mut observed) = tokio::try_join!(may, look(&api, &node, world.clock.now(), LOOK))?;
        survey(&api, [&mut observed]).await?;
        let denied = wanted.into_iter().zip(allowed).filter(|(_, allowed)| !allowed).map(|(one, _)| one).collect();
        Ok(Seen { spec, node, hosts, observed, denied, took: began.elapsed() })
    }

    /// The cluster's API for the node's spec.
    async fn connect(&self, world: &World) -> Result<(Spec, HostName, Arc<dyn Hosts>, ClusterApi), Error> {
        let spec = world.load(&self.file)?.spec;
        let node = known(&spec, &self.node, &self.file)?;
        let hosts = world.connect(&spec)?;
        let admin = admin_conf(&spec, hosts.as_ref()).await?;
        let credentials = Credentials::from_kubeconfig(admin.expose_secret())?;
        let api = ClusterApi::over_ssh(&spec, hosts.clone(), &credentials)?;
        Ok((spec, node, hosts, api))
    }
}

/// Shows a plan, asks, runs it.
pub(super) async fn carry_out_plan(
    world: &World,
    plan: Plan,
    facts: &Facts,
    hosts: Arc<dyn Hosts>,
    took: Duration,
    command: &str,
    consents: &[String],
) -> Result<ExitCode, Error> {
    if !world.json {
        let around = Around { facts: Some(took), run: command, steps: false };
        report::print(&report::plan::text(&plan, &around, Paint::stdout()))?;
    }
    consented(&plan, consents)?;
    if run_it(world)? == Approval::Refused {
        report::note("nothing was changed");
        return Ok(ExitCode::ChangesPending);
    }
    let operation = world.operations.create(&plan, facts)?;
    run::run(world, operation, hosts, false).await
}

/// The host of that name.
fn known(spec: &Spec, name: &str, file: &Path) -> Result<HostName, Error> {
    match spec.hosts.iter().find(|host| host.name.as_str() == name) {
        Some(host) => Ok(host.name.clone()),
        None => {
            let names: Vec<&str> = spec.hosts.iter().map(|host| host.name.as_str()).collect();
            let message = format!("{} has no host {name}; nothing was contacted", file.display());
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
