//! Remembers from what each artefact was made, so that a second run does nothing in no time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Change this when the builder makes something else of the same catalogue: everything is made anew then.
const BUILDER: &str = "1";

/// The folder of stamps.
#[derive(Debug, Clone)]
pub struct Stamps {
    folder: PathBuf,
}

impl Stamps {
    /// Stamps in this folder, which is made when the first is written.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Whether this artefact was made from exactly this.
    pub fn is_fresh(&self, artefact: &str, fingerprint: &str) -> bool {
        fs::read_to_string(self.path(artefact)).is_ok_and(|text| text.lines().next() == Some(fingerprint))
    }

    /// Records that it was made from this; to be called when the artefact is complete.
    ///
    /// # Errors
    /// The stamp cannot be written.
    pub fn write(&self, artefact: &str, fingerprint: &str) -> Result<()> {
        fs::create_dir_all(&self.folder)?;
        let path = self.path(artefact);
        write_whole(&path, format!("{fingerprint}\n{artefact}\n").as_bytes())
    }

    fn path(&self, artefact: &str) -> PathBuf {
        self.folder.join(artefact.replace(['/', ':'], "_"))
    }
}

/// Writes a file so that it is there whole or not at all.
///
/// # Errors
/// The file or its folder cannot be written.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let partial = path.with_extension("partial");
    fs::write(&partial, content).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, path).with_context(|| format!("cannot write {}", path.display()))
}

/// A digest over what an artefact is made from.
#[derive(Clone)]
pub struct Fingerprint(Sha256);

impl Fingerprint {
    /// Begins with an entry of the catalogue.
    ///
    /// # Errors
    /// The entry cannot be serialised.
    pub fn of(entry: &impl Serialize) -> Result<Self> {
        let mut hash = Sha256::new();
        hash.update(BUILDER);
        hash.update(serde_json::to_vec(entry)?);
        Ok(Self(hash))
    }

    /// Adds a text.
    pub fn text(&mut self, text: &str) {
        self.0.update([0]);
        self.0.update(text);
    }

    /// Adds a file, or all files of a folder in the order of their names.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn path(&mut self, path: &Path) -> Result<()> {
        if path.is_dir() {
            for entry in sorted_entries(path)? {
                self.path(&entry)?;
            }
            return Ok(());
        }
        self.text(&path.file_name().unwrap_or_default().to_string_lossy());
        self.0.update(fs::read(path).with_context(|| format!("cannot read {}", path.display()))?);
        Ok(())
    }

    /// The digest in hex.
    pub fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}

/// What is in a folder, by name.
///
/// # Errors
/// The folder cannot be read.
pub fn sorted_entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

/// Bytes in hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_fresh_for_what_it_was_made_from_only() {
        let folder = tempfile::tempdir().unwrap();
        let stamps = Stamps::in_folder(folder.path().join("stamps"));
        assert!(!stamps.is_fresh("image a/b:1", "x"));
        stamps.write("image a/b:1", "x").unwrap();
        assert!(stamps.is_fresh("image a/b:1", "x"));
        assert!(!stamps.is_fresh("image a/b:1", "y"));
    }

    #[test]
    fn a_fingerprint_sees_names_and_content() {
        let folder = tempfile::tempdir().unwrap();
        let print = || {
            let mut print = Fingerprint::of(&"entry").unwrap();
            print.path(folder.path()).unwrap();
            print.hex()
        };
        fs::write(folder.path().join("a"), "1").unwrap();
        let first = print();
        fs::write(folder.path().join("a"), "2").unwrap();
        let second = print();
        fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
        assert_ne!(first, second);
        assert_ne!(second, print());
    }
}
