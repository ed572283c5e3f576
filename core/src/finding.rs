//! One type for everything worth telling: validation, preflight, skew, quorum, plan lint.

pub mod codes;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ids::{HostName, StepId};

/// How much a finding weighs, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Severity {
    /// Nothing is done until it is mended.
    Blocks,
    /// Nothing is done until the user says yes to this code (`--consent CODE`).
    NeedsConsent,
    /// Done all the same; the user should know.
    Warns,
    /// Worth a line.
    Info,
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Blocks => "blocks",
            Self::NeedsConsent => "consent",
            Self::Warns => "warns",
            Self::Info => "info",
        })
    }
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    /// A place in the spec by path, such as `spec.hosts[2].address`; its source span is in the spec's source map.
    Spec(String),
    /// A host.
    Host(HostName),
    /// A step of the plan at hand.
    Step(StepId),
    /// The cluster as a whole.
    Cluster,
    /// A file that is no spec, by its path.
    File(String),
}

/// A second place in the spec that explains the first, with its own words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Related {
    /// Path in the spec.
    pub path: String,
    /// What to say there, such as "this one".
    pub text: String,
}

/// One thing that the user should know or mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// Stable code such as `NET003`, documented in `docs/reference/findings.md`.
    pub code: String,
    /// What it is about.
    pub subject: Subject,
    /// What is wrong, a lower-case sentence without a full stop.
    pub text: String,
    /// Words for the place itself, such as "10.96.0.0/16 lies inside"; empty when the text says all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// Other places in the spec that belong to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    /// A finding with only its required parts.
    pub fn new(severity: Severity, code: &str, subject: Subject, text: impl Into<String>) -> Self {
        Self {
            severity,
            code: code.to_owned(),
            subject,
            text: text.into(),
            label: String::new(),
            related: Vec::new(),
            hint: None,
        }
    }

    /// A blocking finding at a path of the spec.
    pub fn spec(code: &str, path: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Severity::Blocks, code, Subject::Spec(path.into()), text)
    }

    /// The same with words for the place itself.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// The same with a second place.
    #[must_use]
    pub fn related(mut self, path: impl Into<String>, text: impl Into<String>) -> Self {
        self.related.push(Related { path: path.into(), text: text.into() });
        self
    }

    /// The same with advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The worst severity among findings, if there are any.
pub fn worst(findings: &[Finding]) -> Option<Severity> {
    findings.iter().map(|finding| finding.severity).min()
}
