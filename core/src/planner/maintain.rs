//! Nodes are worked on while their pods are elsewhere: workers first, as many of a pool at once as may be away, control planes after
//! them, one after another, the one whose etcd leads last. Each is emptied, worked on, proved back and uncordoned before the
//! next in its place begins.

use super::Outcome;
use super::steps::assumptions;
use super::story::Story;
use super::turn::{Ahead, Nodes, RETURN_SECONDS, about, all_workers_away, pools, side_by_side};
use crate::facts::OsFamily;
use crate::finding::{Finding, Severity, Subject};
use crate::ids::StepId;
use crate::intent::Intent;
use crate::maintenance::HELD;
use crate::plan::{Probe, StepKind, Undo};
use crate::spec::{Host, Role};

/// The attach-detach controller gives up waiting for a kubelet's unmount after six minutes (`maxWaitForUnmountDuration`);
/// clouds then take up to a few minutes more.
const DETACH_SECONDS: u32 = 600;
/// A year of updates on a slow mirror, and another user of the package manager before.
const PACKAGES_SECONDS: u32 = 3600;
/// Firmware tools take half an hour; one that takes longer hangs.
const SCRIPT_SECONDS: u32 = 3600;
/// Servers with much memory test it for a quarter of an hour before they start anything.
const REBOOT_SECONDS: u32 = 1800;

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

/// Plans it for these nodes; what hosts should have does not matter.
pub fn maintain(nodes: Nodes<'_>, work: &Work) -> Outcome {
    let input = nodes.input;
    // Workers show first whether what is done is any good.
    let turns = nodes.turns();
    let (ahead, foreseen) = nodes.foresee(&turns, may_stop(work));
    let mut findings = input.findings.to_vec();
    findings.extend(foreseen);
    findings.extend(turns.iter().filter_map(|host| packaged(nodes, host, work)));
    findings.extend(about_work(work));
    findings.extend(all_workers_away(input.spec, &turns, "MAINT007"));
    let mut story = Story::default();
    let (control_planes, workers): (Vec<Ahead<'_>>, Vec<Ahead<'_>>) =
        ahead.into_iter().partition(|one| one.host.is(Role::ControlPlane));
    let mut turn = |one: Ahead<'_>, before: &[StepId]| {
        let host = one.host;
        let tell = |story: &mut Story, moved| tell_work(story, nodes, host, work, moved);
        nodes.tell(&mut story, one, may_stop(work), before, tell)
    };
    let mut done: Vec<StepId> = Vec::new();
    for (lanes, workers) in pools(input.spec, workers).into_iter().chain([(1, control_planes)]) {
        done = side_by_side(lanes, workers, away_seconds(work), done, &mut turn);
    }
    let intent = Intent::Maintain { nodes: turns.iter().map(|host| host.name.clone()).collect(), work: work.words() };
    Outcome::of(input, intent, assumptions(input), findings, story)
}

/// MAINT004: whoever gets packages has a package manager that we know.
fn packaged(nodes: Nodes<'_>, host: &Host, work: &Work) -> Option<Finding> {
    let os = nodes.input.facts.host(&host.name)?.os.known()?;
    (work.packages && os.family != OsFamily::Debian).then(|| {
        about(host, Severity::Blocks, "MAINT004", format!("packages of {} are not updated by kubewright", os.name))
            .hint("do it in a script of your own: --script FILE in place of --packages")
    })
}

/// Whether what is done may stop what runs on the host; newer packages alone do not.
fn may_stop(work: &Work) -> bool {
    work.reboot || work.script.is_some()
}

/// How long a node may be away for it, its return included.
fn away_seconds(work: &Work) -> u32 {
    let parts =
        [(work.packages, PACKAGES_SECONDS), (work.script.is_some(), SCRIPT_SECONDS), (work.reboot, REBOOT_SECONDS)];
    parts.into_iter().filter(|(asked, _)| *asked).map(|(_, seconds)| seconds).sum::<u32>() + RETURN_SECONDS
}

/// MAINT005, MAINT006: what is left alone, and what the plan carries.
fn about_work(work: &Work) -> Vec<Finding> {
    let mut findings = Vec::new();
    let tell = |code: &str, text: String| Finding::new(Severity::Info, code, Subject::Cluster, text);
    if work.packages {
        let held = HELD.join(", ");
        findings.push(tell("MAINT005", format!("held back: {held}, and every package that owns a file of ours")));
    }
    if let Some(script) = &work.script {
        let text = format!("{} stands in the plan as it is, and may run twice on a node after a crash", script.name);
        findings.push(tell("MAINT006", text).hint("keep secrets out of it; let it bear being run again"));
    }
    findings
}

/// What is done on the host once its pods have moved; the last step of it.
fn tell_work(story: &mut Story, nodes: Nodes<'_>, host: &Host, work: &Work, moved: StepId) -> StepId {
    let stops = may_stop(work);
    let mut last = story
        .on(&host.name, StepKind::AwaitDetached)
        .after([&moved])
        .within(DETACH_SECONDS)
        .because("a volume that a stopped node holds is kept from its pod's new place for six minutes");
    if work.packages {
        let held = HELD.map(str::to_owned).to_vec();
        last = nodes
            .guarded(story.on(&host.name, StepKind::UpdatePackages { held }), host, stops)
            .after([&last])
            .probe(Probe::UnitEnded)
            .undo(Undo::Impossible("newer packages stay; install the older ones by hand".to_owned()))
            .within(PACKAGES_SECONDS)
            .because("nothing that serves runs there now; Kubernetes, containerd and files of ours are held back");
    }
    if stops {
        last = nodes.hand_over(story, host, last);
    }
    if let Some(script) = &work.script {
        let kind = StepKind::RunScript { name: script.name.clone(), text: script.text.clone() };
        last = nodes
            .guarded(story.on(&host.name, kind), host, stops)
            .after([&last])
            .probe(Probe::UnitEnded)
            .undo(Undo::Impossible("what a script did only its author can take back".to_owned()))
            .within(SCRIPT_SECONDS)
            .because("as you asked, in a unit of its own that outlives a lost connection");
    }
    if work.reboot {
        last = nodes
            .guarded(story.on(&host.name, StepKind::Reboot), host, stops)
            .after([&last])
            .probe(Probe::Rebooted)
            .undo(Undo::Impossible("a restart cannot be taken back".to_owned()))
            .within(REBOOT_SECONDS)
            .because("done once it answers with another boot id than the one written down on it before");
    }
    last
}
