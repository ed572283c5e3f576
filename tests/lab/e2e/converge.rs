//! A cluster that grows, changes and goes: one control plane and a worker first, the rest added, labels changed, a host
//! installed anew, kills in the middle, and in the end bare hosts again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use xtask::cache::Cache;
use xtask::cluster::forget_pins;
use xtask::lab::Lab;

use super::cluster::Kubectl;
use super::kubeadm;
use super::operator::{Operator, Watched, does, is_done, records};

const VERSION: &str = "1.35.4";

/// A spec that is written anew as the cluster changes.
struct File {
    whole: String,
    path: PathBuf,
}

impl File {
    /// The hosts of the whole spec that are named, and these texts in place of others.
    fn write(&self, hosts: &[&str], instead: &[(&str, &str)]) {
        let is_other_host = |line: &&str| {
            line.trim_start().starts_with("- {name:")
                && !hosts.iter().any(|host| line.contains(&format!("name: {host},")))
        };
        let mut text: String =
            self.whole.lines().filter(|line| !is_other_host(line)).map(|line| format!("{line}\n")).collect();
        for (old, new) in instead {
            assert!(text.contains(old), "the example has no `{old}`");
            text = text.replace(old, new);
        }
        std::fs::write(&self.path, text).expect("a spec");
    }
}

/// The scenario, on bare hosts; it leaves them bare.
pub fn grows_changes_and_goes(cache: &Cache, lab: &Lab, whole: String, told: &dyn Fn(&str)) {
    let file = File { whole, path: cache.root().join("lab/converge.yaml") };
    forget_pins(&file.path).expect("no lock file");
    let operator = Operator::new(&file.path);
    let found: BTreeMap<&str, Traces> = ["cp1", "w1"].map(|host| (host, Traces::of(lab, host))).into();

    file.write(&["cp1", "w1"], &[]);
    operator.expect(&["pin"], 0);
    operator.expect(&["apply", "--yes"], 0);
    let path = operator.folder().join("lab.kubeconfig");
    operator.expect(&["kubeconfig", "-o", &path.to_string_lossy()], 0);
    let kubectl = Kubectl::new(cache, VERSION, &path);
    told("one control plane and one worker");

    // A worker more, and another label on the one that is there.
    let pool = [("labels: {tier: general}", "labels: {tier: front}")];
    file.write(&["cp1", "w1", "w2"], &pool);
    let plan = operator.expect(&["plan", "--steps"], 4);
    assert!(plan.contains("w2-start") && plan.contains("w1-mark"), "{plan}");
    assert!(!plan.contains("cp1-") && !plan.contains("w1-start") && !plan.contains("w1-files"), "{plan}");
    operator.expect(&["apply", "--yes"], 0);
    assert_eq!(ready(&kubectl), BTreeSet::from(["cp1", "w1", "w2"].map(str::to_owned)));
    for node in ["w1", "w2"] {
        assert_eq!(label(&kubectl, node, "tier").as_deref(), Some("front"), "{node}");
    }
    operator.expect(&["apply", "--yes"], 3);
    told("a worker was the only thing added; the other one's label changed");

    // What we put there goes, what somebody else put there stays.
    kubectl.expect(&["label", "node", "w1", "theirs=yes"]);
    file.write(&["cp1", "w1", "w2"], &[("labels: {tier: general}", "labels: {}")]);
    operator.expect(&["apply", "--yes"], 0);
    assert_eq!(label(&kubectl, "w1", "tier"), None);
    assert_eq!(label(&kubectl, "w1", "theirs").as_deref(), Some("yes"));
    told("a label that left the spec left the nodes; somebody else's stayed");
    given_up(&file, &kubectl, told);

    two_more_control_planes(&file, lab, &kubectl, told);

    // The disk of a worker and, worse, of a control plane with an etcd member.
    for host in ["w2", "cp3"] {
        lab.reinstall(cache, host).expect("the host comes back bare");
    }
    for host in ["w2", "cp3"] {
        wait_not_ready(&kubectl, host);
    }
    operator.expect(&["node", "add", "w2", "--yes"], 0);
    assert!(ready(&kubectl).contains("w2") && !ready(&kubectl).contains("cp3"));
    operator.expect(&["apply", "--yes"], 0);
    let all = BTreeSet::from(["cp1", "cp2", "cp3", "w1", "w2"].map(str::to_owned));
    assert_eq!(ready(&kubectl), all);
    assert_eq!(voters(lab, "cp1"), BTreeSet::from(["cp1", "cp2", "cp3"].map(str::to_owned)));
    told("a worker and a control plane that were installed anew are back under their names");

    kubeadm::is_at_home(lab, &kubectl, VERSION, "w2", told);
    leaves_one_after_the_other(&file, lab, &kubectl, &operator, told);

    operator.expect(&["reset"], 2);
    operator.expect(&["reset", "--confirm", "other"], 2);
    operator.expect(&["reset", "--confirm", "lab"], 0);
    for (host, before) in &found {
        let left = Traces::of(lab, host).beyond(before);
        assert!(left.is_empty(), "{host} keeps {left:#?}");
    }
    operator.expect(&["reset", "--confirm", "lab"], 3);
    told("reset left the hosts as they were found");
}

/// A run that was killed and is not wanted any more.
fn given_up(file: &File, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    file.write(&["cp1", "w1", "w2"], &[("labels: {tier: general}", "labels: {tier: wrong}")]);
    let operator = Operator::new(&file.path);
    let begun = |event: &Value| records(event, "stepStarted", "w1-mark");
    assert_eq!(operator.kill_at(&["apply", "--yes"], Duration::ZERO, begun), Watched::Killed);
    let listed = operator.expect_bare(&["ops", "list"], 0);
    let id = listed.lines().find_map(|line| line.split_whitespace().find(|word| word.len() == 6 && is_hex(word)));
    let id = id.unwrap_or_else(|| panic!("no operation in {listed}"));
    assert!(operator.expect_bare(&["ops", "show", id], 0).contains("w1-mark"));
    operator.expect(&["ops", "abandon", "--yes"], 0);
    file.write(&["cp1", "w1", "w2"], &[("labels: {tier: general}", "labels: {}")]);
    let again = Operator::new(&file.path).run(&["apply", "--yes"]);
    // Whether the label was written before the kill is chance.
    assert!(matches!(again.status.code(), Some(0 | 3)), "{}", String::from_utf8_lossy(&again.stderr));
    assert_eq!(label(kubectl, "w1", "tier"), None);
    told("a run that was killed was given up, and the next one made it right");
}

fn is_hex(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_hexdigit())
}

/// Two control planes join a cluster of one; the run is killed as a learner was added, and inside its start.
fn two_more_control_planes(file: &File, lab: &Lab, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    file.write(&["cp1", "cp2", "cp3", "w1", "w2"], &[("labels: {tier: general}", "labels: {}")]);
    let at_once = Duration::ZERO;
    let points: [(&str, &[&str], &dyn Fn(&Value) -> bool); 4] = [
        ("as the keys of the new ones were made", &["apply", "--yes"], &|event| is_done(event, "here-keys")),
        ("as cp2 was added to etcd", &["ops", "resume"], &|event| records(event, "stepStarted", "cp2-member")),
        ("inside the start of cp2's etcd", &["ops", "resume"], &|event| does(event, "cp2-etcd")),
        ("as cp3 got its vote", &["ops", "resume"], &|event| records(event, "stepStarted", "cp3-promote")),
    ];
    for (name, arguments, here) in points {
        // Each time from another machine, which has nothing but the spec and the control planes' mirror.
        let watched = Operator::new(&file.path).kill_at(arguments, at_once, here);
        assert_eq!(watched, Watched::Killed, "{name}");
    }
    let operator = Operator::new(&file.path);
    operator.expect(&["ops", "resume"], 0);
    assert_eq!(voters(lab, "cp1"), BTreeSet::from(["cp1", "cp2", "cp3"].map(str::to_owned)));
    assert_eq!(ready(kubectl).len(), 5);
    let proxies =
        lab.exec("w1", "grep -c '^ *server cp' /etc/kubernetes/kube-apiserver-proxy/haproxy.cfg").expect("w1");
    assert_eq!(proxies.trim(), "3", "the workers' proxies know all three");
    operator.expect(&["apply", "--yes"], 3);
    told("two control planes joined one, in spite of four kills");
}

/// A control plane, then a worker that the file does not even name any more.
fn leaves_one_after_the_other(file: &File, lab: &Lab, kubectl: &Kubectl, operator: &Operator, told: &dyn Fn(&str)) {
    operator.expect(&["node", "remove", "cp3", "--yes"], 0);
    assert_eq!(voters(lab, "cp1"), BTreeSet::from(["cp1", "cp2"].map(str::to_owned)));
    file.write(&["cp1", "cp2", "w1"], &[("labels: {tier: general}", "labels: {}")]);
    let plan = operator.run(&["plan"]);
    let told_of = String::from_utf8_lossy(&plan.stdout).into_owned();
    assert!(told_of.contains("CONV004") && told_of.contains("node w2"), "{told_of}");
    operator.expect(&["node", "remove", "w2", "--yes"], 0);
    assert_eq!(ready(kubectl), BTreeSet::from(["cp1", "cp2", "w1"].map(str::to_owned)));
    for host in ["cp3", "w2"] {
        let left = lab.exec(host, "ls -d /etc/kubernetes /var/lib/kubelet /var/lib/kubewright 2>/dev/null || :");
        assert_eq!(left.expect("the host answers").trim(), "", "{host} is bare");
    }
    told("a control plane and a worker left the cluster, their hosts bare");
    // An even number of members needs consent; that it is there already changes nothing about it.
    let nothing = operator.run(&["apply", "--yes", "--consent", "ETCD001"]);
    assert_eq!(nothing.status.code(), Some(3), "{}", String::from_utf8_lossy(&nothing.stderr));
}

fn nodes(kubectl: &Kubectl) -> Vec<Value> {
    kubectl.json(&["get", "nodes"])["items"].as_array().expect("a list").clone()
}

fn name(node: &Value) -> String {
    node["metadata"]["name"].as_str().expect("a name").to_owned()
}

fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array().expect("conditions");
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// The names of the nodes that are Ready.
fn ready(kubectl: &Kubectl) -> BTreeSet<String> {
    nodes(kubectl).iter().filter(|node| is_ready(node)).map(name).collect()
}

fn label(kubectl: &Kubectl, node: &str, label: &str) -> Option<String> {
    let nodes = nodes(kubectl);
    let node = nodes.iter().find(|other| name(other) == node)?;
    node["metadata"]["labels"][label].as_str().map(str::to_owned)
}

/// Kubernetes takes a silent node for lost after its grace of 40 to 50 s.
fn wait_not_ready(kubectl: &Kubectl, node: &str) {
    let condition = "--for=condition=Ready=unknown";
    kubectl.expect(&["wait", condition, &format!("node/{node}"), "--timeout=120s"]);
}

/// etcd's voters by name, as one of them tells.
fn voters(lab: &Lab, host: &str) -> BTreeSet<String> {
    let list = "cd /etc/kubernetes/pki/etcd && curl -sS --cacert ca.crt --cert healthcheck-client.crt \
        --key healthcheck-client.key -d '{}' https://127.0.0.1:2379/v3/cluster/member/list";
    let members: Value = serde_json::from_str(&lab.exec(host, list).expect("etcd answers")).expect("JSON");
    let members = members["members"].as_array().expect("a list");
    let voter = |member: &&Value| !member["isLearner"].as_bool().unwrap_or(false);
    members.iter().filter(voter).map(|member| member["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// What a host shows of having been part of a cluster.
struct Traces(BTreeSet<String>);

impl Traces {
    /// Files, units, mounts, links, rules, processes. Logs, packages and what packages write are the system's own, and so are
    /// the tables that iptables makes, empty, when it is first asked.
    fn of(lab: &Lab, host: &str) -> Self {
        let script = "
            find /etc /opt /usr/local /var/lib /run -xdev \\( -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/lib/systemd \\
                -o -path /run/systemd -o -path /run/udev -o -path /run/log -o -path /run/user -o -path '/var/lib/etcd.*' \\
                -o -path /etc/ld.so.cache -o -path /var/cache -o -path /run/containerd -o -path /run/runc \\
                -o -path /run/sudo -o -path /run/nscd -o -path /run/netns -o -path /run/motd.dynamic \\
                -o -path /run/xtables.lock \\) -prune -o -print
            ip -o link | sed 's/^[0-9]*: /link /; s/[@:].*//'
            nft list tables | grep -vE '^table ip6? (filter|mangle|nat|raw)$' || :
            { iptables-save; ip6tables-save; } 2>/dev/null | grep -E '^(:[^ ]* -|-A)' || :
            findmnt -rno TARGET | grep -E 'kubelet|containerd|netns' || :
            pgrep -la 'kube|containerd|etcd|flannel' | cut -d ' ' -f 2 || :";
        let text = lab.exec(host, script).expect("the host answers");
        Self(text.lines().map(str::to_owned).collect())
    }

    fn beyond(&self, before: &Self) -> Vec<String> {
        self.0.difference(&before.0).cloned().collect()
    }
}
