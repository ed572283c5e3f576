//! The real kubeadm on the lab's hosts, used as its documentation says; configuration in `tests/lab/bench/`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bench::repository;
use crate::cache::lab_data;
use crate::command::{self, output_within};
use crate::lab::Lab;

/// Where its configuration lies on each host.
const CONFIGURATION: &str = "/root/kubeadm.yaml";

/// What the packages of kubelet and kubeadm bring besides the programs; the texts are the ones that kubewright places, so
/// that both kubelets are started alike.
const UNITS: [(&str, &str); 2] = [
    ("manifests/src/files/kubelet.service", "/etc/systemd/system/kubelet.service"),
    ("manifests/src/files/10-kubeadm.conf", "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"),
];

/// What a host becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The control plane that begins the cluster.
    First,
    /// A further control plane.
    ControlPlane,
    /// A worker.
    Worker,
}

/// kubeadm of one version on one lab.
#[derive(Clone, Copy)]
pub struct Kubeadm<'a> {
    lab: &'a Lab,
    version: &'a str,
    first: &'a str,
}

impl<'a> Kubeadm<'a> {
    /// kubeadm of that version; `first` begins the cluster.
    pub fn new(lab: &'a Lab, version: &'a str, first: &'a str) -> Self {
        Self { lab, version, first }
    }

    /// Lets every host have kubeadm, from the lab's mirror.
    ///
    /// # Errors
    /// A host does not get it.
    pub fn install(&self) -> Result<()> {
        self.lab.spec.hosts.iter().try_for_each(|host| self.fetch(&host.name, "kubeadm"))
    }

    /// Lets a host have one of Kubernetes' programs, in place of the one that is there.
    ///
    /// # Errors
    /// It does not get it.
    pub fn fetch(&self, host: &str, program: &str) -> Result<()> {
        let url = format!("{}/dl.k8s.io/release/v{}/bin/linux/amd64/{program}", self.lab.mirror(), self.version);
        let path = format!("/usr/local/bin/{program}");
        let command = format!(
            "curl --silent --show-error --fail --output {path}.new {url} && chmod 0755 {path}.new && mv -f {path}.new {path}"
        );
        self.lab.exec(host, &command).map(drop)
    }

    /// Puts units and configuration on a host, as installing the packages and writing the files would.
    ///
    /// # Errors
    /// A file cannot be put.
    pub fn place(&self, name: &str, part: Part) -> Result<()> {
        for (from, to) in UNITS {
            let text = std::fs::read_to_string(repository().join(from)).with_context(|| from.to_owned())?;
            self.write(name, to, &text)?;
        }
        let (host, endpoint) = (self.lab.host(name)?, self.lab.host(self.first)?.address.to_string());
        let text = std::fs::read_to_string(template(part))?;
        let text = text.replace("ADVERTISE", &host.address.to_string()).replace("ENDPOINT", &endpoint);
        self.write(name, CONFIGURATION, &text.replace("NAME", name).replace("VERSION", self.version))?;
        self.lab.exec(name, "systemctl daemon-reload && systemctl enable --quiet kubelet").map(drop)
    }

    /// Runs `kubeadm init …` or `kubeadm join …` with that configuration, through ssh.
    ///
    /// # Errors
    /// It fails, with its own last words, or takes longer than `patience`.
    pub fn run(&self, host: &str, what: &str, patience: Duration) -> Result<()> {
        self.call(host, &format!("{what} --config {CONFIGURATION}"), patience)
    }

    /// Runs `kubeadm upgrade apply` on the host that begins, `kubeadm upgrade node` on another, through ssh.
    ///
    /// # Errors
    /// It fails, with its own last words, or takes longer than `patience`.
    pub fn upgrade(&self, host: &str, patience: Duration) -> Result<()> {
        let what = if host == self.first { format!("apply v{} --yes", self.version) } else { "node".to_owned() };
        self.call(host, &format!("upgrade {what}"), patience)
    }

    fn call(&self, host: &str, what: &str, patience: Duration) -> Result<()> {
        // What a preflight check would refuse is what containers cannot have: swap of their own, a configured kernel.
        let remote = format!("kubeadm {what} --ignore-preflight-errors=all");
        let said = output_within(self.lab.ssh("root", host).arg(&remote), patience);
        said.map(drop).map_err(|error| anyhow::anyhow!(command::last_lines(&format!("{error:#}"), 30)))
    }

    fn write(&self, host: &str, path: &str, text: &str) -> Result<()> {
        let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
        let quoted = text.replace('\'', r"'\''");
        self.lab.exec(host, &format!("mkdir -p {folder} && printf '%s' '{quoted}' >{path}")).map(drop)
    }
}

fn template(part: Part) -> PathBuf {
    lab_data(match part {
        Part::First => "bench/kubeadm-init.yaml",
        Part::ControlPlane => "bench/kubeadm-join-control-plane.yaml",
        Part::Worker => "bench/kubeadm-join-worker.yaml",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_its_configuration() {
        for part in [Part::First, Part::ControlPlane, Part::Worker] {
            let text = std::fs::read_to_string(template(part)).unwrap();
            let documents: Vec<serde_json::Value> =
                text.split("\n---\n").map(|one| serde_saphyr::from_str(one).unwrap()).collect();
            let kinds: Vec<&str> = documents.iter().filter_map(|one| one["kind"].as_str()).collect();
            assert_eq!(kinds.contains(&"InitConfiguration"), part == Part::First, "{part:?}: {kinds:?}");
            assert_eq!(text.contains("certificateKey"), part != Part::Worker, "{part:?}");
            assert!(text.contains("NAME") && text.contains("ENDPOINT"), "{part:?}");
        }
    }

    #[test]
    fn the_units_are_there() {
        assert!(UNITS.iter().all(|(from, _)| repository().join(from).is_file()));
    }
}
