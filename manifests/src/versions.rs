//! Which versions belong together, and what changed between minors: the only place that knows.

use kubewright_core::version::{Minor, Version};

/// What one Kubernetes minor brings along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The minor.
    pub minor: Minor,
    /// The patch that this program was tested with; newer ones are likely out by the time somebody reads this.
    pub tested: Version,
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
pub static RELEASES: [Release; 3] = [
    Release {
        minor: Minor::new(1, 34),
        tested: Version::new(1, 34, 4),
        etcd: "3.6.5-0",
        core_dns: "v1.12.1",
        pause: "3.10.1",
        flexvolume_mount: true,
        pause_image_flag: true,
    },
    Release {
        minor: Minor::new(1, 35),
        tested: Version::new(1, 35, 4),
        etcd: "3.6.6-0",
        core_dns: "v1.13.1",
        pause: "3.10.1",
        flexvolume_mount: true,
        pause_image_flag: false,
    },
    Release {
        minor: Minor::new(1, 36),
        tested: Version::new(1, 36, 3),
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

/// The versions that this program was tested with, one of each minor that it knows, oldest first.
pub fn tested() -> Vec<Version> {
    RELEASES.iter().map(|release| release.tested.clone()).collect()
}

/// Something that comes along with another minor: its name, its version with the one and with the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Such as `etcd`.
    pub what: &'static str,
    /// Before.
    pub from: &'static str,
    /// After.
    pub to: &'static str,
}

/// What changes its version on the way from one minor to another.
pub fn changes(from: Minor, to: Minor) -> Vec<Change> {
    let (before, after) = (release(from), release(to));
    let all = [
        ("etcd", before.etcd, after.etcd),
        ("CoreDNS", before.core_dns, after.core_dns),
        ("pause", before.pause, after.pause),
    ];
    let differs = |(_, from, to): &(&str, &str, &str)| from != to;
    all.into_iter().filter(differs).map(|(what, from, to)| Change { what, from, to }).collect()
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

    #[test]
    fn what_was_tested_is_of_the_minors_that_are_proven() {
        let minors: Vec<Minor> = tested().iter().map(Version::minor).collect();
        assert_eq!(minors, kubewright_core::version::PROVEN);
    }

    #[test]
    fn changes_are_told_with_both_versions() {
        let told = |from, to| {
            let changes = changes(Minor::new(1, from), Minor::new(1, to));
            changes.iter().map(|change| format!("{} {} {}", change.what, change.from, change.to)).collect::<Vec<_>>()
        };
        assert_eq!(told(35, 36), ["etcd 3.6.6-0 3.6.8-0", "CoreDNS v1.13.1 v1.14.2", "pause 3.10.1 3.10.2"]);
        assert_eq!(told(34, 35), ["etcd 3.6.5-0 3.6.6-0", "CoreDNS v1.12.1 v1.13.1"]);
        assert_eq!(told(35, 35), Vec::<String>::new());
    }
}
