//! Journals that are not whole: told with their place, left alone, a person called for.

use std::fs;
use std::path::PathBuf;

use kubewright::store::Operations;
use kubewright_core::facts::Facts;
use kubewright_core::ids::OperationId;
use kubewright_core::journal::Event;
use kubewright_core::summary::sample;

use crate::cli::bench::Bench;

/// An operation whose journal is as after a crash in its middle.
fn begun(bench: &Bench) -> (OperationId, PathBuf) {
    let plan = sample::plan();
    let mut operation = Operations::new(bench.state()).create(&plan, &Facts::default()).unwrap();
    let plan_digest = operation.journal.plan_digest().to_owned();
    for record in sample::records(&sample::story(&plan)).into_iter().take(6) {
        // The sample's run is bound to a plan that was never on a disk.
        let event = match record.event {
            Event::Accepted { operation, by, .. } => {
                Event::Accepted { operation, plan_digest: plan_digest.clone(), by }
            }
            event => event,
        };
        operation.journal.record(record.at, &event).unwrap();
    }
    (plan.operation, operation.folder.join("journal.jsonl"))
}

#[test]
fn a_torn_last_line_is_dropped_and_the_rest_is_told() {
    let bench = Bench::new();
    let (operation, path) = begun(&bench);
    bench.run(&["ops", "show", operation.as_str()]).ends(0);
    let whole = fs::read(&path).unwrap();
    // A crash in the middle of a line.
    fs::write(&path, [&whole[..], b"{\"seq\":6,\"at\":\"20"].concat()).unwrap();
    bench.run(&["ops", "show", operation.as_str()]).ends(0);
}

#[test]
fn a_journal_that_was_tampered_with_calls_for_a_person() {
    let bench = Bench::new();
    let (operation, path) = begun(&bench);
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let without = |lost: usize| {
        let rest: Vec<&str> = lines.iter().enumerate().filter(|(at, _)| *at != lost).map(|(_, line)| *line).collect();
        rest.join("\n") + "\n"
    };
    let cases = [
        ("a line lost at the beginning", without(0)),
        ("a line lost in the middle", without(2)),
        ("two lines exchanged", [lines[0], lines[2], lines[1], lines[3]].join("\n") + "\n"),
        ("a line twice", [lines[0], lines[1], lines[1], lines[2]].join("\n") + "\n"),
        ("a step that no plan has", whole.replacen("-prepare", "-destroy", 1)),
        ("nonsense in the middle", whole.replacen("\"seq\"", "\"sex", 2)),
        ("another plan", whole.replacen("\"planDigest\":\"", "\"planDigest\":\"0", 1)),
    ];
    for (what, text) in cases {
        assert_ne!(text, whole, "{what}");
        fs::write(&path, &text).unwrap();
        for command in [&["ops", "show", operation.as_str()][..], &["ops", "resume", operation.as_str()]] {
            let told = bench.run(command);
            assert_eq!(told.status, Some(10), "{what}: {command:?}\n{}{}", told.stdout, told.stderr);
            assert!(told.stderr.contains("journal"), "{what}: {}", told.stderr);
            assert!(
                told.stderr.contains("nothing was changed") && told.stderr.contains("next"),
                "{what}: {}",
                told.stderr
            );
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "{what}: it is left for a person to look at");
    }
}
