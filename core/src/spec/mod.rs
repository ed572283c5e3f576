//! What the user wants: one `Cluster` of `kubewright.dev/v1alpha1`, parsed and validated.
//!
//! The types are plain data. [`read`] makes them from a file: `yaml` turns text into nodes with places, `decode`
//! checks those against the one `table` of what a file may hold, `defaults` fills in what depends on other values, and
//! `validate` says what is wrong with the meaning. Where each value stood is in [`Source`], by path, so that a finding
//! made anywhere (validation, planning, on a host) can be drawn on the user's own line.

mod cidr;
mod decode;
mod defaults;
mod format;
pub(crate) mod path;
mod reading;
pub mod reference;
pub mod schema;
pub(crate) mod shape;
mod source;
mod syntax;
mod table;
pub mod template;
#[cfg(test)]
mod tests;
mod validate;
mod yaml;

pub use cidr::Cidr;
pub(crate) use reading::form;
pub use reading::{Reading, read};
pub use source::Source;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::etcd::address::StoreAddress;
use crate::ids::HostName;
use crate::version::Version;

/// The whole specification of one cluster, defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// `metadata.name`; also the context's name in the kubeconfig.
    pub name: String,
    /// Which Kubernetes.
    pub kubernetes: Kubernetes,
    /// How clients reach the API servers.
    pub endpoint: Endpoint,
    /// Pod and service networks.
    pub network: Network,
    /// Defaults for reaching every host.
    pub ssh: Ssh,
    /// The machines, in the order of the file.
    pub hosts: Vec<Host>,
    /// Pools of workers by name.
    pub pools: BTreeMap<String, Pool>,
    /// Where binaries and images come from.
    pub artefacts: Artefacts,
    /// Keys and lifetimes.
    pub certificates: Certificates,
    /// kube-apiserver.
    pub api_server: Component,
    /// kube-controller-manager.
    pub controller_manager: Component,
    /// kube-scheduler.
    pub scheduler: Component,
    /// etcd.
    pub etcd: Component,
    /// kubelet on every node.
    pub kubelet: Kubelet,
    /// containerd on every node.
    pub containerd: Containerd,
    /// Copies of etcd. A plan of before there was such a section has none.
    #[serde(default)]
    pub backup: Backup,
}

/// Which Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kubernetes {
    /// Full version, such as 1.35.4.
    pub version: Version,
}

/// How clients and workers reach the API servers (DESIGN.md §6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// Who answers at the endpoint.
    pub mode: EndpointMode,
    /// Name or address the user owns (`external`), or the virtual address (`kubeVip`).
    pub address: Option<String>,
    /// Port of the endpoint; 6443 unless said otherwise.
    pub port: u16,
}

/// Who answers at the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndpointMode {
    /// A DNS name or virtual address that the user owns.
    External,
    /// A virtual address held by a static pod on the control planes.
    KubeVip,
    /// A proxy on every worker, listening on 127.0.0.1.
    NodeLocal,
}

/// Pod and service networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Addresses of pods, such as 10.244.0.0/16.
    #[serde(rename = "podCIDR")]
    pub pod_cidr: Cidr,
    /// Addresses of Services, such as 10.96.0.0/12.
    #[serde(rename = "serviceCIDR")]
    pub service_cidr: Cidr,
    /// DNS domain of Services; `cluster.local`.
    pub dns_domain: String,
    /// The network add-on.
    pub cni: Cni,
    /// How Services are implemented.
    pub kube_proxy: KubeProxy,
}

/// The network add-on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cni {
    /// Which one.
    pub name: CniName,
    /// flannel's `--iface`: needed where a host has several interfaces or no default route.
    pub interface: Option<String>,
}

/// Network add-ons we know by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CniName {
    /// Built in.
    Flannel,
    /// None by us: nodes become Ready once the user installed one.
    None,
}

/// kube-proxy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KubeProxy {
    /// Its back end.
    pub mode: KubeProxyMode,
    /// Further fields of `KubeProxyConfiguration`, merged over ours.
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// Where kube-proxy serves its metrics unless it is told otherwise (KubeProxyConfiguration, `metricsBindAddress`).
const KUBE_PROXY_METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10249);

impl KubeProxy {
    /// Where a node can ask its own kube-proxy for its metrics, as in URLs: `127.0.0.1:10249`. None where the user gave
    /// something that is no address and port: then it is not known.
    pub fn metrics(&self) -> Option<String> {
        let address: SocketAddr = match self.config.get("metricsBindAddress").and_then(serde_json::Value::as_str) {
            None | Some("") => KUBE_PROXY_METRICS,
            Some(given) => given.parse().ok()?,
        };
        Some(match address.ip().is_unspecified() {
            // Of either family, whichever it listens on.
            true => format!("localhost:{}", address.port()),
            false => address.to_string(),
        })
    }
}

/// kube-proxy's back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KubeProxyMode {
    /// The default.
    Nftables,
    /// For kernels or rule sets that need it.
    Iptables,
}

/// How a host is reached. Everything left out is ssh's own business (`~/.ssh/config`, agent).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ssh {
    /// Login name; without it ssh decides.
    pub user: Option<String>,
    /// Port; without it ssh decides.
    pub port: Option<u16>,
    /// Private key file on the operator's machine.
    pub identity_file: Option<String>,
    /// ssh configuration file to use instead of `~/.ssh/config`.
    pub config_file: Option<String>,
    /// known_hosts file to use instead of `~/.ssh/known_hosts`.
    pub known_hosts_file: Option<String>,
    /// Jump host, as ssh's `-J`: `[user@]host[:port]`.
    pub bastion: Option<String>,
    /// What to do with unknown host keys.
    pub host_keys: HostKeys,
}

/// What to do with host keys we have not seen; changed keys are refused always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum HostKeys {
    /// Refuse (`StrictHostKeyChecking=yes`).
    #[default]
    Strict,
    /// Accept and remember (`accept-new`).
    AcceptNew,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// Name here and of the node: a DNS label.
    pub name: HostName,
    /// Where ssh connects: address or name.
    pub address: String,
    /// Address inside the cluster (`--node-ip`, etcd peers, API server); the ssh address where it is an IP address.
    pub private_address: IpAddr,
    /// What it does.
    pub roles: Vec<Role>,
    /// Pool of a worker.
    pub pool: Option<String>,
    /// Node labels besides the pool's.
    pub labels: BTreeMap<String, String>,
    /// Node taints besides the pool's and the control plane's; `None` leaves a control plane with its usual taint.
    pub taints: Option<Vec<Taint>>,
    /// Overrides of the spec's `ssh`, already merged with it.
    pub ssh: Ssh,
}

/// What a machine does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// Runs kube-apiserver, kube-controller-manager and kube-scheduler.
    ControlPlane,
    /// Runs an etcd member.
    Etcd,
    /// Runs workloads.
    Worker,
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::ControlPlane => "controlPlane",
            Self::Etcd => "etcd",
            Self::Worker => "worker",
        })
    }
}

/// Workers that are treated alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pool {
    /// Node labels.
    pub labels: BTreeMap<String, String>,
    /// Node taints.
    pub taints: Vec<Taint>,
    /// How many may be away at once during an upgrade: a number or a percentage.
    pub max_unavailable: Option<String>,
}

impl Pool {
    /// How many of so many nodes may be away at once. A percentage is rounded down, as a Deployment's `maxUnavailable` is, but never to
    /// none: nothing would ever be upgraded then.
    pub fn may_be_away(&self, nodes: usize) -> usize {
        let Some(wanted) = &self.max_unavailable else { return 1 };
        let most = match wanted.strip_suffix('%') {
            Some(percent) => percent.parse::<usize>().map(|percent| nodes.saturating_mul(percent) / 100),
            None => wanted.parse(),
        };
        most.unwrap_or(1).max(1)
    }
}

/// A node taint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Taint {
    /// Key, such as `node-role.kubernetes.io/control-plane`.
    pub key: String,
    /// Value; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub value: String,
    /// `NoSchedule`, `PreferNoSchedule` or `NoExecute`.
    pub effect: TaintEffect,
}

impl fmt::Display for TaintEffect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::NoSchedule => "NoSchedule",
            Self::PreferNoSchedule => "PreferNoSchedule",
            Self::NoExecute => "NoExecute",
        })
    }
}

/// What a taint does to pods that do not tolerate it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TaintEffect {
    /// New pods stay away.
    NoSchedule,
    /// New pods stay away where they can.
    PreferNoSchedule,
    /// Running pods leave too.
    NoExecute,
}

/// Where binaries and images come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artefacts {
    /// Base URL of a mirror with the official paths behind it (`<mirror>/dl.k8s.io/...`); without it the official hosts.
    pub mirror: Option<String>,
    /// Who is asked for images of a registry instead of itself, in this order (`registry.k8s.io` → `http://10.0.0.2:5000`).
    pub registry_mirrors: BTreeMap<String, Vec<String>>,
}

/// Keys and lifetimes; kubeadm's names and defaults.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificates {
    /// Key algorithm for all certificates.
    pub encryption_algorithm: EncryptionAlgorithm,
    /// Life of a leaf, in hours (kubeadm: 8760).
    pub certificate_validity_hours: u32,
    /// Life of an authority, in hours (kubeadm: 87600).
    pub ca_certificate_validity_hours: u32,
}

/// kubeadm's `encryptionAlgorithm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EncryptionAlgorithm {
    /// The default.
    #[serde(rename = "RSA-2048")]
    Rsa2048,
    /// RSA with 3072 bits.
    #[serde(rename = "RSA-3072")]
    Rsa3072,
    /// RSA with 4096 bits.
    #[serde(rename = "RSA-4096")]
    Rsa4096,
    /// ECDSA on P-256.
    #[serde(rename = "ECDSA-P256")]
    EcdsaP256,
    /// ECDSA on P-384.
    #[serde(rename = "ECDSA-P384")]
    EcdsaP384,
}

/// A control-plane component: kubeadm's `v1beta4` names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Flags over ours, in order; a flag may repeat.
    pub extra_args: Vec<Arg>,
    /// Environment of the container.
    pub extra_envs: Vec<Env>,
    /// Host paths mounted into the pod.
    pub extra_volumes: Vec<HostPathMount>,
    /// Further names and addresses of the serving certificate (kube-apiserver and etcd).
    #[serde(rename = "certSANs", default)]
    pub cert_sans: Vec<String>,
}

/// One flag without its dashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arg {
    /// Such as `audit-log-maxage`.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// One environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Env {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// kubeadm's `HostPathMount`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPathMount {
    /// Name of the volume.
    pub name: String,
    /// Path on the host.
    pub host_path: String,
    /// Path in the container.
    pub mount_path: String,
    /// Whether the container may only read.
    #[serde(default)]
    pub read_only: bool,
    /// `File`, `DirectoryOrCreate`, …
    #[serde(default)]
    pub path_type: Option<String>,
}

/// kubelet on every node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kubelet {
    /// Flags over ours.
    pub extra_args: Vec<Arg>,
    /// Fields of `KubeletConfiguration`, merged over ours.
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// containerd on every node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Containerd {
    /// Version to install.
    pub version: String,
    /// Set `restrict_oom_score_adj`, for hosts that are themselves containers without CAP_SYS_RESOURCE.
    #[serde(rename = "restrictOOMScoreAdj")]
    pub restrict_oom_score_adj: bool,
}

/// Copies of etcd: what holds where the command line says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Backup {
    /// Where they are kept.
    pub to: Option<StoreAddress>,
    /// The server of the bucket, where it is not AWS.
    pub endpoint: Option<String>,
    /// The bucket's region.
    pub region: Option<String>,
    /// How snapshots are packed.
    pub compress: Option<Compression>,
    /// How many are kept.
    pub keep: Option<NonZeroU32>,
    /// Whom the keys of the control planes are encrypted for; without any they are not kept.
    pub recipients: Vec<String>,
}

/// How a snapshot is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Compression {
    /// As etcd sent it.
    None,
    /// Zstandard.
    Zstd,
}

impl Spec {
    /// Hosts with a role, in the order of the file.
    pub fn with_role(&self, role: Role) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(move |host| host.roles.contains(&role))
    }

    /// Port that kube-apiserver binds on every control plane.
    ///
    /// With `nodeLocal` and `kubeVip` it is the endpoint's: one kubeconfig must work both against the proxy on a worker
    /// and against the API server on a control plane, or the virtual address is the API server's own host.
    pub fn api_port(&self) -> u16 {
        match self.endpoint.mode {
            EndpointMode::External => API_SERVER_PORT,
            EndpointMode::KubeVip | EndpointMode::NodeLocal => self.endpoint.port,
        }
    }

    /// How many nodes of a pool may be away at once during an upgrade; of those without a pool one.
    pub fn may_be_away(&self, pool: Option<&str>) -> usize {
        let all = self.hosts.iter().filter(|host| host.pool.as_deref() == pool).count();
        pool.and_then(|name| self.pools.get(name)).map_or(1, |pool| pool.may_be_away(all))
    }

    /// The host of that name.
    pub fn host(&self, name: &HostName) -> Option<&Host> {
        self.hosts.iter().find(|host| &host.name == name)
    }
}

/// Port that kube-apiserver binds behind an endpoint of the user's (kubeadm's `KubeAPIServerPort`): the endpoint's
/// own port is then the load balancer's.
const API_SERVER_PORT: u16 = 6443;

/// Where etcd members talk to each other (etcd's own default, and kubeadm's `EtcdListenPeerPort`).
const ETCD_PEER_PORT: u16 = 2380;

impl Host {
    /// Where the other members reach this host's etcd.
    pub fn etcd_peer_url(&self) -> String {
        format!("https://{}", SocketAddr::new(self.private_address, ETCD_PEER_PORT))
    }

    /// Whether it has the role.
    pub fn is(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}
