//! Does what steps say, on real hosts or on fakes of them. One file per family of steps; here is what they share.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use kubewright_core::facts::{Fact, Facts, HostFacts};
use kubewright_core::guard::Guard;
use kubewright_core::ids::HostName;
use kubewright_core::maintenance::Controller;
use kubewright_core::plan::{Plan, Step, StepKind, Target, emptied_for};
use kubewright_core::spec::Host as HostSpec;
use tokio::sync::OnceCell;

use super::cancel::Cancel;
use super::keys::Keys;
use super::mirror::MirrorSender;
use super::{
    Effects, Failure, Telling, Verdict, drain, files, keys, maintain, members, objects, prepare, reboot, reset,
    restore, schedule, settle, start, swap, upkeep,
};
use crate::etcd::EtcdCluster;
use crate::facts::{Questions, gather};
use crate::host::unit::{UnitEnd, UnitName, UnitResult, UnitState, run_unit, unit_state};
use crate::ports::{Clock, EtcdApi, EtcdFault, Host, HostError, Hosts, KubeApi, Script};
use crate::store::Secrets;

/// Everything a step may reach for.
pub struct Hands {
    /// What is being done.
    pub plan: Plan,
    /// What was seen when it was planned.
    pub facts: Facts,
    /// The machines.
    pub hosts: Arc<dyn Hosts>,
    /// Our fence number.
    pub fence: u64,
    /// Where keys are kept until the cluster holds them.
    pub secrets: Secrets,
    /// Whether the user asked to stop: steps that may wait for ever look at it.
    pub cancel: Cancel,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where the journal is copied to.
    pub mirror: MirrorSender,
    /// The keys, once made or found.
    pub keys: OnceCell<Keys>,
    /// The API, once it answers.
    pub api: OnceCell<Arc<dyn KubeApi>>,
    /// etcd, once somebody has asked for it.
    pub etcd: OnceCell<Arc<dyn EtcdApi>>,
    /// What this process wrote down as whole before nodes' turns: their hosts may be away when another turn begins.
    pub whole: Mutex<BTreeMap<HostName, BTreeSet<Controller>>>,
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let mut text = error.to_string();
        if let HostError::Failed { stderr, .. } = &error {
            text.push('\n');
            text.push_str(&last_words(stderr));
        }
        Self {
            hint: error.hint().map(str::to_owned),
            fenced: matches!(error, HostError::Fenced { .. }),
            ..Self::new(text)
        }
    }
}

impl Hands {
    /// The connected host that a step is about.
    ///
    /// # Errors
    /// [`Failure`] where the step is about no host, or it cannot be reached.
    pub async fn host(&self, step: &Step) -> Result<(Arc<dyn Host>, &HostSpec), Failure> {
        let name = self.target(step)?;
        let spec = self.plan.spec.host(name).ok_or_else(|| Failure::new(format!("{name} is not in the spec")))?;
        Ok((self.hosts.host(name).await?, spec))
    }

    /// The host that a step is about.
    ///
    /// # Errors
    /// [`Failure`] where it is about none.
    pub fn target<'s>(&self, step: &'s Step) -> Result<&'s HostName, Failure> {
        match &step.target {
            Target::Host(name) => Ok(name),
            _ => Err(Failure::new(format!("{} names no host", step.id))),
        }
    }

    /// etcd, each member at its own endpoint, with the credentials of a control plane.
    ///
    /// # Errors
    /// [`Failure`] where no control plane has them.
    pub async fn etcd(&self) -> Result<&dyn EtcdApi, Failure> {
        let etcd = self
            .etcd
            .get_or_try_init(|| async {
                let hosts = self.hosts.clone();
                let etcd = EtcdCluster::over_ssh(&self.plan.spec, hosts, &self.plan.keepers, self.clock.clone());
                Ok::<Arc<dyn EtcdApi>, Failure>(Arc::new(etcd.await?))
            })
            .await?;
        Ok(etcd.as_ref())
    }

    /// What was seen of a host at planning time.
    ///
    /// # Errors
    /// [`Failure`] where nothing was seen of it, which no planner lets pass.
    pub fn seen(&self, host: &HostName) -> Result<&HostFacts, Failure> {
        self.facts
            .hosts
            .get(host)
            .and_then(|fact| fact.known())
            .ok_or_else(|| Failure::new(format!("nothing is known of {host}")))
    }

    /// The keys of this operation, from memory, this machine or a control plane.
    ///
    /// # Errors
    /// [`Failure`] where they were never made.
    pub async fn keys(&self) -> Result<&Keys, Failure> {
        self.keys
            .get_or_try_init(|| async {
                keys::find(self)
                    .await?
                    .ok_or_else(|| Failure::new("the keys of this operation are neither here nor on a control plane"))
            })
            .await
    }

    /// Runs a script as the unit of a step and explains how it ended. A lost connection leaves the unit running, so
    /// we attach to it again for as long as the step has time.
    ///
    /// # Errors
    /// [`Failure`] with the script's own last lines.
    pub async fn unit(
        &self,
        host: &dyn Host,
        step: &Step,
        attempt: u32,
        script: &Script,
        telling: Telling<'_>,
    ) -> Result<(), Failure> {
        let name = self.unit_name(step, attempt);
        let result = self.attached(host, &name, script, telling).await?;
        match result.end {
            UnitEnd::Finished { status: 0 } => Ok(()),
            UnitEnd::Finished { status } => Err(Failure::new(format!(
                "{} on {} ended with status {status}\n{}",
                script.name,
                host.name(),
                last_words(&result.output_tail)
            ))),
            UnitEnd::Vanished => Err(Failure::new(format!(
                "{} on {} is gone without a result: was the host restarted?",
                script.name,
                host.name()
            ))),
        }
    }

    /// What the unit of a try in doubt says, before anything else is asked: still running or finished is an answer.
    ///
    /// # Errors
    /// [`Failure`] where the host cannot be asked.
    pub async fn unit_verdict(
        &self,
        host: &dyn Host,
        step: &Step,
        attempt: u32,
        telling: Telling<'_>,
    ) -> Result<Option<Verdict>, Failure> {
        let name = self.unit_name(step, attempt);
        match unit_state(host, &name).await? {
            UnitState::Running => {
                telling("still running from before; following it");
                // Attaching needs no script of its own: the unit has one.
                let result = self.attached(host, &name, &Script::new("attach", ""), telling).await?;
                Ok((result.end == UnitEnd::Finished { status: 0 }).then_some(Verdict::Done))
            }
            UnitState::Finished { status: 0 } => Ok(Some(Verdict::Done)),
            UnitState::Finished { .. } | UnitState::Vanished | UnitState::Absent => Ok(None),
        }
    }

    fn unit_name(&self, step: &Step, attempt: u32) -> UnitName {
        UnitName { operation: self.plan.operation.clone(), step: step.id.clone(), attempt }
    }

    /// Runs a unit or attaches to it, again after each lost connection. It has no end of its own: the driver's
    /// deadline of the step is one.
    async fn attached(
        &self,
        host: &dyn Host,
        name: &UnitName,
        script: &Script,
        telling: Telling<'_>,
    ) -> Result<UnitResult, Failure> {
        /// A line that was just lost needs a moment; there is no event for its return.
        const PAUSE: Duration = Duration::from_secs(2);
        loop {
            let mut lines = |line: &str| {
                if let Some(text) = line.strip_prefix(":: ") {
                    telling(text);
                }
            };
            match run_unit(host, name, self.fence, script, &mut lines).await {
                Ok(result) => return Ok(result),
                Err(HostError::Lost { .. } | HostError::Connect { .. }) => {
                    telling("connection lost; the host goes on by itself, attaching again");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The last lines of an output, with our progress marks taken away.
fn last_words(output: &str) -> String {
    /// As many as fit on a terminal together with the advice.
    const LINES: usize = 15;
    let lines: Vec<&str> = output.lines().filter(|line| !line.starts_with(":: ")).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

#[async_trait]
impl Effects for Hands {
    async fn guards(&self, guards: &[Guard], begun: bool) -> Result<Result<(), String>, Failure> {
        let mut names: Vec<HostName> = guards.iter().filter_map(Guard::host).cloned().collect();
        names.dedup();
        let mut facts = gather(self.hosts.as_ref(), &names, &Questions::of_guards()).await;
        for (name, fact) in &facts.hosts {
            if let Some(why) = fact.why() {
                return Err(Failure::new(format!("{name} cannot be asked: {why}")));
            }
        }
        let check = |facts: &Facts, guard: &Guard| if begun { guard.check_again(facts) } else { guard.check(facts) };
        let asks_etcd = |guard: &&Guard| matches!(guard, Guard::EtcdBears { .. });
        if guards.iter().any(|guard| asks_etcd(&guard)) {
            match self.etcd().await?.observe().await {
                Ok(value) => facts.etcd = Fact::Known { value, at: self.clock.now() },
                Err(error) => {
                    facts.etcd = Fact::unreadable(error.to_string());
                    let caused = guards.iter().filter(asks_etcd).all(|guard| check(&facts, guard).is_ok());
                    if !(caused && matches!(error.fault, EtcdFault::Connection(_))) {
                        return Err(error.into());
                    }
                }
            }
        }
        Ok(guards.iter().try_for_each(|guard| check(&facts, guard)))
    }

    async fn probe(&self, step: &Step, attempt: u32, telling: Telling<'_>) -> Result<Verdict, Failure> {
        // It may be restarting right now: there is nobody to ask for a while.
        if step.kind == StepKind::Reboot {
            return reboot::probe(self, step, telling).await;
        }
        let (host, spec) = self.host(step).await?;
        if let Some(verdict) = self.unit_verdict(host.as_ref(), step, attempt, telling).await? {
            return Ok(verdict);
        }
        match &step.kind {
            StepKind::PrepareHost(preparation) => prepare::probe(self, host.as_ref(), preparation).await,
            StepKind::StartEtcdMember => start::probe_etcd_member(host.as_ref(), spec).await,
            StepKind::StartControlPlane => start::probe_control_plane(self, host.as_ref(), spec).await,
            StepKind::StartWorker => start::probe_worker(self, host.as_ref(), spec).await,
            _ => Ok(Verdict::NotDone),
        }
    }

    async fn perform(&self, step: &Step, attempt: u32, telling: Telling<'_>) -> Result<(), Failure> {
        if let Some(policy) = emptied_for(&self.plan, step) {
            drain::stays_empty(self, step, attempt, policy, telling).await?;
        }
        match &step.kind {
            StepKind::MakeKeys { authorities, hosts, keep_on } => {
                keys::make(self, *authorities, hosts, keep_on, telling).await
            }
            StepKind::PrepareHost(preparation) => prepare::perform(self, step, attempt, preparation, telling).await,
            StepKind::Stage(preparation) => prepare::stage(self, step, attempt, preparation, telling).await,
            StepKind::SwapVersion { version, programs, renew_certificates, etcd, serve_seconds, ready_seconds } => {
                let (renew_certificates, serve_seconds, ready_seconds) =
                    (*renew_certificates, *serve_seconds, *ready_seconds);
                let wanted = swap::Swap { version, programs, renew_certificates, etcd, serve_seconds, ready_seconds };
                swap::perform(self, step, attempt, &wanted, telling).await
            }
            StepKind::PlaceFiles { files, etcd } => files::place(self, step, *files, etcd, telling).await,
            StepKind::StartControlPlane => start::control_plane(self, step, attempt, telling).await,
            StepKind::StartWorker => start::worker(self, step, attempt, telling).await,
            StepKind::ApplyObjects { group } => objects::apply(self, *group, telling).await,
            StepKind::MarkNode => objects::mark(self, step, telling).await,
            StepKind::AddEtcdMember { peer_url } => members::add(self, peer_url, telling).await,
            StepKind::StartEtcdMember => start::etcd_member(self, step, attempt, telling).await,
            StepKind::PromoteEtcdMember => members::promote(self, step, telling).await,
            StepKind::RemoveEtcdMember => members::remove(self, step, telling).await,
            StepKind::ForgetEtcdMember { member } => members::forget(self, *member, telling).await,
            StepKind::SetEtcdAside { member } => members::set_aside(self, step, attempt, *member, telling).await,
            StepKind::ProveEtcd { not_waited_for } => members::prove(self.etcd().await?, not_waited_for, telling).await,
            StepKind::MoveEtcdLeader => upkeep::lead(self.etcd().await?, self.target(step)?, telling).await,
            StepKind::DefragmentEtcd => upkeep::defragment(self.etcd().await?, self.target(step)?, telling).await,
            StepKind::RestartEtcdMember => upkeep::restart(self, step, attempt, telling).await,
            StepKind::CompactEtcd { revision } => upkeep::compact(self.etcd().await?, *revision, telling).await,
            StepKind::DisarmEtcd { of } => upkeep::disarm(self.etcd().await?, *of, telling).await,
            StepKind::ResetHost { keep_prepared, delete_etcd_data } => {
                reset::host(self, step, attempt, *keep_prepared, *delete_etcd_data, telling).await
            }
            StepKind::DeleteNode => objects::delete_node(self, step, telling).await,
            StepKind::Prove { nodes, add_ons } => objects::prove(self, step, nodes, *add_ons, telling).await,
            StepKind::Settle { hosts, copies_on } => settle::settle(self, hosts, copies_on, telling).await,
            StepKind::Cordon => drain::cordon(self, step, telling).await,
            StepKind::Drain { policy, .. } => drain::drain(self, step, policy, telling).await,
            StepKind::Uncordon { foreign } => drain::uncordon(self, step, *foreign, telling).await,
            StepKind::NoteWorkloads => maintain::note(self, step, telling).await,
            StepKind::HandOverEtcdLead => members::step_down(self, step, telling).await,
            StepKind::AwaitDetached => maintain::await_detached(self, step, telling).await,
            StepKind::UpdatePackages { held } => maintain::update_packages(self, step, attempt, held, telling).await,
            StepKind::ScheduleCopies { schedule, position, spec } => {
                schedule::begin(self, step, schedule, *position, spec, telling).await
            }
            StepKind::UnscheduleCopies => schedule::end(self, step, telling).await,
            StepKind::RunScript { name, text } => maintain::run_script(self, step, attempt, name, text, telling).await,
            StepKind::Reboot => reboot::perform(self, step, telling).await,
            StepKind::ProveReturned => maintain::prove_returned(self, step, telling).await,
            StepKind::TakeBackCordon => drain::take_back(self, step, telling).await,
            StepKind::Restore(part) => restore::perform(self, step, attempt, part, telling).await,
            StepKind::AwaitWorkloads => maintain::await_workloads(self, step, telling).await,
        }
    }

    fn recorded(&self, journal: &[u8]) {
        self.mirror.send(journal);
    }
}

/// Runs one thing on many hosts at once; the first failure after all have ended.
///
/// # Errors
/// The first failure.
pub async fn on_all<'a, F>(hosts: &'a [HostName], each: impl Fn(&'a HostName) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + 'a,
{
    join_all(hosts.iter().map(each)).await.into_iter().collect()
}
