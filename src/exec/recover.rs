//! Finds an operation again: what this machine keeps of it, what the control planes keep, and which of them to believe.
//!
//! Whoever gets an operation from here holds its folder ([`Hold`]) since before the first question, so that no other
//! process on this machine can be writing it meanwhile.

use std::path::Path;

use futures::future::join_all;
use kubewright_core::ids::{HostName, OperationId};
use kubewright_core::journal::{self, Status, Told, best};
use kubewright_core::plan::Plan;
use kubewright_core::spec::{Role, Spec};

use super::lock::Lock;
use crate::host::fence::read_lock;
use crate::host::mirror::{self, MirrorCopy, MirrorFile, replace};
use crate::ports::{HostError, Hosts};
use crate::store::{Hold, JournalError, Kept, Operation, Operations, StoreError};

/// Why an operation cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// This machine's own copy.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No control plane answered.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Copies that cannot both be true.
    #[error(
        "{one} and {other} tell different stories of operation {operation}: two runs went on from the same point with the same fence number"
    )]
    Doubt {
        /// Of which operation.
        operation: OperationId,
        /// Where the one copy is.
        one: String,
        /// Where the other is.
        other: String,
    },
    /// Nothing is unfinished.
    #[error("the control planes of {cluster} know no {what}")]
    Nothing {
        /// The cluster.
        cluster: String,
        /// What was looked for.
        what: String,
    },
    /// More than one fits.
    #[error("several operations are meant: {}", join(.0))]
    Several(Vec<OperationId>),
    /// It is known, and no copy of it can be read.
    #[error("no copy of operation {operation} can be read: {}", .reasons.join("; "))]
    Unreadable {
        /// Which.
        operation: OperationId,
        /// Why, copy by copy.
        reasons: Vec<String>,
    },
}

fn join(names: &[OperationId]) -> String {
    names.iter().map(OperationId::as_str).collect::<Vec<_>>().join(", ")
}

/// One copy of an operation that can be believed in itself.
struct Copy {
    /// Where it is.
    place: String,
    kept: Kept,
    told: Told,
    status: Status,
}

impl Copy {
    /// Reads and folds a copy; the reason where it is none.
    fn read(place: String, operation: &OperationId, copy: MirrorCopy) -> Result<Self, String> {
        let (Some(plan), Some(facts)) = (copy.plan, copy.facts) else {
            return Err("its plan or its facts are missing".into());
        };
        let kept = Kept::parse(operation, Path::new("its copy"), plan, facts).map_err(|error| error.to_string())?;
        let (told, status) = fold(&kept, &copy.journal.unwrap_or_default()).map_err(|error| error.to_string())?;
        Ok(Self { place, kept, told, status })
    }
}

fn fold(kept: &Kept, bytes: &[u8]) -> Result<(Told, Status), JournalError> {
    let reading = journal::read(bytes)?;
    let status = Status::fold(&kept.plan, &kept.digest(), &reading.records)?;
    // A torn last line is nobody's word.
    let told = Told::new(bytes[..reading.whole].to_vec(), &reading.records, &status);
    Ok((told, status))
}

fn control_planes(spec: &Spec) -> impl Iterator<Item = &HostName> {
    spec.with_role(Role::ControlPlane).map(|host| &host.name)
}

/// The copies that control planes hold and that can be read, and why the others cannot. A control plane without any is
/// no reason.
async fn copies(spec: &Spec, hosts: &dyn Hosts, operation: &OperationId) -> (Vec<Copy>, Vec<String>) {
    let asked = join_all(control_planes(spec).map(|name| async move {
        let copy = match hosts.host(name).await {
            Ok(host) => mirror::fetch(host.as_ref(), operation).await,
            Err(error) => Err(error),
        };
        match copy {
            Ok(copy) if copy == MirrorCopy::default() => None,
            Ok(copy) => {
                Some(Copy::read(name.to_string(), operation, copy).map_err(|why| format!("the copy on {name}: {why}")))
            }
            Err(error) => Some(Err(error.to_string())),
        }
    }))
    .await;
    let (mut found, mut reasons) = (Vec::new(), Vec::new());
    for outcome in asked.into_iter().flatten() {
        match outcome {
            Ok(copy) => found.push(copy),
            Err(why) => reasons.push(why),
        }
    }
    (found, reasons)
}

/// The copy to believe among several, by its place in the list.
fn believed(operation: &OperationId, copies: &[Copy]) -> Result<Option<journal::Best>, RecoverError> {
    let told: Vec<Told> = copies.iter().map(|copy| copy.told.clone()).collect();
    best(&told).map_err(|doubt| {
        let place = |index: usize| copies.get(index).map(|copy| copy.place.clone()).unwrap_or_default();
        RecoverError::Doubt { operation: operation.clone(), one: place(doubt.one), other: place(doubt.other) }
    })
}

/// The operation as this machine and the control planes know it together, in the folder that `hold` is for. What was
/// strange on the way goes to `notes`.
///
/// # Errors
/// [`RecoverError`]; a damaged journal of this machine is never replaced in silence.
pub async fn up_to_date(
    operations: &Operations,
    hold: Hold,
    spec: &Spec,
    hosts: &dyn Hosts,
    notes: &mut Vec<String>,
) -> Result<Operation, RecoverError> {
    let id = hold.operation().clone();
    let mut known = Vec::new();
    match operations.read(&id) {
        Ok(kept) => {
            let bytes = operations.journal_bytes(&id)?;
            let path = operations.folder(&id).join("journal.jsonl");
            let (told, status) = fold(&kept, &bytes).map_err(|source| StoreError::Journal { path, source })?;
            known.push(Copy { place: "this machine".into(), kept, told, status });
        }
        Err(StoreError::Unknown { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let is_here = !known.is_empty();
    let (found, reasons) = copies(spec, hosts, &id).await;
    known.extend(found);
    let Some(choice) = believed(&id, &known)? else {
        return Err(RecoverError::Unreadable { operation: id, reasons });
    };
    notes.extend(reasons);
    let chosen = &known[choice.index];
    for fork in &choice.forks {
        let lost = &known[*fork];
        notes.push(format!(
            "{} tells what a run with fence {} believed; the one with fence {} on {} took over and is followed",
            lost.place, lost.told.fence, chosen.told.fence, chosen.place
        ));
    }
    if is_here && choice.index == 0 {
        return Ok(operations.open(hold)?);
    }
    Ok(operations.adopt(hold, &chosen.kept, &chosen.told.bytes)?)
}

/// The operation that is meant: the one whose name is or begins with `wanted`, or the only one that the control planes
/// know to be unfinished. Copies that cannot be read go to `notes`, unless theirs is the one wanted.
///
/// # Errors
/// [`RecoverError`].
pub async fn unfinished(
    spec: &Spec,
    hosts: &dyn Hosts,
    wanted: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<OperationId, RecoverError> {
    let found = listed(spec, hosts).await?;
    let what = wanted.map_or_else(|| "unfinished operation".to_owned(), |wanted| format!("operation {wanted}"));
    let mut open = Vec::new();
    match wanted {
        Some(wanted) if found.iter().any(|operation| operation.as_str() == wanted) => {
            open.extend(found.into_iter().filter(|operation| operation.as_str() == wanted));
        }
        Some(wanted) => open.extend(found.into_iter().filter(|operation| operation.as_str().starts_with(wanted))),
        None => {
            for operation in found {
                let (copies, reasons) = copies(spec, hosts, &operation).await;
                match believed(&operation, &copies) {
                    Ok(Some(choice)) if copies[choice.index].status.is_over() => {}
                    Ok(Some(_)) => open.push(operation),
                    Ok(None) => notes.push(format!("operation {operation} is left out: {}", reasons.join("; "))),
                    Err(error) => notes.push(format!("operation {operation} is left out: {error}")),
                }
            }
        }
    }
    match open.len() {
        0 => Err(RecoverError::Nothing { cluster: spec.name.clone(), what }),
        1 => Ok(open.swap_remove(0)),
        _ => Err(RecoverError::Several(open)),
    }
}

/// Every operation that a control plane has anything of.
async fn listed(spec: &Spec, hosts: &dyn Hosts) -> Result<Vec<OperationId>, HostError> {
    let asked = join_all(control_planes(spec).map(|name| async move {
        let host = hosts.host(name).await?;
        mirror::list(host.as_ref()).await
    }))
    .await;
    let (mut found, mut silence, mut answered) = (Vec::new(), None, false);
    for outcome in asked {
        match outcome {
            Ok(entries) => {
                answered = true;
                found.extend(entries.into_iter().map(|entry| entry.operation));
            }
            Err(error) => silence = Some(error),
        }
    }
    match silence {
        Some(error) if !answered => Err(error),
        _ => {
            found.sort();
            found.dedup();
            Ok(found)
        }
    }
}

/// Whether any control plane still keeps this operation as the holder of the lock. Who cannot be asked says nothing.
pub async fn still_locked(hosts: &dyn Hosts, plan: &Plan) -> bool {
    let asked = join_all(control_planes(&plan.spec).map(|name| async move {
        let host = hosts.host(name).await?;
        read_lock(host.as_ref()).await
    }))
    .await;
    asked.into_iter().flatten().any(|seen| seen.lock.holder.is_some_and(|holder| holder.operation == plan.operation))
}

/// Writes an operation that is over to every control plane that we hold the lock on; how many have it then.
pub async fn publish(lock: &Lock, operation: &Operation, notes: &mut Vec<String>) -> usize {
    let id = &operation.plan.operation;
    let files = [
        (MirrorFile::Facts, operation.facts_bytes.as_slice()),
        (MirrorFile::Plan, operation.plan_bytes.as_slice()),
        (MirrorFile::Journal, operation.journal.bytes()),
    ];
    let written = join_all(lock.hosts().iter().map(|host| async move {
        for (file, bytes) in files {
            replace(host.as_ref(), lock.fence, id, file, bytes).await?;
        }
        Ok::<_, HostError>(())
    }))
    .await;
    let all = written.len();
    let failed: Vec<String> = written.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
    let count = all - failed.len();
    notes.extend(failed);
    count
}

#[cfg(test)]
mod tests;
