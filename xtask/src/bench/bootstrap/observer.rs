//! Sees from outside when a cluster stands, the same way for both tools: two watches on the API of the first control
//! plane, so that looking costs what it looks at next to nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::BufReader;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde_json::Value;
use tempfile::TempDir;

use super::super::{CONTROL_PLANES, VERSION, is_ready};
use crate::cache::Cache;
use crate::lab::Lab;

/// Between two looks at what gives no event from outside: a file that is not there yet, a port that is not open yet. A
/// tenth of the half second that two runs of one tool differ by.
const LOOK: Duration = Duration::from_millis(50);

/// After a watch that ended: the API server is not ready yet, and each try costs a tenth of a second of processor time.
const AGAIN: Duration = Duration::from_millis(400);

/// What makes a control plane.
const COMPONENTS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// How far the tool is whose cluster is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// It is at work.
    Works,
    /// It has ended well.
    Ended,
    /// It has failed: nothing more is to be seen.
    Failed,
}

/// When everything that was waited for had been seen.
pub struct Stood {
    /// Since the clock began.
    pub after: Duration,
    /// What came last.
    pub last: String,
}

/// The watches.
pub struct Observer {
    began: Instant,
    wanted: Wanted,
    seen: Receiver<(Duration, Value)>,
    ended: Arc<Ended>,
}

/// Ends the watches when it is dropped.
#[derive(Default)]
struct Ended {
    over: AtomicBool,
    children: Mutex<Vec<Child>>,
}

impl Observer {
    /// Begins to look.
    ///
    /// # Errors
    /// podman does not tell where it keeps the host's files.
    pub fn begin(cache: &Cache, lab: &Lab, began: Instant) -> Result<Self> {
        let first = CONTROL_PLANES[0];
        let eyes = Eyes {
            kubectl: cache.mirror().join(format!("dl.k8s.io/release/v{VERSION}/bin/linux/amd64/kubectl")),
            // Read past the host: nothing has to run there for it.
            kubeconfig: lab.folder(first)?.join("etc/kubernetes/super-admin.conf"),
            address: lab.host(first)?.address,
        };
        let (sender, seen) = channel();
        let ended = Arc::<Ended>::default();
        for what in ["nodes", "pods"] {
            let (eyes, sender, ended) = (eyes.clone(), sender.clone(), Arc::clone(&ended));
            thread::spawn(move || eyes.watch(what, began, &sender, &ended));
        }
        let nodes = lab.spec.hosts.iter().map(|host| host.name.clone());
        Ok(Self { began, wanted: Wanted::new(nodes), seen, ended })
    }

    /// Waits until everything stands, after the tool's end for as long as a kubelet may take to tell what it missed.
    ///
    /// # Errors
    /// It does not stand in time; with what is missing.
    pub fn stood(mut self, patience: Duration, tool: impl Fn() -> Tool) -> Result<Stood> {
        /// A kubelet looks at each pod again once a minute.
        const AFTERWARDS: Duration = Duration::from_secs(70);
        let mut until = self.began + patience;
        let mut told_ended = false;
        loop {
            match tool() {
                Tool::Works => {}
                Tool::Ended if told_ended => {}
                Tool::Ended => {
                    told_ended = true;
                    until = until.min(Instant::now() + AFTERWARDS);
                }
                Tool::Failed => bail!("the tool failed; missing: {}", self.wanted.missing()),
            }
            match self.seen.recv_timeout(LOOK) {
                Ok((at, object)) => {
                    if let Some(last) = self.wanted.take(&object) {
                        return Ok(Stood { after: at, last });
                    }
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < until => {}
                Err(_) => bail!("missing: {}", self.wanted.missing()),
            }
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.ended.over.store(true, Ordering::SeqCst);
        for child in self.ended.children.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How to look.
#[derive(Clone)]
struct Eyes {
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    address: Ipv4Addr,
}

impl Eyes {
    /// Follows one kind of object until it is told to end.
    fn watch(&self, what: &str, began: Instant, sender: &Sender<(Duration, Value)>, ended: &Ended) {
        let over = || ended.over.load(Ordering::SeqCst);
        let api = SocketAddr::from((self.address, 6443));
        while !over() && (!self.kubeconfig.exists() || TcpStream::connect_timeout(&api, LOOK).is_err()) {
            thread::sleep(LOOK);
        }
        while !over() {
            let _ = self.follow(what, began, sender, ended);
            thread::sleep(AGAIN);
        }
    }

    fn follow(&self, what: &str, began: Instant, sender: &Sender<(Duration, Value)>, ended: &Ended) -> Result<()> {
        // A copy: the kubeconfig may name an address that only the host itself reaches.
        let folder: TempDir = tempfile::tempdir()?;
        let kubeconfig = folder.path().join("kubeconfig");
        fs::copy(&self.kubeconfig, &kubeconfig)?;
        let mut kubectl = Command::new(&self.kubectl);
        kubectl.arg("--kubeconfig").arg(&kubeconfig).arg(format!("--server=https://{}:6443", self.address));
        kubectl.arg(format!("--cache-dir={}", folder.path().display()));
        kubectl.args(["get", what, "--namespace=kube-system", "--watch", "--output=json"]);
        let mut child = kubectl.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let output = child.stdout.take();
        ended.children.lock().unwrap_or_else(PoisonError::into_inner).push(child);
        let Some(output) = output else { return Ok(()) };
        for object in serde_json::Deserializer::from_reader(BufReader::new(output)).into_iter::<Value>() {
            sender.send((began.elapsed(), object?))?;
        }
        Ok(())
    }
}

/// What has to be seen, and what was.
struct Wanted {
    nodes: BTreeSet<String>,
    pods: BTreeMap<String, bool>,
}

impl Wanted {
    fn new(nodes: impl Iterator<Item = String>) -> Self {
        let pods = CONTROL_PLANES.iter().flat_map(|host| COMPONENTS.map(|component| format!("{component}-{host}")));
        Self { nodes: nodes.collect(), pods: pods.map(|pod| (pod, false)).collect() }
    }

    /// Takes one object as it was seen; its name where it was the last that was missing.
    fn take(&mut self, object: &Value) -> Option<String> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        match object["kind"].as_str() {
            Some("Node") => drop(self.nodes.remove(name)),
            Some("Pod") => {
                if let Some(ready) = self.pods.get_mut(name) {
                    *ready = is_ready(object);
                }
            }
            _ => {}
        }
        (self.nodes.is_empty() && self.pods.values().all(|ready| *ready)).then(|| name.to_owned())
    }

    fn missing(&self) -> String {
        let pods = self.pods.iter().filter(|(_, ready)| !**ready).map(|(name, _)| name);
        self.nodes.iter().chain(pods).cloned().collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, ready: &str) -> Value {
        json!({ "kind": "Pod", "metadata": { "name": name },
            "status": { "conditions": [{ "type": "Initialized", "status": "True" }, { "type": "Ready", "status": ready }] } })
    }

    #[test]
    fn it_stands_when_the_last_pod_is_ready_and_the_last_node_there() {
        let mut wanted = Wanted::new(["cp1".to_owned(), "w1".to_owned()].into_iter());
        let names: Vec<String> = wanted.pods.keys().cloned().collect();
        assert_eq!(names.len(), 12);
        for name in &names {
            assert_eq!(wanted.take(&pod(name, "True")), None);
        }
        assert_eq!(wanted.missing(), "cp1, w1");
        assert_eq!(wanted.take(&json!({ "kind": "Node", "metadata": { "name": "cp1" } })), None);
        // What was Ready may cease to be.
        assert_eq!(wanted.take(&pod("etcd-cp2", "False")), None);
        assert_eq!(wanted.take(&json!({ "kind": "Node", "metadata": { "name": "w1" } })), None);
        assert_eq!(wanted.take(&pod("coredns-x", "True")), None);
        assert_eq!(wanted.missing(), "etcd-cp2");
        assert_eq!(wanted.take(&pod("etcd-cp2", "True")).as_deref(), Some("etcd-cp2"));
    }
}
