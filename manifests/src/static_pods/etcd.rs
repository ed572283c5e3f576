//! etcd (kubeadm's `phases/etcd/local.go`).

use std::collections::BTreeMap;

use kubewright_core::plan::{ClusterState, EtcdStart};
use kubewright_core::spec::{Arg, Host, Role, Spec};
use serde_json::json;

use super::pod::{Probes, StaticPod};
use super::volumes::{self, HostMount};
use crate::arguments::{command, last};
use crate::images;
use crate::layout::{ETCD_DATA_DIR, pki};
use crate::network::{loopback, socket};

/// Where clients connect.
pub const CLIENT_PORT: u16 = 2379;
/// Metrics and health, without TLS, on the loopback address only.
const METRICS_PORT: u16 = 2381;

/// kubeadm finds a member by it.
const CLIENT_URLS: &str = "kubeadm.kubernetes.io/etcd.advertise-client-urls";

/// `https://address:2379`.
pub(crate) fn client_url(host: &Host) -> String {
    format!("https://{}", socket(host.private_address, CLIENT_PORT))
}

/// Of all members, in the order of the spec.
pub(crate) fn client_urls(spec: &Spec) -> Vec<String> {
    spec.with_role(Role::Etcd).map(client_url).collect()
}

pub(super) fn pod(spec: &Spec, host: &Host, start: &EtcdStart) -> StaticPod {
    let mounts = vec![HostMount::writable("etcd-data", ETCD_DATA_DIR), HostMount::writable("etcd-certs", &pki("etcd"))];
    let extra = &spec.etcd.extra_args;
    let health = Health::of(host, extra);
    StaticPod {
        name: "etcd",
        tier: "control-plane",
        annotations: BTreeMap::from([(CLIENT_URLS, client_url(host))]),
        image: images::etcd(spec),
        command: command("etcd", flags(host, start), extra),
        env: spec.etcd.extra_envs.clone(),
        mounts: if spec.etcd.extra_volumes.is_empty() {
            mounts
        } else {
            volumes::with_extra(mounts, &spec.etcd.extra_volumes)
        },
        port: health.port,
        requests: json!({ "cpu": "100m", "memory": "100Mi" }),
        probes: Probes {
            host: Some(health.host),
            scheme: health.scheme,
            liveness: "/livez",
            readiness: Some("/readyz"),
            startup: Some("/readyz"),
        },
        security: None,
    }
}

fn flags(host: &Host, start: &EtcdStart) -> Vec<(&'static str, String)> {
    let loopback = loopback(host.private_address);
    vec![
        ("name", host.name.to_string()),
        ("data-dir", ETCD_DATA_DIR.to_owned()),
        ("listen-client-urls", format!("https://{},{}", socket(loopback, CLIENT_PORT), client_url(host))),
        ("advertise-client-urls", client_url(host)),
        ("listen-peer-urls", host.etcd_peer_url()),
        ("initial-advertise-peer-urls", host.etcd_peer_url()),
        ("listen-metrics-urls", format!("http://{}", socket(loopback, METRICS_PORT))),
        ("cert-file", pki("etcd/server.crt")),
        ("key-file", pki("etcd/server.key")),
        ("trusted-ca-file", pki("etcd/ca.crt")),
        ("client-cert-auth", "true".to_owned()),
        ("peer-cert-file", pki("etcd/peer.crt")),
        ("peer-key-file", pki("etcd/peer.key")),
        ("peer-trusted-ca-file", pki("etcd/ca.crt")),
        ("peer-client-cert-auth", "true".to_owned()),
        ("snapshot-count", "10000".to_owned()),
        ("feature-gates", "InitialCorruptCheck=true".to_owned()),
        ("watch-progress-notify-interval", "5s".to_owned()),
        // All members at once, instead of one learner after another (DESIGN.md §5).
        ("initial-cluster", start.initial_cluster()),
        ("initial-cluster-token", start.initial_cluster_token.clone()),
        ("initial-cluster-state", flag(start.state).to_owned()),
    ]
}

fn flag(state: ClusterState) -> &'static str {
    match state {
        ClusterState::New => "new",
        ClusterState::Existing => "existing",
    }
}

/// Where etcd answers health questions: the first of the user's metrics URLs, else ours (kubeadm's
/// `GetEtcdProbeEndpoint`).
struct Health {
    scheme: &'static str,
    host: String,
    port: u16,
}

impl Health {
    fn of(host: &Host, extra: &[Arg]) -> Self {
        let ours = Self { scheme: "HTTP", host: loopback(host.private_address).to_string(), port: METRICS_PORT };
        let Some(urls) = last(extra, "listen-metrics-urls") else {
            return ours;
        };
        let first = urls.split(',').next().unwrap_or(urls);
        let Some((scheme, rest)) = first.split_once("://") else {
            return ours;
        };
        let authority = rest.split('/').next().unwrap_or(rest);
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().unwrap_or(METRICS_PORT)),
            _ => (authority, METRICS_PORT),
        };
        let name = name.trim_start_matches('[').trim_end_matches(']');
        Self {
            scheme: if scheme == "https" { "HTTPS" } else { "HTTP" },
            host: if name.is_empty() { ours.host } else { name.to_owned() },
            port,
        }
    }
}
