//! kube-controller-manager.

use std::collections::BTreeMap;

use kubewright_core::spec::Spec;
use serde_json::json;

use super::pod::{Probes, StaticPod, probe_address};
use super::volumes::{self, HostMount};
use crate::arguments::{Flags, command, last};
use crate::images;
use crate::layout::pki;
use crate::versions::release;

/// Secure port (`KubeControllerManagerPort`).
const PORT: u16 = 10257;
const KUBECONFIG: &str = "/etc/kubernetes/controller-manager.conf";
const FLEXVOLUME_DIR: &str = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec";

pub(super) fn pod(spec: &Spec) -> StaticPod {
    let component = &spec.controller_manager;
    StaticPod {
        name: "kube-controller-manager",
        tier: "control-plane",
        annotations: BTreeMap::new(),
        image: images::kubernetes(spec, "kube-controller-manager"),
        command: command("kube-controller-manager", flags(spec), &component.extra_args),
        env: component.extra_envs.clone(),
        mounts: volumes::with_extra(mounts(spec), &component.extra_volumes),
        port: PORT,
        requests: json!({ "cpu": "200m" }),
        probes: Probes {
            host: probe_address(last(&component.extra_args, "bind-address").unwrap_or("127.0.0.1")),
            scheme: "HTTPS",
            liveness: "/healthz",
            readiness: None,
            startup: Some("/healthz"),
        },
        security: None,
    }
}

fn mounts(spec: &Spec) -> Vec<HostMount> {
    let mut mounts = volumes::certificates();
    mounts.push(HostMount::file("kubeconfig", KUBECONFIG));
    if release(spec.kubernetes.version.minor()).flexvolume_mount {
        let dir = last(&spec.controller_manager.extra_args, "flex-volume-plugin-dir").unwrap_or(FLEXVOLUME_DIR);
        // Writable: plugins put sockets there.
        mounts.push(HostMount::writable("flexvolume-dir", dir));
    }
    mounts
}

fn flags(spec: &Spec) -> Flags {
    vec![
        ("allocate-node-cidrs", "true".to_owned()),
        ("authentication-kubeconfig", KUBECONFIG.to_owned()),
        ("authorization-kubeconfig", KUBECONFIG.to_owned()),
        ("bind-address", "127.0.0.1".to_owned()),
        ("client-ca-file", pki("ca.crt")),
        ("cluster-cidr", String::from(spec.network.pod_cidr)),
        ("cluster-name", spec.name.clone()),
        ("cluster-signing-cert-file", pki("ca.crt")),
        ("cluster-signing-key-file", pki("ca.key")),
        ("controllers", "*,bootstrapsigner,tokencleaner".to_owned()),
        ("kubeconfig", KUBECONFIG.to_owned()),
        ("leader-elect", "true".to_owned()),
        ("requestheader-client-ca-file", pki("front-proxy-ca.crt")),
        ("root-ca-file", pki("ca.crt")),
        ("service-account-private-key-file", pki("sa.key")),
        ("service-cluster-ip-range", String::from(spec.network.service_cidr)),
        ("use-service-account-credentials", "true".to_owned()),
    ]
}
