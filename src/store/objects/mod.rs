//! A bucket of an S3-compatible server, through the crate object_store: objects put, got, listed and removed. Each byte that goes
//! there carries its SHA-256, which the server compares before it keeps it.

mod access;
mod fault;

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use kubewright_core::etcd::address::StoreAddress;
use object_store::aws::AmazonS3;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Key;
use object_store::{GetOptions, MultipartId, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::task::spawn_blocking;
use tokio_util::task::TaskTracker;

pub use self::access::Access;
use super::copies::{CopiesError, CopiesFault};

/// The least that a part of a large object has. S3 takes none below 5 MiB; a larger one costs memory for two at a time and is sent
/// again whole where a connection breaks.
const PART: u64 = 8 << 20;

/// So many parts are there at most: S3 takes 10,000.
const PARTS: u64 = 9_000;

/// Parts on their way at once: one is read and hashed while another one is sent.
const AT_ONCE: usize = 2;

/// How long requests on their way are waited for before what they made is taken away. A part of 8 MiB takes that long at 7 Mbit/s, and
/// somebody who gave up waits for it.
const ENDING: Duration = Duration::from_secs(10);

/// A bucket.
pub struct Objects {
    store: AmazonS3,
    bucket: String,
    changing: TaskTracker,
    begun: Arc<Mutex<Vec<Upload>>>,
}

/// A large object of which the server has some parts. Nobody sees anything of it until it is [`Objects::complete`].
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    key: Key,
    id: MultipartId,
}

impl Objects {
    /// Prepares the way to a bucket; nothing is sent yet.
    ///
    /// # Errors
    /// There are no credentials, or settings that cannot be used.
    pub async fn open(bucket: &str, access: &Access) -> Result<Self, CopiesError> {
        let store = access.client(bucket).await?;
        Ok(Self { store, bucket: bucket.to_owned(), changing: TaskTracker::new(), begun: Arc::default() })
    }

    /// What an address names in it.
    ///
    /// # Errors
    /// [`CopiesFault::Unusable`] where it can be no key.
    pub fn key(&self, prefix: &str) -> Result<Key, CopiesError> {
        Key::parse(prefix)
            .map_err(|error| CopiesError::new(CopiesFault::Unusable, self.address(prefix), error.to_string()))
    }

    /// How people write a key.
    pub fn address(&self, key: &str) -> StoreAddress {
        StoreAddress::Bucket { bucket: self.bucket.clone(), prefix: key.to_owned() }
    }

    fn told(&self, key: &Key, error: object_store::Error) -> CopiesError {
        fault::told(self.address(key.as_ref()), error)
    }

    /// Sends a request that changes something, and sees it through even where nobody waits for its answer any longer: one that is cut
    /// off may still be carried out, after what it made was taken away.
    async fn change<T: Send + 'static>(&self, request: impl Future<Output = T> + Send + 'static) -> T {
        self.changing.spawn(request).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
    }

    /// Waits for requests that change something and were given up, [`ENDING`] at most.
    pub async fn settle(&self) {
        self.changing.close();
        let _ = tokio::time::timeout(ENDING, self.changing.wait()).await;
        self.changing.reopen();
    }

    /// All objects whose keys begin with this and a slash.
    ///
    /// # Errors
    /// [`CopiesError`].
    pub async fn list(&self, prefix: &Key) -> Result<Vec<ObjectMeta>, CopiesError> {
        self.store.list(Some(prefix)).try_collect().await.map_err(|error| self.told(prefix, error))
    }

    /// The bytes of an object; none where it is not there. Of one that is larger than `most` nothing is read.
    ///
    /// # Errors
    /// [`CopiesError`].
    pub async fn get(&self, key: &Key, most: u64) -> Result<Option<Vec<u8>>, CopiesError> {
        let got = match self.store.get_opts(key, GetOptions::default()).await {
            Ok(got) => got,
            Err(error) => {
                let error = self.told(key, error);
                return if error.fault == CopiesFault::NotThere { Ok(None) } else { Err(error) };
            }
        };
        if got.meta.size > most {
            let said = format!("it has {} bytes; no more than {most} are read", got.meta.size);
            return Err(CopiesError::new(CopiesFault::Unusable, self.address(key.as_ref()), said));
        }
        got.bytes().await.map(|bytes| Some(bytes.to_vec())).map_err(|error| self.told(key, error))
    }

    /// Writes an object into a file of ours; `came` is told how many bytes of how many are there.
    ///
    /// # Errors
    /// [`CopiesError`].
    pub async fn download(
        &self,
        key: &Key,
        mut file: File,
        came: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<(), CopiesError> {
        let got = self.store.get_opts(key, GetOptions::default()).await.map_err(|error| self.told(key, error))?;
        let all = got.meta.size;
        let mut pieces = got.into_stream();
        let mut done = 0;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.told(key, error))?;
            done += piece.len() as u64;
            // A piece is what came of the network at once; writing it into the page cache takes less than a task switch.
            file.write_all(&piece).map_err(|error| CopiesError::io("the file for it", &error))?;
            came(done, all);
        }
        if done == all {
            return Ok(());
        }
        Err(CopiesError::new(CopiesFault::Gone, self.address(key.as_ref()), format!("{done} of {all} bytes came")))
    }

    /// Puts a small object.
    ///
    /// # Errors
    /// [`CopiesError`].
    pub async fn put(&self, key: &Key, bytes: Vec<u8>) -> Result<(), CopiesError> {
        let (store, there) = (self.store.clone(), key.clone());
        let put = self.change(async move { store.put(&there, PutPayload::from(bytes)).await });
        put.await.map(drop).map_err(|error| self.told(key, error))
    }

    /// Removes an object; one that is not there is gone.
    ///
    /// # Errors
    /// [`CopiesError`].
    pub async fn remove(&self, key: &Key) -> Result<(), CopiesError> {
        match self.store.delete(key).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.told(key, error)),
        }
    }

    /// Begins a large object.
    ///
    /// # Errors
    /// [`CopiesError`].
    pub async fn begin(&self, key: &Key) -> Result<Upload, CopiesError> {
        let (store, begun, there) = (self.store.clone(), self.begun.clone(), key.clone());
        let begin = self.change(async move {
            let id = store.create_multipart(&there).await?;
            let upload = Upload { key: there, id };
            lock(&begun).push(upload.clone());
            Ok(upload)
        });
        begin.await.map_err(|error| self.told(key, error))
    }

    /// Sends a file's parts, each of which the server compares with its SHA-256; `sent` is told how many bytes of how many have
    /// gone.
    ///
    /// # Errors
    /// [`CopiesError`].
    pub async fn send(
        &self,
        upload: &Upload,
        file: &Path,
        sent: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Vec<PartId>, CopiesError> {
        let ours = |error: io::Error| CopiesError::io(file, &error);
        let (opened, all) = File::open(file)
            .and_then(|file| Ok((file.metadata()?.len(), file)))
            .map(|(all, file)| (Arc::new(file), all))
            .map_err(ours)?;
        let size = part_size(all);
        let parts = futures::stream::iter((0..all.div_ceil(size)).map(|number| {
            let opened = opened.clone();
            async move {
                let (from, length) = (number * size, size.min(all - number * size));
                let read = spawn_blocking(move || {
                    let mut bytes = vec![0; length as usize];
                    opened.read_exact_at(&mut bytes, from).map(|()| bytes)
                });
                let bytes = read.await.unwrap_or_else(|_| Err(io::Error::other("the reader ended"))).map_err(ours)?;
                let (store, Upload { key, id }) = (self.store.clone(), upload.clone());
                let part = self
                    .change(async move { store.put_part(&key, &id, number as usize, PutPayload::from(bytes)).await });
                Ok((part.await.map_err(|error| self.told(&upload.key, error))?, length))
            }
        }));
        let mut parts = parts.buffered(AT_ONCE);
        let (mut ids, mut done) = (Vec::new(), 0);
        while let Some((part, length)) = parts.try_next().await? {
            ids.push(part);
            done += length;
            sent(done, all);
        }
        Ok(ids)
    }

    /// Makes one object of the parts, and sees that it is as large as they were.
    ///
    /// # Errors
    /// [`CopiesError`].
    pub async fn complete(&self, upload: &Upload, parts: Vec<PartId>, bytes: u64) -> Result<(), CopiesError> {
        let key = &upload.key;
        let (store, begun, whole) = (self.store.clone(), self.begun.clone(), upload.clone());
        let complete = self.change(async move {
            store.complete_multipart(&whole.key, &whole.id, parts).await?;
            lock(&begun).retain(|upload| *upload != whole);
            Ok(())
        });
        complete.await.map_err(|error| self.told(key, error))?;
        let there = self.store.head(key).await.map_err(|error| self.told(key, error))?;
        if there.size == bytes {
            return Ok(());
        }
        let said = format!("the server has {} bytes of {bytes}", there.size);
        Err(CopiesError::new(CopiesFault::Other, self.address(key.as_ref()), said))
    }

    /// Gives up large objects that were begun and not completed; what the server has of them goes.
    ///
    /// # Errors
    /// [`CopiesError`].
    pub async fn abort(&self) -> Result<(), CopiesError> {
        let begun = std::mem::take(&mut *lock(&self.begun));
        for Upload { key, id } in begun {
            match self.store.abort_multipart(&key, &id).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.told(&key, error)),
            }
        }
        Ok(())
    }
}

fn lock(begun: &Mutex<Vec<Upload>>) -> MutexGuard<'_, Vec<Upload>> {
    begun.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Parts of one size, as some servers want them, and few enough; whole mebibytes.
fn part_size(bytes: u64) -> u64 {
    PART.max(bytes.div_ceil(PARTS).next_multiple_of(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_large_enough_and_few_enough() {
        for bytes in [0, 1, PART, PART + 1, PARTS * PART, PARTS * PART + 1, 100 << 30, 5 << 40] {
            let size = part_size(bytes);
            assert!(size >= 5 << 20 && size.is_multiple_of(1 << 20), "{bytes}: {size}");
            assert!(bytes.div_ceil(size) <= 10_000, "{bytes}: {size}");
        }
        assert_eq!(part_size(8 << 30), PART, "etcd's advised limit takes parts of the least size");
    }
}
