//! What people and machines get wrong: each mistake ends with its exit code, a place and a way out, and nothing is done.
//! README.md beside this folder says which tests prove the rest of the list.

mod cancelled;
mod hosts;
mod lock_file;
pub mod machines;
mod state;

use std::fs;
use std::path::Path;

use crate::cli::bench::Bench;

/// Every broken spec there is, through the real program: code 2, the place, nothing contacted, nothing written.
#[test]
fn a_spec_with_a_mistake_contacts_nobody() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/specs");
    let bench = Bench::new();
    let (mut broken, mut asking) = (0, 0);
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|end| end != "yaml") {
            continue;
        }
        bench.write("cluster.yaml", &fs::read(&path).unwrap());
        let drawn = fs::read_to_string(path.with_extension("snap")).unwrap();
        if !drawn.contains("error[") {
            bench.run(&["validate"]).ends(0);
            asking += usize::from(drawn.contains("needs consent["));
            continue;
        }
        broken += 1;
        for arguments in [&["validate"][..], &["plan"], &["apply", "--yes"]] {
            let told = bench.run(arguments).ends(2);
            assert_eq!(told.stdout, "", "{}", path.display());
            let lines = told.stderr.lines().filter(|line| line.contains("--> cluster.yaml:")).count();
            assert_eq!(lines > 0, drawn.contains("--> "), "{}:\n{}", path.display(), told.stderr);
            assert!(told.stderr.contains("nothing was contacted"), "{}", told.stderr);
        }
        assert_eq!(bench.files(), ["cluster.yaml"]);
        assert_eq!(bench.operations(), 0);
    }
    assert!(broken >= 40 && asking >= 1, "{broken} broken, {asking} that ask");
}

/// Bytes that are no text: the first of them is named.
#[test]
fn bytes_that_are_no_text_are_named_by_their_place() {
    let bench = Bench::new();
    for (bytes, place) in [
        (&b"\xff\xfea\0"[..], "cluster.yaml:1:1: this is not text in UTF-8: there is a byte 0xff"),
        (
            b"kind: Cluster\nmetadata: {name: caf\xe9}\n",
            "cluster.yaml:2:21: this is not text in UTF-8: there is a byte 0xe9",
        ),
        ("# é\nname: \u{1F980}".as_bytes().split_last().unwrap().1, "cluster.yaml:2:7:"),
    ] {
        bench.write("cluster.yaml", bytes);
        let told = bench.run(&["plan"]).ends(2);
        assert!(told.stderr.contains(place), "{}", told.stderr);
        assert!(told.stderr.contains("save the file as UTF-8"), "{}", told.stderr);
    }
}
