//! Packages, kernel settings, containerd, binaries and images of one host.

use kubewright_core::plan::{Artefact, ArtefactKind, Preparation, Step};
use kubewright_manifests::layout::{CRI_SOCKET, SYSCTL_FILE};

use super::files::to_remote;
use super::hands::Hands;
use super::{Failure, Telling, Verdict};
use crate::host::files::put_files;
use crate::playbooks;
use crate::ports::{Host, Script, quiet};
use crate::render;

/// Does it.
///
/// # Errors
/// [`Failure`].
pub async fn perform(
    hands: &Hands,
    step: &Step,
    attempt: u32,
    preparation: &Preparation,
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let (host, _) = hands.host(step).await?;
    let files: Vec<_> = render::preparation_files(&hands.plan.spec).into_iter().map(to_remote).collect();
    put_files(host.as_ref(), hands.fence, &files).await?;
    let script = values(Script::new("debian/prepare.sh", playbooks::PREPARE), preparation);
    hands.unit(host.as_ref(), step, attempt, &script, telling).await
}

/// Brings programs and images of another version; what runs stays what it is.
///
/// # Errors
/// [`Failure`].
pub async fn stage(
    hands: &Hands,
    step: &Step,
    attempt: u32,
    preparation: &Preparation,
    telling: Telling<'_>,
) -> Result<(), Failure> {
    let (host, _) = hands.host(step).await?;
    let script = values(Script::new("debian/prepare.sh", playbooks::PREPARE), preparation).value("STAGE", "yes");
    hands.unit(host.as_ref(), step, attempt, &script, telling).await
}

/// Whether it is all there.
///
/// # Errors
/// [`Failure`] where the host cannot be asked.
pub async fn probe(_hands: &Hands, host: &dyn Host, preparation: &Preparation) -> Result<Verdict, Failure> {
    let script = values(Script::new("debian/verify.sh", playbooks::VERIFY), preparation).value("STEP", "prepare");
    verdict(host, &script).await
}

/// Reads the one line that `verify.sh` prints.
///
/// # Errors
/// [`Failure`] where the host cannot be asked.
pub async fn verdict(host: &dyn Host, script: &Script) -> Result<Verdict, Failure> {
    let output = host.run(script, &mut quiet()).await?.success(host.name(), script)?;
    Ok(match output.stdout.trim() {
        "done" => Verdict::Done,
        answer if answer.starts_with("not-done") => Verdict::NotDone,
        answer => Verdict::Unknown(format!("{}: {answer}", host.name())),
    })
}

/// What is to be downloaded, as `artefacts.sh` reads it.
pub(super) fn lines(artefacts: &[Artefact]) -> String {
    let line = |artefact: &Artefact| {
        let kind = match artefact.kind {
            ArtefactKind::File => "file",
            ArtefactKind::Tgz => "tgz",
        };
        let link = artefact.link.as_deref().unwrap_or("-");
        let fields: [&str; 7] =
            [&artefact.name, &artefact.url, &artefact.sha256, kind, &artefact.destination, &artefact.mode, link];
        fields.into_iter().chain(artefact.members.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    };
    artefacts.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn values(script: Script, preparation: &Preparation) -> Script {
    let images: Vec<String> = preparation
        .images
        .iter()
        .map(|image| format!("{} {}", image.reference, image.digest.as_deref().unwrap_or("-")))
        .collect();
    script
        .value("PACKAGES", preparation.packages.join(" "))
        .value("MODULES", preparation.modules.join(" "))
        .value("SYSCTL_FILE", SYSCTL_FILE)
        .value("SWAP", if preparation.swap_off { "off" } else { "keep" })
        .value("ARTEFACTS", lines(&preparation.artefacts))
        .value("IMAGES", images.join("\n"))
        .value("CRI_SOCKET", CRI_SOCKET)
}
