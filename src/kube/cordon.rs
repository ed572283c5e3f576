//! Cordons that know whose they are: Kubernetes has one boolean, so an annotation beside it names the operation.

use http::Method;
use k8s_openapi::api::core::v1::Node;
use kubewright_core::ids::{HostName, OperationId};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::call::Call;
use super::{ClusterApi, FIELD_MANAGER};
use crate::ports::{Cordoned, Fault, KubeError, Uncordoned, Whose};

/// The operation that cordoned the node.
pub(super) const CORDONED_BY: &str = "kubewright.dev/cordoned-by";

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
    let meant = |by: Option<&str>| match whose {
        Whose::Of(operation) => by == Some(operation.as_str()),
        Whose::Kubewright => by.is_some(),
        Whose::Anybody => true,
    };
    change(api, node, "uncordon", |seen| {
        // A label of others is nobody's to take, whatever becomes of the cordon.
        let excluded = annotation(seen, EXCLUDED_BY).filter(|by| meant(Some(by))).is_some();
        let ours = meant(owner(seen));
        let becomes = match (is_cordoned(seen), ours) {
            (false, _) => Uncordoned::NotCordoned,
            (true, true) => Uncordoned::Done,
            (true, false) => Uncordoned::Kept,
        };
        // Somebody may have taken the cordon and left our note.
        let take_cordon = ours && (is_cordoned(seen) || owner(seen).is_some());
        if !take_cordon && !excluded {
            return Step::Is(becomes);
        }
        let mut taken = match take_cordon {
            true => patch(seen, Value::Null, Value::Null),
            false => json!({ "metadata": { "annotations": {}, "resourceVersion": seen.metadata.resource_version } }),
        };
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

/// The operation that cordoned it, if one of ours did.
pub(super) fn owner(node: &Node) -> Option<&str> {
    annotation(node, CORDONED_BY)
}

fn annotation<'n>(node: &'n Node, key: &str) -> Option<&'n str> {
    node.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn label(node: &Node) -> Option<&str> {
    node.metadata.labels.as_ref()?.get(EXCLUDED).map(String::as_str)
}
