//! What all commands that change something about etcd do: look, plan, show, ask, run by the one executor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use kubewright_core::facts::{Fact, Facts};
use kubewright_core::planner::etcd::EtcdInput;
use kubewright_core::planner::{Desired, DesiredHost, Identity, Input, Outcome};
use kubewright_core::spec::Spec;

use super::{Cluster, holders, no_member_answers};
use crate::cli::approval::possible;
use crate::cli::options::{Agreed, OfSpec};
use crate::cli::planning::new_operation;
use crate::cli::run;
use crate::cli::world::World;
use crate::error::{Error, ExitCode};
use crate::facts::{Questions, gather};
use crate::ports::{EtcdApi, Hosts};
use crate::render;
use crate::report::{self, Paint};

/// Of which cluster, and what was agreed to.
#[derive(Debug, clap::Args)]
pub(super) struct Wanted {
    #[command(flatten)]
    of: OfSpec,
    #[command(flatten)]
    agreed: Agreed,
}

/// What is asked for, in words.
pub(super) struct Words<'a> {
    /// As it is typed behind `kubewright etcd`.
    pub command: String,
    /// What somebody has to be asked, `whether …`.
    pub question: &'a str,
    /// Why there may be nothing to do.
    pub already: &'a str,
}

/// What was seen, and since when.
struct Found {
    spec: Spec,
    hosts: Arc<dyn Hosts>,
    facts: Facts,
    began: Instant,
}

impl Wanted {
    /// Of which cluster.
    pub fn of(&self) -> &OfSpec {
        &self.of
    }

    /// Looks, plans, shows, asks, runs.
    pub async fn carry_out(
        self,
        world: &World,
        words: Words<'_>,
        plan: impl FnOnce(EtcdInput<'_>) -> Outcome,
    ) -> Result<ExitCode, Error> {
        possible(world, world.yes, words.question, "--yes", "kubewright etcd status")?;
        let began = Instant::now();
        let Cluster { spec, hosts, etcd } = Cluster::open(world, &self.of).await?;
        let (names, questions) = (holders(&spec), Questions::default());
        let (facts, seen) = tokio::join!(gather(hosts.as_ref(), &names, &questions), etcd.observe());
        let seen = seen.map_err(|error| no_member_answers(error, &self.of))?;
        let facts = Facts { etcd: Fact::Known { value: seen, at: world.clock.now() }, ..facts };
        let seen = Found { spec, hosts, facts, began };
        self.conclude(world, seen, words, plan).await
    }

    /// The same without asking etcd, where that is none of its business.
    pub async fn carry_out_without_etcd(
        self,
        world: &World,
        words: Words<'_>,
        plan: impl FnOnce(EtcdInput<'_>) -> Outcome,
    ) -> Result<ExitCode, Error> {
        possible(world, world.yes, words.question, "--yes", "kubewright etcd schedule")?;
        let began = Instant::now();
        let (spec, hosts) = self.of.open(world)?;
        let facts = gather(hosts.as_ref(), &holders(&spec), &Questions::default()).await;
        let seen = Found { spec, hosts, facts, began };
        self.conclude(world, seen, words, plan).await
    }

    /// Plans, shows, asks, runs.
    async fn conclude(
        self,
        world: &World,
        found: Found,
        words: Words<'_>,
        plan: impl FnOnce(EtcdInput<'_>) -> Outcome,
    ) -> Result<ExitCode, Error> {
        let Found { spec, hosts, facts, began } = found;
        let desired = desired(&spec, &facts);
        let identity = Identity { operation: new_operation()?, initial_cluster_token: String::new() };
        let input = Input {
            spec: &spec,
            facts: &facts,
            desired: &desired,
            findings: &[],
            identity: &identity,
            tool_version: env!("CARGO_PKG_VERSION"),
        };
        let plan = match plan(EtcdInput { input, consents: &self.agreed.codes() }) {
            Outcome::Blocked { findings } => return Err(Error::blocked(findings)),
            Outcome::Nothing { findings } => {
                if world.json {
                    let asked = &words.command;
                    let said = serde_json::json!({ "event": "nothingToDo", "asked": asked, "findings": findings });
                    report::print_json(&said)?;
                } else {
                    report::print(&report::plan::findings(&findings, Paint::stdout()))?;
                    report::print(&format!("{}; nothing to do.\n", words.already))?;
                }
                return Ok(ExitCode::NothingToDo);
            }
            Outcome::Plan(plan) => *plan,
        };
        let command = format!("kubewright etcd {} -f {}", words.command, self.of.file.display());
        run::carry_out(world, plan, &facts, hosts, began.elapsed(), &command, &self.agreed.consent).await
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
