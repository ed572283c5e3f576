//! Services that keep traffic from outside on the node where it arrives (`externalTrafficPolicy: Local`): which of them nodes
//! serve alone.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ObjectList;
use kubewright_core::drain::Name;
use kubewright_core::ids::HostName;

use super::ClusterApi;
use super::call::Call;
use crate::ports::KubeError;

/// Names the Service of a slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Such Services whose serving endpoints are all on one of these nodes, by node; two lists, however many nodes there are.
pub(super) async fn served_alone(
    api: &ClusterApi,
    nodes: &BTreeSet<HostName>,
) -> Result<BTreeMap<HostName, BTreeSet<Name>>, KubeError> {
    let services = Call::get("list Services", "/api/v1/services");
    let services: ObjectList<Service> = api.call(&services).await?.json(&services.doing)?;
    let local: BTreeSet<Name> = services.items.iter().filter(|service| is_local(service)).map(name).collect();
    if local.is_empty() {
        return Ok(BTreeMap::new());
    }
    let slices = Call::get("list EndpointSlices", "/apis/discovery.k8s.io/v1/endpointslices");
    let slices: ObjectList<EndpointSlice> = api.call(&slices).await?.json(&slices.doing)?;
    Ok(alone(local, &places(&slices.items), nodes))
}

/// Of these Services those with a single place, among these nodes.
fn alone(
    services: BTreeSet<Name>,
    places: &BTreeMap<Name, BTreeSet<String>>,
    nodes: &BTreeSet<HostName>,
) -> BTreeMap<HostName, BTreeSet<Name>> {
    let mut alone: BTreeMap<HostName, BTreeSet<Name>> = BTreeMap::new();
    for service in services {
        let Some(places) = places.get(&service).filter(|places| places.len() == 1) else { continue };
        if let Some(node) = nodes.iter().find(|node| places.contains(node.as_str())) {
            alone.entry(node.clone()).or_default().insert(service);
        }
    }
    alone
}

fn name(service: &Service) -> Name {
    let of = |part: &Option<String>| part.clone().unwrap_or_default();
    Name::new(of(&service.metadata.namespace), of(&service.metadata.name))
}

fn is_local(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.external_traffic_policy.as_deref() == Some("Local"))
}

/// On which nodes each Service has endpoints that serve.
fn places(slices: &[EndpointSlice]) -> BTreeMap<Name, BTreeSet<String>> {
    let mut places: BTreeMap<Name, BTreeSet<String>> = BTreeMap::new();
    for slice in slices {
        let Some(service) = slice.metadata.labels.as_ref().and_then(|labels| labels.get(SERVICE_NAME)) else {
            continue;
        };
        let name = Name::new(slice.metadata.namespace.clone().unwrap_or_default(), service.clone());
        // An unknown readiness is to be taken for ready (discovery/v1, EndpointConditions).
        let ready =
            slice.endpoints.iter().flatten().filter(|endpoint| {
                endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
            });
        places.entry(name).or_default().extend(ready.filter_map(|endpoint| endpoint.node_name.clone()));
    }
    places
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_endpoints_that_serve_have_a_place() {
        let slice: EndpointSlice = serde_json::from_value(json!({
            "addressType": "IPv4",
            "metadata": { "namespace": "shop", "name": "front-x", "labels": { SERVICE_NAME: "front" } },
            "endpoints": [
                { "addresses": ["10.0.0.1"], "nodeName": "w1", "conditions": { "ready": true } },
                { "addresses": ["10.0.0.2"], "nodeName": "w2", "conditions": { "ready": false } },
                { "addresses": ["10.0.0.3"], "nodeName": "w3" },
            ],
        }))
        .unwrap();
        let front = Name::new("shop", "front");
        let mut places = places(&[slice]);
        assert_eq!(places[&front], BTreeSet::from(["w1".to_owned(), "w3".to_owned()]));
        let nodes = BTreeSet::from(["w1".into(), "w2".into()]);
        let alone = |places: &_| alone(BTreeSet::from([front.clone(), Name::new("shop", "none")]), places, &nodes);
        assert!(alone(&places).is_empty(), "two serve it");
        places.insert(front.clone(), BTreeSet::from(["w1".to_owned()]));
        assert_eq!(alone(&places), BTreeMap::from([("w1".into(), BTreeSet::from([front.clone()]))]));
        places.insert(front.clone(), BTreeSet::from(["w3".to_owned()]));
        assert!(alone(&places).is_empty(), "nobody asked about w3");
    }

    #[test]
    fn traffic_is_local_where_the_service_says_so() {
        let service = |policy: Option<&str>| -> Service {
            serde_json::from_value(json!({ "metadata": {}, "spec": { "externalTrafficPolicy": policy } })).unwrap()
        };
        assert!(is_local(&service(Some("Local"))));
        assert!(!is_local(&service(Some("Cluster"))) && !is_local(&service(None)));
    }
}
