//! The cluster's API: [`ClusterApi`] is the [`KubeApi`] port over kube's client.
//!
//! kube's own hidden retries are off: they would repeat any request, even one that must not be, for minutes, without a
//! word and deaf to our deadlines. [`call`](ClusterApi) repeats what is harmless to repeat, [`dial`] changes the
//! control plane.

mod apply;
mod call;
#[cfg(test)]
mod conversation;
mod cordon;
mod deprecated;
mod dial;
mod evict;
mod fault;
mod follow;
pub mod kubeconfig;
pub mod lease;
mod node;
mod observe;
mod ready;
mod resource;
mod room;
mod running;
mod service;
mod watch;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use kube::Client;
use kube::client::Body;
use kubewright_core::drain::{Apart, Name, News, Occupancy, Outcome, Permission, View};
use kubewright_core::facts::{NodeFacts, Running};
use kubewright_core::health::Condition;
use kubewright_core::ids::{HostName, OperationId};
use kubewright_core::marks::NodeMarks;
use kubewright_core::spec::{Role, Spec};
use kubewright_core::version::Version;
use serde_json::Value;
use tower::service_fn;

pub use self::apply::apply_all;
use self::dial::Dialer;
pub use self::dial::{Credentials, Way};
pub(crate) use self::fault::{classify, is_final};
use crate::ports::{
    Applied, Cordoned, Hosts, KubeApi, KubeError, Lines, ObjectRef, Patched, Readiness, Uncordoned, Whose, Workloads,
};

/// Name under which our fields stand in `metadata.managedFields`.
pub const FIELD_MANAGER: &str = "kubewright";

/// How long one call is tried again. Long enough for a control plane to be swapped under it (11 s, DESIGN.md §5) and
/// for etcd to elect; steps that wait longer say so by [`ClusterApi::patience`].
const PATIENCE: Duration = Duration::from_secs(30);

/// One cluster's API through whichever of its control planes answers. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct ClusterApi {
    client: Client,
    dialer: Option<Arc<Dialer>>,
    patience: Duration,
}

impl ClusterApi {
    /// Prepares the way to a cluster; the first call makes the first connection.
    ///
    /// # Errors
    /// [`crate::ports::Fault::Invalid`] for credentials that cannot be used or an empty list of control planes.
    pub fn connect(
        way: Way,
        control_planes: &[(HostName, SocketAddr)],
        credentials: &Credentials,
    ) -> Result<Self, KubeError> {
        Ok(Self::through(Dialer::new(&way, control_planes, credentials)?, PATIENCE))
    }

    /// The API of a spec's cluster through SSH and any of its control planes.
    ///
    /// # Errors
    /// Those of [`ClusterApi::connect`].
    pub fn over_ssh(spec: &Spec, hosts: Arc<dyn Hosts>, credentials: &Credentials) -> Result<Self, KubeError> {
        let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), spec.api_port());
        let control_planes: Vec<(HostName, SocketAddr)> =
            spec.with_role(Role::ControlPlane).map(|host| (host.name.clone(), local)).collect();
        Self::connect(Way::Ssh(hosts), &control_planes, credentials)
    }

    /// An API over a client of the caller's making, such as one with scripted answers.
    pub fn over(client: Client) -> Self {
        Self { client, dialer: None, patience: PATIENCE }
    }

    /// The same with another limit to how long one call is tried again.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The same through this one control plane, to ask how *it* is; `None` where it is not one of ours.
    pub fn only(&self, control_plane: &HostName) -> Option<Self> {
        let dialer = self.dialer.as_ref()?.only(control_plane)?;
        Some(Self::through(dialer, self.patience))
    }

    /// The client beneath: it changes the control plane where it cannot connect and repeats nothing.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    fn through(dialer: Dialer, patience: Duration) -> Self {
        let dialer = Arc::new(dialer);
        let sender = Arc::clone(&dialer);
        let service = service_fn(move |request: http::Request<Body>| {
            let dialer = Arc::clone(&sender);
            async move { dialer.send(request).await }
        });
        Self { client: Client::new(service, "default"), dialer: Some(dialer), patience }
    }
}

#[async_trait]
impl KubeApi for ClusterApi {
    async fn apply(&self, object: &Value) -> Result<Applied, KubeError> {
        apply::apply(self, object).await
    }

    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, KubeError> {
        apply::get(self, object).await
    }

    async fn patch_node(&self, node: &HostName, marks: &NodeMarks) -> Result<Patched, KubeError> {
        node::patch(self, node, marks).await
    }

    async fn ready(&self) -> Result<Readiness, KubeError> {
        ready::readiness(self).await
    }

    async fn version(&self) -> Result<Version, KubeError> {
        ready::version(self).await
    }

    async fn nodes(&self) -> Result<BTreeMap<HostName, NodeFacts>, KubeError> {
        node::list(self).await
    }

    async fn running(&self) -> Result<Running, KubeError> {
        running::running(self).await
    }

    async fn delete(&self, object: &ObjectRef) -> Result<bool, KubeError> {
        apply::delete(self, object).await
    }

    async fn wait_until(&self, condition: &Condition, within: Duration, progress: Lines<'_>) -> Result<(), KubeError> {
        watch::wait_until(self, condition, within, progress).await
    }
}

#[async_trait]
impl Workloads for ClusterApi {
    fn follow(&self, view: &View) -> BoxStream<'static, Result<News, KubeError>> {
        follow::follow(self, view)
    }

    async fn evict(&self, pod: &Name, uid: &str) -> Outcome {
        evict::evict(self, pod, uid).await
    }

    async fn delete_pod(&self, pod: &Name, uid: &str) -> Outcome {
        evict::delete(self, pod, uid).await
    }

    async fn cordon(&self, node: &HostName, operation: &OperationId) -> Result<Cordoned, KubeError> {
        cordon::cordon(self, node, operation).await
    }

    async fn served_alone(&self, nodes: &BTreeSet<HostName>) -> Result<BTreeMap<HostName, BTreeSet<Name>>, KubeError> {
        service::served_alone(self, nodes).await
    }

    async fn occupancy(&self, kept_apart: &BTreeSet<Apart>) -> Result<Occupancy, KubeError> {
        room::occupancy(self, kept_apart).await
    }

    async fn exclude(&self, node: &HostName, operation: &OperationId) -> Result<(), KubeError> {
        cordon::exclude(self, node, operation).await
    }

    async fn uncordon(&self, node: &HostName, whose: &Whose) -> Result<Uncordoned, KubeError> {
        cordon::uncordon(self, node, whose).await
    }

    async fn may(&self, permission: Permission) -> Result<bool, KubeError> {
        evict::may(self, permission).await
    }

    async fn remark(&self, about: &ObjectRef, reason: &str, text: &str) -> Result<(), KubeError> {
        evict::remark(self, about, reason, text).await
    }
}
