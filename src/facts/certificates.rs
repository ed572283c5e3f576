//! When certificates on the hosts expire: read from their files.

use std::collections::BTreeMap;

use futures::future::join_all;
use kubewright_certs::inspect::CertificateFacts;
use kubewright_core::etcd::status::{Certificate, Certificates};
use kubewright_core::ids::HostName;
use kubewright_manifests::layout::{KUBELET_SERVING_CERT, KUBERNETES_DIR, pki};
use secrecy::ExposeSecret;

use crate::host::authority::files_of;
use crate::host::files::ReadFile;
use crate::kube::Credentials;
use crate::ports::Hosts;

/// What etcd's members and their clients use, in kubeadm's folder. etcd reads them anew for each connection.
pub const OF_ETCD: [&str; 5] =
    ["etcd/ca.crt", "etcd/server.crt", "etcd/peer.crt", "etcd/healthcheck-client.crt", "apiserver-etcd-client.crt"];

/// What else a control plane uses.
const OF_API_SERVERS: [&str; 5] =
    ["ca.crt", "apiserver.crt", "apiserver-kubelet-client.crt", "front-proxy-ca.crt", "front-proxy-client.crt"];
/// Files of programs and people with a client's certificate in them.
const KUBECONFIGS: [&str; 3] = ["admin.conf", "controller-manager.conf", "scheduler.conf"];

/// Files of kubeadm's folder, on all these hosts at once. Those that a host does not have are left out: an etcd by itself has no API
/// server.
pub async fn read(hosts: &dyn Hosts, cluster: &str, names: &[HostName], files: &[&str]) -> Certificates {
    let paths: Vec<String> = files.iter().map(|file| pki(file)).collect();
    of_hosts(hosts, cluster, names, &paths).await
}

/// Everything that these hosts identify themselves with; one round trip each. But for what kubelets show to API servers: they renew
/// that themselves, and one whose own has ended is not Ready.
pub async fn of_all(hosts: &dyn Hosts, cluster: &str, names: &[HostName]) -> Certificates {
    let files = OF_ETCD.iter().chain(&OF_API_SERVERS).map(|file| pki(file));
    let kubeconfigs = KUBECONFIGS.iter().map(|file| format!("{KUBERNETES_DIR}/{file}"));
    let paths: Vec<String> = files.chain(kubeconfigs).chain([KUBELET_SERVING_CERT.to_owned()]).collect();
    of_hosts(hosts, cluster, names, &paths).await
}

async fn of_hosts(hosts: &dyn Hosts, cluster: &str, names: &[HostName], paths: &[String]) -> Certificates {
    let asked = names.iter().map(|name| async { (name.clone(), of_host(hosts, cluster, name, paths).await) });
    join_all(asked).await.into_iter().collect()
}

async fn of_host(
    hosts: &dyn Hosts,
    cluster: &str,
    name: &HostName,
    paths: &[String],
) -> Result<Vec<Certificate>, String> {
    let wanted: Vec<&str> = paths.iter().map(String::as_str).collect();
    match files_of(hosts, cluster, name, &wanted).await {
        Ok(Some(files)) => certificates(&files),
        Ok(None) => Err(format!("it does not say that it belongs to {cluster}")),
        Err(error) => Err(error.to_string()),
    }
}

fn certificates(files: &BTreeMap<String, ReadFile>) -> Result<Vec<Certificate>, String> {
    let mut all = Vec::new();
    for (path, file) in files {
        let mut text = String::from_utf8_lossy(file.contents.expose_secret()).into_owned();
        if path.ends_with(".conf") {
            text = Credentials::from_kubeconfig(&text).map_err(|error| format!("{path}: {error}"))?.client_cert_pem;
        }
        let facts = CertificateFacts::from_pem(&text).map_err(|error| format!("{path}: {error}"))?;
        // The first is the host's own, what follows signed it.
        let first = facts.first().map(|facts| Certificate { path: path.clone(), expires: facts.not_after });
        all.extend(first);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use kubewright_certs::issue::{Authority, LeafRequest};
    use kubewright_certs::key::KeyAlgorithm::EcdsaP256;
    use kubewright_certs::kubeconfig::{ClientCertificate, Kubeconfig};
    use kubewright_certs::names::AltNames;
    use kubewright_certs::profile::{Subject, TlsUsage, Window};
    use kubewright_core::facts::HostRecord;

    use super::*;
    use crate::host::fake::FakeHosts;

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test]
    async fn ends_are_read_from_certificates_and_kubeconfigs_in_one_round_trip() {
        let now = Timestamp::now();
        let window = |days: u32| Window::starting(now, DAY * days).unwrap();
        let authority = Authority::create(&Subject::new("kubernetes"), EcdsaP256, window(100)).unwrap();
        let request = LeafRequest {
            subject: Subject::new("system:kube-scheduler"),
            usages: vec![TlsUsage::Client],
            alt_names: AltNames::new(),
        };
        let leaf = authority.issue(&request, EcdsaP256, window(10)).unwrap();
        let client =
            ClientCertificate::Embedded { certificate_pem: leaf.certificate_pem.clone(), key_pem: leaf.key_pem };
        let server = "10.77.0.11:6443".parse().unwrap();
        let kubeconfig = Kubeconfig::new("lab", server, authority.certificate_pem(), "scheduler", client).render();
        let record = r#"{"cluster":"lab","operation":"7f3a","roles":["controlPlane"],"settled":true}"#;

        let hosts = FakeHosts::new(["cp1", "cp2"]);
        hosts.put_file("cp1", HostRecord::PATH, 0o600, record);
        hosts.put_file("cp1", &pki("ca.crt"), 0o644, authority.certificate_pem());
        hosts.put_file("cp1", &pki("apiserver.crt"), 0o644, leaf.certificate_pem.clone());
        hosts.put_file("cp1", KUBELET_SERVING_CERT, 0o644, leaf.certificate_pem);
        hosts.put_file("cp1", "/etc/kubernetes/scheduler.conf", 0o600, kubeconfig.expose_secret());
        let read = of_all(&hosts, "lab", &["cp1".into(), "cp2".into()]).await;

        let days = |certificate: &Certificate| certificate.expires.duration_since(now).as_hours() / 24;
        let told: Vec<(&str, i64)> =
            read[&HostName::new("cp1")].as_ref().unwrap().iter().map(|one| (one.path.as_str(), days(one))).collect();
        let of = |path: &str| told.iter().find(|(of, _)| *of == path).map(|(_, days)| *days);
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(of("/etc/kubernetes/pki/ca.crt").unwrap() >= 99, "{told:?}");
        assert!((9..=10).contains(&of("/etc/kubernetes/scheduler.conf").unwrap()), "{told:?}");
        assert!(read[&HostName::new("cp2")].as_ref().unwrap_err().contains("does not say that it belongs"));
        assert_eq!(hosts.round_trips("cp1"), 1);
    }
}
