//! Runs an operation under lock, mirror and live view. Shared by `apply` and `ops resume`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kubewright_core::facts::Facts;
use kubewright_core::ids::{HostName, StepId};
use kubewright_core::intent::Intent;
use kubewright_core::journal::{self, Event, Record};
use kubewright_core::plan::{self, Plan};
use kubewright_core::progress::News;
use kubewright_core::summary;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

use super::approval::{Approval, asked, consented};
use super::pause::{Next, Pace, Paused};
use super::world::World;
use crate::error::{Error, ErrorKind, ExitCode};
use crate::exec::driver::{End, Run};
use crate::exec::hands::Hands;
use crate::exec::lock::{self, Lock, LockError};
use crate::exec::session::{Begun, Session, SessionError};
use crate::exec::{Breakage, Broken, reset};
use crate::kube::lease;
use crate::ports::{HostError, Hosts};
use crate::report::plan::Around;
use crate::report::{self, Paint};
use crate::store::{Journal, Operation, StoreError};

/// A sign of life this often; `core::takeover::QUIET` allows for four missed ones.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Shows a plan that took so long to make, asks, runs it.
///
/// # Errors
/// Findings without the consent that they need, and those of [`run`].
pub(super) async fn carry_out(
    world: &World,
    plan: Plan,
    facts: &Facts,
    hosts: Arc<dyn Hosts>,
    took: Duration,
    command: &str,
    consents: &[String],
) -> Result<ExitCode, Error> {
    if !world.json {
        let around = Around { facts: Some(took), run: command, steps: false };
        report::print(&report::plan::text(&plan, &around, Paint::stdout()))?;
    }
    confirmed(world, plan, facts, hosts, consents, || Ok(())).await
}

/// Asks whether to run a plan that was shown, and runs it; `before` is done between the two.
///
/// # Errors
/// As above.
pub(super) async fn confirmed(
    world: &World,
    plan: Plan,
    facts: &Facts,
    hosts: Arc<dyn Hosts>,
    consents: &[String],
    before: impl FnOnce() -> Result<(), Error>,
) -> Result<ExitCode, Error> {
    consented(&plan, consents)?;
    if asked(world)? == Approval::Refused {
        report::note("nothing was changed");
        return Ok(ExitCode::ChangesPending);
    }
    before()?;
    let operation = world.operations.create(&plan, facts)?;
    run(world, operation, hosts, false).await
}

/// How a run that may have paused ended.
pub(super) enum Finish {
    /// By itself.
    Ended(ExitCode),
    /// It was given up before this node's turn, with nothing half done, to plan anew without it.
    Skipped(HostName),
}

/// Runs an operation to its end, its stop or its failure.
///
/// # Errors
/// [`Error`] that says what is safe now and how to go on.
pub async fn run(world: &World, operation: Operation, hosts: Arc<dyn Hosts>, forced: bool) -> Result<ExitCode, Error> {
    match paced(world, operation, hosts, forced, Pace::Through).await? {
        Finish::Ended(code) => Ok(code),
        Finish::Skipped(node) => Err(Error::internal(format!("nobody was asked, and {node} was skipped"))),
    }
}

/// The same, asking between two nodes' turns where the pace says so.
///
/// # Errors
/// As above.
pub(super) async fn paced(
    world: &World,
    operation: Operation,
    hosts: Arc<dyn Hosts>,
    forced: bool,
    pace: Pace,
) -> Result<Finish, Error> {
    let (id, details) = (operation.plan.operation.clone(), operation.folder.display().to_string());
    let holder = lock::holder(&operation.plan, world.operator(), world.clock.now());
    let begun = tokio::select! {
        begun = Session::begin(operation, hosts, holder, forced, world.clock.clone()) => begun?,
        _ = tokio::signal::ctrl_c() => return Err(Error::unbegun(&id)),
    };
    let Begun { session, journal, notices } = begun;
    session.hands.cancel.on_signals();
    let outcome = drive(world, &session, journal, notices, pace).await;
    let (plan, lock) = (session.hands.plan.clone(), &session.lock);
    if outcome.as_ref().is_ok_and(|driven| driven.is_over(&plan)) {
        // At once: between here and the end of the program nothing may leave the cluster locked.
        lock.release().await;
        if let Some(api) = session.hands.api.get() {
            let released = lease::release(api.as_ref(), lock.fence, world.clock.now()).await;
            tracing::debug!(?released, "lease");
        }
    }
    let (hosts, fence) = (session.hands.hosts.clone(), lock.fence);
    session.end().await;
    if matches!(outcome, Ok(Driven { end: End::Finished, .. })) {
        forget(hosts.as_ref(), &plan, fence).await;
    }

    let Driven { end, story, skipped } = outcome.map_err(|error| error.details(&details))?;
    if let Some(node) = skipped {
        return Ok(Finish::Skipped(node));
    }
    match end {
        End::Finished => {
            finished(world, &story)?;
            Ok(Finish::Ended(ExitCode::Done))
        }
        End::Stopped | End::Held { .. } | End::Abandoned { .. } => Err(Error::stopped(&story)),
        End::Broken(broken) if is_taken_back(&plan, &End::Broken(broken.clone())) => {
            Err(taken_back(&broken, &story).details(details))
        }
        End::Broken(broken) => Err(explain(&broken, &story).details(details)),
    }
}

/// Takes the last traces of a run that has finished off hosts that are part of nothing any more.
pub(super) async fn forget(hosts: &dyn Hosts, plan: &Plan, fence: u64) {
    for note in reset::forget(hosts, plan, fence).await {
        report::note(&format!("left behind: {note}"));
    }
}

/// What came of driving a run.
struct Driven {
    end: End,
    /// What its journal tells in the end.
    story: summary::Run,
    /// The node before whose turn it was given up.
    skipped: Option<HostName>,
}

impl Driven {
    /// Whether there is nothing to go on with.
    fn is_over(&self, plan: &Plan) -> bool {
        self.skipped.is_some() || self.end == End::Finished || is_taken_back(plan, &self.end)
    }
}

/// Drives the run with signals, heartbeat and notes around it, from pause to pause.
async fn drive(
    world: &World,
    session: &Session,
    mut journal: Journal,
    mut notices: mpsc::UnboundedReceiver<String>,
    pace: Pace,
) -> Result<Driven, Error> {
    let Session { hands, lock, .. } = session;
    let plan = &hands.plan;
    let digest = journal.plan_digest().to_owned();
    let told = |journal: &Journal| -> Result<(Vec<Record>, summary::Run), Error> {
        let records = journal::read(journal.bytes())?.records;
        let story = summary::Run::replay(plan, &digest, &records)?;
        Ok((records, story))
    };
    let turns = if pace == Pace::Asking { plan::turns(plan) } else { Vec::new() };
    let mut held: BTreeSet<StepId> = turns.iter().skip(1).map(|turn| turn.begins.clone()).collect();
    let mut begun = false;
    loop {
        let reporter = report::reporter_for(world.style(), told(&journal)?.1);
        let run = Run::new(plan, journal, hands, reporter.as_ref(), world.clock.as_ref());
        if !std::mem::replace(&mut begun, true) {
            run.take_up(&world.operator(), lock.fence)?;
            if world.json {
                plan.findings.iter().for_each(|finding| run.tell(News::Found { finding: finding.clone() }));
            }
        }
        let outcome = stretch(world, session, &run, &held, &mut notices).await;
        reporter.close();
        let (records, story) = told(&run.journal())?;
        let end = outcome.map_err(|error| error.during(&story))?;
        let next = match &end {
            End::Held { steps } => turns.iter().find(|turn| steps.contains(&turn.begins)),
            _ => None,
        };
        let Some(next) = next else { return Ok(Driven { end, story, skipped: None }) };
        let folder = world.operations.folder(&plan.operation).display().to_string();
        let paused = Paused { story, records, next: next.clone(), folder, paint: Paint::stdout() };
        let (end, last, skipped) = match ask(world, session, &run, paused).await? {
            Next::Continue => {
                held.remove(&next.begins);
                journal = run.into_journal();
                continue;
            }
            // Nothing is half done, so nobody has to give it up by hand before the next run.
            Next::Skip(node) => (end, Event::Abandoned { by: world.operator() }, Some(node)),
            Next::Stop => (End::Stopped, Event::Paused { why: "stopped by the user".to_owned() }, None),
        };
        run.record(last)?;
        return Ok(Driven { end, story: told(&run.journal())?.1, skipped });
    }
}

/// Drives the run up to steps that are held back.
async fn stretch(
    world: &World,
    session: &Session,
    run: &Run<'_>,
    held: &BTreeSet<StepId>,
    notices: &mut mpsc::UnboundedReceiver<String>,
) -> Result<End, Error> {
    let Session { hands, lock, .. } = session;
    let mut drive = std::pin::pin!(run.drive_up_to(held, &hands.cancel));
    // Beside the run, not in its way: a control plane that hangs must not hold up steps, notes or Ctrl-C.
    let mut heartbeat = std::pin::pin!(beat(lock, run, hands, world));
    let end = loop {
        tokio::select! {
            end = &mut drive => break end?,
            Some(note) = notices.recv() => run.tell(News::Note { text: note }),
            fenced = &mut heartbeat => return Err(Error::from(fenced)),
        }
    };
    if is_taken_back(&hands.plan, &end) {
        // Nothing is half done, so nobody has to give it up by hand before the next run.
        run.record(Event::Abandoned { by: world.operator() })?;
    }
    Ok(end)
}

/// Asks at a pause, from a thread of its own: the heartbeat goes on while somebody thinks.
async fn ask(world: &World, session: &Session, run: &Run<'_>, paused: Paused) -> Result<Next, Error> {
    let (ui, story) = (world.ui.clone(), paused.story.clone());
    let mut asking = tokio::task::spawn_blocking(move || paused.ask(ui.as_ref()));
    let mut heartbeat = std::pin::pin!(beat(&session.lock, run, &session.hands, world));
    let mut overtaken = None;
    let answer = loop {
        tokio::select! {
            answer = &mut asking => break answer,
            // Told once the question is off the terminal; whatever is answered counts for nothing then.
            fenced = &mut heartbeat, if overtaken.is_none() => overtaken = Some(fenced),
        }
    };
    if let Some(fenced) = overtaken {
        return Err(Error::from(fenced).during(&story));
    }
    answer.map_err(|error| Error::internal(format!("the question was lost: {error}")))?
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

/// The first thing that broke, in the words for it, and what else did: whoever mends one alone meets the next. A takeover outweighs all
/// others.
fn explain(broken: &[Broken], story: &summary::Run) -> Error {
    let fenced = broken.iter().find(|broken| matches!(&broken.what, Breakage::Failed(failure) if failure.fenced));
    let first = fenced.or(broken.first());
    let others = broken.iter().filter(|other| first.is_some_and(|first| first.step != other.step));
    in_words(first, story).also(others.filter_map(in_short))
}

/// One that broke beside another, in a sentence; one that was stopped did not break by itself.
fn in_short(broken: &Broken) -> Option<String> {
    let step = &broken.step;
    match &broken.what {
        Breakage::Failed(failure) if failure.fenced || failure.stopped => None,
        Breakage::Failed(failure) => {
            let said = failure.text.lines().next().unwrap_or("it gave no reason");
            let hint = failure.hint.as_deref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            Some(format!("{step} failed: {said}{hint}"))
        }
        Breakage::Guard(why) => Some(format!("{step} was not begun: {why}")),
        Breakage::InDoubt(why) => Some(format!("nobody can tell whether {step} was done: {why}")),
    }
}

fn in_words(first: Option<&Broken>, story: &summary::Run) -> Error {
    match first {
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

impl From<SessionError> for Error {
    fn from(error: SessionError) -> Self {
        let said = error.to_string();
        match error {
            SessionError::Lock(error) => error.into(),
            SessionError::Forgotten { operation, .. } => {
                Self::moved(said).next(format!("give it up: kubewright ops abandon {operation}"))
            }
            SessionError::NoMirror => Self::new(ErrorKind::Blocked, "MIRROR", said).safe("nothing was changed"),
        }
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

#[cfg(test)]
mod tests {
    use kubewright_core::summary::sample;

    use super::*;
    use crate::exec::Failure;

    #[test]
    fn everything_that_broke_is_told_and_what_was_stopped_is_not() {
        let plan = sample::plan();
        let story = summary::Run::new(&plan);
        let broken = |step: usize, what: Breakage| Broken { step: plan.steps[step].id.clone(), what };
        let failed = |text: &str| Failure { hint: Some("free space".into()), ..Failure::new(text) };
        let stopped = Failure { stopped: true, ..Failure::new("stopped") };
        let all = [
            broken(0, Breakage::Failed(failed("the disk is full\ndf says so"))),
            broken(1, Breakage::Failed(failed("its disk is full, too\ndf says so"))),
            broken(2, Breakage::Failed(stopped)),
            broken(3, Breakage::Guard("another machine".into())),
        ];
        let error = explain(&all, &story);
        let id = |step: usize| -> &StepId { &plan.steps[step].id };
        assert_eq!(error.parts().message, format!("{} failed: the disk is full", id(0)));
        let also = [
            format!("{} failed: its disk is full, too (free space)", id(1)),
            format!("{} was not begun: another machine", id(3)),
        ];
        assert_eq!(error.parts().also, also);
        assert_eq!(explain(&all[..1], &story).parts().also, Vec::<String>::new());
    }
}
