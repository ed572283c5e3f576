//! Which copies may go, and whether another one is needed.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use jiff::{SignedDuration, Timestamp};

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

/// The newest copy that is verified and was taken less than so long ago: while there is one, nobody needs another. One from the future, by a
/// clock that is wrong, says nothing.
pub fn young(copies: &[Copy], within: SignedDuration, now: Timestamp) -> Option<&Copy> {
    let age = |copy: &&Copy| now.duration_since(copy.taken);
    let young = copies.iter().filter(|copy| copy.verified);
    young.filter(|copy| age(copy) >= SignedDuration::ZERO && age(copy) < within).max_by_key(|copy| copy.taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_proved_copy_of_a_moment_ago_makes_another_needless() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1000);
        let copy = |name: &str, minutes: i64, verified: bool| Copy {
            name: name.to_owned(),
            taken: now - SignedDuration::from_mins(minutes),
            verified,
        };
        let found = |copies: &[Copy]| young(copies, SignedDuration::from_mins(180), now).map(|copy| copy.name.clone());
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[copy("old", 180, true), copy("doubtful", 1, false), copy("future", -1, true)]), None);
        assert_eq!(found(&[copy("older", 170, true), copy("newer", 20, true)]).as_deref(), Some("newer"));
    }
}
