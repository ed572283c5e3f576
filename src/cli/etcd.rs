//! `kubewright etcd`: a cluster's etcd, and snapshots of it as files. `verify`, `ls` and `diff` read files, contact nobody, and
//! write nothing.

mod diff;
mod logs;
mod ls;
mod maintain;
mod member;
mod snapshot;
mod status;
mod verify;

use std::path::Path;
use std::sync::Arc;

use clap::Subcommand;
use kubewright_core::spec::{Role, Spec};
use kubewright_snapshot::{Filter, Snapshot, SnapshotFile};

use super::world::World;
use super::{Output, within};
use crate::error::{Error, ErrorKind, ExitCode};
use crate::etcd::EtcdCluster;
use crate::ports::{EtcdError, Hosts};

/// Look at etcd and its snapshots
#[derive(Debug, Subcommand)]
pub enum Etcd {
    Status(status::Status),
    Snapshot(snapshot::Take),
    Logs(logs::Logs),
    MoveLeader(maintain::MoveLeader),
    Defrag(maintain::Defrag),
    Restart(maintain::Restart),
    #[command(subcommand)]
    Member(member::MemberCommand),
    Compact(maintain::Compact),
    #[command(subcommand)]
    Alarm(maintain::AlarmCommand),
    Verify(verify::Verify),
    Ls(ls::Ls),
    Diff(diff::Diff),
}

impl Etcd {
    pub(super) fn run(self, output: Output, yes: bool) -> Result<ExitCode, Error> {
        let json = output == Output::Json;
        match self {
            Self::Status(command) => within(output, yes, async |world| command.run(world).await),
            Self::Snapshot(command) => within(output, yes, async |world| command.run(world).await),
            Self::Logs(command) => within(output, yes, async |world| command.run(world).await),
            Self::MoveLeader(command) => within(output, yes, async |world| command.run(world).await),
            Self::Defrag(command) => within(output, yes, async |world| command.run(world).await),
            Self::Restart(command) => within(output, yes, async |world| command.run(world).await),
            Self::Member(command) => within(output, yes, async |world| command.run(world).await),
            Self::Compact(command) => within(output, yes, async |world| command.run(world).await),
            Self::Alarm(command) => within(output, yes, async |world| command.run(world).await),
            Self::Verify(command) => command.run(json),
            Self::Ls(command) => command.run(json),
            Self::Diff(command) => command.run(json),
        }
    }
}

/// A spec's cluster and the way to its etcd.
struct Cluster {
    spec: Spec,
    hosts: Arc<dyn Hosts>,
    etcd: EtcdCluster,
}

impl Cluster {
    /// Reads the spec and whatever of the hosts has a client certificate for etcd. No member is asked yet.
    async fn open(world: &World, file: &Path) -> Result<Self, Error> {
        let spec = world.load(file)?.spec;
        let hosts = world.connect(&spec)?;
        let holders = spec.hosts.iter().filter(|host| host.is(Role::ControlPlane) || host.is(Role::Etcd));
        let holders: Vec<_> = holders.map(|host| host.name.clone()).collect();
        let etcd = EtcdCluster::over_ssh(&spec, hosts.clone(), &holders, world.clock.clone()).await;
        let etcd = etcd.map_err(no_credentials)?;
        Ok(Self { spec, hosts, etcd })
    }
}

/// What is told where no host has what etcd would accept us with.
fn no_credentials(error: EtcdError) -> Error {
    let EtcdError { said, .. } = &error;
    Error::new(ErrorKind::Blocked, "ETCD", "no client certificate for etcd could be read from any host")
        .lines(said.split("; "))
        .safe("nothing was changed, and no member was asked")
        .next("a host that has a member, or an API server, must answer to ssh")
}

/// What is told where no member of the cluster could be asked.
fn no_member_answers(error: EtcdError, file: &Path) -> Error {
    let EtcdError { said, .. } = &error;
    let mut told = Error::new(ErrorKind::Blocked, "ETCD", "no member of etcd answers").lines(said.split("; "));
    told = told.safe("nothing was changed; what etcd confirmed is on the members' disks");
    told.hint(error.hint()).next(format!("kubewright etcd logs HOST -f {}", file.display()))
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
