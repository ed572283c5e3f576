//! A folder of copies: one folder for each, renamed into place once it is whole.
//!
//! ```text
//! FOLDER/CLUSTER/2026-11-20T230000Z-1284907/   (0700, its files 0600)
//! FOLDER/CLUSTER/.taking-XXXXXX/               (while one is taken)
//! ```
//!
//! They hold every secret of a cluster, so that nobody but their owner may read them.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kubewright_core::etcd::manifest::Manifest;
use tempfile::TempDir;

use super::{CopiesError, LARGEST_MANIFEST, Listed, MANIFEST, SNAPSHOT, name};

/// A copy in the making, locked by who makes it.
const TAKING: &str = ".taking-";
const LOCK: &str = "lock";

/// The copies of one cluster in a folder.
#[derive(Clone, Debug)]
pub struct Folder {
    folder: PathBuf,
}

impl Folder {
    /// Those of a cluster below a folder, which is made where it is missing. What a run left that was killed is cleared away.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn open(folder: &Path, cluster: &str) -> Result<Self, CopiesError> {
        let told = |error: io::Error| CopiesError::io(folder, &error);
        let this = Self { folder: std::path::absolute(folder).map_err(told)?.join(cluster) };
        DirBuilder::new().recursive(true).mode(0o700).create(&this.folder).map_err(told)?;
        this.clear().map_err(told)?;
        Ok(this)
    }

    /// The same where it is there; nothing is made or cleared away.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub fn existing(folder: &Path, cluster: &str) -> Result<Option<Self>, CopiesError> {
        let told = |error: io::Error| CopiesError::io(folder, &error);
        let this = Self { folder: std::path::absolute(folder).map_err(told)?.join(cluster) };
        Ok(this.folder.try_exists().map_err(told)?.then_some(this))
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    fn told(&self, error: io::Error) -> CopiesError {
        CopiesError::io(&self.folder, &error)
    }

    /// Bytes that we may still write there.
    ///
    /// # Errors
    /// The folder is gone.
    pub fn free(&self) -> Result<u64, CopiesError> {
        let space = rustix::fs::statvfs(&self.folder).map_err(|error| self.told(error.into()))?;
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
    pub fn begin(&self) -> Result<Taking, CopiesError> {
        self.taking().map_err(|error| self.told(error))
    }

    fn taking(&self) -> io::Result<Taking> {
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
    pub fn list(&self) -> Result<Listed, CopiesError> {
        self.listed().map_err(|error| self.told(error))
    }

    fn listed(&self) -> io::Result<Listed> {
        let mut listed = Listed::default();
        for entry in self.folder.read_dir()? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || !entry.file_type()?.is_dir() {
                continue;
            }
            let manifest = small(&entry.path().join(MANIFEST), LARGEST_MANIFEST).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => format!("it has no {MANIFEST}"),
                _ => format!("its {MANIFEST} cannot be read: {error}"),
            });
            let size = |name: &str| fs::metadata(entry.path().join(name)).ok().map(|file| file.len());
            listed.note(name, manifest, size);
        }
        Ok(listed.sorted())
    }

    /// Removes one: first its papers, so that half of one is never taken for a whole one.
    ///
    /// # Errors
    /// It is not there, or cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), CopiesError> {
        let folder = self.folder.join(name);
        let remove = || {
            fs::remove_file(folder.join(MANIFEST))?;
            fs::remove_dir_all(&folder)
        };
        remove().map_err(|error| CopiesError::io(&folder, &error))
    }
}

/// The bytes of a file, of one that is larger than `most` the first so many: what is cut off is found to be so by whoever reads it.
pub(crate) fn small(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
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
        self.path(SNAPSHOT)
    }

    /// Where a file of this name is, or is to be written.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Something that no other copy in the making is called.
    pub fn mark(&self) -> String {
        let name = self.folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.trim_start_matches(TAKING).to_ascii_lowercase()
    }

    /// Writes a file beside the snapshot, in folders of its own where its name has any.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn put(&self, name: &str, contents: &[u8]) -> Result<(), CopiesError> {
        self.write(name, contents).map_err(|error| CopiesError::io(&self.copies, &error))
    }

    fn write(&self, name: &str, contents: &[u8]) -> io::Result<()> {
        let path = self.path(name);
        if let Some(folder) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(contents)?;
        file.sync_all()?;
        synced(path.parent().unwrap_or(self.folder.path()))
    }

    /// Writes the papers and gives the copy its name in the folder; from then on it is there.
    ///
    /// # Errors
    /// Those of the file system; nothing is left then.
    pub(super) fn keep(self, manifest: &Manifest) -> Result<PathBuf, CopiesError> {
        let copies = self.copies.clone();
        self.renamed(manifest).map_err(|error| CopiesError::io(copies, &error))
    }

    fn renamed(self, manifest: &Manifest) -> io::Result<PathBuf> {
        self.write(MANIFEST, &serde_json::to_vec_pretty(manifest)?)?;
        fs::remove_file(self.path(LOCK))?;
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
