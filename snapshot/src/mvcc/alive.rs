//! Which rows are what a reader sees at a revision: of each key the last one, unless it is a deletion.
//!
//! Rows come in the order of revisions, so that a row cannot know of its successors when it is read. A row is remembered
//! as 16 bytes, whatever the length of its key, and sorted afterwards; many rows are taken in several goes over the file.

use super::share::{Share, fingerprint};

/// Bits of what is remembered: from the top a fingerprint of the key, the row's number, whether it is a deletion.
///
/// Fingerprints take the place of keys: among ten million keys the chance that any two share one is 10⁻¹⁵, less than that
/// of a fault in memory.
const ROW_BITS: u32 = 32;

/// The rows of one share of the keys.
#[derive(Debug)]
pub(crate) struct Lineages {
    share: Share,
    rows: Vec<u128>,
    full: bool,
}

impl Lineages {
    /// Of all keys at once, as far as they fit.
    pub fn whole() -> Self {
        Self::of(Share::ALL)
    }

    /// In as many goes as this many rows need.
    pub fn shares(rows: u64) -> impl Iterator<Item = Self> {
        Share::needed::<u128>(rows).map(Self::of)
    }

    fn of(share: Share) -> Self {
        Self { share, rows: Vec::new(), full: false }
    }

    /// The next row of the bucket.
    pub fn note(&mut self, row: u32, key: &[u8], tombstone: bool) {
        if self.full {
            return;
        }
        let fingerprint = fingerprint(key);
        if !self.share.has(fingerprint) {
            return;
        }
        if self.rows.len() == Share::at_once::<u128>() && self.share.is_all() {
            self.full = true;
            self.rows = Vec::new();
            return;
        }
        self.rows.push((fingerprint << (ROW_BITS + 1)) | u128::from(row) << 1 | u128::from(tombstone));
    }

    /// Whether there were more rows than can be remembered; then nothing is known.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Adds the living ones.
    pub fn settle(mut self, alive: &mut Alive) {
        self.rows.sort_unstable();
        let mut rows = self.rows.iter().peekable();
        while let Some(row) = rows.next() {
            let same = |next: &&&u128| **next >> (ROW_BITS + 1) == row >> (ROW_BITS + 1);
            let is_last = rows.peek().filter(same).is_none();
            if is_last && row & 1 == 0 {
                alive.add((row >> 1) as u32);
            }
        }
    }
}

/// The rows that are alive: one bit each.
#[derive(Debug, Default)]
pub(crate) struct Alive {
    bits: Vec<u64>,
    number: u64,
}

impl Alive {
    /// Adds a row, which must not be in yet.
    pub fn add(&mut self, row: u32) {
        let index = row as usize / 64;
        if self.bits.len() <= index {
            self.bits.resize(index + 1, 0);
        }
        if let Some(word) = self.bits.get_mut(index) {
            *word |= 1 << (row % 64);
            self.number += 1;
        }
    }

    /// Whether this row is.
    pub fn has(&self, row: u32) -> bool {
        self.bits.get(row as usize / 64).is_some_and(|word| word & (1 << (row % 64)) != 0)
    }

    /// How many are.
    pub fn len(&self) -> u64 {
        self.number
    }
}

/// What is known about a file's rows at one revision.
#[derive(Debug)]
pub(crate) struct Census {
    /// The revision; the newest one where none was asked for.
    pub revision: i64,
    /// Where history begins; -1, as etcd has it, where nothing was compacted.
    pub compact_revision: i64,
    pub alive: Alive,
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Against the obvious way, in one go and in several.
        #[test]
        fn the_last_row_of_a_key_lives(rows in prop::collection::vec((0_u8..20, any::<bool>()), 0..200), shares in 1_u64..5) {
            let mut last = HashMap::new();
            for (number, (key, tombstone)) in rows.iter().enumerate() {
                last.insert(key, (number as u32, *tombstone));
            }
            let mut alive = Alive::default();
            for mut lineages in Share::split(shares).map(Lineages::of) {
                for (number, (key, tombstone)) in rows.iter().enumerate() {
                    lineages.note(number as u32, &[*key], *tombstone);
                }
                lineages.settle(&mut alive);
            }
            for number in 0..rows.len() as u32 + 70 {
                prop_assert_eq!(alive.has(number), last.values().any(|(row, dead)| *row == number && !dead));
            }
            prop_assert_eq!(alive.len() == 0, last.values().all(|(_, dead)| *dead));
        }
    }
}
