//! The control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler as static pods.
//!
//! Same flags, mounts, probes and annotations as kubeadm's `phases/etcd` and `phases/controlplane`.

mod api_server;
mod controller_manager;
mod etcd;
pub(crate) mod pod;
mod scheduler;
pub(crate) mod volumes;

use kubewright_core::spec::{Host, Role, Spec};
use serde::{Deserialize, Serialize};

use crate::{RenderedFile, layout, yaml};

pub(crate) use api_server::extra_args as api_server_extra_args;
pub(crate) use etcd::client_urls as etcd_client_urls;

/// How a member's etcd starts when it has no data yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EtcdBootstrap {
    /// Random per cluster, so that members of two clusters that share addresses can never mix.
    pub initial_cluster_token: String,
    /// Whether this start forms the cluster.
    pub state: ClusterState,
}

/// etcd's `--initial-cluster-state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ClusterState {
    /// All members start together and form it. Only the very first manifest says so.
    New,
    /// It exists: a member without data must have been added first, and cannot found a second cluster by mistake.
    Existing,
}

/// The manifests of a host: etcd for role `etcd`, the others for role `controlPlane`; none for a worker.
pub fn static_pods(spec: &Spec, host: &Host, etcd: &EtcdBootstrap) -> Vec<RenderedFile> {
    let mut pods = Vec::new();
    if host.is(Role::Etcd) {
        pods.push(etcd::pod(spec, host, etcd));
    }
    if host.is(Role::ControlPlane) {
        pods.push(api_server::pod(spec, host));
        pods.push(controller_manager::pod(spec));
        pods.push(scheduler::pod(spec));
    }
    // 0600 as kubeadm: flags may carry secrets.
    pods.iter()
        .map(|pod| RenderedFile::new(layout::manifest(pod.name), 0o600, yaml::document(&pod.manifest())))
        .collect()
}
