//! The lock file: written in one way, read strictly. Whatever is done to it, it is noticed at a place, and nothing that
//! was lost or changed passes for what was pinned.

use std::collections::BTreeSet;

use kubewright_core::finding::{Finding, Severity, Subject, codes};
use kubewright_core::pins::{Item, Pins, file_name, read};
use proptest::prelude::*;

const FILE: &str = "cluster.lock.yaml";

fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

fn kubelet(arch: &str) -> Item {
    Item::Program { name: "kubelet".into(), version: "v1.35.4".into(), arch: arch.into() }
}

fn pause() -> Item {
    Item::Image("registry.k8s.io/pause:3.10.1".into())
}

fn pins() -> Pins {
    [
        (kubelet("amd64"), digest('a')),
        (kubelet("arm64"), digest('b')),
        (pause(), digest('c')),
        (Item::Image("10.0.0.2:5000/team/app:1".into()), digest('d')),
    ]
    .into_iter()
    .collect()
}

/// What is wrong with a text; nothing where it is read.
fn wrong(text: &str) -> Vec<Finding> {
    let Err(damaged) = read(FILE, "cluster.yaml", text) else { return Vec::new() };
    assert!(!damaged.findings.is_empty(), "refused without a reason:\n{text}");
    for finding in &damaged.findings {
        assert!(codes::lookup(&finding.code).is_some(), "{}", finding.code);
        assert_eq!(finding.severity, Severity::Blocks);
        assert!(finding.hint.is_some(), "{} has no advice", finding.code);
        let Subject::Spec(path) = &finding.subject else { panic!("{finding:?}") };
        let span = damaged.source.span(path);
        assert!(damaged.source.text().get(span).is_some(), "{} has no place", finding.code);
    }
    damaged.findings
}

fn codes_of(text: &str) -> Vec<String> {
    wrong(text).into_iter().map(|finding| finding.code).collect()
}

#[test]
fn what_is_written_is_read() {
    for pins in [pins(), Pins::default()] {
        let text = pins.text("cluster.yaml");
        assert_eq!(read(FILE, "cluster.yaml", &text).unwrap().pins, pins, "{text}");
        assert_eq!(
            read(FILE, "cluster.yaml", &text.replace('\n', "\r\n")).unwrap().pins,
            pins,
            "line ends are not meaning"
        );
        assert_eq!(read(FILE, "cluster.yaml", &format!("\u{feff}{text}# mine\n")).unwrap().pins, pins);
    }
}

#[test]
fn a_pin_is_found_on_its_line() {
    let text = pins().text("cluster.yaml");
    let pinned = read(FILE, "cluster.yaml", &text).unwrap();
    for (item, digest) in pins().iter() {
        let place = pinned.place(item);
        let mut parts = place.rsplitn(3, ':');
        let (column, line): (usize, usize) =
            (parts.next().unwrap().parse().unwrap(), parts.next().unwrap().parse().unwrap());
        assert_eq!(parts.next(), Some(FILE));
        assert_eq!(&text.lines().nth(line - 1).unwrap()[column - 1..], digest);
    }
}

#[test]
fn every_code_of_the_lock_file_is_to_be_had() {
    let text = pins().text("cluster.yaml");
    let cases = [
        ("kubelet/v1.35.4/amd64", "kubelet", "LOCK001"),
        ("registry.k8s.io/pause", "pause", "LOCK001"),
        (&digest('a')[..], &digest('A'), "LOCK001"),
        (&digest('a'), "sha256:aaaa", "LOCK001"),
        (&digest('a'), &digest('b'), "LOCK002"),
        ("v1.35.4/amd64", "v1.35.5/amd64", "LOCK002"),
        ("dev/v1alpha1", "dev/v2", "LOCK003"),
        ("kind: Lock", "kind: Cluster", "SPEC006"),
        ("images:", "image:", "SPEC002"),
        ("kubelet/v1.35.4/arm64", "kubelet/v1.35.4/amd64", "SPEC003"),
    ];
    let mut shown = BTreeSet::new();
    for (from, to, code) in cases {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        let codes = codes_of(&changed);
        assert!(codes.iter().any(|found| found == code), "{from} → {to}: {codes:?}");
        shown.extend(codes);
    }
    for code in codes::LOCK.codes {
        assert!(shown.contains(code.code), "{}", code.code);
    }
}

#[test]
fn a_merge_and_a_newer_kubewright_have_advice_of_their_own() {
    let text = pins().text("cluster.yaml");
    let merged = text.replacen("images:", "<<<<<<< HEAD\nimages:\n=======\nimages:\n>>>>>>> other", 1);
    let hint = wrong(&merged)[0].hint.clone().unwrap();
    assert!(hint.contains("take one of them whole") && hint.contains("kubewright pin -f cluster.yaml"), "{hint}");
    let newer = wrong(&text.replace("v1alpha1", "v1beta1").replace("sum:", "signature: x\nsum:"));
    assert_eq!(newer.len(), 1, "what a newer one writes is not judged: {newer:?}");
    assert!(newer[0].hint.as_ref().unwrap().contains("newer kubewright"));
}

#[test]
fn a_file_cut_off_anywhere_is_noticed() {
    let text = pins().text("cluster.yaml");
    // Without its last line end it is whole.
    for end in 0..text.len() - 1 {
        assert!(!wrong(&text[..end]).is_empty(), "whole after {end} bytes:\n{}", &text[..end]);
    }
    assert_eq!(wrong(text.trim_end()), Vec::new());
}

#[test]
fn a_lost_line_is_noticed() {
    let text = pins().text("cluster.yaml");
    for lost in 0..text.lines().count() {
        let rest: Vec<&str> = text.lines().enumerate().filter(|(at, _)| *at != lost).map(|(_, line)| line).collect();
        let comment = text.lines().nth(lost).unwrap().starts_with('#');
        assert_eq!(wrong(&(rest.join("\n") + "\n")).is_empty(), comment, "line {lost}");
    }
}

#[test]
fn pins_are_told_apart() {
    let one = pins();
    let mut other = pins();
    other.insert(kubelet("amd64"), digest('e'));
    other.insert(Item::Image("ghcr.io/new/one:2".into()), digest('f'));
    assert_eq!(other.beyond(&one).iter().map(|(item, _)| item.key()).collect::<Vec<_>>(), ["ghcr.io/new/one:2"]);
    assert_eq!(other.unlike(&one).iter().map(|(item, _)| item.key()).collect::<Vec<_>>(), ["kubelet/v1.35.4/amd64"]);
    let both = one.clone().with(&other);
    assert_eq!((both.len(), both.get(&kubelet("amd64"))), (5, Some(&*digest('a'))), "what is pinned stays");
    assert!(one.beyond(&other).is_empty());
}

#[test]
fn the_file_stands_beside_its_spec() {
    for (spec, lock) in [
        ("cluster.yaml", "cluster.lock.yaml"),
        ("prod.eu.yml", "prod.eu.lock.yaml"),
        ("cluster", "cluster.lock.yaml"),
        (".yaml", ".yaml.lock.yaml"),
    ] {
        assert_eq!(file_name(spec), lock);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_changed_letter_is_noticed_or_means_nothing(at in 0..2000_usize, letter in "[ -~]") {
        let text = pins().text("cluster.yaml");
        let at = at % text.len();
        let changed = format!("{}{letter}{}", &text[..at], &text[at + 1..]);
        if wrong(&changed).is_empty() {
            prop_assert_eq!(read(FILE, "cluster.yaml", &changed).unwrap().pins, pins());
        }
    }

    #[test]
    fn no_text_at_all_panics(text in "\\PC{0,200}", yaml in "[-a-z0-9:{}\\[\\],&*!|>'\"#%@` \n\t~?.]{0,200}") {
        wrong(&text);
        wrong(&yaml);
        wrong(&format!("apiVersion: kubewright.dev/v1alpha1\nkind: Lock\n{yaml}"));
    }
}
