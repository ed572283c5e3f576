//! Files that real etcd of each minor wrote, and what it said of them (`xtask golden-snapshots` makes both).

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use kubewright_snapshot::{Error, Fault, HashKv, MemberId, Report, Snapshot, Version};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The bytes of one of them, such as `etcd-3.6-history`.
pub fn bytes(name: &str) -> Vec<u8> {
    let packed = fs::read(folder().join(name).with_added_extension("db.gz")).unwrap();
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// All of them with what etcd said.
fn all() -> Vec<(String, Vec<u8>, Value)> {
    let names = folder().read_dir().unwrap().map(|entry| entry.unwrap().path());
    let facts = names.filter(|path| path.extension().is_some_and(|end| end == "json"));
    let all: Vec<_> = facts
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let said = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            (name.clone(), bytes(&name), said)
        })
        .collect();
    assert_eq!(all.len(), 12, "four of each minor");
    all
}

fn verify(bytes: &[u8]) -> Report {
    Snapshot::open(bytes).unwrap().verify()
}

#[test]
fn they_are_whole_and_say_what_etcd_says() {
    for (name, bytes, said) in all() {
        let report = verify(&bytes);
        let survey = report.survey.as_ref().unwrap_or_else(|| panic!("{name}: {:?}", report.faults));
        let status = &said["status"];
        assert_eq!(survey.status_hash, status["hash"], "{name}");
        assert_eq!(survey.revision, status["revision"], "{name}");
        assert_eq!(report.size - 32, status["totalSize"], "{name}");
        assert_eq!(report.digest.as_ref().unwrap().is_right(), Some(true), "{name}");
        assert_eq!(survey.keys, said["keys"].as_u64().unwrap(), "{name}");
        assert_eq!(survey.state.leases, said["leases"], "{name}");
        match status["version"].as_str() {
            // Keys that exist, with the nameless one of a bumped revision.
            Some(version) => {
                let nameless = u64::from(name.ends_with("restored"));
                assert_eq!(survey.keys + nameless, status["totalKey"].as_u64().unwrap(), "{name}");
                assert_eq!(survey.state.storage_version(), Version::parse(version), "{name}");
            }
            None => {
                assert_eq!(survey.entries, status["totalKey"], "{name}");
                let expected = survey.state.term.map(|_| Version { major: 3, minor: 5 });
                assert_eq!(survey.state.storage_version(), expected, "{name}");
            }
        }
    }
}

#[test]
fn members_and_alarms_are_those_of_the_cluster() {
    for (name, bytes, said) in all() {
        let report = verify(&bytes);
        let state = &report.survey.as_ref().unwrap().state;
        let members: Vec<(u64, &str)> =
            state.members.iter().map(|member| (member.id.0, member.name.as_str())).collect();
        let listed = said["members"].as_array().unwrap().iter();
        let listed: Vec<_> =
            listed.map(|member| (member["ID"].as_u64().unwrap(), member["name"].as_str().unwrap())).collect();
        assert_eq!(members, listed, "{name}");
        assert_eq!(
            state.removed_members.len(),
            usize::from(name.ends_with("history") || name.ends_with("compacted")),
            "{name}"
        );
        assert_eq!(state.zombies(), [], "{name}");
        assert_eq!(state.auth.users, u64::from(!name.ends_with("nospace")), "{name}");
        assert!(!state.auth.enabled);
        let faults: Vec<String> = report.faults.iter().map(ToString::to_string).collect();
        if name.ends_with("nospace") {
            let member = MemberId(said["alarms"][0]["memberID"].as_u64().unwrap());
            assert_eq!(faults, [format!("it holds alarms: NOSPACE of member {member}")], "{name}");
            assert!(!report.is_damaged());
        } else {
            assert_eq!(faults, [""; 0], "{name}");
        }
    }
}

#[test]
fn hash_kv_is_etcds_at_every_revision() {
    let mut compared = 0;
    for (name, bytes, said) in all() {
        let snapshot = Snapshot::open(bytes.as_slice()).unwrap();
        let newest = snapshot.verify().survey.unwrap().hash_kv;
        for answer in said["hashKv"].as_array().unwrap() {
            let number = |field: &str| answer[field].as_i64().unwrap();
            let asked = Some(number("asked")).filter(|revision| *revision > 0);
            let expected = HashKv {
                hash: number("hash").try_into().unwrap(),
                revision: asked.unwrap_or(number("current")),
                compact_revision: number("compactRevision"),
            };
            assert_eq!(snapshot.hash_kv(asked), Ok(expected), "{name}");
            if asked.is_none() {
                assert_eq!(newest, expected, "{name}: verify computes the same");
            }
            compared += 1;
        }
    }
    assert!(compared >= 30, "only {compared}");
}

#[test]
fn revisions_that_are_gone_or_not_there_are_told() {
    let snapshot = Snapshot::open(bytes("etcd-3.6-compacted")).unwrap();
    let Error::Compacted { revision: 2, compact_revision } = snapshot.hash_kv(Some(2)).unwrap_err() else { panic!() };
    assert!(snapshot.hash_kv(Some(compact_revision)).is_ok(), "as the server, which answers from there on");
    let Error::Future { revision: 999, current } = snapshot.hash_kv(Some(999)).unwrap_err() else { panic!() };
    assert_eq!(snapshot.hash_kv(Some(current)), snapshot.hash_kv(None));
}

#[test]
fn a_server_that_is_too_old_is_told() {
    for (name, server, too_new) in [
        ("etcd-3.7-history", "3.6.14", true),
        ("etcd-3.7-history", "3.7.0", false),
        ("etcd-3.6-history", "3.5.30", true),
    ] {
        let report = verify(&bytes(name)).for_server(Version::parse(server).unwrap());
        let found = matches!(report.faults.as_slice(), [Fault::TooNew { .. }]);
        assert_eq!((found, report.is_damaged()), (too_new, false), "{name} for {server}");
    }
    let report = verify(&bytes("etcd-3.7-history")).for_server(Version { major: 3, minor: 6 });
    let words = "its storage version is 3.7, and etcd 3.6 does not start on it";
    assert_eq!(report.faults[0].to_string(), words);
}

#[test]
fn what_etcdutl_restores_says_what_was_restored() {
    // The same keys, a bumped revision, history that begins there.
    let (before, after) = (verify(&bytes("etcd-3.6-compacted")), verify(&bytes("etcd-3.6-restored")));
    let (before, after) = (before.survey.unwrap(), after.survey.unwrap());
    assert_eq!(after.revision, before.revision + 1_000_000 + 2, "two changes were made since");
    assert_eq!(after.compact_revision, Some(before.revision + 1_000_000));
    assert_eq!(after.keys, before.keys - 1, "one was deleted since");
}
