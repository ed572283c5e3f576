//! The machines: told apart, reachable, with roles that make a cluster.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{address_key, host_path};
use crate::finding::{Finding, Severity, Subject};
use crate::spec::{Role, Spec};

/// NODE002, NODE003.
pub fn unique(spec: &Spec, findings: &mut Vec<Finding>) {
    let mut names = BTreeMap::new();
    let mut logins = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for (index, host) in spec.hosts.iter().enumerate() {
        if let Some(first) = names.get(&host.name) {
            let finding =
                Finding::spec("NODE002", host_path(index, "name"), format!("two hosts are called `{}`", host.name));
            findings.push(finding.label("again").related(host_path(*first, "name"), "first here"));
        } else {
            names.insert(&host.name, index);
        }
        // Behind one forwarding address every host has its own port; behind another bastion it is another machine.
        let login = (host.address.to_ascii_lowercase(), host.ssh.port, &host.ssh.bastion);
        let clash = match (logins.get(&login), addresses.get(&host.private_address)) {
            (Some(first), _) => Some((*first, "address", "address", host.address.clone())),
            (None, Some(first)) => {
                let (key, other) = (address_key(host), address_key(&spec.hosts[*first]));
                Some((*first, key, other, host.private_address.to_string()))
            }
            (None, None) => None,
        };
        match clash {
            Some((first, key, other, address)) => {
                let finding =
                    Finding::spec("NODE003", host_path(index, key), format!("two hosts have the address {address}"));
                findings.push(finding.label("again").related(host_path(first, other), "first here"));
            }
            None => {
                logins.insert(login, index);
                addresses.insert(host.private_address, index);
            }
        }
    }
}

/// NODE004, NODE009: addresses that other machines cannot mean, and those of our own template.
pub fn reachable(spec: &Spec, findings: &mut Vec<Finding>) {
    for (index, host) in spec.hosts.iter().enumerate() {
        let path = host_path(index, address_key(host));
        if matches!(host.private_address, IpAddr::V4(address) if address.is_documentation()) {
            let text = format!("{} is an address for documentation", host.private_address);
            let finding = Finding::new(Severity::Warns, "NODE004", Subject::Spec(path.clone()), text);
            findings.push(finding.label(format!("put the address of {} here", host.name)));
        }
        let what = match host.private_address {
            IpAddr::V4(address) if address.is_link_local() => "a link-local address",
            IpAddr::V4(address) if address.is_broadcast() => "the broadcast address",
            address if address.is_loopback() => "a loopback address",
            address if address.is_unspecified() => "no address at all",
            address if address.is_multicast() => "a multicast address",
            _ => continue,
        };
        let finding = Finding::spec("NODE009", path, format!("{} cannot be a node's address", host.private_address));
        findings.push(finding.label(format!("this is {what}; the other nodes must reach it")));
    }
}

/// NODE005, NODE006: control planes, and that each has its etcd member.
pub fn roles(spec: &Spec, findings: &mut Vec<Finding>) {
    if spec.with_role(Role::ControlPlane).next().is_none() {
        let finding = Finding::spec("NODE005", "spec.hosts", "no host is a control plane");
        findings.push(finding.hint("give one host, or three for high availability, `roles: [controlPlane, etcd]`"));
    }
    // Without any member the one finding about etcd says it for all of them.
    if spec.with_role(Role::Etcd).next().is_none() {
        return;
    }
    for (index, host) in
        spec.hosts.iter().enumerate().filter(|(_, host)| host.is(Role::ControlPlane) && !host.is(Role::Etcd))
    {
        let finding = Finding::spec(
            "NODE006",
            host_path(index, "roles"),
            format!("control plane {} runs no etcd member", host.name),
        );
        findings.push(
            finding
                .label("`etcd` is missing here")
                .hint("for now every control plane runs its own etcd member: `roles: [controlPlane, etcd]`"),
        );
    }
}
