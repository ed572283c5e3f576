//! Objects: server-side apply and reading, one round trip each.

use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};
use http::{Method, StatusCode};
use serde_json::Value;

use super::call::Call;
use super::resource::{name_of, path_of};
use super::{ClusterApi, FIELD_MANAGER};
use crate::ports::{Applied, Fault, KubeApi, KubeError, ObjectRef};

/// So many objects under way at once: enough to hide the distance to the cluster, far below what the API server's
/// fairness grants one user.
const AT_ONCE: usize = 8;

/// Makes one object as described.
pub(super) async fn apply(api: &ClusterApi, object: &Value) -> Result<Applied, KubeError> {
    let name = name_of(object)?;
    let doing = format!("apply {name}");
    // Forced: where another manager holds a field that we describe, the description is what the user asked for.
    // Warn: unknown fields come back as warnings instead of vanishing silently.
    let path = format!("{}?fieldManager={FIELD_MANAGER}&force=true&fieldValidation=Warn", path_of(&name)?);
    let body = serde_json::to_vec(object).map_err(|error| KubeError::new(Fault::Invalid, &doing, error.to_string()))?;
    let call = Call { doing, method: Method::PATCH, path, content_type: Some("application/apply-patch+yaml"), body };
    let answer = api.call(&call).await?;
    let applied: Value = answer.json(&call.doing)?;
    Ok(Applied {
        created: answer.status == StatusCode::CREATED,
        resource_version: applied
            .pointer("/metadata/resourceVersion")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        warnings: answer.warnings,
    })
}

/// Reads one object.
pub(super) async fn get(api: &ClusterApi, object: &ObjectRef) -> Result<Option<Value>, KubeError> {
    let call = Call::get(format!("get {object}"), path_of(object)?);
    match api.call(&call).await {
        Ok(answer) => answer.json(&call.doing).map(Some),
        Err(error) if error.fault == Fault::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes one object; whether it was there.
pub(super) async fn delete(api: &ClusterApi, object: &ObjectRef) -> Result<bool, KubeError> {
    let call = Call {
        doing: format!("delete {object}"),
        method: Method::DELETE,
        path: path_of(object)?,
        content_type: None,
        body: Vec::new(),
    };
    match api.call(&call).await {
        Ok(_) => Ok(true),
        Err(error) if error.fault == Fault::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes many objects: namespaces and kinds first, because the others live in them, the rest a few at a time. The
/// answers come in the order of the objects. It stops at the first failure; what was applied stays and may be
/// applied again.
///
/// # Errors
/// Those of [`KubeApi::apply`].
pub async fn apply_all(api: &dyn KubeApi, objects: &[Value]) -> Result<Vec<Applied>, KubeError> {
    let is_ground = |object: &Value| matches!(object["kind"].as_str(), Some("Namespace" | "CustomResourceDefinition"));
    let mut all: Vec<(usize, Applied)> = Vec::with_capacity(objects.len());
    for ground in [true, false] {
        // Boxed: the compiler cannot see otherwise that these futures may move between threads.
        let mut wave: Vec<BoxFuture<'_, Result<(usize, Applied), KubeError>>> = Vec::new();
        for (index, object) in objects.iter().enumerate().filter(|(_, object)| is_ground(object) == ground) {
            wave.push(Box::pin(async move { Ok((index, api.apply(object).await?)) }));
        }
        let applied: Vec<_> = stream::iter(wave).buffer_unordered(AT_ONCE).try_collect().await?;
        all.extend(applied);
    }
    all.sort_by_key(|(index, _)| *index);
    Ok(all.into_iter().map(|(_, applied)| applied).collect())
}
