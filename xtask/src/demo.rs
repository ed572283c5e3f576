//! The demo: a real cluster on a raised lab, from the example's file, and a workload on it. Everything of it is in the
//! lab and in one folder of the cache, so that taking it away leaves nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::cache::{Cache, lab_data};
use crate::cluster::{self, Kubectl, Operator, forget_pins};
use crate::lab::{self, Lab, LabSpec};

/// DNS and Service rules reach every node within seconds of a Service's birth; ten times that is a failure.
const ANSWER: Duration = Duration::from_secs(60);

/// Runs the demo and ends with what was built, how long it took, and what to try next.
///
/// # Errors
/// Whatever kept it from being built, in the words of the part that failed.
pub fn up(cache: &Cache) -> Result<()> {
    let mut times = Times::default();
    lab::preflight::check()?;
    times.stage("kubewright itself", cluster::build)?;
    times.stage("Kubernetes' binaries and images", || lab::prepare(cache, &[]))?;
    let lab = times.stage("five bare hosts", || Lab::raise(cache, &LabSpec::five_hosts()?))?;

    let folder = folder(cache);
    fs::create_dir_all(&folder)?;
    let operator = Operator { spec: spec(&lab, &folder)?, folder };
    forget_pins(&operator.spec)?;
    times.stage("the cluster", || operator.run(&["apply", "--yes"]))?;
    let kubectl = operator.kubectl(cache)?;
    let answers = times.stage("a workload behind a Service", || hello(&kubectl))?;

    println!("\n{}", kubectl.run(&["get", "nodes", "-o", "wide"])?);
    println!("\n{}", kubectl.run(&["get", "pods", "-o", "wide"])?);
    println!("\nasked by DNS name (hello.default.svc.cluster.local):");
    for (node, answer) in answers {
        println!("  a pod on {node} was told: {}", answer.trim());
    }
    times.print();
    let binary = cluster::program();
    println!(
        "\ntry next\n  kubectl --kubeconfig {kubeconfig} get pods -A\n  {binary} status -f {spec}\n  {binary} apply -f {spec}      \
         (nothing to do, and says so)\n  cargo run -q -p xtask -- lab ssh cp1\n  make demo-down",
        kubeconfig = kubectl.kubeconfig.display(),
        binary = binary.display(),
        spec = operator.spec.display(),
    );
    Ok(())
}

/// Takes everything of the demo away.
///
/// # Errors
/// What could not be taken away.
pub fn down(cache: &Cache) -> Result<()> {
    lab::clear(cache, lab::DEFAULT_NAME)?;
    forget_pins(&cluster::example())?;
    match fs::remove_dir_all(folder(cache)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => {
            println!("The demo is gone. What was built for it stays in {} for the next one.", cache.root().display());
            Ok(())
        }
    }
}

fn folder(cache: &Cache) -> PathBuf {
    cache.root().join("demo")
}

/// The example itself where its ssh configuration is this lab's; else a copy that names the right one.
fn spec(lab: &Lab, folder: &Path) -> Result<PathBuf> {
    const KEY: &str = "configFile: ~";
    let example = cluster::example();
    let home = std::env::var("HOME").unwrap_or_default();
    let text = cluster::spec(lab)?;
    if fs::read_to_string(&example)?.replacen(KEY, &KEY.replace('~', &home), 1) == text {
        return Ok(example.canonicalize()?);
    }
    let copy = folder.join("cluster.yaml");
    fs::write(&copy, text)?;
    Ok(copy)
}

/// Two replicas, one on each worker; each asks the Service by its name.
fn hello(kubectl: &Kubectl) -> Result<Vec<(String, String)>> {
    let manifest = lab_data("demo/hello.yaml");
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
