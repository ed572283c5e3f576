//! Kubernetes versions: `1.35.4`, and the minor `1.35` that rules hang on.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A minor release such as 1.35.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Minor {
    /// Always 1 so far.
    pub major: u64,
    /// 35 in 1.35.
    pub minor: u64,
}

/// Minors whose bootstrap is proved on the lab; others get finding `VER002` (DESIGN.md §5).
pub const PROVEN: [Minor; 3] = [Minor::new(1, 34), Minor::new(1, 35), Minor::new(1, 36)];

/// Oldest minor we render for: kubeadm's `v1beta4` configuration, which we write, appeared in 1.31.
pub const OLDEST: Minor = Minor::new(1, 31);

impl Minor {
    /// The minor `major.minor`.
    pub const fn new(major: u64, minor: u64) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Minor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl From<Minor> for String {
    fn from(minor: Minor) -> Self {
        minor.to_string()
    }
}

impl TryFrom<String> for Minor {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let (major, minor) = text.split_once('.').ok_or_else(|| VersionError(text.clone()))?;
        match (major.parse(), minor.parse()) {
            (Ok(major), Ok(minor)) => Ok(Self { major, minor }),
            _ => Err(VersionError(text)),
        }
    }
}

/// A full Kubernetes version such as 1.35.4; written without a leading `v`, read with or without.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct Version(semver::Version);

/// The text is not `major.minor.patch`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a Kubernetes version such as 1.35.4")]
pub struct VersionError(pub String);

impl Version {
    /// The version `major.minor.patch`.
    pub const fn new(major: u64, minor: u64, patch: u64) -> Self {
        Self(semver::Version::new(major, minor, patch))
    }

    /// The minor release this version belongs to.
    pub fn minor(&self) -> Minor {
        Minor::new(self.0.major, self.0.minor)
    }

    /// 4 in 1.35.4.
    pub fn patch(&self) -> u64 {
        self.0.patch
    }

    /// Whether it is from before its release, such as 1.37.0-rc.1.
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }

    /// With the leading `v` that image tags and download paths carry.
    pub fn tag(&self) -> String {
        format!("v{}", self.0)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        semver::Version::parse(text.strip_prefix('v').unwrap_or(text))
            .map(Self)
            .map_err(|_| VersionError(text.to_owned()))
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.to_string()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_v_is_accepted_and_dropped() {
        let version: Version = "v1.35.4".parse().unwrap();
        assert_eq!(version, Version::new(1, 35, 4));
        assert_eq!(version.to_string(), "1.35.4");
        assert_eq!(version.tag(), "v1.35.4");
        assert_eq!(version.minor(), Minor::new(1, 35));
    }

    #[test]
    fn a_minor_alone_is_not_a_version() {
        assert_eq!("1.35".parse::<Version>(), Err(VersionError("1.35".into())));
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(Version::new(1, 35, 10) > Version::new(1, 35, 9));
    }
}
