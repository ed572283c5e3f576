//! All of etcd goes back to a snapshot, from it again, and to it once more after every member's data was lost.

use std::path::Path;

use serde_json::Value;
use xtask::lab::Lab;

use super::cluster::Kubectl;
use super::copies::{members, status, until_well};
use super::operator::Operator;

const CONTROL_PLANES: [&str; 3] = ["cp1", "cp2", "cp3"];

/// Everything that a restore puts beside etcd's data.
const BESIDE: &str = "ls -d /var/lib/etcd.before-* /var/lib/etcd.restored-* 2>/dev/null || :";

/// The scenario, on a cluster that is well; in the end etcd holds what it held when it was called.
pub fn goes_back_and_forth(lab: &Lab, operator: &Operator, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    kubectl.expect(&["create", "configmap", "kept", "--from-literal=of=the-snapshot"]);
    let copy = copy(operator);
    kubectl.expect(&["create", "configmap", "later", "--from-literal=of=nobody"]);
    kubectl.expect(&["delete", "configmap", "kept"]);
    let refused = operator.expect(&["etcd", "restore", &copy, "--yes"], 6);
    for lost in ["REST005", "default/later", "default/kept"] {
        assert!(refused.contains(lost), "{lost}: {refused}");
    }
    holds(kubectl, "later", "kept");
    told("etcd restore tells what would be lost, by name, and wants it agreed to");

    let text = operator.expect(&["etcd", "restore", &copy, "--yes", "--consent", "REST005"], 0);
    holds(kubectl, "kept", "later");
    is_well(operator, kubectl);
    told(&format!("etcd went back to the snapshot: {}", last_of(&text)));

    operator.expect(&["etcd", "restore", "--undo", "--yes", "--consent", "REST005"], 0);
    holds(kubectl, "later", "kept");
    is_well(operator, kubectl);
    told("and from it to what it held before");

    for host in CONTROL_PLANES {
        lab.exec(host, "rm -rf /var/lib/etcd/member && pkill -9 -x etcd").expect("its data is lost");
    }
    let text = operator.expect(&["etcd", "restore", &copy, "--yes", "--consent", "REST005"], 0);
    holds(kubectl, "kept", "later");
    is_well(operator, kubectl);
    told(&format!("the data of all three members was lost: {}", last_of(&text)));

    operator.expect(&["etcd", "restore", "--finalize", "--yes", "--consent", "REST015"], 0);
    for host in CONTROL_PLANES {
        assert_eq!(lab.exec(host, BESIDE).expect("a host").trim(), "", "{host}: nothing is left beside etcd's data");
    }
    kubectl.expect(&["delete", "configmap", "kept"]);
    told("nothing of it is left on the hosts");
}

/// A proved copy; its folder.
fn copy(operator: &Operator) -> String {
    let home = operator.folder().join("for-restore");
    let text = operator.expect(&["etcd", "snapshot", "--to", &home.to_string_lossy(), "--output", "json"], 0);
    let line: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    let copy = line["copy"].as_str().expect("a folder");
    assert!(Path::new(copy).join("manifest.json").exists(), "{line:#}");
    copy.to_owned()
}

fn holds(kubectl: &Kubectl, there: &str, gone: &str) {
    kubectl.expect(&["get", "configmap", there]);
    kubectl.run(&["get", "configmap", gone]).expect_err("it is gone");
}

/// Three members that hold the same, and all nodes Ready with what they run.
fn is_well(operator: &Operator, kubectl: &Kubectl) {
    until_well(operator);
    assert_eq!(members(&status(operator, 0)).len(), 3);
    kubectl.expect(&["wait", "nodes", "--all", "--for=condition=Ready", "--timeout=60s"]);
    kubectl.expect(&["-n", "kube-system", "rollout", "status", "daemonset/kube-proxy", "--timeout=60s"]);
    kubectl.expect(&["-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=60s"]);
}

/// The line that says what was done and in what time.
fn last_of(text: &str) -> &str {
    text.lines().rfind(|line| line.contains("etcd holds what")).unwrap_or(text)
}
