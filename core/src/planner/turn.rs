//! A node's turn: its pods move elsewhere, something is done on it, it is proved back, and the workloads are whole again
//! before the next turn begins. What is done is the story's own that takes the turns.

use std::collections::{BTreeMap, BTreeSet};

use super::Input;
use super::drain::{Choices, foresee, tell_drain};
use super::steps::{SHORT_SECONDS, same_machine};
use super::story::{Draft, Story};
use crate::drain::{Forecast, Name, Permission, Policy, World, no_such_node};
use crate::facts::{Fact, Membership};
use crate::finding::{Finding, Severity, Subject};
use crate::guard::{Guard, MemberChange};
use crate::ids::{HostName, StepId};
use crate::plan::{NO_DEADLINE, StepKind};
use crate::quorum::View;
use crate::spec::{Host, Role, Spec};

/// A kubelet reports its node within seconds of its start; a control plane's waits for etcd, and pods may pull images.
pub(super) const RETURN_SECONDS: u32 = 600;
/// A replacement may pull a large image and replay a long log before it serves.
const WORKLOADS_SECONDS: u32 = 1800;

/// What is known of the nodes whose turns come, and what may be done to their pods.
#[derive(Clone, Copy, Debug)]
pub struct Nodes<'a> {
    /// The spec; facts of its hosts, its cluster and its etcd.
    pub input: Input<'a>,
    /// Whose turn comes, in any order, each with what was seen of its node.
    pub seen: &'a BTreeMap<HostName, World>,
    /// What the API does not let us do.
    pub denied: &'a [Permission],
    /// What the user chose about the pods.
    pub choices: &'a Choices,
}

/// A node whose turn comes, with what its drain may do and what is to be expected of it.
#[derive(Clone)]
pub(super) struct Ahead<'a> {
    pub host: &'a Host,
    pub policy: Policy,
    pub forecast: Forecast,
    /// How long another node may be away meanwhile that has its turn beside it: its pods, or a budget, may wait for that one.
    pub beside_seconds: u32,
}

impl<'a> Nodes<'a> {
    /// The nodes in the order of their turns: workers before control planes, the one whose etcd leads last.
    ///
    /// A control plane that is worked on costs the others their slack; moving leadership once, at the end, is better than
    /// after every node.
    pub(super) fn turns(self) -> Vec<&'a Host> {
        let etcd = self.input.facts.etcd.known();
        let leader = etcd.and_then(|facts| View::of(facts).leader());
        let leads =
            |host: &Host| leader.is_some() && etcd.and_then(|of| of.member_on(&host.name)).map(|of| of.id) == leader;
        let rank = |host: &Host| match host.is(Role::ControlPlane) || host.is(Role::Etcd) {
            false => 0,
            true if leads(host) => 2,
            true => 1,
        };
        let hosts = self.input.spec.hosts.iter();
        let mut turns: Vec<&Host> = hosts.filter(|host| self.seen.contains_key(&host.name)).collect();
        // Stable: within a rank the spec's order stays.
        turns.sort_by_key(|host| rank(host));
        turns
    }

    /// What is to be expected of each turn, and what stands in its way; `stops` where what is done may stop what runs on
    /// the host.
    pub(super) fn foresee(self, turns: &[&'a Host], stops: bool) -> (Vec<Ahead<'a>>, Vec<Finding>) {
        let mut ahead: Vec<Ahead<'a>> = Vec::new();
        let mut findings = Vec::new();
        for host in turns {
            let Some(world) = self.seen.get(&host.name) else { continue };
            findings.extend(self.reachable(host));
            findings.extend(self.etcd(host, stops));
            if world.target().is_none() {
                findings.push(no_such_node(&host.name));
                continue;
            }
            let (policy, forecast) = foresee(world, self.choices, self.denied);
            findings.extend(forecast.findings.clone());
            ahead.push(Ahead { host, policy, forecast, beside_seconds: 0 });
        }
        // Pods move from one node's turn to the next, and what was agreed to moves with them.
        let past: BTreeSet<Name> = ahead.iter().flat_map(|one| one.policy.past_budgets.clone()).collect();
        ahead.iter_mut().for_each(|one| one.policy.past_budgets.clone_from(&past));
        (ahead, findings)
    }

    /// MAINT003: whoever is worked on can be asked, and is ours.
    fn reachable(self, host: &Host) -> Option<Finding> {
        let input = self.input;
        let blocks = |text: String| Some(about(host, Severity::Blocks, "MAINT003", text));
        match input.facts.membership(&host.name, &input.spec.name) {
            Membership::Silent(why) => {
                return blocks(format!("it cannot be asked: {why}"))
                    .map(|finding| finding.hint("`kubewright node drain` needs the API alone"));
            }
            Membership::Unclear(why) => return blocks(format!("whose it is cannot be read: {why}")),
            Membership::OfAnother(record) => return blocks(format!("it belongs to the cluster {}", record.cluster)),
            Membership::Part(_) | Membership::Claimed(_) | Membership::Foreign | Membership::Bare => {}
        }
        let here = input.facts.host(&host.name)?.machine_id.known()?;
        let node = input.facts.cluster.known().and_then(|cluster| cluster.nodes.get(&host.name))?;
        if node.machine_id.is_empty() || node.machine_id == *here {
            return None;
        }
        blocks(format!("the node of that name is another machine: machine-id {} there, {here} here", node.machine_id))
    }

    /// MAINT001, MAINT002: etcd decides on without it, or the user agrees that nobody does for a while.
    fn etcd(self, host: &Host, stops: bool) -> Option<Finding> {
        if !host.is(Role::Etcd) || !stops {
            return None;
        }
        let alone = self.outage();
        let why = match &self.input.facts.etcd {
            Fact::Known { value, .. } => {
                let change = MemberChange::Stop { host: host.name.clone(), outage: alone };
                change.is_borne(value).err()
            }
            Fact::Absent => Some("nobody asked etcd for its members".to_owned()),
            Fact::Unreadable { why, .. } => Some(format!("etcd cannot be asked for its members: {why}")),
        };
        match why {
            Some(why) => Some(about(host, Severity::Blocks, "MAINT002", why)),
            None if alone => Some(
                about(
                    host,
                    Severity::NeedsConsent,
                    "MAINT001",
                    "it has the only etcd: while it is away no API server answers, and nothing is scheduled or mended",
                )
                .hint("pods that run go on; with three control planes nobody would notice"),
            ),
            None => None,
        }
    }

    /// Whether etcd has a single voter, so that stopping it is an outage however it is done.
    pub(super) fn outage(self) -> bool {
        match self.input.facts.etcd.known() {
            Some(etcd) => etcd.voters().count() == 1,
            None => self.input.spec.with_role(Role::Etcd).count() == 1,
        }
    }

    /// The guards of every step after which a host may stop for a while, where it may.
    pub(super) fn guarded<'d>(self, draft: Draft<'d>, host: &Host, stops: bool) -> Draft<'d> {
        let draft = same_machine(draft, self.input, host);
        if !host.is(Role::Etcd) || !stops {
            return draft;
        }
        draft.guard(Guard::EtcdBears { change: MemberChange::Stop { host: host.name.clone(), outage: self.outage() } })
    }

    /// Another member leads, before this host's stops; where there is another.
    pub(super) fn hand_over(self, story: &mut Story, host: &Host, after: StepId) -> StepId {
        if !host.is(Role::Etcd) || self.outage() {
            return after;
        }
        story
            .on(&host.name, StepKind::HandOverEtcdLead)
            .after([&after])
            .within(SHORT_SECONDS)
            .because("an election costs every client a second, a hand-over a tenth of one")
    }

    /// Tells one node's turn around what is done in it, which begins after one step and ends with another; its last step.
    pub(super) fn tell(
        self,
        story: &mut Story,
        ahead: Ahead<'_>,
        stops: bool,
        after: &[StepId],
        work: impl FnOnce(&mut Story, StepId) -> StepId,
    ) -> StepId {
        let Ahead { host, mut policy, forecast, beside_seconds } = ahead;
        let patient = policy.wait;
        policy.patience_seconds = policy.patience_seconds.saturating_add(beside_seconds);
        let noted = self
            .guarded(story.on(&host.name, StepKind::NoteWorkloads), host, stops)
            .after(after)
            .within(SHORT_SECONDS)
            .because("what is whole before has to be whole after");
        let moved = tell_drain(story, &host.name, policy, &forecast, &[noted]);
        let worked = work(story, moved);
        let proved = story
            .on(&host.name, StepKind::ProveReturned)
            .after([&worked])
            .within(RETURN_SECONDS)
            .because("a Ready from before the work proves nothing: the boot that runs has to say it");
        let back = story
            .on(&host.name, StepKind::TakeBackCordon)
            .after([&proved])
            .within(SHORT_SECONDS)
            .because("it is proved back; a cordon that others made stays");
        story
            .on(&host.name, StepKind::AwaitWorkloads)
            .after([&back])
            .within(if patient { NO_DEADLINE } else { WORKLOADS_SECONDS + beside_seconds })
            .because("the next turn begins when nothing lacks a pod for this one; some pods fit only here again")
    }
}

/// Workers whose turns come, pool after pool, with how many of each may be away at once. One without a pool goes alone.
pub(super) fn pools<'a>(spec: &Spec, workers: Vec<Ahead<'a>>) -> Vec<(usize, Vec<Ahead<'a>>)> {
    let mut pools: Vec<(Option<&str>, Vec<Ahead<'a>>)> = Vec::new();
    for one in workers {
        let name = one.host.pool.as_deref();
        match pools.iter_mut().find(|(pool, _)| *pool == name) {
            Some((_, workers)) => workers.push(one),
            None => pools.push((name, vec![one])),
        }
    }
    pools.into_iter().map(|(name, workers)| (spec.may_be_away(name), workers)).collect()
}

/// The turns of one pool after these steps, so many at a time, during each of which a node may be away for `away_seconds`: each begins
/// when the one so many before it is over. The last steps of those that may still be under way in the end.
pub(super) fn side_by_side<'a>(
    lanes: usize,
    workers: Vec<Ahead<'a>>,
    away_seconds: u32,
    after: Vec<StepId>,
    mut turn: impl FnMut(Ahead<'a>, &[StepId]) -> StepId,
) -> Vec<StepId> {
    let mut ends: Vec<StepId> = Vec::new();
    let beside_seconds = if lanes.min(workers.len()) > 1 { away_seconds } else { 0 };
    for one in workers {
        let one = Ahead { beside_seconds, ..one };
        let before = ends.len().checked_sub(lanes).map_or(&after[..], |index| &ends[index..=index]);
        let end = turn(one, before);
        ends.push(end);
    }
    match ends.is_empty() {
        true => after,
        false => ends.split_off(ends.len().saturating_sub(lanes)),
    }
}

/// UPG013, MAINT007: nobody is left for the requests of those outside, since load balancers leave control planes out.
pub(super) fn all_workers_away(spec: &Spec, turns: &[&Host], code: &str) -> Option<Finding> {
    let is_worker = |host: &&Host| !host.is(Role::ControlPlane);
    let workers = spec.hosts.iter().filter(is_worker).count();
    let mut pools: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    turns.iter().copied().filter(is_worker).for_each(|host| *pools.entry(host.pool.as_deref()).or_default() += 1);
    let (pool, _) = pools.into_iter().find(|(pool, due)| spec.may_be_away(*pool).min(*due) == workers)?;
    let name = pool.filter(|_| workers > 1)?;
    let text = format!("pool {name} lets all {workers} workers be away at once: load balancers find no node meanwhile");
    let hint = format!("a smaller spec.pools.{name}.upgrade.maxUnavailable leaves some to serve");
    Some(Finding::new(Severity::Warns, code, Subject::Cluster, text).hint(hint))
}

/// A finding about a host.
pub(super) fn about(host: &Host, severity: Severity, code: &str, text: impl Into<String>) -> Finding {
    Finding::new(severity, code, Subject::Host(host.name.clone()), text)
}
