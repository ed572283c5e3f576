//! One fault a file: each is named with its page and place.

use kubewright_snapshot::{Error, Fault, PageFault, RowFault, Snapshot, Stranger};

use super::builder::{Builder, Entry, PAGE, row, sealed};

fn rows() -> Vec<Entry> {
    vec![row(2, 0, "a", Some(b"1")), row(3, 0, "b", Some(b"2")), row(3, 1, "a", None), row(4, 0, "c", Some(b"3"))]
}

/// What is wrong, in words.
fn said(bytes: &[u8]) -> Vec<String> {
    match Snapshot::open(bytes) {
        Ok(snapshot) => snapshot.verify().faults.iter().map(ToString::to_string).collect(),
        Err(error) => vec![error.to_string()],
    }
}

fn fault_of(bytes: &[u8]) -> Error {
    let snapshot = match Snapshot::open(bytes) {
        Ok(snapshot) => snapshot,
        Err(error) => return error,
    };
    match snapshot.verify().faults.into_iter().next() {
        Some(Fault::Unreadable(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn page_fault(bytes: &[u8]) -> (u64, PageFault) {
    match fault_of(bytes) {
        Error::Page { page, offset, fault } => {
            // An entry of the root page is at its own place, everything else at that of its page.
            assert_eq!(offset / PAGE as u64, page);
            (page, fault)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_builder_makes_is_good() {
    assert_eq!(said(&Builder::with_rows(rows()).finish()), [""; 0]);
    let survey = Snapshot::open(Builder::with_rows(rows()).finish()).unwrap().verify().survey.unwrap();
    assert_eq!((survey.keys, survey.rows, survey.tombstones, survey.revision), (2, 4, 1, 4));
    assert_eq!((survey.state.consistent_index, survey.compact_revision), (Some(9), None));
}

#[test]
fn a_tree_of_several_levels_is_walked() {
    let mut builder = Builder::bare();
    let mut children = Vec::new();
    for leaf in 0..20_i64 {
        let rows: Vec<Entry> = (0..10).map(|sub| row(leaf + 1, sub, &format!("k{leaf}-{sub}"), Some(b"v"))).collect();
        children.push((rows[0].1.clone(), builder.leaf(rows)));
    }
    let (low, high) = (children[..10].to_vec(), children[10..].to_vec());
    let (first, second) = (low[0].0.clone(), high[0].0.clone());
    let (low, high) = (builder.branch(low), builder.branch(high));
    let root = builder.branch(vec![(first, low), (second, high)]);
    builder.bucket("key", root);
    builder.inline("meta", vec![]);
    let survey = Snapshot::open(builder.finish()).unwrap().verify().survey.unwrap();
    assert_eq!((survey.keys, survey.rows, survey.pages_in_use), (200, 200, 2 + 20 + 3 + 1));
}

#[test]
fn cycles_and_second_references_are_refused() {
    let leaf_key = row(2, 0, "a", None).1;
    let mut builder = Builder::bare();
    let branch = builder.branch(vec![(leaf_key.clone(), 2)]);
    assert_eq!(branch, 2);
    builder.bucket("key", branch);
    builder.inline("meta", vec![]);
    assert_eq!(page_fault(&builder.finish()), (2, PageFault::Twice), "a page that refers to itself");

    let mut builder = Builder::bare();
    let leaf = builder.leaf(vec![row(2, 0, "a", Some(b"1"))]);
    builder.bucket("key", leaf);
    builder.bucket("meta", leaf);
    assert_eq!(page_fault(&builder.finish()), (leaf, PageFault::Twice), "a page of two buckets");

    // A leaf in the overflow of another one.
    let mut builder = Builder::bare();
    let long = builder.leaf(vec![row(2, 0, "a", Some(&[7; 5000]))]);
    builder.bucket("key", long);
    builder.bucket("meta", long + 1);
    builder.patch(long + 1, 0, &[&(long + 1).to_le_bytes()[..], &2_u16.to_le_bytes(), &[0; 6]].concat());
    assert_eq!(page_fault(&builder.finish()), (long + 1, PageFault::Twice));
}

#[test]
fn a_chain_of_branches_ends() {
    let mut builder = Builder::bare();
    let key = row(2, 0, "a", None).1;
    let mut page = builder.leaf(vec![row(2, 0, "a", Some(b"1"))]);
    for _ in 0..60 {
        page = builder.branch(vec![(key.clone(), page)]);
    }
    builder.bucket("key", page);
    builder.inline("meta", vec![]);
    assert_eq!(page_fault(&builder.finish()).1, PageFault::Depth);
}

#[test]
fn references_out_of_the_file_are_refused() {
    for child in [0, 1, 4, 5000, u64::MAX] {
        let mut builder = Builder::bare();
        let branch = builder.branch(vec![(row(2, 0, "a", None).1, child)]);
        builder.bucket("key", branch);
        builder.inline("meta", vec![]);
        let fault = page_fault(&builder.finish());
        assert_eq!(fault, (branch, PageFault::Child { child, pages: 4 }), "{child}");
    }
    let mut builder = Builder::with_rows(rows());
    builder.bucket("lease", 77);
    assert!(matches!(page_fault(&builder.finish()).1, PageFault::Child { child: 77, .. }));
}

#[test]
fn what_pages_say_of_themselves_is_checked() {
    type Patch = (usize, Vec<u8>);
    type Expected = fn(&PageFault) -> bool;
    let patches: [(Patch, Expected); 10] = [
        ((0, vec![9]), |fault| *fault == PageFault::Misplaced(9)),
        ((8, vec![0x10]), |fault| *fault == PageFault::Kind(0x10)),
        ((8, vec![3]), |fault| *fault == PageFault::Kind(3)),
        ((10, vec![0xff, 0xff]), |fault| *fault == PageFault::Entries(0xffff)),
        ((12, vec![200]), |fault| *fault == PageFault::Overflows { last: 202, pages: 4 }),
        ((12, vec![1]), |fault| *fault == PageFault::Overflow { claimed: 2, filled: 1 }),
        ((16 + 4, vec![0x41]), |fault| *fault == PageFault::Place(0)),
        ((16 + 8, vec![0; 4]), |fault| *fault == PageFault::NoKey(0)),
        ((32 + 12, vec![0xff; 4]), |fault| *fault == PageFault::Place(1)),
        ((16 + 64 + 7, vec![9]), |fault| *fault == PageFault::Order(1)),
    ];
    for ((at, bytes), expected) in patches {
        let mut builder = Builder::with_rows(rows());
        builder.patch(2, at, &bytes);
        let fault = page_fault(&builder.finish());
        assert!(fault.0 == 2 && expected(&fault.1), "{at}: {fault:?}");
    }
    let zeroed = {
        let mut builder = Builder::with_rows(rows());
        builder.patch(2, 0, &[0; PAGE]);
        builder.finish()
    };
    assert_eq!(said(&zeroed), ["page 2 (byte 8192) says that it is page 0"]);
}

#[test]
fn keys_belong_where_the_page_above_says() {
    let parts = |second_key: Vec<u8>| {
        let mut builder = Builder::bare();
        let first = builder.leaf(vec![row(2, 0, "a", Some(b"1")), row(5, 0, "b", Some(b"1"))]);
        let second = builder.leaf(vec![row(7, 0, "c", Some(b"1"))]);
        let root = builder.branch(vec![(row(2, 0, "a", Some(b"1")).1, first), (second_key, second)]);
        builder.bucket("key", root);
        builder.inline("meta", vec![]);
        builder.finish()
    };
    assert_eq!(said(&parts(row(6, 0, "", Some(b"")).1)), [""; 0]);
    assert_eq!(page_fault(&parts(row(4, 0, "", Some(b"")).1)), (2, PageFault::Range(1)), "too great for its page");
    assert_eq!(page_fault(&parts(row(8, 0, "", Some(b"")).1)), (3, PageFault::Range(0)), "too small for its page");
}

#[test]
fn rows_are_rows_of_etcd() {
    let with = |extra: Entry| {
        let mut rows = rows();
        rows.push(extra);
        fault_of(&Builder::with_rows(rows).finish())
    };
    let faults = [
        ((0, b"\xff not a revision".to_vec(), vec![]), RowFault::Revision),
        ((0, row(9, 0, "x", Some(b"")).1, b"\xff\xff".to_vec()), RowFault::Value),
        ((0, row(9, 0, "x", Some(b"")).1, row(8, 0, "x", Some(b"y")).2), RowFault::OtherRevision { filed: 9, says: 8 }),
        ((0, row(9, 0, "x", Some(b"")).1, vec![0x18, 9]), RowFault::Value),
        ((0, row(9, 0, "x", None).1, vec![0x18, 9]), RowFault::Value),
    ];
    for (entry, expected) in faults {
        let Error::Row { page: 2, offset, bucket, fault } = with(entry) else { panic!() };
        assert!((8192..8192 + 4096).contains(&offset) && bucket == "key");
        assert_eq!(fault, expected);
    }
    let nested = (1, row(9, 0, "x", Some(b"")).1, vec![0; 32]);
    assert!(matches!(with(nested), Error::Row { fault: RowFault::Nested, .. }));
    // As a restore writes it to bump the revision.
    let mut rows = rows();
    rows.push((0, row(1_000, 0, "", Some(b"")).1, Vec::new()));
    let survey = Snapshot::open(Builder::with_rows(rows).finish()).unwrap().verify().survey.unwrap();
    assert_eq!((survey.revision, survey.keys), (1_000, 2));
}

#[test]
fn what_etcd_keeps_beside_keys_is_understood_or_named() {
    for (bucket, key, value, what) in [
        ("members", "zz", "{}", "of bucket `members` is no member"),
        ("members", "1f", r#"{"id":1}"#, "is no member: it carries another one's number"),
        ("members_removed", "no", "removed", "is no number of a member"),
        ("alarm", "\u{8}", "", "is no alarm"),
    ] {
        let mut builder = Builder::with_rows(rows());
        builder.inline(bucket, vec![(0, key.into(), value.into())]);
        let bytes = builder.finish();
        let error = fault_of(&bytes);
        assert!(error.to_string().ends_with(what), "{error}");
        assert!(bytes[error.offset().unwrap() as usize..].starts_with(key.as_bytes()), "{error}");
        assert_eq!(error.page(), Some(3), "the small bucket is within the root's page");
    }
    let mut builder = Builder::with_rows(rows());
    builder.inline(
        "members",
        vec![
            (0, b"1f".to_vec(), br#"{"id":31,"peerURLs":["http://a"],"name":"cp1"}"#.to_vec()),
            (0, b"20".to_vec(), br#"{"id":32,"peerURLs":["http://b"],"name":"cp2"}"#.to_vec()),
        ],
    );
    builder.inline("members_removed", vec![(0, b"20".to_vec(), b"removed".to_vec())]);
    builder.inline("of a later etcd", vec![(0, b"x".to_vec(), b"y".to_vec())]);
    assert_eq!(said(&builder.finish()), ["it holds members that are none: 20 (cp2) was removed"]);
}

#[test]
fn files_that_are_no_snapshots_are_told_apart() {
    for (bytes, words) in [
        (Vec::new(), "the file is empty"),
        (b"hello".to_vec(), "this is no etcd snapshot: it has only 5 bytes"),
        (vec![0; 100_000], "this is no etcd snapshot: it does not begin with a meta page of bbolt"),
        ([&[0x1f, 0x8b][..], &[8; 5000]].concat(), "this is no etcd snapshot: it is packed by gzip; unpack it first"),
        (
            [&[0x28, 0xb5, 0x2f, 0xfd][..], &[8; 50]].concat(),
            "this is no etcd snapshot: it is packed by zstd; unpack it first",
        ),
    ] {
        assert_eq!(said(&bytes), [words]);
    }
    let mut other = Builder::bare();
    other.inline("v1", vec![(0, b"a".to_vec(), b"b".to_vec())]);
    assert_eq!(fault_of(&other.finish()), Error::Stranger(Stranger::OtherBolt("key")), "such as containerd's");
    let mut newer = Builder::with_rows(rows());
    newer.version = 3;
    assert_eq!(fault_of(&newer.finish()), Error::Stranger(Stranger::BoltVersion(3)));
}

#[test]
fn a_list_of_free_pages_is_held_against_those_in_use() {
    let listing = |free: &[u64], count: u16| {
        let mut builder = Builder::with_rows(rows());
        let spare = builder.raw(2, 0, &[]);
        assert_eq!(spare, 3);
        let body: Vec<u8> = free.iter().flat_map(|page| page.to_le_bytes()).collect();
        builder.free_list = builder.raw(0x10, count, &body);
        builder.finish()
    };
    assert_eq!(said(&listing(&[3], 1)), [""; 0]);
    assert_eq!(said(&listing(&[1, 3], u16::MAX)), [""; 0], "a long list has its length first");
    assert_eq!(page_fault(&listing(&[2], 1)), (2, PageFault::UsedFree));
    assert_eq!(page_fault(&listing(&[3, 3], 2)), (4, PageFault::FreeList));
    assert_eq!(page_fault(&listing(&[900], 1)), (4, PageFault::FreeList));
    assert_eq!(page_fault(&listing(&[3], 5000)), (4, PageFault::FreeList));
    assert_eq!(page_fault(&listing(&[u64::MAX], u16::MAX)), (4, PageFault::FreeList));
}

#[test]
fn what_follows_the_pages_is_looked_at() {
    let plain = || Builder::with_rows(rows()).unsealed();
    let grown = |bytes: usize| [plain(), vec![0; bytes]].concat();
    assert_eq!(said(&plain()), ["it has no digest, so nothing proves that its values are as they were saved"]);
    assert_eq!(said(&grown(16 * PAGE)), said(&plain()), "a member's own file has room at its end");
    assert_eq!(said(&grown(31)), ["it is cut off in its digest: 31 of 32 bytes are there"]);
    assert_eq!(said(&sealed(grown(PAGE))), [""; 0]);
    let words = format!("its pages end at byte {}, and 100 bytes follow that are no digest", plain().len());
    assert_eq!(said(&grown(100)), [words]);
}
