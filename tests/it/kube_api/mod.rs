//! `kubewright::kube` against real API servers: what manifests/ renders is taken, waits end when they should, and a
//! lost control plane is not noticed by more than a pause.

mod budgets;
mod control_plane;
mod drain;
mod kubelets;
pub mod tunnel;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use jiff::{SignedDuration, Timestamp};
use kubewright::host::ssh::{SshHosts, SshTarget};
use kubewright::kube::kubeconfig::{Existing, Operator};
use kubewright::kube::{ClusterApi, Credentials, Way, apply_all, lease};
use kubewright::ports::{ConnectionFault, Fault, KubeApi, ObjectRef, Patched};
use kubewright_core::facts::DeprecatedApi;
use kubewright_core::health::{CONTROL_PLANE, Condition};
use kubewright_core::ids::HostName;
use kubewright_core::marks::NodeMarks;
use kubewright_core::spec::{Taint, TaintEffect};
use kubewright_core::version::{Minor, PROVEN};
use kubewright_manifests::cluster_objects;
use serde_json::json;
use xtask::loopback::Programs;

use self::control_plane::ControlPlane;
use self::tunnel::TunnelHosts;
use crate::host::sshd::{self, Sshd};
use crate::setting::spec;

const MINUTE: Duration = Duration::from_secs(60);

fn silent() -> impl FnMut(&str) + Send {
    |_: &str| {}
}

fn daemon_set(namespace: &str, name: &str, nodes: u32) -> Condition {
    Condition::DaemonSetRolledOut { namespace: namespace.to_owned(), name: name.to_owned(), nodes }
}

fn coredns() -> Condition {
    Condition::DeploymentAvailable { namespace: "kube-system".to_owned(), name: "coredns".to_owned() }
}

// More than one thread: kubectl is waited for while connections are carried to etcd.
#[tokio::test(flavor = "multi_thread")]
async fn real_api_servers() {
    let Some(programs) = control_plane::programs() else { return };
    let started = Instant::now();
    let mut cluster = ControlPlane::start(&programs).await;
    eprintln!("two API servers ready after {:.1?}", started.elapsed());
    let hosts = Arc::new(TunnelHosts::default());
    let api = cluster.api(Way::Ssh(Arc::clone(&hosts) as _), "super-admin.conf");

    identities(&cluster).await;
    objects(&api, &cluster).await;
    operators_kubeconfig(&cluster, &programs);
    marks_and_lease(&api).await;
    apis_that_go(&api).await;
    waits(&api, &mut cluster).await;
    drain::drains(&api, &cluster).await;
    failover(&api, &mut cluster).await;
    through_ssh(&cluster).await;
    without_etcd(&api, &mut cluster).await;
    eprintln!("{} tunnels were opened; all done after {:.1?}", hosts.opened.load(Ordering::Relaxed), started.elapsed());
}

/// Who is not known, who may not and who does not trust are told apart.
async fn identities(cluster: &ControlPlane) {
    let first = [cluster.addresses()[0].clone()];
    let connect = |credentials: &Credentials| {
        ClusterApi::connect(Way::Direct, &first, credentials).unwrap().patience(Duration::ZERO)
    };

    // Before its binding exists the administrator may do nothing; `super-admin.conf` may.
    let error = connect(&cluster.credentials("admin.conf")).nodes().await.unwrap_err();
    assert_eq!(error.fault, Fault::Forbidden, "{error}");
    assert!(error.said.contains("cannot list resource \"nodes\""), "{error}");
    assert_eq!(error.control_plane, Some(HostName::new("cp1")));

    let other = ControlPlaneOfOthers::credentials();
    let ours = cluster.credentials("super-admin.conf");
    let error = connect(&Credentials { ca_pem: ours.ca_pem.clone(), ..other.clone() }).nodes().await.unwrap_err();
    assert_eq!(error.fault, Fault::Unauthorized, "{error}");
    let error = connect(&Credentials { ca_pem: other.ca_pem, ..ours }).nodes().await.unwrap_err();
    assert_eq!(error.fault, Fault::Connection(ConnectionFault::Tls), "{error}");
    assert_eq!(
        error.to_string(),
        "list Nodes: cp1: its certificate was signed by another authority than this cluster's"
    );
}

/// An authority that nobody here trusts.
struct ControlPlaneOfOthers;

impl ControlPlaneOfOthers {
    fn credentials() -> Credentials {
        use kubewright_certs::issue::{Authority, LeafRequest};
        use kubewright_certs::key::KeyAlgorithm::EcdsaP256;
        use kubewright_certs::names::AltNames;
        use kubewright_certs::profile::{Subject, TlsUsage, Window};

        let window = Window::starting(Timestamp::now(), MINUTE * 60).unwrap();
        let authority = Authority::create(&Subject::new("kubernetes"), EcdsaP256, window).unwrap();
        let request = LeafRequest {
            subject: Subject::in_group("eve", "system:masters"),
            usages: vec![TlsUsage::Client],
            alt_names: AltNames::new(),
        };
        let leaf = authority.issue(&request, EcdsaP256, window).unwrap();
        Credentials {
            ca_pem: authority.certificate_pem().to_owned(),
            client_cert_pem: leaf.certificate_pem,
            client_key_pem: leaf.key_pem,
        }
    }
}

/// Whoever writes in a version of an API that goes is found, at the API server that was asked and by name.
async fn apis_that_go(api: &ClusterApi) {
    let before = api.apis_in_use().await;
    assert_eq!(before.untold, BTreeMap::new());
    let ours = |api: &&DeprecatedApi| api.api_version() == "resource.k8s.io/v1beta1";
    assert_eq!(before.deprecated.keys().filter(ours).count(), 0, "{before:?}");

    let class = json!({
        "apiVersion": "resource.k8s.io/v1beta1", "kind": "DeviceClass", "metadata": { "name": "old" },
        "spec": { "selectors": [{ "cel": { "expression": "true" } }] },
    });
    let began = Timestamp::now() - SignedDuration::from_secs(2);
    api.apply(&class).await.unwrap();
    let started = Instant::now();
    let after = api.apis_in_use().await;
    eprintln!("deprecated APIs of two API servers found in {:.0?}", started.elapsed());
    let (found, used) = after.deprecated.iter().find(|(api, _)| ours(api)).unwrap();
    assert_eq!((found.resource.as_str(), &used.unseen), ("deviceclasses", &None));
    assert!(found.removed_in > Minor::new(1, 36), "{found:?}");
    assert_eq!(used.servers.len(), 1, "the other one was not asked: {used:?}");
    assert!(used.writers["kubewright"].unwrap() >= began, "{used:?}");
    api.delete(&ObjectRef::cluster_wide("resource.k8s.io/v1", "DeviceClass", "old")).await.unwrap();
}

/// Everything that manifests/ renders, twice: made without a warning, then left as it is.
async fn objects(api: &ClusterApi, cluster: &ControlPlane) {
    assert!(PROVEN.contains(&api.version().await.unwrap().minor()), "whichever the lab has built");
    let objects = cluster_objects::all(&spec(), &cluster.authority);
    let started = Instant::now();
    let made = apply_all(api, &objects).await.unwrap();
    eprintln!("{} objects applied in {:.0?}", objects.len(), started.elapsed());
    for (object, applied) in objects.iter().zip(&made) {
        assert!(applied.created, "{object}");
        assert_eq!(applied.warnings, Vec::<String>::new(), "{object}");
    }
    let again = apply_all(api, &objects).await.unwrap();
    for ((object, first), second) in objects.iter().zip(&made).zip(&again) {
        assert!(!second.created);
        assert_eq!(first.resource_version, second.resource_version, "changed by applying it again: {object}");
    }

    let homeless =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a", "namespace": "nowhere" } });
    let error = api.apply(&homeless).await.unwrap_err();
    assert_eq!((error.fault, error.said.as_str()), (Fault::NotFound, "namespaces \"nowhere\" not found"));
    let impossible = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a", "namespace": "default" },
        "spec": { "ports": [{ "port": 70000 }] },
    });
    let error = api.apply(&impossible).await.unwrap_err();
    assert_eq!(error.fault, Fault::Invalid, "{error}");

    // With its binding in place the administrator may.
    let admin = cluster.api(Way::Direct, "admin.conf");
    assert!(admin.nodes().await.unwrap().is_empty());
    assert!(admin.ready().await.unwrap().is_ready());
    let missing = ObjectRef::namespaced("v1", "ConfigMap", "kube-system", "missing");
    assert_eq!(admin.get(&missing).await.unwrap(), None);
}

/// The real kubectl reaches every control plane with what we write, and still reads what others wrote.
fn operators_kubeconfig(cluster: &ControlPlane, programs: &Programs) {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::try_from(folder.path().join("config")).unwrap();
    let theirs = "apiVersion: v1\nkind: Config\ncurrent-context: 'on'\ncontexts:\n- {name: 'on', context: {cluster: '1e3', user: 'no'}}\n\
                  clusters:\n- {name: '1e3', cluster: {server: 'https://127.0.0.1:1'}}\nusers:\n- {name: 'no', user: {token: '0123'}}\n";
    std::fs::write(&path, theirs).unwrap();
    let control_planes: Vec<_> =
        cluster.addresses().into_iter().map(|(host, address)| (host, address.to_string())).collect();
    let operator = Operator { cluster: "lab", control_planes: &control_planes, endpoint: None };
    operator.write(&cluster.kubeconfig("super-admin.conf"), &path, Existing::Merge).unwrap();

    let kubectl = |arguments: &[&str]| {
        let output = Command::new(&programs.kubectl).arg("--kubeconfig").arg(&path).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(kubectl(&["get", "--raw", "/readyz"]), "ok");
    for context in ["lab", "lab-cp1", "lab-cp2"] {
        assert_eq!(kubectl(&["--context", context, "get", "--raw", "/readyz"]), "ok");
    }
    let of_others = kubectl(&[
        "--context",
        "on",
        "config",
        "view",
        "--minify",
        "--raw",
        "-o",
        "jsonpath={.users[0]}{.clusters[0].name}",
    ]);
    assert_eq!(of_others, r#"{"name":"no","user":{"token":"0123"}}1e3"#);
}

/// Our marks beside those of others, and the lock's mirror.
async fn marks_and_lease(api: &ClusterApi) {
    let client = api.client();
    kubelets::register(&client, "cp1").await;
    let cp1 = HostName::new("cp1");
    let marks = NodeMarks {
        labels: [("node-role.kubernetes.io/control-plane".to_owned(), String::new())].into(),
        taints: vec![Taint {
            key: "node-role.kubernetes.io/control-plane".to_owned(),
            value: String::new(),
            effect: TaintEffect::NoSchedule,
        }],
    };
    assert_eq!(api.patch_node(&cp1, &marks).await.unwrap(), Patched::Changed);
    assert_eq!(api.patch_node(&cp1, &marks).await.unwrap(), Patched::Unchanged);
    let node = api.get(&ObjectRef::cluster_wide("v1", "Node", "cp1")).await.unwrap().unwrap();
    let taints: Vec<_> = node["spec"]["taints"].as_array().unwrap().iter().map(|taint| taint["key"].as_str()).collect();
    // The API server itself gives every new node the other one.
    assert_eq!(taints, [Some("node.kubernetes.io/not-ready"), Some("node-role.kubernetes.io/control-plane")]);
    assert_eq!(api.patch_node(&cp1, &NodeMarks::default()).await.unwrap(), Patched::Changed, "ours go again");
    let carried = api.nodes().await.unwrap().remove(&cp1).unwrap().marks;
    let ours = "node-role.kubernetes.io/control-plane";
    assert!(!carried.labels.contains_key(ours) && carried.taints.iter().all(|taint| taint.key != ours), "{carried:?}");
    let error = api.patch_node(&HostName::new("nobody"), &marks).await.unwrap_err();
    assert_eq!((error.fault, error.said.as_str()), (Fault::NotFound, "nodes \"nobody\" not found"));

    let at = |second| Timestamp::from_second(second).unwrap();
    assert_eq!(lease::show(api).await.unwrap(), None);
    lease::hold(api, "ann@desk 7f3a9c", 3, at(100)).await.unwrap();
    lease::hold(api, "ann@desk 7f3a9c", 3, at(101)).await.unwrap();
    let mirrored = lease::show(api).await.unwrap().unwrap();
    assert_eq!((mirrored.fence, mirrored.since, mirrored.renewed), (3, Some(at(100)), Some(at(101))));
    lease::hold(api, "bob@laptop 0aa111", 4, at(102)).await.unwrap();
    assert_eq!(lease::release(api, 3, at(103)).await.unwrap_err().fault, Fault::Conflict);
    lease::release(api, 4, at(104)).await.unwrap();
    let mirrored = lease::show(api).await.unwrap().unwrap();
    assert_eq!((mirrored.fence, mirrored.holder), (4, None));
}

/// Waits see nodes, mirror pods and rollouts that the real controllers drive.
async fn waits(api: &ClusterApi, cluster: &mut ControlPlane) {
    let client = api.client();
    cluster.start_controllers();
    let nodes: Vec<_> = ["cp1", "cp2", "w1"].map(HostName::new).into();
    let both = &nodes[..2];

    let late = async {
        for node in ["cp2", "w1"] {
            kubelets::register(&client, node).await;
        }
        for node in ["cp1", "cp2"] {
            for component in CONTROL_PLANE {
                kubelets::mirror_pod(&client, component, node, None).await;
            }
            kubelets::report(&client, node, None).await;
        }
        kubelets::report_mirror_pod(&client, "etcd", "cp2", Some("booting")).await;
        let network = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
                       message:Network plugin returns error: cni plugin not initialized";
        kubelets::report(&client, "w1", Some(network)).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        kubelets::report_mirror_pod(&client, "etcd", "cp2", None).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        kubelets::report(&client, "w1", None).await;
        Instant::now()
    };
    let condition = Condition::All {
        conditions: vec![Condition::NodesReady { nodes: nodes.clone() }, Condition::control_planes_ready(both)],
    };
    let mut told = Vec::new();
    let mut progress = |line: &str| told.push(line.to_owned());
    let waiting = async {
        api.wait_until(&condition, MINUTE, &mut progress).await.unwrap();
        Instant::now()
    };
    let (happened, noticed) = tokio::join!(late, waiting);
    eprintln!("the last event was noticed after {:.0?}; told meanwhile:\n  {}", noticed - happened, told.join("\n  "));
    let last = told.last().unwrap();
    assert_eq!(last, "w1 not Ready: network plugin not ready: cni plugin not initialized");
    assert!(told.iter().any(|line| line.contains("etcd on cp2 not Ready: booting")), "{told:?}");

    let error = api.wait_until(&coredns(), Duration::from_secs(2), &mut silent()).await.unwrap_err();
    assert_eq!(error.fault, Fault::Deadline, "{error}");
    eprintln!("{error}");

    let running = kubelets::run_all_pods(client.clone(), "kube-system");
    let running_flannel = kubelets::run_all_pods(client.clone(), "kube-flannel");
    let rollouts = Condition::All {
        conditions: vec![
            daemon_set("kube-system", "kube-proxy", 3),
            daemon_set("kube-flannel", "kube-flannel-ds", 3),
            coredns(),
        ],
    };
    told.clear();
    let mut progress = |line: &str| told.push(line.to_owned());
    tokio::select! {
        ended = api.wait_until(&rollouts, MINUTE, &mut progress) => {
            ended.unwrap_or_else(|error| panic!("{error}\n{}", cluster.log("kube-controller-manager")));
        }
        () = running => panic!("kubelets ended"),
        () = running_flannel => panic!("kubelets ended"),
    }
    eprintln!("rollouts done; told meanwhile:\n  {}", told.join("\n  "));
}

/// One control plane after the other is lost, frozen and brought back; calls and a running wait go on.
async fn failover(api: &ClusterApi, cluster: &mut ControlPlane) {
    let answered_by = async |api: &ClusterApi| api.ready().await.unwrap().control_plane.to_string();
    let client = cluster.api(Way::Direct, "super-admin.conf").only(&HostName::new("cp2")).unwrap().client();
    assert_eq!(answered_by(api).await, "cp1");

    // A wait whose watches hang on cp1 when cp1 is killed.
    let condition = Condition::NodeExists { node: HostName::new("w2") };
    let mut told = Vec::new();
    let mut progress = |line: &str| told.push(line.to_owned());
    let mut waiting = Box::pin(api.wait_until(&condition, MINUTE, &mut progress));
    tokio::select! {
        ended = &mut waiting => panic!("{ended:?}"),
        () = tokio::time::sleep(Duration::from_secs(1)) => {}
    }
    cluster.kill("cp1");
    let started = Instant::now();
    let (version, ()) = tokio::join!(api.version(), kubelets::register(&client, "w2"));
    assert!(PROVEN.contains(&version.unwrap().minor()));
    eprintln!("a call after cp1 was killed: {:.0?}", started.elapsed());
    waiting.await.unwrap();
    eprintln!("a wait over the death of cp1: {:.0?} to notice; told {told:?}", started.elapsed());
    assert_eq!(answered_by(api).await, "cp2");

    // A single control plane that is away for a moment is waited for.
    let cp1 = api.only(&HostName::new("cp1")).unwrap();
    let started = Instant::now();
    let (version, ()) = tokio::join!(cp1.version(), cluster.start_member("cp1"));
    version.unwrap();
    eprintln!("a call to cp1 while it started: {:.1?}", started.elapsed());

    // cp2 takes connections and says nothing.
    cluster.freeze("cp2");
    let started = Instant::now();
    api.version().await.unwrap();
    let elapsed = started.elapsed();
    eprintln!("a call after cp2 froze: {elapsed:.1?}");
    assert!(elapsed < Duration::from_secs(16), "{elapsed:?}");
    let started = Instant::now();
    assert_eq!(answered_by(api).await, "cp1");
    assert!(started.elapsed() < Duration::from_secs(1), "the frozen one is tried last");
    cluster.thaw("cp2");
}

/// An API server that answers and has nothing to answer from: another one is asked.
async fn without_etcd(api: &ClusterApi, cluster: &mut ControlPlane) {
    assert_eq!(api.ready().await.unwrap().control_plane.as_str(), "cp1");
    cluster.cut_from_etcd("cp1");
    let started = Instant::now();
    let system = ObjectRef::cluster_wide("v1", "Namespace", "kube-system");
    let found = api.clone().patience(Duration::from_secs(15)).get(&system).await;
    eprintln!("a call after cp1 lost its etcd: {:.1?}", started.elapsed());
    assert!(found.unwrap().is_some());
}

/// The same through ssh itself: two hosts behind one sshd, whose connections are then cut.
async fn through_ssh(cluster: &ControlPlane) {
    if !sshd::possible() {
        return;
    }
    let sshd = Sshd::start("");
    let target = |name: &HostName| SshTarget {
        name: name.clone(),
        address: "127.0.0.1".to_owned(),
        ssh: sshd.settings(),
        sudo_password: None,
    };
    let hosts = SshHosts::new(cluster.addresses().iter().map(|(name, _)| target(name))).unwrap();
    let api = cluster.api(Way::Ssh(Arc::new(hosts)), "super-admin.conf");
    let started = Instant::now();
    assert!(api.ready().await.unwrap().is_ready());
    let first = started.elapsed();
    let started = Instant::now();
    assert!(api.ready().await.unwrap().is_ready());
    eprintln!("through ssh: the first call took {first:.0?}, the second {:.1?}", started.elapsed());

    sshd.cut();
    let started = Instant::now();
    api.version().await.unwrap();
    eprintln!("a call after every ssh connection was cut: {:.1?}", started.elapsed());

    // Nothing listens there: ssh accepts on our side and hangs up.
    let closed: Vec<_> = cluster.addresses().into_iter().map(|(name, _)| (name, ([127, 0, 0, 4], 1).into())).collect();
    let hosts = SshHosts::new(closed.iter().map(|(name, _)| target(name))).unwrap();
    let credentials = cluster.credentials("super-admin.conf");
    let api = ClusterApi::connect(Way::Ssh(Arc::new(hosts)), &closed, &credentials).unwrap().patience(Duration::ZERO);
    let error = api.version().await.unwrap_err();
    assert_eq!(error.fault, Fault::Connection(ConnectionFault::Refused), "{error}");
    eprintln!("{error}");
}
