//! Kubelets that run nothing and say that all is well.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

/// Registers a node; it is Ready or says why not.
pub async fn register(client: &Client, name: &str) {
    let labels = json!({ "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name });
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels } });
    let nodes = Api::<Node>::all(client.clone());
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
}

/// A kubelet's report on its node; `None` where it is Ready.
pub async fn report(client: &Client, name: &str, not_ready: Option<&str>) {
    let ready = json!({
        "type": "Ready",
        "status": if not_ready.is_none() { "True" } else { "False" },
        "reason": if not_ready.is_none() { "KubeletReady" } else { "KubeletNotReady" },
        "message": not_ready.unwrap_or("kubelet is posting ready status"),
        "lastHeartbeatTime": null,
        "lastTransitionTime": null,
    });
    let resources = json!({ "cpu": "4", "memory": "8Gi", "pods": "110" });
    let status = json!({ "conditions": [ready], "capacity": resources, "allocatable": resources });
    let nodes = Api::<Node>::all(client.clone());
    nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await.unwrap();
}

/// Makes the mirror pod of a static pod, as the kubelet of that node would.
pub async fn mirror_pod(client: &Client, component: &str, node: &str, not_ready: Option<&str>) {
    let name = format!("{component}-{node}");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "kube-system",
            "labels": { "component": component, "tier": "control-plane" },
            "annotations": { "kubernetes.io/config.mirror": "0123456789abcdef" },
        },
        "spec": { "nodeName": node, "containers": [{ "name": component, "image": component }] },
    });
    let pods = Api::<Pod>::namespaced(client.clone(), "kube-system");
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    set_pod(&pods, &name, not_ready).await;
}

/// Another report on a mirror pod.
pub async fn report_mirror_pod(client: &Client, component: &str, node: &str, not_ready: Option<&str>) {
    let pods = Api::<Pod>::namespaced(client.clone(), "kube-system");
    set_pod(&pods, &format!("{component}-{node}"), not_ready).await;
}

async fn set_pod(pods: &Api<Pod>, name: &str, not_ready: Option<&str>) {
    let status = json!({ "phase": "Running", "conditions": [ready_condition(not_ready)] });
    pods.patch_status(name, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await.unwrap();
}

fn ready_condition(not_ready: Option<&str>) -> Value {
    json!({ "type": "Ready", "status": if not_ready.is_none() { "True" } else { "False" }, "message": not_ready })
}

/// Calls every pod in a namespace Ready as soon as it is bound to a node; runs until it is dropped.
pub async fn run_all_pods(client: Client, namespace: &str) {
    let pods = Api::<Pod>::namespaced(client, namespace);
    let mut seen = watcher(pods.clone(), watcher::Config::default()).default_backoff().touched_objects().boxed();
    while let Some(Ok(pod)) = seen.next().await {
        let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let ready = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        if bound && !ready.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
            set_pod(&pods, &pod.name_any(), None).await;
        }
    }
}
