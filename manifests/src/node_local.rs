//! Endpoint mode `nodeLocal`: a proxy on every worker, listening on 127.0.0.1, in front of all API servers.
//!
//! It passes TCP through, so clients still check the API server's certificate (which names 127.0.0.1) and present
//! their own.

use std::collections::BTreeMap;

use kubewright_core::spec::{EndpointMode, Host, Role, Spec};
use serde_json::json;

use crate::endpoint::api_port;
use crate::network::socket;
use crate::static_pods::pod::{Probes, StaticPod};
use crate::static_pods::volumes::HostMount;
use crate::{RenderedFile, images, layout, yaml};

const NAME: &str = "kube-apiserver-proxy";
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
    if spec.endpoint.mode != EndpointMode::NodeLocal || host.is(Role::ControlPlane) {
        return Vec::new();
    }
    let config = haproxy_config(spec);
    let pod = pod(&config);
    vec![
        // Readable by all: the proxy does not run as root, and there is nothing secret in it.
        RenderedFile::new(CONFIG, 0o644, config),
        RenderedFile::new(layout::manifest(NAME), 0o600, yaml::document(&pod.manifest())),
    ]
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
    let port = api_port(spec);
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
