//! Everything that one reading of a file can tell.

use serde::Serialize;

use crate::bolt::{MetaPage, PageSet};
use crate::digest::{Digest, LENGTH, has_digest};
use crate::error::{Error, Fault};
use crate::mvcc::{Census, HashKv, Hasher, Lineages, Row};
use crate::snapshot::{KEY, NEVER, Snapshot, newest};
use crate::source::Source;
use crate::state::{State, Version};

/// What a file holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Survey {
    /// Pages that are in use; the others are free, or hold what was deleted.
    pub pages_in_use: u64,
    /// CRC-32C over the names, keys and values of all buckets: what `etcdutl snapshot status` calls the hash.
    pub status_hash: u32,
    /// The newest revision.
    pub revision: i64,
    /// Where history begins; absent where nothing was compacted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compact_revision: Option<i64>,
    /// Keys that exist at the newest revision.
    pub keys: u64,
    /// Changes of keys that are kept, deletions included.
    pub rows: u64,
    /// Deletions among them.
    pub tombstones: u64,
    /// Entries of all buckets, which `etcdutl snapshot status` of 3.5 calls the total of keys.
    pub entries: u64,
    /// HashKV at the newest revision.
    pub hash_kv: HashKv,
    /// Everything beside the keys.
    #[serde(flatten)]
    pub state: State,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What speaks against the file, the worst first. None: it is whole, and as it was saved.
    pub faults: Vec<Fault>,
    /// Bytes in the file.
    pub size: u64,
    /// The meta page in use.
    pub meta_page: MetaPage,
    /// Its digest, unless the file could not be read to its end.
    pub digest: Option<Digest>,
    /// What it holds, unless its pages are damaged.
    pub survey: Option<Survey>,
}

impl Report {
    /// Whether the file is not as it was saved.
    pub fn is_damaged(&self) -> bool {
        self.faults.iter().any(Fault::is_damage)
    }

    /// Adds what a server of this version would have against it: etcd does not start on data of a later minor version.
    #[must_use]
    pub fn for_server(mut self, server: Version) -> Self {
        let storage = self.survey.as_ref().and_then(|survey| survey.state.storage_version());
        if let Some(storage) = storage.filter(|storage| *storage > server) {
            let after = self.faults.iter().take_while(|fault| fault.is_damage()).count();
            self.faults.insert(after, Fault::TooNew { storage, server });
        }
        self
    }
}

impl<S: Source + Sync> Snapshot<S> {
    /// Recomputes the digest, walks every page that can be reached, and tells what is there. Digest and walk have a thread
    /// each, and read the file at the same time.
    ///
    /// Takes 16 bytes of memory a row and at most 32 MB for that; with more rows the file is read several times.
    pub fn verify(&self) -> Report {
        let source = &self.database.source;
        let (digest, survey) = std::thread::scope(|scope| {
            let digest = scope.spawn(|| Digest::read(source));
            let survey = self.survey();
            // The digest's thread has nothing that panics; if it did, a file nobody has read is not good.
            let gone = Error::Io { offset: 0, kind: std::io::ErrorKind::Other, message: "the reader ended".to_owned() };
            (digest.join().unwrap_or(Err(gone)), survey)
        });
        self.report(digest, survey)
    }

    /// The same of a file whose digest was computed while it was written: one reading less. Whoever calls vouches for the digest.
    pub fn verify_with(&self, digest: Digest) -> Report {
        self.report(Ok(digest), self.survey())
    }

    fn report(&self, digest: Result<Digest, Error>, survey: Result<Survey, Error>) -> Report {
        let mut faults = Vec::new();
        if let Err(error) = &survey {
            faults.push(Fault::Unreadable(error.clone()));
        }
        match &digest {
            Err(error) if survey.as_ref().err() != Some(error) => faults.push(Fault::Unreadable(error.clone())),
            Ok(digest) if digest.is_right() == Some(false) => faults.push(Fault::WrongDigest(digest.clone())),
            _ => {}
        }
        faults.extend(self.broken_meta());
        faults.extend(self.end());
        if let Ok(survey) = &survey {
            let (zombies, alarms) = (survey.state.zombies(), survey.state.alarms.clone());
            faults.extend((!zombies.is_empty()).then_some(Fault::Zombies(zombies)));
            faults.extend((!alarms.is_empty()).then_some(Fault::Alarmed(alarms)));
        }
        faults.sort_by_key(|fault| !fault.is_damage());
        Report { faults, size: self.size(), meta_page: self.meta_page(), digest: digest.ok(), survey: survey.ok() }
    }

    /// Both are written whole into a snapshot; in a copy of a member's database one may be torn.
    fn broken_meta(&self) -> Option<Fault> {
        let (page, fault) = self.database.broken_meta?;
        Some(Fault::MetaPage { page, offset: page * self.database.meta.page_size, fault })
    }

    /// What is wrong with what follows the pages.
    fn end(&self) -> Option<Fault> {
        let (size, meta) = (self.size(), self.meta_page());
        let pages_end = meta.pages * meta.page_size;
        let bytes = size - pages_end;
        match bytes {
            LENGTH => None,
            // A member's own database grows in steps, and its end is unused then.
            _ if bytes.is_multiple_of(meta.page_size) => Some(Fault::NoDigest),
            1..LENGTH => Some(Fault::CutDigest { bytes }),
            // Pages that nobody uses, and a digest behind them.
            _ if has_digest(size) && (bytes - LENGTH).is_multiple_of(meta.page_size) => None,
            _ => Some(Fault::Trailing { offset: pages_end, bytes }),
        }
    }
}

impl<S: Source> Snapshot<S> {
    fn survey(&self) -> Result<Survey, Error> {
        let mut met = PageSet::new(self.database.meta.pages);
        for page in [0, 1] {
            met.add(page);
        }
        let mut tally = Tally::default();
        let mut lineages = Lineages::whole();
        let mut state = State::default();
        for bucket in &self.buckets(&mut met)? {
            let name = String::from_utf8_lossy(&bucket.name);
            tally.hash = crc32c::crc32c_append(tally.hash, &bucket.name);
            self.database.entries(bucket, &mut met, &mut |entry| {
                tally.hash = crc32c::crc32c_append(tally.hash, entry.key);
                tally.hash = crc32c::crc32c_append(tally.hash, entry.value);
                tally.entries += 1;
                if name == KEY {
                    let row = Row::read(&entry)?;
                    lineages.note(tally.row(&row)?, row.key, row.tombstone);
                    Ok(())
                } else {
                    state.note(&name, &entry)
                }
            })?;
        }
        self.database.check_free(&mut met)?;
        let alive = self.alive(lineages, tally.rows, i64::MAX)?;
        let revision = newest(tally.last, &state);
        let compact_revision = state.compact_revision();
        let census = Census { revision, compact_revision: compact_revision.unwrap_or(NEVER), alive };
        let mut hasher = Hasher::new(&census);
        let mut keys = 0;
        self.rows(&mut |number, row| {
            hasher.note(number, row);
            // The row of a bumped revision has no key.
            keys += u64::from(census.alive.has(number) && !row.key.is_empty());
            Ok(())
        })?;
        let hash_kv = hasher.finish();
        Ok(Survey {
            pages_in_use: met.len(),
            status_hash: tally.hash,
            revision,
            compact_revision,
            keys,
            rows: tally.rows,
            tombstones: tally.tombstones,
            entries: tally.entries,
            hash_kv,
            state,
        })
    }
}

/// What adds up on the way.
#[derive(Default)]
struct Tally {
    hash: u32,
    entries: u64,
    rows: u64,
    tombstones: u64,
    last: i64,
}

impl Tally {
    /// The row's number.
    fn row(&mut self, row: &Row<'_>) -> Result<u32, Error> {
        let number = u32::try_from(self.rows).map_err(|_| Error::TooManyRows)?;
        self.rows += 1;
        self.tombstones += u64::from(row.tombstone);
        self.last = row.revision.main;
        Ok(number)
    }
}
