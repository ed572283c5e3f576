//! A share of the keys. What is remembered of each row takes memory, and a file may have more rows than there is: so many are taken in
//! several goes over the file, of each the rows whose keys are in its share.

use std::hash::{DefaultHasher, Hasher as _};

/// Memory for what is remembered of rows in one go. A Kubernetes database of 1 GB needs less of it for its lineages, so that one go does.
const MEMORY: usize = 32 << 20;

/// A fingerprint of a key, of which 95 bits are kept.
pub(crate) fn fingerprint(key: &[u8]) -> u128 {
    let mut hash = DefaultHasher::new();
    hash.write(key);
    let low = hash.finish();
    hash.write_u8(1);
    u128::from(hash.finish()) << 64 | u128::from(low)
}

/// One of several shares, or all keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    number: u64,
    of: u64,
}

impl Share {
    /// Of all keys.
    pub const ALL: Self = Self { number: 0, of: 1 };

    /// How many rows can be remembered in one go as a `T` each.
    pub const fn at_once<T>() -> usize {
        MEMORY / size_of::<T>()
    }

    /// As many shares as this many rows need.
    pub fn needed<T>(rows: u64) -> impl Iterator<Item = Self> {
        // With room for shares that are not even.
        Self::split(rows / (Self::at_once::<T>() as u64 * 9 / 10) + 1)
    }

    pub(super) fn split(shares: u64) -> impl Iterator<Item = Self> {
        (0..shares).map(move |number| Self { number, of: shares })
    }

    /// Whether it is of all keys.
    pub fn is_all(self) -> bool {
        self.of == 1
    }

    /// Whether a key with this fingerprint is in it.
    pub fn has(self, fingerprint: u128) -> bool {
        (fingerprint >> 64) as u64 % self.of == self.number
    }
}
