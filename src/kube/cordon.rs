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

/// Lets pods come again.
pub(super) async fn uncordon(api: &ClusterApi, node: &HostName, whose: &Whose) -> Result<Uncordoned, KubeError> {
    change(api, node, "uncordon", |seen| {
        let meant = match whose {
            Whose::Of(operation) => owner(seen) == Some(operation.as_str()),
            Whose::Kubewright => owner(seen).is_some(),
            Whose::Anybody => true,
        };
        match (is_cordoned(seen), meant) {
            (false, _) if owner(seen).is_none() || !meant => Step::Is(Uncordoned::NotCordoned),
            // Somebody took the cordon and left our note.
            (false, _) => Step::Make(patch(seen, Value::Null, Value::Null), Uncordoned::NotCordoned),
            (true, true) => Step::Make(patch(seen, Value::Null, Value::Null), Uncordoned::Done),
            (true, false) => Step::Is(Uncordoned::Kept),
        }
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
    node.metadata.annotations.as_ref()?.get(CORDONED_BY).map(String::as_str)
}
