//! kube-apiserver.

use std::collections::BTreeMap;

use kubewright_core::spec::{Arg, Host, Role, Spec};
use serde_json::json;

use super::pod::{Probes, StaticPod, probe_address};
use super::{etcd, volumes};
use crate::arguments::{Flags, command, last};
use crate::images;
use crate::layout::pki;
use crate::network::{loopback, socket};

/// kubeadm learns from it which address this API server has.
const ADVERTISED: &str = "kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint";

/// Ours alone (DESIGN.md §5): the server stops taking new work at once, says so with `Retry-After`, and is gone 2–4 s
/// after it was told to stop; kubeadm's closes its port at once and then idles through all 30 s of grace.
const GRACEFUL_SHUTDOWN: [(&str, &str); 2] = [("shutdown-delay-duration", "1s"), ("shutdown-send-retry-after", "true")];

pub(super) fn pod(spec: &Spec, host: &Host) -> StaticPod {
    let component = &spec.api_server;
    let address = host.private_address.to_string();
    StaticPod {
        name: "kube-apiserver",
        tier: "control-plane",
        annotations: BTreeMap::from([(ADVERTISED, socket(host.private_address, spec.api_port()))]),
        image: images::kubernetes(spec, "kube-apiserver"),
        command: command("kube-apiserver", flags(spec, host), &extra_args(spec)),
        env: component.extra_envs.clone(),
        mounts: volumes::with_extra(volumes::certificates(), &component.extra_volumes),
        port: spec.api_port(),
        requests: json!({ "cpu": "250m" }),
        probes: Probes {
            host: probe_address(&address),
            scheme: "HTTPS",
            liveness: "/livez",
            readiness: Some("/readyz"),
            startup: Some("/livez"),
        },
        security: None,
    }
}

/// What goes over kubeadm's flags, also in the configuration that we leave to kubeadm: our own, then the user's.
pub(crate) fn extra_args(spec: &Spec) -> Vec<Arg> {
    let theirs = &spec.api_server.extra_args;
    let ours = GRACEFUL_SHUTDOWN.map(|(name, value)| Arg { name: name.to_owned(), value: value.to_owned() });
    let kept = ours.into_iter().filter(|arg| last(theirs, &arg.name).is_none());
    kept.chain(theirs.iter().cloned()).collect()
}

fn flags(spec: &Spec, host: &Host) -> Flags {
    let mut flags = vec![
        ("advertise-address", host.private_address.to_string()),
        ("allow-privileged", "true".to_owned()),
        ("client-ca-file", pki("ca.crt")),
        ("enable-admission-plugins", "NodeRestriction".to_owned()),
        ("enable-bootstrap-token-auth", "true".to_owned()),
        ("etcd-cafile", pki("etcd/ca.crt")),
        ("etcd-certfile", pki("apiserver-etcd-client.crt")),
        ("etcd-keyfile", pki("apiserver-etcd-client.key")),
        ("etcd-servers", etcd_servers(spec, host)),
        ("kubelet-client-certificate", pki("apiserver-kubelet-client.crt")),
        ("kubelet-client-key", pki("apiserver-kubelet-client.key")),
        ("kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname".to_owned()),
        ("proxy-client-cert-file", pki("front-proxy-client.crt")),
        ("proxy-client-key-file", pki("front-proxy-client.key")),
        ("requestheader-allowed-names", "front-proxy-client".to_owned()),
        ("requestheader-client-ca-file", pki("front-proxy-ca.crt")),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-".to_owned()),
        ("requestheader-group-headers", "X-Remote-Group".to_owned()),
        ("requestheader-username-headers", "X-Remote-User".to_owned()),
        ("secure-port", spec.api_port().to_string()),
        ("service-account-issuer", format!("https://kubernetes.default.svc.{}", spec.network.dns_domain)),
        ("service-account-key-file", pki("sa.pub")),
        ("service-account-signing-key-file", pki("sa.key")),
        ("service-cluster-ip-range", String::from(spec.network.service_cidr)),
        ("tls-cert-file", pki("apiserver.crt")),
        ("tls-private-key-file", pki("apiserver.key")),
    ];
    // The two ways to say who may do what exclude each other.
    if last(&spec.api_server.extra_args, "authorization-config").is_none() {
        flags.push(("authorization-mode", "Node,RBAC".to_owned()));
    }
    flags
}

/// The member beside us, so that an API server and its etcd live and die together; where etcd has hosts of its own,
/// all of them.
fn etcd_servers(spec: &Spec, host: &Host) -> String {
    if !host.is(Role::Etcd) {
        return etcd::client_urls(spec).join(",");
    }
    match last(&spec.etcd.extra_args, "advertise-client-urls") {
        Some(urls) => urls.to_owned(),
        None => format!("https://{}", socket(loopback(host.private_address), etcd::CLIENT_PORT)),
    }
}
