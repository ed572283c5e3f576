//! The scenarios. Few test functions: what does not disturb each other shares one lab, and each says what it found.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kubewright::host::ssh::{SshHosts, SshTarget};
use kubewright_core::spec::Ssh;
use secrecy::SecretString;
use serde_json::Value;
use xtask::cache::Cache;
use xtask::cluster::{self as example, forget_pins, reached};
use xtask::lab::{self, Lab, LabSpec};

use super::cluster::Kubectl;
use super::contract;
use super::converge;
use super::copies;
use super::drain;
use super::etcd;
use super::maintain;
use super::members;
use super::operator::{Operator, Watched, does, is_done, records};
use super::{parity, preflight, projection, restore, topology, upgrade, wizard};

pub const VERSION: &str = "1.35.4";

/// What a run came to, without what is made anew each time.
#[derive(Debug, PartialEq)]
struct Projection {
    files: BTreeMap<String, BTreeMap<String, String>>,
    objects: BTreeMap<String, Value>,
    nodes: BTreeMap<String, Value>,
}

/// The demo's lab with these hosts.
fn lab_of(hosts: &[&str]) -> LabSpec {
    let lab = LabSpec::new(lab::DEFAULT_NAME, lab::DEFAULT_SUBNET);
    lab.and_then(|lab| lab.with_hosts(hosts.iter().copied())).expect("room for the hosts")
}

struct Bench {
    cache: Cache,
    lab: Lab,
    spec: PathBuf,
}

/// Tells what a scenario has come to, with the time since it began.
fn clock() -> impl Fn(&str) {
    let began = Instant::now();
    move |what| println!("  lab {:>5.1} s  {what}", began.elapsed().as_secs_f64())
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Bench {
    /// The demo's lab, bare, and the demo's spec pointed at its ssh configuration.
    fn raise() -> Self {
        Self::raise_with(&[], &lab::DEFAULT_HOSTS)
    }

    /// The same with other hosts, and Kubernetes of these versions beside the usual one.
    fn raise_with(versions: &[String], hosts: &[&str]) -> Self {
        let cache = Cache::open().expect("a cache folder");
        lab::preflight::check().expect("this machine can host a lab");
        lab::prepare(&cache, versions).expect("artefacts");
        let lab = Lab::raise(&cache, &lab_of(hosts)).expect("a lab");
        let spec = cache.root().join("lab/e2e.yaml");
        std::fs::write(&spec, reached(&lab).expect("the example")).expect("a spec");
        forget_pins(&spec).expect("no lock file");
        Self { cache, lab, spec }
    }

    fn kubectl(&self, operator: &Operator) -> Kubectl {
        let path = operator.folder().join("lab.kubeconfig");
        operator.expect(&["kubeconfig", "-o", &path.to_string_lossy()], 0);
        let mode = std::fs::metadata(&path).expect("a kubeconfig").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        Kubectl::new(&self.cache, VERSION, &path)
    }

    fn project(&self, kubectl: &Kubectl) -> Projection {
        let hosts = self.lab.spec.hosts.iter();
        Projection {
            files: hosts.map(|host| (host.name.clone(), projection::files(&self.lab, &host.name))).collect(),
            objects: projection::objects(kubectl),
            nodes: projection::nodes(kubectl),
        }
    }
}

#[test]
fn a_real_cluster_is_built_and_survives_every_kill() {
    let told = clock();

    let bench = Bench::raise();
    told("five bare hosts are up");
    preflight::tells_everything_at_once(&bench.lab, &bench.spec, &told);
    let undisturbed = builds_in_one_go(&bench, &told);
    drop(bench);

    let bench = Bench::raise();
    told("five bare hosts are up again");
    let disturbed = killed_ten_times(&bench, &told);
    same(&undisturbed, &disturbed);
    told("files, objects and nodes are those of the run that nobody disturbed");
    bench.lab.down().expect("the lab goes");
}

#[test]
fn a_cluster_grows_changes_and_goes() {
    let told = clock();

    let bench = Bench::raise();
    told("five bare hosts are up once more");
    let whole = std::fs::read_to_string(&bench.spec).expect("the spec");
    converge::grows_changes_and_goes(&bench.cache, &bench.lab, whole, &told);
    bench.lab.down().expect("the lab goes");
}

#[test]
fn five_control_planes_stand_behind_one_address() {
    let told = clock();

    let bench = Bench::raise_with(&[], &topology::HOSTS);
    told("five other bare hosts are up");
    let example = std::fs::read_to_string(&bench.spec).expect("the spec");
    let file = bench.spec.with_file_name("topology.yaml");
    let manifest = repository().join("tests/lab/demo/hello.yaml");
    topology::five_behind_an_address(&bench.cache, &bench.lab, &example, &file, &manifest, &told);
    bench.lab.down().expect("the lab goes");
}

#[test]
fn nodes_are_restarted_and_upgraded_while_they_serve() {
    let told = clock();

    let versions = [VERSION, upgrade::VERSION].map(str::to_owned);
    let bench = Bench::raise_with(&versions, &lab::DEFAULT_HOSTS);
    told("five bare hosts are up");
    let example = std::fs::read_to_string(&bench.spec).expect("the spec");
    let file = bench.spec.with_file_name("maintain.yaml");
    std::fs::write(&file, maintain::spec(&example)).expect("a spec");
    forget_pins(&file).expect("no lock file");
    maintain::restarts_nodes_under_load(&bench.cache, &bench.lab, &file, VERSION, &told);
    bench.lab.down().expect("the lab goes");
}

#[test]
fn the_wizard_leads_to_a_finished_upgrade() {
    let told = clock();

    let versions = [VERSION, upgrade::VERSION].map(str::to_owned);
    let bench = Bench::raise_with(&versions, &wizard::HOSTS);
    told("two bare hosts are up");
    let file = bench.spec.with_file_name("wizard.yaml");
    std::fs::write(&file, example::spec(&bench.lab).expect("the example")).expect("a spec");
    forget_pins(&file).expect("no lock file");
    wizard::leads_to_a_finished_upgrade(&file, |operator| bench.kubectl(operator), &told);
    bench.lab.down().expect("the lab goes");
}

/// `KUBEWRIGHT_PARITY_VERSION` names another version than the one that the lab serves anyway.
#[test]
fn what_kubeadm_makes_is_made() {
    let told = clock();
    let version = std::env::var("KUBEWRIGHT_PARITY_VERSION").unwrap_or_else(|_| VERSION.to_owned());

    let bench = Bench::raise_with(std::slice::from_ref(&version), &[parity::HOST]);
    told("one bare host is up");
    let file = bench.spec.with_file_name("parity.yaml");
    parity::same_objects_and_files(&bench.cache, &bench.lab, &version, &file, &told);
    bench.lab.down().expect("the lab goes");
}

fn builds_in_one_go(bench: &Bench, told: &dyn Fn(&str)) -> Projection {
    let operator = Operator::new(&bench.spec);
    operator.expect(&["plan"], 4);
    let plan = operator.expect(&["apply", "--yes"], 0);
    assert!(plan.contains("bootstrap Kubernetes 1.35.4 on 5 hosts"), "{plan}");
    assert!(bench.spec.with_extension("lock.yaml").exists(), "what was installed is pinned");
    told("apply built the cluster");

    let kubectl = bench.kubectl(&operator);
    let nodes = kubectl.json(&["get", "nodes"]);
    let ready = |node: &Value| {
        let conditions = node["status"]["conditions"].as_array().expect("conditions");
        conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    let nodes = nodes["items"].as_array().expect("a list");
    assert_eq!(nodes.len(), 5);
    assert!(nodes.iter().all(ready));
    told("kubectl sees five nodes Ready");

    let answers = kubectl.hello(&repository().join("tests/lab/demo/hello.yaml"));
    let askers: Vec<&str> = answers.iter().map(|(node, _)| node.as_str()).collect();
    assert!(askers.contains(&"w1") && askers.contains(&"w2"), "{answers:?}");
    assert!(answers.iter().all(|(_, answer)| answer.starts_with("hello from w")), "{answers:?}");
    told("pods on both workers reach a Service by its DNS name");

    let again = Instant::now();
    let nothing = operator.expect(&["apply", "--yes"], 3);
    assert!(nothing.contains("nothing to do"), "{nothing}");
    told(&format!("apply on the finished cluster does nothing, in {:.1} s", again.elapsed().as_secs_f64()));
    let status = operator.expect(&["status", "--output", "json"], 0);
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["version"], "1.35.4");
    assert_eq!(status["members"].as_array().map(Vec::len), Some(3));

    drain::moves_pods_and_keeps_budgets(&bench.spec, &kubectl, operator.folder(), told);

    keeps_no_secrets(bench, &operator);
    told("no key is left in plans, journals, units or copies");
    let projection = bench.project(&kubectl);
    etcd::is_asked_and_changed(&bench.lab, told);
    copies::are_told_and_taken(&bench.cache, &bench.lab, &operator, &kubectl, told);
    members::are_restarted_and_replaced(&bench.lab, &operator, &bench.spec, told);
    restore::goes_back_and_forth(&bench.lab, &operator, &kubectl, told);
    keeps_the_contract(bench, told);
    projection
}

/// Units, fence, files, mirror and facts on a real host, as root and as users with sudo, with and without a password.
fn keeps_the_contract(bench: &Bench, told: &dyn Fn(&str)) {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    for (user, password) in [("root", None), ("ops", None), ("opspw", Some("lab"))] {
        let host = bench.lab.host("w2").expect("a worker");
        let ssh = Ssh {
            user: Some(user.to_owned()),
            config_file: Some(bench.lab.ssh_config.to_string_lossy().into_owned()),
            ..Ssh::default()
        };
        let target = SshTarget {
            name: "w2".into(),
            address: host.address.to_string(),
            ssh,
            sudo_password: password.map(SecretString::from),
        };
        let hosts = SshHosts::new([target]).expect("a folder for sockets");
        runtime.block_on(contract::kept(&hosts, "w2", "c0ffee"));
        told(&format!("units, fence, files, mirror and facts are as promised for {user}"));
    }
}

/// No key may stand in what an operation keeps, here or on the hosts, and its copies of keys are gone.
fn keeps_no_secrets(bench: &Bench, operator: &Operator) {
    for folder in operator.operations() {
        for file in ["plan.json", "facts.json", "journal.jsonl"] {
            let text = std::fs::read_to_string(folder.join(file)).expect("a file of the operation");
            assert!(!text.contains("PRIVATE KEY") && !text.contains("client-key-data"), "{file} holds a key");
        }
    }
    let secrets = operator.folder().join("kubewright/secrets");
    let left: Vec<_> = std::fs::read_dir(secrets).map(|entries| entries.flatten().collect()).unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
    for host in &bench.lab.spec.hosts {
        let search = "grep -rlE 'PRIVATE KEY|client-key-data' /var/lib/kubewright || true";
        let found = bench.lab.exec(&host.name, search).expect("the host answers");
        assert_eq!(found.trim(), "", "{} keeps keys", host.name);
    }
}

/// Before, inside and after three effects, and with nothing left to do but to prove it: a host's preparation, a control
/// plane's files, etcd's first start. Each waits for the one before it, so that every point is met once. Each time the run goes on elsewhere: a new state folder, nothing
/// but the spec and the control planes' mirror.
fn killed_ten_times(bench: &Bench, told: &dyn Fn(&str)) -> Projection {
    /// Into the middle of writing some forty files, which takes 0.1 to 0.5 s.
    const MIDDLE: Duration = Duration::from_millis(60);
    let at_once = Duration::ZERO;
    let points: [(&str, Duration, &dyn Fn(&Value) -> bool); 10] = [
        ("before the preparation of cp2", at_once, &|event| event["record"]["type"] == "takenUp"),
        ("inside the preparation of cp2", at_once, &|event| does(event, "cp2-prepare")),
        ("after the preparation of cp2", at_once, &|event| is_done(event, "cp2-prepare")),
        ("before the files of cp2", at_once, &|event| records(event, "stepStarted", "cp2-files")),
        ("inside the files of cp2", MIDDLE, &|event| records(event, "stepStarted", "cp2-files")),
        ("after the files of cp2", at_once, &|event| is_done(event, "cp2-files")),
        ("before etcd's first start", at_once, &|event| records(event, "stepStarted", "cp1-start")),
        ("inside etcd's first start", at_once, &|event| does(event, "cp1-start")),
        ("after etcd's first start", at_once, &|event| is_done(event, "cp1-start")),
        ("before the proof of the whole", at_once, &|event| records(event, "stepStarted", "cluster-prove")),
    ];
    let mut begun = false;
    for (name, after, here) in points {
        let operator = Operator::new(&bench.spec);
        let arguments: &[&str] = if begun { &["ops", "resume"] } else { &["apply", "--yes"] };
        let watched = operator.kill_at(arguments, after, here);
        assert_eq!(watched, Watched::Killed, "{name}");
        told(&format!("killed {name}, going on elsewhere"));
        begun = true;
    }
    let operator = Operator::new(&bench.spec);
    let last = operator.run(&["ops", "resume"]);
    let text = String::from_utf8_lossy(&last.stdout).into_owned() + &String::from_utf8_lossy(&last.stderr);
    assert!(last.status.success(), "{text}");
    told("the last resume finished it");
    let kubectl = bench.kubectl(&operator);
    bench.project(&kubectl)
}

fn same(one: &Projection, other: &Projection) {
    assert_eq!(one.files.keys().collect::<Vec<_>>(), other.files.keys().collect::<Vec<_>>());
    for (host, files) in &one.files {
        for path in files.keys().chain(other.files[host].keys()) {
            assert_eq!(files.get(path), other.files[host].get(path), "{host}: {path}");
        }
    }
    for key in one.objects.keys().chain(other.objects.keys()) {
        assert_eq!(one.objects.get(key), other.objects.get(key), "{key}");
    }
    assert_eq!(one.nodes, other.nodes);
}
