//! What all members say, put together. Each is asked at its own endpoint, all at once.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_client::{AlarmType, Client};
use futures::future::join_all;
use futures::stream::{FuturesUnordered, StreamExt};
use kubewright_core::facts::etcd::{Alarm, AlarmKind, Answer, ClusterId, EtcdFacts, Listing, Member, MemberId, Sight};

use super::Place;
use super::endpoint::{ANSWER, CHANGE, Endpoint};
use crate::ports::{Clock, ConnectionFault, EtcdError, EtcdFault, MemberList};

/// Any key: what matters is that a majority stands behind the answer (etcdctl's `endpoint health` reads it too).
const ANY_KEY: &str = "health";

/// What one endpoint said.
struct Said {
    id: MemberId,
    answer: Answer,
    alarms: Vec<Alarm>,
    /// The list of members as it knows it; none where it did not say.
    members: Option<Vec<Member>>,
}

/// How long an election takes, with etcd's own `--election-timeout` of 1 s, a vote that is split once and a machine that is busy.
const ELECTION: Duration = Duration::from_secs(2);

/// One observation of the cluster; another one where the first fell into an election, of which nothing lasting can be told.
pub(super) async fn observe(endpoints: &[Endpoint], clock: &dyn Clock) -> Result<EtcdFacts, EtcdError> {
    let facts = look(endpoints, clock).await?;
    if !facts.is_amid_election() {
        return Ok(facts);
    }
    tracing::debug!("asked amid an election; asking again");
    tokio::time::sleep(ELECTION).await;
    look(endpoints, clock).await
}

async fn look(endpoints: &[Endpoint], clock: &dyn Clock) -> Result<EtcdFacts, EtcdError> {
    let asked = endpoints.iter().map(|endpoint| async { (&endpoint.place, ask(endpoint, clock).await) });
    together(join_all(asked).await)
}

/// The list of members: from the first endpoint that a majority stands behind, else from whoever remembers most.
pub(super) async fn members(endpoints: &[Endpoint]) -> Result<MemberList, EtcdError> {
    let mut asked: FuturesUnordered<_> = endpoints.iter().map(list).collect();
    let (mut remembered, mut failures) = (Vec::new(), Vec::new());
    while let Some(said) = asked.next().await {
        match said {
            Ok(Listed { list, .. }) if list.listing == Listing::Agreed => return Ok(list),
            Ok(listed) => remembered.push(listed),
            Err(error) => failures.push(error),
        }
    }
    let best = remembered.into_iter().max_by_key(|listed| listed.progress);
    best.map(|listed| listed.list).ok_or_else(|| nobody_answers(&failures))
}

/// Alarms by majority. etcd has this question go through its log, like a write.
pub(super) async fn alarms(endpoints: &[Endpoint]) -> Result<Vec<Alarm>, EtcdError> {
    let mut failures = Vec::new();
    for endpoint in endpoints {
        let call = |mut client: Client| async move {
            client.alarm(etcd_client::AlarmAction::Get, AlarmType::None, None).await
        };
        match endpoint.ask("list alarms", CHANGE, call).await {
            Ok(response) => {
                let alarm = |alarm: &etcd_client::AlarmMember| raised(alarm.member_id(), kind(alarm.alarm()));
                return Ok(response.alarms().iter().map(alarm).collect());
            }
            Err(error) if matches!(error.fault, EtcdFault::Connection(_)) => failures.push(error),
            Err(error) => return Err(error),
        }
    }
    Err(EtcdError { doing: "list alarms".to_owned(), ..nobody_answers(&failures) })
}

/// A list with how far its giver has come.
struct Listed {
    list: MemberList,
    progress: (u64, i64),
}

/// The list as one endpoint knows it. The client's own question for it is never linearisable; asked after a read that was,
/// the same member's list is at least as new as that read, which is as good.
async fn list(endpoint: &Endpoint) -> Result<Listed, EtcdError> {
    const DOING: &str = "list members";
    let agreed = read(endpoint).await;
    if let Err(error) = &agreed
        && matches!(error.fault, EtcdFault::Connection(fault) if fault != ConnectionFault::Timeout)
    {
        return Err(error.clone());
    }
    let response = endpoint.ask(DOING, ANSWER, |mut client: Client| async move { client.member_list().await }).await?;
    let header = response.header().ok_or_else(|| no_header(DOING, endpoint))?;
    let listing = match agreed {
        Ok(()) => Listing::Agreed,
        Err(_) => Listing::Remembered { by: endpoint.host().clone() },
    };
    Ok(Listed {
        list: MemberList {
            cluster: ClusterId(header.cluster_id()),
            listing,
            members: response.members().iter().map(member).collect(),
        },
        progress: (header.raft_term(), header.revision()),
    })
}

/// A read that a majority has to stand behind.
async fn read(endpoint: &Endpoint) -> Result<(), EtcdError> {
    let call = |mut client: Client| async move { client.get(ANY_KEY, None).await };
    endpoint.ask("read through a majority", ANSWER, call).await.map(|_| ())
}

/// All that one endpoint tells.
async fn ask(endpoint: &Endpoint, clock: &dyn Clock) -> Result<Said, EtcdError> {
    const DOING: &str = "ask a member how it is";
    let status = endpoint.ask(DOING, ANSWER, |mut client: Client| async move { client.status().await }).await?;
    let at = clock.now();
    let header = status.header().ok_or_else(|| no_header(DOING, endpoint))?;
    let read_failed = read(endpoint).await.err().map(|error| error.said);
    // After the read, so that its list is at least as new.
    let listed = list_only(endpoint).await;
    let known = |bytes: i64| u64::try_from(bytes).unwrap_or_default();
    let answer = Answer {
        at,
        cluster: ClusterId(header.cluster_id()),
        leader: (status.leader() != 0).then_some(MemberId(status.leader())),
        term: status.raft_term(),
        revision: header.revision(),
        raft_index: status.raft_index(),
        applied_index: status.raft_applied_index(),
        db_bytes: known(status.db_size()),
        db_used_bytes: known(status.raft_used_db_size()),
        quota_bytes: (status.db_size_quota() > 0).then(|| known(status.db_size_quota())),
        version: status.version().to_owned(),
        learner: status.is_learner(),
        read_failed,
        errors: status.errors().to_vec(),
    };
    let alarms = status.errors().iter().filter_map(|text| alarm_in(text)).collect();
    Ok(Said { id: MemberId(header.member_id()), answer, alarms, members: listed })
}

async fn list_only(endpoint: &Endpoint) -> Option<Vec<Member>> {
    let call = |mut client: Client| async move { client.member_list().await };
    let response = endpoint.ask("list members", ANSWER, call).await.ok()?;
    Some(response.members().iter().map(member).collect())
}

fn no_header(doing: &str, endpoint: &Endpoint) -> EtcdError {
    EtcdError::new(EtcdFault::Server, doing, "it answered without saying who it is").at(endpoint.host())
}

fn member(member: &etcd_client::Member) -> Member {
    Member {
        id: MemberId(member.id()),
        name: member.name().to_owned(),
        peer_urls: member.peer_urls().to_vec(),
        client_urls: member.client_urls().to_vec(),
        learner: member.is_learner(),
    }
}

fn kind(alarm: AlarmType) -> AlarmKind {
    match alarm {
        AlarmType::Nospace => AlarmKind::NoSpace,
        AlarmType::Corrupt => AlarmKind::Corrupt,
        other => AlarmKind::Other(other as i32),
    }
}

fn raised(member: u64, kind: AlarmKind) -> Alarm {
    Alarm { member: (member != 0).then_some(MemberId(member)), kind }
}

/// An alarm among a member's complaints: `memberID:10276657743932975437 alarm:NOSPACE`, protobuf's own text, with one space or
/// two. A member tells these by itself, while the list of alarms needs a majority.
fn alarm_in(complaint: &str) -> Option<Alarm> {
    let value = |name: &str| complaint.split_whitespace().find_map(|word| word.strip_prefix(name));
    let kind = match value("alarm:")? {
        "NOSPACE" => AlarmKind::NoSpace,
        "CORRUPT" => AlarmKind::Corrupt,
        other => AlarmKind::Other(other.parse().unwrap_or(-1)),
    };
    // A member 0 is left out of the text.
    Some(raised(value("memberID:").and_then(|id| id.parse().ok()).unwrap_or_default(), kind))
}

/// Puts together what the endpoints said.
fn together(said: Vec<(&Place, Result<Said, EtcdError>)>) -> Result<EtcdFacts, EtcdError> {
    let answered = || said.iter().filter_map(|(place, said)| said.as_ref().ok().map(|said| (*place, said)));
    let listed = answered().filter_map(|(place, said)| said.members.as_ref().map(|members| (place, said, members)));
    // Whoever read through a majority, then whoever has come furthest.
    let best = listed
        .max_by_key(|(_, said, _)| (said.answer.read_failed.is_none(), said.answer.term, said.answer.applied_index));
    let Some((place, teller, members)) = best else {
        let failures: Vec<EtcdError> = said.into_iter().filter_map(|(_, said)| said.err()).collect();
        return Err(nobody_answers(&failures));
    };
    let listing = match teller.answer.read_failed {
        None => Listing::Agreed,
        Some(_) => Listing::Remembered { by: place.host.clone() },
    };
    let mut facts = EtcdFacts {
        cluster: teller.answer.cluster,
        listing,
        members: members.clone(),
        sights: BTreeMap::new(),
        hosts: BTreeMap::new(),
        alarms: answered().flat_map(|(_, said)| said.alarms.clone()).collect(),
        elsewhere: BTreeMap::new(),
    };
    facts.members.sort_by_key(|member| member.id);
    facts.alarms.sort();
    facts.alarms.dedup();
    for (place, said) in said {
        file(&mut facts, place, said);
    }
    for member in &facts.members {
        let why = || "no host of ours is known to have it".to_owned();
        facts.sights.entry(member.id).or_insert_with(|| Sight::Unseen { why: why() });
    }
    Ok(facts)
}

/// Files what was seen at a place under the member that lives there.
fn file(facts: &mut EtcdFacts, place: &Place, said: Result<Said, EtcdError>) {
    let (id, sight) = match said {
        Ok(said) => (facts.member(said.id).map(|member| member.id), Sight::Answers(Box::new(said.answer))),
        Err(error) => (expected_at(facts, place), unanswered(&error)),
    };
    match id {
        // Two places that lead to the same member, or a name that the member found elsewhere bears: an answer is better.
        Some(id) if matches!(facts.sights.get(&id), Some(Sight::Answers(_))) => {}
        Some(id) => {
            facts.sights.insert(id, sight);
            facts.hosts.insert(id, place.host.clone());
        }
        None => {
            facts.elsewhere.insert(place.host.clone(), sight);
        }
    }
}

/// The member that should be at a place that gave no answer: by its peer address, else by its name.
fn expected_at(facts: &EtcdFacts, place: &Place) -> Option<MemberId> {
    let at = |member: &&Member| member.peer_urls.iter().any(|url| address_of(url) == Some(place.peer));
    let named = |member: &&Member| member.name == place.host.as_str();
    facts.members.iter().find(at).or_else(|| facts.members.iter().find(named)).map(|member| member.id)
}

/// The address in `https://10.0.0.1:2380` or `https://[fd00::1]:2380`; none where it is a name.
pub(super) fn address_of(url: &str) -> Option<std::net::IpAddr> {
    let host = url.parse::<http::Uri>().ok()?.host()?.trim_matches(['[', ']']).parse().ok()?;
    Some(host)
}

/// What a failure says of the member: only a host that answers and has nothing listening proves that it does not run.
fn unanswered(error: &EtcdError) -> Sight {
    let why = error.said.clone();
    match error.fault {
        EtcdFault::Connection(ConnectionFault::Refused) => Sight::Down { why },
        EtcdFault::Connection(ConnectionFault::Unreachable) | EtcdFault::Invalid => Sight::Unseen { why },
        _ => Sight::Silent { why },
    }
}

/// No endpoint helped: the fault that leaves most hope, with what was seen of each.
pub(super) fn nobody_answers(failures: &[EtcdError]) -> EtcdError {
    let fault = failures
        .iter()
        .map(|error| match error.fault {
            EtcdFault::Connection(fault) => (Some(fault), error.fault),
            other => (None, other),
        })
        .min_by_key(|(fault, _)| *fault)
        .map_or(EtcdFault::Connection(ConnectionFault::Unreachable), |(_, fault)| fault);
    let seen = failures.iter().map(|error| match &error.host {
        Some(host) => format!("{host}: {}", error.said),
        None => error.said.clone(),
    });
    EtcdError::new(fault, "ask etcd", seen.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn place(number: u8) -> Place {
        Place {
            host: format!("cp{number}").as_str().into(),
            client: ([127, 0, 0, 1], 2379).into(),
            peer: [10, 0, 0, number].into(),
        }
    }

    fn list() -> Vec<Member> {
        let member = |number: u64| Member {
            id: MemberId(number),
            name: format!("m{number}"),
            peer_urls: vec![format!("https://10.0.0.{number}:2380")],
            client_urls: Vec::new(),
            learner: false,
        };
        vec![member(3), member(2), member(1)]
    }

    fn said(id: u64, term: u64, read_failed: Option<&str>, errors: &[&str]) -> Result<Said, EtcdError> {
        let answer = Answer {
            at: Timestamp::UNIX_EPOCH,
            cluster: ClusterId(7),
            leader: Some(MemberId(1)),
            term,
            revision: 1,
            raft_index: 10,
            applied_index: 10,
            db_bytes: 1,
            db_used_bytes: 1,
            quota_bytes: None,
            version: "3.6.6".to_owned(),
            learner: false,
            read_failed: read_failed.map(str::to_owned),
            errors: errors.iter().map(|text| (*text).to_owned()).collect(),
        };
        let alarms = errors.iter().filter_map(|text| alarm_in(text)).collect();
        Ok(Said { id: MemberId(id), answer, alarms, members: Some(list()) })
    }

    fn failed(fault: ConnectionFault) -> Result<Said, EtcdError> {
        Err(EtcdError::new(EtcdFault::Connection(fault), "ask", "seen"))
    }

    #[test]
    fn a_failure_is_filed_under_the_member_that_should_be_there() {
        let places = [1, 2, 3, 4].map(place);
        let said = [
            said(1, 5, None, &["etcdserver: no space"]),
            failed(ConnectionFault::Refused),
            failed(ConnectionFault::Timeout),
            failed(ConnectionFault::Unreachable),
        ];
        let facts = together(places.iter().zip(said).collect()).unwrap();
        assert_eq!(facts.listing, Listing::Agreed);
        assert_eq!(facts.members.iter().map(|member| member.id.0).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(matches!(facts.sights[&MemberId(1)], Sight::Answers(_)));
        assert!(matches!(facts.sights[&MemberId(2)], Sight::Down { .. }));
        assert!(matches!(facts.sights[&MemberId(3)], Sight::Silent { .. }));
        assert_eq!(facts.hosts[&MemberId(3)], "cp3".into());
        assert!(matches!(facts.elsewhere["cp4"], Sight::Unseen { .. }));
    }

    #[test]
    fn a_member_without_a_host_of_ours_is_unseen_and_a_removed_one_is_elsewhere() {
        let places = [1, 2].map(place);
        let facts = together(places.iter().zip([said(1, 5, None, &[]), said(9, 5, None, &[])]).collect()).unwrap();
        assert!(matches!(&facts.sights[&MemberId(2)], Sight::Unseen { why } if why.starts_with("no host")));
        assert!(matches!(facts.elsewhere["cp2"], Sight::Answers(_)));
    }

    #[test]
    fn without_a_majority_the_one_that_has_come_furthest_is_believed_and_said_so() {
        let places = [1, 2].map(place);
        let lost = Some("etcdserver: request timed out");
        let facts = together(places.iter().zip([said(1, 5, lost, &[]), said(2, 6, lost, &[])]).collect()).unwrap();
        assert_eq!(facts.listing, Listing::Remembered { by: "cp2".into() });
        let nobody = places.iter().zip([failed(ConnectionFault::Timeout), failed(ConnectionFault::Refused)]).collect();
        let error = together(nobody).unwrap_err();
        assert_eq!(error.fault, EtcdFault::Connection(ConnectionFault::Refused));
        assert_eq!(error.to_string(), "ask etcd: seen; seen");
    }

    #[test]
    fn alarms_are_read_from_what_a_member_complains_of() {
        let places = [1, 2].map(place);
        let complaint = ["memberID:2  alarm:NOSPACE ", "etcdserver: mvcc: database space exceeded"];
        let both = [said(1, 5, None, &complaint), said(2, 5, None, &complaint[..1])];
        let facts = together(places.iter().zip(both).collect()).unwrap();
        assert_eq!(
            facts.alarms,
            [Alarm { member: Some(MemberId(2)), kind: AlarmKind::NoSpace }],
            "told twice, raised once"
        );
        assert_eq!(alarm_in("alarm:CORRUPT"), Some(Alarm { member: None, kind: AlarmKind::Corrupt }));
        assert_eq!(alarm_in("etcdserver: no leader"), None);
    }

    #[test]
    fn addresses_are_read_from_urls() {
        assert_eq!(address_of("https://10.0.0.1:2380"), Some([10, 0, 0, 1].into()));
        assert_eq!(address_of("https://[fd00::1]:2380"), Some("fd00::1".parse().unwrap()));
        assert_eq!(address_of("https://cp1.example:2380"), None);
    }
}
