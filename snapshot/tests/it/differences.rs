//! Differences between files: of real etcd, and against the obvious way.

use std::collections::{BTreeMap, BTreeSet};

use kubewright_snapshot::{Change, Diff, Filter, Resource, Snapshot, diff};
use proptest::prelude::*;

use super::builder::{Builder, row};
use super::golden;

fn between(before: &str, after: &str, names: usize) -> Diff {
    let open = |name| Snapshot::open(golden::bytes(name)).unwrap();
    diff(&open(before), &open(after), &Filter::default(), names).unwrap()
}

fn told(diff: &Diff) -> Vec<(Change, String, Vec<&str>)> {
    let one = |found: &kubewright_snapshot::Difference| {
        let resource = found.resource.to_string();
        found.counts.keys().map(|change| (*change, resource.clone())).collect::<Vec<_>>()
    };
    diff.differences
        .iter()
        .flat_map(|found| {
            one(found)
                .into_iter()
                .map(|(change, resource)| (change, resource, found.names[&change].iter().map(String::as_str).collect()))
        })
        .collect()
}

#[test]
fn what_happened_between_two_files_is_told() {
    let diff = between("etcd-3.6-history", "etcd-3.6-compacted", 10);
    assert_eq!(
        told(&diff),
        [
            (Change::Changed, "configmaps".to_owned(), vec!["default/config-3"]),
            (Change::Added, "events".to_owned(), vec!["default/last"]),
            (Change::Changed, "pods".to_owned(), vec!["default/pod-1"]),
            (Change::Removed, "pods".to_owned(), vec!["default/pod-2"]),
        ]
    );
    assert_eq!((diff.count(Change::Added), diff.unchanged, diff.unlisted()), (1, 28, 0));
    assert!(diff.revisions.0 < diff.revisions.1);
    let same = between("etcd-3.6-compacted", "etcd-3.6-compacted", 10);
    assert_eq!((same.differences.len(), same.unchanged), (0, 31));
    let back = between("etcd-3.6-compacted", "etcd-3.6-history", 10);
    assert_eq!(back.count(Change::Removed), 1);
    assert_eq!(back.count(Change::Changed), 2);
}

#[test]
fn names_are_bounded_and_counts_are_not() {
    let all = between("etcd-3.6-nospace", "etcd-3.6-history", usize::MAX);
    let few = between("etcd-3.6-nospace", "etcd-3.6-history", 2);
    assert_eq!(few.count(Change::Added), all.count(Change::Added));
    assert_eq!(all.unlisted(), 0);
    assert!(few.unlisted() > 10);
    let pods =
        |diff: &Diff| diff.differences.iter().find(|one| one.resource == Resource::Api("pods".into())).unwrap().clone();
    assert_eq!(pods(&few).names[&Change::Added].iter().collect::<Vec<_>>(), ["default/pod-0", "default/pod-1"]);
    assert_eq!(pods(&all).names[&Change::Added].len(), 12);
}

#[test]
fn it_is_told_which_file_is_damaged() {
    let mut bytes = golden::bytes("etcd-3.6-history");
    let page = bytes.windows(11).position(|window| window == b"default/pod").unwrap() / 4096;
    bytes[page * 4096..(page + 1) * 4096].fill(0);
    let (good, bad) = (Snapshot::open(golden::bytes("etcd-3.6-history")).unwrap(), Snapshot::open(bytes).unwrap());
    assert_eq!(diff(&good, &bad, &Filter::default(), 1).unwrap_err().0, 1);
    assert_eq!(diff(&bad, &good, &Filter::default(), 1).unwrap_err().0, 0);
}

type Keys = BTreeMap<u8, u8>;

fn file(keys: &Keys) -> Vec<u8> {
    let rows = (2..).zip(keys).map(|(main, (key, value))| row(main, 0, &format!("k{key:03}"), Some(&[*value])));
    Builder::with_rows(rows.collect()).finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_is_what_two_maps_differ_in(before: Keys, after: Keys) {
        let (before, after): (Keys, Keys) = (before.into_iter().take(60).collect(), after.into_iter().take(60).collect());
        let open = |keys| Snapshot::open(file(keys)).unwrap();
        let found = diff(&open(&before), &open(&after), &Filter::default(), usize::MAX).unwrap();
        let mut expected: BTreeMap<Change, BTreeSet<String>> = BTreeMap::new();
        let mut unchanged = 0;
        for key in before.keys().chain(after.keys()).collect::<BTreeSet<_>>() {
            let change = match (before.get(key), after.get(key)) {
                (Some(_), None) => Change::Removed,
                (None, _) => Change::Added,
                (one, other) if one == other => { unchanged += 1; continue }
                _ => Change::Changed,
            };
            expected.entry(change).or_default().insert(format!("k{key:03}"));
        }
        prop_assert_eq!(found.unchanged, unchanged);
        let names = found.differences.first().map(|difference| difference.names.clone()).unwrap_or_default();
        prop_assert_eq!(names, expected);
    }
}
