//! Nodes restarted one after another while what runs on them serves: a client that asks ten times a second, budgets watched
//! at every revision, real restarts, kills in the middle.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::cache::Cache;
use xtask::lab::Lab;

use super::cluster::Kubectl;
use super::operator::{Operator, Watched, does, is_done, records};
use super::upgrade;

/// The NodePort of the front.
const PORT: u16 = 30080;

/// How often the client asks.
const EVERY: Duration = Duration::from_millis(100);

/// How long an answer may take. One that comes later is a failed one: whoever waits on it has noticed.
const PATIENCE: Duration = Duration::from_secs(2);

/// The example with control planes that take workloads, so that five nodes do, and with certificates that end before the next upgrade
/// would be due. One worker at a time: load balancers leave control planes out.
pub fn spec(example: &str) -> String {
    let certificates = "\nspec:\n  certificates: {certificateValidityPeriod: 720h}\n";
    example
        .replace("roles: [controlPlane, etcd]}", "roles: [controlPlane, etcd], taints: []}")
        .replace("\nspec:\n", certificates)
}

/// The scenario, on five bare hosts.
pub fn restarts_nodes_under_load(cache: &Cache, lab: &Lab, file: &Path, version: &str, told: &dyn Fn(&str)) {
    let operator = Operator::new(file);
    operator.expect(&["apply", "--yes"], 0);
    let path = operator.folder().join("lab.kubeconfig");
    operator.expect(&["kubeconfig", "-o", &path.to_string_lossy()], 0);
    let kubectl = Kubectl::new(cache, version, &path);
    told("a cluster whose five nodes take workloads");
    let shop = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/lab/e2e/shop.yaml");
    kubectl.expect(&["apply", "-f", &shop.to_string_lossy()]);
    kubectl.expect(&["-n", "market", "rollout", "status", "deployment/front", "--timeout=180s"]);
    kubectl.expect(&["-n", "market", "rollout", "status", "statefulset/store", "--timeout=180s"]);
    for budget in ["front", "store"] {
        let allowed = "--for=jsonpath={.status.disruptionsAllowed}=1";
        kubectl.expect(&["-n", "market", "wait", &format!("pdb/{budget}"), allowed, "--timeout=60s"]);
    }

    refuses_what_can_never_be(&operator, &kubectl, told);
    let watching = Endless::new(lab, cache, version, &path);
    let client = Client::start(lab, &watching);
    let budgets = Budgets::watch(&watching);
    updates_and_holds_back(&operator, lab, &client, told);
    restarts_all(&operator, lab, &kubectl, &client, told);
    killed_in_the_middle(file, lab, &kubectl, &client, told);
    upgrade::goes_over_under_load(file, lab, &kubectl, told);
    assert!(client.is_well(), "{:?}", client.failed());
    let (asked, failed) = client.stop();
    restarts_two_at_once(file, lab, &kubectl, told);
    let (revisions, violated) = budgets.stop();
    assert_eq!(failed, Vec::<String>::new(), "of {asked} requests");
    assert_eq!(violated, Vec::<String>::new(), "of {revisions} revisions");
    assert!(revisions > 20, "{revisions} revisions of budgets: nobody watched");
    told(&format!("{asked} requests, none failed; budgets whole at each of {revisions} revisions"));
}

/// A budget that wants all it has.
fn refuses_what_can_never_be(operator: &Operator, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    let want = |replicas: u32| {
        let patch = format!(r#"{{"spec":{{"minAvailable":{replicas}}}}}"#);
        kubectl.expect(&["-n", "market", "patch", "pdb/store", "--type=merge", "-p", &patch]);
        let desired = format!("--for=jsonpath={{.status.desiredHealthy}}={replicas}");
        kubectl.expect(&["-n", "market", "wait", "pdb/store", &desired, "--timeout=60s"]);
    };
    want(3);
    let refused = operator.expect(&["node", "maintain", "--all", "--reboot", "--yes", "--output", "json"], 6);
    assert!(refused.contains("PDB001"), "{refused}");
    let nodes = kubectl.json(&["get", "nodes"]);
    let cordoned = nodes["items"].as_array().expect("a list").iter().any(|node| node["spec"]["unschedulable"] == true);
    assert!(!cordoned, "refused before the cordon");
    want(2);
    told("a budget that can never allow it is refused before any cordon");
}

/// Packages of a local source: one to be updated, one of Kubernetes to be held back, one that owns a file of ours.
fn updates_and_holds_back(operator: &Operator, lab: &Lab, client: &Client, told: &dyn Fn(&str)) {
    lab.exec("w1", PACKAGES).expect("packages of version 1, and version 2 in a source");
    let script = operator.folder().join("fix.sh");
    std::fs::write(&script, "#!/bin/sh\necho \"$NODE_NAME was here\" >>/root/here\n").expect("a script");
    let script = script.to_string_lossy().into_owned();
    let text = operator.expect(&["node", "maintain", "w1", "--packages", "--script", &script, "--yes"], 0);
    let versions =
        lab.exec("w1", "dpkg-query --show --showformat '${Package} ${Version}\\n' lab-tool cri-tools lab-owner");
    let versions = versions.expect("dpkg answers");
    let lines: Vec<&str> = versions.lines().collect();
    assert_eq!(lines, ["cri-tools 1", "lab-owner 1", "lab-tool 2"], "{text}");
    let held = lab.exec("w1", "apt-mark showhold").expect("apt answers");
    assert_eq!(held.trim(), "", "holds of ours are gone");
    assert_eq!(lab.exec("w1", "cat /root/here").expect("the script ran").trim(), "w1 was here");
    assert!(client.is_well(), "{:?}", client.failed());
    told("packages: newer where it may be, held back where it is Kubernetes' or owns a file of ours; a script ran");
}

/// Three packages of version 1 installed, version 2 of each in a source of their own, and no other source.
const PACKAGES: &str = r"
set -eu
mkdir -p /srv/source && cd /srv/source
rm -rf work Packages
for package in lab-tool cri-tools lab-owner; do
	for version in 1 2; do
		mkdir -p work/DEBIAN work/usr/share/$package
		echo $version >work/usr/share/$package/version
		printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: lab <lab@example.com>\nDescription: lab\n' $package $version >work/DEBIAN/control
		dpkg-deb --build work ${package}_$version.deb >/dev/null
		rm -rf work
	done
	dpkg -i ${package}_1.deb >/dev/null
	{
		dpkg-deb --field ${package}_2.deb
		echo Filename: ./${package}_2.deb
		echo Size: $(stat -c %s ${package}_2.deb)
		echo SHA256: $(sha256sum ${package}_2.deb | cut -d ' ' -f 1)
		echo
	} >>Packages
done
# As if we had put that file there.
echo /usr/share/lab-owner/version >/var/lib/kubewright/installed/lab-owner
mkdir -p /root/sources && mv -n /etc/apt/sources.list /etc/apt/sources.list.d/* /root/sources/ 2>/dev/null || :
echo 'deb [trusted=yes] file:/srv/source ./' >/etc/apt/sources.list
";

/// Every node in turn.
fn restarts_all(operator: &Operator, lab: &Lab, kubectl: &Kubectl, client: &Client, told: &dyn Fn(&str)) {
    let before = boots(lab);
    let volume = operator.folder().join("volume.yaml");
    std::fs::write(&volume, VOLUME).expect("a manifest");
    kubectl.expect(&["apply", "-f", &volume.to_string_lossy()]);
    let began = Instant::now();
    let text = std::thread::scope(|scope| {
        let detaching = scope.spawn(|| detaches_once_empty(lab, kubectl, "w2", &before["w2"]));
        let text = operator.expect(&["node", "maintain", "--all", "--reboot", "--yes"], 0);
        detaching.join().expect("it was detached");
        text
    });
    let took = began.elapsed();
    let after = boots(lab);
    for (node, boot) in &before {
        assert_ne!(boot, &after[node], "{node} was not restarted\n{text}");
    }
    assert!(text.contains("lab-volume is attached still"), "it says what it waits for\n{text}");
    nothing_is_cordoned(kubectl);
    assert!(client.is_well(), "{:?}\n{text}", client.failed());
    told(&format!("five nodes restarted one after another in {:.0} s, each with another boot id", took.as_secs_f64()));
    told("one of them only once its volume was detached");
}

/// A volume attached to w2, as the API has it; nobody's driver detaches it.
const VOLUME: &str = "
apiVersion: storage.k8s.io/v1
kind: VolumeAttachment
metadata: {name: lab-attachment}
spec: {attacher: lab.example.com, nodeName: w2, source: {persistentVolumeName: lab-volume}}
";

/// As a driver does that takes its time: the volume is there for a while after the last pod that could use it has gone.
fn detaches_once_empty(lab: &Lab, kubectl: &Kubectl, node: &str, boot: &str) {
    // Longer than a restart needs to begin once a node is empty.
    const SLOW: Duration = Duration::from_secs(10);
    let cordoned = "--for=jsonpath={.spec.unschedulable}=true";
    kubectl.expect(&["wait", &format!("node/{node}"), cordoned, "--timeout=300s"]);
    let on_it = format!("--field-selector=spec.nodeName={node}");
    let stays = |pod: &Value| {
        let owner = &pod["metadata"]["ownerReferences"][0]["kind"];
        owner == "DaemonSet" || owner == "Node"
    };
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let pods = kubectl.json(&["get", "pods", "--all-namespaces", &on_it]);
        if pods["items"].as_array().expect("a list").iter().all(stays) {
            break;
        }
        assert!(Instant::now() < deadline, "{node} is not emptied");
        std::thread::sleep(Duration::from_millis(500));
    }
    std::thread::sleep(SLOW);
    let now = lab.exec(node, "cat /proc/sys/kernel/random/boot_id").expect("it was not restarted yet");
    assert_eq!(now, boot, "it was restarted with a volume attached");
    kubectl.expect(&["delete", "volumeattachment", "lab-attachment"]);
}

/// Both workers of a pool that lets them be away together. Nobody asks from outside meanwhile: load balancers would find no node.
fn restarts_two_at_once(file: &Path, lab: &Lab, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    let generous = file.with_file_name("generous.yaml");
    let text = std::fs::read_to_string(file).expect("the spec").replace("maxUnavailable: 1", "maxUnavailable: 2");
    std::fs::write(&generous, text).expect("a spec");
    let before = boots(lab);
    let began = Instant::now();
    let arguments = ["node", "maintain", "w1", "w2", "--reboot", "--yes", "--output", "json"];
    let said = Operator::new(&generous).expect(&arguments, 0);
    let took = began.elapsed();
    assert!(said.contains("MAINT007"), "{said}");
    let events: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let first = |here: &dyn Fn(&Value) -> bool| events.iter().position(here).expect("an event of it");
    for (one, other) in [("w1", "w2"), ("w2", "w1")] {
        // A restart takes three seconds, a drain as long as its pods need: turns overlap, restarts need not.
        let begins = first(&|event| records(event, "stepStarted", &format!("{one}-cordon")));
        let ends = first(&|event| is_done(event, &format!("{other}-workloads")));
        assert!(begins < ends, "{one} waited for {other}");
    }
    let after = boots(lab);
    for (host, boot) in &before {
        assert_eq!(boot != &after[host], host.starts_with('w'), "{host}\n{said}");
    }
    nothing_is_cordoned(kubectl);
    told(&format!("two workers of one pool restarted side by side in {:.0} s", took.as_secs_f64()));
}

/// Killed -9 in the drain, in the restart, before the proof; each time resumed elsewhere.
fn killed_in_the_middle(file: &Path, lab: &Lab, kubectl: &Kubectl, client: &Client, told: &dyn Fn(&str)) {
    let at_once = Duration::ZERO;
    // The machine is on its way down then.
    let middle = Duration::from_millis(700);
    let points: [(&str, &str, Duration, &dyn Fn(&Value) -> bool); 4] = [
        ("inside the drain of w2", "w2", at_once, &|event| does(event, "w2-drain")),
        ("inside the restart of w2", "w2", middle, &|event| does(event, "w2-reboot")),
        ("after the restart of cp2", "cp2", at_once, &|event| is_done(event, "cp2-reboot")),
        ("before the uncordon of cp2", "cp2", at_once, &|event| records(event, "stepStarted", "cp2-uncordon")),
    ];
    for (name, node, after, here) in points {
        let before = boots(lab);
        let operator = Operator::new(file);
        let killed = operator.kill_at(&["node", "reboot", node, "--yes"], after, here);
        assert_eq!(killed, Watched::Killed, "{name}");
        let elsewhere = Operator::new(file);
        let text = elsewhere.expect(&["ops", "resume"], 0);
        let now = boots(lab);
        for (host, boot) in &before {
            assert_eq!(boot != &now[host], host == node, "{name}: {host}\n{text}");
        }
        nothing_is_cordoned(kubectl);
        assert!(client.is_well(), "{name}: {:?}\n{text}", client.failed());
        told(&format!("killed {name}, resumed elsewhere: restarted once, uncordoned"));
    }
}

fn boots(lab: &Lab) -> BTreeMap<String, String> {
    let boot = |host: &str| lab.exec(host, "cat /proc/sys/kernel/random/boot_id").expect("the host answers");
    lab.spec.hosts.iter().map(|host| (host.name.clone(), boot(&host.name))).collect()
}

pub fn nothing_is_cordoned(kubectl: &Kubectl) {
    let nodes = kubectl.json(&["get", "nodes"]);
    for node in nodes["items"].as_array().expect("a list") {
        let name = &node["metadata"]["name"];
        assert_ne!(node["spec"]["unschedulable"], true, "{name}");
        let label = &node["metadata"]["labels"][EXCLUDED];
        // kubeadm's layout puts the label on control planes for good.
        let notes = &node["metadata"]["annotations"]["kubewright.dev/excluded-by"];
        assert!(notes.is_null(), "{name}: {label}");
    }
}

/// A load balancer and its client: asks, ten times a second, a node that is to get traffic from outside. As those of clouds
/// do, the balancer leaves out nodes with the label that says so, and asks kube-proxy's health port of the others.
struct Client {
    stop: Arc<AtomicBool>,
    failed: Arc<Mutex<Vec<String>>>,
    nodes: Follower,
    thread: thread::JoinHandle<usize>,
}

/// kube-proxy's.
const HEALTH: u16 = 10256;

/// Keeps load balancers away.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

impl Client {
    fn start(lab: &Lab, kubectl: &Endless) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let failed = Arc::new(Mutex::new(Vec::new()));
        let balanced: Arc<Mutex<BTreeMap<String, bool>>> = Arc::default();
        let seen = Arc::clone(&balanced);
        let nodes = kubectl.follow(&["get", "nodes"], move |node| {
            let name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let takes = node["metadata"]["labels"][EXCLUDED].is_null();
            seen.lock().unwrap_or_else(PoisonError::into_inner).insert(name, takes);
        });
        let address = |name: &str| lab.host(name).map(|host| SocketAddr::new(host.address.into(), PORT)).ok();
        let hosts: Vec<(String, SocketAddr)> =
            lab.spec.hosts.iter().filter_map(|host| Some((host.name.clone(), address(&host.name)?))).collect();
        let (stopped, failures) = (Arc::clone(&stop), Arc::clone(&failed));
        while balanced.lock().unwrap_or_else(PoisonError::into_inner).len() < hosts.len() {
            thread::sleep(EVERY);
        }
        let thread = thread::spawn(move || {
            let mut asked = 0;
            let fail = |why: String| failures.lock().unwrap_or_else(PoisonError::into_inner).push(why);
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                let takes = balanced.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let healthy = |address: &SocketAddr| {
                    TcpStream::connect_timeout(&SocketAddr::new(address.ip(), HEALTH), EVERY).is_ok()
                };
                let turn = asked % hosts.len();
                let order = hosts[turn..].iter().chain(&hosts[..turn]);
                let open: Vec<_> = order.filter(|(name, _)| takes.get(name) == Some(&true)).collect();
                // Where no node is healthy, balancers ask one all the same: kube-proxy opens its health port a moment after
                // it has started, and a new version of it starts on one node after another.
                match open.iter().find(|(_, address)| healthy(address)).or(open.first()) {
                    Some((name, address)) => {
                        if let Err(why) = ask(address) {
                            let (now, after) = (jiff::Zoned::now().strftime("%H:%M:%S%.3f"), began.elapsed());
                            fail(format!("request {asked} to {name} at {now}: {why} after {after:?}"));
                        }
                    }
                    None => fail(format!("request {asked}: no node takes any, {takes:?}")),
                }
                asked += 1;
                thread::sleep(EVERY.saturating_sub(began.elapsed()));
            }
            asked
        });
        Self { stop, failed, nodes, thread }
    }

    fn failed(&self) -> Vec<String> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_well(&self) -> bool {
        self.failed().is_empty()
    }

    /// How many requests, and those that failed.
    fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let asked = self.thread.join().expect("the client lives");
        self.nodes.stop();
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (asked, failed)
    }
}

fn ask(address: &SocketAddr) -> Result<(), String> {
    let words = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(address, PATIENCE).map_err(words)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(words)?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").map_err(words)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(words)?;
    if answer.contains("served") { Ok(()) } else { Err(format!("{answer:?}")) }
}

/// Every revision of every budget.
struct Budgets {
    seen: Arc<Mutex<(usize, Vec<String>)>>,
    follower: Follower,
}

impl Budgets {
    fn watch(kubectl: &Endless) -> Self {
        let seen: Arc<Mutex<(usize, Vec<String>)>> = Arc::default();
        let kept = Arc::clone(&seen);
        let follower = kubectl.follow(&["-n", "market", "get", "pdb"], move |budget| {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.0 += 1;
            let status = &budget["status"];
            let number = |key: &str| status[key].as_i64().unwrap_or_default();
            if number("currentHealthy") < number("desiredHealthy") {
                kept.1.push(format!("{}: {status}", budget["metadata"]["name"]));
            }
        });
        Self { seen, follower }
    }

    /// How many revisions, and those in which less served than had to.
    fn stop(self) -> (usize, Vec<String>) {
        self.follower.stop();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// kubectl that watches, at the next API server whenever one ends.
struct Endless {
    program: PathBuf,
    kubeconfig: PathBuf,
    servers: Vec<String>,
}

/// One watch of [`Endless`].
struct Follower {
    stop: Arc<AtomicBool>,
    child: Arc<Mutex<Option<Child>>>,
    thread: thread::JoinHandle<()>,
}

impl Endless {
    fn new(lab: &Lab, cache: &Cache, version: &str, kubeconfig: &Path) -> Self {
        let hosts = ["cp1", "cp2", "cp3"].iter().filter_map(|name| lab.host(name).ok());
        Self {
            program: cache.mirror().join(format!("dl.k8s.io/release/v{version}/bin/linux/amd64/kubectl")),
            kubeconfig: kubeconfig.to_owned(),
            servers: hosts.map(|host| format!("https://{}:6443", host.address)).collect(),
        }
    }

    fn follow(&self, arguments: &[&str], mut each: impl FnMut(&Value) + Send + 'static) -> Follower {
        let stop = Arc::new(AtomicBool::new(false));
        let child: Arc<Mutex<Option<Child>>> = Arc::default();
        let (stopped, current) = (Arc::clone(&stop), Arc::clone(&child));
        let (program, kubeconfig, servers) = (self.program.clone(), self.kubeconfig.clone(), self.servers.clone());
        let arguments: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let thread = thread::spawn(move || {
            for server in servers.iter().cycle() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let mut command = Command::new(&program);
                command.arg("--kubeconfig").arg(&kubeconfig).args(["--server", server.as_str()]).args(&arguments);
                command.args(["--watch", "--output", "json"]).stdout(Stdio::piped()).stderr(Stdio::null());
                let mut watch = command.spawn().expect("kubectl starts");
                let stdout = watch.stdout.take().expect("a pipe");
                if stopped.load(Ordering::Relaxed) {
                    let _ = watch.kill();
                }
                *current.lock().unwrap_or_else(PoisonError::into_inner) = Some(watch);
                let objects = serde_json::Deserializer::from_reader(BufReader::new(stdout)).into_iter::<Value>();
                objects.map_while(Result::ok).for_each(|object| each(&object));
                if let Some(mut ended) = current.lock().unwrap_or_else(PoisonError::into_inner).take() {
                    let _ = ended.wait();
                }
                // That API server restarts: the next one.
                thread::sleep(EVERY);
            }
        });
        Follower { stop, child, thread }
    }
}

impl Follower {
    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let _ = child.kill();
        }
        self.thread.join().expect("the watcher lives");
    }
}
