//! A host goes over to another version of Kubernetes, or back to the one it had.

use std::collections::BTreeMap;
use std::time::Duration;

use kubewright_core::health::{CONTROL_PLANE, Condition};
use kubewright_core::ids::{HostName, StepId};
use kubewright_core::plan::{Artefact, EtcdStart, FileSet, Step};
use kubewright_core::spec::{Host as HostSpec, Role, Spec};
use kubewright_core::version::Version;
use kubewright_manifests::images;
use kubewright_manifests::layout::CRI_SOCKET;

use super::files::to_remote;
use super::hands::Hands;
use super::maintain::lease;
use super::objects::connected;
use super::prepare::lines;
use super::start::serving;
use super::{Failure, Telling};
use crate::host::files::{RemoteFile, put_files};
use crate::playbooks;
use crate::ports::{Host, Script};
use crate::render;

/// What a step says of a swap.
pub struct Swap<'a> {
    /// To which version.
    pub version: &'a Version,
    /// Its programs.
    pub programs: &'a [Artefact],
    /// Whether its certificates and kubeconfigs are replaced by those that were made for it before.
    pub renew_certificates: bool,
    /// What its etcd's manifest says of its first start.
    pub etcd: &'a EtcdStart,
    /// How long what starts may take until it serves.
    pub serve_seconds: u32,
    /// How long the node may take then until the API calls it Ready.
    pub ready_seconds: u32,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Forward,
    Back,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Back => "back",
        }
    }
}

/// Goes over; where that does not succeed, back.
///
/// # Errors
/// [`Failure`] that says what the host runs now.
pub async fn perform(
    hands: &Hands,
    step: &Step,
    attempt: u32,
    swap: &Swap<'_>,
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let (host, host_spec) = hands.host(step).await?;
    let spec = at(&hands.plan.spec, swap.version);
    let mut renewed = Vec::new();
    if swap.renew_certificates {
        renewed = hands.keys().await?.renewed_of(&host_spec.name)?;
    }
    upload(hands, host.as_ref(), step, &spec, host_spec, swap.etcd, renewed).await?;
    let forward = go(hands, host.as_ref(), step, attempt, swap, Way::Forward, telling).await;
    let why = match forward {
        Ok(()) => match runs(hands, host_spec, swap, telling).await {
            Ok(()) => return Ok(()),
            Err(why) => why,
        },
        // Another run works here by now: nothing of this one's may.
        Err(why) if why.fenced => return Err(why),
        Err(why) => why,
    };
    telling(&format!("going back, because {}", why.text.lines().next().unwrap_or_default()));
    let node = &host_spec.name;
    let returned = match go(hands, host.as_ref(), step, attempt, swap, Way::Back, telling).await {
        Ok(()) => lives(hands, node, swap, telling).await,
        Err(back) => Err(back),
    };
    match returned {
        Ok(()) => Err(Failure {
            text: format!(
                "{node} does not run {}: {}\n{node} is back at what it ran before, and Ready; no further node is begun",
                swap.version, why.text
            ),
            hint: Some(format!("mend what the lines above name, then resume; until then {node} takes no new pods")),
            ..why
        }),
        Err(back) => Err(Failure {
            text: format!(
                "{node} does not run {}: {}\nand did not come back to what it ran before: {}",
                swap.version, why.text, back.text
            ),
            ..back
        }),
    }
}

/// The spec at another version of Kubernetes.
fn at(spec: &Spec, version: &Version) -> Spec {
    let mut spec = spec.clone();
    spec.kubernetes.version = version.clone();
    spec
}

/// Where the new texts wait on the host, and the old ones are kept.
fn folder(hands: &Hands, step: &Step) -> String {
    format!("/var/lib/kubewright/ops/{}/{}.swap", hands.plan.operation, step.id)
}

/// Puts the new texts beside those in place, so that taking their places needs nobody any more.
async fn upload(
    hands: &Hands,
    host: &dyn Host,
    step: &Step,
    spec: &Spec,
    host_spec: &HostSpec,
    etcd: &EtcdStart,
    renewed: Vec<RemoteFile>,
) -> Result<(), Failure> {
    let folder = folder(hands, step);
    let seen = hands.seen(&host_spec.name)?;
    let rendered = render::file_set(spec, host_spec, FileSet::All, etcd, seen);
    let mut files: Vec<RemoteFile> = rendered.into_iter().map(to_remote).chain(renewed).collect();
    for file in &mut files {
        file.path = format!("{folder}/new{}", file.path);
    }
    put_files(host, hands.fence, &files).await?;
    Ok(())
}

async fn go(
    hands: &Hands,
    host: &dyn Host,
    step: &Step,
    attempt: u32,
    swap: &Swap<'_>,
    way: Way,
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let spec =
        hands.plan.spec.host(host.name()).ok_or_else(|| Failure::new(format!("{} is not in the spec", host.name())))?;
    let script = serving(Script::new("debian/swap.sh", playbooks::SWAP), hands, spec)
        .value("WAY", way.word())
        .value("FOLDER", folder(hands, step))
        .value("VERSION", swap.version.tag())
        .value("PROGRAMS", lines(swap.programs))
        .value("CRI_SOCKET", CRI_SOCKET)
        .value("DEADLINE_SECONDS", swap.serve_seconds.to_string());
    // Each way is a unit of its own, so that each has a result of its own.
    let mut named = step.clone();
    named.id = StepId::new(format!("{}-{}", step.id, way.word()));
    hands.unit(host, &named, attempt, &script, telling).await
}

/// Waits until the API says of the node what was written on its host.
async fn runs(hands: &Hands, spec: &HostSpec, swap: &Swap<'_>, telling: Telling<'_>) -> Result<(), Failure> {
    let node = spec.name.clone();
    let mut conditions = vec![Condition::NodeRuns { node: node.clone(), kubelet: swap.version.tag() }];
    if spec.is(Role::ControlPlane) {
        conditions.push(Condition::StaticPodsRun { node, images: control_plane(&hands.plan.spec, spec, swap.version) });
    }
    let within = Duration::from_secs(swap.ready_seconds.into());
    connected(hands).await?.wait_until(&Condition::All { conditions }, within, telling).await?;
    Ok(())
}

/// Waits until the API calls a node Ready whose kubelet has spoken since.
async fn lives(hands: &Hands, node: &HostName, swap: &Swap<'_>, telling: Telling<'_>) -> Result<(), Failure> {
    let api = connected(hands).await?;
    let after = lease(api, node).await?;
    let renewed = Condition::LeaseRenewed { node: node.clone(), after };
    let ready = Condition::NodesReady { nodes: vec![node.clone()] };
    let within = Duration::from_secs(swap.ready_seconds.into());
    api.wait_until(&Condition::All { conditions: vec![renewed, ready] }, within, telling).await?;
    Ok(())
}

/// Images of a host's control plane by component.
fn control_plane(spec: &Spec, host: &HostSpec, version: &Version) -> BTreeMap<String, String> {
    let spec = at(spec, version);
    let components = CONTROL_PLANE.into_iter().filter(|component| *component != "etcd" || host.is(Role::Etcd));
    let image = |component: &str| match component {
        "etcd" => images::etcd(&spec),
        other => images::kubernetes(&spec, other),
    };
    components.map(|component| (component.to_owned(), image(component))).collect()
}
