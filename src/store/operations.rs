//! The folders of operations: made, found, listed, held by one process at a time.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use kubewright_core::facts::Facts;
use kubewright_core::ids::OperationId;
use kubewright_core::journal;
use kubewright_core::plan::{FORMAT, Plan, digest_of};

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
    /// It was begun before: its files are not written a second time.
    #[error("operation {0} was begun already; go on with:  kubewright ops resume {0}")]
    Begun(OperationId),
    /// A copy is of another operation than the one asked for.
    #[error("a copy of operation {wanted} holds the plan of operation {found}")]
    Another {
        /// What was asked for.
        wanted: OperationId,
        /// What it says it is.
        found: OperationId,
    },
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

/// The folder of one operation, for this process alone for as long as this lives.
#[derive(Debug)]
pub struct Hold {
    operation: OperationId,
    folder: PathBuf,
    _lock: File,
}

impl Hold {
    /// Whose folder.
    pub fn operation(&self) -> &OperationId {
        &self.operation
    }
}

/// Plan and facts as they stand on disk.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The plan.
    pub plan: Plan,
    /// What was seen when it was planned.
    pub facts: Facts,
    /// The bytes of `plan.json`; the journal is bound to these.
    pub plan_bytes: Vec<u8>,
    /// The bytes of `facts.json`.
    pub facts_bytes: Vec<u8>,
}

impl Kept {
    /// Reads the bytes of an operation's files, `origin` being where they come from.
    ///
    /// # Errors
    /// [`StoreError`] where they are damaged, newer than we are, or of another operation.
    pub fn parse(
        operation: &OperationId,
        origin: &Path,
        plan_bytes: Vec<u8>,
        facts_bytes: Vec<u8>,
    ) -> Result<Self, StoreError> {
        let plan: Plan = parse(&origin.join(PLAN), &plan_bytes)?;
        let facts: Facts = parse(&origin.join(FACTS), &facts_bytes)?;
        if &plan.operation != operation {
            return Err(StoreError::Another { wanted: operation.clone(), found: plan.operation });
        }
        Ok(Self { plan, facts, plan_bytes, facts_bytes })
    }

    /// What the journal's first record binds it to.
    pub fn digest(&self) -> String {
        digest_of(&self.plan_bytes)
    }
}

/// One operation, held by this process.
pub struct Operation {
    /// Its plan.
    pub plan: Plan,
    /// What was seen when it was planned.
    pub facts: Facts,
    /// The plan as on disk.
    pub plan_bytes: Vec<u8>,
    /// The facts as on disk.
    pub facts_bytes: Vec<u8>,
    /// Its journal.
    pub journal: Journal,
    /// Its folder.
    pub folder: PathBuf,
    /// Its secrets.
    pub secrets: Secrets,
    /// Keeps other processes on this machine away for as long as it lives.
    pub lock: Hold,
}

impl Operations {
    /// The state folder below `root` (`$XDG_STATE_HOME/kubewright`).
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Takes the folder of an operation for this process alone, before anything in it is read; makes it where there is
    /// none yet.
    ///
    /// # Errors
    /// [`StoreError::Busy`] where another process has it.
    pub fn hold(&self, operation: &OperationId) -> Result<Hold, StoreError> {
        let folder = self.folder(operation);
        private_folder(&folder)?;
        let path = folder.join("lock");
        let io = |source| StoreError::Io { path: path.clone(), source };
        let lock = OpenOptions::new().create(true).append(true).open(&path).map_err(io)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => StoreError::Busy(operation.clone()),
            TryLockError::Error(source) => io(source),
        })?;
        Ok(Hold { operation: operation.clone(), folder, _lock: lock })
    }

    /// Keeps a plan before it is run: folder, plan and facts on disk, empty journal.
    ///
    /// # Errors
    /// [`StoreError::Begun`] where the operation is there already; else nothing of it is there, or a folder without a
    /// plan, which nothing lists.
    pub fn create(&self, plan: &Plan, facts: &Facts) -> Result<Operation, StoreError> {
        let hold = self.hold(&plan.operation)?;
        let (plan_path, facts_path) = (hold.folder.join(PLAN), hold.folder.join(FACTS));
        if plan_path.exists() || hold.folder.join(JOURNAL).exists() {
            return Err(StoreError::Begun(plan.operation.clone()));
        }
        write_file(&facts_path, &to_json(&facts_path, facts)?)?;
        write_file(&plan_path, &to_json(&plan_path, plan)?)?;
        self.open(hold)
    }

    /// Keeps what control planes know of an operation, in place of what is here. A journal here that went another way
    /// is kept beside it as `journal.jsonl.fork-N`.
    ///
    /// # Errors
    /// [`StoreError`]; where the journal does not belong to the plan nothing was written.
    pub fn adopt(&self, hold: Hold, kept: &Kept, journal: &[u8]) -> Result<Operation, StoreError> {
        if kept.plan.operation != hold.operation {
            return Err(StoreError::Another { wanted: hold.operation, found: kept.plan.operation.clone() });
        }
        let path = hold.folder.join(JOURNAL);
        let refused = |source: JournalError| StoreError::Journal { path: path.clone(), source };
        let reading = journal::read(journal).map_err(|error| refused(error.into()))?;
        journal::Status::fold(&kept.plan, &kept.digest(), &reading.records).map_err(|error| refused(error.into()))?;
        let here = self.journal_bytes(&hold.operation)?;
        let whole = here.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        if !journal.starts_with(&here[..whole]) {
            let fork = (1..)
                .map(|number: u32| hold.folder.join(format!("{JOURNAL}.fork-{number}")))
                .find(|fork| !fork.exists());
            if let Some(fork) = fork {
                write_file(&fork, &here)?;
            }
        }
        write_file(&path, &journal[..reading.whole])?;
        write_file(&hold.folder.join(FACTS), &kept.facts_bytes)?;
        write_file(&hold.folder.join(PLAN), &kept.plan_bytes)?;
        self.open(hold)
    }

    /// Opens an operation whose folder we hold.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn open(&self, hold: Hold) -> Result<Operation, StoreError> {
        let Kept { plan, facts, plan_bytes, facts_bytes } = self.read(&hold.operation)?;
        let path = hold.folder.join(JOURNAL);
        let journal = Journal::open(&path, &plan, &digest_of(&plan_bytes))
            .map_err(|source| StoreError::Journal { path, source })?;
        let secrets = Secrets::new(self.root.join("secrets").join(hold.operation.as_str()));
        let folder = hold.folder.clone();
        Ok(Operation { plan, facts, plan_bytes, facts_bytes, journal, folder, secrets, lock: hold })
    }

    /// Plan and facts of an operation, without taking it.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Unknown`] where there is no plan.
    pub fn read(&self, operation: &OperationId) -> Result<Kept, StoreError> {
        let folder = self.folder(operation);
        let bytes = |name: &str| {
            let path = folder.join(name);
            fs::read(&path).map_err(|source| match source.kind() {
                io::ErrorKind::NotFound if name == PLAN => {
                    StoreError::Unknown { wanted: operation.to_string(), folder: self.ops() }
                }
                _ => StoreError::Io { path, source },
            })
        };
        Kept::parse(operation, &folder, bytes(PLAN)?, bytes(FACTS)?)
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
            // A folder of another name is none of ours.
            let Ok(operation) = OperationId::try_from(entry.file_name().to_string_lossy().into_owned()) else {
                continue;
            };
            if let Ok(modified) = fs::metadata(&plan).and_then(|metadata| metadata.modified()) {
                found.push((modified, operation));
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

fn to_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec_pretty(value)
        .map_err(|error| StoreError::Damaged { path: path.to_owned(), reason: error.to_string() })
}

/// A file of ours, whose format is looked at before the rest.
///
/// # Errors
/// [`StoreError::Format`], [`StoreError::Damaged`].
pub fn parse<T: serde::de::DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T, StoreError> {
    let damaged = |error: serde_json::Error| StoreError::Damaged { path: path.to_owned(), reason: error.to_string() };
    let value: serde_json::Value = serde_json::from_slice(text).map_err(damaged)?;
    if let Some(found) = value.get("format").and_then(serde_json::Value::as_u64)
        && found > u64::from(FORMAT)
    {
        return Err(StoreError::Format { path: path.to_owned(), found });
    }
    serde_json::from_value(value).map_err(damaged)
}

#[cfg(test)]
mod tests;
