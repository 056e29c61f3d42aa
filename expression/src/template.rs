//! Templates: JSON trees whose strings hold `${{ … }}`, compiled once and rendered once.
//!
//! The result of an expression is never parsed again, and keys of objects are never templates.

use std::ops::{ControlFlow, Range};

use serde_json::Value as Json;
use thiserror::Error;

use crate::analyse::Path;
use crate::budget::Budget;
use crate::error::{CompileError, ErrorKind, EvaluationError, fault};
use crate::expression::Expression;
use crate::json::{Document, JSON_DEPTH_MAX};
use crate::lex::{Lexer, Token};
use crate::scope::{Roots, Scope};
use crate::value::{Value, json_text, rounding_fault, scalar_text, short_enough};

pub(crate) const OPEN: &str = "${{";

/// An error in a template.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{pointer}: {message}")]
#[non_exhaustive]
pub struct TemplateError {
    /// The JSON pointer of the string.
    pub pointer: String,
    /// Where in that string, in bytes.
    pub span: Range<usize>,
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// What to write instead, if known.
    pub hint: Option<String>,
}

/// A compiled template.
#[derive(Clone, Debug)]
pub struct Template {
    root: Node,
}

#[derive(Clone, Debug)]
enum Node {
    /// A tree without any expression in it.
    Literal(Json),
    /// A string with at least one expression.
    String(Vec<Piece>),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

/// A part of a string.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// `${{ … }}`
    Expression {
        /// The expression between the braces.
        expression: Expression,
        /// Where it begins in the string, in bytes. The expression's own spans are relative to it.
        offset: usize,
    },
}

impl Piece {
    /// Returns true if it is an expression that reads the configuration and nothing else.
    pub fn is_setting(&self) -> bool {
        let Self::Expression { expression, .. } = self else { return false };
        let reads = expression.reads();
        !reads.is_empty() && reads.iter().all(|path| path.segments.first().is_some_and(|root| root == "config"))
    }
}

/// A string of a template.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TemplateString<'t> {
    /// Its JSON pointer.
    pub pointer: String,
    /// Its parts in order. A string without expressions is one text.
    pub pieces: Vec<&'t Piece>,
}

impl TemplateString<'_> {
    /// Returns the expression if the string is exactly one, and so keeps its type.
    pub fn sole_expression(&self) -> Option<&Expression> {
        match self.pieces.as_slice() {
            [Piece::Expression { expression, .. }] => Some(expression),
            _ => None,
        }
    }
}

impl Template {
    /// Compiles every `${{ … }}` in the strings of `value`.
    ///
    /// # Errors
    /// All errors of all strings.
    pub fn compile(value: &Json, roots: &Roots) -> Result<Self, Vec<TemplateError>> {
        Self::compile_observed(value, roots, &mut |_| ControlFlow::Continue(()))
    }

    /// Compiles as [`Template::compile`] does, and calls `observe` after each expression and each error, until it breaks.
    ///
    /// # Errors
    /// All errors of all strings. If `observe` breaks, the errors until then, perhaps none.
    pub fn compile_observed(value: &Json, roots: &Roots, observe: &mut Observe<'_>) -> Result<Self, Vec<TemplateError>> {
        Compiler::new(roots, Expression::compile, observe).template(value)
    }

    /// Parses every `${{ … }}` in the strings of `value`, as [`Expression::parse`] does.
    ///
    /// # Errors
    /// All errors of all strings.
    pub fn parse(value: &Json, roots: &Roots) -> Result<Self, Vec<TemplateError>> {
        Compiler::new(roots, Expression::parse, &mut |_| ControlFlow::Continue(())).template(value)
    }

    /// Returns the tree with every expression replaced by its value.
    ///
    /// A string that is exactly one `${{ … }}` becomes the value itself. In any other, the values are joined
    /// as text: strings as they are, everything else as compact JSON, including `null`.
    ///
    /// # Errors
    /// The first error. Its message names the string by its pointer, unless the template is one string.
    pub fn render<'a>(&'a self, scope: &Scope<'a>, budget: &mut Budget) -> Result<Json, EvaluationError> {
        Renderer { scope, budget, pointer: String::new() }.node(&self.root)
    }

    /// Returns the result of [`Template::render`] as a document. What an expression takes from another document
    /// keeps the text that it has there, and nothing is built in between: the usual `${{ body }}` costs a copy.
    ///
    /// # Errors
    /// As for [`Template::render`].
    pub fn render_document<'a>(&'a self, scope: &Scope<'a>, budget: &mut Budget) -> Result<Document, EvaluationError> {
        if let Node::String(pieces) = &self.root
            && let [Piece::Expression { expression, .. }] = pieces.as_slice()
        {
            return match exact(expression, scope, budget)? {
                Value::Json(node) => short_enough(node).map(|()| node.to_document()),
                other => other.to_json_text().map(Document::from_strict_json),
            };
        }
        let mut text = String::new();
        Renderer { scope, budget, pointer: String::new() }.write(&self.root, &mut text)?;
        // Its parts may nest deeper together than each of them alone. Nothing else can be wrong with it.
        Document::parse(text.into()).map_err(|error| *fault(ErrorKind::Budget, error.message))
    }

    /// Renders a template that is one string piece by piece: `interpolate` gets the result of each expression
    /// as text, and returns what goes into the string. Returns `None` for a template that is not one string.
    ///
    /// # Errors
    /// As for [`Template::render`]. A string that is exactly one expression is joined as text, too.
    pub fn render_text<'a>(
        &'a self,
        scope: &Scope<'a>,
        budget: &mut Budget,
        mut interpolate: impl FnMut(&str) -> String,
    ) -> Option<Result<String, EvaluationError>> {
        match &self.root {
            Node::Literal(Json::String(text)) => Some(Ok(text.clone())),
            Node::String(pieces) => Some(join_pieces(pieces, scope, budget, |text, out| out.push_str(&interpolate(text)))),
            Node::Literal(_) | Node::List(_) | Node::Object(_) => None,
        }
    }

    /// Returns true if no string contains an expression.
    pub fn is_literal(&self) -> bool {
        matches!(self.root, Node::Literal(_))
    }

    /// Returns the tree in a written form, with each expression as `${{ … }}`. Templates with equal written forms
    /// return equal values in equal scopes.
    pub fn to_source(&self) -> Json {
        node_source(&self.root)
    }

    /// Returns the paths that the expressions read. Spans are relative to each expression's own source.
    pub fn reads(&self) -> Vec<Path> {
        self.expressions().into_iter().flat_map(Expression::reads).collect()
    }

    /// Returns all expressions, in the order of the tree.
    pub fn expressions(&self) -> Vec<&Expression> {
        let strings = self.parts();
        let pieces = strings.into_iter().flat_map(|string| string.pieces);
        pieces
            .filter_map(|piece| match piece {
                Piece::Expression { expression, .. } => Some(expression),
                Piece::Text(_) => None,
            })
            .collect()
    }

    /// Returns all strings that contain an expression, with their parts, in the order of the tree.
    pub fn parts(&self) -> Vec<TemplateString<'_>> {
        let mut strings = Vec::new();
        note_strings(&self.root, &mut String::new(), &mut strings);
        strings
    }
}

fn node_source(node: &Node) -> Json {
    match node {
        Node::Literal(value) => value.clone(),
        Node::String(pieces) => pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.clone(),
                Piece::Expression { expression, .. } => format!("{OPEN}{}}}}}", expression.source()),
            })
            .collect::<String>()
            .into(),
        Node::List(items) => items.iter().map(node_source).collect(),
        Node::Object(entries) => entries.iter().map(|(key, value)| (key.clone(), node_source(value))).collect(),
    }
}

fn note_strings<'t>(node: &'t Node, pointer: &mut String, strings: &mut Vec<TemplateString<'t>>) {
    match node {
        Node::Literal(_) => {}
        Node::String(pieces) => {
            strings.push(TemplateString { pointer: pointer.clone(), pieces: pieces.iter().collect() });
        }
        Node::List(items) => {
            for (index, item) in items.iter().enumerate() {
                below(pointer, &index.to_string(), |pointer| note_strings(item, pointer, strings));
            }
        }
        Node::Object(entries) => {
            for (key, value) in entries {
                below(pointer, key, |pointer| note_strings(value, pointer, strings));
            }
        }
    }
}

/// Calls `act` with the JSON pointer extended by one part.
fn below<T>(pointer: &mut String, part: &str, act: impl FnOnce(&mut String) -> T) -> T {
    let outer = pointer.len();
    pointer.push('/');
    pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
    let result = act(pointer);
    pointer.truncate(outer);
    result
}

/// Gets each expression of a template that compiled, and each error. It breaks to end the compilation.
pub type Observe<'o> = dyn FnMut(Result<&Expression, &CompileError>) -> ControlFlow<()> + 'o;

struct Compiler<'r, 'o> {
    roots: &'r Roots,
    compile: fn(&str, &Roots) -> Result<Expression, CompileError>,
    observe: &'r mut Observe<'o>,
    /// Whether `observe` broke.
    progress: ControlFlow<()>,
    pointer: String,
    errors: Vec<TemplateError>,
}

impl<'r, 'o> Compiler<'r, 'o> {
    fn new(roots: &'r Roots, compile: fn(&str, &Roots) -> Result<Expression, CompileError>, observe: &'r mut Observe<'o>) -> Self {
        Self { roots, compile, observe, progress: ControlFlow::Continue(()), pointer: String::new(), errors: Vec::new() }
    }

    fn template(mut self, value: &Json) -> Result<Template, Vec<TemplateError>> {
        let root = self.node(value, 0);
        if self.errors.is_empty() && self.progress.is_continue() { Ok(Template { root }) } else { Err(self.errors) }
    }

    fn node(&mut self, value: &Json, depth: usize) -> Node {
        if self.progress.is_break() {
            return Node::Literal(Json::Null);
        }
        if depth > JSON_DEPTH_MAX {
            self.error(CompileError::new(format!("nested deeper than {JSON_DEPTH_MAX} levels"), 0..0));
            return Node::Literal(Json::Null);
        }
        match value {
            Json::String(text) => self.string(text),
            Json::Array(items) => {
                let mut nodes = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let outer = self.enter(&index.to_string());
                    nodes.push(self.node(item, depth + 1));
                    self.pointer.truncate(outer);
                }
                if nodes.iter().all(|node| matches!(node, Node::Literal(_))) {
                    return Node::Literal(nodes.into_iter().map(Node::into_literal).collect());
                }
                Node::List(nodes)
            }
            Json::Object(entries) => {
                let mut nodes = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let outer = self.enter(key);
                    if key.contains(OPEN) {
                        self.error(
                            CompileError::new("a key cannot contain `${{ }}`", 0..0)
                                .hint("make the whole object an expression: `${{ {name: value} }}`"),
                        );
                    }
                    nodes.push((key.clone(), self.node(value, depth + 1)));
                    self.pointer.truncate(outer);
                }
                if nodes.iter().all(|(_, node)| matches!(node, Node::Literal(_))) {
                    return Node::Literal(nodes.into_iter().map(|(key, node)| (key, node.into_literal())).collect());
                }
                Node::Object(nodes)
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => Node::Literal(value.clone()),
        }
    }

    fn string(&mut self, text: &str) -> Node {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut at = 0;
        while let Some(found) = text[at..].find(OPEN) {
            let open = at + found;
            if text[..open].ends_with('$') {
                // `$${{` means a literal `${{`: drop one dollar.
                plain.push_str(&text[at..open]);
                plain.push_str(&OPEN[1..]);
                at = open + OPEN.len();
                continue;
            }
            plain.push_str(&text[at..open]);
            let start = open + OPEN.len();
            let end = match closing(text, start) {
                Ok(end) => end,
                Err(error) => {
                    self.error(error);
                    return Node::Literal(Json::Null);
                }
            };
            match (self.compile)(&text[start..end], self.roots) {
                Ok(expression) => {
                    self.observe(Ok(&expression));
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(Piece::Expression { expression, offset: start });
                }
                Err(mut error) => {
                    error.span = error.span.start + start..error.span.end + start;
                    self.error(Box::new(error));
                }
            }
            if self.progress.is_break() {
                return Node::Literal(Json::Null);
            }
            at = end + 2;
        }
        plain.push_str(&text[at..]);
        if pieces.is_empty() {
            return Node::Literal(Json::String(plain));
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Node::String(pieces)
    }

    fn observe(&mut self, outcome: Result<&Expression, &CompileError>) {
        if self.progress.is_continue() {
            self.progress = (self.observe)(outcome);
        }
    }

    fn enter(&mut self, part: &str) -> usize {
        let outer = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
        outer
    }

    #[allow(clippy::boxed_local, reason = "compile errors travel boxed")]
    fn error(&mut self, error: Box<CompileError>) {
        self.observe(Err(&error));
        self.errors.push(TemplateError { pointer: self.pointer.clone(), span: error.span, message: error.message, hint: error.hint });
    }
}

impl Node {
    fn into_literal(self) -> Json {
        match self {
            Self::Literal(value) => value,
            Self::String(_) | Self::List(_) | Self::Object(_) => Json::Null,
        }
    }
}

/// Returns the position of the `}}` that closes the expression beginning at `start`.
///
/// Braces of maps are counted and those in strings are not, so `${{ {"a": {"b": 1}} }}` is one expression.
pub(crate) fn closing(text: &str, start: usize) -> Result<usize, Box<CompileError>> {
    let mut lexer = Lexer::new(text, start);
    let mut open = 0_u32;
    loop {
        let (token, span) = lexer.next()?;
        let at = span.start as usize;
        match token {
            Token::Mark("{") => open += 1,
            Token::Mark("}") if open > 0 => open -= 1,
            Token::Mark("}") if text[at..].starts_with("}}") => return Ok(at),
            Token::Mark("}") => {
                return Err(CompileError::new("unmatched `}`", span.range()).hint("end an expression with `}}`"));
            }
            Token::End => {
                return Err(CompileError::new("`${{` is not closed", start - OPEN.len()..start)
                    .hint("end it with `}}`, or write `$${{` for a literal `${{`"));
            }
            _ => {}
        }
    }
}

struct Renderer<'s, 'a> {
    scope: &'s Scope<'a>,
    budget: &'s mut Budget,
    pointer: String,
}

impl<'a> Renderer<'_, 'a> {
    fn node(&mut self, node: &'a Node) -> Result<Json, EvaluationError> {
        match node {
            Node::Literal(value) => Ok(value.clone()),
            Node::String(pieces) => self.string(pieces).map_err(|error| self.with_pointer(error)),
            Node::List(items) => {
                let mut rendered = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    rendered.push(self.below(&index.to_string(), |renderer| renderer.node(item))?);
                }
                Ok(Json::Array(rendered))
            }
            Node::Object(entries) => {
                let mut rendered = serde_json::Map::new();
                for (key, value) in entries {
                    rendered.insert(key.clone(), self.below(key, |renderer| renderer.node(value))?);
                }
                Ok(Json::Object(rendered))
            }
        }
    }

    /// Writes the JSON text of what [`Renderer::node`] returns.
    fn write(&mut self, node: &'a Node, out: &mut String) -> Result<(), EvaluationError> {
        match node {
            Node::Literal(value) => out.push_str(&value.to_string()),
            Node::String(pieces) => self.write_string(pieces, out).map_err(|error| self.with_pointer(error))?,
            Node::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    separate(index, out);
                    self.below(&index.to_string(), |renderer| renderer.write(item, out))?;
                }
                out.push(']');
            }
            // The entries are in the order of their keys.
            Node::Object(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    separate(index, out);
                    out.push_str(&Json::from(key.as_str()).to_string());
                    out.push(':');
                    self.below(key, |renderer| renderer.write(value, out))?;
                }
                out.push('}');
            }
        }
        Ok(())
    }

    fn write_string(&mut self, pieces: &'a [Piece], out: &mut String) -> Result<(), EvaluationError> {
        if let [Piece::Expression { expression, .. }] = pieces {
            match exact(expression, self.scope, self.budget)? {
                Value::Json(node) => {
                    short_enough(node)?;
                    out.push_str(node.raw());
                }
                other => out.push_str(&other.to_json_text()?),
            }
        } else {
            let text = join_pieces(pieces, self.scope, self.budget, |text, out| out.push_str(text))?;
            out.push_str(&Json::from(text).to_string());
        }
        Ok(())
    }

    /// Calls `act` with the pointer extended by one part.
    fn below<T>(&mut self, part: &str, act: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.pointer.len();
        self.pointer.push('/');
        self.pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
        let outcome = act(self);
        self.pointer.truncate(outer);
        outcome
    }

    fn string(&mut self, pieces: &'a [Piece]) -> Result<Json, EvaluationError> {
        if let [Piece::Expression { expression, .. }] = pieces {
            return exact(expression, self.scope, self.budget)?.to_json();
        }
        join_pieces(pieces, self.scope, self.budget, |text, out| out.push_str(text)).map(Json::String)
    }

    fn with_pointer(&self, mut error: EvaluationError) -> EvaluationError {
        if !self.pointer.is_empty() {
            error.message = format!("{}: {}", self.pointer, error.message);
        }
        error
    }
}

fn separate(index: usize, out: &mut String) {
    if index > 0 {
        out.push(',');
    }
}

/// Evaluates an expression whose value is used elsewhere: whole numbers that it reads must not be rounded.
fn exact<'a>(expression: &'a Expression, scope: &Scope<'a>, budget: &mut Budget) -> Result<Value<'a>, EvaluationError> {
    budget.take_rounded();
    let value = expression.evaluate(scope, budget)?;
    value.charge_whole(budget).map_err(|fault| *fault)?;
    if budget.take_rounded() { Err(*rounding_fault()) } else { Ok(value) }
}

fn join_pieces<'a>(
    pieces: &'a [Piece],
    scope: &Scope<'a>,
    budget: &mut Budget,
    mut interpolate: impl FnMut(&str, &mut String),
) -> Result<String, EvaluationError> {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Expression { expression, .. } => {
                let value = exact(expression, scope, budget)?;
                interpolate(&text_of(&value)?, &mut out);
            }
        }
    }
    Ok(out)
}

/// Returns a value as part of a text.
fn text_of(value: &Value<'_>) -> Result<String, EvaluationError> {
    match value {
        Value::Optional(Some(value)) => text_of(value),
        Value::Bytes(_) => Err(*fault(ErrorKind::Type, "bytes cannot be joined with text").hint("write `base64.encode(…)` or `string(…)`")),
        other => match scalar_text(other) {
            Some(text) => Ok(text),
            None => json_text(other).map_err(|fault| *fault),
        },
    }
}
