//! `kubewright ops abandon`: gives an operation up for good, after showing what it did and what that leaves.

use std::sync::Arc;

use kubewright_core::journal;
use kubewright_core::summary;
use serde_json::json;

use super::approval::{Approval, possible, typed};
use super::ops::Which;
use super::world::World;
use crate::error::{Error, ExitCode};
use crate::exec::abandon::{AbandonError, Outlook, give_up, look};
use crate::exec::lock::{self, Lock};
use crate::ports::Hosts;
use crate::report::{self, Paint};
use crate::store::Operation;

/// Give up an operation that cannot go on; it can never be resumed then
#[derive(Debug, clap::Args)]
pub struct Abandon {
    #[command(flatten)]
    which: Which,
}

impl Abandon {
    pub(super) async fn run(self, world: &World) -> Result<ExitCode, Error> {
        possible(world, world.yes, "whether to give the operation up", "--yes", "kubewright ops show")?;
        let (mut operation, hosts) = self.which.found(world).await?;
        let outlook = look(hosts.as_ref(), &operation).await?;
        if !world.json {
            show(world, &operation, &outlook)?;
        }
        if approve(world, &operation)? == Approval::Refused {
            report::note("nothing was changed");
            return Ok(ExitCode::ChangesPending);
        }
        let (outlook, notes) = self.give_up(world, &mut operation, &hosts).await?;
        if world.json {
            report::print_json(&json!({
                "event": "abandoned",
                "operation": operation.plan.operation,
                "claimed": outlook.remains.claimed,
                "etcd": outlook.remains.etcd,
                "freed": if outlook.frees() { outlook.ours.iter().collect() } else { Vec::new() },
                "left": outlook.sentences(),
                "notes": notes,
            }))?;
        } else {
            notes.iter().for_each(|note| report::note(note));
            report::print(&format!("operation {} is given up\n", operation.plan.operation))?;
        }
        Ok(ExitCode::Done)
    }

    async fn give_up(
        &self,
        world: &World,
        operation: &mut Operation,
        hosts: &Arc<dyn Hosts>,
    ) -> Result<(Outlook, Vec<String>), Error> {
        let holder = lock::holder(&operation.plan, world.operator(), world.clock.now());
        let lock =
            Lock::take(hosts.as_ref(), &operation.plan.keepers, &operation.plan.spec, holder, self.which.take_over)
                .await?;
        // Somebody may have gone on with it while the question waited.
        let outlook = look(hosts.as_ref(), operation).await?;
        let clock = world.clock.as_ref();
        let notes = give_up(hosts.as_ref(), operation, &lock, &outlook, &world.operator(), clock).await?;
        lock.release().await;
        Ok((outlook, notes))
    }
}

fn show(world: &World, operation: &Operation, outlook: &Outlook) -> Result<(), Error> {
    let records = journal::read(operation.journal.bytes())?.records;
    let story = summary::Run::replay(&operation.plan, operation.journal.plan_digest(), &records)?.interrupted();
    report::print(&report::ops::show(&story, world.clock.now(), report::width(), Paint::stdout()))?;
    let sentences: String = outlook.sentences().iter().map(|sentence| format!("  {sentence}\n")).collect();
    report::print(&format!("\n{sentences}"))
}

fn approve(world: &World, operation: &Operation) -> Result<Approval, Error> {
    let (id, cluster) = (&operation.plan.operation, &operation.plan.spec.name);
    let question = format!("Operation {id} can never be resumed then. Type the cluster's name to give it up");
    typed(world.ui.as_ref(), &question, cluster, world.yes.then_some(cluster))
}

impl From<AbandonError> for Error {
    fn from(error: AbandonError) -> Self {
        let message = error.to_string();
        match error {
            AbandonError::Finished(_) => Self::usage(message).next("kubewright status"),
            AbandonError::Running { .. } => Self::locked(message)
                .safe("nothing was changed")
                .next("wait for it to end, or stop it on its host: systemctl stop UNIT"),
            AbandonError::Journal(error) => error.into(),
            AbandonError::Store(error) => error.into(),
            AbandonError::Fenced(error) => error.into(),
        }
    }
}
