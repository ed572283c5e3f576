//! The proof of a file: every page read, and its contents held against what the members hold.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use kubewright_core::etcd::attest::{self, Attestation, Verdict};
use kubewright_core::etcd::manifest::Contents;
use kubewright_core::facts::etcd::{EtcdFacts, Hashes};
use kubewright_snapshot::{Digest, Report, Snapshot, SnapshotFile};

use crate::etcd::contents::ask;
use crate::ports::{ETCD_AGAIN, EtcdApi};

/// How often members are asked that had not come as far as the file.
const TRIES: usize = 5;

/// What became of the reading.
pub(super) enum Checked {
    /// Every page is whole, and the digest is right.
    Whole(Box<Report>),
    /// Something is not.
    Damaged(String),
}

/// Reads every page of a file that was hashed while it came.
///
/// # Errors
/// It cannot be opened any more.
pub(super) async fn check(path: &Path, digest: Digest) -> io::Result<Checked> {
    let path = path.to_owned();
    blocking(move || {
        let report = match Snapshot::open(SnapshotFile::open(&path)?) {
            Ok(snapshot) => snapshot.verify_with(digest),
            Err(error) => return Ok(Checked::Damaged(error.to_string())),
        };
        Ok(match report.faults.iter().find(|fault| fault.is_damage()) {
            Some(fault) => Checked::Damaged(fault.to_string()),
            None => Checked::Whole(Box::new(report)),
        })
    })
    .await
}

/// Asks the members until a majority agrees, or asking again would tell nothing more.
///
/// # Errors
/// The file cannot be read any more.
pub(super) async fn attest(
    etcd: &dyn EtcdApi,
    facts: &EtcdFacts,
    path: &Path,
    report: &Report,
) -> io::Result<Attestation> {
    let Some(survey) = &report.survey else { return Err(io::Error::other("a file that is whole was surveyed")) };
    let (revision, own) = (survey.revision, survey.hash_kv);
    let mut hashes = BTreeMap::from([(own.compact_revision, own.hash)]);
    let mut tries = TRIES;
    loop {
        let answers = ask(etcd, facts, revision).await;
        hashes = as_compacted(path.to_owned(), revision, hashes, &answers).await?;
        let attestation = attest::attest(facts, revision, &hashes, &answers);
        tries -= 1;
        let may_change = answers.keys().any(|id| attestation.unknown.contains_key(id));
        if tries == 0 || attestation.verdict != Verdict::Part || !may_change {
            return Ok(attestation);
        }
        tokio::time::sleep(ETCD_AGAIN).await;
    }
}

/// The file's hash for every compaction that members answered with and that the file knows nothing of yet.
async fn as_compacted(
    path: PathBuf,
    revision: i64,
    mut hashes: BTreeMap<i64, u32>,
    answers: &Hashes,
) -> io::Result<BTreeMap<i64, u32>> {
    let told = answers.values().filter_map(|answer| answer.as_ref().ok()).map(|said| said.compact_revision);
    let new: Vec<i64> = told.filter(|compacted| !hashes.contains_key(compacted)).collect();
    if new.is_empty() {
        return Ok(hashes);
    }
    blocking(move || {
        let snapshot = Snapshot::open(SnapshotFile::open(&path)?).map_err(io::Error::other)?;
        for compacted in new {
            // A compaction before the file's own, or beyond its revision, cannot be compared: its answer stays unknown.
            if let Ok(hash) = snapshot.hash_kv_compacted(revision, compacted) {
                hashes.insert(compacted, hash.hash);
            }
        }
        Ok(hashes)
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(io::Error::other("the reader ended")))
}

/// What the papers say of the contents.
pub(super) fn contents(report: &Report, revision: i64) -> Contents {
    let survey = report.survey.as_ref();
    let state = survey.map(|survey| &survey.state);
    Contents {
        revision,
        compact_revision: survey.map_or(-1, |survey| survey.hash_kv.compact_revision),
        hash_kv: survey.map_or(0, |survey| survey.hash_kv.hash),
        status_hash: survey.map_or(0, |survey| survey.status_hash),
        keys: survey.map_or(0, |survey| survey.keys),
        storage_version: state.and_then(|state| state.storage_version()).map(|version| version.to_string()),
        index: state.and_then(|state| state.consistent_index),
        term: state.and_then(|state| state.term),
    }
}
