//! When the kubelet finds a disk full: its hard eviction thresholds, as the spec sets them or as they are by default.

use serde_json::Value;

use crate::facts::Space;
use crate::spec::Spec;

/// The kubelet's defaults, in its own notation.
const DEFAULTS: [(Signal, &str); 4] = [
    (Signal::ImagesAvailable, "15%"),
    (Signal::NodeAvailable, "10%"),
    (Signal::ImagesInodes, "5%"),
    (Signal::NodeInodes, "5%"),
];

/// What is compared with a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    ImagesAvailable,
    NodeAvailable,
    ImagesInodes,
    NodeInodes,
}

impl Signal {
    /// The kubelet's name for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::ImagesAvailable => "imagefs.available",
            Self::NodeAvailable => "nodefs.available",
            Self::ImagesInodes => "imagefs.inodesFree",
            Self::NodeInodes => "nodefs.inodesFree",
        }
    }

    /// The folder whose file system is meant.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::ImagesAvailable | Self::ImagesInodes => "/var/lib/containerd",
            Self::NodeAvailable | Self::NodeInodes => "/var/lib/kubelet",
        }
    }

    /// Whether files are counted, and not bytes.
    pub(super) fn counts_files(self) -> bool {
        matches!(self, Self::ImagesInodes | Self::NodeInodes)
    }

    /// What is left of it and what there is at all.
    pub(super) fn of(self, space: &Space) -> Option<(u64, u64)> {
        if self.counts_files() {
            Some((space.free_inodes?, space.total_inodes?))
        } else {
            Some((space.free_bytes, space.total_bytes?))
        }
    }
}

/// Below what a node counts as full.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Threshold {
    /// Of the whole, in hundredths of a percent, so that `7.5%` keeps its half.
    Share(u64),
    /// So much.
    Absolute(u64),
}

impl Threshold {
    /// What it comes to on a disk of this size.
    pub(super) fn least(self, total: u64) -> u64 {
        match self {
            Self::Share(share) => u64::try_from(u128::from(total) * u128::from(share) / 10_000).unwrap_or(u64::MAX),
            Self::Absolute(least) => least,
        }
    }

    /// `10%`, `1Gi`, `500M`.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(percent) = text.strip_suffix('%') {
            return thousandths(percent).map(|share| Self::Share(share.min(100_000) / 10));
        }
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit: u128 = match &text[digits.len()..] {
            "" => 1,
            "k" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            _ => return None,
        };
        let bytes = u128::from(thousandths(digits)?) * unit / 1000;
        Some(Self::Absolute(u64::try_from(bytes).unwrap_or(u64::MAX)))
    }
}

/// A decimal number in thousandths; digits behind the third are dropped.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if !part.bytes().all(|byte| byte.is_ascii_digit()) || !whole.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let padded: String = part.chars().chain("000".chars()).take(3).collect();
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(padded.parse().ok()?)
}

/// The thresholds that nodes of this spec will have. A value that cannot be read is the kubelet's to complain about.
pub(super) fn thresholds(spec: &Spec) -> Vec<(Signal, Threshold)> {
    let flag = spec.kubelet.extra_args.iter().rfind(|argument| argument.name == "eviction-hard");
    let config = &spec.kubelet.config;
    let set = |signal: Signal| match (flag, config.get("evictionHard")) {
        (Some(flag), _) => flag
            .value
            .split(',')
            .filter_map(|part| part.split_once('<'))
            .find(|(name, _)| name.trim() == signal.name())
            .map(|(_, value)| value.to_owned()),
        (None, Some(map)) => map.get(signal.name()).and_then(Value::as_str).map(str::to_owned),
        (None, None) => None,
    };
    // One threshold of the user's takes the place of all defaults, unless the kubelet is told to merge them.
    let untouched = flag.is_none() && config.get("evictionHard").is_none_or(Value::is_null);
    let merged = config.get("mergeDefaultEvictionSettings").and_then(Value::as_bool) == Some(true);
    DEFAULTS
        .into_iter()
        .filter_map(|(signal, default)| {
            let value = set(signal).or_else(|| (untouched || merged).then(|| default.to_owned()))?;
            Some((signal, Threshold::parse(&value)?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Arg, read};

    fn spec(kubelet: &str) -> Spec {
        let text = format!(
            "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: lab}}\nspec:\n  kubernetes: {{version: 1.35.4}}\n  \
             hosts:\n  - {{name: cp1, address: 10.77.0.11, roles: [controlPlane, etcd]}}\n{kubelet}"
        );
        read("test.yaml", &text).spec.unwrap()
    }

    #[test]
    fn notations() {
        for (text, expected) in [
            ("10%", Some(Threshold::Share(1000))),
            ("7.5%", Some(Threshold::Share(750))),
            ("900%", Some(Threshold::Share(10_000))),
            ("1Gi", Some(Threshold::Absolute(1 << 30))),
            ("1.5G", Some(Threshold::Absolute(1_500_000_000))),
            ("100", Some(Threshold::Absolute(100))),
            ("99999999999Ti", Some(Threshold::Absolute(u64::MAX))),
            ("", None),
            ("%", None),
            ("-1Gi", None),
            ("1 Gi", None),
            ("1é", None),
            ("1Pb", None),
        ] {
            assert_eq!(Threshold::parse(text), expected, "{text}");
        }
        assert_eq!(Threshold::Share(1500).least(u64::MAX), 2_767_011_611_056_432_742);
    }

    #[test]
    fn what_the_user_sets_takes_the_place_of_all_defaults() {
        let names = |spec: &Spec| thresholds(spec).into_iter().map(|(signal, _)| signal.name()).collect::<Vec<_>>();
        assert_eq!(names(&spec("")).len(), 4);
        let one = "  kubelet: {config: {evictionHard: {nodefs.available: 1Gi}}}\n";
        assert_eq!(thresholds(&spec(one)), [(Signal::NodeAvailable, Threshold::Absolute(1 << 30))]);
        let merged =
            "  kubelet: {config: {mergeDefaultEvictionSettings: true, evictionHard: {nodefs.available: 1Gi}}}\n";
        assert_eq!(names(&spec(merged)).len(), 4);
        let mut flag = spec(one);
        let value = "imagefs.available<20%,memory.available<100Mi".to_owned();
        flag.kubelet.extra_args.push(Arg { name: "eviction-hard".to_owned(), value });
        assert_eq!(thresholds(&flag), [(Signal::ImagesAvailable, Threshold::Share(2000))], "flags win");
    }
}
