//! Explains why an expression returned its value: every part with its value, the parts that decided, and what
//! would flip the result.
//!
//! The parts of a condition are those between `&&`, `||`, `!` and `? :`. Below each are its own parts:
//! operands, receivers, arguments, and the elements that decided a macro. The evaluation determines how each
//! gets its value; this module only reports it.

mod explainer;
mod formula;
mod json;

use std::fmt;
use std::ops::Range;

use self::explainer::{Depth, explain};
use self::formula::{Formula, Truth, apply_turns};
use crate::budget::Budget;
use crate::error::EvaluationError;
use crate::expression::Expression;
use crate::scope::Scope;

/// The maximum number of steps that the parts of one expression may take in addition to the evaluation
/// itself.
pub const EXPLANATION_STEPS_MAX: u64 = 500_000;
/// The maximum number of parts in one explanation.
pub const EXPLANATION_PARTS_MAX: usize = 512;

impl Expression {
    /// Evaluates the expression within `budget`, and then every part of it by itself, within
    /// [`EXPLANATION_STEPS_MAX`] steps together. Reports the result of each part, which parts decided, and
    /// what would flip the result.
    pub fn explain<'a>(&'a self, scope: &Scope<'a>, budget: &mut Budget) -> Explanation {
        let mut steps_left = EXPLANATION_STEPS_MAX;
        explain(self.source(), self.tree(), scope, budget, Depth::Everything, &mut steps_left)
    }

    /// Like [`Expression::explain`], for one expression of many: reports only the smallest parts of the
    /// condition, and all explanations draw their steps from `steps_left`.
    pub fn explain_conditions<'a>(&'a self, scope: &Scope<'a>, budget: &mut Budget, steps_left: &mut u64) -> Explanation {
        explain(self.source(), self.tree(), scope, budget, Depth::Conditions, steps_left)
    }
}

/// The result of an expression, and the reasons.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Explanation {
    /// The whole expression, with its parts below it.
    pub root: Part,
}

/// A part of an expression with its outcome.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Part {
    /// The part as written, on one line, truncated if it is long.
    pub source: String,
    /// Where it is written, in bytes of the expression's source.
    pub span: Range<usize>,
    /// How the outcome comes from the parts below.
    pub shape: Shape,
    /// Its result.
    pub outcome: Outcome,
    /// Whether the evaluation reached it.
    pub route: Route,
    /// What it compared or examined, in a few words: `event.payload.action = "opened"`, `"acme" = "acme"`.
    pub note: Option<String>,
    /// The fields that it reads, with their values. Only for a smallest part of a condition.
    pub readings: Vec<Reading>,
    /// The parts below, in source order.
    pub parts: Vec<Part>,
    /// The elements that a macro iterated over. Only for `all`, `exists` and `exists_one`.
    pub elements: Option<Elements>,
}

/// How a part's outcome comes from its own parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// By itself: it is a smallest part of the condition, and the parts below are its operands.
    Whole,
    /// All of them must be true.
    All,
    /// One of them must be true.
    Any,
    /// The one part must be false.
    Not,
    /// The conditions, each with its branch, and the branch for the rest.
    Choice,
}

/// The result of a part.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// True or false.
    Truth(bool),
    /// Another value, in a few words.
    Value(String),
    /// An error.
    Erred(EvaluationError),
    /// It was not evaluated again, because that would have taken more than [`EXPLANATION_STEPS_MAX`].
    Unknown,
}

/// Whether the evaluation reached a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route {
    /// It did, or would have if a neighboring part had not decided before.
    Taken,
    /// The part is in a branch that was not taken. The outcome is the result that it would have had.
    NotTaken,
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

/// The elements that a macro iterated over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Elements {
    /// The number of elements.
    pub count: usize,
    /// Those that decided, or only the first few if each of many did.
    pub decided: Vec<Element>,
}

/// An element that decided a macro, or contributed to the decision.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Element {
    /// Its index in a list, or its key in a map.
    pub at: String,
    /// Its value in a few words.
    pub value: String,
    /// The result of the macro's body for it.
    pub part: Part,
}

/// A way to flip the truth of the expression.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Flip<'e> {
    /// The resulting truth.
    pub to: bool,
    /// The parts that would have to change: all of them, and no fewer would do.
    pub turns: Vec<Turn<'e>>,
    /// The parts that would decide together with these, and already have the right value.
    pub already: Vec<&'e Part>,
}

/// A part that would have to change.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Turn<'e> {
    /// The part.
    pub part: &'e Part,
    /// The value that it would need.
    pub to: bool,
}

impl Explanation {
    /// Returns the expression's result.
    pub fn outcome(&self) -> &Outcome {
        &self.root.outcome
    }

    /// Returns the fewest parts that decided: as long as they stay as they are, so does the outcome, whatever
    /// the other parts are or however they fail.
    pub fn decisive(&self) -> Vec<&Part> {
        let conditions = Conditions::of(&self.root);
        if !conditions.compose(&self.root) {
            // One part alone, or all together, took more steps than allowed, which the other parts could not
            // change.
            let spent: Vec<&Part> = conditions.leaves.into_iter().filter(|leaf| leaf.outcome.is_final()).collect();
            return if spent.is_empty() { vec![&self.root] } else { spent };
        }
        let decisive = conditions.formula.decisive(&conditions.truths);
        conditions.pick(&decisive)
    }

    /// Returns the smallest parts of the condition that did not decide.
    pub fn others(&self) -> Vec<&Part> {
        let decisive = self.decisive();
        let mut leaves = Conditions::of(&self.root).leaves;
        leaves.retain(|leaf| !decisive.iter().any(|part| std::ptr::eq(*part, *leaf)));
        leaves
    }

    /// Returns the ways to flip it, shortest first: to false if it is true; to true if it is false; to true,
    /// and then to false, if it is neither. There are none if the steps did not suffice.
    pub fn flips(&self) -> Vec<Flip<'_>> {
        let conditions = Conditions::of(&self.root);
        if !conditions.compose(&self.root) {
            return Vec::new();
        }
        let targets: &[bool] = match conditions.formula.truth(&conditions.truths) {
            Truth::True => &[false],
            Truth::False => &[true],
            Truth::Erred => &[true, false],
        };
        targets.iter().flat_map(|to| conditions.flips(*to)).collect()
    }

    /// Returns all smallest parts of the condition, one per line.
    pub fn lines(&self) -> Vec<String> {
        Conditions::of(&self.root).leaves.into_iter().map(ToString::to_string).collect()
    }

    /// Returns the explanation as JSON, for programs: `explanation` with every part, `decisive`, and `flips`.
    pub fn to_json(&self) -> serde_json::Value {
        json::explanation(self)
    }
}

impl Outcome {
    /// Returns true if it is an error that neither `&&` nor `||` absorbs.
    fn is_final(&self) -> bool {
        matches!(self, Self::Erred(error) if error.is_final())
    }

    fn truth(&self) -> Truth {
        match self {
            Self::Truth(truth) => Truth::of(*truth),
            Self::Value(_) | Self::Erred(_) | Self::Unknown => Truth::Erred,
        }
    }
}

/// A condition split into its smallest parts, and how they form the whole.
struct Conditions<'e> {
    formula: Formula,
    leaves: Vec<&'e Part>,
    truths: Vec<Truth>,
}

impl<'e> Conditions<'e> {
    fn of(root: &'e Part) -> Self {
        let mut leaves = Vec::new();
        let formula = formula_of(root, &mut leaves);
        let truths = leaves.iter().map(|leaf| leaf.outcome.truth()).collect();
        Self { formula, leaves, truths }
    }

    /// Returns true if the parts, each by itself, add up to the result of the whole. An error that nothing
    /// absorbs does not add up.
    fn compose(&self, root: &Part) -> bool {
        !root.outcome.is_final() && self.formula.truth(&self.truths) == root.outcome.truth()
    }

    fn flips(&self, to: bool) -> Vec<Flip<'e>> {
        let ways = self.formula.flips(&self.truths, to).into_iter().filter(|way| !way.is_empty());
        let flips = ways.map(|way| {
            let then = apply_turns(&self.truths, way.iter().copied());
            let mut already = self.formula.decisive(&then);
            already.retain(|leaf| !way.iter().any(|(turned, _)| turned == leaf));
            let turns = way.into_iter().map(|(leaf, to)| Turn { part: self.leaves[leaf], to }).collect();
            Flip { to, turns, already: self.pick(&already) }
        });
        flips.collect()
    }

    fn pick(&self, leaves: &[usize]) -> Vec<&'e Part> {
        let mut leaves = leaves.to_vec();
        leaves.sort_unstable();
        leaves.into_iter().map(|leaf| self.leaves[leaf]).collect()
    }
}

fn formula_of<'e>(part: &'e Part, leaves: &mut Vec<&'e Part>) -> Formula {
    let mut below = |part: &'e Part| formula_of(part, leaves);
    match (part.shape, part.parts.as_slice()) {
        (Shape::All, parts) => Formula::All(parts.iter().map(below).collect()),
        (Shape::Any, parts) => Formula::Any(parts.iter().map(below).collect()),
        (Shape::Not, [part]) => Formula::Not(Box::new(below(part))),
        (Shape::Choice, [branches @ .., otherwise]) => {
            let branches = branches.chunks_exact(2).map(|pair| (below(&pair[0]), below(&pair[1]))).collect();
            Formula::Choice(branches, Box::new(below(otherwise)))
        }
        (Shape::Whole | Shape::Not | Shape::Choice, _) => {
            leaves.push(part);
            Formula::Leaf(leaves.len() - 1)
        }
    }
}

/// One line: `event.payload.action == "closed"  → false   (event.payload.action = "opened")`.
impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  → {}", self.source, self.outcome)?;
        match &self.note {
            Some(note) => write!(f, "   ({note})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truth(truth) => write!(f, "{truth}"),
            Self::Value(value) => f.write_str(value),
            Self::Erred(error) => write!(f, "error: {error}"),
            Self::Unknown => f.write_str("not evaluated again: it takes too many steps"),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}
