//! What decides whether a machine can become a node. Asked for planning, and only of machines that nothing of ours was
//! built on: measuring a disk or trying a dozen kernel settings is of no use where a node runs already.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Fact;
use crate::spec::Cidr;

/// What decides whether a machine can become a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fitness {
    /// Whether systemd runs it.
    pub systemd: Fact<bool>,
    /// Programs that preparing it calls and that are not there.
    pub missing_programs: Fact<Vec<String>>,
    /// Packages that the package manager has begun with and not finished.
    pub broken_packages: Fact<Vec<String>>,
    /// Whether its clock follows a time server.
    pub clock_synchronised: Fact<bool>,
    /// `enforcing` or `permissive`; absent where the kernel has no SELinux, or it is off.
    pub selinux: Fact<String>,
    /// cgroup controllers that the kernel offers: `cpu`, `memory`, …
    pub cgroup_controllers: Fact<Vec<String>>,
    /// Kernel modules by name: how each is to be had; absent where it is not.
    pub modules: BTreeMap<String, Fact<Module>>,
    /// Kernel settings by name; one that the kernel lacks is not listed.
    pub sysctls: Fact<BTreeMap<String, Sysctl>>,
    /// The file systems below the folders we use, by folder.
    pub mounts: Fact<BTreeMap<String, Mount>>,
    /// How long the disk of etcd's data takes to keep a small write; absent where no etcd member is to run.
    pub fsync: Fact<FsyncLatency>,
    /// IPv4 routes that lead somewhere in particular; default routes are not among them.
    pub routes: Fact<Vec<Route>>,
    /// UDP ports that something listens on, with the process's name where it can be seen.
    pub listening_udp: Fact<BTreeMap<u16, String>>,
    /// Name servers that pods will be told of.
    pub name_servers: Fact<Vec<String>>,
    /// Addresses of the names that were asked for, and of its own, by name; absent where a name has none.
    pub names: BTreeMap<String, Fact<Vec<String>>>,
    /// The proxy that its users' programs are told to use.
    pub proxy: Fact<Proxy>,
    /// Firewalls that are on, in words, such as `ufw`.
    pub firewalls: Fact<Vec<String>>,
    /// Files in `/etc/cni/net.d` that a container runtime reads.
    pub cni_configurations: Fact<Vec<String>>,
    /// Traces of Kubernetes, by whatever tool made them.
    pub traces: Fact<Vec<Trace>>,
    /// Sockets of container runtimes that somebody listens on.
    pub runtime_sockets: Fact<Vec<String>>,
}

/// How a kernel module is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Module {
    /// It is loaded, or part of the kernel.
    Present,
    /// It can be loaded.
    Loadable,
    /// It is there, but `/etc/modprobe.d` forbids loading it.
    Forbidden,
}

/// A kernel setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sysctl {
    /// Its value now.
    pub value: String,
    /// Whether root may change it: not in most containers.
    pub writable: bool,
}

/// The file system below a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// Such as `ext4`.
    pub kind: String,
    /// Nothing can be written.
    pub read_only: bool,
    /// No program can be started from it.
    pub no_exec: bool,
}

/// How long small writes took until the disk had them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FsyncLatency {
    /// How many were measured.
    pub writes: u32,
    /// Half of them were faster.
    pub median_us: u64,
    /// 99 of 100 were faster.
    pub p99_us: u64,
    /// The slowest.
    pub worst_us: u64,
}

/// A route to a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Route {
    /// Where it leads.
    pub destination: Cidr,
    /// Through which interface; `blackhole`, `unreachable` and the like stand here too.
    pub interface: String,
}

/// A proxy for HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Proxy {
    /// Its address, without a password.
    pub address: String,
    /// Where it is not used (`NO_PROXY`).
    pub except: Vec<String>,
}

/// Something that a tool for Kubernetes left.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trace {
    /// Such as `k3s`.
    pub tool: String,
    /// What was found.
    pub path: String,
}
