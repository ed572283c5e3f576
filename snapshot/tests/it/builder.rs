//! Makes snapshots as bbolt lays them out, so that a test can have one with any single thing wrong.

use sha2::{Digest, Sha256};

pub const PAGE: usize = 4096;
const BRANCH: u16 = 1;
const LEAF: u16 = 2;

/// A database in the making: pages by number, of which 0 and 1 are filled in the end.
pub struct Builder {
    pages: Vec<Vec<u8>>,
    buckets: Vec<(Vec<u8>, Vec<u8>)>,
    pub free_list: u64,
    pub version: u32,
}

/// An entry of a leaf: its flags, key, value.
pub type Entry = (u32, Vec<u8>, Vec<u8>);

impl Builder {
    /// Without any bucket.
    pub fn bare() -> Self {
        Self { pages: vec![Vec::new(), Vec::new()], buckets: Vec::new(), free_list: u64::MAX, version: 2 }
    }

    /// With the buckets that every etcd has, and these rows.
    pub fn with_rows(rows: Vec<Entry>) -> Self {
        let mut builder = Self::bare();
        let page = builder.leaf(rows);
        builder.bucket("key", page);
        builder.inline("meta", vec![(0, b"consistent_index".to_vec(), 9_u64.to_be_bytes().to_vec())]);
        builder
    }

    /// Adds a leaf and tells its number.
    pub fn leaf(&mut self, entries: Vec<Entry>) -> u64 {
        let count = entries.len() as u16;
        self.raw(LEAF, count, &leaf_body(entries))
    }

    /// Adds a branch of these children, each with its first key.
    pub fn branch(&mut self, children: Vec<(Vec<u8>, u64)>) -> u64 {
        let count = children.len() as u16;
        let elements = children.into_iter().map(|(key, child)| {
            let size = key.len() as u32;
            let head =
                move |position: u32| [&position.to_le_bytes()[..], &size.to_le_bytes(), &child.to_le_bytes()].concat();
            (head, key)
        });
        self.raw(BRANCH, count, &body(elements.collect()))
    }

    /// Adds any page that is as long as it is; whole pages are made of it.
    pub fn raw(&mut self, flags: u16, count: u16, body: &[u8]) -> u64 {
        let number = self.pages.len() as u64;
        let size = 16 + body.len();
        let overflow = size.div_ceil(PAGE) - 1;
        let mut bytes = [&number.to_le_bytes()[..], &flags.to_le_bytes(), &count.to_le_bytes()].concat();
        bytes.extend((overflow as u32).to_le_bytes());
        bytes.extend(body);
        bytes.resize((overflow + 1) * PAGE, 0);
        self.pages.extend(bytes.chunks(PAGE).map(<[u8]>::to_vec));
        number
    }

    /// Names a tree of pages.
    pub fn bucket(&mut self, name: &str, root: u64) {
        self.buckets.push((name.into(), [root.to_le_bytes(), [0; 8]].concat()));
    }

    /// A bucket within the root page.
    pub fn inline(&mut self, name: &str, entries: Vec<Entry>) {
        let count = entries.len() as u16;
        // As bbolt writes it: page 0, without overflow, no longer than what is on it.
        let page = [&[0; 8][..], &LEAF.to_le_bytes(), &count.to_le_bytes(), &[0; 4], &leaf_body(entries)].concat();
        self.buckets.push((name.into(), [&[0; 16][..], &page].concat()));
    }

    /// Changes bytes of a page that is there.
    pub fn patch(&mut self, page: u64, at: usize, bytes: &[u8]) {
        self.pages[page as usize][at..at + bytes.len()].copy_from_slice(bytes);
    }

    /// The file, with its digest.
    pub fn finish(self) -> Vec<u8> {
        sealed(self.unsealed())
    }

    /// The file without.
    pub fn unsealed(mut self) -> Vec<u8> {
        let mut buckets = std::mem::take(&mut self.buckets);
        buckets.sort();
        let root = self.leaf(buckets.into_iter().map(|(name, header)| (1, name, header)).collect());
        let pages = self.pages.len() as u64;
        for page in [0, 1_u64] {
            let mut bytes = [&page.to_le_bytes()[..], &4_u16.to_le_bytes(), &[0; 6]].concat();
            let meta = [
                &0xED0C_DAED_u32.to_le_bytes()[..],
                &self.version.to_le_bytes(),
                &(PAGE as u32).to_le_bytes(),
                &[0; 4],
                &root.to_le_bytes(),
                &[0; 8],
                &self.free_list.to_le_bytes(),
                &pages.to_le_bytes(),
                &(100 - page).to_le_bytes(),
            ]
            .concat();
            bytes.extend(&meta);
            bytes.extend(fnv(&meta).to_le_bytes());
            bytes.resize(PAGE, 0);
            self.pages[page as usize] = bytes;
        }
        self.pages.concat()
    }
}

fn leaf_body(entries: Vec<Entry>) -> Vec<u8> {
    let elements = entries.into_iter().map(|(flags, key, value)| {
        let (key_size, value_size) = (key.len() as u32, value.len() as u32);
        let head = move |position: u32| [flags, position, key_size, value_size].map(u32::to_le_bytes).concat();
        (head, [key, value].concat())
    });
    body(elements.collect())
}

/// Elements, each of which is told how far away its data are, and the data.
fn body(elements: Vec<(impl Fn(u32) -> Vec<u8>, Vec<u8>)>) -> Vec<u8> {
    let (mut heads, mut data) = (Vec::new(), Vec::new());
    for (index, (head, bytes)) in elements.iter().enumerate() {
        let position = (elements.len() - index) * 16 + data.len();
        heads.extend(head(position as u32));
        data.extend(bytes);
    }
    [heads, data].concat()
}

/// With the digest of everything.
pub fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    bytes
}

/// A meta page's checksum, made right again after a change of the page.
pub fn mend_meta(bytes: &mut [u8], page: usize) {
    let at = page * PAGE + 16;
    let Some(meta) = bytes.get(at..at + 64) else { return };
    let sum = fnv(&meta[..56]).to_le_bytes();
    bytes[at + 56..at + 64].copy_from_slice(&sum);
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A row: revision, key, and the value unless the key is deleted.
pub fn row(main: i64, sub: i64, key: &str, value: Option<&[u8]>) -> Entry {
    let mut filed = [&main.to_be_bytes()[..], b"_", &sub.to_be_bytes()].concat();
    let mut message = [&[0x0a, key.len() as u8][..], key.as_bytes()].concat();
    match value {
        None => filed.push(b't'),
        Some(value) => {
            message.extend([0x18]);
            varint(&mut message, main as u64);
            message.extend([0x2a]);
            varint(&mut message, value.len() as u64);
            message.extend(value);
        }
    }
    (0, filed, message)
}

fn varint(message: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}
