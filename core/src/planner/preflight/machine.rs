//! Whether a machine can be a node: its system, its size, and what runs on it already.

use std::collections::BTreeMap;

use super::{Input, blocks, warns};
use crate::facts::{HostFacts, OsFamily, Space};
use crate::finding::Finding;
use crate::spec::{EndpointMode, Host, Role, Spec};
use crate::version::Minor;

const MIB: u64 = 1 << 20;
const GB: u64 = 1_000_000_000;

/// Archives of 0.4 GB are kept beside what is unpacked of them while a host is prepared, 1.5 GB with the images.
const LEAST_ROOM: u64 = 2 * GB;
/// etcd grows to 2 GB by its own default, and the kubelet begins to evict pods when a tenth of the disk is left.
const GOOD_ROOM: u64 = 10 * GB;
/// Where programs, images, etcd's data and logs go.
const FOLDERS: [&str; 2] = ["/var/lib", "/usr/local"];
/// kubeadm's `ControlPlaneMem`.
const CONTROL_PLANE_MEMORY: u64 = 1700 * MIB;
/// kubeadm's `ControlPlaneNumCPU`.
const CONTROL_PLANE_CPUS: u32 = 2;
/// The first kubelet whose `failCgroupV1` is true unless set.
const REFUSES_CGROUP_V1: Minor = Minor::new(1, 35);

/// HOST002.
pub(super) fn system(host: &Host, seen: &HostFacts) -> Option<Finding> {
    let os = seen.os.known().filter(|os| os.family != OsFamily::Debian)?;
    Some(
        blocks(host, "HOST002", format!("it runs {}, for which there are no playbooks", os.name))
            .hint("Debian and Ubuntu are proved; others are not supported yet"),
    )
}

/// All that makes a bare machine unfit, or less fit.
pub(super) fn fitness(input: Input<'_>, host: &Host, seen: &HostFacts) -> Vec<Finding> {
    let spec = input.spec;
    [
        swap(input, host, seen),
        room(host, seen),
        memory(host, seen),
        cpus(host, seen),
        cgroups(spec, host, seen),
        ports(spec, host, seen),
        package_lock(host, seen),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// HOST017.
fn swap(input: Input<'_>, host: &Host, seen: &HostFacts) -> Option<Finding> {
    let devices = seen.swap.known().filter(|devices| !devices.is_empty())?;
    let goes = input.desired.hosts.get(&host.name).is_some_and(|desired| desired.preparation.swap_off);
    goes.then(|| {
        let devices = devices.join(", ");
        warns(host, "HOST017", format!("swap is on ({devices}); it will be turned off and commented out in /etc/fstab"))
    })
}

/// HOST020, HOST021: the folder with the least room decides, since most machines have one disk for all.
fn room(host: &Host, seen: &HostFacts) -> Option<Finding> {
    let space: &BTreeMap<String, Space> = seen.space.known()?;
    let rooms = FOLDERS.iter().filter_map(|folder| space.get(*folder).map(|room| (*folder, room.free_bytes)));
    let (folder, free) = rooms.min_by_key(|(_, free)| *free)?;
    let told = format!("{}.{} GB", free / GB, free % GB / (GB / 10));
    if free < LEAST_ROOM {
        let text = format!(
            "{folder} has {told} free; programs and images alone need {} GB while they are unpacked",
            LEAST_ROOM / GB
        );
        return Some(blocks(host, "HOST020", text).hint("free space, or give it a larger disk"));
    }
    (free < GOOD_ROOM).then(|| {
        let text = format!(
            "{folder} has {told} free; images, logs and etcd's data grow, and the kubelet evicts pods from a full disk"
        );
        warns(host, "HOST021", text).hint(format!("{} GB leave room for them", GOOD_ROOM / GB))
    })
}

/// HOST022.
fn memory(host: &Host, seen: &HostFacts) -> Option<Finding> {
    let memory = *seen.memory_bytes.known()?;
    (host.is(Role::ControlPlane) && memory < CONTROL_PLANE_MEMORY).then(|| {
        let (has, wanted) = (memory / MIB, CONTROL_PLANE_MEMORY / MIB);
        warns(host, "HOST022", format!("it has {has} MB of memory; kubeadm asks {wanted} MB of a control plane"))
    })
}

/// HOST023.
fn cpus(host: &Host, seen: &HostFacts) -> Option<Finding> {
    let cpus = *seen.cpus.known()?;
    (host.is(Role::ControlPlane) && cpus < CONTROL_PLANE_CPUS).then(|| {
        let text = format!("it has {cpus} processor; kubeadm asks {CONTROL_PLANE_CPUS} of a control plane");
        warns(host, "HOST023", text)
    })
}

/// HOST024, HOST025.
fn cgroups(spec: &Spec, host: &Host, seen: &HostFacts) -> Option<Finding> {
    if *seen.cgroup_version.known()? != 1 {
        return None;
    }
    let fails = spec.kubelet.config.get("failCgroupV1").and_then(serde_json::Value::as_bool);
    let hint = "boot it with `systemd.unified_cgroup_hierarchy=1` on the kernel's command line";
    if fails.unwrap_or(spec.kubernetes.version.minor() >= REFUSES_CGROUP_V1) {
        let text = format!("it runs cgroup v1, with which the kubelet of {} does not start", spec.kubernetes.version);
        let hint = format!("{hint}, or set `spec.kubelet.config.failCgroupV1: false`");
        return Some(blocks(host, "HOST025", text).hint(hint));
    }
    Some(warns(host, "HOST024", "it runs cgroup v1, which Kubernetes will drop").hint(hint))
}

/// HOST026.
fn ports(spec: &Spec, host: &Host, seen: &HostFacts) -> Option<Finding> {
    let listening = seen.listening.known()?;
    let taken: Vec<String> = needed_ports(spec, host)
        .into_iter()
        .filter_map(|(port, whose)| {
            let process = listening.get(&port)?;
            let process = if process.is_empty() { "a process that cannot be seen" } else { process.as_str() };
            Some(format!("{port} ({whose}) by {process}"))
        })
        .collect();
    (!taken.is_empty()).then(|| {
        blocks(host, "HOST026", format!("ports are taken: {}", taken.join(", ")))
            .hint("stop what listens there; `ss -ltnp` on the host shows it")
    })
}

/// What will listen on a host, by its roles.
fn needed_ports(spec: &Spec, host: &Host) -> Vec<(u16, &'static str)> {
    let mut ports = vec![(10250, "kubelet"), (10248, "kubelet"), (10249, "kube-proxy"), (10256, "kube-proxy")];
    if host.is(Role::ControlPlane) {
        // Behind an endpoint of the user's the API server keeps kubeadm's port.
        let api = if spec.endpoint.mode == EndpointMode::External { 6443 } else { spec.endpoint.port };
        ports.extend([(api, "kube-apiserver"), (10259, "kube-scheduler"), (10257, "kube-controller-manager")]);
    } else if spec.endpoint.mode == EndpointMode::NodeLocal {
        ports.push((spec.endpoint.port, "kube-apiserver-proxy"));
    }
    if host.is(Role::Etcd) {
        ports.extend([(2379, "etcd"), (2380, "etcd"), (2381, "etcd")]);
    }
    ports.sort_unstable();
    ports
}

/// HOST027.
fn package_lock(host: &Host, seen: &HostFacts) -> Option<Finding> {
    let holder = seen.package_lock.known()?;
    let text = format!("the package manager is held by {holder}; preparing the host waits for it, but not for ever");
    Some(warns(host, "HOST027", text))
}
