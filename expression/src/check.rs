//! Checking an expression before it is evaluated: what its value can be, and what is wrong with it whatever comes.
//!
//! Every part is given the set of values that it can have. A part that has operands and no value always errs; a condition
//! that can only be true, or only be false, does not ask anything. Nothing is said of what is not known.

mod assume;
mod calls;
mod chains;
mod facts;
mod infer;
mod missing;
mod operators;
mod turns;
mod words;

use std::ops::Range;

use crate::ast::{Expr, Span};
use crate::budget::Budget;
use crate::expression::Expression;
use crate::scope::Roots;
use crate::types::ValueType;
use facts::{Facts, Weight};
use missing::Suspect;

/// How many parts of an expression are looked at, again and again ones counted; what is beyond can be anything.
pub const CHECK_STEPS_MAX: u32 = 100_000;
/// How many steps of evaluation the parts take whose value is known.
const FOLDING_STEPS_MAX: u64 = 20_000;
/// How many fields that may be missing are looked into.
const SUSPECTS_MAX: usize = 16;

/// What is known of the names that an expression reads.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    names: Vec<(String, ValueType)>,
    facts: Facts,
}

/// What an expression is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It gives a value.
    Value,
    /// It is true or false.
    Condition,
}

/// What is known of an expression.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Inferred {
    /// What its value can be.
    pub value: ValueType,
    /// What is wrong with it, in the order of the source.
    pub findings: Vec<Finding>,
}

/// Something that is wrong with an expression, whatever comes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What sort of mistake it is.
    pub kind: FindingKind,
    /// Where, in bytes of the expression's source.
    pub span: Range<usize>,
    /// What is wrong, as a lower-case fragment.
    pub message: String,
    /// What to write instead, if that is known.
    pub hint: Option<String>,
}

/// What sort of mistake a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FindingKind {
    /// It reads a field that is not there.
    UnknownField,
    /// It reads a field that may be there, and is probably misspelt.
    UnlikelyField,
    /// An operation on values that it does not take.
    Unfit,
    /// A comparison of values that are never equal.
    Impossible,
    /// A condition that is neither true nor false.
    NotBoolean,
    /// An operation on values of the right types that errs all the same.
    Erring,
    /// A condition that is always true.
    AlwaysTrue,
    /// A condition that is always false.
    AlwaysFalse,
    /// A field may be missing, and then the whole errs.
    MayBeMissing,
}

impl FindingKind {
    /// Whether it is wrong for every event; else it is wrong for some, or does no harm.
    pub fn is_never_right(self) -> bool {
        match self {
            Self::UnknownField | Self::Unfit | Self::Impossible | Self::NotBoolean | Self::Erring => true,
            Self::UnlikelyField | Self::AlwaysTrue | Self::AlwaysFalse | Self::MayBeMissing => false,
        }
    }
}

impl Knowledge {
    /// Knows no names.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more name; a later one hides an earlier one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: ValueType) -> Self {
        self.names.push((name.into(), value));
        self
    }

    /// The same, where a condition is known to be true.
    #[must_use]
    pub fn assuming(mut self, condition: &Expression) -> Self {
        let mut checker = Checker::new(condition.source(), &self);
        checker.assume(condition.tree(), Truth::True, Weight::Firm);
        self.facts = checker.facts;
        self
    }

    /// The names.
    pub fn roots(&self) -> Roots {
        Roots::new(self.names.iter().map(|(name, _)| name.as_str()))
    }

    fn find(&self, name: &str) -> Option<&ValueType> {
        self.names.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }
}

impl Expression {
    /// Finds out what the value can be, and what is wrong whatever comes; each mistake is told once.
    pub fn infer(&self, known: &Knowledge, purpose: Purpose) -> Inferred {
        let tree = self.tree();
        let mut checker = Checker { findings: Some(Vec::new()), ..Checker::new(self.source(), known) };
        let value = checker.whole(tree, purpose);
        if !value.is_nothing() {
            checker.tell_what_may_be_missing(tree, purpose);
        }
        let mut findings = checker.findings.unwrap_or_default();
        findings.sort_by_key(|finding| (finding.span.start, finding.span.end));
        Inferred { value, findings }
    }
}

/// A truth that is assumed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Truth {
    True,
    False,
}

impl Truth {
    fn turned(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
        }
    }
}

/// What is known of one part.
struct Known {
    value: ValueType,
    reads: Reads,
}

/// What a part depends on beside what is written in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reads {
    /// Nothing: it can be evaluated beforehand.
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
    /// The variables of the macros around the present part, outermost first.
    locals: Vec<ValueType>,
    /// What is wrong; nothing is told where there is none.
    findings: Option<Vec<Finding>>,
    suspects: Vec<Suspect>,
    /// How often something was taken from what stands beside it, and where that was last.
    borrowed: (u32, Option<Span>),
    steps: u32,
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

    fn tell(&mut self, kind: FindingKind, span: Span, message: impl Into<String>, hint: Option<String>) {
        if let Some(findings) = &mut self.findings {
            findings.push(Finding { kind, span: span.range(), message: message.into(), hint });
        }
    }

    /// How many findings there are.
    fn told(&self) -> usize {
        self.findings.as_ref().map_or(0, Vec::len)
    }

    fn text(&self, span: Span) -> &'c str {
        &self.source[span.range()]
    }
}
