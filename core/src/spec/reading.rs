//! From text to spec: the one way in. Reports everything that is wrong with a file at once, in the order of its lines.

use serde_json::Value;

use super::shape::Object;
use super::source::Source;
use super::validate::validate;
use super::{Spec, decode, defaults, path, table, yaml};
use crate::finding::{Finding, Severity, Subject};

/// What reading a file came to.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The spec, if every value of it could be read; it may still be blocked by findings.
    pub spec: Option<Spec>,
    /// The file, to draw findings on.
    pub source: Source,
    /// All findings, in the order of the file.
    pub findings: Vec<Finding>,
}

impl Reading {
    /// The spec, if nothing blocks it. Findings that need consent or warn remain to be dealt with.
    pub fn accepted(&self) -> Option<&Spec> {
        let blocked = self.findings.iter().any(|finding| finding.severity == Severity::Blocks);
        self.spec.as_ref().filter(|_| !blocked)
    }
}

/// Reads and checks a file. The name is only for showing.
pub fn read(file_name: &str, text: &str) -> Reading {
    let Form { draft, mut unreadable, source, mut findings } = form(&table::FILE, file_name, text);
    let mut spec = None;
    if let Some(draft) = draft {
        let (draft, underivable) = defaults::resolve(&draft, &mut unreadable);
        findings.extend(underivable);
        let readable = findings.is_empty();
        match serde_json::from_value::<Spec>(draft) {
            Ok(draft) => {
                findings.extend(validate(&draft).into_iter().filter(|finding| !rests_on(finding, &unreadable)));
                spec = Some(draft).filter(|_| readable);
            }
            Err(error) => {
                findings.push(Finding::spec("SPEC011", "spec", format!("the spec cannot be taken in: {error}")))
            }
        }
    }
    findings.sort_by_cached_key(|finding| (place(finding, &source), finding.severity));
    findings.dedup();
    Reading { spec, source, findings }
}

/// What a file of ours comes to before its meaning is looked at.
pub(crate) struct Form {
    /// Its values in the table's shape, if it is YAML at all.
    pub draft: Option<Value>,
    /// Paths whose values in the draft are not the user's.
    pub unreadable: Vec<String>,
    /// The file, to draw findings on.
    pub source: Source,
    /// What is wrong with its form; all of it blocks.
    pub findings: Vec<Finding>,
}

/// Reads a file and checks it against its table.
pub(crate) fn form(table: &'static Object, file_name: &str, text: &str) -> Form {
    let mut source = Source::new(file_name, text);
    let parsed = yaml::parse(text);
    let mut findings = Vec::new();
    for complaint in parsed.complaints {
        let mut finding =
            Finding::spec(complaint.code, source.mark_position(&complaint.span), complaint.text).label(complaint.label);
        finding.hint = complaint.hint;
        findings.push(finding);
    }
    let Some(root) = parsed.root else { return Form { draft: None, unreadable: Vec::new(), source, findings } };
    source.register("", None, &root);
    let decode::Decoded { draft, findings: mistakes, unreadable } = decode::decode(table, &root, &mut source);
    findings.extend(mistakes);
    Form { draft: Some(draft), unreadable, source, findings }
}

/// Whether a finding looks at a value that is a stand-in and not the user's.
fn rests_on(finding: &Finding, unreadable: &[String]) -> bool {
    paths(finding).any(|path| unreadable.iter().any(|stand_in| path::touches(path, stand_in)))
}

fn paths(finding: &Finding) -> impl Iterator<Item = &str> {
    let subject = match &finding.subject {
        Subject::Spec(path) => Some(path.as_str()),
        _ => None,
    };
    subject.into_iter().chain(finding.related.iter().map(|related| related.path.as_str()))
}

fn place(finding: &Finding, source: &Source) -> usize {
    match &finding.subject {
        Subject::Spec(path) => source.span(path).start,
        _ => 0,
    }
}
