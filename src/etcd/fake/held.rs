//! What members in memory hold: files of real etcd, given by the test. Hashes are computed from them, snapshots are they.

use std::sync::Arc;

use async_trait::async_trait;
use kubewright_core::facts::etcd::ContentHash;
use kubewright_core::ids::HostName;
use kubewright_snapshot::Snapshot;

use crate::ports::{ConnectionFault, EtcdError, EtcdFault, SnapshotStream};

/// As etcd cuts it (`snapshotSendBufferSize`).
const PIECE: usize = 32 << 10;

/// The contents of one member.
#[derive(Clone)]
pub(super) struct Held {
    pub(super) bytes: Arc<Vec<u8>>,
    /// After so many bytes the connection is lost.
    pub(super) breaks_at: Option<usize>,
}

impl Held {
    /// Its newest revision; 1, that of an empty one, where the bytes are no file of etcd's.
    pub(super) fn revision(&self) -> i64 {
        Snapshot::open(self.bytes.as_slice()).and_then(|file| file.hash_kv(None)).map_or(1, |hash| hash.revision)
    }

    pub(super) fn hash(&self, host: &HostName, revision: i64) -> Result<ContentHash, EtcdError> {
        let hash = Snapshot::open(self.bytes.as_slice()).and_then(|file| file.hash_kv(Some(revision)));
        match hash {
            Ok(hash) => Ok(ContentHash { revision, compact_revision: hash.compact_revision, hash: hash.hash }),
            Err(error) => Err(EtcdError::new(EtcdFault::Server, "ask for HashKV", error.to_string()).at(host)),
        }
    }

    pub(super) fn stream(self, host: HostName) -> Box<dyn SnapshotStream> {
        Box::new(Sending { held: self, sent: 0, host })
    }
}

struct Sending {
    held: Held,
    sent: usize,
    host: HostName,
}

#[async_trait]
impl SnapshotStream for Sending {
    async fn next(&mut self, into: &mut Vec<u8>) -> Result<Option<u64>, EtcdError> {
        let all = self.held.bytes.len();
        if self.held.breaks_at.is_some_and(|at| self.sent >= at) {
            let fault = EtcdFault::Connection(ConnectionFault::Lost);
            return Err(EtcdError::new(fault, "receive a snapshot", "the connection was closed").at(&self.host));
        }
        let piece = self.held.bytes.get(self.sent..all.min(self.sent + PIECE)).unwrap_or_default();
        if piece.is_empty() {
            return Ok(None);
        }
        into.extend_from_slice(piece);
        self.sent += piece.len();
        Ok(Some((all - self.sent) as u64))
    }
}
