//! Snapshots to be read, wherever they are: files, packed or not, and copies in folders and buckets. What has to be unpacked or fetched
//! first goes into a file without a name, which is gone when its reader is: nobody else can open it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use kubewright_core::etcd::address::StoreAddress;
use kubewright_core::etcd::manifest::Manifest;
use kubewright_snapshot::SnapshotFile;

use super::companions::digest;
use super::packing::{is_packed, unpack};
use crate::error::{Error, ErrorKind};
use crate::store::copies::{CopiesError, CopiesFault, LARGEST_MANIFEST, MANIFEST, small};
use crate::store::objects::{Access, Objects};

/// No more is read of what lies beside a snapshot: static pods and a dozen keys.
const LARGEST_COMPANION: u64 = 64 << 20;

/// A snapshot that can be read at any place.
#[derive(Debug)]
pub struct Opened {
    /// Its bytes, unpacked.
    pub file: SnapshotFile,
    /// What is said of it, where a manifest lies beside it.
    pub manifest: Option<Manifest>,
}

impl Opened {
    /// SHA-256 that its bytes must have, by its manifest.
    pub fn wanted(&self) -> Option<&str> {
        let file = &self.manifest.as_ref()?.file;
        Some(file.unpacked.as_ref().map_or(&file.sha256, |unpacked| &unpacked.sha256))
    }
}

/// Why there is nothing to read.
#[derive(Debug)]
pub enum Unopened {
    /// It is packed, and cannot be unpacked to its end.
    Damaged(String),
    /// It is not there, or may not be read, or there is no room to unpack it.
    Error(Error),
}

impl From<Error> for Unopened {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Opens a file, or the snapshot of a copy; of a copy its folder may be named, or the file in it.
///
/// # Errors
/// [`Unopened`].
pub async fn open(address: &StoreAddress, access: &Access) -> Result<Opened, Unopened> {
    let (file, manifest) = match address {
        StoreAddress::Folder(path) => found(Path::new(path))?,
        StoreAddress::Bucket { bucket, prefix } => {
            fetched(&Objects::open(bucket, access).await.map_err(Error::from)?, prefix).await?
        }
    };
    let file = plain(file, &address.to_string()).await?;
    Ok(Opened { file, manifest })
}

/// A file of this machine, and its papers.
fn found(path: &Path) -> Result<(Stored, Option<Manifest>), Error> {
    let told = |error: io::Error| Error::io(path, error);
    if path.is_dir() && path.join(MANIFEST).is_file() {
        let manifest = parsed(
            &path.join(MANIFEST).display().to_string(),
            &small(&path.join(MANIFEST), LARGEST_MANIFEST).map_err(told)?,
        )?;
        let file = path.join(&manifest.file.name);
        return Ok((Stored::Path(file), Some(manifest)));
    }
    // A manifest that tells of another file, or cannot be read, says nothing of this one.
    let beside = small(&path.with_file_name(MANIFEST), LARGEST_MANIFEST).ok();
    let manifest = beside.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
    let name = path.file_name().and_then(|name| name.to_str());
    let manifest = manifest.filter(|manifest| Some(manifest.file.name.as_str()) == name);
    Ok((Stored::Path(path.to_owned()), manifest))
}

/// Where a file is before it is looked at.
enum Stored {
    Path(PathBuf),
    Nameless(File),
}

/// An object of a bucket, and its papers.
async fn fetched(objects: &Objects, prefix: &str) -> Result<(Stored, Option<Manifest>), Error> {
    let address = objects.address(prefix);
    let manifest_in = async |folder: &str| -> Result<Option<Manifest>, Error> {
        let key = objects.key(folder)?.join(MANIFEST);
        match objects.get(&key, LARGEST_MANIFEST).await? {
            Some(bytes) => parsed(&objects.address(key.as_ref()).to_string(), &bytes).map(Some),
            None => Ok(None),
        }
    };
    let (folder, name) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    let (key, manifest) = match manifest_in(prefix).await? {
        Some(manifest) => (objects.key(prefix)?.join(manifest.file.name.as_str()), Some(manifest)),
        // As with files: what tells of another one says nothing of this one.
        None => (
            objects.key(prefix)?,
            manifest_in(folder).await.ok().flatten().filter(|manifest| manifest.file.name == name),
        ),
    };
    let file = nameless()?;
    let into = file.try_clone().map_err(|error| Error::io(room(), error))?;
    match objects.download(&key, into, &|_, _| {}).await {
        Ok(()) => Ok((Stored::Nameless(file), manifest)),
        Err(error) if error.fault == CopiesFault::NotThere => {
            let text = format!("{address}: there is no such object, and no copy of this name");
            Err(Error::usage(text).code("FILE").next("list what is there: kubewright etcd copies"))
        }
        Err(error) if error.fault == CopiesFault::Full => Err(no_room(&io::Error::other(error.said))),
        Err(error) => Err(error.into()),
    }
}

fn parsed(place: &str, bytes: &[u8]) -> Result<Manifest, Error> {
    let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| {
        Error::from(CopiesError::new(CopiesFault::Unusable, place, format!("this is no manifest: {error}")))
    })?;
    // It names a file beside itself, and none elsewhere.
    match manifest.file.name.contains('/') || matches!(manifest.file.name.as_str(), "" | "." | "..") {
        false => Ok(manifest),
        true => Err(CopiesError::new(CopiesFault::Unusable, place, "it names a file elsewhere").into()),
    }
}

/// Unpacked where it is packed.
async fn plain(file: Stored, place: &str) -> Result<SnapshotFile, Unopened> {
    let told = |error: io::Error| Unopened::Error(Error::io(place, error));
    let (mut file, opened) = match file {
        Stored::Path(path) => {
            // Refuses what is no file before it is opened.
            let opened = SnapshotFile::open(&path).map_err(|error| Error::io(&path, error))?;
            (File::open(&path).map_err(|error| Error::io(&path, error))?, Some(opened))
        }
        Stored::Nameless(mut file) => {
            file.rewind().map_err(told)?;
            (file, None)
        }
    };
    let mut beginning = Vec::new();
    Read::by_ref(&mut file).take(4).read_to_end(&mut beginning).map_err(told)?;
    if !is_packed(&beginning) {
        return match opened {
            Some(opened) => Ok(opened),
            None => SnapshotFile::of(file).map_err(told),
        };
    }
    file.rewind().map_err(told)?;
    let into = nameless()?;
    let mut to = into.try_clone().map_err(told)?;
    let work = tokio::task::spawn_blocking(move || unpack(&mut file, &mut to));
    match work.await.unwrap_or_else(|_| Err(io::Error::other("the reader ended"))) {
        Ok(_) => SnapshotFile::of(into).map_err(told),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(Unopened::Damaged(error.to_string())),
        Err(error) => Err(no_room(&error).into()),
    }
}

/// An empty file that only we can reach.
pub(super) fn nameless() -> Result<File, Error> {
    tempfile::tempfile_in(room()).map_err(|error| no_room(&error))
}

/// Where there is room for a database: TMPDIR, else /var/tmp, for /tmp is often memory.
fn room() -> PathBuf {
    let large = Path::new("/var/tmp");
    match std::env::var_os("TMPDIR") {
        None if large.is_dir() => large.to_owned(),
        _ => std::env::temp_dir(),
    }
}

/// Whether so many bytes fit there, before any of them is fetched.
pub(super) fn has_room(bytes: u64) -> Result<(), Error> {
    let space = rustix::fs::statvfs(room()).map_err(|error| no_room(&error.into()))?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    match free >= bytes {
        true => Ok(()),
        false => Err(no_room(&io::Error::other(format!(
            "{} MB are free, {} MB are needed",
            free / 1_000_000,
            bytes / 1_000_000
        )))),
    }
}

pub(super) fn no_room(error: &io::Error) -> Error {
    let text = format!("{}: {error}", room().display());
    Error::new(ErrorKind::Blocked, "STORE", text)
        .safe("nothing was changed")
        .next("name a folder with room for the database, unpacked: TMPDIR=FOLDER")
}

/// What is kept beside a snapshot.
#[derive(Debug)]
pub struct Beside {
    /// The copy's papers.
    pub manifest: Manifest,
    /// The files, each as its manifest tells, by their names there.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Reads a copy's papers and, where they are wanted, the files that they tell of.
///
/// # Errors
/// It is no copy, or a file is gone or another one.
pub async fn beside(copy: &StoreAddress, access: &Access, files: bool) -> Result<Beside, Error> {
    let no_copy = || {
        Error::usage(format!("{copy}: this is no copy: it has no {MANIFEST}"))
            .next("list copies: kubewright etcd copies")
    };
    let mut found = BTreeMap::new();
    let manifest = match copy {
        StoreAddress::Folder(path) => {
            let folder = Path::new(path);
            let papers = folder.join(MANIFEST);
            let bytes = small(&papers, LARGEST_MANIFEST).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => no_copy(),
                _ => Error::io(&papers, error),
            })?;
            let manifest = parsed(&papers.display().to_string(), &bytes)?;
            for name in manifest.companions.keys().filter(|_| files) {
                let path = folder.join(beside_it(copy, name)?);
                found.insert(name.clone(), small(&path, LARGEST_COMPANION).map_err(|error| Error::io(&path, error))?);
            }
            manifest
        }
        StoreAddress::Bucket { bucket, prefix } => {
            let objects = Objects::open(bucket, access).await?;
            let bytes =
                objects.get(&objects.key(prefix)?.join(MANIFEST), LARGEST_MANIFEST).await?.ok_or_else(no_copy)?;
            let manifest = parsed(&copy.to_string(), &bytes)?;
            for name in manifest.companions.keys().filter(|_| files) {
                let key = beside_it(copy, name)?.split('/').fold(objects.key(prefix)?, |key, part| key.join(part));
                let bytes = objects.get(&key, LARGEST_COMPANION).await?;
                found.insert(name.clone(), bytes.ok_or_else(|| changed(copy, name, "it is gone"))?);
            }
            manifest
        }
    };
    for (name, bytes) in &found {
        if manifest.companions.get(name) != Some(&digest(bytes)) {
            return Err(changed(copy, name, "it is not the file that the manifest tells of"));
        }
    }
    Ok(Beside { manifest, files: found })
}

fn changed(copy: &StoreAddress, name: &str, why: &str) -> Error {
    Error::new(ErrorKind::Blocked, "COPY", format!("{}: {why}", copy.below(name)))
        .safe("nothing was written")
        .next("use another copy")
}

/// A manifest is data: what it names leads nowhere but below.
fn beside_it<'n>(copy: &StoreAddress, name: &'n str) -> Result<&'n str, Error> {
    match name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        false => Ok(name),
        true => {
            Err(CopiesError::new(CopiesFault::Unusable, copy, format!("its manifest names a file elsewhere: {name}"))
                .into())
        }
    }
}
