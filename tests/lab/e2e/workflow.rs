//! The example's workflow for CI, its scripts run as a runner would: a plan in one job, its run in another one, and between the two
//! what makes a plan stale.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use super::cluster::Kubectl;
use super::maintain::nothing_is_cordoned;

/// What a pull request left to do is planned by one job and run by another; the same plan is then refused, and the next one has nothing
/// to do. `file` says a version that not every node has yet.
pub fn has_the_rest_follow(file: &Path, kubectl: &Kubectl, told: &dyn Fn(&str)) {
    let runner = Runner::new(file);
    assert_eq!(runner.passes("plan"), "pending=yes\n");
    nothing_is_cordoned(kubectl);
    assert_eq!(runner.passes("run"), "");
    assert_eq!(runner.last_event()["record"]["type"], "finished");
    nothing_is_cordoned(kubectl);
    told("the workflow's two jobs plan and run what is left");
    let (again, _) = runner.job("run");
    assert_eq!(again.status.code(), Some(8), "{again:?}");
    let error = runner.last_event();
    assert_eq!(error["kind"], "moved", "{error}");
    assert!(error["message"].as_str().is_some_and(|message| message.contains("kubelet")), "{error}");
    assert_eq!(runner.passes("plan"), "pending=no\n");
    told("the same plan once more is refused by what changed, and the next one has nothing to do");
}

/// The workflow, as far as we run it: what the marketplace's actions do is done by hand.
#[derive(Deserialize)]
struct Workflow {
    jobs: BTreeMap<String, Job>,
}

#[derive(Deserialize)]
struct Job {
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    run: Option<String>,
    shell: Option<String>,
}

/// A machine that runs jobs: a folder with the repository's files, and nothing of an earlier job but its artefacts.
struct Runner {
    workflow: Workflow,
    folder: TempDir,
}

impl Runner {
    /// With this spec in the repository, and its lock file where there is one.
    fn new(spec: &Path) -> Self {
        let text = fs::read_to_string(example()).expect("the example");
        let folder = tempfile::tempdir().expect("a folder");
        fs::copy(spec, folder.path().join("cluster.yaml")).expect("a spec");
        let pins = spec.with_extension("lock.yaml");
        if pins.exists() {
            fs::copy(pins, folder.path().join("cluster.lock.yaml")).expect("a lock file");
        }
        Self { workflow: serde_saphyr::from_str(&text).expect("a workflow"), folder }
    }

    /// Runs the one script of a job: how it ended, and what it told the jobs after it.
    fn job(&self, name: &str) -> (Output, String) {
        let mut scripts = self.workflow.jobs[name].steps.iter().filter(|step| step.run.is_some());
        let step = scripts.next().expect("a script");
        assert!(scripts.next().is_none(), "{name} has another script");
        assert_eq!(step.shell.as_deref(), Some("bash"));
        let told = self.folder.path().join("told");
        fs::write(&told, "").expect("a file");
        let program = Path::new(env!("CARGO_BIN_EXE_kubewright"));
        let path =
            format!("{}:{}", program.parent().expect("a folder").display(), std::env::var("PATH").expect("a path"));
        // As the runner calls it.
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", step.run.as_deref().expect("a script")]);
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        command.env("PATH", path).env("GITHUB_OUTPUT", &told).env("XDG_STATE_HOME", self.folder.path().join(name));
        let output = command.output().expect("bash");
        (output, fs::read_to_string(told).expect("a file"))
    }

    /// The same of a job that has to end well; what it told the jobs after it.
    #[track_caller]
    fn passes(&self, name: &str) -> String {
        let (output, told) = self.job(name);
        assert!(output.status.success(), "{output:?}");
        told
    }

    /// The last line of what the run job keeps.
    fn last_event(&self) -> Value {
        let text = fs::read_to_string(self.folder.path().join("events.jsonl")).expect("events");
        serde_json::from_str(text.lines().last().expect("an event")).expect("JSON")
    }
}

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ci/github-actions.yaml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_has_the_jobs() {
        let workflow: Workflow = serde_saphyr::from_str(&fs::read_to_string(example()).unwrap()).unwrap();
        assert_eq!(workflow.jobs.keys().collect::<Vec<_>>(), ["plan", "run"]);
    }
}
