//! The folders of operations: made, found, listed, held by one process at a time.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use kubewright_core::facts::Facts;
use kubewright_core::ids::OperationId;
use kubewright_core::plan::{FORMAT, Plan};

use super::{Journal, JournalError, Secrets, write_atomically};

const PLAN: &str = "plan.json";
const FACTS: &str = "facts.json";
const JOURNAL: &str = "journal.jsonl";

/// Why an operation cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("{path}: {source}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is no such operation here.
    #[error("there is no operation {wanted} in {folder}")]
    Unknown {
        /// What was asked for.
        wanted: String,
        /// Where.
        folder: PathBuf,
    },
    /// Several operations begin like this.
    #[error("{wanted} could be any of {candidates}")]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// What there is.
        candidates: String,
    },
    /// Another process on this machine works on it.
    #[error("another kubewright on this machine is working on operation {0}")]
    Busy(OperationId),
    /// A newer kubewright wrote it.
    #[error("{path} has format {found}; this kubewright knows {FORMAT}")]
    Format {
        /// Which file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// A file is not what it should be.
    #[error("{path} cannot be read: {reason}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Its journal.
    #[error("{path}: {source}")]
    Journal {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: JournalError,
    },
}

/// The state folder.
#[derive(Clone, Debug)]
pub struct Operations {
    root: PathBuf,
}

/// One operation, held by this process.
pub struct Operation {
    /// Its plan.
    pub plan: Plan,
    /// What was seen when it was planned.
    pub facts: Facts,
    /// Its journal.
    pub journal: Journal,
    /// Its folder.
    pub folder: PathBuf,
    /// Its secrets.
    pub secrets: Secrets,
    /// Keeps other processes on this machine away for as long as it is open.
    pub lock: File,
}

impl Operations {
    /// The state folder below `root` (`$XDG_STATE_HOME/kubewright`).
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Keeps a plan before it is run: folder, plan and facts on disk, empty journal.
    ///
    /// # Errors
    /// [`StoreError`]; nothing of the operation is there then, or a folder without a plan, which nothing lists.
    pub fn create(&self, plan: &Plan, facts: &Facts) -> Result<Operation, StoreError> {
        let folder = self.folder(&plan.operation);
        private_folder(&folder)?;
        write_json(&folder.join(FACTS), facts)?;
        write_json(&folder.join(PLAN), plan)?;
        self.open(&plan.operation)
    }

    /// Keeps an operation that another machine began, from the mirror on a host.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn adopt(&self, plan: &[u8], facts: &[u8], journal: &[u8]) -> Result<Operation, StoreError> {
        let origin = Path::new("the mirror");
        let plan: Plan = parse(&origin.join(PLAN), plan)?;
        let facts: Facts = parse(&origin.join(FACTS), facts)?;
        let folder = self.folder(&plan.operation);
        private_folder(&folder)?;
        write_file(&folder.join(JOURNAL), journal)?;
        write_json(&folder.join(FACTS), &facts)?;
        write_json(&folder.join(PLAN), &plan)?;
        self.open(&plan.operation)
    }

    /// Takes an operation for this process alone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(&self, operation: &OperationId) -> Result<Operation, StoreError> {
        let folder = self.folder(operation);
        let lock_path = folder.join("lock");
        let lock = File::create(&lock_path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => StoreError::Unknown { wanted: operation.to_string(), folder: self.ops() },
            _ => StoreError::Io { path: lock_path.clone(), source },
        })?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::Busy(operation.clone()),
            TryLockError::Error(source) => StoreError::Io { path: lock_path, source },
        })?;
        let (plan, facts) = self.read(operation)?;
        let path = folder.join(JOURNAL);
        let journal = Journal::open(&path, &plan).map_err(|source| StoreError::Journal { path, source })?;
        let secrets = Secrets::new(self.root.join("secrets").join(operation.as_str()));
        Ok(Operation { plan, facts, journal, folder, secrets, lock })
    }

    /// Plan and facts of an operation, without taking it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn read(&self, operation: &OperationId) -> Result<(Plan, Facts), StoreError> {
        let folder = self.folder(operation);
        Ok((read_json(&folder.join(PLAN))?, read_json(&folder.join(FACTS))?))
    }

    /// The bytes of an operation's journal, without taking it; empty where it has none.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn journal_bytes(&self, operation: &OperationId) -> Result<Vec<u8>, StoreError> {
        let path = self.folder(operation).join(JOURNAL);
        match fs::read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(StoreError::Io { path, source }),
        }
    }

    /// All operations here, the newest plan last.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn list(&self) -> Result<Vec<OperationId>, StoreError> {
        let folder = self.ops();
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(StoreError::Io { path: folder, source }),
        };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let plan = entry.path().join(PLAN);
            if let Ok(modified) = fs::metadata(&plan).and_then(|metadata| metadata.modified()) {
                found.push((modified, OperationId::new(entry.file_name().to_string_lossy())));
            }
        }
        found.sort();
        Ok(found.into_iter().map(|(_, operation)| operation).collect())
    }

    /// The operation whose id is or begins with the text.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] or [`StoreError::Ambiguous`].
    pub fn find(&self, wanted: &str) -> Result<OperationId, StoreError> {
        let mut matching: Vec<OperationId> =
            self.list()?.into_iter().filter(|operation| operation.as_str().starts_with(wanted)).collect();
        if let Some(exact) = matching.iter().position(|operation| operation.as_str() == wanted) {
            return Ok(matching.swap_remove(exact));
        }
        match matching.len() {
            1 => Ok(matching.swap_remove(0)),
            0 => Err(StoreError::Unknown { wanted: wanted.to_owned(), folder: self.ops() }),
            _ => Err(StoreError::Ambiguous {
                wanted: wanted.to_owned(),
                candidates: matching.iter().map(OperationId::as_str).collect::<Vec<_>>().join(", "),
            }),
        }
    }

    /// The folder of an operation.
    pub fn folder(&self, operation: &OperationId) -> PathBuf {
        self.ops().join(operation.as_str())
    }

    fn ops(&self) -> PathBuf {
        self.root.join("ops")
    }
}

/// A folder that only its owner may enter, with its parents.
pub(super) fn private_folder(path: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StoreError::Io { path: path.to_owned(), source })
}

fn write_file(path: &Path, contents: &[u8]) -> Result<(), StoreError> {
    write_atomically(path, contents, 0o600).map_err(|source| StoreError::Io { path: path.to_owned(), source })
}

fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), StoreError> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|error| StoreError::Damaged { path: path.to_owned(), reason: error.to_string() })?;
    write_file(path, &text)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, StoreError> {
    let text = fs::read(path).map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
    parse(path, &text)
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T, StoreError> {
    let damaged = |error: serde_json::Error| StoreError::Damaged { path: path.to_owned(), reason: error.to_string() };
    let value: serde_json::Value = serde_json::from_slice(text).map_err(damaged)?;
    if let Some(found) = value.get("format").and_then(serde_json::Value::as_u64)
        && found > u64::from(FORMAT)
    {
        return Err(StoreError::Format { path: path.to_owned(), found });
    }
    serde_json::from_value(value).map_err(damaged)
}
