//! Which address reaches an API server, from where (DESIGN.md §6).

use kubewright_core::spec::{EndpointMode, Host, Role, Spec};

use crate::network::socket;

/// The API server of this very host, as kubeadm writes it into the kubeconfigs of controller-manager, scheduler and a
/// control plane's kubelet.
pub fn local(spec: &Spec, host: &Host) -> String {
    format!("https://{}", socket(host.private_address, spec.api_port()))
}

/// What the kubelet of a host talks to: on a control plane its own API server, so that a new kubelet never meets an
/// older API server; on a worker the endpoint.
pub fn for_kubelet(spec: &Spec, host: &Host) -> String {
    if host.is(Role::ControlPlane) { local(spec, host) } else { for_kube_proxy(spec) }
}

/// What kube-proxy talks to, as it stands in its kubeconfig.
pub fn for_kube_proxy(spec: &Spec) -> String {
    format!("https://{}", on_every_node(spec))
}

/// `host:port` for what runs in the network of every node with one configuration for all: in mode `nodeLocal` the
/// loopback address, where a worker has its proxy and a control plane its API server; else the endpoint.
pub fn on_every_node(spec: &Spec) -> String {
    match spec.endpoint.mode {
        EndpointMode::NodeLocal => format!("127.0.0.1:{}", spec.api_port()),
        EndpointMode::External | EndpointMode::KubeVip => outside(spec),
    }
}

/// `host:port` that works from outside the cluster: kubeadm's `controlPlaneEndpoint`, admin.conf, cluster-info.
pub fn outside(spec: &Spec) -> String {
    outside_all(spec).into_iter().next().expect("a validated spec has an endpoint or a control plane")
}

/// Every `host:port` that works from outside, the preferred first: the endpoint where there is one, else each control
/// plane.
pub fn outside_all(spec: &Spec) -> Vec<String> {
    let owned = spec.endpoint.address.as_deref().map(|address| match address.parse() {
        Ok(ip) => socket(ip, spec.endpoint.port),
        Err(_) => format!("{address}:{}", spec.endpoint.port),
    });
    let control_planes =
        || spec.with_role(Role::ControlPlane).map(|host| socket(host.private_address, spec.api_port()));
    match owned {
        Some(endpoint) => vec![endpoint],
        None => control_planes().collect(),
    }
}
