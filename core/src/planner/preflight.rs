//! What facts say before anything is planned: whether the cluster stands already, and what is in the way of building it.

use std::collections::BTreeMap;

use super::{DesiredHost, Input};
use crate::facts::{Fact, HostFacts, HostRecord, OsFamily};
use crate::finding::{Finding, Severity, Subject};
use crate::ids::HostName;
use crate::spec::{Host, Role};

/// Findings that need facts.
pub(super) fn findings(input: Input<'_>) -> Vec<Finding> {
    let mut findings = input.findings.to_vec();
    for host in &input.spec.hosts {
        match input.facts.hosts.get(&host.name) {
            Some(Fact::Known { value, .. }) => one_host(input, host, value, &mut findings),
            other => {
                let why = other.and_then(Fact::why).unwrap_or("nobody asked it");
                let mut finding = about(host, "HOST001", why.to_owned());
                finding.hint = other.and_then(Fact::hint).map(str::to_owned);
                findings.push(finding);
            }
        }
    }
    one_identity_each(input, &mut findings);
    whole_or_bare(input, &mut findings);
    findings.sort();
    findings.dedup();
    findings
}

/// Whether every host is a settled part of this cluster and carries what the spec comes to.
pub(super) fn is_built(input: Input<'_>) -> bool {
    input.spec.hosts.iter().all(|host| {
        let (Some(seen), Some(desired)) = (input.facts.host(&host.name), input.desired.hosts.get(&host.name)) else {
            return false;
        };
        is_settled(input, seen) && differences(seen, desired).is_empty()
    })
}

fn about(host: &Host, code: &str, text: String) -> Finding {
    Finding::new(Severity::Blocks, code, Subject::Host(host.name.clone()), text)
}

fn is_settled(input: Input<'_>, seen: &HostFacts) -> bool {
    seen.record.known().is_some_and(|record| record.settled && record.cluster == input.spec.name)
}

fn one_host(input: Input<'_>, host: &Host, seen: &HostFacts, findings: &mut Vec<Finding>) {
    let name = &host.name;
    if let Some(os) = seen.os.known()
        && os.family != OsFamily::Debian
    {
        findings.push(
            about(host, "HOST002", format!("{name} runs {}, for which there are no playbooks", os.name))
                .hint("Debian and Ubuntu are proved; others are not supported yet"),
        );
    }
    if seen.machine_id.known().is_none() {
        findings.push(
            about(host, "HOST003", format!("{name} has no readable /etc/machine-id"))
                .hint("run `systemd-machine-id-setup` on it: two clones with one identity cannot be told apart"),
        );
    }
    whose_it_is(input, host, seen, findings);
    if !seen.swap.known().is_none_or(Vec::is_empty)
        && input.desired.hosts.get(name).is_some_and(|desired| desired.preparation.swap_off)
    {
        let devices = seen.swap.known().map(|devices| devices.join(", ")).unwrap_or_default();
        findings.push(Finding::new(
            Severity::Warns,
            "HOST017",
            Subject::Host(name.clone()),
            format!("{name}: swap is on ({devices}); it will be turned off and commented out in /etc/fstab"),
        ));
    }
}

/// Only a host that certainly is nobody's, or ours, is built on.
fn whose_it_is(input: Input<'_>, host: &Host, seen: &HostFacts, findings: &mut Vec<Finding>) {
    let name = &host.name;
    match &seen.record {
        Fact::Known { value: record, .. } if record.cluster != input.spec.name => findings.push(
            about(host, "HOST010", format!("{name} belongs to the cluster {}", record.cluster))
                .hint("take it out of that cluster first, or use another host"),
        ),
        Fact::Known { value: record, .. } if !record.settled => findings.push(
            about(
                host,
                "HOST011",
                format!("{name} was claimed by operation {}, which has not finished", record.operation),
            )
            .hint(format!("go on with it:  kubewright ops resume {}", record.operation)),
        ),
        Fact::Known { .. } => {}
        Fact::Unreadable { why, .. } => findings.push(
            about(host, "HOST014", format!("whose {name} is cannot be read from {}: {why}", HostRecord::PATH))
                .hint("look at the file: it names the cluster that the host belongs to"),
        ),
        Fact::Absent => match &seen.etcd_data {
            Fact::Known { value: true, .. } => findings.push(
                about(
                    host,
                    "HOST012",
                    format!("{name} holds etcd data in /var/lib/etcd that no operation of ours made"),
                )
                .hint("look whose it is; kubewright never deletes etcd data"),
            ),
            Fact::Unreadable { why, .. } => findings.push(
                about(host, "HOST014", format!("whether {name} holds etcd data cannot be read: {why}"))
                    .hint("look into /var/lib/etcd on the host; kubewright never deletes etcd data"),
            ),
            Fact::Known { value: false, .. } | Fact::Absent if seen.ca_fingerprint.known().is_some() => findings.push(
                about(
                    host,
                    "HOST013",
                    format!("{name} is part of a Kubernetes cluster already: it has /etc/kubernetes/pki/ca.crt"),
                )
                .hint("reset it with the tool that made it, or use another host"),
            ),
            Fact::Known { value: false, .. } | Fact::Absent => {}
        },
    }
}

/// Clones share machine-ids, and one machine may stand in the spec under two addresses.
fn one_identity_each(input: Input<'_>, findings: &mut Vec<Finding>) {
    let mut owners: BTreeMap<&str, &HostName> = BTreeMap::new();
    for host in &input.spec.hosts {
        let Some(id) = input.facts.host(&host.name).and_then(|seen| seen.machine_id.known()) else { continue };
        if let Some(other) = owners.insert(id, &host.name) {
            findings.push(
                about(host, "HOST005", format!("{other} and {} have the same machine-id {id}", host.name))
                    .hint("either both names reach one machine, or one is a clone: give it its own with `systemd-machine-id-setup`"),
            );
        }
    }
}

/// Building needs hosts that are all bare; a cluster that stands is compared. What lies between is told, not guessed.
fn whole_or_bare(input: Input<'_>, findings: &mut Vec<Finding>) {
    let is_part = |host: &&Host| input.facts.host(&host.name).is_some_and(|seen| is_settled(input, seen));
    let parts: Vec<&Host> = input.spec.hosts.iter().filter(is_part).collect();
    if parts.is_empty() {
        return;
    }
    for host in &input.spec.hosts {
        let Some(seen) = input.facts.host(&host.name) else { continue };
        if !is_settled(input, seen) {
            let kind = if host.is(Role::ControlPlane) { "control plane" } else { "worker" };
            findings.push(
                about(
                    host,
                    "CONV001",
                    format!("{} is a new {kind} of the running cluster {}", host.name, input.spec.name),
                )
                .hint("this version builds clusters and does not add to them yet; leave the host out of the spec"),
            );
        } else if let Some(desired) = input.desired.hosts.get(&host.name) {
            let different = differences(seen, desired);
            if !different.is_empty() {
                findings.push(
                    about(host, "CONV002", format!("{} differs from the spec: {}", host.name, different.join(", ")))
                        .hint("this version builds clusters and does not change running ones yet; undo the change in the spec or on the host (`systemctl start` what is stopped)"),
                );
            }
        }
    }
}

/// What on a host is not what the spec comes to.
fn differences(seen: &HostFacts, desired: &DesiredHost) -> Vec<String> {
    let nothing = BTreeMap::new();
    let files = seen.files.known().unwrap_or(&nothing);
    let artefacts = seen.artefacts.known().unwrap_or(&nothing);
    let files = desired
        .files
        .iter()
        .filter(|(path, digests)| files.get(*path).is_none_or(|digest| !digests.contains(digest)))
        .map(|(path, _)| path.clone());
    let artefacts = desired
        .preparation
        .artefacts
        .iter()
        .filter(|artefact| artefacts.get(&artefact.name) != Some(&artefact.sha256))
        .map(|artefact| format!("{} (another version or none)", artefact.name));
    let stopped = seen
        .units
        .iter()
        .filter_map(|(name, unit)| unit.known().map(|unit| (name, unit)))
        .filter(|(_, unit)| unit.active != "active")
        .map(|(name, unit)| format!("{name}.service is {}", unit.active));
    files.chain(artefacts).chain(stopped).collect()
}
