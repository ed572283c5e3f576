//! What became of the keys between two files.
//!
//! Neither file is sorted by key, and neither fits in memory. Of each living row a fingerprint of its key and one of its
//! value are remembered, sorted and compared, in as many goes as memory allows; the names of those that differ are read in
//! a last one.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher as _};

use serde::Serialize;

use crate::error::Error;
use crate::kubernetes::{Content, ObjectKey, Resource, content};
use crate::list::Filter;
use crate::mvcc::{Alive as RowSet, Census, Row, Share, fingerprint};
use crate::snapshot::Snapshot;
use crate::source::Source;

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// In the second file only.
    Added,
    /// In both, with another value.
    Changed,
    /// In the first file only.
    Removed,
}

/// What became of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Which; `null` is what is not Kubernetes'.
    pub resource: Resource,
    /// The kind of its objects, where they tell it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// How many there are of each change.
    pub counts: BTreeMap<Change, u64>,
    /// The same by namespace; empty is none.
    pub namespaces: BTreeMap<String, BTreeMap<Change, u64>>,
    /// Their names with their namespaces, as `namespace/name`: the first ones by the alphabet, as many as were asked for.
    pub names: BTreeMap<Change, BTreeSet<String>>,
}

/// What differs between two files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Diff {
    /// The newest revision of each.
    pub revisions: (i64, i64),
    /// By resource, in the order of the alphabet.
    pub differences: Vec<Difference>,
    /// How many keys are the same in both.
    pub unchanged: u64,
}

impl Diff {
    /// How many keys changed in this way.
    pub fn count(&self, change: Change) -> u64 {
        self.differences.iter().filter_map(|difference| difference.counts.get(&change)).sum()
    }

    /// How many names there would be beside those that are listed.
    pub fn unlisted(&self) -> u64 {
        let listed = |difference: &Difference| difference.names.values().map(BTreeSet::len).sum::<usize>() as u64;
        let all = |difference: &Difference| difference.counts.values().sum::<u64>();
        self.differences.iter().map(|difference| all(difference) - listed(difference)).sum()
    }
}

/// Compares what exists at the newest revision of two files. At most `names` names are kept for each resource and change.
///
/// # Errors
/// A page or an entry of one of them is damaged; the number says of which, 0 or 1.
pub fn diff<A: Source, B: Source>(
    before: &Snapshot<A>,
    after: &Snapshot<B>,
    filter: &Filter,
    names: usize,
) -> Result<Diff, (usize, Error)> {
    let first = |error| (0, error);
    let second = |error| (1, error);
    let census = (before.census(None).map_err(first)?, after.census(None).map_err(second)?);
    let mut found = Found::default();
    for share in Share::needed::<Print>(census.0.alive.len() + census.1.alive.len()) {
        let old = prints(before, &census.0, share, filter).map_err(first)?;
        let new = prints(after, &census.1, share, filter).map_err(second)?;
        found.compare(&old, &new);
    }
    let mut naming = Naming { names, resources: BTreeMap::new() };
    before
        .rows(&mut |number, row| {
            if found.removed.has(number) {
                naming.note(row, Change::Removed);
            }
            Ok(())
        })
        .map_err(first)?;
    after
        .rows(&mut |number, row| {
            if found.added.has(number) {
                naming.note(row, Change::Added);
            } else if found.changed.has(number) {
                naming.note(row, Change::Changed);
            }
            Ok(())
        })
        .map_err(second)?;
    Ok(Diff {
        revisions: (census.0.revision, census.1.revision),
        differences: naming.resources.into_values().collect(),
        unchanged: found.unchanged,
    })
}

/// A living row: its key, its value, and which one it is.
type Print = (u128, u64, u32);

/// The living rows of a share of the keys, sorted by key.
fn prints<S: Source>(
    snapshot: &Snapshot<S>,
    census: &Census,
    share: Share,
    filter: &Filter,
) -> Result<Vec<Print>, Error> {
    let mut prints = Vec::new();
    snapshot.rows(&mut |number, row| {
        if census.alive.has(number) && filter.takes(row.key, ObjectKey::parse(row.key).as_ref()) {
            let key = fingerprint(row.key);
            if share.has(key) {
                let mut value = DefaultHasher::new();
                value.write(row.value);
                prints.push((key, value.finish(), number));
            }
        }
        Ok(())
    })?;
    prints.sort_unstable();
    Ok(prints)
}

/// The rows that differ: removed ones in the first file, the others in the second.
#[derive(Default)]
struct Found {
    added: RowSet,
    changed: RowSet,
    removed: RowSet,
    unchanged: u64,
}

impl Found {
    fn compare(&mut self, old: &[Print], new: &[Print]) {
        let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
        loop {
            match (old.peek(), new.peek()) {
                (None, None) => return,
                (Some((key, value, _)), Some((other_key, other_value, number))) if key == other_key => {
                    if value == other_value {
                        self.unchanged += 1;
                    } else {
                        self.changed.add(*number);
                    }
                    old.next();
                    new.next();
                }
                (Some((key, _, number)), other) if other.is_none_or(|(other_key, ..)| key < other_key) => {
                    self.removed.add(*number);
                    old.next();
                }
                (_, Some((_, _, number))) => {
                    self.added.add(*number);
                    new.next();
                }
                // The arm above took it: without another one every key is the smaller.
                (Some(_), None) => return,
            }
        }
    }
}

/// Names as they are found.
struct Naming {
    names: usize,
    resources: BTreeMap<Resource, Difference>,
}

impl Naming {
    fn note(&mut self, row: &Row<'_>, change: Change) {
        let object = ObjectKey::parse(row.key);
        let resource = object.map_or(Resource::Elsewhere, |object| object.full_resource());
        let name = match object {
            Some(ObjectKey { namespace: Some(namespace), name, .. }) => format!("{namespace}/{name}"),
            Some(ObjectKey { name, .. }) => name.to_owned(),
            None => String::from_utf8_lossy(row.key).into_owned(),
        };
        let difference = self.resources.entry(resource.clone()).or_insert_with(|| Difference {
            resource,
            kind: None,
            counts: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            names: BTreeMap::new(),
        });
        if difference.kind.is_none()
            && object.is_some()
            && let Content::Kind(kind) = content(row.value)
        {
            difference.kind = Some(kind);
        }
        *difference.counts.entry(change).or_default() += 1;
        let namespace = object.and_then(|object| object.namespace).unwrap_or_default().to_owned();
        *difference.namespaces.entry(namespace).or_default().entry(change).or_default() += 1;
        let names = difference.names.entry(change).or_default();
        names.insert(name);
        if names.len() > self.names {
            names.pop_last();
        }
    }
}
