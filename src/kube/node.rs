//! Nodes: our marks on them beside those of others, and what they say of themselves.

use std::collections::BTreeMap;

use http::Method;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::core::v1::Taint as NodeTaint;
use kube::api::ObjectList;
use kubewright_core::ids::HostName;
use kubewright_core::spec::{Taint, TaintEffect};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::call::Call;
use super::observe::node_state;
use super::{ClusterApi, FIELD_MANAGER};
use crate::ports::{Fault, KubeError, NodeMarks, NodeSummary, Patched};

/// Labels of this form name a node's roles.
const ROLE: &str = "node-role.kubernetes.io/";

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

/// The merge patch that adds what the node lacks of the marks; `None` where it has them all.
fn missing(node: &Node, marks: &NodeMarks) -> Option<Value> {
    let mut metadata = Map::new();
    let mut patch = Map::new();
    for (field, ours, present) in [
        ("labels", &marks.labels, node.metadata.labels.as_ref()),
        ("annotations", &marks.annotations, node.metadata.annotations.as_ref()),
    ] {
        let lacking = lacking(ours, present);
        if !lacking.is_empty() {
            metadata.insert(field.to_owned(), Value::Object(lacking));
        }
    }
    let present = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    if let Some(taints) = with_ours(present, &marks.taints) {
        metadata.insert("resourceVersion".to_owned(), json!(node.metadata.resource_version));
        patch.insert("spec".to_owned(), json!({ "taints": taints }));
    }
    if !metadata.is_empty() {
        patch.insert("metadata".to_owned(), Value::Object(metadata));
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

fn lacking(ours: &BTreeMap<String, String>, present: Option<&BTreeMap<String, String>>) -> Map<String, Value> {
    ours.iter()
        .filter(|(key, value)| present.and_then(|present| present.get(*key)) != Some(value))
        .map(|(key, value)| (key.clone(), Value::String(value.clone())))
        .collect()
}

/// The whole list with ours in it; `None` where nothing would change.
fn with_ours(present: &[NodeTaint], ours: &[Taint]) -> Option<Vec<NodeTaint>> {
    let same_place = |theirs: &NodeTaint, ours: &Taint| theirs.key == ours.key && theirs.effect == effect(ours.effect);
    let same = |theirs: &NodeTaint, ours: &Taint| {
        same_place(theirs, ours) && theirs.value.as_deref().unwrap_or_default() == ours.value
    };
    if ours.iter().all(|taint| present.iter().any(|theirs| same(theirs, taint))) {
        return None;
    }
    let kept = present.iter().filter(|theirs| !ours.iter().any(|taint| same_place(theirs, taint))).cloned();
    let added = ours.iter().map(|taint| NodeTaint {
        key: taint.key.clone(),
        value: (!taint.value.is_empty()).then(|| taint.value.clone()),
        effect: effect(taint.effect).to_owned(),
        time_added: None,
    });
    Some(kept.chain(added).collect())
}

fn effect(effect: TaintEffect) -> &'static str {
    match effect {
        TaintEffect::NoSchedule => "NoSchedule",
        TaintEffect::PreferNoSchedule => "PreferNoSchedule",
        TaintEffect::NoExecute => "NoExecute",
    }
}

/// All nodes by name.
pub(super) async fn list(api: &ClusterApi) -> Result<Vec<NodeSummary>, KubeError> {
    let call = Call::get("list Nodes", "/api/v1/nodes");
    let nodes: ObjectList<Node> = api.call(&call).await?.json(&call.doing)?;
    let mut summaries: Vec<_> = nodes.items.iter().map(summary).collect();
    summaries.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(summaries)
}

fn summary(node: &Node) -> NodeSummary {
    let labels = node.metadata.labels.iter().flatten();
    let info = node.status.as_ref().and_then(|status| status.node_info.as_ref());
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    NodeSummary {
        name: HostName::new(node.metadata.name.clone().unwrap_or_default()),
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
            annotations: BTreeMap::new(),
        }
    }

    #[test]
    fn a_node_with_all_marks_needs_no_patch() {
        let marked = node(json!({
            "metadata": { "name": "cp1", "labels": { "node-role.kubernetes.io/control-plane": "", "theirs": "x" } },
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
                "metadata": { "labels": { "node-role.kubernetes.io/control-plane": "" }, "resourceVersion": "7" },
                "spec": { "taints": [
                    { "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" },
                    { "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" },
                ] },
            })
        );
    }

    #[test]
    fn labels_alone_need_no_version() {
        let tainted = node(json!({
            "metadata": { "name": "cp1", "resourceVersion": "7" },
            "spec": { "taints": [{ "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" }] },
        }));
        assert_eq!(
            missing(&tainted, &marks()).unwrap(),
            json!({ "metadata": { "labels": { "node-role.kubernetes.io/control-plane": "" } } })
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
        let merged = with_ours(&[theirs("cpu", "NoSchedule"), theirs("cpu", "NoExecute")], &ours).unwrap();
        assert_eq!(merged, [theirs("cpu", "NoExecute"), theirs("gpu", "NoSchedule")]);
    }

    #[test]
    fn a_summary_tells_roles_addresses_and_why_it_is_not_ready() {
        let summary = summary(&node(json!({
            "metadata": { "name": "cp1", "labels": { "node-role.kubernetes.io/control-plane": "" } },
            "spec": { "unschedulable": true },
            "status": {
                "addresses": [{ "type": "InternalIP", "address": "10.0.0.1" }, { "type": "Hostname", "address": "cp1" }],
                "conditions": [{ "type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "booting." }],
            },
        })));
        assert_eq!(summary.roles, ["control-plane"]);
        assert_eq!(summary.addresses, ["10.0.0.1"]);
        assert_eq!(summary.not_ready.as_deref(), Some("booting"));
        assert!(!summary.schedulable);
    }
}
