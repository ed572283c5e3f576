//! From Kubernetes' objects to what [`kubewright_core::drain`] decides on.

use k8s_openapi::api::core::v1::{
    Node as ApiNode, NodeSelectorRequirement, Pod as ApiPod, Toleration as ApiToleration,
};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kubewright_core::drain::{
    Budget, Deletion, EmptyDir, Node, Operator, Owner, Phase, Pod, Readiness, Requirement, Selector, Toleration,
    UnhealthyPolicy, Wanted,
};

use super::cordon;
use super::observe::{MIRROR, node_state, pod_state};
use super::room;

/// The taint that goes with a cordon; [`Node::schedulable`] says the same.
const CORDON_TAINT: &str = "node.kubernetes.io/unschedulable";
/// The taint of a node whose kubelet has gone silent.
const UNREACHABLE_TAINT: &str = "node.kubernetes.io/unreachable";
/// What the API server fills in where a pod names no grace.
const DEFAULT_GRACE_SECONDS: u32 = 30;

/// A node.
pub(super) fn node(node: &ApiNode) -> Node {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let silent = conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "Unknown");
    Node {
        uid: node.metadata.uid.clone().unwrap_or_default(),
        schedulable: !cordon::is_cordoned(node),
        not_ready: node_state(node).not_ready,
        unreachable: silent || taints.clone().any(|taint| taint.key == UNREACHABLE_TAINT),
        cordoned_by: cordon::owner(node).map(str::to_owned),
        excluded_by: cordon::excluder(node).map(str::to_owned),
        labels: node.metadata.labels.clone().unwrap_or_default(),
        taints: taints
            .filter(|taint| taint.key != CORDON_TAINT)
            .map(|taint| (taint.key.clone(), taint.value.clone().unwrap_or_default(), taint.effect.clone()))
            .collect(),
        allocatable: room::amounts(node.status.as_ref().and_then(|status| status.allocatable.as_ref())),
    }
}

/// A pod.
pub(super) fn pod(pod: &ApiPod) -> Pod {
    let metadata = &pod.metadata;
    let spec = pod.spec.clone().unwrap_or_default();
    let status = pod.status.as_ref();
    let condition =
        |of: &str| status.iter().flat_map(|status| status.conditions.iter().flatten()).find(move |one| one.type_ == of);
    let state = pod_state(pod);
    // A pod that is being deleted may serve to its last moment; whether it does is its condition's to say.
    let ready = condition("Ready").is_some_and(|ready| ready.status == "True");
    Pod {
        uid: metadata.uid.clone().unwrap_or_default(),
        node: spec.node_name.clone(),
        labels: state.labels,
        owner: controller(metadata),
        phase: match status.and_then(|status| status.phase.as_deref()) {
            Some("Succeeded") => Phase::Succeeded,
            Some("Failed") => Phase::Failed,
            Some("Running" | "Unknown") => Phase::Running,
            _ => Phase::Pending,
        },
        readiness: if ready {
            Readiness::Ready
        } else {
            Readiness::NotReady {
                why: state.not_ready.unwrap_or_else(|| "not Ready".to_owned()),
                since: condition("Ready").and_then(|ready| Some(ready.last_transition_time.as_ref()?.0)),
            }
        },
        grace_seconds: spec
            .termination_grace_period_seconds
            .map_or(DEFAULT_GRACE_SECONDS, |seconds| u32::try_from(seconds).unwrap_or(0)),
        deletion: metadata.deletion_timestamp.as_ref().map(|due| Deletion { due: due.0 }),
        finalizers: metadata.finalizers.clone().unwrap_or_default(),
        containers: containers(status),
        mirror: metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR)),
        empty_dirs: empty_dirs(&spec),
        priority: spec.priority.unwrap_or(0),
        preempts: spec.preemption_policy.as_deref() != Some("Never"),
        tolerations: spec.tolerations.iter().flatten().map(toleration).collect(),
        node_labels: spec.node_selector.clone().unwrap_or_default(),
        node_terms: node_terms(&spec),
        requests: room::requests(&spec),
        apart: room::apart(&spec, metadata.namespace.as_deref().unwrap_or_default()),
        unjudged: room::unjudged(&spec),
        unscheduled: condition("PodScheduled")
            .filter(|scheduled| scheduled.status == "False")
            .and_then(|scheduled| scheduled.message.as_deref())
            // The scheduler's first sentence tells why; what follows is about preemption, which would not help either.
            .map(|said| said.split(". ").next().unwrap_or(said).to_owned()),
    }
}

/// `containerd://4f5e…` is how a kubelet tells one; a host tells it without the runtime's name.
fn containers(status: Option<&k8s_openapi::api::core::v1::PodStatus>) -> Vec<String> {
    let all = status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let running = all.filter(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()));
    running
        .filter_map(|container| container.container_id.as_deref())
        .map(|id| id.split_once("://").map_or(id, |(_, id)| id).to_owned())
        .collect()
}

fn empty_dirs(spec: &k8s_openapi::api::core::v1::PodSpec) -> Vec<EmptyDir> {
    spec.volumes
        .iter()
        .flatten()
        .filter_map(|volume| {
            let scratch = volume.empty_dir.as_ref()?;
            Some(EmptyDir {
                name: volume.name.clone(),
                memory: scratch.medium.as_deref() == Some("Memory"),
                limit: scratch.size_limit.as_ref().map(|limit| limit.0.clone()),
            })
        })
        .collect()
}

fn toleration(toleration: &ApiToleration) -> Toleration {
    let exists = toleration.operator.as_deref() == Some("Exists");
    Toleration {
        key: toleration.key.clone().filter(|key| !key.is_empty()),
        value: (!exists).then(|| toleration.value.clone().unwrap_or_default()),
        effect: toleration.effect.clone().filter(|effect| !effect.is_empty()),
    }
}

fn node_terms(spec: &k8s_openapi::api::core::v1::PodSpec) -> Vec<Vec<Requirement>> {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
    let terms = required.map(|required| required.node_selector_terms.as_slice()).unwrap_or_default();
    terms.iter().map(|term| term.match_expressions.iter().flatten().filter_map(node_requirement).collect()).collect()
}

fn node_requirement(of: &NodeSelectorRequirement) -> Option<Requirement> {
    requirement(&of.key, &of.operator, of.values.as_deref())
}

fn requirement(key: &str, operator: &str, values: Option<&[String]>) -> Option<Requirement> {
    let operator = Operator::of(operator)?;
    Some(Requirement { key: key.to_owned(), operator, values: values.unwrap_or_default().to_vec() })
}

/// A budget.
pub(super) fn budget(budget: &PodDisruptionBudget) -> Budget {
    let spec = budget.spec.as_ref();
    let status = budget.status.as_ref();
    let wanted = match spec.map(|spec| (&spec.min_available, &spec.max_unavailable)) {
        Some((Some(least), _)) => Wanted::MinAvailable(number(least)),
        Some((None, Some(most))) => Wanted::MaxUnavailable(number(most)),
        _ => Wanted::Unset,
    };
    let count = |number: Option<i32>| number.unwrap_or(0);
    let failed = status.iter().flat_map(|status| status.conditions.iter().flatten());
    let failed = failed.into_iter().find(|condition| condition.reason == "SyncFailed");
    Budget {
        version: budget.metadata.resource_version.clone().unwrap_or_default(),
        selector: spec.and_then(|spec| spec.selector.as_ref()).and_then(selector),
        wanted,
        unhealthy: match spec.and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref()) {
            Some("AlwaysAllow") => UnhealthyPolicy::AlwaysAllow,
            _ => UnhealthyPolicy::IfHealthyBudget,
        },
        generation: budget.metadata.generation.unwrap_or(0),
        observed_generation: status.and_then(|status| status.observed_generation).unwrap_or(0),
        allowed: count(status.and_then(|status| status.disruptions_allowed)),
        healthy: count(status.and_then(|status| status.current_healthy)),
        desired: count(status.and_then(|status| status.desired_healthy)),
        expected: count(status.and_then(|status| status.expected_pods)),
        sync_failed: failed.map(|condition| condition.message.clone()),
        owner: controller(&budget.metadata),
    }
}

/// Whoever controls an object.
fn controller(metadata: &ObjectMeta) -> Option<Owner> {
    let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    Some(Owner { kind: owner.kind.clone(), name: owner.name.clone(), uid: owner.uid.clone() })
}

/// A selector; `None` for one that cannot be read, which the API server skips as well.
pub(super) fn selector(of: &LabelSelector) -> Option<Selector> {
    let expressions = of.match_expressions.iter().flatten();
    let requirements: Option<Vec<Requirement>> =
        expressions.map(|one| requirement(&one.key, &one.operator, one.values.as_deref())).collect();
    Some(Selector { labels: of.match_labels.clone().unwrap_or_default(), requirements: requirements? })
}

fn number(value: &IntOrString) -> String {
    match value {
        IntOrString::Int(number) => number.to_string(),
        IntOrString::String(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_pod_is_read_with_all_that_decides_over_it() {
        let seen = pod(&read(json!({
            "metadata": {
                "name": "cart-0", "namespace": "shop", "uid": "u", "labels": { "app": "cart" },
                "deletionTimestamp": "2026-11-26T11:30:00Z", "finalizers": ["example.com/backup"],
                "ownerReferences": [
                    { "apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": "x" },
                    { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "cart", "uid": "o", "controller": true },
                ],
            },
            "spec": {
                "nodeName": "w1", "containers": [], "priority": 7, "terminationGracePeriodSeconds": 1800,
                "volumes": [
                    { "name": "tmp", "emptyDir": { "sizeLimit": "2Gi" } },
                    { "name": "shm", "emptyDir": { "medium": "Memory" } },
                    { "name": "data", "persistentVolumeClaim": { "claimName": "data" } },
                ],
                "tolerations": [{ "operator": "Exists" }, { "key": "gpu", "value": "yes", "effect": "NoSchedule" }],
                "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [
                    { "matchExpressions": [{ "key": "zone", "operator": "In", "values": ["a"] }] },
                ] } } },
            },
            "status": { "phase": "Running", "conditions": [
                { "type": "Ready", "status": "True", "lastTransitionTime": "2026-11-26T11:00:00Z" },
            ] },
        })));
        assert_eq!(seen.owner.as_ref().map(|owner| owner.kind.as_str()), Some("StatefulSet"));
        assert_eq!((seen.grace_seconds, seen.priority, seen.is_ready()), (1800, 7, true));
        assert_eq!(seen.deletion.map(|deletion| deletion.due.to_string()).as_deref(), Some("2026-11-26T11:30:00Z"));
        assert_eq!(
            seen.empty_dirs.iter().map(|one| (one.memory, one.limit.as_deref())).collect::<Vec<_>>(),
            [(false, Some("2Gi")), (true, None),]
        );
        assert!(seen.tolerates_cordon());
        assert!(!seen.fits(&Node { schedulable: true, ..Node::default() }), "it is for zone a");
    }

    #[test]
    fn a_toleration_without_operator_wants_its_value() {
        let equal = toleration(&read(json!({ "key": "gpu", "value": "yes" })));
        let pod = Pod { tolerations: vec![equal], ..Pod::default() };
        assert!(pod.tolerates("gpu", "yes", "NoExecute") && !pod.tolerates("gpu", "no", "NoExecute"));
    }

    #[test]
    fn a_budget_without_selector_counts_nothing_and_an_empty_one_all() {
        let of = |spec: Value| budget(&read(json!({ "metadata": {}, "spec": spec })));
        assert_eq!(of(json!({})).selector, None);
        assert_eq!(of(json!({ "selector": {} })).selector, Some(Selector::default()));
        assert_eq!(of(json!({ "maxUnavailable": "30%" })).wanted, Wanted::MaxUnavailable("30%".into()));
        assert_eq!(of(json!({ "minAvailable": 2 })).words(), "minAvailable 2");
    }

    #[test]
    fn a_cordon_is_read_once_and_a_silent_kubelet_is_seen() {
        let seen = node(&read(json!({
            "metadata": { "annotations": { "kubewright.dev/cordoned-by": "7f3a9c" } },
            "spec": { "unschedulable": true, "taints": [
                { "key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule" },
                { "key": "gpu", "effect": "NoSchedule" },
            ] },
            "status": { "conditions": [{ "type": "Ready", "status": "Unknown" }] },
        })));
        assert!(!seen.schedulable && seen.unreachable);
        assert_eq!(seen.cordoned_by.as_deref(), Some("7f3a9c"));
        assert_eq!(seen.taints, [("gpu".to_owned(), String::new(), "NoSchedule".to_owned())]);
        let forgotten =
            node(&read(json!({ "metadata": { "annotations": { "kubewright.dev/cordoned-by": "7f3a9c" } } })));
        assert_eq!((forgotten.schedulable, forgotten.cordoned_by), (true, None));
    }

    #[test]
    fn a_cordon_is_his_who_set_it_last_and_a_label_ours_while_it_is_there() {
        let cordoned = |by: Value| {
            node(&read(json!({
                "metadata": {
                    "annotations": { "kubewright.dev/cordoned-by": "7f3a9c", "kubewright.dev/excluded-by": "7f3a9c" },
                    "labels": { "node.kubernetes.io/exclude-from-external-load-balancers": "" },
                    "managedFields": by,
                },
                "spec": { "unschedulable": true },
            })))
        };
        let sets = |who: &str| json!({ "manager": who, "fieldsV1": { "f:spec": { "f:unschedulable": {} } } });
        let marks = |who: &str| json!({ "manager": who, "fieldsV1": { "f:metadata": { "f:annotations": {} } } });
        let ours = Some("7f3a9c".to_owned());
        assert_eq!(cordoned(json!([marks("kubelet"), sets("kubewright")])).cordoned_by, ours);
        assert_eq!(cordoned(json!([marks("kubewright"), sets("kubectl-cordon")])).cordoned_by, None);
        assert_eq!(cordoned(json!([])).cordoned_by, ours, "nobody keeps who it was");
        assert_eq!(cordoned(json!([])).excluded_by, ours);
        let taken = json!({ "metadata": { "annotations": { "kubewright.dev/excluded-by": "7f3a9c" } } });
        assert_eq!(node(&read(taken)).excluded_by, None);
    }
}
