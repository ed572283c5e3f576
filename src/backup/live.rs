//! What etcd holds now, as a snapshot to be read: received from the best member into a file without a name. A value is in memory only
//! while its piece is on its way.

use std::fs::File;

use kubewright_core::etcd::source::sources;
use kubewright_core::facts::etcd::EtcdFacts;
use kubewright_core::ids::HostName;
use kubewright_snapshot::SnapshotFile;

use super::receive::{Broken, receive};
use super::{Doing, answer, reading};
use crate::error::{Error, ErrorKind};
use crate::ports::EtcdApi;

/// Receives it from the first member that gives it whole, best first; tells from whom. `progress` is told as it goes on.
///
/// # Errors
/// No member gives one, or there is no room for it.
pub async fn live(
    etcd: &dyn EtcdApi,
    facts: &EtcdFacts,
    progress: &(dyn Fn(&Doing) + Sync),
) -> Result<(SnapshotFile, HostName), Error> {
    let mut failures = Vec::new();
    for id in sources(facts) {
        let (Some(host), Some(answer)) = (facts.hosts.get(&id), answer(facts, id)) else { continue };
        reading::has_room(answer.db_bytes)?;
        match from(etcd, host, reading::nameless()?, progress).await {
            Ok(file) => return Ok((file, host.clone())),
            Err(Broken::Store(error)) => return Err(reading::no_room(&error)),
            Err(Broken::Etcd(error)) => {
                progress(&Doing::Remark(format!("{host}: {error}")));
                failures.push(format!("{host}: {error}"));
            }
        }
    }
    let error = Error::new(ErrorKind::Failed, "LIVE", "no member sent what it holds");
    let error = error.lines(failures.iter().map(String::as_str)).safe("nothing was changed");
    Err(error.next("see how the members are: kubewright etcd status"))
}

async fn from(
    etcd: &dyn EtcdApi,
    host: &HostName,
    file: File,
    progress: &(dyn Fn(&Doing) + Sync),
) -> Result<SnapshotFile, Broken> {
    let mut stream = etcd.snapshot(host).await.map_err(Broken::Etcd)?;
    let told = |done, all| progress(&Doing::Receiving { from: host.clone(), done, all });
    let into = file.try_clone().map_err(Broken::Store)?;
    let received = receive(stream.as_mut(), into, &told).await?;
    if received.digest.is_right() != Some(true) {
        return Err(Broken::Etcd(super::receive::wrong_digest().at(host)));
    }
    SnapshotFile::of(file).map_err(Broken::Store)
}
