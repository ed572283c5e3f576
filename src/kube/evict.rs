//! Requests of a drain that must reach the API server once or not at all: evictions, deletions, and the questions and
//! receipts around them.
//!
//! The Eviction is built by hand. kube's own serialises its options under a key that the server drops without a word,
//! so that preconditions vanish and a dry run evicts (kube 5.0, `EvictParams`).

use http::Method;
use jiff::Timestamp;
use kube::core::Status;
use kubewright_core::drain::{Answer, Cause, Name, Outcome, Permission};
use serde_json::{Value, json};

use super::call::{self, Call};
use super::resource::path_of;
use super::{ClusterApi, FIELD_MANAGER};
use crate::ports::{Fault, KubeError, ObjectRef};

/// Asks once for an eviction.
pub(super) async fn evict(api: &ClusterApi, pod: &Name, uid: &str) -> Outcome {
    let body = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": { "name": pod.name, "namespace": pod.namespace },
        "deleteOptions": { "preconditions": { "uid": uid } },
    });
    once(api, "evict", pod, Method::POST, "/eviction", &body).await
}

/// Asks once for a deletion.
pub(super) async fn delete(api: &ClusterApi, pod: &Name, uid: &str) -> Outcome {
    let body = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": { "uid": uid } });
    once(api, "delete", pod, Method::DELETE, "", &body).await
}

async fn once(api: &ClusterApi, verb: &str, pod: &Name, method: Method, below: &str, body: &Value) -> Outcome {
    let object = ObjectRef::namespaced("v1", "Pod", &pod.namespace, &pod.name);
    let path = match path_of(&object) {
        Ok(path) => path,
        Err(error) => return Outcome::Denied { said: error.said },
    };
    let call = Call {
        doing: format!("{verb} {object}"),
        method,
        path: format!("{path}{below}"),
        content_type: Some("application/json"),
        body: body.to_string().into_bytes(),
    };
    let outcome = match api.attempt(&call).await {
        Ok(answer) => Outcome::of(&plain(&answer)),
        Err(error) => Outcome::of(&Answer { said: error.said, ..Answer::default() }),
    };
    tracing::debug!(?outcome, "{}", call.doing);
    outcome
}

/// An answer in plain data. A throttled request is answered in text, everything else with a `Status`.
fn plain(answer: &call::Answer) -> Answer {
    let code = answer.status.as_u16();
    let status = serde_json::from_slice::<Status>(&answer.body)
        .unwrap_or_else(|_| Status::failure(String::from_utf8_lossy(&answer.body).trim(), ""));
    let details = status.details.as_ref();
    let causes = details.map(|details| details.causes.as_slice()).unwrap_or_default();
    let asked = details.map(|details| u64::from(details.retry_after_seconds)).filter(|seconds| *seconds > 0);
    Answer {
        code: Some(code),
        reason: status.reason.clone(),
        said: status.message.clone(),
        causes: causes
            .iter()
            .map(|cause| Cause { reason: cause.reason.clone(), said: cause.message.clone() })
            .collect(),
        retry_after: answer.retry_after.or(asked.map(std::time::Duration::from_secs)),
    }
}

/// Asks whether we may.
pub(super) async fn may(api: &ClusterApi, permission: Permission) -> Result<bool, KubeError> {
    let (verb, group, resource, subresource) = permission.asked();
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": { "resourceAttributes": {
            "verb": verb, "group": group, "resource": resource, "subresource": subresource,
        } },
    });
    let call = Call {
        doing: format!("ask whether we may {verb} {resource} {subresource}"),
        method: Method::POST,
        path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_owned(),
        content_type: Some("application/json"),
        body: body.to_string().into_bytes(),
    };
    let answer: Value = api.call(&call).await?.json(&call.doing)?;
    answer
        .pointer("/status/allowed")
        .and_then(Value::as_bool)
        .ok_or_else(|| KubeError::new(Fault::Server, call.doing, "an answer that does not say whether"))
}

/// Writes an Event. Once: a second one for the same thing would be a second receipt.
pub(super) async fn remark(api: &ClusterApi, about: &ObjectRef, reason: &str, text: &str) -> Result<(), KubeError> {
    // Events about cluster-wide objects live in `default`, as the kubelet's own do.
    let namespace = about.namespace.as_deref().unwrap_or("default");
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let body = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "generateName": "kubewright-", "namespace": namespace },
        "involvedObject": {
            "apiVersion": about.api_version, "kind": about.kind, "namespace": about.namespace, "name": about.name,
        },
        "reason": reason,
        "message": text,
        "type": "Warning",
        "source": { "component": FIELD_MANAGER },
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    });
    let call = Call {
        doing: format!("write an Event about {about}"),
        method: Method::POST,
        path: format!("/api/v1/namespaces/{namespace}/events"),
        content_type: Some("application/json"),
        body: body.to_string().into_bytes(),
    };
    let answer = api.attempt(&call).await?;
    if answer.status.as_u16() < 400 { Ok(()) } else { Err(api.complaint(&call, &answer)) }
}
