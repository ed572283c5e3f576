//! The meta pages: where everything else is found. Each commit writes one of the two, so that the other one stays.

use std::ops::RangeInclusive;

use serde::Serialize;

use super::{u32_at, u64_at};
use crate::error::{Error, MetaFault, Stranger};
use crate::source::Source;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;
/// Of a page, before what is on it.
pub(super) const HEADER: usize = 16;
/// Of what a meta page holds.
const LENGTH: usize = 64;
/// Where in it the checksum of all before stands.
const CHECKSUM: usize = 56;
/// bbolt takes the operating system's size: 4 KiB almost everywhere, 16 or 64 KiB on some arm64 and ppc64 machines.
const PAGE_SIZES: RangeInclusive<u64> = 1024..=65536;
/// Two meta pages and at least one more.
const FEWEST_PAGES: u64 = 3;
/// Says in a meta page that the list of free pages is not in the file, as etcd has it since 3.3.
pub(super) const NO_FREE_LIST: u64 = u64::MAX;

/// What a meta page tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MetaPage {
    /// Bytes of a page.
    pub page_size: u64,
    /// How many pages the database has, with those that are free.
    pub pages: u64,
    /// The last transaction that was committed.
    pub transaction: u64,
    #[serde(skip)]
    pub(super) root: u64,
    #[serde(skip)]
    pub(super) free_list: u64,
}

/// A database whose beginning could be read.
#[derive(Debug)]
pub(crate) struct Database<S> {
    pub source: S,
    pub meta: MetaPage,
    /// A meta page that is broken, while the other one is not.
    pub broken_meta: Option<(u64, MetaFault)>,
}

/// Finds the newer meta page and sees that all its pages are in the file.
pub(crate) fn open<S: Source>(source: S) -> Result<Database<S>, Error> {
    let size = source.size();
    if size == 0 {
        return Err(Error::Empty);
    }
    let first = read(&source, 0)?;
    // Where the first one is broken nobody knows how long a page is.
    let second_at = match first {
        Ok(meta) => Ok(meta.page_size),
        Err(_) => second_place(&source)?,
    };
    let second = match second_at {
        Ok(at) => {
            read(&source, at)?.and_then(|meta| if meta.page_size == at { Ok(meta) } else { Err(MetaFault::Nonsense) })
        }
        Err(fault) => Err(fault),
    };
    let (meta, broken_meta) = match (first, second) {
        (Ok(first), Ok(second)) => (if first.transaction > second.transaction { first } else { second }, None),
        (Ok(first), Err(fault)) => (first, Some((1, fault))),
        (Err(fault), Ok(second)) => (second, Some((0, fault))),
        (Err(first), Err(second)) => return Err(unusable(&source, first, second)),
    };
    let wanted = meta.pages.saturating_mul(meta.page_size);
    if size < wanted {
        let page = size / meta.page_size;
        return Err(Error::Truncated { size, wanted, pages: meta.pages, page });
    }
    Ok(Database { source, meta, broken_meta })
}

type Read = Result<MetaPage, MetaFault>;

/// The meta page that begins there.
fn read(source: &impl Source, offset: u64) -> Result<Read, Error> {
    let mut bytes = [0; HEADER + LENGTH];
    if source.size() < offset + bytes.len() as u64 {
        return Ok(Err(MetaFault::Missing));
    }
    source.read_at(&mut bytes, offset).map_err(|error| Error::io(offset, &error))?;
    Ok(parse(bytes.get(HEADER..).unwrap_or_default()).unwrap_or(Err(MetaFault::Missing)))
}

/// `None` cannot happen: the bytes are as many as are asked for.
fn parse(meta: &[u8]) -> Option<Read> {
    if u32_at(meta, 0)? != MAGIC {
        return Some(Err(MetaFault::Magic));
    }
    if u32_at(meta, 4)? != VERSION || u64_at(meta, CHECKSUM)? != fnv64a(meta.get(..CHECKSUM)?) {
        return Some(Err(MetaFault::Checksum));
    }
    let found = MetaPage {
        page_size: u32_at(meta, 8)?.into(),
        root: u64_at(meta, 16)?,
        free_list: u64_at(meta, 32)?,
        pages: u64_at(meta, 40)?,
        transaction: u64_at(meta, 48)?,
    };
    let possible = PAGE_SIZES.contains(&found.page_size)
        && found.page_size.is_power_of_two()
        && found.pages >= FEWEST_PAGES
        && (2..found.pages).contains(&found.root);
    Some(if possible { Ok(found) } else { Err(MetaFault::Nonsense) })
}

/// Where a usable second meta page is, of all places where one may be.
fn second_place(source: &impl Source) -> Result<Result<u64, MetaFault>, Error> {
    let mut fault = MetaFault::Missing;
    let mut at = *PAGE_SIZES.start();
    while PAGE_SIZES.contains(&at) {
        match read(source, at)? {
            Ok(_) => return Ok(Ok(at)),
            // What is no meta page at all tells less than one that is broken.
            Err(MetaFault::Missing) => {}
            Err(MetaFault::Magic) if fault == MetaFault::Checksum => {}
            Err(other) => fault = other,
        }
        at *= 2;
    }
    Ok(Err(fault))
}

/// The words for a file that has no usable meta page.
fn unusable(source: &impl Source, first: MetaFault, second: MetaFault) -> Error {
    let mut head = vec![0; usize::try_from(source.size()).unwrap_or(usize::MAX).min(HEADER + LENGTH)];
    if let Err(error) = source.read_at(&mut head, 0) {
        return Error::io(0, &error);
    }
    let begins = |magic: &[u8]| head.starts_with(magic);
    let magic = u32_at(&head, HEADER);
    Error::Stranger(match magic {
        _ if begins(&[0x1f, 0x8b]) => Stranger::Packed("gzip"),
        _ if begins(&[0x28, 0xb5, 0x2f, 0xfd]) => Stranger::Packed("zstd"),
        _ if begins(&[0xfd, b'7', b'z', b'X', b'Z', 0]) => Stranger::Packed("xz"),
        _ if begins(b"PK\x03\x04") => Stranger::Packed("zip"),
        _ if begins(b"age-encryption.org/") || begins(b"-----BEGIN AGE") => Stranger::Packed("age"),
        Some(magic) if magic == MAGIC.swap_bytes() => Stranger::OtherEndian,
        Some(MAGIC) => match u32_at(&head, HEADER + 4) {
            // Its checksum is right: another version, and not one that was damaged.
            Some(version) if version != VERSION && checks(head.get(HEADER..).unwrap_or_default()) => {
                Stranger::BoltVersion(version)
            }
            _ => return Error::Meta { first, second },
        },
        _ if second == MetaFault::Checksum || first == MetaFault::Nonsense => return Error::Meta { first, second },
        _ if source.size() < *PAGE_SIZES.start() => Stranger::Short(source.size()),
        _ => Stranger::Unknown,
    })
}

fn checks(meta: &[u8]) -> bool {
    u64_at(meta, CHECKSUM).is_some_and(|sum| meta.get(..CHECKSUM).is_some_and(|bytes| fnv64a(bytes) == sum))
}

/// FNV-1a with 64 bits, of which meta pages carry a checksum; other pages have none.
fn fnv64a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_fnv_1a() {
        // From the algorithm's own list of test vectors.
        assert_eq!(fnv64a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv64a(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv64a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
