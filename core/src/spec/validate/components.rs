//! Flags, volumes and configuration that the user adds to Kubernetes' components, and the lives of their certificates.

use std::collections::BTreeMap;

use crate::finding::Finding;
use crate::spec::path;
use crate::spec::{Arg, Component, Spec};

/// A flag or field that kubewright sets and relies on, and what to use instead.
type Owned = (&'static str, &'static str);

const CERTIFICATES: &str = "kubewright makes and renews the certificates";
const SPEC_NETWORK: &str = "use `spec.network`";

/// Overriding one of these would break how the pieces find or trust each other, or what an upgrade and a restore
/// assume. Everything else is the user's.
const API_SERVER: &[Owned] = &[
    ("advertise-address", "use `privateAddress` of the host"),
    ("bind-address", "clients and probes reach it on every address"),
    ("secure-port", "clients and probes expect 6443"),
    ("client-ca-file", CERTIFICATES),
    ("tls-cert-file", "use `spec.apiServer.certSANs`"),
    ("tls-private-key-file", CERTIFICATES),
    ("etcd-servers", "each API server uses the etcd member beside it"),
    ("etcd-cafile", CERTIFICATES),
    ("etcd-certfile", CERTIFICATES),
    ("etcd-keyfile", CERTIFICATES),
    ("etcd-prefix", "snapshots and restore expect /registry"),
    ("kubelet-client-certificate", CERTIFICATES),
    ("kubelet-client-key", CERTIFICATES),
    ("proxy-client-cert-file", CERTIFICATES),
    ("proxy-client-key-file", CERTIFICATES),
    ("requestheader-client-ca-file", CERTIFICATES),
    ("service-account-key-file", CERTIFICATES),
    ("service-account-signing-key-file", CERTIFICATES),
    ("service-cluster-ip-range", "use `spec.network.serviceCIDR`"),
    ("shutdown-send-retry-after", "swapping a control plane without a gap depends on it"),
    ("shutdown-delay-duration", "swapping a control plane without a gap depends on it"),
];

const CONTROLLER_MANAGER: &[Owned] = &[
    ("kubeconfig", CERTIFICATES),
    ("authentication-kubeconfig", CERTIFICATES),
    ("authorization-kubeconfig", CERTIFICATES),
    ("client-ca-file", CERTIFICATES),
    ("cluster-signing-cert-file", CERTIFICATES),
    ("cluster-signing-key-file", CERTIFICATES),
    ("requestheader-client-ca-file", CERTIFICATES),
    ("root-ca-file", CERTIFICATES),
    ("service-account-private-key-file", CERTIFICATES),
    ("allocate-node-cidrs", SPEC_NETWORK),
    ("cluster-cidr", "use `spec.network.podCIDR`"),
    ("service-cluster-ip-range", "use `spec.network.serviceCIDR`"),
    ("cluster-name", "use `metadata.name`"),
    ("leader-elect", "several of them run, one may act"),
];

const SCHEDULER: &[Owned] = &[
    ("kubeconfig", CERTIFICATES),
    ("authentication-kubeconfig", CERTIFICATES),
    ("authorization-kubeconfig", CERTIFICATES),
    ("leader-elect", "several of them run, one may act"),
];

const ETCD: &[Owned] = &[
    ("name", "members carry the names of their hosts"),
    ("data-dir", "snapshots and restore expect /var/lib/etcd"),
    ("wal-dir", "snapshots and restore expect /var/lib/etcd"),
    ("initial-cluster", "kubewright knows the members"),
    ("initial-cluster-state", "kubewright knows whether the cluster is new"),
    ("initial-cluster-token", "kubewright draws a new one for each cluster"),
    ("initial-advertise-peer-urls", "use `privateAddress` of the host"),
    ("advertise-client-urls", "use `privateAddress` of the host"),
    ("listen-client-urls", "use `privateAddress` of the host"),
    ("listen-peer-urls", "use `privateAddress` of the host"),
    ("force-new-cluster", "this drops all other members; `kubewright etcd restore` does it where it is right"),
    ("cert-file", CERTIFICATES),
    ("key-file", CERTIFICATES),
    ("trusted-ca-file", CERTIFICATES),
    ("client-cert-auth", CERTIFICATES),
    ("peer-cert-file", CERTIFICATES),
    ("peer-key-file", CERTIFICATES),
    ("peer-trusted-ca-file", CERTIFICATES),
    ("peer-client-cert-auth", CERTIFICATES),
];

const KUBELET: &[Owned] = &[
    ("config", "use `spec.kubelet.config`"),
    ("kubeconfig", CERTIFICATES),
    ("bootstrap-kubeconfig", CERTIFICATES),
    ("cert-dir", CERTIFICATES),
    ("container-runtime-endpoint", "kubewright installs containerd"),
    ("hostname-override", "the node carries the name of its host"),
    ("node-ip", "use `privateAddress` of the host"),
    ("node-labels", "use `labels` of the host or its pool"),
    ("register-with-taints", "use `taints` of the host or its pool"),
    ("pod-manifest-path", "kubewright writes the static pods"),
];

const KUBELET_CONFIG: &[Owned] = &[
    ("apiVersion", "kubewright writes it"),
    ("kind", "kubewright writes it"),
    ("clusterDNS", "it follows from `spec.network.serviceCIDR`"),
    ("clusterDomain", "use `spec.network.dnsDomain`"),
    ("containerRuntimeEndpoint", "kubewright installs containerd"),
    ("registerWithTaints", "use `taints` of the host or its pool"),
    ("rotateCertificates", CERTIFICATES),
    ("serverTLSBootstrap", CERTIFICATES),
    ("staticPodPath", "kubewright writes the static pods"),
    ("tlsCertFile", CERTIFICATES),
    ("tlsPrivateKeyFile", CERTIFICATES),
];

const KUBE_PROXY_CONFIG: &[Owned] = &[
    ("apiVersion", "kubewright writes it"),
    ("kind", "kubewright writes it"),
    ("clusterCIDR", "use `spec.network.podCIDR`"),
    ("mode", "use `spec.network.kubeProxy.mode`"),
    ("clientConnection", CERTIFICATES),
];

/// Components with flags: their key in the spec and what is ours of them.
fn with_flags(spec: &Spec) -> [(&'static str, &[Arg], &'static [Owned]); 5] {
    [
        ("apiServer", &spec.api_server.extra_args, API_SERVER),
        ("controllerManager", &spec.controller_manager.extra_args, CONTROLLER_MANAGER),
        ("scheduler", &spec.scheduler.extra_args, SCHEDULER),
        ("etcd", &spec.etcd.extra_args, ETCD),
        ("kubelet", &spec.kubelet.extra_args, KUBELET),
    ]
}

/// ARG002.
pub fn flags(spec: &Spec, findings: &mut Vec<Finding>) {
    for (component, args, owned) in with_flags(spec) {
        for (index, arg) in args.iter().enumerate() {
            if let Some((_, instead)) = owned.iter().find(|(flag, _)| *flag == arg.name.replace('_', "-")) {
                let path = format!("spec.{component}.extraArgs[{index}].name");
                let finding = Finding::spec("ARG002", path, format!("`{}` is set by kubewright", arg.name));
                findings.push(finding.label(*instead));
            }
        }
    }
}

/// ARG005, the part that a single name cannot show.
pub fn volumes(spec: &Spec, findings: &mut Vec<Finding>) {
    let components: [(&str, &Component); 4] = [
        ("apiServer", &spec.api_server),
        ("controllerManager", &spec.controller_manager),
        ("scheduler", &spec.scheduler),
        ("etcd", &spec.etcd),
    ];
    for (key, component) in components {
        let mut seen = BTreeMap::new();
        for (index, volume) in component.extra_volumes.iter().enumerate() {
            let path = format!("spec.{key}.extraVolumes[{index}].name");
            if let Some(first) = seen.get(&volume.name) {
                let finding = Finding::spec("ARG005", path, format!("two volumes are called `{}`", volume.name));
                findings.push(finding.label("again").related(String::clone(first), "first here"));
            } else {
                seen.insert(&volume.name, path);
            }
        }
    }
}

/// CFG001.
pub fn configurations(spec: &Spec, findings: &mut Vec<Finding>) {
    for (parent, config, owned) in [
        ("spec.kubelet.config", &spec.kubelet.config, KUBELET_CONFIG),
        ("spec.network.kubeProxy.config", &spec.network.kube_proxy.config, KUBE_PROXY_CONFIG),
    ] {
        for (field, instead) in owned.iter().filter(|(field, _)| config.contains_key(*field)) {
            let finding = Finding::spec(
                "CFG001",
                path::of_key(&path::key(parent, field)),
                format!("`{field}` is set by kubewright"),
            );
            findings.push(finding.label(*instead));
        }
    }
}

/// CERT003.
pub fn lifetimes(spec: &Spec, findings: &mut Vec<Finding>) {
    let certificates = &spec.certificates;
    if certificates.certificate_validity_hours > certificates.ca_certificate_validity_hours {
        let finding = Finding::spec(
            "CERT003",
            "spec.certificates.certificateValidityPeriod",
            "certificates would outlive their authority",
        );
        let finding = finding.label(format!("{} hours", certificates.certificate_validity_hours));
        findings.push(finding.related(
            "spec.certificates.caCertificateValidityPeriod",
            format!("{} hours", certificates.ca_certificate_validity_hours),
        ));
    }
}
