//! `kubewright etcd member replace | add | remove`: who is a member of etcd, changed by a plan that is shown, asked about, and run by
//! the one executor.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use clap::Subcommand;
use kubewright_core::facts::{Fact, Facts};
use kubewright_core::ids::HostName;
use kubewright_core::intent::MemberWork;
use kubewright_core::planner::members::{Changing, change};
use kubewright_core::planner::{Desired, DesiredHost, Identity, Input, Outcome};
use kubewright_core::spec::{Role, Spec};

use super::{Cluster, no_member_answers};
use crate::cli::approval::possible;
use crate::cli::node::carry_out_plan;
use crate::cli::planning::new_operation;
use crate::cli::world::World;
use crate::error::{Error, ExitCode};
use crate::facts::{Questions, gather};
use crate::ports::EtcdApi;
use crate::render;
use crate::report::{self, Paint};

/// Change who is a member of etcd
///
/// Nothing is done that the others do not bear. A member that gives no answer is never taken for dead: to take it out needs a
/// consent, which says what may be lost.
#[derive(Debug, Subcommand)]
pub enum MemberCommand {
    Replace(Replace),
    Add(Add),
    Remove(Remove),
}

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

/// Replace a member whose data is lost or damaged
///
/// Its etcd ends, its data moves aside, it leaves the list and comes back as a learner that gets its data from the others; it has its vote
/// once it has caught up. In the end all members must be well and hold the same. The host's other pods go on; its own API server is away
/// meanwhile.
#[derive(Debug, clap::Args)]
pub struct Replace {
    /// The host whose member is meant
    #[arg(value_name = "HOST")]
    host: HostName,
    #[command(flatten)]
    common: Common,
}

/// Bring a member to a host of the cluster that has none
///
/// As after `member remove`, or after a replacement that was given up. A host that is no part of the cluster yet joins by `node add`,
/// with its member.
#[derive(Debug, clap::Args)]
pub struct Add {
    /// The host
    #[arg(value_name = "HOST")]
    host: HostName,
    #[command(flatten)]
    common: Common,
}

/// Take a member out of etcd
///
/// Such as one whose machine is gone for good, by its identity where no host of the spec has it. The control plane of a living host loses
/// its etcd with it and ends; its data is kept.
#[derive(Debug, clap::Args)]
pub struct Remove {
    /// The host whose member is meant, or the member's identity as `etcd status` shows it
    #[arg(value_name = "HOST|MEMBER")]
    member: String,
    #[command(flatten)]
    common: Common,
}

impl MemberCommand {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        match self {
            Self::Replace(Replace { host, common }) => common.carry_out(world, MemberWork::Replace { host }).await,
            Self::Add(Add { host, common }) => common.carry_out(world, MemberWork::Add { host }).await,
            Self::Remove(Remove { member, common }) => common.carry_out(world, MemberWork::Remove { member }).await,
        }
    }
}

impl Common {
    /// Looks, plans, shows, asks, runs.
    async fn carry_out(self, world: &World, work: MemberWork) -> Result<ExitCode, Error> {
        possible(world, world.yes, "whether to change etcd's members", "--yes", "kubewright etcd status")?;
        let began = Instant::now();
        let Cluster { spec, hosts, etcd } = Cluster::open(world, &self.file).await?;
        let names = spec.hosts.iter().filter(|host| host.is(Role::ControlPlane) || host.is(Role::Etcd));
        let names: Vec<HostName> = names.map(|host| host.name.clone()).collect();
        let questions = Questions::default();
        let (facts, seen) = tokio::join!(gather(hosts.as_ref(), &names, &questions), etcd.observe());
        let seen = seen.map_err(|error| no_member_answers(error, &self.file))?;
        let facts = Facts { etcd: Fact::Known { value: seen, at: world.clock.now() }, ..facts };
        let desired = desired(&spec, &facts);
        let consents: BTreeSet<String> = self.consent.iter().cloned().collect();
        let identity = Identity { operation: new_operation()?, initial_cluster_token: String::new() };
        let input = Input {
            spec: &spec,
            facts: &facts,
            desired: &desired,
            findings: &[],
            identity: &identity,
            tool_version: env!("CARGO_PKG_VERSION"),
        };
        let words = format!("member {}", work.words());
        let plan = match change(Changing { input, consents: &consents }, &work) {
            Outcome::Blocked { findings } => return Err(Error::blocked(findings)),
            Outcome::Nothing { findings } => {
                if world.json {
                    let said = serde_json::json!({ "event": "nothingToDo", "asked": words, "findings": findings });
                    report::print_json(&said)?;
                } else {
                    report::print(&report::plan::findings(&findings, Paint::stdout()))?;
                    report::print("it has a member that is well; nothing to do.\n")?;
                }
                return Ok(ExitCode::NothingToDo);
            }
            Outcome::Plan(plan) => *plan,
        };
        let command = format!("kubewright etcd {words} -f {}", self.file.display());
        carry_out_plan(world, plan, &facts, hosts, began.elapsed(), &command, &self.consent).await
    }
}

/// The files that hosts should have, as far as the spec alone tells. Nobody is asked for digests of programs: none are installed.
fn desired(spec: &Spec, facts: &Facts) -> Desired {
    let files = |host| {
        let seen = facts.host(host)?;
        let host = spec.host(host)?;
        let files = render::expected_files(spec, host, seen);
        Some((host.name.clone(), DesiredHost { files, ..DesiredHost::default() }))
    };
    let hosts: BTreeMap<_, _> = facts.hosts.keys().filter_map(files).collect();
    Desired { hosts }
}
