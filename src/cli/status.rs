//! `kubewright status`: how the cluster is, asked of its hosts and of every API server by itself.

use futures::future::join_all;
use kubewright_core::facts::{Facts, Membership};
use kubewright_core::ids::HostName;
use kubewright_core::spec::{Role, Spec};
use kubewright_core::summary::{ClusterStatus, MemberLine, NodeLine};

use super::kubeconfig::admin_api;
use super::options::OfSpec;
use super::world::World;
use crate::error::{Error, ExitCode};
use crate::facts::{Questions, gather};
use crate::kube::ClusterApi;
use crate::ports::KubeApi;
use crate::report::{self, Paint};

/// Show how the cluster is
#[derive(Debug, clap::Args)]
pub struct Status {
    #[command(flatten)]
    of: OfSpec,
}

impl Status {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let (spec, hosts) = self.of.open(world)?;
        let names: Vec<HostName> = spec.hosts.iter().map(|host| host.name.clone()).collect();
        let questions = Questions::default();
        let (facts, api) = tokio::join!(gather(hosts.as_ref(), &names, &questions), admin_api(&spec, &hosts));
        let mut status = from_facts(&spec, &facts);
        match api {
            Ok(api) => ask(&spec, &api, &mut status).await,
            Err(error) => status.remarks.push(error.to_string()),
        }
        if world.json {
            report::print_json(&status)?;
        } else {
            report::print(&report::ops::status(&status, world.clock.now(), report::width(), Paint::stdout()))?;
        }
        Ok(ExitCode::Done)
    }
}

/// What hosts tell without any API.
fn from_facts(spec: &Spec, facts: &Facts) -> ClusterStatus {
    let mut status = ClusterStatus {
        cluster: spec.name.clone(),
        wanted: Some(spec.kubernetes.version.to_string()),
        ..ClusterStatus::default()
    };
    let mut holders = Vec::new();
    for host in &spec.hosts {
        let Some(seen) = facts.host(&host.name) else {
            let why = facts.hosts.get(&host.name).and_then(|fact| fact.why()).unwrap_or("no answer");
            status.remarks.push(format!("{}: {why}", host.name));
            continue;
        };
        match seen.membership(&spec.name) {
            Membership::OfAnother(record) => {
                status.remarks.push(format!("{} belongs to the cluster {}", host.name, record.cluster));
            }
            Membership::Claimed(record) => {
                status.operation = Some(record.operation.clone());
                status.remarks.push(format!(
                    "{} was claimed by operation {}, which has not finished",
                    host.name, record.operation
                ));
            }
            Membership::Part(record) => status.operation = Some(record.operation.clone()),
            Membership::Silent(why) | Membership::Unclear(why) => {
                status.remarks.push(format!("{}: whose it is cannot be read: {why}", host.name));
            }
            Membership::Foreign => {
                status.remarks.push(format!("{} has a Kubernetes or an etcd that is none of ours", host.name));
            }
            Membership::Bare => {
                status.remarks.push(format!("{} is bare: no operation of ours was finished on it", host.name));
            }
        }
        holders.extend(seen.lock.known().and_then(|lock| lock.holder.clone()));
    }
    if let Some(holder) = holders.into_iter().max_by_key(|holder| holder.seen) {
        status.operation_seen = Some(holder.seen);
        status.operation = Some(holder.operation.clone());
        status.remarks.push(format!(
            "{} holds the lock for operation {} since {}",
            holder.holder, holder.operation, holder.since
        ));
    }
    status
}

/// What the API tells: versions and nodes from any control plane, health from each by itself.
async fn ask(spec: &Spec, api: &ClusterApi, status: &mut ClusterStatus) {
    let members = join_all(spec.with_role(Role::ControlPlane).map(|host| async {
        let failing = match api.only(&host.name) {
            Some(one) => one.ready().await.map(|readiness| readiness.failing).map_err(|error| error.to_string()),
            None => Err("it is no control plane".to_owned()),
        };
        MemberLine {
            host: host.name.clone(),
            has_member: host.is(Role::Etcd),
            etcd: match &failing {
                Ok(failing) => failing.iter().find(|check| check.starts_with("etcd")).cloned(),
                Err(_) => Some("its API server cannot be asked".to_owned()),
            },
            api: match failing {
                Ok(failing) if failing.is_empty() => None,
                Ok(failing) => Some(failing.join(", ")),
                Err(why) => Some(why),
            },
        }
    }));
    let (members, version, nodes) = tokio::join!(members, api.version(), api.nodes());
    status.members = members;
    match version {
        Ok(version) => status.version = Some(version.to_string()),
        Err(error) => status.remarks.push(error.to_string()),
    }
    match nodes {
        Ok(nodes) => {
            for host in spec.hosts.iter().filter(|host| !nodes.contains_key(&host.name)) {
                status.remarks.push(format!("{} is no node of the cluster", host.name));
            }
            status.nodes = nodes
                .into_iter()
                .map(|(name, node)| NodeLine {
                    name,
                    roles: node.roles,
                    not_ready: node.not_ready,
                    schedulable: node.schedulable,
                    kubelet: node.kubelet,
                    address: node.addresses.into_iter().next().unwrap_or_default(),
                    runtime: node.container_runtime,
                })
                .collect();
        }
        Err(error) => status.remarks.push(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use kubewright_core::facts::{Fact, HostFacts, HostRecord};

    use super::*;

    /// What cannot be read is nowhere taken for absent: a host whose record lies under a broken disk is not called bare.
    #[test]
    fn each_host_is_told_as_what_it_is() {
        let text = "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {name: lab}\nspec:\n  \
            kubernetes: {version: 1.35.4}\n  hosts:\n  - {name: cp1, address: 10.77.0.11, roles: [controlPlane, etcd]}\n  \
            - {name: w1, address: 10.77.0.21, roles: [worker]}\n  - {name: w2, address: 10.77.0.22, roles: [worker]}\n  \
            - {name: w3, address: 10.77.0.23, roles: [worker]}\n  - {name: w4, address: 10.77.0.24, roles: [worker]}\n";
        let spec = kubewright_core::spec::read("test.yaml", text).spec.expect("a spec");
        let of = |cluster: &str| {
            let record =
                HostRecord { cluster: cluster.into(), operation: "7f3a9c".into(), roles: Vec::new(), settled: true };
            Fact::Known { value: record, at: Timestamp::UNIX_EPOCH }
        };
        let host = |record| {
            let etcd_data = Fact::Known { value: false, at: Timestamp::UNIX_EPOCH };
            let facts = HostFacts { record, etcd_data, ca_fingerprint: Fact::Absent, ..HostFacts::default() };
            Fact::Known { value: facts, at: Timestamp::UNIX_EPOCH }
        };
        let mut facts = Facts::default();
        for (name, fact) in [
            ("cp1", host(of("lab"))),
            ("w1", host(Fact::unreadable("Input/output error"))),
            ("w2", host(of("other"))),
            ("w3", host(Fact::Absent)),
            ("w4", Fact::unreadable("no route to host")),
        ] {
            facts.hosts.insert(name.into(), fact);
        }
        assert_eq!(
            from_facts(&spec, &facts).remarks,
            [
                "w1: whose it is cannot be read: Input/output error",
                "w2 belongs to the cluster other",
                "w3 is bare: no operation of ours was finished on it",
                "w4: no route to host",
            ]
        );
    }
}
