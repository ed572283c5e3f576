//! Our arithmetic of budgets against the disruption controller's own, on every status that it writes while pods come up.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod as ApiPod;
use kube::api::{Api, ListParams};
use kubewright::kube::{ClusterApi, apply_all};
use kubewright::ports::{KubeApi, ObjectRef, Workloads};
use kubewright_core::drain::{Budget, Name, News, Object, Phase, Pod, Readiness, View};
use serde_json::{Value, json};

use super::MINUTE;

/// Where they live.
pub const NAMESPACE: &str = "mixes";

/// Every kind of wish, with nothing, some and all of the replicas in it.
fn wishes() -> Vec<(&'static str, Value)> {
    let values = [json!(0), json!(1), json!(2), json!(4), json!("0%"), json!("34%"), json!("50%"), json!("100%")];
    let both = ["minAvailable", "maxUnavailable"].into_iter();
    both.flat_map(|kind| values.clone().map(|value| (kind, value))).collect()
}

/// Deployments of one to three replicas, each with a budget.
fn mixes() -> Vec<(Name, usize, Vec<Value>)> {
    let mix = |(number, (kind, value)): (usize, (&str, Value))| {
        let (name, replicas) = (format!("mix-{number}"), 1 + number % 3);
        let labels = json!({ "app": name });
        let template = json!({
            "metadata": { "labels": labels },
            "spec": { "terminationGracePeriodSeconds": 1, "containers": [{ "name": "main", "image": "mix" }] },
        });
        let metadata = json!({ "name": name, "namespace": NAMESPACE });
        let budget = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata,
            "spec": { kind: value, "selector": { "matchLabels": labels } },
        });
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": { "replicas": replicas, "selector": { "matchLabels": labels }, "template": template },
        });
        (Name::new(NAMESPACE, name), replicas, vec![deployment, budget])
    };
    wishes().into_iter().enumerate().map(mix).collect()
}

/// Statuses are what we would make of the same numbers, and what is said never to let a pod go lets none go.
pub async fn are_worked_out_as_the_controller_does(api: &ClusterApi) {
    let mixes = mixes();
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    let objects = std::iter::once(namespace).chain(mixes.iter().flat_map(|(_, _, objects)| objects.clone()));
    let mut stream = api.follow(&View::Budgets);
    apply_all(api, &objects.collect::<Vec<_>>()).await.unwrap();
    let (mut compared, mut settled) = (0, BTreeSet::new());
    let comparing = async {
        while settled.len() < mixes.len() {
            let objects = match stream.next().await.unwrap().unwrap() {
                News::All(objects) => objects,
                News::Changed(object) => vec![object],
                News::Gone(_) => continue,
            };
            for object in objects {
                let Object::Budget(name, budget) = object else { continue };
                let Some((_, replicas, _)) = mixes.iter().find(|(of, ..)| *of == name) else { continue };
                let is_worked_out = budget.observed_generation == budget.generation && budget.sync_failed.is_none();
                if is_worked_out && budget.expected > 0 {
                    compare(&name, &budget);
                    compared += 1;
                }
                let all = i32::try_from(*replicas).unwrap();
                if is_worked_out && (budget.expected, budget.healthy) == (all, all) && settled.insert(name.clone()) {
                    let serves = Pod { phase: Phase::Running, readiness: Readiness::Ready, ..Pod::default() };
                    assert_eq!(budget.never(&serves).is_some(), budget.allowed == 0, "{name}: {budget:?}");
                }
            }
        }
    };
    tokio::time::timeout(MINUTE, comparing).await.expect("all pods come up");
    eprintln!("{} budgets, {compared} statuses: all as ours", mixes.len());
    go(api).await;
}

/// Drains that come after this one are not about them.
async fn go(api: &ClusterApi) {
    api.delete(&ObjectRef::cluster_wide("v1", "Namespace", NAMESPACE)).await.unwrap();
    let pods = Api::<ApiPod>::namespaced(api.client(), NAMESPACE);
    let going = async {
        while !pods.list(&ListParams::default()).await.unwrap().items.is_empty() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(MINUTE, going).await.expect("they go with their namespace");
}

fn compare(name: &Name, budget: &Budget) {
    let desired = budget.wanted.desired(budget.expected);
    assert_eq!(desired, Some(budget.desired), "{name}: {budget:?}");
    assert_eq!((budget.healthy - budget.desired).max(0), budget.allowed, "{name}: {budget:?}");
}
