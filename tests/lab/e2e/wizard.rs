//! The upgrade wizard in a terminal, on a cluster of one control plane and one worker: Ctrl-C at every question changes nothing; then
//! an upgrade with a pause at which the worker is skipped. The example's workflow for CI has that one follow.

use std::path::Path;

use rexpect::process::WaitStatus;
use rexpect::session::PtySession;

use super::cluster::Kubectl;
use super::maintain::nothing_is_cordoned;
use super::operator::Operator;
use super::scenarios;
use super::upgrade::{VERSION, is_as_asked};
use super::workflow;

/// The hosts it needs.
pub const HOSTS: [&str; 2] = ["cp1", "w1"];

/// Questions come within seconds; a control plane's turn, with its downloads, within two minutes on the lab.
const PATIENCE_SECONDS: u64 = 400;

/// Keys.
const ENTER: &str = "\r";
const UP: &str = "\x1b[A";
const DOWN: &str = "\x1b[B";

/// What the wizard asks on such a cluster, in order, and the keys of the answer on the way to a run.
const QUESTIONS: [(&str, &[&str]); 4] = [
    ("Upgrade to", &[ENTER]),
    // Details are what Enter takes; agreeing stands above them.
    ("MAINT001 (cp1)", &[UP, ENTER]),
    ("Run it now, or save the plan?", &[ENTER]),
    ("Pause after each node?", &["y"]),
];

/// The wizard in a terminal.
struct Talk(PtySession);

impl Talk {
    fn begin(operator: &Operator) -> Self {
        Self(operator.in_terminal(&["upgrade"], PATIENCE_SECONDS))
    }

    /// Waits for a text.
    fn sees(&mut self, text: &str) -> &mut Self {
        self.0.exp_string(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        self
    }

    fn press(&mut self, keys: &[&str]) -> &mut Self {
        for key in keys {
            self.0.send(key).and_then(|_| self.0.flush()).expect("a terminal");
        }
        self
    }

    /// Answers the first of the wizard's questions.
    fn answer(&mut self, questions: usize) -> &mut Self {
        for (question, keys) in &QUESTIONS[..questions] {
            self.sees(question).press(keys);
        }
        self
    }

    /// How it ended, and what it said last.
    fn end(mut self) -> (Option<i32>, String) {
        let rest = self.0.exp_eof().expect("an end");
        match self.0.process().wait().expect("it was ours") {
            WaitStatus::Exited(_, code) => (Some(code), rest),
            other => panic!("{other:?}: {rest}"),
        }
    }

    #[track_caller]
    fn ends(self, code: i32) -> String {
        let (ended, said) = self.end();
        assert_eq!(ended, Some(code), "{said}");
        said
    }
}

/// The scenario, from bare hosts on; `kubectl` is asked for once there is a cluster.
pub fn leads_to_a_finished_upgrade(file: &Path, kubectl: impl Fn(&Operator) -> Kubectl, told: &dyn Fn(&str)) {
    let operator = Operator::new(file);
    operator.expect(&["apply", "--yes"], 0);
    let kubectl = kubectl(&operator);
    told("one control plane and one worker are built");
    cancelled_everywhere(file, &kubectl, told);
    saved(file, &kubectl, told);
    skips_a_worker(file, &kubectl, told);
    workflow::has_the_rest_follow(file, &kubectl, told);
    is_as_asked(&operator, &kubectl, told);
}

/// Ctrl-C at each question, and while it looks between the first two: no cordon, no operation, the same spec.
fn cancelled_everywhere(file: &Path, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    let spec = std::fs::read_to_string(file).expect("the spec");
    let unchanged = |operator: &Operator, what: &str| {
        assert!(operator.operations().is_empty(), "{what}");
        assert_eq!(std::fs::read_to_string(file).expect("the spec"), spec, "{what}");
        nothing_is_cordoned(kubectl);
        assert_eq!(kubelets(kubectl), [scenarios::VERSION; 2], "{what}");
    };
    for (index, (question, _)) in QUESTIONS.iter().enumerate() {
        let operator = Operator::new(file);
        let mut talk = Talk::begin(&operator);
        talk.answer(index).sees(question).press(&["\x03"]);
        assert!(talk.ends(4).contains("nothing was changed"), "{question}");
        unchanged(&operator, question);
    }
    let operator = Operator::new(file);
    let mut talk = Talk::begin(&operator);
    // It says what the version brings, and then looks.
    talk.answer(1).sees("brings").press(&["\x03"]);
    assert!(talk.ends(4).contains("nothing was changed"));
    unchanged(&operator, "between questions");
    told("Ctrl-C at every question, and between two, changes nothing");
}

/// The plan is saved instead of run.
fn saved(file: &Path, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    let operator = Operator::new(file);
    let path = operator.folder().join("upgrade.plan");
    let mut talk = Talk::begin(&operator);
    talk.answer(2).sees(QUESTIONS[2].0).press(&[DOWN, ENTER]);
    // The suggestion is taken as it is where nothing is typed; a word replaces it.
    talk.sees("File").press(&[&path.to_string_lossy(), ENTER]);
    let said = talk.ends(4);
    assert!(said.contains("kubewright apply") && said.contains("-o "), "{said}");
    assert!(path.exists() && operator.operations().is_empty());
    nothing_is_cordoned(kubectl);
    told("the plan is saved instead");
}

/// The control plane goes over; at the pause logs are looked at, and the worker is skipped.
fn skips_a_worker(file: &Path, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    let operator = Operator::new(file);
    let mut talk = Talk::begin(&operator);
    talk.sees(&format!("lab runs {} on 2 nodes", scenarios::VERSION)).answer(QUESTIONS.len());
    talk.sees("same as:").sees(&format!("--to {VERSION}")).sees("--consent MAINT001").sees("--pause --yes");
    talk.sees("steps are done").press(&[DOWN, DOWN, ENTER]);
    talk.sees("more in").sees("steps are done").press(&[DOWN, ENTER]);
    talk.sees("w1 keeps its version");
    talk.ends(0);
    nothing_is_cordoned(kubectl);
    assert_eq!(kubelets(kubectl), [VERSION, scenarios::VERSION]);
    told("a single control plane is upgraded; at the pause logs are looked at and the worker is skipped");
}

/// What the nodes run, cp1 first.
fn kubelets(kubectl: &Kubectl) -> Vec<String> {
    let nodes = kubectl.json(&["get", "nodes"]);
    let version = |node: &serde_json::Value| {
        let version = node["status"]["nodeInfo"]["kubeletVersion"].as_str().expect("a version");
        version.trim_start_matches('v').to_owned()
    };
    nodes["items"].as_array().expect("a list").iter().map(version).collect()
}
