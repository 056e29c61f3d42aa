//! The compiled expression: compile once, evaluate as often as there are events.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::analyse::{self, Demand, Known, Path};
use crate::ast::Expr;
use crate::budget::Budget;
use crate::error::{CompileError, EvaluationError};
use crate::evaluate::Evaluation;
use crate::explain::{self, Depth, EXPLANATION_STEPS_MAX, Explanation};
use crate::parse;
use crate::slips;
use crate::value::Value;

/// The names that an expression may use, declared before any value is known.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    names: Vec<String>,
    container: String,
}

impl Roots {
    /// Declares `names`. A dotted name (`a.b`) stands for itself, not for a field of `a`; one with brackets (`a()`) is written as a
    /// function without arguments, and its value is of the scope as any other's.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), container: String::new() }
    }

    /// The same names and one more.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// The same names, looked up from inside `container`: `x` in `a.b` is `a.b.x`, else `a.x`, else `x`. A name behind a leading dot is
    /// looked up as it stands.
    #[must_use]
    pub fn within(mut self, container: impl Into<String>) -> Self {
        self.container = container.into();
        self
    }

    /// Whether `name` is declared.
    pub fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// The names in the order of their declaration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether a dotted name may begin with `first` and a dot.
    pub(crate) fn has_dotted(&self, first: &str) -> bool {
        !self.container.is_empty() || self.names().any(|name| name.strip_prefix(first).is_some_and(|rest| rest.starts_with('.')))
    }

    /// The whole name that `name` stands for: the innermost of the container's that is `known`, or itself.
    pub(crate) fn resolve(&self, name: &str, at: LookUp, known: impl Fn(&str) -> bool) -> Option<Box<str>> {
        let mut container = match at {
            LookUp::Container => self.container.as_str(),
            LookUp::Top => "",
        };
        while !container.is_empty() {
            let whole = format!("{container}.{name}");
            if known(&whole) {
                return Some(whole.into());
            }
            container = container.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
        known(name).then(|| name.into())
    }

    pub(crate) fn sentence(&self) -> String {
        if self.names.is_empty() {
            return "no names are available here".to_owned();
        }
        let quoted: Vec<_> = self.names().map(|name| format!("`{name}`")).collect();
        format!("available names: {}", quoted.join(", "))
    }
}

/// Where a name is looked up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookUp {
    /// In the container, from the innermost outwards.
    Container,
    /// As it stands: it was written with a leading dot.
    Top,
}

/// The values of the names, for one evaluation.
#[derive(Clone, Debug, Default)]
pub struct Scope<'a> {
    values: Vec<(&'a str, Value<'a>)>,
}

impl<'a> Scope<'a> {
    /// A scope without names.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same scope with one more name; a later value hides an earlier one of the same name.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: impl Into<Value<'a>>) -> Self {
        self.set(name, value);
        self
    }

    /// Gives `name` a value; a later one hides an earlier one.
    pub fn set(&mut self, name: &'a str, value: impl Into<Value<'a>>) {
        self.values.push((name, value.into().settled()));
    }

    /// The same scope without a name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.values.retain(|(known, _)| *known != name);
        self
    }

    /// The value of a name.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.values.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

/// A compiled expression; a clone shares it.
#[derive(Clone)]
pub struct Expression {
    compiled: Arc<Compiled>,
}

struct Compiled {
    source: String,
    tree: Expr,
}

impl Expression {
    /// Compiles `source`, which may stand in `${{ … }}` as a whole.
    ///
    /// # Errors
    /// What does not parse, a name that is not among `roots`, an unknown function, a literal pattern that is not
    /// valid, and a source over [`crate::SOURCE_BYTES_MAX`] or [`crate::SOURCE_DEPTH_MAX`] are errors, with their
    /// place in `source`.
    pub fn compile(source: &str, roots: &Roots) -> Result<Self, CompileError> {
        let inner = unwrapped(source);
        let tree = parse::parse(&source[inner.clone()], roots).map_err(|mut error| {
            slips::explain(&source[inner.clone()], &mut error);
            error.span = error.span.start + inner.start..error.span.end + inner.start;
            *error
        })?;
        Ok(Self { compiled: Arc::new(Compiled { source: source[inner].to_owned(), tree }) })
    }

    /// The text that was compiled, without a `${{ … }}` around it; all spans count in it.
    pub fn source(&self) -> &str {
        &self.compiled.source
    }

    /// The expression's value.
    ///
    /// # Errors
    /// The error's span is the smallest part of [`Expression::source`] that erred.
    pub fn evaluate<'a>(&'a self, scope: &Scope<'a>, budget: &mut Budget) -> Result<Value<'a>, EvaluationError> {
        Evaluation::new(self.source(), scope, budget).value(self.tree()).map_err(|fault| *fault)
    }

    /// Whether the expression is true.
    ///
    /// # Errors
    /// A value that is neither true nor false is a type error.
    pub fn holds<'a>(&'a self, scope: &Scope<'a>, budget: &mut Budget) -> Result<bool, EvaluationError> {
        Evaluation::new(self.source(), scope, budget).truth(self.tree()).map_err(|fault| *fault)
    }

    /// The paths of fields that the expression reads, as far as they are written out, in the order of the source.
    pub fn reads(&self) -> Vec<Path> {
        analyse::reads(self.tree())
    }

    /// What must be so for the expression to be true or to err; where it is not so, the expression is false.
    pub fn demand(&self, known: &Known<'_>) -> Demand {
        analyse::demand_of(&analyse::claim_of(self, known))
    }

    /// Whether it reads `root` or a field below it.
    pub fn reads_root(&self, root: &str) -> bool {
        // Listing what it reads costs more than evaluating it, and most expressions do not even have the word.
        self.source().contains(root) && self.reads().iter().any(|path| path.segments.first().is_some_and(|first| first == root))
    }

    /// Evaluates the expression within `budget`, and then every part of it by itself, within [`EXPLANATION_STEPS_MAX`] steps
    /// together: tells what each gave, which of them decided, and what would flip it.
    pub fn explain<'a>(&'a self, scope: &Scope<'a>, budget: &mut Budget) -> Explanation {
        let mut steps_left = EXPLANATION_STEPS_MAX;
        explain::explain(self.source(), self.tree(), scope, budget, Depth::Everything, &mut steps_left)
    }

    /// Like [`Expression::explain`], for one expression of many: only the smallest parts of the condition are told, and all
    /// explanations draw their steps from `steps_left`.
    pub fn explain_conditions<'a>(&'a self, scope: &Scope<'a>, budget: &mut Budget, steps_left: &mut u64) -> Explanation {
        explain::explain(self.source(), self.tree(), scope, budget, Depth::Conditions, steps_left)
    }

    pub(crate) fn tree(&self) -> &Expr {
        &self.compiled.tree
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source()).finish()
    }
}

/// The part of `source` inside a `${{ … }}` that stands around all of it, or all of `source`.
fn unwrapped(source: &str) -> Range<usize> {
    let trimmed = source.trim();
    let start = source.len() - source.trim_start().len();
    match trimmed.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")) {
        Some(inner) => start + 3..start + 3 + inner.len(),
        None => 0..source.len(),
    }
}
