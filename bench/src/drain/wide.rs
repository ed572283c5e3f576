//! What looking at one node of a very large cluster takes in memory: an API that is made up on the way, page by page, as no
//! machine of this size runs fifty thousand pods. What a drain watches afterwards is the same: nodes, budgets and the
//! pods of one node.

use std::convert::Infallible;

use anyhow::{Context, Result, ensure};
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use kubewright::facts::nodes::{look, survey};
use kubewright::kube::ClusterApi;
use kubewright::ports::{Clock, SystemClock};
use kubewright_core::drain::{Name, Policy, forecast, room};
use kubewright_core::ids::HostName;
use serde_json::{Value, json};
use tower::service_fn;

use super::{LOOK, Part};
use crate::memory;

/// Bytes of what is in a pod and nobody here reads: environment, volumes, status, managed fields. Pods have three to eight
/// kilobytes.
const POD_BALLAST: usize = 4_000;
/// The same of a node, mostly the images that it has.
const NODE_BALLAST: usize = 8_000;

/// How large it is.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Nodes.
    pub nodes: usize,
    /// Pods on all of them.
    pub pods: usize,
}

/// Looks at its first node as `kubewright node drain` does, in this process.
///
/// # Errors
/// What is seen is not what is there.
pub fn one(size: Size) -> Result<Part> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    memory::forget_peak()?;
    runtime.block_on(async {
        let service = service_fn(move |request: Request<Body>| async move {
            Ok::<_, Infallible>(Response::new(Body::from(answer(size, request.uri()).to_string().into_bytes())))
        });
        let api = ClusterApi::over(Client::new(service, "default"));
        let mut seen = look(&api, &HostName::new(node_name(0)), SystemClock.now(), LOOK).await?;
        survey(&api, [&mut seen]).await;
        ensure!(seen.nodes.len() == size.nodes, "{} nodes were seen", seen.nodes.len());
        let occupancy = seen.occupancy.clone().context("nothing was asked about the other nodes")?;
        let occupancy = occupancy.map_err(anyhow::Error::msg)?;
        let counted: i64 = occupancy.used.values().map(|used| used.all().get("pods") / 1000).sum();
        ensure!(usize::try_from(counted)? == size.pods, "{counted} pods were counted");
        let moving: Vec<(&Name, _)> = seen.pods.iter().collect();
        let found = room(&seen, &occupancy, &moving);
        ensure!(found.placed.len() == size.pods / size.nodes, "{} pods found room", found.placed.len());
        drop(forecast(&seen, &Policy::default(), &[]));
        anyhow::Ok(())
    })?;
    Ok(Part { rss_mb: memory::own()?.peak })
}

fn node_name(number: usize) -> String {
    format!("n{number:04}")
}

/// A list, or a page of it: all that is asked for here are lists.
fn answer(size: Size, uri: &http::Uri) -> Value {
    let parameter = |name: &str| {
        let mut pairs = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let of_one_node = parameter("fieldSelector").starts_with("spec.nodeName%3D");
    match uri.path() {
        "/api/v1/nodes" => page(size.nodes, &parameter("limit"), &parameter("continue"), node),
        "/api/v1/pods" if of_one_node => {
            page(size.pods / size.nodes, "", "", |number| pod(number * size.nodes, size.nodes))
        }
        "/api/v1/pods" => {
            page(size.pods, &parameter("limit"), &parameter("continue"), |number| pod(number, size.nodes))
        }
        "/apis/policy/v1/poddisruptionbudgets" => {
            page(size.pods / 10, &parameter("limit"), &parameter("continue"), budget)
        }
        _ => page(0, "", "", |_| Value::Null),
    }
}

fn page(all: usize, limit: &str, from: &str, one: impl Fn(usize) -> Value) -> Value {
    let from = from.parse().unwrap_or(0);
    let end = all.min(from + limit.parse().unwrap_or(all));
    let next = if end < all { end.to_string() } else { String::new() };
    let items: Vec<Value> = (from..end).map(one).collect();
    json!({ "metadata": { "resourceVersion": "1", "continue": next }, "items": items })
}

fn node(number: usize) -> Value {
    json!({
        "metadata": {
            "name": node_name(number), "uid": node_name(number), "resourceVersion": "1",
            "labels": { "kubernetes.io/hostname": node_name(number), "topology.kubernetes.io/zone": "a" },
            "annotations": { "ballast": "x".repeat(NODE_BALLAST) },
        },
        "status": {
            "allocatable": { "cpu": "64", "memory": "256Gi", "pods": "110" },
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    })
}

/// Pods of ten replicas, of which every tenth workload keeps its pods on different nodes.
fn pod(number: usize, nodes: usize) -> Value {
    let app = format!("app-{}", number / 10);
    let labels = json!({ "app": app, "pod-template-hash": "6f568b84f4", "team": "checkout", "tier": "backend" });
    let term = json!({ "topologyKey": "kubernetes.io/hostname", "labelSelector": { "matchLabels": { "app": app } } });
    let affinity = (number / 10)
        .is_multiple_of(10)
        .then(|| json!({ "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [term] } }));
    let owner = json!({ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": app, "uid": app, "controller": true });
    json!({
        "metadata": {
            "name": format!("{app}-6f568b84f4-{number}"), "namespace": format!("team-{}", number / 10 % 50), "uid": number.to_string(),
            "labels": labels, "ownerReferences": [owner], "annotations": { "ballast": "x".repeat(POD_BALLAST) },
        },
        "spec": {
            "nodeName": node_name(number % nodes), "affinity": affinity,
            "containers": [{ "name": "c", "resources": { "requests": { "cpu": "100m", "memory": "128Mi" } } }],
        },
        "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
    })
}

fn budget(number: usize) -> Value {
    let app = format!("app-{number}");
    json!({
        "metadata": { "name": app, "namespace": format!("team-{}", number % 50), "resourceVersion": "1", "generation": 1 },
        "spec": { "maxUnavailable": 1, "selector": { "matchLabels": { "app": app } } },
        "status": {
            "observedGeneration": 1, "disruptionsAllowed": 1, "currentHealthy": 10, "desiredHealthy": 9, "expectedPods": 10,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_made_up_cluster_is_seen_whole_page_by_page() {
        // More than a page of nodes and of pods.
        let found = one(Size { nodes: 600, pods: 1200 }).unwrap();
        assert!(found.rss_mb > 0.0);
    }
}
