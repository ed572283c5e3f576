//! All of etcd goes back to a snapshot, or from it to what it held before: what each part does on its host, and what is proved of
//! all members together.

use std::str::FromStr;
use std::time::Duration;

use kubewright_core::etcd::address::StoreAddress;
use kubewright_core::facts::etcd::{EtcdFacts, Sight};
use kubewright_core::health::Condition;
use kubewright_core::ids::{HostName, OperationId};
use kubewright_core::intent::{Intent, RestoreWork};
use kubewright_core::plan::{EtcdStart, Exchange, RestorePart, Restored, Step, hex};
use kubewright_manifests::layout::CRI_SOCKET;
use kubewright_snapshot::Source;
use sha2::{Digest, Sha256};

use super::hands::Hands;
use super::objects::connected;
use super::start::{TO_EXPLAIN, serving};
use super::{Failure, Telling, members};
use crate::backup::reading::{self, Unopened};
use crate::host::files::{RemoteFile, put_files};
use crate::playbooks;
use crate::ports::{ETCD_AGAIN, EtcdApi, Host, Script};
use crate::store::objects::Access;

/// Does one part.
///
/// # Errors
/// [`Failure`]; each may be done again.
pub async fn perform(
    hands: &Hands,
    step: &Step,
    attempt: u32,
    part: &RestorePart,
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let named = |name: &str| script(hands, step, name);
    let script = match part {
        RestorePart::Prove { members, least_revision } => {
            return prove(hands.etcd().await?, members, *least_revision, telling).await;
        }
        RestorePart::Leases { nodes } => return leases(hands, step, nodes, telling).await,
        RestorePart::Prepare(restored) => {
            let (host, _) = hands.host(step).await?;
            bring(hands, host.as_ref(), restored, telling).await?;
            prepare(hands, named("prepare")?, step, restored)?
        }
        RestorePart::Exchange { way, .. } => named("exchange")?.value(
            "WAY",
            match way {
                Exchange::Forward => "forward",
                Exchange::Back => "back",
            },
        ),
        RestorePart::Stop => named("stop")?,
        RestorePart::StartEtcd => named("start-etcd")?,
        RestorePart::StartServer => named("start-server")?,
        RestorePart::Refresh => named("refresh")?,
        RestorePart::StartControllers => named("start-controllers")?,
        RestorePart::Finalize { .. } => named("finalize")?,
    };
    let (host, _) = hands.host(step).await?;
    hands.unit(host.as_ref(), step, attempt, &script, telling).await
}

/// Whose restore the plan is about.
fn restore_of(hands: &Hands) -> &OperationId {
    match &hands.plan.intent {
        Intent::RestoreEtcd { work: RestoreWork::Undo { of } | RestoreWork::Finalize { of } } => of,
        _ => &hands.plan.operation,
    }
}

fn script(hands: &Hands, step: &Step, part: &str) -> Result<Script, Failure> {
    let name = hands.target(step)?;
    let spec = hands.plan.spec.host(name).ok_or_else(|| Failure::new(format!("{name} is not in the spec")))?;
    Ok(serving(Script::new("debian/restore.sh", playbooks::RESTORE), hands, spec)
        .value("PART", part)
        .value("OF", restore_of(hands).as_str())
        .value("CRI_SOCKET", CRI_SOCKET)
        .value("DEADLINE_SECONDS", step.deadline_seconds.saturating_sub(TO_EXPLAIN).to_string()))
}

/// Where the snapshot waits on the host.
fn waiting(hands: &Hands) -> String {
    format!("/var/lib/kubewright/ops/{}/snapshot.db", hands.plan.operation)
}

fn prepare(hands: &Hands, script: Script, step: &Step, restored: &Restored) -> Result<Script, Failure> {
    let name = hands.target(step)?;
    let url = restored.members.get(name).ok_or_else(|| Failure::new(format!("{name} is to have no member")))?;
    let start = EtcdStart { members: restored.members.clone(), ..EtcdStart::default() };
    Ok(script
        .value("SNAPSHOT", waiting(hands))
        .value("DIGEST", &restored.sha256)
        .value("TOKEN", &restored.initial_cluster_token)
        .value("INITIAL_CLUSTER", start.initial_cluster())
        .value("PEER_URL", url)
        .value("BUMP", restored.bump.to_string()))
}

/// The snapshot is on the host, and is the one that was planned with.
async fn bring(hands: &Hands, host: &dyn Host, restored: &Restored, telling: Telling<'_>) -> Result<(), Failure> {
    let address = StoreAddress::from_str(&restored.snapshot).map_err(|error| Failure::new(error.to_string()))?;
    let access = Access::of(&hands.plan.spec.backup, None);
    let opened = reading::open(&address, &access).await.map_err(|unopened| {
        Failure::new(match unopened {
            Unopened::Damaged(why) => format!("{address}: {why}"),
            Unopened::Error(error) => format!("{address}: {error}"),
        })
    })?;
    let bytes = tokio::task::spawn_blocking(move || {
        let size = usize::try_from(opened.file.size()).map_err(std::io::Error::other)?;
        let mut bytes = vec![0; size];
        opened.file.read_at(&mut bytes, 0)?;
        Ok::<_, std::io::Error>(bytes)
    });
    let bytes = bytes.await.map_err(|error| Failure::new(error.to_string()))?;
    let bytes = bytes.map_err(|error| Failure::new(format!("{address}: {error}")))?;
    if hex(&Sha256::digest(&bytes)) != restored.sha256 {
        return Err(Failure::new(format!("{address} is not the snapshot that was planned with")));
    }
    telling(&format!("bringing {} bytes", bytes.len()));
    put_files(host, hands.fence, &[RemoteFile::plain(waiting(hands), 0o600, bytes)]).await?;
    Ok(())
}

/// Members as planned, well, with the same contents, at a revision that no client has seen, without an alarm.
async fn prove(
    etcd: &dyn EtcdApi,
    planned: &[HostName],
    least_revision: i64,
    telling: Telling<'_>,
) -> Result<(), Failure> {
    // Right after its start a member has not heard of every other one.
    let mut tries = etcd.observe().await;
    while tries.as_ref().is_err() {
        tokio::time::sleep(ETCD_AGAIN).await;
        tries = etcd.observe().await;
    }
    members::prove(etcd, &[], telling).await?;
    match is_as_planned(&etcd.observe().await?, planned, least_revision) {
        None => Ok(()),
        Some(why) => Err(Failure {
            hint: Some("kubewright etcd restore --undo brings back what etcd held before".to_owned()),
            ..Failure::new(why)
        }),
    }
}

fn is_as_planned(facts: &EtcdFacts, planned: &[HostName], least_revision: i64) -> Option<String> {
    let mut hosts: Vec<&HostName> = facts.voters().filter_map(|member| facts.hosts.get(&member.id)).collect();
    let mut wanted: Vec<&HostName> = planned.iter().collect();
    hosts.sort();
    wanted.sort();
    if hosts != wanted || facts.members.len() != planned.len() {
        return Some(format!("etcd has {} members, and {} were planned", facts.members.len(), planned.len()));
    }
    if let Some(alarm) = facts.alarms.first() {
        return Some(format!("an alarm is raised: {}", alarm.kind));
    }
    let behind = facts.sights.values().find_map(|sight| match sight {
        Sight::Answers(answer) if answer.revision < least_revision => Some(answer.revision),
        _ => None,
    });
    behind.map(|revision| format!("a member is at revision {revision}, and {least_revision} was planned"))
}

/// Waits until each kubelet has renewed its lease; its deadline is the step's.
async fn leases(hands: &Hands, step: &Step, nodes: &[HostName], telling: Telling<'_>) -> Result<(), Failure> {
    let api = connected(hands).await?;
    let mut conditions = vec![Condition::NodesReady { nodes: nodes.to_vec() }];
    for node in nodes {
        let after = super::maintain::lease(api, node).await?;
        conditions.push(Condition::LeaseRenewed { node: node.clone(), after });
    }
    let within = Duration::from_secs(step.deadline_seconds.saturating_sub(TO_EXPLAIN).into());
    api.wait_until(&Condition::All { conditions }, within, telling).await?;
    Ok(())
}
