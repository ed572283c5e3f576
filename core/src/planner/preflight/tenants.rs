//! What others run on a machine: their Kubernetes, their container runtimes, their pod networks. Nothing of it is ever
//! touched.

use super::fitness::Bare;
use super::{about, blocks, warns};
use crate::facts::Trace;
use crate::finding::{Finding, Severity};
use crate::spec::CniName;

/// The file that flannel puts into /etc/cni/net.d.
const FLANNEL: &str = "10-flannel.conflist";
/// Docker's socket; Docker keeps its containers in containerd.
const DOCKER: &str = "/run/docker.sock";

/// HOST065.
pub(super) fn kubernetes(bare: &Bare<'_>) -> Option<Finding> {
    // That kubeadm's authority is there has been said already (HOST013).
    let said = bare.seen.ca_fingerprint.known().is_some();
    let traces: Vec<&Trace> =
        bare.fitness.traces.known()?.iter().filter(|trace| !(said && trace.tool == "kubeadm")).collect();
    (!traces.is_empty()).then(|| {
        let told: Vec<String> = traces.iter().map(|trace| format!("{} ({})", trace.tool, trace.path)).collect();
        blocks(bare.host, "HOST065", format!("another Kubernetes is on it, or was: {}", told.join(", ")))
            .hint("take it away with the tool that made it (`k3s-uninstall.sh`, `k0s reset`, `kubeadm reset`), or use another host")
    })
}

/// HOST066 where one runs, HOST067 where one waits to be configured.
pub(super) fn kubelet(bare: &Bare<'_>) -> Option<Finding> {
    let kubelet = bare.seen.units.get("kubelet")?.known()?;
    if kubelet.active == "active" {
        return Some(
            blocks(bare.host, "HOST066", "a kubelet that is not ours runs on it")
                .hint("it is a node of some cluster: drain it there, and reset it with the tool that made it"),
        );
    }
    (kubelet.enabled == "enabled").then(|| {
        warns(bare.host, "HOST067", format!("a kubelet is installed on it ({}); ours takes its place", kubelet.active))
            .hint("if it came as a package, remove that (`apt-get remove kubelet`), so that no update of it changes the node")
    })
}

/// HOST068 for Docker, whose containers live in the containerd that we replace; HOST069 for others.
pub(super) fn runtimes(bare: &Bare<'_>) -> Option<Finding> {
    let sockets = bare.fitness.runtime_sockets.known()?;
    if sockets.iter().any(|socket| socket == DOCKER) {
        let text = "Docker runs on it: its containers live in containerd, which gets our version and configuration and is restarted";
        return Some(
            about(bare.host, Severity::NeedsConsent, "HOST068", text)
                .hint("move what it runs elsewhere and remove Docker; a node's containers belong to Kubernetes alone"),
        );
    }
    (!sockets.is_empty()).then(|| {
        let text = format!(
            "another container runtime listens on it: {}; Kubernetes will use our containerd",
            sockets.join(", ")
        );
        warns(bare.host, "HOST069", text)
            .hint("remove it: two runtimes share disk, networks and memory without knowing of each other")
    })
}

/// HOST070: a runtime takes the first file by name, so this one's network and not ours.
pub(super) fn cni_first(bare: &Bare<'_>) -> Option<Finding> {
    let files = cni_files(bare, |file| file < FLANNEL)?;
    Some(
        blocks(
            bare.host,
            "HOST070",
            format!("pods would get another network: /etc/cni/net.d has {files}, read before {FLANNEL}"),
        )
        .hint("remove what is left of another network add-on from /etc/cni/net.d"),
    )
}

/// HOST071: until flannel has written its file, this one is the first.
pub(super) fn cni_later(bare: &Bare<'_>) -> Option<Finding> {
    let files = cni_files(bare, |file| file >= FLANNEL)?;
    let text =
        format!("pods that start before flannel would get another network and keep it: /etc/cni/net.d has {files}");
    Some(about(bare.host, Severity::NeedsConsent, "HOST071", text).hint("move it out of /etc/cni/net.d"))
}

/// Configurations of others; where the user brings the network, they are the user's.
fn cni_files(bare: &Bare<'_>, which: impl Fn(&str) -> bool) -> Option<String> {
    let files = bare.fitness.cni_configurations.known().filter(|_| bare.spec.network.cni.name == CniName::Flannel)?;
    let found: Vec<&str> = files.iter().map(String::as_str).filter(|file| which(file)).collect();
    (!found.is_empty()).then(|| found.join(", "))
}
