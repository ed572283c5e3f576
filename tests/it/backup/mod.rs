//! Copies of etcd: taken from members in memory that hold what a real etcd wrote, with everything that may go wrong on the way. From
//! real members they are taken in `etcd/backup.rs`.

mod bucket;
mod keys;
mod pages;
mod tmpfs;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use kubewright::backup::companions::{Companions, of_hosts};
use kubewright::backup::{Doing, Order, Taken, prune, take};
use kubewright::error::{Error, ErrorKind};
use kubewright::etcd::fake::{FakeEtcd, Health};
use kubewright::host::fake::FakeHosts;
use kubewright::ports::{EtcdApi, SystemClock};
use kubewright::store::copies::Copies;
use kubewright_core::etcd::address::StoreAddress;
use kubewright_core::etcd::attest::Verdict;
use kubewright_core::facts::HostRecord;
use kubewright_core::ids::HostName;
use kubewright_core::spec::{Compression, Role};
use kubewright_snapshot::{Snapshot, SnapshotFile};
use sha2::{Digest, Sha256};

use self::tmpfs::Tmpfs;

/// A snapshot that a real etcd wrote.
pub fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("snapshot/tests/golden/{name}.db.gz"));
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes
}

/// What a member sends whose disk changed a value behind its back: everything is right with it, its digest too.
pub fn damaged() -> Vec<u8> {
    let mut bytes = golden("etcd-3.6-history");
    let end = bytes.len() - 32;
    let at = bytes.windows(12).rposition(|window| window == b"coredns core").unwrap();
    bytes[at] ^= 1;
    let digest = Sha256::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&digest);
    bytes
}

/// Three members that hold the same, and a folder.
struct Setting {
    etcd: FakeEtcd,
    home: tempfile::TempDir,
    told: Mutex<Vec<Doing>>,
}

impl Setting {
    fn new() -> Self {
        let etcd = FakeEtcd::new(["cp1", "cp2", "cp3"]);
        for host in ["cp1", "cp2", "cp3"] {
            etcd.hold(host, golden("etcd-3.6-history"));
        }
        Self { etcd, home: tempfile::tempdir().unwrap(), told: Mutex::default() }
    }

    fn copies(&self) -> Copies {
        Copies::in_folder(self.home.path(), "lab").unwrap()
    }

    async fn take(&self, from: Option<&str>) -> Result<Taken, Error> {
        self.take_into(&self.copies(), from, &|doing| self.told.lock().unwrap().push(doing.clone())).await
    }

    async fn take_into(
        &self,
        copies: &Copies,
        from: Option<&str>,
        progress: &(dyn Fn(&Doing) + Sync),
    ) -> Result<Taken, Error> {
        self.take_as(copies, from, Compression::None, progress).await
    }

    async fn take_as(
        &self,
        copies: &Copies,
        from: Option<&str>,
        compress: Compression,
        progress: &(dyn Fn(&Doing) + Sync),
    ) -> Result<Taken, Error> {
        let facts = self.etcd.observe().await.unwrap();
        let from = from.map(HostName::from);
        let order = Order {
            cluster: "lab",
            etcd: &self.etcd,
            from: from.as_ref(),
            copies,
            compress,
            clock: &SystemClock,
            progress,
        };
        take(order, &facts, async { Companions::default() }).await
    }

    /// Who was asked for a snapshot.
    fn asked(&self) -> Vec<String> {
        self.etcd.calls()
    }

    fn left(&self) -> Vec<String> {
        let entries = self.copies().workbench().read_dir().unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }
}

/// The folder of a copy in a folder.
pub fn folder(taken: &Taken) -> PathBuf {
    match &taken.place {
        StoreAddress::Folder(path) => path.into(),
        StoreAddress::Bucket { .. } => panic!("{} is no folder", taken.place),
    }
}

fn codes(taken: &Taken) -> Vec<&str> {
    taken.findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[tokio::test]
async fn a_copy_is_whole_proved_and_named() {
    let setting = Setting::new();
    let taken = setting.take(None).await.unwrap();
    assert_eq!(setting.asked(), ["snapshot cp2"], "a follower, and nobody else");
    let manifest = &taken.manifest;
    assert_eq!((manifest.attestation.verdict, manifest.attestation.agree.len()), (Verdict::Majority, 3));
    assert_eq!((codes(&taken), manifest.with_quorum, manifest.from.led), (vec![], true, false));
    let file = folder(&taken).join("etcd.snap");
    let bytes = fs::read(&file).unwrap();
    assert_eq!(bytes, golden("etcd-3.6-history"));
    let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((&manifest.file.sha256, manifest.file.bytes), (&sum, bytes.len() as u64));
    let survey = Snapshot::open(SnapshotFile::open(&file).unwrap()).unwrap().verify().survey.unwrap();
    assert_eq!((manifest.contents.revision, manifest.contents.hash_kv), (survey.revision, survey.hash_kv.hash));
    assert_eq!(manifest.contents.storage_version.as_deref(), Some("3.6"));
    // It holds every secret there is.
    for (path, mode) in [(folder(&taken), 0o700), (file, 0o600), (folder(&taken).join("manifest.json"), 0o600)] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode, "{}", path.display());
    }
    let read = setting.copies().list().await.unwrap();
    assert_eq!(read.manifests.into_iter().map(|(_, manifest)| manifest).collect::<Vec<_>>(), [taken.manifest]);
    let told = setting.told.lock().unwrap().clone();
    assert!(matches!(&told[0], Doing::Receiving { done, all, .. } if done <= all), "{told:?}");
    assert_eq!(told[told.len() - 2..], [Doing::Checking, Doing::Attesting]);
}

#[tokio::test]
async fn a_damaged_member_is_caught_and_another_one_taken() {
    let setting = Setting::new();
    setting.etcd.hold("cp2", damaged());
    let taken = setting.take(None).await.unwrap();
    assert_eq!(setting.asked(), ["snapshot cp2", "snapshot cp3"]);
    assert_eq!((taken.manifest.attestation.verdict, codes(&taken)), (Verdict::Majority, vec!["SAVE001"]));
    assert_eq!(fs::read(folder(&taken).join("etcd.snap")).unwrap(), golden("etcd-3.6-history"));
    assert!(taken.findings[0].text.contains("its member of etcd is damaged"), "{:?}", taken.findings);
    assert_eq!(setting.left().len(), 1, "its copy was thrown away");

    let error = setting.take(Some("cp2")).await.unwrap_err();
    assert_eq!((error.kind(), error.parts().code), (ErrorKind::Failed, "SAVE"));
    assert!(error.parts().lines[0].contains("holds other content than cp1, cp3"), "{:?}", error.parts().lines);
    assert_eq!(setting.left().len(), 1);
}

#[tokio::test]
async fn without_a_majority_the_best_survivor_is_saved_and_said_to_be_unproved() {
    let setting = Setting::new();
    setting.etcd.set("cp1", Health::Down);
    setting.etcd.set("cp3", Health::Silent);
    setting.etcd.set("cp2", Health::Well);
    // cp3 is connected to cp2, so only cp1 is really away; once it is away too nobody decides.
    setting.etcd.set("cp3", Health::Down);
    let taken = setting.take(None).await.unwrap();
    assert_eq!((setting.asked(), taken.manifest.with_quorum), (vec!["snapshot cp2".to_owned()], false));
    assert_eq!((taken.manifest.attestation.verdict, codes(&taken)), (Verdict::Part, vec!["SAVE002"]));
    assert!(taken.findings[0].text.contains("1 of 3 voters") && taken.findings[0].text.contains("best survivor"));
    let error = setting.take(Some("cp1")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Blocked);
    assert!(error.to_string().contains("the member on cp1 does not run"), "{error}");
}

#[tokio::test]
async fn two_survivors_that_differ_are_both_suspect() {
    let setting = Setting::new();
    setting.etcd.set("cp3", Health::Down);
    setting.etcd.hold("cp2", damaged());
    let taken = setting.take(None).await.unwrap();
    assert_eq!((taken.manifest.attestation.verdict, codes(&taken)), (Verdict::Disputed, vec!["SAVE003"]));
    assert!(!taken.manifest.attestation.is_proved());
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_nothing_and_the_next_member_is_asked() {
    let setting = Setting::new();
    setting.etcd.break_at("cp2", 64 << 10);
    let taken = setting.take(None).await.unwrap();
    assert_eq!(setting.asked(), ["snapshot cp2", "snapshot cp3"]);
    assert_eq!(codes(&taken), ["SAVE004"]);
    assert_eq!(setting.left().len(), 1);
    for host in ["cp1", "cp3"] {
        setting.etcd.break_at(host, 0);
    }
    let error = setting.take(None).await.unwrap_err();
    assert_eq!((error.kind(), error.parts().lines.len()), (ErrorKind::Failed, 3));
    assert_eq!(setting.left().len(), 1, "the earlier copy is as it was, and no half one is there");
}

#[tokio::test]
async fn what_is_cut_or_changed_on_the_way_is_never_kept() {
    let whole = golden("etcd-3.6-history");
    // The digest of the value as it was, and the value as it is.
    let flipped = [&damaged()[..whole.len() - 32], &whole[whole.len() - 32..]].concat();
    for (what, bytes) in [
        ("cut in the middle", whole[..70_000].to_vec()),
        ("cut before its digest", whole[..whole.len() - 32].to_vec()),
        ("a bit flipped", flipped),
        ("nothing at all", Vec::new()),
        ("something else", b"kind: Cluster\n".repeat(100)),
    ] {
        let setting = Setting::new();
        for host in ["cp1", "cp2", "cp3"] {
            setting.etcd.hold(host, bytes.clone());
        }
        let error = setting.take(None).await.unwrap_err();
        assert_eq!((error.kind(), error.parts().lines.len()), (ErrorKind::Failed, 3), "{what}: {error}");
        assert_eq!(setting.left(), Vec::<String>::new(), "{what}");
        // Two members that hold something else are a majority.
        if what == "a bit flipped" {
            continue;
        }
        // One good member is enough to have one.
        setting.etcd.hold("cp1", whole.clone());
        let taken = setting.take(None).await.unwrap();
        assert_eq!(taken.manifest.from.name, "cp1", "{what}");
        // What two of them sent was bad; of these, only one can still tell what it holds.
        let held_is_good = what == "cut before its digest";
        assert_eq!(taken.manifest.attestation.is_proved(), held_is_good, "{what}");
    }
}

#[tokio::test]
async fn a_store_that_goes_away_is_a_clear_error() {
    let setting = Setting::new();
    let copies = setting.copies();
    let gone = |doing: &Doing| {
        if *doing == Doing::Checking {
            fs::rename(setting.home.path(), setting.home.path().with_extension("away")).unwrap();
        }
    };
    let error = setting.take_into(&copies, None, &gone).await.unwrap_err();
    assert_eq!((error.kind(), error.parts().code), (ErrorKind::Failed, "STORE"));
    assert!(error.parts().likely.as_ref().unwrap().contains("taken away"), "{:?}", error.parts());
    fs::remove_dir_all(setting.home.path().with_extension("away")).unwrap();
}

#[tokio::test]
async fn a_full_disk_is_a_clear_error_and_nothing_half_is_left() {
    let setting = Setting::new();
    // What the members say of their size does not fit.
    let Some(small) = Tmpfs::mount("2m") else { return };
    let copies = Copies::in_folder(small.path(), "lab").unwrap();
    let error = setting.take_into(&copies, None, &|_| {}).await.unwrap_err();
    assert_eq!((error.kind(), error.parts().code), (ErrorKind::Blocked, "STORE"));
    assert!(error.to_string().contains("2 MB free, 38 MB are needed"), "{error}");
    assert_eq!(setting.asked(), Vec::<String>::new(), "nobody was asked for anything");

    // Somebody else takes the room meanwhile.
    let Some(filled) = Tmpfs::mount("48m") else { return };
    let copies = Copies::in_folder(filled.path(), "lab").unwrap();
    let fill = |doing: &Doing| {
        if matches!(doing, Doing::Receiving { .. }) {
            fs::write(filled.path().join("filler"), vec![1; 60 << 20]).ok();
        }
    };
    let error = setting.take_into(&copies, None, &fill).await.unwrap_err();
    assert_eq!((error.kind(), error.parts().code), (ErrorKind::Failed, "STORE"));
    assert!(error.to_string().contains("No space left on device"), "{error}");
    assert!(error.parts().next[0].contains("--to"), "{:?}", error.parts());
    assert_eq!(copies.workbench().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn what_a_killed_run_left_is_cleared_and_what_runs_is_not() {
    let setting = Setting::new();
    let copies = setting.copies();
    let running = copies.begin().unwrap();
    let dead = copies.workbench().join(".taking-dead");
    fs::create_dir(&dead).unwrap();
    fs::write(dead.join("lock"), "").unwrap();
    fs::write(dead.join("etcd.snap"), "half").unwrap();
    setting.take(None).await.unwrap();
    assert!(!dead.exists() && running.snapshot().parent().unwrap().exists());
    drop(running);
    assert_eq!(setting.left().len(), 1);
}

#[tokio::test]
async fn old_copies_go_and_the_last_proved_one_stays() {
    let setting = Setting::new();
    let proved = setting.take(None).await.unwrap();
    setting.etcd.set("cp2", Health::Down);
    setting.etcd.set("cp3", Health::Down);
    let mut last = None;
    for _ in 0..3 {
        last = Some(setting.take(None).await.unwrap());
    }
    let copies = setting.copies();
    fs::create_dir(copies.workbench().join("by-hand")).unwrap();
    let (removed, findings) = prune(&copies, NonZeroUsize::MIN).await.unwrap();
    assert_eq!(removed.len(), 2, "two of the three that nobody attests");
    assert_eq!(findings.iter().map(|finding| finding.code.as_str()).collect::<Vec<_>>(), ["SAVE008"]);
    assert!(folder(&proved).join("manifest.json").exists() && folder(&last.unwrap()).exists());
    assert!(copies.workbench().join("by-hand").exists());
    assert_eq!(prune(&copies, NonZeroUsize::MIN).await.unwrap().0, Vec::<String>::new());
}

#[tokio::test]
async fn manifests_and_fingerprints_are_read_from_the_hosts() {
    let hosts = FakeHosts::new(["cp1", "cp2", "cp3"]);
    let pod = |name: &str| format!("/etc/kubernetes/manifests/{name}.yaml");
    for host in ["cp1", "cp2"] {
        let record = HostRecord {
            cluster: "lab".to_owned(),
            operation: "7f3a9c".into(),
            roles: vec![Role::ControlPlane, Role::Etcd],
            settled: true,
        };
        let record = serde_json::to_string(&record).unwrap();
        hosts.put_file(host, HostRecord::PATH, 0o600, record);
        hosts.put_file(host, &pod("etcd"), 0o600, format!("etcd of {host}"));
        hosts.put_file(host, "/etc/kubernetes/pki/sa.pub", 0o600, "a public key");
    }
    let api_server = "- --encryption-provider-config=/etc/kubernetes/enc.yaml\n";
    hosts.put_file("cp1", &pod("kube-apiserver"), 0o600, api_server);
    hosts.put_file("cp1", "/etc/kubernetes/enc.yaml", 0o600, "a secret");
    let found = of_hosts(&hosts, "lab", &["cp1".into(), "cp2".into(), "cp3".into()], None).await;
    let names: Vec<&str> = found.files.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["companions/cp1/etcd.yaml", "companions/cp1/kube-apiserver.yaml", "companions/cp2/etcd.yaml"],
        "{found:?}"
    );
    let digest = |text: &str| Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(found.keys.service_account, Some(format!("sha256:{}", digest("a public key"))));
    assert_eq!(found.keys.encryption_configuration, Some(format!("sha256:{}", digest("a secret"))));
    assert_eq!(found.missing, ["manifests of cp3: it does not say that it belongs to lab"]);
    assert!(!found.files.values().any(|bytes| bytes.windows(8).any(|window| window == b"a secret")));
    let empty: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    assert_eq!(
        of_hosts(&hosts, "another", &["cp1".into()], None).await.files,
        empty,
        "of another cluster nothing is taken"
    );
}
