//! An empty folder with its own home, in which the program is run.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// Where the program runs, alone.
pub struct Bench(TempDir);

/// What it said and how it ended.
pub struct Told {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Bench {
    pub fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        for folder in ["work", "home", "state"] {
            fs::create_dir(bench.0.path().join(folder)).unwrap();
        }
        bench
    }

    /// Runs the program without a terminal.
    pub fn run(&self, arguments: &[&str]) -> Told {
        self.run_with(&[], arguments)
    }

    /// The same with more in its environment.
    pub fn run_with(&self, environment: &[(&str, &str)], arguments: &[&str]) -> Told {
        let mut command = self.command(arguments);
        self.at_home(&mut command).envs(environment.iter().copied());
        told(command)
    }

    /// The same, started by another program that takes it and its arguments as its own last ones.
    pub fn run_through(&self, mut other: Command, arguments: &[&str]) -> Told {
        let program = self.command(arguments);
        other.arg(program.get_program()).args(program.get_args()).stdin(Stdio::null());
        other.current_dir(self.0.path().join("work"));
        self.at_home(&mut other);
        told(other)
    }

    /// For a terminal of its own.
    pub fn in_terminal(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        self.at_home(&mut command);
        command
    }

    fn at_home<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("HOME", self.0.path().join("home")).env("XDG_STATE_HOME", self.0.path().join("state"))
    }

    /// Where the program keeps its state.
    pub fn state(&self) -> PathBuf {
        self.0.path().join("state/kubewright")
    }

    /// The same where the environment names no home.
    pub fn homeless(&self, arguments: &[&str]) -> Told {
        told(self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.bare(arguments);
        command.stdin(Stdio::null());
        command
    }

    fn bare(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubewright"));
        command.args(arguments).current_dir(self.0.path().join("work")).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        // The pages of --help are as wide as this says.
        command.env("COLUMNS", "100");
        command
    }

    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join("work").join(name)
    }

    pub fn write(&self, name: &str, contents: &[u8]) {
        fs::write(self.path(name), contents).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Names of the files where the program runs.
    pub fn files(&self) -> Vec<String> {
        let names = self.path("").read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }

    /// How many operations are kept.
    pub fn operations(&self) -> usize {
        let folder = self.0.path().join("state/kubewright/ops");
        folder.read_dir().map_or(0, Iterator::count)
    }

    /// A spec of control planes behind ports of this machine on which nobody listens.
    pub fn out_of_reach(&self, hosts: u8) -> String {
        let mut spec = String::from(
            "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {name: lab}\nspec:\n  kubernetes: {version: 1.35.4}\n  \
             ssh: {configFile: /dev/null, knownHostsFile: /dev/null}\n  hosts:\n",
        );
        // All are held until each has its own.
        let held: Vec<TcpListener> = (0..hosts).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
        for (number, listener) in (1..).zip(&held) {
            let port = listener.local_addr().unwrap().port();
            spec += &format!(
                "  - {{name: cp{number}, address: 127.0.0.1, privateAddress: 10.77.0.1{number}, ssh: {{port: {port}}}, roles: [controlPlane, etcd]}}\n"
            );
        }
        spec
    }
}

impl Told {
    /// The same, provided that it ended with this code.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.status, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }
}

fn told(mut command: Command) -> Told {
    let output = command.output().unwrap();
    Told {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Standard output, each line of which must be JSON.
#[track_caller]
pub fn json_lines(stdout: &str) -> Vec<Value> {
    stdout.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}
