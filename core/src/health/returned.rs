//! What is missing before a node is empty enough to be stopped, and after it was.

use std::collections::BTreeSet;

use super::{KUBE_SYSTEM, Observation, PodState, node_complaint};
use crate::ids::HostName;
use crate::maintenance::Controller;

/// Volumes that are attached to the node although no pod there uses them any more. Those of pods that stay (of
/// DaemonSets, or because the user agreed) stay with them.
pub(super) fn attached(node: &HostName, seen: &Observation) -> Vec<String> {
    let here = |pod: &PodState| pod.node.as_deref() == Some(node.as_str());
    let used = |volume: &str| {
        seen.claims.get(volume).is_some_and(|(namespace, claim)| {
            let pods = seen.pods.iter().filter(|((of, _), pod)| of == namespace && here(pod));
            pods.into_iter().any(|(_, pod)| pod.claims.contains(claim))
        })
    };
    let left = seen.attachments.iter().filter(|(_, attachment)| attachment.node == node.as_str());
    left.filter(|(_, attachment)| !attachment.volume.as_deref().is_some_and(used))
        .map(|(name, attachment)| match &attachment.volume {
            Some(volume) => match seen.claims.get(volume) {
                Some((namespace, claim)) => format!("{volume} of {namespace}/{claim} is attached still"),
                None => format!("{volume} is attached still"),
            },
            None => format!("{name} is attached still"),
        })
        .collect()
}

/// Why a node is not known to be Ready in that boot.
pub(super) fn boot_complaint(node: &HostName, boot_id: &str, seen: &Observation) -> Option<String> {
    // What an earlier boot said of readiness is no complaint of this one, so the boot comes first.
    match seen.nodes.get(node.as_str()) {
        Some(state) if state.boot_id != boot_id => {
            Some(format!("the kubelet of {node} has not reported this boot yet"))
        }
        _ => node_complaint(node, seen),
    }
}

/// Why a node is not known to be Ready with a kubelet of that version.
pub(super) fn version_complaint(node: &HostName, kubelet: &str, seen: &Observation) -> Option<String> {
    // What an older kubelet said of readiness is no complaint of this one.
    match seen.nodes.get(node.as_str()) {
        Some(state) if state.kubelet != kubelet => {
            Some(format!("{node} reports kubelet {}, not {kubelet} yet", state.kubelet))
        }
        _ => node_complaint(node, seen),
    }
}

/// Why a static pod that is Ready is not the one that was written.
pub(super) fn image_complaint(component: &str, node: &HostName, image: &str, seen: &Observation) -> Option<String> {
    let pod = seen.pods.get(&(KUBE_SYSTEM.to_owned(), format!("{component}-{node}")))?;
    (!pod.images.contains(image)).then(|| {
        let images: Vec<&str> = pod.images.iter().map(String::as_str).collect();
        format!("{component} on {node} runs {}, not {image} yet", images.join(", "))
    })
}

/// Why a node's kubelet is not known to live.
pub(super) fn lease_complaint(node: &HostName, after: Option<&str>, seen: &Observation) -> Option<String> {
    match seen.leases.get(node.as_str()) {
        None => Some(format!("{node} has no lease")),
        Some(renewed) if Some(renewed.as_str()) == after => {
            Some(format!("the lease of {node} was not renewed since {renewed}"))
        }
        Some(_) => None,
    }
}

/// Pods that stay on the node and do not serve.
pub(super) fn staying_pods(node: &HostName, pods: &BTreeSet<Controller>, seen: &Observation) -> Vec<String> {
    let named = |kind: &str, namespace: &str, name: &str| {
        pods.iter().any(|one| one.kind == kind && one.namespace == namespace && one.name == name)
    };
    let asked = |namespace: &str, name: &str, pod: &PodState| match &pod.owner {
        _ if pod.mirror => named("Pod", namespace, name),
        Some((kind, owner)) => named(kind, namespace, owner),
        None => false,
    };
    let here = seen
        .pods
        .iter()
        .filter(|((namespace, name), pod)| pod.node.as_deref() == Some(node.as_str()) && asked(namespace, name, pod));
    here.filter_map(|((namespace, name), pod)| {
        pod.not_ready.as_ref().map(|why| format!("{namespace}/{name} not Ready: {why}"))
    })
    .collect()
}

/// Controllers that lack pods. One that is gone, or is scaled down, lacks none.
pub(super) fn short_workloads(workloads: &BTreeSet<Controller>, seen: &Observation) -> Vec<String> {
    let short = workloads.iter().filter_map(|workload| {
        let state = seen.workloads.get(workload)?;
        (!state.observed || state.ready < state.wanted)
            .then(|| format!("{workload} has {} of {} pods", state.ready.min(state.wanted), state.wanted))
    });
    short.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{AttachmentState, Condition, NodeState, Verdict, WorkloadState};

    fn controller(kind: &str, name: &str) -> Controller {
        Controller { kind: kind.into(), namespace: "shop".into(), name: name.into() }
    }

    fn pod(node: &str) -> PodState {
        PodState { node: Some(node.into()), ..PodState::default() }
    }

    fn key(name: &str) -> (String, String) {
        ("shop".to_owned(), name.to_owned())
    }

    #[test]
    fn volumes_of_pods_that_stay_are_not_waited_for() {
        let mut seen = Observation::default();
        let attach =
            |node: &str, volume: Option<&str>| AttachmentState { node: node.into(), volume: volume.map(str::to_owned) };
        seen.attachments.insert("a".into(), attach("w1", Some("pv-1")));
        seen.attachments.insert("b".into(), attach("w1", Some("pv-2")));
        seen.attachments.insert("c".into(), attach("w2", Some("pv-3")));
        seen.attachments.insert("d".into(), attach("w1", None));
        seen.claims.insert("pv-1".into(), key("data-db-0"));
        seen.claims.insert("pv-2".into(), key("logs"));
        seen.pods.insert(key("logs-x"), PodState { claims: vec!["logs".into()], ..pod("w1") });
        // The same claim's pod elsewhere says nothing about this node.
        seen.pods.insert(key("db-0"), PodState { claims: vec!["data-db-0".into()], ..pod("w2") });
        let condition = Condition::VolumesDetached { node: "w1".into() };
        let text = "pv-1 of shop/data-db-0 is attached still; d is attached still";
        assert_eq!(condition.judge(&seen), Verdict::Waiting(text.into()));
        seen.attachments.retain(|name, _| name == "b" || name == "c");
        assert_eq!(condition.judge(&seen), Verdict::Met);
    }

    #[test]
    fn what_an_earlier_boot_said_proves_nothing() {
        let mut seen = Observation::default();
        let condition = Condition::NodeBooted { node: "w1".into(), boot_id: "b2".into() };
        let state = |boot: &str, why: Option<&str>| NodeState {
            not_ready: why.map(str::to_owned),
            boot_id: boot.into(),
            ..NodeState::default()
        };
        for (state, waits) in [
            (state("b1", None), Some("the kubelet of w1 has not reported this boot yet")),
            (state("b2", Some("starting")), Some("w1 not Ready: starting")),
            (state("b2", None), None),
        ] {
            seen.nodes.insert("w1".into(), state);
            let expected = waits.map_or(Verdict::Met, |text| Verdict::Waiting(text.into()));
            assert_eq!(condition.judge(&seen), expected);
        }
    }

    #[test]
    fn a_lease_has_to_move() {
        let mut seen = Observation::default();
        let condition =
            |after: Option<&str>| Condition::LeaseRenewed { node: "w1".into(), after: after.map(str::to_owned) };
        assert_eq!(condition(None).judge(&seen), Verdict::Waiting("w1 has no lease".into()));
        seen.leases.insert("w1".into(), "10:00:00".into());
        assert!(matches!(condition(Some("10:00:00")).judge(&seen), Verdict::Waiting(_)));
        assert_eq!(condition(Some("09:59:50")).judge(&seen), Verdict::Met);
        assert_eq!(condition(None).judge(&seen), Verdict::Met);
    }

    #[test]
    fn only_pods_that_served_before_have_to_serve() {
        let mut seen = Observation::default();
        let sick = |owner: &str| PodState {
            owner: Some(("DaemonSet".into(), owner.into())),
            not_ready: Some("starting".into()),
            ..pod("w1")
        };
        seen.pods.insert(key("logs-1"), sick("logs"));
        seen.pods.insert(key("broken-1"), sick("broken"));
        seen.pods
            .insert(key("proxy-w1"), PodState { mirror: true, not_ready: Some("no status yet".into()), ..pod("w1") });
        seen.pods.insert(key("odd-w1"), PodState { mirror: true, not_ready: Some("crashing".into()), ..pod("w1") });
        let pods = BTreeSet::from([controller("DaemonSet", "logs"), controller("Pod", "proxy-w1")]);
        let condition = Condition::StayingPodsReady { node: "w1".into(), pods };
        let text = "shop/logs-1 not Ready: starting; shop/proxy-w1 not Ready: no status yet";
        assert_eq!(condition.judge(&seen), Verdict::Waiting(text.into()));
        seen.pods.values_mut().for_each(|pod| pod.not_ready = None);
        assert_eq!(condition.judge(&seen), Verdict::Met);
    }

    #[test]
    fn workloads_have_what_they_want_or_are_gone() {
        let mut seen = Observation::default();
        let workloads = BTreeSet::from([controller("ReplicaSet", "cart"), controller("StatefulSet", "gone")]);
        let condition = Condition::WorkloadsWhole { workloads };
        let state = |wanted, ready| WorkloadState { observed: true, wanted, ready };
        seen.workloads.insert(controller("ReplicaSet", "cart"), state(3, 2));
        assert_eq!(condition.judge(&seen), Verdict::Waiting("ReplicaSet shop/cart has 2 of 3 pods".into()));
        seen.workloads.insert(controller("ReplicaSet", "cart"), state(2, 2));
        assert_eq!(condition.judge(&seen), Verdict::Met);
        seen.workloads.insert(controller("ReplicaSet", "cart"), WorkloadState { observed: false, ..state(2, 2) });
        assert!(matches!(condition.judge(&seen), Verdict::Waiting(_)));
    }

    #[test]
    fn what_runs_is_what_was_written_only_when_the_pod_says_so() {
        let node = |kubelet: &str, why: Option<&str>| {
            let state =
                NodeState { not_ready: why.map(str::to_owned), kubelet: kubelet.into(), ..NodeState::default() };
            Observation { nodes: [("w1".to_owned(), state)].into(), ..Observation::default() }
        };
        let runs = Condition::NodeRuns { node: "w1".into(), kubelet: "v1.36.3".into() };
        assert!(matches!(runs.judge(&node("v1.35.4", None)), Verdict::Waiting(why) if why.contains("v1.35.4")));
        assert!(matches!(runs.judge(&node("v1.36.3", Some("no network"))), Verdict::Waiting(_)));
        assert_eq!(runs.judge(&node("v1.36.3", None)), Verdict::Met);

        let pod = |image: &str| {
            let state = PodState {
                node: Some("cp1".into()),
                images: [image.to_owned()].into(),
                mirror: true,
                ..PodState::default()
            };
            let name = (KUBE_SYSTEM.to_owned(), "kube-apiserver-cp1".to_owned());
            Observation { pods: [(name, state)].into(), ..Observation::default() }
        };
        let images = [("kube-apiserver".to_owned(), "kube-apiserver:v1.36.3".to_owned())].into();
        let runs = Condition::StaticPodsRun { node: "cp1".into(), images };
        let old = runs.judge(&pod("kube-apiserver:v1.35.4"));
        assert!(matches!(old, Verdict::Waiting(why) if why.contains("v1.35.4")));
        assert_eq!(runs.judge(&pod("kube-apiserver:v1.36.3")), Verdict::Met);
    }
}
