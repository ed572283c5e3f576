//! The operator: the kubewright binary with a spec, a state folder of its own, and patience that ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rexpect::reader::Options;
use rexpect::session::{PtySession, spawn_with_options};
use serde_json::Value;
use tempfile::TempDir;

/// What was run so far, for the test of the pages.
static RAN: Mutex<Vec<Vec<String>>> = Mutex::new(Vec::new());

/// The arguments of every run so far.
pub fn ran() -> Vec<Vec<String>> {
    RAN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// One machine's view: a state folder that others do not see.
pub struct Operator {
    state: TempDir,
    spec: PathBuf,
}

/// How a run that was watched ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Watched {
    /// We killed it where we wanted to.
    Killed,
    /// It ended first, with this code.
    Ended(Option<i32>),
}

impl Operator {
    /// A fresh one, as on another machine: nothing but the spec.
    pub fn new(spec: &Path) -> Self {
        Self { state: tempfile::tempdir().expect("a temporary folder"), spec: spec.to_owned() }
    }

    /// kubewright with this operator's state, about no spec, with the standard input of this process.
    fn program(&self, arguments: &[&str]) -> Command {
        let words = arguments.iter().map(|word| (*word).to_owned()).collect();
        RAN.lock().unwrap_or_else(PoisonError::into_inner).push(words);
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubewright"));
        command.args(arguments).env("XDG_STATE_HOME", self.state.path());
        command
    }

    /// The same where nobody can be asked.
    fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = self.program(arguments);
        command.stdin(Stdio::null());
        command
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        command.arg("-f").arg(&self.spec);
        command
    }

    /// Runs a command of kubewright on the spec.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("kubewright starts")
    }

    /// A command of kubewright on the spec in a terminal, without colours; each text may take so long to come. Only ASCII can be
    /// waited for.
    pub fn in_terminal(&self, arguments: &[&str], patience_seconds: u64) -> PtySession {
        let mut command = self.program(arguments);
        command.arg("-f").arg(&self.spec).env("TERM", "xterm").env("NO_COLOR", "1");
        let options = Options::new().timeout_ms(Some(patience_seconds * 1000));
        spawn_with_options(command, options).expect("a terminal")
    }

    /// The same, where it has to end with this code; its standard output.
    pub fn expect(&self, arguments: &[&str], code: i32) -> String {
        ended(arguments, &self.run(arguments), code)
    }

    /// The same of a command that knows what it is about without the spec.
    pub fn expect_bare(&self, arguments: &[&str], code: i32) -> String {
        ended(arguments, &self.bare(arguments).output().expect("kubewright starts"), code)
    }

    /// Runs a command and kills it (-9) so long after the first event that `here` picks.
    pub fn kill_at(&self, arguments: &[&str], after: Duration, here: impl Fn(&Value) -> bool) -> Watched {
        let mut child = self
            .command(arguments)
            .args(["--output", "json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("kubewright starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        for line in lines {
            let Ok(line) = line else { break };
            let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
            if here(&event) {
                std::thread::sleep(after);
                child.kill().expect("it was alive");
                child.wait().expect("it was ours");
                return Watched::Killed;
            }
        }
        Watched::Ended(child.wait().expect("it was ours").code())
    }

    /// Where it keeps its operations.
    pub fn operations(&self) -> Vec<PathBuf> {
        let folder = self.state.path().join("kubewright/ops");
        fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
    }

    /// Its folder, for files it writes.
    pub fn folder(&self) -> &Path {
        self.state.path()
    }
}

fn ended(arguments: &[&str], output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "kubewright {arguments:?}\n{text}\n{errors}");
    text
}

/// Whether an event is the journal's `kind` of the step that ends with `verb`.
pub fn records(event: &Value, kind: &str, verb: &str) -> bool {
    event["event"] == "recorded"
        && event["record"]["type"] == kind
        && event["record"]["step"].as_str().is_some_and(|step| step.ends_with(verb))
}

/// Whether an event tells what the step that ends with `verb` is doing.
pub fn does(event: &Value, verb: &str) -> bool {
    event["event"] == "doing" && event["step"].as_str().is_some_and(|step| step.ends_with(verb))
}

/// Whether an event says that the step that ends with `verb` is done, by this run or found so from the one before.
pub fn is_done(event: &Value, verb: &str) -> bool {
    records(event, "stepSucceeded", verb) || records(event, "stepFoundDone", verb)
}
