//! Cordon, drain, uncordon of one node: what was seen of it goes in, a plan of one or two steps comes out.

use std::collections::BTreeSet;

use super::story::Story;
use super::{Identity, Outcome};
use crate::drain::{
    Consent, Forecast, Permission, Policy, World, cordoned_by_others, forbidden, forecast, no_such_node,
    takes_cordon_of_others,
};
use crate::finding::{Finding, Severity, worst};
use crate::ids::{HostName, StepId};
use crate::intent::Intent;
use crate::plan::{FORMAT, NO_DEADLINE, Plan, StepKind, Undo};
use crate::spec::{Role, Spec};

/// A few calls of the API through SSH, on a bad line and with a control plane that is being replaced.
const CORDON_SECONDS: u32 = 60;

/// What the user chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choices {
    /// Codes of findings that were agreed to.
    pub consents: BTreeSet<String>,
    /// Whether blocked budgets are waited for.
    pub wait: bool,
    /// How long nothing may move otherwise.
    pub patience_seconds: u32,
}

impl Choices {
    /// What a drain with these choices may have to be allowed.
    pub fn permissions(&self) -> Vec<Permission> {
        let mut needed = Permission::needed(&Policy::default());
        // Which budgets it goes past is known only once they were seen.
        if self.consents.iter().any(|code| code.starts_with("PDB")) {
            needed.push(Permission::DeletePods);
        }
        needed
    }
}

/// Everything that planning for one node may look at.
#[derive(Clone, Copy, Debug)]
pub struct NodeInput<'a> {
    /// The cluster.
    pub spec: &'a Spec,
    /// Which node.
    pub node: &'a HostName,
    /// What was seen of it, whole.
    pub world: &'a World,
    /// What the API does not let us do.
    pub denied: &'a [Permission],
    /// What the user chose.
    pub choices: &'a Choices,
    /// Drawn at random by the caller.
    pub identity: &'a Identity,
    /// Version of this kubewright.
    pub tool_version: &'a str,
}

/// What a drain may do and what is to be expected of it, with these choices.
pub fn foresee(world: &World, choices: &Choices, denied: &[Permission]) -> (Policy, Forecast) {
    let agreed = |code: &str| choices.consents.contains(code);
    let mut policy = Policy {
        consents: Consent::ALL.into_iter().filter(|consent| agreed(consent.code())).collect(),
        past_budgets: BTreeSet::new(),
        past_several: agreed("PDB003"),
        wait: choices.wait,
        patience_seconds: choices.patience_seconds,
    };
    let ahead = forecast(world, &policy, denied);
    let passed = ahead.blocked_budgets.iter().filter(|(_, code)| agreed(code));
    policy.past_budgets = passed.map(|(budget, _)| budget.clone()).collect();
    (policy, ahead)
}

/// Plans to move a node's pods away.
pub fn drain(input: NodeInput<'_>) -> Outcome {
    let (policy, ahead) = foresee(input.world, input.choices, input.denied);
    let Some(node) = input.world.target() else { return unknown(input.node) };
    if worst(&ahead.findings) == Some(Severity::Blocks) {
        return Outcome::Blocked { findings: ahead.findings };
    }
    if ahead.moves == 0 && !node.schedulable {
        return Outcome::Nothing { findings: ahead.findings };
    }
    let mut story = Story::default();
    tell_drain(&mut story, input.node, policy, &ahead, &[]);
    plan(input, Intent::Drain { node: input.node.clone() }, ahead.findings, story)
}

/// Tells of a drain inside another story: cordon and drain, after these steps. The drain's id is returned.
pub(super) fn tell_drain(
    story: &mut Story,
    node: &HostName,
    policy: Policy,
    ahead: &Forecast,
    after: &[StepId],
) -> StepId {
    let cordoned = story
        .on(node, StepKind::Cordon)
        .after(after)
        .undo(Undo::Uncordon)
        .within(CORDON_SECONDS)
        .because("what is evicted must not come back, and nothing new may come");
    let pods = u32::try_from(ahead.moves).unwrap_or(u32::MAX);
    let about_seconds = u32::try_from(ahead.about.as_secs()).unwrap_or(u32::MAX);
    story
        .on(node, StepKind::Drain { policy, pods, about_seconds })
        .after([&cordoned])
        .undo(Undo::Uncordon)
        .within(NO_DEADLINE)
        .because("through the Eviction API, so that budgets hold; every pod has its whole grace")
}

/// Plans to keep new pods away from a node.
pub fn cordon(input: NodeInput<'_>) -> Outcome {
    let Some(node) = input.world.target() else { return unknown(input.node) };
    if !node.schedulable {
        let findings = node.cordoned_by.is_none().then(|| cordoned_by_others(input.node)).into_iter().collect();
        return Outcome::Nothing { findings };
    }
    let findings = denied(input);
    if !findings.is_empty() {
        return Outcome::Blocked { findings };
    }
    let mut story = Story::default();
    story
        .on(input.node, StepKind::Cordon)
        .undo(Undo::Uncordon)
        .within(CORDON_SECONDS)
        .because("pods that are there stay; new ones go elsewhere");
    plan(input, Intent::Cordon { node: input.node.clone() }, Vec::new(), story)
}

/// Plans to let pods come to a node again, and load balancers where one of ours keeps them away; a cordon that is not ours needs consent.
pub fn uncordon(input: NodeInput<'_>) -> Outcome {
    let Some(node) = input.world.target() else { return unknown(input.node) };
    if node.schedulable && node.excluded_by.is_none() {
        return Outcome::Nothing { findings: Vec::new() };
    }
    let mut findings = denied(input);
    if worst(&findings) == Some(Severity::Blocks) {
        return Outcome::Blocked { findings };
    }
    let foreign = !node.schedulable && node.cordoned_by.is_none();
    if foreign {
        findings.push(takes_cordon_of_others(input.node));
    }
    let mut story = Story::default();
    story
        .on(input.node, StepKind::Uncordon { foreign })
        .within(CORDON_SECONDS)
        .because("new pods may come; those that moved away stay where they are");
    plan(input, Intent::Uncordon { node: input.node.clone() }, findings, story)
}

fn unknown(node: &HostName) -> Outcome {
    Outcome::Blocked { findings: vec![no_such_node(node)] }
}

/// Marking nodes is all that a cordon needs.
fn denied(input: NodeInput<'_>) -> Vec<Finding> {
    let needed = input.denied.iter().copied().filter(|one| *one == Permission::PatchNodes).collect::<Vec<_>>();
    forbidden(input.node, &needed).into_iter().collect()
}

/// Control planes of the spec that are nodes: one that has yet to join has no voice.
fn keepers(input: NodeInput<'_>) -> Vec<HostName> {
    let control_planes = input.spec.with_role(Role::ControlPlane).map(|host| &host.name);
    control_planes.filter(|name| input.world.nodes.contains_key(name.as_str())).cloned().collect()
}

fn plan(input: NodeInput<'_>, intent: Intent, findings: Vec<Finding>, story: Story) -> Outcome {
    Outcome::checked(Plan {
        format: FORMAT,
        operation: input.identity.operation.clone(),
        tool_version: input.tool_version.to_owned(),
        intent,
        spec: input.spec.clone(),
        keepers: keepers(input),
        // What pods and budgets look like changes by the minute; the step itself looks again.
        assumptions: Vec::new(),
        findings,
        steps: story.steps(),
    })
}
