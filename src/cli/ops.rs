//! `kubewright ops`: what was run, how it went, and going on.

use std::path::PathBuf;
use std::sync::Arc;

use kubewright_core::ids::OperationId;
use kubewright_core::journal;
use kubewright_core::plan::Plan;
use kubewright_core::spec::Spec;
use kubewright_core::summary;

use super::abandon::Abandon;
use super::run;
use super::world::World;
use crate::error::{Error, ExitCode};
use crate::exec::lock::{self, Lock};
use crate::exec::recover::{publish, still_locked, unfinished, up_to_date};
use crate::ports::Hosts;
use crate::report::{self, Paint};
use crate::store::{Hold, Operation, StoreError};

/// List, show, resume and abandon operations
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
    Abandon(Abandon),
}

/// Which operation, and where to look for it.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Its id, or the beginning of it; may be left out with --file
    #[arg(required_unless_present = "file")]
    operation: Option<String>,
    /// The spec, to find the operation on the control planes when it is not kept on this machine
    #[arg(long, short)]
    file: Option<PathBuf>,
    /// Take it over although its process on another machine gave a sign of life in the last two minutes
    #[arg(long)]
    pub take_over: bool,
}

/// Go on where an operation stopped
#[derive(Debug, clap::Args)]
pub struct Resume {
    #[command(flatten)]
    which: Which,
}

impl Ops {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        match self {
            Self::List => list(world),
            Self::Show { operation } => show(world, &operation),
            Self::Resume(resume) => resume.run(world).await,
            Self::Abandon(abandon) => abandon.run(world).await,
        }
    }
}

fn story(world: &World, operation: &OperationId) -> Result<summary::Run, Error> {
    let kept = world.operations.read(operation)?;
    let records = journal::read(&world.operations.journal_bytes(operation)?)?.records;
    Ok(summary::Run::replay(&kept.plan, &kept.digest(), &records)?)
}

fn list(world: &World) -> Result<ExitCode, Error> {
    let mut entries = Vec::new();
    for operation in world.operations.list()? {
        // One that cannot be read must not hide the others.
        let story = story(world, &operation).map_err(|error| error.to_string());
        entries.push(report::ops::Entry { story, operation });
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
        let (operation, hosts) = self.which.found(world).await?;
        if operation.journal.status().is_over() {
            return over(world, &operation, hosts.as_ref(), self.which.take_over).await;
        }
        same_version(&operation.plan, env!("CARGO_PKG_VERSION"), "go on with that version")?;
        run::run(world, operation, hosts, self.which.take_over).await
    }
}

/// An operation that is over has nothing to go on with, but its last process may have died before it gave the lock back or
/// took the last traces off hosts that are part of nothing any more.
async fn over(world: &World, operation: &Operation, hosts: &dyn Hosts, forced: bool) -> Result<ExitCode, Error> {
    let plan = &operation.plan;
    let ended = if operation.journal.status().finished { "has finished" } else { "was abandoned" };
    let mut said = format!("operation {} {ended}; nothing to do", plan.operation);
    let freed = still_locked(hosts, plan).await;
    let mut fence = operation.journal.status().fence;
    if freed {
        let holder = lock::holder(plan, world.operator(), world.clock.now());
        let lock = Lock::take(hosts, &plan.keepers, &plan.spec, holder, forced).await?;
        let mut notes = Vec::new();
        publish(&lock, operation, &mut notes).await;
        lock.release().await;
        fence = lock.fence;
        notes.iter().for_each(|note| report::note(note));
        said = format!(
            "operation {} {ended}, but the cluster was still locked for it: the lock was given back",
            plan.operation
        );
    }
    if operation.journal.status().finished {
        run::forget(hosts, plan, fence).await;
    }
    if world.json {
        report::print_json(
            &serde_json::json!({ "event": "nothingToDo", "operation": plan.operation, "lockReleased": freed }),
        )?;
    } else {
        report::note(&said);
    }
    Ok(if freed { ExitCode::Done } else { ExitCode::NothingToDo })
}

/// What a step does is known only to the version that planned it.
pub(super) fn same_version(plan: &Plan, ours: &str, advice: &str) -> Result<(), Error> {
    if plan.tool_version == ours {
        return Ok(());
    }
    Err(Error::usage(format!(
        "operation {} was planned by kubewright {}, and this is {ours}: {advice}",
        plan.operation, plan.tool_version
    )))
}

impl Which {
    /// The operation that is meant, brought up to date from the control planes. Its folder is held before any host is
    /// asked wherever its name is known by then.
    pub(super) async fn found(&self, world: &World) -> Result<(Operation, Arc<dyn Hosts>), Error> {
        let here = match (&self.operation, &self.file) {
            (Some(wanted), file) => match world.operations.find(wanted) {
                Ok(id) => Some(world.operations.hold(&id)?),
                Err(StoreError::Unknown { .. }) if file.is_some() => None,
                Err(error) => return Err(error.into()),
            },
            (None, _) => None,
        };
        let spec = match (&self.file, &here) {
            (Some(file), _) => world.load(file)?.spec,
            (None, Some(hold)) => world.operations.read(hold.operation())?.plan.spec,
            (None, None) => return Err(Error::usage("name an operation, or the spec with --file")),
        };
        let mut notes = Vec::new();
        let found = self.on_hosts(world, here, &spec, &mut notes).await;
        notes.iter().for_each(|note| report::note(note));
        found
    }

    async fn on_hosts(
        &self,
        world: &World,
        here: Option<Hold>,
        spec: &Spec,
        notes: &mut Vec<String>,
    ) -> Result<(Operation, Arc<dyn Hosts>), Error> {
        let hosts = match here {
            Some(_) => world.connect(spec)?,
            None => {
                nobody_here(world, spec)?;
                world.connect(spec)?
            }
        };
        let hold = match here {
            Some(hold) => hold,
            None => {
                let id = unfinished(spec, hosts.as_ref(), self.operation.as_deref(), notes).await?;
                world.operations.hold(&id)?
            }
        };
        let operation = up_to_date(&world.operations, hold, spec, hosts.as_ref(), notes).await?;
        if operation.plan.spec.name != spec.name {
            let (id, cluster) = (&operation.plan.operation, &operation.plan.spec.name);
            return Err(Error::usage(format!("operation {id} is of the cluster {cluster}, not of {}", spec.name)));
        }
        Ok((operation, hosts))
    }
}

/// That no process on this machine works on the cluster: told before any host is asked.
fn nobody_here(world: &World, spec: &Spec) -> Result<(), Error> {
    for id in world.operations.list()? {
        let ours = world.operations.read(&id).is_ok_and(|kept| kept.plan.spec.name == spec.name);
        if ours && let Err(busy @ StoreError::Busy(_)) = world.operations.hold(&id) {
            return Err(busy.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kubewright_core::summary::sample;

    use super::*;

    #[test]
    fn another_version_does_not_go_on() {
        let plan = sample::plan();
        assert!(same_version(&plan, &plan.tool_version, "").is_ok());
        let error = same_version(&plan, "9.9.9", "go on with that version").unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Usage);
        assert_eq!(
            error.to_string(),
            "operation 7f3a was planned by kubewright 0.1.0, and this is 9.9.9: go on with that version"
        );
    }
}
