//! Our flannel against flannel's own manifest of that version (`tests/flannel-v0.28.4/`, unchanged from its
//! repository).

use std::collections::BTreeSet;
use std::path::Path;

use kubewright_core::spec::{EndpointMode, Spec};
use kubewright_manifests::cluster_objects;
use xtask::parity::differences;

use crate::recorded::by_identity;
use crate::specs;

fn differences_to_upstream(spec: &Spec) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flannel-v0.28.4/kube-flannel.yml");
    let text = std::fs::read_to_string(path).unwrap();
    let theirs = by_identity(serde_saphyr::from_multiple(&text).unwrap());
    let ours = by_identity(cluster_objects::flannel(spec));
    let identities: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    identities.iter().flat_map(|name| differences(theirs.get(*name), ours.get(*name))).collect()
}

#[test]
fn with_an_endpoint_of_the_users_it_is_upstreams() {
    let mut spec = specs::single();
    spec.endpoint.mode = EndpointMode::External;
    assert_eq!(differences_to_upstream(&spec), BTreeSet::new());
}

/// Interface and pod network are the spec's; and flannel need not wait for kube-proxy, which would make the Service
/// address work.
#[test]
fn with_a_proxy_on_each_node_it_does_not_wait_for_kube_proxy() {
    let mut spec = specs::ha();
    spec.network.pod_cidr = "10.9.0.0/16".to_owned().try_into().unwrap();
    let container = "spec.template.spec.containers[kube-flannel]";
    let wanted = [
        "data.net-conf.json.Network: \"10.244.0.0/16\" → \"10.9.0.0/16\"".to_owned(),
        format!("{container}.args: - → \"--iface=eth0\""),
        format!(
            "{container}.env[KUBERNETES_SERVICE_HOST]: - → {{\"name\":\"KUBERNETES_SERVICE_HOST\",\"value\":\"127.0.0.1\"}}"
        ),
        format!(
            "{container}.env[KUBERNETES_SERVICE_PORT]: - → {{\"name\":\"KUBERNETES_SERVICE_PORT\",\"value\":\"6443\"}}"
        ),
    ];
    assert_eq!(differences_to_upstream(&spec), BTreeSet::from(wanted));
}
