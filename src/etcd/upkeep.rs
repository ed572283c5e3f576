//! What members' databases and the cluster's history and alarms need now and then. All of it may be done again without harm.

use std::time::Duration;

use etcd_client::{AlarmAction, AlarmOptions, AlarmType, Client, CompactionOptions};
use kubewright_core::facts::etcd::{Alarm, AlarmKind, MemberId};
use kubewright_core::ids::HostName;

use super::EtcdCluster;
use super::endpoint::{CHANGE, Endpoint};
use super::observe::{alarms, nobody_answers};
use crate::ports::{EtcdChange, EtcdError, EtcdFault};

/// Time for a defragmentation: 8 GiB, etcd's advised limit, at a tenth of the speed that was measured on a fast disk.
const DEFRAGMENT: Duration = Duration::from_secs(600);

/// What etcd says of a compaction that was made before, or of one that went further.
const COMPACTED: &str = "required revision has been compacted";

/// Has the member on this host write its database anew, without what is free in it.
pub(super) async fn defragment(etcd: &EtcdCluster, host: &HostName) -> Result<(), EtcdError> {
    let doing = "defragment a database";
    let endpoint = etcd.endpoints.iter().find(|endpoint| endpoint.host() == host);
    let endpoint = endpoint
        .ok_or_else(|| EtcdError::new(EtcdFault::Invalid, doing, format!("{host} is no host with role etcd")))?;
    // The member answers nothing else meanwhile, so that others must not share its connection.
    let call = |mut client: Client| async move { client.defragment().await.map(drop) };
    endpoint.apart().ask(doing, DEFRAGMENT, call).await
}

/// Has all members forget what was before this revision.
pub(super) async fn compact(etcd: &EtcdCluster, revision: i64) -> Result<EtcdChange, EtcdError> {
    let call = |mut client: Client| async move {
        // Answered once the rows are gone, so that a defragmentation that follows finds them free.
        client.compact(revision, Some(CompactionOptions::new().with_physical())).await.map(drop)
    };
    match anywhere(&etcd.endpoints, "forget history", DEFRAGMENT, &call).await {
        Ok(()) => Ok(EtcdChange::Made),
        Err(error) if error.said.contains(COMPACTED) => Ok(EtcdChange::FoundDone),
        Err(error) => Err(error),
    }
}

/// Takes back every alarm that is raised, or those about one member; tells which.
pub(super) async fn disarm(etcd: &EtcdCluster, of: Option<MemberId>) -> Result<Vec<Alarm>, EtcdError> {
    let mut raised = alarms(&etcd.endpoints).await?;
    raised.retain(|alarm| of.is_none() || alarm.member == of);
    for alarm in &raised {
        let kind = match alarm.kind {
            AlarmKind::NoSpace => AlarmType::Nospace,
            AlarmKind::Corrupt => AlarmType::Corrupt,
            AlarmKind::Other(number) => {
                let said = format!("alarm {number} is none that this kubewright knows");
                return Err(EtcdError::new(EtcdFault::Invalid, "take an alarm back", said));
            }
        };
        let member = alarm.member.map_or(0, |member| member.0);
        let call = |mut client: Client| async move {
            let mut options = AlarmOptions::new();
            options.with_member(member);
            client.alarm(AlarmAction::Deactivate, kind, Some(options)).await.map(drop)
        };
        anywhere(&etcd.endpoints, "take an alarm back", CHANGE, &call).await?;
    }
    Ok(raised)
}

/// At whichever endpoint takes it.
async fn anywhere<F>(
    endpoints: &[Endpoint],
    doing: &str,
    within: Duration,
    call: &(impl Fn(Client) -> F + Sync),
) -> Result<(), EtcdError>
where
    F: Future<Output = Result<(), etcd_client::Error>> + Send,
{
    let mut failures = Vec::new();
    for endpoint in endpoints {
        match endpoint.ask(doing, within, call).await {
            Err(error) if matches!(error.fault, EtcdFault::Connection(_)) => failures.push(error),
            other => return other,
        }
    }
    Err(EtcdError { doing: doing.to_owned(), ..nobody_answers(&failures) })
}
