//! Why an expression gave what it gave: every part with its value, the parts that decided, and what would flip it.
//!
//! The parts of a condition are what stands between `&&`, `||`, `!` and `? :`; below each stand its own parts: operands, receivers,
//! arguments, and the elements that decided a macro. How each came to its value is the evaluation's; here it is only told.

mod explainer;
mod formula;
mod json;

use std::fmt;
use std::ops::Range;

use self::explainer::{Depth, explain};
use self::formula::{Formula, Truth, turned};
use crate::budget::Budget;
use crate::error::EvaluationError;
use crate::expression::Expression;
use crate::scope::Scope;

/// The most steps that the parts of one expression may take beside the evaluation itself.
pub const EXPLANATION_STEPS_MAX: u64 = 500_000;
/// The most parts that one explanation has.
pub const EXPLANATION_PARTS_MAX: usize = 512;

impl Expression {
    /// Evaluates the expression within `budget`, and then every part of it by itself, within [`EXPLANATION_STEPS_MAX`] steps
    /// together: tells what each gave, which of them decided, and what would flip it.
    pub fn explain<'a>(&'a self, scope: &Scope<'a>, budget: &mut Budget) -> Explanation {
        let mut steps_left = EXPLANATION_STEPS_MAX;
        explain(self.source(), self.tree(), scope, budget, Depth::Everything, &mut steps_left)
    }

    /// Like [`Expression::explain`], for one expression of many: only the smallest parts of the condition are told, and all
    /// explanations draw their steps from `steps_left`.
    pub fn explain_conditions<'a>(&'a self, scope: &Scope<'a>, budget: &mut Budget, steps_left: &mut u64) -> Explanation {
        explain(self.source(), self.tree(), scope, budget, Depth::Conditions, steps_left)
    }
}

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
    /// The part as it is written, on one line, and cut where it is long.
    pub source: String,
    /// Where it is written, in bytes of the expression's source.
    pub span: Range<usize>,
    /// How the outcome comes from the parts below.
    pub shape: Shape,
    /// What it gave.
    pub outcome: Outcome,
    /// Whether the evaluation came to it.
    pub route: Route,
    /// What it compared or looked at, in a few words: `event.payload.action = "opened"`, `"acme" = "acme"`.
    pub note: Option<String>,
    /// The fields that it reads, with their values; only of a smallest part of a condition.
    pub readings: Vec<Reading>,
    /// The parts below, in the order of the source.
    pub parts: Vec<Part>,
    /// The elements that a macro went over; only of `all`, `exists` and `exists_one`.
    pub elements: Option<Elements>,
}

/// How a part's outcome comes from its own parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shape {
    /// By itself: it is a smallest part of the condition, and what stands below are its operands.
    Whole,
    /// All of them must be true.
    All,
    /// One of them must be true.
    Any,
    /// The one must be false.
    Not,
    /// The conditions, each with its branch, and what stands for the rest.
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
    /// It was not worked out again: that would have taken more than [`EXPLANATION_STEPS_MAX`].
    Unknown,
}

/// Whether the evaluation came to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Route {
    /// It did, or would have if a part beside it had not decided before.
    Taken,
    /// It stands in a branch that was not taken; the outcome is what it would have given.
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

/// The elements that a macro went over.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Elements {
    /// How many there are.
    pub count: usize,
    /// Those that decided, the first few where each of many did.
    pub decided: Vec<Element>,
}

/// An element that decided a macro, or helped to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Element {
    /// Its index in a list, its key in a map.
    pub at: String,
    /// Its value in a few words.
    pub value: String,
    /// What the macro's body gave for it.
    pub part: Part,
}

/// A way to give the expression another truth.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Flip<'e> {
    /// The truth that it would have then.
    pub to: bool,
    /// The parts that would have to turn: all of them, and no fewer would do.
    pub turns: Vec<Turn<'e>>,
    /// The parts that would decide beside these, and are already as they must be.
    pub already: Vec<&'e Part>,
}

/// A part that would have to turn.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Turn<'e> {
    /// The part.
    pub part: &'e Part,
    /// What it would have to be.
    pub to: bool,
}

impl Explanation {
    /// What the expression gave.
    pub fn outcome(&self) -> &Outcome {
        &self.root.outcome
    }

    /// The fewest parts that decided: as long as they stay as they are, so does the outcome, whatever the other parts are or
    /// however they err.
    pub fn decisive(&self) -> Vec<&Part> {
        let conditions = Conditions::of(&self.root);
        if !conditions.compose(&self.root) {
            // One part alone, or all together, took more steps than there are: that is nothing which the others could change.
            let spent: Vec<&Part> = conditions.leaves.into_iter().filter(|leaf| leaf.outcome.is_final()).collect();
            return if spent.is_empty() { vec![&self.root] } else { spent };
        }
        let decisive = conditions.formula.decisive(&conditions.truths);
        conditions.pick(&decisive)
    }

    /// The smallest parts of the condition that did not decide.
    pub fn others(&self) -> Vec<&Part> {
        let decisive = self.decisive();
        let mut leaves = Conditions::of(&self.root).leaves;
        leaves.retain(|leaf| !decisive.iter().any(|part| std::ptr::eq(*part, *leaf)));
        leaves
    }

    /// The ways to flip it, the shortest first: to false what is true, to true what is false; to true, and then to false, what
    /// is neither. There is none where the steps did not suffice.
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

    /// All smallest parts of the condition, a line each.
    pub fn lines(&self) -> Vec<String> {
        Conditions::of(&self.root).leaves.into_iter().map(ToString::to_string).collect()
    }

    /// The explanation as JSON, for programs: `explanation` with every part, `decisive`, and `flips`.
    pub fn to_json(&self) -> serde_json::Value {
        json::explanation(self)
    }
}

impl Outcome {
    /// Whether it is an error that neither `&&` nor `||` absorbs.
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

/// A condition taken apart: its smallest parts, and how they make the whole.
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

    /// Whether the parts, each by itself, make what the whole gave. An error that nothing absorbs makes more of the whole.
    fn compose(&self, root: &Part) -> bool {
        !root.outcome.is_final() && self.formula.truth(&self.truths) == root.outcome.truth()
    }

    fn flips(&self, to: bool) -> Vec<Flip<'e>> {
        let ways = self.formula.flips(&self.truths, to).into_iter().filter(|way| !way.is_empty());
        let flips = ways.map(|way| {
            let then = turned(&self.truths, way.iter().copied());
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
