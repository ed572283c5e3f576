//! Names of container images with their tags.

use kubewright_core::spec::Spec;

use crate::versions::{self, release};

/// Where Kubernetes' images live (kubeadm's `DefaultImageRepository`).
pub const REPOSITORY: &str = "registry.k8s.io";

/// A component that is built from the Kubernetes repository, such as `kube-apiserver`.
pub fn kubernetes(spec: &Spec, component: &str) -> String {
    format!("{REPOSITORY}/{component}:{}", spec.kubernetes.version.tag())
}

/// etcd.
pub fn etcd(spec: &Spec) -> String {
    format!("{REPOSITORY}/etcd:{}", release(spec.kubernetes.version.minor()).etcd)
}

/// CoreDNS.
pub fn core_dns(spec: &Spec) -> String {
    format!("{REPOSITORY}/coredns/coredns:{}", release(spec.kubernetes.version.minor()).core_dns)
}

/// The sandbox of every pod.
pub fn pause(spec: &Spec) -> String {
    format!("{REPOSITORY}/pause:{}", release(spec.kubernetes.version.minor()).pause)
}

/// flannel's daemon.
pub fn flannel() -> String {
    format!("ghcr.io/flannel-io/flannel:{}", versions::FLANNEL)
}

/// flannel's CNI plugin.
pub fn flannel_cni_plugin() -> String {
    format!("ghcr.io/flannel-io/flannel-cni-plugin:{}", versions::FLANNEL_CNI_PLUGIN)
}

/// The proxy on workers in endpoint mode `nodeLocal`.
pub fn haproxy() -> String {
    format!("docker.io/library/haproxy:{}", versions::HAPROXY)
}
