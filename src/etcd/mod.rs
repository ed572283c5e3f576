//! etcd: [`EtcdCluster`] is the [`EtcdApi`] port over the crate etcd-client, one client for each member, because how a member
//! is, only its own endpoint tells.
//!
//! [`endpoint`] reaches one member, [`observe`] puts together what all of them say, [`change`] makes changes that are safe
//! to repeat, [`contents`] asks what members hold and receives it, [`fault`] sorts what goes wrong.

mod change;
pub mod contents;
pub mod credentials;
mod endpoint;
pub mod fake;
mod fault;
mod observe;
mod upkeep;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Certificate, Identity, TlsOptions};
use kubewright_core::facts::etcd::{Alarm, ContentHash, EtcdFacts, MemberId};
use kubewright_core::ids::HostName;
use kubewright_core::spec::{Role, Spec};
use kubewright_manifests::static_pods::CLIENT_PORT;
use secrecy::ExposeSecret;

use self::endpoint::Endpoint;
use crate::kube::{Credentials, Way};
use crate::ports::{Added, Clock, EtcdApi, EtcdChange, EtcdError, EtcdFault, Hosts, MemberList, SnapshotStream};

/// A name that every server certificate of kubeadm's layout carries, whatever address we come by
/// (`getAltNames` of kubeadm's pkiutil: the host's name, `localhost`, 127.0.0.1, ::1, its address).
const SERVER_NAME: &str = "localhost";

/// Where a member of the cluster is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The host of ours.
    pub host: HostName,
    /// Its client endpoint: as seen from that host through SSH, as seen from here otherwise.
    pub client: SocketAddr,
    /// The address of its peer URL, by which it is known in the list while it does not answer.
    pub peer: IpAddr,
}

/// One etcd cluster through the endpoints of our hosts. Connections are made on first use and kept.
pub struct EtcdCluster {
    endpoints: Vec<Endpoint>,
    clock: Arc<dyn Clock>,
    patience: Duration,
}

impl EtcdCluster {
    /// Prepares the way to a cluster; the first call makes the first connections.
    ///
    /// # Errors
    /// [`EtcdFault::Invalid`] for an empty list of places.
    pub fn connect(
        way: &Way,
        places: &[Place],
        credentials: &Credentials,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EtcdError> {
        if places.is_empty() {
            let said = "there is no host with role etcd to connect to";
            return Err(EtcdError::new(EtcdFault::Invalid, "prepare the connection to etcd", said));
        }
        let tls = TlsOptions::new()
            .domain_name(SERVER_NAME)
            .ca_certificate(Certificate::from_pem(&credentials.ca_pem))
            .identity(Identity::from_pem(&credentials.client_cert_pem, credentials.client_key_pem.expose_secret()));
        let endpoints = places.iter().map(|place| Endpoint::new(place.clone(), way.clone(), tls.clone())).collect();
        Ok(Self { endpoints, clock, patience: change::PATIENCE })
    }

    /// The same with another limit to how long a change that may succeed a little later is tried again.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl EtcdCluster {
    /// The etcd of a spec's cluster through SSH, with the credentials of the first of these control planes that has them.
    ///
    /// # Errors
    /// Those of [`credentials::read`] and [`EtcdCluster::connect`].
    pub async fn over_ssh(
        spec: &Spec,
        hosts: Arc<dyn Hosts>,
        control_planes: &[HostName],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EtcdError> {
        let client = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), CLIENT_PORT);
        let places = spec.with_role(Role::Etcd);
        let places: Vec<Place> =
            places.map(|host| Place { host: host.name.clone(), client, peer: host.private_address }).collect();
        let credentials = credentials::read(hosts.as_ref(), &spec.name, control_planes).await?;
        Self::connect(&Way::Ssh(hosts), &places, &credentials, clock)
    }
}

#[async_trait]
impl EtcdApi for EtcdCluster {
    async fn observe(&self) -> Result<EtcdFacts, EtcdError> {
        observe::observe(&self.endpoints, self.clock.as_ref()).await
    }

    async fn members(&self) -> Result<MemberList, EtcdError> {
        observe::members(&self.endpoints).await
    }

    async fn add_learner(&self, peer_url: &str) -> Result<Added, EtcdError> {
        change::add_learner(self, peer_url).await
    }

    async fn promote(&self, member: MemberId) -> Result<EtcdChange, EtcdError> {
        change::promote(self, member).await
    }

    async fn remove(&self, member: MemberId) -> Result<EtcdChange, EtcdError> {
        change::remove(self, member).await
    }

    async fn move_leader(&self, to: MemberId) -> Result<EtcdChange, EtcdError> {
        change::move_leader(self, to).await
    }

    async fn alarms(&self) -> Result<Vec<Alarm>, EtcdError> {
        observe::alarms(&self.endpoints).await
    }

    async fn hashes(&self, hosts: &[HostName], revision: i64) -> BTreeMap<HostName, Result<ContentHash, EtcdError>> {
        contents::hashes(&self.endpoints, hosts, revision).await
    }

    async fn defragment(&self, host: &HostName) -> Result<(), EtcdError> {
        upkeep::defragment(self, host).await
    }

    async fn compact(&self, revision: i64) -> Result<EtcdChange, EtcdError> {
        upkeep::compact(self, revision).await
    }

    async fn disarm(&self, of: Option<MemberId>) -> Result<Vec<Alarm>, EtcdError> {
        upkeep::disarm(self, of).await
    }

    async fn snapshot(&self, host: &HostName) -> Result<Box<dyn SnapshotStream>, EtcdError> {
        contents::receive(&self.endpoints, host).await
    }
}
