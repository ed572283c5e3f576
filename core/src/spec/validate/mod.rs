//! What a readable spec must still satisfy. Each file holds the checks of one subject; a check reports everything it
//! sees and leaves order, places and suppression to the reader.

mod backup;
mod components;
mod endpoint;
mod etcd;
mod hosts;
mod network;
mod nodes;
mod releases;
mod versions;

use std::net::IpAddr;

use super::{Host, Spec};
use crate::finding::Finding;

/// One rule or a few that belong together.
type Check = fn(&Spec, &mut Vec<Finding>);

const CHECKS: &[Check] = &[
    versions::kubernetes,
    versions::containerd,
    endpoint::mode_and_address,
    network::ranges,
    network::overlaps,
    network::sizes,
    hosts::unique,
    hosts::reachable,
    hosts::roles,
    etcd::members,
    nodes::pools,
    nodes::labels,
    nodes::taints,
    components::flags,
    components::volumes,
    components::configurations,
    components::lifetimes,
    releases::taken,
    backup::bucket,
];

/// All findings about the meaning of a spec.
pub fn validate(spec: &Spec) -> Vec<Finding> {
    let mut findings = Vec::new();
    for check in CHECKS {
        check(spec, &mut findings);
    }
    findings
}

/// The path of a host's key.
fn host_path(index: usize, key: &str) -> String {
    format!("spec.hosts[{index}].{key}")
}

/// The key under which the file gives the host's address inside the cluster.
fn address_key(host: &Host) -> &'static str {
    match host.address.parse::<IpAddr>() {
        Ok(address) if address == host.private_address => "address",
        _ => "privateAddress",
    }
}
