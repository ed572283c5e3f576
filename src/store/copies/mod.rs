//! Copies of etcd, in a folder or in a bucket: each is there whole or not at all.
//!
//! ```text
//! STORE/CLUSTER/2026-11-20T230000Z-1284907/{etcd.snap,manifest.json,companions/…}
//! ```
//!
//! What makes a copy one is its manifest: in a [`folder`] all of it appears at once, in a [`bucket`] the manifest comes last and
//! goes first. A copy is always made on this machine's disk, where it is proved, before any of it goes anywhere else.

mod bucket;
mod folder;

use std::io;
use std::path::Path;

use jiff::Timestamp;
use kubewright_core::etcd::address::StoreAddress;
use kubewright_core::etcd::manifest::Manifest;
use kubewright_core::etcd::retention::Copy;

use self::bucket::Bucket;
pub(crate) use self::folder::small;
pub use self::folder::{Folder, Taking};
use super::objects::Access;

/// The snapshot's name in its copy.
pub const SNAPSHOT: &str = "etcd.snap";
/// Its papers.
pub const MANIFEST: &str = "manifest.json";
/// A manifest is a few kilobytes; what is larger is none, and is not read.
pub(crate) const LARGEST_MANIFEST: u64 = 4 << 20;

/// What is the matter with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopiesFault {
    /// It was taken away, or the way to it.
    Gone,
    /// It has no room.
    Full,
    /// We may not.
    Denied,
    /// Nobody is known to it whom our credentials name, or there are none.
    Credentials,
    /// There is no such bucket.
    NoBucket,
    /// What was asked for is not there.
    NotThere,
    /// It cannot be an address, or its settings cannot be used.
    Unusable,
    /// Something else.
    Other,
}

/// Why a store did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {said}")]
pub struct CopiesError {
    /// What is the matter.
    pub fault: CopiesFault,
    /// The store, or what in it.
    pub place: String,
    /// The store's own words, or the system's.
    pub said: String,
}

impl CopiesError {
    /// A failure of which nothing but this is known.
    pub fn new(fault: CopiesFault, place: impl ToString, said: impl Into<String>) -> Self {
        Self { fault, place: place.to_string(), said: said.into() }
    }

    /// A file or folder that failed.
    pub fn io(path: impl AsRef<Path>, error: &io::Error) -> Self {
        let fault = match error.kind() {
            io::ErrorKind::NotFound => CopiesFault::Gone,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                CopiesFault::Full
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => CopiesFault::Denied,
            _ => CopiesFault::Other,
        };
        Self::new(fault, path.as_ref().display(), error.to_string())
    }

    /// What to do about it, where the fault tells.
    pub fn hint(&self) -> Option<&'static str> {
        match self.fault {
            CopiesFault::Full => Some("make room, or name another store: --to"),
            CopiesFault::Credentials => Some(
                "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; keys of another server than AWS need --endpoint URL",
            ),
            CopiesFault::Denied => Some(
                "a store of copies needs reading, listing, writing and deleting (s3:GetObject, s3:ListBucket, s3:PutObject, s3:DeleteObject)",
            ),
            CopiesFault::NoBucket => {
                Some("make the bucket, or name another one; another server than AWS needs --endpoint URL")
            }
            CopiesFault::Gone | CopiesFault::NotThere | CopiesFault::Unusable | CopiesFault::Other => None,
        }
    }
}

/// What is in a store.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Papers of each copy, by name.
    pub manifests: Vec<(String, Manifest)>,
    /// What is no copy, and why. It is never removed.
    pub unreadable: Vec<(String, String)>,
}

impl Listed {
    /// For the choice of what may go.
    pub fn copies(&self) -> Vec<Copy> {
        let copy = |(name, manifest): &(String, Manifest)| Copy {
            name: name.clone(),
            taken: manifest.taken,
            verified: manifest.attestation.is_proved(),
        };
        self.manifests.iter().map(copy).collect()
    }

    /// Adds one by what was read of it: its manifest, and how large its snapshot is.
    fn note(&mut self, name: String, manifest: Result<Vec<u8>, String>, snapshot: impl FnOnce(&str) -> Option<u64>) {
        let read = manifest.and_then(|bytes| {
            serde_json::from_slice::<Manifest>(&bytes)
                .map_err(|error| format!("its {MANIFEST} cannot be read: {error}"))
        });
        let whole = read.and_then(|manifest| {
            let file = &manifest.file;
            match snapshot(&file.name) {
                Some(bytes) if bytes == file.bytes => Ok(manifest),
                Some(bytes) => Err(format!("its {} has {bytes} bytes, and had {}", file.name, file.bytes)),
                None => Err(format!("its {} is gone", file.name)),
            }
        });
        match whole {
            Ok(manifest) => self.manifests.push((name, manifest)),
            Err(why) => self.unreadable.push((name, why)),
        }
    }

    fn sorted(mut self) -> Self {
        self.manifests.sort_by(|one, other| one.0.cmp(&other.0));
        self.unreadable.sort();
        self
    }
}

/// The copies of one cluster.
pub struct Copies {
    /// Where a copy is made and proved; where it stays too, unless there is a bucket.
    workbench: Folder,
    bucket: Option<Bucket>,
}

impl Copies {
    /// Those of a cluster in a store, which has to be there and let us write. `scratch` is a folder of this machine for copies that
    /// go to a bucket, while they are made.
    ///
    /// # Errors
    /// [`CopiesError`].
    pub async fn open(
        address: &StoreAddress,
        cluster: &str,
        scratch: &Path,
        access: &Access,
    ) -> Result<Self, CopiesError> {
        match address {
            StoreAddress::Folder(path) => Self::in_folder(Path::new(path), cluster),
            StoreAddress::Bucket { .. } => {
                let bucket = Bucket::open(&address.below(cluster), access).await?;
                bucket.may_write().await?;
                Ok(Self { workbench: Folder::open(scratch, cluster)?, bucket: Some(bucket) })
            }
        }
    }

    /// Those of a cluster in a store, only to look at them. A store that has none yet is no fault.
    ///
    /// # Errors
    /// [`CopiesError`].
    pub async fn look(address: &StoreAddress, cluster: &str, access: &Access) -> Result<Listed, CopiesError> {
        match address {
            StoreAddress::Folder(path) => {
                Folder::existing(Path::new(path), cluster)?.map_or(Ok(Listed::default()), |folder| folder.list())
            }
            StoreAddress::Bucket { .. } => Bucket::open(&address.below(cluster), access).await?.list().await,
        }
    }

    /// Those of a cluster in a folder, which is made where it is missing. What a run left that was killed is cleared away.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn in_folder(folder: &Path, cluster: &str) -> Result<Self, CopiesError> {
        Ok(Self { workbench: Folder::open(folder, cluster)?, bucket: None })
    }

    /// Where they are.
    pub fn place(&self) -> String {
        match &self.bucket {
            Some(bucket) => bucket.address().to_string(),
            None => self.workbench.path().display().to_string(),
        }
    }

    /// The folder where copies are made.
    pub fn workbench(&self) -> &Path {
        self.workbench.path()
    }

    /// Whether they go to a bucket once they are made.
    pub fn is_bucket(&self) -> bool {
        self.bucket.is_some()
    }

    /// Bytes that we may still write where copies are made. What a bucket has room for, nobody tells.
    ///
    /// # Errors
    /// The folder is gone.
    pub fn free(&self) -> Result<u64, CopiesError> {
        self.workbench.free()
    }

    /// A place for one more.
    ///
    /// # Errors
    /// The folder is gone, or cannot be written.
    pub fn begin(&self) -> Result<Taking, CopiesError> {
        self.workbench.begin()
    }

    /// Writes the papers and gives the copy its name; from then on it is there. `sent` is told how many bytes of how many have gone to
    /// a bucket.
    ///
    /// # Errors
    /// [`CopiesError`]; nothing that counts as a copy is left then.
    pub async fn keep(
        &self,
        taking: Taking,
        manifest: &Manifest,
        sent: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<StoreAddress, CopiesError> {
        match &self.bucket {
            None => taking.keep(manifest).map(|path| StoreAddress::Folder(path.display().to_string())),
            Some(bucket) => bucket.keep(&taking, manifest, sent).await,
        }
    }

    /// Takes back what a [`Copies::keep`] had sent that was given up in the middle; tells what could not be taken back. Nothing of it
    /// counts as a copy.
    pub async fn give_up(&self) -> Option<CopiesError> {
        match &self.bucket {
            None => None,
            Some(bucket) => bucket.give_up().await,
        }
    }

    /// All that are whole.
    ///
    /// # Errors
    /// [`CopiesError`].
    pub async fn list(&self) -> Result<Listed, CopiesError> {
        match &self.bucket {
            None => self.workbench.list(),
            Some(bucket) => bucket.list().await,
        }
    }

    /// Removes one: first its papers, so that half of one is never taken for a whole one.
    ///
    /// # Errors
    /// It is not there, or cannot be removed.
    pub async fn remove(&self, name: &str) -> Result<(), CopiesError> {
        match &self.bucket {
            None => self.workbench.remove(name),
            Some(bucket) => bucket.remove(name).await,
        }
    }
}

/// In the order of time when sorted, and plain enough for every file system and every bucket.
fn name(taken: Timestamp, revision: i64) -> String {
    format!("{}-{revision}", taken.strftime("%Y-%m-%dT%H%M%SZ"))
}
