//! `kubewright etcd companions`: what is kept beside a copy, and the keys among it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use kubewright_core::etcd::address::StoreAddress;
use secrecy::{ExposeSecret, SecretSlice};
use serde_json::json;

use super::stores::{Endpoint, at_once};
use crate::backup::reading::{self, Beside};
use crate::backup::sealing::{Unsealed, unseal};
use crate::error::{Error, ErrorKind, ExitCode};
use crate::report::{self, Paint, saving};

/// See or take out what is kept beside a copy, and the keys among it
///
/// Without --into it tells what there is, and for whom keys are encrypted. With it the files are written below a new folder, those of a host
/// under its name; keys too where --identity names a file that can open them, under the paths that they have on a control plane.
/// Every file is compared with the manifest first.
#[derive(Debug, clap::Args)]
pub struct Companions {
    /// The copy: its folder, or its address in a bucket
    #[arg(value_name = "COPY")]
    copy: StoreAddress,
    /// A folder that is not there yet; only its owner can read it
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
    /// A file with age's secret keys (AGE-SECRET-KEY-1…), as age-keygen writes it
    #[arg(long, value_name = "FILE", requires = "into")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    endpoint: Endpoint,
}

impl Companions {
    pub(super) fn run(self, json: bool) -> Result<ExitCode, Error> {
        let place = self.copy.to_string();
        let access = self.endpoint.access();
        let Beside { manifest, files } = at_once(reading::beside(&self.copy, &access, self.into.is_some()))??;
        let mut written = Vec::new();
        if let Some(into) = &self.into {
            let keys = match (&self.identity, &manifest.sealed) {
                (Some(identity), Some(sealed)) => opened(&files, &sealed.name, identity)?,
                (Some(_), None) => {
                    return Err(Error::usage(format!("{place}: no keys are kept beside it"))
                        .next("keys are kept by kubewright etcd snapshot --with-pki"));
                }
                (None, _) => BTreeMap::new(),
            };
            written = write(into, &files, &keys)?;
        }
        if json {
            report::print_json(&json!({
                "event": "companions",
                "copy": place,
                "companions": manifest.companions,
                "sealed": manifest.sealed,
                "missing": manifest.missing,
                "written": written,
            }))?;
        } else {
            report::print(&saving::companions(&place, &manifest, &written, Paint::stdout()))?;
        }
        Ok(ExitCode::Done)
    }
}

/// The keys, by their paths below the folder, with their modes.
type Keys = BTreeMap<String, (u32, SecretSlice<u8>)>;

fn opened(files: &BTreeMap<String, Vec<u8>>, name: &str, identity: &Path) -> Result<Keys, Error> {
    let identities = fs::read(identity).map(SecretSlice::from).map_err(|error| Error::io(identity, error))?;
    let archive = files.get(name).map(Vec::as_slice).unwrap_or_default();
    let opened = unseal(archive, &identities).map_err(|error| {
        let kind = if matches!(error, Unsealed::Damaged(_)) { ErrorKind::Blocked } else { ErrorKind::Usage };
        let place =
            if matches!(error, Unsealed::Identity(_)) { identity.display().to_string() } else { name.to_owned() };
        Error::new(kind, "KEYS", format!("{place}: {error}")).safe("nothing was written")
    })?;
    Ok(opened.into_iter().map(|(path, file)| (format!("keys{path}"), (file.mode, file.contents))).collect())
}

/// Writes all of it below a new folder, or nothing; tells which files there are.
fn write(into: &Path, files: &BTreeMap<String, Vec<u8>>, keys: &Keys) -> Result<Vec<String>, Error> {
    let told = |error: io::Error| Error::io(into, error);
    if into.symlink_metadata().is_ok() {
        return Err(Error::usage(format!("{}: it is there already", into.display())).safe("nothing was written"));
    }
    let mut folders = fs::DirBuilder::new();
    folders.recursive(true).mode(0o700);
    folders.create(into).map_err(told)?;
    let plain = files.iter().map(|(name, bytes)| (name.as_str(), 0o600, bytes.as_slice()));
    let secret = keys.iter().map(|(name, (mode, bytes))| (name.as_str(), *mode, bytes.expose_secret()));
    let mut written = Vec::new();
    for (name, mode, bytes) in plain.chain(secret) {
        let path = into.join(name);
        let put = || {
            if let Some(folder) = path.parent() {
                folders.create(folder)?;
            }
            let mut file =
                fs::OpenOptions::new().write(true).create_new(true).mode(mode & 0o700 | 0o600).open(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        if let Err(error) = put() {
            // Half of it would be taken for all of it, and keys are among it.
            let _ = fs::remove_dir_all(into);
            return Err(Error::io(&path, error).safe("nothing is left of what was written"));
        }
        written.push(name.to_owned());
    }
    Ok(written)
}
