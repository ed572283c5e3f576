//! A snapshot whose beginning could be read, and the walks over it that everything else is made of.

use crate::bolt::{Bucket, Database, MetaPage, PageSet, open};
use crate::error::{Error, Stranger};
use crate::mvcc::{Alive, Census, HashKv, Hasher, Lineages, Row};
use crate::source::Source;
use crate::state::State;

/// A snapshot, or a copy of a member's database. It holds no page in memory; each question reads anew what it needs.
#[derive(Debug)]
pub struct Snapshot<S> {
    pub(crate) database: Database<S>,
}

impl<S: Source> Snapshot<S> {
    /// Reads the meta pages, and sees that all pages they tell of are in the file.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Stranger`], [`Error::Meta`], [`Error::Truncated`], or the file cannot be read.
    pub fn open(source: S) -> Result<Self, Error> {
        Ok(Self { database: open(source)? })
    }

    /// Bytes in the file, with its digest.
    pub fn size(&self) -> u64 {
        self.database.source.size()
    }

    /// The meta page in use.
    pub fn meta_page(&self) -> MetaPage {
        self.database.meta
    }

    /// Everything beside the keys. Of the keys no page is read.
    ///
    /// # Errors
    /// A page or an entry is damaged.
    pub fn state(&self) -> Result<State, Error> {
        let mut met = PageSet::new(self.database.meta.pages);
        let mut state = State::default();
        for bucket in &self.buckets(&mut met)? {
            let name = String::from_utf8_lossy(&bucket.name);
            if name != KEY {
                self.database.entries(bucket, &mut met, &mut |entry| state.note(&name, &entry))?;
            }
        }
        Ok(state)
    }

    /// HashKV at a revision, the newest one if none is named, as the members answer when they are asked.
    ///
    /// # Errors
    /// The revision is compacted or not reached, or a page or an entry is damaged.
    pub fn hash_kv(&self, revision: Option<i64>) -> Result<HashKv, Error> {
        let census = self.census(revision)?;
        let mut hasher = Hasher::new(&census);
        self.rows(&mut |number, row| {
            hasher.note(number, row);
            Ok(())
        })?;
        Ok(hasher.finish())
    }

    /// HashKV at a revision as a member answers that has the same history and has compacted it further since.
    ///
    /// # Errors
    /// As [`Snapshot::hash_kv`]; [`Error::Compacted`] too where the file itself is compacted further, [`Error::Future`] where the
    /// compaction is beyond the revision.
    pub fn hash_kv_compacted(&self, revision: i64, compact_revision: i64) -> Result<HashKv, Error> {
        let mut census = self.census(Some(revision))?;
        if compact_revision < census.compact_revision {
            return Err(Error::Compacted { revision: compact_revision, compact_revision: census.compact_revision });
        }
        if compact_revision > revision {
            return Err(Error::Future { revision: compact_revision, current: revision });
        }
        census.compact_revision = compact_revision;
        let mut hasher = Hasher::new(&census);
        self.rows(&mut |number, row| {
            hasher.note(number, row);
            Ok(())
        })?;
        Ok(hasher.finish())
    }

    /// All buckets; those that make a database etcd's are among them.
    pub(crate) fn buckets(&self, met: &mut PageSet) -> Result<Vec<Bucket>, Error> {
        let buckets = self.database.buckets(met)?;
        for needed in [KEY, META] {
            if !buckets.iter().any(|bucket| bucket.name == needed.as_bytes()) {
                return Err(Error::Stranger(Stranger::OtherBolt(needed)));
            }
        }
        Ok(buckets)
    }

    /// Every row, with its number from 0 on.
    pub(crate) fn rows(&self, each: &mut impl FnMut(u32, &Row<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let mut met = PageSet::new(self.database.meta.pages);
        let mut number = Some(0_u32);
        for bucket in self.buckets(&mut met)?.iter().filter(|bucket| bucket.name == KEY.as_bytes()) {
            self.database.entries(bucket, &mut met, &mut |entry| {
                let this = number.ok_or(Error::TooManyRows)?;
                number = this.checked_add(1);
                each(this, &Row::read(&entry)?)
            })?;
        }
        Ok(())
    }

    /// Which rows are alive at a revision, the newest one if none is named.
    pub(crate) fn census(&self, revision: Option<i64>) -> Result<Census, Error> {
        let state = self.state()?;
        let upto = revision.unwrap_or(i64::MAX);
        let (mut last, mut rows) = (0, 0_u64);
        let mut lineages = Lineages::whole();
        self.rows(&mut |number, row| {
            (last, rows) = (row.revision.main, rows + 1);
            if row.revision.main <= upto {
                lineages.note(number, row.key, row.tombstone);
            }
            Ok(())
        })?;
        let current = newest(last, &state);
        let compact_revision = state.compact_revision().unwrap_or(NEVER);
        match revision {
            Some(revision) if revision < compact_revision => {
                return Err(Error::Compacted { revision, compact_revision });
            }
            Some(revision) if revision > current => return Err(Error::Future { revision, current }),
            _ => {}
        }
        let alive = self.alive(lineages, rows, upto)?;
        Ok(Census { revision: revision.unwrap_or(current), compact_revision, alive })
    }

    /// The living rows; where they were too many for one go, in several.
    pub(crate) fn alive(&self, first: Lineages, rows: u64, upto: i64) -> Result<Alive, Error> {
        let mut alive = Alive::default();
        if !first.is_full() {
            first.settle(&mut alive);
            return Ok(alive);
        }
        for mut lineages in Lineages::shares(rows) {
            self.rows(&mut |number, row| {
                if row.revision.main <= upto {
                    lineages.note(number, row.key, row.tombstone);
                }
                Ok(())
            })?;
            lineages.settle(&mut alive);
        }
        Ok(alive)
    }
}

/// The bucket of all keys.
pub(crate) const KEY: &str = "key";
const META: &str = "meta";
/// How etcd says that nothing was compacted.
pub(crate) const NEVER: i64 = -1;

/// The revision that a server has after starting on the file: that of the last row, unless a compaction went further
/// and left nothing (`mvcc/kvstore.go`, `restore`). An empty one begins at 1.
pub(crate) fn newest(last: i64, state: &State) -> i64 {
    last.max(state.compact_revision().unwrap_or(NEVER)).max(1)
}
