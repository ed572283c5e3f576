//! `kubewright etcd verify`: whether a snapshot can be relied on, and what is in it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kubewright_core::etcd::address::StoreAddress;
use kubewright_core::finding::{Finding, Severity, Subject};
use kubewright_core::plan::hex;
use kubewright_snapshot::{Fault, HashKv, Report, Snapshot, Version};
use serde_json::json;

use super::stores::{Endpoint, at_once};
use super::{packed, unreadable};
use crate::backup::reading::{self, Unopened};
use crate::cli::options::code;
use crate::error::{Error, ExitCode};
use crate::report::{self, Paint, snapshot as drawn};

/// Tell whether a snapshot is whole and as it was saved
///
/// The file is only read. Its digest is recomputed, every page and entry is checked, and HashKV is what the members of the cluster answer at the
/// same revision. Ends with 0 for a good file, 5 for a damaged one, and 6 where somebody has to know of something before it
/// is restored.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The snapshot, packed or not; a copy's folder; a copy in a bucket (s3://BUCKET/…); or a copy of a member's member/snap/db
    #[arg(value_name = "FILE")]
    file: StoreAddress,
    /// The version of the etcd that is to have it, such as 3.6.14: it must be able to start on it
    #[arg(long, value_name = "VERSION", value_parser = version)]
    server: Option<Version>,
    /// Tell HashKV at this revision too
    #[arg(long, value_name = "REVISION")]
    revision: Option<i64>,
    /// Agree to a finding that needs consent, by its code; may be repeated
    #[arg(long, value_name = "CODE", value_parser = code)]
    consent: Vec<String>,
    #[command(flatten)]
    endpoint: Endpoint,
}

fn version(text: &str) -> Result<Version, String> {
    Version::parse(text).ok_or_else(|| "no version of etcd: write it as 3.6.14".to_owned())
}

impl Verify {
    pub(super) fn run(self, json: bool) -> Result<ExitCode, Error> {
        let began = Instant::now();
        let consents: BTreeSet<&str> = self.consent.iter().map(String::as_str).collect();
        let opened = match at_once(reading::open(&self.file, &self.endpoint.access()))? {
            Ok(opened) => opened,
            Err(Unopened::Error(error)) => return Err(error),
            Err(Unopened::Damaged(why)) => {
                let finding = Finding::new(Severity::Blocks, "SNAP008", subject(&self.file), packed(&why));
                let findings = vec![finding.hint("use another copy")];
                return told(json, &self.file, &findings, &consents, None, None, began.elapsed());
            }
        };
        let wanted = opened.wanted().map(str::to_owned);
        let snapshot = match Snapshot::open(opened.file) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                let findings = vec![finding(&self.file, &Fault::Unreadable(error))];
                return told(json, &self.file, &findings, &consents, None, None, began.elapsed());
            }
        };
        let mut report = snapshot.verify();
        if let Some(server) = self.server {
            report = report.for_server(server);
        }
        let mut findings: Vec<Finding> = report.faults.iter().map(|fault| finding(&self.file, fault)).collect();
        let found = report.digest.as_ref().map(|digest| hex(&digest.file));
        if let (Some(wanted), Some(found)) = (wanted, found)
            && wanted != found
        {
            let text =
                format!("it is not the file that its manifest tells of: its SHA-256 is {found}, and was {wanted}");
            let finding = Finding::new(Severity::Blocks, "SNAP009", subject(&self.file), text);
            findings.insert(0, finding.hint("use another copy"));
        }
        let asked = match self.revision {
            // A damaged file has no hash that would say anything.
            Some(revision) if report.survey.is_some() => {
                Some(snapshot.hash_kv(Some(revision)).map_err(|error| revision_error(&self.file, &error))?)
            }
            _ => None,
        };
        told(json, &self.file, &findings, &consents, Some(&report), asked, began.elapsed())
    }
}

/// A revision that the file does not have is a mistake of the command line.
fn revision_error(path: &StoreAddress, error: &kubewright_snapshot::Error) -> Error {
    use kubewright_snapshot::Error::{Compacted, Future};
    match error {
        Compacted { .. } | Future { .. } => Error::usage(format!("{path}: {error}")),
        other => unreadable(path, other),
    }
}

/// What speaks against the file, as a finding with what to do about it.
fn finding(path: &StoreAddress, fault: &Fault) -> Finding {
    let (severity, code, hint) = match fault {
        Fault::Unreadable(_) => (Severity::Blocks, "SNAP001", "use another copy; parts of this one are lost"),
        Fault::WrongDigest(_) => {
            (Severity::Blocks, "SNAP002", "use another copy; never restore this one with --skip-hash-check")
        }
        Fault::CutDigest { .. } | Fault::Trailing { .. } | Fault::MetaPage { .. } => {
            (Severity::Blocks, "SNAP003", "use another copy")
        }
        Fault::NoDigest => (
            Severity::NeedsConsent,
            "SNAP004",
            "compare HashKV with what a member says at this revision, or save one with a digest",
        ),
        Fault::Zombies(_) => {
            (Severity::NeedsConsent, "SNAP005", "restore it with etcdutl 3.5.10 or newer, which writes members anew")
        }
        Fault::Alarmed(_) => {
            (Severity::NeedsConsent, "SNAP006", "after a restore: etcdctl alarm disarm, once its cause is gone")
        }
        Fault::TooNew { storage, .. } => {
            let mut finding = Finding::new(Severity::Blocks, "SNAP007", subject(path), fault.to_string());
            finding.hint = Some(format!("restore it for etcd {storage} or newer"));
            return finding;
        }
        _ => (Severity::Blocks, "SNAP001", "use another copy"),
    };
    Finding::new(severity, code, subject(path), fault.to_string()).hint(hint)
}

fn subject(path: &StoreAddress) -> Subject {
    Subject::File(path.to_string())
}

/// Says it, and ends as it says.
fn told(
    json: bool,
    path: &StoreAddress,
    findings: &[Finding],
    consents: &BTreeSet<&str>,
    report: Option<&Report>,
    asked: Option<HashKv>,
    took: Duration,
) -> Result<ExitCode, Error> {
    let open = |finding: &&Finding| !consents.contains(finding.code.as_str());
    let code = match findings.iter().filter(open).map(|finding| finding.severity).min() {
        _ if findings.iter().any(|finding| finding.severity == Severity::Blocks) => ExitCode::Blocked,
        Some(Severity::NeedsConsent) => ExitCode::ConsentNeeded,
        _ => ExitCode::Done,
    };
    let verdict = drawn::Verdict::of(code);
    if json {
        report::print_json(&json!({
            "event": "verified",
            "file": path.to_string(),
            "verdict": verdict,
            "exit": code as u8,
            "findings": findings,
            "size": report.map(|report| report.size),
            "pages": report.map(|report| report.meta_page),
            "digest": report.and_then(|report| report.digest.as_ref()),
            "contents": report.and_then(|report| report.survey.as_ref()),
            "hashKvAt": asked,
        }))?;
    } else {
        let name = path.to_string();
        report::print(&drawn::verified(&name, verdict, findings, report, asked, took, Paint::stdout()))?;
    }
    Ok(code)
}
