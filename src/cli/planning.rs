//! From a spec file to a plan: read, ask the hosts, render, plan. Shared by `plan` and `apply`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kubewright_core::facts::{Fact, Facts};
use kubewright_core::ids::{HostName, OperationId};
use kubewright_core::pins::Pins;
use kubewright_core::plan::hex;
use kubewright_core::planner::{self, Identity, Input, Outcome, Request};
use kubewright_core::spec::Spec;
use kubewright_manifests::Arch;

use super::pin::LockFile;
use super::world::{Loaded, World};
use crate::error::Error;
use crate::facts::{Questions, awaits_member, gather, gather_cluster, gather_etcd};
use crate::ports::{Clock, Hosts};
use crate::{render, report};

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
    /// What is to be pinned, where something is.
    pub pinning: Option<Pinning>,
}

/// What a plan relies on and the lock file does not hold yet, for the next one to be compared with.
pub struct Pinning {
    pins: Pins,
    lock_file: LockFile,
}

impl Pinning {
    /// Of what is new beside what was pinned before; none where nothing is.
    pub(super) fn of<'p>(before: Pins, new: impl IntoIterator<Item = &'p Pins>, lock_file: LockFile) -> Option<Self> {
        let new: Vec<&Pins> = new.into_iter().filter(|pins| !pins.is_empty()).collect();
        (!new.is_empty()).then(|| Self { pins: new.into_iter().fold(before, Pins::with), lock_file })
    }

    /// Writes the lock file.
    ///
    /// # Errors
    /// Where this machine does not let us.
    pub fn keep(&self) -> Result<(), Error> {
        self.lock_file.write(&self.pins)?;
        report::note(&format!("wrote {}: {} digests are pinned", self.lock_file, self.pins.len()));
        Ok(())
    }
}

/// Plans what was asked for a spec file.
///
/// # Errors
/// A spec that does not validate, or no way to begin at all; hosts that do not answer are findings.
pub async fn plan(world: &World, file: &Path, request: &Request) -> Result<Planned, Error> {
    let loaded = world.load(file)?;
    let hosts = world.connect(&loaded.spec)?;
    plan_on(file, loaded, hosts, &world.clock, request).await
}

/// The same from a spec that was read and hosts that can be reached, whatever they are.
///
/// # Errors
/// A lock file that cannot be read, or no random numbers; hosts that do not answer are findings.
pub async fn plan_on(
    file: &Path,
    loaded: Loaded,
    hosts: Arc<dyn Hosts>,
    clock: &Arc<dyn Clock>,
    request: &Request,
) -> Result<Planned, Error> {
    let lock_file = LockFile::beside(file);
    let pinned = match request {
        Request::Apply { .. } => lock_file.read()?,
        Request::Reset(_) => lock_file.empty(),
    };
    let began = Instant::now();
    let (facts, render::Rendered { desired, mut findings, new_pins }) = match request {
        Request::Apply { .. } => {
            let facts = see(&loaded.spec, &hosts, clock, Some(&pinned.pins)).await;
            let rendered = render::desired(&loaded.spec, &facts, &pinned, &file.to_string_lossy());
            (facts, rendered)
        }
        // What hosts should have does not matter any more.
        Request::Reset(_) => {
            let names: Vec<HostName> = loaded.spec.hosts.iter().map(|host| host.name.clone()).collect();
            (gather(hosts.as_ref(), &names, &Questions::default()).await, Default::default())
        }
    };
    let seeing = began.elapsed();
    let pinning = Pinning::of(pinned.pins, [&new_pins], lock_file);
    if matches!(request, Request::Apply { .. }) {
        findings.extend(loaded.findings.iter().cloned());
    }
    let identity = Identity { operation: new_operation()?, initial_cluster_token: new_token(&loaded.spec)? };
    let input = Input {
        spec: &loaded.spec,
        facts: &facts,
        desired: &desired,
        findings: &findings,
        identity: &identity,
        tool_version: env!("CARGO_PKG_VERSION"),
    };
    let outcome = planner::plan(input, request);
    Ok(Planned { loaded, facts, seeing, hosts, outcome, pinning })
}

/// As [`see_hosts`], and of the cluster where it stands.
pub async fn see(spec: &Spec, hosts: &Arc<dyn Hosts>, clock: &Arc<dyn Clock>, pins: Option<&Pins>) -> Facts {
    let mut facts = see_hosts(spec, hosts, pins).await;
    let etcd = async {
        // Members matter where one is to come; everybody else need not wait for them.
        if awaits_member(spec, &facts) {
            gather_etcd(spec, hosts.clone(), &facts, clock.clone()).await
        } else {
            Fact::Absent
        }
    };
    let (cluster, etcd) = tokio::join!(gather_cluster(spec, hosts.clone(), &facts), etcd);
    (facts.cluster, facts.etcd) = (cluster, etcd);
    facts
}

/// Facts of all hosts, with the published digests that are not pinned or that a host lacks, for their architectures
/// (without pins, without any).
pub(super) async fn see_hosts(spec: &Spec, hosts: &Arc<dyn Hosts>, pins: Option<&Pins>) -> Facts {
    let names: Vec<HostName> = spec.hosts.iter().map(|host| host.name.clone()).collect();
    let mut facts = gather(hosts.as_ref(), &names, &render::questions(spec, Arch::Amd64, pins)).await;
    // Most machines are of one kind; the others are asked again with their own questions.
    let others: Vec<HostName> = facts
        .hosts
        .iter()
        .filter(|(_, fact)| fact.known().and_then(render::architecture) == Some(Arch::Arm64))
        .map(|(name, _)| name.clone())
        .collect();
    if !others.is_empty() {
        let again = gather(hosts.as_ref(), &others, &render::questions(spec, Arch::Arm64, pins)).await;
        facts.hosts.extend(again.hosts);
    }
    facts
}

/// A name for the identity of an etcd cluster that nobody has had before.
///
/// # Errors
/// The machine has no randomness.
pub(super) fn new_token(spec: &Spec) -> Result<String, Error> {
    Ok(format!("{}-{}", spec.name, random(TOKEN_BYTES)?))
}

/// The name of a new operation.
///
/// # Errors
/// Where the system gives no random numbers.
pub fn new_operation() -> Result<OperationId, Error> {
    Ok(OperationId::new(random(OPERATION_BYTES)?))
}

fn random(bytes: usize) -> Result<String, Error> {
    let mut buffer = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut buffer).map_err(|_| Error::internal("the system gives no random numbers".to_owned()))?;
    Ok(hex(&buffer))
}
