use super::*;

fn host(name: &str) -> HostName {
    HostName::new(name)
}

fn labels(app: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("k8s-app".to_owned(), app.to_owned())])
}

fn with_nodes(nodes: &[(&str, Option<&str>)]) -> Observation {
    Observation {
        nodes: nodes
            .iter()
            .map(|(name, why)| {
                (
                    (*name).to_owned(),
                    NodeState { not_ready: why.map(str::to_owned), boot_id: "b1".to_owned(), ..NodeState::default() },
                )
            })
            .collect(),
        ..Observation::default()
    }
}

fn add_pod(seen: &mut Observation, name: &str, node: &str, app: &str, not_ready: Option<&str>) {
    seen.pods.insert(
        (KUBE_SYSTEM.to_owned(), name.to_owned()),
        PodState {
            node: Some(node.to_owned()),
            labels: labels(app),
            not_ready: not_ready.map(str::to_owned),
            ..PodState::default()
        },
    );
}

fn waiting(text: &str) -> Verdict {
    Verdict::Waiting(text.to_owned())
}

fn coredns() -> Condition {
    Condition::DeploymentAvailable { namespace: KUBE_SYSTEM.to_owned(), name: "coredns".to_owned() }
}

fn kube_proxy(nodes: u32) -> Condition {
    Condition::DaemonSetRolledOut { namespace: KUBE_SYSTEM.to_owned(), name: "kube-proxy".to_owned(), nodes }
}

#[test]
fn a_node_exists_once_it_has_registered_ready_or_not() {
    let condition = Condition::NodeExists { node: host("w1") };
    assert_eq!(condition.judge(&Observation::default()), waiting("w1 has not registered"));
    assert_eq!(condition.judge(&with_nodes(&[("w1", Some("starting"))])), Verdict::Met);
}

#[test]
fn nodes_that_are_missing_and_nodes_that_are_not_ready_are_told_apart() {
    let condition = Condition::NodesReady { nodes: vec![host("cp1"), host("w1"), host("w2")] };
    let seen = with_nodes(&[("cp1", None), ("w2", Some("network plugin not ready: cni plugin not initialized"))]);
    assert_eq!(
        condition.judge(&seen),
        waiting("w1 has not registered; w2 not Ready: network plugin not ready: cni plugin not initialized")
    );
    assert_eq!(
        condition.judge(&with_nodes(&[("cp1", None), ("w1", None), ("w2", None), ("foreign", Some("x"))])),
        Verdict::Met
    );
}

#[test]
fn a_long_list_is_cut_and_counted() {
    let nodes: Vec<HostName> = (1..=5).map(|number| host(&format!("w{number}"))).collect();
    assert_eq!(
        Condition::NodesReady { nodes }.judge(&Observation::default()),
        waiting("w1 has not registered; w2 has not registered; w3 has not registered; and 2 more")
    );
}

#[test]
fn every_component_of_every_control_plane_must_be_ready() {
    let condition = Condition::control_planes_ready(&[host("cp1"), host("cp2")]);
    let mut seen = Observation::default();
    for node in ["cp1", "cp2"] {
        for component in CONTROL_PLANE {
            add_pod(&mut seen, &format!("{component}-{node}"), node, component, None);
        }
    }
    assert_eq!(condition.judge(&seen), Verdict::Met);

    add_pod(&mut seen, "etcd-cp2", "cp2", "etcd", Some("CrashLoopBackOff"));
    seen.pods.remove(&(KUBE_SYSTEM.to_owned(), "kube-scheduler-cp1".to_owned()));
    assert_eq!(
        condition.judge(&seen),
        waiting("kube-scheduler on cp1 has no mirror pod yet; etcd on cp2 not Ready: CrashLoopBackOff")
    );
}

#[test]
fn a_pod_that_only_has_the_name_of_a_mirror_pod_does_not_count() {
    let condition = Condition::StaticPodsReady { nodes: vec![host("cp1")], components: vec!["etcd".to_owned()] };
    let mut seen = Observation::default();
    add_pod(&mut seen, "etcd-cp1", "w1", "etcd", None);
    assert_eq!(condition.judge(&seen), waiting("etcd on cp1 has no mirror pod yet"));
}

#[test]
fn a_deployment_is_available_when_all_new_replicas_are_and_no_old_one_is_left() {
    let key = (KUBE_SYSTEM.to_owned(), "coredns".to_owned());
    let mut seen = Observation::default();
    assert_eq!(coredns().judge(&seen), waiting("no Deployment kube-system/coredns yet"));

    let full = DeploymentState {
        observed: true,
        wanted: 2,
        present: 2,
        updated: 2,
        available: 2,
        selector: labels("kube-dns"),
    };
    seen.deployments.insert(key.clone(), DeploymentState { observed: false, ..full.clone() });
    assert_eq!(coredns().judge(&seen), waiting("coredns: its controller has not seen it yet"));

    seen.deployments.insert(key.clone(), DeploymentState { available: 1, ..full.clone() });
    add_pod(&mut seen, "coredns-a", "w1", "kube-dns", None);
    add_pod(&mut seen, "coredns-b", "w2", "kube-dns", Some("ImagePullBackOff: not found"));
    assert_eq!(
        coredns().judge(&seen),
        waiting("coredns: 1 of 2 replicas available (coredns-b on w2: ImagePullBackOff: not found)")
    );

    seen.deployments.insert(key.clone(), DeploymentState { present: 3, ..full.clone() });
    seen.pods.clear();
    assert_eq!(coredns().judge(&seen), waiting("coredns: 1 old replicas still there"));

    seen.deployments.insert(key, full);
    assert_eq!(coredns().judge(&seen), Verdict::Met);
}

#[test]
fn a_deployment_of_old_replicas_alone_is_not_available() {
    let state = DeploymentState {
        observed: true,
        wanted: 2,
        present: 2,
        updated: 0,
        available: 2,
        ..DeploymentState::default()
    };
    let seen = Observation {
        deployments: BTreeMap::from([((KUBE_SYSTEM.to_owned(), "coredns".to_owned()), state)]),
        ..Observation::default()
    };
    assert_eq!(coredns().judge(&seen), waiting("coredns: 0 of 2 replicas available"));
}

#[test]
fn a_daemon_set_must_reach_the_nodes_we_want_and_those_it_is_meant_for() {
    let judge = |wanted, available, nodes| {
        let state =
            DaemonSetState { observed: true, wanted, updated: available, available, ..DaemonSetState::default() };
        let seen = Observation {
            daemon_sets: BTreeMap::from([((KUBE_SYSTEM.to_owned(), "kube-proxy".to_owned()), state)]),
            ..Observation::default()
        };
        kube_proxy(nodes).judge(&seen)
    };
    assert_eq!(judge(3, 3, 5), waiting("kube-proxy: available on 3 of 5 nodes"));
    assert_eq!(judge(5, 4, 5), waiting("kube-proxy: available on 4 of 5 nodes"));
    assert_eq!(judge(6, 5, 5), waiting("kube-proxy: available on 5 of 6 nodes"));
    assert_eq!(judge(0, 0, 5), waiting("kube-proxy: available on 0 of 5 nodes"));
    assert_eq!(judge(5, 5, 5), Verdict::Met);
}

#[test]
fn all_names_what_is_missing_from_each() {
    let both = Condition::All { conditions: vec![Condition::NodesReady { nodes: vec![host("w1")] }, coredns()] };
    assert_eq!(
        both.judge(&with_nodes(&[("w1", Some("kubelet is starting"))])),
        waiting("w1 not Ready: kubelet is starting; no Deployment kube-system/coredns yet")
    );
    assert_eq!(both.wants(), "w1 Ready; Deployment kube-system/coredns available");
}

#[test]
fn the_kubelets_sentence_is_said_once() {
    let wrapped = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
                   message:Network plugin returns error: cni plugin not initialized";
    assert_eq!(shorten_kubelet_sentence(wrapped), "network plugin not ready: cni plugin not initialized");
    assert_eq!(
        shorten_kubelet_sentence(&format!("[{wrapped}, CSINode is not yet initialized]")),
        "network plugin not ready: cni plugin not initialized, CSINode is not yet initialized"
    );
    assert_eq!(shorten_kubelet_sentence("Kubelet stopped posting node status."), "Kubelet stopped posting node status");
}

#[test]
fn a_condition_survives_json() {
    let condition =
        Condition::All { conditions: vec![coredns(), kube_proxy(3), Condition::control_planes_ready(&[host("cp1")])] };
    let text = serde_json::to_string(&condition).unwrap();
    assert_eq!(serde_json::from_str::<Condition>(&text).unwrap(), condition);
}
