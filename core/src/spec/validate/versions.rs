//! Versions that can be installed.

use crate::finding::{Finding, Severity, Subject};
use crate::spec::Spec;
use crate::version::{Minor, OLDEST, PROVEN};

const KUBERNETES: &str = "spec.kubernetes.version";

/// The only major release of containerd that our configuration is written for; kubelets from 1.37 on refuse the one before it.
const CONTAINERD_MAJOR: u64 = 2;

/// VER001, VER002, VER003.
pub fn kubernetes(spec: &Spec, findings: &mut Vec<Finding>) {
    let version = &spec.kubernetes.version;
    let minor = version.minor();
    let proven = PROVEN.map(|minor| minor.to_string()).join(", ");
    if minor.major > OLDEST.major {
        let finding = Finding::spec("VER001", KUBERNETES, format!("there is no Kubernetes {}", minor.major));
        findings.push(finding.hint(format!("proven are {proven}")));
    } else if minor < OLDEST {
        let finding = Finding::spec("VER003", KUBERNETES, format!("Kubernetes {minor} is too old for kubewright"));
        findings.push(finding.label(format!("{OLDEST} is the oldest")).hint(format!("proven are {proven}")));
    } else if !PROVEN.contains(&minor) {
        let text = format!("bootstrap of Kubernetes {minor} is unproven");
        let finding = Finding::new(Severity::Warns, "VER002", Subject::Spec(KUBERNETES.to_owned()), text);
        findings.push(finding.label(unproven(minor)).hint(format!("proven are {proven}")));
    }
}

fn unproven(minor: Minor) -> &'static str {
    if PROVEN.iter().all(|proven| minor > *proven) { "newer than what was tried" } else { "older than what was tried" }
}

/// VER005.
pub fn containerd(spec: &Spec, findings: &mut Vec<Finding>) {
    let major = semver::Version::parse(&spec.containerd.version).map(|version| version.major);
    if major.is_ok_and(|major| major != CONTAINERD_MAJOR) {
        let text = format!("containerd {} cannot be set up", spec.containerd.version);
        let finding = Finding::spec("VER005", "spec.containerd.version", text);
        findings.push(finding.label(format!("a release {CONTAINERD_MAJOR}.x is needed")));
    }
}
