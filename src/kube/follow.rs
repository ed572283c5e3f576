//! Views of a drain as endless streams: each begins with a whole list and is opened anew after every failure.

use std::fmt::Debug;

use futures::stream::BoxStream;
use futures::{StreamExt, future};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use kubewright_core::drain::{Name, News, Object, View};
use serde::de::DeserializeOwned;

use super::ClusterApi;
use super::watch::{Pauses, complaint};
use super::workload;
use crate::ports::KubeError;

/// Lists and watches a view.
pub(super) fn follow(api: &ClusterApi, view: &View) -> BoxStream<'static, Result<News, KubeError>> {
    let all = watcher::Config::default;
    match view {
        View::Nodes => stream("watch Nodes", Api::<Node>::all(api.client()), all(), |node| {
            Object::Node(node.name_any(), workload::node(node))
        }),
        View::Budgets => {
            stream("watch PodDisruptionBudgets", Api::<PodDisruptionBudget>::all(api.client()), all(), |budget| {
                Object::Budget(name(budget), Box::new(workload::budget(budget)))
            })
        }
        View::PodsOn { node } => {
            let config = all().fields(&format!("spec.nodeName={node}"));
            pods("watch Pods of the node", Api::all(api.client()), config)
        }
        View::Peers { budget, selector } => {
            let query = selector.query();
            let config = if query.is_empty() { all() } else { all().labels(&query) };
            pods("watch Pods of a budget", Api::namespaced(api.client(), &budget.namespace), config)
        }
    }
}

fn pods(doing: &'static str, api: Api<Pod>, config: watcher::Config) -> BoxStream<'static, Result<News, KubeError>> {
    stream(doing, api, config, |pod| Object::Pod(name(pod), Box::new(workload::pod(pod))))
}

fn stream<K>(
    doing: &'static str,
    api: Api<K>,
    config: watcher::Config,
    object: fn(&K) -> Object,
) -> BoxStream<'static, Result<News, KubeError>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api, config)
        .backoff(Pauses::default())
        .scan(Vec::new(), move |listed, event| {
            let news = match event {
                Ok(Event::Init) => {
                    listed.clear();
                    None
                }
                Ok(Event::InitApply(one)) => {
                    listed.push(object(&one));
                    None
                }
                Ok(Event::InitDone) => Some(Ok(News::All(std::mem::take(listed)))),
                Ok(Event::Apply(one)) => Some(Ok(News::Changed(object(&one)))),
                Ok(Event::Delete(one)) => Some(Ok(News::Gone(object(&one)))),
                Err(error) => complaint(doing, error).map(Err),
            };
            future::ready(Some(news))
        })
        .filter_map(future::ready)
        .boxed()
}

fn name<K: Resource>(object: &K) -> Name {
    Name::new(object.namespace().unwrap_or_default(), object.name_any())
}
