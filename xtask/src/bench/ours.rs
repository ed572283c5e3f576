//! kubewright on the same hosts: the released program with `apply --yes` and `upgrade --yes`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use super::{Part, part, rounded};
use crate::cluster;
use crate::command;
use crate::lab::Lab;

/// How a cluster is built.
const APPLY: [&str; 4] = ["apply", "--yes", "--output", "json"];

/// The program and its spec.
pub struct Kubewright {
    program: PathBuf,
    folder: TempDir,
}

impl Kubewright {
    /// The released program, which `make` has built, and the example's spec for this lab.
    ///
    /// # Errors
    /// There is none, or the example is another than expected.
    pub fn new(lab: &Lab) -> Result<Self> {
        let program = crate::bench::released("kubewright")?;
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("cluster.yaml"), cluster::spec(lab)?)?;
        Ok(Self { program, folder })
    }

    /// As it names itself.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn version(&self) -> Result<String> {
        command::output(Command::new(&self.program).arg("--version"))
    }

    fn command(&self, state: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--file").arg(self.folder.path().join("cluster.yaml"));
        command.env("XDG_STATE_HOME", self.folder.path().join(state)).stdin(Stdio::null());
        command
    }

    /// Has it prepare the hosts and nothing more: told to stop as soon as the first steps have begun, which are just these,
    /// it ends them and begins no others. What a run leaves of itself is taken away, so that the hosts are bare but
    /// prepared.
    ///
    /// # Errors
    /// A host was not prepared.
    pub fn prepare(&self, lab: &Lab) -> Result<()> {
        let mut child =
            self.command("prepare", &APPLY).stdout(Stdio::piped()).spawn().context("kubewright does not start")?;
        let output = child.stdout.take().context("kubewright without output")?;
        let (mut told, mut prepared) = (false, 0);
        for line in BufReader::new(output).lines() {
            let event: Value = serde_json::from_str(&line?).unwrap_or_default();
            let record = &event["record"];
            if record["type"] == "stepStarted" && !told {
                told = true;
                command::output(Command::new("kill").args(["-TERM", &child.id().to_string()]))?;
            }
            let step = record["step"].as_str().unwrap_or_default();
            prepared += usize::from(record["type"] == "stepSucceeded" && step.ends_with("-prepare"));
        }
        let status = child.wait()?;
        if prepared != lab.spec.hosts.len() {
            bail!("kubewright ended with {status} and prepared {prepared} of {} hosts", lab.spec.hosts.len());
        }
        for host in &lab.spec.hosts {
            let state = "/var/lib/kubewright";
            lab.exec(&host.name, &format!("rm -rf {state}/ops {state}/secrets {state}/fence* {state}/host"))?;
        }
        Ok(())
    }

    /// Builds the cluster.
    ///
    /// # Errors
    /// It fails, with its own last words.
    pub fn bootstrap(&self, began: Instant) -> Result<Vec<Part>> {
        self.run(&APPLY, began)
    }

    /// Takes it to another version; consents are what has to be agreed to where there is one control plane.
    ///
    /// # Errors
    /// It fails, with its own last words.
    pub fn upgrade(&self, to: &str, consents: &[&str], began: Instant) -> Result<Vec<Part>> {
        let mut arguments = vec!["upgrade", "--to", to, "--yes", "--output", "json"];
        arguments.extend(consents.iter().flat_map(|consent| ["--consent", consent]));
        self.run(&arguments, began)
    }

    fn run(&self, arguments: &[&str], began: Instant) -> Result<Vec<Part>> {
        let state = format!("state-{}", began.elapsed().as_nanos());
        // The journal tells the time of day; this is when our clock stood at zero.
        let zero = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() - began.elapsed().as_secs_f64();
        let (_, whole) = part(arguments[0], began, || command::output(&mut self.command(&state, arguments)))?;
        let mut parts = steps(&self.folder.path().join(state), zero)?;
        parts.push(whole);
        Ok(parts)
    }

    /// A kubeconfig of the cluster's administrator.
    ///
    /// # Errors
    /// There is no cluster.
    pub fn kubeconfig(&self) -> Result<PathBuf> {
        let path = self.folder.path().join("admin.conf");
        let path_text = path.to_string_lossy().into_owned();
        command::output(&mut self.command("kubeconfig", &["kubeconfig", "--out", &path_text, "--force"]))?;
        Ok(path)
    }
}

/// Steps with their times, from the journal of the one operation in a state folder.
fn steps(state: &Path, zero: f64) -> Result<Vec<Part>> {
    let operations = state.join("kubewright/ops");
    let folder = fs::read_dir(&operations)?.next().context("kubewright kept no operation")??;
    let journal = fs::read_to_string(folder.path().join("journal.jsonl"))?;
    let mut began: BTreeMap<String, f64> = BTreeMap::new();
    let mut parts = Vec::new();
    for line in journal.lines() {
        let record: Value = serde_json::from_str(line).context("a line of the journal is no JSON")?;
        let (event, at) = (&record["event"], record["at"].as_str().unwrap_or_default());
        let at = rounded(seconds(at)? - zero);
        let step = event["step"].as_str().unwrap_or_default().to_owned();
        match event["type"].as_str() {
            Some("takenUp") => {
                parts.push(Part { name: "spec, facts, plan and lock".to_owned(), began_s: 0.0, ended_s: at });
            }
            Some("stepStarted") => drop(began.insert(step, at)),
            Some("stepSucceeded") => {
                let began_s = began.remove(&step).context("a step that never began")?;
                parts.push(Part { name: step, began_s, ended_s: at });
            }
            _ => {}
        }
    }
    Ok(parts)
}

/// `…T12:34:56.789Z` as seconds since 1970; std reads no dates, and `date` is on every machine that can host a lab.
fn seconds(timestamp: &str) -> Result<f64> {
    let text = command::output(Command::new("date").args(["--utc", "+%s.%N", "--date", timestamp]))?;
    text.parse().with_context(|| format!("{timestamp} is no time"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_off_the_journal() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("kubewright/ops/7f3a9c");
        fs::create_dir_all(&folder).unwrap();
        let line = |second: u32, event: &str| {
            format!("{{\"seq\":0,\"at\":\"2026-11-20T23:00:0{second}.5Z\",\"previous\":\"\",\"event\":{event}}}\n")
        };
        let journal = line(1, r#"{"type":"takenUp","by":"ada@desk","fence":1}"#)
            + &line(2, r#"{"type":"stepStarted","step":"01-cp1-prepare","attempt":1}"#)
            + &line(4, r#"{"type":"stepSucceeded","step":"01-cp1-prepare","attempt":1}"#);
        fs::write(folder.join("journal.jsonl"), journal).unwrap();
        let zero = seconds("2026-11-20T23:00:00Z").unwrap();
        let told: Vec<(String, f64, f64)> = steps(state.path(), zero)
            .unwrap()
            .into_iter()
            .map(|part| (part.name, part.began_s, part.ended_s))
            .collect();
        let expected = [("spec, facts, plan and lock", 0.0, 1.5), ("01-cp1-prepare", 2.5, 4.5)];
        assert_eq!(told, expected.map(|(name, began, ended)| (name.to_owned(), began, ended)));
    }
}
