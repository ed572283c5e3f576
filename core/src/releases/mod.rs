//! What the programs of a Kubernetes release take: flags, feature gates, fields of their configuration. One file per minor, recorded
//! from the programs themselves by `xtask flags`. Of a minor without a file nothing is known, and nothing is claimed.

use crate::version::{Minor, Version};

/// The files, oldest first.
const FILES: [&str; 2] = [include_str!("1.35.txt"), include_str!("1.36.txt")];

/// The section of feature gates; all others are named after a program or a kind.
const GATES: &str = "featureGates";

/// One release, as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    version: Version,
    text: &'static str,
}

/// A feature gate of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// How far it has come: `alpha`, `beta`, `ga`, `deprecated`.
    pub stage: &'static str,
    /// Its value unless set, where the programs tell it: those that are still to be decided on.
    pub default: Option<bool>,
    /// The only value that it may be set to, where that is so.
    pub locked: Option<bool>,
}

impl Release {
    /// That of a minor, where one was recorded.
    pub fn of(minor: Minor) -> Option<Self> {
        Self::all().find(|release| release.minor() == minor)
    }

    /// All that were recorded, oldest first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        FILES.into_iter().filter_map(|text| {
            let (_, after) = text.split_once("# What the programs of Kubernetes ")?;
            let version = after.split(' ').next()?.parse().ok()?;
            Some(Self { version, text })
        })
    }

    /// Which it was: another patch of the minor may take a little more.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Its minor.
    pub fn minor(&self) -> Minor {
        self.version.minor()
    }

    /// What one of its programs, or one of its kinds of configuration, takes: flags without dashes, or top-level fields.
    pub fn taken_by(&self, owner: &str) -> impl Iterator<Item = &'static str> + use<> {
        let begin = format!("\n[{owner}]\n");
        let rest = self.text.split_once(begin.as_str()).map_or("", |(_, rest)| rest);
        rest.lines().take_while(|line| !line.is_empty())
    }

    /// Whether a program or a kind takes this. Programs read `_` in a flag as `-`.
    pub fn takes(&self, owner: &str, name: &str) -> bool {
        self.taken_by(owner).any(|known| known == name || known == name.replace('_', "-"))
    }

    /// Names of its feature gates.
    pub fn gates(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.taken_by(GATES).filter_map(|line| line.split(' ').next())
    }

    /// A feature gate, where it has one of this name.
    pub fn gate(&self, name: &str) -> Option<Gate> {
        let mut words = self
            .taken_by(GATES)
            .map(|line| line.split(' '))
            .find_map(|mut words| (words.next() == Some(name)).then_some(words))?;
        let stage = words.next()?;
        let (default, locked) = match (words.next(), words.next()) {
            (Some("locked"), Some(value)) => (None, value.parse().ok()),
            (Some(value), _) => (value.parse().ok(), None),
            (None, _) => (None, None),
        };
        Some(Gate { stage, default, locked })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const OWNERS: [&str; 6] = [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "KubeletConfiguration",
        "KubeProxyConfiguration",
    ];

    #[test]
    fn every_file_has_a_release_and_every_section_something() {
        let releases: Vec<Release> = Release::all().collect();
        assert_eq!(releases.len(), FILES.len());
        assert!(releases.windows(2).all(|pair| pair[0].minor() < pair[1].minor()));
        for release in &releases {
            assert_eq!(Release::of(release.minor()).as_ref(), Some(release));
            for owner in OWNERS {
                let taken: Vec<&str> = release.taken_by(owner).collect();
                assert!(taken.len() > 10, "{} {owner}", release.minor());
                assert_eq!(taken.len(), taken.iter().collect::<BTreeSet<_>>().len(), "each once");
            }
            for name in release.gates() {
                let gate = release.gate(name).unwrap();
                let decided = matches!(gate.stage, "ga" | "deprecated");
                assert!(decided || matches!(gate.stage, "alpha" | "beta"), "{name}: {gate:?}");
                assert_eq!(gate.default.is_none(), decided, "{name}: {gate:?}");
            }
        }
        assert_eq!(Release::of(Minor::new(1, 30)), None);
    }

    /// A few facts that everybody can look up.
    #[test]
    fn files_hold_what_is_known_of_the_releases() {
        let (old, new) = (Release::of(Minor::new(1, 35)).unwrap(), Release::of(Minor::new(1, 36)).unwrap());
        assert!(old.takes("kube-apiserver", "audit-log-maxage") && old.takes("kube-apiserver", "audit_log_maxage"));
        assert!(!old.takes("kube-scheduler", "audit-log-maxage"));
        assert!(new.takes("kube-apiserver", "apiserver-count"), "help hides it, the program takes it");
        assert!(new.takes("KubeletConfiguration", "failCgroupV1") && new.takes("KubeProxyConfiguration", "mode"));
        assert_eq!(old.gate("ImageVolume"), Some(Gate { stage: "beta", default: Some(true), locked: None }));
        assert_eq!(new.gate("ImageVolume"), Some(Gate { stage: "ga", default: None, locked: Some(true) }));
        assert!(old.gate("AnyVolumeDataSource").is_some());
        assert_eq!(new.gate("Nonsense"), None);
        assert!(old.gates().any(|gate| new.gate(gate).is_none()), "something goes with every minor");
    }
}
