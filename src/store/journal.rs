//! The journal while it is being written: every event is checked by the transition function, then on disk, then told.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use jiff::Timestamp;
use kubewright_core::journal::{self, Event, Illegal, ReadError, Status};
use kubewright_core::plan::Plan;

/// Where journal bytes go; a file, or in tests something that fails at the worst moment.
pub trait Log: Send {
    /// Appends and makes durable.
    ///
    /// # Errors
    /// Those of the device; nothing may be assumed about the bytes then.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
}

impl Log for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)?;
        self.sync_data()
    }
}

/// Why the journal cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The device failed.
    #[error("the journal cannot be written: {0}")]
    Io(#[from] io::Error),
    /// It was damaged by something else than a crash.
    #[error("the journal is damaged: {0}")]
    Read(#[from] ReadError),
    /// It tells something that cannot have happened.
    #[error("the journal contradicts itself: {0}")]
    Illegal(#[from] Illegal),
    /// An event of ours that cannot follow: a mistake of ours, nothing was written.
    #[error("this event cannot follow: {0}")]
    Event(String),
    /// JSON refused it.
    #[error("an event cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}

/// The open journal of one operation.
pub struct Journal {
    log: Box<dyn Log>,
    plan_digest: String,
    status: Status,
    count: u64,
    link: String,
    bytes: Vec<u8>,
}

impl Journal {
    /// Opens the journal file of a plan with that digest; a torn last line is cut off.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn open(path: &Path, plan: &Plan, plan_digest: &str) -> Result<Self, JournalError> {
        let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let reading = journal::read(&bytes)?;
        if reading.whole < bytes.len() {
            file.set_len(reading.whole as u64)?;
            file.sync_all()?;
            bytes.truncate(reading.whole);
        }
        file.seek(SeekFrom::End(0))?;
        Self::resume(Box::new(file), bytes, plan, plan_digest)
    }

    /// A journal whose bytes so far are known.
    ///
    /// # Errors
    /// [`JournalError`] where the bytes are no journal of this plan.
    pub fn resume(log: Box<dyn Log>, bytes: Vec<u8>, plan: &Plan, plan_digest: &str) -> Result<Self, JournalError> {
        let reading = journal::read(&bytes)?;
        let status = Status::fold(plan, plan_digest, &reading.records)?;
        let plan_digest = plan_digest.to_owned();
        Ok(Self { log, plan_digest, status, count: reading.records.len() as u64, link: reading.link, bytes })
    }

    /// Records an event: durable when this returns.
    ///
    /// # Errors
    /// [`JournalError`]; after an IO error the run has to end.
    pub fn record(&mut self, at: Timestamp, event: &Event) -> Result<(), JournalError> {
        let mut next = self.status.clone();
        next.apply(event).map_err(JournalError::Event)?;
        let (line, link) = journal::write(self.count, at, &self.link, event)?;
        self.log.append(line.as_bytes())?;
        self.bytes.extend_from_slice(line.as_bytes());
        self.count += 1;
        self.link = link;
        self.status = next;
        Ok(())
    }

    /// Digest of the plan it belongs to, as its first record says it.
    pub fn plan_digest(&self) -> &str {
        &self.plan_digest
    }

    /// What it adds up to.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// All of it, as on disk.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
