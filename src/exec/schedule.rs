//! Copies of etcd that a host takes by itself: kubewright, the spec and a timer are put there.

use std::fs;
use std::path::Path;

use futures::future::join_all;
use kubewright_core::etcd::schedule::Schedule;
use kubewright_core::ids::HostName;
use kubewright_core::plan::{Step, hex};
use kubewright_core::spec::{Role, Spec};
use kubewright_manifests::backup::{BACKUP_DIR, PROGRAM, SERVICE, SPEC, TIMER, units};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::files::to_remote;
use super::hands::Hands;
use super::{Failure, Telling};
use crate::host::fence::run_fenced;
use crate::host::files::{RemoteFile, put_files};
use crate::playbooks;
use crate::ports::{Host, HostError, Hosts, Output, Script, quiet};

/// The program that runs, as the kernel knows it: its file may have been replaced since.
const OURSELVES: &str = "/proc/self/exe";

/// Puts program, spec and units, and starts the timer.
///
/// # Errors
/// [`Failure`]; doing it again is the same.
pub async fn begin(
    hands: &Hands,
    step: &Step,
    schedule: &Schedule,
    position: usize,
    spec: &str,
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let (host, host_spec) = hands.host(step).await?;
    let host = host.as_ref();
    let (program, digest) = program(Path::new(OURSELVES)).await?;
    let there = ask(host, "program").await?;
    if there.stdout.trim() != digest {
        telling(&format!("kubewright comes to the host, {} MB", program.len() / 1_000_000));
        put_files(host, hands.fence, &[RemoteFile::plain(PROGRAM, 0o755, program)]).await?;
    }
    let units = units(schedule, &host_spec.name, position).map(to_remote);
    let files: Vec<RemoteFile> = units.into_iter().chain([RemoteFile::plain(SPEC, 0o600, spec)]).collect();
    put_files(host, hands.fence, &files).await?;
    act(hands, host, "start").await?;
    telling(&format!("a copy every {} to {}", schedule.every, schedule.to));
    Ok(())
}

/// Stops the timer and takes everything away but copies.
///
/// # Errors
/// [`Failure`]; doing it again is the same.
pub async fn end(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<(), Failure> {
    let (host, _) = hands.host(step).await?;
    act(hands, host.as_ref(), "stop").await?;
    telling("it has no timer; copies stay");
    Ok(())
}

/// How it goes on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Goes {
    /// `active`, `inactive` or `none`.
    pub timer: String,
    /// When the next copy is taken, by the host's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// When the last one ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// How it ended, in systemd's word: `success`, `exit-code`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

impl Goes {
    fn parse(said: &str) -> Self {
        let mut goes = Self::default();
        for (word, value) in said.lines().filter_map(|line| line.split_once(' ')) {
            let value = value.to_owned();
            match word {
                "timer" => goes.timer = value,
                "next" => goes.next = Some(value),
                "ended" => goes.ended = Some(value),
                "result" => goes.result = Some(value),
                _ => {}
            }
        }
        goes
    }
}

/// How it goes on each host with a member, all asked at once.
pub async fn look(spec: &Spec, hosts: &dyn Hosts) -> Vec<(HostName, Result<Goes, HostError>)> {
    let asked = spec.with_role(Role::Etcd).map(|host| async move {
        let goes = async { ask(hosts.host(&host.name).await?.as_ref(), "tell").await };
        (host.name.clone(), goes.await.map(|output| Goes::parse(&output.stdout)))
    });
    join_all(asked).await
}

async fn ask(host: &dyn Host, action: &str) -> Result<Output, HostError> {
    let script = script(action);
    host.run(&script, &mut quiet()).await?.success(host.name(), &script)
}

async fn act(hands: &Hands, host: &dyn Host, action: &str) -> Result<(), Failure> {
    let script = script(action);
    run_fenced(host, hands.fence, &script, &mut quiet()).await?.success(host.name(), &script)?;
    Ok(())
}

fn script(action: &str) -> Script {
    with_places(Script::new("debian/schedule.sh", playbooks::SCHEDULE)).value("ACTION", action)
}

/// What `copies.sh` wants to know: where on a host everything is that takes copies.
pub fn with_places(script: Script) -> Script {
    script
        .value("PROGRAM", PROGRAM)
        .value("SPEC", SPEC)
        .value("FOLDER", BACKUP_DIR)
        .value("TIMER", TIMER)
        .value("SERVICE", SERVICE)
}

/// The bytes of a program and their SHA-256, read away from the threads that serve connections.
async fn program(path: &Path) -> Result<(Vec<u8>, String), Failure> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let bytes = fs::read(path)?;
        let digest = hex(&Sha256::digest(&bytes));
        Ok::<_, std::io::Error>((bytes, digest))
    });
    let read = read.await;
    read.map_err(|error| Failure::new(format!("reading kubewright itself was cut short: {error}")))?
        .map_err(|error| Failure::new(format!("kubewright itself cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_is_read() {
        let said = "timer active\nnext 2026-11-27T18:00:00\nended 2026-11-27T12:00:09Z\nresult success\nnoise\n";
        let goes = Goes::parse(said);
        assert_eq!((goes.timer.as_str(), goes.result.as_deref()), ("active", Some("success")));
        assert_eq!(goes.next.as_deref(), Some("2026-11-27T18:00:00"));
        assert_eq!(Goes::parse("timer none\n"), Goes { timer: "none".into(), ..Goes::default() });
    }
}
