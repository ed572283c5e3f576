//! Nodes: our marks on them beside those of others, and what they say of themselves.

use std::collections::BTreeMap;

use http::Method;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::core::v1::Taint as NodeTaint;
use kube::api::ObjectList;
use kubewright_core::facts::NodeFacts;
use kubewright_core::ids::HostName;
use kubewright_core::marks::{ANNOTATION, Carried, Change, NodeMarks, change};
use kubewright_core::spec::{Taint, TaintEffect};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::call::Call;
use super::observe::node_state;
use super::{ClusterApi, FIELD_MANAGER};
use crate::ports::{Fault, KubeError, Patched};

/// Labels of this form name a node's roles.
const ROLE: &str = "node-role.kubernetes.io/";

/// All there are.
const EFFECTS: [TaintEffect; 3] = [TaintEffect::NoSchedule, TaintEffect::PreferNoSchedule, TaintEffect::NoExecute];

/// Gives a node our marks: read, see what is missing, patch just that.
///
/// Labels and annotations are keys of maps, so a merge patch touches ours alone. Taints are one list that a patch can
/// only replace as a whole: then the patch carries the version it was made for, and where somebody was faster the
/// node is read anew.
pub(super) async fn patch(api: &ClusterApi, node: &HostName, marks: &NodeMarks) -> Result<Patched, KubeError> {
    let started = Instant::now();
    let path = format!("/api/v1/nodes/{node}");
    let read = Call::get(format!("read Node {node}"), &path);
    loop {
        let answer = api.call(&read).await?;
        let Some(patch) = missing(&answer.json(&read.doing)?, marks) else {
            return Ok(Patched::Unchanged);
        };
        let write = Call {
            doing: format!("mark Node {node}"),
            method: Method::PATCH,
            path: format!("{path}?fieldManager={FIELD_MANAGER}"),
            content_type: Some("application/merge-patch+json"),
            body: patch.to_string().into_bytes(),
        };
        match api.call(&write).await {
            Ok(_) => return Ok(Patched::Changed),
            Err(error) if error.fault == Fault::Conflict && started.elapsed() < api.patience => {
                tracing::debug!("{error}; reading it again");
            }
            Err(error) => return Err(error),
        }
    }
}

/// The merge patch that a node needs to carry the marks; `None` where it has them all.
fn missing(node: &Node, marks: &NodeMarks) -> Option<Value> {
    let Change { labels, put, take, annotation } = change(marks, &carried(node))?;
    let mut metadata = Map::new();
    let mut patch = Map::new();
    if !labels.is_empty() {
        metadata.insert("labels".to_owned(), json!(labels));
    }
    if let Some(annotation) = annotation {
        metadata.insert("annotations".to_owned(), json!({ ANNOTATION: annotation }));
    }
    if !put.is_empty() || !take.is_empty() {
        metadata.insert("resourceVersion".to_owned(), json!(node.metadata.resource_version));
        patch.insert("spec".to_owned(), json!({ "taints": taints(node, &put, &take) }));
    }
    patch.insert("metadata".to_owned(), Value::Object(metadata));
    Some(Value::Object(patch))
}

/// What a node carries. A taint of an effect that nobody knows is not ours.
fn carried(node: &Node) -> Carried {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let known = |taint: &NodeTaint| {
        let effect = EFFECTS.into_iter().find(|effect| effect.to_string() == taint.effect)?;
        Some(Taint { key: taint.key.clone(), value: taint.value.clone().unwrap_or_default(), effect })
    };
    Carried {
        labels: node.metadata.labels.clone().unwrap_or_default(),
        taints: taints.iter().filter_map(known).collect(),
        ours: node.metadata.annotations.as_ref().and_then(|annotations| annotations.get(ANNOTATION)).cloned(),
    }
}

/// The whole list as it is to be: a patch can only replace it.
fn taints(node: &Node, put: &[Taint], take: &[(String, TaintEffect)]) -> Vec<NodeTaint> {
    let present = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let at =
        |theirs: &NodeTaint, key: &str, effect: TaintEffect| theirs.key == key && theirs.effect == effect.to_string();
    let stays = |theirs: &&NodeTaint| {
        !put.iter().any(|taint| at(theirs, &taint.key, taint.effect))
            && !take.iter().any(|(key, effect)| at(theirs, key, *effect))
    };
    let added = put.iter().map(|taint| NodeTaint {
        key: taint.key.clone(),
        value: (!taint.value.is_empty()).then(|| taint.value.clone()),
        effect: taint.effect.to_string(),
        time_added: None,
    });
    present.iter().filter(stays).cloned().chain(added).collect()
}

/// All nodes by name.
pub(super) async fn list(api: &ClusterApi) -> Result<BTreeMap<HostName, NodeFacts>, KubeError> {
    let call = Call::get("list Nodes", "/api/v1/nodes");
    let nodes: ObjectList<Node> = api.call(&call).await?.json(&call.doing)?;
    let named = |node: &Node| (HostName::new(node.metadata.name.clone().unwrap_or_default()), node_facts(node));
    Ok(nodes.items.iter().map(named).collect())
}

fn node_facts(node: &Node) -> NodeFacts {
    let labels = node.metadata.labels.iter().flatten();
    let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    NodeFacts {
        not_ready: node_state(node).not_ready,
        schedulable: !node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false),
        roles: labels.filter_map(|(key, _)| key.strip_prefix(ROLE)).map(str::to_owned).collect(),
        kubelet: info.map(|info| info.kubelet_version.clone()).unwrap_or_default(),
        addresses: addresses
            .filter(|address| address.type_ == "InternalIP")
            .map(|address| address.address.clone())
            .collect(),
        container_runtime: info.map(|info| info.container_runtime_version.clone()).unwrap_or_default(),
        os_image: info.map(|info| info.os_image.clone()).unwrap_or_default(),
        machine_id: info.map(|info| info.machine_id.clone()).unwrap_or_default(),
        marks: carried(node),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(value: Value) -> Node {
        serde_json::from_value(value).unwrap()
    }

    fn marks() -> NodeMarks {
        NodeMarks {
            labels: BTreeMap::from([("node-role.kubernetes.io/control-plane".to_owned(), String::new())]),
            taints: vec![Taint {
                key: "node-role.kubernetes.io/control-plane".to_owned(),
                value: String::new(),
                effect: TaintEffect::NoSchedule,
            }],
        }
    }

    fn written() -> String {
        serde_json::to_string(&marks()).unwrap()
    }

    #[test]
    fn a_node_with_all_marks_needs_no_patch() {
        let marked = node(json!({
            "metadata": {
                "name": "cp1",
                "labels": { "node-role.kubernetes.io/control-plane": "", "theirs": "x" },
                "annotations": { "kubewright.dev/marks": written() },
            },
            "spec": { "taints": [
                { "key": "node.kubernetes.io/not-ready", "effect": "NoExecute" },
                { "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" },
            ] },
        }));
        assert_eq!(missing(&marked, &marks()), None);
        assert_eq!(missing(&node(json!({ "metadata": {} })), &NodeMarks::default()), None);
    }

    #[test]
    fn taints_of_others_stay_and_the_patch_names_its_version() {
        let bare = node(json!({
            "metadata": { "name": "cp1", "resourceVersion": "7" },
            "spec": { "taints": [{ "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" }] },
        }));
        assert_eq!(
            missing(&bare, &marks()).unwrap(),
            json!({
                "metadata": {
                    "labels": { "node-role.kubernetes.io/control-plane": "" },
                    "annotations": { "kubewright.dev/marks": written() },
                    "resourceVersion": "7",
                },
                "spec": { "taints": [
                    { "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" },
                    { "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" },
                ] },
            })
        );
    }

    #[test]
    fn labels_alone_need_no_version_and_those_that_are_wanted_no_more_go() {
        let earlier = NodeMarks { labels: BTreeMap::from([("tier".to_owned(), "a".to_owned())]), ..marks() };
        let tainted = node(json!({
            "metadata": {
                "name": "cp1",
                "resourceVersion": "7",
                "labels": { "tier": "a" },
                "annotations": { "kubewright.dev/marks": serde_json::to_string(&earlier).unwrap() },
            },
            "spec": { "taints": [{ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }] },
        }));
        assert_eq!(
            missing(&tainted, &marks()).unwrap(),
            json!({ "metadata": {
                "labels": { "node-role.kubernetes.io/control-plane": "", "tier": null },
                "annotations": { "kubewright.dev/marks": written() },
            } })
        );
    }

    #[test]
    fn a_taint_of_ours_with_another_value_is_replaced() {
        let ours = [Taint { key: "pool".to_owned(), value: "gpu".to_owned(), effect: TaintEffect::NoSchedule }];
        let theirs = |value: &str, effect: &str| NodeTaint {
            key: "pool".to_owned(),
            value: Some(value.to_owned()),
            effect: effect.to_owned(),
            time_added: None,
        };
        let node = node(json!({ "metadata": {}, "spec": { "taints": [
            { "key": "pool", "value": "cpu", "effect": "NoSchedule" },
            { "key": "pool", "value": "cpu", "effect": "NoExecute" },
        ] } }));
        let merged = taints(&node, &ours, &[]);
        assert_eq!(merged, [theirs("cpu", "NoExecute"), theirs("gpu", "NoSchedule")]);
        assert_eq!(taints(&node, &[], &[("pool".to_owned(), TaintEffect::NoExecute)]), [theirs("cpu", "NoSchedule")]);
    }

    #[test]
    fn the_facts_of_a_node_tell_roles_addresses_and_why_it_is_not_ready() {
        let facts = node_facts(&node(json!({
            "metadata": { "name": "cp1", "labels": { "node-role.kubernetes.io/control-plane": "" } },
            "spec": { "unschedulable": true },
            "status": {
                "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }, { "type": "Hostname", "address": "cp1" }],
                "conditions": [{ "type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "booting." }],
            },
        })));
        assert_eq!(facts.roles, ["control-plane"]);
        assert!(facts.is_control_plane());
        assert_eq!(facts.addresses, ["10.0.0.1"]);
        assert_eq!(facts.not_ready.as_deref(), Some("booting"));
        assert!(!facts.schedulable);
    }
}
