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
    files.extend(spec.artefacts.registry_mirrors.iter().map(|(registry, mirrors)| {
        RenderedFile::new(format!("{REGISTRIES_DIR}/{registry}/hosts.toml"), 0o644, hosts(mirrors))
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

/// hosts.toml of a registry: its mirrors in their order. containerd asks the registry itself last unless told of
/// another `server`, so the last mirror is that one: where nothing leads to the internet, asking it would cost half a
/// minute and hide the mirror's own answer behind "i/o timeout".
fn hosts(mirrors: &[String]) -> String {
    let Some((last, others)) = mirrors.split_last() else { return String::new() };
    let mut text = format!("server = {}\n{}", toml_string(last.trim_end_matches('/')), settings(last, ""));
    for mirror in others {
        let mirror_settings = settings(mirror, "  ");
        text.push_str(&format!("\n[host.{}]\n{mirror_settings}", toml_string(mirror.trim_end_matches('/'))));
    }
    text
}

fn settings(mirror: &str, indent: &str) -> String {
    let mut text = format!("{indent}capabilities = [\"pull\", \"resolve\"]\n");
    // containerd must not add a second /v2.
    if has_own_api_path(mirror) {
        text.push_str(&format!("{indent}override_path = true\n"));
    }
    text
}

/// Where a registry or mirror answers the registry API, as containerd makes it of its address.
pub fn api_base(mirror: &str) -> String {
    let mirror = mirror.trim_end_matches('/');
    if has_own_api_path(mirror) || mirror.ends_with("/v2") { mirror.to_owned() } else { format!("{mirror}/v2") }
}

/// Whether an address says `/v2/…` itself: a mirror that has its own prefix for this registry.
fn has_own_api_path(mirror: &str) -> bool {
    let path = mirror.split_once("://").map_or(mirror, |(_, rest)| rest).split_once('/').map_or("", |(_, path)| path);
    path.trim_end_matches('/').starts_with("v2/")
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

#[cfg(test)]
mod tests {
    use super::*;

    fn text(mirrors: &[&str]) -> String {
        hosts(&mirrors.iter().map(|mirror| (*mirror).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn one_mirror_is_asked_and_nobody_else() {
        assert_eq!(
            text(&["http://10.0.0.2:5000/"]),
            "server = \"http://10.0.0.2:5000\"\ncapabilities = [\"pull\", \"resolve\"]\n"
        );
    }

    #[test]
    fn several_are_tried_in_their_order() {
        assert_eq!(
            text(&["http://10.0.0.2:5000", "https://mirror.example/v2/hub", "https://registry-1.docker.io"]),
            "server = \"https://registry-1.docker.io\"\ncapabilities = [\"pull\", \"resolve\"]\n\n\
             [host.\"http://10.0.0.2:5000\"]\n  capabilities = [\"pull\", \"resolve\"]\n\n\
             [host.\"https://mirror.example/v2/hub\"]\n  capabilities = [\"pull\", \"resolve\"]\n  override_path = true\n"
        );
    }

    /// As `parseHostConfig` of containerd's `core/remotes/docker/config/hosts.go` has it.
    #[test]
    fn the_api_is_where_containerd_looks_for_it() {
        for (address, base) in [
            ("http://10.0.0.2:5000", "http://10.0.0.2:5000/v2"),
            ("https://[fd00::1]:5000/", "https://[fd00::1]:5000/v2"),
            ("https://mirror.example/k8s", "https://mirror.example/k8s/v2"),
            ("https://mirror.example/k8s/v2", "https://mirror.example/k8s/v2"),
            ("https://mirror.example/v2", "https://mirror.example/v2"),
            ("https://mirror.example/v2/hub/", "https://mirror.example/v2/hub"),
        ] {
            assert_eq!(api_base(address), base);
        }
    }

    /// containerd looks for the folder of a registry's name first with, then without its port spelt `_5000_`.
    #[test]
    fn a_registry_with_a_port_has_its_own_folder() {
        let mut spec =
            kubewright_core::spec::read("single.yaml", include_str!("../../examples/single.yaml")).spec.unwrap();
        spec.artefacts.registry_mirrors.insert("10.0.0.2:5000".into(), vec!["http://10.0.0.2:5000".into()]);
        let paths: Vec<String> = files(&spec).into_iter().map(|file| file.path).collect();
        assert!(paths.contains(&"/etc/containerd/certs.d/10.0.0.2:5000/hosts.toml".to_owned()), "{paths:?}");
    }
}
