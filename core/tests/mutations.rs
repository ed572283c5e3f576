//! Whatever is done to a good file: reading it never panics, and what blocks it is always shown at a place in it.

use kubewright_core::finding::{Severity, Subject, codes};
use kubewright_core::spec::read;
use proptest::prelude::*;

const FILES: [&str; 2] =
    [include_str!("../../examples/lab-ha.yaml"), include_str!("../../examples/ha-external-endpoint.yaml")];

/// What breaks YAML, our schema, or somebody's arithmetic.
const NASTY: [&str; 28] = [
    "",
    "~",
    "\"",
    "'",
    "{",
    "}",
    "[",
    "]",
    "- ",
    ": ",
    "\t",
    "\n",
    "\r\n",
    "\u{feff}",
    "é",
    "\u{1F980}",
    "\0",
    "&a ",
    "*a",
    "!!str ",
    "<<: ",
    "---\n",
    "...\n",
    "# ",
    "-1",
    "99999999999999999999",
    "0.0.0.0/0",
    "fd00::/129",
];

#[derive(Clone, Debug)]
enum Mutation {
    Insert(usize, &'static str),
    Delete(usize, usize),
    Truncate(usize),
    DeleteLine(usize),
    RepeatLine(usize, usize),
    SwapLines(usize, usize),
    Indent(usize, usize),
    Value(usize, &'static str),
    Key(usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = || 0..10_000_usize;
    let nasty = || proptest::sample::select(NASTY.to_vec());
    prop_oneof![
        (at(), nasty()).prop_map(|(at, text)| Mutation::Insert(at, text)),
        (at(), 1..40_usize).prop_map(|(at, length)| Mutation::Delete(at, length)),
        at().prop_map(Mutation::Truncate),
        at().prop_map(Mutation::DeleteLine),
        (at(), at()).prop_map(|(from, to)| Mutation::RepeatLine(from, to)),
        (at(), at()).prop_map(|(one, other)| Mutation::SwapLines(one, other)),
        (at(), 0..12_usize).prop_map(|(line, blanks)| Mutation::Indent(line, blanks)),
        (at(), nasty()).prop_map(|(line, text)| Mutation::Value(line, text)),
        (at(), at()).prop_map(|(line, at)| Mutation::Key(line, at)),
    ]
}

fn mutated(text: &str, mutation: &Mutation) -> String {
    let boundary = |at: usize| text.floor_char_boundary(at % (text.len() + 1));
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if lines.is_empty() {
        return text.to_owned();
    }
    let count = lines.len();
    match *mutation {
        Mutation::Insert(at, nasty) => {
            let (before, after) = text.split_at(boundary(at));
            return format!("{before}{nasty}{after}");
        }
        Mutation::Delete(at, length) => {
            let start = boundary(at);
            let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
            return format!("{}{}", &text[..start], &text[end..]);
        }
        Mutation::Truncate(at) => return text[..boundary(at)].to_owned(),
        Mutation::DeleteLine(line) => drop(lines.remove(line % count)),
        Mutation::RepeatLine(from, to) => lines.insert(to % count, lines[from % count].clone()),
        Mutation::SwapLines(one, other) => lines.swap(one % count, other % count),
        Mutation::Indent(line, blanks) => {
            let line = &mut lines[line % count];
            *line = format!("{}{}", " ".repeat(blanks), line.trim_start());
        }
        Mutation::Value(line, nasty) => {
            let line = &mut lines[line % count];
            if let Some((key, _)) = line.split_once(": ") {
                *line = format!("{key}: {nasty}");
            }
        }
        Mutation::Key(line, at) => {
            let line = &mut lines[line % count];
            if let Some(colon) = line.find(':').filter(|colon| *colon > 0) {
                let at = line.floor_char_boundary(at % colon);
                line.insert(at, 'x');
            }
        }
    }
    lines.join("\n") + "\n"
}

fn holds(text: &str) -> Result<(), TestCaseError> {
    let reading = read("cluster.yaml", text);
    for finding in &reading.findings {
        prop_assert!(codes::lookup(&finding.code).is_some(), "{} is not in the table", finding.code);
        prop_assert_ne!(&finding.code, "SPEC011", "{}", finding.text);
        let Subject::Spec(path) = &finding.subject else { return Err(TestCaseError::fail(format!("{finding:?}"))) };
        let related = finding.related.iter().map(|related| &related.path);
        for path in std::iter::once(path).chain(related) {
            let span = reading.source.span(path);
            prop_assert!(text.get(span.clone()).is_some(), "{} at {span:?} of {}", finding.code, text.len());
            prop_assert!(!text[span].contains('\n'), "{} covers several lines", finding.code);
        }
    }
    let blocked = reading.findings.iter().any(|finding| finding.severity == Severity::Blocks);
    prop_assert!(reading.spec.is_some() || blocked, "neither a spec nor a reason");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_file_never_panics_and_always_names_a_place(
        file in 0..FILES.len(),
        mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let text = mutations.iter().fold(FILES[file].to_owned(), |text, mutation| mutated(&text, mutation));
        holds(&text)?;
    }

    #[test]
    fn no_text_at_all_panics(text in "\\PC{0,200}", yaml in "[-a-z0-9:{}\\[\\],&*!|>'\"#%@` \n\t~?.]{0,200}") {
        holds(&text)?;
        holds(&yaml)?;
        holds(&format!("apiVersion: kubewright.dev/v1alpha1\nspec:\n  {yaml}"))?;
    }
}
