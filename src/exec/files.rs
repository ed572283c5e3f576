//! Everything a kubelet finds when it starts: keys, kubeconfigs, manifests, configuration; all in one upload.

use kubewright_core::plan::Step;
use kubewright_manifests::RenderedFile;
use kubewright_manifests::static_pods::{ClusterState, EtcdBootstrap};

use super::hands::Hands;
use super::settle::record;
use super::{Failure, Telling};
use crate::host::files::{RemoteFile, put_files};
use crate::render;

/// A rendered text as a file to put.
pub fn to_remote(file: RenderedFile) -> RemoteFile {
    RemoteFile::plain(file.path, file.mode, file.contents.into_bytes())
}

/// Puts all files of a host.
///
/// # Errors
/// [`Failure`]; the host has all of the new files or, of each, the old one.
pub async fn place(
    hands: &Hands,
    step: &Step,
    initial_cluster_token: &str,
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let (host, spec) = hands.host(step).await?;
    let keys = hands.keys().await?;
    let seen = hands.seen(&spec.name)?;
    let etcd = EtcdBootstrap { initial_cluster_token: initial_cluster_token.to_owned(), state: ClusterState::New };
    // The claim on the host stands first: whoever looks next knows whose the rest is.
    let mut files = vec![record(hands, spec, false)];
    files.extend(keys.of(&spec.name)?);
    files.extend(render::node_files(&hands.plan.spec, spec, &etcd, seen).into_iter().map(to_remote));
    let changed = put_files(host.as_ref(), hands.fence, &files).await?;
    telling(&format!("{} of {} files written", changed.len(), files.len()));
    Ok(())
}
