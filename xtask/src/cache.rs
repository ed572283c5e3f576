//! Where artefacts, images and lab states live: outside the checkout, so that a clean clone starts warm.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The cache folder and the names of what lies in it.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `$KUBEWRIGHT_CACHE`, else `~/.cache/kubewright`; created if it is not there.
    ///
    /// # Errors
    /// Neither variable nor home folder is set, or the folder cannot be made.
    pub fn open() -> Result<Self> {
        let root = match std::env::var_os("KUBEWRIGHT_CACHE").filter(|value| !value.is_empty()) {
            Some(root) => PathBuf::from(root),
            None => {
                let home = std::env::var_os("HOME").context("neither KUBEWRIGHT_CACHE nor HOME is set")?;
                PathBuf::from(home).join(".cache/kubewright")
            }
        };
        fs::create_dir_all(&root).with_context(|| format!("cannot make the cache folder {}", root.display()))?;
        Ok(Self { root: fs::canonicalize(&root)? })
    }

    /// A cache at this folder, for tests.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the module of a build is assembled; its programs are in `bin/` below.
    pub fn build(&self, name: &str) -> PathBuf {
        self.root.join("build").join(name)
    }

    /// A program of the newest build whose name begins so, such as `etcd-` and `etcd`; `None` where none was built.
    pub fn newest_build(&self, prefix: &str, program: &str) -> Option<PathBuf> {
        let folders = fs::read_dir(self.root.join("build")).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
        let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix));
        folders.filter(named).map(|folder| folder.join("bin").join(program)).filter(|path| path.is_file()).max()
    }

    /// Files under their official address: `<mirror>/<host>/<path>`.
    pub fn mirror(&self) -> PathBuf {
        self.root.join("mirror")
    }

    /// The registry's storage.
    pub fn registry(&self) -> PathBuf {
        self.root.join("registry")
    }

    /// What was made from what, see [`crate::artefact::stamp`].
    pub fn stamps(&self) -> PathBuf {
        self.root.join("stamps")
    }

    /// Root filesystems, SSH key and states of labs.
    pub fn lab(&self) -> PathBuf {
        self.root.join("lab")
    }

    /// Takes the lock of this name and waits for whoever holds it; it is released when the file is dropped.
    ///
    /// # Errors
    /// The lock file cannot be made or locked.
    pub fn lock(&self, name: &str) -> Result<File> {
        let path = self.root.join(format!("{name}.lock"));
        let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        if file.try_lock().is_err() {
            eprintln!("Waiting for another run that holds {}.", path.display());
            file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
        }
        Ok(file)
    }
}

/// The checkout.
pub fn repository() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    path.canonicalize().unwrap_or(path)
}

/// A file of the lab's data in the checkout, such as `artefacts.yaml`.
pub fn lab_data(path: &str) -> PathBuf {
    repository().join("tests/lab").join(path)
}
