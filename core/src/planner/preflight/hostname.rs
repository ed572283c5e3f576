//! What machines call themselves. Kubelets get their names from the spec, so that none of this stops a cluster; people who log in
//! see the machine's own name.

use std::collections::BTreeMap;

use super::{Input, is_bare, tells, warns};
use crate::facts::HostFacts;
use crate::finding::Finding;
use crate::ids::HostName;
use crate::spec::Host;

/// Longest host name by RFC 1123, as the kubelet takes it for a node's.
const LONGEST: usize = 253;
const LONGEST_LABEL: usize = 63;

/// HOST028, HOST029, HOST030.
pub(super) fn findings(input: Input<'_>, findings: &mut Vec<Finding>) {
    let mut owners: BTreeMap<&str, &HostName> = BTreeMap::new();
    for host in &input.spec.hosts {
        let Some(seen) = input.facts.host(&host.name) else { continue };
        let Some(name) = seen.hostname.known() else { continue };
        let other = owners.insert(name, &host.name);
        if !is_bare(seen) {
            continue;
        }
        if let Some(other) = other {
            findings.push(
                warns(
                    host,
                    "HOST028",
                    format!("it calls itself {name}, as {other} does: nobody who logs in can tell them apart"),
                )
                .hint(renamed(host)),
            );
        } else if !is_dns_name(name) {
            findings.push(
                warns(
                    host,
                    "HOST030",
                    format!("it calls itself `{name}`, which is no DNS name; its node will be {}", host.name),
                )
                .hint(renamed(host)),
            );
        } else if !same(host, seen) {
            findings.push(
                tells(host, "HOST029", format!("it calls itself {name}; its node will be {}", host.name))
                    .hint(renamed(host)),
            );
        }
    }
}

fn renamed(host: &Host) -> String {
    format!("`hostnamectl set-hostname {}` makes them the same", host.name)
}

/// The machine's name may carry its domain.
fn same(host: &Host, seen: &HostFacts) -> bool {
    seen.hostname.known().is_some_and(|name| {
        name == host.name.as_str() || name.split_once('.').is_some_and(|(first, _)| first == host.name.as_str())
    })
}

/// RFC 1123, in lower case as Kubernetes wants it.
fn is_dns_name(name: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.len() <= LONGEST_LABEL
            && bytes.first().copied().is_some_and(inside)
            && bytes.last().copied().is_some_and(inside)
            && bytes.iter().all(|byte| inside(*byte) || *byte == b'-')
    };
    name.len() <= LONGEST && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_names() {
        for name in ["cp1", "cp1.example.com", "1a", "a-b"] {
            assert!(is_dns_name(name), "{name}");
        }
        let long = "a".repeat(64);
        for name in ["", "Cp1", "cp_1", "-a", "a-", "a..b", "é", long.as_str()] {
            assert!(!is_dns_name(name), "{name}");
        }
    }
}
