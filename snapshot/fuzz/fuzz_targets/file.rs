//! Any bytes: once as they are, once with checksums that are right, because chance never gets past those.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/it/builder.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod builder;
#[path = "../../tests/it/everything.rs"]
mod everything;

fuzz_target!(|bytes: &[u8]| {
    everything::ask(bytes);
    let mut mended = bytes.to_vec();
    builder::mend_meta(&mut mended, 0);
    builder::mend_meta(&mut mended, 1);
    everything::ask(&mended);
});
