//! containerd 2 and what the kernel must do for it and for Kubernetes.

use kubewright_core::spec::Spec;
use serde_json::Value;

use crate::layout::{CRI_SOCKET, SYSTEMD_DIR};
use crate::{RenderedFile, images};

/// One folder per upstream registry, read at every pull: a change needs no restart.
const REGISTRIES_DIR: &str = "/etc/containerd/certs.d";

/// Image layers, and bridges that netfilter sees.
const MODULES: &str = "overlay\nbr_netfilter\n";

/// Configuration, registries, unit, crictl's configuration, kernel settings and modules.
pub fn files(spec: &Spec) -> Vec<RenderedFile> {
    let mut files = vec![RenderedFile::new("/etc/containerd/config.toml", 0o644, config(spec))];
    files.extend(spec.artefacts.registry_mirrors.iter().map(|(registry, mirror)| {
        RenderedFile::new(format!("{REGISTRIES_DIR}/{registry}/hosts.toml"), 0o644, hosts(registry, mirror))
    }));
    files.extend([
        RenderedFile::new(format!("{SYSTEMD_DIR}/containerd.service"), 0o644, include_str!("files/containerd.service")),
        RenderedFile::new("/etc/crictl.yaml", 0o644, crictl()),
        RenderedFile::new(crate::layout::SYSCTL_FILE, 0o644, sysctl(spec)),
        RenderedFile::new("/etc/modules-load.d/kubernetes.conf", 0o644, MODULES),
    ]);
    files
}

/// config.toml, only what differs from containerd's defaults. The runtime's entry is a whole one: containerd does not
/// merge it with its default.
fn config(spec: &Spec) -> String {
    let pause = toml_string(&images::pause(spec));
    let restrict = spec.containerd.restrict_oom_score_adj;
    let systemd = cgroup_driver(spec) == "systemd";
    format!(
        r#"version = 3

[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = {pause}

[plugins.'io.containerd.cri.v1.images'.registry]
  config_path = "{REGISTRIES_DIR}"

[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = {restrict}

[plugins.'io.containerd.cri.v1.runtime'.containerd]
  default_runtime_name = "runc"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  SystemdCgroup = {systemd}
"#
    )
}

/// The kubelet's cgroup driver; both must use the same.
fn cgroup_driver(spec: &Spec) -> &str {
    spec.kubelet.config.get("cgroupDriver").and_then(Value::as_str).unwrap_or("systemd")
}

/// hosts.toml of a registry: the mirror first, the registry itself where the mirror fails.
fn hosts(registry: &str, mirror: &str) -> String {
    // Docker Hub's name is not where it lives.
    let home = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
    let server = toml_string(&format!("https://{home}"));
    let mirror = mirror.trim_end_matches('/');
    // A mirror that already says /v2/... has its own prefix for this registry; containerd must not add a second /v2.
    let path = mirror.split_once("://").map_or(mirror, |(_, rest)| rest).split_once('/').map_or("", |(_, path)| path);
    let own_prefix = if path.starts_with("v2/") { "  override_path = true\n" } else { "" };
    let mirror = toml_string(mirror);
    format!("server = {server}\n\n[host.{mirror}]\n  capabilities = [\"pull\", \"resolve\"]\n{own_prefix}")
}

/// Kernel settings: traffic between pods crosses the host, and kube-proxy must see what crosses a bridge.
fn sysctl(spec: &Spec) -> String {
    // Only the family in use: forwarding IPv6 stops a host from taking its own address from router advertisements.
    let forward =
        if spec.network.pod_cidr.network.is_ipv4() { "net.ipv4.ip_forward" } else { "net.ipv6.conf.all.forwarding" };
    // A leading `-` is for kernels whose bridges know no netfilter: nothing crosses them unseen there.
    format!("{forward} = 1\n-net.bridge.bridge-nf-call-iptables = 1\n-net.bridge.bridge-nf-call-ip6tables = 1\n")
}

fn crictl() -> String {
    format!("runtime-endpoint: {CRI_SOCKET}\nimage-endpoint: {CRI_SOCKET}\ntimeout: 10\n")
}

/// A basic string of TOML, quoted.
fn toml_string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
