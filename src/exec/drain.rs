//! Cordon, drain, uncordon. The drain is a loop around [`kubewright_core::drain::decide`]: it hears what the watches
//! tell, asks what to do, does it, and says what is waited for. It decides nothing itself.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll};
use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use kubewright_core::drain::{
    Action, Class, Consent, Decision, End, Ledger, Name, News, Outcome, Policy, View, Why, World, classify, decide,
    is_emptied, why,
};
use kubewright_core::ids::{HostName, OperationId};
use kubewright_core::plan::{Step, Target};
use tokio::time::Instant;

use super::cancel::Cancel;
use super::hands::Hands;
use super::maintain::await_detached;
use super::objects::connected;
use super::{Failure, Telling};
use crate::facts::nodes::{LOOK, look, peers};
use crate::kube::is_final;
use crate::ports::{Clock, Cordoned, KubeApi, KubeError, ObjectRef, Uncordoned, Whose};

/// All watches are opened anew this often. Connections are pinged and failures are told, so this is only for a watch
/// that goes on and says nothing any more (DESIGN.md §1: a safety re-check of 15 s or more).
const RELIST: Duration = Duration::from_secs(30);

/// So much news that has arrived together is decided on together.
const AT_ONCE: usize = 64;

/// So many requests under way at once, far below what the API server's fairness grants one user; more only queue there.
const UNDER_WAY: usize = 32;

/// A budget without room for so long is looked at closely, pod by pod, to say what it lacks. Of a workload of which one pod
/// after another goes it has none most of the time, and a list and a watch for each such budget would be most of what we
/// ask: longer than a controller takes to see a change, shorter than a person who wonders waits.
const CLOSE_LOOK: SignedDuration = SignedDuration::from_secs(2);

/// Waits that are told one by one; the rest is counted.
const TOLD: usize = 3;

fn node_of(step: &Step) -> Result<&HostName, Failure> {
    match &step.target {
        Target::Host(node) => Ok(node),
        other => Err(Failure::new(format!("{} is about {other}, which is no node", step.id))),
    }
}

/// Keeps new pods away.
///
/// # Errors
/// [`Failure`].
pub async fn cordon(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<(), Failure> {
    let node = node_of(step)?;
    let said = match connected(hands).await?.cordon(node, &hands.plan.operation).await? {
        Cordoned::Ours => format!("{node} takes no new pods"),
        Cordoned::Of(other) => format!("{node} was cordoned by operation {other} already; that cordon stays"),
        Cordoned::Foreign => format!("{node} was cordoned already, not by us; that cordon stays"),
    };
    telling(&said);
    Ok(())
}

/// Lets pods come again.
///
/// # Errors
/// [`Failure`].
pub async fn uncordon(hands: &Hands, step: &Step, foreign: bool, telling: Telling<'_>) -> Result<(), Failure> {
    let node = node_of(step)?;
    let whose = if foreign { Whose::Anybody } else { Whose::Kubewright };
    match connected(hands).await?.uncordon(node, &whose).await? {
        Uncordoned::Done => telling(&format!("{node} takes new pods")),
        Uncordoned::NotCordoned => telling(&format!("{node} takes new pods already")),
        Uncordoned::Kept => {
            return Err(Failure::new(format!("the cordon of {node} is not ours, and you have not agreed to take it")));
        }
    }
    Ok(())
}

/// Lets pods come again where it is this operation's cordon that keeps them away.
///
/// # Errors
/// [`Failure`].
pub async fn take_back(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<(), Failure> {
    let node = node_of(step)?;
    let whose = Whose::Of(hands.plan.operation.clone());
    telling(&match connected(hands).await?.uncordon(node, &whose).await? {
        Uncordoned::Done => format!("{node} takes new pods"),
        Uncordoned::NotCordoned => format!("{node} takes new pods already"),
        Uncordoned::Kept => format!("the cordon of {node} is not of this operation and stays"),
    });
    Ok(())
}

/// Moves a node's pods away, as a step says.
///
/// # Errors
/// Those of [`empty`], and where there is no API.
pub async fn drain(hands: &Hands, step: &Step, policy: &Policy, telling: Telling<'_>) -> Result<(), Failure> {
    let api = connected(hands).await?;
    let (operation, clock, cancel) = (&hands.plan.operation, hands.clock.as_ref(), &hands.cancel);
    empty(Errand { api, node: node_of(step)?, operation, policy, clock, cancel }, telling).await
}

/// Before something is done on a node that was emptied for it: empties it again where somebody let pods come meanwhile, by the same rules.
/// Between a drain and what it was made for may lie hours, as in a run that was cut off and is taken up again.
///
/// # Errors
/// Those of [`empty`]; where the API cannot be asked, unless the step was begun before: its own restart may be what keeps the API away.
pub async fn stays_empty(
    hands: &Hands,
    step: &Step,
    attempt: u32,
    policy: &Policy,
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let node = node_of(step)?;
    let api = connected(hands).await?;
    let world = match look(api, node, hands.clock.now(), LOOK).await {
        Ok(world) => world,
        Err(error) if attempt > 1 => {
            tracing::warn!(%error, "whether the node is empty still cannot be seen");
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    if is_emptied(&world, policy) {
        return Ok(());
    }
    telling(&format!(
        "{node} may have pods again, for somebody uncordoned it or bound some to it: it is emptied once more"
    ));
    drain(hands, step, policy, telling).await?;
    await_detached(hands, step, telling).await
}

/// A node to empty, and by what rules.
#[derive(Clone, Copy)]
pub struct Errand<'a> {
    /// The cluster.
    pub api: &'a dyn KubeApi,
    /// Which node.
    pub node: &'a HostName,
    /// For which operation: its name stands on our cordon.
    pub operation: &'a OperationId,
    /// What may be done.
    pub policy: &'a Policy,
    /// The time of day.
    pub clock: &'a dyn Clock,
    /// Whether the user asked to stop.
    pub cancel: &'a Cancel,
}

/// Moves a node's pods away. Where that cannot be done to its end, our cordon is taken back.
///
/// # Errors
/// [`Failure`] that says which pods stay and why; `undone` where the node takes pods as it did before.
pub async fn empty(errand: Errand<'_>, telling: Telling<'_>) -> Result<(), Failure> {
    let Errand { api, node, operation, .. } = errand;
    // Again: a run that is taken up anew may find its cordon taken back.
    let cordoned = api.cordon(node, operation).await?;
    // Before the first eviction: what comes from outside should find another way while the pods still serve.
    api.exclude(node, operation).await?;
    let Err(mut failure) = Emptying::new(errand, telling).run().await else { return Ok(()) };
    let undone = api.uncordon(node, &Whose::Of(operation.clone())).await;
    let said = match &undone {
        Ok(Uncordoned::Done | Uncordoned::NotCordoned) => format!("our cordon of {node} is undone"),
        Ok(Uncordoned::Kept) => format!("{node} stays cordoned by whoever did it before us"),
        Err(error) if cordoned == Cordoned::Ours => format!("{node} is still cordoned by us: {error}"),
        Err(error) => format!("{node} is still out of external load balancers by us: {error}"),
    };
    failure.undone = undone.is_ok();
    failure.text.push('\n');
    failure.text.push_str(&said);
    Err(failure)
}

type Stream = SelectAll<BoxStream<'static, (View, Result<News, KubeError>)>>;
type Asked<'a> = FuturesUnordered<BoxFuture<'a, (Name, String, Outcome)>>;

struct Emptying<'a, 't> {
    errand: Errand<'a>,
    telling: Telling<'t>,
    world: World,
    ledger: Ledger,
    /// Budgets without room, and since when.
    blocked: BTreeMap<Name, Timestamp>,
    asked: Asked<'a>,
    /// Whether the watch has told of the cordon: a first list may be older than that.
    cordoned: bool,
    /// Pods that it went on without, as was agreed.
    passed: Vec<(Name, Consent)>,
    /// What was said last.
    said: String,
    /// When the API was heard last.
    heard: Timestamp,
    silence: Option<String>,
}

impl<'a, 't> Emptying<'a, 't> {
    fn new(errand: Errand<'a>, telling: Telling<'t>) -> Self {
        let now = errand.clock.now();
        Self {
            errand,
            telling,
            world: World::new(errand.node.as_str(), now),
            ledger: Ledger::default(),
            blocked: BTreeMap::new(),
            asked: FuturesUnordered::new(),
            cordoned: false,
            passed: Vec::new(),
            said: String::new(),
            heard: now,
            silence: None,
        }
    }

    /// Goes on until nothing that had to move is there, twice in whole lists: what lands in between is seen.
    async fn run(&mut self) -> Result<(), Failure> {
        let mut seen_empty = false;
        loop {
            self.world.forget();
            match self.follow().await? {
                Pause::Relist => {}
                Pause::Empty if seen_empty => {
                    let (sent, refused) = self.ledger.sent();
                    tracing::info!(sent, refused, "drained");
                    self.leave().await;
                    return Ok(());
                }
                Pause::Empty => {
                    seen_empty = true;
                    continue;
                }
            }
            seen_empty = false;
        }
    }

    /// Follows watches that were just opened.
    async fn follow(&mut self) -> Result<Pause, Failure> {
        // What is known of a budget's pods is old news once nobody watches them.
        let blocked = &self.blocked;
        self.world.peers.retain(|budget, _| blocked.contains_key(budget));
        let mut watched = self.world.views();
        watched.extend(self.close_looks());
        let mut news = SelectAll::new();
        watched.iter().for_each(|view| news.push(open(self.errand.api, view)));
        let mut news: futures::stream::ReadyChunks<Stream> = news.ready_chunks(AT_ONCE);
        let relist = Instant::now() + RELIST;
        let mut wake = relist;
        let cancel = self.errand.cancel;
        loop {
            tokio::select! {
                biased;
                () = cancel.stopping() => return Err(self.stopped()),
                Some((pod, uid, outcome)) = self.asked.next(), if !self.asked.is_empty() => {
                    let now = self.errand.clock.now();
                    self.ledger.answer(&self.world, &pod, &uid, outcome, now);
                }
                batch = news.next() => match batch {
                    Some(batch) => self.take(batch)?,
                    None => return Ok(Pause::Relist),
                },
                () = tokio::time::sleep_until(wake) => {
                    if Instant::now() >= relist {
                        return Ok(Pause::Relist);
                    }
                }
            }
            self.check_cordon()?;
            let decision = self.decide();
            self.act(&decision);
            match decision.end {
                End::Drained if self.asked.is_empty() => {
                    self.passed = decision.passed;
                    return Ok(Pause::Empty);
                }
                End::Blocked => return Err(self.blocked(&decision)),
                End::Drained | End::Going => {}
            }
            self.tell(&decision);
            self.check_silence()?;
            let look = self.block(&decision);
            for view in self.close_looks() {
                if watched.insert(view.clone()) {
                    news.get_mut().push(open(self.errand.api, &view));
                }
            }
            wake = relist.min(self.at(decision.wake, relist)).min(self.at(look, relist));
        }
    }

    /// Takes note of the budgets without room; when the next of them is worth a close look.
    fn block(&mut self, decision: &Decision) -> Option<Timestamp> {
        let now = decision.blocked_budgets();
        self.blocked.retain(|budget, _| now.contains(budget));
        for budget in now {
            self.blocked.entry(budget.clone()).or_insert(self.world.now);
        }
        let due = self.blocked.values().filter_map(|since| since.checked_add(CLOSE_LOOK).ok());
        due.filter(|due| *due > self.world.now).min()
    }

    /// Views of the pods of budgets that have been without room for long enough.
    fn close_looks(&self) -> Vec<View> {
        let is_due = |since: &Timestamp| self.world.now.duration_since(*since) >= CLOSE_LOOK;
        peers(&self.world, self.blocked.iter().filter(|(_, since)| is_due(since)).map(|(budget, _)| budget))
    }

    fn decide(&mut self) -> Decision {
        self.world.now = self.errand.clock.now();
        self.ledger.look(&self.world);
        decide(&self.world, self.errand.policy, &self.ledger)
    }

    /// A time of day as a moment to wake at.
    fn at(&self, time: Option<Timestamp>, otherwise: Instant) -> Instant {
        let left = time.map(|time| Duration::try_from(time.duration_since(self.world.now)).unwrap_or_default());
        left.map_or(otherwise, |left| Instant::now() + left)
    }

    fn take(&mut self, batch: Vec<(View, Result<News, KubeError>)>) -> Result<(), Failure> {
        for (view, news) in batch {
            match news {
                Ok(news) => {
                    self.heard = self.errand.clock.now();
                    self.silence = None;
                    self.world.take(&view, news);
                }
                Err(error) if is_final(&error) => return Err(error.into()),
                Err(error) => self.silence = Some(error.said),
            }
        }
        Ok(())
    }

    /// Whoever lets pods come while they are moved away wants no drain; it would go on for as long as they do.
    fn check_cordon(&mut self) -> Result<(), Failure> {
        let Some(node) = self.world.target().filter(|_| self.world.is_listed()) else { return Ok(()) };
        if self.cordoned && node.schedulable {
            let text = format!(
                "somebody uncordoned {} while it was emptied; pods that moved stay where they are",
                self.errand.node
            );
            return Err(Failure::new(text));
        }
        self.cordoned |= !node.schedulable;
        Ok(())
    }

    /// An API that is gone is waited for, by those who do not wait for ever as long as for anything else.
    fn check_silence(&mut self) -> Result<(), Failure> {
        let Some(said) = self.silence.clone() else { return Ok(()) };
        let silent = self.world.now.duration_since(self.heard);
        if !self.errand.policy.wait && silent.as_secs() >= i64::from(self.errand.policy.patience_seconds) {
            return Err(Failure::new(format!("nothing was heard from the API for {} s: {said}", silent.as_secs())));
        }
        self.say(format!("the API is not heard, going on when it is: {said}"));
        Ok(())
    }

    /// Sends what was decided. Each request is sent once; what comes back is for the next decision.
    fn act(&mut self, decision: &Decision) {
        for action in &decision.actions {
            if self.asked.len() >= UNDER_WAY {
                break;
            }
            let api = self.errand.api;
            match action.clone() {
                Action::Evict { pod, uid, budget } => {
                    self.ledger.send(&self.world, &pod, &uid, budget.as_ref());
                    let receipt = self.receipt(&pod);
                    self.asked.push(
                        async move {
                            let outcome = api.evict(&pod, &uid).await;
                            if let (Outcome::Accepted, Some(receipt)) = (&outcome, receipt) {
                                remark(api, &pod, &receipt).await;
                            }
                            (pod, uid, outcome)
                        }
                        .boxed(),
                    );
                }
                Action::Delete { pod, uid, budgets } => {
                    self.ledger.send(&self.world, &pod, &uid, &budgets);
                    let operation = self.errand.operation;
                    let why = past(&budgets);
                    let receipt = format!("operation {operation} deletes it {why}, as was agreed");
                    (self.telling)(&format!("{pod} is deleted {why}, as was agreed"));
                    self.asked.push(
                        async move {
                            let outcome = api.delete_pod(&pod, &uid).await;
                            if outcome == Outcome::Accepted {
                                remark(api, &pod, &receipt).await;
                            }
                            (pod, uid, outcome)
                        }
                        .boxed(),
                    );
                }
            }
        }
    }

    /// The words for an Event, where the pod only goes because somebody agreed.
    fn receipt(&self, pod: &Name) -> Option<String> {
        let Class::Moves(needs) = classify(self.world.pods.get(pod)?, self.world.target()) else { return None };
        let losses: Vec<&str> = needs.iter().map(|consent: &Consent| consent.loss()).collect();
        let operation = self.errand.operation;
        (!losses.is_empty()).then(|| format!("operation {operation} evicts it, as was agreed: {}", losses.join("; ")))
    }

    /// Says of the pods that it went on without why that was, to whoever finds them later too.
    async fn leave(&mut self) {
        for (pod, consent) in std::mem::take(&mut self.passed) {
            let (operation, loss) = (self.errand.operation, consent.loss());
            (self.telling)(&format!("{pod} is left, as was agreed: {loss}"));
            let receipt = format!("operation {operation} goes on without it, as was agreed: {loss}");
            remark(self.errand.api, &pod, &receipt).await;
        }
    }

    fn tell(&mut self, decision: &Decision) {
        if !self.world.is_listed() || self.silence.is_some() {
            return;
        }
        let mut line = standing(decision);
        for chain in self.chains(decision).iter().take(TOLD) {
            line.push_str(&format!("; {}: {}", chain.pods(), chain.sentences().join(", ")));
        }
        self.say(line);
    }

    fn say(&mut self, line: String) {
        if line != self.said {
            (self.telling)(&line);
            self.said = line;
        }
    }

    fn chains(&self, decision: &Decision) -> Vec<Why> {
        decision.blockers().into_iter().map(|(wait, more)| why(&self.world, wait, more)).collect()
    }

    /// It cannot go on: which pods, why, and what would free them.
    fn blocked(&self, decision: &Decision) -> Failure {
        let mut lines = vec![format!("{} cannot be emptied: {}", self.errand.node, standing(decision))];
        let chains = self.chains(decision);
        for chain in chains.iter().take(TOLD) {
            lines.push(format!("{} {}", chain.pods(), if chain.more == 0 { "waits" } else { "wait" }));
            lines.extend(chain.sentences().into_iter().map(|sentence| format!("  {sentence}")));
            lines.extend(chain.fix.iter().map(|fix| format!("  cheapest: {fix}")));
        }
        if chains.len() > TOLD {
            lines.push(format!("and {} more like these", chains.len() - TOLD));
        }
        let hint = format!("kubewright node why {} tells more; --wait waits for budgets", self.errand.node);
        Failure { hint: Some(hint), ..Failure::new(lines.join("\n")) }
    }

    fn stopped(&self) -> Failure {
        let text = format!("stopped by the user; pods that moved away from {} stay where they are", self.errand.node);
        Failure { stopped: true, ..Failure::new(text) }
    }
}

/// Why watches are left.
enum Pause {
    /// They are to be opened anew.
    Relist,
    /// Nothing that had to move is there.
    Empty,
}

fn open(api: &dyn KubeApi, view: &View) -> BoxStream<'static, (View, Result<News, KubeError>)> {
    let name = view.clone();
    api.follow(view).map(move |news| (name.clone(), news)).boxed()
}

/// Writes a receipt, once the thing was done. It is for people: where it cannot be written nothing waits for it.
async fn remark(api: &dyn KubeApi, pod: &Name, text: &str) {
    let about = ObjectRef::namespaced("v1", "Pod", &pod.namespace, &pod.name);
    if let Err(error) = api.remark(&about, "DrainConsent", text).await {
        tracing::warn!(%error, "a receipt was not written");
    }
}

/// Why a pod is deleted and not evicted.
fn past(budgets: &[Name]) -> String {
    match budgets {
        [budget] => format!("past budget {budget}"),
        several => {
            let names: Vec<String> = several.iter().map(Name::to_string).collect();
            format!("because budgets {} all count it", names.join(", "))
        }
    }
}

/// `19 pods to move, 14 gone, 4 moving, 1 waits`.
fn standing(decision: &Decision) -> String {
    let standing = decision.standing;
    let mut parts = vec![match standing.all {
        1 => "1 pod to move".to_owned(),
        all => format!("{all} pods to move"),
    }];
    let counts = [(standing.gone, "gone"), (standing.moving, "moving"), (decision.passed.len(), "passed")];
    parts.extend(counts.into_iter().filter(|(number, _)| *number > 0).map(|(number, word)| format!("{number} {word}")));
    match standing.waiting {
        0 => {}
        1 => parts.push("1 waits".to_owned()),
        waiting => parts.push(format!("{waiting} wait")),
    }
    parts.join(", ")
}
