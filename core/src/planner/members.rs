//! Members of etcd are replaced, added and taken out, one at a time: whoever comes is a learner first, whoever goes does so
//! only where the others bear it, and one that cannot be seen from here is never counted as gone.

use std::collections::BTreeSet;

use super::join::{Members, add_learner, promote, start_member, start_serving};
use super::reset::RESET_SECONDS;
use super::steps::{PROVE_SECONDS, SHORT_SECONDS, same_machine};
use super::story::{Draft, Story};
use super::{Input, Outcome};
use crate::facts::etcd::{EtcdFacts, Member, MemberId};
use crate::facts::{Fact, HostFacts, Membership};
use crate::finding::{Finding, Severity, Subject, worst};
use crate::guard::{Guard, MemberChange};
use crate::ids::{HostName, StepId};
use crate::intent::{Intent, MemberWork};
use crate::plan::{Assumption, EtcdStart, FORMAT, FileSet, Plan, StepKind, Undo};
use crate::quorum::{Change, Machine, Verdict, View, decide};
use crate::spec::{Host, Role};

/// Where static pods' manifests are.
const MANIFESTS: &str = "/etc/kubernetes/manifests/";

/// Everything that planning such a change may look at.
#[derive(Clone, Copy, Debug)]
pub struct Changing<'a> {
    /// The spec; facts of its hosts and of etcd; of what hosts should have, the files of who gets a member.
    pub input: Input<'a>,
    /// Codes of findings that were agreed to.
    pub consents: &'a BTreeSet<String>,
}

/// Plans it.
pub fn change(changing: Changing<'_>, work: &MemberWork) -> Outcome {
    let Changing { input, .. } = changing;
    let etcd = match &input.facts.etcd {
        Fact::Known { value, .. } => value,
        Fact::Absent => return blocked("nobody asked etcd for its members"),
        Fact::Unreadable { why, .. } => return blocked(&format!("etcd cannot be asked: {why}")),
    };
    let mut findings = input.findings.to_vec();
    let mut story = Story::default();
    match work {
        MemberWork::Replace { host } => renew(&mut story, changing, etcd, host, &mut findings),
        MemberWork::Add { host } => match etcd.member_on(host).filter(|member| member.has_started()) {
            Some(member) => findings.extend(has_one(etcd, host, member)),
            None => renew(&mut story, changing, etcd, host, &mut findings),
        },
        MemberWork::Remove { member } => take_out(&mut story, changing, etcd, member, &mut findings),
    }
    findings.sort();
    findings.dedup();
    if worst(&findings) == Some(Severity::Blocks) {
        return Outcome::Blocked { findings };
    }
    let steps = story.steps();
    if steps.is_empty() {
        return Outcome::Nothing { findings };
    }
    Outcome::checked(Plan {
        format: FORMAT,
        operation: input.identity.operation.clone(),
        tool_version: input.tool_version.to_owned(),
        intent: Intent::ChangeEtcd { change: work.clone() },
        spec: input.spec.clone(),
        keepers: input.facts.keepers(input.spec).into_iter().map(|host| host.name.clone()).collect(),
        assumptions: etcd.assumed().into_iter().map(|(path, value)| Assumption { path, value }).collect(),
        findings,
        steps,
    })
}

fn about(host: &HostName, severity: Severity, code: &str, text: impl Into<String>) -> Finding {
    Finding::new(severity, code, Subject::Host(host.clone()), text)
}

fn blocked(text: &str) -> Outcome {
    let finding = Finding::new(Severity::Blocks, "VOTER001", Subject::Cluster, text);
    Outcome::Blocked { findings: vec![finding.hint("kubewright etcd status tells how the members are")] }
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
fn renew(story: &mut Story, changing: Changing<'_>, etcd: &EtcdFacts, name: &HostName, findings: &mut Vec<Finding>) {
    let Changing { input, consents } = changing;
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
    let mut proved = agree(story, &promoted);
    // Only that of the member that left was let pass.
    if !etcd.alarms.is_empty() {
        proved = story.in_cluster(StepKind::DisarmEtcd).after([&proved]).within(SHORT_SECONDS).because(
            "whom the alarm is about has left, and contents agree; until it is taken back nothing can be written",
        );
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

fn agree(story: &mut Story, after: &StepId) -> StepId {
    story
        .in_cluster(StepKind::ProveEtcd)
        .after([after])
        .within(PROVE_SECONDS)
        .because("nothing is promised that was not seen: all members are well, and hold the same at one revision")
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
fn take_out(story: &mut Story, changing: Changing<'_>, etcd: &EtcdFacts, named: &str, findings: &mut Vec<Finding>) {
    let Changing { input, consents } = changing;
    let Some(member) = member_named(etcd, named) else {
        let text = format!("etcd has no member {named}");
        let finding = Finding::new(Severity::Blocks, "VOTER003", Subject::Cluster, text);
        findings.push(finding.hint("kubewright etcd status lists the members, their hosts and identities"));
        return;
    };
    let home = home_of(input, etcd, member);
    let name = home.map_or_else(|| HostName::new(member.to_string()), |host| host.name.clone());
    let change = |gone| MemberChange::Forget { member: member.id, gone };
    findings.extend(doubtful(etcd, &name, member, Leaving::ForGood));
    findings.extend(unbearable(&name, &change(true), etcd));
    let lives = home.filter(|host| input.facts.is_part(&host.name, input.spec));
    findings.extend(lives.filter(|_| !member.learner).map(loses_its_etcd));
    findings.extend(home.map(comes_back));

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
        before = on_part(story.on(&host.name, StepKind::SetEtcdAside { member: None }), input, host)
            .after([&before])
            .undo(Undo::Impossible("its data is kept beside /var/lib/etcd".to_owned()))
            .within(RESET_SECONDS)
            .because("an etcd that is no member ends again and again, and an API server beside it with it");
    }
    agree(story, &before);
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

/// VOTER010.
fn comes_back(host: &Host) -> Finding {
    let text = "it stands in the spec as a host with etcd and will have no member";
    about(&host.name, Severity::Info, "VOTER010", text)
        .hint(format!("kubewright etcd member add {} brings one back", host.name))
}
