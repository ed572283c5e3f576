//! Drains on the running cluster: budgets watched from outside while the pods move, a blocked drain that gives the node
//! back, cordons of others, pods that nobody makes anew.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::cluster::Kubectl;
use super::operator::Operator;

/// All of it, on a cluster with the workers w1 and w2.
pub fn moves_pods_and_keeps_budgets(spec: &Path, kubectl: &Kubectl, folder: &Path, told: &dyn Fn(&str)) {
    let operator = Operator::new(spec);
    let cart = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/e2e/cart.yaml");
    kubectl.expect(&["apply", "-f", &cart.to_string_lossy()]);
    kubectl.expect(&["-n", "shop", "rollout", "status", "deployment/cart", "--timeout=120s"]);
    // The budget's own controller must have counted them once.
    kubectl.expect(&[
        "-n",
        "shop",
        "wait",
        "pdb/cart",
        "--for=jsonpath={.status.disruptionsAllowed}=1",
        "--timeout=60s",
    ]);

    drains(&operator, kubectl, told);
    keeps_what_others_cordoned(&operator, kubectl, told);
    explains_what_blocks(&operator, kubectl, told);
    asks_before_a_loss(&operator, kubectl, folder, told);
    // To its end: later scenarios compare all objects.
    kubectl.expect(&["delete", "-f", &cart.to_string_lossy(), "--timeout=120s"]);
    let unknown = operator.run(&["node", "drain", "w9", "--yes"]);
    assert_eq!(unknown.status.code(), Some(2));
}

/// Both replicas may stand on one worker or on two: w1 is emptied, then w2 while w1 is back.
fn drains(operator: &Operator, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    for node in ["w1", "w2"] {
        let began = Instant::now();
        let watched = Watched::start(kubectl.clone());
        let text = operator.expect(&["node", "drain", node, "--yes"], 0);
        let (looks, fewest) = watched.stop();
        assert!(fewest >= 1, "{fewest} of 2 served, {looks} looks\n{text}");
        assert_eq!(movable(kubectl, node), Vec::<String>::new(), "{text}");
        assert!(is_cordoned(kubectl, node));
        let again = operator.expect(&["node", "drain", node, "--yes"], 3);
        assert!(again.contains("nothing to do"), "{again}");
        operator.expect(&["node", "uncordon", node, "--yes"], 0);
        assert!(!is_cordoned(kubectl, node));
        told(&format!(
            "{node} drained in {:.1} s; of 2 replicas never fewer than {fewest} served in {looks} looks",
            began.elapsed().as_secs_f64()
        ));
    }
}

fn keeps_what_others_cordoned(operator: &Operator, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    kubectl.expect(&["cordon", "w2"]);
    operator.expect(&["node", "drain", "w2", "--yes"], 0);
    assert!(is_cordoned(kubectl, "w2"));
    // It is not ours to take, until somebody says so.
    let refused = operator.expect(&["node", "uncordon", "w2", "--yes", "--output", "json"], 6);
    assert!(refused.contains("DRAIN013"), "{refused}");
    assert!(is_cordoned(kubectl, "w2"));
    operator.expect(&["node", "uncordon", "w2", "--yes", "--consent", "DRAIN013"], 0);
    assert!(!is_cordoned(kubectl, "w2"));
    told("a cordon of others stays until somebody agrees");
}

/// A budget without room: for ever, then because a replica does not serve.
fn explains_what_blocks(operator: &Operator, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    let (node, sick) = spread(kubectl);
    want(kubectl, 2);
    let refused = last_line(&operator.expect(&["node", "drain", &node, "--yes", "--output", "json"], 6));
    let findings = refused["findings"].as_array().expect("findings");
    assert!(findings.iter().any(|finding| finding["code"] == "PDB001"), "{refused}");
    assert!(!is_cordoned(kubectl, &node), "refused before the cordon");
    told("a budget that can never allow it is refused before the cordon");

    want(kubectl, 1);
    kubectl.expect(&["-n", "shop", "exec", &sick, "--", "rm", "/tmp/ready"]);
    kubectl.expect(&["-n", "shop", "wait", "pdb/cart", "--for=jsonpath={.status.currentHealthy}=1", "--timeout=60s"]);
    let began = Instant::now();
    let blocked = operator.run(&["node", "drain", &node, "--yes", "--patience", "5"]);
    let text = String::from_utf8_lossy(&blocked.stderr).into_owned();
    assert_eq!(blocked.status.code(), Some(5), "{text}{}", String::from_utf8_lossy(&blocked.stdout));
    assert!(text.contains("budget shop/cart") && text.contains(&format!("shop/{sick}")), "{text}");
    assert!(text.contains(&format!("our cordon of {node} is undone")), "{text}");
    assert!(!is_cordoned(kubectl, &node));
    println!("{text}");
    told(&format!(
        "a blocked drain explained itself and gave the node back after {:.1} s",
        began.elapsed().as_secs_f64()
    ));

    let why = operator.expect(&["node", "why", &node, "--output", "json"], 0);
    let why: Value = serde_json::from_str(&why).expect("JSON");
    let links = why["chains"][0]["links"].as_array().unwrap_or_else(|| panic!("{why}")).clone();
    assert_eq!(links[0]["type"], "budget", "{why}");
    assert!(links.iter().any(|link| link["type"] == "unready" && link["pod"]["name"] == sick.as_str()), "{why}");
    told("node why leads from the pod to the replica that is not Ready");
    kubectl.expect(&["-n", "shop", "exec", &sick, "--", "touch", "/tmp/ready"]);
    kubectl.expect(&["-n", "shop", "wait", "pdb/cart", "--for=jsonpath={.status.currentHealthy}=2", "--timeout=60s"]);
}

/// Has the budget want so many, and its controller see it.
fn want(kubectl: &Kubectl, replicas: u32) {
    let patch = format!(r#"{{"spec":{{"minAvailable":{replicas}}}}}"#);
    kubectl.expect(&["-n", "shop", "patch", "pdb/cart", "--type=merge", "-p", &patch]);
    let desired = format!("--for=jsonpath={{.status.desiredHealthy}}={replicas}");
    kubectl.expect(&["-n", "shop", "wait", "pdb/cart", &desired, "--timeout=60s"]);
}

/// One replica on each worker: the node of one, the name of the other.
fn spread(kubectl: &Kubectl) -> (String, String) {
    let placed = replicas(kubectl);
    let (crowded, pod) = placed[0].clone();
    if placed[1].0 == crowded {
        kubectl.expect(&["cordon", &crowded]);
        kubectl.expect(&["-n", "shop", "delete", "pod", &pod]);
        kubectl.expect(&["-n", "shop", "rollout", "status", "deployment/cart", "--timeout=120s"]);
        kubectl.expect(&["uncordon", &crowded]);
    }
    let placed = replicas(kubectl);
    assert_ne!(placed[0].0, placed[1].0, "{placed:?}");
    (placed[0].0.clone(), placed[1].1.clone())
}

/// Node and name of the two replicas that serve.
fn replicas(kubectl: &Kubectl) -> Vec<(String, String)> {
    let pods = kubectl.json(&["-n", "shop", "get", "pods", "-l", "app=cart"]);
    let text = |value: &Value| value.as_str().expect("a name").to_owned();
    let pods = pods["items"].as_array().expect("a list");
    let serving = pods.iter().filter(|pod| serves(pod));
    let placed: Vec<_> = serving.map(|pod| (text(&pod["spec"]["nodeName"]), text(&pod["metadata"]["name"]))).collect();
    assert_eq!(placed.len(), 2, "{placed:?}");
    placed
}

fn asks_before_a_loss(operator: &Operator, kubectl: &Kubectl, folder: &Path, told: &dyn Fn(&str)) {
    let bare = folder.join("bare.yaml");
    let manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: bare, namespace: shop}\nspec:\n  nodeName: w1\n  \
                    terminationGracePeriodSeconds: 1\n  containers:\n  - {name: bare, image: \"busybox:1.36\", command: [sleep, \"3600\"]}\n";
    std::fs::write(&bare, manifest).expect("a file");
    kubectl.expect(&["apply", "-f", &bare.to_string_lossy()]);
    kubectl.expect(&["-n", "shop", "wait", "pod/bare", "--for=condition=Ready", "--timeout=60s"]);
    let asked = operator.expect(&["node", "drain", "w1", "--yes", "--output", "json"], 6);
    assert!(asked.contains("DRAIN001") && asked.contains("shop/bare"), "{asked}");
    assert!(!is_cordoned(kubectl, "w1"));
    operator.expect(&["node", "drain", "w1", "--yes", "--consent", "DRAIN001"], 0);
    let events = kubectl.expect(&["-n", "shop", "get", "events", "--field-selector", "involvedObject.name=bare"]);
    assert!(events.contains("DrainConsent"), "{events}");
    operator.expect(&["node", "uncordon", "w1", "--yes"], 0);
    told("a bare pod goes only with consent, and leaves an Event");
}

/// Watches the replicas that serve while something else happens.
struct Watched {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<(usize, usize)>,
}

impl Watched {
    fn start(kubectl: Kubectl) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut looks, mut fewest) = (0, usize::MAX);
            while !stopped.load(Ordering::Relaxed) {
                let pods = kubectl.json(&["-n", "shop", "get", "pods", "-l", "app=cart"]);
                let serving = pods["items"].as_array().expect("a list").iter().filter(|pod| serves(pod)).count();
                fewest = fewest.min(serving);
                looks += 1;
                thread::sleep(Duration::from_millis(100));
            }
            (looks, fewest)
        });
        Self { stop, thread }
    }

    fn stop(self) -> (usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the watcher lives")
    }
}

/// As the disruption controller counts.
fn serves(pod: &Value) -> bool {
    let ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    pod["metadata"]["deletionTimestamp"].is_null()
        && pod["status"]["conditions"].as_array().is_some_and(|conditions| conditions.iter().any(ready))
}

fn is_cordoned(kubectl: &Kubectl, node: &str) -> bool {
    kubectl.json(&["get", "node", node])["spec"]["unschedulable"] == true
}

/// Pods on a node that a drain would move.
fn movable(kubectl: &Kubectl, node: &str) -> Vec<String> {
    let pods = kubectl.json(&["get", "pods", "-A", "--field-selector", &format!("spec.nodeName={node}")]);
    let stays = |pod: &Value| {
        let owners = pod["metadata"]["ownerReferences"].as_array();
        !pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_null()
            || owners.is_some_and(|owners| owners.iter().any(|owner| owner["kind"] == "DaemonSet"))
    };
    let pods = pods["items"].as_array().expect("a list");
    pods.iter().filter(|pod| !stays(pod)).map(|pod| pod["metadata"]["name"].to_string()).collect()
}

fn last_line(text: &str) -> Value {
    serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
}
