//! Stand-ins for kubelets: they run nothing, call a pod Ready after its time, and let one that is deleted go after the
//! whole of its grace.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Result;
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::json;
use tokio::task::JoinSet;

/// An annotation of pods: milliseconds from being bound until Ready.
pub const READY_AFTER: &str = "kubewright.dev/ready-after";

/// Between tries of a write: an API server under load says no now and then.
const PAUSE: Duration = Duration::from_millis(200);
/// So often a write is tried; more only hides that something is wrong, which whoever waits for the pod then says.
const TRIES: usize = 20;

/// Registers a node that is Ready.
///
/// # Errors
/// The API does not take it.
pub async fn register(client: &Client, name: &str, group: &str) -> Result<()> {
    let labels = json!({ "kubernetes.io/os": "linux", "kubernetes.io/hostname": name, "group": group });
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels } });
    let nodes = Api::<Node>::all(client.clone());
    nodes.create(&PostParams::default(), &serde_json::from_value(node)?).await?;
    let ready = json!({ "type": "Ready", "status": "True", "reason": "KubeletReady" });
    // 110 pods: the kubelet's default of `maxPods`.
    let resources = json!({ "cpu": "64", "memory": "256Gi", "pods": "110" });
    let status = json!({ "conditions": [ready], "capacity": resources, "allocatable": resources });
    nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await?;
    Ok(())
}

/// Runs and ends every pod that is bound to a node, until it is dropped.
pub async fn run(client: Client) {
    let pods = Api::<Pod>::all(client.clone());
    let mut seen = watcher(pods, watcher::Config::default()).default_backoff().applied_objects().boxed();
    let mut begun: HashSet<(String, bool)> = HashSet::new();
    let mut work = JoinSet::new();
    loop {
        tokio::select! {
            Some(pod) = seen.next() => {
                let Ok(pod) = pod else { continue };
                let Some(uid) = pod.uid().filter(|_| is_bound(&pod)) else { continue };
                let ends = pod.metadata.deletion_timestamp.is_some();
                if (ends || !is_ready(&pod)) && begun.insert((uid, ends)) {
                    let pods = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
                    work.spawn(async move { if ends { end(&pods, &pod).await } else { start(&pods, &pod).await } });
                }
            }
            Some(_) = work.join_next(), if !work.is_empty() => {}
        }
    }
}

fn is_bound(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn start(pods: &Api<Pod>, pod: &Pod) {
    let after = pod.annotations().get(READY_AFTER).and_then(|text| text.parse().ok()).unwrap_or(0);
    tokio::time::sleep(Duration::from_millis(after)).await;
    let ready = json!({ "type": "Ready", "status": "True" });
    let patch = json!({ "metadata": { "uid": pod.uid() }, "status": { "phase": "Running", "conditions": [ready] } });
    for _ in 0..TRIES {
        match pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
            Ok(_) => return,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn end(pods: &Api<Pod>, pod: &Pod) {
    let grace = pod.metadata.deletion_grace_period_seconds.and_then(|grace| u64::try_from(grace).ok()).unwrap_or(0);
    tokio::time::sleep(Duration::from_secs(grace)).await;
    let own = Preconditions { uid: pod.uid(), resource_version: None };
    let now = DeleteParams { preconditions: Some(own), ..DeleteParams::default().grace_period(0) };
    for _ in 0..TRIES {
        match pods.delete(&pod.name_any(), &now).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
            Ok(_) => return,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
