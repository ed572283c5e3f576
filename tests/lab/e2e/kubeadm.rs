//! The real kubeadm on a cluster that it did not make: it has to find itself at home.

use xtask::lab::Lab;

use super::cluster::Kubectl;

/// Certificates, an upgrade's plan, and a worker that kubeadm resets and joins anew.
pub fn is_at_home(lab: &Lab, kubectl: &Kubectl, version: &str, worker: &str, told: &dyn Fn(&str)) {
    for host in ["cp1", worker] {
        let url = format!("{}/dl.k8s.io/release/v{version}/bin/linux/amd64/kubeadm", lab.mirror());
        on(lab, host, &format!("curl -sSf -o /usr/bin/kubeadm {url} && chmod 0755 /usr/bin/kubeadm"));
    }
    let certificates = on(lab, "cp1", "kubeadm certs check-expiration 2>&1");
    for name in ["admin.conf", "apiserver-kubelet-client", "etcd-server", "front-proxy-client", "scheduler.conf"] {
        assert!(certificates.contains(name), "{certificates}");
    }
    assert!(!certificates.contains("MISSING") && !certificates.contains("invalid"), "{certificates}");

    // Its health check runs a pod; what it ignores is what a host of the lab cannot have.
    let plan = on(lab, "cp1", &format!("kubeadm upgrade plan v{version} --ignore-preflight-errors=all 2>&1"));
    for found in [format!("Cluster version: {version}"), format!("Target version: v{version}")] {
        assert!(plan.contains(&found), "{plan}");
    }
    told("kubeadm knows every certificate and plans an upgrade");

    let join = on(lab, "cp1", "kubeadm token create --ttl 10m --print-join-command 2>/dev/null");
    on(lab, worker, "kubeadm reset --force 2>&1");
    kubectl.expect(&["delete", "node", worker]);
    on(lab, worker, &format!("{} --ignore-preflight-errors=all 2>&1", join.trim()));
    // kubeadm ends when the kubelet has its certificate; the kubelet registers its node a moment later.
    for what in ["create", "condition=Ready"] {
        kubectl.expect(&["wait", &format!("--for={what}"), &format!("node/{worker}"), "--timeout=120s"]);
    }
    on(lab, "cp1", "rm /usr/bin/kubeadm");
    on(lab, worker, "rm /usr/bin/kubeadm");
    told("kubeadm reset and joined a worker");
}

fn on(lab: &Lab, host: &str, command: &str) -> String {
    lab.exec(host, command).unwrap_or_else(|error| panic!("{host}: {error:#}"))
}
