//! Before anything is touched: what must be agreed to, what blocks for ever, where nothing could go, and how long it
//! takes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::budget::{Budget, Never};
use super::consent::{Class, Consent, Left, classify};
use super::policy::Policy;
use super::room::{Lack, Room, room};
use super::world::{Name, Pod, World};
use crate::finding::{Finding, Severity, Subject};
use crate::ids::HostName;

/// Pods and budgets told by name in one finding; more are counted.
const NAMED: usize = 4;
/// From being made to Ready, for a pod whose image is on the node already: measured medians of small services lie
/// between 5 and 20 s.
const READY_SECONDS: u64 = 20;
/// What a pod needs of its grace, where it follows signals: most do within a few seconds, whatever they may take.
const USUAL_GRACE_SECONDS: u64 = 10;
/// Graces from this on are told: people do not expect them.
const LONG_GRACE_SECONDS: u32 = 300;

/// What becomes of pods that fit nowhere.
const PENDING: &str = "they would be Pending until a node takes them";

/// Something that a drain must be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Mark nodes.
    PatchNodes,
    /// Watch pods.
    WatchPods,
    /// Watch budgets.
    WatchBudgets,
    /// Evict pods.
    Evict,
    /// Delete pods; only with consent to go past budgets.
    DeletePods,
}

impl Permission {
    /// Verb, group, resource and subresource, as a SelfSubjectAccessReview asks.
    pub fn asked(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::PatchNodes => ("patch", "", "nodes", ""),
            Self::WatchPods => ("watch", "", "pods", ""),
            Self::WatchBudgets => ("watch", "policy", "poddisruptionbudgets", ""),
            Self::Evict => ("create", "", "pods", "eviction"),
            Self::DeletePods => ("delete", "", "pods", ""),
        }
    }

    /// What a drain with this policy needs.
    pub fn needed(policy: &Policy) -> Vec<Self> {
        let mut needed = vec![Self::PatchNodes, Self::WatchPods, Self::WatchBudgets, Self::Evict];
        if policy.past_several || !policy.past_budgets.is_empty() {
            needed.push(Self::DeletePods);
        }
        needed
    }
}

/// What is to be expected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// What the user should know, agree to or mend.
    pub findings: Vec<Finding>,
    /// Pods that move.
    pub moves: usize,
    /// Pods that stay.
    pub stays: usize,
    /// How long it usually takes.
    pub about: Duration,
    /// The longest grace of a pod that moves: so long it may take at least.
    pub longest_grace: Duration,
    /// Budgets that block for ever, with the code of their finding: agreeing to it is agreeing to go past them.
    pub blocked_budgets: BTreeMap<Name, &'static str>,
}

/// Looks ahead; `denied` are permissions that are missing.
pub fn forecast(world: &World, policy: &Policy, denied: &[Permission]) -> Forecast {
    let subject = Subject::Host(HostName::new(world.node.clone()));
    let mut ahead = Ahead { world, policy, subject, forecast: Forecast::default() };
    ahead.permissions(denied);
    let moves = ahead.sort();
    ahead.consents(&moves);
    ahead.budgets(&moves);
    ahead.nowhere(&moves);
    ahead.room(&moves);
    ahead.local_traffic();
    ahead.cordon();
    ahead.time(&moves);
    ahead.forecast
}

/// What the API does not let us do; nothing where it lets us do all.
pub fn forbidden(node: &HostName, denied: &[Permission]) -> Option<Finding> {
    if denied.is_empty() {
        return None;
    }
    let words = denied.iter().map(|permission| {
        let (verb, group, resource, sub) = permission.asked();
        let dot = if group.is_empty() { "" } else { "." };
        let slash = if sub.is_empty() { "" } else { "/" };
        format!("{verb} {resource}{slash}{sub}{dot}{group}")
    });
    let text = format!("the API does not let us {}", words.collect::<Vec<_>>().join(", "));
    let finding = Finding::new(Severity::Blocks, "DRAIN010", Subject::Host(node.clone()), text);
    Some(finding.hint("act as a cluster administrator"))
}

/// The node is cordoned, and by nobody of ours.
pub fn cordoned_by_others(node: &HostName) -> Finding {
    let text = "it is cordoned already, not by us; that cordon stays whatever becomes of the drain";
    Finding::new(Severity::Info, "DRAIN011", Subject::Host(node.clone()), text)
}

/// To take a cordon that is not ours.
pub fn takes_cordon_of_others(node: &HostName) -> Finding {
    let text = "its cordon is not ours: somebody wants no pods there";
    Finding::new(Severity::NeedsConsent, "DRAIN013", Subject::Host(node.clone()), text)
}

/// There is no such node.
pub fn no_such_node(node: &HostName) -> Finding {
    let finding =
        Finding::new(Severity::Blocks, "DRAIN014", Subject::Host(node.clone()), "it is no node of the cluster");
    finding.hint("kubewright status lists the nodes")
}

type Moving<'a> = (&'a Name, &'a Pod, Vec<Consent>);

/// Those of which somebody makes another one, which then needs a node.
fn comes_again<'m>(moves: &'m [Moving<'_>]) -> impl Iterator<Item = (&'m Name, &'m Pod)> {
    let again = moves.iter().filter(|(_, pod, _)| pod.owner.is_some() && pod.deletion.is_none());
    again.map(|(name, pod, _)| (*name, *pod))
}

/// What these pods lack, in words.
fn lacking(crowded: &[(&Name, &Lack)]) -> String {
    let lacks = || crowded.iter().map(|(_, lack)| lack);
    let short: BTreeSet<&str> = lacks().flat_map(|lack| lack.short.iter().map(String::as_str)).collect();
    let mut words = Vec::new();
    if !short.is_empty() {
        words.push(format!("too little {} is left", short.into_iter().collect::<Vec<_>>().join(", ")));
    }
    if lacks().any(|lack| lack.apart) {
        words.push("pods that they must keep apart from are there".to_owned());
    }
    words.join(", and ")
}

struct Ahead<'a> {
    world: &'a World,
    policy: &'a Policy,
    subject: Subject,
    forecast: Forecast,
}

impl<'a> Ahead<'a> {
    fn tell(&mut self, severity: Severity, code: &str, text: String, hint: Option<String>) {
        let mut finding = Finding::new(severity, code, self.subject.clone(), text);
        finding.hint = hint;
        self.forecast.findings.push(finding);
    }

    fn permissions(&mut self, denied: &[Permission]) {
        self.forecast.findings.extend(forbidden(&HostName::new(self.world.node.clone()), denied));
    }

    /// Pods that move; those that stay are counted and told.
    fn sort(&mut self) -> Vec<Moving<'a>> {
        let (world, node) = (self.world, self.world.target());
        let mut moves = Vec::new();
        let mut stays: BTreeMap<Left, usize> = BTreeMap::new();
        for (name, pod) in &world.pods {
            match classify(pod, node) {
                Class::Stays(why) => *stays.entry(why).or_default() += 1,
                Class::Moves(needs) => moves.push((name, pod, needs)),
            }
        }
        self.forecast.moves = moves.len();
        self.forecast.stays = stays.values().sum();
        if !stays.is_empty() {
            let parts: Vec<String> = stays
                .iter()
                .map(|(why, number)| match why {
                    Left::DaemonSet => format!("{number} of DaemonSets"),
                    Left::Static => format!("{number} static"),
                    Left::Finished => format!("{number} finished"),
                })
                .collect();
            self.tell(Severity::Info, "DRAIN012", format!("pods that stay: {}", parts.join(", ")), None);
        }
        moves
    }

    /// One finding for each thing to agree to, with the size of the loss.
    fn consents(&mut self, moves: &[Moving<'_>]) {
        for consent in Consent::ALL {
            let of: Vec<&Moving<'_>> = moves
                .iter()
                .filter(|(_, pod, needs)| needs.contains(&consent) || stuck(pod, self.world) == Some(consent))
                .collect();
            if of.is_empty() {
                continue;
            }
            let names = named(of.iter().map(|(name, ..)| *name));
            let text = match consent {
                Consent::EmptyDir => format!(
                    "{} with {} on disk: {names}; {}",
                    count(of.len(), "pod"),
                    scratch(of.iter().map(|(_, pod, _)| *pod)),
                    consent.loss()
                ),
                _ => format!("{}: {names}; {}", heading(consent, of.len()), consent.loss()),
            };
            self.tell(Severity::NeedsConsent, consent.code(), text, None);
        }
    }

    fn budgets(&mut self, moves: &[Moving<'_>]) {
        let mut never: BTreeMap<&Name, (&Budget, Never, Vec<&Name>)> = BTreeMap::new();
        let mut unready: BTreeMap<&Name, (&Budget, Vec<&Name>)> = BTreeMap::new();
        for (name, pod, _) in moves.iter().filter(|(_, pod, _)| !pod.is_of_no_budget()) {
            let budgets: Vec<_> = self.world.budgets_of(name, pod).collect();
            if budgets.len() > 1 {
                let text = format!(
                    "{name}: budgets {} all count it, and the API server evicts no such pod",
                    named(budgets.iter().map(|(key, _)| *key))
                );
                let hint = "narrow the selectors so that one budget counts it; or agree that it is deleted once all of \
                            them have room for that";
                self.tell(Severity::NeedsConsent, "PDB003", text, Some(hint.to_owned()));
            }
            for (key, budget) in budgets {
                if let Some(why) = budget.never(pod) {
                    never.entry(key).or_insert_with(|| (budget, why, Vec::new())).2.push(name);
                } else if budget.holds_unready(pod) {
                    unready.entry(key).or_insert_with(|| (budget, Vec::new())).1.push(name);
                } else if budget.observed_generation < budget.generation {
                    let text = format!("{key}: its status is behind its wishes, so that the API server evicts nothing");
                    let hint = "see that kube-controller-manager runs".to_owned();
                    self.tell(Severity::Warns, "PDB007", text, Some(hint));
                }
            }
        }
        for (key, (budget, pods)) in unready {
            let text = format!(
                "{key}: {} not Ready and held all the same, for {} of the {} that must serve do: {}",
                if pods.len() == 1 { "1 pod is".to_owned() } else { format!("{} pods are", pods.len()) },
                budget.healthy,
                budget.desired,
                named(pods.into_iter())
            );
            let hint = "unhealthyPodEvictionPolicy: AlwaysAllow lets pods go that do not serve anyway".to_owned();
            self.tell(Severity::Warns, "PDB008", text, Some(hint));
        }
        self.shared_budgets(moves);
        for (key, (budget, why, pods)) in never {
            let (code, text) = match &why {
                Never::Zero => {
                    ("PDB001", format!("{} of {} can never allow an eviction", budget.words(), pods_of(budget)))
                }
                Never::OnlyReplica => {
                    ("PDB002", format!("{} of 1 replica can never allow an eviction", budget.words()))
                }
                Never::SyncFailed { said } => ("PDB004", format!("its controller cannot work it out: {said}")),
                Never::Permissive => (
                    "PDB006",
                    format!("{}: none of its pods is Ready, and then the API server lets none go", budget.words()),
                ),
            };
            self.forecast.blocked_budgets.insert(key.clone(), code);
            let text = format!("{key}: {text}; it holds {}", named(pods.into_iter()));
            let change = match &budget.owner {
                Some(owner) => format!(
                    "{} {} keeps it so: have that give its pod here up first, such as by a switchover",
                    owner.kind, owner.name
                ),
                None => format!("smallest change: {}", budget.smallest_change(&why)),
            };
            let hint = format!("{change}; or agree that its pods are deleted past it, one at a time");
            self.tell(Severity::NeedsConsent, code, text, Some(hint));
        }
    }

    /// Budgets that count pods of several controllers, mostly by a selector that is wider than was meant.
    fn shared_budgets(&mut self, moves: &[Moving<'_>]) {
        let mut counted: BTreeMap<&Name, BTreeSet<String>> = BTreeMap::new();
        for (name, pod, _) in moves {
            let Some(owner) = &pod.owner else { continue };
            // The ReplicaSets of one Deployment, old and new, share all of their name but the last part.
            let whose = match owner.name.rsplit_once('-') {
                Some((deployment, _)) if owner.kind == "ReplicaSet" => format!("Deployment {deployment}"),
                _ => format!("{} {}", owner.kind, owner.name),
            };
            for (key, _) in self.world.budgets_of(name, pod) {
                counted.entry(key).or_default().insert(whose.clone());
            }
        }
        for (key, whose) in counted.into_iter().filter(|(_, whose)| whose.len() > 1) {
            let names = whose.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let text =
                format!("{key}: it counts pods of {} controllers, which share what it allows: {names}", whose.len());
            self.tell(Severity::Info, "PDB009", text, Some("kubectl get pdb: is its selector meant so?".to_owned()));
        }
    }

    /// Pods that no other node takes, whatever its room.
    fn nowhere(&mut self, moves: &[Moving<'_>]) {
        let others: Vec<_> = self.world.nodes.iter().filter(|(name, _)| **name != self.world.node).collect();
        let homeless = comes_again(moves).filter(|(_, pod)| !others.iter().any(|(_, node)| pod.fits(node)));
        let homeless: Vec<&Name> = homeless.map(|(name, _)| name).collect();
        if homeless.is_empty() {
            return;
        }
        let number = homeless.len();
        let text = format!(
            "no other node takes {}: {}; by taints, selectors and affinity, whatever its room",
            count(number, "pod"),
            named(homeless.into_iter())
        );
        self.tell(Severity::NeedsConsent, "DRAIN007", text, Some(PENDING.to_owned()));
    }

    /// Pods that other nodes would take, had they room.
    fn room(&mut self, moves: &[Moving<'_>]) {
        let moving: Vec<_> = comes_again(moves).collect();
        let occupancy = match &self.world.occupancy {
            Some(Ok(occupancy)) => occupancy,
            Some(Err(why)) if !moving.is_empty() => {
                return self.not_judged(&[format!("the room of all other nodes ({why})")]);
            }
            Some(Err(_)) | None => return,
        };
        let room = room(self.world, occupancy, &moving);
        let pods = count(room.crowded.len() + room.placed.len(), "pod");
        let (spread, crowded): (Vec<_>, Vec<_>) = room.crowded.iter().partition(|(_, lack)| lack.is_spread());
        if !crowded.is_empty() {
            let text = format!(
                "no room elsewhere for {} of {pods}: {}; on the nodes that would take them {}",
                crowded.len(),
                named(crowded.iter().map(|(name, _)| *name)),
                lacking(&crowded)
            );
            self.tell(Severity::NeedsConsent, "DRAIN016", text, Some(PENDING.to_owned()));
        }
        if !spread.is_empty() {
            let names = named(spread.iter().map(|(name, _)| *name));
            let text = format!("{} of {pods} must keep apart from its like on every other node: {names}", spread.len());
            self.tell(Severity::Warns, "DRAIN018", text, Some(PENDING.to_owned()));
        }
        if !room.pushing.is_empty() {
            let text = format!(
                "{} of {pods} can only go where pods of lower priority are, which the scheduler then evicts: {}",
                room.pushing.len(),
                named(room.pushing.iter())
            );
            let hint = "budgets hold the scheduler up only where it finds another way; where those go is not judged";
            self.tell(Severity::Warns, "DRAIN019", text, Some(hint.to_owned()));
        }
        self.unjudged(&room);
    }

    /// What else decides whether they fit.
    fn unjudged(&mut self, room: &Room) {
        let mut open: Vec<String> =
            room.unjudged.iter().map(|(kind, pods)| format!("{} ({})", kind.words(), count(*pods, "pod"))).collect();
        if !room.untold.is_empty() {
            let nodes = room.untold.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            open.push(format!("the room of {} that has not told it ({nodes})", count(room.untold.len(), "node")));
        }
        if !open.is_empty() {
            self.not_judged(&open);
        }
    }

    fn not_judged(&mut self, what: &[String]) {
        let text = format!("not judged: {}; pods were taken to fit by these", what.join(", "));
        self.tell(Severity::Info, "DRAIN017", text, None);
    }

    /// Traffic from outside that only this node's pods take.
    fn local_traffic(&mut self) {
        let alone: Vec<&Name> = self.world.served_alone.iter().collect();
        if alone.is_empty() {
            return;
        }
        let text = format!(
            "{} with externalTrafficPolicy Local and no endpoint elsewhere: {}; from outside nothing answers until their pods \
             serve on other nodes",
            count(alone.len(), "Service"),
            named(alone.into_iter())
        );
        let hint = "run a second replica on another node first".to_owned();
        self.tell(Severity::Warns, "DRAIN015", text, Some(hint));
    }

    fn cordon(&mut self) {
        if self.world.target().is_some_and(|node| !node.schedulable && node.cordoned_by.is_none()) {
            self.forecast.findings.push(cordoned_by_others(&HostName::new(self.world.node.clone())));
        }
    }

    fn time(&mut self, moves: &[Moving<'_>]) {
        let graces = moves.iter().map(|(_, pod, _)| pod.grace_seconds);
        let longest = graces.max().unwrap_or_default();
        self.forecast.longest_grace = Duration::from_secs(longest.into());
        let mut seconds = if moves.is_empty() { 0 } else { u64::from(longest).min(USUAL_GRACE_SECONDS) };
        // Pods of one budget go as many at a time as it allows, and the next once a replacement is Ready.
        let mut of_budget: BTreeMap<&Name, u64> = BTreeMap::new();
        for (name, pod, _) in moves {
            for (key, _) in self.world.budgets_of(name, pod) {
                *of_budget.entry(key).or_default() += 1;
            }
        }
        for (key, pods) in of_budget {
            let allowed = self.world.budgets.get(key).map_or(1, |budget| budget.allowed.max(1));
            let rounds = pods.div_ceil(u64::from(allowed.unsigned_abs()));
            let each = USUAL_GRACE_SECONDS + READY_SECONDS;
            seconds = seconds.max(rounds.saturating_sub(1) * each + USUAL_GRACE_SECONDS);
        }
        self.forecast.about = Duration::from_secs(seconds);
        let long: Vec<&Name> = moves
            .iter()
            .filter(|(_, pod, _)| pod.grace_seconds >= LONG_GRACE_SECONDS)
            .map(|(name, ..)| *name)
            .collect();
        if !long.is_empty() {
            let text = format!(
                "{} may take up to {} s to end: {}; nothing cuts that short",
                count(long.len(), "pod"),
                longest,
                named(long.into_iter())
            );
            self.tell(Severity::Info, "DRAIN008", text, None);
        }
        if self.policy.wait {
            return;
        }
        let waiting: BTreeSet<&Name> = moves
            .iter()
            .flat_map(|(name, pod, _)| self.world.budgets_of(name, pod))
            .filter(|(key, budget)| budget.allowed <= 0 && !self.forecast.blocked_budgets.contains_key(*key))
            .map(|(key, _)| key)
            .collect();
        if !waiting.is_empty() {
            let text = format!(
                "without room at the moment: {}; if nothing moves for {} s the drain ends and our cordon is undone",
                named(waiting.into_iter()),
                self.policy.patience_seconds
            );
            self.tell(Severity::Warns, "PDB005", text, Some("--wait waits as long as it takes".to_owned()));
        }
    }
}

/// What a pod that is being deleted needs, if it will not end by itself.
fn stuck(pod: &Pod, world: &World) -> Option<Consent> {
    let deletion = pod.deletion?;
    if world.target().is_some_and(|node| node.unreachable) {
        return Some(Consent::Unreachable);
    }
    if !deletion.is_overdue(world.now) {
        return None;
    }
    Some(if pod.finalizers.is_empty() { Consent::StuckTerminating } else { Consent::FinalizerHeld })
}

fn heading(consent: Consent, number: usize) -> String {
    let pods = count(number, "pod");
    match consent {
        Consent::Bare => format!("{pods} without a controller"),
        Consent::EmptyDir => format!("{pods} with scratch volumes"),
        Consent::FinalizerHeld => format!("{pods} ended and held by a finalizer"),
        Consent::StuckTerminating => format!("{pods} not ended in time"),
        Consent::Unreachable => format!("the node is not reached, {pods} on it"),
        Consent::Returning => format!("{pods} that tolerate the cordon"),
    }
}

/// `3 scratch volumes of up to 2Gi, 1Gi and 1 without limit`.
fn scratch<'p>(pods: impl Iterator<Item = &'p Pod>) -> String {
    let volumes: Vec<_> = pods.flat_map(|pod| pod.empty_dirs.iter().filter(|volume| !volume.memory)).collect();
    let limits: Vec<&str> = volumes.iter().filter_map(|volume| volume.limit.as_deref()).collect();
    let free = volumes.len() - limits.len();
    let mut words = count(volumes.len(), "scratch volume");
    if !limits.is_empty() {
        words.push_str(&format!(" of up to {}", limits.join(", ")));
        if free > 0 {
            words.push_str(&format!(" and {free} without limit"));
        }
    } else {
        words.push_str(" without limit");
    }
    words
}

fn pods_of(budget: &Budget) -> String {
    count(usize::try_from(budget.expected).unwrap_or_default(), "replica")
}

fn named<'n>(names: impl Iterator<Item = &'n Name>) -> String {
    let mut names: Vec<String> = names.map(ToString::to_string).collect();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let list = names.join(", ");
    if more > 0 { format!("{list} and {more} more") } else { list }
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests;
