//! `kubewright node remove`: a node leaves the cluster, pods first, and its host is bare again.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join_all;
use kubewright_core::drain::{Permission, Policy, World as Observed};
use kubewright_core::facts::{Fact, Facts, NodeFacts};
use kubewright_core::ids::HostName;
use kubewright_core::planner::{Choices, Identity, Input, Outcome, Removal, remove};
use kubewright_core::spec::{Host, Role, Spec};
use secrecy::ExposeSecret;

use super::{LOOK, Which, carry_out_plan};
use crate::cli::approval::possible;
use crate::cli::kubeconfig::admin_conf;
use crate::cli::planning::new_operation;
use crate::cli::world::World;
use crate::error::{Error, ExitCode};
use crate::exec::drain::{look, survey};
use crate::facts::{Questions, gather, gather_cluster, gather_etcd};
use crate::kube::{ClusterApi, Credentials};
use crate::ports::{Hosts, Workloads};

/// Take a node out of the cluster, and its host apart
///
/// Its pods move away first, budgets kept; its etcd member leaves where the others bear it.
///
/// The node may stand in the spec or not. Take it out of the spec afterwards, or the next `apply` brings it back.
#[derive(Debug, clap::Args)]
pub struct Remove {
    #[command(flatten)]
    which: Which,
    /// Agree to a finding that needs consent, by its code; may be repeated
    #[arg(long, value_name = "CODE")]
    consent: Vec<String>,
    /// Wait for budgets without room as long as it takes
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
    observed: Option<Observed>,
    denied: Vec<Permission>,
}

impl Remove {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        possible(
            world,
            world.yes,
            "whether to take the node out",
            "--yes",
            &format!("kubewright node why {}", self.which.node),
        )?;
        let began = Instant::now();
        let name = HostName::from(self.which.node.as_str());
        let consents: BTreeSet<String> = self.consent.iter().cloned().collect();
        let choices = Choices { consents, wait: self.wait, patience_seconds: self.patience };
        let sight = see(world, &self.which.file, &name).await?;
        let identity = Identity { operation: new_operation()?, initial_cluster_token: String::new() };
        let input = Input {
            spec: &sight.spec,
            facts: &sight.facts,
            desired: &Default::default(),
            findings: &[],
            identity: &identity,
            tool_version: env!("CARGO_PKG_VERSION"),
        };
        let host = sight.spec.host(&name).ok_or_else(|| Error::internal(format!("{name} was lost")))?;
        let outcome =
            remove(Removal { input, host, world: sight.observed.as_ref(), denied: &sight.denied, choices: &choices });
        let plan = match outcome {
            Outcome::Blocked { findings } | Outcome::Nothing { findings } => return Err(Error::blocked(findings)),
            Outcome::Plan(plan) => *plan,
        };
        let command = format!("kubewright node remove {name} -f {}", self.which.file.display());
        carry_out_plan(world, plan, &sight.facts, sight.hosts, began.elapsed(), &command, &self.consent).await
    }
}

/// Looks at hosts, cluster and etcd, and at the node with its pods.
async fn see(world: &World, file: &Path, name: &HostName) -> Result<Sight, Error> {
    let mut spec = world.load(file)?.spec;
    let hosts = world.connect(&spec)?;
    let mut facts = gather(hosts.as_ref(), &names(&spec), &Questions::default()).await;
    facts.cluster = gather_cluster(&spec, hosts.clone(), &facts).await;
    let node = facts.cluster.known().and_then(|cluster| cluster.nodes.get(name)).cloned();
    let hosts = match (spec.host(name), &node) {
        (Some(_), _) => hosts,
        (None, Some(node)) => {
            // A node that the spec no longer names: its object tells where it is, and the spec's ssh how to get there.
            spec.hosts.push(stranger(&spec, name, node)?);
            let hosts = world.connect(&spec)?;
            let more = gather(hosts.as_ref(), std::slice::from_ref(name), &Questions::default()).await;
            facts.hosts.extend(more.hosts);
            hosts
        }
        (None, None) => {
            let message = format!("neither {} nor its cluster has a node {name}; nothing was changed", file.display());
            return Err(Error::usage(message).next("kubewright status"));
        }
    };
    if spec.host(name).is_some_and(|host| host.is(Role::Etcd)) {
        facts.etcd = gather_etcd(&spec, hosts.clone(), &facts, world.clock.clone()).await;
    }
    let (observed, denied) = match (&facts.cluster, node) {
        (Fact::Known { .. }, Some(_)) => {
            let admin = admin_conf(&spec, hosts.as_ref()).await?;
            let credentials = Credentials::from_kubeconfig(admin.expose_secret())?;
            let api = ClusterApi::over_ssh(&spec, hosts.clone(), &credentials)?;
            let wanted = Permission::needed(&Policy::default());
            let may = try_join_all(wanted.iter().map(|permission| api.may(*permission)));
            let (allowed, mut observed) = tokio::try_join!(may, look(&api, name, world.clock.now(), LOOK))?;
            survey(&api, [&mut observed]).await?;
            let denied = wanted.into_iter().zip(allowed).filter(|(_, allowed)| !allowed).map(|(one, _)| one);
            (Some(observed), denied.collect())
        }
        _ => (None, Vec::new()),
    };
    Ok(Sight { spec, hosts, facts, observed, denied })
}

fn names(spec: &Spec) -> Vec<HostName> {
    spec.hosts.iter().map(|host| host.name.clone()).collect()
}

/// A host from what its node says of it.
fn stranger(spec: &Spec, name: &HostName, node: &NodeFacts) -> Result<Host, Error> {
    let address = node.addresses.first().and_then(|address| address.parse().ok());
    let private_address: IpAddr = address.ok_or_else(|| {
        Error::failed(format!("the node {name} tells no address by which to reach its host"))
            .next(format!("put {name} into the spec with its address, then the same command again"))
    })?;
    let roles = if node.is_control_plane() { vec![Role::ControlPlane, Role::Etcd] } else { vec![Role::Worker] };
    Ok(Host {
        name: name.clone(),
        address: private_address.to_string(),
        private_address,
        roles,
        pool: None,
        labels: Default::default(),
        taints: None,
        ssh: spec.ssh.clone(),
    })
}
