//! From a spec file to a plan: read, ask the hosts, render, plan. Shared by `plan` and `apply`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kubewright_core::facts::Facts;
use kubewright_core::ids::{HostName, OperationId};
use kubewright_core::plan::hex;
use kubewright_core::planner::{Identity, Input, Outcome, bootstrap};
use kubewright_core::spec::Spec;
use kubewright_manifests::Arch;

use super::world::{Loaded, World};
use crate::error::Error;
use crate::facts::gather;
use crate::ports::Hosts;
use crate::render;

/// Bytes of an operation's id: few enough to type, and a clash needs thousands of operations on one cluster.
const OPERATION_BYTES: usize = 3;
/// Bytes of etcd's cluster token: two clusters must never share one.
const TOKEN_BYTES: usize = 16;

/// What planning came to, with all that led there.
pub struct Planned {
    /// What was read.
    pub loaded: Loaded,
    /// What was seen.
    pub facts: Facts,
    /// How long seeing took.
    pub seeing: Duration,
    /// Connections, still open.
    pub hosts: Arc<dyn Hosts>,
    /// The answer.
    pub outcome: Outcome,
}

/// Plans for a spec file.
///
/// # Errors
/// A spec that does not validate, or no way to begin at all; hosts that do not answer are findings.
pub async fn plan(world: &World, file: &Path) -> Result<Planned, Error> {
    let loaded = world.load(file)?;
    let hosts = world.connect(&loaded.spec)?;
    let began = Instant::now();
    let facts = see(&loaded.spec, hosts.as_ref()).await;
    let seeing = began.elapsed();
    let (desired, mut findings) = render::desired(&loaded.spec, &facts);
    findings.extend(loaded.findings.iter().cloned());
    let identity = Identity {
        operation: OperationId::new(random(OPERATION_BYTES)?),
        initial_cluster_token: format!("{}-{}", loaded.spec.name, random(TOKEN_BYTES)?),
    };
    let input = Input {
        spec: &loaded.spec,
        facts: &facts,
        desired: &desired,
        findings: &findings,
        identity: &identity,
        tool_version: env!("CARGO_PKG_VERSION"),
    };
    let outcome = bootstrap(input);
    Ok(Planned { loaded, facts, seeing, hosts, outcome })
}

/// Facts of all hosts, with the checksums and image digests that planning needs for their architectures.
pub async fn see(spec: &Spec, hosts: &dyn Hosts) -> Facts {
    let names: Vec<HostName> = spec.hosts.iter().map(|host| host.name.clone()).collect();
    let mut facts = gather(hosts, &names, &render::questions(spec, Arch::Amd64)).await;
    // Most machines are of one kind; the others are asked again with their own questions.
    let others: Vec<HostName> = facts
        .hosts
        .iter()
        .filter(|(_, fact)| fact.known().and_then(render::architecture) == Some(Arch::Arm64))
        .map(|(name, _)| name.clone())
        .collect();
    if !others.is_empty() {
        let again = gather(hosts, &others, &render::questions(spec, Arch::Arm64)).await;
        facts.hosts.extend(again.hosts);
    }
    facts
}

fn random(bytes: usize) -> Result<String, Error> {
    let mut buffer = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut buffer).map_err(|_| Error::internal("the system gives no random numbers".to_owned()))?;
    Ok(hex(&buffer))
}
