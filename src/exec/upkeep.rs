//! Work on etcd that changes none of its members. Whether etcd bears it, `core::quorum` says, as each step's guard.

use std::time::Duration;

use kubewright_core::facts::etcd::{EtcdFacts, MemberId, Sight};
use kubewright_core::ids::HostName;
use kubewright_core::quorum::{Change, Standing, View, decide};

use super::{Failure, Telling};
use crate::ports::{EtcdApi, EtcdChange};

/// etcd has no event for a member that has caught up after it answered nobody. A question costs it nothing.
const ASK_AGAIN: Duration = Duration::from_secs(1);

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
    let facts = etcd.observe().await?;
    let member = member_on(&facts, host)?;
    let stop = decide(&facts, &Change::Stop { member });
    if let Some(heir) = stop.obstacles().iter().find_map(|obstacle| obstacle.move_leader_to) {
        etcd.move_leader(heir).await?;
        telling(&format!("leadership moved to {}", facts.member(heir).map(ToString::to_string).unwrap_or_default()));
    }
    let before = size(&facts, member);
    etcd.defragment(host).await?;
    let mut told = String::new();
    loop {
        let facts = etcd.observe().await?;
        match View::of(&facts).standing(member) {
            Some(Standing::Well) => {
                let mb = |bytes: Option<u64>| bytes.map_or("?".to_owned(), |bytes| (bytes / 1_000_000).to_string());
                telling(&format!("{} MB before, {} MB now", mb(before), mb(size(&facts, member))));
                return Ok(());
            }
            Some(standing) => {
                let why = format!("waiting: it {standing}");
                if told != why {
                    telling(&why);
                    told = why;
                }
            }
            None => return Err(Failure::new(format!("etcd has no member of {host} any more"))),
        }
        tokio::time::sleep(ASK_AGAIN).await;
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

/// Takes every alarm back.
///
/// # Errors
/// [`Failure`]; doing it again finds none.
pub async fn disarm(etcd: &dyn EtcdApi, telling: Telling<'_>) -> Result<(), Failure> {
    let alarms = etcd.disarm().await?;
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
