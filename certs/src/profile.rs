//! What kubeadm's certificates look like: the table of names, subjects, usages and validities.
//!
//! Read from kubeadm's own source, `cmd/kubeadm/app/phases/certs/certlist.go`, `phases/kubeconfig/kubeconfig.go`
//! and `util/pkiutil/pki_helpers.go` of 1.34.4, 1.35.4 and 1.36.3; the three differ in one cell only
//! (see [`KubernetesVersion::kubelet_client_is_cluster_admin`]). Two rows are ours and not kubeadm's: the kubelet's
//! client certificate exists for every node (kubeadm lets joining kubelets request theirs), and its serving
//! certificate is signed by the cluster authority instead of by itself.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Error;

/// How far the beginning of a validity lies before now, so that a small clock jump does not reject a fresh
/// certificate. Source: kubeadm's `CertificateBackdate`.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Group that kubeadm binds to `cluster-admin` by the ClusterRoleBinding of the same name.
pub const CLUSTER_ADMINS: &str = "kubeadm:cluster-admins";
/// Group that the API server lets do everything, without asking RBAC.
pub const SYSTEM_MASTERS: &str = "system:masters";
/// Group of kubelets, needed by the node authorizer.
pub const SYSTEM_NODES: &str = "system:nodes";
/// What stands before the node name in a kubelet's user name.
pub const NODE_USER_PREFIX: &str = "system:node:";

/// A Kubernetes 1.x version, as far as certificates depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct KubernetesVersion {
    /// The y of 1.y.z.
    pub minor: u16,
    /// The z of 1.y.z.
    pub patch: u16,
}

impl KubernetesVersion {
    /// Version `1.minor.patch`.
    pub const fn new(minor: u16, patch: u16) -> Self {
        Self { minor, patch }
    }

    /// Whether `apiserver-kubelet-client` belongs to [`CLUSTER_ADMINS`].
    ///
    /// Since kubernetes/kubernetes #138957 it belongs to no group and the ClusterRoleBinding
    /// `kubeadm:apiserver-kubelet-client` gives it `system:kubelet-api-admin` instead. The change came with 1.37 and
    /// was put into patches of older minors: read in the sources of 1.34.7 (group), 1.34.8 (none), 1.35.4 (group),
    /// 1.36.0 (group), 1.36.1 and 1.36.3 (none); 1.33.12 and 1.35.5 as announced with it.
    pub const fn kubelet_client_is_cluster_admin(self) -> bool {
        match self.minor {
            0..=32 => true,
            33 => self.patch < 12,
            34 => self.patch < 8,
            35 => self.patch < 5,
            36 => self.patch < 1,
            _ => false,
        }
    }
}

/// How long certificates live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validity {
    /// Of authorities; kubeadm's `caCertificateValidityPeriod`.
    pub authority: Duration,
    /// Of everything an authority signs; kubeadm's `certificateValidityPeriod`.
    pub leaf: Duration,
}

impl Default for Validity {
    /// Ten years and one year of 365 days, as kubeadm has it.
    fn default() -> Self {
        Self { authority: DAY * 365 * 10, leaf: DAY * 365 }
    }
}

/// First and last moment of a certificate's validity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First moment.
    pub not_before: Timestamp,
    /// Last moment.
    pub not_after: Timestamp,
}

impl Window {
    /// From [`BACKDATE`] before `now` until `lifetime` after it, both in whole seconds.
    ///
    /// # Errors
    /// [`Error::UnrepresentableTime`] when a moment lies beyond what a timestamp can hold.
    pub fn starting(now: Timestamp, lifetime: Duration) -> Result<Self, Error> {
        let second = |at: Result<Timestamp, jiff::Error>| {
            at.and_then(|at| Timestamp::from_second(at.as_second())).map_err(|_| Error::UnrepresentableTime { at: now })
        };
        Ok(Self { not_before: second(now.checked_sub(BACKDATE))?, not_after: second(now.checked_add(lifetime))? })
    }
}

/// Who a certificate speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The user or server name.
    pub common_name: String,
    /// The group, for client certificates that carry one.
    pub organization: Option<String>,
}

impl Subject {
    /// A subject without a group.
    pub fn new(common_name: impl Into<String>) -> Self {
        Self { common_name: common_name.into(), organization: None }
    }

    /// A subject with its group.
    pub fn in_group(common_name: impl Into<String>, organization: impl Into<String>) -> Self {
        Self { common_name: common_name.into(), organization: Some(organization.into()) }
    }
}

/// What a certificate may be used for in TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TlsUsage {
    /// To answer connections.
    Server,
    /// To open connections.
    Client,
}

/// The three authorities of a kubeadm cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AuthorityName {
    /// Signs everything that meets the API server.
    Cluster,
    /// Signs the one client that aggregated API servers trust.
    FrontProxy,
    /// Signs etcd's servers, peers and clients.
    Etcd,
}

impl AuthorityName {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cluster, Self::FrontProxy, Self::Etcd];

    /// kubeadm's file name below the PKI folder, without `.crt` or `.key`.
    pub const fn base_name(self) -> &'static str {
        match self {
            Self::Cluster => "ca",
            Self::FrontProxy => "front-proxy-ca",
            Self::Etcd => "etcd/ca",
        }
    }

    /// The subject; it also stands as DNS name in the certificate (Go insists on a name there).
    pub const fn common_name(self) -> &'static str {
        match self {
            Self::Cluster => "kubernetes",
            Self::FrontProxy => "front-proxy-ca",
            Self::Etcd => "etcd-ca",
        }
    }
}

/// Every certificate an authority of the cluster signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LeafName {
    /// The API server towards its clients.
    ApiServer,
    /// The API server towards kubelets.
    ApiServerKubeletClient,
    /// The API server towards aggregated API servers.
    FrontProxyClient,
    /// An etcd member towards its clients.
    EtcdServer,
    /// An etcd member towards the other members.
    EtcdPeer,
    /// The probe of an etcd member.
    EtcdHealthcheckClient,
    /// The API server towards etcd.
    ApiServerEtcdClient,
    /// The administrator.
    Admin,
    /// The administrator for emergencies, whom RBAC cannot lock out.
    SuperAdmin,
    /// The controller manager.
    ControllerManager,
    /// The scheduler.
    Scheduler,
    /// A kubelet towards the API server.
    KubeletClient,
    /// A kubelet towards the API server's calls (logs, exec, metrics).
    KubeletServing,
}

impl LeafName {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::ApiServer,
        Self::ApiServerKubeletClient,
        Self::FrontProxyClient,
        Self::EtcdServer,
        Self::EtcdPeer,
        Self::EtcdHealthcheckClient,
        Self::ApiServerEtcdClient,
        Self::Admin,
        Self::SuperAdmin,
        Self::ControllerManager,
        Self::Scheduler,
        Self::KubeletClient,
        Self::KubeletServing,
    ];

    /// The row's name: kubeadm's base name below the PKI folder, its kubeconfig's name, or ours for the kubelet.
    pub const fn base_name(self) -> &'static str {
        match self {
            Self::ApiServer => "apiserver",
            Self::ApiServerKubeletClient => "apiserver-kubelet-client",
            Self::FrontProxyClient => "front-proxy-client",
            Self::EtcdServer => "etcd/server",
            Self::EtcdPeer => "etcd/peer",
            Self::EtcdHealthcheckClient => "etcd/healthcheck-client",
            Self::ApiServerEtcdClient => "apiserver-etcd-client",
            Self::Admin => "admin.conf",
            Self::SuperAdmin => "super-admin.conf",
            Self::ControllerManager => "controller-manager.conf",
            Self::Scheduler => "scheduler.conf",
            Self::KubeletClient => "kubelet-client",
            Self::KubeletServing => "kubelet",
        }
    }

    /// Who signs it.
    pub const fn authority(self) -> AuthorityName {
        match self {
            Self::FrontProxyClient => AuthorityName::FrontProxy,
            Self::EtcdServer | Self::EtcdPeer | Self::EtcdHealthcheckClient | Self::ApiServerEtcdClient => {
                AuthorityName::Etcd
            }
            _ => AuthorityName::Cluster,
        }
    }

    /// Who it speaks for, on the node of that name, in a cluster of that version.
    pub fn subject(self, version: KubernetesVersion, node: &str) -> Subject {
        let node_user = || Subject::in_group(format!("{NODE_USER_PREFIX}{node}"), SYSTEM_NODES);
        match self {
            Self::ApiServer => Subject::new("kube-apiserver"),
            Self::ApiServerKubeletClient => Subject {
                common_name: "kube-apiserver-kubelet-client".to_owned(),
                organization: version.kubelet_client_is_cluster_admin().then(|| CLUSTER_ADMINS.to_owned()),
            },
            Self::FrontProxyClient => Subject::new("front-proxy-client"),
            Self::EtcdServer | Self::EtcdPeer => Subject::new(node),
            Self::EtcdHealthcheckClient => Subject::new("kube-etcd-healthcheck-client"),
            Self::ApiServerEtcdClient => Subject::new("kube-apiserver-etcd-client"),
            Self::Admin => Subject::in_group("kubernetes-admin", CLUSTER_ADMINS),
            Self::SuperAdmin => Subject::in_group("kubernetes-super-admin", SYSTEM_MASTERS),
            Self::ControllerManager => Subject::new("system:kube-controller-manager"),
            Self::Scheduler => Subject::new("system:kube-scheduler"),
            Self::KubeletClient | Self::KubeletServing => node_user(),
        }
    }

    /// What it may be used for.
    pub const fn usages(self) -> &'static [TlsUsage] {
        match self {
            Self::ApiServer | Self::KubeletServing => &[TlsUsage::Server],
            // etcd's server certificate is also used as a client by its own gateway: etcd #9785.
            Self::EtcdServer | Self::EtcdPeer => &[TlsUsage::Server, TlsUsage::Client],
            _ => &[TlsUsage::Client],
        }
    }
}
