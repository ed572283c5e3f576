//! The kubelet: configuration, flags and systemd unit (kubeadm's `componentconfigs/kubelet.go` and `phases/kubelet`).
//!
//! Two layers, as kubeadm has them since 1.34: what is the same on every node ([`config`], also kept in the cluster
//! as ConfigMap `kubelet-config`), and what is this node's own (`instance-config.yaml`). `config.yaml` is the second
//! over the first. kubeadm does the same merge when it upgrades a node, so a node of ours keeps its own values under
//! kubeadm too.

use kubewright_core::spec::{Host, Pool, Role, Spec, Taint, TaintEffect};
use serde_json::{Value, json};

use crate::layout::{
    CRI_SOCKET, KUBELET_DIR, KUBELET_SERVING_CERT, KUBELET_SERVING_KEY, MANIFESTS_DIR, SYSTEMD_DIR, pki,
};
use crate::versions::release;
use crate::{RenderedFile, arguments, images, merge, network, node_local, yaml};

/// The resolver file to give to [`files`] where systemd-resolved is active: /etc/resolv.conf then names its stub on
/// 127.0.0.53, which in a pod is the pod itself, and CoreDNS would ask itself for ever.
pub const SYSTEMD_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// Label and taint key of control planes.
pub(crate) const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";

/// Everything the kubelet of a host reads, and its unit.
///
/// `resolv_conf` is [`SYSTEMD_RESOLVED`] where that service is active (kubeadm's rule), else `None`.
pub fn files(spec: &Spec, host: &Host, resolv_conf: Option<&str>) -> Vec<RenderedFile> {
    let instance = instance_config(spec, host, resolv_conf);
    let whole = merge::over(config(spec), instance.as_object().expect("built as an object"));
    // Modes as kubeadm's and the packages': nothing here is secret.
    vec![
        RenderedFile::new(format!("{KUBELET_DIR}/config.yaml"), 0o644, yaml::document(&whole)),
        RenderedFile::new(format!("{KUBELET_DIR}/instance-config.yaml"), 0o644, yaml::document(&instance)),
        RenderedFile::new(format!("{KUBELET_DIR}/kubeadm-flags.env"), 0o644, flags_env(spec, host)),
        RenderedFile::new(format!("{SYSTEMD_DIR}/kubelet.service"), 0o644, include_str!("files/kubelet.service")),
        RenderedFile::new(
            format!("{SYSTEMD_DIR}/kubelet.service.d/10-kubeadm.conf"),
            0o644,
            include_str!("files/10-kubeadm.conf"),
        ),
    ]
}

/// `KubeletConfiguration` of every node: kubeadm's defaults with the spec's `kubelet.config` over them.
///
/// kubeadm also writes out some fifty zero values that mean "the default"; they are left out here.
pub fn config(spec: &Spec) -> Value {
    let ours = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": pki("ca.crt") },
        },
        "authorization": { "mode": "Webhook" },
        "cgroupDriver": "systemd",
        "clusterDNS": [network::cluster_dns(spec.network.service_cidr)],
        "clusterDomain": spec.network.dns_domain,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
        "rotateCertificates": true,
        "staticPodPath": MANIFESTS_DIR,
    });
    merge::over(ours, &spec.kubelet.config)
}

/// How often a control plane's kubelet looks at its pods again without a reason. Its static pods start before there is an
/// API in which to show them; a kubelet tries that again only when something happens to the pod, or this often. With its
/// default of a minute, and jitter, pods that serve were told Ready 67 s late (measured).
const MIRROR_POD_RETRY: &str = "10s";

/// This node's own fields. What the user set in `kubelet.config` wins here too.
fn instance_config(spec: &Spec, host: &Host, resolv_conf: Option<&str>) -> Value {
    let mut ours = json!({
        "containerRuntimeEndpoint": CRI_SOCKET,
        // Signed beforehand and renewed by us; the kubelet reloads it (DESIGN.md §5). Not in the ConfigMap: a node that
        // kubeadm joins has no such file.
        "tlsCertFile": KUBELET_SERVING_CERT,
        "tlsPrivateKeyFile": KUBELET_SERVING_KEY,
    });
    if host.is(Role::ControlPlane) {
        ours["syncFrequency"] = json!(MIRROR_POD_RETRY);
    }
    if let Some(resolv_conf) = resolv_conf {
        ours["resolvConf"] = json!(resolv_conf);
    }
    let taints = taints(spec, host);
    if !taints.is_empty() {
        // From the first moment, so that nothing is ever scheduled before the taint is there. kubeadm taints
        // afterwards.
        ours["registerWithTaints"] = json!(taints);
    }
    for (key, value) in ours.as_object_mut().expect("built as an object") {
        if let Some(theirs) = spec.kubelet.config.get(key) {
            *value = theirs.clone();
        }
    }
    ours
}

/// The taints a node registers with: the host's and its pool's, and on a control plane that runs no workloads
/// kubeadm's usual one unless the host lists its own.
pub(crate) fn taints(spec: &Spec, host: &Host) -> Vec<Taint> {
    let mut taints = host.taints.clone().unwrap_or_else(|| {
        if host.is(Role::ControlPlane) && !host.is(Role::Worker) {
            vec![Taint { key: CONTROL_PLANE.to_owned(), value: String::new(), effect: TaintEffect::NoSchedule }]
        } else {
            Vec::new()
        }
    });
    for taint in pool(spec, host).into_iter().flat_map(|pool| &pool.taints) {
        // A node cannot carry two taints of one key and effect; the host's own is the more particular.
        if !taints.iter().any(|own| own.key == taint.key && own.effect == taint.effect) {
            taints.push(taint.clone());
        }
    }
    taints
}

/// The pool a host belongs to.
pub(crate) fn pool<'a>(spec: &'a Spec, host: &Host) -> Option<&'a Pool> {
    spec.pools.get(host.pool.as_deref()?)
}

/// kubeadm-flags.env: what only flags can say.
fn flags_env(spec: &Spec, host: &Host) -> String {
    let mut flags = vec![
        // kubeadm says so only where it differs from the host's name; always saying it is the same, and needs no look
        // at the host.
        ("hostname-override", host.name.to_string()),
        // A host with several interfaces must not pick one by itself.
        ("node-ip", host.private_address.to_string()),
    ];
    if release(spec.kubernetes.version.minor()).pause_image_flag {
        flags.push(("pod-infra-container-image", images::pause(spec)));
    }
    if node_local::is_used(spec) {
        // The spec leaves this flag to us: a user's labels are the host's or its pool's.
        flags.push(("node-labels", format!("{}=", node_local::MANAGED)));
    }
    let line = arguments::flags(flags, &spec.kubelet.extra_args).join(" ");
    format!("KUBELET_KUBEADM_ARGS=\"{}\"\n", line.replace('\\', "\\\\").replace('"', "\\\""))
}
