//! Cordons that know whose they are: Kubernetes has one boolean, so an annotation beside it names the operation.

use http::Method;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kubewright_core::ids::{HostName, OperationId};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::call::Call;
use super::{ClusterApi, FIELD_MANAGER};
use crate::ports::{Cordoned, Fault, KubeError, Uncordoned, Whose};

/// The operation that cordoned the node.
const CORDONED_BY: &str = "kubewright.dev/cordoned-by";

/// Keeps external load balancers away from a node.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The operation that put it there.
const EXCLUDED_BY: &str = "kubewright.dev/excluded-by";

/// Keeps new pods away.
pub(super) async fn cordon(api: &ClusterApi, node: &HostName, operation: &OperationId) -> Result<Cordoned, KubeError> {
    change(api, node, "cordon", |seen| match (is_cordoned(seen), owner(seen)) {
        (true, Some(by)) if by == operation.as_str() => Step::Is(Cordoned::Ours),
        (true, Some(by)) => Step::Is(OperationId::try_from(by.to_owned()).map_or(Cordoned::Foreign, Cordoned::Of)),
        (true, None) => Step::Is(Cordoned::Foreign),
        (false, _) => Step::Make(patch(seen, json!(operation), json!(true)), Cordoned::Ours),
    })
    .await
}

/// Takes a node out of external load balancers, whose controllers follow this label
/// (kubernetes `ServiceNodeExclusion`, stable since 1.21). A label that is there already stays whose it is.
pub(super) async fn exclude(api: &ClusterApi, node: &HostName, operation: &OperationId) -> Result<(), KubeError> {
    change(api, node, "exclude", |seen| match label(seen) {
        Some(_) => Step::Is(()),
        None => {
            let note = json!({ EXCLUDED_BY: operation });
            let patch = json!({ "metadata": {
                "labels": { EXCLUDED: "" }, "annotations": note, "resourceVersion": seen.metadata.resource_version,
            } });
            Step::Make(patch, ())
        }
    })
    .await
}

/// Lets pods come again, and load balancers where it was we that took the node out of them.
pub(super) async fn uncordon(api: &ClusterApi, node: &HostName, whose: &Whose) -> Result<Uncordoned, KubeError> {
    change(api, node, "uncordon", |seen| {
        // A label of others is nobody's to take, whatever becomes of the cordon.
        let excluded = excluder(seen).is_some_and(|by| whose.includes(Some(by)));
        let becomes = match (is_cordoned(seen), whose.includes(owner(seen))) {
            (false, _) => Uncordoned::NotCordoned,
            (true, true) => Uncordoned::Done,
            (true, false) => Uncordoned::Kept,
        };
        let take_cordon = becomes == Uncordoned::Done;
        // Somebody took the cordon and left our note.
        let is_left = owner(seen).is_none() && annotation(seen, CORDONED_BY).is_some_and(|by| whose.includes(Some(by)));
        if !take_cordon && !is_left && !excluded {
            return Step::Is(becomes);
        }
        let mut taken = match take_cordon {
            true => patch(seen, Value::Null, Value::Null),
            false => json!({ "metadata": { "annotations": {}, "resourceVersion": seen.metadata.resource_version } }),
        };
        if is_left {
            taken["metadata"]["annotations"][CORDONED_BY] = Value::Null;
        }
        if excluded {
            taken["metadata"]["annotations"][EXCLUDED_BY] = Value::Null;
            taken["metadata"]["labels"] = json!({ EXCLUDED: null });
        }
        Step::Make(taken, becomes)
    })
    .await
}

enum Step<T> {
    Is(T),
    Make(Value, T),
}

/// Reads, decides, patches exactly what was read; where somebody was faster the node is read anew.
async fn change<T>(
    api: &ClusterApi,
    node: &HostName,
    verb: &str,
    decide: impl Fn(&Node) -> Step<T>,
) -> Result<T, KubeError> {
    let started = Instant::now();
    let path = format!("/api/v1/nodes/{node}");
    let read = Call::get(format!("read Node {node}"), &path);
    loop {
        let answer = api.call(&read).await?;
        let (patch, becomes) = match decide(&answer.json(&read.doing)?) {
            Step::Is(is) => return Ok(is),
            Step::Make(patch, becomes) => (patch, becomes),
        };
        let write = Call {
            doing: format!("{verb} Node {node}"),
            method: Method::PATCH,
            path: format!("{path}?fieldManager={FIELD_MANAGER}"),
            content_type: Some("application/merge-patch+json"),
            body: patch.to_string().into_bytes(),
        };
        match api.call(&write).await {
            Ok(_) => return Ok(becomes),
            Err(error) if error.fault == Fault::Conflict && started.elapsed() < api.patience => {
                tracing::debug!("{error}; reading it again");
            }
            Err(error) => return Err(error),
        }
    }
}

fn patch(node: &Node, owner: Value, unschedulable: Value) -> Value {
    json!({
        "metadata": { "annotations": { CORDONED_BY: owner }, "resourceVersion": node.metadata.resource_version },
        "spec": { "unschedulable": unschedulable },
    })
}

/// Whether new pods are kept away.
pub(super) fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or(false)
}

/// The operation whose cordon it is, if it is one of ours. The note alone does not tell: `kubectl uncordon` leaves it there, and
/// whoever cordons the node after that would pass for us.
pub(super) fn owner(node: &Node) -> Option<&str> {
    annotation(node, CORDONED_BY).filter(|_| is_cordoned(node) && is_set_by_us(node))
}

/// Whether the cordon was set by us last, which the API server keeps in `managedFields`; where somebody has cleared those, nobody can
/// tell, and the note is believed.
fn is_set_by_us(node: &Node) -> bool {
    let sets = |entry: &&ManagedFieldsEntry| {
        entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:unschedulable").is_some())
    };
    let mut setters = node.metadata.managed_fields.iter().flatten().filter(sets).peekable();
    setters.peek().is_none() || setters.any(|entry| entry.manager.as_deref() == Some(FIELD_MANAGER))
}

/// The operation that took it out of external load balancers, if one of ours did and nobody has taken it back.
pub(super) fn excluder(node: &Node) -> Option<&str> {
    annotation(node, EXCLUDED_BY).filter(|_| label(node).is_some())
}

fn annotation<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn label(node: &Node) -> Option<&str> {
    node.metadata.labels.as_ref()?.get(EXCLUDED).map(String::as_str)
}
