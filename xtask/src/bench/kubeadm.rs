//! The real kubeadm: `init` with its certificates uploaded, then `join` on each further host; later `upgrade` on one after the other,
//! as its documentation says.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{CONTROL_PLANES, Part, VERSION, WORKER, part};
use crate::cluster::Kubectl;
use crate::kubeadm::{self, Kubeadm};
use crate::lab::Lab;

/// kubeadm of a version.
pub fn of<'a>(lab: &'a Lab, version: &'a str) -> Kubeadm<'a> {
    Kubeadm::new(lab, version, CONTROL_PLANES[0])
}

/// Units and configuration on every host.
///
/// # Errors
/// A file cannot be put.
pub fn place(lab: &Lab) -> Result<()> {
    lab.spec.hosts.iter().try_for_each(|host| {
        let part = match host.name.as_str() {
            name if name == CONTROL_PLANES[0] => kubeadm::Part::First,
            WORKER => kubeadm::Part::Worker,
            _ => kubeadm::Part::ControlPlane,
        };
        of(lab, VERSION).place(&host.name, part)
    })
}

/// Builds the cluster. `at_once`: all joins together after `init`.
///
/// # Errors
/// A command fails, with its own last words, or takes longer than `patience`.
pub fn bootstrap(lab: &Lab, began: Instant, patience: Duration, at_once: bool) -> Result<Vec<Part>> {
    let run = |host: &str, what: &str| {
        let name = format!("{host} {}", what.split(' ').next().unwrap_or(what));
        part(&name, began, || of(lab, VERSION).run(host, what, patience)).map(|((), part)| part)
    };
    let mut parts = vec![run(CONTROL_PLANES[0], "init --upload-certs")?];
    let others = lab.spec.hosts.iter().map(|host| host.name.as_str()).filter(|name| *name != CONTROL_PLANES[0]);
    if at_once {
        let joined: Vec<_> = std::thread::scope(|scope| {
            let joins: Vec<_> = others.map(|host| scope.spawn(move || run(host, "join"))).collect();
            joins.into_iter().map(|join| join.join().unwrap_or_else(|_| anyhow::bail!("a join panicked"))).collect()
        });
        for join in joined {
            parts.push(join?);
        }
    } else {
        for host in others {
            parts.push(run(host, "join")?);
        }
    }
    Ok(parts)
}

/// Upgrades the cluster, one node after the other, each as "Upgrading kubeadm clusters" has it: kubeadm's new program, its `upgrade`, the
/// node drained, the new kubelet, uncordoned.
///
/// # Errors
/// A command fails, with its own last words, or takes longer than `patience`.
pub fn upgrade(lab: &Lab, kubectl: &Kubectl, to: &str, began: Instant, patience: Duration) -> Result<Vec<Part>> {
    let kubeadm = of(lab, to);
    let mut parts = Vec::new();
    for host in lab.spec.hosts.iter().map(|host| host.name.as_str()) {
        let mut step = |name: &str, work: &dyn Fn() -> Result<()>| {
            part(&format!("{host} {name}"), began, work).map(|((), part)| parts.push(part))
        };
        step("kubeadm upgrade", &|| {
            kubeadm.fetch(host, "kubeadm")?;
            kubeadm.upgrade(host, patience)
        })?;
        step("drain", &|| kubectl.run(&["drain", host, "--ignore-daemonsets", "--delete-emptydir-data"]).map(drop))?;
        step("kubelet", &|| {
            kubeadm.fetch(host, "kubelet")?;
            kubeadm.fetch(host, "kubectl")?;
            lab.exec(host, "systemctl daemon-reload && systemctl restart kubelet")?;
            let version = format!("--for=jsonpath={{.status.nodeInfo.kubeletVersion}}=v{to}");
            kubectl.run(&["wait", "node", host, &version, "--timeout=5m"])?;
            kubectl.run(&["wait", "node", host, "--for=condition=Ready", "--timeout=5m"]).map(drop)
        })?;
        step("uncordon", &|| kubectl.run(&["uncordon", host]).map(drop))?;
    }
    Ok(parts)
}

/// A kubeconfig of the cluster's administrator, in a folder of ours.
///
/// # Errors
/// The first control plane has none.
pub fn kubeconfig(lab: &Lab, folder: &Path) -> Result<std::path::PathBuf> {
    let path = folder.join("admin.conf");
    std::fs::write(&path, lab.exec(CONTROL_PLANES[0], "cat /etc/kubernetes/admin.conf")?)?;
    Ok(path)
}
