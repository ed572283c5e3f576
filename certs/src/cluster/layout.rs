//! kubeadm's paths, and which host gets what: the story of a cluster's PKI, decided before any key is made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use jiff::Timestamp;

use super::{ClusterPki, Host};
use crate::Error;
use crate::names::{AltNames, Endpoint};
use crate::profile::{AuthorityName, LeafName};

/// kubeadm's folder for kubeconfigs and manifests.
pub const KUBERNETES_DIR: &str = "/etc/kubernetes";
/// kubeadm's `certificatesDir`.
pub const PKI_DIR: &str = "/etc/kubernetes/pki";
/// The kubelet's `--cert-dir`.
pub const KUBELET_PKI_DIR: &str = "/var/lib/kubelet/pki";
/// The link to the kubelet's present client certificate. Source: client-go `util/certificate` `NewFileStore`.
pub const KUBELET_CLIENT_CURRENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// One thing a host gets, with its final paths.
#[derive(Debug)]
pub(super) enum Item {
    /// An authority's certificate.
    AuthorityCertificate { name: AuthorityName, path: String },
    /// An authority's key.
    AuthorityKey { name: AuthorityName, path: String },
    /// The service account key pair.
    ServiceAccount { key: String, public: String },
    /// A certificate with its key, delivered in that form.
    Leaf { name: LeafName, alt_names: AltNames, form: Form },
}

/// How a leaf and its key are delivered.
#[derive(Debug)]
pub(super) enum Form {
    /// As two files.
    Pair { certificate: String, key: String },
    /// Embedded in a kubeconfig for that API server.
    Kubeconfig { path: String, server: Endpoint },
    /// The kubelet's: one dated PEM file with both, the link to it, and a kubeconfig for that API server.
    Kubelet { dated: String, link: String, kubeconfig: String, server: Endpoint },
}

impl Item {
    /// The paths of its files in the order they are written.
    pub(super) fn paths(&self) -> Vec<&str> {
        match self {
            Self::AuthorityCertificate { path, .. } | Self::AuthorityKey { path, .. } => vec![path],
            Self::ServiceAccount { key, public } => vec![key, public],
            Self::Leaf { form, .. } => match form {
                Form::Pair { certificate, key } => vec![certificate, key],
                Form::Kubeconfig { path, .. } => vec![path],
                Form::Kubelet { dated, link, kubeconfig, .. } => vec![dated, link, kubeconfig],
            },
        }
    }

    fn authority(name: AuthorityName) -> Self {
        Self::AuthorityCertificate { name, path: format!("{PKI_DIR}/{}.crt", name.base_name()) }
    }

    fn authority_key(name: AuthorityName) -> Self {
        Self::AuthorityKey { name, path: format!("{PKI_DIR}/{}.key", name.base_name()) }
    }

    fn service_account() -> Self {
        Self::ServiceAccount { key: format!("{PKI_DIR}/sa.key"), public: format!("{PKI_DIR}/sa.pub") }
    }

    fn pair(name: LeafName, folder: &str, alt_names: AltNames) -> Self {
        let base = name.base_name();
        let form = Form::Pair { certificate: format!("{folder}/{base}.crt"), key: format!("{folder}/{base}.key") };
        Self::Leaf { name, alt_names, form }
    }

    fn kubeconfig(name: LeafName, server: &Endpoint) -> Self {
        let form = Form::Kubeconfig { path: format!("{KUBERNETES_DIR}/{}", name.base_name()), server: server.clone() };
        Self::Leaf { name, alt_names: AltNames::new(), form }
    }

    /// The date stands as client-go's certificate store writes it, but in UTC, so that it does not depend on
    /// where the command runs.
    fn kubelet_client(server: Endpoint, now: Timestamp) -> Self {
        let name = LeafName::KubeletClient;
        let form = Form::Kubelet {
            dated: format!("{KUBELET_PKI_DIR}/{}-{}.pem", name.base_name(), now.strftime("%Y-%m-%d-%H-%M-%S")),
            link: KUBELET_CLIENT_CURRENT.to_owned(),
            kubeconfig: format!("{KUBERNETES_DIR}/kubelet.conf"),
            server,
        };
        Self::Leaf { name, alt_names: AltNames::new(), form }
    }
}

/// Everything a host gets, in the order it is written: what others refer to comes first.
pub(super) fn items(pki: &ClusterPki, host: &Host) -> Result<Vec<Item>, Error> {
    let mut items = Vec::new();
    let roles = host.roles;
    if roles.control_plane {
        for name in AuthorityName::ALL {
            items.push(Item::authority(name));
            items.push(Item::authority_key(name));
        }
        items.push(Item::service_account());
        items.push(Item::pair(LeafName::ApiServer, PKI_DIR, api_server_names(pki, host)?));
        for name in [LeafName::ApiServerKubeletClient, LeafName::FrontProxyClient, LeafName::ApiServerEtcdClient] {
            items.push(Item::pair(name, PKI_DIR, AltNames::new()));
        }
    } else if roles.worker {
        items.push(Item::authority(AuthorityName::Cluster));
    }
    if roles.etcd {
        if !roles.control_plane {
            items.push(Item::authority(AuthorityName::Etcd));
        }
        items.push(Item::pair(LeafName::EtcdServer, PKI_DIR, etcd_names(host, &pki.extra_etcd_server_names)?));
        items.push(Item::pair(LeafName::EtcdPeer, PKI_DIR, etcd_names(host, &pki.extra_etcd_peer_names)?));
        items.push(Item::pair(LeafName::EtcdHealthcheckClient, PKI_DIR, AltNames::new()));
    }
    if roles.control_plane {
        let local = pki.local_api_server(host)?;
        // As in kubeadm: people come through the endpoint, components stay on their host.
        let endpoint = pki.control_plane_endpoint.as_ref().unwrap_or(&local);
        items.push(Item::kubeconfig(LeafName::Admin, endpoint));
        if pki.control_planes().next().is_some_and(|first| first.name == host.name) {
            items.push(Item::kubeconfig(LeafName::SuperAdmin, endpoint));
        }
        items.push(Item::kubeconfig(LeafName::ControllerManager, &local));
        items.push(Item::kubeconfig(LeafName::Scheduler, &local));
    }
    if roles.is_node() {
        items.push(Item::kubelet_client(kubelet_api_server(pki, host)?, pki.now));
        items.push(Item::pair(LeafName::KubeletServing, KUBELET_PKI_DIR, host_names(host)?));
    }
    Ok(items)
}

/// The API server a kubelet talks to, by the rule of [`Host::kubelet_api_server`].
fn kubelet_api_server(pki: &ClusterPki, host: &Host) -> Result<Endpoint, Error> {
    match &host.kubelet_api_server {
        Some(endpoint) => Ok(endpoint.clone()),
        None if host.roles.control_plane => pki.local_api_server(host),
        None => Endpoint::new("127.0.0.1", pki.api_port),
    }
}

/// Names of an API server: kubeadm's (`pkiutil.GetAPIServerAltNames`), then ours.
fn api_server_names(pki: &ClusterPki, host: &Host) -> Result<AltNames, Error> {
    let mut names = AltNames::new();
    names.insert(&host.name)?;
    for name in ["kubernetes", "kubernetes.default", "kubernetes.default.svc"] {
        names.insert(name)?;
    }
    names.insert(&format!("kubernetes.default.svc.{}", pki.service_domain))?;
    for address in &pki.service_addresses {
        names.insert_address(*address);
    }
    names.insert_address(host.advertised()?);
    if let Some(endpoint) = &pki.control_plane_endpoint {
        names.insert(endpoint.host())?;
    }
    for name in &pki.extra_api_server_names {
        names.insert(name)?;
    }
    names.insert("localhost")?;
    names.insert_address(Ipv4Addr::LOCALHOST.into());
    for control_plane in pki.control_planes() {
        add_host(&mut names, control_plane)?;
    }
    Ok(names)
}

/// Names of an etcd member. Source: `pkiutil.getAltNames`.
fn etcd_names(host: &Host, extra: &[String]) -> Result<AltNames, Error> {
    let mut names = AltNames::new();
    names.insert(&host.name)?;
    names.insert("localhost")?;
    names.insert_address(host.advertised()?);
    names.insert_address(IpAddr::V4(Ipv4Addr::LOCALHOST));
    names.insert_address(IpAddr::V6(Ipv6Addr::LOCALHOST));
    for name in extra {
        names.insert(name)?;
    }
    add_host(&mut names, host)?;
    Ok(names)
}

fn host_names(host: &Host) -> Result<AltNames, Error> {
    let mut names = AltNames::new();
    add_host(&mut names, host)?;
    Ok(names)
}

fn add_host(names: &mut AltNames, host: &Host) -> Result<(), Error> {
    names.insert(&host.name)?;
    for name in &host.dns_names {
        names.insert(name)?;
    }
    for address in &host.addresses {
        names.insert_address(*address);
    }
    Ok(())
}
