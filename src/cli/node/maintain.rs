//! `kubewright node maintain` and `node reboot`: work on nodes while their pods are elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join_all;
use kubewright_core::drain::{Permission, Policy, World as Observed};
use kubewright_core::facts::Facts;
use kubewright_core::ids::HostName;
use kubewright_core::planner::{self, Choices, Identity, Input, Maintenance, Outcome, Script, Work};
use kubewright_core::spec::Spec;
use secrecy::ExposeSecret;

use super::{LOOK, carry_out_plan, known};
use crate::cli::approval::possible;
use crate::cli::kubeconfig::admin_conf;
use crate::cli::planning::new_operation;
use crate::cli::world::World;
use crate::error::{Error, ExitCode};
use crate::exec::drain::{look, survey};
use crate::facts::{Questions, gather, gather_cluster, gather_etcd};
use crate::kube::{ClusterApi, Credentials};
use crate::ports::{Hosts, Workloads};

/// A script stands in the plan once for each node, and the plan is kept on every control plane.
const LONGEST_SCRIPT: usize = 64 << 10;

/// Update, script, restart nodes while their pods are elsewhere, one after another
///
/// Each node in turn is emptied as by `node drain`, worked on, proved back and uncordoned, and the workloads that had
/// pods there are whole again before the next begins. Workers come first, control planes after them, the one whose etcd
/// leads last. What is done on a node, where asked for, has this order: packages, script, restart.
#[derive(Debug, clap::Args)]
pub struct Maintain {
    /// The nodes, by their names in the spec
    #[arg(value_name = "NODE", required_unless_present = "all")]
    nodes: Vec<String>,
    /// Every node of the cluster that the spec names
    #[arg(long, conflicts_with = "nodes")]
    all: bool,
    /// Bring the distribution's packages up to date; those of Kubernetes and containerd, and any that own a file of
    /// kubewright's, stay as they are
    #[arg(long, required_unless_present_any = ["reboot", "script"])]
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

/// How pods are moved.
#[derive(Debug, clap::Args)]
struct How {
    /// The spec
    #[arg(long, short, default_value = "cluster.yaml")]
    file: PathBuf,
    /// Agree to a finding that needs consent, by its code; may be repeated
    #[arg(long, value_name = "CODE")]
    consent: Vec<String>,
    /// Wait for budgets without room, and for workloads that lack pods, as long as it takes
    #[arg(long)]
    wait: bool,
    /// Without --wait: end, and undo our cordon, when nothing at all has moved for so long
    #[arg(long, value_name = "SECONDS", default_value_t = Policy::PATIENCE_SECONDS, conflicts_with = "wait")]
    patience: u32,
}

/// What was seen before anything is planned.
struct Sight {
    spec: Spec,
    hosts: Arc<dyn Hosts>,
    facts: Facts,
    nodes: BTreeMap<HostName, Observed>,
    denied: Vec<Permission>,
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
    let began = Instant::now();
    let choices = Choices {
        consents: how.consent.iter().cloned().collect::<BTreeSet<String>>(),
        wait: how.wait,
        patience_seconds: how.patience,
    };
    let sight = see(world, &how.file, names, &choices).await?;
    let identity = Identity { operation: new_operation()?, initial_cluster_token: String::new() };
    let input = Input {
        spec: &sight.spec,
        facts: &sight.facts,
        desired: &Default::default(),
        findings: &[],
        identity: &identity,
        tool_version: env!("CARGO_PKG_VERSION"),
    };
    let wanted = Maintenance { input, nodes: &sight.nodes, denied: &sight.denied, choices: &choices, work };
    let plan = match planner::maintain(wanted) {
        Outcome::Blocked { findings } => return Err(Error::blocked(findings)),
        Outcome::Nothing { .. } => {
            return Err(Error::usage(format!("the cluster has no node that {} names", how.file.display()))
                .next("kubewright status"));
        }
        Outcome::Plan(plan) => *plan,
    };
    let command = format!("kubewright node {command} -f {}", how.file.display());
    carry_out_plan(world, plan, &sight.facts, sight.hosts, began.elapsed(), &command, &how.consent).await
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
async fn see(world: &World, file: &Path, names: &[String], choices: &Choices) -> Result<Sight, Error> {
    let spec = world.load(file)?.spec;
    let mut wanted: BTreeSet<HostName> =
        names.iter().map(|name| known(&spec, name, file)).collect::<Result<_, Error>>()?;
    let hosts = world.connect(&spec)?;
    let all: Vec<HostName> = spec.hosts.iter().map(|host| host.name.clone()).collect();
    let mut facts = gather(hosts.as_ref(), &all, &Questions::default()).await;
    let admin = admin_conf(&spec, hosts.as_ref()).await?;
    let credentials = Credentials::from_kubeconfig(admin.expose_secret())?;
    let api = ClusterApi::over_ssh(&spec, hosts.clone(), &credentials)?;
    facts.cluster = gather_cluster(&spec, hosts.clone(), &facts).await;
    facts.etcd = gather_etcd(&spec, hosts.clone(), &facts, world.clock.clone()).await;
    if names.is_empty() {
        let nodes = facts.cluster.known().map(|cluster| cluster.nodes.clone()).unwrap_or_default();
        wanted.extend(all.into_iter().filter(|name| nodes.contains_key(name)));
    }
    let mut needed = Permission::needed(&Policy::default());
    if choices.consents.iter().any(|code| code.starts_with("PDB")) {
        needed.push(Permission::DeletePods);
    }
    let may = try_join_all(needed.iter().map(|permission| api.may(*permission)));
    let looks = wanted.iter().map(|name| async {
        let observed = look(&api, name, world.clock.now(), LOOK).await?;
        Ok((name.clone(), observed))
    });
    let (allowed, mut nodes) = tokio::try_join!(may, try_join_all(looks))?;
    survey(&api, nodes.iter_mut().map(|(_, observed)| observed)).await?;
    let denied = needed.into_iter().zip(allowed).filter(|(_, allowed)| !allowed).map(|(one, _)| one).collect();
    Ok(Sight { spec, hosts, facts, nodes: nodes.into_iter().collect(), denied })
}
