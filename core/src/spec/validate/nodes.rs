//! Pools, labels and taints.

use std::collections::{BTreeMap, BTreeSet};

use super::host_path;
use crate::finding::{Finding, Severity, Subject};
use crate::spec::path;
use crate::spec::{Role, Spec, Taint};

/// Labels that the kubelet or kubewright sets by itself, and who.
const RESERVED: [(&str, &str); 4] = [
    ("kubernetes.io/hostname", "the kubelet sets it to the host's name"),
    ("kubernetes.io/os", "the kubelet sets it"),
    ("kubernetes.io/arch", "the kubelet sets it"),
    ("node-role.kubernetes.io/control-plane", "the role `controlPlane` sets it"),
];

/// NODE007, NODE010, POOL002.
pub fn pools(spec: &Spec, findings: &mut Vec<Finding>) {
    let mut used = BTreeSet::new();
    for (index, host) in spec.hosts.iter().enumerate() {
        let Some(pool) = &host.pool else { continue };
        used.insert(pool.as_str());
        let path = host_path(index, "pool");
        if !spec.pools.contains_key(pool) {
            let known: Vec<&str> = spec.pools.keys().map(String::as_str).collect();
            let hint = match known[..] {
                [] => format!("add it, even empty:  pools: {{{pool}: {{}}}}"),
                _ => format!("known pools: {}", known.join(", ")),
            };
            findings.push(Finding::spec("NODE007", &path, format!("pool `{pool}` is not in `spec.pools`")).hint(hint));
        }
        if !host.is(Role::Worker) {
            let finding = Finding::spec("NODE010", &path, format!("{} has a pool but is no worker", host.name));
            findings
                .push(finding.label("pools are for workers").related(host_path(index, "roles"), "`worker` is missing"));
        }
    }
    for name in spec.pools.keys().filter(|name| !used.contains(name.as_str())) {
        let subject = Subject::Spec(path::key("spec.pools", name));
        findings.push(Finding::new(Severity::Warns, "POOL002", subject, format!("pool `{name}` has no hosts")));
    }
}

/// LABEL003.
pub fn labels(spec: &Spec, findings: &mut Vec<Finding>) {
    let pools =
        spec.pools.iter().map(|(name, pool)| (path::key(&path::key("spec.pools", name), "labels"), &pool.labels));
    let hosts = spec.hosts.iter().enumerate().map(|(index, host)| (host_path(index, "labels"), &host.labels));
    for (parent, labels) in pools.chain(hosts) {
        for key in labels.keys() {
            if let Some((_, who)) = RESERVED.iter().find(|(reserved, _)| reserved == key) {
                let finding = Finding::spec(
                    "LABEL003",
                    path::of_key(&path::key(&parent, key)),
                    format!("label `{key}` is not yours to set"),
                );
                findings.push(finding.label(*who));
            }
        }
    }
}

/// TAINT003.
pub fn taints(spec: &Spec, findings: &mut Vec<Finding>) {
    let pools =
        spec.pools.iter().map(|(name, pool)| (path::key(&path::key("spec.pools", name), "taints"), &pool.taints));
    let hosts = spec.hosts.iter().enumerate();
    let hosts = hosts.filter_map(|(index, host)| Some((host_path(index, "taints"), host.taints.as_ref()?)));
    for (parent, taints) in pools.chain(hosts) {
        duplicates(&parent, taints, findings);
    }
}

/// Kubernetes identifies a taint by key and effect; its value does not count.
fn duplicates(parent: &str, taints: &[Taint], findings: &mut Vec<Finding>) {
    let mut seen = BTreeMap::new();
    for (index, taint) in taints.iter().enumerate() {
        let path = path::element(parent, index);
        if let Some(first) = seen.get(&(&taint.key, taint.effect)) {
            let text = format!("two taints `{}` with effect {:?}", taint.key, taint.effect);
            findings
                .push(Finding::spec("TAINT003", path, text).label("again").related(String::clone(first), "first here"));
        } else {
            seen.insert((&taint.key, taint.effect), path);
        }
    }
}
