//! How long nobody's writes are confirmed while a cluster of three is defragmented as `kubewright etcd defrag` does it: one member after
//! the other, the leader last and after it has handed over.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use etcd_client::Client;
use kubewright::exec::upkeep;
use kubewright::ports::EtcdApi;
use kubewright_core::ids::HostName;
use kubewright_core::quorum::View;

use super::members::{self, Member};
use crate::server::fill;

/// Between two writes of one client. Far shorter than the gap that is looked for, and no load to speak of.
const PACE: Duration = Duration::from_millis(5);

/// What was found.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The longest time in which no client's write was confirmed.
    pub gap: Duration,
    /// All of it, three members.
    pub took: Duration,
}

/// Fills a cluster, and defragments it while one client writes through each member, as API servers do.
///
/// # Errors
/// There is no etcd, or a member does not become well.
pub async fn gap(megabytes: u64) -> Result<Found> {
    let home = tempfile::tempdir()?;
    let members = members::start(home.path(), 3, &[])?;
    let first = members.first().context("no member")?;
    fill(&mut first.client().await?, megabytes).await?;
    let etcd = members::cluster(&members)?;
    for member in &members {
        upkeep::until_well(&etcd, &member.host(), &mut |_| {})
            .await
            .map_err(|failure| anyhow::anyhow!(failure.text))?;
    }
    let order = leader_last(&etcd, &members).await?;
    let confirmed = Arc::new(Confirmed::default());
    let mut writers = Vec::new();
    for member in &members {
        writers.push(tokio::spawn(write(member.client().await?, member.host(), Arc::clone(&confirmed))));
    }
    // Every client has a connection and has written before anything is held up.
    while confirmed.number() < 100 {
        tokio::time::sleep(PACE).await;
    }
    confirmed.forget();
    let began = Instant::now();
    for host in order {
        let done = upkeep::defragment(&etcd, &host, &mut |_| {}).await;
        done.map_err(|failure| anyhow::anyhow!(failure.text))?;
    }
    let took = began.elapsed();
    let gap = confirmed.longest();
    writers.iter().for_each(tokio::task::JoinHandle::abort);
    ensure!(confirmed.number() > 200, "clients hardly wrote");
    Ok(Found { gap, took })
}

async fn leader_last(etcd: &dyn EtcdApi, members: &[Member]) -> Result<Vec<HostName>> {
    let facts = etcd.observe().await?;
    let leader = View::of(&facts).leader();
    let leads = |host: &HostName| facts.member_on(host).map(|member| member.id) == leader;
    let mut hosts: Vec<HostName> = members.iter().map(Member::host).collect();
    hosts.sort_by_key(leads);
    Ok(hosts)
}

async fn write(mut client: Client, host: HostName, confirmed: Arc<Confirmed>) {
    let key = format!("/registry/events/default/{host}");
    loop {
        if client.put(key.clone(), "x", None).await.is_ok() {
            confirmed.one();
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Writes that were confirmed, whoever's.
#[derive(Default)]
struct Confirmed(Mutex<State>);

#[derive(Default)]
struct State {
    number: usize,
    last: Option<Instant>,
    longest: Duration,
}

impl Confirmed {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn one(&self) {
        let mut state = self.state();
        let now = Instant::now();
        if let Some(last) = state.last.replace(now) {
            state.longest = state.longest.max(now - last);
        }
        state.number += 1;
    }

    fn number(&self) -> usize {
        self.state().number
    }

    /// Gaps before now do not count.
    fn forget(&self) {
        let mut state = self.state();
        state.longest = Duration::ZERO;
        state.last = Some(Instant::now());
    }

    fn longest(&self) -> Duration {
        let state = self.state();
        state.longest.max(state.last.map(|last| last.elapsed()).unwrap_or_default())
    }
}
