//! The real kubeadm: `init` with its certificates uploaded, then `join` on each further host.

use std::time::Instant;

use anyhow::Result;

use super::{CONTROL_PLANES, PATIENCE, Part, VERSION, WORKER, part};
use crate::kubeadm::{self, Kubeadm};
use crate::lab::Lab;

/// kubeadm of the version that is measured.
pub fn of(lab: &Lab) -> Kubeadm<'_> {
    Kubeadm::new(lab, VERSION, CONTROL_PLANES[0])
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
        of(lab).place(&host.name, part)
    })
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
    let name = format!("{host} {}", what.split(' ').next().unwrap_or(what));
    part(&name, began, || of(lab).run(host, what, PATIENCE)).map(|((), part)| part)
}
