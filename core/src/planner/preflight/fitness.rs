//! Whether a machine that nothing was built on can become a node. Each check is a function from what was seen of the machine to
//! at most one finding; all of them are asked, so that everything that is wrong is told at once.

use super::{Input, dns, kernel, machine, network, packages, storage, tenants, unseen};
use crate::facts::{Fitness, HostFacts};
use crate::finding::Finding;
use crate::spec::{Host, Spec};

/// A machine that nothing was built on, and what it is to become.
pub(super) struct Bare<'a> {
    pub(super) spec: &'a Spec,
    pub(super) host: &'a Host,
    pub(super) seen: &'a HostFacts,
    /// All unreadable where nobody could ask.
    pub(super) fitness: &'a Fitness,
    /// Whether preparing it turns swap off.
    pub(super) swap_goes: bool,
}

type Check = fn(&Bare<'_>) -> Option<Finding>;

/// In the order of the files they stand in; findings are sorted anyway.
const CHECKS: [Check; 44] = [
    machine::unknown_system,
    machine::systemd,
    machine::swap,
    machine::memory,
    machine::cpus,
    |bare| machine::cgroups(bare.spec, bare.host, bare.seen),
    machine::controllers,
    machine::own_clock,
    kernel::too_old_for_nftables,
    kernel::old,
    kernel::modules,
    kernel::bridge_filter,
    kernel::settings,
    kernel::inotify,
    kernel::selinux,
    storage::room,
    storage::inodes,
    storage::read_only,
    storage::programs_cannot_start,
    storage::volumes_cannot_start_programs,
    storage::etcd_in_memory,
    storage::etcd_without_room,
    storage::etcd_below_its_quota,
    storage::slow_disk,
    network::own_address,
    network::ports,
    network::routes_into_ours,
    network::routes_around_ours,
    network::no_route_to_services,
    network::left_bridge,
    network::firewalls,
    network::proxy,
    dns::no_server,
    dns::loopback,
    dns::endpoint,
    dns::own_name,
    packages::lock,
    packages::broken,
    packages::programs,
    tenants::kubernetes,
    tenants::kubelet,
    tenants::runtimes,
    tenants::cni_first,
    tenants::cni_later,
];

/// All that makes a bare machine unfit, or less fit.
pub(super) fn findings(input: Input<'_>, host: &Host, seen: &HostFacts) -> Vec<Finding> {
    let nothing = Fitness::default();
    let bare = Bare {
        spec: input.spec,
        host,
        seen,
        fitness: seen.fitness.known().unwrap_or(&nothing),
        swap_goes: input.desired.hosts.get(&host.name).is_some_and(|desired| desired.preparation.swap_off),
    };
    CHECKS.iter().filter_map(|check| check(&bare)).chain(unseen::facts(&bare)).collect()
}
