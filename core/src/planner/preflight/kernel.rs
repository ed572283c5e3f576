//! The kernel: its version, its modules, and its settings, as far as somebody of ours fails without them.

use serde_json::Value;

use super::fitness::Bare;
use super::{blocks, tells, warns};
use crate::facts::{Fact, Module};
use crate::finding::Finding;
use crate::spec::{CniName, KubeProxyMode, Spec};

/// A release, as far as it is compared.
type Release = (u64, u64);

/// kube-proxy ends at once on an older kernel in mode nftables (kubernetes.io, "Linux Kernel Version Requirements").
const NFTABLES_NEEDS: Release = (5, 13);
/// The oldest long-term kernel that kubeadm's system validators accept since 1.32.
const OLDEST: Release = (4, 19);
/// From here on cgroup v2 is recommended by the same validators: before it the root of the tree has no freezer.
const CGROUP_V2_WANTS: Release = (5, 8);
/// systemd, containerd, kubelet and the usual system pods take about forty; the kernel's default is this, and whatever
/// is below was lowered by somebody.
const INOTIFY_INSTANCES: u64 = 128;
/// All containers of a machine share one allowance: root's. Eight nodes of forty, and as many again for their pods.
const INOTIFY_INSTANCES_SHARED: u64 = 512;
/// kube-proxy's own defaults for `conntrack.maxPerCore` and `conntrack.min`.
const CONNTRACK_PER_CORE: u64 = 32_768;
const CONNTRACK_LEAST: u64 = 131_072;

/// What the kubelet writes at its start, and ends if it cannot (`setupKernelTunables`).
const KUBELET_SETTINGS: [(&str, u64); 6] = [
    ("vm.overcommit_memory", 1),
    ("vm.panic_on_oom", 0),
    ("kernel.panic", 10),
    ("kernel.panic_on_oops", 1),
    ("kernel.keys.root_maxkeys", 1_000_000),
    ("kernel.keys.root_maxbytes", 25_000_000),
];

/// HOST033.
pub(super) fn too_old_for_nftables(bare: &Bare<'_>) -> Option<Finding> {
    let kernel = bare.seen.kernel.known()?;
    let old = release(kernel)? < NFTABLES_NEEDS;
    (old && bare.spec.network.kube_proxy.mode == KubeProxyMode::Nftables).then(|| {
        blocks(bare.host, "HOST033", format!("its kernel is {kernel}; kube-proxy needs 5.13 for nftables"))
            .hint("install a newer kernel, or set `spec.network.kubeProxy.mode: iptables`")
    })
}

/// HOST034.
pub(super) fn old(bare: &Bare<'_>) -> Option<Finding> {
    let kernel = bare.seen.kernel.known()?;
    let release = release(kernel)?;
    let reason = if release < OLDEST {
        "Kubernetes is tested from 4.19 on"
    } else if release < CGROUP_V2_WANTS && bare.seen.cgroup_version.known() == Some(&2) {
        "5.8 is recommended for cgroup v2"
    } else {
        return None;
    };
    Some(warns(bare.host, "HOST034", format!("its kernel is {kernel}; {reason}")).hint("install a newer kernel"))
}

/// `6.1.0-18-amd64` is (6, 1).
fn release(kernel: &str) -> Option<Release> {
    let mut numbers = kernel.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// HOST050.
pub(super) fn modules(bare: &Bare<'_>) -> Option<Finding> {
    let mut needed = vec![("overlay", "containerd's images")];
    if bare.spec.network.kube_proxy.mode == KubeProxyMode::Nftables {
        needed.push(("nf_tables", "kube-proxy"));
    }
    if bare.spec.network.cni.name == CniName::Flannel {
        needed.push(("vxlan", "flannel"));
    }
    let missing: Vec<String> = needed
        .into_iter()
        .filter_map(|(module, whose)| Some(format!("{module} for {whose} {}", lacking(bare, module)?)))
        .collect();
    (!missing.is_empty()).then(|| {
        blocks(bare.host, "HOST050", format!("kernel modules cannot be had: {}", missing.join(", ")))
            .hint("install the kernel's whole package (`linux-image-…`, `linux-modules-extra-…`); on a container load them on the machine beneath")
    })
}

/// HOST051: a kernel whose bridges know no netfilter lets nothing cross them unseen either.
pub(super) fn bridge_filter(bare: &Bare<'_>) -> Option<Finding> {
    let how = lacking(bare, "br_netfilter")?;
    Some(
        warns(
            bare.host,
            "HOST051",
            format!("the kernel module br_netfilter {how}; traffic between pods of one node may pass kube-proxy by"),
        )
        .hint("harmless where the kernel's bridges know no netfilter; else `modprobe br_netfilter` says what is wrong"),
    )
}

/// Why a module cannot be had, if so.
fn lacking(bare: &Bare<'_>, module: &str) -> Option<&'static str> {
    match bare.fitness.modules.get(module)? {
        Fact::Absent => Some("is not there"),
        Fact::Known { value: Module::Forbidden, .. } => Some("is forbidden in /etc/modprobe.d"),
        Fact::Known { value: Module::Present | Module::Loadable, .. } | Fact::Unreadable { .. } => None,
    }
}

/// HOST052: settings that preparation, kubelet or kube-proxy would change and cannot.
pub(super) fn settings(bare: &Bare<'_>) -> Option<Finding> {
    let sysctls = bare.fitness.sysctls.known()?;
    let stuck: Vec<String> = wanted(bare)
        .into_iter()
        .filter_map(|wanted| {
            let sysctl = sysctls.get(wanted.name)?;
            let fits = match sysctl.value.parse::<u64>() {
                Ok(now) if wanted.at_least => now >= wanted.value,
                Ok(now) => now == wanted.value,
                Err(_) => false,
            };
            let helpless = !sysctl.writable || wanted.only_looked_at;
            (!fits && helpless)
                .then(|| format!("{} is {}, {} wants {}", wanted.name, sysctl.value, wanted.whose, wanted.value))
        })
        .collect();
    (!stuck.is_empty()).then(|| {
        blocks(bare.host, "HOST052", format!("kernel settings are wrong and will stay so: {}", stuck.join("; ")))
            .hint("set them there (`sysctl -w`, /etc/sysctl.d); on a container, on the machine beneath it")
    })
}

/// A setting that somebody of ours fails without.
struct Wanted {
    name: &'static str,
    value: u64,
    whose: &'static str,
    /// A higher value will do.
    at_least: bool,
    /// Whoever wants it does not try to set it.
    only_looked_at: bool,
}

fn wanted(bare: &Bare<'_>) -> Vec<Wanted> {
    let spec = bare.spec;
    let exact = |name, value, whose| Wanted { name, value, whose, at_least: false, only_looked_at: false };
    let mut all = vec![exact("net.ipv4.ip_forward", 1, "pod traffic")];
    if !in_user_namespace(spec) {
        let protected = spec.kubelet.config.get("protectKernelDefaults").and_then(Value::as_bool) == Some(true);
        all.extend(
            KUBELET_SETTINGS
                .map(|(name, value)| Wanted { only_looked_at: protected, ..exact(name, value, "the kubelet") }),
        );
    }
    if let Some(value) = conntrack(spec, bare.seen.cpus.known().copied().unwrap_or(1)) {
        all.push(Wanted { at_least: true, ..exact("net.netfilter.nf_conntrack_max", value, "kube-proxy") });
    }
    all
}

/// Whether the kubelet forgives settings that it cannot write.
fn in_user_namespace(spec: &Spec) -> bool {
    let gates = spec.kubelet.config.get("featureGates");
    gates.and_then(|gates| gates.get("KubeletInUserNamespace")).and_then(Value::as_bool) == Some(true)
}

/// The size that kube-proxy gives the connection table, if it does.
fn conntrack(spec: &Spec, cpus: u32) -> Option<u64> {
    let config = spec.network.kube_proxy.config.get("conntrack");
    let number = |name: &str| config.and_then(|config| config.get(name)).and_then(Value::as_u64);
    let per_core = number("maxPerCore").unwrap_or(CONNTRACK_PER_CORE);
    let least = number("min").unwrap_or(CONNTRACK_LEAST);
    (per_core > 0).then(|| per_core.saturating_mul(cpus.into()).max(least))
}

/// HOST053.
pub(super) fn inotify(bare: &Bare<'_>) -> Option<Finding> {
    let setting = bare.fitness.sysctls.known()?.get("fs.inotify.max_user_instances")?;
    let shared = bare.seen.container.known().is_some();
    let wanted = if shared { INOTIFY_INSTANCES_SHARED } else { INOTIFY_INSTANCES };
    let has = setting.value.parse::<u64>().ok().filter(|has| *has < wanted)?;
    let whose = if shared { "all containers of its machine share them, and each node" } else { "a node" };
    let text = format!("fs.inotify.max_user_instances is {has}; {whose} takes about forty, and more for its pods");
    Some(warns(bare.host, "HOST053", text).hint(format!(
        "`sysctl -w fs.inotify.max_user_instances={INOTIFY_INSTANCES_SHARED}`, and the same in /etc/sysctl.d"
    )))
}

/// HOST055.
pub(super) fn selinux(bare: &Bare<'_>) -> Option<Finding> {
    bare.fitness.selinux.known().filter(|mode| *mode == "enforcing").map(|_| {
        tells(
            bare.host,
            "HOST055",
            "SELinux is enforcing; containers are built without its labels, and it may refuse them",
        )
        .hint("`ausearch -m avc -ts recent` shows what it refused; `setenforce 0` while you look")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_of_every_fashion() {
        for (kernel, expected) in [
            ("6.1.0-18-amd64", Some((6, 1))),
            ("5.15.0-1051-aws", Some((5, 15))),
            ("6.18.44", Some((6, 18))),
            ("5.10-rc1", Some((5, 10))),
            ("", None),
            ("linux", None),
            ("99999999999999999999.1", None),
        ] {
            assert_eq!(release(kernel), expected, "{kernel}");
        }
    }
}
