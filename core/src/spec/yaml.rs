//! Text to a tree of nodes, each with its place in the text. Knows YAML, knows nothing of clusters.
//!
//! Strict where YAML is generous: one document, text keys, no tags, no merge keys, bounded nesting and size. It stops
//! at the first syntax error, because what follows one is guesswork; the rest is collected.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, ScanError, StructureStyle, Tag};

/// Largest text we read. A spec of a thousand hosts is about 100 KiB; ten times that is not a spec.
pub const LARGEST_TEXT: usize = 1024 * 1024;

/// Most nodes after aliases are filled in: what 1 MiB can honestly hold, and the end of every "billion laughs".
const MOST_NODES: usize = 100_000;

/// Deepest nesting. The schema is 6 deep; `config` passthroughs of Kubernetes go to about 12.
const DEEPEST: usize = 64;

/// A value with its place.
#[derive(Clone, Debug)]
pub struct Node {
    /// Bytes of the text that it covers.
    pub span: Range<usize>,
    /// What it holds.
    pub value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// A scalar, not yet interpreted.
    Scalar {
        /// Its content after escapes.
        text: String,
        /// Whether it was written without quotes, so that it may mean a number, a boolean or nothing.
        plain: bool,
    },
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in the order of the text; a key may come twice, which the decoder refuses.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_span: Range<usize>,
    /// Its value.
    pub value: Node,
}

/// Something that YAML or our strictness refuses.
#[derive(Debug)]
pub struct Complaint {
    /// `SPEC001`, `SPEC007`, `SPEC008` or `SPEC009`.
    pub code: &'static str,
    /// Where.
    pub span: Range<usize>,
    /// What is wrong.
    pub text: String,
    /// Words for the place.
    pub label: String,
    /// What to do.
    pub hint: Option<String>,
}

/// What became of a text.
#[derive(Debug)]
pub struct Parsed {
    /// The document, if it could be read to its end.
    pub root: Option<Node>,
    /// What was refused on the way.
    pub complaints: Vec<Complaint>,
}

impl Node {
    /// What it is, for "… is expected, this is …".
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } if self.is_nothing() => "nothing",
            Value::Scalar { plain: true, .. } => "a single value",
            Value::Scalar { .. } => "text in quotes",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// Whether it is YAML's null: `~`, `null` or nothing at all.
    pub fn is_nothing(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    fn size(&self) -> usize {
        1 + match &self.value {
            Value::Scalar { .. } => 0,
            Value::List(nodes) => nodes.iter().map(Self::size).sum(),
            Value::Map(entries) => entries.iter().map(|entry| entry.value.size()).sum(),
        }
    }

    /// The same node as if it stood at `span`: findings in an alias are shown where it is used.
    fn moved_to(mut self, span: &Range<usize>) -> Self {
        self.span = span.clone();
        match &mut self.value {
            Value::Scalar { .. } => {}
            Value::List(nodes) => {
                for node in nodes.iter_mut() {
                    *node = std::mem::replace(node, Self::nothing(0..0)).moved_to(span);
                }
            }
            Value::Map(entries) => {
                for entry in entries.iter_mut() {
                    entry.key_span = span.clone();
                    entry.value = std::mem::replace(&mut entry.value, Self::nothing(0..0)).moved_to(span);
                }
            }
        }
        self
    }

    fn nothing(span: Range<usize>) -> Self {
        Self { span, value: Value::Scalar { text: String::new(), plain: true } }
    }
}

/// Reads one document.
pub fn parse(text: &str) -> Parsed {
    let mut builder =
        Builder { text, open: Vec::new(), anchors: BTreeMap::new(), nodes: 0, root: None, complaints: Vec::new() };
    if text.len() > LARGEST_TEXT {
        let size = text.len();
        builder.complain(
            "SPEC009",
            0..0,
            format!("the file has {size} bytes; a spec has at most {LARGEST_TEXT}"),
            "",
            None,
        );
        return Parsed { root: None, complaints: builder.complaints };
    }
    let options = granit_parser::options! {
        emit_comments: false,
        disallow_directives: true,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    };
    let mut intact = true;
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, span)) => {
                builder.take(event, span.byte_range().unwrap_or(0..0), span.tag_span().and_then(|tag| tag.byte_range()))
            }
            Err(error) => Err(syntax_error(text, &error)),
        };
        if let Err(complaint) = step {
            builder.complaints.push(complaint);
            intact = false;
            break;
        }
    }
    if intact && builder.root.is_none() {
        let hint = "`kubewright init` writes a commented one to start from".to_owned();
        builder.complain("SPEC001", 0..0, "the file holds no YAML document".to_owned(), "", Some(hint));
    }
    Parsed { root: builder.root.filter(|_| intact), complaints: builder.complaints }
}

/// A collection that has begun and not ended.
struct Open {
    start: usize,
    flow: bool,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    /// The key that waits for its value: without text if it was refused, and its value goes with it.
    Map {
        entries: Vec<Entry>,
        key: Option<(Option<String>, Range<usize>)>,
    },
}

struct Builder<'text> {
    text: &'text str,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    root: Option<Node>,
    complaints: Vec<Complaint>,
}

impl Builder<'_> {
    /// Takes one event; an error ends the reading.
    fn take(&mut self, event: Event<'_>, span: Range<usize>, tag_span: Option<Range<usize>>) -> Result<(), Complaint> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                return Err(Complaint {
                    code: "SPEC007",
                    span,
                    text: "the file holds more than one document".to_owned(),
                    label: "a second one begins here".to_owned(),
                    hint: Some("one file describes one cluster; move the other to its own file".to_owned()),
                });
            }
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && !self.as_text(tag.as_deref(), &span, tag_span);
                let node = Node { span, value: Value::Scalar { text: text.into_owned(), plain } };
                self.remember(anchor, &node);
                return self.add(node);
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.as_text(tag.as_deref(), &span, tag_span);
                self.begin(span.start, style, anchor, Content::List(Vec::new()));
            }
            Event::MappingStart(style, anchor, tag) => {
                self.as_text(tag.as_deref(), &span, tag_span);
                self.begin(span.start, style, anchor, Content::Map { entries: Vec::new(), key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    let anchor = open.anchor;
                    let node = open.close(span.end);
                    self.remember(anchor, &node);
                    return self.add(node);
                }
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(refused(span, "an alias inside its own anchor never ends"));
                };
                let size = node.size();
                if self.nodes + size > MOST_NODES {
                    return Err(refused(span, "aliases make the file grow beyond what a spec can be"));
                }
                let node = node.clone().moved_to(&span);
                self.nodes += size - 1;
                return self.add(node);
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, start: usize, style: StructureStyle, anchor: usize, content: Content) {
        self.open.push(Open { start, flow: style == StructureStyle::Flow, anchor, content });
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, node: Node) -> Result<(), Complaint> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(refused(node.span, "the file holds more values than a spec can"));
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(nodes)) => nodes.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                Some((name, key_span)) => entries.extend(name.map(|key| Entry { key, key_span, value: node })),
                None => {
                    let (name, complaint) = match node.value {
                        Value::Scalar { text, plain: true } if text == "<<" => {
                            let hint =
                                "shared settings have their place: `spec.ssh` for all hosts, `spec.pools` for workers";
                            (None, Some(refused(node.span.clone(), "merge keys are not understood").hint(hint)))
                        }
                        Value::Scalar { text, .. } => (Some(text), None),
                        _ => (None, Some(refused(node.span.clone(), "a key must be a single word, not a collection"))),
                    };
                    self.complaints.extend(complaint);
                    *key = Some((name, node.span));
                }
            },
        }
        Ok(())
    }

    /// Remembers an anchored node for its aliases.
    fn remember(&mut self, anchor: usize, node: &Node) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
    }

    /// Whether a tag says "text"; any other tag but YAML's own is refused.
    fn as_text(&mut self, tag: Option<&Tag>, span: &Range<usize>, tag_span: Option<Range<usize>>) -> bool {
        let Some(tag) = tag else { return false };
        if !tag.is_yaml_core_schema() {
            let complaint = refused(tag_span.unwrap_or(span.clone()), "tags are not understood");
            self.complaints.push(complaint.hint("write the value itself, without the word that begins with `!`"));
        }
        tag.core_suffix() == Some("str")
    }

    fn complain(&mut self, code: &'static str, span: Range<usize>, text: String, label: &str, hint: Option<String>) {
        debug_assert!(span.end <= self.text.len());
        self.complaints.push(Complaint { code, span, text, label: label.to_owned(), hint });
    }
}

impl Open {
    /// The finished node. A block collection's own end lies behind blank lines and comments, so its last child tells.
    fn close(self, end: usize) -> Node {
        let (last, value) = match self.content {
            Content::List(nodes) => (nodes.last().map(|node| node.span.end), Value::List(nodes)),
            Content::Map { entries, .. } => {
                (entries.last().map(|entry| entry.value.span.end.max(entry.key_span.end)), Value::Map(entries))
            }
        };
        let end = if self.flow { end } else { last.unwrap_or(end) };
        Node { span: self.start..end.max(self.start), value }
    }
}

impl Complaint {
    fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }
}

fn refused(span: Range<usize>, text: &str) -> Complaint {
    Complaint { code: "SPEC008", span, text: text.to_owned(), label: String::new(), hint: None }
}

/// The parser's words, with advice for the mistakes that people make.
fn syntax_error(text: &str, error: &ScanError) -> Complaint {
    use granit_parser::ErrorKind as Kind;

    let at = error.marker().byte_offset().unwrap_or(text.len()).min(text.len());
    let hint = match error.kind() {
        Kind::TabNotAllowed | Kind::TabInBlockIndentation => Some("indent with spaces; YAML refuses tabs"),
        Kind::UnknownAnchor => Some("an alias (`*name`) needs its anchor (`&name`) before it"),
        Kind::ExpectedBlockMappingKey | Kind::ExpectedBlockSequenceEntry | Kind::InvalidIndentation => {
            Some("compare the indentation with the lines above")
        }
        Kind::UnexpectedEofFlowMapping | Kind::ExpectedFlowMappingSeparator => {
            Some("is a `}` or a comma missing before this place?")
        }
        Kind::UnexpectedEofFlowSequence | Kind::ExpectedFlowSequenceSeparator => {
            Some("is a `]` or a comma missing before this place?")
        }
        Kind::DirectiveDisallowed => Some("leave out lines that begin with `%`"),
        Kind::SimpleKeyExpected | Kind::InvalidSimpleKey => Some("is a `:` missing after the key?"),
        _ => None,
    };
    let info = error.info();
    let words = if info.is_empty() { "the text is not YAML" } else { info.as_str() };
    Complaint {
        code: "SPEC001",
        span: at..at,
        text: format!(
            "this is not YAML: {}",
            words.replace("EOF", "end of file").replace("unexpected eof", "unexpected end of file")
        ),
        label: "here".to_owned(),
        hint: hint.map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts<'t>(text: &'t str, node: &Node, found: &mut Vec<(String, &'t str)>) {
        match &node.value {
            Value::Scalar { text: content, .. } => found.push((content.clone(), &text[node.span.clone()])),
            Value::List(nodes) => nodes.iter().for_each(|node| texts(text, node, found)),
            Value::Map(entries) => {
                for entry in entries {
                    found.push((entry.key.clone(), &text[entry.key_span.clone()]));
                    texts(text, &entry.value, found);
                }
            }
        }
    }

    fn codes(text: &str) -> Vec<&'static str> {
        parse(text).complaints.iter().map(|complaint| complaint.code).collect()
    }

    #[test]
    fn spans_are_bytes_of_the_text_whatever_stands_before_them() {
        for before in ["", "\u{feff}", "# é\u{1F980}\r\n", "\"ü\": \"\\u00fc\"\r\n", "---\n"] {
            let text = format!("{before}key: [one, 'two']\r\nlast: three\r\n");
            let parsed = parse(&text);
            assert!(parsed.complaints.is_empty(), "{before:?}: {:?}", parsed.complaints);
            let mut found = Vec::new();
            texts(&text, &parsed.root.unwrap(), &mut found);
            let ours = &found[found.len() - 5..];
            let expected = [("key", "key"), ("one", "one"), ("two", "'two'"), ("last", "last"), ("three", "three")];
            assert_eq!(ours, expected.map(|(content, raw)| (content.to_owned(), raw)), "{before:?}");
        }
    }

    #[test]
    fn nesting_and_growth_have_an_end() {
        assert_eq!(codes(&"[".repeat(10_000)), ["SPEC001"]);
        assert_eq!(codes(&"- ".repeat(10_000)), ["SPEC001"]);
        assert_eq!(codes("a: &a [*a]"), ["SPEC008"]);
        let chain: String = (1..5000).map(|n| format!("k{n}: &a{n} [*a{}]\n", n - 1)).collect();
        assert_eq!(codes(&format!("k0: &a0 [x]\n{chain}")), ["SPEC008"]);
        assert_eq!(codes(&"- a\n".repeat(MOST_NODES + 1)), ["SPEC008"]);
    }

    #[test]
    fn text_stays_text() {
        let parsed = parse("[no, 1.30, !!str 1, 'true', ~]");
        let Some(Node { value: Value::List(nodes), .. }) = parsed.root else { panic!("a list") };
        let plain: Vec<bool> =
            nodes.iter().map(|node| matches!(node.value, Value::Scalar { plain: true, .. })).collect();
        assert_eq!(plain, [true, true, false, false, true]);
        assert!(nodes[4].is_nothing());
    }
}
