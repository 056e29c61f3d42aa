//! Compiling the expressions of a definition against the names and schemas they may read, with their mistakes in the right place.
//!
//! It does not know which names stand where: that is in `sensors.rs`, `rules.rs` and `actions.rs`.

use std::collections::BTreeSet;
use std::ops::Range;

use ensue_engine::catalog::Schema;
use ensue_engine::names::{KeyRef, PackName};
use ensue_expression::{Access, CompileError, Expression, Path, Roots, Template};

use crate::diagnostics::{Code, Report, nearest};
use crate::fields::{first_line, listed, wrong_type};
use crate::source::SourceText;
use crate::yaml::{Content, Node, Offsets};

/// Names of the language that a later release brings.
const ROOTS_LATER: [(&str, &str); 2] = [("vars", "values that actions keep"), ("events", "the events of a `window`")];

/// What the expressions at one place may read.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    file: &'a SourceText,
    roots: Roots,
    fixed: Vec<Known<'a>>,
    keys: Keys<'a>,
}

/// Fields of which it is known which there are.
#[derive(Clone)]
struct Known<'a> {
    /// The path to them: `event.payload`.
    prefix: Vec<&'static str>,
    /// Whose they are: "the action's parameters".
    whose: &'static str,
    /// One set for each thing that may stand there: a rule's event is of one of its triggers.
    sets: Vec<BTreeSet<&'a str>>,
}

/// What `keys[…]` may be at a place.
#[derive(Clone, Copy)]
pub(super) enum Keys<'a> {
    /// Nothing: a secret would be written down there.
    Refused,
    /// One of these.
    Of(Listed<'a>),
}

/// The keys that a pack lists.
#[derive(Clone, Copy)]
pub(super) struct Listed<'a> {
    pub(super) pack: &'a PackName,
    /// Nothing is known where the list has mistakes.
    pub(super) keys: Option<&'a [KeyRef]>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(file: &'a SourceText, roots: &[&str]) -> Self {
        Self { file, roots: Roots::new(roots.iter().copied()), fixed: Vec::new(), keys: Keys::Refused }
    }

    /// Lets one more name stand here.
    pub(super) fn root(mut self, name: &str) -> Self {
        self.roots = self.roots.with(name);
        self
    }

    /// Says which fields stand below a path.
    pub(super) fn fields(mut self, prefix: &[&'static str], whose: &'static str, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.fixed.push(Known { prefix: prefix.to_vec(), whose, sets: vec![names.into_iter().collect()] });
        self
    }

    /// Says that one of these schemas describes what stands below a path; a schema that is not known allows anything.
    pub(super) fn schemas(
        mut self,
        prefix: &[&'static str],
        whose: &'static str,
        schemas: impl IntoIterator<Item = Option<&'a Schema>>,
    ) -> Self {
        let sets = schemas
            .into_iter()
            .filter_map(|schema| schema.and_then(Schema::fields))
            .map(|fields| fields.0.iter().map(|field| field.name.as_str()).collect())
            .collect();
        self.fixed.push(Known { prefix: prefix.to_vec(), whose, sets });
        self
    }

    /// Lets `keys[…]` stand here.
    pub(super) fn with_keys(mut self, listed: Listed<'a>) -> Self {
        self.roots = self.roots.with("keys");
        self.keys = Keys::Of(listed);
        self
    }

    /// Compiles a field that is an expression.
    pub(super) fn expression(&self, node: &Node, name: &str, report: &mut Report) -> Option<Expression> {
        let source = match &node.content {
            Content::Text { value, .. } => value.as_str(),
            Content::Bool(_) | Content::Number(_) => self.file.slice(&node.span),
            Content::Poisoned => return None,
            Content::Null | Content::List(_) | Content::Map(_) => {
                wrong_type(node, name, "an expression", self.file, report);
                return None;
            }
        };
        match Expression::compile(source, &self.roots) {
            Ok(expression) => {
                let offset = inner_offset(source);
                self.check_reads(expression.reads(), |span| self.locate(node, span.start + offset..span.end + offset), report)
                    .then_some(expression)
            }
            Err(error) => {
                self.tell(error, node, source, report);
                None
            }
        }
    }

    /// Compiles a field that is a value, with `${{ … }}` in it or without.
    pub(super) fn template(&self, node: &Node, report: &mut Report) -> Option<Template> {
        if node.is_poisoned() {
            return None;
        }
        match Template::compile(&node.to_value(), &self.roots) {
            Ok(template) => {
                let mut is_fine = true;
                for part in template.parts() {
                    let at = node.at(&part.pointer).unwrap_or(node);
                    for piece in part.pieces {
                        if let ensue_expression::Piece::Expression { expression, offset } = piece {
                            let locate = |span: Range<usize>| self.locate(at, span.start + offset..span.end + offset);
                            is_fine &= self.check_reads(expression.reads(), locate, report);
                        }
                    }
                }
                is_fine.then_some(template)
            }
            Err(errors) => {
                for error in errors {
                    let at = node.at(&error.pointer).unwrap_or(node);
                    let source = match &at.content {
                        Content::Text { value, .. } => value.clone(),
                        _ => String::new(),
                    };
                    let span = error.span.clone();
                    self.tell_error(&error.message, error.hint, span, at, &source, report);
                }
                None
            }
        }
    }

    /// Gives where a span of a scalar's value stands in the file.
    pub(super) fn locate(&self, node: &Node, span: Range<usize>) -> Range<usize> {
        match &node.content {
            Content::Text { value, style } => Offsets::align(value, self.file.slice(&node.span), *style, node.span.start).of(&span),
            Content::Bool(_) | Content::Number(_) => node.span.start + span.start..node.span.start + span.end,
            Content::Null | Content::List(_) | Content::Map(_) | Content::Poisoned => first_line(&node.span, self.file),
        }
    }

    fn tell(&self, error: CompileError, node: &Node, source: &str, report: &mut Report) {
        self.tell_error(&error.message, error.hint, error.span, node, source, report);
    }

    fn tell_error(&self, message: &str, hint: Option<String>, span: Range<usize>, node: &Node, source: &str, report: &mut Report) {
        let written = source.get(span.clone()).unwrap_or("");
        let root = written.split(['.', '[']).next().unwrap_or("");
        let place = self.locate(node, span);
        if root == "keys" && !self.roots.contains("keys") {
            return tell_key_out_of_place(self.file, place, report);
        }
        if let Some((_, brings)) = ROOTS_LATER.iter().find(|(name, _)| *name == root && !self.roots.contains(name)) {
            report
                .error(Code::NotYet, self.file, place, format!("`{root}` ({brings}) is not in this release yet"))
                .hint("docs/roadmap.md says what comes when");
            return;
        }
        let told = report.error(Code::ExpressionSyntax, self.file, place, message);
        told.hint = hint;
    }

    fn check_reads(&self, reads: Vec<Path>, locate: impl Fn(Range<usize>) -> Range<usize>, report: &mut Report) -> bool {
        let mut is_fine = true;
        for path in reads {
            is_fine &= self.check_read(&path, &locate, report);
        }
        is_fine
    }

    fn check_read(&self, path: &Path, locate: &impl Fn(Range<usize>) -> Range<usize>, report: &mut Report) -> bool {
        if path.segments[0] == "keys" {
            return self.check_key(path, locate, report);
        }
        for known in &self.fixed {
            let prefix = known.prefix.len();
            let is_below = path.segments.len() > prefix && known.prefix.iter().zip(&path.segments).all(|(a, b)| a == b);
            if !is_below || known.sets.is_empty() {
                continue;
            }
            let name = path.segments[prefix].as_str();
            let is_there = match path.access {
                Access::Required => known.sets.iter().all(|set| set.contains(name)),
                // What may be absent is asked for already; one of the things that may stand there has to have it.
                _ => known.sets.iter().any(|set| set.contains(name)),
            };
            if !is_there {
                self.tell_unknown_read(path, known, name, locate(path.span.clone()), report);
                return false;
            }
        }
        true
    }

    fn tell_unknown_read(&self, path: &Path, known: &Known<'_>, name: &str, span: Range<usize>, report: &mut Report) {
        let prefix = known.prefix.join(".");
        let all: BTreeSet<&str> = known.sets.iter().flatten().copied().collect();
        let is_in_some = all.contains(name);
        let names: Vec<&str> = all.iter().copied().collect();
        if is_in_some {
            let optional = path.segments[known.prefix.len()..].iter().fold(prefix, |text, segment| format!("{text}.?{segment}"));
            report
                .error(Code::UnknownRead, self.file, span, format!("`{name}` is not in the payload of every one of the rule's triggers"))
                .hint(format!("where it may be absent, write `{optional}.orValue(\"\")`, or `has({})`", path.segments.join(".")));
            return;
        }
        let near = nearest(name, names.iter().copied());
        let told = report.error(Code::UnknownRead, self.file, span, format!("there is no `{name}` in {}", known.whose));
        if let Some(near) = near {
            told.message.push_str(&format!(", did you mean `{prefix}.{near}`?"));
        }
        told.hint(if names.is_empty() { format!("{} are none", known.whose) } else { format!("{} are {}", known.whose, listed(&names)) });
    }

    fn check_key(&self, path: &Path, locate: &impl Fn(Range<usize>) -> Range<usize>, report: &mut Report) -> bool {
        let Keys::Of(listed) = self.keys else {
            tell_key_out_of_place(self.file, locate(path.span.clone()), report);
            return false;
        };
        let Some(name) = path.segments.get(1) else {
            report
                .error(
                    Code::UnlistedKey,
                    self.file,
                    locate(path.span.clone()),
                    "the name of a key is written out, so that it is known which keys are read",
                )
                .hint("for example `keys[\"release.deploy_token\"]`");
            return false;
        };
        check_listed(name, listed, self.file, locate(path.span.clone()), report)
    }
}

/// Says whether a key is listed, as far as that is known; tells of one that is not.
pub(super) fn check_listed(name: &str, listed: Listed<'_>, file: &SourceText, span: Range<usize>, report: &mut Report) -> bool {
    let Some(known) = listed.keys else { return true };
    if known.iter().any(|key| key.as_str() == name) {
        return true;
    }
    let near = nearest(name, known.iter().map(KeyRef::as_str));
    let told = report.error(Code::UnlistedKey, file, span, format!("the key `{name}` is not listed in `pack.yaml`"));
    told.did_you_mean(near);
    match name.strip_prefix(&format!("{}.", listed.pack)) {
        Some(_) if near.is_some() => {}
        Some(bare) => {
            told.hint(format!("list it:\nkeys: [{bare}]"));
        }
        None => {
            told.hint(format!("a pack reads its own keys only: `{}.<name>`", listed.pack));
        }
    }
    false
}

fn tell_key_out_of_place(file: &SourceText, span: Range<usize>, report: &mut Report) {
    report
        .error(Code::KeyOutOfPlace, file, span, "`keys` is not readable here: what is computed here is written to the log")
        .hint("a key is read in an action's own `run`: its `input`, `files`, `env`, `headers`, `json` or `body`");
}

/// Where an expression begins in a text that may be `${{ … }}` as a whole.
fn inner_offset(source: &str) -> usize {
    let trimmed = source.trim();
    if trimmed.starts_with("${{") && trimmed.ends_with("}}") { source.len() - source.trim_start().len() + 3 } else { 0 }
}
