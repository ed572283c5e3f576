//! Our flannel against flannel's own manifest of that version (`tests/flannel-v0.28.4/`, unchanged from its
//! repository).

use std::collections::BTreeSet;
use std::path::Path;

use kubewright_core::spec::{Endpoint, EndpointMode, Spec};
use kubewright_manifests::cluster_objects;
use xtask::parity::differences;

use crate::recorded::by_identity;
use crate::specs;

const CONTAINER: &str = "spec.template.spec.containers[kube-flannel]";

fn differences_to_upstream(spec: &Spec) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flannel-v0.28.4/kube-flannel.yml");
    let text = std::fs::read_to_string(path).unwrap();
    let theirs = by_identity(serde_saphyr::from_multiple(&text).unwrap());
    let ours = by_identity(cluster_objects::flannel(spec));
    let identities: BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
    identities.iter().flat_map(|name| differences(theirs.get(*name), ours.get(*name))).collect()
}

/// What stands in the environment of ours and not of upstream's.
fn asks(host: &str, port: &str) -> [String; 2] {
    [("HOST", host), ("PORT", port)].map(|(what, value)| {
        let name = format!("KUBERNETES_SERVICE_{what}");
        format!("{CONTAINER}.env[{name}]: - → {{\"name\":\"{name}\",\"value\":\"{value}\"}}")
    })
}

/// It asks the API where kube-proxy does, in every mode: the Service address would have to wait for kube-proxy, and asks
/// for a default route.
#[test]
fn it_is_upstreams_but_for_where_it_asks_the_api() {
    let mut spec = specs::single();
    for (address, host) in [("api.example.org", "api.example.org"), ("2001:db8::7", "2001:db8::7")] {
        spec.endpoint = Endpoint { mode: EndpointMode::External, address: Some(address.into()), port: 443 };
        assert_eq!(differences_to_upstream(&spec), BTreeSet::from(asks(host, "443")));
    }
}

/// Interface and pod network are the spec's; where each node has a proxy, it is asked.
#[test]
fn interface_and_pod_network_are_the_specs() {
    let mut spec = specs::ha();
    spec.network.pod_cidr = "10.9.0.0/16".to_owned().try_into().unwrap();
    let network = "data.net-conf.json.Network: \"10.244.0.0/16\" → \"10.9.0.0/16\"".to_owned();
    let interface = format!("{CONTAINER}.args: - → \"--iface=eth0\"");
    let mut wanted = BTreeSet::from(asks("127.0.0.1", "6443"));
    wanted.extend([network, interface]);
    assert_eq!(differences_to_upstream(&spec), wanted);
}
