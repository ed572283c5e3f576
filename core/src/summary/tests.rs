use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::sample::{plan, records, story};
use super::*;
use crate::journal::{Event, StepState};
use crate::plan::Target;
use crate::progress::{News, Progress};

fn at(second: i64) -> Timestamp {
    "2026-11-20T23:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(second)
}

fn run_until(second: i64) -> Run {
    let plan = plan();
    let mut run = Run::new(&plan);
    for progress in story(&plan).iter().filter(|progress| progress.at <= at(second)) {
        run.observe(progress);
    }
    run
}

fn told(run: &mut Run, second: i64, record: Event) {
    run.observe(&Progress { v: 1, seq: 0, at: at(second), op: "7f3a".into(), news: News::Recorded { record } });
}

fn table(run: &Run, now: Timestamp) -> String {
    let mut text = String::new();
    for row in run.rows(now) {
        text.push_str(&format!("{:<8}", row.target));
        for cell in row.cells {
            let took = cell.took.map(|took| format!(" {} s", took.as_secs())).unwrap_or_default();
            text.push_str(&format!(" {} {:?}{took};", cell.phase, cell.state));
        }
        text.push_str(&format!("  {:?}\n", row.now));
    }
    text
}

#[test]
fn a_plan_is_told_in_six_lines() {
    let outline = Outline::of(&plan());
    let mut text = format!("{}: {}\n", outline.cluster, outline.headline);
    for line in &outline.phases {
        let targets: Vec<String> = line.targets.iter().map(Target::to_string).collect();
        text.push_str(&format!("{} [{}] {} ({})\n", line.phase, targets.join(" "), line.description, line.steps));
    }
    text.push_str(&format!("{} steps, about {:?}", outline.steps, outline.estimate));
    insta::assert_snapshot!(text);
}

#[test]
fn the_first_second() {
    insta::assert_snapshot!(table(&run_until(0), at(1)));
}

#[test]
fn some_hosts_are_ahead() {
    insta::assert_snapshot!(table(&run_until(16), at(16)));
}

#[test]
fn control_planes_start() {
    insta::assert_snapshot!(table(&run_until(30), at(31)));
}

#[test]
fn the_end() {
    let run = run_until(1000);
    assert_eq!(run.standing(), Standing::Finished);
    assert_eq!(run.left(at(1000)), None);
    let mut text = table(&run, at(1000));
    for phase in run.phases(at(1000)) {
        text.push_str(&format!("{phase:?}\n"));
    }
    for link in run.critical_path() {
        text.push_str(&format!("{} {:?}\n", link.step, link.took));
    }
    insta::assert_snapshot!(text);
    let path: Duration = run.critical_path().iter().map(|link| link.took).sum();
    assert_eq!(path, run.elapsed(at(1000)), "each step of the sample begins when the one before it ends");
}

#[test]
fn a_journal_tells_the_same_as_the_live_events() {
    let plan = plan();
    let replayed = Run::replay(&plan, super::sample::DIGEST, &records(&story(&plan))).unwrap();
    let live = run_until(1000);
    assert_eq!(table(&replayed, at(1000)), table(&live, at(1000)));
    assert_eq!(replayed.elapsed(at(1000)), live.elapsed(at(1000)));
    assert_eq!(replayed.by(), Some("ada@desk"));
}

#[test]
fn what_is_left_never_grows_while_steps_keep_their_time() {
    let mut left = run_until(0).left(at(0)).unwrap();
    for second in 1..17 {
        let now = run_until(second).left(at(second)).unwrap();
        assert!(now <= left, "{now:?} after {left:?} at second {second}");
        left = now;
    }
}

#[test]
fn an_overrun_step_still_needs_time() {
    let run = run_until(0);
    assert!(run.left(at(3600)).unwrap() > Duration::from_secs(10));
}

#[test]
fn a_crash_leaves_steps_in_doubt_and_the_pause_out_of_the_time() {
    let mut run = run_until(30).interrupted();
    let Standing::InDoubt { steps } = run.standing() else { panic!("{:?}", run.standing()) };
    assert_eq!(steps.len(), 3);
    assert_eq!(run.elapsed(at(4000)), Duration::from_secs(30));
    assert_eq!(run.next_command().as_deref(), Some("kubewright ops resume 7f3a"));
    insta::assert_snapshot!(run.safe_now().sentences().join("\n"));

    told(&mut run, 4000, Event::TakenUp { by: "bob@laptop".into(), fence: 2 });
    told(&mut run, 4001, Event::StepFoundDone { step: steps[0].clone() });
    told(&mut run, 4001, Event::StepStarted { step: steps[1].clone(), attempt: 2 });
    assert_eq!(run.standing(), Standing::Running);
    assert_eq!(run.elapsed(at(4005)), Duration::from_secs(35));
    assert_eq!(run.running().count(), 1);
}

#[test]
fn a_failed_step_is_named_and_quorum_counted() {
    let mut run = run_until(35);
    let ids: Vec<_> = run.running().map(|step| step.id.clone()).collect();
    told(&mut run, 36, Event::StepSucceeded { step: ids[0].clone(), attempt: 1 });
    told(&mut run, 37, Event::StepFailed { step: ids[1].clone(), attempt: 1, error: "no space left\nmore".into() });
    told(&mut run, 38, Event::StepSucceeded { step: ids[2].clone(), attempt: 1 });
    told(&mut run, 38, Event::Paused { why: "12-cp2-start did not succeed".into() });
    assert!(matches!(run.standing(), Standing::Failed { step, .. } if step == ids[1]));
    insta::assert_snapshot!(format!("{}\n{}", table(&run, at(38)), run.safe_now().sentences().join("\n")));
}

#[test]
fn a_guard_that_does_not_hold_asks_for_a_new_plan() {
    let mut run = run_until(18);
    let step = run.plan().steps[9].id.clone();
    told(&mut run, 19, Event::GuardFailed { step: step.clone(), why: "w1 is another machine now".into() });
    told(&mut run, 20, Event::Paused { why: format!("{step} did not succeed") });
    assert!(matches!(run.standing(), Standing::Moved { .. }));
    assert_eq!(run.next_command().as_deref(), Some("kubewright ops abandon 7f3a"));
}

#[test]
fn a_display_that_missed_the_beginning_believes_what_it_hears() {
    let plan = plan();
    let mut run = Run::new(&plan);
    let step = plan.steps[11].id.clone();
    told(&mut run, 0, Event::TakenUp { by: "ada@desk".into(), fence: 3 });
    told(&mut run, 1, Event::StepStarted { step: step.clone(), attempt: 2 });
    assert_eq!(run.standing(), Standing::Running);
    assert_eq!(run.status().steps[&step], StepState::Started { attempt: 2 });
}

#[test]
fn a_clock_set_back_gives_no_time_and_no_panic() {
    let mut run = run_until(10);
    let step = run.plan().steps[0].id.clone();
    told(&mut run, -500, Event::StepSucceeded { step: step.clone(), attempt: 1 });
    assert_eq!(run.took(&step, at(10)), Some(Duration::ZERO));
    run.phases(at(-600));
}

#[test]
fn the_future_is_just_now() {
    let then: Timestamp = "2026-11-20T23:00:00Z".parse().unwrap();
    assert_eq!(ago(then, Timestamp::UNIX_EPOCH), "just now");
    assert_eq!(ago(Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_mins(4)), "4 min ago");
}
