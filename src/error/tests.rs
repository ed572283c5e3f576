use std::path::Path;

use kubewright_core::ids::HostName;
use kubewright_core::journal::Event;
use kubewright_core::progress::{News, Progress};
use kubewright_core::summary::{Run, sample};

use super::*;
use crate::ports::{ConnectionFault, Fault, HostError, KubeError};

fn host() -> HostName {
    "cp2".into()
}

#[test]
fn the_page_about_exit_codes_is_written_from_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/exit-codes.md");
    if std::env::var_os("KUBEWRIGHT_UPDATE_DOCS").is_some() {
        std::fs::write(&path, ExitCode::page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written, ExitCode::page(), "KUBEWRIGHT_UPDATE_DOCS=1 cargo test writes it anew");
}

#[test]
fn codes_are_numbered_without_gaps() {
    let numbers: Vec<u8> = ExitCode::ALL.iter().map(|code| *code as u8).collect();
    assert_eq!(numbers, (0..=10).collect::<Vec<u8>>());
}

#[test]
fn a_host_out_of_reach_blocks_before_a_run_and_fails_within_one() {
    let refused = || HostError::Connect {
        host: host(),
        address: "10.77.0.12".into(),
        reason: "Host key verification failed.\nmore".into(),
        hint: Some("compare the key".into()),
    };
    let before = Error::from(refused());
    assert_eq!(before.exit_code(), ExitCode::Blocked);
    assert_eq!(before.parts().next, ["compare the key"]);
    assert_eq!(before.parts().lines, ["more"]);

    let plan = sample::plan();
    let within = Error::from(refused()).during(&Run::new(&plan));
    assert_eq!(within.exit_code(), ExitCode::Failed);
    assert_eq!(within.parts().next, ["compare the key", "then: kubewright ops resume 7f3a"]);
}

#[test]
fn a_takeover_is_never_answered_with_resume() {
    let plan = sample::plan();
    let error = Error::from(HostError::Fenced { host: host(), ours: 3, seen: 4 }).during(&Run::new(&plan));
    assert_eq!(error.exit_code(), ExitCode::Locked);
    assert!(error.parts().next.iter().all(|next| !next.contains("resume")));
}

#[test]
fn a_damaged_journal_calls_for_a_person() {
    let error = Error::from(kubewright_core::journal::ReadError::Broken { line: 7 });
    assert_eq!(error.exit_code(), ExitCode::InDoubt);
}

#[test]
fn the_api_out_of_reach_is_no_failure_of_the_cluster() {
    let fault = Fault::Connection(ConnectionFault::Refused);
    let error = Error::from(KubeError::new(fault, "list nodes", "connection refused"));
    assert_eq!(error.exit_code(), ExitCode::Blocked);
    assert_eq!(error.to_string(), "list nodes: connection refused");
}

#[test]
fn a_failed_step_says_where_and_keeps_the_last_lines() {
    let plan = sample::plan();
    let step = plan.steps.iter().find(|step| step.id.as_str().ends_with("cp2-start")).unwrap();
    let mut run = Run::new(&plan);
    let told = Event::StepStarted { step: step.id.clone(), attempt: 1 };
    run.observe(&Progress {
        v: 1,
        seq: 0,
        at: jiff::Timestamp::UNIX_EPOCH,
        op: plan.operation.clone(),
        news: News::Recorded { record: told },
    });
    let words: String = (0..40).map(|line| format!("line {line}\n")).collect();
    let error = Error::step_failed(&run, &step.id, format!("etcd did not become healthy\n{words}"));
    assert_eq!(error.exit_code(), ExitCode::Failed);
    let parts = error.parts();
    assert_eq!(parts.address.as_deref(), Some("10.77.0.12"));
    assert_eq!(parts.lines.len(), LAST_LINES);
    assert_eq!(parts.lines.last().map(String::as_str), Some("line 39"));
    assert_eq!(parts.next, ["kubewright ops resume 7f3a"]);
}

#[test]
fn a_guard_names_both_ways_on() {
    let plan = sample::plan();
    let error = Error::guard_failed(&Run::new(&plan), &plan.steps[0].id, "cp1 is another machine now");
    assert_eq!(error.exit_code(), ExitCode::Moved);
    assert!(error.parts().next[0].ends_with("kubewright ops resume 7f3a -f FILE"), "{error:?}");
    assert!(error.parts().next[1].ends_with("kubewright ops abandon 7f3a -f FILE"), "{error:?}");
}

#[test]
fn an_unfinished_operation_can_be_finished_or_given_up() {
    let holder = serde_json::from_str(
        r#"{"operation":"7f3a","cluster":"lab","holder":"ada@desk","pid":7,"since":"2026-01-01T10:00:00Z","doing":"x","seen":"2026-01-01T10:00:00Z"}"#,
    );
    let error = Error::from(kubewright_core::takeover::Held::Unfinished(Box::new(holder.unwrap())));
    assert_eq!(error.exit_code(), ExitCode::Locked);
    assert!(error.parts().next[0].ends_with("kubewright ops resume 7f3a -f FILE"), "{error:?}");
    assert!(error.parts().next[1].ends_with("kubewright ops abandon 7f3a -f FILE"), "{error:?}");
}
