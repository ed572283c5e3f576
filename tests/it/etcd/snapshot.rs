//! Snapshots taken from running members: HashKV of the file is what every member says, at every revision, whatever was
//! written, deleted and compacted.

use std::time::Duration;

use etcd_client::{Client, CompactionOptions, DeleteOptions, PutOptions, Txn, TxnOp};
use kubewright_snapshot::{HashKv, Snapshot};

use super::members::{self, Members};

/// So many keys that a compaction takes several of etcd's batches of 1000 rows, and can be seen half done.
const KEYS: i64 = 700;

/// The bytes of a snapshot of a member.
async fn save(client: &mut Client) -> Vec<u8> {
    let mut stream = client.snapshot().await.unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = stream.message().await.unwrap() {
        bytes.extend_from_slice(piece.blob());
    }
    bytes
}

/// What a member says.
async fn asked(client: &mut Client, revision: i64) -> HashKv {
    let said = client.hash_kv(revision).await.unwrap();
    let current = said.header().unwrap().revision();
    let revision = if revision == 0 { current } else { revision };
    HashKv { hash: said.hash(), revision, compact_revision: said.compact_version() }
}

async fn revision(client: &mut Client) -> i64 {
    client.get("nothing", None).await.unwrap().header().unwrap().revision()
}

/// Puts, changes, deletions of one and of many, transactions, leases.
async fn write(client: &mut Client, round: i64) {
    let lease = client.lease_grant(3600, None).await.unwrap().id();
    for number in 0..KEYS {
        let key = format!("/registry/pods/n{}/pod-{number}", number % 7);
        let value = format!("value {round} {number} ").repeat(1 + number as usize % 40);
        client.put(key, value, None).await.unwrap();
    }
    client.put("/registry/leased", "x", Some(PutOptions::new().with_lease(lease))).await.unwrap();
    for number in (0..KEYS).step_by(9) {
        client.delete(format!("/registry/pods/n{}/pod-{number}", number % 7), None).await.unwrap();
    }
    client.delete("/registry/pods/n3/pod-1", Some(DeleteOptions::new().with_prefix())).await.unwrap();
    let operations = [
        TxnOp::put("/registry/one", format!("{round}"), None),
        TxnOp::put("/registry/two", format!("{round}"), None),
        TxnOp::delete("/registry/pods/n2/pod-2", None),
    ];
    client.txn(Txn::new().and_then(operations)).await.unwrap();
}

/// All members, once they have come to this revision, and to this compaction.
async fn caught_up(members: &Members, revision: i64, compacted: i64) -> Vec<Client> {
    let mut clients = Vec::new();
    for number in 1..=3 {
        let mut client = members.client_of(number).await;
        // A member tells nobody when it has applied an entry.
        loop {
            let said = asked(&mut client, 0).await;
            if (said.revision, said.compact_revision) == (revision, compacted) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        clients.push(client);
    }
    clients
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_has_the_hash_that_the_members_say() {
    let Some(program) = members::program() else { return };
    let members = Members::start(program);
    let mut first = members.client_of(1).await;
    write(&mut first, 1).await;
    write(&mut first, 2).await;
    let newest = revision(&mut first).await;
    compare(&members, &[1, 2, 40, KEYS, newest / 2, newest - 1, newest], -1).await;

    // Just behind a deletion in the middle; what comes after it is written while nothing is waited for.
    let compacted = newest / 2;
    first.compact(compacted, Some(CompactionOptions::new().with_physical())).await.unwrap();
    compare(&members, &[compacted + 1, newest - 3, newest], compacted).await;
    write(&mut first, 3).await;
    let newest = revision(&mut first).await;
    compare(&members, &[compacted + 1, newest], compacted).await;

    // A file from before a compaction is hashed as if it had it too.
    let before = save(&mut first).await;
    let before = Snapshot::open(before.as_slice()).unwrap();
    assert_eq!(
        before.hash_kv_compacted(newest, compacted),
        before.hash_kv(Some(newest)),
        "its own compaction changes nothing"
    );
    first.compact(newest - 40, Some(CompactionOptions::new().with_physical())).await.unwrap();
    for mut client in caught_up(&members, newest, newest - 40).await {
        for revision in [newest - 39, newest - 1, newest] {
            assert_eq!(
                before.hash_kv_compacted(revision, newest - 40),
                Ok(asked(&mut client, revision).await),
                "at {revision}"
            );
        }
    }
    assert!(before.hash_kv_compacted(newest, compacted - 1).is_err(), "what is gone from the file cannot be hashed");
    assert!(before.hash_kv_compacted(newest - 1, newest).is_err(), "compacted beyond the revision");

    // Asked for and perhaps not done yet: what is about to go must not be in the hash.
    first.compact(newest - 2, None).await.unwrap();
    let early = save(&mut first).await;
    compare(&members, &[newest - 1, newest], newest - 2).await;
    let mut client = members.client_of(2).await;
    let survey = Snapshot::open(early).unwrap().verify().survey.unwrap();
    assert_eq!(survey.hash_kv, asked(&mut client, newest).await);
}

/// Takes a snapshot of every member and asks every member.
async fn compare(members: &Members, revisions: &[i64], compacted: i64) {
    let newest = *revisions.last().unwrap();
    let mut clients = caught_up(members, newest, compacted).await;
    let mut files = Vec::new();
    for client in &mut clients {
        files.push(save(client).await);
    }
    for bytes in &files {
        let snapshot = Snapshot::open(bytes.as_slice()).unwrap();
        let report = snapshot.verify();
        assert_eq!(report.faults, []);
        let survey = report.survey.unwrap();
        assert_eq!((survey.revision, survey.state.members.len()), (newest, 3));
        for client in &mut clients {
            assert_eq!(survey.hash_kv, asked(client, newest).await);
            for revision in revisions {
                let said = asked(client, *revision).await;
                assert_eq!(snapshot.hash_kv(Some(*revision)), Ok(said), "at {revision}");
            }
        }
        let count = clients[0].get("", Some(etcd_client::GetOptions::new().with_all_keys().with_count_only())).await;
        assert_eq!(survey.keys as i64, count.unwrap().count());
    }
}
