//! What can be seen of one host.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::lock::Lock;
use super::{Fact, Fitness};
use crate::ids::OperationId;
use crate::spec::Role;

/// What can be seen of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HostFacts {
    /// Its own name for itself.
    pub hostname: Fact<String>,
    /// `/etc/machine-id`: stays with the installation.
    pub machine_id: Fact<String>,
    /// Changes with every start.
    pub boot_id: Fact<String>,
    /// Operating system.
    pub os: Fact<Os>,
    /// As `uname -m` says.
    pub architecture: Fact<String>,
    /// Kernel release.
    pub kernel: Fact<String>,
    /// Processors that we may use.
    pub cpus: Fact<u32>,
    /// Main memory.
    pub memory_bytes: Fact<u64>,
    /// 1 or 2.
    pub cgroup_version: Fact<u8>,
    /// The virtual machine it runs in (`kvm`, `amazon`); absent on bare metal.
    pub virtual_machine: Fact<String>,
    /// The container it runs in (`podman`, `lxc`), if it is no real machine at all.
    pub container: Fact<String>,
    /// Active swap devices and files; none is an empty list.
    pub swap: Fact<Vec<String>>,
    /// Its clock against ours.
    pub clock: Fact<Clock>,
    /// Room by folder: `/var/lib`, `/usr/local`, `/etc`, and those below them that may be disks of their own.
    pub space: Fact<BTreeMap<String, Space>>,
    /// Addresses of its interfaces, loopback left out.
    pub addresses: Fact<Vec<Address>>,
    /// The interface of the default route.
    pub default_interface: Fact<String>,
    /// Who logged in, if root's rights came from sudo.
    pub sudo_user: Fact<String>,
    /// Process that holds the package manager's lock; absent when it is free.
    pub package_lock: Fact<String>,
    /// TCP ports that something listens on, with the process's name where it can be seen.
    pub listening: Fact<BTreeMap<u16, String>>,
    /// Whether systemd-resolved serves the host's DNS, so that pods need its real upstream file.
    pub systemd_resolved: Fact<bool>,
    /// Versions by program (kubelet, containerd, runc, crictl, curl), of those that kubewright did not install itself: what
    /// these are, `artefacts` tells.
    pub versions: BTreeMap<String, Fact<String>>,
    /// States of kubelet.service and containerd.service, by their name without suffix.
    pub units: BTreeMap<String, Fact<UnitFacts>>,
    /// Units of kubewright that run now, such as `kubewright-7f3a-06-cp1-start.1`.
    pub running_units: Fact<Vec<String>>,
    /// SHA-256 in hex of the files we manage, by path; what is not there is not listed.
    pub files: Fact<BTreeMap<String, String>>,
    /// Digests of installed artefacts, by name.
    pub artefacts: Fact<BTreeMap<String, String>>,
    /// Images in containerd: digest by reference; absent while containerd does not run.
    pub images: Fact<BTreeMap<String, String>>,
    /// SHA-256 of the cluster's CA certificate (DER), in hex.
    pub ca_fingerprint: Fact<String>,
    /// Whether an etcd member's data is there.
    pub etcd_data: Fact<bool>,
    /// `--initial-cluster-token` in etcd's manifest.
    pub etcd_token: Fact<String>,
    /// `--initial-cluster` in etcd's manifest.
    pub etcd_initial_cluster: Fact<String>,
    /// Whose this host is, by our own record.
    pub record: Fact<HostRecord>,
    /// The lock; absent where no run ever took it here.
    pub lock: Fact<Lock>,
    /// Text behind the checksum addresses that were asked for, by address.
    pub checksums: BTreeMap<String, Fact<String>>,
    /// Digests of the images that were asked for, by reference, as the registry told the host.
    pub image_digests: BTreeMap<String, Fact<String>>,
    /// Whether it can become a node; absent where something was built on it, or nobody asked.
    pub fitness: Fact<Fitness>,
}

/// An operating system, from os-release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Os {
    /// `ID`, such as `debian`.
    pub id: String,
    /// `VERSION_ID`, such as `12`; empty for a rolling one.
    pub version: String,
    /// What its playbooks are called.
    pub family: OsFamily,
    /// `PRETTY_NAME`.
    pub name: String,
}

/// Systems that are treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OsFamily {
    /// Debian, Ubuntu.
    Debian,
    /// Red Hat, Fedora, Rocky, Alma, Amazon.
    RedHat,
    /// SUSE.
    Suse,
    /// Flatcar.
    Flatcar,
    /// One that we know nothing of.
    Other,
}

impl OsFamily {
    /// The family of a system by its `ID` and `ID_LIKE`.
    pub fn of(id: &str, like: &str) -> Self {
        [id].into_iter()
            .chain(like.split_whitespace())
            .find_map(|name| match name {
                "debian" | "ubuntu" => Some(Self::Debian),
                "rhel" | "fedora" | "centos" | "amzn" => Some(Self::RedHat),
                "suse" | "sles" | "opensuse" => Some(Self::Suse),
                "flatcar" | "coreos" => Some(Self::Flatcar),
                _ => None,
            })
            .unwrap_or(Self::Other)
    }
}

impl fmt::Display for OsFamily {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Debian => "debian",
            Self::RedHat => "redhat",
            Self::Suse => "suse",
            Self::Flatcar => "flatcar",
            Self::Other => "other",
        })
    }
}

/// Two readings of a host's clock between two of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Clock {
    /// Ours, before we asked.
    pub sent: Timestamp,
    /// Theirs, at the beginning.
    pub began: Timestamp,
    /// Theirs, at the end.
    pub ended: Timestamp,
    /// Ours, with the answer in hand.
    pub received: Timestamp,
}

impl Clock {
    /// How far it certainly is ahead of ours (behind, if negative); zero where the readings leave room for none.
    pub fn skew(&self) -> SignedDuration {
        let earliest = self.ended.duration_since(self.received);
        let latest = self.began.duration_since(self.sent);
        if earliest > SignedDuration::ZERO {
            earliest
        } else if latest < SignedDuration::ZERO {
            latest
        } else {
            SignedDuration::ZERO
        }
    }
}

/// Room in a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Space {
    /// Bytes that we may still use.
    pub free_bytes: u64,
    /// Files that may still be made; absent where the file system has no such limit.
    pub free_inodes: Option<u64>,
    /// Its size; absent in facts of earlier versions.
    #[serde(default)]
    pub total_bytes: Option<u64>,
    /// Files that it can hold; absent where there is no such limit, and in facts of earlier versions.
    #[serde(default)]
    pub total_inodes: Option<u64>,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// Such as `eth0`.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Length of its network's prefix.
    pub prefix: u8,
}

/// The state of a systemd unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitFacts {
    /// `active`, `activating`, `inactive`, `failed`.
    pub active: String,
    /// `running`, `dead`, `auto-restart`, …
    pub sub: String,
    /// `enabled`, `disabled`, `static`, …
    pub enabled: String,
}

/// Our own note on a host of whose cluster it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostRecord {
    /// The cluster's name.
    pub cluster: String,
    /// The run that claimed it.
    pub operation: OperationId,
    /// What it does there.
    pub roles: Vec<Role>,
    /// Whether that run has finished.
    pub settled: bool,
}

impl HostRecord {
    /// Where it stands on the host.
    pub const PATH: &str = "/var/lib/kubewright/host";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(sent: i64, began: i64, ended: i64, received: i64) -> Clock {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        Clock { sent: at(sent), began: at(began), ended: at(ended), received: at(received) }
    }

    #[test]
    fn skew_is_only_what_is_certain() {
        assert_eq!(clock(10, 11, 12, 13).skew(), SignedDuration::ZERO);
        assert_eq!(clock(10, 20, 21, 13).skew(), SignedDuration::from_secs(8));
        assert_eq!(clock(10, 4, 5, 13).skew(), SignedDuration::from_secs(-6));
    }

    #[test]
    fn families_follow_id_and_its_likes() {
        assert_eq!(OsFamily::of("ubuntu", "debian"), OsFamily::Debian);
        assert_eq!(OsFamily::of("rocky", "rhel centos fedora"), OsFamily::RedHat);
        assert_eq!(OsFamily::of("plan9", ""), OsFamily::Other);
    }
}
