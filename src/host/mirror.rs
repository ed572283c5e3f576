//! Copies of an operation's files on the control planes, so that another machine can resume it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use kubewright_core::ids::OperationId;

use super::fence::run_fenced;
use crate::playbooks;
use crate::ports::{Host, HostError, Script, quiet};

/// Which file of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MirrorFile {
    /// `plan.json`.
    Plan,
    /// `facts.json`.
    Facts,
    /// `journal.jsonl`.
    Journal,
}

impl MirrorFile {
    /// Its name in the operation's folder.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plan => "plan.json",
            Self::Facts => "facts.json",
            Self::Journal => "journal.jsonl",
        }
    }
}

/// How an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The bytes are there and on disk.
    Done {
        /// Size of the file now.
        size: u64,
    },
    /// The file is shorter than the offset; nothing was written. Send again from there.
    Gap {
        /// Size of the file.
        size: u64,
    },
    /// Where the bytes overlap the file, it has others; nothing was written.
    Conflict {
        /// Size of the file.
        size: u64,
    },
}

/// A copy as one host has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MirrorCopy {
    /// `plan.json`.
    pub plan: Option<Vec<u8>>,
    /// `facts.json`.
    pub facts: Option<Vec<u8>>,
    /// `journal.jsonl`; its last line may be torn.
    pub journal: Option<Vec<u8>>,
}

/// One operation that a host has a copy of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorEntry {
    /// Which.
    pub operation: OperationId,
    /// When its newest file was changed, by the host's clock.
    pub modified: Timestamp,
    /// Size of `plan.json`.
    pub plan: Option<u64>,
    /// Size of `facts.json`.
    pub facts: Option<u64>,
    /// Size of `journal.jsonl`.
    pub journal: Option<u64>,
}

/// Writes bytes at exactly that offset. Repeated and overlapping appends of the same bytes are harmless.
///
/// # Errors
/// [`HostError::Fenced`] where another run has taken over; [`HostError::Failed`] on a full disk.
pub async fn append(
    host: &dyn Host,
    fence: u64,
    operation: &OperationId,
    file: MirrorFile,
    offset: u64,
    bytes: &[u8],
) -> Result<Appended, HostError> {
    let script = of(operation, "append")?
        .value("FILE", file.name())
        .value("OFFSET", offset.to_string())
        .value("CONTENT", STANDARD.encode(bytes));
    let output = run_fenced(host, fence, &script, &mut quiet()).await?.success(host.name(), &script)?;
    let answer = output.stdout.trim().split_once(' ').and_then(|(word, size)| Some((word, size.parse().ok()?)));
    match answer {
        Some(("done", size)) => Ok(Appended::Done { size }),
        Some(("gap", size)) => Ok(Appended::Gap { size }),
        Some(("conflict", size)) => Ok(Appended::Conflict { size }),
        _ => Err(unexpected(host, &script, &output.stdout)),
    }
}

/// Puts the bytes in place of the whole file, at once and on disk. A file that went another way is kept beside it as
/// `FILE.fork-N`: it tells what another run believed.
///
/// # Errors
/// [`HostError::Fenced`] where another run has taken over; [`HostError::Failed`] on a full disk.
pub async fn replace(
    host: &dyn Host,
    fence: u64,
    operation: &OperationId,
    file: MirrorFile,
    bytes: &[u8],
) -> Result<(), HostError> {
    let script = of(operation, "replace")?.value("FILE", file.name()).value("CONTENT", STANDARD.encode(bytes));
    let output = run_fenced(host, fence, &script, &mut quiet()).await?.success(host.name(), &script)?;
    match output.stdout.trim().strip_prefix("done ").and_then(|size| size.parse::<usize>().ok()) {
        Some(size) if size == bytes.len() => Ok(()),
        _ => Err(unexpected(host, &script, &output.stdout)),
    }
}

/// The host's copy of an operation.
///
/// # Errors
/// [`HostError`].
pub async fn fetch(host: &dyn Host, operation: &OperationId) -> Result<MirrorCopy, HostError> {
    let script = of(operation, "fetch")?;
    let output = host.run(&script, &mut quiet()).await?.success(host.name(), &script)?;
    let mut copy = MirrorCopy::default();
    for line in output.stdout.lines() {
        let (name, text) = line.split_once(' ').unwrap_or((line, ""));
        let bytes = STANDARD.decode(text).map_err(|_| unexpected(host, &script, name))?;
        match name {
            "plan.json" => copy.plan = Some(bytes),
            "facts.json" => copy.facts = Some(bytes),
            "journal.jsonl" => copy.journal = Some(bytes),
            _ => return Err(unexpected(host, &script, name)),
        }
    }
    Ok(copy)
}

/// The operations that the host has copies of, newest first. Folders of other names are none of ours.
///
/// # Errors
/// [`HostError`].
pub async fn list(host: &dyn Host) -> Result<Vec<MirrorEntry>, HostError> {
    let script = Script::new("common/mirror.sh", playbooks::MIRROR).value("ACTION", "list");
    let output = host.run(&script, &mut quiet()).await?.success(host.name(), &script)?;
    let mut entries: Vec<MirrorEntry> = Vec::new();
    for line in output.stdout.lines() {
        let (operation, name, size, modified) = entry(line).ok_or_else(|| unexpected(host, &script, line))?;
        let Ok(operation) = OperationId::try_from(operation.to_owned()) else { continue };
        let at = entries.iter().position(|entry| entry.operation == operation).unwrap_or_else(|| {
            entries.push(MirrorEntry { operation, modified, plan: None, facts: None, journal: None });
            entries.len() - 1
        });
        let entry = &mut entries[at];
        entry.modified = entry.modified.max(modified);
        match name {
            "plan.json" => entry.plan = Some(size),
            "facts.json" => entry.facts = Some(size),
            _ => entry.journal = Some(size),
        }
    }
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.modified));
    Ok(entries)
}

/// `OPERATION FILE SIZE SECONDS`, where a folder that is none of ours may have any name.
fn entry(line: &str) -> Option<(&str, &str, u64, Timestamp)> {
    let mut words = line.rsplitn(4, ' ');
    let (seconds, size, name, operation) = (words.next()?, words.next()?, words.next()?, words.next()?);
    Some((operation, name, size.parse().ok()?, Timestamp::from_second(seconds.parse().ok()?).ok()?))
}

/// The script for an operation whose name stays in its folder.
fn of(operation: &OperationId, action: &str) -> Result<Script, HostError> {
    let name = operation.as_str();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(HostError::Value {
            script: "common/mirror.sh".to_owned(),
            name: "operation".to_owned(),
            why: "is no plain word",
        });
    }
    Ok(Script::new("common/mirror.sh", playbooks::MIRROR).value("ACTION", action).value("OPERATION", name))
}

fn unexpected(host: &dyn Host, script: &Script, said: &str) -> HostError {
    let reason = format!("`{}`", said.trim().chars().take(100).collect::<String>());
    HostError::Answer { host: host.name().clone(), script: script.name.to_owned(), reason }
}
