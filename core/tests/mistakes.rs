//! The broken files of `tests/fixtures/specs`: that together they show every code, and that each finding has its
//! place. How they are drawn is a snapshot of the root package.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use kubewright_core::finding::codes::{self, AREAS};
use kubewright_core::finding::{Finding, Severity, Subject};
use kubewright_core::spec::{Reading, read, reference, schema};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All files below a folder with that extension.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in folder.read_dir().unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn readings() -> Vec<(String, Reading)> {
    let read = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let reading = read(&name, &fs::read_to_string(path).unwrap());
        (name, reading)
    };
    files(&root().join("tests/fixtures/specs"), "yaml").iter().map(read).collect()
}

fn path(finding: &Finding) -> &str {
    match &finding.subject {
        Subject::Spec(path) => path,
        other => panic!("{} is about {other:?}, not about the file", finding.code),
    }
}

#[test]
fn every_mistake_is_found_and_has_its_place() {
    for (name, Reading { spec, source, findings }) in readings() {
        assert!(!findings.is_empty(), "{name} passes");
        for finding in &findings {
            let known = codes::lookup(&finding.code);
            let known = known.unwrap_or_else(|| panic!("{name}: {} is not in the table", finding.code));
            assert_eq!(known.severity, finding.severity, "{name}: {}", finding.code);
            let span = source.span(path(finding));
            assert!(!span.is_empty() || finding.code == "SPEC001", "{name}: {} has no width", finding.code);
            assert!(source.text().get(span).is_some(), "{name}: {}", finding.code);
            // A path without its own place is only right for what is missing, and for what was never written.
            if !source.has(path(finding)) {
                assert!(finding.code == "SPEC005", "{name}: {} at {}", finding.code, path(finding));
            }
        }
        let form = findings.iter().any(|finding| finding.code.starts_with("SPEC"));
        assert!(spec.is_none() || !form, "{name}: a spec from a file that could not be read");
    }
}

#[test]
fn every_code_of_the_file_has_a_mistake_that_shows_it() {
    let shown: BTreeSet<String> =
        readings().into_iter().flat_map(|(_, reading)| reading.findings).map(|finding| finding.code).collect();
    // SPEC009 needs a megabyte (tested below); SPEC011 is a defect of ours and must not be to be had.
    let known: BTreeSet<String> = codes::SPEC
        .codes
        .iter()
        .map(|code| code.code.to_owned())
        .filter(|code| code != "SPEC009" && code != "SPEC011")
        .collect();
    assert_eq!(shown, known);
}

#[test]
fn a_file_of_a_megabyte_is_refused_unread() {
    let reading = read("cluster.yaml", &"# a comment\n".repeat(100_000));
    assert_eq!(reading.findings.len(), 1);
    assert_eq!((reading.findings[0].code.as_str(), reading.findings[0].severity), ("SPEC009", Severity::Blocks));
}

#[test]
fn findings_come_in_the_order_of_the_file() {
    for (name, Reading { source, findings, .. }) in readings() {
        let places: Vec<usize> = findings.iter().map(|finding| source.span(path(finding)).start).collect();
        assert!(places.is_sorted(), "{name}: {places:?}");
    }
}

/// Codes in the sources of an area and codes in its table are the same.
#[test]
fn the_table_of_codes_is_complete() {
    let mut all = BTreeSet::new();
    for area in AREAS {
        let known: BTreeSet<String> = area.codes.iter().map(|code| code.code.to_owned()).collect();
        let mut used = BTreeSet::new();
        for source in area.sources.iter().flat_map(|place| sources(&root().join(place))) {
            used.extend(quoted_codes(&fs::read_to_string(source).unwrap()));
        }
        assert_eq!(used, known, "{}", area.title);
        for code in area.codes {
            assert!(code.meaning.ends_with('.'), "{}: a meaning is a sentence", code.code);
            assert!(all.insert(code.code), "{} stands twice", code.code);
        }
    }
}

#[test]
fn no_source_uses_a_code_that_is_in_no_table() {
    for source in ["core/src", "src", "manifests/src"].iter().flat_map(|folder| files(&root().join(folder), "rs")) {
        for code in quoted_codes(&fs::read_to_string(&source).unwrap()) {
            assert!(codes::lookup(&code).is_some(), "{}: {code}", source.display());
        }
    }
}

#[test]
fn the_page_about_findings_is_written_from_the_table() {
    is_current("findings.md", &codes::page());
}

#[test]
fn the_pages_about_the_spec_are_written_from_its_table() {
    is_current("spec.md", &reference::page());
    let schema = serde_json::to_string_pretty(&schema::schema()).unwrap();
    is_current("cluster.schema.json", &format!("{schema}\n"));
}

/// A page of the reference is what the code says now.
fn is_current(name: &str, page: &str) {
    let path = root().join("docs/reference").join(name);
    if std::env::var_os("KUBEWRIGHT_UPDATE_DOCS").is_some() {
        fs::write(&path, page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page, "KUBEWRIGHT_UPDATE_DOCS=1 cargo test writes it anew");
}

/// The file itself, or all below a folder.
fn sources(place: &Path) -> Vec<PathBuf> {
    if place.is_file() { vec![place.to_owned()] } else { files(place, "rs") }
}

/// String literals that are a code: two to five capitals and three digits.
fn quoted_codes(source: &str) -> impl Iterator<Item = String> {
    source.split('"').filter(|text| is_code(text)).map(str::to_owned)
}

fn is_code(text: &str) -> bool {
    let digits = text.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let letters = text.len() - digits.len();
    (2..=5).contains(&letters) && digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit())
}
