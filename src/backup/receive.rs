//! A snapshot on its way into a file: received on one side, hashed and written on the other.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc as std_mpsc;

use kubewright_snapshot::Digest;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

use crate::ports::{EtcdError, EtcdFault, SnapshotStream};

/// So much is written at once: few calls, and little memory.
const PIECE: usize = 1 << 20;

/// Pieces between receiving and writing, those being worked on included: enough that neither waits for the other's hiccups.
const PIECES: usize = 6;

/// Bytes of the digest at the end.
const DIGEST: usize = 32;

/// What was written.
pub(super) struct Received {
    /// Bytes in the file.
    pub bytes: u64,
    /// What came as digest, and what it is.
    pub digest: Digest,
}

/// Why nothing whole was written.
#[derive(Debug)]
pub(super) enum Broken {
    /// The member, or the way to it.
    Etcd(EtcdError),
    /// The file.
    Store(io::Error),
}

/// Writes what comes into a new file of this name, as [`receive`].
pub(super) async fn receive_at(
    stream: &mut dyn SnapshotStream,
    path: &Path,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Received, Broken> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(Broken::Store)?;
    receive(stream, file, progress).await
}

/// Writes what comes into an empty file, and to the disk. `progress` is told how much has come and how much there is in all.
pub(super) async fn receive(
    stream: &mut dyn SnapshotStream,
    file: File,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Received, Broken> {
    let (full, mut to_write) = mpsc::channel::<Vec<u8>>(PIECES);
    let (empty, recycled) = std_mpsc::channel();
    let writer = tokio::task::spawn_blocking(move || {
        let mut written = Written::new(file);
        while let Some(mut piece) = to_write.blocking_recv() {
            written.take(&piece)?;
            piece.clear();
            // Whoever receives may have ended.
            let _ = empty.send(piece);
        }
        written.finish()
    });
    let came = pump(stream, &full, &recycled, progress).await;
    // The writer ends when nothing more can come.
    drop(full);
    let written = writer.await.unwrap_or_else(|_| Err(io::Error::other("the writer ended"))).map_err(Broken::Store)?;
    // A writer that failed is why receiving ended, so it was asked first.
    came.map_err(Broken::Etcd)?;
    written.ok_or_else(|| {
        let said = "it ended before there was a digest";
        Broken::Etcd(EtcdError::new(EtcdFault::Server, "receive a snapshot", said))
    })
}

/// A member that sent what is not what it hashed.
pub(super) fn wrong_digest() -> EtcdError {
    EtcdError::new(EtcdFault::Server, "receive a snapshot", "its digest is not that of what came")
}

async fn pump(
    stream: &mut dyn SnapshotStream,
    full: &mpsc::Sender<Vec<u8>>,
    recycled: &std_mpsc::Receiver<Vec<u8>>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(), EtcdError> {
    let mut done = 0;
    let mut piece = Vec::with_capacity(PIECE);
    loop {
        let before = piece.len();
        let left = stream.next(&mut piece).await?;
        done += (piece.len() - before) as u64;
        if let Some(left) = left {
            progress(done, done + left);
        }
        if left.is_none() || piece.len() >= PIECE - PIECE / 16 {
            let next = recycled.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
            let whole = std::mem::replace(&mut piece, next);
            if full.send(whole).await.is_err() || left.is_none() {
                return Ok(());
            }
        }
    }
}

/// The file so far. The last bytes that came are held back from the hash: they may be the digest.
struct Written {
    file: File,
    bytes: u64,
    hash: Sha256,
    tail: Vec<u8>,
}

impl Written {
    fn new(file: File) -> Self {
        Self { file, bytes: 0, hash: Sha256::new(), tail: Vec::with_capacity(2 * DIGEST) }
    }

    fn take(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all(piece)?;
        self.bytes += piece.len() as u64;
        let held_back = piece.len().min(DIGEST);
        let (front, end) = piece.split_at(piece.len() - held_back);
        // What was held back goes as far as what comes now takes its place.
        let known = self.tail.len().saturating_sub(DIGEST - held_back);
        self.hash.update(self.tail.drain(..known).as_slice());
        self.hash.update(front);
        self.tail.extend_from_slice(end);
        Ok(())
    }

    /// What it is; none where it is too short to have a digest.
    fn finish(self) -> io::Result<Option<Received>> {
        self.file.sync_all()?;
        let stored = <[u8; DIGEST]>::try_from(self.tail.as_slice()).ok();
        Ok(stored.map(|stored| Received { bytes: self.bytes, digest: Digest::new(self.hash, Some(stored)) }))
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use proptest::prelude::*;

    use super::*;

    struct Pieces(std::collections::VecDeque<Vec<u8>>, bool);

    #[async_trait]
    impl SnapshotStream for Pieces {
        async fn next(&mut self, into: &mut Vec<u8>) -> Result<Option<u64>, EtcdError> {
            match self.0.pop_front() {
                Some(piece) => {
                    into.extend_from_slice(&piece);
                    Ok(Some(self.0.iter().map(Vec::len).sum::<usize>() as u64))
                }
                None if self.1 => Ok(None),
                None => Err(EtcdError::new(EtcdFault::Server, "receive", "gone")),
            }
        }
    }

    fn received(pieces: Vec<Vec<u8>>, path: &Path, whole: bool) -> Result<Received, Broken> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        runtime.block_on(receive_at(&mut Pieces(pieces.into(), whole), path, &|done, all| assert!(done <= all)))
    }

    /// Bytes that are nowhere alike, cut into pieces of these lengths.
    fn cut(lengths: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
        let mut number = 0_u32;
        let mut next = || {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (number >> 24) as u8
        };
        lengths.into_iter().map(|length| (0..length).map(|_| next()).collect()).collect()
    }

    /// The file is what came, and both hashes are those of its bytes.
    fn is_written_and_hashed(pieces: Vec<Vec<u8>>) {
        let all = pieces.concat();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        match received(pieces, &path, true) {
            Ok(got) => {
                let (front, stored) = all.split_at(all.len() - DIGEST);
                assert_eq!((got.bytes, got.digest.stored.map(Vec::from)), (all.len() as u64, Some(stored.to_vec())));
                assert_eq!(got.digest.computed, <[u8; 32]>::from(Sha256::digest(front)));
                assert_eq!(got.digest.file, <[u8; 32]>::from(Sha256::digest(&all)));
            }
            Err(Broken::Etcd(_)) => assert!(all.len() < DIGEST),
            Err(Broken::Store(error)) => panic!("{error}"),
        }
        assert_eq!(std::fs::read(&path).unwrap(), all);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_comes_is_written_and_hashed_however_it_is_cut(lengths in prop::collection::vec(0_usize..100, 0..20)) {
            is_written_and_hashed(cut(lengths));
        }
    }

    /// Pieces of what is written at once have any end within it, the digest's 32 bytes among them.
    #[test]
    fn what_is_larger_than_a_piece_is_written_and_hashed() {
        for end in [0, 1, 31, 32, 33] {
            is_written_and_hashed(cut([PIECE - PIECE / 16, end, 70_001]));
            is_written_and_hashed(cut([PIECE - PIECE / 16, end]));
        }
    }

    #[test]
    fn what_breaks_is_told_and_never_whole() {
        let folder = tempfile::tempdir().unwrap();
        let broken = received(vec![vec![1; 100]], &folder.path().join("one"), false);
        assert!(matches!(broken, Err(Broken::Etcd(error)) if error.said == "gone"));
        let broken = received(vec![vec![1; 100]], &folder.path().join("no/folder"), true);
        assert!(matches!(broken, Err(Broken::Store(error)) if error.kind() == io::ErrorKind::NotFound));
        std::fs::write(folder.path().join("there"), "kept").unwrap();
        let broken = received(vec![vec![1; 100]], &folder.path().join("there"), true);
        assert!(matches!(broken, Err(Broken::Store(error)) if error.kind() == io::ErrorKind::AlreadyExists));
        assert_eq!(std::fs::read_to_string(folder.path().join("there")).unwrap(), "kept");
    }
}
