//! Addresses, ports, routes, and what stands between machines.

use std::net::IpAddr;

use super::fitness::Bare;
use super::{about, blocks, warns};
use crate::facts::{Fact, Route};
use crate::finding::{Finding, Severity};
use crate::spec::{Cidr, CniName, EndpointMode, Host, Role, Spec};

/// flannel's port for vxlan.
const VXLAN: u16 = 8472;
/// The bridge of flannel's pods.
const BRIDGE: &str = "cni0";
/// Routes this wide are default routes by another name, as VPNs make them.
const AS_GOOD_AS_DEFAULT: u8 = 1;
/// How many routes a line takes.
const NAMED: usize = 3;

/// HOST032: etcd and the kubelet ask the kernel for exactly this address.
pub(super) fn own_address(bare: &Bare<'_>) -> Option<Finding> {
    let addresses = bare.seen.addresses.known()?;
    let wanted = bare.host.private_address;
    if addresses.iter().any(|address| address.address == wanted) {
        return None;
    }
    let is_local = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(_) => true,
    };
    let has: Vec<String> = addresses
        .iter()
        .filter(|address| !is_local(&address.address))
        .map(|address| format!("{} on {}", address.address, address.interface))
        .collect();
    let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
    Some(
        blocks(
            bare.host,
            "HOST032",
            format!("none of its interfaces has {wanted}, under which the cluster would know it; it has {has}"),
        )
        .hint("give it that address, or set the host's `privateAddress` in the spec to one it has"),
    )
}

/// HOST026.
pub(super) fn ports(bare: &Bare<'_>) -> Option<Finding> {
    let mut taken: Vec<String> = Vec::new();
    if let Some(listening) = bare.seen.listening.known() {
        taken.extend(needed_ports(bare.spec, bare.host).into_iter().filter_map(|(port, whose)| {
            let process = listening.get(&port)?;
            let process = if process.is_empty() { "a process that cannot be seen" } else { process.as_str() };
            Some(format!("{port} ({whose}) by {process}"))
        }));
    }
    // Without a process it is the kernel's own: another vxlan interface, with which flannel's shares the port.
    let vxlan =
        bare.fitness.listening_udp.known().and_then(|ports| ports.get(&VXLAN)).filter(|process| !process.is_empty());
    if let Some(process) = vxlan.filter(|_| bare.spec.network.cni.name == CniName::Flannel) {
        taken.push(format!("UDP {VXLAN} (flannel) by {process}"));
    }
    (!taken.is_empty()).then(|| {
        blocks(bare.host, "HOST026", format!("ports are taken: {}", taken.join(", ")))
            .hint("stop what listens there; `ss -ltunp` on the host shows it")
    })
}

/// What will listen on a host, by its roles.
fn needed_ports(spec: &Spec, host: &Host) -> Vec<(u16, &'static str)> {
    let mut ports = vec![(10250, "kubelet"), (10248, "kubelet"), (10249, "kube-proxy"), (10256, "kube-proxy")];
    if host.is(Role::ControlPlane) {
        ports.extend([
            (spec.api_port(), "kube-apiserver"),
            (10259, "kube-scheduler"),
            (10257, "kube-controller-manager"),
        ]);
    } else if spec.endpoint.mode == EndpointMode::NodeLocal {
        ports.push((spec.endpoint.port, "kube-apiserver-proxy"));
    }
    if host.is(Role::Etcd) {
        ports.extend([(2379, "etcd"), (2380, "etcd"), (2381, "etcd")]);
    }
    ports.sort_unstable();
    ports
}

/// The networks that the cluster takes for itself.
fn ours(spec: &Spec) -> [(&'static str, Cidr); 2] {
    [("pod", spec.network.pod_cidr), ("service", spec.network.service_cidr)]
}

/// HOST056: what these routes lead to cannot be reached from pods any more, or pods not from here.
pub(super) fn routes_into_ours(bare: &Bare<'_>) -> Option<Finding> {
    let told = routes(bare, |ours, route| ours.holds(&route.destination))?;
    Some(
        about(bare.host, Severity::NeedsConsent, "HOST056", format!("it has routes into networks of the cluster: {told}"))
            .hint("choose other networks (`spec.network.podCIDR`, `serviceCIDR`), or remove what is left of an earlier cluster (`ip link delete …`)"),
    )
}

/// HOST057: pods' routes are narrower and win, so only what the cluster covers of such a network is lost.
pub(super) fn routes_around_ours(bare: &Bare<'_>) -> Option<Finding> {
    let told = routes(bare, |ours, route| ours.overlaps(&route.destination) && !ours.holds(&route.destination))?;
    Some(
        warns(bare.host, "HOST057", format!("networks it has routes to overlap with networks of the cluster: {told}"))
            .hint("machines there whose addresses the cluster uses cannot be reached from this host; choose other networks if there are any"),
    )
}

fn routes(bare: &Bare<'_>, is: impl Fn(&Cidr, &Route) -> bool) -> Option<String> {
    let routes = bare.fitness.routes.known()?;
    let mut found: Vec<String> = Vec::new();
    for route in routes.iter().filter(|route| route.destination.prefix > AS_GOOD_AS_DEFAULT) {
        for (name, network) in ours(bare.spec).iter().filter(|(_, network)| is(network, route)) {
            found.push(format!("{} on {} ({name} network {network})", route.destination, route.interface));
        }
    }
    let more = found.len().saturating_sub(NAMED);
    found.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!found.is_empty()).then(|| found.join(", ") + &more)
}

/// HOST072: the kernel looks for a route before kube-proxy's rules see the packet. Pods have one; it is what runs beside
/// them that asks without: API servers their webhooks, and programs on the host any Service.
pub(super) fn no_route_to_services(bare: &Bare<'_>) -> Option<Finding> {
    let routes = bare.fitness.routes.known()?;
    let services = bare.spec.network.service_cidr;
    let none =
        bare.seen.default_interface.is_absent() && !routes.iter().any(|route| route.destination.holds(&services));
    none.then(|| {
        let text = format!("it has no default route and none to {services}: nothing on it reaches a Service by its address, as API servers do with webhooks");
        warns(bare.host, "HOST072", text)
            .hint(format!("give it a default route, or `ip route add {services} dev …` with the interface of the cluster's network"))
    })
}

/// HOST058: the bridge plugin refuses a bridge whose address is not the one that this node's pods will have.
pub(super) fn left_bridge(bare: &Bare<'_>) -> Option<Finding> {
    let addresses = bare.seen.addresses.known()?;
    let left = addresses.iter().find(|address| address.interface == BRIDGE && address.address.is_ipv4())?;
    (bare.spec.network.cni.name == CniName::Flannel).then(|| {
        let text = format!(
            "the bridge {BRIDGE} of an earlier cluster is left, with {}/{}: pods could not be connected to it",
            left.address, left.prefix
        );
        blocks(bare.host, "HOST058", text).hint(format!("`ip link delete {BRIDGE}` on it"))
    })
}

/// HOST064.
pub(super) fn firewalls(bare: &Bare<'_>) -> Option<Finding> {
    let firewalls = bare.fitness.firewalls.known().filter(|firewalls| !firewalls.is_empty())?;
    let mut ports = vec!["10250 from control planes".to_owned()];
    if bare.host.is(Role::ControlPlane) {
        ports.push(format!("{} from all", bare.spec.api_port()));
    }
    if bare.host.is(Role::Etcd) {
        ports.push("2379 and 2380 from etcd members".to_owned());
    }
    if bare.spec.network.cni.name == CniName::Flannel {
        ports.push(format!("UDP {VXLAN} from all"));
    }
    Some(
        warns(
            bare.host,
            "HOST064",
            format!("a firewall is on ({}); what it lets through is not checked", firewalls.join(", ")),
        )
        .hint(format!("it must let in {}, and forward what pods send", ports.join(", "))),
    )
}

/// HOST063: facts are asked through the proxy that a login has; downloads and pulls run in services, which have none.
pub(super) fn proxy(bare: &Bare<'_>) -> Option<Finding> {
    let proxy = bare.fitness.proxy.known()?;
    let uncovered: Vec<String> = bare
        .spec
        .with_role(Role::ControlPlane)
        .map(|host| host.private_address)
        .filter(|address| !proxy.except.iter().any(|exception| covers(exception, *address)))
        .map(|address| address.to_string())
        .collect();
    let lacks =
        if uncovered.is_empty() { String::new() } else { format!(", and NO_PROXY lacks {}", uncovered.join(", ")) };
    let text = format!(
        "logins on it use the proxy {}; services do not, and kubewright downloads and pulls in services{lacks}",
        proxy.address
    );
    Some(
        warns(bare.host, "HOST063", text)
            .hint("use mirrors that it reaches directly (`spec.artefacts`), or give systemd the proxy (`DefaultEnvironment=` in /etc/systemd/system.conf.d) with the cluster's addresses in NO_PROXY"),
    )
}

/// Whether an entry of `NO_PROXY` holds for an address: everything, itself, or its network.
fn covers(exception: &str, address: IpAddr) -> bool {
    exception == "*"
        || exception.parse() == Ok(address)
        || Cidr::try_from(exception.to_owned()).is_ok_and(|network| network.contains(address))
}

/// HOST031: two hosts of the spec cannot both be where one address leads.
pub(super) fn one_address_each(input: super::Input<'_>, findings: &mut Vec<Finding>) {
    for host in &input.spec.hosts {
        let Some(Fact::Known { value: addresses, .. }) = input.facts.host(&host.name).map(|seen| &seen.addresses)
        else {
            continue;
        };
        for other in input.spec.hosts.iter().filter(|other| other.name != host.name) {
            let clash = addresses.iter().find(|address| address.address == other.private_address);
            if let Some(clash) = clash {
                let text = format!("it has {}'s address, {}, on {}", other.name, clash.address, clash.interface);
                findings.push(
                    blocks(host, "HOST031", text).hint(
                        "one of them answers for both: take it away here (`ip address del`), or correct the spec",
                    ),
                );
            }
        }
    }
}
