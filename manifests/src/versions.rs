//! Which versions belong together, and what changed between minors: the only place that knows.

use kubewright_core::version::Minor;

/// What one Kubernetes minor brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The minor.
    pub minor: Minor,
    /// Tag of the etcd image (`DefaultEtcdVersion` of kubeadm's `constants.go`).
    pub etcd: &'static str,
    /// Tag of the CoreDNS image (`CoreDNSVersion`).
    pub core_dns: &'static str,
    /// Tag of the pause image (`PauseVersion`).
    pub pause: &'static str,
    /// kube-controller-manager mounts the FlexVolume plugins' directory (until 1.35).
    pub flexvolume_mount: bool,
    /// The kubelet is told its pause image by flag, to keep it from being collected (until 1.34; since then the
    /// runtime's pinning does it alone).
    pub pause_image_flag: bool,
}

/// The minors we have read kubeadm's source of, oldest first.
pub const RELEASES: [Release; 3] = [
    Release {
        minor: Minor::new(1, 34),
        etcd: "3.6.5-0",
        core_dns: "v1.12.1",
        pause: "3.10.1",
        flexvolume_mount: true,
        pause_image_flag: true,
    },
    Release {
        minor: Minor::new(1, 35),
        etcd: "3.6.6-0",
        core_dns: "v1.13.1",
        pause: "3.10.1",
        flexvolume_mount: true,
        pause_image_flag: false,
    },
    Release {
        minor: Minor::new(1, 36),
        etcd: "3.6.8-0",
        core_dns: "v1.14.2",
        pause: "3.10.2",
        flexvolume_mount: false,
        pause_image_flag: false,
    },
];

/// runc. Any 1.x works with our containerd; the version is pinned so that all hosts have the same.
pub const RUNC: &str = "v1.4.0";
/// The reference CNI plugins.
pub const CNI_PLUGINS: &str = "v1.9.0";
/// crictl. It speaks CRI v1 to every runtime we install, so one version serves all minors.
pub const CRICTL: &str = "v1.35.0";
/// flannel.
pub const FLANNEL: &str = "v0.28.4";
/// flannel's CNI plugin, the tag that flannel's own manifest of [`FLANNEL`] names.
pub const FLANNEL_CNI_PLUGIN: &str = "v1.9.1-flannel1";
/// HAProxy, a long-term supported branch; the tag follows its patches.
pub const HAPROXY: &str = "3.0";

/// The release data for a minor. A minor we do not know gets the nearest we do; it is accepted with a finding.
pub fn release(minor: Minor) -> &'static Release {
    let newer = RELEASES.iter().find(|release| release.minor >= minor);
    newer.unwrap_or(&RELEASES[RELEASES.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_minor_finds_itself() {
        for known in &RELEASES {
            assert_eq!(release(known.minor), known);
        }
    }

    #[test]
    fn an_unknown_minor_gets_the_nearest() {
        assert_eq!(release(Minor::new(1, 31)).minor, Minor::new(1, 34));
        assert_eq!(release(Minor::new(1, 40)).minor, Minor::new(1, 36));
    }
}
