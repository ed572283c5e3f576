//! Kubelets of control planes and workers: started, waited for on the host itself, proved there.

use kubewright_core::plan::Step;
use kubewright_core::spec::{EndpointMode, Host as HostSpec, Role};

use super::hands::Hands;
use super::prepare::verdict;
use super::{Failure, Telling, Verdict};
use crate::playbooks;
use crate::ports::{Host, Script};

/// Seconds that the script keeps back from the step's deadline, so that it can still say what it waited for.
pub(super) const TO_EXPLAIN: u32 = 20;

/// Starts a control plane.
///
/// # Errors
/// [`Failure`].
pub async fn control_plane(hands: &Hands, step: &Step, attempt: u32, telling: Telling<'_>) -> Result<(), Failure> {
    let (host, spec) = hands.host(step).await?;
    let script = serving(Script::new("debian/start-control-plane.sh", playbooks::START_CONTROL_PLANE), hands, spec)
        .value("API_DEADLINE_SECONDS", step.deadline_seconds.saturating_sub(TO_EXPLAIN).to_string());
    hands.unit(host.as_ref(), step, attempt, &script, telling).await
}

/// Whether a control plane is up.
///
/// # Errors
/// [`Failure`] where the host cannot be asked.
pub async fn probe_control_plane(hands: &Hands, host: &dyn Host, spec: &HostSpec) -> Result<Verdict, Failure> {
    let script =
        serving(Script::new("debian/verify.sh", playbooks::VERIFY), hands, spec).value("STEP", "control-plane");
    verdict(host, &script).await.map(start_again)
}

/// What a script has to know of a host whose control plane or kubelet is to serve (`serve.sh`).
pub(super) fn serving(script: Script, hands: &Hands, spec: &HostSpec) -> Script {
    let yes_or_no = |yes: bool| if yes { "yes" } else { "no" };
    script
        .value("NODE_NAME", spec.name.as_str())
        .value("ADVERTISE_ADDRESS", spec.private_address.to_string())
        .value("API_PORT", hands.plan.spec.api_port().to_string())
        .value("CONTROL_PLANE", yes_or_no(spec.is(Role::ControlPlane)))
        .value("ETCD", yes_or_no(spec.is(Role::Etcd)))
        .value("NODE_LOCAL", yes_or_no(hands.plan.spec.endpoint.mode == EndpointMode::NodeLocal))
}

/// Starts the etcd of a host that was added as a member.
///
/// # Errors
/// [`Failure`].
pub async fn etcd_member(hands: &Hands, step: &Step, attempt: u32, telling: Telling<'_>) -> Result<(), Failure> {
    let (host, spec) = hands.host(step).await?;
    let script = Script::new("debian/start-etcd-member.sh", playbooks::START_ETCD_MEMBER)
        .value("NODE_NAME", spec.name.as_str())
        .value("ADVERTISE_ADDRESS", spec.private_address.to_string())
        .value("DEADLINE_SECONDS", step.deadline_seconds.saturating_sub(TO_EXPLAIN).to_string());
    hands.unit(host.as_ref(), step, attempt, &script, telling).await
}

/// Whether the etcd of a host runs.
///
/// # Errors
/// [`Failure`] where the host cannot be asked.
pub async fn probe_etcd_member(host: &dyn Host, spec: &HostSpec) -> Result<Verdict, Failure> {
    let script = Script::new("debian/verify.sh", playbooks::VERIFY)
        .value("STEP", "etcd-member")
        .value("ADVERTISE_ADDRESS", spec.private_address.to_string());
    verdict(host, &script).await.map(start_again)
}

/// Starts a worker.
///
/// # Errors
/// [`Failure`].
pub async fn worker(hands: &Hands, step: &Step, attempt: u32, telling: Telling<'_>) -> Result<(), Failure> {
    let (host, spec) = hands.host(step).await?;
    let script = serving(Script::new("debian/start-worker.sh", playbooks::START_WORKER), hands, spec)
        .value("DEADLINE_SECONDS", step.deadline_seconds.saturating_sub(TO_EXPLAIN).to_string());
    hands.unit(host.as_ref(), step, attempt, &script, telling).await
}

/// Whether a worker is up.
///
/// # Errors
/// [`Failure`] where the host cannot be asked.
pub async fn probe_worker(hands: &Hands, host: &dyn Host, spec: &HostSpec) -> Result<Verdict, Failure> {
    let script = serving(Script::new("debian/verify.sh", playbooks::VERIFY), hands, spec).value("STEP", "worker");
    verdict(host, &script).await.map(start_again)
}

/// Starting a kubelet that may run already changes nothing about it, so an answer that nobody gives (a component still
/// coming up) is no reason to call a person: starting again waits for it.
fn start_again(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Unknown(_) => Verdict::NotDone,
        known => known,
    }
}
