//! The file format of bbolt, for reading: two meta pages, then pages that form one tree of buckets, each bucket a tree of
//! its own. Numbers are little-endian; a page may run on over those that follow it (overflow).
//!
//! Written from bbolt's own sources: `internal/common/{page,meta,bucket}.go`, and what `tx_check.go` holds against them.

mod free;
mod meta;
mod page;
mod tree;

pub use meta::MetaPage;
pub(crate) use meta::{Database, open};
pub(crate) use page::PageSet;
pub(crate) use tree::{Bucket, Entry};

/// A number in these bytes; `None` where they end before.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
