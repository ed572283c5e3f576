//! Copies of etcd in a folder: one folder for each, which is there whole or not at all.
//!
//! ```text
//! FOLDER/CLUSTER/2026-11-20T230000Z-1284907/{etcd.snap,manifest.json,companions/…}      (0700 / 0600)
//! FOLDER/CLUSTER/.taking-XXXXXX/                                                       (while one is taken)
//! ```
//!
//! They hold every secret of a cluster, so that nobody but their owner may read them.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use kubewright_core::etcd::manifest::Manifest;
use kubewright_core::etcd::retention::Copy;
use tempfile::TempDir;

/// The snapshot's name in its folder.
pub const SNAPSHOT: &str = "etcd.snap";
/// Its papers.
const MANIFEST: &str = "manifest.json";
/// A copy in the making, locked by who makes it.
const TAKING: &str = ".taking-";
const LOCK: &str = "lock";

/// The copies of one cluster.
#[derive(Clone, Debug)]
pub struct Copies {
    folder: PathBuf,
}

/// What is in a folder of copies.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Papers of each, by name.
    pub manifests: Vec<(String, Manifest)>,
    /// Folders whose papers cannot be read. They are never removed.
    pub unreadable: Vec<String>,
}

impl Listed {
    /// For the choice of what may go.
    pub fn copies(&self) -> Vec<Copy> {
        let copy = |(name, manifest): &(String, Manifest)| Copy {
            name: name.clone(),
            taken: manifest.taken,
            verified: manifest.attestation.is_proved(),
        };
        self.manifests.iter().map(copy).collect()
    }
}

impl Copies {
    /// Those of a cluster below a folder, which is made where it is missing. What a run left that was killed is cleared away.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn open(folder: &Path, cluster: &str) -> io::Result<Self> {
        let folder = std::path::absolute(folder)?.join(cluster);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        let this = Self { folder };
        this.clear()?;
        Ok(this)
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes that we may still write there.
    ///
    /// # Errors
    /// The folder is gone.
    pub fn free(&self) -> io::Result<u64> {
        let space = rustix::fs::statvfs(&self.folder)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    /// Folders of runs that are over without an end: nobody holds their lock.
    fn clear(&self) -> io::Result<()> {
        for entry in self.folder.read_dir()? {
            let entry = entry?;
            if !entry.file_name().to_string_lossy().starts_with(TAKING) {
                continue;
            }
            let abandoned = match File::open(entry.path().join(LOCK)) {
                Ok(lock) => lock.try_lock().is_ok(),
                // It is made first of all; whoever is about to make it holds nothing yet that could be lost.
                Err(_) => false,
            };
            if abandoned {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    }

    /// A place for one more.
    ///
    /// # Errors
    /// The folder is gone, or cannot be written.
    pub fn begin(&self) -> io::Result<Taking> {
        let only_ours = Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix(TAKING).permissions(only_ours).tempdir_in(&self.folder)?;
        // Another run that clears up must not find it without us on it.
        let unheld = folder.path().join("lock.new");
        let lock = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unheld)?;
        lock.lock()?;
        fs::rename(unheld, folder.path().join(LOCK))?;
        Ok(Taking { folder, copies: self.folder.clone(), _lock: lock })
    }

    /// All that are whole.
    ///
    /// # Errors
    /// The folder is gone.
    pub fn list(&self) -> io::Result<Listed> {
        let mut listed = Listed::default();
        for entry in self.folder.read_dir()? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || !entry.file_type()?.is_dir() {
                continue;
            }
            let read = fs::read(entry.path().join(MANIFEST)).ok();
            match read.and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                Some(manifest) => listed.manifests.push((name, manifest)),
                None => listed.unreadable.push(name),
            }
        }
        listed.manifests.sort_by(|one, other| one.0.cmp(&other.0));
        listed.unreadable.sort();
        Ok(listed)
    }

    /// Removes one: first its papers, so that half of one is never taken for a whole one.
    ///
    /// # Errors
    /// It is not there, or cannot be removed.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let folder = self.folder.join(name);
        fs::remove_file(folder.join(MANIFEST))?;
        fs::remove_dir_all(folder)
    }
}

/// A copy in the making. Dropped, it is gone.
#[derive(Debug)]
pub struct Taking {
    folder: TempDir,
    copies: PathBuf,
    _lock: File,
}

impl Taking {
    /// Where the snapshot is to be written.
    pub fn snapshot(&self) -> PathBuf {
        self.folder.path().join(SNAPSHOT)
    }

    /// Writes a file beside the snapshot, in folders of its own where its name has any.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn put(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let path = self.folder.path().join(name);
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(contents)?;
        file.sync_all()?;
        synced(path.parent().unwrap_or(self.folder.path()))
    }

    /// Writes the papers and gives the copy its name; from then on it is there.
    ///
    /// # Errors
    /// Those of the file system; nothing is left then.
    pub fn keep(self, manifest: &Manifest) -> io::Result<PathBuf> {
        self.put(MANIFEST, &serde_json::to_vec_pretty(manifest)?)?;
        fs::remove_file(self.folder.path().join(LOCK))?;
        synced(self.folder.path())?;
        let (mut path, mut number) = (self.copies.join(name(manifest.taken, manifest.contents.revision)), 1);
        // An empty folder would be replaced; ours are never empty. Two of one second differ by a number.
        while path.try_exists()? {
            number += 1;
            path = self.copies.join(format!("{}-{number}", name(manifest.taken, manifest.contents.revision)));
        }
        fs::rename(self.folder.path(), &path)?;
        // Renamed away from under it: nothing is left to be removed.
        let _ = self.folder.keep();
        synced(&self.copies)?;
        Ok(path)
    }
}

fn synced(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// In the order of time when sorted, and plain enough for every file system.
fn name(taken: Timestamp, revision: i64) -> String {
    format!("{}-{revision}", taken.strftime("%Y-%m-%dT%H%M%SZ"))
}
