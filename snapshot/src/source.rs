//! Where the bytes are: read in pieces at given places, by several threads at once.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Bytes of a known number that can be read at any place.
pub trait Source {
    /// How many bytes there are.
    fn size(&self) -> u64;

    /// Fills the buffer with the bytes from `offset` on.
    ///
    /// # Errors
    /// They are not there, or cannot be read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}

/// A file, opened for reading only.
#[derive(Debug)]
pub struct SnapshotFile {
    file: File,
    size: u64,
}

impl SnapshotFile {
    /// Opens a file. One that grows or shrinks later is read as far as it went now.
    ///
    /// # Errors
    /// It is not there, may not be read, or is no regular file: a pipe would never end, a folder has no bytes.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        // Before it is opened, because opening a pipe waits for its writer.
        let kind = fs::metadata(&path)?.file_type();
        if kind.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if !kind.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Self::of(File::open(path)?)
    }

    /// A file that is open already, as far as it goes now.
    ///
    /// # Errors
    /// It cannot be asked for its size.
    pub fn of(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file, size })
    }
}

impl Source for SnapshotFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, offset)
    }
}

impl Source for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|from| self.get(from..from.checked_add(buffer.len())?))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }
}

impl Source for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_at(buffer, offset)
    }
}

impl<S: Source + ?Sized> Source for &S {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_at(buffer, offset)
    }
}
