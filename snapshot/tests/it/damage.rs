//! The damage table: what disks, copies and people do to a file. Each is refused with its place, and what the stock tools
//! crash on or pass is among it.

use std::sync::OnceLock;

use kubewright_snapshot::{Error, Fault, Report, Snapshot};
use proptest::prelude::*;

use super::everything;
use super::golden;

const PAGE: usize = 4096;

fn good() -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| golden::bytes("etcd-3.6-compacted"))
}

fn report(bytes: &[u8]) -> Report {
    Snapshot::open(bytes).unwrap().verify()
}

/// Where a value of the file is, which nothing in its pages protects.
fn value_at(bytes: &[u8]) -> usize {
    let text = b"coredns coredns coredns";
    bytes.windows(text.len()).rposition(|window| window == text).unwrap()
}

#[test]
fn one_bit_of_a_value() {
    let mut bytes = good().to_vec();
    bytes[value_at(good())] ^= 4;
    let report = report(&bytes);
    assert!(matches!(report.faults.as_slice(), [Fault::WrongDigest(_)]), "{:?}", report.faults);
    let said = report.faults[0].to_string();
    assert!(said.contains("something changed after it was saved"), "{said}");
    assert!(report.is_damaged() && report.survey.is_some(), "the rest is still told");
    let digest = report.digest.unwrap();
    assert_eq!((digest.is_right(), digest.stored.is_some()), (Some(false), true));
}

#[test]
fn a_value_zeroed() {
    let mut bytes = good().to_vec();
    let at = value_at(good());
    bytes[at - 400..at - 100].fill(0);
    let report = report(&bytes);
    assert!(matches!(report.faults.as_slice(), [Fault::WrongDigest(_)]), "{:?}", report.faults);
}

#[test]
fn any_page_zeroed() {
    let pages = (good().len() - 32) / PAGE;
    let (mut named, mut unused) = (0, 0);
    for page in 0..pages {
        let mut bytes = good().to_vec();
        let whole = &mut bytes[page * PAGE..(page + 1) * PAGE];
        if whole.iter().all(|byte| *byte == 0) {
            continue;
        }
        whole.fill(0);
        let report = report(&bytes);
        assert!(report.is_damaged(), "page {page}");
        match &report.faults[0] {
            Fault::Unreadable(error) => {
                // A long value's end is found wrong from its beginning on.
                assert!(error.page().unwrap() <= page as u64, "{error}");
                named += usize::from(
                    error.to_string() == format!("page {page} (byte {}) says that it is page 0", page * PAGE),
                );
            }
            Fault::MetaPage { page: meta, .. } => assert_eq!(*meta, page as u64),
            // Free, or in the middle of a long value.
            Fault::WrongDigest(_) => unused += 1,
            other => panic!("{other}"),
        }
    }
    assert!(named >= 5 && unused >= 1, "{named} named, {unused} unused");
}

#[test]
fn both_meta_pages_zeroed() {
    let mut bytes = good().to_vec();
    bytes[..2 * PAGE].fill(0);
    assert!(matches!(Snapshot::open(bytes), Err(Error::Stranger(_))));
    let mut bytes = good().to_vec();
    (bytes[30], bytes[PAGE + 30]) = (0xaa, 0xaa);
    let error = Snapshot::open(bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "neither of the two meta pages at the file's beginning can be used: page 0 has a wrong checksum; page 1 has a \
         wrong checksum"
    );
}

/// At every single byte.
#[test]
fn cut_off_anywhere() {
    let pages_end = good().len() - 32;
    for length in 0..good().len() {
        let cut = &good()[..length];
        match Snapshot::open(cut) {
            Err(Error::Empty) => assert_eq!(length, 0),
            Err(Error::Stranger(_) | Error::Meta { .. }) => assert!(length < 80, "{length}"),
            Err(Error::Truncated { size, page, .. }) => {
                assert_eq!((size, page), (length as u64, (length / PAGE) as u64));
                assert!(length < pages_end);
            }
            Err(other) => panic!("{length}: {other}"),
            Ok(_) => assert!(length >= pages_end, "{length}"),
        }
        if length > pages_end {
            let faults = report(cut).faults;
            assert_eq!(faults, [Fault::CutDigest { bytes: (length - pages_end) as u64 }]);
        }
    }
    // Where the size alone looks as if there were a digest, too.
    let error = Snapshot::open(&good()[..5 * PAGE + 32]).unwrap_err();
    assert_eq!((error.page(), error.offset()), (Some(5), Some(5 * PAGE as u64 + 32)));
    assert!(error.to_string().starts_with("the file is cut off in page 5: it has 20512 bytes"), "{error}");
}

#[test]
fn the_digest_cut_off_whole() {
    let report = report(&good()[..good().len() - 32]);
    assert_eq!(report.faults, [Fault::NoDigest]);
    assert!(!report.is_damaged(), "its pages are whole, and nothing proves its values");
    assert_eq!(report.digest.unwrap().stored, None);
}

#[test]
fn the_digest_alone_changed() {
    let mut bytes = good().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    assert!(matches!(report(&bytes).faults.as_slice(), [Fault::WrongDigest(_)]));
}

#[test]
fn a_database_that_another_tool_opened_for_writing() {
    // As `etcdutl hashkv` leaves it: a transaction more in a meta page, the old digest at the end.
    let mut bytes = good().to_vec();
    bytes[PAGE + 16 + 48] ^= 0x40;
    super::builder::mend_meta(&mut bytes, 1);
    assert!(matches!(report(&bytes).faults.as_slice(), [Fault::WrongDigest(_)]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever happens to it, a damaged file is never found good, and never makes the reader panic or hang.
    #[test]
    fn at_random(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 0..4),
        swap in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = good().to_vec();
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        if let Some((one, other)) = swap {
            let pages = bytes.len() / PAGE;
            let (one, other) = (one.index(pages) * PAGE, other.index(pages) * PAGE);
            let page = bytes[one..one + PAGE].to_vec();
            bytes.copy_within(other..other + PAGE, one);
            bytes[other..other + PAGE].copy_from_slice(&page);
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len() + 1));
        }
        prop_assert_eq!(everything::ask(&bytes), bytes == good());
    }
}
