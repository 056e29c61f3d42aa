//! The two ways in which an expression can fail: it does not compile, or its evaluation ends in an error.
//!
//! How errors are shown to people (file, caret, exit code) is not decided here.

use std::fmt;
use std::ops::Range;

use thiserror::Error;

/// Why a source text is not a valid expression.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
#[non_exhaustive]
pub struct CompileError {
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// Where, in bytes of the source.
    pub span: Range<usize>,
    /// What to write instead, if known.
    pub hint: Option<String>,
}

impl CompileError {
    pub(crate) fn new(message: impl Into<String>, span: Range<usize>) -> Box<Self> {
        Box::new(Self { message: message.into(), span, hint: None })
    }

    pub(crate) fn hint(mut self: Box<Self>, hint: impl Into<String>) -> Box<Self> {
        self.hint = Some(hint.into());
        self
    }
}

/// The kind of error that ended an evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A field, key or element that does not exist, or a declared name without a value.
    Missing,
    /// An operation on a value of a type that it does not accept.
    Type,
    /// A number, duration or timestamp out of its range.
    Overflow,
    /// Division or remainder by zero.
    DivisionByZero,
    /// A value of the right type that is not valid, such as text that is not a timestamp, or a pattern that
    /// does not parse.
    Invalid,
    /// The evaluation exceeded one of its limits. Never absorbed by `&&`, `||` or a macro.
    Budget,
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Type => "type",
            Self::Overflow => "overflow",
            Self::DivisionByZero => "division by zero",
            Self::Invalid => "invalid",
            Self::Budget => "budget",
        })
    }
}

/// Why an evaluation returned no value.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{message}")]
#[non_exhaustive]
pub struct EvaluationError {
    /// The kind of error.
    pub kind: ErrorKind,
    /// What is wrong, as a lower-case fragment that names the value.
    pub message: String,
    /// The part of the source that failed, in bytes, or `0..0` if there is no source.
    pub span: Range<usize>,
    /// What to write instead, if known.
    pub hint: Option<String>,
}

/// The boxed form inside the evaluator, which keeps results small on the stack.
pub(crate) type Fault = Box<EvaluationError>;

pub(crate) fn fault(kind: ErrorKind, message: impl Into<String>) -> Fault {
    Box::new(EvaluationError { kind, message: message.into(), span: 0..0, hint: None })
}

impl EvaluationError {
    /// Sets the place, unless a more exact one is already known.
    pub(crate) fn at(mut self: Box<Self>, span: Range<usize>) -> Box<Self> {
        if self.span == (0..0) {
            self.span = span;
        }
        self
    }

    pub(crate) fn hint(mut self: Box<Self>, hint: impl Into<String>) -> Box<Self> {
        self.hint = Some(hint.into());
        self
    }

    /// Returns true if `&&`, `||` and the macros must pass it on.
    pub(crate) fn is_final(&self) -> bool {
        self.kind == ErrorKind::Budget
    }
}
