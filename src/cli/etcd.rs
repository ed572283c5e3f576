//! `kubewright etcd`: a cluster's etcd, and snapshots of it as files. `verify`, `ls` and `diff` read files, contact no host (but `diff --live`),
//! and write nothing.

mod change;
mod companions;
mod copies;
mod diff;
mod logs;
mod ls;
mod maintain;
mod member;
mod restore;
mod schedule;
mod snapshot;
mod status;
pub(super) mod stores;
mod verify;

use std::sync::Arc;

use clap::Subcommand;
use kubewright_core::etcd::address::StoreAddress;
use kubewright_core::ids::HostName;
use kubewright_core::spec::{Role, Spec};
use kubewright_snapshot::{Filter, Snapshot, SnapshotFile};

use self::stores::at_once;
use super::options::OfSpec;
use super::world::World;
use super::{Output, within};
use crate::backup::reading::{self, Opened, Unopened};
use crate::error::{Error, ErrorKind, ExitCode};
use crate::etcd::EtcdCluster;
use crate::ports::{EtcdError, Hosts};
use crate::store::objects::Access;

/// Look at etcd and its snapshots
#[derive(Debug, Subcommand)]
pub enum Etcd {
    Status(status::Status),
    Snapshot(snapshot::Take),
    Schedule(schedule::ScheduleCopies),
    Copies(copies::List),
    Companions(companions::Companions),
    Logs(logs::Logs),
    MoveLeader(maintain::MoveLeader),
    Defrag(maintain::Defrag),
    Restart(maintain::Restart),
    Restore(restore::Restore),
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
            Self::Schedule(command) => within(output, yes, async |world| command.run(world).await),
            Self::Copies(command) => within(output, yes, async |world| command.run(world).await),
            Self::Companions(command) => command.run(json),
            Self::Logs(command) => within(output, yes, async |world| command.run(world).await),
            Self::MoveLeader(command) => within(output, yes, async |world| command.run(world).await),
            Self::Defrag(command) => within(output, yes, async |world| command.run(world).await),
            Self::Restart(command) => within(output, yes, async |world| command.run(world).await),
            Self::Restore(command) => within(output, yes, async |world| command.run(world).await),
            Self::Member(command) => within(output, yes, async |world| command.run(world).await),
            Self::Compact(command) => within(output, yes, async |world| command.run(world).await),
            Self::Alarm(command) => within(output, yes, async |world| command.run(world).await),
            Self::Verify(command) => command.run(json),
            Self::Ls(command) => command.run(json),
            Self::Diff(command) if command.is_live() => {
                within(output, yes, async |world| command.run_live(world).await)
            }
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
    async fn open(world: &World, of: &OfSpec) -> Result<Self, Error> {
        let (spec, hosts) = of.open(world)?;
        Self::over(world, spec, hosts).await
    }

    /// The same where the way to the hosts is there already.
    async fn over(world: &World, spec: Spec, hosts: Arc<dyn Hosts>) -> Result<Self, Error> {
        let etcd = EtcdCluster::over_ssh(&spec, hosts.clone(), &holders(&spec), world.clock.clone()).await;
        let etcd = etcd.map_err(no_credentials)?;
        Ok(Self { spec, hosts, etcd })
    }
}

/// Hosts that have, or are to have, a member of etcd or a client of it.
fn holders(spec: &Spec) -> Vec<HostName> {
    let holders = spec.hosts.iter().filter(|host| host.is(Role::ControlPlane) || host.is(Role::Etcd));
    holders.map(|host| host.name.clone()).collect()
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
fn no_member_answers(error: EtcdError, of: &OfSpec) -> Error {
    let EtcdError { said, .. } = &error;
    let mut told = Error::new(ErrorKind::Blocked, "ETCD", "no member of etcd answers").lines(said.split("; "));
    told = told.safe("nothing was changed; what etcd confirmed is on the members' disks");
    told.hint(error.hint()).next(format!("kubewright etcd logs HOST -f {}", of.file.display()))
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

/// A snapshot to be read, wherever it is; one that is none, or is damaged, is the error.
fn open(address: &StoreAddress, access: &Access) -> Result<Snapshot<SnapshotFile>, Error> {
    opened(at_once(reading::open(address, access))?, address)
}

/// What was opened, as a snapshot.
fn opened(opened: Result<Opened, Unopened>, address: &StoreAddress) -> Result<Snapshot<SnapshotFile>, Error> {
    let opened = opened.map_err(|unopened| match unopened {
        Unopened::Error(error) => error,
        Unopened::Damaged(why) => Error::new(ErrorKind::Blocked, "SNAP008", format!("{address}: {}", packed(&why)))
            .safe("the file was not touched")
            .next("use another copy"),
    })?;
    Snapshot::open(opened.file).map_err(|error| unreadable(address, &error))
}

/// What is told of a file that cannot be unpacked.
fn packed(why: &str) -> String {
    format!("it is packed by zstd and cannot be unpacked to its end: {why}")
}

/// What is told of a file that cannot be read to its end.
fn unreadable(address: &StoreAddress, error: &kubewright_snapshot::Error) -> Error {
    Error::new(ErrorKind::Blocked, "SNAP001", format!("{address}: {error}"))
        .safe("the file was not touched")
        .next(format!("kubewright etcd verify {address}"))
}
