//! Which versions may run beside which: Kubernetes' version skew policy
//! (<https://kubernetes.io/releases/version-skew-policy/>), and the way from one version to another.

use std::collections::BTreeMap;

use crate::facts::Running;
use crate::ids::HostName;
use crate::version::{Minor, Version};

/// A kubelet may be so many minors older than the API server it talks to (since 1.28; before it was two).
const KUBELET_BEHIND: u64 = 3;
/// kube-proxy likewise.
const PROXY_BEHIND: u64 = 3;
/// API servers of one cluster may be so many minors apart, and controller-manager and scheduler behind theirs.
const CONTROL_PLANE_APART: u64 = 1;

/// Why there is no way from one version to another.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoWay {
    /// Kubernetes does not go back: the API servers have written what older ones do not know.
    #[error("the cluster runs {from}, which is newer than {to}: Kubernetes does not go back")]
    Down {
        /// What runs.
        from: Version,
        /// What was asked for.
        to: Version,
    },
    /// Minors between were left out.
    #[error("from {from} to {to} a control plane goes through {}", listed(.through))]
    Skips {
        /// What runs before that hop.
        from: Version,
        /// Where it leads.
        to: Version,
        /// Minors that are left out.
        through: Vec<Minor>,
    },
}

fn listed(minors: &[Minor]) -> String {
    minors.iter().map(Minor::to_string).collect::<Vec<_>>().join(", ")
}

/// The minors between two versions, neither of theirs among them.
pub fn between(from: &Version, to: &Version) -> impl Iterator<Item = Minor> {
    let (from, to) = (from.minor(), to.minor());
    (from.minor + 1..to.minor).map(move |minor| Minor::new(to.major, minor))
}

/// Whether a control plane can go this way: from what its oldest API server runs through each of these, none twice, none
/// left out.
///
/// # Errors
/// [`NoWay`].
pub fn way(from: &Version, stations: &[Version]) -> Result<(), NoWay> {
    let mut at = from;
    for next in stations {
        if next < at {
            return Err(NoWay::Down { from: at.clone(), to: next.clone() });
        }
        let through: Vec<Minor> = between(at, next).collect();
        if !through.is_empty() {
            return Err(NoWay::Skips { from: at.clone(), to: next.clone(), through });
        }
        at = next;
    }
    Ok(())
}

/// Everything that may not run beside each other, in sentences; none where the policy holds.
///
/// `kubelets` are versions by node. A control plane's kubelet, controller-manager and scheduler talk to the API server
/// beside them; everybody else to any.
pub fn violations(running: &Running, kubelets: &BTreeMap<HostName, Version>) -> Vec<String> {
    let servers: BTreeMap<&HostName, &Version> = running
        .control_planes
        .iter()
        .filter_map(|(host, components)| Some((host, components.get("kube-apiserver")?)))
        .collect();
    let (Some(oldest), Some(newest)) = (servers.values().min().copied(), servers.values().max().copied()) else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    if behind(oldest, newest) > CONTROL_PLANE_APART {
        wrong.push(format!("API servers run {oldest} and {newest}, more than one minor apart"));
    }
    for (host, components) in &running.control_planes {
        let Some(server) = servers.get(host) else { continue };
        for (component, version) in components.iter().filter(|(name, _)| follows(name)) {
            let what = format!("{component} of {host}");
            wrong.extend(apart(&what, version, server, server, CONTROL_PLANE_APART));
        }
    }
    for (node, version) in kubelets {
        let server = servers.get(node).copied();
        let (lowest, highest) = (server.unwrap_or(oldest), server.unwrap_or(newest));
        wrong.extend(apart(&format!("the kubelet of {node}"), version, lowest, highest, KUBELET_BEHIND));
    }
    if let Some(version) = &running.kube_proxy {
        wrong.extend(apart("kube-proxy", version, oldest, newest, PROXY_BEHIND));
    }
    wrong
}

/// Whether a component follows the API server beside it.
fn follows(component: &str) -> bool {
    matches!(component, "kube-controller-manager" | "kube-scheduler")
}

/// Why something of one version may not talk to API servers between two others.
fn apart(what: &str, version: &Version, oldest: &Version, newest: &Version, most: u64) -> Option<String> {
    if version.minor() > oldest.minor() {
        return Some(format!("{what} runs {version}, newer than the API server's {oldest}"));
    }
    (behind(version, newest) > most)
        .then(|| format!("{what} runs {version}, more than {most} minors older than the API server's {newest}"))
}

/// By how many minors the first is older than the second.
fn behind(older: &Version, newer: &Version) -> u64 {
    newer.minor().minor.saturating_sub(older.minor().minor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(minor: u64) -> Version {
        Version::new(1, minor, 4)
    }

    fn running(servers: &[u64]) -> Running {
        let control_planes = servers.iter().enumerate().map(|(index, minor)| {
            let components = ["kube-apiserver", "kube-scheduler"].map(|name| (name.to_owned(), version(*minor)));
            (HostName::new(format!("cp{index}")), BTreeMap::from(components))
        });
        Running { control_planes: control_planes.collect(), kube_proxy: None }
    }

    fn kubelet(node: &str, minor: u64) -> BTreeMap<HostName, Version> {
        BTreeMap::from([(HostName::new(node), version(minor))])
    }

    #[test]
    fn a_way_leaves_no_minor_out_and_never_goes_back() {
        assert_eq!(way(&version(34), &[version(35), Version::new(1, 36, 3)]), Ok(()));
        assert_eq!(way(&version(35), &[Version::new(1, 35, 9)]), Ok(()), "a patch is a way");
        assert_eq!(way(&version(35), &[version(35)]), Ok(()), "what is there already is none that is wrong");
        let skips = way(&version(34), &[version(37)]).unwrap_err();
        assert_eq!(skips.to_string(), "from 1.34.4 to 1.37.4 a control plane goes through 1.35, 1.36");
        for older in [version(34), Version::new(1, 35, 3)] {
            assert!(matches!(way(&version(35), &[older]), Err(NoWay::Down { .. })));
        }
    }

    #[test]
    fn kubelets_follow_their_own_api_server_or_the_oldest() {
        let mixed = running(&[36, 35, 35]);
        assert_eq!(violations(&mixed, &kubelet("cp0", 36)), Vec::<String>::new(), "the one beside it");
        let found = violations(&mixed, &kubelet("w1", 36));
        assert_eq!(found, ["the kubelet of w1 runs 1.36.4, newer than the API server's 1.35.4"]);
        assert_eq!(violations(&mixed, &kubelet("w1", 33)), Vec::<String>::new());
        assert_eq!(violations(&mixed, &kubelet("w1", 32)).len(), 1, "four minors older than the newest");
    }

    #[test]
    fn kube_proxy_follows_the_oldest() {
        let newer = Running { kube_proxy: Some(version(36)), ..running(&[36, 35]) };
        assert_eq!(violations(&newer, &BTreeMap::new()).len(), 1);
    }

    #[test]
    fn what_nobody_saw_breaks_nothing() {
        assert!(violations(&Running::default(), &kubelet("w1", 36)).is_empty());
    }

    proptest! {
        /// One after the other through a way that is allowed, controllers beside their servers, never breaks the policy.
        #[test]
        fn a_way_taken_one_control_plane_after_the_other_holds_the_policy(
            servers in 1_usize..6, from in 31_u64..37, taken in 0_usize..6,
        ) {
            let mixed: Vec<u64> = (0..servers).map(|index| if index < taken { from + 1 } else { from }).collect();
            let kubelets: BTreeMap<HostName, Version> = mixed.iter().enumerate()
                .map(|(index, minor)| (HostName::new(format!("cp{index}")), version(*minor)))
                .chain([(HostName::new("w1"), version(from))]).collect();
            prop_assert_eq!(violations(&running(&mixed), &kubelets), Vec::<String>::new());
        }
    }
}
