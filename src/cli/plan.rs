//! `kubewright plan`: what would be done, and why; nothing is changed.

use std::path::{Path, PathBuf};

use kubewright_core::plan;
use kubewright_core::planner::{Outcome, Request};

use super::options::OfSpec;
use super::planning;
use super::world::World;
use crate::error::{Error, ExitCode};
use crate::report::{self, Paint};
use crate::store;

/// Show what would be done; nothing is changed
#[derive(Debug, clap::Args)]
pub struct Plan {
    #[command(flatten)]
    of: OfSpec,
    /// Save the plan for `kubewright apply PLAN`
    #[arg(long, short = 'o', value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show every step with its reason
    #[arg(long)]
    steps: bool,
}

impl Plan {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let planned = planning::plan(world, &self.of.file, &Request::Apply { only: None }).await?;
        match planned.outcome {
            Outcome::Blocked { findings } => Err(Error::blocked(findings)),
            Outcome::Nothing { findings } => {
                nothing(world, &format!("{} is as the spec says", planned.loaded.spec.name), &findings)?;
                Ok(ExitCode::NothingToDo)
            }
            Outcome::Plan(plan) => {
                let run = match &self.out {
                    Some(path) => save(&plan, path)?,
                    None => format!("kubewright apply -f {}", self.of.file.display()),
                };
                if world.json {
                    report::print_json(&plan)?;
                } else {
                    let around = report::plan::Around { facts: Some(planned.seeing), run: &run, steps: self.steps };
                    report::print(&report::plan::text(&plan, &around, Paint::stdout()))?;
                }
                Ok(ExitCode::ChangesPending)
            }
        }
    }
}

/// Saves a plan; the command that runs it.
pub(super) fn save(plan: &plan::Plan, path: &Path) -> Result<String, Error> {
    let text = serde_json::to_vec_pretty(plan)?;
    store::write_atomically(path, &text, 0o600).map_err(|error| Error::io(path, error))?;
    report::note(&format!("saved {}", path.display()));
    Ok(format!("kubewright apply {}", path.display()))
}

/// Says that there is nothing to do.
pub(super) fn nothing(world: &World, why: &str, findings: &[kubewright_core::finding::Finding]) -> Result<(), Error> {
    if world.json {
        return report::print_json(&serde_json::json!({ "event": "nothingToDo", "why": why, "findings": findings }));
    }
    report::print(&report::plan::findings(findings, Paint::stdout()))?;
    report::print(&format!("{why}; nothing to do.\n"))
}
