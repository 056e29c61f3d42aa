//! Why an expression gave what it gave: every part with its value, and the parts that decided.
//!
//! Parts are what stands between `&&`, `||`, `!` and `? :`; inside a part nothing is taken apart, but the fields that it
//! reads are shown.

use std::fmt;
use std::ops::Range;

use crate::analyse::{self, Access};
use crate::ast::{Choose, Expr, Kind, Times};
use crate::budget::Budget;
use crate::error::{EvaluationError, Fault};
use crate::evaluate::Evaluation;
use crate::expression::Scope;
use crate::value::Value;

/// How deep parts hang below each other; what nests deeper is shown whole.
const PARTS_DEPTH_MAX: usize = 16;

/// What an expression gave, and why.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The whole expression; its parts hang below it.
    pub root: Part,
}

/// A part of an expression with its outcome.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Part {
    /// The part as it is written.
    pub source: String,
    /// Where it is written, in bytes of the expression's source.
    pub span: Range<usize>,
    /// How the outcome comes from the parts below.
    pub shape: Shape,
    /// What it gave.
    pub outcome: Outcome,
    /// The fields that it reads, with their values; only of a part that has no parts below.
    pub readings: Vec<Reading>,
    /// The parts below, in the order of the source.
    pub parts: Vec<Part>,
}

/// How a part's outcome comes from its own parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// By itself.
    Whole,
    /// All of them must be true.
    All,
    /// One of them must be true.
    Any,
    /// The one must be false.
    Not,
    /// The conditions and the branch that was taken.
    Choice,
}

/// What a part gave.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// True or false.
    Truth(bool),
    /// Another value, in a few words.
    Value(String),
    /// An error.
    Erred(EvaluationError),
    /// Not evaluated: a branch that was not taken.
    Skipped,
}

/// A field that a part reads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// The path, as `event.payload.action`.
    pub path: String,
    /// Its value in a few words, or `nothing`.
    pub value: String,
}

impl Explanation {
    /// What the expression gave.
    pub fn outcome(&self) -> &Outcome {
        &self.root.outcome
    }

    /// The smallest parts that decided: were each of them to turn, so would the whole.
    pub fn decisive(&self) -> Vec<&Part> {
        let mut parts = Vec::new();
        self.root.note_decisive(&mut parts);
        parts
    }

    /// The smallest parts that did not decide.
    pub fn others(&self) -> Vec<&Part> {
        let decisive: Vec<_> = self.decisive().into_iter().map(|part| part.span.clone()).collect();
        let mut leaves = Vec::new();
        self.root.note_leaves(&mut leaves);
        leaves.retain(|leaf| !decisive.contains(&leaf.span));
        leaves
    }

    /// All smallest parts, a line each.
    pub fn lines(&self) -> Vec<String> {
        let mut leaves = Vec::new();
        self.root.note_leaves(&mut leaves);
        leaves.into_iter().map(ToString::to_string).collect()
    }
}

impl Part {
    fn note_leaves<'p>(&'p self, leaves: &mut Vec<&'p Part>) {
        if self.parts.is_empty() {
            leaves.push(self);
        }
        for part in &self.parts {
            part.note_leaves(leaves);
        }
    }

    fn note_decisive<'p>(&'p self, decisive: &mut Vec<&'p Part>) {
        let decides = |part: &&Part| match (self.shape, &self.outcome, &part.outcome) {
            (Shape::All | Shape::Any, Outcome::Truth(whole), Outcome::Truth(part)) => whole == part,
            // An error of the whole comes from the parts that erred.
            (Shape::All | Shape::Any, Outcome::Erred(_), outcome) => matches!(outcome, Outcome::Erred(_)),
            (Shape::Not | Shape::Choice, _, outcome) => *outcome != Outcome::Skipped,
            _ => false,
        };
        let mut has_parts = false;
        for part in self.parts.iter().filter(decides) {
            has_parts = true;
            part.note_decisive(decisive);
        }
        if !has_parts {
            decisive.push(self);
        }
    }
}

/// One line: `event.payload.action == "closed"  → false   (event.payload.action = "opened")`.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source: Vec<_> = self.source.split_whitespace().collect();
        write!(f, "{}  → ", source.join(" "))?;
        match &self.outcome {
            Outcome::Truth(truth) => write!(f, "{truth}")?,
            Outcome::Value(value) => f.write_str(value)?,
            Outcome::Erred(error) => write!(f, "error: {error}")?,
            Outcome::Skipped => f.write_str("not evaluated")?,
        }
        if self.readings.is_empty() {
            return Ok(());
        }
        let readings: Vec<_> = self.readings.iter().map(|reading| format!("{} = {}", reading.path, reading.value)).collect();
        write!(f, "   ({})", readings.join(", "))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

/// Evaluates every part of the tree by itself.
pub(crate) fn explain<'a>(source: &str, tree: &'a Expr, scope: &Scope<'a>, budget: &mut Budget) -> Explanation {
    let mut explainer = Explainer { source, scope, budget, depth: 0 };
    Explanation { root: explainer.part(tree) }
}

struct Explainer<'s, 'a> {
    source: &'s str,
    scope: &'s Scope<'a>,
    budget: &'s mut Budget,
    /// The parts around the present one.
    depth: usize,
}

impl<'a> Explainer<'_, 'a> {
    fn part(&mut self, expr: &'a Expr) -> Part {
        if self.depth == PARTS_DEPTH_MAX {
            return self.leaf(expr);
        }
        self.depth += 1;
        let part = match &expr.kind {
            Kind::All(operands) => self.junction(expr, operands, Shape::All),
            Kind::Any(operands) => self.junction(expr, operands, Shape::Any),
            Kind::Not(operand, times) => self.negation(expr, operand, *times),
            Kind::Choose(choose) => self.choice(expr, choose),
            _ => self.leaf(expr),
        };
        self.depth -= 1;
        part
    }

    #[inline(never)]
    fn negation(&mut self, expr: &'a Expr, operand: &'a Expr, times: Times) -> Part {
        let inner = self.part(operand);
        let outcome = match &inner.outcome {
            Outcome::Truth(truth) => Outcome::Truth(truth ^ (times % 2 == 1)),
            Outcome::Value(_) => self.outcome(expr),
            other => other.clone(),
        };
        self.compound(expr, Shape::Not, outcome, vec![inner])
    }

    /// `? :`: the first condition that is true takes its branch, the first that errs ends it.
    #[inline(never)]
    fn choice(&mut self, expr: &'a Expr, choose: &'a Choose) -> Part {
        let mut parts = Vec::new();
        let mut outcome = None;
        for (condition, then) in &choose.branches {
            if outcome.is_some() {
                parts.extend([self.skipped(condition), self.skipped(then)]);
                continue;
            }
            let condition = self.condition(condition);
            let then = match &condition.outcome {
                Outcome::Truth(true) => self.part(then),
                _ => self.skipped(then),
            };
            outcome = match &condition.outcome {
                Outcome::Truth(true) => Some(then.outcome.clone()),
                Outcome::Truth(false) => None,
                other => Some(other.clone()),
            };
            parts.extend([condition, then]);
        }
        let otherwise = match outcome {
            None => self.part(&choose.otherwise),
            Some(_) => self.skipped(&choose.otherwise),
        };
        let outcome = outcome.unwrap_or_else(|| otherwise.outcome.clone());
        parts.push(otherwise);
        self.compound(expr, Shape::Choice, outcome, parts)
    }

    /// `&&` and `||`: the first part that decides wins over every error.
    #[inline(never)]
    fn junction(&mut self, expr: &'a Expr, operands: &'a [Expr], shape: Shape) -> Part {
        let parts: Vec<_> = operands.iter().map(|operand| self.condition(operand)).collect();
        let decisive = Outcome::Truth(shape == Shape::Any);
        let exhausted = parts.iter().map(|part| &part.outcome).find(|outcome| match outcome {
            Outcome::Erred(error) => error.is_final(),
            _ => false,
        });
        let erred = || parts.iter().map(|part| &part.outcome).find(|outcome| matches!(outcome, Outcome::Erred(_)));
        let decided = parts.iter().map(|part| &part.outcome).find(|outcome| **outcome == decisive);
        let outcome = exhausted.or(decided).or_else(erred).cloned().unwrap_or(Outcome::Truth(shape == Shape::All));
        self.compound(expr, shape, outcome, parts)
    }

    /// A part that must be true or false; any other value is the error that the evaluation would make of it.
    fn condition(&mut self, expr: &'a Expr) -> Part {
        let mut part = self.part(expr);
        if matches!(part.outcome, Outcome::Value(_))
            && let Err(fault) = self.evaluation().truth(expr)
        {
            part.outcome = Outcome::Erred(*fault);
        }
        part
    }

    #[inline(never)]
    fn leaf(&mut self, expr: &'a Expr) -> Part {
        let outcome = self.outcome(expr);
        let readings = self.readings(expr);
        Part { readings, ..self.compound(expr, Shape::Whole, outcome, Vec::new()) }
    }

    fn skipped(&mut self, expr: &'a Expr) -> Part {
        self.compound(expr, Shape::Whole, Outcome::Skipped, Vec::new())
    }

    fn compound(&self, expr: &'a Expr, shape: Shape, outcome: Outcome, parts: Vec<Part>) -> Part {
        let span = expr.span.range();
        Part { source: self.source[span.clone()].to_owned(), span, shape, outcome, readings: Vec::new(), parts }
    }

    fn outcome(&mut self, expr: &'a Expr) -> Outcome {
        match self.evaluation().value(expr) {
            Ok(Value::Bool(truth)) => Outcome::Truth(truth),
            Ok(value) => Outcome::Value(value.brief()),
            Err(fault) => Outcome::Erred(*fault),
        }
    }

    /// The values of the paths that the part reads, each once; a part that is itself a path says them already.
    fn readings(&mut self, expr: &'a Expr) -> Vec<Reading> {
        let mut readings: Vec<Reading> = Vec::new();
        for path in analyse::reads(expr) {
            if path.span == expr.span.range() && path.access == Access::Required {
                continue;
            }
            let text = path.segments.join(".");
            if readings.iter().any(|reading| reading.path == text) {
                continue;
            }
            let value = match self.read(&path.segments) {
                Ok(Some(value)) => value.brief(),
                Ok(None) => "nothing".to_owned(),
                Err(_) => continue,
            };
            readings.push(Reading { path: text, value });
        }
        readings
    }

    fn read(&mut self, segments: &[String]) -> Result<Option<Value<'a>>, Fault> {
        let Some((root, fields)) = segments.split_first() else {
            return Ok(None);
        };
        let mut value = self.scope.get(root).cloned();
        for field in fields {
            self.budget.charge(1)?;
            value = match value {
                Some(Value::Json(node)) => crate::compare::look_up(node, field, self.budget)?,
                Some(Value::Map(map)) => map.get_str(field).cloned(),
                _ => return Ok(None),
            };
        }
        Ok(value)
    }

    fn evaluation(&mut self) -> Evaluation<'_, 'a> {
        Evaluation::new(self.source, self.scope, self.budget)
    }
}
