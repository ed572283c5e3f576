//! Whether what comes with another version has room on each node whose turn comes.

use std::collections::BTreeMap;

use super::Hop;
use crate::facts::{HostFacts, Space};
use crate::finding::{Finding, Severity};
use crate::planner::turn::about;
use crate::spec::{Host, Role};

const MB: u64 = 1_000_000;

/// A program of a version, beside the one that runs: kubelet, kubectl and kubeadm have 59 to 82 MB each in 1.35 and 1.36.
const PROGRAM: u64 = 90 * MB;
/// An image, packed and unpacked: kube-apiserver's, the largest of ours, has 30 MB packed and some 100 MB unpacked.
const IMAGE: u64 = 150 * MB;
/// Where programs go.
const PROGRAMS: &str = "/usr/local";
/// Where images go: the disk of their own, or the one that holds it.
const IMAGES: [&str; 2] = ["/var/lib/containerd", "/var/lib"];

/// UPG007. Control planes take every stop of the way, workers the last alone.
pub(super) fn for_software(host: &Host, seen: &HostFacts, hops: &[Hop<'_>]) -> Vec<Finding> {
    let Some(space) = seen.space.known() else { return Vec::new() };
    let stops = if host.is(Role::ControlPlane) { hops } else { hops.last().map(std::slice::from_ref).unwrap_or(&[]) };
    let (programs, images) = missing(host, seen, stops);
    let image_folder = IMAGES.into_iter().find(|folder| space.contains_key(*folder)).unwrap_or(IMAGES[1]);
    let mut wanted = BTreeMap::from([(PROGRAMS, programs * PROGRAM)]);
    *wanted.entry(image_folder).or_default() += images * IMAGE;
    // Facts do not name disks. Two folders with the same free bytes of the same size are on one.
    let disk = |folder: &str| space.get(folder).map(|room: &Space| (room.free_bytes, room.total_bytes));
    if disk(PROGRAMS) == disk(image_folder) {
        let both = wanted.values().sum();
        wanted = BTreeMap::from([(image_folder, both)]);
    }
    let lacks = |(folder, wanted): (&str, u64)| {
        let free = space.get(folder)?.free_bytes;
        (free < wanted).then(|| {
            let text = format!(
                "{folder} has {} MB free; programs and images of {} need about {} MB",
                free / MB,
                versions(stops),
                wanted / MB
            );
            about(host, Severity::Blocks, "UPG007", text).hint(
                "free space there, or give it a larger disk; `crictl rmi --prune` removes images that nothing uses",
            )
        })
    };
    wanted.into_iter().filter_map(lacks).collect()
}

/// How many programs and images of these stops a host does not have.
fn missing(host: &Host, seen: &HostFacts, stops: &[Hop<'_>]) -> (u64, u64) {
    let has_program = |name: &str, sha256: &str| {
        seen.artefacts.known().and_then(|all| all.get(name)).is_some_and(|runs| runs == sha256)
    };
    let has_image = |reference: &str| seen.images.known().is_some_and(|images| images.contains_key(reference));
    let (mut programs, mut images) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    for desired in stops.iter().filter_map(|stop| stop.desired.hosts.get(&host.name)) {
        let preparation = &desired.preparation;
        let versioned = preparation.artefacts.iter().filter(|artefact| artefact.link.is_some());
        programs.extend(versioned.filter(|one| !has_program(&one.name, &one.sha256)).map(|one| &one.destination));
        images.extend(preparation.images.iter().map(|one| &one.reference).filter(|reference| !has_image(reference)));
    }
    (programs.len() as u64, images.len() as u64)
}

fn versions(stops: &[Hop<'_>]) -> String {
    stops.iter().map(|stop| stop.version.to_string()).collect::<Vec<_>>().join(" and ")
}
