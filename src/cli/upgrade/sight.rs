//! What is seen before an upgrade is planned, and the plan that comes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use kubewright_core::drain::{Permission, World as Observed};
use kubewright_core::facts::Facts;
use kubewright_core::finding::Finding;
use kubewright_core::ids::HostName;
use kubewright_core::pins::Pins;
use kubewright_core::planner::{self, Choices, Desired, Hop, Identity, Input, Nodes, Outcome};
use kubewright_core::version::Version;

use crate::cli::further;
use crate::cli::kubeconfig::admin_api;
use crate::cli::pin::LockFile;
use crate::cli::planning::{Pinning, new_operation, see_hosts};
use crate::cli::world::{Loaded, World};
use crate::error::Error;
use crate::facts::nodes::{Seen, gather_nodes};
use crate::facts::{gather_cluster, gather_etcd};
use crate::kube::ClusterApi;
use crate::ports::Hosts;
use crate::{render, report, store};

/// One stretch of the way, rendered.
struct Station {
    loaded: Loaded,
    desired: Desired,
    findings: Vec<Finding>,
    pins: Pins,
}

/// What was seen before anything is planned.
pub(super) struct Sight {
    /// Connections, still open.
    pub hosts: Arc<dyn Hosts>,
    /// What hosts, cluster and etcd told.
    pub facts: Facts,
    stations: Vec<Station>,
    nodes: BTreeMap<HostName, Observed>,
    denied: Vec<Permission>,
    pinning: Option<Pinning>,
}

/// The way that is looked at.
pub(super) struct Way<'a> {
    /// The spec's file.
    pub file: &'a Path,
    /// Versions before the last; one that the cluster has left behind is none of them any more.
    pub via: &'a [Version],
    /// The last.
    pub to: &'a Version,
    /// Nodes that keep their version.
    pub left: &'a BTreeSet<HostName>,
    /// What the plan may have to be allowed.
    pub permissions: Vec<Permission>,
}

/// What the spec comes to at each station, what there is, and the nodes whose turns come.
pub(super) async fn see(world: &World, loaded: &Loaded, hosts: &Arc<dyn Hosts>, way: Way<'_>) -> Result<Sight, Error> {
    let lock_file = LockFile::beside(way.file);
    let pinned = lock_file.read()?;
    let mut stations = Vec::new();
    let mut facts = Facts::default();
    for version in way.via.iter().chain([way.to]) {
        let loaded = loaded.at(version)?;
        facts = see_hosts(&loaded.spec, hosts, Some(&pinned.pins)).await;
        let rendered = render::desired(&loaded.spec, &facts, &pinned, &way.file.to_string_lossy());
        let render::Rendered { desired, findings, new_pins: pins } = rendered;
        stations.push(Station { loaded, desired, findings, pins });
    }
    let (cluster, etcd) = tokio::join!(
        gather_cluster(&loaded.spec, hosts.clone(), &facts),
        gather_etcd(&loaded.spec, hosts.clone(), &facts, world.clock.clone()),
    );
    (facts.cluster, facts.etcd) = (cluster, etcd);
    if let Some(from) = running(&facts).cloned() {
        stations.retain(|station| station.version() >= &from || station.version() == way.to);
    }
    let wanted: BTreeSet<HostName> = match facts.cluster.known() {
        Some(cluster) => {
            let hosts = loaded.spec.hosts.iter().map(|host| host.name.clone());
            hosts.filter(|name| cluster.nodes.contains_key(name) && !way.left.contains(name)).collect()
        }
        None => BTreeSet::new(),
    };
    // Where the API does not answer, planning says so.
    let api = match facts.cluster.known() {
        Some(_) => Some(admin_api(&loaded.spec, hosts).await),
        None => None,
    };
    let (facts, seen) = tokio::join!(
        further::look(world, &loaded.spec, hosts, api.as_ref(), facts),
        see_nodes(world, api.as_ref(), wanted, way.permissions),
    );
    let Seen { nodes, denied } = seen?;
    let pinning = Pinning::of(pinned.pins, stations.iter().map(|station| &station.pins), lock_file);
    Ok(Sight { hosts: hosts.clone(), facts, stations, nodes, denied, pinning })
}

/// The nodes whose turns come. Where nobody tells which there are, none is looked at.
async fn see_nodes(
    world: &World,
    api: Option<&Result<ClusterApi, Error>>,
    wanted: BTreeSet<HostName>,
    permissions: Vec<Permission>,
) -> Result<Seen, Error> {
    match api {
        Some(Err(error)) if !wanted.is_empty() => Err(error.clone()),
        Some(Ok(api)) if !wanted.is_empty() => Ok(gather_nodes(api, wanted, permissions, world.clock.now()).await?),
        _ => Ok(Seen { nodes: BTreeMap::new(), denied: Vec::new() }),
    }
}

/// What the oldest API server runs, where that can be seen.
pub(super) fn running(facts: &Facts) -> Option<&Version> {
    facts.cluster.known()?.running.known()?.oldest_server()
}

impl Station {
    fn version(&self) -> &Version {
        &self.loaded.spec.kubernetes.version
    }
}

impl Sight {
    /// The plan for it with these choices, `left` keeping the versions that they have.
    pub fn planned(&self, choices: &Choices, left: &BTreeSet<HostName>) -> Result<Outcome, Error> {
        let Some(last) = self.stations.last() else { return Err(Error::internal("a way without an end".to_owned())) };
        let identity = Identity { operation: new_operation()?, initial_cluster_token: String::new() };
        let stations = self.stations.iter().flat_map(|station| station.findings.iter());
        let mut findings: Vec<Finding> = last.loaded.findings.iter().chain(stations).cloned().collect();
        findings.sort();
        findings.dedup();
        let input = Input {
            spec: &last.loaded.spec,
            facts: &self.facts,
            desired: &last.desired,
            findings: &findings,
            identity: &identity,
            tool_version: env!("CARGO_PKG_VERSION"),
        };
        let hops: Vec<Hop<'_>> =
            self.stations.iter().map(|station| Hop { version: station.version(), desired: &station.desired }).collect();
        let seen = self.nodes.iter().filter(|(name, _)| !left.contains(*name));
        let seen = seen.map(|(name, world)| (name.clone(), world.clone())).collect();
        // More may have been asked than these choices need.
        let needed = choices.permissions();
        let denied: Vec<Permission> = self.denied.iter().copied().filter(|one| needed.contains(one)).collect();
        Ok(planner::upgrade(Nodes { input, seen: &seen, denied: &denied, choices }, &hops))
    }

    /// What was seen of a node.
    pub fn node(&self, name: &HostName) -> Option<&Observed> {
        self.nodes.get(name)
    }

    /// Writes what the run relies on, before anything is done: digests that were not pinned, and the version.
    pub fn keep(&self, loaded: &Loaded, file: &Path) -> Result<(), Error> {
        self.pinning.iter().try_for_each(Pinning::keep)?;
        let Some(last) = self.stations.last() else { return Ok(()) };
        let (from, to) = (&loaded.spec.kubernetes.version, last.version());
        if from == to {
            return Ok(());
        }
        rewrite(file, loaded.source.text(), last.loaded.source.text())?;
        report::note(&format!("wrote {}: version {to} instead of {from}", file.display()));
        Ok(())
    }
}

/// Puts another text into a file, unless somebody has changed it since it was read.
fn rewrite(file: &Path, before: &str, after: &str) -> Result<(), Error> {
    let io = |error| Error::io(file, error);
    if fs::read_to_string(file).map_err(io)? != before {
        return Err(Error::moved(format!("{} was changed while it was planned for", file.display())));
    }
    let mode = fs::metadata(file).map_err(io)?.permissions().mode() & 0o7777;
    store::write_atomically(file, after.as_bytes(), mode).map_err(io)
}
