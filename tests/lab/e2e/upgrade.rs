//! Another version of Kubernetes, one node after another, while what runs there serves: refused ways, a node that does not
//! come up, a kill in the middle, and a client of the API that opens a connection for each request.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use xtask::lab::Lab;

use super::cluster::Kubectl;
use super::maintain::nothing_is_cordoned;
use super::operator::{Operator, Watched, does, records};

/// Where the lab's clusters go.
pub const VERSION: &str = "1.36.3";

/// A kubelet of the new version does not start with this; one of the old does.
const SABOTAGE: &str = "mkdir -p /etc/systemd/system/kubelet.service.d && printf '%s\\n' '[Service]' \
    'ExecStartPre=/bin/sh -c \"! /usr/local/bin/kubelet --version | grep -qF 1.36\"' \
    >/etc/systemd/system/kubelet.service.d/90-sabotage.conf && systemctl daemon-reload";

/// Takes it away again.
const MENDED: &str = "rm /etc/systemd/system/kubelet.service.d/90-sabotage.conf && systemctl daemon-reload";

/// Asks the cluster's endpoint on a worker for that worker's node, as its kubelet does, ten times a second: each time with a new
/// connection, one second of patience and no second try. What failed is written down with its time and what was said.
const CLIENT: &str = "rm -f /root/stop; : >/root/failed; asked=0; while [ ! -e /root/stop ]; do \
    code=$(curl --silent --output /dev/null --max-time 1 --write-out '%{http_code}' \
    --cacert /etc/kubernetes/pki/ca.crt --cert /var/lib/kubelet/pki/kubelet-client-current.pem \
    https://127.0.0.1:6443/api/v1/nodes/w2) || :; asked=$((asked + 1)); echo $asked >/root/asked; \
    [ \"$code\" = 200 ] || echo \"$(date +%T.%N) $code\" >>/root/failed; sleep 0.1; done";

/// What certificates, kubeconfigs and keys of a host are: a SHA-256 and a path each. A worker has few of them.
const KEYS: &str = "cd /etc/kubernetes && find pki admin.conf controller-manager.conf scheduler.conf \
    /var/lib/kubelet/pki/kubelet.crt /var/lib/kubelet/pki/kubelet.key -type f -exec sha256sum {} + 2>/dev/null || :";

/// The scenario, on a cluster of three control planes and two workers of the version before, whose certificates end soon.
pub fn goes_over_under_load(file: &Path, lab: &Lab, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    let operator = Operator::new(file);
    refuses_wrong_ways(&operator, kubectl, told);
    let keys = keys(lab);
    lab.exec("w2", &format!("systemd-run --unit api-client sh -c '{}'", CLIENT.replace('\'', "'\\''")))
        .expect("a client");
    goes_back_where_it_fails(&operator, lab, kubectl, told);
    killed_and_resumed(file, told);
    let failed = lab.exec("w2", "touch /root/stop; cat /root/failed").expect("the client");
    let asked = lab.exec("w2", "cat /root/asked").expect("the client");
    let (answered, lost): (Vec<&str>, Vec<&str>) = failed.lines().partition(|line| !line.ends_with(" 000"));
    let asked: usize = asked.trim().parse().expect("a number");
    told(&format!("{asked} requests to the API; refused: {answered:?}; without an answer in time: {lost:?}"));
    assert!(asked > 100, "{asked} requests: nobody asked");
    assert_eq!(answered, Vec::<&str>::new(), "a client was sent to an API server that does not serve");
    is_as_asked(&operator, kubectl, told);
    are_renewed(&keys, lab, told);
}

/// By host and path.
fn keys(lab: &Lab) -> BTreeMap<(&'static str, String), String> {
    let of = |host: &'static str| {
        let said = lab.exec(host, KEYS).expect("its files");
        let pairs: Vec<_> = said.lines().filter_map(|line| line.split_once("  ")).collect();
        pairs.into_iter().map(|(sum, path)| ((host, path.to_owned()), sum.to_owned())).collect::<Vec<_>>()
    };
    ["cp1", "cp2", "cp3", "w1", "w2"].into_iter().flat_map(of).collect()
}

/// All but authorities and the keys of service accounts are others now, and no copy of them is left.
fn are_renewed(before: &BTreeMap<(&'static str, String), String>, lab: &Lab, told: &dyn Fn(&str)) {
    let after = keys(lab);
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (place, sum) in before {
        let stays = ["ca.crt", "ca.key", "sa.key", "sa.pub"].iter().any(|end| place.1.ends_with(end));
        assert_eq!(after[place] == *sum, stays, "{place:?}");
    }
    assert!(before.len() > 3 * 20, "{} files", before.len());
    for host in ["cp1", "cp2", "cp3"] {
        let copies = lab.exec(host, "find /var/lib/kubewright/secrets -name keys.json").unwrap_or_default();
        assert_eq!(copies.trim(), "", "{host}");
    }
    assert!(before.contains_key(&("w2", "/var/lib/kubelet/pki/kubelet.crt".to_owned())), "{before:?}");
    told("certificates that ended soon are others on every host, authorities the same");
}

/// Nothing is touched for a way that Kubernetes does not go.
fn refuses_wrong_ways(operator: &Operator, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    for (to, code) in [("1.34.4", "UPG001"), ("1.37.0", "UPG002")] {
        let refused = operator.run(&["upgrade", "--to", to, "--yes", "--output", "json"]);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned() + &String::from_utf8_lossy(&refused.stdout);
        assert_eq!(refused.status.code(), Some(5), "{text}");
        // The lab's mirror has neither version; what is wrong with the way is told all the same.
        assert!(text.contains("ART001") || text.contains(code), "{to}: {text}");
    }
    nothing_is_cordoned(kubectl);
    assert_eq!(operator.run(&["upgrade", "--yes"]).status.code(), Some(3), "the spec's own version is there");
    told("ways back and past a minor are refused");
}

/// The kubelet of whichever control plane comes first does not start: it runs what it ran before, and nobody else was begun.
fn goes_back_where_it_fails(operator: &Operator, lab: &Lab, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    for host in ["cp1", "cp2", "cp3"] {
        lab.exec(host, SABOTAGE).expect("a kubelet that will not start");
    }
    let failed = operator.run(&["upgrade", "--to", VERSION, "--yes"]);
    let text = String::from_utf8_lossy(&failed.stderr).into_owned() + &String::from_utf8_lossy(&failed.stdout);
    assert_eq!(failed.status.code(), Some(7), "{text}");
    assert!(text.contains("is back at what it ran before"), "{text}");
    let nodes = kubectl.json(&["get", "nodes"]);
    for node in nodes["items"].as_array().expect("a list") {
        assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], format!("v{}", super::scenarios::VERSION), "{text}");
        assert!(is_ready(node), "{} is not Ready\n{text}", node["metadata"]["name"]);
    }
    let cordoned =
        nodes["items"].as_array().expect("a list").iter().filter(|node| node["spec"]["unschedulable"] == true);
    assert_eq!(cordoned.count(), 1, "the node that failed takes no new pods until it is mended");
    for host in ["cp1", "cp2", "cp3"] {
        lab.exec(host, MENDED).expect("mended");
    }
    told("a control plane whose new kubelet does not start is back at what it ran before, and nobody else was begun");
}

fn is_ready(node: &Value) -> bool {
    let conditions = node["status"]["conditions"].as_array().expect("conditions");
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Resumed, killed inside a swap, resumed elsewhere, killed between two nodes, resumed.
fn killed_and_resumed(file: &Path, told: &dyn Fn(&str)) {
    let operator = Operator::new(file);
    let inside = |event: &Value| does(event, "-swap");
    assert_eq!(operator.kill_at(&["ops", "resume"], Duration::from_secs(2), inside), Watched::Killed);
    told("killed inside a swap");
    let elsewhere = Operator::new(file);
    let between = |event: &Value| records(event, "stepStarted", "w1-drain");
    assert_eq!(elsewhere.kill_at(&["ops", "resume"], Duration::ZERO, between), Watched::Killed);
    told("killed as the first worker's turn began");
    let text = Operator::new(file).expect(&["ops", "resume"], 0);
    assert!(text.contains(&format!("every node runs Kubernetes {VERSION}")), "{text}");
    told("resumed to the end");
}

/// What runs is what was asked for, the spec says so, and nothing is left to do.
pub fn is_as_asked(operator: &Operator, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    let nodes = kubectl.json(&["get", "nodes"]);
    for node in nodes["items"].as_array().expect("a list") {
        assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], format!("v{VERSION}"));
        assert!(is_ready(node), "{}", node["metadata"]["name"]);
    }
    let images =
        kubectl.expect(&["-n", "kube-system", "get", "pods", "-o", "jsonpath={.items[*].spec.containers[*].image}"]);
    let old: Vec<&str> = images.split_whitespace().filter(|image| image.ends_with(super::scenarios::VERSION)).collect();
    assert_eq!(old, Vec::<&str>::new());
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy"] {
        assert!(images.contains(&format!("{component}:v{VERSION}")), "{images}");
    }
    assert!(images.contains("etcd:3.6.8-0") && images.contains("coredns:v1.14.2"), "{images}");
    nothing_is_cordoned(kubectl);
    operator.expect(&["plan"], 3);
    assert_eq!(operator.run(&["upgrade", "--yes"]).status.code(), Some(3));
    told("versions as asked, the spec says so, and nothing is left to do");
}
