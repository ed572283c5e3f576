//! `kubewright etcd`: snapshots of etcd as files. What is here reads them, contacts nobody, and writes nothing.

mod diff;
mod ls;
mod verify;

use std::path::Path;

use clap::Subcommand;
use kubewright_snapshot::{Filter, Snapshot, SnapshotFile};

use crate::error::{Error, ErrorKind, ExitCode};

/// Look at etcd snapshots
#[derive(Debug, Subcommand)]
pub enum Etcd {
    Verify(verify::Verify),
    Ls(ls::Ls),
    Diff(diff::Diff),
}

impl Etcd {
    pub(super) fn run(self, json: bool) -> Result<ExitCode, Error> {
        match self {
            Self::Verify(command) => command.run(json),
            Self::Ls(command) => command.run(json),
            Self::Diff(command) => command.run(json),
        }
    }
}

/// Which keys of a snapshot are meant.
#[derive(Debug, clap::Args)]
struct Which {
    /// Only keys that begin with this, such as /registry/pods/
    #[arg(long, value_name = "KEY")]
    prefix: Option<String>,
    /// Only this resource: pods, Pod, certificates.cert-manager.io
    #[arg(long, short, value_name = "RESOURCE")]
    resource: Option<String>,
    /// Only this namespace
    #[arg(long, short, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

impl Which {
    fn filter(self) -> Filter {
        Filter {
            prefix: self.prefix.unwrap_or_default().into_bytes(),
            resource: self.resource,
            namespace: self.namespace,
        }
    }
}

/// A snapshot to be read; one that is none, or is damaged, is the error.
fn open(path: &Path) -> Result<Snapshot<SnapshotFile>, Error> {
    let file = SnapshotFile::open(path).map_err(|error| Error::io(path, error))?;
    Snapshot::open(file).map_err(|error| unreadable(path, &error))
}

/// What is told of a file that cannot be read to its end.
fn unreadable(path: &Path, error: &kubewright_snapshot::Error) -> Error {
    Error::new(ErrorKind::Blocked, "SNAP001", format!("{}: {error}", path.display()))
        .safe("the file was not touched")
        .next(format!("kubewright etcd verify {}", path.display()))
}
