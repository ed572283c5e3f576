//! `kubewright etcd move-leader | defrag | restart | compact | alarm`: work on etcd as a plan, shown, asked about, and run by the one executor.

use clap::Subcommand;
use kubewright_core::ids::HostName;
use kubewright_core::intent::EtcdWork;
use kubewright_core::planner::etcd::maintain;

use super::change::{Wanted, Words};
use super::{Cluster, no_member_answers};
use crate::cli::options::OfSpec;
use crate::cli::world::World;
use crate::error::{Error, ExitCode};
use crate::ports::EtcdApi;
use crate::report;

/// Let another member of etcd lead
///
/// A hand-over takes a tenth of a second. Nothing is done where etcd would not bear it.
#[derive(Debug, clap::Args)]
pub struct MoveLeader {
    /// The host whose member is to lead; the one that keeps up best where none is named
    #[arg(value_name = "HOST")]
    to: Option<HostName>,
    #[command(flatten)]
    wanted: Wanted,
}

/// Give what is free in etcd's databases back to the disks
///
/// One member after the other, followers first, the leader last once another leads; the next begins when the one before is well again. A member
/// answers nobody while its database is written anew: about 10 s for a gigabyte.
#[derive(Debug, clap::Args)]
pub struct Defrag {
    /// The hosts whose members are meant; all where none is named
    #[arg(value_name = "HOST")]
    hosts: Vec<HostName>,
    #[command(flatten)]
    wanted: Wanted,
}

/// Restart etcd, one member after the other
///
/// Followers first, the leader last once another leads; the next begins when the one before is well again, so that a majority
/// decides all along. The container of the static pod ends and the kubelet starts the next one; nothing else of the host is touched. Its own API server
/// answers nothing for the seconds in between.
#[derive(Debug, clap::Args)]
pub struct Restart {
    /// The hosts whose members are meant; all where none is named
    #[arg(value_name = "HOST")]
    hosts: Vec<HostName>,
    #[command(flatten)]
    wanted: Wanted,
}

/// Have etcd forget all history but the newest
///
/// The API server does this every five minutes for what is older than five minutes. By hand it helps where the database is full.
#[derive(Debug, clap::Args)]
pub struct Compact {
    #[command(flatten)]
    wanted: Wanted,
}

/// See and take back etcd's alarms
#[derive(Debug, Subcommand)]
pub enum AlarmCommand {
    /// List the alarms that are raised
    List(List),
    /// Take back every alarm that is raised, once its cause is gone
    Disarm(Disarm),
}

/// List the alarms that are raised
#[derive(Debug, clap::Args)]
pub struct List {
    #[command(flatten)]
    of: OfSpec,
}

/// Take back every alarm that is raised, once its cause is gone
#[derive(Debug, clap::Args)]
pub struct Disarm {
    #[command(flatten)]
    wanted: Wanted,
}

impl MoveLeader {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let command = format!("move-leader{}", named(&self.to));
        carry_out(self.wanted, world, EtcdWork::MoveLeader { to: self.to }, command).await
    }
}

impl Defrag {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let command = format!("defrag{}", named(&self.hosts));
        carry_out(self.wanted, world, EtcdWork::Defragment { hosts: self.hosts }, command).await
    }
}

impl Restart {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let command = format!("restart{}", named(&self.hosts));
        carry_out(self.wanted, world, EtcdWork::Restart { hosts: self.hosts }, command).await
    }
}

impl Compact {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        carry_out(self.wanted, world, EtcdWork::Compact, "compact".to_owned()).await
    }
}

impl AlarmCommand {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        match self {
            Self::List(command) => command.run(world).await,
            Self::Disarm(Disarm { wanted }) => {
                carry_out(wanted, world, EtcdWork::Disarm, "alarm disarm".to_owned()).await
            }
        }
    }
}

/// Hosts as they are typed behind a command.
fn named<'h>(hosts: impl IntoIterator<Item = &'h HostName>) -> String {
    hosts.into_iter().map(|host| format!(" {host}")).collect()
}

async fn carry_out(wanted: Wanted, world: &World, work: EtcdWork, command: String) -> Result<ExitCode, Error> {
    let words = Words { command, question: "whether to do this", already: "etcd is as asked already" };
    wanted.carry_out(world, words, |asked| maintain(asked, &work)).await
}

impl List {
    async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let Cluster { etcd, .. } = Cluster::open(world, &self.of).await?;
        // What the members say by themselves: the list of alarms needs a majority.
        let facts = etcd.observe().await.map_err(|error| no_member_answers(error, &self.of))?;
        if world.json {
            report::print_json(&serde_json::json!({ "event": "alarms", "alarms": facts.alarms }))?;
        } else if facts.alarms.is_empty() {
            report::print("no alarm is raised\n")?;
        } else {
            let whose = |alarm: &kubewright_core::facts::etcd::Alarm| match alarm.member {
                Some(id) => facts.member(id).map_or_else(|| id.to_string(), ToString::to_string),
                None => "an unknown member".to_owned(),
            };
            let lines = facts.alarms.iter().map(|alarm| format!("{} of {}\n", alarm.kind, whose(alarm)));
            report::print(&lines.collect::<String>())?;
        }
        Ok(ExitCode::Done)
    }
}
