//! Members of etcd are replaced, added and taken out, one at a time: whoever comes is a learner first, whoever goes does so
//! only where the others bear it, and one that cannot be seen from here is never counted as gone.

use std::collections::BTreeSet;

use super::etcd::EtcdInput;
use super::join::{Members, add_learner, promote, start_member, start_serving};
use super::reset::RESET_SECONDS;
use super::steps::{PROVE_SECONDS, SHORT_SECONDS, same_machine};
use super::story::{Draft, Story};
use super::{Input, Outcome};
use crate::facts::etcd::{EtcdFacts, Member, MemberId};
use crate::facts::{HostFacts, Membership};
use crate::finding::{Finding, Severity, Subject};
use crate::guard::{Guard, MemberChange};
use crate::ids::{HostName, StepId};
use crate::intent::{Intent, MemberWork};
use crate::plan::{EtcdStart, FileSet, StepKind, Undo};
use crate::quorum::{Change, Machine, Verdict, View, decide};
use crate::spec::{Host, Role};

/// Where static pods' manifests are.
const MANIFESTS: &str = "/etc/kubernetes/manifests/";

/// Plans it. Of what hosts should have only the files of who gets a member matter.
pub fn change(asked: EtcdInput<'_>, work: &MemberWork) -> Outcome {
    asked.planned("VOTER001", Intent::ChangeEtcd { change: work.clone() }, |story, etcd, findings| match work {
        MemberWork::Replace { host } => renew(story, asked, etcd, host, findings),
        MemberWork::Add { host } => match etcd.member_on(host).filter(|member| member.has_started()) {
            Some(member) => findings.extend(has_one(etcd, host, member)),
            None => renew(story, asked, etcd, host, findings),
        },
        MemberWork::Remove { member } => take_out(story, asked, etcd, member, findings),
    })
}

fn about(host: &HostName, severity: Severity, code: &str, text: impl Into<String>) -> Finding {
    Finding::new(severity, code, Subject::Host(host.clone()), text)
}

/// VOTER008: adding one is not mending one. With a voter that is well there is nothing to do.
fn has_one(etcd: &EtcdFacts, host: &HostName, member: &Member) -> Option<Finding> {
    let view = View::of(etcd);
    let standing = view.standing(member.id)?;
    let how = match (standing.is_well(), member.learner) {
        (true, false) => return None,
        (true, true) => "is a learner still".to_owned(),
        (false, _) => standing.to_string(),
    };
    let finding = about(host, Severity::Blocks, "VOTER008", format!("it has a member already, which {how}"));
    Some(finding.hint(format!("kubewright etcd member replace {host}")))
}

/// The member of a host leaves, if there is one, and a new one comes.
fn renew(story: &mut Story, asked: EtcdInput<'_>, etcd: &EtcdFacts, name: &HostName, findings: &mut Vec<Finding>) {
    let EtcdInput { input, consents } = asked;
    let Some(host) = input.spec.host(name).filter(|host| host.is(Role::Etcd)) else {
        findings.push(about(name, Severity::Blocks, "VOTER003", "the spec names no such host with role etcd"));
        return;
    };
    let seen = match usable(input, host) {
        Ok(seen) => seen,
        Err(finding) => {
            findings.push(*finding);
            return;
        }
    };
    let peer_url = host.etcd_peer_url();
    let old = etcd.member_on(name).or_else(|| etcd.member_at(&peer_url));
    let bears = |gone| MemberChange::Replace { host: name.clone(), peer_url: peer_url.clone(), gone };
    findings.extend(old.and_then(|old| doubtful(etcd, name, old, Leaving::ToComeBack)));
    findings.extend(other_manifests(input, host, seen));
    // Before consent is given, what else is in the way is told all the same.
    findings.extend(unbearable(name, &bears(true), etcd));

    let agreed = consents.contains("VOTER005");
    let aside = StepKind::SetEtcdAside { member: old.map(|old| old.id) };
    let aside = on_part(story.on(name, aside), input, host)
        .guard(Guard::EtcdBears { change: bears(agreed) })
        .undo(Undo::Impossible("its data is kept beside /var/lib/etcd, for people to look at".to_owned()))
        .within(RESET_SECONDS)
        .because("it ends before it leaves, so that nobody has to believe that it is gone; what it held moves aside");
    let mut before = aside;
    if let Some(member) = old.map(|old| old.id) {
        before = story
            .on(name, StepKind::ForgetEtcdMember { member })
            .after([&before])
            .guard(Guard::EtcdBears { change: MemberChange::Forget { member, gone: false } })
            .undo(Undo::Impossible("a member that left comes back as a new one".to_owned()))
            .within(SHORT_SECONDS)
            .because("a member without its data must not come back as itself: it could vote twice");
    }
    let added = add_learner(story, host, [&before]);
    comes_up(story, input, etcd, host, old.map(|old| old.id), &added);
}

/// A learner that was added starts, catches up, gets its vote, and its control plane serves; then all is proved.
fn comes_up(
    story: &mut Story,
    input: Input<'_>,
    etcd: &EtcdFacts,
    host: &Host,
    leaving: Option<MemberId>,
    added: &StepId,
) {
    let mut members = Members::staying(etcd.members.iter().filter(|member| Some(member.id) != leaving));
    members.take_in(host);
    let start = members.start(&token(input));
    let placed = place(story, input, host, FileSet::EtcdManifest, &start, added);
    let up = on_part(story.on(&host.name, StepKind::StartEtcdMember), input, host);
    let up = start_member(up, [&placed]);
    let promoted = promote(story, host, [&up]);
    let mut proved = agree(story, &promoted, &[]);
    // Only those of members that left were let pass.
    if !etcd.alarms.is_empty() {
        proved = take_back(story, None, &proved);
    }
    let manifests = place(story, input, host, FileSet::StaticPods, &start, &proved);
    let serving = on_part(story.on(&host.name, StepKind::StartControlPlane), input, host);
    let serving = start_serving(serving, [&manifests]);
    story
        .in_cluster(StepKind::Prove { nodes: vec![host.name.clone()], add_ons: false })
        .after([&serving])
        .within(PROVE_SECONDS)
        .because("nothing is promised that was not seen: its node is Ready");
}

/// The alarms of who has left are taken back: etcd itself keeps them, and with them it writes nothing (`AlarmStore` forgets one by a
/// deactivation alone; etcd-io/etcd#14379).
fn take_back(story: &mut Story, of: Option<MemberId>, after: &StepId) -> StepId {
    story
        .in_cluster(StepKind::DisarmEtcd { of })
        .after([after])
        .within(SHORT_SECONDS)
        .because("whom the alarm is about has left, and contents agree; until it is taken back nothing can be written")
}

fn place(
    story: &mut Story,
    input: Input<'_>,
    host: &Host,
    files: FileSet,
    start: &EtcdStart,
    after: &StepId,
) -> StepId {
    let why = match files {
        FileSet::EtcdManifest => "it starts with the members that there are, as one that joins them, and with no data",
        _ => "the rest of its control plane, now that its etcd can serve it",
    };
    on_part(story.on(&host.name, StepKind::PlaceFiles { files, etcd: start.clone() }), input, host)
        .after([after])
        .within(SHORT_SECONDS)
        .because(why)
}

/// All members are well and hold the same, but for those that are ill already.
fn agree(story: &mut Story, after: &StepId, ill: &[&Member]) -> StepId {
    let who = match ill {
        [] => "all members are well, and hold the same at one revision".to_owned(),
        ill => {
            let names: Vec<String> = ill.iter().map(ToString::to_string).collect();
            let names = names.join(", ");
            format!("all but {names}, not well before, are well and hold the same at one revision")
        }
    };
    story
        .in_cluster(StepKind::ProveEtcd { not_waited_for: ill.iter().map(|member| member.id).collect() })
        .after([after])
        .within(PROVE_SECONDS)
        .because(format!("nothing is promised that was not seen: {who}"))
}

/// The guards of steps on a host that is a part of the cluster and stays one.
fn on_part<'a>(draft: Draft<'a>, input: Input<'_>, host: &Host) -> Draft<'a> {
    let guard = Guard::OfCluster { host: host.name.clone(), cluster: input.spec.name.clone() };
    same_machine(draft, input, host).guard(guard)
}

/// The token that the cluster's etcd was made with, as manifests of its members say.
fn token(input: Input<'_>) -> String {
    let mut tokens = input.facts.hosts.values().filter_map(|host| host.known()?.etcd_token.known());
    tokens.next().cloned().unwrap_or_default()
}

/// What was seen of a host that a member can be brought to; VOTER004 for any other.
fn usable<'f>(input: Input<'f>, host: &Host) -> Result<&'f HostFacts, Box<Finding>> {
    let name = &host.name;
    let (why, hint) = match input.facts.membership(name, &input.spec.name) {
        Membership::Part(_) => match input.facts.host(name) {
            Some(seen) => return Ok(seen),
            None => ("nobody asked it".to_owned(), "the same command again".to_owned()),
        },
        Membership::Silent(why) => (
            format!("it cannot be asked, so nothing can be brought to it: {why}"),
            format!("a member whose machine is gone for good leaves with:  kubewright etcd member remove {name}"),
        ),
        Membership::Bare => (
            "it was installed anew and is no part of the cluster".to_owned(),
            format!("kubewright node add {name} replaces its member, too"),
        ),
        Membership::Claimed(record) => {
            (format!("operation {} has not finished with it", record.operation), "kubewright ops resume".to_owned())
        }
        Membership::OfAnother(record) => (
            format!("it belongs to the cluster {}", record.cluster),
            "look which machine answers at its address".to_owned(),
        ),
        Membership::Unclear(why) => {
            (format!("whose it is cannot be read: {why}"), "look which machine answers at its address".to_owned())
        }
        Membership::Foreign => (
            "it holds a Kubernetes or an etcd that no operation of ours made".to_owned(),
            "look which machine answers at its address".to_owned(),
        ),
    };
    Err(Box::new(about(name, Severity::Blocks, "VOTER004", why).hint(hint)))
}

/// Whether a member that leaves is to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaving {
    ForGood,
    ToComeBack,
}

/// VOTER005: slow is not dead. VOTER006: nothing seems to be wrong with it.
fn doubtful(etcd: &EtcdFacts, name: &HostName, member: &Member, leaving: Leaving) -> Option<Finding> {
    let view = View::of(etcd);
    let standing = view.standing(member.id)?;
    if standing.is_unknown() {
        let text = format!("{member} {standing}: it may be alive. {}", what_may_be_lost(etcd, member));
        let hint = match leaving {
            Leaving::ForGood => {
                "agree only if its machine is off for good; what it alone confirmed to nobody goes with it"
            }
            Leaving::ToComeBack => "agree only if it has to be replaced; it is ended on its host first",
        };
        return Some(about(name, Severity::NeedsConsent, "VOTER005", text).hint(hint));
    }
    let text = format!("{member} is well, as far as can be told: a new one would get what it has");
    let hint = "agree where kubewright etcd status says that its contents differ, or its disk is to go";
    let needless = leaving == Leaving::ToComeBack && standing.is_well() && !member.learner;
    needless.then(|| about(name, Severity::NeedsConsent, "VOTER006", text).hint(hint))
}

/// How the cluster stands without it.
fn what_may_be_lost(etcd: &EtcdFacts, member: &Member) -> String {
    let change = Change::Remove { member: member.id, machine: Machine::DeclaredGone };
    match decide(etcd, &change) {
        Verdict::Safe(outlook) => format!(
            "Without it {} of {} voters are well, and {} may be lost",
            outlook.well, outlook.voters, outlook.may_lose
        ),
        Verdict::Unsafe { .. } => "etcd cannot do without it now".to_owned(),
    }
}

/// VOTER002: etcd does not bear it now.
fn unbearable(host: &HostName, change: &MemberChange, etcd: &EtcdFacts) -> Option<Finding> {
    Some(about(host, Severity::Blocks, "VOTER002", change.is_borne(etcd).err()?))
}

/// VOTER007: its manifests are written anew, which must change nothing but etcd's members in them.
fn other_manifests(input: Input<'_>, host: &Host, seen: &HostFacts) -> Option<Finding> {
    if seen.files.known().is_none() {
        let text = format!("its manifests cannot be read: {}", seen.files.why().unwrap_or("nobody looked"));
        return Some(about(&host.name, Severity::Blocks, "VOTER007", text));
    }
    let own = manifests(input, host, |digest, right| digest.is_some_and(|digest| !right.contains(digest)));
    let hint = "kubewright plan tells what differs; make the spec what runs, or upgrade, then the same command again";
    if !own.is_empty() {
        let text = format!("its {} are not as the spec says, and would be written anew", own.join(", "));
        return Some(about(&host.name, Severity::Blocks, "VOTER007", text).hint(hint));
    }
    let gone = manifests(input, host, |digest, _| digest.is_none());
    if gone.is_empty() {
        return None;
    }
    // What they said can only be told from the others.
    let others = input.facts.control_planes(input.spec).into_iter().filter(|other| other.name != host.name);
    others.into_iter().find_map(|other| {
        let differ = manifests(input, other, |digest, right| digest.is_some_and(|digest| !right.contains(digest)));
        let text = format!(
            "its {} are gone, and {} of {} are not as the spec says: they would be written as the spec has become",
            gone.join(", "),
            differ.join(", "),
            other.name
        );
        (!differ.is_empty()).then(|| about(&host.name, Severity::Blocks, "VOTER007", text).hint(hint))
    })
}

/// Manifests of a host that `wanted` picks by the digest it has, if any, and those that are right.
fn manifests<'d>(input: Input<'d>, host: &Host, wanted: impl Fn(Option<&String>, &[String]) -> bool) -> Vec<&'d str> {
    let has = |path: &String| input.facts.host(&host.name).and_then(|seen| seen.files.known()?.get(path));
    let desired = input.desired.hosts.get(&host.name).into_iter().flat_map(|desired| &desired.files);
    let picked = desired.filter(|(path, file)| path.starts_with(MANIFESTS) && wanted(has(path), &file.digests));
    picked.map(|(path, _)| path.trim_start_matches(MANIFESTS)).collect()
}

/// A member leaves for good, or until somebody adds one again.
fn take_out(story: &mut Story, asked: EtcdInput<'_>, etcd: &EtcdFacts, named: &str, findings: &mut Vec<Finding>) {
    let EtcdInput { input, consents } = asked;
    let Some(member) = member_named(etcd, named) else {
        clear_up(story, input, etcd, named, findings);
        return;
    };
    let home = home_of(input, etcd, member);
    let name = home.map_or_else(|| HostName::new(member.to_string()), |host| host.name.clone());
    let ill: Vec<&Member> = View::of(etcd).ill().map(|(ill, _)| ill).filter(|ill| ill.id != member.id).collect();
    let change = |gone| MemberChange::Forget { member: member.id, gone };
    findings.extend(doubtful(etcd, &name, member, Leaving::ForGood));
    findings.extend(unbearable(&name, &change(true), etcd));
    let lives = home.filter(|host| input.facts.is_part(&host.name, input.spec));
    findings.extend(lives.filter(|_| !member.learner).map(loses_its_etcd));
    findings.extend(home.map(comes_back));
    findings.extend(ill.iter().map(|ill| left_ill(etcd, ill)));

    let agreed = consents.contains("VOTER005");
    let leave = StepKind::ForgetEtcdMember { member: member.id };
    let draft = match home {
        Some(host) => story.on(&host.name, leave),
        None => story.in_cluster(leave),
    };
    let mut before = draft
        .guard(Guard::EtcdBears { change: change(agreed) })
        .undo(Undo::Impossible("a member that left comes back as a new one".to_owned()))
        .within(SHORT_SECONDS)
        .because("a member that is off the list holds no place in any majority; leadership moves away before");
    if let Some(host) = lives {
        before = set_aside(story, input, host, &[before]);
    }
    let proved = agree(story, &before, &ill);
    if etcd.alarms.iter().any(|alarm| alarm.member == Some(member.id)) {
        take_back(story, Some(member.id), &proved);
    }
}

/// What a removal left that was given up in between: the member is off the list, its etcd and the control plane beside it start again
/// and again on its host, an alarm is about it.
fn clear_up(story: &mut Story, input: Input<'_>, etcd: &EtcdFacts, named: &str, findings: &mut Vec<Finding>) {
    let home = input.spec.host(&HostName::new(named)).filter(|host| host.is(Role::Etcd));
    let home = home.filter(|host| etcd.member_at(&host.etcd_peer_url()).is_none());
    let Some((host, seen)) = home
        .filter(|host| input.facts.is_part(&host.name, input.spec))
        .and_then(|host| Some((host, input.facts.host(&host.name)?)))
    else {
        let text = format!("etcd has no member {named}");
        let finding = Finding::new(Severity::Blocks, "VOTER003", Subject::Cluster, text);
        findings.push(finding.hint("kubewright etcd status lists the members, their hosts and identities"));
        return;
    };
    findings.push(comes_back(host));
    let starts = seen.files.known().is_none_or(|files| files.contains_key(&format!("{MANIFESTS}etcd.yaml")));
    if !starts && !seen.may_hold_etcd_data() {
        return;
    }
    let text =
        "it has left etcd already; what is there of its etcd and of the control plane beside it ends and moves aside";
    findings.push(about(&host.name, Severity::Info, "VOTER012", text));
    let ill: Vec<&Member> = View::of(etcd).ill().map(|(ill, _)| ill).collect();
    findings.extend(ill.iter().map(|ill| left_ill(etcd, ill)));
    let aside = set_aside(story, input, host, &[]);
    let mut last = agree(story, &aside, &ill);
    let gone = etcd.alarms.iter().filter_map(|alarm| alarm.member).filter(|id| etcd.member(*id).is_none());
    for member in gone.collect::<BTreeSet<_>>() {
        last = take_back(story, Some(member), &last);
    }
}

/// The etcd of who is no member any more ends on its host.
fn set_aside(story: &mut Story, input: Input<'_>, host: &Host, after: &[StepId]) -> StepId {
    on_part(story.on(&host.name, StepKind::SetEtcdAside { member: None }), input, host)
        .after(after)
        .undo(Undo::Impossible("its data is kept beside /var/lib/etcd".to_owned()))
        .within(RESET_SECONDS)
        .because("an etcd that is no member ends again and again, and an API server beside it with it")
}

/// The member on the host of this name, or with this identity, or of this name.
fn member_named<'e>(etcd: &'e EtcdFacts, named: &str) -> Option<&'e Member> {
    let by_id = || u64::from_str_radix(named, 16).ok().and_then(|id| etcd.member(MemberId(id)));
    etcd.member_on(&HostName::new(named)).or_else(by_id)
}

/// The host of the spec that a member lives on.
fn home_of<'s>(input: Input<'s>, etcd: &EtcdFacts, member: &Member) -> Option<&'s Host> {
    let is_home = |host: &&Host| etcd.member_on(&host.name).is_some_and(|found| found.id == member.id);
    input.spec.with_role(Role::Etcd).find(is_home)
}

/// VOTER009: it is more than a member.
fn loses_its_etcd(host: &Host) -> Finding {
    let name = &host.name;
    let text = "its API server and, with it, its kubelet lose their etcd: the node turns NotReady, and after five minutes its pods are moved away";
    let hint = format!(
        "a member that is to be renewed:  kubewright etcd member replace {name}; a node that is to go:  kubewright node remove {name}"
    );
    about(name, Severity::NeedsConsent, "VOTER009", text).hint(hint)
}

/// VOTER011: the removal of one mends no other.
fn left_ill(etcd: &EtcdFacts, member: &Member) -> Finding {
    let standing = View::of(etcd).standing(member.id).map(ToString::to_string).unwrap_or_default();
    let (subject, place) = match etcd.hosts.get(&member.id) {
        Some(host) => (Subject::Host(host.clone()), host.to_string()),
        None => (Subject::Cluster, member.id.to_string()),
    };
    let text = format!("{member} {standing}: it is left as it is, and not waited for in the end");
    let hint = format!("afterwards:  kubewright etcd member replace {place}, or remove {place}");
    Finding::new(Severity::Warns, "VOTER011", subject, text).hint(hint)
}

/// VOTER010.
fn comes_back(host: &Host) -> Finding {
    let text = "it stands in the spec as a host with etcd and will have no member";
    about(&host.name, Severity::Info, "VOTER010", text)
        .hint(format!("kubewright etcd member add {} brings one back", host.name))
}
