//! The wizard: what an upgrade needs to know and cannot see is asked for, one thing after another. Until the last answer nothing
//! is changed, and every answer is an option of the command that it prints.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kubewright_core::drain::Permission;
use kubewright_core::facts::{ClusterFacts, Fact};
use kubewright_core::finding::{Finding, Subject, codes};
use kubewright_core::ids::HostName;
use kubewright_core::offer::Available;
use kubewright_core::plan::{self, Plan};
use kubewright_core::spec::Role;
use kubewright_core::version::{PROVEN, Version};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Upgrade;
use super::items::{Items, Settled, Wishes};
use super::published::available;
use super::questions::{self, Ending, Situation, Wanted};
use super::sight::Sight;
use crate::cli::pause::Pace;
use crate::cli::run::{self, Finish};
use crate::cli::world::{Loaded, World};
use crate::cli::{node, plan as plan_command};
use crate::error::{Error, ErrorKind, ExitCode};
use crate::facts::{Questions, gather, gather_cluster};
use crate::ports::{Answer, Hosts, Ui};
use crate::report::plan::Around;
use crate::report::{self, Paint};

/// One conversation.
pub(super) struct Wizard<'w> {
    world: &'w World,
    upgrade: Upgrade,
    loaded: Loaded,
    hosts: Arc<dyn Hosts>,
    /// Ctrl-C between questions.
    interrupts: Signal,
}

/// A plan that lacks nothing but a yes to the whole.
struct Ready {
    sight: Sight,
    plan: Plan,
    seeing: Duration,
}

impl<'w> Wizard<'w> {
    /// For an upgrade of which some is said already.
    pub fn new(world: &'w World, upgrade: Upgrade, loaded: Loaded, hosts: Arc<dyn Hosts>) -> Result<Self, Error> {
        let interrupts = signal(SignalKind::interrupt())
            .map_err(|error| Error::internal(format!("Ctrl-C cannot be listened for: {error}")))?;
        Ok(Self { world, upgrade, loaded, hosts, interrupts })
    }

    /// From the first question to the end of the run.
    pub async fn run(mut self) -> Result<ExitCode, Error> {
        match self.talk().await? {
            Answer::Given(code) => Ok(code),
            Answer::Cancelled => {
                report::note("nothing was changed");
                Ok(ExitCode::ChangesPending)
            }
        }
    }

    /// Takes a run up to its end, planning anew where a node is skipped.
    pub async fn go(
        world: &'w World,
        upgrade: Upgrade,
        loaded: Loaded,
        sight: Sight,
        plan: Plan,
    ) -> Result<ExitCode, Error> {
        let mut wizard = Self::new(world, upgrade, loaded, sight.hosts.clone())?;
        wizard.carry_out(Ready { sight, plan, seeing: Duration::ZERO }).await
    }

    async fn talk(&mut self) -> Result<Answer<ExitCode>, Error> {
        if self.upgrade.to.is_none() {
            match self.version().await? {
                Answer::Given(true) => {}
                Answer::Given(false) => return Ok(Answer::Given(ExitCode::NothingToDo)),
                Answer::Cancelled => return Ok(Answer::Cancelled),
            }
        }
        let ready = match self.settle().await? {
            Answer::Given(Some(ready)) => ready,
            Answer::Given(None) => return Ok(Answer::Given(ExitCode::NothingToDo)),
            Answer::Cancelled => return Ok(Answer::Cancelled),
        };
        self.show(&ready)?;
        let ui = self.ui();
        match questions::ending(ui)? {
            Answer::Given(Ending::Run) => {}
            Answer::Given(Ending::Save(path)) => {
                let run = plan_command::save(&ready.plan, &path)?;
                questions::same_as(ui, &format!("{} -o {}", self.upgrade.command(), path.display()))?;
                ui.show(&format!("  run it:   {run}"))?;
                return Ok(Answer::Given(ExitCode::ChangesPending));
            }
            Answer::Given(Ending::Stop) | Answer::Cancelled => return Ok(Answer::Cancelled),
        }
        if !self.upgrade.pause && plan::turns(&ready.plan).len() > 1 {
            let Answer::Given(pause) = questions::pauses(ui)? else { return Ok(Answer::Cancelled) };
            self.upgrade.pause = pause;
        }
        questions::same_as(self.ui(), &format!("{} --yes", self.upgrade.command()))?;
        Ok(Answer::Given(self.carry_out(ready).await?))
    }

    fn ui(&self) -> &'w dyn Ui {
        self.world.ui.as_ref()
    }

    /// Asks for the version; false where there is none to go to.
    async fn version(&mut self) -> Result<Answer<bool>, Error> {
        let Self { loaded, hosts, interrupts, .. } = self;
        let Answer::Given((cluster, available)) = unless(interrupts, look(loaded, hosts)).await else {
            return Ok(Answer::Cancelled);
        };
        // Where nobody tells what runs, planning says why.
        let Some(situation) = cluster.known().and_then(|cluster| situation(&self.loaded, cluster)) else {
            return Ok(Answer::Given(true));
        };
        match questions::version(self.ui(), &situation, &available)? {
            Answer::Given(Some(wanted)) => {
                self.ui().show(&questions::brings(&situation.from, &wanted))?;
                let Wanted { to, via } = wanted;
                (self.upgrade.to, self.upgrade.via) = (Some(to), via);
                Ok(Answer::Given(true))
            }
            Answer::Given(None) => {
                self.ui().show(&format!("  Nothing newer than {} is known; nothing to do.", situation.from))?;
                Ok(Answer::Given(false))
            }
            Answer::Cancelled => Ok(Answer::Cancelled),
        }
    }

    /// Looks, and asks about findings until there is a plan that lacks no consent; none where there is nothing to do.
    async fn settle(&mut self) -> Result<Answer<Option<Ready>>, Error> {
        let began = Instant::now();
        let left = self.upgrade.left(&self.loaded.spec)?;
        let choices = self.upgrade.patience.choices();
        let mut permissions = choices.permissions();
        // Whether budgets are gone past is asked below.
        if !permissions.contains(&Permission::DeletePods) {
            permissions.push(Permission::DeletePods);
        }
        let Self { world, upgrade, loaded, hosts, interrupts } = self;
        let Answer::Given(sight) = unless(interrupts, upgrade.look(world, loaded, hosts, permissions)).await else {
            return Ok(Answer::Cancelled);
        };
        let (sight, seeing) = (sight?, began.elapsed());
        let mut workers = sight.facts.cluster.known().map(ClusterFacts::kubelets).unwrap_or_default();
        workers.retain(|node, _| loaded.spec.host(node).is_some_and(|host| !host.is(Role::ControlPlane)));
        let mut wishes = Wishes::new(choices, left);
        let settled = Items {
            ui: world.ui.as_ref(),
            plan: &|wishes| sight.planned(&wishes.choices, &wishes.left),
            details: &|finding| details(&sight, finding),
            workers: &workers,
            paint: Paint::stdout(),
        }
        .settle(&mut wishes)?;
        upgrade.leave = wishes.left.iter().map(ToString::to_string).collect();
        upgrade.patience.agreed.consent = wishes.choices.consents.iter().cloned().collect();
        match settled {
            Settled::Plan(plan) => Ok(Answer::Given(Some(Ready { sight, plan: *plan, seeing }))),
            Settled::Nothing(findings) => {
                self.upgrade.nothing(world, &self.loaded.spec, &findings)?;
                Ok(Answer::Given(None))
            }
            Settled::Blocked(findings) => Err(Error::blocked(findings)),
            Settled::Stopped => Ok(Answer::Cancelled),
        }
    }

    fn show(&self, ready: &Ready) -> Result<(), Error> {
        let command = self.upgrade.command();
        let around = Around { facts: Some(ready.seeing), run: &command, steps: false };
        self.ui().show(&report::plan::text(&ready.plan, &around, Paint::stdout()))?;
        Ok(self.ui().show(&report::plan::order(&ready.plan, Paint::stdout()))?)
    }

    /// Runs it; where a node is skipped at a pause, plans anew without it and goes on.
    async fn carry_out(&mut self, mut ready: Ready) -> Result<ExitCode, Error> {
        loop {
            let pace = if self.upgrade.pause { Pace::Asking } else { Pace::Through };
            ready.sight.keep(&self.loaded, &self.upgrade.of.file)?;
            let operation = self.world.operations.create(&ready.plan, &ready.sight.facts)?;
            let node = match run::paced(self.world, operation, ready.sight.hosts.clone(), false, pace).await? {
                Finish::Ended(code) => return Ok(code),
                Finish::Skipped(node) => node,
            };
            self.ui().show(&format!("  {node} keeps its version; planning anew without it."))?;
            self.upgrade.leave.push(node.to_string());
            // By now it says the version.
            self.loaded = self.world.load(&self.upgrade.of.file)?;
            ready = match self.settle().await? {
                Answer::Given(Some(ready)) => ready,
                Answer::Given(None) => return Ok(ExitCode::Done),
                Answer::Cancelled => {
                    let message = "stopped between two nodes; nothing is half done";
                    return Err(Error::new(ErrorKind::Stopped, "STOPPED", message).next(self.upgrade.command()));
                }
            };
            self.show(&ready)?;
        }
    }
}

/// The work's outcome, unless Ctrl-C comes first.
async fn unless<T>(interrupts: &mut Signal, work: impl Future<Output = T>) -> Answer<T> {
    tokio::select! {
        // Whoever pressed it is not told what came in the same moment.
        biased;
        _ = interrupts.recv() => Answer::Cancelled,
        outcome = work => Answer::Given(outcome),
    }
}

/// What the cluster runs, and what there is to go to, asked for at once.
async fn look(loaded: &Loaded, hosts: &Arc<dyn Hosts>) -> (Fact<ClusterFacts>, Available) {
    let names: Vec<HostName> = loaded.spec.hosts.iter().map(|host| host.name.clone()).collect();
    let cluster = async {
        let facts = gather(hosts.as_ref(), &names, &Questions::of_guards()).await;
        gather_cluster(&loaded.spec, hosts.clone(), &facts).await
    };
    tokio::join!(cluster, available(&loaded.spec, hosts, &PROVEN))
}

fn situation(loaded: &Loaded, cluster: &ClusterFacts) -> Option<Situation> {
    let from = cluster.running.known()?.oldest_server()?.clone();
    let kubelets: BTreeMap<HostName, Version> = cluster.kubelets();
    let behind = kubelets.into_iter().filter(|(_, version)| *version < from).collect();
    Some(Situation {
        cluster: loaded.spec.name.clone(),
        spec: loaded.spec.kubernetes.version.clone(),
        nodes: cluster.nodes.len(),
        behind,
        from,
    })
}

/// What a finding means, and what keeps the pods of its node there.
fn details(sight: &Sight, finding: &Finding) -> String {
    let meaning = codes::lookup(&finding.code).map(|code| code.meaning).unwrap_or_default();
    let mut text = format!("  {}: {meaning}\n", finding.code);
    if let Subject::Host(host) = &finding.subject
        && let Some(observed) = sight.node(host)
    {
        for line in node::why(observed).lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    text
}
