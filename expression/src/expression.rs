//! The compiled expression: compiled once, and evaluated for any number of events.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::ast::Expr;
use crate::budget::Budget;
use crate::error::{CompileError, EvaluationError};
use crate::evaluate::Evaluation;
use crate::parse::{self, LiteralPatterns};
use crate::scope::{Roots, Scope};
use crate::slips;
use crate::value::Value;

/// A compiled expression. A clone shares it.
#[derive(Clone)]
pub struct Expression {
    compiled: Arc<CompiledExpression>,
}

struct CompiledExpression {
    source: String,
    tree: Expr,
    pattern_work: usize,
}

impl Expression {
    /// Compiles `source`, which may be wrapped in `${{ … }}` as a whole.
    ///
    /// # Errors
    /// A source that does not parse, a name that is not among `roots`, an unknown function, a literal pattern
    /// that is not valid, and a source over [`crate::SOURCE_BYTES_MAX`] or [`crate::SOURCE_DEPTH_MAX`] are
    /// errors, with their place in `source`.
    pub fn compile(source: &str, roots: &Roots) -> Result<Self, CompileError> {
        Self::read(source, roots, LiteralPatterns::Compiled)
    }

    /// Parses `source` as [`Expression::compile`] does, but does not compile its literal patterns, which is most of the
    /// work: for what it reads. An evaluation compiles them, and has the same value.
    ///
    /// # Errors
    /// As for [`Expression::compile`], but not for a pattern.
    pub fn parse(source: &str, roots: &Roots) -> Result<Self, CompileError> {
        Self::read(source, roots, LiteralPatterns::Left)
    }

    fn read(source: &str, roots: &Roots, patterns: LiteralPatterns) -> Result<Self, CompileError> {
        let inner = inner_range(source);
        let (tree, pattern_work) = parse::parse(&source[inner.clone()], roots, patterns).map_err(|mut error| {
            slips::explain(&source[inner.clone()], &mut error);
            error.span = error.span.start + inner.start..error.span.end + inner.start;
            *error
        })?;
        Ok(Self { compiled: Arc::new(CompiledExpression { source: source[inner].to_owned(), tree, pattern_work }) })
    }

    /// Returns the compiled text, without a `${{ … }}` around it. All spans are relative to it.
    pub fn source(&self) -> &str {
        &self.compiled.source
    }

    /// Returns how much work it was to compile its literal patterns, in bytes that were written for them. It depends on
    /// the patterns alone.
    pub fn pattern_work(&self) -> usize {
        self.compiled.pattern_work
    }

    /// Returns the expression's value.
    ///
    /// # Errors
    /// The error's span is the smallest part of [`Expression::source`] that failed.
    pub fn evaluate<'a>(&'a self, scope: &Scope<'a>, budget: &mut Budget) -> Result<Value<'a>, EvaluationError> {
        Evaluation::new(self.source(), scope, budget).value(self.tree()).map_err(|fault| *fault)
    }

    /// Returns true if the expression is true.
    ///
    /// # Errors
    /// A value that is neither true nor false is a type error.
    pub fn holds<'a>(&'a self, scope: &Scope<'a>, budget: &mut Budget) -> Result<bool, EvaluationError> {
        Evaluation::new(self.source(), scope, budget).truth(self.tree()).map_err(|fault| *fault)
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

/// Returns the part of `source` inside a `${{ … }}` around all of it, or all of `source`.
fn inner_range(source: &str) -> Range<usize> {
    let trimmed = source.trim();
    let start = source.len() - source.trim_start().len();
    match trimmed.strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")) {
        Some(inner) => start + 3..start + 3 + inner.len(),
        None => 0..source.len(),
    }
}
