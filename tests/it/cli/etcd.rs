//! `kubewright etcd verify | ls | diff` on files that real etcd wrote, whole and damaged. None is ever touched.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::bench::{Bench, Told, json_lines};
use crate::s3::{KEY, S3Server, SECRET};

/// An empty folder with one of the golden snapshots under this name.
fn with(bench: &Bench, golden: &str, name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("snapshot/tests/golden/{golden}.db.gz"));
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bench.write(name, &bytes);
    bytes
}

/// Without what differs from run to run.
fn settled(told: &Told) -> String {
    let mut text = told.stdout.clone();
    while let Some(from) = text.find(" s)") {
        let begin = text[..from].rfind('(').unwrap();
        text.replace_range(begin..from + 3, "(TIME)");
    }
    text
}

#[test]
fn a_good_file_is_said_to_be_good_first() {
    let bench = Bench::new();
    let bytes = with(&bench, "etcd-3.6-compacted", "lab.snap");
    let told = bench.homeless(&["etcd", "verify", "lab.snap"]).ends(0);
    assert_eq!(told.stderr, "");
    assert!(told.stdout.starts_with("lab.snap is good: its digest is right and all "), "{}", told.stdout);
    let said: serde_json::Value =
        serde_json::from_str(include_str!("../../../snapshot/tests/golden/etcd-3.6-compacted.json")).unwrap();
    let hash = said["hashKv"].as_array().unwrap().last().unwrap();
    assert!(told.stdout.contains(&format!("HashKV      {} (", hash["hash"])), "{}", told.stdout);
    assert!(told.stdout.contains("default ("), "{}", told.stdout);
    let told = bench.run(&["etcd", "verify", "lab.snap", "--output", "json", "--revision", "44"]).ends(0);
    let line = &json_lines(&told.stdout)[0];
    assert_eq!((&line["event"], &line["verdict"], &line["exit"]), (&json!("verified"), &json!("good"), &json!(0)));
    assert_eq!(line["contents"]["statusHash"], said["status"]["hash"]);
    assert_eq!(line["contents"]["hashKv"]["hash"], hash["hash"]);
    assert_eq!(line["hashKvAt"]["hash"], said["hashKv"][0]["hash"]);
    assert_eq!(line["digest"]["stored"], line["digest"]["computed"]);
    assert_eq!(fs::read(bench.path("lab.snap")).unwrap(), bytes);
}

#[test]
fn what_is_damaged_is_named_with_its_place() {
    let bench = Bench::new();
    let good = with(&bench, "etcd-3.6-compacted", "lab.snap");
    let page = good.windows(11).rposition(|window| window == b"coredns cor").unwrap() / 4096;
    let zeroed = [&good[..page * 4096], &[0; 4096], &good[(page + 1) * 4096..]].concat();
    let flipped = {
        let mut bytes = good.clone();
        bytes[page * 4096 + 3000] ^= 1;
        bytes
    };
    let cases: [(&str, &[u8], &str, &str); 8] = [
        ("flipped", &flipped, "SNAP002", "something changed after it was saved"),
        ("zeroed", &zeroed, "SNAP001", &format!("page {page} (byte {}) says that it is page 0", page * 4096)),
        ("cut", &good[..20_000], "SNAP001", "the file is cut off in page 4: it has 20000 bytes"),
        ("cut-like-a-digest", &good[..4096 * 6 + 32], "SNAP001", "the file is cut off in page 6"),
        ("cut-in-the-digest", &good[..good.len() - 5], "SNAP003", "27 of 32 bytes are there"),
        ("empty", b"", "SNAP001", "the file is empty"),
        ("stranger", b"kind: Cluster\n", "SNAP001", "this is no etcd snapshot"),
        ("packed", b"\x1f\x8b\x08\0\0\0\0\0", "SNAP001", "packed by gzip; unpack it first"),
    ];
    for (name, bytes, code, words) in cases {
        bench.write(name, bytes);
        let told = bench.run(&["etcd", "verify", name]).ends(5);
        assert!(told.stdout.starts_with(&format!("{name} must not be restored")), "{}", told.stdout);
        let said = told.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(words) && said.contains(&format!("{code} blocks")), "{name}: {said}");
        let told = bench.run(&["etcd", "verify", name, "--output", "json", "--consent", code]).ends(5);
        let line = &json_lines(&told.stdout)[0];
        assert_eq!((&line["verdict"], &line["findings"][0]["code"]), (&json!("unfit"), &json!(code)), "{name}");
        assert_eq!(fs::read(bench.path(name)).unwrap(), bytes, "{name} was touched");
        if code == "SNAP001" {
            for arguments in
                [&["etcd", "ls", name][..], &["etcd", "diff", "lab.snap", name], &["etcd", "diff", name, "lab.snap"]]
            {
                let told = bench.run(arguments).ends(5);
                assert!(told.stderr.contains("error[SNAP001]") && told.stderr.contains(name), "{}", told.stderr);
                assert!(told.stderr.contains(&format!("kubewright etcd verify {name}")), "{}", told.stderr);
                assert_eq!(told.stdout, "");
            }
        }
    }
}

#[test]
fn what_must_be_known_before_a_restore_needs_consent() {
    let bench = Bench::new();
    with(&bench, "etcd-3.6-nospace", "full.snap");
    let told = bench.run(&["etcd", "verify", "full.snap"]).ends(6);
    assert!(told.stdout.contains("SNAP006 consent") && told.stdout.contains("NOSPACE of member"), "{}", told.stdout);
    let told = bench.run(&["etcd", "verify", "full.snap", "--consent", "SNAP006"]).ends(0);
    assert!(told.stdout.contains("SNAP006"), "it is told all the same: {}", told.stdout);

    let bytes = with(&bench, "etcd-3.7-history", "new.snap");
    bench.write("copied.db", &bytes[..bytes.len() - 32]);
    let told = bench.run(&["etcd", "verify", "copied.db", "--output", "json"]).ends(6);
    assert_eq!(json_lines(&told.stdout)[0]["findings"][0]["code"], "SNAP004");
    bench.run(&["etcd", "verify", "new.snap", "--server", "3.7.0"]).ends(0);
    let told = bench.run(&["etcd", "verify", "new.snap", "--server", "3.6.14"]).ends(5);
    assert!(told.stdout.contains("SNAP007"), "{}", told.stdout);
    let told = bench.run(&["etcd", "verify", "new.snap", "--server", "newest"]).ends(2);
    assert!(told.stderr.contains("write it as 3.6.14"), "{}", told.stderr);
}

#[test]
fn what_cannot_be_opened_is_the_command_lines_mistake() {
    let bench = Bench::new();
    with(&bench, "etcd-3.6-compacted", "lab.snap");
    for arguments in
        [&["etcd", "verify", "none.snap"][..], &["etcd", "ls", "."], &["etcd", "diff", "lab.snap", "none.snap"]]
    {
        bench.run(arguments).ends(2);
    }
    let told = bench.run(&["etcd", "verify", "lab.snap", "--revision", "3"]).ends(2);
    assert!(told.stderr.contains("revision 3 has been compacted"), "{}", told.stderr);
    let told = bench.run(&["etcd", "verify", "lab.snap", "--revision", "900"]).ends(2);
    assert!(told.stderr.contains("revision 900 is not in the file"), "{}", told.stderr);
}

#[test]
fn contents_are_listed() {
    let bench = Bench::new();
    with(&bench, "etcd-3.6-history", "lab.snap");
    insta::assert_snapshot!(bench.run(&["etcd", "ls", "lab.snap", "--largest", "3", "--namespaces"]).ends(0).stdout);
    let told = bench.run(&["etcd", "ls", "lab.snap", "--resource", "Pod", "--output", "json"]).ends(0);
    let line = &json_lines(&told.stdout)[0];
    assert_eq!((&line["event"], &line["total"]["objects"]), (&json!("listed"), &json!(12)));
    assert_eq!(line["resources"][0]["namespaces"]["default"]["objects"], 12);
    let told = bench.run(&["etcd", "ls", "lab.snap", "--prefix", "/nothing"]).ends(0);
    assert!(told.stdout.contains("0 objects of 0 B"), "{}", told.stdout);
}

#[test]
fn differences_are_listed() {
    let bench = Bench::new();
    with(&bench, "etcd-3.6-history", "monday.snap");
    with(&bench, "etcd-3.6-compacted", "tuesday.snap");
    with(&bench, "etcd-3.6-nospace", "other.snap");
    insta::assert_snapshot!(bench.run(&["etcd", "diff", "monday.snap", "tuesday.snap"]).ends(0).stdout);
    let told = bench.run(&["etcd", "diff", "other.snap", "tuesday.snap"]).ends(0);
    assert!(told.stdout.contains("and 1 more added") && told.stdout.contains("every name: --all"), "{}", told.stdout);
    let told = bench.run(&["etcd", "diff", "other.snap", "tuesday.snap", "--all"]).ends(0);
    assert!(!told.stdout.contains("more added") && !told.stdout.contains("--all"), "{}", told.stdout);
    let told = bench.run(&["etcd", "diff", "monday.snap", "monday.snap"]).ends(3);
    assert!(told.stdout.contains("0 added, 0 changed, 0 removed"), "{}", told.stdout);
    let told = bench.run(&["etcd", "diff", "monday.snap", "tuesday.snap", "--output", "json", "-r", "pods"]).ends(0);
    let line = &json_lines(&told.stdout)[0];
    assert_eq!((&line["changed"], &line["removed"]), (&json!(1), &json!(1)));
    assert_eq!(line["resources"][0]["names"]["removed"], json!(["default/pod-2"]));
}

#[test]
fn what_is_packed_is_read_without_being_told() {
    let bench = Bench::new();
    let bytes = with(&bench, "etcd-3.6-history", "monday.snap");
    let whole = zstd::encode_all(bytes.as_slice(), 3).unwrap();
    bench.write("monday.snap.zst", &whole);
    with(&bench, "etcd-3.6-compacted", "tuesday.snap");
    let plain = bench.run(&["etcd", "verify", "monday.snap", "--output", "json"]).ends(0);
    let packed = bench.homeless(&["etcd", "verify", "monday.snap.zst", "--output", "json"]).ends(0);
    let (plain, packed) = (&json_lines(&plain.stdout)[0], &json_lines(&packed.stdout)[0]);
    assert_eq!((&plain["contents"], &plain["digest"]), (&packed["contents"], &packed["digest"]));
    let plain = bench.run(&["etcd", "ls", "monday.snap"]).ends(0).stdout;
    let packed = bench.run(&["etcd", "ls", "monday.snap.zst"]).ends(0).stdout;
    assert_eq!(plain.split_once(':').unwrap().1, packed.split_once(':').unwrap().1);
    bench.run(&["etcd", "diff", "monday.snap.zst", "monday.snap"]).ends(3);
    bench.run(&["etcd", "diff", "monday.snap.zst", "tuesday.snap", "--namespaces"]).ends(0);
    for (name, bytes) in [("cut.zst", &whole[..whole.len() - 9]), ("start.zst", &whole[..4])] {
        bench.write(name, bytes);
        let told = bench.run(&["etcd", "verify", name, "--output", "json"]).ends(5);
        assert_eq!(json_lines(&told.stdout)[0]["findings"][0]["code"], "SNAP008");
        let told = bench.run(&["etcd", "ls", name]).ends(5);
        assert!(
            told.stderr.contains("error[SNAP008]") && told.stderr.contains("unpacked to its end"),
            "{}",
            told.stderr
        );
        assert_eq!(fs::read(bench.path(name)).unwrap(), bytes, "{name} was touched");
    }
    assert_eq!(fs::read(bench.path("monday.snap.zst")).unwrap(), whole);
}

/// A copy with its manifest, in a folder or for a bucket.
fn copy(name: &str, bytes: &[u8]) -> serde_json::Value {
    let sum: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "v": 1, "cluster": "lab", "clusterId": "1", "taken": "2026-11-20T23:00:00Z", "kubewright": "0.1.0",
        "from": {"member": "2", "name": "cp2", "host": "cp2", "led": false, "term": 2, "appliedIndex": 9}, "withQuorum": true,
        "file": {"name": name, "bytes": bytes.len(), "sha256": sum},
        "contents": {"revision": 44, "compactRevision": -1, "hashKv": 1, "statusHash": 2, "keys": 3},
        "attestation": {"verdict": "majority", "revision": 44, "voters": 3, "agree": ["1", "2"], "differ": [], "unknown": {}},
        "members": [], "versions": {}, "keys": {}, "companions": {}
    })
}

#[test]
fn a_copy_is_held_against_its_manifest() {
    let bench = Bench::new();
    fs::create_dir(bench.path("copy")).unwrap();
    let bytes = with(&bench, "etcd-3.6-history", "copy/etcd.snap");
    bench.write("copy/manifest.json", copy("etcd.snap", &bytes).to_string().as_bytes());
    for name in ["copy", "copy/etcd.snap"] {
        bench.run(&["etcd", "verify", name]).ends(0);
    }
    // As good a snapshot as the other one, and not it.
    with(&bench, "etcd-3.6-compacted", "copy/etcd.snap");
    for name in ["copy", "copy/etcd.snap"] {
        let told = bench.run(&["etcd", "verify", name, "--output", "json"]).ends(5);
        assert_eq!(json_lines(&told.stdout)[0]["findings"][0]["code"], "SNAP009");
    }
    bench.write("copy/manifest.json", copy("../etcd.snap", &bytes).to_string().as_bytes());
    let told = bench.run(&["etcd", "verify", "copy"]).ends(2);
    assert!(told.stderr.contains("a file elsewhere"), "{}", told.stderr);
    let told = bench.run(&["etcd", "companions", "copy"]).ends(2);
    assert!(told.stderr.contains("a file elsewhere"), "{}", told.stderr);
    bench.run(&["etcd", "companions", "."]).ends(2);
}

#[test]
fn copies_in_a_bucket_are_listed_verified_and_compared() {
    let bench = Bench::new();
    let server = S3Server::start("backups");
    let bytes = with(&bench, "etcd-3.6-history", "monday.snap");
    let folder = server.object("backups", "etcd/lab/2026-11-20T230000Z-44-abcdef");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("etcd.snap"), &bytes).unwrap();
    fs::write(folder.join("manifest.json"), copy("etcd.snap", &bytes).to_string()).unwrap();
    bench.write("cluster.yaml", bench.out_of_reach(1).as_bytes());
    let environment = server.environment();
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let copy = "s3://backups/etcd/lab/2026-11-20T230000Z-44-abcdef";
    let told = bench.run_with(&environment, &["etcd", "copies", "s3://backups/etcd"]).ends(0);
    assert!(told.stdout.contains("1 copy") && told.stdout.contains("2026-11-20T230000Z-44-abcdef"), "{}", told.stdout);
    let told = bench.run_with(&environment, &["etcd", "copies", "s3://backups/etcd", "--output", "json"]).ends(0);
    assert_eq!(json_lines(&told.stdout)[0]["copies"][0]["copy"], copy);
    bench.run_with(&environment, &["etcd", "verify", copy]).ends(0);
    bench.run_with(&environment, &["etcd", "verify", &format!("{copy}/etcd.snap")]).ends(0);
    bench.run_with(&environment, &["etcd", "ls", copy]).ends(0);
    bench.run_with(&environment, &["etcd", "diff", copy, "monday.snap"]).ends(3);
    bench.run_with(&environment, &["etcd", "companions", copy]).ends(0);
    let told = bench.run_with(&environment, &["etcd", "verify", "s3://backups/etcd/lab/none"]).ends(2);
    assert!(told.stderr.contains("no such object"), "{}", told.stderr);

    // Profiles, as AWS's own tools read them.
    let credentials = format!("[backup]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n");
    bench.write("credentials", credentials.as_bytes());
    let settings = format!("[profile backup]\nendpoint_url = {}\nregion = eu-central-1\n", server.endpoint());
    bench.write("config", settings.as_bytes());
    let (credentials, settings) = (bench.path("credentials"), bench.path("config"));
    let profile = [
        ("AWS_PROFILE", "backup"),
        ("AWS_SHARED_CREDENTIALS_FILE", credentials.to_str().unwrap()),
        ("AWS_CONFIG_FILE", settings.to_str().unwrap()),
    ];
    bench.run_with(&profile, &["etcd", "verify", copy]).ends(0);

    // Who has none, or wrong ones, is told so; a secret is never.
    let endpoint = server.endpoint();
    let none = [("AWS_EC2_METADATA_DISABLED", "true")];
    let told = bench.run_with(&none, &["etcd", "verify", copy, "--endpoint", &endpoint]).ends(5);
    assert!(told.stderr.contains("no credentials") && told.stderr.contains("AWS_PROFILE"), "{}", told.stderr);
    let wrong = [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", "guessed by somebody")];
    let told = bench.run_with(&wrong, &["etcd", "verify", copy, "--endpoint", &endpoint, "-vv"]).ends(5);
    assert!(told.stderr.contains("SignatureDoesNotMatch"), "{}", told.stderr);
    assert!(!told.stderr.contains("guessed by somebody"), "{}", told.stderr);
    // Before any host is asked.
    let told = bench.run_with(&wrong, &["etcd", "snapshot", "--to", "s3://backups", "--endpoint", &endpoint]).ends(5);
    assert!(
        told.stderr.contains("SignatureDoesNotMatch") && !told.stderr.contains("cannot connect"),
        "{}",
        told.stderr
    );
    for arguments in [
        &["etcd", "snapshot", "--to", "gs://backups"][..],
        &["etcd", "snapshot", "--with-pki"],
        &["etcd", "snapshot", "--recipient", "age1x"],
        &["etcd", "snapshot", "--with-pki", "--recipient", "age1x"],
        &["etcd", "snapshot", "--endpoint", "http://user:password@minio"],
        &["etcd", "diff", copy],
        &["etcd", "diff", copy, copy, "--live"],
    ] {
        let told = bench.run_with(&environment, arguments).ends(2);
        assert!(!told.stderr.contains("cannot connect"), "{}", told.stderr);
    }
    bench.run_with(&environment, &["etcd", "diff", copy, "--live"]).ends(5);
}

#[test]
fn keys_are_taken_out_by_whoever_has_the_identity() {
    let bench = Bench::new();
    fs::create_dir(bench.path("copy")).unwrap();
    let bytes = with(&bench, "etcd-3.6-history", "copy/etcd.snap");
    let identity = age::x25519::Identity::generate();
    // As age's own program would make it.
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(8);
    header.set_mode(0o600);
    archive.append_data(&mut header, "etc/kubernetes/pki/ca.key", &b"a secret"[..]).unwrap();
    let sealed = age::encrypt(&identity.to_public(), &archive.into_inner().unwrap()).unwrap();
    bench.write("copy/keys.tar.age", &sealed);
    let sum: String = Sha256::digest(&sealed).iter().map(|byte| format!("{byte:02x}")).collect();
    let mut manifest = copy("etcd.snap", &bytes);
    manifest["companions"] = json!({ "keys.tar.age": sum });
    let key = identity.to_public().to_string();
    manifest["sealed"] =
        json!({ "name": "keys.tar.age", "recipients": [key], "files": ["/etc/kubernetes/pki/ca.key"] });
    bench.write("copy/manifest.json", manifest.to_string().as_bytes());
    let secret = age::secrecy::ExposeSecret::expose_secret(&identity.to_string()).to_owned();
    bench.write("identity.txt", secret.as_bytes());
    let told = bench.run(&["etcd", "companions", "copy"]).ends(0);
    assert!(told.stdout.contains(&key) && told.stdout.contains("/etc/kubernetes/pki/ca.key"), "{}", told.stdout);
    let into = ["etcd", "companions", "copy", "--into", "out"];
    bench.run(&[&into[..], &["--identity", "none.txt"]].concat()).ends(2);
    let stranger = age::x25519::Identity::generate().to_string();
    bench.write("stranger.txt", age::secrecy::ExposeSecret::expose_secret(&stranger).as_bytes());
    let told = bench.run(&[&into[..], &["--identity", "stranger.txt"]].concat()).ends(2);
    assert!(told.stderr.contains("none of these identities"), "{}", told.stderr);
    assert!(!bench.path("out").exists());
    let told = bench.run(&[&into[..], &["--identity", "identity.txt"]].concat()).ends(0);
    assert!(!told.stdout.contains("a secret"), "{}", told.stdout);
    assert_eq!(bench.read("out/keys/etc/kubernetes/pki/ca.key"), "a secret");
    let mode = |path: &str| fs::metadata(bench.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("out"), mode("out/keys"), mode("out/keys/etc/kubernetes/pki/ca.key")), (0o700, 0o700, 0o600));
    bench.run(&[&into[..], &["--identity", "identity.txt"]].concat()).ends(2);
}

/// A page of what a person sees, members' numbers and hashes as the golden files have them.
#[test]
fn the_facts_of_a_file_are_a_page() {
    let bench = Bench::new();
    with(&bench, "etcd-3.6-compacted", "lab.snap");
    insta::assert_snapshot!(settled(&bench.run(&["etcd", "verify", "lab.snap"]).ends(0)));
}

#[test]
fn who_cannot_be_reached_is_named_and_nothing_is_written() {
    let bench = Bench::new();
    bench.write("cluster.yaml", bench.out_of_reach(3).as_bytes());
    for arguments in [&["etcd", "status"][..], &["etcd", "snapshot", "--to", "copies"]] {
        let told = bench.run(arguments).ends(5);
        assert!(told.stderr.contains("no client certificate for etcd could be read from any host"), "{}", told.stderr);
        for host in ["cp1", "cp2", "cp3"] {
            assert!(told.stderr.contains(&format!("{host}: cannot connect to {host}")), "{}", told.stderr);
        }
    }
    assert_eq!(bench.path("copies/lab").read_dir().unwrap().count(), 0);
    let told = bench.run(&["etcd", "logs", "cp2", "--output", "json"]).ends(5);
    assert_eq!(
        (&json_lines(&told.stdout)[0]["code"], &json_lines(&told.stdout)[0]["host"]),
        (&json!("HOST"), &json!("cp2"))
    );
}

#[test]
fn what_the_spec_does_not_have_is_the_command_lines_mistake() {
    let bench = Bench::new();
    bench.write("cluster.yaml", bench.out_of_reach(2).as_bytes());
    let told = bench.run(&["etcd", "snapshot", "--from", "cp9"]).ends(2);
    assert!(told.stderr.contains("--from cp9: the spec has no host of that name with role etcd"), "{}", told.stderr);
    let told = bench.run(&["etcd", "logs", "w1"]).ends(2);
    assert!(told.stderr.contains("these are: cp1, cp2"), "{}", told.stderr);
    bench.run(&["etcd", "snapshot", "--keep", "0"]).ends(2);
    bench.write("no-folder", b"a file");
    let told = bench.run(&["etcd", "snapshot", "--to", "no-folder"]);
    assert!(told.status != Some(0) && told.stderr.contains("no-folder"), "{}", told.stderr);
    assert!(!told.stderr.contains("cannot connect"), "nobody is asked: {}", told.stderr);
}
