//! `kubewright ops`: what was run, how it went, and going on.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kubewright_core::ids::{HostName, OperationId};
use kubewright_core::journal;
use kubewright_core::plan::Plan;
use kubewright_core::spec::{Role, Spec};
use kubewright_core::summary;

use super::run;
use super::world::World;
use crate::error::{Error, ExitCode};
use crate::host::mirror::{self, MirrorCopy};
use crate::ports::Hosts;
use crate::report::{self, Paint};
use crate::store::Operation;

/// List, show and resume operations
#[derive(Debug, clap::Subcommand)]
pub enum Ops {
    /// List the operations kept on this machine
    List,
    /// Show one operation, step by step
    Show {
        /// Its id, or the beginning of it
        operation: String,
    },
    /// Go on where an operation stopped
    Resume(Resume),
}

/// Go on where an operation stopped
#[derive(Debug, clap::Args)]
pub struct Resume {
    /// Its id, or the beginning of it; may be left out with --file
    #[arg(required_unless_present = "file")]
    operation: Option<String>,
    /// The spec, to find the operation on the control planes when it is not kept on this machine
    #[arg(long, short)]
    file: Option<PathBuf>,
    /// Take it over although its process on another machine gave a sign of life in the last two minutes
    #[arg(long)]
    take_over: bool,
}

impl Ops {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        match self {
            Self::List => list(world),
            Self::Show { operation } => show(world, &operation),
            Self::Resume(resume) => resume.run(world).await,
        }
    }
}

fn story(world: &World, operation: &OperationId) -> Result<summary::Run, Error> {
    let (plan, _) = world.operations.read(operation)?;
    let records = journal::read(&world.operations.journal_bytes(operation)?)?.records;
    Ok(summary::Run::replay(&plan, &records)?)
}

fn list(world: &World) -> Result<ExitCode, Error> {
    let mut entries = Vec::new();
    for operation in world.operations.list()? {
        entries.push(report::ops::Entry { story: story(world, &operation)?, operation });
    }
    if world.json {
        let values: Vec<_> = entries.iter().map(report::ops::Entry::json).collect();
        report::print_json(&values)?;
    } else {
        report::print(&report::ops::list(&entries, world.clock.now(), report::width(), Paint::stdout()))?;
    }
    Ok(ExitCode::Done)
}

fn show(world: &World, wanted: &str) -> Result<ExitCode, Error> {
    let story = story(world, &world.operations.find(wanted)?)?;
    if world.json {
        report::print_json(story.status())?;
    } else {
        report::print(&report::ops::show(&story, world.clock.now(), report::width(), Paint::stdout()))?;
    }
    Ok(ExitCode::Done)
}

impl Resume {
    async fn run(self, world: &World) -> Result<ExitCode, Error> {
        let (operation, hosts) = match &self.file {
            Some(file) => self.from_hosts(world, file).await?,
            None => self.from_here(world).await?,
        };
        if operation.journal.status().finished {
            report::note(&format!("operation {} has finished; nothing to do", operation.plan.operation));
            return Ok(ExitCode::NothingToDo);
        }
        run::run(world, operation, hosts, self.take_over).await
    }

    /// An operation kept here, brought up to date from the control planes.
    async fn from_here(&self, world: &World) -> Result<(Operation, Arc<dyn Hosts>), Error> {
        let id = world.operations.find(self.operation.as_deref().unwrap_or_default())?;
        let (plan, _) = world.operations.read(&id)?;
        let hosts = world.connect(&plan.spec)?;
        let operation = up_to_date(world, &id, &plan.spec, hosts.as_ref()).await?;
        Ok((operation, hosts))
    }

    /// An operation that the control planes of a spec know.
    async fn from_hosts(&self, world: &World, file: &Path) -> Result<(Operation, Arc<dyn Hosts>), Error> {
        let loaded = world.load(file)?;
        let hosts = world.connect(&loaded.spec)?;
        let id = unfinished(&loaded.spec, hosts.as_ref(), self.operation.as_deref()).await?;
        let operation = up_to_date(world, &id, &loaded.spec, hosts.as_ref()).await?;
        Ok((operation, hosts))
    }
}

fn control_planes(spec: &Spec) -> impl Iterator<Item = &HostName> {
    spec.with_role(Role::ControlPlane).map(|host| &host.name)
}

/// The operation that is meant: the one named, or the only one that the control planes know to be unfinished.
async fn unfinished(spec: &Spec, hosts: &dyn Hosts, wanted: Option<&str>) -> Result<OperationId, Error> {
    let mut found: Vec<OperationId> = Vec::new();
    let mut answered = 0;
    let mut silence = None;
    for name in control_planes(spec) {
        let entries = match hosts.host(name).await {
            Ok(host) => mirror::list(host.as_ref()).await,
            Err(error) => Err(error),
        };
        match entries {
            Ok(entries) => {
                answered += 1;
                found.extend(entries.into_iter().map(|entry| entry.operation));
            }
            Err(error) => silence = Some(error),
        }
    }
    if let (0, Some(error)) = (answered, silence) {
        return Err(error.into());
    }
    found.sort();
    found.dedup();
    let mut open = Vec::new();
    for operation in found {
        if wanted.is_some_and(|wanted| !operation.as_str().starts_with(wanted)) {
            continue;
        }
        let Some((copy, plan)) = best_copy(spec, hosts, &operation).await? else { continue };
        let records = journal::read(copy.journal.as_deref().unwrap_or_default())?.records;
        if wanted.is_some() || !journal::Status::fold(&plan, &records)?.finished {
            open.push(operation);
        }
    }
    match open.as_slice() {
        [one] => Ok(one.clone()),
        [] => Err(Error::usage(format!("the control planes of {} know no unfinished operation", spec.name))),
        several => {
            let names: Vec<&str> = several.iter().map(OperationId::as_str).collect();
            Err(Error::usage(format!("several operations are meant: {}", names.join(", "))))
        }
    }
}

/// The longest journal that any control plane holds, with its plan.
async fn best_copy(spec: &Spec, hosts: &dyn Hosts, operation: &OperationId) -> Result<Option<(MirrorCopy, Plan)>, Error> {
    let mut best: Option<(MirrorCopy, Plan)> = None;
    for name in control_planes(spec) {
        let Ok(host) = hosts.host(name).await else { continue };
        let Ok(copy) = mirror::fetch(host.as_ref(), operation).await else { continue };
        let Some(plan) = copy.plan.as_deref().and_then(|bytes| serde_json::from_slice::<Plan>(bytes).ok()) else { continue };
        let length = |copy: &MirrorCopy| copy.journal.as_ref().map_or(0, Vec::len);
        if best.as_ref().is_none_or(|(best, _)| length(&copy) > length(best)) {
            best = Some((copy, plan));
        }
    }
    Ok(best)
}

/// The operation as this machine and the control planes know it together. Where both have a journal one must be the
/// beginning of the other; else two runs went different ways, and a person must look.
async fn up_to_date(world: &World, id: &OperationId, spec: &Spec, hosts: &dyn Hosts) -> Result<Operation, Error> {
    let here = world.operations.journal_bytes(id)?;
    let Some((copy, _)) = best_copy(spec, hosts, id).await? else {
        return Ok(world.operations.open(id)?);
    };
    let there = copy.journal.unwrap_or_default();
    // A torn last line is nobody's word.
    let whole = journal::read(&here).map_or(0, |reading| reading.whole);
    let here_whole = here.get(..whole).unwrap_or(&here);
    let known = world.operations.read(id).is_ok();
    if known && here_whole.starts_with(&there) {
        return Ok(world.operations.open(id)?);
    }
    if known && !there.starts_with(here_whole) {
        return Err(Error::in_doubt(format!(
            "the journal of {id} on this machine and the one on the control planes tell different stories: two runs went on from the same point"
        )));
    }
    let (Some(plan), Some(facts)) = (copy.plan, copy.facts) else {
        return Err(Error::in_doubt(format!("the control planes hold a journal of {id} without its plan or facts")));
    };
    Ok(world.operations.adopt(&plan, &facts, &there)?)
}
