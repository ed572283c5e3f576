//! Pod and service networks: that they can be routed, are large enough, and keep out of each other's way and the hosts'.

use std::net::IpAddr;

use super::{address_key, host_path};
use crate::finding::Finding;
use crate::spec::{Cidr, Host, Spec};

const PODS: &str = "spec.network.podCIDR";
const SERVICES: &str = "spec.network.serviceCIDR";

/// Bits that kube-apiserver allows in `--service-cluster-ip-range`: `maxCIDRBits` of `pkg/controlplane/apiserver/options`.
const MOST_SERVICE_BITS: u8 = 20;

/// kubeadm gives the cluster's DNS the tenth address; 16 addresses are the smallest range that has one.
const LEAST_SERVICE_BITS: u8 = 4;

/// `--node-cidr-mask-size` of kube-controller-manager unless the user sets it.
const NODE_PREFIX: u8 = 24;

/// kube-controller-manager keeps one bit per node range and refuses more than this: `clusterSubnetMaxDiff` of
/// `pkg/controller/nodeipam/ipam/cidrset`.
const MOST_NODE_RANGE_BITS: u8 = 16;

/// What no machine forwards, with its name.
const UNROUTABLE: [(Cidr, &str); 5] = [
    (Cidr::v4(0, 0, 0, 0, 8), "addresses of \"this network\""),
    (Cidr::v4(127, 0, 0, 0, 8), "loopback addresses"),
    (Cidr::v4(169, 254, 0, 0, 16), "link-local addresses"),
    (Cidr::v4(224, 0, 0, 0, 4), "multicast addresses"),
    (Cidr::v4(240, 0, 0, 0, 4), "reserved addresses"),
];

/// Private ranges to propose, the customary ones first.
const PROPOSED_PODS: [Cidr; 6] = [
    Cidr::v4(10, 244, 0, 0, 16),
    Cidr::v4(172, 20, 0, 0, 16),
    Cidr::v4(10, 60, 0, 0, 16),
    Cidr::v4(192, 168, 0, 0, 16),
    Cidr::v4(100, 64, 0, 0, 16),
    Cidr::v4(10, 180, 0, 0, 16),
];
const PROPOSED_SERVICES: [Cidr; 4] =
    [Cidr::v4(10, 96, 0, 0, 12), Cidr::v4(172, 28, 0, 0, 16), Cidr::v4(10, 200, 0, 0, 16), Cidr::v4(100, 96, 0, 0, 16)];

/// NET002, NET007, NET012: each range by itself.
pub fn ranges(spec: &Spec, findings: &mut Vec<Finding>) {
    for (path, range) in [(PODS, spec.network.pod_cidr), (SERVICES, spec.network.service_cidr)] {
        let canonical = range.canonical();
        if !range.network.is_ipv4() {
            findings.push(ipv6(path));
        } else if canonical != range {
            let finding = Finding::spec("NET002", path, format!("{range} has bits set behind its prefix"));
            findings.push(finding.label(format!("did you mean {canonical}?")));
        } else if let Some((_, what)) = UNROUTABLE.iter().find(|(unroutable, _)| unroutable.overlaps(&range)) {
            let finding = Finding::spec("NET012", path, format!("{range} cannot be routed"));
            findings.push(finding.label(format!("it has {what}")));
        }
    }
    for (index, host) in spec.hosts.iter().enumerate().filter(|(_, host)| !host.private_address.is_ipv4()) {
        findings.push(ipv6(&address_path(index, host)));
    }
}

fn ipv6(path: &str) -> Finding {
    Finding::spec("NET007", path, "IPv6 is not built yet").hint("use IPv4 addresses; dual stack is planned")
}

/// NET003, NET004: ranges against each other and the hosts.
pub fn overlaps(spec: &Spec, findings: &mut Vec<Finding>) {
    let (pods, services) = (spec.network.pod_cidr, spec.network.service_cidr);
    if pods.overlaps(&services) {
        let (label, related) = match (services.holds(&pods), pods.holds(&services)) {
            (true, true) => (format!("{pods} is the same as"), "this one"),
            (true, false) => (format!("{pods} lies inside"), "this one"),
            _ => (format!("{pods} holds"), "this one"),
        };
        let finding =
            Finding::spec("NET003", PODS, "pod and service networks overlap").label(label).related(SERVICES, related);
        findings.push(propose(finding, spec, &PROPOSED_PODS, services));
    }
    for (path, what, range, other, proposed) in [
        (PODS, "pod", pods, services, &PROPOSED_PODS[..]),
        (SERVICES, "service", services, pods, &PROPOSED_SERVICES[..]),
    ] {
        let inside: Vec<_> =
            spec.hosts.iter().enumerate().filter(|(_, host)| addresses(host).any(|at| range.contains(at))).collect();
        let Some((_, first)) = inside.first() else { continue };
        let text = match inside.len() {
            1 => format!("{}'s address lies inside the {what} network", first.name),
            count => format!("addresses of {count} hosts lie inside the {what} network"),
        };
        let mut finding = Finding::spec("NET004", path, text).label(format!("{range} holds"));
        // Three show the pattern; a hundred would bury the range.
        for (index, host) in inside.iter().take(3) {
            finding = finding.related(address_path(*index, host), "this address");
        }
        findings.push(propose(finding, spec, proposed, other));
    }
}

/// NET005, NET006, NET008, NET011: ranges against their use.
pub fn sizes(spec: &Spec, findings: &mut Vec<Finding>) {
    let services = spec.network.service_cidr;
    if services.network.is_ipv4() && services.host_bits() > MOST_SERVICE_BITS {
        let finding = Finding::spec(
            "NET006",
            SERVICES,
            format!("the service network is larger than a /{}", 32 - MOST_SERVICE_BITS),
        );
        findings.push(
            finding.label(format!("kube-apiserver allows {MOST_SERVICE_BITS} bits, this has {}", services.host_bits())),
        );
    }
    if services.host_bits() < LEAST_SERVICE_BITS {
        let finding = Finding::spec("NET008", SERVICES, "the service network is too small");
        findings.push(
            finding.label(format!(
                "a /{} is the smallest: its tenth address is the DNS server's",
                32 - LEAST_SERVICE_BITS
            )),
        );
    }

    let pods = spec.network.pod_cidr;
    if !pods.network.is_ipv4() {
        return;
    }
    let node = node_prefix(spec);
    let ranges = node.checked_sub(pods.prefix).map_or(0, |bits| 1_u128 << bits.min(127));
    let wanted = spec.hosts.len();
    if ranges < wanted as u128 {
        let finding =
            Finding::spec("NET005", PODS, format!("the pod network is too small for {}", counted(wanted, "host")));
        let label = match ranges {
            0 => format!("smaller than the /{node} that every node takes"),
            ranges => format!(
                "every node takes a /{node}; {} here",
                if ranges == 1 { "one is".to_owned() } else { format!("{ranges} are") }
            ),
        };
        let bits = wanted.next_power_of_two().trailing_zeros();
        let enough = u32::from(node).saturating_sub(bits);
        findings.push(finding.label(label).hint(format!("a /{enough} is enough for what is here; leave room to grow")));
    }
    if node.saturating_sub(pods.prefix) > MOST_NODE_RANGE_BITS {
        let finding = Finding::spec("NET011", PODS, format!("the pod network is too large to be divided into /{node}"));
        findings.push(finding.label(format!("a /{} is the largest", node - MOST_NODE_RANGE_BITS)));
    }
}

/// The prefix of a node's range: ours, or what the user gave kube-controller-manager.
fn node_prefix(spec: &Spec) -> u8 {
    let given = spec.controller_manager.extra_args.iter().rev().find(|arg| arg.name.starts_with("node-cidr-mask-size"));
    given.and_then(|arg| arg.value.parse().ok()).filter(|prefix| *prefix <= 32).unwrap_or(NODE_PREFIX)
}

/// Adds a range to use instead, if one of ours is free.
fn propose(finding: Finding, spec: &Spec, proposed: &[Cidr], other: Cidr) -> Finding {
    let free =
        |range: &&Cidr| !range.overlaps(&other) && !spec.hosts.iter().flat_map(addresses).any(|at| range.contains(at));
    match proposed.iter().find(free) {
        Some(range) => finding.hint(format!("{range} is free of all that the file names")),
        None => finding,
    }
}

/// Addresses of a host that are known from the file.
fn addresses(host: &Host) -> impl Iterator<Item = IpAddr> {
    [host.address.parse().ok(), Some(host.private_address)].into_iter().flatten()
}

fn address_path(index: usize, host: &Host) -> String {
    host_path(index, address_key(host))
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
