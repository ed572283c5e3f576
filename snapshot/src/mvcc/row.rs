//! One row: a revision, and the key and value that were written then.

use super::Revision;
use crate::bolt::Entry;
use crate::error::{Error, RowFault};
use crate::wire::{Fields, Value};

/// Eight bytes of main revision, `_`, eight of sub revision.
const LENGTH: usize = 17;
/// Behind them, where the row says that a key was deleted.
const TOMBSTONE: u8 = b't';

/// A change of a key. Everything is borrowed from the page it is on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub revision: Revision,
    /// Whether the key was deleted.
    pub tombstone: bool,
    /// The key; empty in the row that a restore writes to bump the revision.
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub lease: i64,
    /// As they are in the bucket: what hashes are made of.
    pub raw: (&'a [u8], &'a [u8]),
}

impl<'a> Row<'a> {
    /// Reads an entry of the key bucket.
    pub fn read(entry: &Entry<'a>) -> Result<Self, Error> {
        let wrong = |fault| entry.wrong("key", fault);
        let (revision, tombstone) = revision(entry.key).ok_or_else(|| wrong(RowFault::Revision))?;
        let mut row = Self { revision, tombstone, key: &[], value: &[], lease: 0, raw: (entry.key, entry.value) };
        let mut modified = None;
        for field in Fields::of(entry.value) {
            match field.ok_or_else(|| wrong(RowFault::Value))? {
                (1, Value::Bytes(key)) => row.key = key,
                (3, Value::Number(number)) => modified = Some(number.cast_signed()),
                (5, Value::Bytes(value)) => row.value = value,
                (6, Value::Number(number)) => row.lease = number.cast_signed(),
                (1 | 5, _) => return Err(wrong(RowFault::Value)),
                _ => {}
            }
        }
        // A restore that bumps the revision writes one row of no bytes; a tombstone has the key alone.
        match modified {
            _ if entry.value.is_empty() || (tombstone && !row.key.is_empty()) => Ok(row),
            Some(says) if says != revision.main => Err(wrong(RowFault::OtherRevision { filed: revision.main, says })),
            Some(_) if !row.key.is_empty() => Ok(row),
            _ => Err(wrong(RowFault::Value)),
        }
    }
}

/// What a key of the bucket says, and whether it says that a key was deleted.
fn revision(key: &[u8]) -> Option<(Revision, bool)> {
    let number = |at: usize| Some(i64::from_be_bytes(*key.get(at..)?.first_chunk()?)).filter(|number| *number >= 0);
    let tombstone = match key.get(LENGTH..)? {
        [] => false,
        [TOMBSTONE] => true,
        _ => return None,
    };
    (*key.get(8)? == b'_').then_some(())?;
    Some((Revision { main: number(0)?, sub: number(9)? }, tombstone))
}

/// The main revision that a value of the meta bucket is, in the same form.
pub(crate) fn main_revision(value: &[u8]) -> Option<i64> {
    revision(value).map(|(revision, _)| revision.main)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_read_as_etcd_writes_them() {
        let key = [&7_i64.to_be_bytes()[..], b"_", &2_i64.to_be_bytes()].concat();
        assert_eq!(revision(&key), Some((Revision { main: 7, sub: 2 }, false)));
        assert_eq!(revision(&[&key[..], b"t"].concat()), Some((Revision { main: 7, sub: 2 }, true)));
        for wrong in [&key[..16], &[&key[..], b"x"].concat(), &[&key[..], b"tt"].concat(), b""] {
            assert_eq!(revision(wrong), None);
        }
        let negative = [&(-7_i64).to_be_bytes()[..], b"_", &2_i64.to_be_bytes()].concat();
        assert_eq!(revision(&negative), None);
    }
}
