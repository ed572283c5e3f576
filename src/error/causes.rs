//! The one place where an error of a library or a port becomes kind, message and advice.

use std::io;
use std::path::Path;

use kubewright_core::journal::{Illegal, ReadError};
use kubewright_core::takeover::Held;

use super::{Error, ErrorKind};
use crate::exec::recover::RecoverError;
use crate::ports::{EtcdError, EtcdFault, Fault, HostError, KubeError};
use crate::store::JournalError;
use crate::store::copies::{CopiesError, CopiesFault};

impl Error {
    /// A file of this machine that could not be read or written.
    pub fn io(path: impl AsRef<Path>, error: io::Error) -> Self {
        let message = format!("{}: {error}", path.as_ref().display());
        match error.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::IsADirectory => Self::new(ErrorKind::Usage, "FILE", message),
            _ => Self::new(ErrorKind::Internal, "FILE", message),
        }
    }
}

/// A store of copies that cannot be used; nothing was begun.
impl From<CopiesError> for Error {
    fn from(error: CopiesError) -> Self {
        let kind = match error.fault {
            CopiesFault::Unusable | CopiesFault::NotThere => ErrorKind::Usage,
            _ => ErrorKind::Blocked,
        };
        Self::new(kind, "STORE", error.to_string())
            .safe("nothing was begun; copies that are there are as they were")
            .hint(error.hint())
    }
}

/// Before a run these say that nothing could begin; within one, [`Error::during`] makes them failures of the run.
impl From<HostError> for Error {
    fn from(error: HostError) -> Self {
        let hint = error.hint().map(str::to_owned);
        let message = error.to_string();
        let blocked = |message: String| Self::new(ErrorKind::Blocked, "HOST", message);
        let failed = |message: String| Self::new(ErrorKind::Failed, "HOST", message);
        match error {
            HostError::Connect { host, address, reason, .. } => {
                // The address has a line of its own.
                let first = reason.lines().next().unwrap_or_default().to_owned();
                blocked(format!("cannot connect to {host}: {first}"))
                    .on(&host, Some(address))
                    .lines(reason.lines().skip(1))
            }
            HostError::Sudo { host, reason, .. } => {
                let first = reason.lines().next().unwrap_or_default().to_owned();
                blocked(format!("sudo refused on {host}: {first}")).on(&host, None).lines(reason.lines().skip(1))
            }
            HostError::Lost { host, script, reason } => {
                failed(format!("lost the connection to {host} during {script}; whether it was done is asked on resume"))
                    .on(&host, None)
                    .at(script)
                    .lines(reason.lines())
            }
            HostError::Failed { host, script, status, stderr } => {
                failed(format!("{script} ended with status {status} on {host}"))
                    .on(&host, None)
                    .at(script)
                    .lines(stderr.lines())
            }
            HostError::Answer { host, script, .. } => failed(message).on(&host, None).at(script),
            HostError::Fenced { host, .. } => Self::locked(message)
                .on(&host, None)
                .safe("nothing of ours runs on that host any more; the run that took over goes on")
                .next("see who it is: kubewright status"),
            HostError::Value { .. } => Self::internal(message),
        }
        .hint(hint.as_deref())
    }
}

impl From<KubeError> for Error {
    fn from(error: KubeError) -> Self {
        let hint = error.hint();
        let kind = match error.fault {
            Fault::Connection(_) | Fault::Unauthorized | Fault::Forbidden | Fault::Busy => ErrorKind::Blocked,
            Fault::NotFound | Fault::Conflict | Fault::Expired | Fault::Invalid | Fault::Server | Fault::Deadline => {
                ErrorKind::Failed
            }
        };
        let mut lines = error.said.lines();
        let first = lines.next().unwrap_or_default();
        let told = Self::new(kind, "API", format!("{}: {first}", error.doing)).lines(lines).hint(hint);
        match &error.control_plane {
            Some(host) => told.on(host, None).at("kube-apiserver"),
            None => told,
        }
    }
}

impl From<EtcdError> for Error {
    fn from(error: EtcdError) -> Self {
        let kind = match error.fault {
            EtcdFault::Connection(_) | EtcdFault::Invalid | EtcdFault::Denied | EtcdFault::NoLeader => {
                ErrorKind::Blocked
            }
            _ => ErrorKind::Failed,
        };
        let mut lines = error.said.lines();
        let first = lines.next().unwrap_or_default();
        let told = Self::new(kind, "ETCD", format!("{}: {first}", error.doing)).lines(lines).hint(error.hint());
        match &error.host {
            Some(host) => told.on(host, None).at("etcd"),
            None => told,
        }
    }
}

fn damaged_journal(message: String) -> Error {
    Error::new(ErrorKind::InDoubt, "JOURNAL", message)
        .safe("nothing was changed; what the run built keeps running")
        .likely("the journal was edited, or its disk lost a part of it")
        .next("each control plane keeps a copy: move this operation's folder away, then kubewright ops resume")
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        damaged_journal(error.to_string())
    }
}

impl From<Illegal> for Error {
    fn from(error: Illegal) -> Self {
        damaged_journal(error.to_string())
    }
}

impl From<RecoverError> for Error {
    fn from(error: RecoverError) -> Self {
        let message = error.to_string();
        match error {
            RecoverError::Store(error) => error.into(),
            RecoverError::Host(error) => error.into(),
            RecoverError::Doubt { .. } => Self::in_doubt(message)
                .safe("nothing was changed; what the run built keeps running")
                .next("look at both journals and move the wrong one away; then kubewright ops resume"),
            RecoverError::Nothing { .. } => Self::usage(message).next("kubewright ops list"),
            RecoverError::Several(_) => Self::usage(message),
            RecoverError::Unreadable { .. } => Self::in_doubt(message).safe("nothing was changed"),
        }
    }
}

impl From<Held> for Error {
    fn from(held: Held) -> Self {
        let message = held.to_string();
        match held {
            Held::Working(holder) => Self::locked(message)
                .safe("nothing was changed")
                .next(format!("wait for it, or follow it: kubewright ops show {}", holder.operation)),
            Held::Unfinished(holder) => Self::locked(message)
                .safe("nothing was changed")
                .next(format!("finish it first: kubewright ops resume {} -f FILE", holder.operation))
                .next(format!("or give it up: kubewright ops abandon {} -f FILE", holder.operation)),
        }
    }
}

impl From<JournalError> for Error {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Io(_) => Self::internal(error.to_string())
                .code("JOURNAL")
                .safe("no step begins without its record; steps that ran are asked on resume"),
            JournalError::Read(error) => error.into(),
            JournalError::Illegal(error) => error.into(),
            JournalError::Event(_) | JournalError::Json(_) => Self::internal(error.to_string()),
        }
    }
}

/// Keys and certificates are made from our own data; what cannot be read is a file of the user or of a host.
impl From<kubewright_certs::Error> for Error {
    fn from(error: kubewright_certs::Error) -> Self {
        Self::failed(error.to_string()).code("KEYS")
    }
}

/// Everything we write as JSON is ours, so that a refusal is our mistake.
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(format!("JSON: {error}"))
    }
}
