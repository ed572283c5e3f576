//! Work on etcd that changes none of its members: who leads, what databases hold without need, alarms. One member after the other, the
//! leader last.

use std::collections::BTreeSet;

use super::steps::{SHORT_SECONDS, START_SECONDS};
use super::story::Story;
use super::{Input, Outcome};
use crate::facts::Fact;
use crate::facts::etcd::{AlarmKind, Answer, EtcdFacts, Member, Sight};
use crate::finding::{Finding, Severity, Subject};
use crate::guard::{Guard, MemberChange};
use crate::ids::{HostName, StepId};
use crate::intent::{EtcdWork, Intent};
use crate::plan::{Assumption, StepKind, Undo};
use crate::quorum::View;

/// A database of 8 GiB, etcd's advised limit, on a slow disk: 1.3 GB take 10 s on a fast one.
const DEFRAGMENT_SECONDS: u32 = 900;

/// Work during which a member answers nobody.
struct Pause {
    kind: StepKind,
    seconds: u32,
    /// What nobody can do meanwhile where there are only one or two members.
    standstill: &'static str,
}

const DEFRAGMENT: Pause = Pause {
    kind: StepKind::DefragmentEtcd,
    seconds: DEFRAGMENT_SECONDS,
    standstill: "nothing can be written while a member of so few is defragmented: seconds for each gigabyte",
};

const RESTART: Pause = Pause {
    kind: StepKind::RestartEtcdMember,
    seconds: START_SECONDS,
    standstill: "nothing can be written while a member of so few restarts: a few seconds, and until it is mended if it does not come up",
};

/// Hundredths of its quota that a database may have for its alarm to be worth taking back: it would be raised again at the next write.
const NEARLY_FULL: u64 = 95;

/// Everything that planning for etcd may look at.
#[derive(Clone, Copy, Debug)]
pub struct EtcdInput<'a> {
    /// The spec; facts of its hosts and of etcd.
    pub input: Input<'a>,
    /// Codes of findings that were agreed to.
    pub consents: &'a BTreeSet<String>,
}

impl EtcdInput<'_> {
    /// What a story about etcd comes to. Where nobody could be asked there is none, and a finding of this code says so.
    pub(super) fn planned(
        self,
        silent: &str,
        intent: Intent,
        tell: impl FnOnce(&mut Story, &EtcdFacts, &mut Vec<Finding>),
    ) -> Outcome {
        let why = match &self.input.facts.etcd {
            Fact::Known { value: etcd, .. } => {
                let mut findings = self.input.findings.to_vec();
                let mut story = Story::default();
                tell(&mut story, etcd, &mut findings);
                let assumptions = etcd.assumed().into_iter().map(|(path, value)| Assumption { path, value }).collect();
                return Outcome::of(self.input, intent, assumptions, findings, story);
            }
            Fact::Absent => "nobody asked etcd for its members".to_owned(),
            Fact::Unreadable { why, .. } => format!("etcd cannot be asked: {why}"),
        };
        let finding = Finding::new(Severity::Blocks, silent, Subject::Cluster, why);
        Outcome::Blocked { findings: vec![finding.hint("kubewright etcd status tells how the members are")] }
    }
}

/// Plans it.
pub fn maintain(asked: EtcdInput<'_>, work: &EtcdWork) -> Outcome {
    asked.planned("WORK001", Intent::MaintainEtcd { work: work.clone() }, |story, etcd, findings| {
        findings.extend(match work {
            EtcdWork::MoveLeader { to } => move_leader(story, etcd, to.as_ref()),
            EtcdWork::Defragment { hosts } => one_by_one(story, etcd, hosts, asked.consents, &DEFRAGMENT),
            EtcdWork::Restart { hosts } => one_by_one(story, etcd, hosts, asked.consents, &RESTART),
            EtcdWork::Compact => compact(story, etcd),
            EtcdWork::Disarm => disarm(story, etcd),
        });
    })
}

/// WORK002: etcd does not bear it now.
fn unbearable(host: &HostName, change: &MemberChange, etcd: &EtcdFacts) -> Option<Finding> {
    let why = change.is_borne(etcd).err()?;
    Some(Finding::new(Severity::Blocks, "WORK002", Subject::Host(host.clone()), why))
}

/// WORK003: a host that is named and has no member.
fn no_member(host: &HostName) -> Finding {
    let text = "it has no member of etcd";
    Finding::new(Severity::Blocks, "WORK003", Subject::Host(host.clone()), text)
        .hint("kubewright etcd status lists the members and their hosts")
}

fn move_leader(story: &mut Story, etcd: &EtcdFacts, to: Option<&HostName>) -> Vec<Finding> {
    let view = View::of(etcd);
    let heir = match to {
        Some(host) => match etcd.member_on(host) {
            Some(member) => Some(member),
            None => return vec![no_member(host)],
        },
        None => view.leader().and_then(|leader| view.successor(leader)),
    };
    let Some((heir, host)) = heir.and_then(|member| Some((member, etcd.hosts.get(&member.id)?))) else {
        let text = "nobody leads, or no other member is well enough to";
        return vec![Finding::new(Severity::Blocks, "WORK002", Subject::Cluster, text)];
    };
    if view.leader() == Some(heir.id) {
        return Vec::new();
    }
    let change = MemberChange::Lead { host: host.clone() };
    let findings: Vec<Finding> = unbearable(host, &change, etcd).into_iter().collect();
    story
        .on(host, StepKind::MoveEtcdLeader)
        .guard(Guard::EtcdBears { change })
        .within(SHORT_SECONDS)
        .because("a hand-over costs clients a tenth of a second, an election a whole one");
    findings
}

/// Followers first: what leads is asked last, so that leadership moves once.
fn one_by_one(
    story: &mut Story,
    etcd: &EtcdFacts,
    hosts: &[HostName],
    consents: &BTreeSet<String>,
    pause: &Pause,
) -> Vec<Finding> {
    let view = View::of(etcd);
    let unknown: Vec<Finding> = hosts.iter().filter(|host| etcd.member_on(host).is_none()).map(no_member).collect();
    if !unknown.is_empty() {
        return unknown;
    }
    let place = |member: &Member| etcd.hosts.get(&member.id).cloned();
    let mut order: Vec<(bool, HostName)> = etcd
        .members
        .iter()
        .filter_map(|member| Some((view.leader() == Some(member.id), place(member)?)))
        .filter(|(_, host)| hosts.is_empty() || hosts.contains(host))
        .collect();
    order.sort();
    let standstill = etcd.voters().count() <= 2;
    let mut findings = Vec::new();
    if standstill {
        findings.push(Finding::new(Severity::NeedsConsent, "WORK004", Subject::Cluster, pause.standstill));
    }
    let agreed = standstill && consents.contains("WORK004");
    let mut before: Vec<StepId> = Vec::new();
    for (leads, host) in order {
        // Before consent is given, what else is in the way is told all the same.
        let change = MemberChange::Pause { host: host.clone(), standstill };
        findings.extend(unbearable(&host, &change, etcd));
        let change = MemberChange::Pause { host: host.clone(), standstill: agreed };
        let why = if leads {
            "it leads, so it is the last, and leadership moves away before"
        } else {
            "it answers nobody meanwhile, so one at a time, and the next only once it has caught up"
        };
        before = vec![
            story
                .on(&host, pause.kind.clone())
                .after(&before)
                .guard(Guard::EtcdBears { change })
                .within(pause.seconds)
                .because(why),
        ];
    }
    findings
}

fn compact(story: &mut Story, etcd: &EtcdFacts) -> Vec<Finding> {
    let view = View::of(etcd);
    let newest =
        answers(etcd).filter(|(member, _)| view.standing(member.id).is_some_and(|standing| standing.is_well()));
    let Some(revision) = newest.map(|(_, answer)| answer.revision).max().filter(|_| view.has_quorum()) else {
        let text = "no majority of the members is known to be well";
        return vec![Finding::new(Severity::Blocks, "WORK002", Subject::Cluster, text)];
    };
    story
        .in_cluster(StepKind::CompactEtcd { revision })
        .undo(Undo::Impossible("what is forgotten is only in snapshots".to_owned()))
        .within(SHORT_SECONDS)
        .because("what was overwritten and deleted is forgotten; watches that are far behind begin anew");
    Vec::new()
}

fn disarm(story: &mut Story, etcd: &EtcdFacts) -> Vec<Finding> {
    if etcd.alarms.is_empty() {
        return Vec::new();
    }
    let mut findings: Vec<Finding> =
        answers(etcd).filter_map(|(member, answer)| still_full(etcd, member, answer)).collect();
    if etcd.alarms.iter().any(|alarm| alarm.kind != AlarmKind::NoSpace) {
        let text = "an alarm says that contents differ: taken back, damaged data is served again";
        let hint = "agree only once the damaged member is replaced and kubewright etcd status says that contents agree";
        findings.push(Finding::new(Severity::NeedsConsent, "WORK006", Subject::Cluster, text).hint(hint));
    }
    if !View::of(etcd).has_quorum() {
        let text = "no majority of the members is known to be well";
        findings.push(Finding::new(Severity::Blocks, "WORK002", Subject::Cluster, text));
    }
    story
        .in_cluster(StepKind::DisarmEtcd { of: None })
        .within(SHORT_SECONDS)
        .because("an alarm stays until somebody takes it back, whatever became of its cause");
    findings
}

/// WORK005: the alarm would be back at the next write.
fn still_full(etcd: &EtcdFacts, member: &Member, answer: &Answer) -> Option<Finding> {
    let full = etcd.alarms.iter().any(|alarm| alarm.kind == AlarmKind::NoSpace && alarm.member == Some(member.id));
    let quota = answer.quota_bytes.filter(|quota| full && *quota > 0)?;
    let percent = answer.db_bytes.saturating_mul(100) / quota;
    let text = format!(
        "the database of {member} has {percent} % of its quota still: the alarm would be back at the next write"
    );
    let finding = Finding::new(Severity::Blocks, "WORK005", Subject::Cluster, text);
    (percent >= NEARLY_FULL).then(|| finding.hint("kubewright etcd compact, then kubewright etcd defrag"))
}

fn answers(etcd: &EtcdFacts) -> impl Iterator<Item = (&Member, &Answer)> {
    etcd.members.iter().filter_map(|member| match etcd.sights.get(&member.id) {
        Some(Sight::Answers(answer)) => Some((member, answer.as_ref())),
        _ => None,
    })
}
