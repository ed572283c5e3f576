//! kube-scheduler.

use std::collections::BTreeMap;

use kubewright_core::spec::Spec;
use serde_json::json;

use super::pod::{Probes, StaticPod, probe_address};
use super::volumes::{self, HostMount};
use crate::arguments::{command, last};
use crate::images;

/// Secure port (`KubeSchedulerPort`).
const PORT: u16 = 10259;
const KUBECONFIG: &str = "/etc/kubernetes/scheduler.conf";

pub(super) fn pod(spec: &Spec) -> StaticPod {
    let component = &spec.scheduler;
    let flags = vec![
        ("authentication-kubeconfig", KUBECONFIG.to_owned()),
        ("authorization-kubeconfig", KUBECONFIG.to_owned()),
        ("bind-address", "127.0.0.1".to_owned()),
        ("kubeconfig", KUBECONFIG.to_owned()),
        ("leader-elect", "true".to_owned()),
    ];
    StaticPod {
        name: "kube-scheduler",
        tier: "control-plane",
        annotations: BTreeMap::new(),
        image: images::kubernetes(spec, "kube-scheduler"),
        command: command("kube-scheduler", flags, &component.extra_args),
        env: component.extra_envs.clone(),
        mounts: volumes::with_extra(vec![HostMount::file("kubeconfig", KUBECONFIG)], &component.extra_volumes),
        port: PORT,
        requests: json!({ "cpu": "100m" }),
        probes: Probes {
            host: probe_address(last(&component.extra_args, "bind-address").unwrap_or("127.0.0.1")),
            scheme: "HTTPS",
            liveness: "/livez",
            readiness: Some("/readyz"),
            startup: Some("/livez"),
        },
        security: None,
    }
}
