//! Work on a node whose pods are elsewhere: what is written down before, what is done on the host, how it is proved back.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use futures::future::try_join_all;
use kubewright_core::drain::Pod;
use kubewright_core::health::Condition;
use kubewright_core::ids::HostName;
use kubewright_core::maintenance::{Controller, Note, api_version, is_whole};
use kubewright_core::plan::{Step, beside};
use kubewright_core::spec::Role;
use kubewright_manifests::layout::CRI_SOCKET;
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep};

use super::hands::Hands;
use super::objects::{connected, within};
use super::{Failure, Telling};
use crate::facts::nodes::{LOOK, look};
use crate::host::files::{RemoteFile, put_files, read_files};
use crate::playbooks;
use crate::ports::{Host, HostError, KubeApi, ObjectRef, Script, quiet};

/// The API has no word for "what I said before the restart is old": what it says is compared with the host, again after so
/// long where they differ. A kubelet reports its pods within a second or two of their change.
const COMPARE_AGAIN: Duration = Duration::from_secs(2);

/// What `returned.sh` says of a kube-proxy whose rules are written.
const WRITTEN: &str = "written";

/// Where kubelets keep their leases.
const LEASES: &str = "kube-node-lease";

/// Writes down what is whole, once: whoever comes again finds it.
///
/// # Errors
/// [`Failure`].
pub async fn note(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<(), Failure> {
    let (host, spec) = hands.host(step).await?;
    if let Some(note) = find_note(hands, host.as_ref()).await? {
        remember(hands, &spec.name, &note.workloads);
        telling("was written down before");
        return Ok(());
    }
    let api = connected(hands).await?;
    let world = look(api, &spec.name, hands.clock.now(), LOOK).await?;
    let asked = Note::candidates(&world).into_iter().map(|controller| async move {
        let whole = get(api, &controller).await?;
        Ok::<_, Failure>((controller, whole))
    });
    let (whole, short): (Vec<_>, Vec<_>) = try_join_all(asked).await?.into_iter().partition(|(_, whole)| *whole);
    let [mut whole, short] = [whole, short].map(|part| part.into_iter().map(|(of, _)| of).collect::<BTreeSet<_>>());
    whole.extend(short_for_others(hands, step, &short, telling).await);
    remember(hands, &spec.name, &whole);
    let note = Note::of(&world, whole);
    let text = serde_json::to_vec(&note).map_err(|error| Failure::new(error.to_string()))?;
    let file = RemoteFile::plain(path_of(hands, &spec.name), 0o600, text);
    put_files(host.as_ref(), hands.fence, &[file]).await?;
    let (whole, serve) = (note.workloads.len(), note.staying.len());
    telling(&format!("whole: {whole} workloads; {serve} DaemonSets and static pods serve"));
    Ok(())
}

fn remember(hands: &Hands, node: &HostName, whole: &BTreeSet<Controller>) {
    let mut known = hands.whole.lock().unwrap_or_else(PoisonError::into_inner);
    known.insert(node.clone(), whole.clone());
}

/// Which of these lack pods only because of a turn beside this one: they were whole before that. A note of an earlier process
/// stands on its node's host; one that is away just now has it kept to itself, and what it would say is not waited for.
async fn short_for_others(
    hands: &Hands,
    step: &Step,
    short: &BTreeSet<Controller>,
    telling: Telling<'_>,
) -> BTreeSet<Controller> {
    let mut found = BTreeSet::new();
    for node in beside(&hands.plan, step) {
        if short.is_subset(&found) {
            break;
        }
        let known = hands.whole.lock().unwrap_or_else(PoisonError::into_inner).get(node).cloned();
        let before = match known {
            Some(known) => known,
            None => match noted_on(hands, node).await {
                Ok(note) => note.map(|note| note.workloads).unwrap_or_default(),
                Err(failure) => {
                    telling(&format!("what was whole before the turn of {node} cannot be read: {}", failure.text));
                    BTreeSet::new()
                }
            },
        };
        found.extend(short.intersection(&before).cloned());
    }
    found
}

async fn get(api: &dyn KubeApi, controller: &Controller) -> Result<bool, Failure> {
    let Some(version) = api_version(&controller.kind) else { return Ok(false) };
    let object = ObjectRef::namespaced(version, &controller.kind, &controller.namespace, &controller.name);
    Ok(api.get(&object).await?.is_some_and(|object| is_whole(&object)))
}

fn path_of(hands: &Hands, node: &HostName) -> String {
    format!("/var/lib/kubewright/ops/{}/{node}.note.json", hands.plan.operation)
}

/// What was written down.
async fn noted(hands: &Hands, host: &dyn Host) -> Result<Note, Failure> {
    let found = find_note(hands, host).await?;
    found.ok_or_else(|| Failure::new(format!("{} is gone from {}", path_of(hands, host.name()), host.name())))
}

/// What was written down of another node, if its turn has begun.
async fn noted_on(hands: &Hands, node: &HostName) -> Result<Option<Note>, Failure> {
    find_note(hands, hands.hosts.host(node).await?.as_ref()).await
}

async fn find_note(hands: &Hands, host: &dyn Host) -> Result<Option<Note>, Failure> {
    let path = path_of(hands, host.name());
    let found = read_files(host, &[&path]).await?;
    let Some(file) = found.get(&path) else { return Ok(None) };
    let note = serde_json::from_slice(file.contents.expose_secret());
    note.map(Some).map_err(|error| Failure::new(format!("{path} on {} cannot be read: {error}", host.name())))
}

/// Waits until the volumes of pods that moved are detached.
///
/// # Errors
/// [`Failure`] that names those that are not.
pub async fn await_detached(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<(), Failure> {
    let node = hands.target(step)?.clone();
    let condition = Condition::VolumesDetached { node: node.clone() };
    let waited = connected(hands).await?.wait_until(&condition, within(step), telling).await;
    waited.map_err(|error| {
        let hint = format!("kubectl get volumeattachments; the kubelet of {node} and the storage's driver tell why");
        Failure { hint: Some(hint), ..Failure::from(error) }
    })
}

/// Brings packages up to date.
///
/// # Errors
/// [`Failure`] with the package manager's own last lines.
pub async fn update_packages(
    hands: &Hands,
    step: &Step,
    attempt: u32,
    held: &[String],
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let (host, _) = hands.host(step).await?;
    let script = Script::new("debian/update-packages.sh", playbooks::UPDATE_PACKAGES).value("HELD", held.join(" "));
    hands.unit(host.as_ref(), step, attempt, &script, telling).await
}

/// Runs a script of the user's.
///
/// # Errors
/// [`Failure`] with the script's own last lines.
pub async fn run_script(
    hands: &Hands,
    step: &Step,
    attempt: u32,
    name: &str,
    text: &str,
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let (host, spec) = hands.host(step).await?;
    let script = Script::new("common/run-script.sh", playbooks::RUN_SCRIPT)
        .value("SCRIPT", text)
        .value("SCRIPT_NAME", name)
        .value("NODE_NAME", spec.name.as_str());
    hands.unit(host.as_ref(), step, attempt, &script, telling).await
}

/// Proves that a node is back: in the boot that runs, with a lease that is renewed, with its staying pods served by
/// containers that run, and kube-proxy's rules written: load balancers send it requests again a moment later.
///
/// # Errors
/// [`Failure`] that says what is missing.
pub async fn prove_returned(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<(), Failure> {
    let (host, spec) = hands.host(step).await?;
    let node = &spec.name;
    let deadline = Instant::now() + within(step);
    let left = || deadline.saturating_duration_since(Instant::now());
    let note = noted(hands, host.as_ref()).await?;
    let api = connected(hands).await?;

    let running = running(host.as_ref(), None, deadline, telling).await?;
    let booted = Condition::NodeBooted { node: node.clone(), boot_id: running.boot.clone() };
    api.wait_until(&booted, left(), telling).await?;
    // Read once the kubelet of this boot has spoken: from here on every renewal is its own.
    let lease = lease(api, node).await?;
    if spec.is(Role::ControlPlane) {
        api.wait_until(&Condition::control_planes_ready(std::slice::from_ref(node)), left(), telling).await?;
    }
    let proxy = hands.plan.spec.network.kube_proxy.metrics().filter(|_| note.has_kube_proxy());
    let serving = serving(hands, host.as_ref(), proxy.as_deref(), &note, deadline, telling).await?;
    let renewed = Condition::LeaseRenewed { node: node.clone(), after: lease };
    api.wait_until(&renewed, left(), telling).await?;
    let boot: String = running.boot.chars().take(8).collect();
    telling(&format!("boot {boot}, kernel {}, lease renewed, Ready; {serving} staying pods serve", running.kernel));
    Ok(())
}

/// What runs on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Running {
    boot: String,
    kernel: String,
    containers: BTreeSet<String>,
    /// What is to be said of kube-proxy's rules, where it was asked.
    proxy: Option<String>,
}

impl Running {
    fn parse(said: &str) -> Self {
        let mut running = Self::default();
        for (word, value) in said.lines().filter_map(|line| line.split_once(' ')) {
            match word {
                "boot" => value.clone_into(&mut running.boot),
                "kernel" => value.clone_into(&mut running.kernel),
                "container" => drop(running.containers.insert(value.to_owned())),
                "proxy" => running.proxy = Some(value.to_owned()),
                _ => {}
            }
        }
        running
    }

    /// Whether the containers that the API tells of a pod run here.
    fn has(&self, pod: &Pod) -> bool {
        !pod.containers.is_empty() && pod.containers.iter().all(|id| self.containers.contains(id))
    }
}

/// What runs on the host, and of kube-proxy's rules where it is asked; a container runtime that is only starting is waited for.
async fn running(
    host: &dyn Host,
    proxy: Option<&str>,
    deadline: Instant,
    telling: Telling<'_>,
) -> Result<Running, Failure> {
    let script = Script::new("common/returned.sh", playbooks::RETURNED)
        .value("CRI_SOCKET", CRI_SOCKET)
        .value("KUBE_PROXY", proxy.unwrap_or_default());
    let mut said = String::new();
    loop {
        let asked = host.run(&script, &mut quiet()).await.and_then(|output| output.success(host.name(), &script));
        let why = match asked {
            Ok(output) => return Ok(Running::parse(&output.stdout)),
            Err(HostError::Failed { stderr, .. }) if Instant::now() < deadline => stderr.trim().to_owned(),
            Err(HostError::Lost { reason, .. }) if Instant::now() < deadline => reason,
            Err(error) => return Err(error.into()),
        };
        if why != said {
            telling(&why);
            said = why;
        }
        sleep(COMPARE_AGAIN).await;
    }
}

/// When a node's lease was renewed last, in the API's words.
pub(super) async fn lease(api: &dyn KubeApi, node: &HostName) -> Result<Option<String>, Failure> {
    let lease = api.get(&ObjectRef::namespaced("coordination.k8s.io/v1", "Lease", LEASES, node.as_str())).await?;
    let renewed = lease.as_ref().and_then(|lease| lease.pointer("/spec/renewTime")?.as_str());
    // As the watch tells it: one spelling of one moment.
    Ok(renewed.map(|text| text.parse::<jiff::Timestamp>().map_or_else(|_| text.to_owned(), |at| at.to_string())))
}

/// Waits until the pods that stay serve, their containers are those that run on the host, and kube-proxy has written its
/// rules; how many stay.
///
/// Right after a restart the API still says of them what was true before it. And kube-proxy's pod is Ready as soon as it
/// runs, for it has no probe: a request that a load balancer sends before its rules are there is refused.
async fn serving(
    hands: &Hands,
    host: &dyn Host,
    proxy: Option<&str>,
    note: &Note,
    deadline: Instant,
    telling: Telling<'_>,
) -> Result<usize, Failure> {
    let node = host.name();
    let api = connected(hands).await?;
    let ready = Condition::StayingPodsReady { node: node.clone(), pods: note.staying.clone() };
    let mut said = String::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        api.wait_until(&ready, left, telling).await?;
        let world = look(api, node, hands.clock.now(), LOOK).await?;
        let here = running(host, proxy, deadline, telling).await?;
        let staying = world.pods.iter().filter(|(name, pod)| note.is_about(&world, name, pod));
        let (well, stale): (Vec<_>, Vec<_>) = staying.partition(|(_, pod)| pod.is_ready() && here.has(pod));
        let why = match (stale.first(), here.proxy.as_deref()) {
            (Some((name, _)), _) => {
                format!("{name}: its containers do not run yet as the API tells them, {} such pods", stale.len())
            }
            (None, Some(answer)) if answer != WRITTEN => match answer {
                "silent" => {
                    format!(
                        "kube-proxy does not tell yet whether its rules are written, at {}",
                        proxy.unwrap_or_default()
                    )
                }
                _ => "kube-proxy has not written its rules yet".to_owned(),
            },
            (None, _) => return Ok(well.len()),
        };
        if Instant::now() >= deadline {
            return Err(Failure::new(format!("{node} is not proved back: {why}")));
        }
        if why != said {
            telling(&why);
            said = why;
        }
        sleep(COMPARE_AGAIN).await;
    }
}

/// Waits until whoever was whole before is whole again.
///
/// # Errors
/// [`Failure`] that names who is not.
pub async fn await_workloads(hands: &Hands, step: &Step, telling: Telling<'_>) -> Result<(), Failure> {
    let (host, _) = hands.host(step).await?;
    let note = noted(hands, host.as_ref()).await?;
    if note.workloads.is_empty() {
        telling("none had pods there");
        return Ok(());
    }
    let all = note.workloads.len();
    let condition = Condition::WorkloadsWhole { workloads: note.workloads };
    let waited = connected(hands).await?.wait_until(&condition, within(step), telling).await;
    waited.map_err(|error| {
        let hint = "no further node is begun; see why the pods do not come up, then resume".to_owned();
        Failure { hint: Some(hint), ..Failure::from(error) }
    })?;
    telling(&format!("{all} workloads have all their pods"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_serves_only_with_containers_that_run() {
        let running = Running::parse("boot b2\nkernel 6.1.0\ncontainer c1\ncontainer c2\nproxy pending\n");
        assert_eq!((running.boot.as_str(), running.kernel.as_str()), ("b2", "6.1.0"));
        assert_eq!(running.proxy.as_deref(), Some("pending"));
        let pod = |ids: &[&str]| Pod { containers: ids.iter().map(|id| (*id).to_owned()).collect(), ..Pod::default() };
        assert!(running.has(&pod(&["c1"])) && running.has(&pod(&["c2", "c1"])));
        assert!(!running.has(&pod(&["c1", "old"])) && !running.has(&pod(&[])));
    }
}
