//! What is seen of a cluster and its nodes before anything is planned for them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use kubewright_core::drain::{Permission, World as Observed};
use kubewright_core::facts::Facts;
use kubewright_core::ids::HostName;
use kubewright_core::plan::Plan;
use kubewright_core::planner::{Choices, Desired, Identity, Input};
use kubewright_core::spec::Spec;

use crate::cli::kubeconfig::admin_api;
use crate::cli::options::{Agreed, OfSpec};
use crate::cli::run;
use crate::cli::world::World;
use crate::error::{Error, ExitCode};
use crate::facts::nodes::{Seen, gather_nodes};
use crate::facts::{Questions, gather, gather_cluster, gather_etcd};
use crate::ports::Hosts;

/// A cluster as far as it was looked at.
pub(super) struct Sight {
    /// What is wanted.
    pub spec: Spec,
    /// Connections to its hosts.
    pub hosts: Arc<dyn Hosts>,
    /// What hosts, cluster and etcd told.
    pub facts: Facts,
    /// Nodes that were looked at, each whole.
    pub nodes: BTreeMap<HostName, Observed>,
    /// What the API does not let us do.
    pub denied: Vec<Permission>,
    began: Instant,
}

impl Sight {
    /// The spec and the way to its hosts; nobody is contacted yet.
    pub fn open(world: &World, of: &OfSpec) -> Result<Self, Error> {
        let began = Instant::now();
        let (spec, hosts) = of.open(world)?;
        let (facts, nodes, denied) = (Facts::default(), BTreeMap::new(), Vec::new());
        Ok(Self { spec, hosts, facts, nodes, denied, began })
    }

    /// Asks all hosts, then the cluster, about themselves.
    pub async fn ask_hosts(&mut self) {
        let names: Vec<HostName> = self.spec.hosts.iter().map(|host| host.name.clone()).collect();
        self.facts = gather(self.hosts.as_ref(), &names, &Questions::default()).await;
        self.facts.cluster = gather_cluster(&self.spec, self.hosts.clone(), &self.facts).await;
    }

    /// Asks etcd's members, once hosts were asked.
    pub async fn ask_etcd(&mut self, world: &World) {
        self.facts.etcd = gather_etcd(&self.spec, self.hosts.clone(), &self.facts, world.clock.clone()).await;
    }

    /// Asks the API for nodes, their pods and their budgets, and whether we may do what these choices come to.
    pub async fn ask_nodes(
        &mut self,
        world: &World,
        names: impl IntoIterator<Item = HostName>,
        choices: &Choices,
    ) -> Result<(), Error> {
        let api = admin_api(&self.spec, &self.hosts).await?;
        let seen = gather_nodes(&api, names, choices.permissions(), world.clock.now()).await?;
        Seen { nodes: self.nodes, denied: self.denied } = seen;
        Ok(())
    }

    /// For planners that look at more than nodes.
    pub fn input<'a>(&'a self, identity: &'a Identity, desired: &'a Desired) -> Input<'a> {
        Input {
            spec: &self.spec,
            facts: &self.facts,
            desired,
            findings: &[],
            identity,
            tool_version: env!("CARGO_PKG_VERSION"),
        }
    }

    /// Shows the plan that came of it, asks, runs.
    pub async fn carry_out(self, world: &World, plan: Plan, command: &str, agreed: &Agreed) -> Result<ExitCode, Error> {
        let took = self.began.elapsed();
        run::carry_out(world, plan, &self.facts, self.hosts, took, command, &agreed.consent).await
    }
}
