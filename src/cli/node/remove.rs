//! `kubewright node remove`: a node leaves the cluster, pods first, and its host is bare again.

use std::net::IpAddr;

use kubewright_core::facts::NodeFacts;
use kubewright_core::ids::HostName;
use kubewright_core::planner::{Choices, Desired, Identity, Outcome, Removal, remove};
use kubewright_core::spec::{Host, Role, Spec};

use super::Which;
use super::sight::Sight;
use crate::cli::approval::possible;
use crate::cli::options::{OfSpec, Patience};
use crate::cli::planning::new_operation;
use crate::cli::world::World;
use crate::error::{Error, ExitCode};
use crate::facts::{Questions, gather};

/// Take a node out of the cluster, and its host apart
///
/// Its pods move away first, budgets kept; its etcd member leaves where the others bear it.
///
/// The node may stand in the spec or not. Take it out of the spec afterwards, or the next `apply` brings it back.
#[derive(Debug, clap::Args)]
pub struct Remove {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    patience: Patience,
}

impl Remove {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let Which { node, of } = &self.which;
        possible(world, world.yes, "whether to take the node out", "--yes", &format!("kubewright node why {node}"))?;
        let name = HostName::from(node.as_str());
        let choices = self.patience.choices();
        let sight = see(world, of, &name, &choices).await?;
        let (identity, desired) =
            (Identity { operation: new_operation()?, initial_cluster_token: String::new() }, Desired::default());
        let input = sight.input(&identity, &desired);
        let host = sight.spec.host(&name).ok_or_else(|| Error::internal(format!("{name} was lost")))?;
        let observed = sight.nodes.get(&name);
        let outcome = remove(Removal { input, host, world: observed, denied: &sight.denied, choices: &choices });
        let plan = match outcome {
            Outcome::Blocked { findings } | Outcome::Nothing { findings } => return Err(Error::blocked(findings)),
            Outcome::Plan(plan) => *plan,
        };
        let command = format!("kubewright node remove {name} -f {}", of.file.display());
        sight.carry_out(world, plan, &command, &self.patience.agreed).await
    }
}

/// Looks at hosts, cluster and etcd, and at the node with its pods.
async fn see(world: &World, of: &OfSpec, name: &HostName, choices: &Choices) -> Result<Sight, Error> {
    let mut sight = Sight::open(world, of)?;
    sight.ask_hosts().await;
    let node = sight.facts.cluster.known().and_then(|cluster| cluster.nodes.get(name)).cloned();
    match (sight.spec.host(name), &node) {
        (Some(_), _) => {}
        (None, Some(node)) => {
            // A node that the spec no longer names: its object tells where it is, and the spec's ssh how to get there.
            sight.spec.hosts.push(stranger(&sight.spec, name, node)?);
            sight.hosts = world.connect(&sight.spec)?;
            let more = gather(sight.hosts.as_ref(), std::slice::from_ref(name), &Questions::default()).await;
            sight.facts.hosts.extend(more.hosts);
        }
        (None, None) => {
            let file = of.file.display();
            let message = format!("neither {file} nor its cluster has a node {name}; nothing was changed");
            return Err(Error::usage(message).next("kubewright status"));
        }
    }
    if sight.spec.host(name).is_some_and(|host| host.is(Role::Etcd)) {
        sight.ask_etcd(world).await;
    }
    if node.is_some() {
        sight.ask_nodes(world, [name.clone()], choices).await?;
    }
    Ok(sight)
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
