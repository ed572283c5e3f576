//! What facts say before anything is planned: what is in the way of building a cluster, or of changing one that stands.

mod clocks;
mod cluster;
mod dns;
mod eviction;
mod fitness;
mod hostname;
mod kernel;
mod machine;
mod network;
mod owner;
mod packages;
mod storage;
mod tenants;
mod unseen;

pub(super) use self::machine::cgroups;
use super::Input;
use super::difference::Differences;
use crate::facts::{Fact, HostFacts};
use crate::finding::{Finding, Severity, Subject};
use crate::ids::HostName;
use crate::spec::Host;

/// Findings that need facts.
pub(super) fn findings(input: Input<'_>, only: Option<&[HostName]>, differences: &Differences<'_>) -> Vec<Finding> {
    let mut findings = input.findings.to_vec();
    for host in &input.spec.hosts {
        match input.facts.hosts.get(&host.name) {
            Some(Fact::Known { value, .. }) => one_host(input, host, value, &mut findings),
            other => {
                // Where the user named the hosts to change, the others may be away.
                let spared = only.is_some_and(|only| !only.contains(&host.name));
                let severity = if spared { Severity::Warns } else { Severity::Blocks };
                let why = other.and_then(Fact::why).unwrap_or("nobody asked it");
                let mut finding = about(host, severity, "HOST001", why);
                finding.hint = other.and_then(Fact::hint).map(str::to_owned);
                findings.push(finding);
            }
        }
    }
    owner::one_identity_each(input, &mut findings);
    network::one_address_each(input, &mut findings);
    hostname::findings(input, &mut findings);
    clocks::agree(input, &mut findings);
    cluster::stands_in_the_way(input, only, differences, &mut findings);
    findings.sort();
    findings.dedup();
    findings
}

/// Nothing of ours was finished or begun on it: the only hosts whose fitness is still worth a word.
fn is_bare(seen: &HostFacts) -> bool {
    seen.record.is_absent()
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

fn tells(host: &Host, code: &str, text: impl Into<String>) -> Finding {
    about(host, Severity::Info, code, text)
}

fn one_host(input: Input<'_>, host: &Host, seen: &HostFacts, findings: &mut Vec<Finding>) {
    findings.extend(machine::system(host, seen));
    findings.extend(owner::identity(host, seen));
    findings.extend(owner::record(input, host, seen));
    if is_bare(seen) {
        findings.extend(owner::leftovers(host, seen));
        findings.extend(fitness::findings(input, host, seen));
    }
}
