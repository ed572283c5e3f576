//! What the fuzzer in `snapshot/fuzz` does, for a bounded time and without a compiler of its own: files are changed so that
//! they get past the checksums, which chance alone does not.

use std::time::{Duration, Instant};

use super::builder::mend_meta;
use super::{everything, golden};

/// Long enough for tens of thousands of files on any machine, and short in a run of all tests.
const TIME: Duration = Duration::from_secs(4);

#[test]
fn changed_files_never_panic_or_hang() {
    // Xorshift: the same files each time, as far as time goes.
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let seeds = ["etcd-3.5-history", "etcd-3.6-compacted", "etcd-3.7-restored"].map(golden::bytes);
    let (began, mut files, mut longest) = (Instant::now(), 0, Duration::ZERO);
    while began.elapsed() < TIME {
        let mut below = |limit: usize| next() as usize % limit.max(1);
        let mut bytes = seeds[below(seeds.len())].clone();
        for _ in 0..1 + below(6) {
            let (page, pages) = (below(bytes.len() / 4096), bytes.len() / 4096);
            // Headers, elements and the beginnings of entries are where a page's meaning is.
            let depth = [16, 200, 4096][below(3)];
            let at = page * 4096 + below(depth);
            match below(4) {
                0 => bytes[at] ^= 1 << below(8),
                1 => bytes[at] = [0, 1, 2, 0x7f, 0x80, 0xff][below(6)],
                2 => {
                    let from = below(pages) * 4096;
                    bytes.copy_within(from..from + 4096, page * 4096);
                    bytes[page * 4096] = page as u8;
                }
                _ => {
                    let number = [below(pages) as u64, u64::MAX, 1 << 40][below(3)].to_le_bytes();
                    let at = at.min(bytes.len() - 8);
                    bytes[at..at + 8].copy_from_slice(&number);
                }
            }
        }
        mend_meta(&mut bytes, 0);
        mend_meta(&mut bytes, 1);
        let started = Instant::now();
        everything::ask(&bytes);
        longest = longest.max(started.elapsed());
        files += 1;
    }
    assert!(files > 20, "only {files} files");
    assert!(longest < Duration::from_secs(2), "one took {longest:?}");
}
