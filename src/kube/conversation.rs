//! Scripted conversations with an API server: what we ask in which order, and what we make of the answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future;
use http::{Request, Response};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use kubewright_certs::issue::{Authority, LeafRequest};
use kubewright_certs::key::KeyAlgorithm;
use kubewright_certs::names::AltNames;
use kubewright_certs::profile::{Subject, TlsUsage, Window};
use kubewright_core::drain::{Used, World};
use kubewright_core::health::Condition;
use kubewright_core::ids::HostName;
use kubewright_core::marks::NodeMarks;
use kubewright_core::spec::{Taint, TaintEffect};
use serde_json::{Value, json};
use tower::{BoxError, service_fn};

use super::{ClusterApi, Credentials, Way, apply_all, lease};
use crate::facts::nodes::survey;
use crate::ports::{ConnectionFault, Fault, KubeApi, ObjectRef, Patched};

/// One request we expect, as `METHOD path?query` up to where the script ends, and what the server does.
struct Exchange {
    asks: &'static str,
    sends: Option<Value>,
    answer: Answer,
}

enum Answer {
    Json(u16, Value),
    Text(u16, &'static str),
    Warned(Value, &'static str),
    /// Newline-separated events; then the watch ends.
    Watch(Vec<Value>),
    HangsUp,
    Silence,
}

fn asks(asks: &'static str, answer: Answer) -> Exchange {
    Exchange { asks, sends: None, answer }
}

fn sends(asks: &'static str, body: Value, answer: Answer) -> Exchange {
    Exchange { asks, sends: Some(body), answer }
}

fn refuses(code: u16, message: &str) -> Answer {
    Answer::Json(code, json!({ "kind": "Status", "status": "Failure", "code": code, "message": message }))
}

/// The rest of a script; a conversation must leave nothing over.
struct Script(Arc<Mutex<VecDeque<Exchange>>>);

impl Script {
    fn is_over(&self) {
        let left: Vec<_> = self.0.lock().unwrap().iter().map(|exchange| exchange.asks).collect();
        assert!(left.is_empty(), "never asked: {left:?}");
    }
}

fn server(exchanges: impl IntoIterator<Item = Exchange>) -> (ClusterApi, Script) {
    let script = Arc::new(Mutex::new(VecDeque::from_iter(exchanges)));
    let told = Arc::clone(&script);
    let service = service_fn(move |request: Request<Body>| {
        let next = script.lock().unwrap().pop_front();
        async move {
            let asked = format!("{} {}", request.method(), request.uri());
            let exchange = next.unwrap_or_else(|| panic!("not in the script: {asked}"));
            assert!(asked.starts_with(exchange.asks), "expected {}, got {asked}", exchange.asks);
            let body = request.into_body().collect_bytes().await.unwrap();
            if let Some(expected) = exchange.sends {
                assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected, "{asked}");
            }
            answer(exchange.answer).await
        }
    });
    (ClusterApi::over(Client::new(service, "default")), Script(told))
}

async fn answer(answer: Answer) -> Result<Response<Body>, BoxError> {
    let respond = |code: u16, body: Vec<u8>| Response::builder().status(code).body(Body::from(body));
    Ok(match answer {
        Answer::Json(code, body) => respond(code, body.to_string().into_bytes())?,
        Answer::Text(code, body) => respond(code, body.as_bytes().to_vec())?,
        Answer::Warned(body, warning) => {
            let mut response = respond(200, body.to_string().into_bytes())?;
            response.headers_mut().insert("warning", warning.parse()?);
            response
        }
        Answer::Watch(events) => {
            respond(200, events.iter().map(|event| format!("{event}\n")).collect::<String>().into_bytes())?
        }
        Answer::HangsUp => return Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()),
        Answer::Silence => future::pending().await,
    })
}

fn config_map() -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "b" }, "data": { "c": "d" } })
}

fn stored() -> Value {
    json!({ "metadata": { "name": "a", "namespace": "b", "resourceVersion": "7" } })
}

const APPLY: &str = "PATCH /api/v1/namespaces/b/configmaps/a?fieldManager=kubewright&force=true";

#[tokio::test]
async fn an_object_is_applied_in_one_round_trip() {
    let (api, script) = server([sends(APPLY, config_map(), Answer::Json(201, stored()))]);
    let applied = api.apply(&config_map()).await.unwrap();
    assert!(applied.created);
    assert_eq!(applied.resource_version, "7");
    script.is_over();
}

#[tokio::test]
async fn warnings_of_the_api_server_come_back() {
    let (api, _) = server([asks(APPLY, Answer::Warned(stored(), "299 - \"unknown field \\\"spec.x\\\"\""))]);
    let applied = api.apply(&config_map()).await.unwrap();
    assert_eq!((applied.created, applied.warnings), (false, vec!["unknown field \"spec.x\"".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn overload_and_lost_connections_are_waited_out_for_as_long_as_asked() {
    let throttled = json!({ "code": 429, "message": "slow down", "details": { "retryAfterSeconds": 9 } });
    let (api, script) = server([
        asks(APPLY, Answer::HangsUp),
        asks(APPLY, Answer::Json(429, throttled)),
        asks(APPLY, refuses(500, "etcdserver: leader changed")),
        asks(APPLY, refuses(503, "apiserver is shutting down")),
        asks(APPLY, Answer::Json(200, stored())),
    ]);
    let started = tokio::time::Instant::now();
    api.apply(&config_map()).await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(9), "{:?}", started.elapsed());
    script.is_over();
}

#[tokio::test(start_paused = true)]
async fn patience_ends() {
    let (api, _) = server((0..1000).map(|_| asks(APPLY, refuses(503, "apiserver is shutting down"))));
    let error = api.patience(Duration::from_millis(1)).apply(&config_map()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Busy);
    assert_eq!(error.to_string(), "apply ConfigMap b/a: apiserver is shutting down");
}

#[tokio::test]
async fn a_refusal_is_final_and_in_the_apis_own_words() {
    let sentence = "configmaps \"a\" is forbidden: User \"ann\" cannot patch resource";
    for (code, fault) in
        [(401, Fault::Unauthorized), (403, Fault::Forbidden), (422, Fault::Invalid), (500, Fault::Server)]
    {
        let (api, script) = server([asks(APPLY, refuses(code, sentence))]);
        let error = api.apply(&config_map()).await.unwrap_err();
        assert_eq!((error.fault, error.said.as_str()), (fault, sentence));
        script.is_over();
    }
}

#[tokio::test]
async fn what_is_not_there_is_no_error_when_read() {
    let (api, _) = server([asks("GET /api/v1/nodes/w1", refuses(404, "nodes \"w1\" not found"))]);
    assert_eq!(api.get(&ObjectRef::cluster_wide("v1", "Node", "w1")).await.unwrap(), None);
}

#[tokio::test]
async fn namespaces_are_applied_before_what_lives_in_them() {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "b" } });
    let version = |version: &str| Answer::Json(200, json!({ "metadata": { "resourceVersion": version } }));
    let (api, script) = server([asks("PATCH /api/v1/namespaces/b?", version("1")), asks(APPLY, version("2"))]);
    let applied = apply_all(&api, &[config_map(), namespace]).await.unwrap();
    let versions: Vec<_> = applied.iter().map(|applied| applied.resource_version.as_str()).collect();
    assert_eq!(versions, ["2", "1"], "answers come in the order of the objects");
    script.is_over();
}

#[tokio::test]
async fn a_node_that_changed_in_between_is_read_again() {
    let marks = NodeMarks {
        taints: vec![Taint { key: "ours".to_owned(), value: String::new(), effect: TaintEffect::NoSchedule }],
        ..NodeMarks::default()
    };
    let written = serde_json::to_string(&marks).unwrap();
    let node = |version: &str, annotations: Value, taints: Value| {
        Answer::Json(
            200,
            json!({
                "metadata": { "name": "cp1", "resourceVersion": version, "annotations": annotations },
                "spec": { "taints": taints },
            }),
        )
    };
    let taint = |key: &str| json!({ "key": key, "effect": "NoSchedule" });
    let annotations = json!({ "kubewright.dev/marks": written });
    let patch = |version: &str, taints: Value| json!({ "metadata": { "resourceVersion": version, "annotations": annotations }, "spec": { "taints": taints } });
    let (read, write) = ("GET /api/v1/nodes/cp1", "PATCH /api/v1/nodes/cp1?fieldManager=kubewright");
    let (api, script) = server([
        asks(read, node("1", json!({}), json!([]))),
        sends(write, patch("1", json!([taint("ours")])), refuses(409, "the object has been modified")),
        asks(read, node("2", json!({}), json!([taint("theirs")]))),
        sends(write, patch("2", json!([taint("theirs"), taint("ours")])), Answer::Json(200, json!({}))),
        asks(read, node("3", annotations.clone(), json!([taint("theirs"), taint("ours")]))),
    ]);
    let cp1 = HostName::new("cp1");
    assert_eq!(api.patch_node(&cp1, &marks).await.unwrap(), Patched::Changed);
    assert_eq!(api.patch_node(&cp1, &marks).await.unwrap(), Patched::Unchanged);
    script.is_over();
}

#[tokio::test]
async fn an_api_server_that_is_not_ready_is_an_answer() {
    let text =
        "[+]ping ok\n[-]etcd failed: reason withheld\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\n";
    let (api, script) = server([
        asks("GET /readyz?verbose", Answer::Text(500, text)),
        asks("GET /readyz?verbose", Answer::Text(200, "[+]ping ok\nreadyz check passed\n")),
        asks("GET /readyz?verbose", refuses(403, "forbidden")),
        asks("GET /version", Answer::Json(200, json!({ "gitVersion": "v1.35.4" }))),
    ]);
    let readiness = api.ready().await.unwrap();
    assert_eq!(
        readiness.failing,
        ["etcd failed: reason withheld", "poststarthook/rbac/bootstrap-roles failed: reason withheld"]
    );
    assert!(api.ready().await.unwrap().is_ready());
    assert_eq!(api.ready().await.unwrap_err().fault, Fault::Forbidden);
    assert_eq!(api.version().await.unwrap().to_string(), "1.35.4");
    script.is_over();
}

const LIST: &str = "GET /api/v1/nodes?&limit=500";
const WATCH: &str = "GET /api/v1/nodes?&watch=true";

fn w1(version: &str, ready: &str, message: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": "w1", "resourceVersion": version },
        "status": { "conditions": [{ "type": "Ready", "status": ready, "message": message }] },
    })
}

fn list(items: &[Value]) -> Answer {
    Answer::Json(
        200,
        json!({ "apiVersion": "v1", "kind": "NodeList", "metadata": { "resourceVersion": "5" }, "items": items }),
    )
}

fn event(kind: &str, object: Value) -> Value {
    json!({ "type": kind, "object": object })
}

/// Waits for w1 to be Ready and writes down what is told meanwhile.
async fn wait(api: &ClusterApi, within: Duration) -> (Result<(), crate::ports::KubeError>, Vec<String>) {
    let mut told = Vec::new();
    let condition = Condition::NodesReady { nodes: vec![HostName::new("w1")] };
    let ended = api.wait_until(&condition, within, &mut |line| told.push(line.to_owned())).await;
    (ended, told)
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn waiting_tells_what_is_missing_and_ends_with_the_event() {
    let wrapped = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
                   message:Network plugin returns error: cni plugin not initialized";
    let (api, script) = server([
        asks(LIST, list(&[])),
        asks(
            WATCH,
            Answer::Watch(vec![
                event("ADDED", w1("6", "False", wrapped)),
                event("MODIFIED", w1("7", "False", wrapped)),
            ]),
        ),
        asks(WATCH, Answer::Watch(vec![event("MODIFIED", w1("8", "True", "kubelet is posting ready status"))])),
    ]);
    let (ended, told) = wait(&api, HOUR).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(told, ["w1 has not registered", "w1 not Ready: network plugin not ready: cni plugin not initialized"]);
    script.is_over();
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_says_nothing_is_checked_after_15_seconds() {
    let (api, script) = server([
        asks(LIST, list(&[w1("5", "Unknown", "Kubelet stopped posting node status.")])),
        asks(WATCH, Answer::Silence),
        asks(LIST, list(&[w1("6", "True", "")])),
    ]);
    let started = tokio::time::Instant::now();
    let (ended, told) = wait(&api, HOUR).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(told, ["w1 not Ready: Kubelet stopped posting node status"]);
    assert_eq!(started.elapsed().as_secs(), 15);
    script.is_over();
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_what_is_still_missing() {
    let (api, _) = server((0..10).flat_map(|_| [asks(LIST, list(&[])), asks(WATCH, Answer::Silence)]));
    let error = wait(&api, Duration::from_secs(40)).await.0.unwrap_err();
    assert_eq!(error.fault, Fault::Deadline);
    assert_eq!(error.to_string(), "wait for w1 Ready: after 40 s still: w1 has not registered");
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_told_and_waited_out_and_what_may_not_ends_the_wait() {
    let (api, script) = server([
        asks(LIST, refuses(403, "nodes is forbidden: User \"kubernetes-admin\" cannot list resource \"nodes\"")),
        asks(LIST, Answer::HangsUp),
        asks(LIST, list(&[w1("5", "True", "")])),
    ]);
    let (ended, told) = wait(&api, HOUR).await;
    assert_eq!(ended, Ok(()));
    assert_eq!(
        told,
        ["nodes is forbidden: User \"kubernetes-admin\" cannot list resource \"nodes\"", "the connection was lost"]
    );
    script.is_over();

    let (api, script) = server([asks(LIST, refuses(401, "Unauthorized"))]);
    assert_eq!(wait(&api, HOUR).await.0.unwrap_err().fault, Fault::Unauthorized);
    script.is_over();
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_too_old_begins_anew_without_a_word() {
    let gone = json!({ "type": "ERROR", "object": { "kind": "Status", "status": "Failure", "code": 410, "message": "too old resource version" } });
    let (api, script) = server([
        asks(LIST, list(&[])),
        asks(WATCH, Answer::Watch(vec![gone])),
        asks(LIST, list(&[w1("9", "True", "")])),
    ]);
    let (ended, told) = wait(&api, HOUR).await;
    assert_eq!((ended, told), (Ok(()), vec!["w1 has not registered".to_owned()]));
    script.is_over();
}

#[tokio::test]
async fn the_lease_mirrors_the_lock_and_yields_to_a_higher_fence() {
    let read = "GET /apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kubewright";
    let write = "PATCH /apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kubewright?fieldManager=kubewright";
    let at = |second| Timestamp::from_second(second).unwrap();
    let lease = |version: Option<&str>, fence: &str, spec: Value| {
        let mut metadata = json!({ "namespace": "kube-system", "name": "kubewright", "annotations": { "kubewright.dev/fence": fence } });
        if let Some(version) = version {
            metadata["resourceVersion"] = version.into();
        }
        json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec })
    };
    let held = |since: &str, renewed: &str| json!({ "holderIdentity": "ann", "leaseDurationSeconds": 120, "acquireTime": since, "renewTime": renewed });
    let (first, second, third) =
        ("1970-01-01T00:00:01.000000Z", "1970-01-01T00:00:02.000000Z", "1970-01-01T00:00:03.000000Z");
    let ok = || Answer::Json(200, stored());
    let (api, script) = server([
        asks(read, refuses(404, "not found")),
        sends(write, lease(None, "3", held(first, first)), ok()),
        asks(read, Answer::Json(200, lease(Some("1"), "3", held(first, first)))),
        sends(write, lease(Some("1"), "3", held(first, second)), ok()),
        asks(read, Answer::Json(200, lease(Some("2"), "3", held(first, second)))),
        sends(write, lease(Some("2"), "3", json!({ "leaseDurationSeconds": 120, "renewTime": third })), ok()),
        asks(read, Answer::Json(200, lease(Some("3"), "4", held(first, second)))),
    ]);
    lease::hold(&api, "ann", 3, at(1)).await.unwrap();
    lease::hold(&api, "ann", 3, at(2)).await.unwrap();
    lease::release(&api, 3, at(3)).await.unwrap();
    let error = lease::hold(&api, "bob", 3, at(4)).await.unwrap_err();
    assert_eq!((error.fault, error.said.as_str()), (Fault::Conflict, "it mirrors fence 4, held by ann; ours is 3"));
    script.is_over();
}

fn credentials() -> Credentials {
    let window = Window::starting(Timestamp::UNIX_EPOCH, HOUR).unwrap();
    let authority = Authority::create(&Subject::new("kubernetes"), KeyAlgorithm::EcdsaP256, window).unwrap();
    let request =
        LeafRequest { subject: Subject::new("ann"), usages: vec![TlsUsage::Client], alt_names: AltNames::new() };
    let leaf = authority.issue(&request, KeyAlgorithm::EcdsaP256, window).unwrap();
    Credentials {
        ca_pem: authority.certificate_pem().to_owned(),
        client_cert_pem: leaf.certificate_pem,
        client_key_pem: leaf.key_pem,
    }
}

#[tokio::test]
async fn control_planes_that_refuse_and_that_stay_silent_are_told_apart() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let control_planes = [(HostName::new("cp1"), closed), (HostName::new("cp2"), silent.local_addr().unwrap())];
    let api = ClusterApi::connect(Way::Direct, &control_planes, &credentials()).unwrap().patience(Duration::ZERO);
    tokio::time::pause();
    let error = api.version().await.unwrap_err();
    assert_eq!(error.to_string(), "ask the API server's version: cp1: connection refused; cp2: no connection in time");
    assert_eq!(error.fault, Fault::Connection(ConnectionFault::Refused));
    let alone = api.only(&HostName::new("cp2")).unwrap();
    assert_eq!(alone.version().await.unwrap_err().fault, Fault::Connection(ConnectionFault::Timeout));
    assert!(api.only(&HostName::new("cp3")).is_none());
}

/// Asks what runs on all nodes, for a drain's forecast.
async fn surveyed(exchanges: impl IntoIterator<Item = Exchange>) -> (Result<i64, String>, Script) {
    let (api, script) = server(exchanges);
    let mut seen = World::new("w1", Timestamp::UNIX_EPOCH);
    survey(&api, [&mut seen]).await;
    let counted = |used: &Used| used.all().get("pods") / 1000;
    let found = seen.occupancy.unwrap().map(|occupancy| occupancy.used.values().map(counted).sum());
    (found, script)
}

const PODS: &str =
    "GET /api/v1/pods?fieldSelector=spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed&limit=500&continue=";
const MORE: &str =
    "GET /api/v1/pods?fieldSelector=spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed&limit=500&continue=x";

#[tokio::test]
async fn a_list_that_is_too_old_to_go_on_with_is_begun_anew_once() {
    let page = |next: &str| {
        let pod =
            json!({ "metadata": { "name": "a", "namespace": "b" }, "spec": { "nodeName": "w2", "containers": [] } });
        Answer::Json(200, json!({ "metadata": { "continue": next }, "items": [pod] }))
    };
    let gone = || refuses(410, "The provided continue parameter is too old");
    let (found, script) =
        surveyed([asks(PODS, page("x")), asks(MORE, gone()), asks(PODS, page("x")), asks(MORE, page(""))]).await;
    assert_eq!(found, Ok(2), "what was read before is not counted twice");
    script.is_over();
    let (found, script) =
        surveyed([asks(PODS, page("x")), asks(MORE, gone()), asks(PODS, page("x")), asks(MORE, gone())]).await;
    assert_eq!(found, Err("list Pods: The provided continue parameter is too old".to_owned()));
    script.is_over();
}

#[tokio::test]
async fn what_may_not_be_listed_is_unknown_and_nothing_else_fails_by_it() {
    let (found, script) = surveyed([asks(PODS, refuses(403, "pods is forbidden"))]).await;
    assert_eq!(found, Err("list Pods: pods is forbidden".to_owned()));
    script.is_over();
}

const METRICS: &str = "# TYPE apiserver_request_total counter\n\
    apiserver_request_total{verb=\"GET\"} 3\n\
    # TYPE apiserver_requested_deprecated_apis gauge\n\
    apiserver_requested_deprecated_apis{group=\"a.b\",removed_release=\"1.38\",resource=\"cs\",subresource=\"\",version=\"v1beta1\"} 1\n\
    apiserver_requested_deprecated_apis{group=\"\",removed_release=\"\",resource=\"endpoints\",subresource=\"\",version=\"v1\"} 1\n\
    # TYPE apiserver_response_sizes histogram\n\
    apiserver_requested_deprecated_apis{group=\"z\",removed_release=\"1.38\",resource=\"z\",subresource=\"\",version=\"v1\"} 1\n";

#[tokio::test]
async fn apis_that_go_come_from_metrics_and_their_writers_from_managed_fields() {
    let field =
        |manager: &str, version: &str, time: &str| json!({ "manager": manager, "apiVersion": version, "time": time });
    let list = json!({ "items": [
        { "metadata": { "managedFields": [
            field("old-agent", "a.b/v1beta1", "2026-11-20T20:00:00Z"), field("new-agent", "a.b/v1", "2026-11-20T22:00:00Z"),
        ] } },
        { "metadata": { "managedFields": [field("old-agent", "a.b/v1beta1", "2026-11-20T21:00:00Z")] } },
        { "metadata": {} },
    ] });
    let (api, script) = server([
        asks("GET /metrics", Answer::Text(200, METRICS)),
        asks("GET /apis/a.b", Answer::Json(200, json!({ "preferredVersion": { "version": "v1" } }))),
        asks("GET /apis/a.b/v1/cs?limit=500", refuses(404, "the server could not find the requested resource")),
        asks("GET /apis/a.b/v1beta1/cs?limit=500", Answer::Json(200, list)),
    ]);
    let found = api.apis_in_use().await;
    let told: Vec<String> = found.deprecated.keys().cloned().map(String::from).collect();
    assert_eq!(told, ["1.38 a.b/v1beta1/cs"], "no end is announced of the one, and the other comes after its place");
    let used = found.deprecated.values().next().unwrap();
    let last: Timestamp = "2026-11-20T21:00:00Z".parse().unwrap();
    assert_eq!(used.writers, BTreeMap::from([("old-agent".to_owned(), Some(last))]));
    script.is_over();
}

#[tokio::test]
async fn whoever_may_not_read_metrics_or_objects_is_told_so() {
    let (api, script) = server([asks("GET /metrics", refuses(403, "user \"ann\" cannot get path \"/metrics\""))]);
    let found = api.apis_in_use().await;
    assert_eq!(
        found.untold.values().collect::<Vec<_>>(),
        ["ask for metrics: user \"ann\" cannot get path \"/metrics\""]
    );
    script.is_over();
    let (api, script) = server([
        asks("GET /metrics", Answer::Text(200, METRICS)),
        asks("GET /apis/a.b", Answer::Json(200, json!({ "preferredVersion": { "version": "v1" } }))),
        asks("GET /apis/a.b/v1/cs?limit=500", refuses(403, "no")),
    ]);
    let found = api.apis_in_use().await;
    let used = found.deprecated.values().next().unwrap();
    assert_eq!(used.unseen.as_deref(), Some("list cs in v1: no"));
    script.is_over();
}
