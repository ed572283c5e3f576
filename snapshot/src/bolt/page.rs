//! One page, read and checked by itself: its header, and that each of its entries lies where bbolt puts it.

use std::ops::Range;

use super::meta::{Database, HEADER};
use super::{u16_at, u32_at, u64_at};
use crate::error::{Error, PageFault};
use crate::source::Source;

const BRANCH: u16 = 1;
const LEAF: u16 = 2;
pub(super) const FREE_LIST: u16 = 0x10;
/// Both kinds of entries take as many bytes at a page's beginning.
const ELEMENT: usize = 16;
/// A page is read whole. bbolt leaves at most four entries unsplit (twice its `MinKeysPerPage`), and etcd advises against
/// requests over 10 MiB; with room for six times that, this is what a damaged page can make us take.
const LARGEST: u64 = 256 << 20;

/// A page in memory. The same memory serves many, one after the other.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub number: u64,
    bytes: Vec<u8>,
    flags: u16,
    count: u16,
}

/// One entry, as places in its page.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub key: Range<usize>,
    pub value: Range<usize>,
    /// Of a branch.
    pub child: u64,
    /// Of a leaf.
    pub flags: u32,
}

impl Page {
    /// Reads a page with all its overflow.
    pub fn read<S: Source>(&mut self, database: &Database<S>, number: u64) -> Result<(), Error> {
        let meta = &database.meta;
        // Callers hold the number against the number of pages, which all are in the file.
        let offset = number.saturating_mul(meta.page_size);
        let wrong = |fault| Err(Error::Page { page: number, offset, fault });
        self.number = number;
        let length = usize::try_from(meta.page_size).unwrap_or_default();
        self.bytes.resize(length, 0);
        database.source.read_at(&mut self.bytes, offset).map_err(|error| Error::io(offset, &error))?;
        let (Some(says), Some(flags), Some(count), Some(overflow)) =
            (u64_at(&self.bytes, 0), u16_at(&self.bytes, 8), u16_at(&self.bytes, 10), u32_at(&self.bytes, 12))
        else {
            return wrong(PageFault::Entries(0));
        };
        if says != number {
            return wrong(PageFault::Misplaced(says));
        }
        (self.flags, self.count) = (flags, count);
        if overflow > 0 {
            let last = number.saturating_add(overflow.into());
            if last >= meta.pages {
                return wrong(PageFault::Overflows { last, pages: meta.pages });
            }
            let total = (u64::from(overflow) + 1) * meta.page_size;
            if total > LARGEST {
                return wrong(PageFault::Oversized(total));
            }
            self.bytes.resize(usize::try_from(total).unwrap_or(length), 0);
            let rest = self.bytes.get_mut(length..).unwrap_or_default();
            let offset = offset + meta.page_size;
            database.source.read_at(rest, offset).map_err(|error| Error::io(offset, &error))?;
        }
        Ok(())
    }

    pub fn flags(&self) -> u16 {
        self.flags
    }

    pub fn count(&self) -> u16 {
        self.count
    }

    /// With its overflow.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether it is a leaf, of a branch or leaf that was just read, and what lies on it, into a list that serves many pages.
    pub fn elements(&self, page_size: u64, into: &mut Vec<Element>) -> Result<bool, PageFault> {
        let (leaf, filled) = elements(&self.bytes, self.flags, self.count, into)?;
        let claimed = (self.bytes.len() as u64).div_ceil(page_size);
        let pages = filled.div_ceil(page_size);
        // Before 1.3 bbolt took one page more where entries fill their pages to the last byte.
        if claimed != pages && claimed != filled / page_size + 1 {
            return Err(PageFault::Overflow { claimed, filled: pages });
        }
        Ok(leaf)
    }
}

/// What lies on the small leaf that a bucket without a page of its own consists of.
pub(super) fn inline_elements(bytes: &[u8]) -> Result<Vec<Element>, PageFault> {
    let (Some(flags), Some(count)) = (u16_at(bytes, 8), u16_at(bytes, 10)) else { return Err(PageFault::Entries(0)) };
    if flags != LEAF {
        return Err(PageFault::Kind(flags));
    }
    let mut found = Vec::new();
    elements(bytes, flags, count, &mut found)?;
    Ok(found)
}

/// Whether they are a leaf's, and how many bytes the entries fill with the header. bbolt writes keys and values one after the other behind the
/// elements, in their order and without gaps (`WriteInodeToPage`), which pages have instead of a checksum.
fn elements(bytes: &[u8], flags: u16, count: u16, into: &mut Vec<Element>) -> Result<(bool, u64), PageFault> {
    let leaf = match flags {
        LEAF => true,
        BRANCH => false,
        other => return Err(PageFault::Kind(other)),
    };
    let mut end = HEADER + usize::from(count) * ELEMENT;
    if end > bytes.len() {
        return Err(PageFault::Entries(count));
    }
    into.clear();
    for index in 0..count {
        let at = HEADER + usize::from(index) * ELEMENT;
        let place = |offset: usize| u32_at(bytes, at + offset).and_then(|number| usize::try_from(number).ok());
        let read = if leaf {
            (|| Some((place(4)?, place(8)?, place(12)?, 0, u32_at(bytes, at)?)))()
        } else {
            (|| Some((place(0)?, place(4)?, 0, u64_at(bytes, at + 8)?, 0)))()
        };
        let Some((position, key_size, value_size, child, flags)) = read else {
            return Err(PageFault::Entries(count));
        };
        if at.checked_add(position) != Some(end) {
            return Err(PageFault::Place(index));
        }
        if key_size == 0 {
            return Err(PageFault::NoKey(index));
        }
        let value_at = end.checked_add(key_size).ok_or(PageFault::Place(index))?;
        let next = value_at.checked_add(value_size).filter(|next| *next <= bytes.len());
        let next = next.ok_or(PageFault::Place(index))?;
        into.push(Element { key: end..value_at, value: value_at..next, child, flags });
        end = next;
    }
    Ok((leaf, end as u64))
}

/// Which pages were met: one bit each.
#[derive(Debug)]
pub(crate) struct PageSet {
    bits: Vec<u64>,
    met: u64,
}

impl PageSet {
    /// None of this many, which all are in the file.
    pub fn new(pages: u64) -> Self {
        Self { bits: vec![0; usize::try_from(pages.div_ceil(64)).unwrap_or_default()], met: 0 }
    }

    /// Adds a page; false where it was in already.
    pub fn add(&mut self, page: u64) -> bool {
        let word = usize::try_from(page / 64).ok().and_then(|index| self.bits.get_mut(index));
        let bit = 1_u64 << (page % 64);
        match word {
            Some(word) if *word & bit == 0 => {
                *word |= bit;
                self.met += 1;
                true
            }
            _ => false,
        }
    }

    pub fn has(&self, page: u64) -> bool {
        let word = usize::try_from(page / 64).ok().and_then(|index| self.bits.get(index));
        word.is_some_and(|word| word & (1 << (page % 64)) != 0)
    }

    /// How many are in.
    pub fn len(&self) -> u64 {
        self.met
    }
}
