//! Runs an operation under lock, mirror and live view. Shared by `apply` and `ops resume`.

use std::sync::Arc;
use std::time::Duration;

use kubewright_core::intent::Intent;
use kubewright_core::journal::{self, Event};
use kubewright_core::plan::Plan;
use kubewright_core::progress::News;
use kubewright_core::quorum::majority;
use kubewright_core::summary;
use tokio::sync::{OnceCell, mpsc};
use tokio::time::{MissedTickBehavior, interval};

use super::world::World;
use crate::error::{Error, ErrorKind, ExitCode};
use crate::exec::cancel::Cancel;
use crate::exec::driver::{End, Run};
use crate::exec::hands::Hands;
use crate::exec::lock::{self, Lock, LockError};
use crate::exec::mirror::{Mirror, Origin};
use crate::exec::{Breakage, Broken, reset};
use crate::kube::lease;
use crate::ports::{HostError, Hosts};
use crate::report::{self, Paint};
use crate::store::{Journal, Operation, StoreError};

/// A sign of life this often; `core::takeover::QUIET` allows for four missed ones.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Runs an operation to its end, its stop or its failure.
///
/// # Errors
/// [`Error`] that says what is safe now and how to go on.
pub async fn run(world: &World, operation: Operation, hosts: Arc<dyn Hosts>, forced: bool) -> Result<ExitCode, Error> {
    let Operation { plan, facts, plan_bytes, facts_bytes, journal, folder, secrets, lock: _held_until_the_end } =
        operation;
    let holder = lock::holder(&plan, world.operator(), world.clock.now());
    let lock = Lock::take(hosts.as_ref(), &plan.keepers, &plan.spec, holder, forced).await?;

    if lock.fence <= journal.status().fence {
        lock.release().await;
        let text = format!(
            "the control planes have forgotten operation {}: their fence is {}, its last was {}; they were reinstalled",
            plan.operation,
            lock.fence,
            journal.status().fence
        );
        return Err(Error::moved(text).next(format!("give it up: kubewright ops abandon {}", plan.operation)));
    }

    let (notes, notices) = mpsc::unbounded_channel();
    let origin = Origin {
        operation: plan.operation.clone(),
        fence: lock.fence,
        plan: plan_bytes.into(),
        facts: facts_bytes.into(),
    };
    let mut mirror = Mirror::start(lock.hosts().to_vec(), &origin, &notes);
    if !mirror.rooted_on(majority(plan.keepers.len())).await {
        lock.release().await;
        return Err(Error::new(
            ErrorKind::Blocked,
            "MIRROR",
            "the plan could not be kept on a majority of the control planes",
        )
        .safe("nothing was changed"));
    }
    let cancel = Cancel::default();
    cancel.on_signals();
    let hands = Hands {
        cancel,
        plan: plan.clone(),
        facts,
        hosts,
        fence: lock.fence,
        secrets,
        clock: world.clock.clone(),
        mirror: mirror.sender(),
        keys: OnceCell::new(),
        api: OnceCell::new(),
        etcd: OnceCell::new(),
    };
    let outcome = drive(world, &hands, journal, &lock, notices).await;
    if outcome.as_ref().is_ok_and(|(end, _)| *end == End::Finished || is_taken_back(&plan, end)) {
        // At once: between here and the end of the program nothing may leave the cluster locked.
        lock.release().await;
        if let Some(api) = hands.api.get() {
            let released = lease::release(api.as_ref(), lock.fence, world.clock.now()).await;
            tracing::debug!(?released, "lease");
        }
    }
    let hosts = hands.hosts.clone();
    // The mirror writes its last line once nobody can send another.
    drop(hands);
    mirror.finish().await;
    if matches!(outcome, Ok((End::Finished, _))) {
        for note in reset::forget(hosts.as_ref(), &plan, lock.fence).await {
            report::note(&format!("left behind: {note}"));
        }
    }

    let details = folder.display().to_string();
    let (end, story) = outcome.map_err(|error| error.details(&details))?;
    match end {
        End::Finished => {
            finished(world, &story)?;
            Ok(ExitCode::Done)
        }
        End::Stopped | End::Abandoned { .. } => Err(Error::stopped(&story)),
        End::Broken(broken) if is_taken_back(&plan, &End::Broken(broken.clone())) => {
            Err(taken_back(&broken, &story).details(details))
        }
        End::Broken(broken) => Err(explain(&broken, &story).details(details)),
    }
}

/// Drives the run with signals, heartbeat and notes around it; also what its journal tells in the end.
async fn drive(
    world: &World,
    hands: &Hands,
    journal: Journal,
    lock: &Lock,
    mut notices: mpsc::UnboundedReceiver<String>,
) -> Result<(End, summary::Run), Error> {
    let plan = &hands.plan;
    let accepted = journal.status().accepted;
    let plan_digest = journal.plan_digest().to_owned();
    let past = journal::read(journal.bytes())?.records;
    let reporter = report::reporter_for(world.style(), summary::Run::replay(plan, &plan_digest, &past)?);
    let run = Run::new(plan, journal, hands, reporter.as_ref(), world.clock.as_ref());
    if !accepted {
        let plan_digest = plan_digest.clone();
        run.record(Event::Accepted { operation: plan.operation.clone(), plan_digest, by: world.operator() })?;
    }
    run.record(Event::TakenUp { by: world.operator(), fence: lock.fence })?;

    let mut drive = std::pin::pin!(run.drive(&hands.cancel));
    // Beside the run, not in its way: a control plane that hangs must not hold up steps, notes or Ctrl-C.
    let mut heartbeat = std::pin::pin!(beat(lock, &run, hands, world));
    let outcome = loop {
        tokio::select! {
            outcome = &mut drive => break outcome.map_err(Error::from),
            Some(note) = notices.recv() => run.tell(News::Note { text: note }),
            fenced = &mut heartbeat => break Err(Error::from(fenced)),
        }
    };
    if let Ok(end) = &outcome
        && is_taken_back(plan, end)
    {
        // Nothing is half done, so nobody has to give it up by hand before the next run.
        run.record(Event::Abandoned { by: world.operator() })?;
    }
    reporter.close();
    let records = journal::read(run.journal().bytes())?.records;
    let story = summary::Run::replay(plan, &plan_digest, &records)?;
    match outcome {
        Ok(end) => Ok((end, story)),
        Err(error) => Err(error.during(&story)),
    }
}

/// Signs of life until another run has taken over; that is then the answer.
///
/// Once the API is up a Lease shows the same to those who look there; it decides nothing.
async fn beat(lock: &Lock, run: &Run<'_>, hands: &Hands, world: &World) -> HostError {
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        heartbeat.tick().await;
        let doing: Vec<String> = run.running().iter().map(ToString::to_string).collect();
        let renewed = tokio::time::timeout(HEARTBEAT, lock.renew(&doing.join(", "), world.clock.as_ref())).await;
        if let Ok(Err(fenced @ HostError::Fenced { .. })) = renewed {
            return fenced;
        }
        if let Some(api) = hands.api.get() {
            let shown = tokio::time::timeout(
                HEARTBEAT,
                lease::hold(api.as_ref(), &world.operator(), lock.fence, world.clock.now()),
            )
            .await;
            tracing::debug!(?shown, "lease");
        }
    }
}

fn finished(world: &World, story: &summary::Run) -> Result<(), Error> {
    if world.json {
        return Ok(());
    }
    let around = report::finish::Around { kubeconfig: None };
    report::print(&report::finish::done(story, &around, Paint::stdout()))
}

/// Whether a run that broke has left nothing to go on with: a drain that took its own cordon back.
fn is_taken_back(plan: &Plan, end: &End) -> bool {
    let End::Broken(broken) = end else { return false };
    let undone = |what: &Breakage| matches!(what, Breakage::Failed(failure) if failure.undone);
    matches!(plan.intent, Intent::Drain { .. }) && broken.iter().all(|broken| undone(&broken.what))
}

/// The end of a run that took itself back: nothing to resume, only to mend and to ask again.
fn taken_back(broken: &[Broken], story: &summary::Run) -> Error {
    let failures = broken.iter().filter_map(|broken| match &broken.what {
        Breakage::Failed(failure) => Some(failure),
        _ => None,
    });
    let mut error = Error::internal("a run was taken back without a reason".to_owned());
    for failure in failures {
        let mut lines = failure.text.lines();
        let (kind, code) =
            if failure.stopped { (ErrorKind::Stopped, "STOPPED") } else { (ErrorKind::Blocked, "DRAIN") };
        error = Error::new(kind, code, lines.next().unwrap_or("it gave no reason"));
        let lines: Vec<&str> = lines.collect();
        if let Some((last, others)) = lines.split_last() {
            error = error.lines(others.iter().copied()).safe(*last);
        }
        if let Some(node) = story.plan().intent.node() {
            error = error.safe(format!("pods that moved away from {node} stay where they are"));
        }
        error = error.hint(failure.hint.as_deref());
    }
    error
}

/// The first thing that broke, in the words for it; a takeover outweighs all others.
fn explain(broken: &[Broken], story: &summary::Run) -> Error {
    let fenced = broken.iter().find(|broken| matches!(&broken.what, Breakage::Failed(failure) if failure.fenced));
    match fenced.or(broken.first()) {
        None => Error::internal("a run broke without a broken step".to_owned()),
        Some(Broken { step, what }) => match what {
            Breakage::Failed(failure) if failure.fenced => Error::locked(failure.text.clone()),
            Breakage::Failed(failure) if failure.stopped => Error::stopped(story),
            Breakage::Failed(failure) => {
                let error = Error::step_failed(story, step, &failure.text);
                error.hint(failure.hint.as_deref())
            }
            Breakage::Guard(why) => Error::guard_failed(story, step, why),
            Breakage::InDoubt(why) => Error::step_in_doubt(story, step, why),
        },
    }
}

impl From<LockError> for Error {
    fn from(error: LockError) -> Self {
        match error {
            LockError::Held(held) => held.into(),
            LockError::NoMajority { ref reasons, .. } => {
                Self::new(ErrorKind::Blocked, "LOCK", error.to_string()).lines(reasons.iter().map(String::as_str))
            }
            LockError::Overtaken => Self::locked(error.to_string()),
            LockError::Running { .. } => Self::locked(error.to_string())
                .safe("nothing was changed; that work goes on by itself")
                .next("wait for it to end, or stop it on its host: systemctl stop <unit>"),
            LockError::Host(error) => error.into(),
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Io { path, source } => Self::io(&path, source),
            StoreError::Unknown { .. } | StoreError::Ambiguous { .. } => {
                Self::usage(error.to_string()).next("kubewright ops list")
            }
            StoreError::Busy(_) => Self::locked(error.to_string()).safe("nothing was changed"),
            StoreError::Begun(ref id) => {
                let next = format!("kubewright ops resume {id}");
                Self::usage(error.to_string()).safe("nothing was changed").next(next)
            }
            StoreError::Format { .. } => Self::usage(error.to_string()),
            StoreError::Damaged { .. } | StoreError::Another { .. } => Self::in_doubt(error.to_string()),
            StoreError::Journal { path, source } => Self::from(source).details(path),
        }
    }
}
