//! What all our static pods have in common (kubeadm's `util/staticpod`).

use std::collections::BTreeMap;

use kubewright_core::spec::Env;
use serde_json::{Value, json};

use super::volumes::HostMount;

/// Value of the priority class `system-node-critical`. A static pod needs the number too: no admission fills it in.
const NODE_CRITICAL: i32 = 2_000_001_000;

/// Name of the only port; probes refer to it.
const PROBE_PORT: &str = "probe-port";

/// A static pod with one container on the host's network.
pub(crate) struct StaticPod {
    pub name: &'static str,
    /// Label `tier`.
    pub tier: &'static str,
    pub annotations: BTreeMap<&'static str, String>,
    pub image: String,
    pub command: Vec<String>,
    pub env: Vec<Env>,
    pub mounts: Vec<HostMount>,
    pub port: u16,
    pub requests: Value,
    pub probes: Probes,
    /// Further fields of the container's `securityContext`.
    pub security: Option<Value>,
}

/// Where the kubelet asks whether the pod is well.
pub(crate) struct Probes {
    /// Address; `None` is the pod's own.
    pub host: Option<String>,
    pub scheme: &'static str,
    pub liveness: &'static str,
    pub readiness: Option<&'static str>,
    pub startup: Option<&'static str>,
}

/// Timing of one probe, in seconds, and how many failures count.
struct Timing {
    initial_delay: u32,
    period: u32,
    timeout: u32,
    failures: u32,
}

// kubeadm's numbers (`LivenessProbe`, `ReadinessProbe`).
const LIVENESS: Timing = Timing { initial_delay: 10, period: 10, timeout: 15, failures: 8 };
const READINESS: Timing = Timing { initial_delay: 0, period: 1, timeout: 15, failures: 3 };
// kubeadm asks every 10 s, 24 times (`ControlPlaneComponentHealthCheckTimeout`, 4 min). Asked every second, a pod is Ready
// as soon as it serves and not up to ten seconds later; the four minutes are the same.
const STARTUP: Timing = Timing { initial_delay: 1, period: 1, timeout: 15, failures: 240 };

/// A probe address for a bind address: the unspecified address cannot be asked (kubeadm's `getProbeAddress`).
pub(crate) fn probe_address(bind: &str) -> Option<String> {
    (!matches!(bind, "0.0.0.0" | "::")).then(|| bind.to_owned())
}

impl StaticPod {
    /// The manifest.
    pub(crate) fn manifest(&self) -> Value {
        let mut volumes: Vec<&HostMount> = self.mounts.iter().collect();
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        let mut pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": self.name,
                "namespace": "kube-system",
                "labels": { "component": self.name, "tier": self.tier },
            },
            "spec": {
                "containers": [self.container()],
                "hostNetwork": true,
                "priority": NODE_CRITICAL,
                "priorityClassName": "system-node-critical",
                "securityContext": { "seccompProfile": { "type": "RuntimeDefault" } },
                "volumes": volumes.into_iter().map(HostMount::volume).collect::<Vec<_>>(),
            },
        });
        if !self.annotations.is_empty() {
            pod["metadata"]["annotations"] = json!(self.annotations);
        }
        pod
    }

    fn container(&self) -> Value {
        let mut container = json!({
            "name": self.name,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": self.command,
            "ports": [{ "name": PROBE_PORT, "containerPort": self.port, "protocol": "TCP" }],
            "resources": { "requests": self.requests },
            "volumeMounts": self.mounts.iter().map(HostMount::mount).collect::<Vec<_>>(),
            "livenessProbe": self.probes.probe(self.probes.liveness, &LIVENESS),
        });
        if let Some(path) = self.probes.readiness {
            container["readinessProbe"] = self.probes.probe(path, &READINESS);
        }
        if let Some(path) = self.probes.startup {
            container["startupProbe"] = self.probes.probe(path, &STARTUP);
        }
        // Sorted, the last of a name wins (kubeadm's `MergeKubeadmEnvVars`).
        let env: BTreeMap<&str, &str> = self.env.iter().map(|env| (env.name.as_str(), env.value.as_str())).collect();
        if !env.is_empty() {
            container["env"] = env.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
        }
        if let Some(security) = &self.security {
            container["securityContext"] = security.clone();
        }
        container
    }
}

impl Probes {
    fn probe(&self, path: &str, timing: &Timing) -> Value {
        let mut probe = json!({
            "httpGet": { "path": path, "port": PROBE_PORT, "scheme": self.scheme },
            "periodSeconds": timing.period,
            "timeoutSeconds": timing.timeout,
            "failureThreshold": timing.failures,
        });
        if let Some(host) = &self.host {
            probe["httpGet"]["host"] = json!(host);
        }
        if timing.initial_delay > 0 {
            probe["initialDelaySeconds"] = json!(timing.initial_delay);
        }
        probe
    }
}
