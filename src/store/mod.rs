//! What stays on the operator's machine: one folder per operation, and a folder of secrets beside them.
//!
//! ```text
//! $XDG_STATE_HOME/kubewright/ops/<operation>/{plan.json,facts.json,journal.jsonl}
//! $XDG_STATE_HOME/kubewright/secrets/<operation>/keys.json        (0700 / 0600)
//! ```

pub mod copies;
mod journal;
pub mod objects;
mod operations;
mod secrets;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub use journal::{Journal, JournalError, Log};
pub use operations::{Hold, Kept, Operation, Operations, StoreError, parse};
pub use secrets::Secrets;

/// Writes a file so that a crash leaves the old one or the new one, never a part: temp, fsync, rename, fsync of the
/// folder.
///
/// # Errors
/// Those of the file system; the old file is untouched then.
pub fn write_atomically(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file needs a folder"))?;
    // A bare file name has the empty path for its folder.
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a file needs a name"))?;
    let temporary = folder.join(format!(".{}.new", name.to_string_lossy()));
    // A left-over of a crash would keep its own mode.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
    file.write_all(contents)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}
