//! The text of a spec and where in it each value stands, so that a finding made anywhere (validation, planning, on a
//! host) can be drawn on the user's own line.
//!
//! Places are found by path. A few are not paths of values: `spec.network.podCIDR#2` is the second of two equal keys,
//! `line 7, column 3` a place that YAML itself refused.

use std::collections::BTreeMap;
use std::ops::Range;

use super::path;
use super::yaml::{Node, Value};

/// A file of the user with its places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    file_name: String,
    text: String,
    places: BTreeMap<String, Range<usize>>,
}

impl Source {
    /// A source without places yet; the file's name is only for showing.
    pub fn new(file_name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { file_name: file_name.into(), text: text.into(), places: BTreeMap::new() }
    }

    /// The file's name as the user gave it.
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// The whole text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The bytes to underline for a path: the value if it stands on its key's line, else the key. For a path that the file
    /// does not have, the nearest thing around it that it has. Always inside the text, on character boundaries.
    pub fn span(&self, path: &str) -> Range<usize> {
        let mut wanted = Some(path);
        while let Some(path) = wanted {
            if let Some(span) = self.places.get(path) {
                return span.clone();
            }
            wanted = path::parent(path);
        }
        self.first_line(0..self.text.len())
    }

    /// Whether the file has this very place, rather than something around it.
    pub fn has(&self, path: &str) -> bool {
        self.places.contains_key(path)
    }

    /// Line and column of a path, both counted from 1; columns in characters.
    pub fn position(&self, path: &str) -> (usize, usize) {
        self.position_of(self.span(path).start)
    }

    /// Notes the places of a node and all that it holds.
    pub(super) fn register(&mut self, path: &str, key: Option<&Range<usize>>, node: &Node) {
        let span = self.inside(&node.span);
        let place = match key {
            Some(key) if span.is_empty() || !self.on_one_line(key.end.min(span.start)..span.end) => {
                self.first_line(self.inside(key))
            }
            _ => self.first_line(span),
        };
        self.places.insert(path.to_owned(), place);
        if let Some(key) = key {
            let key = self.first_line(self.inside(key));
            self.places.insert(path::of_key(path), key);
        }
        match &node.value {
            Value::Scalar { .. } => {}
            Value::List(nodes) => {
                for (index, node) in nodes.iter().enumerate() {
                    self.register(&path::element(path, index), None, node);
                }
            }
            // Of equal keys the first keeps the path.
            Value::Map(entries) => {
                for entry in entries.iter().rev() {
                    self.register(&path::key(path, &entry.key), Some(&entry.key_span), &entry.value);
                }
            }
        }
    }

    /// Notes one place under a name of the caller's choice.
    pub(super) fn mark(&mut self, name: &str, span: &Range<usize>) {
        let span = self.first_line(self.inside(span));
        self.places.insert(name.to_owned(), span);
    }

    /// Notes a place that has no path; its name is where it stands.
    pub(super) fn mark_position(&mut self, span: &Range<usize>) -> String {
        let span = self.first_line(self.inside(span));
        let (line, column) = self.position_of(span.start);
        let name = format!("line {line}, column {column}");
        self.places.insert(name.clone(), span);
        name
    }

    fn position_of(&self, at: usize) -> (usize, usize) {
        let before = &self.text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }

    /// The span with both ends inside the text and on character boundaries.
    fn inside(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start);
        start..self.text.floor_char_boundary(span.end).max(start)
    }

    fn on_one_line(&self, span: Range<usize>) -> bool {
        !self.text[self.inside(&span)].contains('\n')
    }

    /// What the span covers of its first line, without blanks at either end.
    fn first_line(&self, span: Range<usize>) -> Range<usize> {
        let covered = &self.text[span.clone()];
        let start = span.start + covered.len() - covered.trim_start().len();
        if start == span.end {
            return span.start..span.start;
        }
        let line = self.text[start..span.end].lines().next().unwrap_or_default();
        start..start + line.trim_end().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::yaml;

    fn source(text: &str) -> Source {
        let mut source = Source::new("cluster.yaml", text);
        if let Some(root) = yaml::parse(text).root {
            source.register("", None, &root);
        }
        source
    }

    fn at<'s>(source: &'s Source, path: &str) -> &'s str {
        &source.text()[source.span(path)]
    }

    #[test]
    fn a_value_on_one_line_is_its_place_and_a_longer_one_is_known_by_its_key() {
        let source = source(
            "spec:\n  network:\n    podCIDR: 10.0.0.0/8 # all\n  hosts:\n  - {name: é, roles: [a,\n     b]}\n  empty:\n",
        );
        assert_eq!(at(&source, "spec.network.podCIDR"), "10.0.0.0/8");
        assert_eq!(at(&source, "spec.network"), "network");
        assert_eq!(at(&source, "spec.hosts[0].name"), "é");
        assert_eq!(at(&source, "spec.hosts[0].roles"), "roles");
        assert_eq!(at(&source, "spec.hosts[0]"), "{name: é, roles: [a,");
        assert_eq!(at(&source, "spec.empty"), "empty");
        assert_eq!(at(&source, "spec.network.podCIDR@key"), "podCIDR");
        assert_eq!(source.position("spec.hosts[0].roles"), (5, 15));
    }

    #[test]
    fn a_path_that_is_not_there_is_shown_on_what_surrounds_it() {
        let source = source("spec:\n  network:\n    a: 1\n    b: 2\n");
        assert_eq!(at(&source, "spec.network.podCIDR.x[3]"), "network");
        assert_eq!(at(&source, "elsewhere"), "spec:");
        assert!(!source.has("spec.network.podCIDR"));
    }

    #[test]
    fn a_text_without_a_tree_has_one_place() {
        assert_eq!(source("").span("spec"), 0..0);
        assert_eq!(source("\n\n").span("spec"), 0..0);
    }
}
