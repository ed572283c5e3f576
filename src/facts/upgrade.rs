//! What matters only where another version is to come, asked for side by side: who uses what goes, and when certificates end.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kubewright_core::etcd::status::Certificate;
use kubewright_core::facts::{ApisInUse, Fact, Facts};
use kubewright_core::ids::HostName;
use kubewright_core::spec::Spec;

use super::certificates;
use crate::kube::ClusterApi;
use crate::ports::Hosts;

/// When the certificates on the spec's hosts end; a round trip each, whether the API answers or not.
pub async fn gather_certificates(
    spec: &Spec,
    hosts: &dyn Hosts,
    facts: &Facts,
    now: Timestamp,
) -> BTreeMap<HostName, Fact<Vec<Certificate>>> {
    // Who cannot be reached is told of once, elsewhere.
    let names = spec.hosts.iter().map(|host| &host.name).filter(|name| facts.host(name).is_some());
    let names: Vec<HostName> = names.cloned().collect();
    let read = certificates::of_all(hosts, &spec.name, &names).await;
    let fact = |read: Result<_, String>| match read {
        Ok(value) => Fact::Known { value, at: now },
        Err(why) => Fact::unreadable(why),
    };
    read.into_iter().map(|(host, read)| (host, fact(read))).collect()
}

/// APIs in use that go.
pub async fn gather_apis(api: &ClusterApi, now: Timestamp) -> Fact<ApisInUse> {
    Fact::Known { value: api.apis_in_use().await, at: now }
}
