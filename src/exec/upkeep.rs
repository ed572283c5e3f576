//! Work on etcd that changes none of its members. Whether etcd bears it, `core::quorum` says, as each step's guard.

use kubewright_core::facts::etcd::{EtcdFacts, MemberId, Sight};
use kubewright_core::ids::HostName;
use kubewright_core::plan::Step;
use kubewright_core::quorum::{Change, Standing, View, decide};
use kubewright_manifests::layout::CRI_SOCKET;

use super::hands::Hands;
use super::start::TO_EXPLAIN;
use super::{Failure, Telling};
use crate::playbooks;
use crate::ports::{ETCD_AGAIN, EtcdApi, EtcdChange, EtcdFault, Script};

/// Lets the host's member lead.
///
/// # Errors
/// [`Failure`]; doing it again finds it done.
pub async fn lead(etcd: &dyn EtcdApi, host: &HostName, telling: Telling<'_>) -> Result<(), Failure> {
    let member = member_on(&etcd.observe().await?, host)?;
    telling(match etcd.move_leader(member).await? {
        EtcdChange::Made => "it leads",
        EtcdChange::FoundDone => "it led already",
    });
    Ok(())
}

/// Defragments the host's member and waits until it is well again; if it leads, another one leads first.
///
/// # Errors
/// [`Failure`]; it may be done again.
pub async fn defragment(etcd: &dyn EtcdApi, host: &HostName, telling: Telling<'_>) -> Result<(), Failure> {
    let facts = match etcd.observe().await {
        // Where it is the only one, an earlier try of ours may be at it still: the guard has seen to it that nobody else is why.
        Err(error) if matches!(error.fault, EtcdFault::Connection(_)) => until_well(etcd, host, telling).await?,
        observed => observed?,
    };
    let member = member_on(&facts, host)?;
    step_down(etcd, &facts, member, telling).await?;
    let before = size(&facts, member);
    etcd.defragment(host).await?;
    let facts = until_well(etcd, host, telling).await?;
    let mb = |bytes: Option<u64>| bytes.map_or("?".to_owned(), |bytes| (bytes / 1_000_000).to_string());
    telling(&format!("{} MB before, {} MB now", mb(before), mb(size(&facts, member))));
    Ok(())
}

/// Restarts the etcd of a host and waits until its member is well again; if it leads, another one leads first.
///
/// # Errors
/// [`Failure`] with the last lines of etcd where it does not come up; a container that was replaced by this step before is
/// not ended again.
pub async fn restart(hands: &Hands, step: &Step, attempt: u32, telling: Telling<'_>) -> Result<(), Failure> {
    let (host, spec) = hands.host(step).await?;
    let etcd = hands.etcd().await?;
    match etcd.observe().await {
        Ok(facts) => {
            step_down(etcd, &facts, member_on(&facts, &spec.name)?, telling).await?;
        }
        // Where it is the only one, nobody is there to ask since an earlier try ended it.
        Err(error) if attempt > 1 && matches!(error.fault, EtcdFault::Connection(_)) => {
            telling("it is away since before")
        }
        Err(error) => return Err(error.into()),
    }
    let script = Script::new("debian/restart-etcd.sh", playbooks::RESTART_ETCD)
        .value("NODE_NAME", spec.name.as_str())
        .value("ADVERTISE_ADDRESS", spec.private_address.to_string())
        .value("CRI_SOCKET", CRI_SOCKET)
        .value("OPERATION", hands.plan.operation.as_str())
        .value("STEP", step.id.as_str())
        .value("DEADLINE_SECONDS", step.deadline_seconds.saturating_sub(TO_EXPLAIN).to_string());
    hands.unit(host.as_ref(), step, attempt, &script, telling).await?;
    until_well(etcd, &spec.name, telling).await?;
    telling("its member is well again");
    Ok(())
}

/// Lets another member lead, where this one does.
///
/// # Errors
/// [`Failure`]; moving it again finds it elsewhere.
pub async fn step_down(
    etcd: &dyn EtcdApi,
    facts: &EtcdFacts,
    member: MemberId,
    telling: Telling<'_>,
) -> Result<bool, Failure> {
    let stop = decide(facts, &Change::Stop { member });
    let Some(heir) = stop.obstacles().iter().find_map(|obstacle| obstacle.move_leader_to) else { return Ok(false) };
    etcd.move_leader(heir).await?;
    telling(&format!("leadership moved to {}", facts.member(heir).map(ToString::to_string).unwrap_or_default()));
    Ok(true)
}

/// Waits until the host's member is well; what was seen then. The step's deadline ends the waiting.
///
/// # Errors
/// [`Failure`] where it is no member any more, or etcd cannot be asked.
pub async fn until_well(etcd: &dyn EtcdApi, host: &HostName, telling: Telling<'_>) -> Result<EtcdFacts, Failure> {
    let mut told = String::new();
    loop {
        let why = match etcd.observe().await {
            Ok(facts) => {
                let member = member_on(&facts, host)?;
                match View::of(&facts).standing(member) {
                    Some(Standing::Well) => return Ok(facts),
                    Some(standing) => format!("waiting: it {standing}"),
                    None => return Err(Failure::new(format!("etcd has no member of {host} any more"))),
                }
            }
            // Where it is the only one, nobody is there to ask while it is away.
            Err(error) if matches!(error.fault, EtcdFault::Connection(_)) => format!("waiting: {}", error.said),
            Err(error) => return Err(error.into()),
        };
        if told != why {
            telling(&why);
            told = why;
        }
        tokio::time::sleep(ETCD_AGAIN).await;
    }
}

/// Has etcd forget what was before a revision.
///
/// # Errors
/// [`Failure`]; doing it again finds it done.
pub async fn compact(etcd: &dyn EtcdApi, revision: i64, telling: Telling<'_>) -> Result<(), Failure> {
    telling(match etcd.compact(revision).await? {
        EtcdChange::Made => "forgotten",
        EtcdChange::FoundDone => "was forgotten before",
    });
    Ok(())
}

/// Takes every alarm back, or those about one member.
///
/// # Errors
/// [`Failure`]; doing it again finds none.
pub async fn disarm(etcd: &dyn EtcdApi, of: Option<MemberId>, telling: Telling<'_>) -> Result<(), Failure> {
    let alarms = etcd.disarm(of).await?;
    let kinds: Vec<String> = alarms.iter().map(|alarm| alarm.kind.to_string()).collect();
    telling(&if kinds.is_empty() { "none was raised".to_owned() } else { format!("taken back: {}", kinds.join(", ")) });
    Ok(())
}

fn member_on(facts: &EtcdFacts, host: &HostName) -> Result<MemberId, Failure> {
    let member = facts.member_on(host).map(|member| member.id);
    member.ok_or_else(|| Failure::new(format!("etcd has no member of {host} any more")))
}

fn size(facts: &EtcdFacts, member: MemberId) -> Option<u64> {
    match facts.sights.get(&member) {
        Some(Sight::Answers(answer)) => Some(answer.db_bytes),
        _ => None,
    }
}
