//! Which machine a host is, and whose: nothing of anybody else is ever touched.

use std::collections::BTreeMap;

use super::{Input, blocks};
use crate::facts::{HostFacts, HostRecord, Membership};
use crate::finding::Finding;
use crate::ids::HostName;
use crate::spec::Host;

/// HOST003: guards recognise a machine by its id.
pub(super) fn identity(host: &Host, seen: &HostFacts) -> Option<Finding> {
    seen.machine_id.known().is_none().then(|| {
        blocks(host, "HOST003", "it has no readable /etc/machine-id")
            .hint("run `systemd-machine-id-setup` on it: two clones with one identity cannot be told apart")
    })
}

/// HOST010, HOST011, HOST014: what our own record on the host says. Only a host that certainly is nobody's, or ours, is
/// built on.
pub(super) fn record(input: Input<'_>, host: &Host, seen: &HostFacts) -> Option<Finding> {
    Some(match seen.membership(&input.spec.name) {
        Membership::Unclear(why) => {
            blocks(host, "HOST014", format!("whose it is cannot be read from {}: {why}", HostRecord::PATH))
                .hint("look at the file: it names the cluster that the host belongs to")
        }
        Membership::OfAnother(record) => {
            blocks(host, "HOST010", format!("it belongs to the cluster {}", record.cluster))
                .hint("take it out of that cluster first, or use another host")
        }
        Membership::Claimed(record) => blocks(
            host,
            "HOST011",
            format!("operation {} claimed it and has not finished", record.operation),
        )
        .hint(format!(
            "go on with it:  kubewright ops resume {0} -f FILE   or give it up:  kubewright ops abandon {0} -f FILE",
            record.operation
        )),
        Membership::Part(_) | Membership::Silent(_) | Membership::Foreign | Membership::Bare => return None,
    })
}

/// HOST012, HOST013, HOST014: what another tool left on a host that has no record of ours.
pub(super) fn leftovers(host: &Host, seen: &HostFacts) -> Option<Finding> {
    if seen.etcd_data.known() == Some(&true) {
        return Some(
            blocks(host, "HOST012", "it holds etcd data in /var/lib/etcd that no operation of ours made")
                .hint("look whose it is; kubewright never deletes etcd data"),
        );
    }
    if let Some(why) = seen.etcd_data.why() {
        return Some(
            blocks(host, "HOST014", format!("whether it holds etcd data cannot be read: {why}"))
                .hint("look into /var/lib/etcd on the host; kubewright never deletes etcd data"),
        );
    }
    seen.ca_fingerprint.known().map(|_| {
        blocks(host, "HOST013", "it is part of a Kubernetes cluster already: it has /etc/kubernetes/pki/ca.crt")
            .hint("reset it with the tool that made it, or use another host")
    })
}

/// HOST005: clones share machine-ids, and one machine may stand in the spec under two addresses.
pub(super) fn one_identity_each(input: Input<'_>, findings: &mut Vec<Finding>) {
    let mut owners: BTreeMap<&str, &HostName> = BTreeMap::new();
    for host in &input.spec.hosts {
        let Some(id) = input.facts.host(&host.name).and_then(|seen| seen.machine_id.known()) else { continue };
        if let Some(other) = owners.insert(id, &host.name) {
            findings.push(
                blocks(host, "HOST005", format!("it has the same machine-id as {other}: {id}"))
                    .hint("either both names reach one machine, or one is a clone: give it its own with `systemd-machine-id-setup`"),
            );
        }
    }
}
