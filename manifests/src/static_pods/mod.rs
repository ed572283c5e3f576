//! The control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler as static pods.
//!
//! Same flags, mounts, probes and annotations as kubeadm's `phases/etcd` and `phases/controlplane`.

mod api_server;
mod controller_manager;
mod etcd;
pub(crate) mod pod;
mod scheduler;
pub(crate) mod volumes;

use kubewright_core::plan::EtcdStart;
use kubewright_core::spec::{Host, Role, Spec};

use crate::{RenderedFile, layout, yaml};

pub(crate) use api_server::extra_args as api_server_extra_args;
pub use etcd::CLIENT_PORT;
pub(crate) use etcd::client_urls as etcd_client_urls;

/// The manifests of a host: etcd for role `etcd`, the others for role `controlPlane`; none for a worker.
pub fn static_pods(spec: &Spec, host: &Host, etcd: &EtcdStart) -> Vec<RenderedFile> {
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
