//! Where things lie on a host: kubeadm's layout (its `constants.go`), so that kubeadm and others find them.

/// kubeconfigs and everything below.
pub const KUBERNETES_DIR: &str = "/etc/kubernetes";
/// Certificates and keys.
pub const PKI_DIR: &str = "/etc/kubernetes/pki";
/// Static pod manifests; the kubelet watches it.
pub const MANIFESTS_DIR: &str = "/etc/kubernetes/manifests";
/// etcd's data.
pub const ETCD_DATA_DIR: &str = "/var/lib/etcd";
/// The kubelet's configuration and state.
pub const KUBELET_DIR: &str = "/var/lib/kubelet";
/// Units we install. Packages use /usr/lib/systemd/system; ours win over them, as the administrator's files should.
pub const SYSTEMD_DIR: &str = "/etc/systemd/system";
/// Serving certificate of the kubelet, pre-signed by the cluster's CA (DESIGN.md §5).
pub const KUBELET_SERVING_CERT: &str = "/var/lib/kubelet/pki/kubelet.crt";
/// Key of [`KUBELET_SERVING_CERT`].
pub const KUBELET_SERVING_KEY: &str = "/var/lib/kubelet/pki/kubelet.key";
/// Our kernel settings; the playbook that prepares a host applies them.
pub const SYSCTL_FILE: &str = "/etc/sysctl.d/99-kubernetes.conf";
/// The runtime's socket, as a CRI endpoint.
pub const CRI_SOCKET: &str = "unix:///run/containerd/containerd.sock";

/// Path of a file below [`PKI_DIR`].
pub fn pki(file: &str) -> String {
    format!("{PKI_DIR}/{file}")
}

/// Path of the manifest of a static pod.
pub fn manifest(pod: &str) -> String {
    format!("{MANIFESTS_DIR}/{pod}.yaml")
}
