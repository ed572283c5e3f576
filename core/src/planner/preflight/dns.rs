//! Names: the servers that pods will ask, and the names that hosts must know.

use std::net::IpAddr;

use super::fitness::Bare;
use super::{blocks, tells};
use crate::facts::Fact;
use crate::finding::Finding;
use crate::spec::EndpointMode;

/// The name servers that CoreDNS will forward to, unless the user has the kubelet give pods another file.
fn servers<'a>(bare: &Bare<'a>) -> Option<&'a Vec<String>> {
    if bare.spec.kubelet.config.contains_key("resolvConf") {
        return None;
    }
    bare.fitness.name_servers.known()
}

/// The file they stand in.
fn file(bare: &Bare<'_>) -> &'static str {
    if bare.seen.systemd_resolved.known() == Some(&true) {
        "/run/systemd/resolve/resolv.conf"
    } else {
        "/etc/resolv.conf"
    }
}

/// HOST059: CoreDNS does not start without a server to forward to.
pub(super) fn no_server(bare: &Bare<'_>) -> Option<Finding> {
    servers(bare)?.is_empty().then(|| {
        blocks(bare.host, "HOST059", format!("{} names no name server: CoreDNS does not start on it", file(bare)))
            .hint("name one, or set `spec.kubelet.config.resolvConf` to a file that does")
    })
}

/// HOST060: in a pod, 127.0.0.1 is the pod itself.
pub(super) fn loopback(bare: &Bare<'_>) -> Option<Finding> {
    let own = servers(bare)?.iter().find(|server| server.parse::<IpAddr>().is_ok_and(|server| server.is_loopback()))?;
    let text = format!(
        "{} names {own}: in a pod that is the pod itself, and CoreDNS would ask itself until it gives up",
        file(bare)
    );
    Some(blocks(bare.host, "HOST060", text).hint(
        "write the real servers into a file and set `spec.kubelet.config.resolvConf` to it, or let systemd-resolved manage /etc/resolv.conf",
    ))
}

/// HOST061: workers join through it, and every kube-proxy talks to it.
pub(super) fn endpoint(bare: &Bare<'_>) -> Option<Finding> {
    let name = bare.spec.endpoint.address.as_ref().filter(|_| bare.spec.endpoint.mode == EndpointMode::External)?;
    let why = match bare.fitness.names.get(name)? {
        Fact::Known { value, .. } if !value.is_empty() => return None,
        Fact::Known { .. } | Fact::Absent => "there is no such name for it",
        Fact::Unreadable { why, .. } => why,
    };
    Some(
        blocks(bare.host, "HOST061", format!("it cannot find the endpoint {name}: {why}"))
            .hint("give the name to your DNS server, or to /etc/hosts on every host"),
    )
}

/// HOST062: nothing of Kubernetes asks for it; sudo and mail do, and wait.
pub(super) fn own_name(bare: &Bare<'_>) -> Option<Finding> {
    let name = bare.seen.hostname.known()?;
    bare.fitness.names.get(name).is_some_and(Fact::is_absent).then(|| {
        tells(bare.host, "HOST062", format!("it does not find its own name, {name}; sudo on it may wait for that"))
            .hint(format!("put `{} {name}` into its /etc/hosts", bare.host.private_address))
    })
}
