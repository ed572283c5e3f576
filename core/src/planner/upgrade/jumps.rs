//! Versions of what Kubernetes stands on that a way must not jump over: etcd and containerd.

use std::collections::BTreeSet;

use super::Hop;
use crate::facts::etcd::{EtcdFacts, Sight};
use crate::facts::{ClusterFacts, Fact, Running};
use crate::finding::{Finding, Severity, Subject};
use crate::planner::turn::{Nodes, about};
use crate::spec::{Host, Role};
use crate::version::{Minor, Version};

/// Before 3.6 the list of members in its newer form may still hold members that left; 3.5.26 mends it, and 3.6 believes it
/// (<https://etcd.io/blog/2025/zombie_members_upgrade/>).
const MENDS_MEMBERS: Version = Version::new(3, 5, 26);
const BELIEVES_MEMBERS: Minor = Minor::new(3, 6);

/// The first kubelet that does not start with a containerd 1.x, which cannot tell its cgroup driver (KEP-4033): the kubelet of 1.36
/// still falls back to its own setting, and counts it under `cri_losing_support` with version 1.37.0.
const NEEDS_CONTAINERD_2: Minor = Minor::new(1, 37);

/// UPG008: every member, from what it runs through what each stop of the way brings.
pub(super) fn of_etcd(etcd: &Fact<EtcdFacts>, running: &Running, hops: &[Hop<'_>], nodes: Nodes<'_>) -> Vec<Finding> {
    let mut wrong: BTreeSet<(String, String)> = BTreeSet::new();
    for host in nodes.input.spec.with_role(Role::Etcd) {
        let Some(mut at) = runs(etcd, running, host) else { continue };
        for next in hops.iter().filter_map(|hop| comes(hop, host)) {
            if let Some((why, hint)) = jump(&at, &next) {
                wrong.insert((format!("etcd of {} runs {at}, and {next} comes: {why}", host.name), hint));
                break;
            }
            at = next;
        }
    }
    let blocks =
        |(text, hint): (String, String)| Finding::new(Severity::Blocks, "UPG008", Subject::Cluster, text).hint(hint);
    wrong.into_iter().map(blocks).collect()
}

/// Why one version may not follow another, and what to do.
fn jump(at: &Version, next: &Version) -> Option<(String, String)> {
    if next.minor() < at.minor() {
        let why = "etcd does not read what a newer one wrote".to_owned();
        let hint = "choose a version of Kubernetes that comes with this etcd or a newer one; etcd's own downgrade is not ours to do";
        return Some((why, hint.to_owned()));
    }
    if next.minor().major == at.minor().major && next.minor().minor > at.minor().minor + 1 {
        let why = "etcd goes from one minor to the next".to_owned();
        return Some((why, format!("let etcd {}.{} come first", at.minor().major, at.minor().minor + 1)));
    }
    (at.minor() < BELIEVES_MEMBERS && next.minor() >= BELIEVES_MEMBERS && *at < MENDS_MEMBERS).then(|| {
        let why = format!("members that left long ago would come back; {MENDS_MEMBERS} mends the list before");
        (why, "bring all members to 3.5.26 or newer first: a patch of the minor that runs has it".to_owned())
    })
}

/// The version that a host's member says, or that its pod's image has.
fn runs(etcd: &Fact<EtcdFacts>, running: &Running, host: &Host) -> Option<Version> {
    let said = etcd.known().and_then(|facts| match facts.sights.get(&facts.member_on(&host.name)?.id)? {
        Sight::Answers(answer) => answer.version.parse().ok(),
        _ => None,
    });
    said.or_else(|| running.control_planes.get(&host.name)?.get("etcd").map(plain))
}

/// The version that comes with a stop: the tag of its image.
fn comes(hop: &Hop<'_>, host: &Host) -> Option<Version> {
    let images = &hop.desired.hosts.get(&host.name)?.preparation.images;
    let tag = images.iter().find_map(|image| {
        let (name, tag) = image.reference.split('@').next()?.rsplit_once(':')?;
        name.ends_with("/etcd").then_some(tag)
    })?;
    tag.parse::<Version>().ok().as_ref().map(plain)
}

/// Without the revision of the image: `3.6.6-0` is etcd 3.6.6.
fn plain(version: &Version) -> Version {
    Version::new(version.minor().major, version.minor().minor, version.patch())
}

/// UPG009: a containerd that the new kubelet does not start with, or the one after it.
pub(super) fn of_containerd(host: &Host, cluster: &ClusterFacts, hops: &[Hop<'_>]) -> Option<Finding> {
    let runs = &cluster.nodes.get(&host.name)?.container_runtime;
    let version: Version = runs.strip_prefix("containerd://")?.parse().ok()?;
    let to = hops.last()?.version.minor();
    if version.minor().major >= 2 {
        return None;
    }
    let hint = "bring containerd 2 to it first, drained:  kubewright node maintain";
    Some(if to >= NEEDS_CONTAINERD_2 {
        let text = format!("it runs containerd {version}, with which the kubelet of {to} does not start");
        about(host, Severity::Blocks, "UPG009", text).hint(hint)
    } else {
        let text = format!("it runs containerd {version}; the kubelet of {NEEDS_CONTAINERD_2} does not start with it");
        about(host, Severity::Warns, "UPG009", text).hint(hint)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is_jump(at: Version, next: Version) -> bool {
        jump(&at, &next).is_some()
    }

    #[test]
    fn etcd_is_mended_before_it_believes_its_members_and_never_goes_back() {
        assert!(is_jump(Version::new(3, 5, 25), Version::new(3, 6, 6)));
        assert!(!is_jump(Version::new(3, 5, 26), Version::new(3, 6, 6)));
        assert!(!is_jump(Version::new(3, 5, 9), Version::new(3, 5, 26)));
        assert!(is_jump(Version::new(3, 6, 6), Version::new(3, 5, 26)));
        assert!(is_jump(Version::new(3, 4, 30), Version::new(3, 6, 6)));
        assert!(!is_jump(Version::new(3, 6, 8), Version::new(3, 6, 6)), "a patch may go back");
    }

    proptest! {
        #[test]
        fn a_step_that_is_let_pass_is_of_one_minor_at_most(from in 4_u64..9, patch in 0_u64..40, to in 4_u64..9) {
            let (at, next) = (Version::new(3, from, patch), Version::new(3, to, 0));
            let legal = to == from || (to == from + 1 && (to < 6 || from >= 6 || patch >= 26));
            prop_assert_eq!(!is_jump(at, next), legal);
        }
    }
}
