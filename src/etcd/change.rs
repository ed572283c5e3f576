//! Changes that are safe to repeat: before each try the list of members says whether there is still anything to do.

use std::time::Duration;

use etcd_client::{Client, MemberAddOptions};
use kubewright_core::facts::etcd::{EtcdFacts, Listing, Member, MemberId};
use kubewright_core::quorum::{LOOKS_BACK, View};
use tokio::time::Instant;

use super::EtcdCluster;
use super::endpoint::{CHANGE, Endpoint};
use super::fault::passes;
use super::observe::{address_of, members, nobody_answers, observe};
use crate::ports::{Added, ETCD_AGAIN, EtcdChange, EtcdError, EtcdFault, MemberList};

/// How long a change is tried again. etcd refuses while somebody has not been connected for [`LOOKS_BACK`], and an election
/// takes a second or two; what lasts three times as long does not pass by itself.
pub(super) const PATIENCE: Duration = LOOKS_BACK.saturating_mul(3);

/// Adds a learner, or finds the one that an earlier try added.
pub(super) async fn add_learner(etcd: &EtcdCluster, peer_url: &str) -> Result<Added, EtcdError> {
    let doing = format!("add a learner at {peer_url}");
    let taken =
        |member: &Member| EtcdError::new(EtcdFault::PeerUrlTaken, &doing, format!("{member} has this peer URL"));
    let done = |list: &MemberList| match list.members.iter().find(|member| has(member, peer_url)) {
        Some(member) if member.learner && !member.has_started() => Ok(Some(member.clone())),
        Some(member) => Err(taken(member)),
        None => Ok(None),
    };
    let call = |mut client: Client| async move {
        let options = MemberAddOptions::new().with_is_learner();
        client.member_add([peer_url], Some(options)).await.map(|_| ())
    };
    let change = make(etcd, &doing, None, &|list| done(list).map(|member| member.is_some()), &call).await?;
    // From the list, which says the same to whoever finds it done.
    let list = members(&etcd.endpoints).await?;
    let member =
        done(&list)?.ok_or_else(|| EtcdError::new(EtcdFault::Server, &doing, "it was added and is not in the list"))?;
    Ok(Added { member, change })
}

/// Gives a learner its vote.
pub(super) async fn promote(etcd: &EtcdCluster, id: MemberId) -> Result<EtcdChange, EtcdError> {
    let doing = format!("promote member {id}");
    let done = |list: &MemberList| match list.members.iter().find(|member| member.id == id) {
        Some(member) => Ok(!member.learner),
        None => Err(EtcdError::new(EtcdFault::NoSuchMember, &doing, "there is no such member")),
    };
    let call = |mut client: Client| async move { client.member_promote(id.0).await.map(|_| ()) };
    make(etcd, &doing, None, &done, &call).await
}

/// Takes a member off the list.
pub(super) async fn remove(etcd: &EtcdCluster, id: MemberId) -> Result<EtcdChange, EtcdError> {
    let doing = format!("remove member {id}");
    let done = |list: &MemberList| Ok(!list.members.iter().any(|member| member.id == id));
    let call = |mut client: Client| async move { client.member_remove(id.0).await.map(|_| ()) };
    make(etcd, &doing, Some(id), &done, &call).await
}

fn has(member: &Member, peer_url: &str) -> bool {
    member.peer_urls.iter().any(|url| url == peer_url)
}

/// Makes a change at whichever endpoint takes it, `avoid`'s last: a member that removes itself may be gone before it answers.
async fn make<F>(
    etcd: &EtcdCluster,
    doing: &str,
    avoid: Option<MemberId>,
    done: &(dyn Fn(&MemberList) -> Result<bool, EtcdError> + Sync),
    call: &(impl Fn(Client) -> F + Sync),
) -> Result<EtcdChange, EtcdError>
where
    F: Future<Output = Result<(), etcd_client::Error>> + Send,
{
    let began = Instant::now();
    let mut tried = false;
    loop {
        let failure = match agreed(&etcd.endpoints, doing).await {
            Ok(list) if done(&list)? => {
                return Ok(if tried { EtcdChange::Made } else { EtcdChange::FoundDone });
            }
            Ok(list) => {
                tried = true;
                match attempt(&etcd.endpoints, doing, avoid, &list, call).await {
                    Ok(()) => return Ok(EtcdChange::Made),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        // What an earlier try did without our hearing of it: the next look at the list finds it.
        let overtaken = matches!(
            failure.fault,
            EtcdFault::PeerUrlTaken | EtcdFault::NoSuchMember | EtcdFault::NotLearner | EtcdFault::Connection(_)
        );
        if began.elapsed() >= etcd.patience || !(passes(failure.fault) || (tried && overtaken)) {
            return Err(failure);
        }
        tracing::debug!(said = failure.said, "{doing}: once more");
        tokio::time::sleep(ETCD_AGAIN).await;
    }
}

/// One try, at one endpoint after the other until one takes it.
async fn attempt<F>(
    endpoints: &[Endpoint],
    doing: &str,
    avoid: Option<MemberId>,
    list: &MemberList,
    call: &(impl Fn(Client) -> F + Sync),
) -> Result<(), EtcdError>
where
    F: Future<Output = Result<(), etcd_client::Error>> + Send,
{
    let avoided = list.members.iter().find(|member| Some(member.id) == avoid);
    let mut order: Vec<&Endpoint> = endpoints.iter().collect();
    order.sort_by_key(|endpoint| avoided.is_some_and(|member| lives_at(member, endpoint)));
    let mut failures = Vec::new();
    for endpoint in order {
        match endpoint.ask(doing, CHANGE, call).await {
            Ok(()) => return Ok(()),
            Err(error) if matches!(error.fault, EtcdFault::Connection(_)) => failures.push(error),
            Err(error) => return Err(error),
        }
    }
    Err(EtcdError { doing: doing.to_owned(), ..nobody_answers(&failures) })
}

fn lives_at(member: &Member, endpoint: &Endpoint) -> bool {
    let place = &endpoint.place;
    member.name == place.host.as_str() || member.peer_urls.iter().any(|url| address_of(url) == Some(place.peer))
}

/// The list that a majority stands behind; nothing is changed on one member's memory.
async fn agreed(endpoints: &[Endpoint], doing: &str) -> Result<MemberList, EtcdError> {
    let list = members(endpoints).await.map_err(|error| EtcdError { doing: doing.to_owned(), ..error })?;
    match &list.listing {
        Listing::Agreed => Ok(list),
        Listing::Remembered { by } => {
            let said = format!("no majority stands behind the list of members; {by} remembers {}", list.members.len());
            Err(EtcdError::new(EtcdFault::NoLeader, doing, said))
        }
    }
}

/// Lets this voter lead. Only the leader itself can hand over.
pub(super) async fn move_leader(etcd: &EtcdCluster, to: MemberId) -> Result<EtcdChange, EtcdError> {
    let doing = format!("move leadership to member {to}");
    let began = Instant::now();
    let mut tried = false;
    loop {
        let facts = observe(&etcd.endpoints, etcd.clock.as_ref())
            .await
            .map_err(|error| EtcdError { doing: doing.clone(), ..error })?;
        let Some(member) = facts.member(to) else {
            return Err(EtcdError::new(EtcdFault::NoSuchMember, &doing, "there is no such member"));
        };
        if View::of(&facts).leader() == Some(to) {
            return Ok(if tried { EtcdChange::Made } else { EtcdChange::FoundDone });
        }
        if member.learner {
            return Err(EtcdError::new(EtcdFault::BadLeader, &doing, format!("{member} is a learner")));
        }
        let failure = match leader(&etcd.endpoints, &facts, &doing) {
            Ok(leader) => {
                tried = true;
                let call = |mut client: Client| async move { client.move_leader(to.0).await };
                match leader.ask(&doing, CHANGE, call).await {
                    Ok(_) => return Ok(EtcdChange::Made),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        let moved = matches!(failure.fault, EtcdFault::Connection(_));
        if began.elapsed() >= etcd.patience || !(passes(failure.fault) || moved) {
            return Err(failure);
        }
        tokio::time::sleep(ETCD_AGAIN).await;
    }
}

fn leader<'e>(endpoints: &'e [Endpoint], facts: &EtcdFacts, doing: &str) -> Result<&'e Endpoint, EtcdError> {
    let none = |said: String| EtcdError::new(EtcdFault::NoLeader, doing, said);
    let leader = View::of(facts).leader().ok_or_else(|| none("nobody leads now".to_owned()))?;
    let host = facts.hosts.get(&leader);
    let endpoint = endpoints.iter().find(|endpoint| Some(endpoint.host()) == host);
    endpoint.ok_or_else(|| none(format!("member {leader} leads and lives on no host of ours")))
}
