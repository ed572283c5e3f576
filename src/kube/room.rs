//! What pods ask for and what nodes have, and what runs everywhere, as [`kubewright_core::drain::room`] reckons with it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Pod, PodAffinityTerm, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ObjectList;
use kubewright_core::drain::{Amounts, Apart, Neighbour, Occupancy, Unjudged};

use super::ClusterApi;
use super::call::Call;
use super::workload::selector;
use crate::ports::{Fault, KubeError};

/// Pods of one page: kubectl's and client-go's size. A page is 2.5 MB of usual pods.
const PAGE: usize = 500;

/// Amounts by resource.
pub(super) fn amounts(of: Option<&BTreeMap<String, Quantity>>) -> Amounts {
    Amounts::of(of.into_iter().flatten().map(|(resource, quantity)| (resource.as_str(), quantity.0.as_str())))
}

/// What a pod asks for, as the scheduler reckons (kubernetes component-helpers, resource.PodRequests): containers add up
/// with the init containers that go on running; another init container runs beside those before it alone. What the pod
/// asks for as a whole takes the place of that.
pub(super) fn requests(spec: &PodSpec) -> Amounts {
    let of =
        |container: &Container| amounts(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()));
    let mut all = Amounts::default();
    spec.containers.iter().for_each(|container| all.add(&of(container)));
    let (mut running, mut starting) = (Amounts::default(), Amounts::default());
    for init in spec.init_containers.iter().flatten() {
        if init.restart_policy.as_deref() == Some("Always") {
            running.add(&of(init));
            starting.raise(&running);
        } else {
            let mut beside = running.clone();
            beside.add(&of(init));
            starting.raise(&beside);
        }
    }
    all.add(&running);
    all.raise(&starting);
    all.replace(amounts(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref())));
    all.add(&amounts(spec.overhead.as_ref()));
    all.add(&Amounts::of([("pods", "1")]));
    all
}

/// Required anti-affinities that are judged.
pub(super) fn apart(spec: &PodSpec, namespace: &str) -> Vec<Apart> {
    terms(spec).iter().filter_map(|term| judged(term, namespace)).collect()
}

fn terms(spec: &PodSpec) -> &[PodAffinityTerm] {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    affinity.and_then(|anti| anti.required_during_scheduling_ignored_during_execution.as_deref()).unwrap_or_default()
}

/// A term that names its pods by labels and namespaces; `None` for others.
fn judged(term: &PodAffinityTerm, namespace: &str) -> Option<Apart> {
    let keys = [&term.match_label_keys, &term.mismatch_label_keys];
    if term.namespace_selector.is_some() || keys.into_iter().flatten().any(|keys| !keys.is_empty()) {
        return None;
    }
    let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
    if namespaces.is_empty() {
        namespaces.insert(namespace.to_owned());
    }
    let selector = selector(term.label_selector.as_ref()?)?;
    Some(Apart { topology_key: term.topology_key.clone(), selector, namespaces })
}

/// What decides over where a pod may go besides.
pub(super) fn unjudged(spec: &PodSpec) -> BTreeSet<Unjudged> {
    let mut volumes = spec.volumes.iter().flatten();
    let mut spread = spec.topology_spread_constraints.iter().flatten();
    let beside = spec.affinity.as_ref().and_then(|affinity| affinity.pod_affinity.as_ref());
    let beside = beside.and_then(|pods| pods.required_during_scheduling_ignored_during_execution.as_ref());
    let mut ports = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
    let kinds = [
        (Unjudged::Volumes, volumes.any(|one| one.persistent_volume_claim.is_some() || one.ephemeral.is_some())),
        (Unjudged::Spread, spread.any(|one| one.when_unsatisfiable == "DoNotSchedule")),
        (Unjudged::Beside, beside.is_some_and(|terms| !terms.is_empty())),
        // A term that selects nothing keeps nobody apart; the others that are not judged might.
        (Unjudged::Apart, terms(spec).iter().any(|term| term.label_selector.is_some() && judged(term, "").is_none())),
        (Unjudged::Ports, ports.any(|port| port.host_port.is_some_and(|port| port > 0))),
        (Unjudged::Devices, spec.resource_claims.as_ref().is_some_and(|claims| !claims.is_empty())),
    ];
    kinds.into_iter().filter(|(_, is_there)| *is_there).map(|(kind, _)| kind).collect()
}

/// What all pods that are bound and not finished ask for; read page by page, so that many take no memory. A list whose next page is
/// gone (410: it took five minutes, or etcd was compacted meanwhile) is begun anew, once: a second time it would take as long again.
pub(super) async fn occupancy(api: &ClusterApi, kept_apart: &BTreeSet<Apart>) -> Result<Occupancy, KubeError> {
    match listed(api, kept_apart).await {
        Err(error) if error.fault == Fault::Expired => listed(api, kept_apart).await,
        other => other,
    }
}

async fn listed(api: &ClusterApi, kept_apart: &BTreeSet<Apart>) -> Result<Occupancy, KubeError> {
    let query = "fieldSelector=spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed";
    let mut found = Occupancy::default();
    let mut next = String::new();
    loop {
        let path = format!("/api/v1/pods?{query}&limit={PAGE}&continue={next}");
        let call = Call::get("list Pods", path);
        let page: ObjectList<Pod> = api.call(&call).await?.json(&call.doing)?;
        for pod in page.items {
            enter(&mut found, pod, kept_apart);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => next = token,
            None => return Ok(found),
        }
    }
}

fn enter(found: &mut Occupancy, pod: Pod, kept_apart: &BTreeSet<Apart>) {
    let (Some(spec), namespace) = (pod.spec, pod.metadata.namespace.unwrap_or_default()) else { return };
    let Some(node) = spec.node_name.clone() else { return };
    let labels = pod.metadata.labels.unwrap_or_default();
    let (apart, priority) = (apart(&spec, &namespace), spec.priority.unwrap_or(0));
    found.enter(Neighbour { namespace, node, labels, apart, priority }, &requests(&spec), kept_apart);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn spec(value: Value) -> PodSpec {
        serde_json::from_value(value).unwrap()
    }

    fn container(cpu: &str) -> Value {
        json!({ "name": "c", "resources": { "requests": { "cpu": cpu } } })
    }

    #[test]
    fn a_pod_asks_for_what_the_scheduler_reckons() {
        let cpu = |value: Value| requests(&spec(value)).get("cpu");
        assert_eq!(cpu(json!({ "containers": [container("100m"), container("200m")] })), 300);
        let init = json!({ "containers": [container("100m")], "initContainers": [container("1")] });
        assert_eq!(cpu(init), 1000, "it runs before them");
        let sidecar = |cpu: &str| {
            let mut sidecar = container(cpu);
            sidecar["restartPolicy"] = json!("Always");
            sidecar
        };
        let sidecars =
            json!({ "containers": [container("100m")], "initContainers": [sidecar("300m"), container("500m")] });
        assert_eq!(cpu(sidecars), 800, "the second runs beside the first");
        assert_eq!(cpu(json!({ "containers": [container("100m")], "initContainers": [sidecar("300m")] })), 400);
        let whole = json!({
            "containers": [container("100m")], "resources": { "requests": { "cpu": "2" } }, "overhead": { "cpu": "50m" },
        });
        assert_eq!(cpu(whole), 2050);
        assert_eq!(requests(&spec(json!({ "containers": [] }))).get("pods"), 1000);
    }

    #[test]
    fn anti_affinity_is_judged_where_labels_and_namespaces_name_it() {
        let with = |term: Value| {
            spec(json!({ "containers": [], "affinity": { "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [term],
            } } }))
        };
        let plain = json!({ "topologyKey": "zone", "labelSelector": { "matchLabels": { "app": "cart" } } });
        let found = apart(&with(plain.clone()), "shop");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].topology_key.as_str(), &found[0].namespaces), ("zone", &BTreeSet::from(["shop".into()])));
        assert_eq!(unjudged(&with(plain.clone())), BTreeSet::new());
        let mut wide = plain;
        wide["namespaceSelector"] = json!({});
        assert_eq!(apart(&with(wide.clone()), "shop"), []);
        assert_eq!(unjudged(&with(wide)), BTreeSet::from([Unjudged::Apart]));
        let of_none = with(json!({ "topologyKey": "zone" }));
        assert_eq!((apart(&of_none, "shop"), unjudged(&of_none)), (Vec::new(), BTreeSet::new()));
    }

    #[test]
    fn what_is_not_judged_is_named() {
        let all = json!({
            "containers": [{ "name": "c", "ports": [{ "containerPort": 80, "hostPort": 80 }] }],
            "volumes": [{ "name": "data", "persistentVolumeClaim": { "claimName": "data" } }],
            "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule" }],
            "resourceClaims": [{ "name": "gpu" }],
            "affinity": { "podAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [{ "topologyKey": "zone" }] } },
        });
        let kinds = [Unjudged::Volumes, Unjudged::Spread, Unjudged::Beside, Unjudged::Ports, Unjudged::Devices];
        assert_eq!(unjudged(&spec(all)), BTreeSet::from(kinds));
        let mild = json!({
            "containers": [{ "name": "c", "ports": [{ "containerPort": 80 }] }], "volumes": [{ "name": "tmp", "emptyDir": {} }],
            "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway" }],
        });
        assert_eq!(unjudged(&spec(mild)), BTreeSet::new());
    }
}
