//! The list of free pages, where the file has one. etcd does not write it since 3.3 and finds free pages by looking which
//! ones nobody refers to; a database that some other tool has opened may have one.

use super::meta::{Database, HEADER, NO_FREE_LIST};
use super::page::{FREE_LIST, Page, PageSet};
use super::u64_at;
use crate::error::{Error, PageFault};
use crate::source::Source;

/// A count of this many says that the real one is the first number of the list.
const MANY: u16 = u16::MAX;

impl<S: Source> Database<S> {
    /// Holds the list against the pages that are in use, and adds its own page to them.
    pub fn check_free(&self, met: &mut PageSet) -> Result<(), Error> {
        let number = self.meta.free_list;
        if number == NO_FREE_LIST {
            return Ok(());
        }
        let wrong =
            |page: u64, fault| Err(Error::Page { page, offset: page.saturating_mul(self.meta.page_size), fault });
        if !(2..self.meta.pages).contains(&number) {
            return wrong(number, PageFault::FreeList);
        }
        let mut page = Page::default();
        page.read(self, number)?;
        if page.flags() != FREE_LIST {
            return wrong(number, PageFault::FreeList);
        }
        let pages = (page.bytes().len() as u64).div_ceil(self.meta.page_size);
        if !(number..number + pages).all(|page| met.add(page)) {
            return wrong(number, PageFault::Twice);
        }
        let (skip, count) = match page.count() {
            MANY => (1, u64_at(page.bytes(), HEADER).unwrap_or(u64::MAX)),
            count => (0, count.into()),
        };
        let room = (page.bytes().len() - HEADER) as u64 / 8;
        if count.saturating_add(skip) > room {
            return wrong(number, PageFault::FreeList);
        }
        let mut free = PageSet::new(self.meta.pages);
        let list = page.bytes().get(HEADER..).unwrap_or_default().chunks_exact(8);
        for bytes in list.skip(usize::from(skip == 1)).take(usize::try_from(count).unwrap_or_default()) {
            let listed = u64_at(bytes, 0).unwrap_or_default();
            if !(2..self.meta.pages).contains(&listed) || !free.add(listed) {
                return wrong(number, PageFault::FreeList);
            }
            if met.has(listed) {
                return wrong(listed, PageFault::UsedFree);
            }
        }
        Ok(())
    }
}
