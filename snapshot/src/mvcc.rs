//! etcd's key space: every change of a key is a row of the bucket `key`, filed under the revision that made it.

mod alive;
mod hash;
mod row;
mod share;

use serde::Serialize;

pub(crate) use alive::{Alive, Census, Lineages};
pub use hash::HashKv;
pub(crate) use hash::Hasher;
pub(crate) use row::{Row, main_revision};
pub(crate) use share::{Share, fingerprint};

/// When something was written: `main` counts transactions, `sub` the changes within one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Revision {
    /// The transaction.
    pub main: i64,
    /// The change within it.
    pub sub: i64,
}
