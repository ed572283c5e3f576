//! What has to be as it was, once a node is back from maintenance: written down before its pods move.
//!
//! Counts are never written down. A controller that was whole, with as many serving pods as it wanted, has to be so again,
//! however many it wants by then; one that was not is left out, for nothing that we do would mend it.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::drain::{Class, Left, Name, Pod, World, classify};

/// Packages that an update of the operating system leaves alone: what a node runs of Kubernetes is changed by upgrades of
/// the cluster, in their order, and by nothing else. Names of Debian, of the community's and of Docker's repositories.
pub const HELD: [&str; 10] = [
    "containerd",
    "containerd.io",
    "cri-o",
    "cri-tools",
    "etcd-server",
    "kubeadm",
    "kubectl",
    "kubelet",
    "kubernetes-cni",
    "runc",
];

/// A workload's controller.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Controller {
    /// Such as `ReplicaSet`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl std::fmt::Display for Controller {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// What was whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// DaemonSets whose pod on the node served, and static pods that did (kind `Pod`).
    pub staying: BTreeSet<Controller>,
    /// Controllers of the pods that move.
    pub workloads: BTreeSet<Controller>,
}

impl Note {
    /// Whom to ask whether they are whole: ReplicaSets and StatefulSets of the pods that move. Others have no number that
    /// they would come back to (a Job), or none that we know how to read.
    pub fn candidates(world: &World) -> BTreeSet<Controller> {
        let moves = world.pods.iter().filter(|(_, pod)| matches!(classify(pod, world.target()), Class::Moves(_)));
        moves
            .filter_map(|(name, pod)| {
                let owner = pod.owner.as_ref()?;
                has_replicas(&owner.kind).then(|| Controller {
                    kind: owner.kind.clone(),
                    namespace: name.namespace.clone(),
                    name: owner.name.clone(),
                })
            })
            .collect()
    }

    /// What to write down of a node, where `whole` are those of the candidates that have all they want.
    pub fn of(world: &World, whole: BTreeSet<Controller>) -> Self {
        let serving = world.pods.iter().filter(|(_, pod)| pod.is_ready());
        Self { staying: serving.filter_map(|(name, pod)| staying(world, name, pod)).collect(), workloads: whole }
    }

    /// Whether kube-proxy served on the node, as kubeadm names it.
    pub fn has_kube_proxy(&self) -> bool {
        self.staying.iter().any(|of| {
            (of.kind.as_str(), of.namespace.as_str(), of.name.as_str()) == ("DaemonSet", "kube-system", "kube-proxy")
        })
    }

    /// Whether a pod that stays is one of those that served before.
    pub fn is_about(&self, world: &World, name: &Name, pod: &Pod) -> bool {
        staying(world, name, pod).is_some_and(|one| self.staying.contains(&one))
    }
}

/// Whose a pod is that stays on its node and runs.
fn staying(world: &World, name: &Name, pod: &Pod) -> Option<Controller> {
    let of = |kind: &str, of: &str| Controller {
        kind: kind.to_owned(),
        namespace: name.namespace.clone(),
        name: of.to_owned(),
    };
    match classify(pod, world.target()) {
        Class::Stays(Left::DaemonSet) => pod.owner.as_ref().map(|owner| of(&owner.kind, &owner.name)),
        Class::Stays(Left::Static) => Some(of("Pod", &name.name)),
        Class::Stays(Left::Finished) | Class::Moves(_) => None,
    }
}

/// The API group and version of a controller that has replicas.
pub fn api_version(kind: &str) -> Option<&'static str> {
    has_replicas(kind).then_some("apps/v1")
}

fn has_replicas(kind: &str) -> bool {
    matches!(kind, "ReplicaSet" | "StatefulSet")
}

/// Whether a ReplicaSet or StatefulSet has as many pods that serve as it wants, by the object itself.
pub fn is_whole(object: &Value) -> bool {
    let number = |path: &str| object.pointer(path).and_then(Value::as_i64);
    let wanted = number("/spec/replicas").unwrap_or(1);
    number("/status/readyReplicas").unwrap_or(0) >= wanted
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::drain::{Owner, Phase, Readiness};

    fn world(pods: Vec<(&str, Pod)>) -> World {
        let mut world = World::new("w1", jiff::Timestamp::UNIX_EPOCH);
        world.pods = pods.into_iter().map(|(name, pod)| (Name::new("shop", name), pod)).collect();
        world
    }

    fn of(kind: &str, name: &str) -> Pod {
        let owner = Owner { kind: kind.into(), name: name.into(), uid: "o".into() };
        Pod { owner: Some(owner), phase: Phase::Running, readiness: Readiness::Ready, ..Pod::default() }
    }

    fn controller(kind: &str, name: &str) -> Controller {
        Controller { kind: kind.into(), namespace: "shop".into(), name: name.into() }
    }

    #[test]
    fn whoever_has_a_number_to_come_back_to_is_asked_and_once() {
        let seen = world(vec![
            ("a", of("ReplicaSet", "cart")),
            ("b", of("ReplicaSet", "cart")),
            ("c", of("StatefulSet", "db")),
            ("d", of("Job", "import")),
            ("e", of("DaemonSet", "logs")),
            ("f", Pod { owner: None, ..of("ReplicaSet", "none") }),
        ]);
        let asked = BTreeSet::from([controller("ReplicaSet", "cart"), controller("StatefulSet", "db")]);
        assert_eq!(Note::candidates(&seen), asked);
    }

    #[test]
    fn only_what_served_before_has_to_serve_after() {
        let sick = Pod { readiness: Readiness::default(), ..of("DaemonSet", "broken") };
        let mirror = Pod { mirror: true, ..of("Node", "w1") };
        let world = world(vec![("a", of("DaemonSet", "logs")), ("b", sick), ("proxy-w1", mirror)]);
        let note = Note::of(&world, BTreeSet::new());
        assert_eq!(note.staying, BTreeSet::from([controller("DaemonSet", "logs"), controller("Pod", "proxy-w1")]));
        let about = |name: &str| note.is_about(&world, &Name::new("shop", name), &world.pods[&Name::new("shop", name)]);
        assert!(about("a") && !about("b") && about("proxy-w1"));
        let text = serde_json::to_string(&note).unwrap();
        assert_eq!(serde_json::from_str::<Note>(&text).unwrap(), note);
    }

    #[test]
    fn whole_is_as_many_as_wanted_and_one_where_nothing_is_said() {
        assert!(is_whole(&json!({ "spec": { "replicas": 2 }, "status": { "readyReplicas": 2 } })));
        assert!(!is_whole(&json!({ "spec": { "replicas": 2 }, "status": { "readyReplicas": 1 } })));
        assert!(!is_whole(&json!({ "spec": {}, "status": {} })));
        assert!(is_whole(&json!({ "spec": { "replicas": 0 } })));
    }
}
