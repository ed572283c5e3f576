//! `kubewright etcd move-leader | defrag | restart | compact | alarm`: work on etcd as a plan, shown, asked about, and run by the one executor.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use clap::Subcommand;
use kubewright_core::facts::{Fact, Facts};
use kubewright_core::ids::HostName;
use kubewright_core::intent::EtcdWork;
use kubewright_core::planner::etcd::{Maintaining, maintain};
use kubewright_core::planner::{Identity, Outcome};
use kubewright_core::spec::Role;

use super::{Cluster, no_member_answers};
use crate::cli::approval::possible;
use crate::cli::node::carry_out_plan;
use crate::cli::planning::new_operation;
use crate::cli::world::World;
use crate::error::{Error, ExitCode};
use crate::facts::{Questions, gather};
use crate::ports::EtcdApi;
use crate::report::{self, Paint};

/// Of which cluster, and what was agreed to.
#[derive(Debug, clap::Args)]
struct Common {
    /// The spec
    #[arg(long, short, default_value = "cluster.yaml")]
    file: PathBuf,
    /// Agree to a finding that needs consent, by its code; may be repeated
    #[arg(long, value_name = "CODE")]
    consent: Vec<String>,
}

/// Let another member of etcd lead
///
/// A hand-over takes a tenth of a second. Nothing is done where etcd would not bear it.
#[derive(Debug, clap::Args)]
pub struct MoveLeader {
    /// The host whose member is to lead; the one that keeps up best where none is named
    #[arg(value_name = "HOST")]
    to: Option<HostName>,
    #[command(flatten)]
    common: Common,
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
    common: Common,
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
    common: Common,
}

/// Have etcd forget all history but the newest
///
/// The API server does this every five minutes for what is older than five minutes. By hand it helps where the database is full.
#[derive(Debug, clap::Args)]
pub struct Compact {
    #[command(flatten)]
    common: Common,
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
    /// The spec
    #[arg(long, short, default_value = "cluster.yaml")]
    file: PathBuf,
}

/// Take back every alarm that is raised, once its cause is gone
#[derive(Debug, clap::Args)]
pub struct Disarm {
    #[command(flatten)]
    common: Common,
}

impl MoveLeader {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let named = self.to.iter().map(|host| format!(" {host}")).collect::<String>();
        self.common.carry_out(world, EtcdWork::MoveLeader { to: self.to }, &format!("move-leader{named}")).await
    }
}

impl Defrag {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let named = self.hosts.iter().map(|host| format!(" {host}")).collect::<String>();
        self.common.carry_out(world, EtcdWork::Defragment { hosts: self.hosts }, &format!("defrag{named}")).await
    }
}

impl Restart {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let named = self.hosts.iter().map(|host| format!(" {host}")).collect::<String>();
        self.common.carry_out(world, EtcdWork::Restart { hosts: self.hosts }, &format!("restart{named}")).await
    }
}

impl Compact {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        self.common.carry_out(world, EtcdWork::Compact, "compact").await
    }
}

impl AlarmCommand {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        match self {
            Self::List(command) => command.run(world).await,
            Self::Disarm(command) => command.common.carry_out(world, EtcdWork::Disarm, "alarm disarm").await,
        }
    }
}

impl List {
    async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let Cluster { etcd, .. } = Cluster::open(world, &self.file).await?;
        // What the members say by themselves: the list of alarms needs a majority.
        let facts = etcd.observe().await.map_err(|error| no_member_answers(error, &self.file))?;
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

impl Common {
    /// Looks, plans, shows, asks, runs.
    async fn carry_out(self, world: &World, work: EtcdWork, words: &str) -> Result<ExitCode, Error> {
        possible(world, world.yes, "whether to do this", "--yes", "kubewright etcd status")?;
        let began = Instant::now();
        let Cluster { spec, hosts, etcd } = Cluster::open(world, &self.file).await?;
        let names: Vec<HostName> = spec.with_role(Role::ControlPlane).map(|host| host.name.clone()).collect();
        let questions = Questions::default();
        let (facts, seen) = tokio::join!(gather(hosts.as_ref(), &names, &questions), etcd.observe());
        let seen = seen.map_err(|error| no_member_answers(error, &self.file))?;
        let facts = Facts { etcd: Fact::Known { value: seen, at: world.clock.now() }, ..facts };
        let consents: BTreeSet<String> = self.consent.iter().cloned().collect();
        let identity = Identity { operation: new_operation()?, initial_cluster_token: String::new() };
        let tool_version = env!("CARGO_PKG_VERSION");
        let input = Maintaining { spec: &spec, facts: &facts, consents: &consents, identity: &identity, tool_version };
        let plan = match maintain(input, &work) {
            Outcome::Blocked { findings } => return Err(Error::blocked(findings)),
            Outcome::Nothing { findings } => {
                if world.json {
                    let said = serde_json::json!({ "event": "nothingToDo", "asked": words, "findings": findings });
                    report::print_json(&said)?;
                } else {
                    report::print(&report::plan::findings(&findings, Paint::stdout()))?;
                    report::print("etcd is as asked already; nothing to do.\n")?;
                }
                return Ok(ExitCode::NothingToDo);
            }
            Outcome::Plan(plan) => *plan,
        };
        let command = format!("kubewright etcd {words} -f {}", self.file.display());
        carry_out_plan(world, plan, &facts, hosts, began.elapsed(), &command, &self.consent).await
    }
}
