//! Waiting on watches: feeds what the API tells into an [`Observation`] and has [`Condition::judge`] decide.
//!
//! Nothing is decided here but when to look again.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll, select_all};
use futures::{StreamExt, future};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, PersistentVolume, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use kubewright_core::health::{
    AttachmentState, Condition, DaemonSetState, DeploymentState, KUBE_SYSTEM, NodeState, Observation, PodState,
    Verdict, WorkloadState,
};
use kubewright_core::maintenance::Controller;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::ClusterApi;
use super::fault::{from_client, from_status, is_final};
use super::observe::{
    attachment_state, claim_of, daemon_set_state, deployment_state, node_state, pod_state, renewed, replica_set_state,
    stateful_set_state,
};
use crate::ports::{Fault, KubeError, Lines};

/// All watches are opened anew this often, which begins with a list. No event exists for a watch that died without a
/// word (a NAT that forgot us, a host without power, a suspended laptop), so this is the safety re-check of DESIGN.md §1.
const SAFETY_RELIST: Duration = Duration::from_secs(15);

/// First pause after a watch failed; doubled up to [`LONGEST_PAUSE`], so that a control plane that starts is found
/// soon after it answers.
const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// Longest pause after a watch failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);

/// So much news that has arrived together is judged together, so that a burst is one line of progress.
const AT_ONCE: usize = 64;

/// One list-and-watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    Nodes,
    /// Mirror pods of the control plane by kubeadm's label `tier=control-plane`.
    ControlPlanePods,
    /// All pods of a namespace, so that a rollout can say which pod holds it up.
    Pods(String),
    Deployment(String, String),
    DaemonSet(String, String),
    ReplicaSets(String),
    StatefulSets(String),
    /// Pods bound to a node, whatever their namespace.
    PodsOn(String),
    Attachments,
    Volumes,
    /// The lease of a node.
    Lease(String),
}

/// Where kubelets keep their leases.
const LEASES: &str = "kube-node-lease";

/// What a source tells.
enum News {
    /// Everything there is.
    All(Vec<Item>),
    /// One that is new or has changed.
    Changed(Item),
    /// One that is gone.
    Gone(Item),
}

type Key = (String, String);

enum Item {
    Node(String, NodeState),
    Pod(Key, PodState),
    Deployment(Key, DeploymentState),
    DaemonSet(Key, DaemonSetState),
    Workload(Controller, WorkloadState),
    Attachment(String, AttachmentState),
    Claim(String, Option<Key>),
    Lease(String, Option<String>),
}

type Watch = BoxStream<'static, (Source, Result<News, watcher::Error>)>;

/// Waits until the condition holds.
pub(super) async fn wait_until(
    api: &ClusterApi,
    condition: &Condition,
    within: Duration,
    progress: Lines<'_>,
) -> Result<(), KubeError> {
    let doing = format!("wait for {}", condition.wants());
    let deadline = Instant::now() + within;
    let sources = sources(condition);
    let mut seen = Observation::default();
    let mut missing = "nothing was heard from the API".to_owned();
    loop {
        let mut watches = open(api, &sources).ready_chunks(AT_ONCE);
        let mut unlisted = sources.clone();
        let end = deadline.min(Instant::now() + SAFETY_RELIST);
        while let Ok(Some(batch)) = tokio::time::timeout_at(end, watches.next()).await {
            let mut complained = None;
            for (source, news) in batch {
                match news {
                    Ok(news) => {
                        if matches!(news, News::All(_)) {
                            unlisted.remove(&source);
                        }
                        take(&mut seen, &source, news);
                    }
                    Err(error) => match complaint(&doing, error) {
                        Some(error) if is_final(&error) => return Err(error),
                        Some(error) => complained = Some(error.said),
                        None => {}
                    },
                }
            }
            let now_missing = match (condition.judge(&seen), complained) {
                // Before everything is listed once, what is missing is only not yet read, and what is not missing may be.
                (Verdict::Met, _) if unlisted.is_empty() => return Ok(()),
                (_, Some(said)) => said,
                (Verdict::Waiting(why), None) if unlisted.is_empty() => why,
                (_, None) => continue,
            };
            if now_missing != missing {
                progress(&now_missing);
                missing = now_missing;
            }
        }
        if Instant::now() >= deadline {
            return Err(KubeError::new(
                Fault::Deadline,
                doing,
                format!("after {} s still: {missing}", within.as_secs()),
            ));
        }
        if !unlisted.is_empty()
            && let Some(dialer) = &api.dialer
        {
            dialer.doubt(None);
        }
    }
}

/// What must be watched to judge the condition.
fn sources(condition: &Condition) -> BTreeSet<Source> {
    let mut sources = BTreeSet::new();
    collect_sources(condition, &mut sources);
    if sources.contains(&Source::Pods(KUBE_SYSTEM.to_owned())) {
        sources.remove(&Source::ControlPlanePods);
    }
    sources
}

fn collect_sources(condition: &Condition, sources: &mut BTreeSet<Source>) {
    match condition {
        Condition::NodeExists { .. }
        | Condition::NodesReady { .. }
        | Condition::NodeBooted { .. }
        | Condition::NodeRuns { .. } => {
            sources.insert(Source::Nodes);
        }
        Condition::VolumesDetached { node } => {
            sources.extend([Source::Attachments, Source::Volumes, Source::PodsOn(node.to_string())]);
        }
        Condition::LeaseRenewed { node, .. } => {
            sources.insert(Source::Lease(node.to_string()));
        }
        Condition::StayingPodsReady { node, .. } => {
            sources.insert(Source::PodsOn(node.to_string()));
        }
        Condition::WorkloadsWhole { workloads } => {
            sources.extend(workloads.iter().map(|workload| match workload.kind.as_str() {
                "StatefulSet" => Source::StatefulSets(workload.namespace.clone()),
                _ => Source::ReplicaSets(workload.namespace.clone()),
            }));
        }
        Condition::StaticPodsReady { .. } | Condition::StaticPodsRun { .. } => {
            sources.insert(Source::ControlPlanePods);
        }
        Condition::DeploymentAvailable { namespace, name } => {
            sources.insert(Source::Deployment(namespace.clone(), name.clone()));
            sources.insert(Source::Pods(namespace.clone()));
        }
        Condition::DaemonSetRolledOut { namespace, name, .. } => {
            sources.insert(Source::DaemonSet(namespace.clone(), name.clone()));
            sources.insert(Source::Pods(namespace.clone()));
        }
        Condition::All { conditions } => conditions.iter().for_each(|condition| collect_sources(condition, sources)),
    }
}

fn open(api: &ClusterApi, sources: &BTreeSet<Source>) -> SelectAll<Watch> {
    let client = || api.client();
    select_all(sources.iter().map(|source| match source {
        Source::Nodes => watch(source, Api::<Node>::all(client()), watcher::Config::default(), |node| {
            Item::Node(node.name_any(), node_state(node))
        }),
        Source::ControlPlanePods => {
            let config = watcher::Config::default().labels("tier=control-plane");
            watch(source, Api::<Pod>::namespaced(client(), KUBE_SYSTEM), config, |pod| {
                Item::Pod(key(pod), pod_state(pod))
            })
        }
        Source::Pods(namespace) => {
            watch(source, Api::<Pod>::namespaced(client(), namespace), watcher::Config::default(), |pod| {
                Item::Pod(key(pod), pod_state(pod))
            })
        }
        Source::Deployment(namespace, name) => {
            let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
            watch(source, Api::<Deployment>::namespaced(client(), namespace), config, |deployment| {
                Item::Deployment(key(deployment), deployment_state(deployment))
            })
        }
        Source::ReplicaSets(namespace) => {
            let api = Api::<ReplicaSet>::namespaced(client(), namespace);
            watch(source, api, watcher::Config::default(), |set| {
                Item::Workload(controller("ReplicaSet", set), replica_set_state(set))
            })
        }
        Source::StatefulSets(namespace) => {
            let api = Api::<StatefulSet>::namespaced(client(), namespace);
            watch(source, api, watcher::Config::default(), |set| {
                Item::Workload(controller("StatefulSet", set), stateful_set_state(set))
            })
        }
        Source::PodsOn(node) => {
            let config = watcher::Config::default().fields(&format!("spec.nodeName={node}"));
            watch(source, Api::<Pod>::all(client()), config, |pod| Item::Pod(key(pod), pod_state(pod)))
        }
        Source::Attachments => {
            watch(source, Api::<VolumeAttachment>::all(client()), watcher::Config::default(), |attachment| {
                Item::Attachment(attachment.name_any(), attachment_state(attachment))
            })
        }
        Source::Volumes => {
            watch(source, Api::<PersistentVolume>::all(client()), watcher::Config::default(), |volume| {
                Item::Claim(volume.name_any(), claim_of(volume))
            })
        }
        Source::Lease(node) => {
            let config = watcher::Config::default().fields(&format!("metadata.name={node}"));
            watch(source, Api::<Lease>::namespaced(client(), LEASES), config, |lease| {
                Item::Lease(lease.name_any(), renewed(lease))
            })
        }
        Source::DaemonSet(namespace, name) => {
            let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
            watch(source, Api::<DaemonSet>::namespaced(client(), namespace), config, |daemon_set| {
                Item::DaemonSet(key(daemon_set), daemon_set_state(daemon_set))
            })
        }
    }))
}

fn watch<K>(source: &Source, api: Api<K>, config: watcher::Config, item: fn(&K) -> Item) -> Watch
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let source = source.clone();
    watcher(api, config)
        .backoff(Pauses::default())
        .scan(Vec::new(), move |listed, event| {
            let news = match event {
                Ok(Event::Init) => {
                    listed.clear();
                    None
                }
                Ok(Event::InitApply(object)) => {
                    listed.push(item(&object));
                    None
                }
                Ok(Event::InitDone) => Some(Ok(News::All(std::mem::take(listed)))),
                Ok(Event::Apply(object)) => Some(Ok(News::Changed(item(&object)))),
                Ok(Event::Delete(object)) => Some(Ok(News::Gone(item(&object)))),
                Err(error) => Some(Err(error)),
            };
            future::ready(Some(news))
        })
        .filter_map(future::ready)
        .map(move |news| (source.clone(), news))
        .boxed()
}

/// Pauses between openings of a watch that fails.
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        self.0 = FIRST_PAUSE;
    }
}

fn key<K: Resource>(object: &K) -> Key {
    (object.namespace().unwrap_or_default(), object.name_any())
}

fn controller<K: Resource>(kind: &str, object: &K) -> Controller {
    let (namespace, name) = key(object);
    Controller { kind: kind.to_owned(), namespace, name }
}

/// Enters news into what was seen.
fn take(seen: &mut Observation, source: &Source, news: News) {
    match news {
        News::Changed(item) => put(seen, item),
        News::Gone(Item::Node(name, _)) => drop(seen.nodes.remove(&name)),
        News::Gone(Item::Pod(key, _)) => drop(seen.pods.remove(&key)),
        News::Gone(Item::Deployment(key, _)) => drop(seen.deployments.remove(&key)),
        News::Gone(Item::DaemonSet(key, _)) => drop(seen.daemon_sets.remove(&key)),
        News::Gone(Item::Workload(controller, _)) => drop(seen.workloads.remove(&controller)),
        News::Gone(Item::Attachment(name, _)) => drop(seen.attachments.remove(&name)),
        News::Gone(Item::Claim(volume, _)) => drop(seen.claims.remove(&volume)),
        News::Gone(Item::Lease(node, _)) => drop(seen.leases.remove(&node)),
        News::All(items) => {
            match source {
                Source::Nodes => seen.nodes.clear(),
                Source::ControlPlanePods => seen.pods.retain(|(namespace, _), _| namespace != KUBE_SYSTEM),
                Source::Pods(of) => seen.pods.retain(|(namespace, _), _| namespace != of),
                Source::Deployment(namespace, name) => {
                    drop(seen.deployments.remove(&(namespace.clone(), name.clone())))
                }
                Source::DaemonSet(namespace, name) => drop(seen.daemon_sets.remove(&(namespace.clone(), name.clone()))),
                Source::ReplicaSets(of) => forget(seen, "ReplicaSet", of),
                Source::StatefulSets(of) => forget(seen, "StatefulSet", of),
                Source::PodsOn(node) => seen.pods.retain(|_, pod| pod.node.as_ref() != Some(node)),
                Source::Attachments => seen.attachments.clear(),
                Source::Volumes => seen.claims.clear(),
                Source::Lease(node) => drop(seen.leases.remove(node)),
            }
            items.into_iter().for_each(|item| put(seen, item));
        }
    }
}

fn forget(seen: &mut Observation, kind: &str, namespace: &str) {
    seen.workloads.retain(|controller, _| controller.kind != kind || controller.namespace != namespace);
}

fn put(seen: &mut Observation, item: Item) {
    match item {
        Item::Node(name, state) => drop(seen.nodes.insert(name, state)),
        Item::Pod(key, state) => drop(seen.pods.insert(key, state)),
        Item::Deployment(key, state) => drop(seen.deployments.insert(key, state)),
        Item::DaemonSet(key, state) => drop(seen.daemon_sets.insert(key, state)),
        Item::Workload(controller, state) => drop(seen.workloads.insert(controller, state)),
        Item::Attachment(name, state) => drop(seen.attachments.insert(name, state)),
        Item::Claim(volume, claim) => drop(claim.map(|claim| seen.claims.insert(volume, claim))),
        Item::Lease(node, renewed) => drop(renewed.map(|renewed| seen.leases.insert(node, renewed))),
    }
}

/// What a watch complains of, where the user should know; a watch that was too old opens itself anew.
pub(super) fn complaint(doing: &str, error: watcher::Error) -> Option<KubeError> {
    const GONE: u16 = 410;
    match error {
        watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error) => match error {
            kube::Error::Api(status) if status.code == GONE => None,
            error => Some(from_client(doing, error)),
        },
        // It was open and ended; whether there is anything to tell shows when it is opened again.
        watcher::Error::WatchFailed(_) => None,
        watcher::Error::WatchError(status) if status.code == GONE => None,
        watcher::Error::WatchError(status) => Some(from_status(doing, status.code, &status)),
        watcher::Error::NoResourceVersion => None,
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use kubewright_core::ids::HostName;

    use super::*;

    fn deployment() -> Condition {
        Condition::DeploymentAvailable { namespace: KUBE_SYSTEM.to_owned(), name: "coredns".to_owned() }
    }

    /// An API whose attachments come late, with one of w1; everything else is there at once, and empty. No watch tells anything.
    async fn slow(
        request: http::Request<kube::client::Body>,
    ) -> Result<http::Response<kube::client::Body>, Infallible> {
        if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
            std::future::pending::<()>().await;
        }
        let mut items = serde_json::json!([]);
        if request.uri().path().ends_with("/volumeattachments") {
            tokio::time::sleep(Duration::from_millis(300)).await;
            items = serde_json::json!([{
                "metadata": { "name": "late" },
                "spec": { "attacher": "lab", "nodeName": "w1", "source": { "persistentVolumeName": "pv" } },
            }]);
        }
        let list = serde_json::json!({ "metadata": { "resourceVersion": "1" }, "items": items });
        Ok(http::Response::new(kube::client::Body::from(list.to_string().into_bytes())))
    }

    /// An emptied node has few pods, and attachments are those of the whole cluster: the last to be listed.
    #[tokio::test]
    async fn nothing_is_met_before_everything_was_listed() {
        let api = ClusterApi::over(kube::Client::new(tower::service_fn(slow), "default"));
        let wait = async |node: &str| {
            let condition = Condition::VolumesDetached { node: HostName::new(node) };
            wait_until(&api, &condition, Duration::from_secs(2), &mut |_| {}).await
        };
        let waited = wait("w1").await.unwrap_err();
        assert_eq!(waited.fault, Fault::Deadline, "{waited}");
        assert!(waited.said.contains("attached"), "{waited}");
        assert_eq!(wait("w2").await, Ok(()));
    }

    #[test]
    fn what_is_watched_follows_from_the_condition_and_nothing_twice() {
        let nodes = Condition::NodesReady { nodes: vec![HostName::new("w1")] };
        let pods = Condition::control_planes_ready(&[HostName::new("cp1")]);
        assert_eq!(sources(&pods), BTreeSet::from([Source::ControlPlanePods]));
        let all = Condition::All { conditions: vec![nodes.clone(), nodes, pods, deployment()] };
        assert_eq!(
            sources(&all),
            BTreeSet::from([
                Source::Nodes,
                Source::Pods(KUBE_SYSTEM.to_owned()),
                Source::Deployment(KUBE_SYSTEM.to_owned(), "coredns".to_owned()),
            ])
        );
    }

    #[test]
    fn a_new_list_forgets_what_is_not_in_it() {
        let mut seen = Observation::default();
        let node = |name: &str| Item::Node(name.to_owned(), NodeState::default());
        take(&mut seen, &Source::Nodes, News::All(vec![node("a"), node("b")]));
        take(&mut seen, &Source::Nodes, News::Gone(node("a")));
        take(&mut seen, &Source::Nodes, News::Changed(node("c")));
        assert_eq!(seen.nodes.keys().collect::<Vec<_>>(), ["b", "c"]);
        take(&mut seen, &Source::Nodes, News::All(vec![node("d")]));
        assert_eq!(seen.nodes.keys().collect::<Vec<_>>(), ["d"]);
    }
}
