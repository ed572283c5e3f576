//! `kubewright apply`: plan, show, ask, run. Or run a plan that was saved before.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kubewright_core::facts::Facts;
use kubewright_core::finding::{Finding, Severity};
use kubewright_core::plan;
use kubewright_core::planner::Outcome;

use super::planning::{self, see};
use super::run::{self, Approval};
use super::world::World;
use crate::error::{Error, ExitCode};
use crate::ports::Hosts;
use crate::report::plan::Run;
use crate::report::{self, Paint};

/// Make the cluster what the spec says
#[derive(Debug, clap::Args)]
pub struct Apply {
    /// A plan saved by `kubewright plan -o`; refused if reality has moved since
    #[arg(conflicts_with = "file")]
    plan: Option<PathBuf>,
    /// The spec to plan for
    #[arg(long, short, default_value = "cluster.yaml")]
    file: PathBuf,
    /// Agree to a finding that needs consent, by its code; may be repeated
    #[arg(long, value_name = "CODE")]
    consent: Vec<String>,
}

impl Apply {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        // Said before anything is contacted, and whatever there is to do: a script that lacks --yes fails the first time.
        if !world.yes && !world.is_interactive() {
            return Err(Error::usage("nobody can be asked here whether to run the plan; nothing was contacted")
                .next("add --yes, or look first: kubewright plan"));
        }
        let (plan, facts, hosts) = match &self.plan {
            Some(path) => saved(world, path).await?,
            None => match self.planned(world).await? {
                Some(planned) => planned,
                None => return Ok(ExitCode::NothingToDo),
            },
        };
        self.check_consent(&plan)?;
        match approve(world)? {
            Approval::Given => {}
            Approval::Refused => {
                report::note("nothing was changed");
                return Ok(ExitCode::ChangesPending);
            }
        }
        let operation = world.operations.create(&plan, &facts)?;
        run::run(world, operation, hosts, false).await
    }

    /// The plan for the spec, shown; `None` where there is nothing to do.
    async fn planned(&self, world: &World) -> Result<Option<(plan::Plan, Facts, Arc<dyn Hosts>)>, Error> {
        let planned = planning::plan(world, &self.file).await?;
        match planned.outcome {
            Outcome::Blocked { findings } => Err(Error::blocked(findings)),
            Outcome::Nothing { findings } => {
                super::plan::nothing(world, &planned.loaded.spec.name, &findings)?;
                Ok(None)
            }
            Outcome::Plan(plan) => {
                if !world.json {
                    let around =
                        report::plan::Around { facts: Some(planned.seeing), run: Run::Spec(&self.file), steps: false };
                    report::print(&report::plan::text(&plan, &around, Paint::stdout()))?;
                }
                Ok(Some((*plan, planned.facts, planned.hosts)))
            }
        }
    }

    fn check_consent(&self, plan: &plan::Plan) -> Result<(), Error> {
        let missing: Vec<Finding> = plan
            .findings
            .iter()
            .filter(|finding| finding.severity == Severity::NeedsConsent && !self.consent.contains(&finding.code))
            .cloned()
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(Error::consent(missing)) }
    }
}

/// A saved plan, with fresh facts that it still agrees with.
async fn saved(world: &World, path: &Path) -> Result<(plan::Plan, Facts, Arc<dyn Hosts>), Error> {
    let text = fs::read(path).map_err(|error| Error::io(path, error))?;
    let plan: plan::Plan = serde_json::from_slice(&text)
        .map_err(|error| Error::usage(format!("{} is no plan of kubewright: {error}", path.display())))?;
    if plan.format > plan::FORMAT {
        return Err(Error::usage(format!(
            "{} has format {}; this kubewright knows {}",
            path.display(),
            plan.format,
            plan::FORMAT
        )));
    }
    let wrong = plan::lint(&plan);
    if !wrong.is_empty() {
        return Err(Error::blocked(wrong));
    }
    let hosts = world.connect(&plan.spec)?;
    let facts = see(&plan.spec, hosts.as_ref()).await;
    let moved = plan::moved(&plan, &facts);
    if !moved.is_empty() {
        return Err(Error::moved(moved.join("; ")));
    }
    if !world.json {
        let around = report::plan::Around { facts: None, run: Run::Saved(path), steps: false };
        report::print(&report::plan::text(&plan, &around, Paint::stdout()))?;
    }
    Ok((plan, facts, hosts))
}

fn approve(world: &World) -> Result<Approval, Error> {
    if world.yes {
        return Ok(Approval::Given);
    }
    let answer = dialoguer::Confirm::new()
        .with_prompt("Run it now?")
        .default(false)
        .interact()
        .map_err(|error| Error::internal(format!("the question could not be put: {error}")))?;
    Ok(if answer { Approval::Given } else { Approval::Refused })
}
