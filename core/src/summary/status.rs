//! What `kubewright status` shows of a cluster.

use jiff::Timestamp;
use serde::Serialize;

use crate::ids::{HostName, OperationId};

/// A cluster at a glance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// Its name.
    pub cluster: String,
    /// Version its API server runs; `None` where no API server answers.
    pub version: Option<String>,
    /// Version the spec wants, where a spec was given.
    pub wanted: Option<String>,
    /// One line per node, those of the spec that are no nodes included.
    pub nodes: Vec<NodeLine>,
    /// One line per control plane.
    pub members: Vec<MemberLine>,
    /// The last operation on it that is known here.
    pub operation: Option<OperationId>,
    /// When the operation was last heard of.
    pub operation_seen: Option<Timestamp>,
    /// What could not be read, and other remarks; a fragment each.
    pub remarks: Vec<String>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeLine {
    /// Its name.
    pub name: HostName,
    /// Its roles, such as `control-plane`.
    pub roles: Vec<String>,
    /// Why it is not Ready; `None` where it is.
    pub not_ready: Option<String>,
    /// Whether new pods may be scheduled on it.
    pub schedulable: bool,
    /// Version of its kubelet.
    pub kubelet: String,
    /// Its address.
    pub address: String,
    /// Its container runtime.
    pub runtime: String,
}

/// One control plane's own components.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberLine {
    /// Whose.
    pub host: HostName,
    /// Why its etcd member is not healthy; `None` where it is or where there is none.
    pub etcd: Option<String>,
    /// Whether it has an etcd member at all.
    pub has_member: bool,
    /// Why its API server does not answer; `None` where it does.
    pub api: Option<String>,
}
