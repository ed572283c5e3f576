//! Endpoint mode `nodeLocal`: a proxy on every worker, listening on 127.0.0.1, in front of all API servers.
//!
//! It passes TCP through, so clients still check the API server's certificate (which names 127.0.0.1) and present
//! their own.
//!
//! On a worker of ours it is a static pod, because the kubelet itself needs it. A worker that `kubeadm join` brought in
//! has a kubelet that talks to a control plane's address, but kube-proxy there reads the same ConfigMap as everywhere and
//! asks 127.0.0.1: a DaemonSet gives it the proxy. Nodes of ours are kept out of it by [`MANAGED`].

use std::collections::BTreeMap;

use kubewright_core::spec::{EndpointMode, Host, Role, Spec};
use serde_json::{Value, json};

use crate::kubelet::CONTROL_PLANE;
use crate::network::socket;
use crate::static_pods::pod::{Probes, StaticPod};
use crate::static_pods::volumes::HostMount;
use crate::{RenderedFile, images, layout, yaml};

const NAME: &str = "kube-apiserver-proxy";
const NAMESPACE: &str = "kube-system";
/// Label that the kubelet of every host of the spec registers with where nodes need the proxy. It has to be there from the
/// first moment: a second proxy on a node would fight the first one, or the API server, for the port.
pub(crate) const MANAGED: &str = "kubewright.dev/managed";
/// The configuration on the host.
const CONFIG: &str = "/etc/kubernetes/kube-apiserver-proxy/haproxy.cfg";
/// Where the container sees it; the official image's own place.
const CONFIG_INSIDE: &str = "/usr/local/etc/haproxy/haproxy.cfg";
/// The proxy's own health, on 127.0.0.1: next to the ports of kubelet and kube-proxy (10248, 10256), and nobody's so
/// far.
const HEALTH_PORT: u16 = 10246;
/// User and group `haproxy` of the official image. Numbers, because an image without /etc/passwd must do too.
const USER: u32 = 99;

/// The proxy's configuration, then its static pod; nothing on control planes, and nothing in other endpoint modes.
pub fn files(spec: &Spec, host: &Host) -> Vec<RenderedFile> {
    if !is_used(spec) || host.is(Role::ControlPlane) {
        return Vec::new();
    }
    let config = haproxy_config(spec);
    let pod = identified(pod(&config).manifest(), host);
    vec![
        // Readable by all: the proxy does not run as root, and there is nothing secret in it.
        RenderedFile::new(CONFIG, 0o644, config),
        RenderedFile::new(layout::manifest(NAME), 0o600, yaml::document(&pod)),
    ]
}

/// A static pod that says what it is: the same for as long as its manifest is.
///
/// Where none is said, a kubelet takes the hash of its own idea of the pod for the identity (`applyDefaults` of
/// `pkg/kubelet/config/common.go`), and that idea has more fields in each minor: the proxy would end and start with every
/// upgrade of the kubelet, and the node's way to the API with it.
fn identified(mut pod: Value, host: &Host) -> Value {
    let identity = fingerprint(&format!("{}\n{}", host.name, yaml::document(&pod)));
    pod["metadata"]["uid"] = json!(identity);
    pod
}

/// ConfigMap and DaemonSet of the proxy for workers that `kubeadm join` brought in; nothing in other endpoint modes.
pub fn objects(spec: &Spec) -> Vec<Value> {
    if !is_used(spec) {
        return Vec::new();
    }
    let config = haproxy_config(spec);
    vec![daemon_set(pod(&config).manifest()), config_map(&config)]
}

/// Whether nodes of this cluster need the proxy.
pub(crate) fn is_used(spec: &Spec) -> bool {
    spec.endpoint.mode == EndpointMode::NodeLocal
}

fn config_map(config: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": NAME, "namespace": NAMESPACE },
        "data": { "haproxy.cfg": config },
    })
}

/// The static pod as a template, with its configuration from the cluster instead of the host.
fn daemon_set(mut pod: Value) -> Value {
    // Not the static pods' labels: its selector must not take those for its own.
    let labels = json!({ "k8s-app": NAME });
    let annotations = pod["metadata"]["annotations"].take();
    let mut spec = pod["spec"].take();
    let fields = spec.as_object_mut().expect("built as an object");
    // The admission of priorities fills it in here.
    fields.remove("priority");
    fields.insert("volumes".into(), json!([{ "name": "config", "configMap": { "name": NAME } }]));
    fields.insert("automountServiceAccountToken".into(), json!(false));
    fields.insert("tolerations".into(), json!([{ "operator": "Exists" }]));
    let neither = [CONTROL_PLANE, MANAGED].map(|key| json!({ "key": key, "operator": "DoesNotExist" }));
    fields.insert(
        "affinity".into(),
        json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{ "matchExpressions": neither }],
        } } }),
    );
    fields["containers"][0]["volumeMounts"][0]["subPath"] = json!("haproxy.cfg");
    json!({
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": labels },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels, "annotations": annotations }, "spec": spec },
        },
    })
}

fn pod(config: &str) -> StaticPod {
    StaticPod {
        name: NAME,
        tier: "node",
        // The kubelet restarts a static pod when its manifest changes; this is how a changed configuration changes it.
        annotations: BTreeMap::from([("kubewright.dev/config-hash", fingerprint(config))]),
        image: images::haproxy(),
        // No path: found in /usr/local/sbin of the official image, /usr/sbin of Debian's package.
        command: ["haproxy", "-W", "-db", "-f", CONFIG_INSIDE].map(str::to_owned).to_vec(),
        env: Vec::new(),
        mounts: vec![config_mount()],
        port: HEALTH_PORT,
        requests: json!({ "cpu": "10m", "memory": "20Mi" }),
        // No start-up probe: the proxy answers at once or not at all.
        probes: Probes {
            host: Some("127.0.0.1".to_owned()),
            scheme: "HTTP",
            liveness: "/healthz",
            readiness: Some("/healthz"),
            startup: None,
        },
        security: Some(json!({
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
        })),
    }
}

/// The file alone, so that the modes of the folders above it do not matter to a proxy that is not root.
fn config_mount() -> HostMount {
    HostMount {
        name: "config".to_owned(),
        host_path: CONFIG.to_owned(),
        mount_path: CONFIG_INSIDE.to_owned(),
        read_only: true,
        // Not `FileOrCreate`: an empty file in its place would keep the real one out.
        path_type: Some("File".to_owned()),
    }
}

/// haproxy.cfg. The reasons stand in the file itself, for whoever reads it on a worker at night.
fn haproxy_config(spec: &Spec) -> String {
    let port = spec.api_port();
    let servers: String = spec
        .with_role(Role::ControlPlane)
        .map(|host| format!("    server {} {}\n", host.name, socket(host.private_address, port)))
        .collect();
    include_str!("files/haproxy.cfg")
        .replace("{port}", &port.to_string())
        .replace("{health-port}", &HEALTH_PORT.to_string())
        .replace("{servers}\n", &servers)
}

/// FNV-1a, 64 bits: enough to tell "changed" from "the same", without a crate for it.
fn fingerprint(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
