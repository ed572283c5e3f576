//! Draws findings on the lines of the user's file, the way rustc does. Knows nothing of what they mean.

use annotate_snippets::{Annotation, AnnotationKind, Level, Renderer, Snippet, normalize_untrusted_str};
use kubewright_core::finding::{Finding, Severity, Subject};
use kubewright_core::spec::Source;
use kubewright_core::summary::count;

use super::Paint;

/// So many are drawn: nobody mends more in one go, and each costs a look through the whole file.
const MOST: usize = 100;

/// The findings, each on its place, and under them a line such as "2 errors in cluster.yaml; nothing was contacted.".
/// Empty without findings.
///
/// Findings that are not about the file (a host, the cluster) take one line each.
pub fn draw(source: &Source, findings: &[Finding], paint: Paint) -> String {
    let renderer = if paint == Paint::none() { Renderer::plain() } else { Renderer::styled() };
    let mut drawn = String::new();
    let mut after_lines = false;
    for finding in findings.iter().take(MOST) {
        let (text, is_line) = match &finding.subject {
            Subject::Spec(path) if !source.text().is_empty() => (on_source(finding, path, source, &renderer), false),
            _ => (in_one_line(finding), true),
        };
        // Lines may stand close, drawings may not.
        let close = is_line && after_lines;
        if !drawn.is_empty() && !close {
            drawn.push('\n');
        }
        drawn.push_str(&text);
        drawn.push('\n');
        after_lines = is_line;
    }
    if findings.len() > MOST {
        drawn.push_str(&format!("\nand {} more, shown once these are mended\n", findings.len() - MOST));
    }
    if !findings.is_empty() {
        drawn.push('\n');
        drawn.push_str(&summary(findings, source));
    }
    drawn
}

fn summary(findings: &[Finding], source: &Source) -> String {
    let of = |wanted| findings.iter().filter(|finding| finding.severity == wanted).count();
    let mut counts: Vec<String> = [
        (of(Severity::Blocks), "error"),
        (of(Severity::NeedsConsent), "question"),
        (of(Severity::Warns), "warning"),
        (of(Severity::Info), "note"),
    ]
    .iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, noun)| count(*number, noun))
    .collect();
    let last = counts.pop().unwrap_or_default();
    let all = if counts.is_empty() { last } else { format!("{} and {last}", counts.join(", ")) };
    let goes_on = findings.iter().all(|finding| finding.severity > Severity::NeedsConsent);
    let ending = if goes_on { "." } else { "; nothing was contacted." };
    format!("{all} in {}{ending}\n", source.file_name())
}

fn on_source(finding: &Finding, path: &str, source: &Source, renderer: &Renderer) -> String {
    let primary = annotation(AnnotationKind::Primary, path, &finding.label, source);
    let context =
        finding.related.iter().map(|related| annotation(AnnotationKind::Context, &related.path, &related.text, source));
    let snippet =
        Snippet::source(without_c1(source.text())).path(source.file_name()).annotation(primary).annotations(context);
    let title = level(finding.severity).primary_title(harmless(&finding.text)).id(&finding.code);
    let helps = helps(finding).into_iter().map(|help| Level::HELP.message(help));
    let group = title.element(snippet).elements(helps);
    renderer.render(&[group])
}

fn annotation<'source>(kind: AnnotationKind, path: &str, label: &str, source: &'source Source) -> Annotation<'source> {
    let annotation = kind.span(source.span(path));
    if label.is_empty() { annotation } else { annotation.label(harmless(label)) }
}

fn in_one_line(finding: &Finding) -> String {
    let subject = match &finding.subject {
        Subject::Host(host) => format!("{host}: "),
        Subject::Step(step) => format!("{step}: "),
        Subject::Spec(_) | Subject::Cluster | Subject::File(_) => String::new(),
    };
    let helps: String = helps(finding).iter().map(|help| format!("; {help}")).collect();
    let line = format!("{}[{}]: {subject}{}{helps}", word(finding.severity), finding.code, finding.text);
    harmless(&line)
}

fn helps(finding: &Finding) -> Vec<String> {
    let hint = finding.hint.as_deref().map(harmless);
    let consent = (finding.severity == Severity::NeedsConsent)
        .then(|| format!("to go on all the same: --consent {}", finding.code));
    hint.into_iter().chain(consent).collect()
}

/// Findings quote the file, which may hold anything, terminal escapes included.
fn harmless(text: &str) -> String {
    normalize_untrusted_str(&without_c1(text))
}

/// The renderer shows the control characters of ASCII as pictures but lets those from 0x80 pass, one of which begins
/// terminal escapes. Their stand-in has two bytes as they do, so that spans stay right.
fn without_c1(text: &str) -> String {
    text.replace(|c| ('\u{80}'..='\u{9f}').contains(&c), "\u{bf}")
}

fn level(severity: Severity) -> Level<'static> {
    let level = match severity {
        Severity::Blocks => Level::ERROR,
        Severity::NeedsConsent | Severity::Warns => Level::WARNING,
        Severity::Info => Level::NOTE,
    };
    level.with_name(word(severity))
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Blocks => "error",
        Severity::NeedsConsent => "needs consent",
        Severity::Warns => "warning",
        Severity::Info => "note",
    }
}

#[cfg(test)]
mod tests;
