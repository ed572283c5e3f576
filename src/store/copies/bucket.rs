//! Copies in a bucket. A copy's objects come there one by one, its manifest last; whoever lists copies looks for manifests, so that
//! until then there is none.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, TryStreamExt};
use kubewright_core::etcd::address::StoreAddress;
use kubewright_core::etcd::manifest::Manifest;
use object_store::path::Path as Key;

use super::{CopiesError, CopiesFault, LARGEST_MANIFEST, Listed, MANIFEST, Taking, name};
use crate::store::objects::{Access, Objects};

/// Manifests asked for at once.
const AT_ONCE: usize = 8;

/// The copies of one cluster in a bucket.
pub(super) struct Bucket {
    objects: Objects,
    root: Key,
    /// Objects of a copy that is not whole yet, in the order in which they came.
    sent: Mutex<Vec<Key>>,
}

impl Bucket {
    /// Those below an address; nothing is sent yet.
    pub(super) async fn open(address: &StoreAddress, access: &Access) -> Result<Self, CopiesError> {
        let StoreAddress::Bucket { bucket, prefix } = address else {
            return Err(CopiesError::new(CopiesFault::Unusable, address, "it is no bucket"));
        };
        let objects = Objects::open(bucket, access).await?;
        let root = objects.key(prefix)?;
        Ok(Self { objects, root, sent: Mutex::default() })
    }

    pub(super) fn address(&self) -> StoreAddress {
        self.objects.address(self.root.as_ref())
    }

    /// Tries whether large objects may be put there, with one that is given up at once: nobody ever sees anything of it.
    pub(super) async fn may_write(&self) -> Result<(), CopiesError> {
        self.objects.begin(&self.root.clone().join("trial")).await?;
        self.objects.abort().await
    }

    pub(super) async fn list(&self) -> Result<Listed, CopiesError> {
        let mut copies: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
        for object in self.objects.list(&self.root).await? {
            let mut below = object.location.prefix_match(&self.root).into_iter().flatten();
            let Some(copy) = below.next() else { continue };
            let copy = copy.as_ref().to_owned();
            let rest: Vec<String> = below.map(|part| part.as_ref().to_owned()).collect();
            // What lies beside the copies is none of them.
            if !rest.is_empty() {
                copies.entry(copy).or_default().insert(rest.join("/"), object.size);
            }
        }
        let read = futures::stream::iter(copies).map(|(name, files)| async move {
            let manifest = match files.contains_key(MANIFEST) {
                true => {
                    self.objects.get(&self.root.clone().join(name.as_str()).join(MANIFEST), LARGEST_MANIFEST).await?
                }
                false => None,
            };
            Ok::<_, CopiesError>((name, files, manifest))
        });
        let mut listed = Listed::default();
        let mut read = read.buffered(AT_ONCE);
        while let Some((name, files, manifest)) = read.try_next().await? {
            let manifest = manifest.ok_or_else(|| format!("it has no {MANIFEST}: on its way, or given up"));
            listed.note(name, manifest, |file| files.get(file).copied());
        }
        Ok(listed.sorted())
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), CopiesError> {
        let folder = self.root.clone().join(name);
        self.objects.remove(&folder.clone().join(MANIFEST)).await?;
        for object in self.objects.list(&folder).await? {
            self.objects.remove(&object.location).await?;
        }
        Ok(())
    }

    /// Sends what is beside the snapshot, the snapshot, and when all of it is there the manifest. The mark in the name keeps two that
    /// are sent at once from writing into each other.
    pub(super) async fn keep(
        &self,
        taking: &Taking,
        manifest: &Manifest,
        sent: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<StoreAddress, CopiesError> {
        let name = format!("{}-{}", name(manifest.taken, manifest.contents.revision), taking.mark());
        let folder = self.root.clone().join(name);
        self.send(&folder, taking, manifest, sent).await?;
        self.sent().clear();
        Ok(self.objects.address(folder.as_ref()))
    }

    async fn send(
        &self,
        folder: &Key,
        taking: &Taking,
        manifest: &Manifest,
        sent: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<(), CopiesError> {
        for file in manifest.companions.keys() {
            let path = taking.path(file);
            let bytes = std::fs::read(&path).map_err(|error| CopiesError::io(&path, &error))?;
            let key = file.split('/').fold(folder.clone(), |key, part| key.join(part));
            self.sent().push(key.clone());
            self.objects.put(&key, bytes).await?;
        }
        let key = folder.clone().join(manifest.file.name.as_str());
        let upload = self.objects.begin(&key).await?;
        let parts = self.objects.send(&upload, &taking.path(&manifest.file.name), sent).await?;
        self.sent().push(key);
        self.objects.complete(&upload, parts, manifest.file.bytes).await?;
        let papers = serde_json::to_vec_pretty(manifest)
            .map_err(|error| CopiesError::new(CopiesFault::Other, self.address(), error.to_string()))?;
        let key = folder.clone().join(MANIFEST);
        self.sent().push(key.clone());
        self.objects.put(&key, papers).await
    }

    /// Takes back what was sent, what came last first, so that the manifest goes before what it tells of. Tells the first failure; from
    /// one that says that the way there is gone, the rest is not waited for.
    pub(super) async fn give_up(&self) -> Option<CopiesError> {
        self.objects.settle().await;
        let keys = std::mem::take(&mut *self.sent());
        let mut failed: Option<CopiesError> = None;
        for key in keys.iter().rev() {
            if failed.as_ref().is_none_or(|error| error.fault != CopiesFault::Gone) {
                failed = self.objects.remove(key).await.err().or(failed);
            }
        }
        if failed.as_ref().is_none_or(|error| error.fault != CopiesFault::Gone) {
            failed = self.objects.abort().await.err().or(failed);
        }
        failed
    }

    fn sent(&self) -> MutexGuard<'_, Vec<Key>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
