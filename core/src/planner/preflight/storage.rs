//! Disks: room, files that may still be made, how they are mounted, and how fast etcd's is.

use std::collections::BTreeMap;

use super::eviction::{self, Signal};
use super::fitness::Bare;
use super::{about, blocks, warns};
use crate::facts::{Mount, Space};
use crate::finding::{Finding, Severity};
use crate::spec::Role;

const MB: u64 = 1_000_000;
const GB: u64 = 1_000_000_000;

/// Archives of 0.4 GB are kept beside what is unpacked of them while a host is prepared, 1.5 GB with the images.
const LEAST_ROOM: u64 = 2 * GB;
/// etcd grows to 2 GB by its own default, and the kubelet begins to evict pods when a tenth of the disk is left.
const GOOD_ROOM: u64 = 10 * GB;
/// Where programs and images are unpacked.
const UNPACKED: [&str; 3] = ["/var/lib", "/usr/local", "/var/lib/containerd"];
/// Where images, volumes, etcd's data and logs grow.
const GROWING: [&str; 3] = ["/var/lib", "/var/lib/containerd", "/var/lib/kubelet"];
/// Where programs are started from: ours, and the plugins of the network.
const PROGRAMS: [&str; 2] = ["/usr/local", "/opt"];
/// An image of a whole distribution has twenty to forty thousand files, and a node soon has a few of them.
const GOOD_INODES: u64 = 100_000;

const ETCD: &str = "/var/lib/etcd";
/// etcd allocates two segments of 64 MB for its log before it serves, and its database beside them.
const ETCD_LEAST: u64 = 200 * MB;
/// etcd's `--quota-backend-bytes` unless set.
const ETCD_QUOTA: u64 = 2 << 30;
/// etcd's own hardware guide: 99 of 100 syncs of its log should take less. Each write of the cluster waits for one on a
/// majority of the members, and a member that is much slower loses elections.
const GOOD_FSYNC_US: u64 = 10_000;
/// File systems that are gone with the next boot.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// HOST020, HOST040, HOST041, HOST021: the worst of them, since they are about the same disk.
pub(super) fn room(bare: &Bare<'_>) -> Option<Finding> {
    let space = bare.seen.space.known()?;
    let (folder, free) = tightest(space, &UNPACKED)?;
    if free < LEAST_ROOM {
        let needed = LEAST_ROOM / GB;
        let text = format!(
            "{folder} has {} free; programs and images alone need {needed} GB while they are unpacked",
            gigabytes(free)
        );
        return Some(blocks(bare.host, "HOST020", text).hint("free space, or give it a larger disk"));
    }
    if let Some(finding) = evicts(bare, space) {
        return Some(finding);
    }
    let (folder, free) = tightest(space, &GROWING)?;
    (free < GOOD_ROOM).then(|| {
        let free = gigabytes(free);
        let text = format!(
            "{folder} has {free} free; images, logs and etcd's data grow, and the kubelet evicts pods from a full disk"
        );
        warns(bare.host, "HOST021", text).hint(format!("{} GB leave room for them", GOOD_ROOM / GB))
    })
}

/// The folder with the least room; most machines have one disk for all.
fn tightest(space: &BTreeMap<String, Space>, folders: &[&'static str]) -> Option<(&'static str, u64)> {
    let rooms = folders.iter().filter_map(|folder| space.get(*folder).map(|room| (*folder, room.free_bytes)));
    rooms.min_by_key(|(_, free)| *free)
}

/// HOST040 where the kubelet would find the disk full at once, HOST041 where it would with what we bring.
fn evicts(bare: &Bare<'_>, space: &BTreeMap<String, Space>) -> Option<Finding> {
    let full = |brought: u64| {
        eviction::thresholds(bare.spec).into_iter().find_map(|(signal, threshold)| {
            let (folder, room) = place(space, signal.folder())?;
            let (free, total) = signal.of(room)?;
            let brought = if signal.counts_files() { 0 } else { brought };
            let least = threshold.least(total);
            (free.saturating_sub(brought) < least).then_some((signal, folder, free, total, least))
        })
    };
    let (code, severity, (signal, folder, free, total, least)) = match full(0) {
        Some(full) => ("HOST040", Severity::Blocks, full),
        None => ("HOST041", Severity::Warns, full(LEAST_ROOM)?),
    };
    let later = if severity == Severity::Warns {
        format!(", {} once programs and images are there", gigabytes(free.saturating_sub(LEAST_ROOM)))
    } else {
        String::new()
    };
    let (free, total, least) = (amount(signal, free), amount(signal, total), amount(signal, least));
    let text = format!(
        "{folder} has {free} of {total} free{later}; below {least} ({}) the kubelet takes a node for full and evicts its pods",
        signal.name()
    );
    Some(about(bare.host, severity, code, text).hint(format!(
        "free space there, or set `{}` in `spec.kubelet.config.evictionHard` to what this disk can spare",
        signal.name()
    )))
}

fn amount(signal: Signal, number: u64) -> String {
    if signal.counts_files() { format!("{number} files") } else { gigabytes(number) }
}

/// The file system that will hold a folder: its own, where it is there already, or that of the folder above.
fn place<'a>(space: &'a BTreeMap<String, Space>, folder: &'static str) -> Option<(&'static str, &'a Space)> {
    space.get(folder).map(|room| (folder, room)).or_else(|| Some(("/var/lib", space.get("/var/lib")?)))
}

fn gigabytes(bytes: u64) -> String {
    if bytes < GB { format!("{} MB", bytes / MB) } else { format!("{}.{} GB", bytes / GB, bytes % GB / (GB / 10)) }
}

/// HOST042.
pub(super) fn inodes(bare: &Bare<'_>) -> Option<Finding> {
    let (folder, room) = place(bare.seen.space.known()?, "/var/lib/containerd")?;
    let free = room.free_inodes.filter(|free| *free < GOOD_INODES)?;
    let text =
        format!("{folder} has room for {free} more files, however much space is free; an image has tens of thousands");
    Some(
        warns(bare.host, "HOST042", text).hint("`df -i` shows them; a file system is given its inodes when it is made"),
    )
}

/// HOST043.
pub(super) fn read_only(bare: &Bare<'_>) -> Option<Finding> {
    let folders = mounted(bare, &["/etc", "/opt", "/usr/local", "/var/lib"], |mount| mount.read_only);
    (!folders.is_empty()).then(|| {
        blocks(bare.host, "HOST043", format!("nothing can be written to {}: mounted read-only", folders.join(", ")))
            .hint("remount it with `mount -o remount,rw`; a disk with errors is mounted so by the kernel itself, see `dmesg`")
    })
}

/// HOST044.
pub(super) fn programs_cannot_start(bare: &Bare<'_>) -> Option<Finding> {
    let folders = mounted(bare, &PROGRAMS, |mount| mount.no_exec);
    (!folders.is_empty()).then(|| {
        let text = format!("programs cannot be started from {}: mounted noexec", folders.join(", "));
        blocks(bare.host, "HOST044", text).hint("kubelet, containerd and CNI plugins go there; remount it with exec")
    })
}

/// HOST045.
pub(super) fn volumes_cannot_start_programs(bare: &Bare<'_>) -> Option<Finding> {
    let folders = mounted(bare, &["/var/lib"], |mount| mount.no_exec);
    (!folders.is_empty()).then(|| {
        warns(
            bare.host,
            "HOST045",
            "/var/lib is mounted noexec: containers whose programs lie in a volume cannot start them",
        )
        .hint("give /var/lib/kubelet and /var/lib/containerd a file system of their own, or remount it with exec")
    })
}

fn mounted<'a>(bare: &Bare<'_>, folders: &[&'a str], is: fn(&Mount) -> bool) -> Vec<&'a str> {
    let Some(mounts) = bare.fitness.mounts.known() else { return Vec::new() };
    folders.iter().copied().filter(|folder| mounts.get(*folder).is_some_and(is)).collect()
}

/// HOST046: a cluster whose members all reboot would be gone.
pub(super) fn etcd_in_memory(bare: &Bare<'_>) -> Option<Finding> {
    let mount = bare.fitness.mounts.known()?.get(ETCD)?;
    (bare.host.is(Role::Etcd) && IN_MEMORY.contains(&mount.kind.as_str())).then(|| {
        let text = format!("{ETCD} is in memory ({}): this member's data is gone with the next boot", mount.kind);
        about(bare.host, Severity::NeedsConsent, "HOST046", text).hint("unmount it, or mount a disk there")
    })
}

/// HOST047.
pub(super) fn etcd_without_room(bare: &Bare<'_>) -> Option<Finding> {
    let (_, room) = etcd_space(bare).filter(|(_, room)| room.free_bytes < ETCD_LEAST)?;
    let text = format!(
        "{ETCD} has {} free; etcd takes {} before it serves",
        gigabytes(room.free_bytes),
        gigabytes(ETCD_LEAST)
    );
    Some(blocks(bare.host, "HOST047", text).hint("give it a larger disk, or none of its own"))
}

/// HOST048.
pub(super) fn etcd_below_its_quota(bare: &Bare<'_>) -> Option<Finding> {
    let arguments = &bare.spec.etcd.extra_args;
    let quota = arguments.iter().rfind(|argument| argument.name == "quota-backend-bytes");
    let quota = quota.and_then(|argument| argument.value.parse().ok()).filter(|quota| *quota > 0).unwrap_or(ETCD_QUOTA);
    let (folder, room) = etcd_space(bare)?;
    (folder == ETCD && (ETCD_LEAST..quota).contains(&room.free_bytes)).then(|| {
        let (free, quota) = (gigabytes(room.free_bytes), gigabytes(quota));
        warns(
            bare.host,
            "HOST048",
            format!("{ETCD} has {free} free; etcd's database may grow to {quota} and a full disk stops it"),
        )
        .hint("give it a larger disk, or lower `quota-backend-bytes` in `spec.etcd.extraArgs`")
    })
}

fn etcd_space<'a>(bare: &Bare<'a>) -> Option<(&'static str, &'a Space)> {
    if bare.host.is(Role::Etcd) { place(bare.seen.space.known()?, ETCD) } else { None }
}

/// HOST049.
pub(super) fn slow_disk(bare: &Bare<'_>) -> Option<Finding> {
    let latency = bare.fitness.fsync.known().filter(|latency| latency.p99_us > GOOD_FSYNC_US)?;
    let text = format!(
        "its disk kept small writes after {} at the median and {} at the 99th percentile ({} measured); etcd wants less than {} ms",
        milliseconds(latency.median_us),
        milliseconds(latency.p99_us),
        latency.writes,
        GOOD_FSYNC_US / 1000
    );
    Some(
        warns(bare.host, "HOST049", text)
            .hint("all writes of the cluster wait for it, and elections fail on it: give /var/lib/etcd an SSD of its own, or see what else writes"),
    )
}

fn milliseconds(microseconds: u64) -> String {
    format!("{}.{} ms", microseconds / 1000, microseconds % 1000 / 100)
}
