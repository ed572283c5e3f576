//! Which copies may go.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use jiff::Timestamp;

/// A copy that is kept somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Its name in the store.
    pub name: String,
    /// When it was taken.
    pub taken: Timestamp,
    /// Whether a majority of the members attested it then.
    pub verified: bool,
}

/// The names of the copies that are not needed when so many are to be kept, the oldest first.
///
/// Kept are the newest of all, and the newest of those that are verified, so many of each: copies that nobody could attest, of
/// weeks without a majority perhaps, never push out one that is proved.
pub fn expendable(copies: &[Copy], keep: NonZeroUsize) -> Vec<String> {
    let mut newest: Vec<&Copy> = copies.iter().collect();
    newest.sort_by_key(|copy| Reverse((copy.taken, &copy.name)));
    let verified = newest.iter().filter(|copy| copy.verified).take(keep.get());
    let kept: BTreeSet<&str> = newest.iter().take(keep.get()).chain(verified).map(|copy| copy.name.as_str()).collect();
    newest.iter().rev().filter(|copy| !kept.contains(copy.name.as_str())).map(|copy| copy.name.clone()).collect()
}
