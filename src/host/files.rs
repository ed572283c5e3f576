//! Files on a host: many in one round trip, each replaced whole or not at all, and none before all are written.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kubewright_core::plan::hex;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha2::{Digest, Sha256};

use super::fence::run_fenced;
use crate::playbooks;
use crate::ports::{Host, HostError, Script, quiet};

/// A file as it should be on a host; root's.
#[derive(Clone, Debug)]
pub struct RemoteFile {
    /// Absolute, of plain characters.
    pub path: String,
    /// Permission bits; a link has none of its own.
    pub mode: u32,
    /// What it is.
    pub contents: Contents,
}

/// What a file is.
#[derive(Clone, Debug)]
pub enum Contents {
    /// Bytes that may be shown.
    Plain(Vec<u8>),
    /// Text that nothing may show.
    Secret(SecretString),
    /// A symbolic link to this.
    Link(String),
    /// A folder. Those that are not named are made as needed, with mode 0755.
    Folder,
}

impl RemoteFile {
    /// A file of bytes that may be shown.
    pub fn plain(path: impl Into<String>, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode, contents: Contents::Plain(bytes.into()) }
    }

    /// A file that nothing may show.
    pub fn secret(path: impl Into<String>, mode: u32, text: SecretString) -> Self {
        Self { path: path.into(), mode, contents: Contents::Secret(text) }
    }

    /// A symbolic link.
    pub fn link(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self { path: path.into(), mode: 0o777, contents: Contents::Link(target.into()) }
    }

    /// A folder.
    pub fn folder(path: impl Into<String>, mode: u32) -> Self {
        Self { path: path.into(), mode, contents: Contents::Folder }
    }

    fn bytes(&self) -> &[u8] {
        match &self.contents {
            Contents::Plain(bytes) => bytes,
            Contents::Secret(text) => text.expose_secret().as_bytes(),
            Contents::Link(_) | Contents::Folder => &[],
        }
    }
}

/// A file as it is on a host. Its bytes may be anything, a key too.
#[derive(Clone, Debug)]
pub struct ReadFile {
    /// Permission bits.
    pub mode: u32,
    /// Its bytes.
    pub contents: SecretSlice<u8>,
}

/// Makes the files as given; tells which had to be changed. What is as wanted already is not touched.
///
/// # Errors
/// [`HostError::Failed`] where something cannot be written, such as on a full disk: then no file was replaced.
/// [`HostError::Value`] for a path with other than plain characters.
pub async fn put_files(host: &dyn Host, fence: u64, files: &[RemoteFile]) -> Result<Vec<String>, HostError> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let mut list = String::new();
    let mut content = Vec::with_capacity(files.iter().map(|file| file.bytes().len()).sum());
    for file in files {
        plain_path(&file.path)?;
        let bytes = file.bytes();
        content.extend_from_slice(bytes);
        // The raw mode as stat prints it: kind of file and permission bits.
        let (kind, raw, target) = match &file.contents {
            Contents::Plain(_) | Contents::Secret(_) => ("file", 0o100_000 | file.mode, ""),
            Contents::Link(target) => {
                plain_characters(target)?;
                ("link", 0o120_777, target.as_str())
            }
            Contents::Folder => ("folder", 0o040_000 | file.mode, ""),
        };
        let digest = hex(&Sha256::digest(bytes));
        // Writing to a `String` cannot fail.
        let _ = writeln!(list, "{kind} {:04o} {raw:x} {digest} {} {} {target}", file.mode, bytes.len(), file.path);
    }
    let content = SecretSlice::from(content);
    let script = Script::new("common/files.sh", playbooks::FILES)
        .value("ACTION", "put")
        .value("FILES", list)
        .secret("CONTENT", STANDARD.encode(content.expose_secret()).into());
    let output = run_fenced(host, fence, &script, &mut quiet()).await?.success(host.name(), &script)?;
    Ok(named(&output.stdout, "changed "))
}

/// Those of the files that exist, by path.
///
/// # Errors
/// [`HostError`]; [`HostError::Value`] for a path with other than plain characters.
pub async fn read_files(host: &dyn Host, paths: &[&str]) -> Result<BTreeMap<String, ReadFile>, HostError> {
    let script = listed("read", paths)?;
    let output = host.run(&script, &mut quiet()).await?.success(host.name(), &script)?;
    let read = |line: &str| -> Option<(String, ReadFile)> {
        let mut words = line.split(' ');
        let (mode, path, text) = (words.next()?, words.next()?, words.next()?);
        let contents = STANDARD.decode(text).ok()?.into();
        Some((path.to_owned(), ReadFile { mode: u32::from_str_radix(mode, 8).ok()?, contents }))
    };
    output.stdout.lines().map(read).collect::<Option<_>>().ok_or_else(|| HostError::Answer {
        host: host.name().clone(),
        script: script.name.to_owned(),
        reason: "not a file with its mode".to_owned(),
    })
}

/// Removes files and links; tells which were there.
///
/// # Errors
/// [`HostError`]; [`HostError::Value`] for a path with other than plain characters.
pub async fn remove_files(host: &dyn Host, fence: u64, paths: &[&str]) -> Result<Vec<String>, HostError> {
    let script = listed("remove", paths)?;
    let output = run_fenced(host, fence, &script, &mut quiet()).await?.success(host.name(), &script)?;
    Ok(named(&output.stdout, "removed "))
}

fn listed(action: &str, paths: &[&str]) -> Result<Script, HostError> {
    paths.iter().try_for_each(|path| plain_path(path))?;
    let script = Script::new("common/files.sh", playbooks::FILES);
    Ok(script.value("ACTION", action).value("FILES", paths.join("\n")))
}

fn named(text: &str, prefix: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
}

/// A path that can only mean one place.
fn plain_path(path: &str) -> Result<(), HostError> {
    plain_characters(path)?;
    if path.starts_with('/') && !path.ends_with('/') && !path.split('/').any(|part| part == "..") {
        return Ok(());
    }
    Err(HostError::Value { script: "common/files.sh".to_owned(), name: path.to_owned(), why: "is no absolute path" })
}

/// The script takes its list apart at spaces and line ends, and hands paths to the shell's own words.
fn plain_characters(path: &str) -> Result<(), HostError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/@:+,=".contains(c);
    if !path.is_empty() && path.chars().all(plain) {
        return Ok(());
    }
    Err(HostError::Value {
        script: "common/files.sh".to_owned(),
        name: path.to_owned(),
        why: "has other than plain characters",
    })
}
