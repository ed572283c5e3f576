//! An error for the person at 3 am: what, where, the tool's own last lines, what is safe now, the likely cause, the
//! next command, where to read more. In that order, always.

use kubewright_core::ids::HostName;
use kubewright_core::progress::FORMAT;
use schemars::JsonSchema;
use serde::Serialize;

use super::text::{clean, clean_lines, pad};
use super::{Paint, likely, plan};
use crate::error::{Error, ErrorKind, Parts};

/// Width of the labels on the left.
const LABEL: usize = 11;

/// The error for people; ends with a line break.
pub fn text(error: &Error, paint: Paint) -> String {
    let parts = error.parts();
    let mut text = String::new();
    match &parts.drawn {
        // Findings drawn on the user's file carry their own headings.
        Some(drawn) => text.push_str(drawn.trim_end()),
        None => {
            text.push_str(&headline(parts, paint));
            let findings = plan::findings(&parts.findings, paint);
            if !findings.is_empty() {
                text.push('\n');
                text.push_str(findings.trim_end());
            }
        }
    }
    text.push('\n');
    text.push_str(&location(parts, paint));
    for (label, sentences) in sections(parts) {
        section(&mut text, label, &sentences, paint);
    }
    text
}

fn headline(parts: &Parts, paint: Paint) -> String {
    let message = clean(&parts.message);
    if parts.kind == ErrorKind::Stopped {
        return paint.strong(&message);
    }
    format!("{} {message}", paint.bad(&format!("error[{}]:", parts.code)))
}

/// `  on cp2 (10.77.0.12), container etcd, last lines:` and the lines.
fn location(parts: &Parts, paint: Paint) -> String {
    let mut places = Vec::new();
    if let Some(host) = &parts.host {
        places.push(on(host, parts.address.as_deref()));
    }
    places.extend(parts.place.as_deref().map(clean));
    let lines: Vec<String> = parts.lines.iter().flat_map(|line| clean_lines(line)).collect();
    if !lines.is_empty() {
        places.push("last lines:".to_owned());
    }
    if places.is_empty() {
        return String::new();
    }
    let mut text = format!("  {}\n", places.join(", "));
    for line in lines {
        text.push_str(&format!("     {}\n", paint.faint(&line)));
    }
    text
}

fn on(host: &HostName, address: Option<&str>) -> String {
    match address {
        Some(address) if address != host.as_str() => format!("on {host} ({})", clean(address)),
        _ => format!("on {host}"),
    }
}

fn sections(parts: &Parts) -> [(&'static str, Vec<String>); 5] {
    [
        ("also", parts.also.clone()),
        ("safe now", parts.safe_now.clone()),
        ("likely", likely_cause(parts).into_iter().collect()),
        ("next", parts.next.clone()),
        ("details", parts.details.clone().into_iter().collect()),
    ]
}

fn likely_cause(parts: &Parts) -> Option<String> {
    let words = std::iter::once(parts.message.as_str()).chain(parts.lines.iter().map(String::as_str));
    parts.likely.clone().or_else(|| likely::cause(words.collect::<Vec<_>>().into_iter()).map(str::to_owned))
}

/// A label and its sentences, one below the other.
fn section(text: &mut String, label: &str, sentences: &[String], paint: Paint) {
    for (index, sentence) in sentences.iter().enumerate() {
        let label = if index == 0 { label } else { "" };
        text.push_str(&format!("  {}{}\n", paint.strong(&pad(label, LABEL)), clean(sentence)));
    }
}

/// The error for machines: the last line of `--output json`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Line {
    /// Format of what is written for machines.
    #[schemars(extend("const" = FORMAT))]
    v: u32,
    /// `error`.
    #[schemars(extend("const" = "error"))]
    event: &'static str,
    /// The process's exit code.
    exit: u8,
    #[serde(flatten)]
    parts: Parts,
}

/// The error for machines.
pub fn json(error: &Error) -> Line {
    let likely = likely_cause(error.parts());
    Line { v: FORMAT, event: "error", exit: error.exit_code() as u8, parts: Parts { likely, ..error.parts().clone() } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::HostError;

    fn failed_step() -> Error {
        Error::failed("17-cp2-etcd failed: etcd did not become healthy within 60 s")
            .code("STEP")
            .on(&"cp2".into(), Some("10.77.0.12".into()))
            .at("container etcd")
            .lines(["\x1b[31mpanic: failed to open database: file size too small\x1b[0m"])
            .safe("etcd has 2 of 3 members; the API answers on cp1, cp3")
            .next("free space on cp2, then: kubewright ops resume 7f3a")
            .details("~/.local/state/kubewright/ops/7f3a/")
    }

    #[test]
    fn a_failed_step() {
        insta::assert_snapshot!(text(&failed_step(), Paint::none()));
    }

    #[test]
    fn a_failed_step_for_machines() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&json(&failed_step())).unwrap());
    }

    #[test]
    fn a_host_out_of_reach() {
        let error = HostError::Connect {
            host: "cp1".into(),
            address: "10.77.0.11".into(),
            reason: "connect to host 10.77.0.11 port 22: No route to host".into(),
            hint: Some("check the address in the spec".into()),
        };
        insta::assert_snapshot!(text(&Error::from(error), Paint::none()));
    }

    #[test]
    fn drawn_findings_stand_alone() {
        let error = Error::spec(Vec::new(), "error: unknown field\n --> cluster.yaml:12:5\n");
        assert_eq!(text(&error, Paint::none()), "error: unknown field\n --> cluster.yaml:12:5\n");
    }

    #[test]
    fn colours_change_nothing_but_colour() {
        let colourful = text(&failed_step(), Paint::always());
        assert_eq!(console::strip_ansi_codes(&colourful), text(&failed_step(), Paint::none()));
    }
}
