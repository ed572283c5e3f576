//! Gives an operation up for good: a first run that cannot go on, because its spec was wrong or a host is another now.
//!
//! Nothing that may hold etcd's data is touched. Where etcd was never started, what claims a host for the run is taken
//! away, so that a new plan finds the host free.

use std::collections::BTreeSet;

use futures::future::join_all;
use kubewright_core::facts::{Facts, HostRecord};
use kubewright_core::ids::{HostName, OperationId};
use kubewright_core::journal::{Event, HalfOut, Remains, remains};
use kubewright_core::plan::EtcdStart;
use kubewright_core::quorum::has_quorum;
use kubewright_core::spec::Role;

use super::keys::remote_path;
use super::lock::Lock;
use super::recover::publish;
use crate::facts::{Questions, gather};
use crate::host::files::remove_files;
use crate::ports::{Clock, HostError, Hosts};
use crate::render;
use crate::store::{JournalError, Operation, StoreError};

/// What makes a later plan take a host for part of a cluster.
const CA: &str = "/etc/kubernetes/pki/ca.crt";
/// Static pods: left behind, a kubelet would start them whatever the next spec says.
const MANIFESTS: &str = "/etc/kubernetes/manifests/";
/// What has to go from a host that holds etcd data before it can be built anew; by hand, never by us.
pub const BY_HAND: [&str; 4] = ["/var/lib/etcd", "/etc/kubernetes", "/var/lib/kubelet", HostRecord::PATH];

/// Why an operation cannot be given up.
#[derive(Debug, thiserror::Error)]
pub enum AbandonError {
    /// There is nothing to give up.
    #[error("operation {0} has finished: there is nothing to give up")]
    Finished(OperationId),
    /// Its work, or another's, goes on.
    #[error("work still runs: {}", .units.join(", "))]
    Running {
        /// `HOST: UNIT`, or why a host cannot tell.
        units: Vec<String>,
    },
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// This machine's files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another run has taken over.
    #[error(transparent)]
    Fenced(HostError),
}

/// What giving up would leave and take away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// What the run left, by its journal and by what hosts say.
    pub remains: Remains,
    /// Of these, the hosts that say themselves that they are this run's: only there is anything taken away.
    pub ours: BTreeSet<HostName>,
    /// Hosts that cannot be asked, and why.
    pub silent: Vec<String>,
}

/// Asks every host what runs on it and whose it is; changes nothing.
///
/// # Errors
/// [`AbandonError`] where the operation cannot be given up now.
pub async fn look(hosts: &dyn Hosts, operation: &Operation) -> Result<Outlook, AbandonError> {
    let plan = &operation.plan;
    if operation.journal.status().finished {
        return Err(AbandonError::Finished(plan.operation.clone()));
    }
    let names: Vec<HostName> = plan.spec.hosts.iter().map(|host| host.name.clone()).collect();
    let facts = gather(hosts, &names, &Questions::default()).await;
    let units = running(&facts);
    if !units.is_empty() {
        return Err(AbandonError::Running { units });
    }
    let mut outlook = Outlook { remains: remains(plan, operation.journal.status()), ..Outlook::default() };
    for (name, fact) in &facts.hosts {
        let Some(seen) = fact.known() else {
            outlook.silent.push(format!("{name} cannot be asked: {}", fact.why().unwrap_or("no answer")));
            continue;
        };
        let is_ours = |record: &HostRecord| {
            !record.settled && record.operation == plan.operation && record.cluster == plan.spec.name
        };
        if seen.record.known().is_some_and(is_ours) {
            outlook.ours.insert(name.clone());
            outlook.remains.claimed.insert(name.clone());
            // What cannot be read is not taken for absent.
            if seen.etcd_data.known() == Some(&true) || seen.etcd_data.why().is_some() {
                outlook.remains.etcd.insert(name.clone());
            }
        }
    }
    Ok(outlook)
}

fn running(facts: &Facts) -> Vec<String> {
    let of_host = |(name, seen): (&HostName, &kubewright_core::facts::HostFacts)| match seen.running_units.why() {
        Some(why) => vec![format!("{name} cannot tell: {why}")],
        None => seen.running_units.known().into_iter().flatten().map(|unit| format!("{name}: {unit}")).collect(),
    };
    facts.hosts.iter().filter_map(|(name, fact)| Some((name, fact.known()?))).flat_map(of_host).collect()
}

impl Outlook {
    /// Whether hosts are taken out of the run's hands: nowhere, where etcd may have been started anywhere.
    pub fn frees(&self) -> bool {
        self.remains.etcd.is_empty()
    }

    /// What it comes to, in sentences for people.
    pub fn sentences(&self) -> Vec<String> {
        let names = |hosts: &BTreeSet<HostName>| hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(", ");
        let mut sentences = Vec::new();
        if !self.frees() {
            sentences.push(format!(
                "etcd may have been started on {}: no host is touched. Before a new plan reset {} by hand: systemctl disable --now kubelet, end its containers, then remove {}",
                names(&self.remains.etcd),
                names(&self.remains.claimed),
                BY_HAND.join(", ")
            ));
        } else if self.remains.claimed.is_empty() {
            sentences.push("no host was claimed: a new plan is free".to_owned());
        } else {
            sentences.push(format!(
                "claimed and never started: {}; they are given free for a new plan",
                names(&self.remains.claimed)
            ));
        }
        for host in &self.remains.members {
            sentences.push(format!(
                "etcd's list may hold a member of {host} that this run added: kubewright node remove {host}"
            ));
        }
        for host in &self.remains.renewing {
            sentences.push(format!(
                "etcd and with it the control plane of {host} may be stopped, its data kept beside /var/lib/etcd: kubewright etcd member replace {host}"
            ));
        }
        for host in &self.remains.between {
            sentences.push(format!(
                "{host} may be between two versions of Kubernetes, its kubelet stopped: kubewright ops resume finishes that either way; without it, on {host}: systemctl start kubelet, then kubewright upgrade"
            ));
        }
        sentences.extend(self.remains.half_out.as_ref().map(half_out));
        for node in &self.remains.cordoned {
            sentences.push(format!("{node} may still be cordoned by it: kubewright node uncordon {node}"));
        }
        sentences.extend(self.silent.iter().cloned());
        sentences
    }
}

/// What is half done of a removal, and the one command that is safe next.
fn half_out(half: &HalfOut) -> String {
    match half {
        HalfOut::StillThere(host) => format!(
            "the member of {host} may be off etcd's list while its etcd and the control plane beside it still start there, in vain: kubewright etcd member remove {host}"
        ),
        HalfOut::AlarmRaised(member) => format!(
            "{member} is off etcd's list; the alarm about it may be raised still, and then nothing can be written: kubewright etcd alarm disarm"
        ),
        HalfOut::Unproved(member) => format!(
            "{member} may be off etcd's list or not, and whether the others hold the same was not seen: kubewright etcd status"
        ),
    }
}

/// Gives it up: the last word in the journal, then keys and claims taken away, then the journal to the mirrors. Doing it
/// again after an interruption takes away what is left. The lock stays with the caller. What did not work comes back as
/// notes.
///
/// # Errors
/// [`AbandonError`].
pub async fn give_up(
    hosts: &dyn Hosts,
    operation: &mut Operation,
    lock: &Lock,
    outlook: &Outlook,
    by: &str,
    clock: &dyn Clock,
) -> Result<Vec<String>, AbandonError> {
    last_word(operation, lock.fence, by, clock)?;
    let plan = &operation.plan;
    let key_copy = remote_path(&plan.operation);
    let removed = join_all(plan.spec.hosts.iter().map(|host| {
        let mut paths = Vec::new();
        if host.is(Role::ControlPlane) {
            paths.push(key_copy.clone());
        }
        if outlook.frees() && outlook.ours.contains(&host.name) {
            paths.extend(claims(operation, &host.name));
        }
        async move {
            if paths.is_empty() {
                return Ok(());
            }
            let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
            let connected = hosts.host(&host.name).await?;
            remove_files(connected.as_ref(), lock.fence, &paths).await.map(|_| ())
        }
    }))
    .await;
    let mut notes = Vec::new();
    for outcome in removed {
        match outcome {
            Ok(()) => {}
            Err(fenced @ HostError::Fenced { .. }) => return Err(AbandonError::Fenced(fenced)),
            Err(error) => notes.push(format!("not cleaned: {error}; the same command again does the rest")),
        }
    }
    operation.secrets.forget()?;
    let kept = publish(lock, operation, &mut notes).await;
    if !has_quorum(operation.plan.keepers.len(), kept) {
        notes.push("too few control planes know that it was given up; the same command again tells them".to_owned());
    }
    Ok(notes)
}

fn last_word(operation: &mut Operation, fence: u64, by: &str, clock: &dyn Clock) -> Result<(), JournalError> {
    let status = operation.journal.status();
    if status.abandoned.is_some() {
        return Ok(());
    }
    let mut events = Vec::new();
    if !status.accepted {
        let plan_digest = operation.journal.plan_digest().to_owned();
        events.push(Event::Accepted { operation: operation.plan.operation.clone(), plan_digest, by: by.to_owned() });
    }
    // Control planes that were all installed anew count from one again.
    if fence > status.fence {
        events.push(Event::TakenUp { by: by.to_owned(), fence });
    }
    events.push(Event::Abandoned { by: by.to_owned() });
    events.iter().try_for_each(|event| operation.journal.record(clock.now(), event))
}

/// What says of a host that it is this run's, the record last: until it is gone everybody sees whose the rest is.
fn claims(operation: &Operation, name: &HostName) -> Vec<String> {
    let plan = &operation.plan;
    let rendered = plan
        .spec
        .host(name)
        .zip(operation.facts.host(name))
        .map(|(host, seen)| render::node_files(&plan.spec, host, &EtcdStart::default(), seen));
    let manifests = rendered.into_iter().flatten().map(|file| file.path).filter(|path| path.starts_with(MANIFESTS));
    manifests.chain([CA.to_owned(), HostRecord::PATH.to_owned()]).collect()
}

#[cfg(test)]
mod tests;
