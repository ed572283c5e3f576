//! A cluster in memory: an API server that evicts by Kubernetes' rules, a disruption controller, a scheduler with one other
//! node, kubelets that take their time. Time is tokio's, so a test with paused time passes hours at once.
//!
//! Here is how it is built and what goes on in it; [`state`] is what is in it and its rules, [`api`] what its API server answers.

mod api;
mod state;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kubewright::ports::Clock;
use kubewright_core::drain::{Budget, Deletion, Name, Node, Phase, Pod, Readiness, Wanted};
use kubewright_core::health::{AttachmentState, CONTROL_PLANE, KUBE_SYSTEM};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

pub use self::state::{State, shop};

/// tokio's time as a time of day.
#[derive(Clone, Copy, Debug)]
pub struct TestClock(Instant);

impl TestClock {
    pub fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let noon: Timestamp = "2026-11-26T11:00:00Z".parse().unwrap();
        noon + SignedDuration::try_from(self.0.elapsed()).unwrap()
    }
}

/// The whole cluster; clones are the same one.
#[derive(Clone)]
pub struct Cluster {
    state: Arc<Mutex<State>>,
    changes: watch::Sender<u64>,
    pub clock: TestClock,
}

/// How long an unmounted volume takes until it is detached.
const DETACH: Duration = Duration::from_secs(3);

/// How often a kubelet renews its lease.
const RENEWAL: Duration = Duration::from_secs(10);

/// How long a replacement takes until it serves.
const READY: Duration = Duration::from_secs(5);

impl Cluster {
    /// Nodes w1, w2 and w3, nothing on them.
    pub fn new() -> Self {
        let mut state = State::default();
        for name in ["w1", "w2", "w3"] {
            let node = Node { uid: format!("uid-of-{name}"), schedulable: true, ..Node::default() };
            state.nodes.insert(name.to_owned(), node);
        }
        Self { state: Arc::new(Mutex::new(state)), changes: watch::Sender::new(0), clock: TestClock::new() }
    }

    /// An application with so many serving pods on each of these nodes.
    pub fn app(self, app: &str, on: &[&str]) -> Self {
        self.change(|state| {
            for node in on {
                state.start(app, node, true);
            }
            *state.wanted.entry(app.to_owned()).or_default() += u32::try_from(on.len()).unwrap();
        });
        self
    }

    /// A DaemonSet with a serving pod on each of these nodes.
    pub fn daemon_set(self, app: &str, on: &[&str]) -> Self {
        self.change(|state| {
            for node in on {
                let name = state.start(app, node, true);
                let container = format!("{}@first", name.name);
                let pod = state.pods.get_mut(&name).unwrap();
                if let Some(owner) = &mut pod.owner {
                    owner.kind = "DaemonSet".to_owned();
                }
                pod.containers = vec![container.clone()];
                state.running.entry((*node).to_owned()).or_default().push(container);
            }
        });
        self
    }

    /// A control plane, as kubeadm lays it out: a node on which nothing is scheduled, with four static pods.
    pub fn control_plane(self, node: &str) -> Self {
        self.change(|state| {
            let taint = ("node-role.kubernetes.io/control-plane".into(), String::new(), "NoSchedule".into());
            let made = Node { uid: node.to_owned(), schedulable: true, taints: vec![taint], ..Node::default() };
            state.nodes.insert(node.to_owned(), made);
            for component in CONTROL_PLANE {
                let name = Name::new(KUBE_SYSTEM, format!("{component}-{node}"));
                let container = format!("{}@first", name.name);
                state.running.entry(node.to_owned()).or_default().push(container.clone());
                let pod = Pod {
                    uid: name.name.clone(),
                    node: Some(node.to_owned()),
                    labels: BTreeMap::from([("app".to_owned(), component.to_owned())]),
                    phase: Phase::Running,
                    readiness: Readiness::Ready,
                    mirror: true,
                    containers: vec![container],
                    ..Pod::default()
                };
                state.pods.insert(name, pod);
            }
        });
        self
    }

    /// A volume for each pod of an application, attached where the pod is.
    pub fn volumes(self, app: &str) -> Self {
        self.change(|state| {
            let pods = state.pods.iter().filter(|(_, pod)| pod.labels["app"] == app);
            let attached: Vec<_> = pods.map(|(name, pod)| (name.name.clone(), pod.node.clone().unwrap())).collect();
            for (pod, node) in attached {
                let volume = Some(format!("pv-of-{pod}"));
                state.attachments.insert(pod, AttachmentState { node, volume });
            }
        });
        self
    }

    /// Kubelets that renew their leases, from now on.
    pub fn kubelets(self) -> Self {
        let cluster = self.clone();
        tokio::spawn(async move {
            loop {
                sleep(RENEWAL).await;
                cluster.change(|state| {
                    let nodes: Vec<String> = state.nodes.keys().cloned().collect();
                    // A kubelet that has not reported the boot that runs is not up.
                    let up = nodes.into_iter().filter(|node| state.nodes[node].not_ready.is_none());
                    for node in up.collect::<Vec<_>>() {
                        *state.leases.entry(node).or_default() += 1;
                    }
                });
            }
        });
        self
    }

    /// A machine restarts. For a while the API says of it what was true before; what should not have happened is kept.
    pub fn restart(&self, node: &str, boot: &str) {
        let node = node.to_owned();
        self.change(|state| {
            *state.restarts.entry(node.clone()).or_default() += 1;
            let here = |pod: &&Pod| pod.node.as_ref() == Some(&node);
            let moving = |pod: &&Pod| !pod.mirror && pod.owner.as_ref().is_none_or(|owner| owner.kind != "DaemonSet");
            let cut_off = state.pods.values().filter(here).filter(moving).count();
            let attached = state.attachments.values().filter(|attachment| attachment.node == node).count();
            if cut_off + attached > 0 || state.nodes[&node].schedulable {
                state.broken.push(format!("{node} restarted with {cut_off} pods and {attached} volumes on it"));
            }
            state.running.insert(node.clone(), Vec::new());
        });
        let (cluster, boot) = (self.clone(), boot.to_owned());
        tokio::spawn(async move {
            sleep(Duration::from_secs(4)).await;
            cluster.change(|state| {
                state.boots.insert(node.clone(), boot.clone());
                state.nodes.get_mut(&node).unwrap().not_ready = Some("starting".into());
            });
            sleep(Duration::from_secs(2)).await;
            // Ready, and its pods are still told as they were.
            cluster.change(|state| state.nodes.get_mut(&node).unwrap().not_ready = None);
            sleep(Duration::from_secs(3)).await;
            cluster.change(|state| {
                let State { pods, running, .. } = state;
                for (name, pod) in pods.iter_mut().filter(|(_, pod)| pod.node.as_ref() == Some(&node)) {
                    pod.containers = vec![format!("{}@{boot}", name.name)];
                    running.entry(node.clone()).or_default().extend(pod.containers.clone());
                }
            });
        });
    }

    /// A budget over an application.
    pub fn budget(self, app: &str, min_available: i32) -> Self {
        self.change(|state| {
            let selector = kubewright_core::drain::Selector {
                labels: BTreeMap::from([("app".to_owned(), app.to_owned())]),
                requirements: Vec::new(),
            };
            let wanted = Wanted::MinAvailable(min_available.to_string());
            let budget = Budget { selector: Some(selector), wanted, desired: min_available, ..Budget::default() };
            state.budgets.insert(shop(app), budget);
        });
        self
    }

    /// Changes anything, then the controllers look.
    pub fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock().unwrap();
        let result = change(&mut state);
        state.control();
        state.version += 1;
        self.changes.send_replace(state.version);
        result
    }

    pub fn seen<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.lock().unwrap())
    }

    /// Names of pods on a node.
    pub fn on(&self, node: &str) -> Vec<String> {
        self.seen(|state| {
            let here = state.pods.iter().filter(|(_, pod)| pod.node.as_deref() == Some(node));
            here.map(|(name, _)| name.name.clone()).collect()
        })
    }

    fn end(&self, name: &Name, uid: &str) {
        let now = self.clock.now();
        let grace = self.change(|state| {
            let pod = state.pods.get_mut(name).unwrap();
            let grace = Duration::from_secs(pod.grace_seconds.into());
            pod.deletion = Some(Deletion { due: now + SignedDuration::try_from(grace).unwrap() });
            state.ends_after.unwrap_or(grace).min(grace)
        });
        let (cluster, name, uid) = (self.clone(), name.clone(), uid.to_owned());
        tokio::spawn(async move {
            cluster.replace(&name);
            sleep(grace).await;
            cluster.change(|state| {
                if state.pods.get(&name).is_some_and(|pod| pod.uid == uid && pod.finalizers.is_empty()) {
                    state.pods.remove(&name);
                }
            });
            sleep(DETACH).await;
            cluster.change(|state| state.attachments.remove(&name.name));
        });
    }

    /// The workload controller makes another one at once; it serves a little later.
    fn replace(&self, gone: &Name) {
        let started = self.change(|state| {
            let pod = &state.pods[gone];
            pod.owner.as_ref()?;
            let app = pod.labels["app"].clone();
            let tolerations = pod.tolerations.clone();
            let back = state.returning > 0;
            state.returning -= usize::from(back);
            let open = state.nodes.iter().find(|(_, node)| node.schedulable && node.taints.is_empty());
            let open = open.map(|(name, _)| name.clone());
            let node = if back { "w1".to_owned() } else { open.unwrap_or_else(|| "w2".to_owned()) };
            let name = state.start(&app, &node, false);
            state.pods.get_mut(&name).unwrap().tolerations = tolerations;
            (!state.sick).then_some(name)
        });
        let Some(name) = started else { return };
        let cluster = self.clone();
        tokio::spawn(async move {
            sleep(READY).await;
            cluster.change(|state| {
                if let Some(pod) = state.pods.get_mut(&name) {
                    pod.readiness = Readiness::Ready;
                }
            });
        });
    }
}
