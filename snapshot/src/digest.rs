//! The SHA-256 at a snapshot's end: of all bytes before it.

use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, hex};
use crate::source::Source;

/// Its length in bytes.
pub(crate) const LENGTH: u64 = 32;
/// So many bytes at once: few calls, and small beside everything else in memory.
const PIECE: usize = 1 << 20;

/// What a file says of itself, and what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Digest {
    /// What stands at its end; absent where the file has no digest.
    #[serde(serialize_with = "in_hex_or_not", skip_serializing_if = "Option::is_none")]
    pub stored: Option<[u8; 32]>,
    /// The SHA-256 of everything before; of the whole file where it has no digest.
    #[serde(serialize_with = "in_hex")]
    pub computed: [u8; 32],
    /// The SHA-256 of the whole file, as `sha256sum` prints it.
    #[serde(serialize_with = "in_hex")]
    pub file: [u8; 32],
}

impl Digest {
    /// Reads everything.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn read(source: &(impl Source + ?Sized)) -> Result<Self, Error> {
        let size = source.size();
        let end = if has_digest(size) { size - LENGTH } else { size };
        let mut hash = Sha256::new();
        let mut piece = vec![0; PIECE.min(usize::try_from(end).unwrap_or(PIECE))];
        let mut offset = 0;
        while offset < end {
            let length = piece.len().min(usize::try_from(end - offset).unwrap_or(piece.len()));
            let Some(part) = piece.get_mut(..length) else { break };
            source.read_at(part, offset).map_err(|error| Error::io(offset, &error))?;
            hash.update(&*part);
            offset += length as u64;
        }
        let mut stored = [0; 32];
        if end < size {
            source.read_at(&mut stored, end).map_err(|error| Error::io(end, &error))?;
        }
        Ok(Self::new(hash, (end < size).then_some(stored)))
    }

    /// Of everything before the digest, and what stands there.
    pub fn new(before: Sha256, stored: Option<[u8; 32]>) -> Self {
        let computed = before.clone().finalize().into();
        let file = before.chain_update(stored.as_ref().map_or(&[][..], |stored| stored)).finalize().into();
        Self { stored, computed, file }
    }

    /// Whether the file is as it was when its digest was written; nobody knows of one without.
    pub fn is_right(&self) -> Option<bool> {
        self.stored.map(|stored| stored == self.computed)
    }
}

/// etcd's own rule: pages are multiples of 512 bytes, so 32 more are a digest.
pub(crate) fn has_digest(size: u64) -> bool {
    size % 512 == LENGTH
}

fn in_hex<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(bytes))
}

fn in_hex_or_not<S: Serializer>(bytes: &Option<[u8; 32]>, serializer: S) -> Result<S::Ok, S::Error> {
    match bytes {
        Some(bytes) => in_hex(bytes, serializer),
        None => serializer.serialize_none(),
    }
}
