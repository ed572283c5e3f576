//! Workloads on nodes of their own: raised, waited for, taken away.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node, Pod};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams};
use kubewright::kube::{ClusterApi, apply_all};
use kubewright_core::drain::Name;
use serde_json::{Value, json};

use super::kubelets;
use super::revisions::{APP, Observer, State};

/// Five thousand pods were seen to take two minutes on two cores.
const RAISED: Duration = Duration::from_secs(600);

/// A Deployment and the budget over its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its name; its budget has the same.
    pub name: String,
    /// How many pods.
    pub replicas: usize,
    /// The budget's `maxUnavailable`.
    pub max_unavailable: Option<Value>,
}

impl Workload {
    /// How many pods its budget may miss.
    pub fn allowed(&self) -> Option<usize> {
        Some(match self.max_unavailable.as_ref()? {
            // A percentage is rounded up (kubernetes pkg/controller/disruption).
            Value::String(percent) => {
                (self.replicas * percent.trim_end_matches('%').parse::<usize>().ok()?).div_ceil(100)
            }
            number => usize::try_from(number.as_u64()?).ok()?,
        })
    }
}

/// Workloads, nodes, and how long pods take.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its namespace, and the beginning of its nodes' names.
    pub name: String,
    /// Nodes that the pods start on.
    pub nodes: usize,
    /// Nodes that come afterwards.
    pub spare: usize,
    /// What runs.
    pub workloads: Vec<Workload>,
    /// Every pod uses the whole of it.
    pub grace: Duration,
    /// From being bound until Ready.
    pub ready: Duration,
}

impl Scenario {
    /// All nodes that the pods start on, in order.
    pub fn nodes(&self) -> Vec<String> {
        (1..=self.nodes).map(|number| self.node(number)).collect()
    }

    fn node(&self, number: usize) -> String {
        format!("{}-n{number:03}", self.name)
    }

    /// How many pods there are.
    pub fn pods(&self) -> usize {
        self.workloads.iter().map(|workload| workload.replicas).sum()
    }

    /// How many pods each budget may miss.
    pub fn allowed(&self) -> BTreeMap<Name, usize> {
        let workloads = self.workloads.iter();
        workloads.filter_map(|workload| Some((Name::new(&self.name, &workload.name), workload.allowed()?))).collect()
    }

    /// Raises nodes, pods and budgets, and waits until every pod is Ready and every budget knows of it.
    ///
    /// # Errors
    /// Something is not taken, or not Ready in time.
    pub async fn raise(&self, api: &ClusterApi, observer: &Observer) -> Result<()> {
        let client = api.client();
        for node in self.nodes() {
            kubelets::register(&client, &node, &self.name).await?;
        }
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": self.name } });
        let mut objects = vec![namespace];
        objects.extend(self.workloads.iter().flat_map(|workload| self.objects(workload)));
        apply_all(api, &objects).await?;
        self.wait_whole(observer).await?;
        for number in self.nodes + 1..=self.nodes + self.spare {
            kubelets::register(&client, &self.node(number), &self.name).await?;
        }
        // Its taint of a node that was just registered goes a moment later, and nobody is to wait for that.
        let tainted = async || {
            let nodes = Api::<Node>::all(client.clone()).list(&ListParams::default()).await?;
            let taints = |node: Node| node.spec.and_then(|spec| spec.taints).is_some_and(|taints| !taints.is_empty());
            anyhow::Ok(nodes.items.into_iter().any(taints))
        };
        while tainted().await? {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Waits until every workload has all its pods and every budget all its room.
    ///
    /// # Errors
    /// They have not in time.
    pub async fn wait_whole(&self, observer: &Observer) -> Result<()> {
        let allowed = self.allowed();
        let is_whole = |state: &State| {
            let has_room = |(name, allowed): (&Name, &usize)| {
                state.budgets.get(name).is_some_and(|budget| usize::try_from(budget.allowed) == Ok(*allowed))
            };
            let of = state.pods.iter().filter(|(name, _)| name.namespace == self.name);
            of.clone().count() == self.pods() && of.clone().all(|(_, pod)| pod.healthy) && allowed.iter().all(has_room)
        };
        observer.until(&format!("the pods of {}", self.name), RAISED, is_whole).await
    }

    fn objects(&self, workload: &Workload) -> Vec<Value> {
        let metadata = json!({ "name": workload.name, "namespace": self.name });
        let labels = json!({ APP: workload.name });
        let annotations = json!({ kubelets::READY_AFTER: self.ready.as_millis().to_string() });
        let container = json!({
            "name": "c", "image": "none", "resources": { "requests": { "cpu": "100m", "memory": "64Mi" } },
        });
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
            "spec": {
                "replicas": workload.replicas, "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels, "annotations": annotations },
                    "spec": {
                        "nodeSelector": { "group": self.name }, "containers": [container],
                        "terminationGracePeriodSeconds": self.grace.as_secs(),
                    },
                },
            },
        });
        let budget = workload.max_unavailable.as_ref().map(|most| {
            json!({
                "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata,
                "spec": { "maxUnavailable": most, "selector": { "matchLabels": labels } },
            })
        });
        [Some(deployment), budget].into_iter().flatten().collect()
    }

    /// Takes everything away, without any grace.
    ///
    /// # Errors
    /// It does not go.
    pub async fn take_away(&self, client: &Client, observer: &Observer) -> Result<()> {
        let all = ListParams::default();
        let (background, now) = (DeleteParams::background(), DeleteParams::default().grace_period(0));
        let deployments = Api::<Deployment>::namespaced(client.clone(), &self.name);
        let pods = Api::<Pod>::namespaced(client.clone(), &self.name);
        let gone = async {
            loop {
                // A thousand at once may take longer than an answer may; what has gone by then is gone, and those that
                // were made meanwhile go with the next.
                let asked = tokio::try_join!(
                    deployments.delete_collection(&background, &all),
                    pods.delete_collection(&now, &all)
                );
                let empty = |state: &State| state.pods.keys().all(|name| name.namespace != self.name);
                if observer.until("pods to go", Duration::from_secs(2), empty).await.is_ok() {
                    return;
                }
                if let Err(error) = asked {
                    eprintln!("  still taking away {}: {error}", self.name);
                }
            }
        };
        tokio::time::timeout(RAISED, gone).await.with_context(|| format!("{} does not go", self.name))?;
        Api::<Namespace>::all(client.clone()).delete(&self.name, &DeleteParams::default()).await?;
        let nodes = Api::<Node>::all(client.clone());
        nodes.delete_collection(&DeleteParams::default(), &all.labels(&format!("group={}", self.name))).await?;
        Ok(())
    }
}

/// As many workloads of ten replicas as there are tens of pods: six of ten with a budget of one, two with one of a
/// fifth, two with none.
pub fn mixed(pods: usize) -> Vec<Workload> {
    (0..pods / 10)
        .map(|number| Workload {
            name: format!("w{number:03}"),
            replicas: 10,
            max_unavailable: match number % 10 {
                0..6 => Some(json!(1)),
                6..8 => Some(json!("20%")),
                _ => None,
            },
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_misses_what_its_words_say() {
        let workload = |max_unavailable| Workload { name: "cart".into(), replicas: 11, max_unavailable };
        assert_eq!(workload(Some(json!(1))).allowed(), Some(1));
        assert_eq!(workload(Some(json!("20%"))).allowed(), Some(3), "rounded up, as the controller does");
        assert_eq!(workload(None).allowed(), None);
    }

    #[test]
    fn the_mix_has_all_kinds() {
        let mix = mixed(5000);
        let of = |allowed| mix.iter().filter(|workload| workload.allowed() == allowed).count();
        assert_eq!((mix.len(), of(Some(1)), of(Some(2)), of(None)), (500, 300, 100, 100));
    }
}
