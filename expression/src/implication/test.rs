//! Tests of one value against literals, and which of them imply or exclude each other.
//!
//! Which value is tested is not known here.

use std::cmp::Ordering;

use crate::analyse::Literal;
use crate::ast::Comparison;

/// The largest whole number up to which every number has its own double. Beyond it, order uses rounded
/// values.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A test of a value that resulted in `holds`, without an error.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Test {
    pub(super) kind: TestKind,
    pub(super) holds: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TestKind {
    /// It is equal to one of these.
    OneOf(Vec<Literal>),
    /// It has this order relative to a number or a text.
    Order(Comparison, Literal),
    StartsWith(String),
    EndsWith(String),
    Contains(String),
}

/// The kind of value that a test accepts without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Number,
    Text,
    Bool,
}

impl Comparison {
    /// Returns true if `x <self> one` implies `x <wanted> other` for every `x`.
    fn gives(self, one: &Literal, wanted: Self, other: &Literal) -> bool {
        let LiteralOrder::So(order) = compare_literals(one, other) else { return false };
        match (self, wanted) {
            (Self::Less, Self::Less | Self::LessOrEqual) | (Self::LessOrEqual, Self::LessOrEqual) => order.is_le(),
            (Self::LessOrEqual, Self::Less) => order.is_lt(),
            (Self::Greater, Self::Greater | Self::GreaterOrEqual) | (Self::GreaterOrEqual, Self::GreaterOrEqual) => order.is_ge(),
            (Self::GreaterOrEqual, Self::Greater) => order.is_gt(),
            (Self::Less | Self::LessOrEqual, Self::Greater | Self::GreaterOrEqual)
            | (Self::Greater | Self::GreaterOrEqual, Self::Less | Self::LessOrEqual) => false,
        }
    }
}

impl Test {
    /// Returns true if the test has this result for a value that is this literal, or nothing if that is not
    /// certain.
    pub(super) fn outcome(&self, value: &Literal) -> Option<bool> {
        let about_text = |is_so: &dyn Fn(&str) -> bool| Some(text_of(value).is_some_and(|value| is_so(value) == self.holds));
        match &self.kind {
            TestKind::OneOf(literals) => Some(literals.contains(value) == self.holds),
            TestKind::Order(comparison, literal) => match compare_literals(value, literal) {
                LiteralOrder::So(order) => Some(comparison.accepts(order) == self.holds),
                LiteralOrder::Without => Some(false),
                LiteralOrder::Unsure => None,
            },
            TestKind::StartsWith(text) => about_text(&|value| value.starts_with(text.as_str())),
            TestKind::EndsWith(text) => about_text(&|value| value.ends_with(text.as_str())),
            TestKind::Contains(text) => about_text(&|value| value.contains(text.as_str())),
        }
    }

    fn surely_passes(&self, value: &Literal) -> bool {
        self.outcome(value) == Some(true)
    }

    fn surely_fails(&self, value: &Literal) -> bool {
        self.outcome(value) == Some(false)
    }

    /// Returns the values if the value is one of a few.
    fn candidates(&self) -> Option<&[Literal]> {
        match &self.kind {
            TestKind::OneOf(literals) if self.holds => Some(literals),
            TestKind::OneOf(_) | TestKind::Order(..) | TestKind::StartsWith(_) | TestKind::EndsWith(_) | TestKind::Contains(_) => None,
        }
    }

    /// Returns true if every value with this result also has the wanted one.
    fn gives(&self, wanted: &Self) -> bool {
        if self == wanted {
            return true;
        }
        if let (TestKind::OneOf(literals), false) = (&wanted.kind, wanted.holds) {
            // Equality accepts any value, so it is enough that none of the excluded ones has this result.
            return literals.iter().all(|literal| self.surely_fails(literal));
        }
        match (self.holds, wanted.holds) {
            (true, true) => self.kind.gives(&wanted.kind),
            (true, false) => self.kind.refutes(&wanted.kind),
            // Both accept the same kind of value, so the one cannot fail where the other does not.
            (false, false) => self.kind.class().is_some() && self.kind.class() == wanted.kind.class() && wanted.kind.gives(&self.kind),
            (false, true) => false,
        }
    }

    /// Returns true if no value has both results.
    fn excludes(&self, other: &Self) -> bool {
        let opposite = |test: &Self| Self { kind: test.kind.clone(), holds: !test.holds };
        let classes = (self.class(), other.class());
        matches!(classes, (Some(one), Some(other)) if one != other) || self.gives(&opposite(other)) || other.gives(&opposite(self))
    }

    /// Returns the kind of value that it certainly is.
    fn class(&self) -> Option<Class> {
        self.kind.class()
    }
}

impl TestKind {
    fn class(&self) -> Option<Class> {
        match self {
            Self::OneOf(_) => None,
            Self::Order(_, literal) => class(literal),
            Self::StartsWith(_) | Self::EndsWith(_) | Self::Contains(_) => Some(Class::Text),
        }
    }

    /// Returns true if a value that passes also passes `wanted`.
    fn gives(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Order(comparison, one), Self::Order(wanted, other)) => comparison.gives(one, *wanted, other),
            (Self::StartsWith(text), Self::StartsWith(beginning)) => text.starts_with(beginning.as_str()),
            (Self::EndsWith(text), Self::EndsWith(end)) => text.ends_with(end.as_str()),
            (Self::StartsWith(text) | Self::EndsWith(text) | Self::Contains(text), Self::Contains(part)) => text.contains(part.as_str()),
            (Self::OneOf(literals), wanted) => {
                let wanted = Test { kind: wanted.clone(), holds: true };
                literals.iter().all(|literal| wanted.surely_passes(literal))
            }
            (
                Self::Order(..) | Self::StartsWith(_) | Self::EndsWith(_) | Self::Contains(_),
                Self::OneOf(_) | Self::Order(..) | Self::StartsWith(_) | Self::EndsWith(_) | Self::Contains(_),
            ) => false,
        }
    }

    /// Returns true if a value that passes certainly fails `other`, without an error.
    fn refutes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Order(comparison, one), Self::Order(refuted, other)) => comparison.gives(one, refuted.complement(), other),
            (Self::StartsWith(one), Self::StartsWith(other)) => !one.starts_with(other.as_str()) && !other.starts_with(one.as_str()),
            (Self::EndsWith(one), Self::EndsWith(other)) => !one.ends_with(other.as_str()) && !other.ends_with(one.as_str()),
            (Self::OneOf(literals), other) => {
                let other = Test { kind: other.clone(), holds: false };
                literals.iter().all(|literal| other.surely_passes(literal))
            }
            (
                Self::Order(..) | Self::StartsWith(_) | Self::EndsWith(_) | Self::Contains(_),
                Self::OneOf(_) | Self::Order(..) | Self::StartsWith(_) | Self::EndsWith(_) | Self::Contains(_),
            ) => false,
        }
    }
}

/// Returns the values that pass all of some tests of one value, if they are few and known.
fn candidates(tests: &[Test]) -> Option<Vec<&Literal>> {
    let few = tests.iter().find_map(Test::candidates)?;
    Some(few.iter().filter(|literal| !tests.iter().any(|test| test.surely_fails(literal))).collect())
}

/// Returns true if no value has all these results.
pub(super) fn contradict(tests: &[Test]) -> bool {
    match candidates(tests) {
        Some(left) => left.is_empty(),
        None => tests.iter().enumerate().any(|(at, test)| tests[..at].iter().any(|earlier| earlier.excludes(test))),
    }
}

/// Returns a value with all these results, if there is one among the values that the tests name and those next to
/// them.
pub(super) fn passing(tests: &[Test]) -> Option<Literal> {
    let mut tried = Vec::new();
    let (mut begin, mut middle, mut end) = (String::new(), String::new(), String::new());
    for test in tests {
        match (&test.kind, test.holds) {
            (TestKind::OneOf(literals), _) => tried.extend(literals.iter().cloned()),
            (TestKind::Order(_, literal), _) => tried.extend(around(literal)),
            (TestKind::StartsWith(text), true) if text.len() > begin.len() => begin.clone_from(text),
            (TestKind::EndsWith(text), true) if text.len() > end.len() => end.clone_from(text),
            (TestKind::Contains(text), true) => middle.push_str(text),
            (TestKind::StartsWith(_) | TestKind::EndsWith(_) | TestKind::Contains(_), _) => {}
        }
    }
    tried.extend([begin.clone(), end.clone(), format!("{begin}{middle}{end}"), "other".to_owned()].map(Literal::String));
    tried.extend([Literal::Int(0), Literal::Bool(true), Literal::Bool(false)]);
    tried.into_iter().find(|value| tests.iter().all(|test| test.surely_passes(value)))
}

/// Returns a literal and its neighbors.
fn around(literal: &Literal) -> Vec<Literal> {
    match literal {
        Literal::Int(number) => [*number, number.saturating_add(1), number.saturating_sub(1)].map(Literal::Int).to_vec(),
        Literal::Double(number) => [*number, number + 1.0, number - 1.0].map(Literal::Double).to_vec(),
        Literal::String(text) => [text.clone(), format!("{text}a"), String::new()].map(Literal::String).to_vec(),
        Literal::Uint(_) | Literal::Bool(_) | Literal::Null => vec![literal.clone()],
    }
}

/// The maximum number of whole numbers that a proof tries case by case.
const WHOLE_MAX: f64 = 64.0;

/// Returns true if no whole number has all these results. This is known only if few numbers are left.
pub(super) fn no_whole_number_passes(tests: &[Test]) -> bool {
    let (mut least, mut most) = (f64::NEG_INFINITY, f64::INFINITY);
    for test in tests {
        let TestKind::Order(comparison, literal) = &test.kind else { continue };
        let Some(bound) = exact(literal) else { continue };
        match if test.holds { *comparison } else { comparison.complement() } {
            Comparison::Greater => least = least.max(bound.floor() + 1.0),
            Comparison::GreaterOrEqual => least = least.max(bound.ceil()),
            Comparison::Less => most = most.min(bound.ceil() - 1.0),
            Comparison::LessOrEqual => most = most.min(bound.floor()),
        }
    }
    if !least.is_finite() || !most.is_finite() || most - least >= WHOLE_MAX {
        return false;
    }
    let fails = |number: f64| {
        #[allow(clippy::cast_possible_truncation, reason = "a bound is exact, and so is a whole number between two")]
        let forms = [Literal::Int(number as i64), Literal::Uint(number.max(0.0) as u64), Literal::Double(number)];
        tests.iter().any(|test| match &test.kind {
            // Numbers of different types are equal, but their literals are not.
            TestKind::OneOf(literals) => forms.iter().any(|form| literals.contains(form)) != test.holds,
            _ => forms.iter().all(|form| test.surely_fails(form)),
        })
    };
    std::iter::successors(Some(least), |number| Some(number + 1.0)).take_while(|number| *number <= most).all(fails)
}

fn class(literal: &Literal) -> Option<Class> {
    match literal {
        Literal::Int(_) | Literal::Uint(_) | Literal::Double(_) => Some(Class::Number),
        Literal::String(_) => Some(Class::Text),
        Literal::Bool(_) => Some(Class::Bool),
        Literal::Null => None,
    }
}

/// The relation between two literals.
enum LiteralOrder {
    So(Ordering),
    /// The language has no order for them: comparing them is an error.
    Without,
    /// They are beyond what a double holds exactly.
    Unsure,
}

fn compare_literals(one: &Literal, other: &Literal) -> LiteralOrder {
    match (one, other) {
        (Literal::String(one), Literal::String(other)) => LiteralOrder::So(one.cmp(other)),
        (Literal::Bool(one), Literal::Bool(other)) => LiteralOrder::So(one.cmp(other)),
        _ if class(one) != Some(Class::Number) || class(other) != Some(Class::Number) => LiteralOrder::Without,
        _ => match (exact(one), exact(other)) {
            (Some(one), Some(other)) => one.partial_cmp(&other).map_or(LiteralOrder::Unsure, LiteralOrder::So),
            (_, _) => LiteralOrder::Unsure,
        },
    }
}

#[allow(clippy::cast_precision_loss, reason = "only numbers that a double holds exactly are taken")]
fn exact(literal: &Literal) -> Option<f64> {
    let number = match literal {
        Literal::Int(value) => *value as f64,
        Literal::Double(value) => *value,
        Literal::Uint(_) | Literal::Null | Literal::Bool(_) | Literal::String(_) => return None,
    };
    (number.abs() < EXACT_MAX).then_some(number)
}

fn text_of(literal: &Literal) -> Option<&str> {
    match literal {
        Literal::String(text) => Some(text),
        Literal::Null | Literal::Bool(_) | Literal::Int(_) | Literal::Uint(_) | Literal::Double(_) => None,
    }
}
