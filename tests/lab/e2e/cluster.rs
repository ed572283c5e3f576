//! The cluster as its user has it: kubectl with the kubeconfig that kubewright wrote.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use xtask::cache::Cache;

/// kubectl with a kubeconfig.
#[derive(Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
}

impl Kubectl {
    /// The kubectl that the lab's own mirror serves.
    pub fn new(cache: &Cache, version: &str, kubeconfig: &Path) -> Self {
        let program = cache.mirror().join(format!("dl.k8s.io/release/v{version}/bin/linux/amd64/kubectl"));
        Self { program, kubeconfig: kubeconfig.to_owned() }
    }

    /// Runs it; standard output, or standard error where it failed.
    pub fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(&self.program)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .output()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Runs it where it has to work.
    pub fn expect(&self, arguments: &[&str]) -> String {
        self.run(arguments).unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    /// An answer as JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        serde_json::from_str(&self.expect(&all)).expect("kubectl writes JSON")
    }

    /// Applies the demo's workload, waits for it, and has a pod on each node ask the Service by its DNS name.
    /// The answers, by asking node.
    pub fn hello(&self, manifest: &Path) -> Vec<(String, String)> {
        self.expect(&["apply", "-f", &manifest.to_string_lossy()]);
        self.expect(&["rollout", "status", "deployment/hello", "--timeout=120s"]);
        let pods = self.json(&["get", "pods", "-l", "app=hello"]);
        let pods = pods["items"].as_array().expect("a list");
        pods.iter()
            .map(|pod| {
                let text = |value: &Value| value.as_str().expect("a name").to_owned();
                let name = text(&pod["metadata"]["name"]);
                (text(&pod["spec"]["nodeName"]), self.ask(&name))
            })
            .collect()
    }

    /// The first answers may be lost while rules and DNS reach every node, as with any new Service.
    fn ask(&self, pod: &str) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let url = "http://hello.default.svc.cluster.local/";
            match self.run(&["exec", pod, "--", "timeout", "5", "wget", "-q", "-O", "-", url]) {
                Ok(answer) => return answer,
                Err(error) if Instant::now() > until => panic!("{pod}: {error}"),
                Err(_) => {}
            }
        }
    }
}
