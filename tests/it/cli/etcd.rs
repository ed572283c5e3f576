//! `kubewright etcd verify | ls | diff` on files that real etcd wrote, whole and damaged. None is ever touched.

use std::fs;
use std::io::Read;
use std::path::Path;

use serde_json::json;

use super::bench::{Bench, Told, json_lines};

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
