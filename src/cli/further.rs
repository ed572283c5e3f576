//! What only another version makes worth asking.

use std::sync::Arc;

use kubewright_core::facts::{Fact, Facts};
use kubewright_core::spec::Spec;

use super::etcd::stores;
use super::world::World;
use crate::error::Error;
use crate::facts::upgrade;
use crate::kube::ClusterApi;
use crate::ports::Hosts;

/// Adds to what was seen of a cluster: APIs in use, ends of certificates, copies of etcd; all side by side. No way to the API: planning says
/// so by itself.
pub(super) async fn look(
    world: &World,
    spec: &Spec,
    hosts: &Arc<dyn Hosts>,
    api: Option<&Result<ClusterApi, Error>>,
    mut facts: Facts,
) -> Facts {
    let now = world.clock.now();
    let apis = async {
        match api {
            None => Fact::Absent,
            Some(Ok(api)) => upgrade::gather_apis(api, now).await,
            Some(Err(error)) => Fact::unreadable(error.to_string()),
        }
    };
    let certificates = upgrade::gather_certificates(spec, hosts.as_ref(), &facts, now);
    let (apis, certificates, copies) = tokio::join!(apis, certificates, stores::copies(world, spec));
    (facts.apis, facts.certificates, facts.copies) = (apis, certificates, Fact::Known { value: copies, at: now });
    facts
}
