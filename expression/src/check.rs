//! Checks an expression before it is evaluated: determines which values it can have, and what is wrong with
//! it for every input.
//!
//! Every part gets the set of its possible values. A part that has operands and no possible value always
//! fails. A condition that can only be true, or only be false, tests nothing. Where nothing is known, nothing
//! is reported.

mod assume;
mod budget;
mod calls;
mod chains;
mod facts;
mod infer;
mod messages;
mod missing;
mod operators;
mod turns;

use std::ops::Range;

use crate::ast::{Expr, Span};
use crate::budget::Budget;
use crate::expression::Expression;
use crate::scope::Roots;
use crate::types::ValueType;
use facts::{Facts, Weight};
use missing::Suspect;

pub use budget::{CHECK_STEPS_MAX, CheckBudget, StopCheck};

/// The number of types within joined types for one step.
const TYPES_PER_STEP: u32 = 8;
/// The maximum number of evaluation steps for the parts whose value is known.
const FOLDING_STEPS_MAX: u64 = 20_000;
/// The maximum number of possibly missing fields that are examined.
const SUSPECTS_MAX: usize = 16;

/// What is known about the names that an expression reads.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    names: Vec<(String, ValueType)>,
    facts: Facts,
}

/// What an expression is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It returns a value.
    Value,
    /// It is true or false.
    Condition,
}

/// What is known about an expression.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InferenceResult {
    /// The values that it can have.
    pub value: ValueType,
    /// The problems, in source order.
    pub findings: Vec<Finding>,
}

/// A problem of an expression that does not depend on the input.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The kind of error.
    pub kind: FindingKind,
    /// Where, in bytes of the expression's source.
    pub span: Range<usize>,
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// What to write instead, if known.
    pub hint: Option<String>,
}

/// The kind of error that a finding reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// It reads a field that does not exist.
    UnknownField,
    /// It reads a field that may be there, and is probably misspelled.
    UnlikelyField,
    /// An operation on values of types that it does not accept.
    Unfit,
    /// A comparison of values that are never equal.
    Impossible,
    /// A condition that is neither true nor false.
    NotBoolean,
    /// An operation on values of the right types that nevertheless fails.
    Erring,
    /// A condition that is always true.
    AlwaysTrue,
    /// A condition that is always false.
    AlwaysFalse,
    /// A field may be missing, in which case the whole expression fails.
    MayBeMissing,
}

impl FindingKind {
    /// Returns true if it is wrong for every event. Otherwise it is wrong for some events, or harmless.
    pub fn is_never_right(self) -> bool {
        match self {
            Self::UnknownField | Self::Unfit | Self::Impossible | Self::NotBoolean | Self::Erring => true,
            Self::UnlikelyField | Self::AlwaysTrue | Self::AlwaysFalse | Self::MayBeMissing => false,
        }
    }
}

impl Knowledge {
    /// Returns knowledge without names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a name. A later one hides an earlier one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: ValueType) -> Self {
        self.names.push((name.into(), value));
        self
    }

    /// Assumes that a condition is true.
    #[must_use]
    pub fn assuming(mut self, condition: &Expression) -> Self {
        let mut checker = Checker::new(condition.source(), &self);
        checker.assume(condition.tree(), Truth::True, Weight::Firm);
        self.facts = checker.facts;
        self
    }

    /// Returns the names.
    pub fn roots(&self) -> Roots {
        Roots::new(self.names.iter().map(|(name, _)| name.as_str()))
    }

    fn find(&self, name: &str) -> Option<&ValueType> {
        self.names.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

impl Expression {
    /// Determines the possible values, and the problems that do not depend on the input. Each error is
    /// reported once. Parts that the budget is not enough for can be anything.
    pub fn infer(&self, known: &Knowledge, purpose: Purpose, budget: &mut CheckBudget) -> InferenceResult {
        let tree = self.tree();
        let steps_max = budget.steps_of_one();
        let mut checker = Checker { findings: Some(Vec::new()), steps_max, ..Checker::new(self.source(), known) };
        let value = checker.whole(tree, purpose);
        if !value.is_nothing() {
            checker.report_suspects(tree, purpose);
        }
        budget.spend(checker.steps);
        let mut findings = checker.findings.unwrap_or_default();
        findings.sort_by_key(|finding| (finding.span.start, finding.span.end));
        InferenceResult { value, findings }
    }
}

/// An assumed truth.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Truth {
    True,
    False,
}

impl Truth {
    fn negate(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
        }
    }
}

/// What is known about one part.
struct InferredPart {
    value: ValueType,
    reads: Reads,
}

/// What a part depends on besides its own text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reads {
    /// Nothing: it can be evaluated in advance.
    Nothing,
    /// Variables of macros only.
    Locals,
    /// Names of the scope.
    Names,
}

/// One walk over an expression.
struct Checker<'c> {
    source: &'c str,
    known: &'c Knowledge,
    facts: Facts,
    /// The variables of the macros around the current part, outermost first.
    locals: Vec<ValueType>,
    /// The problems found, or none while nothing is to be reported.
    findings: Option<Vec<Finding>>,
    suspects: Vec<Suspect>,
    /// How often a fact came from a neighboring operand, and where that operand was last.
    borrowed: (u32, Option<Span>),
    steps: u32,
    /// Parts beyond this number of steps can be anything.
    steps_max: u32,
    budget: Budget,
}

impl<'c> Checker<'c> {
    fn new(source: &'c str, known: &'c Knowledge) -> Self {
        Self {
            source,
            known,
            facts: known.facts.clone(),
            locals: Vec::new(),
            findings: None,
            suspects: Vec::new(),
            borrowed: (0, None),
            steps: 0,
            steps_max: CHECK_STEPS_MAX,
            budget: Budget::steps(FOLDING_STEPS_MAX),
        }
    }

    fn whole(&mut self, tree: &'c Expr, purpose: Purpose) -> ValueType {
        match purpose {
            Purpose::Value => self.value(tree).value,
            Purpose::Condition => {
                let truths = self.condition(tree).0;
                ValueType::truths(truths)
            }
        }
    }

    /// Returns what can be one or the other. Joining large types takes steps; if there are none left, it can be anything.
    fn join(&mut self, one: ValueType, other: ValueType) -> ValueType {
        if one.is_nothing() {
            return other;
        }
        if other.is_nothing() {
            return one;
        }
        self.steps = self.steps.saturating_add((one.size() + other.size()) / TYPES_PER_STEP);
        if self.steps > self.steps_max { ValueType::anything() } else { one.or(other) }
    }

    fn report(&mut self, kind: FindingKind, span: Span, message: impl Into<String>, hint: Option<String>) {
        if let Some(findings) = &mut self.findings {
            findings.push(Finding { kind, span: span.range(), message: message.into(), hint });
        }
    }

    /// Returns the number of findings.
    fn count_of_findings(&self) -> usize {
        self.findings.as_ref().map_or(0, Vec::len)
    }

    fn text(&self, span: Span) -> &'c str {
        &self.source[span.range()]
    }
}
