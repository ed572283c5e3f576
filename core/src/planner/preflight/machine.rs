//! Whether a machine can be a node: its system and its size.

use super::fitness::Bare;
use super::{blocks, tells, warns};
use crate::facts::{HostFacts, OsFamily};
use crate::finding::Finding;
use crate::spec::{Host, Role, Spec};
use crate::version::Minor;

const MIB: u64 = 1 << 20;

/// kubeadm's `ControlPlaneMem`.
const CONTROL_PLANE_MEMORY: u64 = 1700 * MIB;
/// kubeadm's `ControlPlaneNumCPU`.
const CONTROL_PLANE_CPUS: u32 = 2;
/// The first kubelet whose `failCgroupV1` is true unless set.
const REFUSES_CGROUP_V1: Minor = Minor::new(1, 35);
/// What the kubelet looks for before it starts; it names no others where it stops.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuset", "memory", "pids"];

/// HOST002.
pub(super) fn system(host: &Host, seen: &HostFacts) -> Option<Finding> {
    let os = seen.os.known().filter(|os| os.family != OsFamily::Debian)?;
    Some(
        blocks(host, "HOST002", format!("it runs {}, for which there are no playbooks", os.name))
            .hint("Debian and Ubuntu are proved; others are not supported yet"),
    )
}

/// HOST002: nothing is run on a system that nobody knows.
pub(super) fn unknown_system(bare: &Bare<'_>) -> Option<Finding> {
    let os = &bare.seen.os;
    let why = os.why().or(os.is_absent().then_some("there is no os-release"))?;
    Some(
        blocks(bare.host, "HOST002", format!("which operating system it runs cannot be told: {why}"))
            .hint("look at /etc/os-release on it; Debian and Ubuntu are proved"),
    )
}

/// HOST038.
pub(super) fn systemd(bare: &Bare<'_>) -> Option<Finding> {
    (bare.fitness.systemd.known() == Some(&false)).then(|| {
        blocks(
            bare.host,
            "HOST038",
            "systemd does not run it, and kubelet, containerd and our own steps are systemd units",
        )
        .hint("`ps -p 1` names what runs it; a container needs an image that boots with systemd")
    })
}

/// HOST017.
pub(super) fn swap(bare: &Bare<'_>) -> Option<Finding> {
    let devices = bare.seen.swap.known().filter(|devices| !devices.is_empty())?;
    bare.swap_goes.then(|| {
        let devices = devices.join(", ");
        warns(
            bare.host,
            "HOST017",
            format!("swap is on ({devices}); it will be turned off and commented out in /etc/fstab"),
        )
    })
}

/// HOST022.
pub(super) fn memory(bare: &Bare<'_>) -> Option<Finding> {
    let memory = *bare.seen.memory_bytes.known()?;
    (bare.host.is(Role::ControlPlane) && memory < CONTROL_PLANE_MEMORY).then(|| {
        let (has, wanted) = (memory / MIB, CONTROL_PLANE_MEMORY / MIB);
        warns(bare.host, "HOST022", format!("it has {has} MB of memory; kubeadm asks {wanted} MB of a control plane"))
    })
}

/// HOST023.
pub(super) fn cpus(bare: &Bare<'_>) -> Option<Finding> {
    let cpus = *bare.seen.cpus.known()?;
    (bare.host.is(Role::ControlPlane) && cpus < CONTROL_PLANE_CPUS).then(|| {
        let text = format!("it has {cpus} processor; kubeadm asks {CONTROL_PLANE_CPUS} of a control plane");
        warns(bare.host, "HOST023", text)
    })
}

/// HOST024, HOST025.
pub(in crate::planner) fn cgroups(spec: &Spec, host: &Host, seen: &HostFacts) -> Option<Finding> {
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

/// HOST036: Raspberry Pi OS, for one, boots without `memory`.
pub(super) fn controllers(bare: &Bare<'_>) -> Option<Finding> {
    let offered = bare.fitness.cgroup_controllers.known()?;
    let missing: Vec<&str> =
        CONTROLLERS.into_iter().filter(|wanted| !offered.iter().any(|offered| offered == wanted)).collect();
    (!missing.is_empty()).then(|| {
        let text = format!("its kernel offers no cgroup controller {}: the kubelet does not start", missing.join(", "));
        blocks(bare.host, "HOST036", text)
            .hint("put `cgroup_enable=memory cgroup_memory=1`, or what else names them, on the kernel's command line and reboot")
    })
}

/// TIME007: a container's clock is the business of the machine beneath it.
pub(super) fn own_clock(bare: &Bare<'_>) -> Option<Finding> {
    let alone = bare.fitness.clock_synchronised.known() == Some(&false) && bare.seen.container.known().is_none();
    alone.then(|| {
        tells(bare.host, "TIME007", "its clock follows no time server, or has not found one yet")
            .hint("`timedatectl set-ntp true`, or install chrony")
    })
}
