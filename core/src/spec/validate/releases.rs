//! Flags, feature gates and fields against what the programs of the spec's version take. A program that is given a flag or a gate
//! that it does not know ends at once, on every control plane that gets it.

use serde_json::{Map, Value};

use crate::finding::{Finding, Severity, Subject};
use crate::releases::Release;
use crate::spec::decode::closest;
use crate::spec::{Arg, Spec, path};
use crate::version::Version;

const GATES_FLAG: &str = "feature-gates";
const GATES_FIELD: &str = "featureGates";

/// What the spec gives one program: where, its name, and the flags.
fn with_flags(spec: &Spec) -> [(&'static str, &'static str, &[Arg]); 4] {
    [
        ("spec.apiServer", "kube-apiserver", &spec.api_server.extra_args),
        ("spec.controllerManager", "kube-controller-manager", &spec.controller_manager.extra_args),
        ("spec.scheduler", "kube-scheduler", &spec.scheduler.extra_args),
        ("spec.kubelet", "kubelet", &spec.kubelet.extra_args),
    ]
}

/// What the spec adds to one program's file: where, the program, the kind, and the fields.
fn with_fields(spec: &Spec) -> [(&'static str, &'static str, &'static str, &Map<String, Value>); 2] {
    [
        ("spec.kubelet.config", "kubelet", "KubeletConfiguration", &spec.kubelet.config),
        ("spec.network.kubeProxy.config", "kube-proxy", "KubeProxyConfiguration", &spec.network.kube_proxy.config),
    ]
}

/// ARG007 to ARG011, CFG002.
pub fn taken(spec: &Spec, findings: &mut Vec<Finding>) {
    let version = &spec.kubernetes.version;
    let Some(release) = Release::of(version.minor()) else {
        findings.extend(not_compared(spec));
        return;
    };
    let judge = Judge { release: &release, version };
    for (parent, program, args) in with_flags(spec) {
        // Whoever emulates an older version has that one's gates.
        let emulates = args.iter().any(|arg| arg.name.replace('_', "-") == "emulated-version");
        for (index, arg) in args.iter().enumerate() {
            let place = format!("{parent}.extraArgs[{index}]");
            findings.extend(judge.name("ARG007", program, "flag", &arg.name, format!("{place}.name")));
            if arg.name.replace('_', "-") == GATES_FLAG && !emulates {
                findings.extend(judge.gates_of_flag(program, &arg.value, &format!("{place}.value")));
            }
        }
    }
    for (parent, program, kind, fields) in with_fields(spec) {
        for (field, value) in fields {
            let place = path::key(parent, field);
            if field == GATES_FIELD {
                findings.extend(judge.gates_of_field(program, value, &place));
            }
            let unknown = judge.name("CFG002", kind, "field", field, path::of_key(&place));
            // The program tells it in its log and starts without.
            findings.extend(unknown.map(|finding| Finding { severity: Severity::Warns, ..finding }));
        }
    }
}

/// ARG010: said once, and only where there is something to compare.
fn not_compared(spec: &Spec) -> Option<Finding> {
    let flags = with_flags(spec).iter().any(|(_, _, args)| !args.is_empty());
    let fields = with_fields(spec).iter().any(|(_, _, _, fields)| !fields.is_empty());
    (flags || fields).then(|| {
        let recorded: Vec<String> = Release::all().map(|release| release.minor().to_string()).collect();
        let minor = spec.kubernetes.version.minor();
        let text = format!("which flags, feature gates and fields Kubernetes {minor} takes is not recorded");
        Finding::new(Severity::Info, "ARG010", Subject::Spec("spec.kubernetes.version".to_owned()), text)
            .label("those of this file were not compared")
            .hint(format!("recorded are {}", recorded.join(", ")))
    })
}

struct Judge<'a> {
    release: &'a Release,
    version: &'a Version,
}

impl Judge<'_> {
    /// A flag of a program, or a field of a kind, that this release does not take.
    fn name(&self, code: &str, owner: &str, what: &str, name: &str, place: String) -> Option<Finding> {
        if self.release.takes(owner, name) {
            return None;
        }
        let takes = |release: &Release| release.takes(owner, name);
        let text = format!("{owner} {} has no {what} `{name}`", self.release.minor());
        Some(self.explained(Finding::spec(code, place, text), name, takes, self.release.taken_by(owner)))
    }

    /// Which releases have it, or what was probably meant.
    fn explained(
        &self,
        finding: Finding,
        name: &str,
        takes: impl Fn(&Release) -> bool,
        known: impl Iterator<Item = &'static str>,
    ) -> Finding {
        let minor = self.release.minor();
        if let Some(older) = Release::all().rev().find(|release| release.minor() < minor && takes(release)) {
            let hint = "take it out: what it did is gone, or is not to be chosen any more (the release notes of that \
                        minor tell)";
            return finding.label(format!("{} had it", older.minor())).hint(hint);
        }
        if let Some(newer) = Release::all().find(|release| release.minor() > minor && takes(release)) {
            return finding.label(format!("{} has it", newer.minor())).hint("take it out until then");
        }
        let finding = match closest(name, known) {
            Some(meant) => finding.label(format!("did you mean `{meant}`?")),
            None => finding.hint("take it out, or correct its name"),
        };
        // A patch that came after ours was recorded may have brought it.
        match self.version > self.release.version() {
            true => Finding { severity: Severity::Warns, ..finding }.hint(format!(
                "what {} takes is recorded; where it is right, nothing has to be done",
                self.release.version()
            )),
            false => finding,
        }
    }

    /// `A=true,B=false`; servers of the control plane read `kube:` before a name, too.
    fn gates_of_flag(&self, program: &str, value: &str, place: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        for pair in value.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let set = pair.split_once('=').and_then(|(name, to)| Some((name.trim(), truth(to.trim())?)));
            match set {
                Some((name, to)) => {
                    let plain = if program == "kubelet" { name } else { name.strip_prefix("kube:").unwrap_or(name) };
                    findings.extend(self.gate(program, plain, to, place.to_owned(), place.to_owned()));
                }
                None => findings.push(malformed(pair, place)),
            }
        }
        findings
    }

    fn gates_of_field(&self, program: &str, value: &Value, place: &str) -> Vec<Finding> {
        let Value::Object(gates) = value else {
            return vec![malformed(&value.to_string(), place)];
        };
        let mut findings = Vec::new();
        for (name, to) in gates {
            let at = path::key(place, name);
            match to {
                Value::Bool(to) => findings.extend(self.gate(program, name, *to, path::of_key(&at), at)),
                other => findings.push(malformed(&format!("{name}: {other}"), &at)),
            }
        }
        findings
    }

    /// ARG008, ARG009.
    fn gate(&self, program: &str, name: &str, to: bool, at_name: String, at_value: String) -> Option<Finding> {
        let minor = self.release.minor();
        let Some(gate) = self.release.gate(name) else {
            let finding = Finding::spec("ARG008", at_name, format!("{program} {minor} has no feature gate `{name}`"));
            let has = |release: &Release| release.gate(name).is_some();
            return Some(self.explained(finding, name, has, self.release.gates()));
        };
        let locked = gate.locked.filter(|locked| *locked != to)?;
        let text = format!("the feature gate `{name}` cannot be {to} in Kubernetes {minor}");
        let finding = Finding::spec("ARG009", at_value, text).label(format!("locked to {locked}"));
        Some(finding.hint(format!("take it out; {program} does not start with it")))
    }
}

/// ARG011.
fn malformed(said: &str, place: &str) -> Finding {
    Finding::spec("ARG011", place, format!("`{}` switches no feature gate", said.escape_debug()))
        .label("each is a name and true or false")
}

/// As Go's `strconv.ParseBool` reads it, which the programs use.
fn truth(word: &str) -> Option<bool> {
    match word {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::read;

    /// Codes and severities of these flags of kube-apiserver and this gate of the kubelet.
    fn found(version: &str, flags: &[(&str, &str)], gate: Option<(&str, bool)>) -> Vec<(String, Severity)> {
        let flags: Vec<String> =
            flags.iter().map(|(name, value)| format!("{{name: {name}, value: \"{value}\"}}")).collect();
        let gate = gate.map(|(name, to)| format!("  kubelet: {{config: {{featureGates: {{{name}: {to}}}}}}}\n"));
        let text = format!(
            "apiVersion: kubewright.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: lab}}\nspec:\n  kubernetes: {{version: {version}}}\n  \
             apiServer: {{extraArgs: [{}]}}\n{}  hosts:\n  - {{name: cp1, address: 10.77.0.11, roles: [controlPlane, etcd]}}\n",
            flags.join(", "),
            gate.unwrap_or_default()
        );
        let findings = read("test.yaml", &text).findings;
        findings.into_iter().map(|finding| (finding.code, finding.severity)).collect()
    }

    fn blocks(code: &str) -> Vec<(String, Severity)> {
        vec![(code.to_owned(), Severity::Blocks)]
    }

    #[test]
    fn what_a_later_patch_may_have_brought_warns_and_what_is_gone_blocks() {
        assert_eq!(found("1.36.3", &[("no-such-flag", "1")], None), blocks("ARG007"));
        let warns = vec![("ARG007".to_owned(), Severity::Warns)];
        assert_eq!(found("1.36.9", &[("no-such-flag", "1")], None), warns);
        assert_eq!(found("1.36.9", &[], Some(("CSIMigrationPortworx", true))), blocks("ARG008"));
        assert_eq!(found("1.35.9", &[], Some(("CSIMigrationPortworx", true))), []);
        assert_eq!(found("1.35.4", &[], Some(("CSIMigrationPortworx", false))), blocks("ARG009"));
    }

    #[test]
    fn flags_are_read_as_the_programs_read_them() {
        assert_eq!(found("1.36.3", &[("audit_log_maxage", "3"), ("apiserver-count", "3")], None), []);
        let gates = |value| found("1.36.3", &[("feature-gates", value)], None);
        assert_eq!(gates("kube:ImageVolume=T, AllAlpha=0,"), []);
        assert_eq!(gates("ImageVolume=F"), blocks("ARG009"));
        assert_eq!(gates("wardle:ImageVolume=true"), blocks("ARG008"));
        assert_eq!(gates("ImageVolume=yes"), blocks("ARG011"));
        let emulated = [("feature-gates", "ImageVolume=false"), ("emulated-version", "1.35")];
        assert_eq!(found("1.36.3", &emulated, None), [], "whoever emulates 1.35 has its gates");
    }
}
