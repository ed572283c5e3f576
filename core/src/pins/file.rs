//! The lock file as text: written in one way only, read strictly, every mistake shown at its place.

use sha2::{Digest, Sha256};

use super::{Item, Pins};
use crate::finding::Finding;
use crate::plan::hex;
use crate::spec::shape::Presence::Required;
use crate::spec::shape::Shape::{Map, OneOf, Text};
use crate::spec::shape::{Field, Format, Object};
use crate::spec::{Source, form, path};

/// Version of the format. Another one is a newer kubewright's.
const API_VERSION: &str = "kubewright.dev/v1alpha1";

/// The lock file.
const FILE: Object = Object {
    doc: "What the programs and images of one cluster must add up to.",
    fields: &[
        Field { key: "apiVersion", shape: OneOf(&[API_VERSION]), presence: Required, doc: "Version of this format." },
        Field { key: "kind", shape: OneOf(&["Lock"]), presence: Required, doc: "What the file is." },
        Field {
            key: "programs",
            shape: Map(&PROGRAM, &Text(&DIGEST)),
            presence: Required,
            doc: "Digests of programs by name, version and architecture.",
        },
        Field {
            key: "images",
            shape: Map(&IMAGE, &Text(&DIGEST)),
            presence: Required,
            doc: "Digests of images by their names.",
        },
        Field { key: "sum", shape: Text(&DIGEST), presence: Required, doc: "What the lines above add up to." },
    ],
};

const PROGRAM: Format = Format {
    what: "a program with its version and architecture, such as kubelet/v1.35.4/amd64",
    code: "LOCK001",
    check: program,
    example: "kubelet/v1.35.4/amd64",
    loose: false,
};

const IMAGE: Format = Format {
    what: "the whole name of an image, such as registry.k8s.io/pause:3.10.1",
    code: "LOCK001",
    check: image,
    example: "registry.k8s.io/pause:3.10.1",
    loose: false,
};

const DIGEST: Format = Format {
    what: "`sha256:` and 64 hexadecimal digits",
    code: "LOCK001",
    check: digest,
    example: "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    loose: false,
};

fn program(key: &str) -> Result<(), String> {
    Item::program(key).map(|_| ()).ok_or_else(|| "it is not three words with `/` between them".to_owned())
}

fn image(key: &str) -> Result<(), String> {
    let plain = key.chars().all(|c| c.is_ascii_graphic());
    if plain && key.contains('/') { Ok(()) } else { Err("its registry is missing, or it has blanks".to_owned()) }
}

fn digest(text: &str) -> Result<(), String> {
    let Some(digits) = text.strip_prefix("sha256:") else { return Err("it does not begin with `sha256:`".to_owned()) };
    if digits.len() != 64 {
        Err(format!("it has {} digits", digits.chars().count()))
    } else if digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        Ok(())
    } else {
        Err("it has other than lower-case hexadecimal digits".to_owned())
    }
}

/// The name of a spec's lock file, beside it: `cluster.lock.yaml` for `cluster.yaml`.
pub fn file_name(spec: &str) -> String {
    let stem = [".yaml", ".yml"].iter().find_map(|end| spec.strip_suffix(end)).filter(|stem| !stem.is_empty());
    format!("{}.lock.yaml", stem.unwrap_or(spec))
}

/// What a lock file holds, and where each line of it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pinned {
    /// Its pins; none where there is no file yet.
    pub pins: Pins,
    file: String,
    source: Option<Source>,
}

impl Pinned {
    /// A file that is not there yet; the name is only for showing.
    pub fn nothing(file: impl Into<String>) -> Self {
        Self { pins: Pins::default(), file: file.into(), source: None }
    }

    /// The file's name as the user knows it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Where a thing is pinned, such as `cluster.lock.yaml:7:26`.
    pub fn place(&self, item: &Item) -> String {
        let (line, column) = match &self.source {
            Some(source) => source.position(&place(item)),
            None => return self.file.clone(),
        };
        format!("{}:{line}:{column}", self.file)
    }
}

fn place(item: &Item) -> String {
    let parent = match item {
        Item::Program { .. } => "programs",
        Item::Image(_) => "images",
    };
    path::key(parent, &item.key())
}

/// A lock file that is not one, or not whole.
#[derive(Clone, Debug)]
pub struct Damaged {
    /// The file, to draw findings on.
    pub source: Source,
    /// What is wrong with it; all of it blocks.
    pub findings: Vec<Finding>,
}

/// Reads a lock file. The names are only for showing, the spec's in advice.
///
/// # Errors
/// [`Damaged`], with everything that is wrong at its place.
pub fn read(file_name: &str, spec_name: &str, text: &str) -> Result<Pinned, Box<Damaged>> {
    let form = form(&FILE, file_name, text);
    let source = form.source;
    let damaged = |source: Source, findings: Vec<Finding>| Box::new(Damaged { source, findings });
    let version = source.text()[source.span("apiVersion")].to_owned();
    if source.has("apiVersion") && version != API_VERSION && version.starts_with("kubewright.dev/") {
        let finding = Finding::spec("LOCK003", "apiVersion", format!("the lock file has the format `{version}`"));
        let hint = "a newer kubewright wrote it: use that one, or a lock file that this one wrote";
        let finding = finding.label(format!("this kubewright knows `{API_VERSION}`")).hint(hint);
        return Err(damaged(source, vec![finding]));
    }
    if !form.findings.is_empty() {
        let findings = form.findings.into_iter().map(|finding| finding.hint(advice(text, spec_name))).collect();
        return Err(damaged(source, findings));
    }
    let draft = form.draft.unwrap_or_default();
    let entries = |key: &str| {
        let entries = draft[key].as_object().cloned().unwrap_or_default();
        entries.into_iter().filter_map(|(key, digest)| Some((key, digest.as_str()?.to_owned())))
    };
    let programs = entries("programs").filter_map(|(key, digest)| Some((Item::program(&key)?, digest)));
    let images = entries("images").map(|(key, digest)| (Item::Image(key), digest));
    let pins: Pins = programs.chain(images).collect();
    let sum = pins.sum();
    if draft["sum"] != sum.as_str() {
        let finding = Finding::spec("LOCK002", "sum", "the lock file was changed by other hands, or lost lines")
            .label(format!("its lines add up to {sum}"))
            .hint(advice(text, spec_name));
        return Err(damaged(source, vec![finding]));
    }
    Ok(Pinned { pins, file: file_name.to_owned(), source: Some(source) })
}

/// Nobody writes the file by hand, so one piece of advice holds for whatever is wrong with it.
fn advice(text: &str, spec_name: &str) -> String {
    if text.lines().any(|line| line.starts_with("<<<<<<< ")) {
        return format!(
            "two sides were merged: take one of them whole, then add what it lacks:  kubewright pin -f {spec_name}"
        );
    }
    format!(
        "take it from version control again; or compare what is published with what its makers say, and accept it:  \
         kubewright pin --update -f {spec_name}"
    )
}

impl Pins {
    /// The text of the lock file that holds these.
    pub fn text(&self, spec_name: &str) -> String {
        let mut text = format!(
            "# What the programs and images of {spec_name} must add up to. kubewright writes this file; keep it with the spec,\n\
             # in version control. To accept what is published by now:  kubewright pin --update -f {spec_name}\n\
             apiVersion: {API_VERSION}\nkind: Lock\n"
        );
        type Belongs = fn(&Item) -> bool;
        let parts: [(&str, Belongs); 2] = [
            ("programs", |item| matches!(item, Item::Program { .. })),
            ("images", |item| matches!(item, Item::Image(_))),
        ];
        for (key, belongs) in parts {
            text.push_str(&format!("{key}:\n"));
            for (item, digest) in self.iter().filter(|(item, _)| belongs(item)) {
                text.push_str(&format!("  {}: {digest}\n", item.key()));
            }
        }
        text.push_str(&format!("sum: {}\n", self.sum()));
        text
    }

    /// SHA-256 over all lines in their order, so that comments and blanks may differ and nothing else.
    fn sum(&self) -> String {
        let lines: String = self.iter().map(|(item, digest)| format!("{} {digest}\n", item.key())).collect();
        format!("sha256:{}", hex(&Sha256::digest(lines.as_bytes())))
    }
}
