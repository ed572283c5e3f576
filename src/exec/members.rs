//! etcd's members: added without a vote, given it, taken out. Whether etcd bears it, `core::quorum` says: before a step as
//! its guard, and within one where the answer changes while we wait.

use std::time::Duration;

use kubewright_core::etcd::agreement::{Agreement, Contents};
use kubewright_core::facts::etcd::{EtcdFacts, Member, MemberId};
use kubewright_core::plan::Step;
use kubewright_core::quorum::{Change, Obstacle, Reason, View, decide};
use kubewright_core::spec::Host as HostSpec;
use kubewright_manifests::layout::CRI_SOCKET;
use tokio::time::Instant;

use super::hands::Hands;
use super::{Failure, Telling, upkeep};
use crate::etcd::contents;
use crate::playbooks;
use crate::ports::{ETCD_AGAIN, EtcdApi, EtcdChange, EtcdError, EtcdFault, Script, quiet};

/// How long a learner may be without a sign of life before its own words are shown. It answered when it was started; a slow
/// one answers all along and gets further.
const DEAD: Duration = Duration::from_secs(60);

/// Lines of its log that are shown then: as many as fit on a terminal together with the advice.
const WORDS: u32 = 15;

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
    let mut alive = Instant::now();
    loop {
        let facts = etcd.observe().await?;
        let member =
            id_of(&facts, host).ok_or_else(|| Failure::new(format!("etcd has no member of {} any more", host.name)))?;
        let verdict = decide(&facts, &Change::Promote { member });
        if !verdict.obstacles().iter().any(is_dead) {
            alive = Instant::now();
        } else if alive.elapsed() >= DEAD {
            return Err(never_came_up(hands, step, verdict.obstacles()).await);
        }
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
        tokio::time::sleep(ETCD_AGAIN).await;
    }
}

/// Whether a learner gives no sign of life, rather than being slow.
fn is_dead(obstacle: &Obstacle) -> bool {
    matches!(obstacle.reason, Reason::NeverStarted | Reason::NotWell)
}

/// A learner that does not run, with what it logged.
async fn never_came_up(hands: &Hands, step: &Step, obstacles: &[Obstacle]) -> Failure {
    let why = obstacles.iter().find(|obstacle| is_dead(obstacle)).map(|obstacle| obstacle.text.clone());
    let mut text = format!("{} for {} s; it is no slow learner", why.unwrap_or_default(), DEAD.as_secs());
    let words = match words_of(hands, step).await {
        Ok(words) => format!("the last lines of its etcd:\n{words}"),
        Err(failure) => format!("its log cannot be read: {}", failure.text),
    };
    text.push('\n');
    text.push_str(&words);
    let hint = "mend what its log names, then resume; it has no vote, so the others do without it".to_owned();
    Failure { hint: Some(hint), ..Failure::new(text) }
}

/// The end of what the etcd of a step's host logged.
async fn words_of(hands: &Hands, step: &Step) -> Result<String, Failure> {
    let (host, _) = hands.host(step).await?;
    let script = Script::new("common/etcd-logs.sh", playbooks::ETCD_LOGS)
        .value("LINES", WORDS.to_string())
        .value("PREVIOUS", "");
    let output = host.run(&script, &mut quiet()).await?.success(host.name(), &script)?;
    Ok(output.stdout.trim_end().to_owned())
}

/// Lets another member lead, where the host's does; the guard has asked whether it may stop at all.
///
/// # Errors
/// [`Failure`]; moving it again finds it elsewhere.
pub async fn step_down(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<(), Failure> {
    let host = spec_of(hands, step)?;
    let etcd = hands.etcd().await?;
    let facts = etcd.observe().await?;
    let moved = match id_of(&facts, host) {
        Some(member) => upkeep::step_down(etcd, &facts, member, telling).await?,
        None => false,
    };
    if !moved {
        telling("another member leads already");
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
    upkeep::step_down(etcd, &facts, member, telling).await?;
    etcd.remove(member).await?;
    telling("taken out of etcd");
    Ok(())
}

/// Takes the member of an identity out; if it leads, another voter that is well leads first.
///
/// # Errors
/// [`Failure`]; taking it out again finds it gone.
pub async fn forget(hands: &Hands, member: MemberId, telling: Telling<'_>) -> Result<(), Failure> {
    let etcd = hands.etcd().await?;
    let facts = etcd.observe().await?;
    upkeep::step_down(etcd, &facts, member, telling).await?;
    telling(match etcd.remove(member).await? {
        EtcdChange::Made => "taken out of etcd",
        EtcdChange::FoundDone => "was gone already",
    });
    Ok(())
}

/// Ends the etcd of a host, and what cannot serve without it; if its member leads, another one leads first.
///
/// # Errors
/// [`Failure`]; doing it again finds what was done.
pub async fn set_aside(
    hands: &Hands,
    step: &Step,
    attempt: u32,
    planned: Option<MemberId>,
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let (host, spec) = hands.host(step).await?;
    let etcd = hands.etcd().await?;
    let facts = etcd.observe().await?;
    if let Some(member) = id_of(&facts, spec) {
        // A run that lost its last words got further: what lives there now was not meant.
        if planned != Some(member) {
            telling("was done before: a new member has its place");
            return Ok(());
        }
        upkeep::step_down(etcd, &facts, member, telling).await?;
    }
    let script = Script::new("debian/set-etcd-aside.sh", playbooks::SET_ETCD_ASIDE)
        .value("NODE_NAME", spec.name.as_str())
        .value("CRI_SOCKET", CRI_SOCKET)
        .value("OPERATION", hands.plan.operation.as_str());
    hands.unit(host.as_ref(), step, attempt, &script, telling).await
}

/// Proves that all members but these are well and hold the same; the step's deadline ends the waiting.
///
/// # Errors
/// [`Failure`] that names whose contents differ.
pub async fn prove(etcd: &dyn EtcdApi, not_waited_for: &[MemberId], telling: Telling<'_>) -> Result<(), Failure> {
    let mut told = String::new();
    loop {
        let facts = etcd.observe().await?;
        let (left, counted): (Vec<&Member>, Vec<&Member>) =
            facts.members.iter().partition(|member| not_waited_for.contains(&member.id));
        let why = match (ill(&facts, &counted), contents::compare(etcd, &facts).await) {
            (Some(ill), _) => ill,
            (None, None) => "nobody tells a revision".to_owned(),
            (None, Some(agreement)) => match differing(&counted, &agreement)? {
                None => {
                    let (members, revision) = (counted.len(), agreement.revision);
                    let left: String = left.iter().map(|member| format!("; {member} was not waited for")).collect();
                    telling(&format!("{members} members are well and hold the same at revision {revision}{left}"));
                    return Ok(());
                }
                Some(why) => why,
            },
        };
        if told != why {
            telling(&format!("waiting: {why}"));
            told = why;
        }
        tokio::time::sleep(ETCD_AGAIN).await;
    }
}

/// How one of these members is that is not well.
fn ill(facts: &EtcdFacts, counted: &[&Member]) -> Option<String> {
    let view = View::of(facts);
    let mut ill = view.ill().filter(|(member, _)| counted.iter().any(|counted| counted.id == member.id));
    ill.next().map(|(member, standing)| format!("{member} {standing}"))
}

/// Why it cannot be told yet whether these hold the same; an error where it can, and they do not.
fn differing(counted: &[&Member], agreement: &Agreement) -> Result<Option<String>, Failure> {
    for member in counted {
        match agreement.members.get(&member.id) {
            Some(Contents::Agree) => {}
            Some(Contents::Differ | Contents::Disputed) => {
                let text = format!("{member} holds other contents than the others at revision {}", agreement.revision);
                let hint =
                    "kubewright etcd status tells whose contents a majority has; kubewright etcd snapshot saves them";
                return Err(Failure { hint: Some(hint.to_owned()), ..Failure::new(text) });
            }
            Some(Contents::Unknown { why }) => return Ok(Some(format!("{member} could not be compared: {why}"))),
            None => return Ok(Some(format!("{member} was not compared"))),
        }
    }
    Ok((!agreement.proved).then(|| "no majority of the voters could be compared".to_owned()))
}

fn id_of(facts: &EtcdFacts, host: &HostSpec) -> Option<MemberId> {
    facts.member_on(&host.name).or_else(|| facts.member_at(&host.etcd_peer_url())).map(|member| member.id)
}

fn spec_of<'a>(hands: &'a Hands, step: &Step) -> Result<&'a HostSpec, Failure> {
    let name = hands.target(step)?;
    hands.plan.spec.host(name).ok_or_else(|| Failure::new(format!("{name} is not in the spec")))
}
