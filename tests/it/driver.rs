//! The executor on the simulator: crashes before, inside and after every effect and every line of the journal, then
//! resumed; the same cluster each time, no invariant broken on the way.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use jiff::Timestamp;
use kubewright::exec::cancel::Cancel;
use kubewright::exec::driver::{End, Run};
use kubewright::exec::{Breakage, Effects, Failure, Telling, Verdict};
use kubewright::ports::Clock;
use kubewright::report::Reporter;
use kubewright::store::{Journal, Log};
use kubewright_core::facts::{Facts, sample};
use kubewright_core::guard::Guard;
use kubewright_core::ids::StepId;
use kubewright_core::journal::Event;
use kubewright_core::plan::{Plan, Step, StepKind};
use kubewright_core::planner::{self, Request};
use kubewright_core::progress::Progress;
use kubewright_core::sim::World;
use kubewright_core::spec::Host;
use tokio::sync::{Notify, watch};

use super::setting::{desired, identity, input, planned, spec};

/// Whatever the plan's file is, all journals here are bound to the same.
const DIGEST: &str = "digest";

fn plan() -> Plan {
    let spec = spec();
    let bare = |host: &Host| (host.name.clone(), sample::known(sample::bare(host)));
    let facts = Facts { hosts: spec.hosts.iter().map(bare).collect(), ..Facts::default() };
    let (desired, identity) = (desired(&spec), identity());
    planned(planner::plan(input(&spec, &facts, &desired, &identity), &Request::Apply { only: None }))
}

/// A reporter that shows nothing.
pub struct Silence;

impl Reporter for Silence {
    fn event(&self, _progress: &Progress) {}
    fn close(&self) {}
}

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::UNIX_EPOCH
    }
}

/// Where a write of the journal goes wrong.
#[derive(Clone, Copy, Debug)]
enum Tear {
    /// Nothing was written.
    Before,
    /// Half a line was written.
    Middle,
    /// All was written, and the process died before it knew.
    After,
}

/// A journal in memory that survives the process and may tear one write.
struct Tape {
    bytes: Arc<Mutex<Vec<u8>>>,
    writes: usize,
    tear: Option<(usize, Tear)>,
}

impl Log for Tape {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.writes += 1;
        let mut tape = self.bytes.lock().unwrap();
        let (kept, died) = match self.tear {
            Some((at, Tear::Before)) if at == self.writes => (0, true),
            Some((at, Tear::Middle)) if at == self.writes => (bytes.len() / 2, true),
            Some((at, Tear::After)) if at == self.writes => (bytes.len(), true),
            _ => (bytes.len(), false),
        };
        tape.extend_from_slice(&bytes[..kept]);
        if died { Err(io::Error::other("the process died here")) } else { Ok(()) }
    }
}

/// When the process dies in an effect.
#[derive(Clone, Copy, Debug)]
enum Death {
    BeforeEffect(usize),
    AfterEffect(usize),
}

/// Effects on the simulator.
struct Simulated {
    world: watch::Sender<World>,
    effects: AtomicUsize,
    death: Option<Death>,
    died: Notify,
    performed: Mutex<Vec<String>>,
    fail: Option<&'static str>,
    guard: Option<&'static str>,
}

impl Simulated {
    fn new(plan: &Plan) -> Self {
        Self {
            world: watch::Sender::new(World::bare(&plan.spec)),
            effects: AtomicUsize::new(0),
            death: None,
            died: Notify::new(),
            performed: Mutex::default(),
            fail: None,
            guard: None,
        }
    }

    fn after(world: World) -> Self {
        let mut again = Self::new(&plan());
        again.world = watch::Sender::new(world);
        again
    }

    async fn die(&self) {
        self.died.notify_one();
        std::future::pending::<()>().await;
    }
}

#[async_trait]
impl Effects for Simulated {
    async fn guards(&self, guards: &[Guard], _begun: bool) -> Result<Result<(), String>, Failure> {
        match self.guard {
            Some(host) if guards.iter().any(|guard| guard.host().is_some_and(|name| name.as_str() == host)) => {
                Ok(Err(format!("{host} moved")))
            }
            _ => Ok(Ok(())),
        }
    }

    async fn probe(&self, step: &Step, _attempt: u32, _telling: Telling<'_>) -> Result<Verdict, Failure> {
        let mut rehearsal = self.world.borrow().clone();
        let before = rehearsal.clone();
        // Done is what changes nothing when done again and has come about.
        rehearsal.perform(step).unwrap();
        Ok(if rehearsal == before && before.is_reached(step) { Verdict::Done } else { Verdict::NotDone })
    }

    async fn perform(&self, step: &Step, _attempt: u32, telling: Telling<'_>) -> Result<(), Failure> {
        let number = self.effects.fetch_add(1, Ordering::SeqCst) + 1;
        if matches!(self.death, Some(Death::BeforeEffect(at)) if at == number) {
            self.die().await;
        }
        if self.fail.is_some_and(|verb| step.id.as_str().ends_with(verb)) {
            return Err(Failure::new("it did not work"));
        }
        self.performed.lock().unwrap().push(step.id.to_string());
        self.world.send_modify(|world| world.perform(step).unwrap());
        telling("working");
        if matches!(self.death, Some(Death::AfterEffect(at)) if at == number) {
            self.die().await;
        }
        let mut world = self.world.subscribe();
        world.wait_for(|world| world.is_reached(step)).await.unwrap();
        Ok(())
    }

    fn recorded(&self, _journal: &[u8]) {}
}

/// Drives until the end or until the process "dies". True where it finished.
async fn drive(plan: &Plan, tape: &Arc<Mutex<Vec<u8>>>, effects: &Simulated, tear: Option<(usize, Tear)>) -> bool {
    let past = {
        let mut tape = tape.lock().unwrap();
        let whole = kubewright_core::journal::read(&tape).unwrap().whole;
        tape.truncate(whole);
        tape.clone()
    };
    let log = Tape { bytes: tape.clone(), writes: 0, tear };
    let journal = Journal::resume(Box::new(log), past, plan, DIGEST).unwrap();
    let accepted = journal.status().accepted;
    let fence = journal.status().fence + 1;
    let run = Run::new(plan, journal, effects, &Silence, &Noon);
    let begin = async {
        if !accepted {
            let plan_digest = DIGEST.to_owned();
            run.record(Event::Accepted { operation: plan.operation.clone(), plan_digest, by: "test".into() })?;
        }
        run.record(Event::TakenUp { by: "test".into(), fence })?;
        run.drive(&Cancel::default()).await
    };
    tokio::select! {
        end = begin => matches!(end, Ok(End::Finished)),
        () = effects.died.notified() => false,
    }
}

/// Dies once as told, then resumes without faults.
async fn dies_and_resumes(plan: &Plan, death: Option<Death>, tear: Option<(usize, Tear)>) {
    let tape = Arc::new(Mutex::new(Vec::new()));
    let mut effects = Simulated::new(plan);
    effects.death = death;
    assert!(!drive(plan, &tape, &effects, tear).await, "{death:?} {tear:?} did not strike");
    let resumed = Simulated::after(effects.world.borrow().clone());
    assert!(drive(plan, &tape, &resumed, None).await, "{death:?} {tear:?}");
    assert!(resumed.world.borrow().is_complete(plan), "{death:?} {tear:?}");
}

/// A whole run without faults: how many writes and effects it has.
async fn measure(plan: &Plan) -> (usize, usize) {
    let tape = Arc::new(Mutex::new(Vec::new()));
    let effects = Simulated::new(plan);
    assert!(drive(plan, &tape, &effects, None).await);
    assert!(effects.world.borrow().is_complete(plan));
    let writes = tape.lock().unwrap().iter().filter(|byte| **byte == b'\n').count();
    (writes, effects.effects.load(Ordering::SeqCst))
}

#[tokio::test]
async fn a_crash_in_any_effect_resumes_to_the_same_cluster() {
    let plan = plan();
    let (_, effects) = measure(&plan).await;
    assert_eq!(effects, plan.steps.len());
    for at in 1..=effects {
        dies_and_resumes(&plan, Some(Death::BeforeEffect(at)), None).await;
        dies_and_resumes(&plan, Some(Death::AfterEffect(at)), None).await;
    }
}

#[tokio::test]
async fn a_crash_in_any_write_of_the_journal_resumes_to_the_same_cluster() {
    let plan = plan();
    let (writes, _) = measure(&plan).await;
    for at in 1..=writes {
        for tear in [Tear::Before, Tear::Middle] {
            dies_and_resumes(&plan, None, Some((at, tear))).await;
        }
        // After the very last line there is nothing left to resume.
        if at < writes {
            dies_and_resumes(&plan, None, Some((at, Tear::After))).await;
        }
    }
}

#[tokio::test]
async fn what_succeeded_is_not_done_again() {
    let plan = plan();
    let tape = Arc::new(Mutex::new(Vec::new()));
    let mut effects = Simulated::new(&plan);
    effects.death = Some(Death::BeforeEffect(12));
    assert!(!drive(&plan, &tape, &effects, None).await);
    let done = kubewright_core::journal::read(&tape.lock().unwrap())
        .unwrap()
        .records
        .into_iter()
        .filter_map(|record| match record.event {
            Event::StepSucceeded { step, .. } => Some(step.to_string()),
            _ => None,
        })
        .collect::<Vec<_>>();
    let resumed = Simulated::after(effects.world.borrow().clone());
    assert!(drive(&plan, &tape, &resumed, None).await);
    let again = resumed.performed.lock().unwrap().clone();
    assert!(!done.is_empty());
    assert!(done.iter().all(|step| !again.contains(step)), "{done:?} {again:?}");
}

async fn end_of(effects: &Simulated, cancel: &Cancel) -> (End, Vec<Event>) {
    let plan = plan();
    let tape = Arc::new(Mutex::new(Vec::new()));
    let log = Tape { bytes: tape.clone(), writes: 0, tear: None };
    let journal = Journal::resume(Box::new(log), Vec::new(), &plan, DIGEST).unwrap();
    let run = Run::new(&plan, journal, effects, &Silence, &Noon);
    let accepted =
        Event::Accepted { operation: plan.operation.clone(), plan_digest: DIGEST.to_owned(), by: "test".into() };
    run.record(accepted).unwrap();
    let end = run.drive(cancel).await.unwrap();
    let records = kubewright_core::journal::read(&tape.lock().unwrap()).unwrap().records;
    (end, records.into_iter().map(|record| record.event).collect())
}

#[tokio::test]
async fn a_failed_step_lets_the_others_end_and_is_told() {
    let mut effects = Simulated::new(&plan());
    effects.fail = Some("w1-prepare");
    let (end, events) = end_of(&effects, &Cancel::default()).await;
    let End::Broken(broken) = end else { panic!("{end:?}") };
    assert_eq!(broken.len(), 1);
    assert_eq!(broken[0].step.as_str(), "04-w1-prepare");
    assert!(matches!(&broken[0].what, Breakage::Failed(failure) if failure.text == "it did not work"));
    let ended = events.iter().filter(|event| matches!(event, Event::StepSucceeded { .. })).count();
    assert_eq!(ended, 5, "the other hosts and the keys end well");
    assert!(matches!(events.last(), Some(Event::Paused { .. })));
}

#[tokio::test]
async fn a_guard_that_does_not_hold_stops_before_the_effect() {
    let mut effects = Simulated::new(&plan());
    effects.guard = Some("cp2");
    let (end, events) = end_of(&effects, &Cancel::default()).await;
    let End::Broken(broken) = end else { panic!("{end:?}") };
    assert!(matches!(&broken[0].what, Breakage::Guard(why) if why == "cp2 moved"));
    assert!(
        !events
            .iter()
            .any(|event| matches!(event, Event::StepStarted { step, .. } if step.as_str() == "02-cp2-prepare"))
    );
    assert!(!effects.performed.lock().unwrap().iter().any(|step| step == "02-cp2-prepare"));
}

#[tokio::test]
async fn what_is_held_back_waits_while_all_else_is_done_and_nothing_runs() {
    let plan = plan();
    let held: BTreeSet<StepId> =
        plan.steps.iter().filter(|step| step.kind == StepKind::StartWorker).map(|step| step.id.clone()).collect();
    assert_eq!(held.len(), 2);
    // Everything that does not wait for one of them, near or far.
    let mut behind = held.clone();
    for step in &plan.steps {
        if step.after.iter().any(|id| behind.contains(id)) {
            behind.insert(step.id.clone());
        }
    }
    let effects = Simulated::new(&plan);
    let tape = Arc::new(Mutex::new(Vec::new()));
    let journal =
        Journal::resume(Box::new(Tape { bytes: tape, writes: 0, tear: None }), Vec::new(), &plan, DIGEST).unwrap();
    let run = Run::new(&plan, journal, &effects, &Silence, &Noon);
    run.take_up("test", 1).unwrap();
    let end = run.drive_up_to(&held, &Cancel::default()).await.unwrap();
    assert_eq!(end, End::Held { steps: held.iter().cloned().collect() });
    assert_eq!(effects.performed.lock().unwrap().len(), plan.steps.len() - behind.len());
    assert_eq!(run.running(), Vec::<StepId>::new());

    // Whoever goes on with the journal does the rest; a request to stop outweighs what is held back.
    let run = Run::new(&plan, run.into_journal(), &effects, &Silence, &Noon);
    let stopping = Cancel::default();
    stopping.request();
    assert_eq!(run.drive_up_to(&held, &stopping).await.unwrap(), End::Stopped);
    assert_eq!(run.drive(&Cancel::default()).await.unwrap(), End::Finished);
    assert!(effects.world.borrow().is_complete(&plan));
}

#[tokio::test]
async fn the_first_request_to_stop_lets_running_steps_end() {
    let effects = Simulated::new(&plan());
    let cancel = Cancel::default();
    cancel.request();
    let (end, events) = end_of(&effects, &cancel).await;
    assert_eq!(end, End::Stopped);
    assert!(matches!(events.last(), Some(Event::Paused { .. })));
    assert!(effects.performed.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_second_request_stops_waiting_and_names_what_runs() {
    let mut effects = Simulated::new(&plan());
    effects.death = Some(Death::AfterEffect(1));
    let cancel = Cancel::default();
    let stop = cancel.clone();
    let ((end, _), ()) = tokio::join!(end_of(&effects, &cancel), async {
        effects.died.notified().await;
        stop.request();
        stop.request();
    });
    let End::Abandoned { running } = end else { panic!("{end:?}") };
    assert!(running.iter().any(|step| step.as_str() == "01-cp1-prepare"));
}

#[tokio::test]
async fn a_step_without_end_fails_at_its_deadline() {
    let mut effects = Simulated::new(&plan());
    effects.death = Some(Death::AfterEffect(6));
    tokio::time::pause();
    let (end, _) = end_of(&effects, &Cancel::default()).await;
    let End::Broken(broken) = end else { panic!("{end:?}") };
    assert!(matches!(&broken[0].what, Breakage::Failed(failure) if failure.text.starts_with("no end within")));
    assert!(
        plan().steps.iter().any(|step| step.id == broken[0].step && matches!(step.kind, StepKind::MakeKeys { .. }))
    );
}
