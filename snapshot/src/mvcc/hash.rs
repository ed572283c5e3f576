//! HashKV, exactly as etcd's `mvcc/hash.go` computes it, which has been the same from 3.5 to 3.7.

use serde::Serialize;

use super::{Census, Row};

/// What the members of a cluster answer when asked for HashKV. Equal hashes mean equal contents where both revisions are
/// equal too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HashKv {
    /// CRC-32C over the rows up to the revision.
    pub hash: u32,
    /// The revision it is of.
    pub revision: i64,
    /// Where history begins; -1 where nothing was compacted. Right after a compaction a server may answer with the one
    /// before: such an answer cannot be compared.
    pub compact_revision: i64,
}

/// A hash in the making.
pub(crate) struct Hasher<'a> {
    census: &'a Census,
    hash: u32,
}

impl<'a> Hasher<'a> {
    pub fn new(census: &'a Census) -> Self {
        Self { census, hash: crc32c::crc32c(b"key") }
    }

    /// The next row of the bucket, the how manieth it is.
    pub fn note(&mut self, number: u32, row: &Row<'_>) {
        let census = self.census;
        let main = row.revision.main;
        if main > census.revision {
            return;
        }
        // What a compaction is about to remove; etcd removes nothing where nothing would stay.
        let doomed = main <= census.compact_revision && census.alive.len() > 0 && !census.alive.has(number);
        // Servers before 3.5.16 removed such a tombstone and later ones keep it: neither hashes it.
        if doomed || (main == census.compact_revision && row.tombstone) {
            return;
        }
        self.hash = crc32c::crc32c_append(self.hash, row.raw.0);
        self.hash = crc32c::crc32c_append(self.hash, row.raw.1);
    }

    pub fn finish(self) -> HashKv {
        HashKv { hash: self.hash, revision: self.census.revision, compact_revision: self.census.compact_revision }
    }
}
