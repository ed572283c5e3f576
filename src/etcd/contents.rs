//! What members hold: their hashes at a revision, and the whole of it as a snapshot.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Client, SnapshotStreaming};
use futures::future::join_all;
use kubewright_core::etcd::agreement::{Agreement, agreement, common_revision};
use kubewright_core::facts::etcd::{ContentHash, EtcdFacts, Hashes, Sight};
use kubewright_core::ids::HostName;

use super::endpoint::Endpoint;
use super::fault::from_client;
use crate::ports::{ConnectionFault, ETCD_AGAIN, EtcdApi, EtcdError, EtcdFault, SnapshotStream};

/// Time for HashKV. A member reads its whole database for it, at half a gigabyte a second and more: 8 GiB, etcd's advised limit,
/// on a machine that has other work too.
const HASH: Duration = Duration::from_secs(30);

/// How long a snapshot may stand still. Its pieces of 32 KiB come without a pause from a member whose disk answers.
const STANDSTILL: Duration = Duration::from_secs(20);

/// How often members are asked again whose answers could not be compared: right after a compaction, or while one applies what
/// the others have.
const TRIES: usize = 3;

/// Compares what all members hold who answered; none where nobody did.
pub async fn compare(etcd: &dyn EtcdApi, facts: &EtcdFacts) -> Option<Agreement> {
    let revision = common_revision(facts)?;
    let mut tries = TRIES;
    loop {
        let answers = ask(etcd, facts, revision).await;
        let compared = agreement(facts, revision, &answers);
        tries -= 1;
        if tries == 0 || !compared.is_worth_another_try(&answers) {
            return Some(compared);
        }
        tokio::time::sleep(ETCD_AGAIN).await;
    }
}

/// What the members say that answered when they were looked at; who gave no answer then is not waited for again.
pub async fn ask(etcd: &dyn EtcdApi, facts: &EtcdFacts, revision: i64) -> Hashes {
    let answers = |id| matches!(facts.sights.get(id), Some(Sight::Answers(answer)) if answer.cluster == facts.cluster);
    let asked: BTreeMap<_, _> = facts.hosts.iter().filter(|(id, _)| answers(id)).collect();
    let hosts: Vec<HostName> = asked.values().map(|host| (*host).clone()).collect();
    let mut said = etcd.hashes(&hosts, revision).await;
    let told = |host: &HostName, said: &mut BTreeMap<HostName, Result<ContentHash, EtcdError>>| {
        said.remove(host)
            .unwrap_or_else(|| Err(EtcdError::new(EtcdFault::Invalid, "ask for HashKV", "no such endpoint")))
    };
    asked.into_iter().map(|(id, host)| (*id, told(host, &mut said).map_err(|error| error.said))).collect()
}

/// HashKV of the members at these hosts.
pub(super) async fn hashes(
    endpoints: &[Endpoint],
    hosts: &[HostName],
    revision: i64,
) -> BTreeMap<HostName, Result<ContentHash, EtcdError>> {
    let asked = endpoints.iter().filter(|endpoint| hosts.contains(endpoint.host())).map(|endpoint| async move {
        let call = |mut client: Client| async move { client.hash_kv(revision).await };
        let said = endpoint.ask("ask for HashKV", HASH, call).await;
        let hash = |said: etcd_client::HashKvResponse| ContentHash {
            // Told from etcd 3.6 on; before, it is what was asked for.
            revision: if said.hash_revision() > 0 { said.hash_revision() } else { revision },
            compact_revision: said.compact_version(),
            hash: said.hash(),
        };
        (endpoint.host().clone(), said.map(hash))
    });
    join_all(asked).await.into_iter().collect()
}

/// Begins a snapshot, on a connection of its own.
pub(super) async fn receive(endpoints: &[Endpoint], host: &HostName) -> Result<Box<dyn SnapshotStream>, EtcdError> {
    const DOING: &str = "begin a snapshot";
    let endpoint = endpoints.iter().find(|endpoint| endpoint.host() == host);
    let endpoint = endpoint
        .ok_or_else(|| EtcdError::new(EtcdFault::Invalid, DOING, format!("{host} is no host with role etcd")))?;
    let endpoint = endpoint.apart();
    let stream = endpoint.ask(DOING, STANDSTILL, |mut client: Client| async move { client.snapshot().await }).await?;
    Ok(Box::new(Receiving { stream, endpoint }))
}

struct Receiving {
    stream: SnapshotStreaming,
    // Its tunnel ends with it.
    endpoint: Endpoint,
}

#[async_trait]
impl SnapshotStream for Receiving {
    async fn next(&mut self, into: &mut Vec<u8>) -> Result<Option<u64>, EtcdError> {
        const DOING: &str = "receive a snapshot";
        match tokio::time::timeout(STANDSTILL, self.stream.message()).await {
            Ok(Ok(Some(piece))) => {
                into.extend_from_slice(piece.blob());
                Ok(Some(piece.remaining_bytes()))
            }
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(from_client(DOING, error).at(self.endpoint.host())),
            Err(_) => {
                let said = format!("nothing came for {} s", STANDSTILL.as_secs());
                Err(self.endpoint.failed(EtcdFault::Connection(ConnectionFault::Timeout), DOING, said))
            }
        }
    }
}
