//! `kubewright apply`: plan, show, ask, run. Or run a plan that was saved before.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kubewright_core::facts::Facts;
use kubewright_core::ids::HostName;
use kubewright_core::plan;
use kubewright_core::planner::{Outcome, Request};

use super::approval::possible;
use super::ops::same_version;
use super::options::Agreed;
use super::planning::{self, Pinning, see};
use super::run;
use super::world::World;
use crate::error::{Error, ExitCode};
use crate::facts::gather_etcd;
use crate::ports::Hosts;
use crate::report::{self, Paint};
use crate::store::{StoreError, parse};

/// Make the cluster what the spec says
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// A plan saved by `kubewright plan -o`; refused if reality has moved since
    #[arg(conflicts_with = "file")]
    plan: Option<PathBuf>,
    /// The spec to plan for
    #[arg(long, short, default_value = "cluster.yaml")]
    file: PathBuf,
    #[command(flatten)]
    agreed: Agreed,
}

/// A plan that was shown, and what running it takes.
struct Ready {
    plan: plan::Plan,
    facts: Facts,
    hosts: Arc<dyn Hosts>,
    pinning: Option<Pinning>,
}

/// What of a spec is to become so, by which command.
pub(super) struct Wish<'a> {
    /// The spec.
    pub file: &'a Path,
    /// The only hosts that may be changed, where some were named.
    pub only: Option<Vec<HostName>>,
    /// The command that was given.
    pub command: &'a str,
    /// Codes of findings that were agreed to.
    pub consent: &'a [String],
}

impl Apply {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let Some(path) = &self.plan else {
            let command = format!("kubewright apply -f {}", self.file.display());
            let wish = Wish { file: &self.file, only: None, command: &command, consent: &self.agreed.consent };
            return carry_out(world, wish).await;
        };
        runnable(world)?;
        let ready = saved(world, path).await?;
        run_it(world, ready, &self.agreed.consent).await
    }
}

/// Plans, shows, asks, runs.
pub(super) async fn carry_out(world: &World, wish: Wish<'_>) -> Result<ExitCode, Error> {
    runnable(world)?;
    let consent = wish.consent;
    match planned(world, wish).await? {
        Some(ready) => run_it(world, ready, consent).await,
        None => Ok(ExitCode::NothingToDo),
    }
}

fn runnable(world: &World) -> Result<(), Error> {
    possible(world, world.yes, "whether to run the plan", "--yes", "kubewright plan")
}

async fn run_it(world: &World, ready: Ready, consent: &[String]) -> Result<ExitCode, Error> {
    let Ready { plan, facts, hosts, pinning } = ready;
    // Before anything is done, so that nothing is ever installed that the next run could not be compared with.
    let keep = || pinning.iter().try_for_each(Pinning::keep);
    run::confirmed(world, plan, &facts, hosts, consent, keep).await
}

/// The plan for the spec, shown; `None` where there is nothing to do.
async fn planned(world: &World, wish: Wish<'_>) -> Result<Option<Ready>, Error> {
    let planned = planning::plan(world, wish.file, &Request::Apply { only: wish.only }).await?;
    match planned.outcome {
        Outcome::Blocked { findings } => Err(Error::blocked(findings)),
        Outcome::Nothing { findings } => {
            planned.pinning.iter().try_for_each(Pinning::keep)?;
            super::plan::nothing(world, &format!("{} is as the spec says", planned.loaded.spec.name), &findings)?;
            Ok(None)
        }
        Outcome::Plan(plan) => {
            if !world.json {
                let around = report::plan::Around { facts: Some(planned.seeing), run: wish.command, steps: false };
                report::print(&report::plan::text(&plan, &around, Paint::stdout()))?;
            }
            let planning::Planned { facts, hosts, pinning, .. } = planned;
            Ok(Some(Ready { plan: *plan, facts, hosts, pinning }))
        }
    }
}

/// A saved plan, with fresh facts that it still agrees with.
async fn saved(world: &World, path: &Path) -> Result<Ready, Error> {
    let text = fs::read(path).map_err(|error| Error::io(path, error))?;
    let plan: plan::Plan = parse(path, &text).map_err(|error| match error {
        StoreError::Damaged { reason, .. } => {
            Error::usage(format!("{} is no plan of kubewright: {reason}", path.display()))
        }
        other => other.into(),
    })?;
    same_version(&plan, env!("CARGO_PKG_VERSION"), "apply it with that version, or plan anew; nothing was contacted")?;
    let wrong = plan::lint(&plan);
    if !wrong.is_empty() {
        return Err(Error::blocked(wrong));
    }
    let hosts = world.connect(&plan.spec)?;
    // Its digests were settled when it was made, and stand in it.
    let mut facts = see(&plan.spec, &hosts, &world.clock, None).await;
    if facts.etcd.is_absent() && plan.assumptions.iter().any(|assumed| assumed.path.starts_with("etcd.")) {
        facts.etcd = gather_etcd(&plan.spec, hosts.clone(), &facts, world.clock.clone()).await;
    }
    let moved = plan::moved(&plan, &facts);
    if !moved.is_empty() {
        return Err(Error::moved(moved.join("; ")));
    }
    if !world.json {
        let run = format!("kubewright apply {}", path.display());
        let around = report::plan::Around { facts: None, run: &run, steps: false };
        report::print(&report::plan::text(&plan, &around, Paint::stdout()))?;
    }
    Ok(Ready { plan, facts, hosts, pinning: None })
}
