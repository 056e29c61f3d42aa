//! YAML as packs may use it: one document, no tags, no value that two readers could read differently, every
//! node with its place.
//!
//! It builds its own small tree from the parser's events: `serde` would stop at the first error of a file and
//! hide how a scalar was written. `written/` interprets the fields.

mod offsets;
mod scalar;
mod traps;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde_json::{Map, Number, Value};
use serde_saphyr::granit_parser::{ErrorKind, Event, Parser, ScalarStyle, ScanError, Span, StructureStyle, options};

pub(crate) use offsets::Offsets;
pub(crate) use scalar::ScalarKind;
pub(crate) use traps::quote_yaml;

use crate::diagnostics::{Code, Report};
use crate::source::SourceText;
use scalar::Plain;

/// Returns true if an unquoted text is a number to everybody.
pub(crate) fn is_plain_number(text: &str) -> bool {
    matches!(Plain::of(text, false), Plain::Number(_))
}

/// The most bytes a YAML file may have.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 1 << 20;
/// The most nodes a file may have, with its aliases expanded.
const NODES_MAX: usize = 200_000;
/// The nesting limit of a file.
const DEPTH_MAX: usize = 32;
/// The most aliases a file may have.
const ALIASES_MAX: usize = 64;
/// The most syntax errors reported for one file.
const SYNTAX_ERRORS_MAX: usize = 20;

/// The key that merges mappings in YAML 1.1.
const MERGE_KEY: &str = "<<";

/// A value, and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) content: Content,
}

/// The content of a value.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text {
        value: String,
        style: ScalarStyle,
    },
    List(Vec<Node>),
    Map(Vec<YamlEntry>),
    /// Something about which an error has already been reported.
    Poisoned,
}

impl Content {
    /// Creates a text that is not part of a file.
    pub(crate) fn text(value: String) -> Self {
        Self::Text { value, style: ScalarStyle::DoubleQuoted }
    }
}

/// A key with its value.
#[derive(Clone, Debug)]
pub(crate) struct YamlEntry {
    pub(crate) key: WithSpan<String>,
    pub(crate) value: Node,
}

/// Part of a file with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WithSpan<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

impl Node {
    /// Returns the value as JSON; poisoned parts are null.
    pub(crate) fn to_value(&self) -> Value {
        match &self.content {
            Content::Null | Content::Poisoned => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text { value, .. } => Value::String(value.clone()),
            Content::List(items) => items.iter().map(Self::to_value).collect(),
            Content::Map(entries) => {
                Value::Object(entries.iter().map(|entry| (entry.key.value.clone(), entry.value.to_value())).collect::<Map<_, _>>())
            }
        }
    }

    /// Returns true if an error has been reported about the node, or about anything in it.
    pub(crate) fn is_poisoned(&self) -> bool {
        match &self.content {
            Content::Poisoned => true,
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text { .. } => false,
            Content::List(items) => items.iter().any(Self::is_poisoned),
            Content::Map(entries) => entries.iter().any(|entry| entry.value.is_poisoned()),
        }
    }

    /// Returns the node at a JSON Pointer (RFC 6901) below this one.
    pub(crate) fn at(&self, pointer: &str) -> Option<&Self> {
        let mut node = self;
        for part in pointer.split('/').skip(1) {
            let part = part.replace("~1", "/").replace("~0", "~");
            node = match &node.content {
                Content::Map(entries) => &entries.iter().find(|entry| entry.key.value == part)?.value,
                Content::List(items) => items.get(part.parse::<usize>().ok()?)?,
                Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text { .. } | Content::Poisoned => return None,
            };
        }
        Some(node)
    }

    /// Returns a description of the node's kind, for people.
    pub(crate) fn what(&self) -> &'static str {
        match self.content {
            Content::Null => "empty",
            Content::Bool(_) => "a boolean",
            Content::Number(_) => "a number",
            Content::Text { .. } => "a string",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
            Content::Poisoned => "not readable",
        }
    }

    fn count(&self) -> usize {
        1 + match &self.content {
            Content::List(items) => items.iter().map(Self::count).sum(),
            Content::Map(entries) => entries.iter().map(|entry| 1 + entry.value.count()).sum(),
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text { .. } | Content::Poisoned => 0,
        }
    }
}

/// Parses a file. Returns `None` if its fields cannot be examined because of its errors, which have then been
/// reported.
///
/// A syntax error in the value of a line does not stop parsing: the value is replaced and the rest is read,
/// so that one run reports all errors of a file.
pub(crate) fn parse(file: &SourceText, report: &mut Report) -> Option<Node> {
    if file.text().len() > DOCUMENT_BYTES_MAX {
        report
            .error(
                Code::FileTooLarge,
                file,
                0..0,
                format!("the file has {} bytes, but a YAML file in a pack can have at most {DOCUMENT_BYTES_MAX}", file.text().len()),
            )
            .hint("move the data to a separate file, which an action reads from `ENSUE_PACK_DIR`");
        return None;
    }
    let mut text = file.text().to_owned();
    let mut aside = Vec::new();
    for _ in 0..SYNTAX_ERRORS_MAX {
        match Builder::new(file, &aside).build(&text) {
            Ok(built) => return built.finish(report),
            Err(stop) => match traps::explain(file, &stop, report) {
                Some(value) if !aside.contains(&value) => {
                    traps::set_aside(&mut text, &value);
                    aside.push(value);
                }
                Some(_) | None => return None,
            },
        }
    }
    None
}

/// Why the parser could not continue.
pub(crate) struct Stop {
    offset: usize,
    message: String,
    code: Code,
}

/// The result of reading the whole file, with its errors not reported yet.
struct YamlDocument<'a> {
    file: &'a SourceText,
    root: Option<Node>,
    findings: Vec<traps::YamlTrap>,
}

impl YamlDocument<'_> {
    fn finish(self, report: &mut Report) -> Option<Node> {
        let mut lines_told = BTreeSet::new();
        for finding in self.findings {
            // One line with `!(a && b)` is a tag and an anchor, but one error.
            let line = self.file.place(finding.span.start).line;
            if !finding.shares_its_line() || lines_told.insert(line) {
                finding.report(self.file, report);
            }
        }
        if self.root.is_none() {
            report.error(Code::EmptyFile, self.file, 0..0, "the file is empty").hint("write its definition, or delete it");
        }
        self.root
    }
}

enum Frame {
    List { start: usize, anchor: usize, tagged: bool, items: Vec<Node> },
    Map { start: usize, anchor: usize, tagged: bool, key: Option<WithSpan<String>>, entries: Vec<YamlEntry>, seen: BTreeMap<String, usize> },
}

struct Builder<'a> {
    file: &'a SourceText,
    aside: &'a [Range<usize>],
    stack: Vec<Frame>,
    flow_depth: usize,
    anchors: BTreeMap<usize, Node>,
    /// The anchors that no alias has named yet, each with the place where its node begins.
    unused_anchors: BTreeMap<usize, usize>,
    aliases: usize,
    nodes: usize,
    documents: usize,
    root: Option<Node>,
    findings: Vec<traps::YamlTrap>,
}

impl<'a> Builder<'a> {
    fn new(file: &'a SourceText, aside: &'a [Range<usize>]) -> Self {
        Self {
            file,
            aside,
            stack: Vec::new(),
            flow_depth: 0,
            anchors: BTreeMap::new(),
            unused_anchors: BTreeMap::new(),
            aliases: 0,
            nodes: 0,
            documents: 0,
            root: None,
            findings: Vec::new(),
        }
    }

    fn build(mut self, text: &str) -> Result<YamlDocument<'a>, Stop> {
        let strict = options! { disallow_directives: true };
        let mut flow_frames = Vec::new();
        for event in Parser::new_from_str_with_options(text, strict) {
            let (event, span) = event.map_err(|error| stopped_by(&error))?;
            let at = span.byte_range().unwrap_or(0..0);
            match event {
                Event::DocumentStart(..) => {
                    self.documents += 1;
                    if self.documents > 1 {
                        return Err(stop(Code::SeveralDocuments, at.start, "a file can contain only one document; this is a second one"));
                    }
                }
                Event::Scalar(value, style, anchor, tag) => {
                    let span = self.record_tag(&span, tag.is_some()).unwrap_or(at);
                    let node = if tag.is_some() {
                        Node { span, content: Content::Poisoned }
                    } else {
                        self.scalar(value.into_owned(), style, span)
                    };
                    self.place(node, anchor)?;
                }
                Event::Alias(id) => {
                    let node = self.alias(id, at)?;
                    self.place(node, 0)?;
                }
                Event::SequenceStart(style, anchor, tag) => {
                    self.record_tag(&span, tag.is_some());
                    self.open(Frame::List { start: at.start, anchor, tagged: tag.is_some(), items: Vec::new() }, &at)?;
                    flow_frames.push(style);
                    self.flow_depth += usize::from(style == StructureStyle::Flow);
                }
                Event::MappingStart(style, anchor, tag) => {
                    self.record_tag(&span, tag.is_some());
                    let frame = Frame::Map {
                        start: at.start,
                        anchor,
                        tagged: tag.is_some(),
                        key: None,
                        entries: Vec::new(),
                        seen: BTreeMap::new(),
                    };
                    self.open(frame, &at)?;
                    flow_frames.push(style);
                    self.flow_depth += usize::from(style == StructureStyle::Flow);
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    let flow = flow_frames.pop() == Some(StructureStyle::Flow);
                    self.flow_depth -= usize::from(flow);
                    self.close(if flow { at.end } else { at.start })?;
                }
                // None of these is data: the ends of the stream, and events that only readers that ask for
                // them get.
                _ => {}
            }
        }
        // One is enough: several in one file are the same habit.
        let unused = self.unused_anchors.values().next();
        self.findings.extend(unused.and_then(|start| traps::YamlTrap::anchor(self.file, *start)));
        Ok(YamlDocument { file: self.file, root: self.root, findings: self.findings })
    }

    /// Records a tag as an error, and returns its place.
    fn record_tag(&mut self, span: &Span, is_tagged: bool) -> Option<Range<usize>> {
        let tag = span.tag_span().and_then(|tag| tag.byte_range()).filter(|_| is_tagged)?;
        self.findings.push(traps::YamlTrap::tag(tag.clone()));
        Some(tag)
    }

    fn scalar(&mut self, value: String, style: ScalarStyle, span: Range<usize>) -> Node {
        if self.aside.iter().any(|aside| aside.start == span.start) {
            return Node { span, content: Content::Poisoned };
        }
        if style != ScalarStyle::Plain {
            return Node { span, content: Content::Text { value, style } };
        }
        let is_key = matches!(self.stack.last(), Some(Frame::Map { key: None, .. }));
        if is_key {
            return Node { span, content: Content::Text { value, style } };
        }
        let content = match Plain::of(&value, span.is_empty()) {
            Plain::Null => Content::Null,
            Plain::Bool(value) => Content::Bool(value),
            Plain::Number(number) => Content::Number(number),
            Plain::Ambiguous(why) => {
                self.findings.push(traps::YamlTrap::ambiguous(span.clone(), why));
                Content::Poisoned
            }
            Plain::Text if self.flow_depth > 0 && value.contains('?') => {
                self.findings.push(traps::YamlTrap::question_mark(span.clone()));
                Content::Poisoned
            }
            Plain::Text => {
                let line_end = self.file.line_span(span.end).end;
                let rest = self.file.slice(&(span.end..line_end));
                if rest.starts_with([' ', '\t']) && rest.trim_start().starts_with('#') {
                    self.findings.push(traps::YamlTrap::comment(span.start..line_end));
                }
                Content::Text { value, style }
            }
        };
        Node { span, content }
    }

    fn alias(&mut self, id: usize, span: Range<usize>) -> Result<Node, Stop> {
        self.aliases += 1;
        if self.aliases > ALIASES_MAX {
            return Err(stop(Code::YamlAlias, span.start, &format!("the file has more than {ALIASES_MAX} aliases")));
        }
        let Some(node) = self.anchors.get(&id) else {
            return Err(stop(Code::YamlAlias, span.start, "the alias is inside the value that it refers to"));
        };
        self.nodes += node.count();
        self.unused_anchors.remove(&id);
        Ok(node.clone())
    }

    fn open(&mut self, frame: Frame, at: &Range<usize>) -> Result<(), Stop> {
        if let Some(Frame::Map { key: None, .. }) = self.stack.last() {
            return Err(stop(Code::ComplexKey, at.start, "a key must be a string, not a list or a mapping"));
        }
        if self.stack.len() >= DEPTH_MAX {
            return Err(stop(Code::FileTooLarge, at.start, &format!("the file nests deeper than {DEPTH_MAX} levels")));
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), Stop> {
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        let (start, anchor, tagged, content) = match frame {
            Frame::List { start, anchor, tagged, items } => (start, anchor, tagged, Content::List(items)),
            Frame::Map { start, anchor, tagged, entries, .. } => (start, anchor, tagged, Content::Map(entries)),
        };
        let content = if tagged { Content::Poisoned } else { content };
        self.place(Node { span: start..end.max(start), content }, anchor)
    }

    /// Puts a finished node where it belongs: as a key, a value, an item or the root.
    fn place(&mut self, node: Node, anchor: usize) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(stop(Code::FileTooLarge, node.span.start, &format!("the file has more than {NODES_MAX} values")));
        }
        if anchor != 0 {
            self.unused_anchors.insert(anchor, node.span.start);
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { key: key @ None, seen, .. }) => {
                let text = match node.content {
                    Content::Text { value, .. } => value,
                    Content::Poisoned => String::new(),
                    Content::Null | Content::Bool(_) | Content::Number(_) | Content::List(_) | Content::Map(_) => {
                        return Err(stop(Code::ComplexKey, node.span.start, "a key must be a string"));
                    }
                };
                if text == MERGE_KEY {
                    self.findings.push(traps::YamlTrap::merge_key(node.span.clone()));
                } else if let Some(first) = seen.get(&text) {
                    let line = self.file.place(*first).line;
                    self.findings.push(traps::YamlTrap::duplicate(node.span.clone(), &text, line));
                }
                *key = Some(WithSpan { value: text, span: node.span });
            }
            Some(Frame::Map { key, entries, seen, .. }) => {
                let key = key.take().expect("the arm above is the one without a key");
                if key.value != MERGE_KEY && !seen.contains_key(&key.value) {
                    seen.insert(key.value.clone(), key.span.start);
                    entries.push(YamlEntry { key, value: node });
                }
            }
        }
        Ok(())
    }
}

/// Why the parser itself could not continue.
fn stopped_by(error: &ScanError) -> Stop {
    let offset = error.marker().byte_offset().unwrap_or(0);
    match error.kind() {
        ErrorKind::UnknownAnchor => Stop { offset, message: error.info(), code: Code::YamlAlias },
        ErrorKind::RecursionLimitExceeded => stop(Code::FileTooLarge, offset, &format!("the file nests deeper than {DEPTH_MAX} levels")),
        _ => Stop { offset, message: error.info(), code: Code::YamlSyntax },
    }
}

fn stop(code: Code, offset: usize, message: &str) -> Stop {
    Stop { offset, message: message.to_owned(), code }
}
