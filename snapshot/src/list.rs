//! What is in a file, counted and sized by resource and namespace.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};

use serde::Serialize;

use crate::error::Error;
use crate::kubernetes::{Content, ObjectKey, Resource, content, is_encrypted};
use crate::mvcc::Row;
use crate::snapshot::Snapshot;
use crate::source::Source;

/// Which keys are meant; all where nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only keys that begin with this.
    pub prefix: Vec<u8>,
    /// Only this resource ([`ObjectKey::is_called`]).
    pub resource: Option<String>,
    /// Only this namespace.
    pub namespace: Option<String>,
}

impl Filter {
    pub(crate) fn takes(&self, key: &[u8], object: Option<&ObjectKey<'_>>) -> bool {
        let resource = |said: &str| object.is_some_and(|object| object.is_called(said));
        let namespace = |said: &str| object.is_some_and(|object| object.namespace == Some(said));
        !key.is_empty()
            && key.starts_with(&self.prefix)
            && self.resource.as_deref().is_none_or(resource)
            && self.namespace.as_deref().is_none_or(namespace)
    }
}

/// How many there are, and what they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Objects that exist at the newest revision.
    pub objects: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Changes that are kept, those of objects that exist included.
    pub rows: u64,
    /// Bytes of these: what a compaction and a defragmentation can win is the difference.
    pub row_bytes: u64,
}

impl Counts {
    fn note(&mut self, row: &Row<'_>, alive: bool) {
        let bytes = (row.raw.0.len() + row.raw.1.len()) as u64;
        self.rows += 1;
        self.row_bytes += bytes;
        if alive {
            self.objects += 1;
            self.bytes += (row.key.len() + row.value.len()) as u64;
        }
    }

    fn add(&mut self, other: &Self) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.rows += other.rows;
        self.row_bytes += other.row_bytes;
    }
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceCounts {
    /// Which; `null` is what is not Kubernetes'.
    pub resource: Resource,
    /// The kind of its objects, where they tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// How many of them the API server encrypted.
    pub encrypted: u64,
    /// All of them.
    #[serde(flatten)]
    pub counts: Counts,
    /// By namespace; empty is none.
    pub namespaces: BTreeMap<String, Counts>,
}

/// A large object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LargeObject {
    /// Bytes of its key and value.
    pub bytes: u64,
    /// Its key; bytes that are no text are shown as `�`.
    pub key: String,
}

/// What is in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listing {
    /// The newest revision.
    pub revision: i64,
    /// Everything together.
    pub total: Counts,
    /// By resource, those that take most first.
    pub resources: Vec<ResourceCounts>,
    /// The largest objects, the largest first; as many as were asked for.
    pub largest: Vec<LargeObject>,
}

/// While it is counted.
#[derive(Default)]
struct Counting {
    kind: Option<String>,
    encrypted: u64,
    namespaces: HashMap<String, Counts>,
}

impl<S: Source> Snapshot<S> {
    /// Counts what is there, and finds the `largest` objects.
    ///
    /// # Errors
    /// A page or an entry is damaged.
    pub fn list(&self, filter: &Filter, largest: usize) -> Result<Listing, Error> {
        let census = self.census(None)?;
        let mut resources: HashMap<Resource, Counting> = HashMap::new();
        let mut heap: BinaryHeap<Reverse<LargeObject>> = BinaryHeap::new();
        self.rows(&mut |number, row| {
            let object = ObjectKey::parse(row.key);
            if !filter.takes(row.key, object.as_ref()) {
                return Ok(());
            }
            let alive = census.alive.has(number);
            let resource = object.map_or(Resource::Elsewhere, |object| object.full_resource());
            resources.entry(resource).or_default().note(row, object.as_ref(), alive);
            if alive && largest > 0 {
                let bytes = (row.key.len() + row.value.len()) as u64;
                if heap.len() < largest || heap.peek().is_some_and(|Reverse(least)| least.bytes < bytes) {
                    heap.push(Reverse(LargeObject { bytes, key: String::from_utf8_lossy(row.key).into_owned() }));
                }
                if heap.len() > largest {
                    heap.pop();
                }
            }
            Ok(())
        })?;
        let finish = |(resource, counting): (Resource, Counting)| counting.finish(resource);
        let mut resources: Vec<ResourceCounts> = resources.into_iter().map(finish).collect();
        resources.sort_by(|one, other| {
            (other.counts.row_bytes, &one.resource).cmp(&(one.counts.row_bytes, &other.resource))
        });
        let mut total = Counts::default();
        resources.iter().for_each(|resource| total.add(&resource.counts));
        // Reversed twice: the largest first.
        let largest = heap.into_sorted_vec().into_iter().map(|Reverse(object)| object).collect();
        Ok(Listing { revision: census.revision, total, resources, largest })
    }
}

impl Counting {
    fn note(&mut self, row: &Row<'_>, object: Option<&ObjectKey<'_>>, alive: bool) {
        if self.kind.is_none()
            && object.is_some()
            && let Content::Kind(kind) = content(row.value)
        {
            self.kind = Some(kind);
        }
        self.encrypted += u64::from(alive && is_encrypted(row.value));
        let namespace = object.and_then(|object| object.namespace).unwrap_or_default();
        match self.namespaces.get_mut(namespace) {
            Some(counts) => counts.note(row, alive),
            None => self.namespaces.entry(namespace.to_owned()).or_default().note(row, alive),
        }
    }

    fn finish(self, resource: Resource) -> ResourceCounts {
        let mut counts = Counts::default();
        self.namespaces.values().for_each(|namespace| counts.add(namespace));
        let namespaces = self.namespaces.into_iter().collect();
        ResourceCounts { resource, kind: self.kind, encrypted: self.encrypted, counts, namespaces }
    }
}
