//! From Kubernetes' objects to what [`kubewright_core::health`] judges.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ContainerStatus, Node, PersistentVolume, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kubewright_core::health::{
    AttachmentState, DaemonSetState, DeploymentState, NodeState, PodState, WorkloadState, shorten_kubelet_sentence,
};

/// Marks the mirror of a static pod.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";

/// Whether a node is Ready and if not, why.
pub(super) fn node_state(node: &Node) -> NodeState {
    let mut conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let not_ready = match conditions.find(|condition| condition.type_ == "Ready") {
        Some(ready) if ready.status == "True" => None,
        Some(ready) => {
            let said = ready.message.as_deref().filter(|message| !message.is_empty()).or(ready.reason.as_deref());
            Some(said.map_or_else(|| format!("Ready is {}", ready.status), shorten_kubelet_sentence))
        }
        None => Some("its kubelet has not reported yet".to_owned()),
    };
    let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
    NodeState {
        not_ready,
        boot_id: info.map(|info| info.boot_id.clone()).unwrap_or_default(),
        kubelet: info.map(|info| info.kubelet_version.clone()).unwrap_or_default(),
    }
}

/// Where a pod runs, whether it is Ready and if not, why.
pub(super) fn pod_state(pod: &Pod) -> PodState {
    let owners = pod.metadata.owner_references.iter().flatten();
    let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
    let annotations = pod.metadata.annotations.as_ref();
    PodState {
        owner: owner.map(|owner| (owner.kind.clone(), owner.name.clone())),
        mirror: annotations.is_some_and(|annotations| annotations.contains_key(MIRROR)),
        claims: claims(pod),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        images: images(pod),
        not_ready: pod_complaint(pod),
    }
}

/// Images that a pod's containers are to have.
fn images(pod: &Pod) -> BTreeSet<String> {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers.filter_map(|container| container.image.clone()).collect()
}

/// Claims of a pod's volumes: those it names, and those made for it alone, which are called after it.
fn claims(pod: &Pod) -> Vec<String> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes
        .filter_map(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
            (Some(claim), _) => Some(claim.claim_name.clone()),
            (None, Some(_)) => Some(format!("{name}-{}", volume.name)),
            (None, None) => None,
        })
        .collect()
}

/// A volume that is attached to a node.
pub(super) fn attachment_state(attachment: &VolumeAttachment) -> AttachmentState {
    AttachmentState {
        node: attachment.spec.node_name.clone(),
        volume: attachment.spec.source.persistent_volume_name.clone(),
    }
}

/// Namespace and name of the claim that a volume is bound to.
pub(super) fn claim_of(volume: &PersistentVolume) -> Option<(String, String)> {
    let claim = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some((claim.namespace.clone()?, claim.name.clone()?))
}

/// When a lease was renewed last.
pub(super) fn renewed(lease: &Lease) -> Option<String> {
    Some(lease.spec.as_ref()?.renew_time.as_ref()?.0.to_string())
}

/// How many pods of a ReplicaSet serve.
pub(super) fn replica_set_state(set: &ReplicaSet) -> WorkloadState {
    let status = set.status.as_ref();
    WorkloadState {
        observed: status.and_then(|status| status.observed_generation) >= set.metadata.generation,
        wanted: number(set.spec.as_ref().map(|spec| spec.replicas.unwrap_or(1))),
        ready: number(status.and_then(|status| status.ready_replicas)),
    }
}

/// How many pods of a StatefulSet serve.
pub(super) fn stateful_set_state(set: &StatefulSet) -> WorkloadState {
    let status = set.status.as_ref();
    WorkloadState {
        observed: status.and_then(|status| status.observed_generation) >= set.metadata.generation,
        wanted: number(set.spec.as_ref().map(|spec| spec.replicas.unwrap_or(1))),
        ready: number(status.and_then(|status| status.ready_replicas)),
    }
}

fn number(of: Option<i32>) -> u32 {
    u32::try_from(of.unwrap_or(0)).unwrap_or(0)
}

/// A container that says why it does not run comes before the pod's own conditions, which only say that it does not.
fn pod_complaint(pod: &Pod) -> Option<String> {
    let Some(status) = pod.status.as_ref() else {
        return Some("no status yet".to_owned());
    };
    let condition = |of: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == of);
    let ready = condition("Ready");
    if pod.metadata.deletion_timestamp.is_some() {
        return Some("being deleted".to_owned());
    }
    if ready.is_some_and(|ready| ready.status == "True") {
        return None;
    }
    let containers = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    if let Some(complaint) = containers.filter(|container| !container.ready).find_map(container_complaint) {
        return Some(complaint);
    }
    let unscheduled = condition("PodScheduled").filter(|scheduled| scheduled.status != "True");
    let said = unscheduled.or(ready).and_then(|condition| condition.message.as_deref().or(condition.reason.as_deref()));
    // The scheduler's first sentence tells why; what follows is about preemption, which would not help either.
    let said = said.map(|said| said.split(". ").next().unwrap_or(said));
    Some(said.or(status.phase.as_deref()).unwrap_or("Pending").to_owned())
}

fn container_complaint(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let last = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        // "PodInitializing" and "ContainerCreating" are no complaint, unless it has failed before.
        let message = waiting.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
        return Some(match last {
            Some(last) => format!("{reason}, {} ended with {}", container.name, last.exit_code),
            None => format!("{reason}{message}"),
        });
    }
    if let Some(ended) = state.terminated.as_ref().filter(|ended| ended.exit_code != 0) {
        let reason = ended.reason.as_deref().unwrap_or("ended");
        return Some(format!("{reason}, {} ended with {}", container.name, ended.exit_code));
    }
    None
}

/// How far a Deployment's rollout is.
pub(super) fn deployment_state(deployment: &Deployment) -> DeploymentState {
    let spec = deployment.spec.as_ref();
    let status = deployment.status.as_ref();
    let count = |number: Option<i32>| u32::try_from(number.unwrap_or(0)).unwrap_or(0);
    DeploymentState {
        observed: status.and_then(|status| status.observed_generation) >= deployment.metadata.generation,
        wanted: count(spec.map(|spec| spec.replicas.unwrap_or(1))),
        present: count(status.and_then(|status| status.replicas)),
        updated: count(status.and_then(|status| status.updated_replicas)),
        available: count(status.and_then(|status| status.available_replicas)),
        selector: spec.map(|spec| match_labels(&spec.selector)).unwrap_or_default(),
    }
}

/// How far a DaemonSet's rollout is.
pub(super) fn daemon_set_state(daemon_set: &DaemonSet) -> DaemonSetState {
    let status = daemon_set.status.as_ref();
    let count = |number: Option<i32>| u32::try_from(number.unwrap_or(0)).unwrap_or(0);
    DaemonSetState {
        observed: status.and_then(|status| status.observed_generation) >= daemon_set.metadata.generation,
        wanted: count(status.map(|status| status.desired_number_scheduled)),
        updated: count(status.and_then(|status| status.updated_number_scheduled)),
        available: count(status.and_then(|status| status.number_available)),
        selector: daemon_set.spec.as_ref().map(|spec| match_labels(&spec.selector)).unwrap_or_default(),
    }
}

fn match_labels(selector: &LabelSelector) -> BTreeMap<String, String> {
    selector.match_labels.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn complaint(status: Value) -> Option<String> {
        let pod =
            json!({ "metadata": { "name": "a" }, "spec": { "nodeName": "w1", "containers": [] }, "status": status });
        pod_state(&serde_json::from_value(pod).unwrap()).not_ready
    }

    fn container(ready: bool, state: Value, last: Value) -> Value {
        json!({ "name": "c", "image": "i", "imageID": "", "ready": ready, "restartCount": 0, "state": state, "lastState": last })
    }

    #[test]
    fn a_ready_pod_has_no_complaint() {
        assert_eq!(complaint(json!({ "conditions": [{ "type": "Ready", "status": "True" }] })), None);
    }

    #[test]
    fn a_pod_complains_in_the_words_of_its_container() {
        let pulling = json!({ "waiting": { "reason": "ImagePullBackOff", "message": "Back-off pulling image \"x\"" } });
        assert_eq!(
            complaint(json!({
                "conditions": [{ "type": "Ready", "status": "False", "message": "containers with unready status: [c]" }],
                "containerStatuses": [container(false, pulling, json!({}))],
            }))
            .as_deref(),
            Some("ImagePullBackOff: Back-off pulling image \"x\"")
        );
        let crashing = json!({ "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container" } });
        let crashed = json!({ "terminated": { "exitCode": 1 } });
        assert_eq!(
            complaint(json!({ "containerStatuses": [container(false, crashing, crashed)] })).as_deref(),
            Some("CrashLoopBackOff, c ended with 1")
        );
    }

    #[test]
    fn a_pod_without_a_place_says_why() {
        let unscheduled = json!({ "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: 3 Insufficient cpu. no new claims" });
        assert_eq!(
            complaint(json!({ "conditions": [unscheduled] })).as_deref(),
            Some("0/3 nodes are available: 3 Insufficient cpu")
        );
        assert_eq!(complaint(json!({ "phase": "Pending" })).as_deref(), Some("Pending"));
    }

    #[test]
    fn a_node_that_never_reported_is_told_from_one_that_stopped() {
        let state = |conditions: Value| {
            node_state(
                &serde_json::from_value(json!({ "metadata": {}, "status": { "conditions": conditions } })).unwrap(),
            )
            .not_ready
        };
        assert_eq!(state(json!([])).as_deref(), Some("its kubelet has not reported yet"));
        assert_eq!(
            state(json!([{ "type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting node status." }]))
                .as_deref(),
            Some("Kubelet stopped posting node status")
        );
        assert_eq!(state(json!([{ "type": "Ready", "status": "True" }])), None);
    }

    #[test]
    fn a_rollout_counts_only_what_its_controller_has_seen() {
        let deployment = |observed: i64| {
            let deployment = json!({
                "metadata": { "generation": 2 },
                "spec": { "selector": { "matchLabels": { "k8s-app": "kube-dns" } }, "template": {} },
                "status": { "observedGeneration": observed, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1 },
            });
            deployment_state(&serde_json::from_value(deployment).unwrap())
        };
        assert!(!deployment(1).observed);
        assert!(deployment(2).observed);
        assert_eq!(deployment(2).wanted, 1);
    }
}
