//! Tree to draft: checks a document against the table and reports everything it finds, not just the first thing.
//!
//! It always hands back a complete draft, with stand-ins for what could not be read, so that the meaning of the rest can
//! be checked in the same run. Paths of stand-ins are kept: a finding that rests on one of them is not the user's.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::Value as Json;

use super::path;
use super::shape::{Field, Format, Least, Object, Shape};
use super::source::Source;
use super::yaml::{Entry, Node, Value};
use crate::finding::Finding;

/// What came out of a document.
pub struct Decoded {
    /// The file's values in the table's shape, defaults filled in.
    pub draft: Json,
    /// What is wrong with the form of the file; all of it blocks.
    pub findings: Vec<Finding>,
    /// Paths whose values in the draft are not the user's.
    pub unreadable: Vec<String>,
}

/// Checks a document against the table of such a file.
pub fn decode(file: &'static Object, root: &Node, source: &mut Source) -> Decoded {
    let mut decoder = Decoder { file, source, findings: Vec::new(), unreadable: Vec::new() };
    let draft = decoder.object(file, root, "");
    Decoded { draft, findings: decoder.findings, unreadable: decoder.unreadable }
}

struct Decoder<'source> {
    file: &'static Object,
    source: &'source mut Source,
    findings: Vec<Finding>,
    unreadable: Vec<String>,
}

impl Decoder<'_> {
    fn value(&mut self, shape: &Shape, node: &Node, path: &str) -> Json {
        match (shape, &node.value) {
            (Shape::Text(format), Value::Scalar { text, .. }) if !node.is_nothing() => self.text(format, text, path),
            (Shape::Whole(least, most), Value::Scalar { text, plain: true }) if is_number(text) => {
                self.whole(*least..=*most, text, path)
            }
            (Shape::Flag, Value::Scalar { text, plain: true }) if truth(text).is_some() => Json::from(truth(text)),
            (Shape::OneOf(words), Value::Scalar { text, .. }) if !node.is_nothing() => self.word(words, text, path),
            (Shape::Several(shape), Value::List(nodes)) => self.list(shape, Least::One, nodes, path),
            (Shape::Several(shape), _) => Json::Array(vec![self.value(shape, node, path)]),
            (Shape::List(shape, least), Value::List(nodes)) => self.list(shape, *least, nodes, path),
            (Shape::Map(key, shape), Value::Map(entries)) => self.map(key, shape, entries, path),
            (Shape::Map(..), Value::Scalar { .. }) if node.is_nothing() => shape.stand_in(),
            (Shape::Object(object), _) => self.object(object, node, path),
            (Shape::Free, Value::Map(_)) => self.free(node, path),
            (Shape::Free, Value::Scalar { .. }) if node.is_nothing() => shape.stand_in(),
            _ => self.wrong_type(shape, node, path),
        }
    }

    fn object(&mut self, object: &Object, node: &Node, path: &str) -> Json {
        let empty = Vec::new();
        let entries = match &node.value {
            Value::Map(entries) => entries,
            // `network:` with everything below it commented out.
            Value::Scalar { .. } if node.is_nothing() && !path.is_empty() => &empty,
            _ => {
                self.wrong_type(&Shape::Free, node, path);
                return object.stand_in();
            }
        };
        let mut known: BTreeMap<&str, &Node> = BTreeMap::new();
        let mut unknown: Vec<&Entry> = Vec::new();
        for entry in self.without_duplicates(entries, path) {
            match object.field(&entry.key) {
                Some(field) => drop(known.insert(field.key, &entry.value)),
                None => unknown.push(entry),
            }
        }
        for entry in unknown {
            let meant = closest(&entry.key, object.keys());
            let taken = meant.is_some_and(|meant| known.contains_key(meant));
            self.unknown_field(object, entry, path, meant, taken);
            // A misspelt key is taken for the one that was meant, so that its value is checked in the same run.
            if let Some(meant) = meant.filter(|_| !taken) {
                known.insert(meant, &entry.value);
                self.source.register(&path::key(path, meant), Some(&entry.key_span), &entry.value);
            }
        }
        object
            .fields
            .iter()
            .map(|field| (field.key.to_owned(), self.field(field, known.get(field.key).copied(), path)))
            .collect()
    }

    fn field(&mut self, field: &Field, node: Option<&Node>, parent: &str) -> Json {
        let path = path::key(parent, field.key);
        match (node, field.when_left_out()) {
            (Some(node), Some(default)) if node.is_nothing() && !matches!(field.shape, Shape::Text(_)) => default,
            (Some(node), _) => self.value(&field.shape, node, &path),
            (None, Some(default)) => default,
            (None, None) => {
                let place =
                    if parent.is_empty() { "at the top of the file".to_owned() } else { format!("in `{parent}`") };
                let finding = Finding::spec("SPEC005", &path, format!("missing field `{}` {place}", field.key));
                let hint = match field.shape {
                    Shape::OneOf([only]) => format!("write `{}: {only}`", field.key),
                    _ => field.doc.trim_end_matches('.').to_owned(),
                };
                self.unreadable(finding.label(format!("`{}` belongs here", field.key)).hint(hint), &path);
                field.shape.stand_in()
            }
        }
    }

    fn list(&mut self, shape: &Shape, least: Least, nodes: &[Node], path: &str) -> Json {
        if nodes.is_empty() && least == Least::One {
            let finding = Finding::spec("SPEC005", path, format!("`{path}` is empty"));
            self.unreadable(finding.label("at least one is needed"), path);
        }
        let mut seen: Vec<(Json, String)> = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let path = path::element(path, index);
            let value = self.value(shape, node, &path);
            let earlier = seen.iter().find(|(earlier, _)| matches!(shape, Shape::OneOf(_)) && *earlier == value);
            if let Some((_, first)) = earlier
                && !self.unreadable.contains(&path)
            {
                let finding = Finding::spec("SPEC003", &path, format!("{value} is listed twice").replace('"', "`"));
                self.findings.push(finding.label("again").related(first, "first here"));
            } else {
                seen.push((value, path));
            }
        }
        seen.into_iter().map(|(value, _)| value).collect()
    }

    fn map(&mut self, key: &Format, shape: &Shape, entries: &[Entry], path: &str) -> Json {
        let mut values = serde_json::Map::new();
        for entry in self.without_duplicates(entries, path) {
            let path = path::key(path, &entry.key);
            if let Err(why) = (key.check)(&entry.key) {
                self.unreadable.push(path.clone());
                self.findings.push(bad_format(key, &entry.key, &why, &path::of_key(&path)));
            }
            let value = self.value(shape, &entry.value, &path);
            values.insert(entry.key.clone(), value);
        }
        Json::Object(values)
    }

    fn text(&mut self, format: &Format, text: &str, path: &str) -> Json {
        match (format.check)(text) {
            Ok(()) => Json::from(text),
            Err(why) => {
                self.unreadable(bad_format(format, text, &why, path), path);
                Json::from(format.example)
            }
        }
    }

    fn whole(&mut self, range: RangeInclusive<u64>, text: &str, path: &str) -> Json {
        match text.parse::<u64>().ok().filter(|number| range.contains(number)) {
            Some(number) => Json::from(number),
            None => {
                let finding = Finding::spec("SPEC010", path, format!("{text} is out of range"));
                self.unreadable(finding.label(format!("{} to {} are allowed", range.start(), range.end())), path);
                Json::from(*range.start())
            }
        }
    }

    fn word(&mut self, words: &'static [&'static str], text: &str, path: &str) -> Json {
        if words.contains(&text) {
            return Json::from(text);
        }
        let meant = closest(text, words.iter().copied());
        let finding = Finding::spec("SPEC006", path, format!("`{text}` is not a value of `{}`", without_index(path)));
        let finding = match meant {
            Some(meant) => finding.label(format!("did you mean `{meant}`?")),
            None => finding,
        };
        let finding = match words {
            [only] => finding.hint(format!("the only value is `{only}`")),
            words => finding.hint(format!("one of {}", listed(words.iter().copied()))),
        };
        match meant {
            Some(meant) => {
                self.findings.push(finding);
                Json::from(meant)
            }
            None => {
                self.unreadable(finding, path);
                Shape::OneOf(words).stand_in()
            }
        }
    }

    /// A mapping that is passed on to Kubernetes: YAML's core schema to JSON.
    fn free(&mut self, node: &Node, path: &str) -> Json {
        match &node.value {
            Value::Scalar { text, plain: false } => Json::from(text.as_str()),
            Value::Scalar { text, plain: true } => {
                let value = if node.is_nothing() { Some(Json::Null) } else { scalar(text) };
                value.unwrap_or_else(|| {
                    let finding = Finding::spec("SPEC004", path, format!("`{text}` has no counterpart in JSON"));
                    self.unreadable(finding.label("quote it if it is text"), path);
                    Json::Null
                })
            }
            Value::List(nodes) => {
                nodes.iter().enumerate().map(|(index, node)| self.free(node, &path::element(path, index))).collect()
            }
            Value::Map(entries) => {
                let entries = self.without_duplicates(entries, path);
                entries
                    .into_iter()
                    .map(|entry| (entry.key.clone(), self.free(&entry.value, &path::key(path, &entry.key))))
                    .collect()
            }
        }
    }

    /// The entries whose key has not come before; the others become findings.
    fn without_duplicates<'tree>(&mut self, entries: &'tree [Entry], path: &str) -> Vec<&'tree Entry> {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut kept = Vec::new();
        for entry in entries {
            let count = seen.entry(&entry.key).or_default();
            *count += 1;
            if *count == 1 {
                kept.push(entry);
                continue;
            }
            let first = path::key(path, &entry.key);
            let name = format!("{first}#{count}");
            self.source.mark(&name, &entry.key_span);
            let finding = Finding::spec("SPEC003", name, format!("duplicate field `{}`{}", entry.key, inside(path)));
            self.findings.push(finding.label("again").related(path::of_key(&first), "first here"));
        }
        kept
    }

    fn unknown_field(&mut self, object: &Object, entry: &Entry, path: &str, meant: Option<&str>, taken: bool) {
        let place = path::key(path, &entry.key);
        self.source.mark(&place, &entry.key_span);
        let finding = Finding::spec("SPEC002", &place, format!("unknown field `{}`{}", entry.key, inside(path)));
        let elsewhere = places_of(self.file, &entry.key);
        self.findings.push(match meant {
            Some(meant) if taken => finding.label(format!("`{meant}` is there already")),
            Some(meant) => finding.label(format!("did you mean `{meant}`?")),
            None if !elsewhere.is_empty() => {
                finding.label("not here").hint(format!("`{}` belongs in {}", entry.key, elsewhere.join(" or ")))
            }
            None => finding.hint(format!("known here: {}", listed(object.keys()))),
        });
    }

    fn wrong_type(&mut self, shape: &Shape, node: &Node, path: &str) -> Json {
        let name = if path.is_empty() { "the file".to_owned() } else { format!("`{path}`") };
        let finding = Finding::spec("SPEC004", path, format!("{name} has the wrong type"));
        let finding = finding.label(format!("{} is expected, this is {}", shape.expectation(), node.kind()));
        let finding = match (shape, &node.value) {
            (Shape::List(..), Value::Scalar { text, .. }) if !node.is_nothing() => {
                finding.hint(format!("write it as a list: [{text}]"))
            }
            (Shape::Flag, Value::Scalar { text, plain: false }) if truth(text).is_some() => {
                finding.hint("without quotes")
            }
            (Shape::Flag, Value::Scalar { text, .. }) => match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "1" => finding.hint("write `true`"),
                "no" | "off" | "n" | "0" => finding.hint("write `false`"),
                _ => finding,
            },
            (Shape::Whole(..), Value::Scalar { text, plain: false }) if is_number(text) => {
                finding.hint("without quotes")
            }
            (Shape::Text(format), _) if (format.check)("").is_ok() => finding.hint("write \"\" for empty text"),
            (Shape::Text(format), _) => finding.hint(format!("wanted is {}", format.what)),
            _ => finding,
        };
        self.unreadable(finding, path);
        shape.stand_in()
    }

    fn unreadable(&mut self, finding: Finding, path: &str) {
        self.unreadable.push(path.to_owned());
        self.findings.push(finding);
    }
}

fn bad_format(format: &Format, text: &str, why: &str, path: &str) -> Finding {
    Finding::spec(format.code, path, format!("`{}` is not {}", text.escape_debug(), format.what)).label(why)
}

fn inside(path: &str) -> String {
    if path.is_empty() { " at the top of the file".to_owned() } else { format!(" in `{path}`") }
}

/// `spec.hosts[0].roles` for `spec.hosts[0].roles[1]`: what an element is a value of.
fn without_index(path: &str) -> &str {
    if path.ends_with(']') { path::parent(path).unwrap_or(path) } else { path }
}

/// The word that was probably meant: the same but for case and dashes, or at most a third of it mistyped.
pub(super) fn closest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let plain = |word: &str| word.replace(['-', '_'], "").to_lowercase();
    let word = plain(word);
    let distances = known.map(|known| (strsim::damerau_levenshtein(&word, &plain(known)), known));
    distances
        .filter(|(distance, known)| *distance <= known.len().min(word.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Where else in the table a key is known.
fn places_of(file: &Object, key: &str) -> Vec<String> {
    fn search(object: &Object, path: &str, key: &str, places: &mut Vec<String>) {
        for field in object.fields {
            if field.key == key && !path.is_empty() {
                places.push(format!("`{path}`"));
            }
            let path = path::key(path, field.key);
            match &field.shape {
                Shape::Object(object) => search(object, &path, key, places),
                Shape::List(Shape::Object(object), _) => search(object, &format!("{path}[]"), key, places),
                Shape::Map(_, Shape::Object(object)) => search(object, &format!("{path}.*"), key, places),
                _ => {}
            }
        }
    }
    let mut places = Vec::new();
    search(file, "", key, &mut places);
    // A key with many homes, such as `name`, says nothing.
    if places.len() > 2 { Vec::new() } else { places }
}

fn listed<'w>(words: impl Iterator<Item = &'w str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// A plain scalar by YAML 1.2's core schema; `None` for infinity and not-a-number, which JSON lacks.
fn scalar(text: &str) -> Option<Json> {
    let radix = |prefix, radix| text.strip_prefix(prefix).and_then(|digits| i64::from_str_radix(digits, radix).ok());
    if let Some(truth) = truth(text) {
        return Some(Json::from(truth));
    }
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)) {
        return Some(Json::from(number));
    }
    if let Ok(number) = text.parse::<i64>() {
        return Some(Json::from(number));
    }
    if let Ok(number) = text.parse::<u64>() {
        return Some(Json::from(number));
    }
    match text.trim_start_matches(['-', '+']).to_ascii_lowercase().as_str() {
        ".inf" | ".nan" => return None,
        unsigned if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') => return Some(Json::from(text)),
        _ => {}
    }
    match text.parse::<f64>() {
        Ok(number) => serde_json::Number::from_f64(number).map(Json::Number),
        Err(_) => Some(Json::from(text)),
    }
}
