//! The demo: a real cluster on a raised lab, from the example's file, and a workload on it. Everything of it is in the
//! lab and in one folder of the cache, so that taking it away leaves nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::command;
use crate::lab::{self, Lab, LabSpec};

const VERSION: &str = "1.35.4";

/// DNS and Service rules reach every node within seconds of a Service's birth; ten times that is a failure.
const ANSWER: Duration = Duration::from_secs(60);

/// Runs the demo and ends with what was built, how long it took, and what to try next.
///
/// # Errors
/// Whatever kept it from being built, in the words of the part that failed.
pub fn up(cache: &Cache) -> Result<()> {
    let repository = repository();
    let mut times = Times::default();
    lab::preflight::check()?;
    times.stage("kubewright itself", || build(&repository))?;
    times.stage("Kubernetes' binaries and images", || lab::prepare(cache, &[]))?;
    let lab = times.stage("five bare hosts", || Lab::raise(cache, &LabSpec::five_hosts()?))?;

    let folder = folder(cache);
    fs::create_dir_all(&folder)?;
    let example = repository.join("examples/lab-ha.yaml");
    let spec = spec(&example, &lab, &folder)?;
    forget_pins(&spec)?;
    let kubeconfig = folder.join("lab.kubeconfig");
    times.stage("the cluster", || kubewright(cache, &["apply", "--yes"], &spec))?;
    kubewright(cache, &["kubeconfig", "-o", &kubeconfig.to_string_lossy()], &spec)?;
    let kubectl = Kubectl { program: kubectl(cache), kubeconfig: kubeconfig.clone() };
    let answers = times.stage("a workload behind a Service", || hello(&kubectl, &repository))?;

    println!("\n{}", kubectl.run(&["get", "nodes", "-o", "wide"])?);
    println!("\n{}", kubectl.run(&["get", "pods", "-o", "wide"])?);
    println!("\nasked by DNS name (hello.default.svc.cluster.local):");
    for (node, answer) in answers {
        println!("  a pod on {node} was told: {}", answer.trim());
    }
    times.print();
    let binary = binary();
    println!(
        "\ntry next\n  kubectl --kubeconfig {kubeconfig} get pods -A\n  {binary} status -f {spec}\n  {binary} apply -f {spec}      \
         (nothing to do, and says so)\n  cargo run -q -p xtask -- lab ssh cp1\n  make demo-down",
        kubeconfig = kubeconfig.display(),
        binary = binary.display(),
        spec = spec.display(),
    );
    Ok(())
}

/// Takes everything of the demo away.
///
/// # Errors
/// What could not be taken away.
pub fn down(cache: &Cache) -> Result<()> {
    lab::clear(cache, lab::DEFAULT_NAME)?;
    forget_pins(&repository().join("examples/lab-ha.yaml"))?;
    match fs::remove_dir_all(folder(cache)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => {
            println!("The demo is gone. What was built for it stays in {} for the next one.", cache.root().display());
            Ok(())
        }
    }
}

/// Removes a spec's lock file: what the lab installs may have been built anew on this machine since.
fn forget_pins(spec: &Path) -> Result<()> {
    match fs::remove_file(spec.with_extension("lock.yaml")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn folder(cache: &Cache) -> PathBuf {
    cache.root().join("demo")
}

fn binary() -> PathBuf {
    // xtask and kubewright are built into one folder.
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name("kubewright")
}

fn kubectl(cache: &Cache) -> PathBuf {
    cache.mirror().join(format!("dl.k8s.io/release/v{VERSION}/bin/linux/amd64/kubectl"))
}

fn build(repository: &Path) -> Result<()> {
    shown(Command::new("cargo").args(["build", "--locked", "--package", "kubewright"]).current_dir(repository))
}

/// The example itself where its ssh configuration is this lab's; else a copy that names the right one.
fn spec(example: &Path, lab: &Lab, folder: &Path) -> Result<PathBuf> {
    const KEY: &str = "configFile: ";
    let text = fs::read_to_string(example)?;
    let at = text.find(KEY).context("the example names no ssh configuration")? + KEY.len();
    let end = at + text[at..].find(char::is_whitespace).unwrap_or(0);
    let home = std::env::var("HOME").unwrap_or_default();
    if text[at..end].replacen('~', &home, 1) == lab.ssh_config.to_string_lossy() {
        return Ok(example.canonicalize()?);
    }
    let copy = folder.join("cluster.yaml");
    fs::write(&copy, format!("{}{}{}", &text[..at], lab.ssh_config.display(), &text[end..]))?;
    Ok(copy)
}

fn kubewright(cache: &Cache, arguments: &[&str], spec: &Path) -> Result<()> {
    let mut command = Command::new(binary());
    shown(command.args(arguments).arg("-f").arg(spec).env("XDG_STATE_HOME", folder(cache).join("state")))
}

/// Runs a program in front of the user, with the terminal as its own.
fn shown(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{} cannot be started", command.get_program().display()))?;
    if !status.success() {
        bail!("{} ended with {status}", command.get_program().display());
    }
    Ok(())
}

struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    fn run(&self, arguments: &[&str]) -> Result<String> {
        command::output(Command::new(&self.program).arg("--kubeconfig").arg(&self.kubeconfig).args(arguments))
    }
}

/// Two replicas, one on each worker; each asks the Service by its name.
fn hello(kubectl: &Kubectl, repository: &Path) -> Result<Vec<(String, String)>> {
    let manifest = repository.join("tests/lab/demo/hello.yaml");
    println!("{}", kubectl.run(&["apply", "-f", &manifest.to_string_lossy()])?);
    kubectl.run(&["rollout", "status", "deployment/hello", "--timeout=120s"])?;
    let columns = "-o=jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{\"\\n\"}{end}";
    let pods = kubectl.run(&["get", "pods", "-l", "app=hello", columns])?;
    pods.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(pod, node)| {
            let until = Instant::now() + ANSWER;
            loop {
                let url = "http://hello.default.svc.cluster.local/";
                match kubectl.run(&["exec", pod, "--", "timeout", "5", "wget", "-q", "-O", "-", url]) {
                    Ok(answer) => return Ok((node.to_owned(), answer)),
                    Err(error) if Instant::now() > until => return Err(error),
                    // The name or the rule has not reached this node yet.
                    Err(_) => {}
                }
            }
        })
        .collect()
}

/// How long each stage took.
#[derive(Default)]
struct Times(Vec<(&'static str, Duration)>);

impl Times {
    fn stage<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n=== {name}");
        let began = Instant::now();
        let result = work().with_context(|| format!("{name}: failed"))?;
        self.0.push((name, began.elapsed()));
        Ok(result)
    }

    fn print(&self) {
        println!("\nhow long it took");
        for (name, took) in &self.0 {
            println!("  {name:<32} {:>6.1} s", took.as_secs_f64());
        }
        let all: Duration = self.0.iter().map(|(_, took)| *took).sum();
        println!("  {:<32} {:>6.1} s", "all of it", all.as_secs_f64());
    }
}
