//! The real kubeadm, used as its documentation says: `init` with its certificates uploaded, then `join` on each further
//! host.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};

use super::{CONTROL_PLANES, Part, VERSION, WORKER, part};
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

/// Lets every host have kubeadm, from the lab's mirror. It is no part of the clock.
///
/// # Errors
/// A host does not get it.
pub fn install(lab: &Lab) -> Result<()> {
    let url = format!("{}/dl.k8s.io/release/v{VERSION}/bin/linux/amd64/kubeadm", lab.mirror());
    let command = format!(
        "test -x /usr/local/bin/kubeadm || {{ curl --silent --show-error --fail --output /usr/local/bin/kubeadm {url} && \
         chmod 0755 /usr/local/bin/kubeadm; }}"
    );
    lab.spec.hosts.iter().try_for_each(|host| lab.exec(&host.name, &command).map(drop))
}

/// Puts units and configuration on every host, as installing the packages and writing the files would.
///
/// # Errors
/// A file cannot be put.
pub fn place(lab: &Lab) -> Result<()> {
    let endpoint = lab.host(CONTROL_PLANES[0])?.address.to_string();
    for host in &lab.spec.hosts {
        for (from, to) in UNITS {
            let text = std::fs::read_to_string(repository().join(from)).with_context(|| from.to_owned())?;
            write(lab, &host.name, to, &text)?;
        }
        let text = std::fs::read_to_string(template(&host.name))?;
        let text = text.replace("ADVERTISE", &host.address.to_string()).replace("ENDPOINT", &endpoint);
        write(lab, &host.name, CONFIGURATION, &text.replace("NAME", &host.name).replace("VERSION", VERSION))?;
        lab.exec(&host.name, "systemctl daemon-reload && systemctl enable --quiet kubelet")?;
    }
    Ok(())
}

fn template(host: &str) -> PathBuf {
    lab_data(match host {
        _ if host == CONTROL_PLANES[0] => "bench/kubeadm-init.yaml",
        WORKER => "bench/kubeadm-join-worker.yaml",
        _ => "bench/kubeadm-join-control-plane.yaml",
    })
}

fn write(lab: &Lab, host: &str, path: &str, text: &str) -> Result<()> {
    let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
    let quoted = text.replace('\'', r"'\''");
    lab.exec(host, &format!("mkdir -p {folder} && printf '%s' '{quoted}' >{path}")).map(drop)
}

/// Builds the cluster. `at_once`: all joins together after `init`.
///
/// # Errors
/// A command fails, with its own last words.
pub fn bootstrap(lab: &Lab, began: Instant, at_once: bool) -> Result<Vec<Part>> {
    let mut parts = vec![run(lab, CONTROL_PLANES[0], "init --upload-certs", began)?];
    let others = CONTROL_PLANES[1..].iter().copied().chain([WORKER]);
    if at_once {
        let joined: Vec<_> = std::thread::scope(|scope| {
            let joins: Vec<_> = others.map(|host| scope.spawn(move || run(lab, host, "join", began))).collect();
            joins.into_iter().map(|join| join.join().unwrap_or_else(|_| anyhow::bail!("a join panicked"))).collect()
        });
        for join in joined {
            parts.push(join?);
        }
    } else {
        for host in others {
            parts.push(run(lab, host, "join", began)?);
        }
    }
    Ok(parts)
}

fn run(lab: &Lab, host: &str, what: &str, began: Instant) -> Result<Part> {
    // What a preflight check would refuse is what containers cannot have: swap of their own, a configured kernel.
    let remote = format!("kubeadm {what} --config {CONFIGURATION} --ignore-preflight-errors=all");
    let name = format!("{host} {}", what.split(' ').next().unwrap_or(what));
    let ((), part) = part(&name, began, || {
        let said = output_within(lab.ssh("root", host).arg(&remote), super::PATIENCE);
        said.map(drop).map_err(|error| anyhow::anyhow!(command::last_lines(&format!("{error:#}"), 30)))
    })?;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_its_configuration() {
        for host in CONTROL_PLANES.into_iter().chain([WORKER]) {
            let text = std::fs::read_to_string(template(host)).unwrap();
            let documents: Vec<serde_json::Value> =
                text.split("\n---\n").map(|one| serde_saphyr::from_str(one).unwrap()).collect();
            let kinds: Vec<&str> = documents.iter().filter_map(|one| one["kind"].as_str()).collect();
            assert_eq!(kinds.contains(&"InitConfiguration"), host == "cp1", "{host}: {kinds:?}");
            assert_eq!(text.contains("certificateKey"), host != WORKER, "{host}");
            assert!(text.contains("NAME") && text.contains("ENDPOINT"), "{host}");
        }
    }

    #[test]
    fn the_units_are_there() {
        assert!(UNITS.iter().all(|(from, _)| repository().join(from).is_file()));
    }
}
