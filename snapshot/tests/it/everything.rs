//! All that can be asked of a file. Also what the fuzzer runs: nothing here may panic, loop, or take long, whatever the
//! bytes are.

use kubewright_snapshot::{Filter, Snapshot, diff};

/// Asks everything, and tells whether the file was found good.
pub fn ask(bytes: &[u8]) -> bool {
    let Ok(snapshot) = Snapshot::open(bytes) else { return false };
    let report = snapshot.verify();
    for fault in &report.faults {
        assert!(!fault.to_string().is_empty());
    }
    // What a damaged file still tells must end, too.
    let _ = snapshot.state().map(|state| (state.zombies(), state.storage_version()));
    for revision in [None, Some(0), Some(1), Some(40), Some(i64::MAX)] {
        let _ = snapshot.hash_kv(revision);
    }
    let _ = snapshot.list(&Filter::default(), 3);
    let _ = diff(&snapshot, &snapshot, &Filter::default(), 2);
    report.faults.is_empty()
}
