//! Takes a host apart, and in the end even the traces of having done so.

use futures::future::join_all;
use kubewright_core::facts::HostRecord;
use kubewright_core::ids::HostName;
use kubewright_core::plan::{Plan, Step, StepKind, Target};
use kubewright_manifests::layout::CRI_SOCKET;

use super::hands::Hands;
use super::schedule::with_places;
use super::{Failure, Telling};
use crate::host::fence::run_fenced;
use crate::host::files::remove_files;
use crate::playbooks;
use crate::ports::{HostError, Hosts, Script, quiet};
use crate::render;

/// Takes off a host what kubewright put on it; its record goes last, so that an interrupted try is seen.
///
/// # Errors
/// [`Failure`].
pub async fn host(
    hands: &Hands,
    step: &Step,
    attempt: u32,
    keep_prepared: bool,
    delete_etcd_data: bool,
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let (host, _) = hands.host(step).await?;
    let yes = |what: bool| if what { "yes" } else { "no" };
    let files = if keep_prepared { Vec::new() } else { render::preparation_files(&hands.plan.spec) };
    let paths: Vec<String> = files.into_iter().map(|file| file.path).collect();
    let script = with_places(Script::new("debian/reset.sh", playbooks::RESET))
        .value("CRI_SOCKET", CRI_SOCKET)
        .value("KEEP_PREPARED", yes(keep_prepared))
        .value("PURGE_ETCD", yes(delete_etcd_data))
        .value("FILES", paths.join("\n"));
    hands.unit(host.as_ref(), step, attempt, &script, telling).await?;
    remove_files(host.as_ref(), hands.fence, &[HostRecord::PATH]).await?;
    Ok(())
}

/// Takes away what a finished run itself kept on hosts that it took apart: lock, journal, results of its units. After the
/// last word of the run, for nothing may be written there afterwards; `ops resume` of it does this again. What was prepared
/// is remembered where it stays. What could not be taken away is told.
pub async fn forget(hosts: &dyn Hosts, plan: &Plan, fence: u64) -> Vec<String> {
    let asked = join_all(gone(plan).map(|(name, keep_prepared)| async move {
        let keep = if keep_prepared { "yes" } else { "no" };
        let script = Script::new("common/forget.sh", playbooks::FORGET).value("KEEP_PREPARED", keep);
        let host = hosts.host(name).await?;
        run_fenced(host.as_ref(), fence, &script, &mut quiet()).await?.success(name, &script)?;
        Ok::<_, HostError>(())
    }))
    .await;
    asked.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect()
}

/// Hosts that are part of nothing any more once the plan is done, and whether what they need for the next cluster stays.
fn gone(plan: &Plan) -> impl Iterator<Item = (&HostName, bool)> {
    plan.steps.iter().filter_map(|step| match (&step.kind, &step.target) {
        (StepKind::ResetHost { keep_prepared, .. }, Target::Host(name)) => Some((name, *keep_prepared)),
        _ => None,
    })
}
