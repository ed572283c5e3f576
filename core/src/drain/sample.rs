//! Pods, budgets and nodes for tests.

use std::collections::BTreeMap;

use super::News;
use super::budget::{Budget, Wanted};
use super::selector::Selector;
use super::world::{Name, Node, Object, Owner, Phase, Pod, Readiness, View, World};
use jiff::Timestamp;

/// The time at which all tests begin.
pub(super) fn noon() -> Timestamp {
    "2026-11-26T11:00:00Z".parse().unwrap()
}

/// A pod of a ReplicaSet that runs on w1 and serves.
pub(super) fn pod() -> Pod {
    owned("ReplicaSet")
}

/// The same of another kind of controller.
pub(super) fn owned(kind: &str) -> Pod {
    Pod {
        uid: "1".into(),
        node: Some("w1".into()),
        owner: Some(Owner { kind: kind.into(), name: "cart".into(), uid: "of-cart".into() }),
        phase: Phase::Running,
        readiness: Readiness::Ready,
        grace_seconds: 30,
        ..Pod::default()
    }
}

/// A pod of an application, labelled `app=…`.
pub(super) fn of_app(app: &str, uid: &str) -> Pod {
    let mut pod = pod();
    pod.uid = uid.into();
    pod.labels = BTreeMap::from([("app".to_owned(), app.to_owned())]);
    pod.owner = Some(Owner { kind: "ReplicaSet".into(), name: app.into(), uid: format!("of-{app}") });
    pod
}

/// A budget over an application.
pub(super) fn budget(app: &str, healthy: i32, desired: i32, expected: i32) -> Budget {
    Budget {
        version: "1".into(),
        selector: Some(selector(app)),
        wanted: Wanted::MinAvailable(desired.to_string()),
        healthy,
        desired,
        expected,
        allowed: (healthy - desired).max(0),
        ..Budget::default()
    }
}

/// The pods of an application.
pub(super) fn selector(app: &str) -> Selector {
    Selector { labels: BTreeMap::from([("app".to_owned(), app.to_owned())]), requirements: Vec::new() }
}

/// A name in the namespace `shop`.
pub(super) fn shop(name: &str) -> Name {
    Name::new("shop", name)
}

/// A world with w1 cordoned by us, w2 and w3 free, and these pods and budgets, all in `shop`.
pub(super) fn world(pods: Vec<(&str, Pod)>, budgets: Vec<(&str, Budget)>) -> World {
    let mut world = World::new("w1", noon());
    let node = |name: &str, schedulable: bool| {
        let cordoned_by = (!schedulable).then(|| "7f3a9c".to_owned());
        Object::Node(name.to_owned(), Node { uid: name.into(), schedulable, cordoned_by, ..Node::default() })
    };
    world.take(&View::Nodes, News::All(vec![node("w1", false), node("w2", true), node("w3", true)]));
    let budgets = budgets.into_iter().map(|(name, budget)| Object::Budget(shop(name), Box::new(budget)));
    world.take(&View::Budgets, News::All(budgets.collect()));
    let pods = pods.into_iter().map(|(name, pod)| Object::Pod(shop(name), Box::new(pod)));
    world.take(&View::PodsOn { node: "w1".into() }, News::All(pods.collect()));
    world
}
