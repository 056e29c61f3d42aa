//! CEL and templates: parse, analyze, evaluate within a budget, explain.
//!
//! Read in this order:
//!
//! | module | holds |
//! |---|---|
//! | `json` | documents read in place: a tape of offsets over raw bytes |
//! | `value`, `compare` | the values that expressions compute with; equality and order |
//! | `lex`, `parse`, `ast` | source → tokens → tree, with names resolved and limits checked |
//! | `slips` | syntax of other languages, and its equivalent here |
//! | `evaluate`, `arithmetic`, `functions` | the tree's value in a scope; operators; every function by name |
//! | `budget`, `error` | what an evaluation may cost; how it can fail |
//! | `scope` | the names that an expression may use, and their values |
//! | `expression` | the compiled expression |
//! | `analyse`, `explain` | what an expression reads and demands; why it returned its value |
//! | `types`, `check` | the possible values of an expression; errors that do not depend on the input |
//! | `imply` | which conditions never hold, and which hold only if others do |
//! | `template` | JSON trees whose strings hold `${{ … }}` |
//! | `highlight` | the tokens of a source, for readers |
//! | `nearest` | what a misspelled name was probably meant to be |
//! | `bugs` | a deliberate bug, for the simulator only |
//!
//! Nothing here knows of a clock, randomness, files or the network: an expression's value is a function of
//! its source and its scope, the same on every machine and at every time.

#![allow(clippy::result_large_err, reason = "errors are boxed inside and unboxed once, at the public border")]

mod analyse;
mod arithmetic;
mod ast;
mod budget;
mod check;
mod compare;
mod error;
mod evaluate;
mod explain;
mod expression;
mod functions;
mod highlight;
mod implication;
mod json;
mod lex;
mod nearest;
mod parse;
pub mod planted_bug;
mod scope;
mod slips;
mod template;
mod types;
mod value;

pub use analyse::{Access, Astray, Check, Demand, Extent, KnownBindings, Literal, NameRead, Obstacle, Path, Reach, ReadType, Test};
pub use budget::{Budget, EVALUATION_BYTES_MAX, EVALUATION_STEPS_MAX};
pub use check::{CHECK_STEPS_MAX, CheckBudget, Finding, FindingKind, InferenceResult, Knowledge, Purpose, StopCheck};
pub use error::{CompileError, ErrorKind, EvaluationError};
pub use explain::{
    EXPLANATION_PARTS_MAX, EXPLANATION_STEPS_MAX, Element, Elements, Explanation, Flip, Outcome, Part, Reading, Route, Shape, Turn,
};
pub use expression::Expression;
pub use highlight::{TokenClass, expression_tokens, template_expressions};
pub use implication::{ComparableCondition, Condition, Partial};
pub use json::{Document, Entries, Items, JSON_BYTES_MAX, JSON_DEPTH_MAX, JsonError, Node, NodeKind, Number};
pub use nearest::nearest;
pub use parse::{SOURCE_BYTES_MAX, SOURCE_DEPTH_MAX};
pub use scope::{Roots, Scope};
pub use template::{Observe, Piece, Template, TemplateError, TemplateString};
pub use types::{FieldType, MapType, Occurrence, Others, TYPE_DEPTH_MAX, TYPE_SIZE_MAX, TYPE_TEXTS_MAX, ValueType};
pub use value::{DurationError, List, Map, RESULT_BYTES_MAX, RESULT_VALUES_MAX, Text, Type, VALUE_DEPTH_MAX, Value, parse_duration};
