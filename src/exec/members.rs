//! etcd's members: added without a vote, given it, taken out. Whether etcd bears it, `core::quorum` says: before a step as
//! its guard, and within one where the answer changes while we wait.

use std::time::Duration;

use kubewright_core::facts::etcd::{EtcdFacts, MemberId};
use kubewright_core::plan::Step;
use kubewright_core::quorum::{Change, decide};
use kubewright_core::spec::Host as HostSpec;

use super::hands::Hands;
use super::{Failure, Telling};
use crate::ports::{EtcdChange, EtcdError, EtcdFault};

/// etcd has no event for a learner that has caught up. A question costs it nothing, and a small cluster's learner needs
/// about a second.
const ASK_AGAIN: Duration = Duration::from_secs(1);

impl From<EtcdError> for Failure {
    fn from(error: EtcdError) -> Self {
        Self { hint: error.hint().map(str::to_owned), ..Self::new(error.to_string()) }
    }
}

/// Adds the host's member as a learner.
///
/// # Errors
/// [`Failure`]; adding it again finds it.
pub async fn add(hands: &Hands, peer_url: &str, telling: Telling<'_>) -> Result<(), Failure> {
    let etcd = hands.etcd().await?;
    // A run that lost its last words may have started it since.
    if etcd.members().await?.members.iter().any(|member| member.peer_urls.iter().any(|url| url == peer_url)) {
        telling("was added before");
        return Ok(());
    }
    let added = etcd.add_learner(peer_url).await?;
    telling(match added.change {
        EtcdChange::Made => "added as a learner",
        EtcdChange::FoundDone => "was added before",
    });
    Ok(())
}

/// Gives the host's learner its vote, once it has caught up. The step's deadline ends the waiting.
///
/// # Errors
/// [`Failure`] where there is no such member, or etcd says anything but "not yet".
pub async fn promote(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<(), Failure> {
    let host = spec_of(hands, step)?;
    let etcd = hands.etcd().await?;
    let mut told = String::new();
    loop {
        let facts = etcd.observe().await?;
        let member =
            id_of(&facts, host).ok_or_else(|| Failure::new(format!("etcd has no member of {} any more", host.name)))?;
        let verdict = decide(&facts, &Change::Promote { member });
        let why = match verdict.obstacles().first() {
            None => match etcd.promote(member).await {
                Ok(_) => {
                    telling("it has its vote");
                    return Ok(());
                }
                Err(error) if error.fault == EtcdFault::LearnerNotReady => error.said,
                Err(error) => return Err(error.into()),
            },
            Some(obstacle) => obstacle.text.clone(),
        };
        if told != why {
            telling(&format!("waiting: {why}"));
            told = why;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Lets another member lead, where the host's does; the guard has asked whether it may stop at all.
///
/// # Errors
/// [`Failure`]; moving it again finds it elsewhere.
pub async fn step_down(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<(), Failure> {
    let host = spec_of(hands, step)?;
    let etcd = hands.etcd().await?;
    let facts = etcd.observe().await?;
    match id_of(&facts, host).and_then(|member| heir(&facts, member)) {
        Some(heir) => {
            etcd.move_leader(heir).await?;
            telling(&format!(
                "leadership moved to {}",
                facts.member(heir).map(ToString::to_string).unwrap_or_default()
            ));
        }
        None => telling("another member leads already"),
    }
    Ok(())
}

/// Takes the host's member out; if it leads, another voter that is well leads first.
///
/// # Errors
/// [`Failure`]; taking it out again finds it gone.
pub async fn remove(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<(), Failure> {
    let host = spec_of(hands, step)?;
    let etcd = hands.etcd().await?;
    let facts = etcd.observe().await?;
    let Some(member) = id_of(&facts, host) else {
        telling("was gone already");
        return Ok(());
    };
    if let Some(heir) = heir(&facts, member) {
        etcd.move_leader(heir).await?;
        telling(&format!("leadership moved to {}", facts.member(heir).map(ToString::to_string).unwrap_or_default()));
    }
    etcd.remove(member).await?;
    telling("taken out of etcd");
    Ok(())
}

/// Whom leadership goes to, where this member has it.
fn heir(facts: &EtcdFacts, leaving: MemberId) -> Option<MemberId> {
    let stop = decide(facts, &Change::Stop { member: leaving });
    stop.obstacles().iter().find_map(|obstacle| obstacle.move_leader_to)
}

fn id_of(facts: &EtcdFacts, host: &HostSpec) -> Option<MemberId> {
    facts.member_on(&host.name).or_else(|| facts.member_at(&host.etcd_peer_url())).map(|member| member.id)
}

fn spec_of<'a>(hands: &'a Hands, step: &Step) -> Result<&'a HostSpec, Failure> {
    let name = hands.target(step)?;
    hands.plan.spec.host(name).ok_or_else(|| Failure::new(format!("{name} is not in the spec")))
}
