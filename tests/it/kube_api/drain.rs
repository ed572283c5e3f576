//! A drain against the real API server, disruption controller and scheduler; and each answer to an eviction provoked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::flowcontrol::v1::FlowSchema;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use kubewright::exec::cancel::Cancel;
use kubewright::exec::drain::{Errand, empty};
use kubewright::facts::nodes::{look, survey};
use kubewright::kube::{ClusterApi, Way, apply_all};
use kubewright::ports::{Clock, Cordoned, KubeApi, ObjectRef, SystemClock, Uncordoned, Whose, Workloads};
use kubewright_core::drain::{Amounts, Budget, Name, News, Object, Outcome, Permission, Policy, View, World, forecast};
use kubewright_core::health::Condition;
use kubewright_core::ids::{HostName, OperationId};
use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::tunnel::TunnelHosts;
use super::{MINUTE, budgets, kubelets};

/// A drain that takes longer hangs. Alone on two cores it takes half a minute; beside a build it was seen to take more than one.
const HANGS: Duration = Duration::from_secs(300);

fn shop(name: &str) -> Name {
    Name::new("shop", name)
}

fn operation() -> OperationId {
    OperationId::new("7f3a9c")
}

/// Two replicas of which one must serve, wherever they may run.
fn cart() -> Vec<Value> {
    let pod = json!({
        "metadata": { "labels": { "app": "cart" } },
        "spec": { "terminationGracePeriodSeconds": 1, "containers": [{ "name": "cart", "image": "cart" }] },
    });
    let selector = json!({ "matchLabels": { "app": "cart" } });
    vec![
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }),
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "cart", "namespace": "shop" },
            "spec": { "replicas": 2, "selector": selector, "template": pod },
        }),
        budget("cart", 1),
    ]
}

fn budget(name: &str, min_available: i32) -> Value {
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": { "name": name, "namespace": "shop" },
        "spec": { "minAvailable": min_available, "selector": { "matchLabels": { "app": "cart" } } },
    })
}

/// Everything, with kubelets that run and end whatever they are told to.
pub async fn drains(api: &ClusterApi, cluster: &ControlPlane) {
    apply_all(api, &cart()).await.unwrap();
    tokio::select! {
        () = run(api.client(), "shop") => panic!("kubelets ended"),
        () = run(api.client(), "leaving") => panic!("kubelets ended"),
        () = run(api.client(), budgets::NAMESPACE) => panic!("kubelets ended"),
        // CoreDNS may stand on the node that is emptied.
        () = run(api.client(), "kube-system") => panic!("kubelets ended"),
        () = async {
            let available = Condition::DeploymentAvailable { namespace: "shop".into(), name: "cart".into() };
            api.wait_until(&available, MINUTE, &mut super::silent()).await.unwrap();
            budgets::are_worked_out_as_the_controller_does(api).await;
            cordons(api).await;
            moves_pods(api).await;
            room(api).await;
            answers(api, cluster).await;
        } => {}
    }
}

/// Calls pods Ready once they are bound, and lets go of those that are deleted.
async fn run(client: Client, namespace: &str) {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let starting = kubelets::run_all_pods(client, namespace);
    let ending = async {
        let mut seen = watcher(pods.clone(), watcher::Config::default()).default_backoff().touched_objects().boxed();
        while let Some(Ok(pod)) = seen.next().await {
            if pod.metadata.deletion_timestamp.is_some() {
                // Gone already is as good.
                pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await.ok();
            }
        }
    };
    tokio::join!(starting, ending);
}

/// A budget's status once it is as wanted.
async fn status(api: &ClusterApi, name: &str, wanted: impl Fn(&Budget) -> bool) -> Budget {
    let mut stream = api.follow(&View::Budgets);
    let waiting = async {
        loop {
            let objects = match stream.next().await.unwrap().unwrap() {
                News::All(objects) => objects,
                News::Changed(object) => vec![object],
                News::Gone(_) => Vec::new(),
            };
            for object in objects {
                match object {
                    Object::Budget(key, budget) if key == shop(name) && wanted(&budget) => return *budget,
                    _ => {}
                }
            }
        }
    };
    tokio::time::timeout(MINUTE, waiting).await.unwrap_or_else(|_| panic!("budget {name} never came to that"))
}

async fn a_pod(api: &ClusterApi) -> (Name, Pod) {
    let pods = Api::<Pod>::namespaced(api.client(), "shop").list(&Default::default()).await.unwrap();
    let living = pods.items.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none()).unwrap();
    (shop(&living.name_any()), living)
}

async fn cordons(api: &ClusterApi) {
    let (w1, other) = (HostName::new("w1"), OperationId::new("0aa111"));
    assert_eq!(api.cordon(&w1, &operation()).await.unwrap(), Cordoned::Ours);
    assert_eq!(api.cordon(&w1, &operation()).await.unwrap(), Cordoned::Ours);
    assert_eq!(api.cordon(&w1, &other).await.unwrap(), Cordoned::Of(operation()));
    let excluded = async || {
        let node = api.get(&ObjectRef::cluster_wide("v1", "Node", "w1")).await.unwrap().unwrap();
        !node["metadata"]["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"].is_null()
    };
    api.exclude(&w1, &operation()).await.unwrap();
    api.exclude(&w1, &other).await.unwrap();
    assert!(excluded().await);
    assert_eq!(api.uncordon(&w1, &Whose::Of(other.clone())).await.unwrap(), Uncordoned::Kept);
    assert!(excluded().await, "it is not the other operation's to give back");
    assert_eq!(api.uncordon(&w1, &Whose::Of(operation())).await.unwrap(), Uncordoned::Done);
    assert!(!excluded().await);
    assert_eq!(api.uncordon(&w1, &Whose::Kubewright).await.unwrap(), Uncordoned::NotCordoned);
    let node = api.get(&ObjectRef::cluster_wide("v1", "Node", "w1")).await.unwrap().unwrap();
    assert!(node["metadata"]["annotations"]["kubewright.dev/cordoned-by"].is_null(), "{node}");
    assert!(node["spec"]["unschedulable"].is_null(), "{node}");

    // As kubectl does it: it uncordons, and later somebody cordons. Our note stays all the while.
    assert_eq!(api.cordon(&w1, &operation()).await.unwrap(), Cordoned::Ours);
    api.exclude(&w1, &operation()).await.unwrap();
    let nodes = Api::<Node>::all(api.client());
    for unschedulable in [Value::Null, true.into()] {
        let patch = Patch::Merge(json!({ "spec": { "unschedulable": unschedulable } }));
        let manager = PatchParams { field_manager: Some("kubectl-cordon".into()), ..PatchParams::default() };
        nodes.patch("w1", &manager, &patch).await.unwrap();
        if unschedulable.is_null() {
            let world = look(api, &w1, SystemClock.now(), MINUTE).await.unwrap();
            assert_eq!(world.target().unwrap().excluded_by.as_deref(), Some(operation().as_str()));
        }
    }
    assert_eq!(api.cordon(&w1, &operation()).await.unwrap(), Cordoned::Foreign);
    assert_eq!(api.uncordon(&w1, &Whose::Of(operation())).await.unwrap(), Uncordoned::Kept);
    assert!(!excluded().await, "the label was ours all the same");
    let node = api.get(&ObjectRef::cluster_wide("v1", "Node", "w1")).await.unwrap().unwrap();
    assert!(node["metadata"]["annotations"]["kubewright.dev/cordoned-by"].is_null(), "{node}");
    assert_eq!(api.uncordon(&w1, &Whose::Anybody).await.unwrap(), Uncordoned::Done);
}

/// Both replicas may stand on one node: then it is emptied one after the other, and one always serves.
async fn moves_pods(api: &ClusterApi) {
    status(api, "cart", |budget| budget.allowed == 1).await;
    let (_, pod) = a_pod(api).await;
    let node = HostName::new(pod.spec.unwrap().node_name.unwrap());
    let selector =
        kubewright_core::drain::Selector { labels: [("app".into(), "cart".into())].into(), requirements: vec![] };
    let mut watched = api.follow(&View::Peers { budget: shop("cart"), selector });
    let mut fewest = usize::MAX;
    let mut living = std::collections::BTreeMap::new();
    let watching = async {
        while let Some(Ok(news)) = watched.next().await {
            match news {
                News::All(objects) => {
                    living.clear();
                    for object in objects {
                        if let Object::Pod(name, pod) = object {
                            living.insert(name, pod);
                        }
                    }
                }
                News::Changed(Object::Pod(name, pod)) => drop(living.insert(name, pod)),
                News::Gone(Object::Pod(name, _)) => drop(living.remove(&name)),
                _ => {}
            }
            fewest = fewest.min(living.values().filter(|pod| pod.is_ready() && pod.deletion.is_none()).count());
        }
    };
    let (policy, cancel, clock) = (Policy::default(), Cancel::default(), SystemClock);
    let operation = operation();
    let errand = Errand { api, node: &node, operation: &operation, policy: &policy, clock: &clock, cancel: &cancel };
    let mut told = Vec::new();
    let mut telling = |line: &str| told.push(line.to_owned());
    let began = std::time::Instant::now();
    tokio::select! {
        ended = tokio::time::timeout(HANGS, empty(errand, &mut telling)) => ended.unwrap().unwrap(),
        () = watching => panic!("the watch ended"),
    }
    eprintln!(
        "{node} drained in {:.1?}, never fewer than {fewest} served; told\n  {}",
        began.elapsed(),
        told.join("\n  ")
    );
    assert!(fewest >= 1);
    let seen = look(api, &node, SystemClock.now(), MINUTE).await.unwrap();
    assert!(seen.pods.keys().all(|name| name.namespace != "shop"), "{:?}", seen.pods.keys());
    assert_eq!(api.uncordon(&node, &Whose::Of(operation.clone())).await.unwrap(), Uncordoned::Done);
}

/// What runs everywhere is counted as the API lists it, and a pod that asks for more than any node has is said to find no
/// room.
async fn room(api: &ClusterApi) {
    let available = Condition::DeploymentAvailable { namespace: "shop".into(), name: "cart".into() };
    api.wait_until(&available, MINUTE, &mut super::silent()).await.unwrap();
    let (_, pod) = a_pod(api).await;
    let node = HostName::new(pod.spec.unwrap().node_name.unwrap());
    let mut seen = look(api, &node, SystemClock.now(), MINUTE).await.unwrap();
    survey(api, [&mut seen]).await;
    let occupancy = seen.occupancy.clone().unwrap().unwrap();
    let pods = Api::<Pod>::all(api.client()).list(&Default::default()).await.unwrap();
    let here = |pod: &&Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(node.as_str());
    let count = i64::try_from(pods.items.iter().filter(here).count()).unwrap();
    assert!(count > 0);
    assert_eq!(occupancy.used[node.as_str()].all().get("pods"), count * 1000);
    let codes = |seen: &World| -> Vec<String> {
        forecast(seen, &Policy::default(), &[]).findings.into_iter().map(|finding| finding.code).collect()
    };
    assert!(!codes(&seen).contains(&"DRAIN016".to_owned()), "{:?}", codes(&seen));
    let cart = seen.pods.iter_mut().find(|(name, _)| name.namespace == "shop").unwrap();
    cart.1.requests.add(&Amounts::of([("cpu", "5")]));
    assert!(codes(&seen).contains(&"DRAIN016".to_owned()), "nodes here have 4 CPUs: {:?}", codes(&seen));
}

/// What the real server says, and what we make of it.
async fn answers(api: &ClusterApi, cluster: &ControlPlane) {
    let available = Condition::DeploymentAvailable { namespace: "shop".into(), name: "cart".into() };
    api.wait_until(&available, MINUTE, &mut super::silent()).await.unwrap();
    status(api, "cart", |budget| budget.allowed == 1).await;
    let (name, pod) = a_pod(api).await;
    let uid = pod.metadata.uid.unwrap();
    assert_eq!(api.evict(&shop("nobody"), &uid).await, Outcome::Gone);
    assert_eq!(api.delete_pod(&name, "another").await, Outcome::Replaced);

    api.apply(&budget("cart", 2)).await.unwrap();
    status(api, "cart", |budget| budget.desired == 2).await;
    let refused = api.evict(&name, &uid).await;
    assert!(matches!(&refused, Outcome::NoRoom { said } if said.contains("needs 2")), "{refused:?}");

    cluster.freeze_controllers();
    api.apply(&budget("cart", 1)).await.unwrap();
    let refused = api.evict(&name, &uid).await;
    assert!(matches!(&refused, Outcome::NotObserved { .. }), "{refused:?}");
    cluster.thaw_controllers();
    status(api, "cart", |budget| budget.allowed == 1).await;

    api.apply(&budget("second", 1)).await.unwrap();
    status(api, "second", |budget| budget.desired == 1).await;
    let refused = api.evict(&name, &uid).await;
    assert!(matches!(&refused, Outcome::TwoBudgets { .. }), "{refused:?}");
    let budgets = Api::<k8s_openapi::api::policy::v1::PodDisruptionBudget>::namespaced(api.client(), "shop");
    budgets.delete("second", &DeleteParams::default()).await.unwrap();

    let scheduler = cluster.api(Way::Direct, "scheduler.conf");
    let refused = scheduler.evict(&name, &uid).await;
    assert!(matches!(&refused, Outcome::Forbidden { said } if said.contains("pods/eviction")), "{refused:?}");
    assert!(!scheduler.may(Permission::Evict).await.unwrap());
    assert!(scheduler.may(Permission::WatchPods).await.unwrap() && api.may(Permission::Evict).await.unwrap());

    throttled(api, &scheduler).await;
    not_admitted(api, &name, &uid).await;
    unanswered(api, cluster, &name, &uid).await;
    of_another_namespace(api).await;
    let about = ObjectRef::namespaced("v1", "Pod", "shop", &name.name);
    api.remark(&about, "DrainConsent", "as was agreed").await.unwrap();
    let events = Api::<k8s_openapi::api::core::v1::Event>::namespaced(api.client(), "shop");
    let events = events.list(&Default::default()).await.unwrap();
    assert!(events.items.iter().any(|event| event.reason.as_deref() == Some("DrainConsent")));
}

/// The server's fairness refuses what one user asks for at once, and that is no budget's answer.
async fn throttled(api: &ClusterApi, scheduler: &ClusterApi) {
    let version = "flowcontrol.apiserver.k8s.io/v1";
    // No share of its own and none of others': one request at a time is let in all the same.
    let limited = json!({
        "nominalConcurrencyShares": 0, "lendablePercent": 0, "borrowingLimitPercent": 0, "limitResponse": { "type": "Reject" },
    });
    let level = json!({
        "apiVersion": version, "kind": "PriorityLevelConfiguration", "metadata": { "name": "narrow" },
        "spec": { "type": "Limited", "limited": limited },
    });
    let rule =
        json!({ "verbs": ["create"], "apiGroups": [""], "resources": ["pods/eviction"], "namespaces": ["shop"] });
    let flow = json!({
        "apiVersion": version, "kind": "FlowSchema", "metadata": { "name": "narrow" },
        "spec": {
            "matchingPrecedence": 50, "priorityLevelConfiguration": { "name": "narrow" },
            "rules": [{ "subjects": [{ "kind": "User", "user": { "name": "system:kube-scheduler" } }], "resourceRules": [rule] }],
        },
    });
    for object in [&level, &flow] {
        api.apply(object).await.unwrap();
    }
    let nobody = shop("nobody");
    let deadline = Instant::now() + MINUTE;
    loop {
        let answers = join_all((0..32).map(|_| scheduler.evict(&nobody, "u"))).await;
        let is_known = |answer: &Outcome| matches!(answer, Outcome::Throttled { .. } | Outcome::Forbidden { .. });
        assert!(answers.iter().all(is_known), "{answers:?}");
        if answers.iter().any(|answer| matches!(answer, Outcome::Throttled { seconds } if *seconds > 0)) {
            break;
        }
        assert!(Instant::now() < deadline, "{answers:?}");
    }
    Api::<FlowSchema>::all(api.client()).delete("narrow", &DeleteParams::default()).await.unwrap();
}

/// A policy that says no, and a webhook that takes longer than any other answer may and is then counted as a no.
async fn not_admitted(api: &ClusterApi, name: &Name, uid: &str) {
    let version = "admissionregistration.k8s.io/v1";
    let evictions =
        json!([{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"] }]);
    let policy = json!({
        "apiVersion": version, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": "office-hours" },
        "spec": {
            "failurePolicy": "Fail", "matchConstraints": { "resourceRules": evictions },
            "validations": [{ "expression": "false", "message": "nothing moves before noon" }],
        },
    });
    let binding = json!({
        "apiVersion": version, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": "office-hours" },
        "spec": { "policyName": "office-hours", "validationActions": ["Deny"] },
    });
    // Connections are taken and nothing is ever said.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", silent.local_addr().unwrap());
    let webhook = json!({
        "apiVersion": version, "kind": "ValidatingWebhookConfiguration", "metadata": { "name": "silent" },
        "webhooks": [{
            "name": "silent.example.com", "clientConfig": { "url": url }, "rules": evictions, "timeoutSeconds": 12,
            "failurePolicy": "Fail", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        }],
    });
    let cases = [(vec![policy, binding], "nothing moves before noon"), (vec![webhook], "silent.example.com")];
    for (objects, expected) in cases {
        for object in &objects {
            api.apply(object).await.unwrap();
        }
        // API servers hear of it a moment later; an eviction of nobody tells when.
        let nobody = shop("nobody");
        let deadline = Instant::now() + MINUTE;
        while api.evict(&nobody, "u").await == Outcome::Gone {
            assert!(Instant::now() < deadline, "it is not heard of: {expected}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let outcome = api.evict(name, uid).await;
        assert!(matches!(&outcome, Outcome::Denied { said } if said.contains(expected)), "{outcome:?}");
        for object in &objects {
            let (kind, name) = (object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
            api.delete(&ObjectRef::cluster_wide(version, kind, name)).await.unwrap();
        }
        let deadline = Instant::now() + MINUTE;
        while api.evict(&nobody, "u").await != Outcome::Gone {
            assert!(Instant::now() < deadline, "it is not gone: {expected}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// An answer that is lost on its way: nobody knows, and the eviction was done.
async fn unanswered(api: &ClusterApi, cluster: &ControlPlane, name: &Name, uid: &str) {
    let hosts = TunnelHosts::default();
    let through = cluster.api(Way::Ssh(Arc::new(hosts.clone())), "admin.conf");
    assert!(through.may(Permission::Evict).await.unwrap(), "and the connection is open");
    hosts.deaf.send_replace(true);
    let outcome = through.evict(name, uid).await;
    assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    let pods = Api::<Pod>::namespaced(api.client(), &name.namespace);
    let deadline = Instant::now() + MINUTE;
    while pods.get_opt(&name.name).await.unwrap().is_some_and(|pod| pod.metadata.deletion_timestamp.is_none()) {
        assert!(Instant::now() < deadline, "it was not done");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A pod without a budget, for an eviction that is refused late has charged one already: another pod of its name,
/// admission that says no, a namespace that goes and cannot because a finalizer holds the pod.
async fn of_another_namespace(api: &ClusterApi) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "held", "namespace": "leaving", "finalizers": ["kubewright.dev/test"] },
        "spec": { "nodeName": "w1", "containers": [{ "name": "held", "image": "held" }] },
    });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "leaving" } });
    apply_all(api, &[namespace, pod]).await.unwrap();
    let held = Name::new("leaving", "held");
    let uid = runs(api, &held).await;
    assert_eq!(api.evict(&held, "another").await, Outcome::Replaced);
    denied(api, &held).await;
    let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(api.client());
    namespaces.delete("leaving", &DeleteParams::default()).await.unwrap();
    assert_eq!(api.evict(&held, &uid).await, Outcome::Closing);
}

/// The uid of a pod on w1 once it runs.
async fn runs(api: &ClusterApi, wanted: &Name) -> String {
    let mut stream = api.follow(&View::PodsOn { node: "w1".into() });
    let waiting = async {
        loop {
            let objects = match stream.next().await.unwrap().unwrap() {
                News::All(objects) => objects,
                News::Changed(object) => vec![object],
                News::Gone(_) => Vec::new(),
            };
            for object in objects {
                match object {
                    Object::Pod(name, pod) if name == *wanted && pod.is_ready() => return pod.uid,
                    _ => {}
                }
            }
        }
    };
    tokio::time::timeout(MINUTE, waiting).await.unwrap_or_else(|_| panic!("{wanted} never ran"))
}

/// Admission that says no. It takes effect a moment after it was written, and nothing tells when; the eviction asked for
/// meanwhile is of another pod of that name, which none is.
async fn denied(api: &ClusterApi, name: &Name) {
    let kind = "admissionregistration.k8s.io/v1";
    let policy = json!({
        "apiVersion": kind, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": "no-evictions" },
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name.namespace } },
                "resourceRules": [{
                    "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods/eviction"],
                }],
            },
            "validations": [{ "expression": "false", "message": "zone b is down" }],
        },
    });
    let binding = json!({
        "apiVersion": kind, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": "no-evictions" },
        "spec": { "policyName": "no-evictions", "validationActions": ["Deny"] },
    });
    apply_all(api, &[policy, binding]).await.unwrap();
    let deadline = tokio::time::Instant::now() + MINUTE;
    loop {
        match api.evict(name, "another").await {
            Outcome::Denied { said } => {
                assert!(said.contains("zone b is down"), "{said}");
                return;
            }
            Outcome::Replaced => {}
            other => panic!("{other:?}"),
        }
        assert!(tokio::time::Instant::now() < deadline, "the policy never took effect");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
