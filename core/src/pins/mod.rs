//! What was pinned: the digest of every program and image of a cluster, in a lock file beside the spec, so that what is
//! published may change and what is installed may not.
//!
//! The names of things hold no address, so that a mirror changes nothing. The file is written by kubewright alone; it
//! ends with a sum over its lines, without which a lost line would look like one that was never there, and be filled
//! in from whatever is published by then.

mod file;

use std::collections::BTreeMap;
use std::fmt;

pub use file::{Damaged, Pinned, file_name, read};

/// One thing that has a digest. Programs come before images.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// A program or an archive of some.
    Program {
        /// Such as `kubelet`.
        name: String,
        /// With a leading `v`.
        version: String,
        /// As Go calls it, such as `amd64`.
        arch: String,
    },
    /// An image of all its architectures, such as `registry.k8s.io/pause:3.10.1`.
    Image(String),
}

impl Item {
    /// Its key in the lock file.
    pub fn key(&self) -> String {
        match self {
            Self::Program { name, version, arch } => format!("{name}/{version}/{arch}"),
            Self::Image(reference) => reference.clone(),
        }
    }

    /// The program of that key; `None` where it is not made of three parts.
    fn program(key: &str) -> Option<Self> {
        let mut parts = key.split('/').map(str::to_owned);
        let (Some(name), Some(version), Some(arch), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return None;
        };
        let whole = [&name, &version, &arch].iter().all(|part| !part.is_empty());
        whole.then_some(Self::Program { name, version, arch })
    }
}

impl fmt::Display for Item {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program { name, version, arch } => write!(formatter, "{name} {version} for {arch}"),
            Self::Image(reference) => formatter.write_str(reference),
        }
    }
}

/// Digests by what they are of, each `sha256:` and 64 hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins(BTreeMap<Item, String>);

impl Pins {
    /// The digest of a thing, if it is pinned.
    pub fn get(&self, item: &Item) -> Option<&str> {
        self.0.get(item).map(String::as_str)
    }

    /// Pins a thing in place of what it was pinned to.
    pub fn insert(&mut self, item: Item, digest: impl Into<String>) {
        self.0.insert(item, digest.into());
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&Item, &str)> {
        self.0.iter().map(|(item, digest)| (item, digest.as_str()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that the other does not have at all, whatever their digests.
    #[must_use]
    pub fn beyond(&self, other: &Self) -> Self {
        Self(self.0.iter().filter(|(item, _)| !other.0.contains_key(item)).map(owned).collect())
    }

    /// Those that the other has under another digest.
    #[must_use]
    pub fn unlike(&self, other: &Self) -> Self {
        let differs = |(item, digest): &(&Item, &String)| other.0.get(item).is_some_and(|theirs| theirs != *digest);
        Self(self.0.iter().filter(differs).map(owned).collect())
    }

    /// These and what the other has beyond them.
    #[must_use]
    pub fn with(mut self, other: &Self) -> Self {
        self.0.extend(other.beyond(&self).0);
        self
    }
}

impl FromIterator<(Item, String)> for Pins {
    fn from_iter<I: IntoIterator<Item = (Item, String)>>(pins: I) -> Self {
        Self(pins.into_iter().collect())
    }
}

fn owned((item, digest): (&Item, &String)) -> (Item, String) {
    (item.clone(), digest.clone())
}
