//! Whatever is done to a good file: reading it never panics, and what blocks it is always shown at a place in it.

use kubewright_core::finding::{Severity, Subject, codes};
use kubewright_core::spec::read;
use proptest::prelude::*;

const FILES: [&str; 3] = [
    include_str!("../../examples/lab-ha.yaml"),
    include_str!("../../examples/ha-external-endpoint.yaml"),
    include_str!("../../examples/single.yaml"),
];

/// What breaks YAML, our schema, or somebody's arithmetic.
const NASTY: [&str; 48] = [
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
    "\t- ",
    "\r",
    "\u{85}",
    "\u{2028}",
    "\u{202e}",
    "\u{9b}31m",
    "\x1b[2J",
    "%YAML 1.1\n---\n",
    "? ",
    "|-\n",
    ">+9\n",
    "!<tag:x> ",
    "!!binary ",
    "&a [*a, *a]",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "{a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: {a: 1}}}}}}}}}}}}}}}}}",
    "1e999999999",
    "0x7fffffffffffffffffff",
    "-99999999999999999999999999999999999999999999999999",
    "2001-02-30T25:61:61Z",
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
        // What was never written stands nowhere and is shown on what it is missing from: keys that are missing, and networks by
        // default, which may be too small for the hosts or hold one. All else has its own place.
        let written = reading.source.has(path) || finding.code == "SPEC005" || path.starts_with("spec.network.");
        prop_assert!(written, "{} at `{path}`, which is nowhere", finding.code);
        let related = finding.related.iter().map(|related| &related.path);
        for path in std::iter::once(path).chain(related) {
            let span = reading.source.span(path);
            prop_assert!(text.get(span.clone()).is_some(), "{} at {span:?} of {}", finding.code, text.len());
            prop_assert!(!text[span].contains('\n'), "{} covers several lines", finding.code);
            let (line, column) = reading.source.position(path);
            prop_assert!(line >= 1 && column >= 1 && line <= text.matches('\n').count() + 1, "{line}:{column}");
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
    fn a_file_of_windows_or_with_a_byte_order_mark_means_the_same(
        file in 0..FILES.len(),
        mutations in prop::collection::vec(mutation(), 0..3),
    ) {
        let text = mutations.iter().fold(FILES[file].to_owned(), |text, mutation| mutated(&text, mutation));
        // Where a mutation brought line ends or marks of its own there is nothing to compare.
        if !text.contains(['\r', '\u{feff}', '\u{85}', '\u{2028}']) {
            let told = |text: &str| {
                let reading = read("cluster.yaml", text);
                let findings: Vec<_> = reading.findings.into_iter().map(|finding| (finding.code, finding.subject)).collect();
                (reading.spec, findings)
            };
            let windows = text.replace('\n', "\r\n");
            holds(&windows)?;
            prop_assert_eq!(told(&windows).0, told(&text).0);
            let marked = format!("\u{feff}{text}");
            holds(&marked)?;
            prop_assert_eq!(told(&marked).0, told(&text).0);
        }
    }

    #[test]
    fn no_text_at_all_panics(text in "\\PC{0,200}", yaml in "[-a-z0-9:{}\\[\\],&*!|>'\"#%@` \n\t~?.]{0,200}") {
        holds(&text)?;
        holds(&yaml)?;
        holds(&format!("apiVersion: kubewright.dev/v1alpha1\nspec:\n  {yaml}"))?;
    }
}

/// What no mutation of a few letters comes to.
#[test]
fn monsters_are_refused_at_a_place() {
    let aliases: String = (1..30).map(|n| format!("k{n}: &a{n} [*a{}, *a{}]\n", n - 1, n - 1)).collect();
    let monsters = [
        String::new(),
        " \n\t\n".to_owned(),
        "---\n".to_owned(),
        "---\n---\n".to_owned(),
        "...\n".to_owned(),
        format!("{}---\n{}", FILES[0], FILES[0]),
        format!("{}...\n{}", FILES[2], FILES[2]),
        "[".repeat(100_000),
        "{a: ".repeat(10_000),
        "- ".repeat(50_000),
        "a:\n ".repeat(1_000),
        format!("k0: &a0 [x]\n{aliases}"),
        format!("spec: {}", "9".repeat(200_000)),
        format!("{}: 1", "k".repeat(500_000)),
        format!("spec:\n  hosts:\n{}", "  - {name: a}\n".repeat(300)),
        "\u{0}".repeat(1_000),
        "\"".to_owned() + &"\\x41".repeat(50_000),
        "a: \u{feff}\u{feff}b".to_owned(),
    ];
    for text in &monsters {
        let begin: String = text.chars().take(40).collect();
        let reading = read("cluster.yaml", text);
        let blocks = reading.findings.iter().any(|finding| finding.severity == Severity::Blocks);
        assert!(reading.spec.is_none() && blocks, "{begin:?} passes");
        assert!(holds(text).is_ok(), "{begin:?}: {:?}", holds(text));
    }
}
