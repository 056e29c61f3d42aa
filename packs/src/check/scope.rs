//! Compiles the expressions of a definition against the names they may read and their types, and reports
//! errors at their places.
//!
//! Which names are available where is defined in `sensors.rs`, `rules.rs` and `actions.rs`.

use std::ops::{ControlFlow, Range};

use ensue_engine::access::scope::Scope as Permitted;
use ensue_engine::catalog::{ALWAYS, CREDENTIAL_HEADERS, FAILED, SUCCEEDED, Scheme, allow_key};
use ensue_engine::names::{KeyRef, PackName};
use ensue_engine::vars::reads::VARS;
use ensue_expression::{
    CompileError, Expression, Knowledge, MapType, NameRead, Occurrence, Others, Path, Piece, Purpose, Roots, Template, Value, ValueType,
    nearest,
};

use super::expression_findings::{EvaluationGuard, Taker, report_findings};
use crate::diagnostics::{Code, Report};
use crate::fields::{first_line, wrong_type};
use crate::source::SourceText;
use crate::yaml::{Content, Node, Offsets};

const ITEM_ELSEWHERE: &str =
    "`item` and `index` can be read only in the `with` of a step that has `for_each`, and in the `emits` of a sensor with `poll`";

/// Names of the language that are available only elsewhere, each with where.
const ROOTS_ELSEWHERE: [(&str, &str); 7] = [
    (
        VARS,
        "`vars` can be read in rules, in the `local` and `run` of actions, and in the steps of workflows; pass its value on through `with`",
    ),
    ("events", "`events` can be read only in the `with` and the `steps` of a rule that has `window`, or `debounce` with `events: all`"),
    ("steps", "`steps` can be read only in a workflow: in the `if`, `for_each`, `with` and `fail` of its steps, and in its `result`"),
    ("item", ITEM_ELSEWHERE),
    ("index", ITEM_ELSEWHERE),
    ("line", "`line` can be read only in the `emits` of a sensor with `process`, or with `file` and `read: lines` or `tail`"),
    ("cursor", "`cursor` can be read only in the `http` of a `poll` that has `cursor`, and in the `next` of that"),
];
/// Names used by other tools for the functions that check how the steps that a step needs ended.
const STATUS_FUNCTIONS: [(&str, &str); 5] =
    [("succeeded", SUCCEEDED), ("success", SUCCEEDED), ("failed", FAILED), ("failure", FAILED), ("always", ALWAYS)];

/// Words that begin Go templates, as in `docker inspect --format '{{json .State}}'`.
const WORDS_OF_GO: [&str; 12] =
    ["block", "break", "continue", "define", "else", "end", "if", "json", "println", "range", "template", "with"];

/// The content of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    /// A bare expression.
    Expression,
    /// A value, with or without `${{ … }}`.
    Value,
}

/// The names that the expressions at one place may read.
#[derive(Clone)]
pub(super) struct Scope<'a> {
    file: &'a SourceText,
    known: Knowledge,
    names: Vec<String>,
    roots: Roots,
    turn: EvaluationGuard,
    keys: Keys<'a>,
    /// The names of `local`, with their types.
    locals: MapType,
    headers: Headers<'a>,
}

/// Whose headers the name `headers` has, if it is available.
#[derive(Clone, Copy)]
enum Headers<'a> {
    /// Not those of a delivery, but for example those of an answer.
    Other,
    /// Those of a delivery whose sender is proven by the scheme.
    Delivery(Option<&'a Scheme>),
}

/// Whether `keys[…]` may be used at a place.
#[derive(Clone, Copy)]
pub(super) enum Keys<'a> {
    /// No: the secret would be written down there.
    Refused,
    /// No: the place is a URL, which is shown unless it is marked as a secret.
    InUrl,
    /// Only these.
    Of(ListedKeys<'a>),
}

/// The keys that a pack lists.
#[derive(Clone, Copy)]
pub(super) struct ListedKeys<'a> {
    pub(super) pack: &'a PackName,
    /// `None` if the list has errors.
    pub(super) keys: Option<&'a [KeyRef]>,
    /// What the pack may do with others, among it perhaps to read their keys; `None` where only its own keys can be read.
    pub(super) permissions: Option<&'a [Permitted]>,
}

impl<'a> Scope<'a> {
    pub(super) fn new(file: &'a SourceText) -> Self {
        Self {
            file,
            known: Knowledge::new(),
            names: Vec::new(),
            roots: Roots::default(),
            turn: EvaluationGuard::Always,
            keys: Keys::Refused,
            locals: MapType::new(Others::None).with_wording("the names of `local`", None),
            headers: Headers::Other,
        }
    }

    /// Makes the headers of a delivery available whose sender is proven by the scheme, if there is one.
    pub(super) fn with_headers_of_delivery(self, scheme: Option<&'a Scheme>) -> Self {
        let mut scope = self.with("headers", ValueType::map(MapType::new(Others::Are(ValueType::text()))));
        scope.headers = Headers::Delivery(scheme);
        scope
    }

    /// Makes a name available, with the type of its value.
    pub(super) fn with(mut self, name: &str, value: ValueType) -> Self {
        self.known = self.known.with(name, value);
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
            self.roots = Roots::new(self.names.iter().map(String::as_str));
        }
        self
    }

    /// Makes another name of `local` available, with the type of its value.
    pub(super) fn with_local(mut self, name: &str, value: ValueType) -> Self {
        self.locals = self.locals.with(name, value, Occurrence::Always);
        self.with_locals()
    }

    /// Makes the names of `local` available, also if there are none.
    pub(super) fn with_locals(self) -> Self {
        let locals = ValueType::map(self.locals.clone());
        self.with("local", locals)
    }

    /// Makes the names of `local` of another scope available, instead of its own.
    pub(super) fn with_locals_of(mut self, other: &Self) -> Self {
        self.locals = other.locals.clone();
        self.with_locals()
    }

    /// Returns true if a name of `local` is available.
    pub(super) fn has_local(&self, name: &str) -> bool {
        ValueType::map(self.locals.clone()).at(&format!("/{name}")).is_some()
    }

    /// Marks the expressions as evaluated only after a condition held, if there is one.
    pub(super) fn after(mut self, condition: Option<&Expression>) -> Self {
        if let Some(condition) = condition {
            self.known = self.known.assuming(condition);
        }
        self.turn = EvaluationGuard::AfterCondition;
        self
    }

    /// Marks missing fields as harmless.
    pub(super) fn forgiving(mut self) -> Self {
        self.turn = EvaluationGuard::AfterCondition;
        self
    }

    /// Makes `keys[…]` available.
    pub(super) fn with_keys(self, listed: ListedKeys<'a>) -> Self {
        // A key that is not text is read as bytes.
        let mut scope = self.with("keys", ValueType::anything());
        scope.keys = Keys::Of(listed);
        scope
    }

    /// Returns the scope of a URL that is not a secret.
    pub(super) fn in_url(mut self) -> Self {
        self.keys = Keys::InUrl;
        self
    }

    /// Returns the paths that a field reads, each with its place in the file. Returns none if it does not
    /// parse, or if nothing more is compiled; compiling it for its check reports that.
    pub(super) fn reads(&self, node: &Node, holds: Holds, report: &Report) -> Vec<(Path, Range<usize>)> {
        if report.is_over() {
            return Vec::new();
        }
        match (holds, &node.content) {
            (Holds::Expression, Content::Text { value, .. }) => {
                let Ok(expression) = Expression::parse(value, &self.roots) else { return Vec::new() };
                let offset = inner_offset(value);
                self.locate_reads(&expression, node, offset).collect()
            }
            (Holds::Expression, _) => Vec::new(),
            (Holds::Value, _) => {
                let Ok(template) = Template::parse(&node.to_value(), &self.roots) else { return Vec::new() };
                let mut found = Vec::new();
                for part in template.parts() {
                    let at = node.at(&part.pointer).unwrap_or(node);
                    for piece in part.pieces {
                        if let Piece::Expression { expression, offset } = piece {
                            found.extend(self.locate_reads(expression, at, *offset));
                        }
                    }
                }
                found
            }
        }
    }

    fn locate_reads(&self, expression: &Expression, node: &Node, offset: usize) -> impl Iterator<Item = (Path, Range<usize>)> {
        expression.reads().into_iter().map(move |path| {
            let place = self.locate(node, path.span.start + offset..path.span.end + offset);
            (path, place)
        })
    }

    /// Returns true if a condition can be true, as far as is known. A condition that errs, which is reported
    /// elsewhere, counts as true.
    pub(super) fn may_hold(&self, condition: &Expression, report: &mut Report) -> bool {
        let value = condition.infer(&self.known, Purpose::Condition, &mut report.budget).value;
        value.is_unknown_or_nothing() || value.overlaps(&ValueType::of_value(&Value::Bool(true)))
    }

    /// Compiles a field that holds a condition.
    pub(super) fn condition(&self, node: &Node, name: &str, report: &mut Report) -> Option<Expression> {
        self.compile(node, name, Purpose::Condition, report).map(|(expression, _)| expression)
    }

    /// Compiles a field that holds an expression. Returns it with the type of its value.
    pub(super) fn expression(&self, node: &Node, name: &str, report: &mut Report) -> Option<(Expression, ValueType)> {
        self.compile(node, name, Purpose::Value, report)
    }

    fn compile(&self, node: &Node, name: &str, purpose: Purpose, report: &mut Report) -> Option<(Expression, ValueType)> {
        let source = match &node.content {
            Content::Text { value, .. } => value.as_str(),
            Content::Bool(_) | Content::Number(_) => self.file.slice(&node.span),
            Content::Poisoned => return None,
            Content::Null | Content::List(_) | Content::Map(_) => {
                wrong_type(node, name, "an expression", self.file, report);
                return None;
            }
        };
        if report.is_over() {
            return None;
        }
        match Expression::compile(source, &self.roots) {
            Ok(expression) => {
                report.count_patterns(expression.pattern_work(), self.file, node.span.clone());
                let offset = inner_offset(source);
                let locate = |span: Range<usize>| self.locate(node, span.start + offset..span.end + offset);
                let value = self.infer(&expression, purpose, locate, report)?;
                Some((expression, value))
            }
            Err(error) => {
                report.count_uncompiled(self.file, node.span.clone());
                self.report_compile_error(error, node, source, report);
                None
            }
        }
    }

    /// Compiles a field that holds a value, with or without `${{ … }}`.
    pub(super) fn template(&self, node: &Node, report: &mut Report) -> Option<Template> {
        self.template_for(node, None, report)
    }

    /// Compiles a field that holds a value, and checks the type of each `${{ … }}` against the consumer.
    pub(super) fn template_for(&self, node: &Node, taker: Option<&Taker>, report: &mut Report) -> Option<Template> {
        if node.is_poisoned() || report.is_over() {
            return None;
        }
        let mut count = |outcome: Result<&Expression, &CompileError>| {
            match outcome {
                Ok(expression) => report.count_patterns(expression.pattern_work(), self.file, node.span.clone()),
                Err(_) => report.count_uncompiled(self.file, node.span.clone()),
            }
            if report.is_over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        match Template::compile_observed(&node.to_value(), &self.roots, &mut count) {
            Ok(template) => {
                self.warn_bare_braces(node, report);
                let mut is_fine = true;
                for part in template.parts() {
                    let at = node.at(&part.pointer).unwrap_or(node);
                    let is_sole = part.sole_expression().is_some();
                    for piece in part.pieces {
                        let Piece::Expression { expression, offset } = piece else { continue };
                        if report.is_over() {
                            return None;
                        }
                        let locate = |span: Range<usize>| self.locate(at, span.start + offset..span.end + offset);
                        let value = self.infer(expression, Purpose::Value, locate, report);
                        is_fine &= value.is_some();
                        if let (true, Some(taker), Some(value)) = (is_sole, taker, value) {
                            let place = first_line(&at.span, self.file);
                            is_fine &= taker.check(&part.pointer, &value, place, self.file, report);
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
                    self.report_error(&error.message, error.hint, span, at, &source, report);
                }
                None
            }
        }
    }

    /// Warns of `{{ … }}` in the texts of a value: template languages compute it, but here it stays text.
    fn warn_bare_braces(&self, node: &Node, report: &mut Report) {
        match &node.content {
            Content::Text { value, .. } => {
                let opens = value.match_indices("{{").filter(|(at, _)| !value[..*at].ends_with(['$', '{']));
                for (at, _) in opens {
                    let Some(end) = value[at..].find("}}").map(|end| at + end + 2) else { continue };
                    let written = &value[at..end];
                    if self.is_meant_to_be_computed(&written[2..written.len() - 2]) {
                        let place = self.locate(node, at..end);
                        let message = format!("`{written}` is plain text and is not evaluated");
                        report.warning(Code::BracesWithoutDollar, self.file, place, message).hint(format!("write `${written}`"));
                    }
                }
            }
            Content::List(items) => items.iter().for_each(|item| self.warn_bare_braces(item, report)),
            Content::Map(entries) => entries.iter().for_each(|entry| self.warn_bare_braces(&entry.value, report)),
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Poisoned => {}
        }
    }

    /// Returns true if the text between braces is an available name, or a plain name with fields and filters.
    /// Go templates begin with a dot or a keyword and are left as they are.
    fn is_meant_to_be_computed(&self, inner: &str) -> bool {
        let inner = inner.trim_matches(|c: char| c == '-' || c.is_whitespace());
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = &inner[..inner.find(|c| !is_word(c)).unwrap_or(inner.len())];
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || WORDS_OF_GO.contains(&name) {
            return false;
        }
        let path = inner.split('|').next().unwrap_or_default().trim_end();
        self.roots.contains(name) || path.chars().all(|c| is_word(c) || c == '.')
    }

    /// Reports everything that is wrong with an expression. Returns the type of its value if it may be used.
    fn infer(
        &self,
        expression: &Expression,
        purpose: Purpose,
        locate: impl Fn(Range<usize>) -> Range<usize>,
        report: &mut Report,
    ) -> Option<ValueType> {
        let are_keys_fine = self.check_keys(expression, &locate, report);
        let are_headers_fine = self.check_headers(expression, &locate, report);
        let inferred = expression.infer(&self.known, purpose, &mut report.budget);
        let is_fine = report_findings(&inferred.findings, self.turn, locate, self.file, report);
        (is_fine && are_keys_fine && are_headers_fine).then_some(inferred.value)
    }

    /// Returns the place in the file of a span of a scalar's value.
    pub(super) fn locate(&self, node: &Node, span: Range<usize>) -> Range<usize> {
        match &node.content {
            Content::Text { value, style } => Offsets::align(value, self.file.slice(&node.span), *style, node.span.start).of(&span),
            Content::Bool(_) | Content::Number(_) => node.span.start + span.start..node.span.start + span.end,
            Content::Null | Content::List(_) | Content::Map(_) | Content::Poisoned => first_line(&node.span, self.file),
        }
    }

    fn report_compile_error(&self, error: CompileError, node: &Node, source: &str, report: &mut Report) {
        self.report_error(&error.message, error.hint, error.span, node, source, report);
    }

    fn report_error(&self, message: &str, hint: Option<String>, span: Range<usize>, node: &Node, source: &str, report: &mut Report) {
        let written = source.get(span.clone()).unwrap_or("");
        let root = written.split(['.', '[']).next().unwrap_or("");
        let place = self.locate(node, span);
        if root == "keys" && !self.roots.contains("keys") {
            return report_misplaced_key(self.keys, self.file, place, report);
        }
        let diagnostic = report.error(Code::ExpressionSyntax, self.file, place, message);
        diagnostic.hint = self.hint_elsewhere(root, message).or(hint);
    }

    /// Returns a hint where an unavailable name can be used.
    fn hint_elsewhere(&self, name: &str, message: &str) -> Option<String> {
        if message.starts_with("unknown name") {
            return ROOTS_ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == name).map(|(_, hint)| (*hint).to_owned());
        }
        let (_, ours) = STATUS_FUNCTIONS.iter().find(|(theirs, _)| *theirs == name && message.starts_with("unknown function"))?;
        Some(if self.roots.contains(ours) {
            format!("write `{ours}`")
        } else {
            format!("`{SUCCEEDED}`, `{FAILED}` and `{ALWAYS}` can be called only in the `if` of a step")
        })
    }

    /// Reports a header that no delivery can have for expressions: it is hidden, or its name is not in lower case.
    fn check_headers(&self, expression: &Expression, locate: &impl Fn(Range<usize>) -> Range<usize>, report: &mut Report) -> bool {
        let Headers::Delivery(scheme) = self.headers else { return true };
        if report.is_of_installed() {
            // An earlier release accepted it, and the header was as missing there.
            return true;
        }
        let mut is_fine = true;
        for NameRead { name, span } in expression.names_read("headers") {
            let Some(name) = name else { continue };
            let lower = name.to_ascii_lowercase();
            let message = if scheme.and_then(Scheme::token_header) == Some(&lower) {
                format!("no expression can read the header `{lower}`, because `verify` compares it")
            } else if CREDENTIAL_HEADERS.contains(&lower.as_str()) {
                format!("no expression can read the header `{lower}`, because it has credentials of the sender")
            } else if lower != name {
                format!("there is never a header `{name}`, because the names of headers are in lower case; write `{lower}`")
            } else {
                continue;
            };
            is_fine = false;
            report.error(Code::UnknownRead, self.file, locate(span), message);
        }
        is_fine
    }

    fn check_keys(&self, expression: &Expression, locate: &impl Fn(Range<usize>) -> Range<usize>, report: &mut Report) -> bool {
        if !self.roots.contains("keys") {
            return true;
        }
        let mut is_fine = true;
        for path in expression.reads().iter().filter(|path| path.segments[0] == "keys") {
            is_fine &= self.check_key(path, locate, report);
        }
        is_fine
    }

    fn check_key(&self, path: &Path, locate: &impl Fn(Range<usize>) -> Range<usize>, report: &mut Report) -> bool {
        let Keys::Of(listed) = self.keys else {
            report_misplaced_key(self.keys, self.file, locate(path.span.clone()), report);
            return false;
        };
        let Some(name) = path.segments.get(1) else {
            report
                .error(
                    Code::UnlistedKey,
                    self.file,
                    locate(path.span.clone()),
                    "the name of a key must be written out, so that it is known which keys are read",
                )
                .hint("write for example `keys[\"release.deploy_token\"]`");
            return false;
        };
        check_listed(name, listed, self.file, locate(path.span.clone()), report)
    }
}

/// Returns true if a key is listed, as far as is known; reports it if not.
pub(super) fn check_listed(name: &str, listed: ListedKeys<'_>, file: &SourceText, span: Range<usize>, report: &mut Report) -> bool {
    let Some(known) = listed.keys else { return true };
    if known.iter().any(|key| key.as_str() == name) {
        return true;
    }
    let of_other = listed.permissions.and_then(|permissions| {
        let key = name.parse::<KeyRef>().ok().filter(|key| key.pack() != *listed.pack)?;
        Some((permissions, key))
    });
    if of_other.as_ref().is_some_and(|(permissions, key)| allow_key(permissions, key)) {
        return true;
    }
    let near = nearest(name, known.iter().map(KeyRef::as_str));
    let diagnostic = report.error(Code::UnlistedKey, file, span, format!("the key `{name}` is not listed in `pack.yaml`"));
    diagnostic.did_you_mean(near);
    match name.strip_prefix(&format!("{}.", listed.pack)) {
        Some(_) if near.is_some() => {}
        Some(bare) => {
            diagnostic.hint(format!("list it:\nkeys: [{bare}]"));
        }
        None => {
            let hint = match of_other {
                Some((_, key)) => {
                    format!("to use a key of another pack, list it in `pack.yaml`:\npermissions:\n  - keys:use on pack={}", key.pack())
                }
                None => format!("use one of the pack's own keys: `{}.<name>`", listed.pack),
            };
            diagnostic.hint(hint);
        }
    }
    false
}

fn report_misplaced_key(keys: Keys<'_>, file: &SourceText, span: Range<usize>, report: &mut Report) {
    if let Keys::InUrl = keys {
        report
            .error(Code::KeyInUrl, file, span, "a URL that contains a key must be marked as a secret, so that it is never shown")
            .hint("write it as\nurl:\n  secret: true\n  value: https://example.test/hooks/${{ keys[\"chat.hook\"] }}");
        return;
    }
    report
        .error(Code::KeyOutOfPlace, file, span, "`keys` cannot be read here: values that are computed here are written to the log")
        .hint("read the key in an action's own `run`: in `input`, `files`, `env`, `headers`, `json` or `body`");
}

/// Returns where an expression begins in a text that may be `${{ … }}` as a whole.
fn inner_offset(source: &str) -> usize {
    let trimmed = source.trim();
    if trimmed.starts_with("${{") && trimmed.ends_with("}}") { source.len() - source.trim_start().len() + 3 } else { 0 }
}
