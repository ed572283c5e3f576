//! Snapshots packed with zstd: a file that is proved becomes a smaller one, which is read back before the first one goes.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use kubewright_core::etcd::manifest::{FileFacts, Unpacked};
use kubewright_core::plan::hex;
use kubewright_core::spec::Compression;
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use crate::store::copies::{SNAPSHOT, Taking};

/// zstd's own default: 300 MB/s and more on one core, a third to a fifth of what Kubernetes' objects take. Higher levels cost several
/// times as much for a tenth less.
const LEVEL: i32 = 3;

/// So much is read, packed and written at once.
const PIECE: usize = 1 << 20;

/// How files that zstd packed begin (RFC 8878, 3.1.1).
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Packs the snapshot of a copy in the making, and removes it once the packed file is known to give it back. `progress` is told how
/// many bytes of how many are packed.
///
/// # Errors
/// Those of the file system; and where what is read back is not what was packed.
pub(super) async fn pack(
    taking: &Taking,
    file: &FileFacts,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> io::Result<FileFacts> {
    let name = format!("{SNAPSHOT}.zst");
    let (from, to) = (taking.path(&file.name), taking.path(&name));
    let (all, wanted) = (file.bytes, file.sha256.clone());
    let (tell, mut told) = unbounded_channel();
    let work = tokio::task::spawn_blocking(move || {
        let (bytes, sha256) = write(&from, &to, all, &tell)?;
        let back = unpack(&mut File::open(&to)?, &mut io::sink())?;
        if back != (all, wanted) {
            return Err(io::Error::other("the packed file does not give back what was packed: is the disk sound?"));
        }
        std::fs::remove_file(from)?;
        Ok((bytes, sha256))
    });
    while let Some(done) = told.recv().await {
        progress(done, all);
    }
    let (bytes, sha256) = work.await.unwrap_or_else(|_| Err(io::Error::other("the packer ended")))?;
    let unpacked = Unpacked { packed_by: Compression::Zstd, bytes: all, sha256: file.sha256.clone() };
    Ok(FileFacts { name, bytes, sha256, unpacked: Some(unpacked) })
}

/// The packed file's size and SHA-256.
fn write(from: &Path, to: &Path, all: u64, tell: &UnboundedSender<u64>) -> io::Result<(u64, String)> {
    let mut from = File::open(from)?;
    let to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let mut packer = Encoder::new(Hashing::new(to), LEVEL)?;
    // The frame has a checksum and its length, so that any tool finds out where one is cut off or changed.
    packer.include_checksum(true)?;
    packer.set_pledged_src_size(Some(all))?;
    let (mut piece, mut done) = (vec![0; PIECE], 0);
    loop {
        let read = from.read(&mut piece)?;
        let Some(part) = piece.get(..read).filter(|part| !part.is_empty()) else { break };
        packer.write_all(part)?;
        done += read as u64;
        // Whoever waited for it may be gone.
        let _ = tell.send(done);
    }
    let written = packer.finish()?;
    written.to.sync_all()?;
    Ok((written.bytes, hex(&written.hash.finalize())))
}

/// Whether a file is packed with zstd, by how it begins.
pub(super) fn is_packed(beginning: &[u8]) -> bool {
    beginning.starts_with(&MAGIC)
}

/// Writes what a packed file gives, as it comes; tells how many bytes, and their SHA-256. Takes a few megabytes of memory whatever the
/// file's size: zstd refuses windows beyond 128 MiB by itself.
///
/// # Errors
/// It is damaged or cut off ([`io::ErrorKind::InvalidData`]), or cannot be read or written.
pub(super) fn unpack(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<(u64, String)> {
    let damaged = |error: io::Error| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    let mut packed = Decoder::new(from).map_err(damaged)?;
    let mut to = Hashing::new(to);
    let mut piece = vec![0; PIECE];
    loop {
        // A disk that fails here looks the same; it fails again for whoever looks at the file itself.
        let read = packed.read(&mut piece).map_err(damaged)?;
        let Some(part) = piece.get(..read).filter(|part| !part.is_empty()) else { break };
        to.write_all(part)?;
    }
    Ok((to.bytes, hex(&to.hash.finalize())))
}

/// Counts and hashes what goes through.
struct Hashing<W> {
    to: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Hashing<W> {
    fn new(to: W) -> Self {
        Self { to, hash: Sha256::new(), bytes: 0 }
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.to.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::write(&from, bytes).unwrap();
        let (tell, _told) = unbounded_channel();
        let (size, sha256) = write(&from, &to, bytes.len() as u64, &tell).unwrap();
        let packed = std::fs::read(&to).unwrap();
        assert_eq!((size, sha256), (packed.len() as u64, hex(&Sha256::digest(&packed))));
        packed
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn what_is_packed_comes_back_and_damage_never_passes(
            seed in prop::collection::vec(any::<u8>(), 1..300), times in 1..200_usize, at in any::<prop::sample::Index>(), bit in 0..8_u8
        ) {
            let bytes = seed.repeat(times);
            let whole = packed(&bytes);
            prop_assert!(is_packed(&whole));
            let mut back = Vec::new();
            let told = unpack(&mut whole.as_slice(), &mut back).unwrap();
            prop_assert_eq!((told, &back), ((bytes.len() as u64, hex(&Sha256::digest(&bytes))), &bytes));
            // Cut anywhere: never whole.
            let cut = &whole[..at.index(whole.len())];
            prop_assert!(cut.is_empty() || unpack(&mut &cut[..], &mut io::sink()).is_err());
            // A bit that changes either changes nothing that is read or is found.
            let mut flipped = whole.clone();
            flipped[at.index(whole.len())] ^= 1 << bit;
            let mut other = Vec::new();
            if unpack(&mut flipped.as_slice(), &mut other).is_ok() {
                prop_assert_eq!(other, bytes);
            }
        }
    }
}
