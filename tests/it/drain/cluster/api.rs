//! What the API server of the cluster in memory answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use jiff::{SignedDuration, Timestamp};
use kubewright::ports::{
    Applied, ConnectionFault, Cordoned, Fault, KubeApi, KubeError, Lines, ObjectRef, Patched,
    Readiness as ApiReadiness, Uncordoned, Whose, Workloads,
};
use kubewright_core::drain::{Apart, Budget, Name, News, Object, Occupancy, Outcome, Permission, Pod, View};
use kubewright_core::facts::{NodeFacts, Running};
use kubewright_core::health::{Condition, NodeState, Observation, PodState, Verdict, WorkloadState};
use kubewright_core::ids::{HostName, OperationId};
use kubewright_core::maintenance::Controller;
use kubewright_core::marks::NodeMarks;
use kubewright_core::version::Version;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::Cluster;

impl Cluster {
    fn observed(&self) -> Observation {
        self.seen(|state| Observation {
            nodes: state
                .nodes
                .iter()
                .map(|(name, node)| {
                    let boot_id = state.boots.get(name).cloned().unwrap_or_default();
                    (name.clone(), NodeState { not_ready: node.not_ready.clone(), boot_id, ..NodeState::default() })
                })
                .collect(),
            pods: state
                .pods
                .iter()
                .map(|(name, pod)| {
                    let owner = pod.owner.as_ref().map(|owner| (owner.kind.clone(), owner.name.clone()));
                    let not_ready = (!pod.is_ready()).then(|| "starting".to_owned());
                    let pod = PodState {
                        node: pod.node.clone(),
                        owner,
                        not_ready,
                        mirror: pod.mirror,
                        ..PodState::default()
                    };
                    ((name.namespace.clone(), name.name.clone()), pod)
                })
                .collect(),
            workloads: state
                .wanted
                .iter()
                .map(|(app, wanted)| {
                    let ready = state.serving(app);
                    let controller =
                        Controller { kind: "ReplicaSet".into(), namespace: "shop".into(), name: app.clone() };
                    (controller, WorkloadState { observed: true, wanted: *wanted, ready })
                })
                .collect(),
            attachments: state.attachments.clone(),
            leases: state.leases.iter().map(|(node, renewed)| (node.clone(), stamp(*renewed))).collect(),
            ..Observation::default()
        })
    }

    fn silence(&self) -> Option<KubeError> {
        let away = self.seen(|state| state.away);
        away.then(|| KubeError::new(Fault::Connection(ConnectionFault::Refused), "ask", "cp1: connection refused"))
    }

    fn objects(&self, view: &View) -> Vec<Object> {
        self.seen(|state| {
            let pod = |(name, pod): (&Name, &Pod)| Object::Pod(name.clone(), Box::new(pod.clone()));
            match view {
                View::Nodes => {
                    state.nodes.iter().map(|(name, node)| Object::Node(name.clone(), node.clone())).collect()
                }
                View::Budgets => {
                    let budget = |(name, of): (&Name, &Budget)| Object::Budget(name.clone(), Box::new(of.clone()));
                    state.budgets.iter().map(budget).collect()
                }
                View::PodsOn { node } => {
                    state.pods.iter().filter(|(_, of)| of.node.as_ref() == Some(node)).map(pod).collect()
                }
                View::Peers { budget, selector } => {
                    let counted =
                        |(name, of): &(&Name, &Pod)| name.namespace == budget.namespace && selector.matches(&of.labels);
                    state.pods.iter().filter(counted).map(pod).collect()
                }
            }
        })
    }
}

/// A time as the API writes it.
fn stamp(renewed: u64) -> String {
    (Timestamp::UNIX_EPOCH + SignedDuration::from_secs(i64::try_from(renewed).unwrap())).to_string()
}

#[async_trait]
impl Workloads for Cluster {
    fn follow(&self, view: &View) -> BoxStream<'static, Result<News, KubeError>> {
        let (cluster, view) = (self.clone(), view.clone());
        let mut changes = self.changes.subscribe();
        changes.mark_changed();
        stream::unfold((cluster, view, changes), |(cluster, view, mut changes)| async move {
            changes.changed().await.ok()?;
            let news = match cluster.silence() {
                None => Ok(News::All(cluster.objects(&view))),
                Some(error) => {
                    sleep(Duration::from_secs(3)).await;
                    changes.mark_changed();
                    Err(error)
                }
            };
            Some((news, (cluster, view, changes)))
        })
        .boxed()
    }

    async fn evict(&self, pod: &Name, uid: &str) -> Outcome {
        sleep(Duration::from_millis(5)).await;
        if self.silence().is_some() {
            return Outcome::Unknown { said: "connection refused".into() };
        }
        let outcome = self.change(|state| {
            let outcome = state.script.pop_front().unwrap_or_else(|| state.judge(pod, uid));
            state.evictions.push((pod.clone(), outcome.clone()));
            outcome
        });
        if outcome == Outcome::Accepted {
            self.end(pod, uid);
        }
        outcome
    }

    async fn delete_pod(&self, pod: &Name, uid: &str) -> Outcome {
        self.change(|state| state.deleted.push(pod.clone()));
        self.end(pod, uid);
        Outcome::Accepted
    }

    async fn cordon(&self, node: &HostName, operation: &OperationId) -> Result<Cordoned, KubeError> {
        self.change(|state| {
            let Some(seen) = state.nodes.get_mut(node.as_str()) else {
                return Err(KubeError::new(Fault::NotFound, "cordon", "not found"));
            };
            if seen.schedulable {
                seen.schedulable = false;
                seen.cordoned_by = Some(operation.to_string());
            }
            Ok(match &seen.cordoned_by {
                Some(by) if by == operation.as_str() => Cordoned::Ours,
                Some(by) => Cordoned::Of(by.as_str().into()),
                None => Cordoned::Foreign,
            })
        })
    }

    async fn served_alone(&self, _: &BTreeSet<HostName>) -> Result<BTreeMap<HostName, BTreeSet<Name>>, KubeError> {
        Ok(BTreeMap::new())
    }

    async fn occupancy(&self, _: &BTreeSet<Apart>) -> Result<Occupancy, KubeError> {
        Ok(Occupancy::default())
    }

    async fn exclude(&self, node: &HostName, operation: &OperationId) -> Result<(), KubeError> {
        self.change(|state| {
            state.excluded.entry(node.to_string()).or_insert_with(|| operation.to_string());
        });
        Ok(())
    }

    async fn uncordon(&self, node: &HostName, whose: &Whose) -> Result<Uncordoned, KubeError> {
        if let Some(error) = self.silence() {
            return Err(error);
        }
        self.change(|state| {
            let seen = state.nodes.get_mut(node.as_str()).unwrap();
            if state.excluded.get(node.as_str()).is_some_and(|by| whose.includes(Some(by))) {
                state.excluded.remove(node.as_str());
            }
            let meant = whose.includes(seen.cordoned_by.as_deref());
            if seen.schedulable {
                seen.cordoned_by.take_if(|by| whose.includes(Some(by)));
                return Ok(Uncordoned::NotCordoned);
            }
            if !meant {
                return Ok(Uncordoned::Kept);
            }
            (seen.schedulable, seen.cordoned_by) = (true, None);
            Ok(Uncordoned::Done)
        })
    }

    async fn may(&self, _: Permission) -> Result<bool, KubeError> {
        Ok(true)
    }

    async fn remark(&self, about: &ObjectRef, _: &str, text: &str) -> Result<(), KubeError> {
        self.change(|state| state.remarks.push(format!("{about}: {text}")));
        Ok(())
    }
}

/// Neither a drain nor maintenance asks anything else.
#[async_trait]
impl KubeApi for Cluster {
    async fn apply(&self, object: &Value) -> Result<Applied, KubeError> {
        panic!("nothing should be applied here, least of all {object}")
    }

    async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, KubeError> {
        Ok(self.seen(|state| match object.kind.as_str() {
            "ReplicaSet" => state.wanted.get(&object.name).map(|wanted| {
                let ready = state.serving(&object.name);
                json!({ "spec": { "replicas": wanted }, "status": { "readyReplicas": ready } })
            }),
            "Lease" => {
                state.leases.get(&object.name).map(|renewed| json!({ "spec": { "renewTime": stamp(*renewed) } }))
            }
            _ => None,
        }))
    }

    async fn patch_node(&self, node: &HostName, _: &NodeMarks) -> Result<Patched, KubeError> {
        panic!("{node} should get no marks")
    }

    async fn ready(&self) -> Result<ApiReadiness, KubeError> {
        Ok(ApiReadiness { control_plane: "cp1".into(), failing: Vec::new() })
    }

    async fn version(&self) -> Result<Version, KubeError> {
        Ok(Version::new(1, 35, 4))
    }

    async fn running(&self) -> Result<Running, KubeError> {
        Ok(Running::default())
    }

    async fn nodes(&self) -> Result<BTreeMap<HostName, NodeFacts>, KubeError> {
        Ok(BTreeMap::new())
    }

    async fn delete(&self, object: &ObjectRef) -> Result<bool, KubeError> {
        panic!("{object} should not be deleted here")
    }

    async fn wait_until(&self, condition: &Condition, within: Duration, progress: Lines<'_>) -> Result<(), KubeError> {
        let mut changes = self.changes.subscribe();
        let waiting = async {
            while let Verdict::Waiting(why) = condition.judge(&self.observed()) {
                progress(&why);
                changes.changed().await.unwrap();
            }
        };
        let late = |_| KubeError::new(Fault::Deadline, format!("wait for {}", condition.wants()), "still missing");
        tokio::time::timeout(within, waiting).await.map_err(late)
    }
}
