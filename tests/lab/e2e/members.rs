//! Members of the running cluster's etcd: all restarted, one whose disk is lost replaced, one taken out and brought back, with kills in the
//! middle, while a client writes. No write is lost, and the cluster is left as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use etcd_client::{Client, DeleteOptions, GetOptions};
use serde_json::Value;
use xtask::lab::Lab;

use super::copies::{client, codes, member, members, status, until, until_well};
use super::operator::{Operator, Watched, does};

const CONTROL_PLANES: [&str; 3] = ["cp1", "cp2", "cp3"];

/// Keys that nobody else has.
const PREFIX: &str = "/kubewright-lab/writes/";

/// How long nothing may be written. A hand-over costs a tenth of a second, an election after a lost member one or two; the machine
/// is busy besides.
const HANGS: Duration = Duration::from_secs(10);

/// The scenario, on a cluster that is well.
pub fn are_restarted_and_replaced(lab: &Lab, operator: &Operator, spec: &Path, told: &dyn Fn(&str)) {
    let writer = Writer::start(lab);
    restarted(lab, spec, told);
    let status = status(operator, 0);
    let follower = members(&status).iter().rfind(|member| member["leads"] == false).expect("a follower");
    let host = follower["host"].as_str().expect("its host").to_owned();
    replaced(lab, operator, &host, told);
    replaced_while_well(operator, spec, &host, told);
    taken_out_and_brought_back(lab, operator, &host, told);
    let (confirmed, gap) = writer.stop();
    assert!(confirmed.len() > 100, "only {} writes", confirmed.len());
    assert!(gap < HANGS, "nothing was written for {gap:?}");
    holds(lab, &confirmed);
    let (writes, longest) = (confirmed.len(), gap.as_secs_f64());
    told(&format!("{writes} writes meanwhile, none lost on any member, {longest:.1} s between two at most"));
}

/// Each once, in spite of a kill; nothing else on the hosts.
fn restarted(lab: &Lab, spec: &Path, told: &dyn Fn(&str)) {
    let (etcds, others) = (attempts(lab), proxies(lab));
    let killed =
        Operator::new(spec).kill_at(&["etcd", "restart", "--yes"], Duration::ZERO, |event| does(event, "-restart"));
    assert_eq!(killed, Watched::Killed);
    let elsewhere = Operator::new(spec);
    let text = elsewhere.expect(&["ops", "resume"], 0);
    until_well(&elsewhere);
    for (host, attempt) in attempts(lab) {
        assert_eq!(attempt, etcds[&host] + 1, "{host}: its etcd restarted once\n{text}");
    }
    assert_eq!(proxies(lab), others, "other pods go on");
    told("etcd restarted on three control planes, in spite of a kill, each once");
}

/// The disk of a follower is lost.
fn replaced(lab: &Lab, operator: &Operator, host: &str, told: &dyn Fn(&str)) {
    let before = status(operator, 0);
    let others = proxies(lab);
    lab.exec(host, "rm -rf /var/lib/etcd/member; pkill -KILL -x etcd").expect("etcd ran");
    until(operator, "down", |status| {
        member(status, host)["standing"].as_str().is_some_and(|words| words.starts_with("does not run"))
    });
    let began = Instant::now();
    let text = operator.expect(&["etcd", "member", "replace", host, "--yes"], 0);
    let took = began.elapsed();
    until_well(operator);
    is_another(operator, &before, host);
    assert_eq!(proxies(lab), others, "other pods go on\n{text}");
    let kept = lab.exec(host, "ls /var/lib/kubewright/aside/*/").expect("manifests are kept");
    assert!(kept.contains("etcd.yaml") && kept.contains("kube-apiserver.yaml"), "{kept}");
    let state =
        lab.exec(host, "grep -o 'initial-cluster-state=.*' /etc/kubernetes/manifests/etcd.yaml").expect("a manifest");
    assert_eq!(state.trim(), "initial-cluster-state=existing");
    told(&format!("the disk of etcd on {host} was lost; its member was replaced in {:.0} s", took.as_secs_f64()));
}

/// Nothing is wrong with it: it takes a consent, and the run survives a kill between the old member and the new one.
fn replaced_while_well(operator: &Operator, spec: &Path, host: &str, told: &dyn Fn(&str)) {
    let before = status(operator, 0);
    let refused = operator.expect(&["etcd", "member", "replace", host, "--yes", "--output", "json"], 6);
    assert!(refused.contains("VOTER006"), "{refused}");
    let arguments = ["etcd", "member", "replace", host, "--yes", "--consent", "VOTER006"];
    let killed = Operator::new(spec).kill_at(&arguments, Duration::ZERO, |event| does(event, &format!("{host}-etcd")));
    assert_eq!(killed, Watched::Killed);
    let elsewhere = Operator::new(spec);
    elsewhere.expect(&["ops", "resume"], 0);
    until_well(&elsewhere);
    is_another(operator, &before, host);
    told(&format!("{host} was replaced once more, killed as its learner started and resumed elsewhere"));
}

fn taken_out_and_brought_back(lab: &Lab, operator: &Operator, host: &str, told: &dyn Fn(&str)) {
    let before = status(operator, 0);
    let refused = operator.expect(&["etcd", "member", "remove", host, "--yes", "--output", "json"], 6);
    assert!(refused.contains("VOTER009"), "{refused}");
    let text = operator.expect(&["etcd", "member", "remove", host, "--yes", "--consent", "VOTER009"], 0);
    assert!(text.contains(&format!("kubewright etcd member add {host}")), "{text}");
    let without = until(operator, "two", |status| status["well"] == 2 && members(status).len() == 2);
    assert!(codes(&without).contains(&"MEMB011"), "{without:#}");
    let runs = lab.exec(host, "pgrep -x etcd || pgrep -x kube-apiserver || echo none").expect("the host answers");
    assert_eq!(runs.trim(), "none", "nothing is left that has no etcd");
    operator.expect(&["etcd", "member", "add", host, "--yes"], 0);
    until_well(operator);
    is_another(operator, &before, host);
    operator.expect(&["etcd", "member", "add", host, "--yes"], 3);
    told(&format!("{host} was taken out of etcd and brought back"));
}

/// Three voters, the one on this host with another identity.
fn is_another(operator: &Operator, before: &Value, host: &str) {
    let now = status(operator, 0);
    assert_eq!((members(&now).len(), &now["well"]), (3, &3.into()), "{now:#}");
    assert_ne!(member(&now, host)["id"], member(before, host)["id"], "{now:#}");
    assert_eq!(member(&now, host)["contents"], "agree", "{now:#}");
}

/// How often the kubelet has started etcd in its pod, by host.
fn attempts(lab: &Lab) -> BTreeMap<String, u64> {
    let attempt = |host: &str| {
        let text = lab.exec(host, "crictl ps --name '^etcd$' --output json 2>/dev/null").expect("crictl answers");
        let list: Value = serde_json::from_str(&text).expect("JSON");
        let containers = list["containers"].as_array().expect("a list");
        assert_eq!(containers.len(), 1, "{host}: {list:#}");
        containers[0]["metadata"]["attempt"].as_u64().unwrap_or_default()
    };
    CONTROL_PLANES.into_iter().map(|host| (host.to_owned(), attempt(host))).collect()
}

/// The containers of kube-proxy, by host: they have nothing to do with etcd's restart.
fn proxies(lab: &Lab) -> BTreeMap<String, String> {
    let id =
        |host: &str| lab.exec(host, "crictl ps --name '^kube-proxy$' --quiet 2>/dev/null").expect("crictl answers");
    CONTROL_PLANES.into_iter().map(|host| (host.to_owned(), id(host))).collect()
}

/// Whether every member has all that was confirmed; then it goes.
fn holds(lab: &Lab, confirmed: &BTreeSet<String>) {
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        for host in CONTROL_PLANES {
            let mut client = client(lab, host).await;
            let options = GetOptions::new().with_prefix().with_keys_only();
            let found = client.get(PREFIX, Some(options)).await.expect("etcd answers");
            let keys: BTreeSet<String> =
                found.kvs().iter().map(|pair| pair.key_str().expect("text").to_owned()).collect();
            let lost: Vec<&String> = confirmed.difference(&keys).collect();
            assert!(lost.is_empty(), "{host} lost {lost:?} of {}", confirmed.len());
        }
        let mut client = client(lab, "cp1").await;
        client.delete(PREFIX, Some(DeleteOptions::new().with_prefix())).await.expect("etcd answers");
    });
}

/// A client that writes through whichever member takes it.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<(BTreeSet<String>, Duration)>,
}

impl Writer {
    fn start(lab: &Lab) -> Self {
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let clients = runtime.block_on(async {
            let mut clients = Vec::new();
            for host in CONTROL_PLANES {
                clients.push(client(lab, host).await);
            }
            clients
        });
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || runtime.block_on(write(clients, &stopped)));
        Self { stop, thread }
    }

    /// The keys whose writing was confirmed, and the longest time between two of them.
    fn stop(self) -> (BTreeSet<String>, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the writer lives")
    }
}

async fn write(mut clients: Vec<Client>, stop: &AtomicBool) -> (BTreeSet<String>, Duration) {
    let (mut confirmed, mut longest, mut last) = (BTreeSet::new(), Duration::ZERO, Instant::now());
    let mut turn = 0;
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("{PREFIX}{count:08}");
        let put = clients[turn].put(key.clone(), "x", None);
        match tokio::time::timeout(Duration::from_secs(1), put).await {
            Ok(Ok(_)) => {
                confirmed.insert(key);
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            // That one is away; the next write goes to another.
            Ok(Err(_)) | Err(_) => turn = (turn + 1) % clients.len(),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (confirmed, longest.max(last.elapsed()))
}
