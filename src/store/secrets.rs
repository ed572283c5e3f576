//! Keys of a running operation: a private folder, apart from plan and journal, gone once the cluster holds them itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::operations::private_folder;
use super::{StoreError, write_atomically};

/// The secrets of one operation on this machine.
#[derive(Clone, Debug)]
pub struct Secrets {
    folder: PathBuf,
}

impl Secrets {
    /// The folder, which need not exist yet.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// Reads one secret; `None` where it was never kept here.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn load(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let path = self.folder.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(Zeroizing::new(bytes))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError::Io { path, source }),
        }
    }

    /// Keeps one secret (folder 0700, file 0600).
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn keep(&self, name: &str, contents: &[u8]) -> Result<(), StoreError> {
        private_folder(&self.folder)?;
        let path = self.folder.join(name);
        write_atomically(&path, contents, 0o600).map_err(|source| StoreError::Io { path, source })
    }

    /// Removes all of them.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn forget(&self) -> Result<(), StoreError> {
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::Io { path: self.folder.clone(), source: error })
            }
            _ => Ok(()),
        }
    }

    /// Where they are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
