//! Reads etcd snapshots: the files that `etcdctl snapshot save` and the maintenance API write, and copies of a member's
//! `member/snap/db`. Nothing is ever written, and no file, however damaged, makes this crate panic, loop, or take memory
//! without bound: every page is checked before it is used, and every reference is followed at most once.
//!
//! ```no_run
//! use kubewright_snapshot::{Snapshot, SnapshotFile};
//!
//! let snapshot = Snapshot::open(SnapshotFile::open("lab.snap")?)?;
//! let report = snapshot.verify();
//! for fault in &report.faults {
//!     println!("{fault}");
//! }
//! let hash = snapshot.hash_kv(None)?;
//! println!("revision {} has HashKV {:08x}", hash.revision, hash.hash);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A snapshot is a bbolt database followed by the SHA-256 of everything before it. [`Snapshot::verify`] recomputes that
//! digest, walks every page that can be reached, and tells what the file holds. [`Snapshot::hash_kv`] computes what the
//! members of a cluster answer when they are asked for HashKV, so that a file can be compared with them:
//! the digest identifies a file, HashKV its contents. [`Snapshot::list`] counts and sizes objects, [`diff`] compares two
//! files.
//!
//! Memory is bounded by the number of keys and not by their values; see [`Snapshot::verify`].

mod bolt;
mod diff;
mod digest;
mod error;
mod kubernetes;
mod list;
mod mvcc;
mod snapshot;
mod source;
mod state;
mod verify;
mod wire;

pub use bolt::MetaPage;
pub use diff::{Change, Diff, Difference, diff};
pub use digest::Digest;
pub use error::{Error, Fault, PageFault, RowFault, Stranger};
pub use kubernetes::{ObjectKey, Resource};
pub use list::{Counts, Filter, LargeObject, Listing, ResourceCounts};
pub use mvcc::{HashKv, Revision};
pub use snapshot::Snapshot;
pub use source::{SnapshotFile, Source};
pub use state::{Alarm, AlarmKind, Auth, ConfState, Member, MemberId, State, Version, Zombie};
pub use verify::{Report, Survey};
