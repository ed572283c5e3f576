//! What facts say before anything is planned: whether the cluster stands already, and what is in the way of building it.

mod clocks;
mod machine;
mod owner;

use std::collections::BTreeMap;

use super::{DesiredHost, Input};
use crate::facts::{Fact, HostFacts};
use crate::finding::{Finding, Severity, Subject};
use crate::spec::{Host, Role};

/// Findings that need facts.
pub(super) fn findings(input: Input<'_>) -> Vec<Finding> {
    let mut findings = input.findings.to_vec();
    for host in &input.spec.hosts {
        match input.facts.hosts.get(&host.name) {
            Some(Fact::Known { value, .. }) => one_host(input, host, value, &mut findings),
            other => {
                let mut finding = blocks(host, "HOST001", other.and_then(Fact::why).unwrap_or("nobody asked it"));
                finding.hint = other.and_then(Fact::hint).map(str::to_owned);
                findings.push(finding);
            }
        }
    }
    owner::one_identity_each(input, &mut findings);
    clocks::agree(input, &mut findings);
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

/// Nothing of ours was finished or begun on it: the only hosts whose fitness is still worth a word.
fn is_bare(seen: &HostFacts) -> bool {
    seen.record.is_absent()
}

fn is_settled(input: Input<'_>, seen: &HostFacts) -> bool {
    seen.record.known().is_some_and(|record| record.settled && record.cluster == input.spec.name)
}

/// Whoever shows a finding names its host, so its text does not.
fn about(host: &Host, severity: Severity, code: &str, text: impl Into<String>) -> Finding {
    Finding::new(severity, code, Subject::Host(host.name.clone()), text)
}

fn blocks(host: &Host, code: &str, text: impl Into<String>) -> Finding {
    about(host, Severity::Blocks, code, text)
}

fn warns(host: &Host, code: &str, text: impl Into<String>) -> Finding {
    about(host, Severity::Warns, code, text)
}

fn one_host(input: Input<'_>, host: &Host, seen: &HostFacts, findings: &mut Vec<Finding>) {
    findings.extend(machine::system(host, seen));
    findings.extend(owner::identity(host, seen));
    findings.extend(owner::record(input, host, seen));
    if is_bare(seen) {
        findings.extend(owner::leftovers(host, seen));
        findings.extend(machine::fitness(input, host, seen));
    }
}

/// Building needs hosts that are all bare; a cluster that stands is compared. What lies between is told, not guessed.
fn whole_or_bare(input: Input<'_>, findings: &mut Vec<Finding>) {
    let is_part = |host: &&Host| input.facts.host(&host.name).is_some_and(|seen| is_settled(input, seen));
    if !input.spec.hosts.iter().any(|host| is_part(&host)) {
        return;
    }
    for host in &input.spec.hosts {
        let Some(seen) = input.facts.host(&host.name) else { continue };
        if !is_settled(input, seen) {
            let kind = if host.is(Role::ControlPlane) { "control plane" } else { "worker" };
            findings.push(
                blocks(host, "CONV001", format!("it is a new {kind} of the running cluster {}", input.spec.name))
                    .hint("this version builds clusters and does not add to them yet; leave the host out of the spec"),
            );
        } else if let Some(desired) = input.desired.hosts.get(&host.name) {
            let different = differences(seen, desired);
            if !different.is_empty() {
                findings.push(
                    blocks(host, "CONV002", format!("it differs from the spec: {}", different.join(", ")))
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
