//! The PKI of a whole cluster: which authorities there are, and which files each host gets.
//!
//! Three steps, so that each can be kept, resumed and run in parallel:
//!
//! 1. [`ClusterPki`] describes the cluster as plain data;
//! 2. [`Authorities`] are made, or loaded where they exist;
//! 3. files are issued from them, per host ([`ClusterPki::host_files`]) or for all at once
//!    ([`ClusterPki::issue`]), and for the operator ([`ClusterPki::operator_access`]).
//!
//! Differences to kubeadm's files, all of them on purpose:
//!
//! - API server certificates also name `localhost`, 127.0.0.1 and all names and addresses of all control planes:
//!   workers reach them through a proxy on 127.0.0.1, operators through SSH forwards. Of dual-stack service
//!   networks they name the first address of both families, where kubeadm names the first family's only.
//! - etcd's certificates name all addresses of their host, not only the advertised one.
//! - `kubelet.conf` names its certificate by path from the beginning; kubeadm embeds it and gets there in its phase
//!   `kubelet-finalize`. (The local API server in it is kubeadm's rule, too: `ControlPlaneKubeletLocalMode`, on by
//!   default since 1.33.)
//! - Workers have a `kubelet.conf` with the same names as control planes; kubeadm's comes out of the TLS bootstrap and
//!   calls everything `default-*`.
//! - The kubelet's serving certificate is signed by the cluster authority; kubeadm's is signed by itself.
//! - Client certificates in kubeconfigs begin five minutes before now like all others; kubeadm begins them with the
//!   authority, which for an old authority is years ago.
//! - Kubeconfigs embed `ca.crt` as it is; kubeadm embeds its first certificate. For a bundle, as it exists while
//!   an authority is being replaced, ours trust all of it.
//! - Extensions stand in another order inside a certificate, and on 1.34 the key identifiers of authorities are other
//!   digests (kubeadm built with Go 1.25 or newer takes SHA-256, as we do; before, SHA-1).
//! - A name that may not stand in a certificate is an error; kubeadm warns and leaves it out.
//!
//! `tests/it/parity.rs` proves the rest against files that the real kubeadm wrote; its list of accepted differences is
//! `manifests/tests/kubeadm/ACCEPTED.md`.

mod authorities;
mod delivery;
mod files;
mod layout;

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::authorities::{Authorities, ExistingAuthorities, ExistingAuthority, ServiceAccountKey};
pub use self::files::{ClusterFiles, Contents, OperatorAccess, PRIVATE_MODE, PUBLIC_MODE, PkiFile};
pub use self::layout::{KUBELET_CLIENT_CURRENT, KUBELET_PKI_DIR, KUBERNETES_DIR, PKI_DIR};

use crate::Error;
use crate::key::KeyAlgorithm;
use crate::names::{Endpoint, is_dns_name};
use crate::profile::{KubernetesVersion, Validity};

/// Everything the certificates of a cluster depend on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPki {
    /// The cluster's name in kubeconfigs; kubeadm's default is `kubernetes`.
    pub cluster_name: String,
    /// The version the control plane runs.
    pub version: KubernetesVersion,
    /// Algorithm of new keys.
    pub algorithm: KeyAlgorithm,
    /// How long new certificates live.
    pub validity: Validity,
    /// The moment that counts as now. Nothing here reads a clock.
    pub now: Timestamp,
    /// Domain of services, such as `cluster.local`.
    pub service_domain: String,
    /// First address of each service network: the Service `kubernetes` has them.
    pub service_addresses: Vec<IpAddr>,
    /// Where clients outside reach the API, when there is one such place.
    pub control_plane_endpoint: Option<Endpoint>,
    /// The port every API server listens on.
    pub api_port: u16,
    /// Names to add to the API servers' certificates.
    pub extra_api_server_names: Vec<String>,
    /// Names to add to the etcd servers' certificates.
    pub extra_etcd_server_names: Vec<String>,
    /// Names to add to the etcd peers' certificates.
    pub extra_etcd_peer_names: Vec<String>,
    /// The hosts. The first control plane gets `super-admin.conf`.
    pub hosts: Vec<Host>,
}

/// One host of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// The node's name in the cluster.
    pub name: String,
    /// Its addresses; the first is the one it advertises.
    pub addresses: Vec<IpAddr>,
    /// Further DNS names it is reached by.
    #[serde(default)]
    pub dns_names: Vec<String>,
    /// What it does.
    pub roles: Roles,
    /// The API server its kubelet talks to. Without one: the local one on control planes, and on workers port
    /// [`ClusterPki::api_port`] of 127.0.0.1, where the node-local proxy listens.
    #[serde(default)]
    pub kubelet_api_server: Option<Endpoint>,
}

/// What a host does. A stacked control plane has `control_plane` and `etcd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Roles {
    /// Runs API server, controller manager and scheduler.
    pub control_plane: bool,
    /// Runs an etcd member.
    pub etcd: bool,
    /// Runs a kubelet for workloads.
    pub worker: bool,
}

impl Roles {
    /// A control plane with its etcd member on the same host.
    pub const STACKED: Self = Self { control_plane: true, etcd: true, worker: false };
    /// A worker.
    pub const WORKER: Self = Self { control_plane: false, etcd: false, worker: true };
    /// An etcd member on a host of its own.
    pub const ETCD: Self = Self { control_plane: false, etcd: true, worker: false };

    /// Whether the host is a node of the cluster, with a kubelet that talks to the API.
    pub const fn is_node(self) -> bool {
        self.control_plane || self.worker
    }
}

impl Host {
    /// The address the host advertises.
    pub(crate) fn advertised(&self) -> Result<IpAddr, Error> {
        self.addresses
            .first()
            .map(IpAddr::to_canonical)
            .ok_or_else(|| Error::InvalidCluster { reason: format!("host `{}` has no address", self.name) })
    }
}

impl ClusterPki {
    /// The host of that name.
    ///
    /// # Errors
    /// [`Error::UnknownHost`].
    pub fn host(&self, name: &str) -> Result<&Host, Error> {
        self.hosts.iter().find(|host| host.name == name).ok_or_else(|| Error::UnknownHost { host: name.to_owned() })
    }

    /// The control planes in their order.
    pub fn control_planes(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().filter(|host| host.roles.control_plane)
    }

    /// Where that host's own API server answers.
    ///
    /// # Errors
    /// [`Error::InvalidCluster`] for a host without address or a port 0.
    pub fn local_api_server(&self, host: &Host) -> Result<Endpoint, Error> {
        Endpoint::new(&host.advertised()?.to_string(), self.api_port)
            .map_err(|_| Error::InvalidCluster { reason: "the API server's port is 0".to_owned() })
    }

    /// Checks what no type expresses: there is a control plane, an etcd member and a service address, host names are
    /// DNS names and unique, addresses are unique, and every host has one.
    ///
    /// # Errors
    /// [`Error::InvalidCluster`] or [`Error::InvalidName`] with the first contradiction.
    pub fn validate(&self) -> Result<(), Error> {
        let refuse = |reason: String| Err(Error::InvalidCluster { reason });
        if self.cluster_name.is_empty() {
            return refuse("the cluster has no name".to_owned());
        }
        if self.control_planes().next().is_none() {
            return refuse("there is no control plane".to_owned());
        }
        if !self.hosts.iter().any(|host| host.roles.etcd) {
            return refuse("there is no etcd member".to_owned());
        }
        if self.service_addresses.is_empty() {
            return refuse("there is no service address".to_owned());
        }
        if !is_dns_name(&self.service_domain) {
            return Err(Error::InvalidName { name: self.service_domain.clone() });
        }
        let mut names = std::collections::BTreeSet::new();
        let mut addresses = std::collections::BTreeMap::new();
        for host in &self.hosts {
            if !is_dns_name(&host.name) {
                return Err(Error::InvalidName { name: host.name.clone() });
            }
            if !names.insert(&host.name) {
                return refuse(format!("host `{}` is there twice", host.name));
            }
            self.local_api_server(host)?;
            for address in &host.addresses {
                if let Some(other) = addresses.insert(address.to_canonical(), &host.name)
                    && other != &host.name
                {
                    return refuse(format!("hosts `{other}` and `{}` share the address {address}", host.name));
                }
            }
        }
        Ok(())
    }
}
