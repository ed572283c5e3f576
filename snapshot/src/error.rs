//! Everything that can be wrong with a file, each with its place in it.

use std::fmt;
use std::io;

use crate::digest::Digest;
use crate::state::{Alarm, Version, Zombie};

/// Why a file cannot be read as a snapshot, or not further than to here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system does not give the bytes.
    #[error("byte {offset} cannot be read: {message}")]
    Io {
        /// From where in the file.
        offset: u64,
        /// The system's kind of error.
        kind: io::ErrorKind,
        /// Its words.
        message: String,
    },
    /// No byte at all.
    #[error("the file is empty")]
    Empty,
    /// Some other file.
    #[error("this is no etcd snapshot: {0}")]
    Stranger(Stranger),
    /// A snapshot whose beginning is broken: neither meta page can be used, so nothing else can be found.
    #[error("neither of the two meta pages at the file's beginning can be used: page 0 {first}; page 1 {second}")]
    Meta {
        /// What is wrong with the first.
        first: MetaFault,
        /// What is wrong with the second.
        second: MetaFault,
    },
    /// The file ends before its last page does.
    #[error(
        "the file is cut off in page {page}: it has {size} bytes, and its meta page tells of {pages} pages, which are \
         {wanted} bytes and 32 of digest"
    )]
    Truncated {
        /// Bytes in the file.
        size: u64,
        /// Bytes that its pages need.
        wanted: u64,
        /// How many pages it should have.
        pages: u64,
        /// The first page that is not there whole.
        page: u64,
    },
    /// A page that cannot be what refers to it says.
    #[error("page {page} (byte {offset}) {fault}")]
    Page {
        /// Its number.
        page: u64,
        /// Where it begins in the file.
        offset: u64,
        /// What is wrong.
        fault: PageFault,
    },
    /// An entry that etcd would not have written.
    #[error("in page {page}, the entry at byte {offset} of bucket `{bucket}` {fault}")]
    Row {
        /// The page that holds it.
        page: u64,
        /// Where its key begins in the file.
        offset: u64,
        /// The bucket that holds it.
        bucket: String,
        /// What is wrong.
        fault: RowFault,
    },
    /// More rows than etcd can have written: four thousand million.
    #[error("there are more rows than can be counted")]
    TooManyRows,
    /// HashKV is asked for a revision whose history is gone.
    #[error("revision {revision} has been compacted: the file's history begins at {compact_revision}")]
    Compacted {
        /// What was asked for.
        revision: i64,
        /// Where history begins.
        compact_revision: i64,
    },
    /// HashKV is asked for a revision that is not reached.
    #[error("revision {revision} is not in the file, which ends at {current}")]
    Future {
        /// What was asked for.
        revision: i64,
        /// The newest one.
        current: i64,
    },
}

impl Error {
    pub(crate) fn io(offset: u64, error: &io::Error) -> Self {
        Self::Io { offset, kind: error.kind(), message: error.to_string() }
    }

    /// Where in the file it is, where it is at one place.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Io { offset, .. } | Self::Page { offset, .. } | Self::Row { offset, .. } => Some(*offset),
            Self::Truncated { size, .. } => Some(*size),
            Self::Meta { .. } | Self::Empty | Self::Stranger(_) => Some(0),
            Self::TooManyRows | Self::Compacted { .. } | Self::Future { .. } => None,
        }
    }

    /// In which page it is, where it is in one.
    pub fn page(&self) -> Option<u64> {
        match self {
            Self::Page { page, .. } | Self::Row { page, .. } | Self::Truncated { page, .. } => Some(*page),
            _ => None,
        }
    }
}

/// What a file is that is no snapshot, as far as its first bytes tell.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stranger {
    /// Packed by this program; what is inside may be one.
    Packed(&'static str),
    /// A bbolt database of something else: a bucket of etcd's is missing.
    OtherBolt(&'static str),
    /// A bbolt database in another version of that format.
    BoltVersion(u32),
    /// Written on a machine with another order of bytes, which etcd cannot restore elsewhere either.
    OtherEndian,
    /// Shorter than the two pages that every snapshot begins with, and not the beginning of one.
    Short(u64),
    /// Anything else.
    Unknown,
}

impl fmt::Display for Stranger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packed(program) => write!(formatter, "it is packed by {program}; unpack it first"),
            Self::OtherBolt(bucket) => {
                write!(formatter, "it is a bbolt database, but not etcd's: there is no bucket `{bucket}`")
            }
            Self::BoltVersion(version) => {
                write!(formatter, "it is a bbolt database of version {version}, etcd writes 2")
            }
            Self::OtherEndian => formatter.write_str("it was written on a machine with the other order of bytes"),
            Self::Short(size) => write!(formatter, "it has only {size} bytes"),
            Self::Unknown => formatter.write_str("it does not begin with a meta page of bbolt"),
        }
    }
}

/// Why a meta page cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetaFault {
    /// The file ends before.
    #[error("is cut off")]
    Missing,
    /// Not a meta page at all.
    #[error("is no meta page")]
    Magic,
    /// Changed after it was written.
    #[error("has a wrong checksum")]
    Checksum,
    /// Its checksum is right, and what it says cannot be.
    #[error("says what cannot be")]
    Nonsense,
}

/// What can be wrong with a page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageFault {
    /// Its header carries another number; a zeroed page says 0.
    #[error("says that it is page {0}")]
    Misplaced(u64),
    /// Neither a branch nor a leaf where one of them must be.
    #[error("is neither branch nor leaf: its flags are {0:#06x}")]
    Kind(u16),
    /// It claims pages behind the database's last one.
    #[error("runs on to page {last}, and the last one is {}", .pages - 1)]
    Overflows {
        /// The last page it claims.
        last: u64,
        /// How many pages there are.
        pages: u64,
    },
    /// It claims more bytes than etcd puts into one.
    #[error("claims {0} bytes, more than any value of etcd takes")]
    Oversized(u64),
    /// It claims more or fewer pages than its entries fill.
    #[error("claims {claimed} pages, and its entries fill {filled}")]
    Overflow {
        /// How many it claims.
        claimed: u64,
        /// How many its entries need.
        filled: u64,
    },
    /// It refers to a page that cannot be.
    #[error("refers to page {child}, and the database's pages are 2 to {}", .pages - 1)]
    Child {
        /// The page referred to.
        child: u64,
        /// How many pages there are.
        pages: u64,
    },
    /// Something else refers to it too, or it refers to itself: in a tree there is one way to each page.
    #[error("is referred to twice")]
    Twice,
    /// More entries than fit.
    #[error("claims {0} entries, which do not fit")]
    Entries(u16),
    /// An entry's key and value are not where the entries before it end.
    #[error("has an entry, number {0}, whose bytes are not where they must be")]
    Place(u16),
    /// An entry without a key.
    #[error("has an entry, number {0}, without a key")]
    NoKey(u16),
    /// Keys ascend, always.
    #[error("has an entry, number {0}, whose key is not greater than the one before")]
    Order(u16),
    /// Keys lie between those of the page that refers to it.
    #[error("has an entry, number {0}, whose key belongs into another page")]
    Range(u16),
    /// A branch without children.
    #[error("is a branch without children")]
    Barren,
    /// Deeper in the tree than any page of a real database.
    #[error("lies deeper than any tree of pages is")]
    Depth,
    /// A page that is in the list of free pages and in use too.
    #[error("is in use, and listed as free")]
    UsedFree,
    /// The list of free pages is no list.
    #[error("is no list of free pages")]
    FreeList,
}

/// What can be wrong with an entry of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowFault {
    /// An entry beside the buckets.
    #[error("is no bucket")]
    NoBucket,
    /// A bucket within a bucket.
    #[error("is a bucket within it, which etcd has none of")]
    Nested,
    /// A bucket's own header is broken.
    #[error("is a bucket whose header is broken")]
    BucketHeader,
    /// A key of the key bucket that is no revision.
    #[error("has a key that is no revision")]
    Revision,
    /// A value that is no key-value message.
    #[error("is no key and value of etcd")]
    Value,
    /// A row that says it was written at another revision than the one it is filed under.
    #[error("is filed under revision {filed} and says {says}")]
    OtherRevision {
        /// Its key.
        filed: i64,
        /// Its value.
        says: i64,
    },
    /// Something of etcd's own, such as a member, that cannot be understood.
    #[error("is no {0}")]
    Malformed(&'static str),
}

/// Something that makes a snapshot unfit, or fit only for who knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It cannot be read, or not to its end.
    Unreadable(Error),
    /// The digest at its end is not that of its bytes: something changed after it was saved.
    WrongDigest(Digest),
    /// It ends with a part of a digest.
    CutDigest {
        /// How many of 32 bytes are there.
        bytes: u64,
    },
    /// Its pages are followed by something that is no digest.
    Trailing {
        /// Where the pages end.
        offset: u64,
        /// How many bytes follow.
        bytes: u64,
    },
    /// One of the two meta pages is broken. The other one suffices to read the rest.
    MetaPage {
        /// Which, 0 or 1.
        page: u64,
        /// Where it begins.
        offset: u64,
        /// What is wrong with it.
        fault: MetaFault,
    },
    /// There is no digest: nothing proves that values are as they were saved.
    NoDigest,
    /// Members that are none: a server from 3.6 on takes them for real and finds no majority.
    Zombies(Vec<Zombie>),
    /// An alarm would be raised as soon as it is restored: NOSPACE makes a cluster read-only.
    Alarmed(Vec<Alarm>),
    /// The server that is to have it does not start on it.
    TooNew {
        /// What wrote it.
        storage: Version,
        /// What is to have it.
        server: Version,
    },
}

impl Fault {
    /// Whether the file is not as it was saved. With the others it is whole, and they must be known before it is restored.
    pub fn is_damage(&self) -> bool {
        !matches!(self, Self::NoDigest | Self::Zombies(_) | Self::Alarmed(_) | Self::TooNew { .. })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => error.fmt(formatter),
            Self::WrongDigest(digest) => write!(
                formatter,
                "its bytes have the SHA-256 {}, and it says {}: something changed after it was saved",
                hex(&digest.computed),
                digest.stored.as_ref().map(|stored| hex(stored)).unwrap_or_default()
            ),
            Self::CutDigest { bytes } => {
                write!(formatter, "it is cut off in its digest: {bytes} of 32 bytes are there")
            }
            Self::Trailing { offset, bytes } => {
                write!(formatter, "its pages end at byte {offset}, and {bytes} bytes follow that are no digest")
            }
            Self::MetaPage { page, offset, fault } => {
                write!(formatter, "meta page {page} (byte {offset}) {fault}; the other one could be used")
            }
            Self::NoDigest => {
                formatter.write_str("it has no digest, so nothing proves that its values are as they were saved")
            }
            Self::Zombies(zombies) => {
                let listed: Vec<String> = zombies.iter().map(ToString::to_string).collect();
                write!(formatter, "it holds members that are none: {}", listed.join("; "))
            }
            Self::Alarmed(alarms) => {
                let listed: Vec<String> = alarms.iter().map(ToString::to_string).collect();
                write!(formatter, "it holds alarms: {}", listed.join("; "))
            }
            Self::TooNew { storage, server } => {
                write!(formatter, "its storage version is {storage}, and etcd {server} does not start on it")
            }
        }
    }
}

/// The first bytes suffice to tell two digests apart, but a whole one can be compared with other tools'.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
