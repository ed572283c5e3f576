//! Copies in a bucket of an S3 server that checks signatures and sums, with everything that may go wrong on the way there.

use kubewright::backup::reading::{self, Unopened};
use kubewright::store::copies::{CopiesFault, Listed};
use kubewright_core::etcd::address::StoreAddress;
use kubewright_core::spec::Compression;

use super::*;
use crate::s3::{Fault, KEY, S3Server, SECRET};

const BUCKET: &str = "backups";

fn store() -> StoreAddress {
    format!("s3://{BUCKET}/etcd/prod").parse().unwrap()
}

/// Three members that hold the same, and a bucket.
struct Far {
    near: Setting,
    server: S3Server,
}

impl Far {
    fn new() -> Self {
        Self { near: Setting::new(), server: S3Server::start(BUCKET) }
    }

    async fn copies(&self) -> Copies {
        Copies::open(&store(), "lab", self.near.home.path(), &self.server.access()).await.unwrap()
    }

    async fn take(&self, copies: &Copies, compress: Compression) -> Result<Taken, Error> {
        self.near.take_as(copies, None, compress, &|doing| self.near.told.lock().unwrap().push(doing.clone())).await
    }

    async fn listed(&self) -> Listed {
        Copies::look(&store(), "lab", &self.server.access()).await.unwrap()
    }

    /// Nothing of a copy that was given up is left, here or there.
    fn nothing_is_left(&self, what: &str) {
        assert_eq!(self.server.objects(BUCKET), (Vec::new(), 0), "{what}");
        assert_eq!(self.near.left(), Vec::<String>::new(), "{what}");
    }
}

#[tokio::test]
async fn a_copy_comes_there_whole_and_its_manifest_last() {
    let far = Far::new();
    for compress in [Compression::None, Compression::Zstd] {
        let copies = far.copies().await;
        far.server.asked();
        let taken = far.take(&copies, compress).await.unwrap();
        let puts: Vec<String> = far.server.asked().into_iter().filter(|asked| !asked.starts_with("GET")).collect();
        assert!(puts.last().unwrap().ends_with("/manifest.json"), "{puts:#?}");
        assert!(taken.place.to_string().starts_with("s3://backups/etcd/prod/lab/20"), "{}", taken.place);
        let access = far.server.access();
        let opened = reading::open(&taken.place, &access).await.unwrap();
        assert_eq!(opened.manifest.as_ref(), Some(&taken.manifest));
        let report = Snapshot::open(opened.file).unwrap().verify();
        assert_eq!((report.faults, report.size), (vec![], golden("etcd-3.6-history").len() as u64));
        let file = taken.place.below(&taken.manifest.file.name);
        assert_eq!(reading::open(&file, &access).await.unwrap().manifest, Some(taken.manifest.clone()));
        assert_eq!(taken.manifest.file.name.ends_with(".zst"), compress == Compression::Zstd);
        let listed = far.listed().await;
        assert_eq!(listed.unreadable, []);
        assert!(listed.manifests.iter().any(|(_, manifest)| *manifest == taken.manifest));
    }
    assert_eq!(far.near.left(), Vec::<String>::new(), "what was made here has gone there");
    let told = far.near.told.lock().unwrap().clone();
    assert!(matches!(told.last(), Some(Doing::Sending { done, all }) if done == all), "{told:?}");
    assert!(told.iter().any(|doing| matches!(doing, Doing::Packing { done, all } if done == all)), "{told:?}");
}

#[tokio::test]
async fn large_snapshots_go_in_parts() {
    let far = Far::new();
    // A database of 20 MB, as an etcd after many deletions has it: pages that are free.
    let bytes = grown(20 << 20);
    for host in ["cp1", "cp2", "cp3"] {
        far.near.etcd.hold(host, bytes.clone());
    }
    let copies = far.copies().await;
    far.server.asked();
    let taken = far.take(&copies, Compression::None).await.unwrap();
    let parts = far.server.asked().into_iter().filter(|asked| asked.contains("partNumber=")).count();
    assert_eq!(parts, bytes.len().div_ceil(8 << 20));
    let file = taken.place.below("etcd.snap").to_string();
    let there = far.server.object(BUCKET, file.strip_prefix("s3://backups/").unwrap());
    assert_eq!(fs::read(there).unwrap(), bytes);

    // One part changes on the way: the server keeps none of it, and says so.
    far.server.misbehave(|asked| asked.contains("partNumber=2").then_some(Fault::Flips));
    let error = far.take(&copies, Compression::None).await.unwrap_err();
    assert_eq!((error.kind(), error.parts().code), (ErrorKind::Failed, "STORE"), "{error}");
    assert_eq!((far.listed().await.manifests.len(), far.server.objects(BUCKET).1), (1, 0), "{error}");
}

/// A snapshot with free pages at its end: the database's own count of pages is raised, which is what a server leaves that had more.
fn grown(bytes: usize) -> Vec<u8> {
    let whole = golden("etcd-3.6-history");
    let mut pages = whole[..whole.len() - 32].to_vec();
    pages.resize(bytes, 0);
    let digest = Sha256::digest(&pages);
    pages.extend_from_slice(&digest);
    pages
}

#[tokio::test]
async fn what_breaks_on_the_way_leaves_nothing() {
    /// Which requests, and what becomes of them.
    type Case = (&'static str, fn(&str) -> bool, Fault, &'static str);
    let cases: [Case; 6] = [
        (
            "gone at the first byte",
            |asked| asked.starts_with("POST") && asked.ends_with("uploads="),
            Fault::Goes,
            "taken away",
        ),
        ("gone in the middle", |asked| asked.contains("partNumber="), Fault::Goes, "taken away"),
        (
            "full in the middle",
            |asked| asked.contains("partNumber="),
            Fault::Answers(507, "XMinioStorageFull"),
            "XMinioStorageFull",
        ),
        (
            "full at the end",
            |asked| asked.starts_with("POST") && asked.contains("uploadId="),
            Fault::Answers(507, "XMinioStorageFull"),
            "XMinioStorageFull",
        ),
        (
            "denied at the manifest",
            |asked| asked.starts_with("PUT") && asked.ends_with("manifest.json"),
            Fault::Answers(403, "AccessDenied"),
            "AccessDenied",
        ),
        ("changed on the way", |asked| asked.contains("partNumber="), Fault::Flips, "s3://"),
    ];
    for (what, which, fault, words) in cases {
        let far = Far::new();
        let copies = far.copies().await;
        far.server.misbehave(move |asked| which(asked).then_some(fault));
        let error = far.take(&copies, Compression::None).await.unwrap_err();
        assert_eq!((error.kind(), error.parts().code), (ErrorKind::Failed, "STORE"), "{what}: {error}");
        let told = format!("{error} {:?} {:?}", error.parts().likely, error.parts().safe_now);
        assert!(told.contains(words) && !told.contains(SECRET), "{what}: {told}");
        if matches!(fault, Fault::Goes) {
            // What is there has no manifest, which is what is said of it.
            assert_eq!(told.contains("counts as no copy"), what == "gone in the middle", "{what}: {told}");
            far.server.behave();
            assert_eq!(far.listed().await.manifests.len(), 0, "{what}");
            continue;
        }
        far.nothing_is_left(what);
        far.server.behave();
        far.take(&copies, Compression::None).await.unwrap();
        assert_eq!(far.listed().await.manifests.len(), 1, "{what}");
    }
}

/// Given up at each of its requests, as the server gets it: what is on its way then is carried out all the same, and goes with the rest.
#[tokio::test]
async fn what_is_given_up_is_taken_back() {
    let mut ends = 0;
    for cut in 0.. {
        let far = Far::new();
        for host in ["cp1", "cp2", "cp3"] {
            far.near.etcd.hold(host, grown(9 << 20));
        }
        let copies = far.copies().await;
        let (stop, mut stopped) = tokio::sync::watch::channel(false);
        let came = std::sync::atomic::AtomicUsize::new(0);
        far.server.misbehave(move |_| {
            if came.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == cut {
                stop.send_replace(true);
            }
            None
        });
        let whole = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => false,
            taken = far.take(&copies, Compression::None) => taken.map(|_| true).unwrap(),
        };
        far.server.behave();
        if whole {
            break;
        }
        assert_eq!(copies.give_up().await, None, "{cut}");
        far.nothing_is_left(&format!("given up at request {cut}"));
        ends = cut + 1;
    }
    assert!(ends >= 6, "an upload, two parts, their end, its size and the manifest: {ends}");
}

#[tokio::test]
async fn who_may_not_is_told_before_anything_begins() {
    let far = Far::new();
    let scratch = far.near.home.path();
    let open = async |address: &str, access| {
        Copies::open(&address.parse().unwrap(), "lab", scratch, &access).await.err().unwrap()
    };
    let error = open("s3://backups", far.server.access_as("AKIANOBODY", SECRET)).await;
    assert_eq!(error.fault, CopiesFault::Credentials, "{error}");
    let error = open("s3://backups", far.server.access_as(KEY, "guessed")).await;
    assert_eq!(error.fault, CopiesFault::Credentials, "{error}");
    assert!(error.hint().unwrap().contains("AWS_PROFILE"));
    far.server.misbehave(|asked| asked.starts_with("POST").then_some(Fault::Answers(403, "AccessDenied")));
    let error = open("s3://backups", far.server.access()).await;
    assert_eq!((error.fault, error.place.as_str()), (CopiesFault::Denied, "s3://backups/lab/trial"), "{error}");
    far.server.misbehave(|_| Some(Fault::Answers(404, "NoSuchBucket")));
    let error = open("s3://another", far.server.access()).await;
    assert_eq!(error.fault, CopiesFault::NoBucket, "{error}");
    far.server.behave();
    let told = Error::from(error);
    assert_eq!((told.kind(), told.exit_code() as u8), (ErrorKind::Blocked, 5));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut access = far.server.access();
    access.endpoint = Some(format!("http://{nobody}"));
    let began = std::time::Instant::now();
    let error = open("s3://backups", access).await;
    assert!(began.elapsed() < std::time::Duration::from_secs(40), "{:?}", began.elapsed());
    assert_eq!(error.fault, CopiesFault::Gone, "{error}");
    assert_eq!(far.near.asked(), Vec::<String>::new(), "no member was asked for anything");
}

#[tokio::test]
async fn old_copies_go_from_a_bucket_too_and_what_is_none_stays() {
    let far = Far::new();
    let copies = far.copies().await;
    let proved = far.take(&copies, Compression::None).await.unwrap();
    far.near.etcd.set("cp2", Health::Down);
    far.near.etcd.set("cp3", Health::Down);
    let mut last = None;
    for _ in 0..3 {
        last = Some(far.take(&copies, Compression::Zstd).await.unwrap());
    }
    let key = |taken: &Taken, file: &str| {
        let address = taken.place.below(file).to_string();
        far.server.object(BUCKET, address.strip_prefix("s3://backups/").unwrap())
    };
    // A copy whose snapshot was cut off behind its manifest's back, and something of somebody's.
    let broken = far.take(&copies, Compression::None).await.unwrap();
    fs::write(key(&broken, "etcd.snap"), "half").unwrap();
    let by_hand = far.server.object(BUCKET, "etcd/prod/lab/by-hand/etcd.snap");
    fs::create_dir_all(by_hand.parent().unwrap()).unwrap();
    fs::write(&by_hand, "mine").unwrap();
    let (removed, findings) = prune(&copies, NonZeroUsize::MIN).await.unwrap();
    assert_eq!(removed.len(), 2, "two of the three that nobody attests: {removed:?}");
    assert_eq!(findings.iter().map(|finding| finding.code.as_str()).collect::<Vec<_>>(), ["SAVE008", "SAVE008"]);
    let listed = far.listed().await;
    let names: Vec<&str> = listed.unreadable.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"by-hand") && names.len() == 2, "{:?}", listed.unreadable);
    assert!(key(&proved, "manifest.json").exists() && key(last.as_ref().unwrap(), "manifest.json").exists());
    assert!(by_hand.exists() && key(&broken, "manifest.json").exists());
    assert_eq!(prune(&copies, NonZeroUsize::MIN).await.unwrap().0, Vec::<String>::new());
}

#[tokio::test]
async fn a_packed_copy_that_is_damaged_is_never_read_as_whole() {
    let far = Far::new();
    let copies = far.copies().await;
    let taken = far.take(&copies, Compression::Zstd).await.unwrap();
    let address = taken.place.below("etcd.snap.zst").to_string();
    let object = far.server.object(BUCKET, address.strip_prefix("s3://backups/").unwrap());
    let whole = fs::read(&object).unwrap();
    fs::write(&object, &whole[..whole.len() / 2]).unwrap();
    let access = far.server.access();
    assert!(matches!(reading::open(&taken.place, &access).await, Err(Unopened::Damaged(_))));
    let gone: StoreAddress = "s3://backups/etcd/prod/lab/never".parse().unwrap();
    let Err(Unopened::Error(error)) = reading::open(&gone, &access).await else { panic!("it is not there") };
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    far.server.misbehave(|asked| asked.contains("etcd.snap.zst").then_some(Fault::Goes));
    let Err(Unopened::Error(error)) = reading::open(&taken.place, &access).await else { panic!("the server is gone") };
    assert_eq!((error.kind(), error.parts().code), (ErrorKind::Blocked, "STORE"), "{error}");
}
