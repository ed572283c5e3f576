//! The end of a bootstrap or a joining: each host carries its record, and our copies of keys are gone.

use kubewright_core::facts::HostRecord;
use kubewright_core::ids::HostName;
use kubewright_core::spec::Host;

use super::hands::{Hands, on_all};
use super::keys::remote_path;
use super::{Failure, Telling};
use crate::host::files::{RemoteFile, put_files, remove_files};

/// The record of a host: claimed by this operation, and `settled` once the operation is done.
pub fn record(hands: &Hands, host: &Host, settled: bool) -> RemoteFile {
    let record = HostRecord {
        cluster: hands.plan.spec.name.clone(),
        operation: hands.plan.operation.clone(),
        roles: host.roles.clone(),
        settled,
    };
    RemoteFile::plain(HostRecord::PATH, 0o644, serde_json::to_vec(&record).unwrap_or_default())
}

/// Writes the records, removes the copies of keys, on the hosts first and here last.
///
/// # Errors
/// [`Failure`]; whatever is left is removed by the next try.
pub async fn settle(
    hands: &Hands,
    hosts: &[HostName],
    copies_on: &[HostName],
    telling: Telling<'_>,
) -> Result<(), Failure> {
    on_all(hosts, |name| async move {
        let spec = hands.plan.spec.host(name).ok_or_else(|| Failure::new(format!("{name} is not in the spec")))?;
        let host = hands.hosts.host(name).await?;
        put_files(host.as_ref(), hands.fence, &[record(hands, spec, true)]).await?;
        Ok(())
    })
    .await?;
    let copy = remote_path(&hands.plan.operation);
    let copy = copy.as_str();
    on_all(copies_on, |name| async move {
        let host = hands.hosts.host(name).await?;
        remove_files(host.as_ref(), hands.fence, &[copy]).await?;
        Ok(())
    })
    .await?;
    hands.secrets.forget().map_err(|error| Failure::new(error.to_string()))?;
    telling("the control planes' own files are the authority now");
    Ok(())
}
