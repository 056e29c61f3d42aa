//! Demands: what must hold for the fields that an expression reads, for it to be anything but false.
//!
//! Demands are derived from claims without any value, so that a search for the expressions that an event
//! concerns need not evaluate the others. Meeting a demand promises nothing: the expression may still be
//! false.

use std::sync::Arc;

use super::Literal;
use super::claim::{Absence, Claim, Property, Read, Term};
use crate::json::NodeKind;
use crate::value::Value;

/// The maximum number of claims that are followed for one demand. Claims beyond it demand nothing.
const CLAIMS_MAX: usize = 2_048;

/// What must hold for an expression to be true or to fail. If it does not hold, the expression is false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Nothing is known about the expression.
    Anything,
    /// The expression is false, whatever it reads.
    Nothing,
    /// A field passes a test.
    Test(Test),
    /// All of these are met.
    All(Vec<Demand>),
    /// One of these is met.
    Any(Vec<Demand>),
}

/// A property of one field.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    /// The root's name, then the fields' names.
    pub path: Arc<[String]>,
    /// What the field must be.
    pub check: Check,
}

/// What a field must be to pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// It is there, and equal to this.
    Is(Literal),
    /// It is there, and not equal to this.
    IsNot(Literal),
    /// It is a text that starts with this.
    StartsWith(String),
    /// It is a text that ends with this.
    EndsWith(String),
    /// It is there.
    Present,
    /// It is not there, for whatever reason.
    Absent,
    /// Reading it is an error.
    Errs {
        /// The steps that may find nothing (`.?field`), by their index in the path, ascending.
        lenient: Vec<usize>,
        /// The type it is read as.
        wanted: ReadType,
    },
}

/// The type that a field is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReadType {
    /// Any value.
    Anything,
    /// True or false.
    Truth,
    /// A text.
    Text,
}

/// Where a path leads in the data of an event.
#[derive(Clone, Debug)]
pub enum Reach<'a> {
    /// To this value.
    Found(Value<'a>),
    /// Nowhere.
    Astray(Astray),
}

/// Where and why a path leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Astray {
    /// The step that failed, by its index in the path.
    pub at: usize,
    /// What was found there.
    pub met: Obstacle,
}

/// Why a step failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// An object without such a field.
    NoField,
    /// `null` instead of an object.
    Null,
    /// Another value without fields.
    NoObject,
}

impl Demand {
    /// Returns the conjunction of `parts`, in the simplest form.
    pub fn all(parts: impl IntoIterator<Item = Demand>) -> Self {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Self::Anything => {}
                Self::Nothing => return Self::Nothing,
                Self::All(parts) => kept.extend(parts),
                Self::Test(_) | Self::Any(_) => kept.push(part),
            }
        }
        match kept.len() {
            0 => Self::Anything,
            1 => kept.remove(0),
            _ => Self::All(kept),
        }
    }

    /// Returns the disjunction of `parts`, in the simplest form.
    pub fn any(parts: impl IntoIterator<Item = Demand>) -> Self {
        let mut kept = Vec::new();
        for part in parts {
            match part {
                Self::Anything => return Self::Anything,
                Self::Nothing => {}
                Self::Any(parts) => kept.extend(parts),
                Self::Test(_) | Self::All(_) => kept.push(part),
            }
        }
        match kept.len() {
            0 => Self::Nothing,
            1 => kept.remove(0),
            _ => Self::Any(kept),
        }
    }
}

impl<'a> Reach<'a> {
    /// Follows `path` from the value `from`, which the first `taken` names refer to.
    pub fn walk(from: Value<'a>, path: &[String], taken: usize) -> Self {
        let mut value = from;
        for (at, name) in path.iter().enumerate().skip(taken) {
            let next = match &value {
                Value::Json(node) if node.kind() == NodeKind::Object => node.get(name).map(Value::from),
                Value::Map(map) => map.get_str(name).cloned(),
                Value::Null => return Self::Astray(Astray { at, met: Obstacle::Null }),
                _ => return Self::Astray(Astray { at, met: Obstacle::NoObject }),
            };
            match next {
                Some(next) => value = next,
                None => return Self::Astray(Astray { at, met: Obstacle::NoField }),
            }
        }
        Self::Found(value)
    }
}

impl Astray {
    /// Returns true if this is an error, given that the `lenient` steps may find nothing.
    fn is_error(self, lenient: &[usize]) -> bool {
        match self.met {
            // After an optional, every step may find nothing.
            Obstacle::NoField => lenient.first().is_none_or(|first| self.at < *first),
            // A null may mean an absent value, but only `.?` checks for that.
            Obstacle::Null => !lenient.contains(&self.at),
            Obstacle::NoObject => true,
        }
    }
}

impl Check {
    /// Returns true if the value that the path leads to passes.
    pub fn passes(&self, reach: &Reach<'_>) -> bool {
        match (self, reach) {
            (Self::Is(literal), Reach::Found(value)) => Literal::of(value).as_ref() == Some(literal),
            (Self::IsNot(literal), Reach::Found(value)) => Literal::of(value).as_ref() != Some(literal),
            (Self::StartsWith(start), Reach::Found(value)) => matches!(value, Value::String(text) if text.starts_with(start)),
            (Self::EndsWith(end), Reach::Found(value)) => matches!(value, Value::String(text) if text.ends_with(end)),
            (Self::Present, Reach::Found(_)) | (Self::Absent, Reach::Astray(_)) => true,
            (Self::Absent, Reach::Found(_))
            | (Self::Is(_) | Self::IsNot(_) | Self::StartsWith(_) | Self::EndsWith(_) | Self::Present, Reach::Astray(_)) => false,
            (Self::Errs { wanted, .. }, Reach::Found(value)) => !wanted.is_met_by(value),
            (Self::Errs { lenient, .. }, Reach::Astray(astray)) => astray.is_error(lenient),
        }
    }
}

impl ReadType {
    fn is_met_by(self, value: &Value<'_>) -> bool {
        match self {
            Self::Anything => true,
            Self::Truth => matches!(value, Value::Bool(_)),
            Self::Text => matches!(value, Value::String(_)),
        }
    }
}

/// Returns what must hold for a claim not to be false.
pub(crate) fn demand_of(claim: &Claim<'_>) -> Demand {
    Derivation { claims_left: CLAIMS_MAX }.demand(claim, Sought::TrueOrError)
}

/// The outcome that is looked for. An error counts with both truths, because it is not known which of them it
/// hides.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sought {
    TrueOrError,
    FalseOrError,
    Error,
}

struct Derivation {
    claims_left: usize,
}

impl Derivation {
    fn demand(&mut self, claim: &Claim<'_>, sought: Sought) -> Demand {
        let Some(claims_left) = self.claims_left.checked_sub(1) else {
            return Demand::Anything;
        };
        self.claims_left = claims_left;
        match (claim, sought) {
            (Claim::Known(true), Sought::TrueOrError) | (Claim::Known(false), Sought::FalseOrError) => Demand::Anything,
            (Claim::Known(_), _) => Demand::Nothing,
            (Claim::Errs | Claim::Unknown, _) => Demand::Anything,
            (Claim::Of(read, property), _) => self.of_field(read, property, sought),
            (Claim::Not(claim), Sought::TrueOrError) => self.demand(claim, Sought::FalseOrError),
            (Claim::Not(claim), Sought::FalseOrError) => self.demand(claim, Sought::TrueOrError),
            (Claim::Not(claim), Sought::Error) => self.demand(claim, Sought::Error),
            // A single false makes it false, even if others fail.
            (Claim::All(claims), Sought::TrueOrError) | (Claim::Any(claims), Sought::FalseOrError) => {
                Demand::all(claims.iter().map(|claim| self.demand(claim, sought)).collect::<Vec<_>>())
            }
            (Claim::All(claims), Sought::FalseOrError | Sought::Error) | (Claim::Any(claims), Sought::TrueOrError | Sought::Error) => {
                Demand::any(claims.iter().map(|claim| self.demand(claim, sought)).collect::<Vec<_>>())
            }
            (Claim::Choice(parts), _) => {
                let [condition, then, otherwise] = &**parts;
                let errs = self.demand(condition, Sought::Error);
                let takes_then = Demand::all([self.demand(condition, Sought::TrueOrError), self.demand(then, sought)]);
                let takes_other = Demand::all([self.demand(condition, Sought::FalseOrError), self.demand(otherwise, sought)]);
                Demand::any([errs, takes_then, takes_other])
            }
            (Claim::After(parts), _) => {
                let (first, then) = &**parts;
                Demand::any([self.error_of(first), self.demand(then, sought)])
            }
        }
    }

    fn error_of(&mut self, term: &Term<'_>) -> Demand {
        match term {
            Term::Constant(_) | Term::Named => Demand::Nothing,
            Term::Errs | Term::Unknown => Demand::Anything,
            Term::Claim(claim) => self.demand(claim, Sought::Error),
            Term::Read(read) => {
                let path: Arc<[String]> = read.path.as_slice().into();
                let errs = Check::Errs { lenient: read.lenient.clone(), wanted: ReadType::Anything };
                let unsure = matches!(read.absence, Absence::Unknown).then_some(Check::Absent);
                Demand::any([errs].into_iter().chain(unsure).map(|check| Demand::Test(Test { path: Arc::clone(&path), check })))
            }
        }
    }

    fn of_field(&mut self, read: &Read<'_>, property: &Property, sought: Sought) -> Demand {
        let path: Arc<[String]> = read.path.as_slice().into();
        let test = |check| Demand::Test(Test { path: Arc::clone(&path), check });
        let is = |truth| test(Check::Is(Literal::Bool(truth)));
        let found = match (property, sought) {
            (_, Sought::Error) => Demand::Nothing,
            (Property::True, Sought::TrueOrError) => is(true),
            (Property::True, Sought::FalseOrError) => is(false),
            (Property::OneOf(literals), _) => {
                let Some(claims_left) = self.claims_left.checked_sub(literals.len()) else {
                    return Demand::Anything;
                };
                self.claims_left = claims_left;
                match sought {
                    Sought::TrueOrError => Demand::any(literals.iter().map(|literal| test(Check::Is(literal.clone())))),
                    Sought::FalseOrError | Sought::Error if literals.is_empty() => test(Check::Present),
                    Sought::FalseOrError | Sought::Error => Demand::all(literals.iter().map(|literal| test(Check::IsNot(literal.clone())))),
                }
            }
            (Property::StartsWith(start) | Property::Matches { start }, Sought::TrueOrError) if !start.is_empty() => {
                test(Check::StartsWith(start.clone()))
            }
            (Property::EndsWith(end), Sought::TrueOrError) if !end.is_empty() => test(Check::EndsWith(end.clone())),
            (Property::StartsWith(_) | Property::EndsWith(_) | Property::Matches { .. }, _) | (Property::Present, Sought::TrueOrError) => {
                test(Check::Present)
            }
            (Property::Present, Sought::FalseOrError) => test(Check::Absent),
        };
        let absent = match &read.absence {
            Absence::Errs | Absence::IsNone => Demand::Nothing,
            Absence::Becomes(value) if !property.may_come_to(value, sought) => Demand::Nothing,
            Absence::Becomes(_) | Absence::Unknown => test(Check::Absent),
        };
        let errs = test(Check::Errs { lenient: read.lenient.clone(), wanted: property.read_type() });
        Demand::any([found, absent, errs])
    }
}

impl Property {
    fn read_type(&self) -> ReadType {
        match self {
            Self::True => ReadType::Truth,
            Self::OneOf(_) | Self::Present => ReadType::Anything,
            Self::StartsWith(_) | Self::EndsWith(_) | Self::Matches { .. } => ReadType::Text,
        }
    }

    /// Returns true if the property of a known value may have the outcome that is looked for.
    fn may_come_to(&self, value: &Value<'_>, sought: Sought) -> bool {
        let truth = match (self, value) {
            (Self::True, Value::Bool(truth)) => Some(*truth),
            (Self::OneOf(literals), value) => Some(Literal::of(value).is_some_and(|literal| literals.contains(&literal))),
            (Self::StartsWith(start), Value::String(text)) => Some(text.starts_with(start)),
            (Self::EndsWith(end), Value::String(text)) => Some(text.ends_with(end)),
            (Self::Matches { start }, Value::String(text)) if !text.starts_with(start) => Some(false),
            (Self::Matches { .. }, Value::String(_)) => return sought != Sought::Error,
            (Self::True | Self::StartsWith(_) | Self::EndsWith(_) | Self::Matches { .. } | Self::Present, _) => None,
        };
        match sought {
            Sought::TrueOrError => truth != Some(false),
            Sought::FalseOrError => truth != Some(true),
            Sought::Error => truth.is_none(),
        }
    }
}
