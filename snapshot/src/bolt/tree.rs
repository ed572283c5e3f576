//! The trees of pages, walked in the order of their keys. A page is entered once and checked before; its entries must lie
//! between those of the pages above it.

use std::ops::Range;

use super::meta::{Database, HEADER};
use super::page::{Element, Page, PageSet, inline_elements};
use super::u64_at;
use crate::error::{Error, PageFault, RowFault};
use crate::source::Source;

/// On a leaf, an entry with this flag is a bucket.
const BUCKET: u32 = 1;
/// Of a bucket, before what it holds: its root page, and a number that etcd does not use.
const BUCKET_HEADER: usize = 16;
/// A real tree has four or five levels; with two children in each page, this many hold more than any disk.
const DEEPEST: usize = 40;

/// One entry of a bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    /// The page it is on.
    pub page: u64,
    /// Where in the file its key begins.
    pub offset: u64,
    is_bucket: bool,
}

impl Entry<'_> {
    /// The error that it is.
    pub fn wrong(&self, bucket: &str, fault: RowFault) -> Error {
        Error::Row { page: self.page, offset: self.offset, bucket: bucket.to_owned(), fault }
    }
}

/// One bucket, found in the root.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub name: Vec<u8>,
    place: Place,
    page: u64,
    offset: u64,
}

#[derive(Clone, Debug)]
enum Place {
    /// A tree of its own.
    Root(u64),
    /// Few entries, in the root itself: the small page's bytes.
    Inline(Vec<u8>),
}

impl<S: Source> Database<S> {
    /// All buckets, by name. etcd has some ten.
    pub fn buckets(&self, met: &mut PageSet) -> Result<Vec<Bucket>, Error> {
        let mut buckets = Vec::new();
        self.walk(self.meta.root, met, &mut |entry| {
            if !entry.is_bucket {
                return Err(entry.wrong("(root)", RowFault::NoBucket));
            }
            let root = u64_at(entry.value, 0).filter(|_| entry.value.len() >= BUCKET_HEADER);
            let place = match root {
                None => return Err(entry.wrong("(root)", RowFault::BucketHeader)),
                Some(0) => Place::Inline(entry.value.get(BUCKET_HEADER..).unwrap_or_default().to_vec()),
                Some(root) => {
                    self.possible(entry.page, root)?;
                    Place::Root(root)
                }
            };
            buckets.push(Bucket { name: entry.key.to_vec(), place, page: entry.page, offset: entry.offset });
            Ok(())
        })?;
        Ok(buckets)
    }

    /// Every entry of a bucket, in the order of keys.
    pub fn entries(
        &self,
        bucket: &Bucket,
        met: &mut PageSet,
        each: &mut impl FnMut(Entry<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let name = String::from_utf8_lossy(&bucket.name);
        let mut plain = |entry: Entry<'_>| {
            if entry.is_bucket { Err(entry.wrong(&name, RowFault::Nested)) } else { each(entry) }
        };
        match &bucket.place {
            Place::Root(root) => self.walk(*root, met, &mut plain),
            Place::Inline(bytes) => {
                // Its bytes follow the bucket's name and header, which are where the page's entry is.
                let offset = bucket.offset + (bucket.name.len() + BUCKET_HEADER) as u64;
                let wrong = |fault| Error::Page { page: bucket.page, offset, fault };
                let elements = inline_elements(bytes).map_err(wrong)?;
                let here = Leaf { bytes, page: bucket.page, offset };
                here.in_order(&elements, Bounds::default()).map_err(wrong)?;
                here.each(&elements, &mut plain)
            }
        }
    }

    /// The entries of all leaves below a page.
    fn walk(
        &self,
        root: u64,
        met: &mut PageSet,
        each: &mut impl FnMut(Entry<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut branches: Vec<Branch> = Vec::new();
        let (mut page, mut elements) = (Page::default(), Vec::new());
        let mut next = Some(root);
        while let Some(number) = next {
            let offset = number.saturating_mul(self.meta.page_size);
            let wrong = |fault| Error::Page { page: number, offset, fault };
            self.possible(number, number)?;
            page.read(self, number)?;
            let is_leaf = page.elements(self.meta.page_size, &mut elements).map_err(wrong)?;
            let pages = (page.bytes().len() as u64).div_ceil(self.meta.page_size);
            if !(number..number + pages).all(|page| met.add(page)) {
                return Err(wrong(PageFault::Twice));
            }
            let here = Leaf { bytes: page.bytes(), page: number, offset };
            let bounds = branches.last().map(Branch::bounds).unwrap_or_default();
            here.in_order(&elements, bounds).map_err(wrong)?;
            if is_leaf {
                here.each(&elements, each)?;
            } else {
                if elements.is_empty() {
                    return Err(wrong(PageFault::Barren));
                }
                if branches.len() == DEEPEST {
                    return Err(wrong(PageFault::Depth));
                }
                let above = bounds.below.map(<[u8]>::to_vec);
                let elements = std::mem::take(&mut elements);
                branches.push(Branch { page: std::mem::take(&mut page), elements, next: 0, above });
            }
            next = None;
            while let Some(branch) = branches.last_mut() {
                if let Some(child) = branch.advance() {
                    self.possible(branch.page.number, child)?;
                    next = Some(child);
                    break;
                }
                branches.pop();
            }
        }
        Ok(())
    }

    /// Whether there can be such a page, else the fault of the one that refers to it.
    fn possible(&self, page: u64, child: u64) -> Result<(), Error> {
        let pages = self.meta.pages;
        if (2..pages).contains(&child) {
            return Ok(());
        }
        let offset = page.saturating_mul(self.meta.page_size);
        Err(Error::Page { page, offset, fault: PageFault::Child { child, pages } })
    }
}

/// A branch whose children are being walked.
struct Branch {
    page: Page,
    elements: Vec<Element>,
    next: usize,
    /// What all keys below it are less than.
    above: Option<Vec<u8>>,
}

impl Branch {
    fn advance(&mut self) -> Option<u64> {
        let child = self.elements.get(self.next)?.child;
        self.next += 1;
        Some(child)
    }

    /// Between which keys those of the child lie to which it advanced last.
    fn bounds(&self) -> Bounds<'_> {
        let key =
            |index: usize| self.elements.get(index).and_then(|element| self.page.bytes().get(element.key.clone()));
        Bounds { from: self.next.checked_sub(1).and_then(key), below: key(self.next).or(self.above.as_deref()) }
    }
}

/// Keys from one on and below another.
#[derive(Clone, Copy, Default)]
struct Bounds<'a> {
    from: Option<&'a [u8]>,
    below: Option<&'a [u8]>,
}

/// Bytes of a page, and where they are.
struct Leaf<'a> {
    bytes: &'a [u8],
    page: u64,
    offset: u64,
}

impl<'a> Leaf<'a> {
    fn at(&self, range: &Range<usize>) -> &'a [u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    fn in_order(&self, elements: &[Element], bounds: Bounds<'_>) -> Result<(), PageFault> {
        let mut before: Option<&[u8]> = None;
        for (index, element) in (0..).zip(elements) {
            let key = self.at(&element.key);
            if before.is_some_and(|before| before >= key) {
                return Err(PageFault::Order(index));
            }
            if before.is_none() && bounds.from.is_some_and(|from| key < from) {
                return Err(PageFault::Range(index));
            }
            before = Some(key);
        }
        if before.is_some_and(|last| bounds.below.is_some_and(|below| last >= below)) {
            return Err(PageFault::Range(u16::try_from(elements.len()).unwrap_or(u16::MAX).saturating_sub(1)));
        }
        Ok(())
    }

    fn each(&self, elements: &[Element], each: &mut impl FnMut(Entry<'_>) -> Result<(), Error>) -> Result<(), Error> {
        for element in elements {
            each(Entry {
                key: self.at(&element.key),
                value: self.at(&element.value),
                page: self.page,
                offset: self.offset + element.key.start as u64,
                is_bucket: element.flags & BUCKET != 0,
            })?;
        }
        Ok(())
    }
}

const _: () = assert!(BUCKET_HEADER == HEADER, "an inline page follows both alike");
