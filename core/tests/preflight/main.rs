//! What facts alone say of machines: each check provoked on hosts that are otherwise well, and each told by nothing else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod clocks;
mod machines;
mod setting;
mod wrongs;
