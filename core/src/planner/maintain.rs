//! Nodes are worked on while their pods are elsewhere, one after another: workers first, control planes after them, the
//! one whose etcd leads last. Each is emptied, worked on, proved back and uncordoned before the next begins.

use std::collections::{BTreeMap, BTreeSet};

use super::drain::{Choices, foresee, tell_drain};
use super::steps::{SHORT_SECONDS, assumptions, same_machine};
use super::story::{Draft, Story};
use super::{Input, Outcome};
use crate::drain::{Forecast, Name, Permission, Policy, World, no_such_node};
use crate::facts::{Fact, Membership, OsFamily};
use crate::finding::{Finding, Severity, Subject, worst};
use crate::guard::{Guard, MemberChange};
use crate::ids::{HostName, StepId};
use crate::intent::Intent;
use crate::maintenance::HELD;
use crate::plan::{FORMAT, NO_DEADLINE, Plan, Probe, StepKind, Undo};
use crate::quorum::View;
use crate::spec::{Host, Role, Spec};

/// The attach-detach controller gives up waiting for a kubelet's unmount after six minutes (`maxWaitForUnmountDuration`);
/// clouds then take up to a few minutes more.
const DETACH_SECONDS: u32 = 600;
/// A year of updates on a slow mirror, and another user of the package manager before.
const PACKAGES_SECONDS: u32 = 3600;
/// Firmware tools take half an hour; one that takes longer hangs.
const SCRIPT_SECONDS: u32 = 3600;
/// Servers with much memory test it for a quarter of an hour before they start anything.
const REBOOT_SECONDS: u32 = 1800;
/// A kubelet reports its node within seconds of its start; a control plane's waits for etcd, and pods may pull images.
const RETURN_SECONDS: u32 = 600;
/// A replacement may pull a large image and replay a long log before it serves.
const WORKLOADS_SECONDS: u32 = 1800;

/// What is done on each node. At least one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Bring the distribution's packages up to date.
    pub packages: bool,
    /// Restart the machine.
    pub reboot: bool,
    /// Run this script, after the packages and before the restart.
    pub script: Option<Script>,
}

/// A script of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What it is called in messages.
    pub name: String,
    /// The whole of it.
    pub text: String,
}

impl Work {
    /// `OS packages, fix.sh, reboot`.
    pub fn words(&self) -> String {
        let parts = [
            self.packages.then_some("OS packages"),
            self.script.as_ref().map(|script| script.name.as_str()),
            self.reboot.then_some("reboot"),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}

/// Everything that planning maintenance may look at.
#[derive(Clone, Copy, Debug)]
pub struct Maintenance<'a> {
    /// The spec; facts of its hosts, its cluster and its etcd. What hosts should have does not matter.
    pub input: Input<'a>,
    /// Whose turn comes, in any order, each with what was seen of its node.
    pub nodes: &'a BTreeMap<HostName, World>,
    /// What the API does not let us do.
    pub denied: &'a [Permission],
    /// What the user chose about the pods.
    pub choices: &'a Choices,
    /// What is done on each.
    pub work: &'a Work,
}

/// Plans it.
pub fn maintain(wanted: Maintenance<'_>) -> Outcome {
    let Maintenance { input, .. } = wanted;
    let turns = turns(input.spec, wanted);
    let mut findings = input.findings.to_vec();
    let mut ahead: Vec<(&Host, Policy, Forecast)> = Vec::new();
    for host in &turns {
        let Some(world) = wanted.nodes.get(&host.name) else { continue };
        findings.extend(reachable(wanted, host));
        findings.extend(etcd(wanted, host));
        if world.target().is_none() {
            findings.push(no_such_node(&host.name));
            continue;
        }
        let (policy, forecast) = foresee(world, wanted.choices, wanted.denied);
        findings.extend(forecast.findings.clone());
        ahead.push((host, policy, forecast));
    }
    findings.extend(about_work(wanted));
    findings.sort();
    findings.dedup();
    if worst(&findings) == Some(Severity::Blocks) {
        return Outcome::Blocked { findings };
    }
    if turns.is_empty() {
        return Outcome::Nothing { findings };
    }
    share(&mut ahead);
    let mut story = Story::default();
    let mut before: Vec<StepId> = Vec::new();
    for (host, policy, forecast) in ahead {
        before = vec![turn(&mut story, wanted, host, policy, &forecast, &before)];
    }
    Outcome::checked(Plan {
        format: FORMAT,
        operation: input.identity.operation.clone(),
        tool_version: input.tool_version.to_owned(),
        intent: Intent::Maintain {
            nodes: turns.iter().map(|host| host.name.clone()).collect(),
            work: wanted.work.words(),
        },
        spec: input.spec.clone(),
        keepers: input.facts.keepers(input.spec).into_iter().map(|host| host.name.clone()).collect(),
        assumptions: assumptions(input),
        findings,
        steps: story.steps(),
    })
}

/// Whose turn comes when. A control plane that is worked on costs the others their slack, so workers show first whether
/// what is done is any good; moving leadership once, at the end, is better than after every node.
fn turns<'a>(spec: &'a Spec, wanted: Maintenance<'_>) -> Vec<&'a Host> {
    let etcd = wanted.input.facts.etcd.known();
    let leader = etcd.and_then(|facts| View::of(facts).leader());
    let leads =
        |host: &Host| leader.is_some() && etcd.and_then(|of| of.member_on(&host.name)).map(|of| of.id) == leader;
    let rank = |host: &Host| match host.is(Role::ControlPlane) || host.is(Role::Etcd) {
        false => 0,
        true if leads(host) => 2,
        true => 1,
    };
    let mut turns: Vec<&Host> = spec.hosts.iter().filter(|host| wanted.nodes.contains_key(&host.name)).collect();
    // Stable: within a rank the spec's order stays.
    turns.sort_by_key(|host| rank(host));
    turns
}

/// Pods move from one node's turn to the next, and what was agreed to moves with them.
fn share(ahead: &mut [(&Host, Policy, Forecast)]) {
    let past: BTreeSet<Name> = ahead.iter().flat_map(|(_, policy, _)| policy.past_budgets.clone()).collect();
    ahead.iter_mut().for_each(|(_, policy, _)| policy.past_budgets.clone_from(&past));
}

fn about(host: &Host, severity: Severity, code: &str, text: impl Into<String>) -> Finding {
    Finding::new(severity, code, Subject::Host(host.name.clone()), text)
}

/// MAINT003, MAINT004: whoever is worked on can be asked, is ours, and has a package manager that we know.
fn reachable(wanted: Maintenance<'_>, host: &Host) -> Option<Finding> {
    let Maintenance { input, work, .. } = wanted;
    let blocks = |code: &str, text: String| Some(about(host, Severity::Blocks, code, text));
    match input.facts.membership(&host.name, &input.spec.name) {
        Membership::Silent(why) => {
            return blocks("MAINT003", format!("it cannot be asked: {why}"))
                .map(|finding| finding.hint("`kubewright node drain` needs the API alone"));
        }
        Membership::Unclear(why) => return blocks("MAINT003", format!("whose it is cannot be read: {why}")),
        Membership::OfAnother(record) => {
            return blocks("MAINT003", format!("it belongs to the cluster {}", record.cluster));
        }
        Membership::Part(_) | Membership::Claimed(_) | Membership::Foreign | Membership::Bare => {}
    }
    let seen = input.facts.host(&host.name)?;
    let node = input.facts.cluster.known().and_then(|cluster| cluster.nodes.get(&host.name));
    if let (Some(here), Some(node)) = (seen.machine_id.known(), node)
        && !node.machine_id.is_empty()
        && node.machine_id != *here
    {
        let text =
            format!("the node of that name is another machine: machine-id {} there, {here} here", node.machine_id);
        return blocks("MAINT003", text);
    }
    let os = seen.os.known()?;
    (work.packages && os.family != OsFamily::Debian).then(|| {
        about(host, Severity::Blocks, "MAINT004", format!("packages of {} are not updated by kubewright", os.name))
            .hint("do it in a script of your own: --script FILE in place of --packages")
    })
}

/// MAINT001, MAINT002: etcd decides on without it, or the user agrees that nobody does for a while.
fn etcd(wanted: Maintenance<'_>, host: &Host) -> Option<Finding> {
    let Maintenance { input, work, .. } = wanted;
    if !host.is(Role::Etcd) || !may_stop(work) {
        return None;
    }
    let alone = outage(input);
    let why = match &input.facts.etcd {
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

/// Whether what is done may stop what runs on the host; newer packages alone do not.
fn may_stop(work: &Work) -> bool {
    work.reboot || work.script.is_some()
}

/// Whether etcd has a single voter, so that stopping it is an outage however it is done.
fn outage(input: Input<'_>) -> bool {
    match input.facts.etcd.known() {
        Some(etcd) => etcd.voters().count() == 1,
        None => input.spec.with_role(Role::Etcd).count() == 1,
    }
}

/// MAINT005, MAINT006: what is left alone, and what the plan carries.
fn about_work(wanted: Maintenance<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let tell = |code: &str, text: String| Finding::new(Severity::Info, code, Subject::Cluster, text);
    if wanted.work.packages {
        let held = HELD.join(", ");
        findings.push(tell("MAINT005", format!("held back: {held}, and every package that owns a file of ours")));
    }
    if let Some(script) = &wanted.work.script {
        let text = format!("{} stands in the plan as it is, and may run twice on a node after a crash", script.name);
        findings.push(tell("MAINT006", text).hint("keep secrets out of it; let it bear being run again"));
    }
    findings
}

/// One node's turn; its last step.
fn turn(
    story: &mut Story,
    wanted: Maintenance<'_>,
    host: &Host,
    policy: Policy,
    ahead: &Forecast,
    after: &[StepId],
) -> StepId {
    let patient = policy.wait;
    let noted = guarded(story.on(&host.name, StepKind::NoteWorkloads), wanted, host)
        .after(after)
        .within(SHORT_SECONDS)
        .because("what is whole before has to be whole after");
    let moved = tell_drain(story, &host.name, policy, ahead, &[noted]);
    let detached = story
        .on(&host.name, StepKind::AwaitDetached)
        .after([&moved])
        .within(DETACH_SECONDS)
        .because("a volume that a stopped node holds is kept from its pod's new place for six minutes");
    let worked = work(story, wanted, host, detached);
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
        .within(if patient { NO_DEADLINE } else { WORKLOADS_SECONDS })
        .because("the next turn begins when nothing lacks a pod for this one; some pods fit only here again")
}

/// What is done on the host; the last step of it.
fn work(story: &mut Story, wanted: Maintenance<'_>, host: &Host, after: StepId) -> StepId {
    let work = wanted.work;
    let mut last = after;
    if work.packages {
        let held = HELD.map(str::to_owned).to_vec();
        last = guarded(story.on(&host.name, StepKind::UpdatePackages { held }), wanted, host)
            .after([&last])
            .probe(Probe::UnitEnded)
            .undo(Undo::Impossible("newer packages stay; install the older ones by hand".to_owned()))
            .within(PACKAGES_SECONDS)
            .because("nothing that serves runs there now; Kubernetes, containerd and files of ours are held back");
    }
    if may_stop(work) && host.is(Role::Etcd) && !outage(wanted.input) {
        last = story
            .on(&host.name, StepKind::HandOverEtcdLead)
            .after([&last])
            .within(SHORT_SECONDS)
            .because("an election costs every client a second, a hand-over a tenth of one");
    }
    if let Some(script) = &work.script {
        let kind = StepKind::RunScript { name: script.name.clone(), text: script.text.clone() };
        last = guarded(story.on(&host.name, kind), wanted, host)
            .after([&last])
            .probe(Probe::UnitEnded)
            .undo(Undo::Impossible("what a script did only its author can take back".to_owned()))
            .within(SCRIPT_SECONDS)
            .because("as you asked, in a unit of its own that outlives a lost connection");
    }
    if work.reboot {
        last = guarded(story.on(&host.name, StepKind::Reboot), wanted, host)
            .after([&last])
            .probe(Probe::Rebooted)
            .undo(Undo::Impossible("a restart cannot be taken back".to_owned()))
            .within(REBOOT_SECONDS)
            .because("done once it answers with another boot id than the one written down on it before");
    }
    last
}

/// The guards of every step after which a host may stop for a while.
fn guarded<'a>(draft: Draft<'a>, wanted: Maintenance<'_>, host: &Host) -> Draft<'a> {
    let draft = same_machine(draft, wanted.input, host);
    if !host.is(Role::Etcd) || !may_stop(wanted.work) {
        return draft;
    }
    draft.guard(Guard::EtcdBears {
        change: MemberChange::Stop { host: host.name.clone(), outage: outage(wanted.input) },
    })
}
