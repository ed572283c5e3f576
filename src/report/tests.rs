use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use jiff::SignedDuration;
use kubewright_core::journal::Event;
use kubewright_core::progress::{News, Progress};
use kubewright_core::summary::{Run, sample};

use super::json::Json;
use super::plain::Plain;
use super::sink::Sink;
use super::*;

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[test]
fn a_run_in_plain_lines() {
    let plan = sample::plan();
    let page = Page::default();
    let reporter = Plain::new(Run::new(&plan), Sink::new(Box::new(page.clone())));
    for progress in sample::story(&plan) {
        reporter.event(&progress);
    }
    reporter.close();
    insta::assert_snapshot!(page.text());
}

#[test]
fn trouble_in_plain_lines_carries_no_control_codes() {
    let plan = sample::plan();
    let page = Page::default();
    let begin = sample::story(&plan)[0].at;
    let reporter = Plain::new(Run::new(&plan), Sink::new(Box::new(page.clone())));
    let step = plan.steps[0].id.clone();
    let recorded = |record| News::Recorded { record };
    let told = [
        recorded(Event::TakenUp { by: "ada@desk".into(), fence: 2 }),
        recorded(Event::StepFoundDone { step: plan.steps[1].id.clone() }),
        recorded(Event::StepStarted { step: step.clone(), attempt: 2 }),
        News::Doing { step: step.clone(), text: "\x1b[2Jpulling 61 %\r\n".into() },
        News::Doing { step: step.clone(), text: "pulling 62 %".into() },
        News::Note { text: "lost the connection to cp2\x07, trying again".into() },
        News::Stopping { steps: vec![step.clone()] },
        recorded(Event::StepFailed { step: step.clone(), attempt: 2, error: "no space left on device\nmore".into() }),
        recorded(Event::GuardFailed { step: plan.steps[6].id.clone(), why: "cp1 is another machine now".into() }),
        recorded(Event::Paused { why: "stopped by the user".into() }),
    ];
    for (second, news) in (0..).zip(told) {
        let at = begin + SignedDuration::from_secs(10 * second);
        reporter.event(&Progress { v: 1, seq: 0, at, op: plan.operation.clone(), news });
    }
    reporter.close();
    let text = page.text();
    assert!(!text.chars().any(|char| char.is_control() && char != '\n'), "{text:?}");
    insta::assert_snapshot!(text);
}

#[test]
fn each_event_is_one_line_of_json_and_reads_back() {
    let plan = sample::plan();
    let page = Page::default();
    let reporter = Json::new(Sink::new(Box::new(page.clone())));
    let story = sample::story(&plan);
    for progress in &story {
        reporter.event(progress);
    }
    reporter.close();
    let back: Vec<Progress> = page.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(back, story);
}

/// A line of a run for machines, the last one too.
#[derive(schemars::JsonSchema)]
#[schemars(untagged, title = "A line that a run of kubewright prints with --output json")]
#[expect(dead_code, reason = "stands for its schema")]
enum Line {
    Progress(Progress),
    Error(failure::Line),
}

#[test]
fn the_schema_of_events_is_that_of_what_is_printed() {
    let mut schema = schemars::schema_for!(Line);
    schema.insert("$id".to_owned(), "https://kubewright.dev/schema/v1/event.json".into());
    let schema = schema.to_value();
    let (page, path) = (format!("{schema:#}\n"), "docs/reference/event.schema.json");
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("KUBEWRIGHT_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), page, "KUBEWRIGHT_UPDATE_DOCS=1 cargo test");

    let validator = jsonschema::validator_for(&schema).unwrap();
    let is_valid = |line: &serde_json::Value| validator.validate(line).map_err(|error| format!("{error}: {line}"));
    let plan = sample::plan();
    for progress in sample::story(&plan) {
        is_valid(&serde_json::to_value(progress).unwrap()).unwrap();
    }
    // What the page about output shows, errors too.
    let examples = include_str!("../../docs/reference/output.md").lines().filter(|line| line.starts_with(r#"{"v":1,"#));
    for example in examples {
        is_valid(&serde_json::from_str(example).unwrap()).unwrap();
    }
    // A reader that checks would see what the format does not have.
    let mut other = serde_json::to_value(sample::story(&plan).swap_remove(0)).unwrap();
    assert!(validator.is_valid(&other));
    other["v"] = 2.into();
    assert!(!validator.is_valid(&other));
    other["v"] = 1.into();
    other["record"]["type"] = "undone".into();
    assert!(!validator.is_valid(&other));
}

#[test]
fn the_page_about_output_shows_events_that_exist() {
    let page = include_str!("../../docs/reference/output.md");
    let examples: Vec<&str> = page.lines().filter(|line| line.starts_with(r#"{"v":1,"seq""#)).collect();
    let mut kinds: Vec<String> = Vec::new();
    for example in &examples {
        let progress: Progress = serde_json::from_str(example).unwrap_or_else(|error| panic!("{error}: {example}"));
        assert_eq!(serde_json::to_string(&progress).unwrap(), *example, "field order as printed");
        kinds.push(match &progress.news {
            News::Recorded { record } => serde_json::to_value(record).unwrap()["type"].as_str().unwrap().to_owned(),
            news => serde_json::to_value(news).unwrap()["event"].as_str().unwrap().to_owned(),
        });
    }
    kinds.sort();
    let all = [
        "accepted",
        "doing",
        "finished",
        "found",
        "guardFailed",
        "note",
        "paused",
        "stepFailed",
        "stepFoundDone",
        "stepStarted",
        "stepSucceeded",
        "stopping",
        "takenUp",
    ];
    assert_eq!(kinds, all, "one example per event");
}
