//! What each change needs. Every rule says all that is in the way, so that a person mends it in one go.

use super::standing::{Standing, View};
use super::{Change, Machine, Obstacle, Outlook, Reason, has_quorum, majority};
use crate::facts::etcd::{AlarmKind, Member, MemberId};

/// Of the leader's log, the part that a learner must have before etcd gives it a vote (`readyPercentThreshold`, 0.9), in
/// tenths.
const CAUGHT_UP_TENTHS: u64 = 9;

/// Learners that etcd lets be at a time (`--max-learners`). One is its default, and one at a time is all we need.
const LEARNERS: usize = 1;

type Obstacles = Vec<Obstacle>;

/// How the cluster stands afterwards, or what is in the way, the weightiest first.
pub(super) fn judge(view: &View<'_>, change: &Change) -> Result<Outlook, Obstacles> {
    let mut found = decides(view);
    let outlook = if found.is_empty() { judge_decided(view, change, &mut found) } else { Outlook::of(view) };
    if found.is_empty() {
        return Ok(outlook);
    }
    found.sort_by_key(|obstacle| obstacle.reason);
    Err(found)
}

/// The rules of each change, for a cluster that decides and whose list is sure.
fn judge_decided(view: &View<'_>, change: &Change, found: &mut Obstacles) -> Outlook {
    match change {
        Change::Stop { member } => stop(view, *member, found),
        Change::AddLearner { peer_urls } => add(view, peer_urls, found),
        Change::Promote { member } => promote(view, *member, found),
        Change::Remove { member, machine } => remove(view, *member, *machine, found),
        Change::Replace { member, machine, peer_urls } => {
            if view.members.contains_key(member) {
                remove(view, *member, *machine, found);
                ends_first(view, *member, found);
            }
            add(&view.without(*member), peer_urls, found)
        }
        Change::MoveLeader { to } => move_leader(view, *to, found),
    }
}

impl Outlook {
    /// The cluster as it is.
    fn of(view: &View<'_>) -> Self {
        Self::with(view.voters(), view.well())
    }

    fn with(voters: usize, well: usize) -> Self {
        Self { done: false, voters, well, may_lose: well.saturating_sub(majority(voters)) }
    }

    fn done(view: &View<'_>) -> Self {
        Self { done: true, ..Self::of(view) }
    }
}

/// Whether the cluster can decide on anything: no change of members is made, and none is safe, without a majority that is
/// known to be well and a list that this majority stands behind.
fn decides(view: &View<'_>) -> Obstacles {
    let mut found = Vec::new();
    if !view.has_quorum() {
        let (well, voters) = (view.well(), view.voters());
        let text = format!("{well} of {voters} voters are known to be well, {} are needed", majority(voters));
        let sick: Vec<String> = view.sick_voters().map(|(member, standing)| format!("{member} {standing}")).collect();
        let hint = match sick.as_slice() {
            [] => "there is nobody to mend: look for the members on their machines".to_owned(),
            sick => format!("mend first: {}", sick.join("; ")),
        };
        found.push(Obstacle::new(Reason::NoQuorum, text, hint));
    }
    if let Some(by) = &view.remembered_by {
        let text = format!("the list of members is what the one on {by} remembers; no majority confirmed it");
        found.push(Obstacle::new(Reason::ListUncertain, text, "bring a majority back, then ask again"));
    }
    found
}

/// Stopping a member that is well needs everybody else in order, for it can wait; one that is ill may be stopped to mend it
/// as long as the others decide without it.
fn stop(view: &View<'_>, id: MemberId, found: &mut Obstacles) -> Outlook {
    let Some((member, standing)) = known(view, id, found) else { return Outlook::of(view) };
    if member.learner {
        return Outlook::of(view);
    }
    let left = view.well() - usize::from(standing.is_well());
    if view.voters() == 1 {
        found.push(last_voter(member, "while it is away nothing is decided, and no API server answers"));
    } else if !has_quorum(view.voters(), left) {
        found.push(loses_quorum(view, member, view.voters(), left));
    }
    leads(view, member, found);
    if standing.is_well() {
        others_not_well(view, Some(id), found);
        for learner in view.members.values().filter(|member| member.learner) {
            found.push(learner_in_the_way(learner));
        }
        alarms(view, Cure::None, found);
    }
    Outlook::with(view.voters(), left)
}

/// A member that is replaced ends before it leaves the list, and the others must decide on its leaving: of two voters one
/// cannot.
fn ends_first(view: &View<'_>, id: MemberId, found: &mut Obstacles) {
    let Some(member) = view.members.get(&id).filter(|member| !member.learner && view.voters() > 1) else { return };
    let left = view.well() - usize::from(view.standing(id).is_some_and(Standing::is_well));
    if !has_quorum(view.voters(), left) {
        found.push(loses_quorum(view, member, view.voters(), left));
    }
}

/// etcd adds nobody while a voter is away: from 3.5.30 and 3.6.11 on it is content with a majority, which we are not, for the
/// learner is to be a voter soon and raises what is needed.
fn add(view: &View<'_>, peer_urls: &[String], found: &mut Obstacles) -> Outlook {
    let owner = |url: &String| view.members.values().find(|member| member.peer_urls.contains(url)).copied();
    let owners: Vec<&Member> = peer_urls.iter().filter_map(owner).collect();
    let added = |member: &&Member| member.learner && !member.has_started() && member.peer_urls == peer_urls;
    if owners.first().is_some_and(added) {
        return Outlook::done(view);
    }
    for member in owners {
        let text = format!("a peer URL of the new member belongs to {member}");
        let hint = "remove that member first, or take another address";
        found.push(Obstacle::new(Reason::PeerUrl, text, hint).about(member.id));
    }
    if peer_urls.is_empty() {
        let hint = "give the address at which the others will reach it";
        found.push(Obstacle::new(Reason::PeerUrl, "the new member has no peer URL", hint));
    }
    let learners: Vec<&Member> = view.members.values().filter(|member| member.learner).copied().collect();
    if learners.len() >= LEARNERS {
        found.extend(learners.into_iter().map(learner_in_the_way));
    }
    others_not_well(view, None, found);
    alarms(view, Cure::Renewal, found);
    versions(view, found);
    Outlook::of(view)
}

/// A vote is given to who has caught up, is well, and leaves a majority of the larger cluster well.
fn promote(view: &View<'_>, id: MemberId, found: &mut Obstacles) -> Outlook {
    let Some((member, standing)) = known(view, id, found) else { return Outlook::of(view) };
    if !member.learner {
        return Outlook::done(view);
    }
    let about = |reason, text: String, hint: &str| Obstacle::new(reason, text, hint).about(id);
    match standing {
        Standing::Well => {}
        Standing::Unstarted => found.push(about(
            Reason::NeverStarted,
            format!("{member} has never started"),
            "look why etcd does not start on its machine: its log, its certificates, its initial cluster",
        )),
        Standing::Behind(_) => {
            found.push(about(Reason::NotCaughtUp, format!("{member} {standing}"), "let it catch up, then ask again"));
        }
        _ => found.push(about(Reason::NotWell, format!("{member} {standing}"), "mend it, then ask again")),
    }
    if let Some((applied, newest)) = view.progress(id)
        && applied.saturating_mul(10) < newest.saturating_mul(CAUGHT_UP_TENTHS)
        && standing.is_well()
    {
        let text = format!("{member} has {applied} of {newest} entries; etcd gives a vote from nine tenths on");
        found.push(about(Reason::NotCaughtUp, text, "let it catch up, then ask again"));
    }
    let (voters, well) = (view.voters() + 1, view.well() + 1);
    if !has_quorum(voters, well) || view.started_voters() + 1 < majority(voters) {
        found.push(loses_quorum(view, member, voters, well));
    }
    alarms(view, Cure::Renewal, found);
    versions(view, found);
    Outlook::with(voters, well)
}

/// Whoever is removed, those that are well must be a majority before, to decide it, and after, of those that are left.
fn remove(view: &View<'_>, id: MemberId, machine: Machine, found: &mut Obstacles) -> Outlook {
    let Some(member) = view.members.get(&id).copied() else { return Outlook::done(view) };
    let standing = &view.standings[&id];
    if standing.is_unknown() && machine == Machine::AsSeen {
        let text = format!("{member} {standing}; slow or cut off is not dead");
        let hint = "make it reachable; if its machine is gone for good or switched off, say so";
        found.push(Obstacle::new(Reason::Unknown, text, hint).about(id));
    }
    alarms(view, Cure::Removal(id), found);
    if member.learner {
        return Outlook::of(view);
    }
    let (voters, left) = (view.voters() - 1, view.well() - usize::from(standing.is_well()));
    if voters == 0 {
        found.push(last_voter(member, "without it there is no cluster"));
    } else if !has_quorum(voters, left) {
        found.push(loses_quorum(view, member, voters, left));
    }
    leads(view, member, found);
    Outlook::with(voters, left)
}

/// Leadership goes to a voter that is well, and only from a leader that can be asked.
fn move_leader(view: &View<'_>, to: MemberId, found: &mut Obstacles) -> Outlook {
    let Some((member, standing)) = known(view, to, found) else { return Outlook::of(view) };
    let Some(leader) = view.leader().and_then(|leader| view.members.get(&leader)) else { return Outlook::of(view) };
    if leader.id == to {
        return Outlook::done(view);
    }
    if member.learner {
        let text = format!("{member} is a learner and cannot lead");
        found.push(Obstacle::new(Reason::HasNoVote, text, "name a voter that is well").about(to));
    } else if !standing.is_well() {
        let text = format!("{member} {standing}");
        found.push(Obstacle::new(Reason::NotWell, text, "name a voter that is well").about(to));
    }
    let standing = &view.standings[&leader.id];
    if standing.is_unknown() {
        let text = format!("{leader} leads and {standing}; nobody else can hand leadership over");
        found.push(Obstacle::new(Reason::Unknown, text, "make it reachable").about(leader.id));
    }
    Outlook::of(view)
}

fn known<'v, 'a>(view: &'v View<'a>, id: MemberId, found: &mut Obstacles) -> Option<(&'a Member, &'v Standing)> {
    let Some(member) = view.members.get(&id) else {
        let text = format!("no member has the identity {id}");
        found.push(Obstacle::new(Reason::NoSuchMember, text, "look at the list of members again").about(id));
        return None;
    };
    Some((member, &view.standings[&id]))
}

fn last_voter(member: &Member, consequence: &str) -> Obstacle {
    let text = format!("{member} is the only voter: {consequence}");
    Obstacle::new(Reason::LastVoter, text, "add a second member first, or accept the outage").about(member.id)
}

fn loses_quorum(view: &View<'_>, member: &Member, voters: usize, left: usize) -> Obstacle {
    let text = format!("{left} of {voters} voters would be known to be well, {} are needed", majority(voters));
    let others = view.sick_voters().filter(|(other, _)| other.id != member.id);
    let sick: Vec<String> = others.map(|(other, standing)| format!("{other} {standing}")).collect();
    let hint = match sick.as_slice() {
        [] => "add another member first".to_owned(),
        sick => format!("mend first: {}", sick.join("; ")),
    };
    Obstacle::new(Reason::LosesQuorum, text, hint).about(member.id)
}

/// The leader is neither stopped nor removed while another could lead: an election costs every client about a second, a hand-over
/// a tenth of one.
fn leads(view: &View<'_>, member: &Member, found: &mut Obstacles) {
    if view.leader() != Some(member.id) {
        return;
    }
    let Some(successor) = view.successor(member.id) else { return };
    let standing = &view.standings[&member.id];
    let (text, hint) = if standing.is_unknown() {
        (format!("the others follow {member}, which {standing}: it is alive"), "make it reachable".to_owned())
    } else {
        (format!("{member} leads"), format!("move leadership to {successor} first"))
    };
    let mut obstacle = Obstacle::new(Reason::Leads, text, hint).about(member.id);
    obstacle.move_leader_to = Some(successor.id);
    found.push(obstacle);
}

fn others_not_well(view: &View<'_>, but: Option<MemberId>, found: &mut Obstacles) {
    for (member, standing) in view.sick_voters().filter(|(member, _)| Some(member.id) != but) {
        let text = format!("{member} {standing}");
        found.push(Obstacle::new(Reason::AnotherIsNotWell, text, "mend, replace or remove it first").about(member.id));
    }
}

fn learner_in_the_way(learner: &Member) -> Obstacle {
    let text = format!("{learner} is a learner still");
    Obstacle::new(Reason::LearnerInTheWay, text, "promote or remove it first").about(learner.id)
}

/// What a change does about an alarm of corruption.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cure {
    /// Nothing.
    None,
    /// It takes this member out.
    Removal(MemberId),
    /// It brings a member that gets its contents from those that are left.
    Renewal,
}

/// Alarms that speak against a change. A corrupt member may be removed, and another may come in its stead: that is the cure. etcd keeps
/// the alarm of who has left until somebody takes it back.
fn alarms(view: &View<'_>, cure: Cure, found: &mut Obstacles) {
    for alarm in &view.alarms {
        let whose = alarm.member.map_or("somebody".to_owned(), |id| match view.members.get(&id) {
            Some(member) => member.to_string(),
            None => format!("{id}, which is no member"),
        });
        let has_left = alarm.member.is_some_and(|id| !view.members.contains_key(&id));
        let hint = match &alarm.kind {
            // A full database hinders no removal.
            AlarmKind::NoSpace if matches!(cure, Cure::Removal(_)) => continue,
            AlarmKind::NoSpace => "compact, defragment the members one after the other, then disarm the alarm",
            AlarmKind::Corrupt if alarm.member.is_some_and(|id| cure == Cure::Removal(id)) => continue,
            AlarmKind::Corrupt if has_left && cure == Cure::Renewal => continue,
            AlarmKind::Corrupt if has_left => "disarm the alarm: who it is about has left",
            AlarmKind::Corrupt if alarm.member.is_some() => "replace that member, then disarm the alarm",
            AlarmKind::Corrupt => "find it by comparing hashes at one revision, replace it, then disarm the alarm",
            AlarmKind::Other(_) => "find out what it means, then disarm it",
        };
        let mut obstacle = Obstacle::new(Reason::Alarm, format!("alarm {} is raised for {whose}", alarm.kind), hint);
        obstacle.member = alarm.member;
        found.push(obstacle);
    }
}

fn versions(view: &View<'_>, found: &mut Obstacles) {
    if let Some((oldest, newest)) = view.too_far_apart() {
        let text = format!("members run etcd {}.{} and {}.{}", oldest.0, oldest.1, newest.0, newest.1);
        found.push(Obstacle::new(Reason::MixedVersions, text, "upgrade one minor at a time, all members each time"));
    }
}
