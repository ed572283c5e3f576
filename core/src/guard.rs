//! Conditions that travel with a step and are checked again on fresh facts just before it.

use serde::{Deserialize, Serialize};

use crate::facts::HostFacts;
use crate::ids::{HostName, OperationId};

/// A condition as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Guard {
    /// The machine behind the name is the one the plan was made for.
    #[serde(rename_all = "camelCase")]
    SameMachine {
        /// Which host.
        host: HostName,
        /// Its `/etc/machine-id` at planning time.
        machine_id: String,
    },
    /// The host has no etcd data but what this operation's own etcd made: a foreign member's data is never touched.
    #[serde(rename_all = "camelCase")]
    NoForeignEtcdData {
        /// Which host.
        host: HostName,
        /// Identity that this operation gives its etcd.
        initial_cluster_token: String,
    },
    /// The host belongs to no other cluster of ours.
    #[serde(rename_all = "camelCase")]
    NoOtherCluster {
        /// Which host.
        host: HostName,
        /// Our cluster.
        cluster: String,
        /// Our operation.
        operation: OperationId,
    },
}

impl Guard {
    /// The host whose facts decide.
    pub fn host(&self) -> &HostName {
        match self {
            Self::SameMachine { host, .. } | Self::NoForeignEtcdData { host, .. } | Self::NoOtherCluster { host, .. } => host,
        }
    }

    /// Whether it holds on these facts.
    ///
    /// # Errors
    /// A sentence that says why not.
    pub fn check(&self, facts: &HostFacts) -> Result<(), String> {
        match self {
            Self::SameMachine { host, machine_id } => match facts.machine_id.known() {
                Some(now) if now == machine_id => Ok(()),
                Some(now) => Err(format!("{host} is another machine now: machine-id {now}, planned for {machine_id}")),
                None => Err(format!("the machine-id of {host} cannot be read")),
            },
            Self::NoForeignEtcdData { host, initial_cluster_token } => {
                if !facts.etcd_data.known().copied().unwrap_or(false) {
                    return Ok(());
                }
                match facts.etcd_token.known() {
                    Some(token) if token == initial_cluster_token => Ok(()),
                    Some(_) => Err(format!("{host} holds the data of another etcd in /var/lib/etcd")),
                    None => Err(format!("{host} holds etcd data in /var/lib/etcd and no manifest says whose it is")),
                }
            }
            Self::NoOtherCluster { host, cluster, operation } => match facts.record.known() {
                Some(record) if &record.cluster != cluster => Err(format!("{host} belongs to cluster {}", record.cluster)),
                Some(record) if &record.operation != operation => {
                    Err(format!("{host} was claimed by operation {}", record.operation))
                }
                _ => Ok(()),
            },
        }
    }
}
