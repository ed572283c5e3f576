//! Everything a kubelet finds when it starts: keys, kubeconfigs, manifests, configuration; all in one upload.

use kubewright_core::plan::{EtcdStart, FileSet, Step};
use kubewright_manifests::RenderedFile;
use kubewright_manifests::layout::MANIFESTS_DIR;

use super::hands::Hands;
use super::settle::record;
use super::{Failure, Telling};
use crate::host::files::{RemoteFile, put_files};
use crate::render;

/// kubeadm's: whoever may write here runs anything as root, and encryption keys may stand in flags.
const MANIFESTS_MODE: u32 = 0o700;

/// A rendered text as a file to put.
pub fn to_remote(file: RenderedFile) -> RemoteFile {
    RemoteFile::plain(file.path, file.mode, file.contents.into_bytes())
}

/// Puts the files of a host.
///
/// # Errors
/// [`Failure`]; the host has all of the new files or, of each, the old one.
pub async fn place(
    hands: &Hands,
    step: &Step,
    which: FileSet,
    etcd: &EtcdStart,
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let (host, spec) = hands.host(step).await?;
    let rendered = render::file_set(&hands.plan.remaining(), spec, which, etcd, hands.seen(&spec.name)?);
    let mut files = Vec::new();
    if matches!(which, FileSet::All | FileSet::Etcd) {
        // The claim on the host stands first: whoever looks next knows whose the rest is.
        files.push(record(hands, spec, false));
        files.extend(hands.keys().await?.of(&spec.name)?);
    }
    if rendered.iter().any(|file| file.path.starts_with(MANIFESTS_DIR)) {
        files.push(RemoteFile::folder(MANIFESTS_DIR, MANIFESTS_MODE));
    }
    files.extend(rendered.into_iter().map(to_remote));
    let changed = put_files(host.as_ref(), hands.fence, &files).await?;
    telling(&format!("{} of {} files written", changed.len(), files.len()));
    Ok(())
}
