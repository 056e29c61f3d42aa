//! What can be said of an expression before it is evaluated: the paths it reads, and the tests that must hold.
//!
//! Types are not inferred here.

use std::cmp::Ordering;
use std::ops::Range;

use crate::ast::{self, Chain, Expr, Fold, Kind, LinkKind, Operator, Presence};
use crate::compare::numeric_order;
use crate::value::Value;

/// A path of fields that an expression reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The root's name, then the fields' names.
    pub segments: Vec<String>,
    /// Where it is written, in bytes of the expression's source.
    pub span: Range<usize>,
    /// What becomes of it when it is not there.
    pub access: Access,
}

/// What an expression does with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// It takes the value; a missing field is an error.
    Required,
    /// It takes the value or its absence: `event.?payload`.
    Optional,
    /// It only asks whether it is there: `has(event.payload)`.
    Presence,
}

/// A literal as a key of an index: numbers that are equal in the language are equal here, whatever their type.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the names are the types'")]
pub enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(String),
}

/// A test that holds whenever the whole expression is true.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequiredTest {
    /// The field.
    pub path: Path,
    /// It is equal to one of these.
    pub any_of: Vec<Literal>,
}

impl Literal {
    /// The key of a value, in its one form; `None` for a list, a map, an undefined number and what JSON does not have.
    pub fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Null => Some(Self::Null),
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Int(value) => Some(Self::Int(*value)),
            Value::Uint(value) => Some(i64::try_from(*value).map_or(Self::Uint(*value), Self::Int)),
            Value::Double(value) => Self::of_double(*value),
            Value::String(text) => Some(Self::String(text.to_string())),
            Value::Json(_) => value.clone_scalar().as_ref().and_then(Self::of),
            Value::Bytes(_)
            | Value::List(_)
            | Value::Map(_)
            | Value::Timestamp(_)
            | Value::Duration(_)
            | Value::Type(_)
            | Value::Optional(_) => None,
        }
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the casts saturate, and only an exact result is taken")]
    fn of_double(value: f64) -> Option<Self> {
        if value.is_nan() {
            return None;
        }
        let whole = Value::Int(value as i64);
        if numeric_order(&whole, &Value::Double(value)) == Some(Ordering::Equal) {
            return Self::of(&whole);
        }
        let whole = Value::Uint(value as u64);
        if numeric_order(&whole, &Value::Double(value)) == Some(Ordering::Equal) {
            return Self::of(&whole);
        }
        Some(Self::Double(value))
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Int(_) => 2,
            Self::Uint(_) => 3,
            Self::Double(_) => 4,
            Self::String(_) => 5,
        }
    }
}

impl PartialEq for Literal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Literal {}

impl PartialOrd for Literal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Literal {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(one), Self::Bool(other)) => one.cmp(other),
            (Self::Int(one), Self::Int(other)) => one.cmp(other),
            (Self::Uint(one), Self::Uint(other)) => one.cmp(other),
            (Self::Double(one), Self::Double(other)) => one.total_cmp(other),
            (Self::String(one), Self::String(other)) => one.cmp(other),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

/// The paths that the tree reads, in the order of the source; what a macro's variable holds is not followed.
pub(crate) fn reads(tree: &Expr) -> Vec<Path> {
    let mut paths = Vec::new();
    note_reads(tree, &mut paths);
    paths
}

fn note_reads(expr: &Expr, paths: &mut Vec<Path>) {
    let (access, chain) = match &expr.kind {
        Kind::Root(name) => {
            paths.push(Path { segments: vec![name.to_string()], span: expr.span.range(), access: Access::Required });
            return;
        }
        Kind::Chain(chain) => (Access::Required, chain),
        Kind::Has(chain) => (Access::Presence, chain),
        _ => {
            for child in expr.children() {
                note_reads(child, paths);
            }
            return;
        }
    };
    let Some((mut path, links)) = path_of(chain) else {
        for child in chain.children() {
            note_reads(child, paths);
        }
        return;
    };
    if access == Access::Presence && links == chain.links.len() {
        path.access = access;
    }
    paths.push(path);
    for child in chain.links[links..].iter().flat_map(ast::Link::children) {
        note_reads(child, paths);
    }
}

/// The path that a chain begins with, and how many of its links that is.
pub(crate) fn path_of(chain: &Chain) -> Option<(Path, usize)> {
    let Kind::Root(root) = &chain.base.kind else {
        return None;
    };
    let mut path = Path { segments: vec![root.to_string()], span: chain.base.span.range(), access: Access::Required };
    let mut links = 0;
    for link in &chain.links {
        let (name, presence) = match &link.kind {
            LinkKind::Field { name, presence } => (name.to_string(), presence),
            LinkKind::Index { index, presence } => match &index.kind {
                Kind::Literal(ast::Literal::String(name)) => (name.to_string(), presence),
                _ => break,
            },
            LinkKind::Call(_) | LinkKind::Loop(_) | LinkKind::Or(_) | LinkKind::OrValue(_) | LinkKind::OptMap { .. } => break,
        };
        if *presence == Presence::Optional {
            path.access = Access::Optional;
        }
        path.segments.push(name);
        path.span.end = link.span.range().end;
        links += 1;
    }
    Some((path, links))
}

/// The tests of fields against literals that hold whenever the tree is true.
pub(crate) fn required(tree: &Expr) -> Vec<RequiredTest> {
    let mut tests = Vec::new();
    note_required(tree, &mut tests);
    tests
}

fn note_required(expr: &Expr, tests: &mut Vec<RequiredTest>) {
    match &expr.kind {
        Kind::All(operands) => {
            for operand in operands {
                note_required(operand, tests);
            }
        }
        Kind::Chain(_) => tests.extend(test(expr, vec![Literal::Bool(true)])),
        Kind::Not(operand, times) if times % 2 == 1 => tests.extend(test(operand, vec![Literal::Bool(false)])),
        Kind::Fold(fold) => tests.extend(required_by_fold(fold)),
        _ => {}
    }
}

fn required_by_fold(fold: &Fold) -> Option<RequiredTest> {
    let [(operator, other)] = fold.rest.as_slice() else {
        return None;
    };
    match operator {
        Operator::Equal => match (literal(&fold.first), literal(other)) {
            (None, Some(literal)) => test(&fold.first, vec![literal]),
            (Some(literal), None) => test(other, vec![literal]),
            _ => None,
        },
        Operator::In => match &other.kind {
            Kind::List(elements) => {
                let literals = elements.iter().map(|element| match element.presence {
                    Presence::Required => literal(&element.value),
                    Presence::Optional => None,
                });
                test(&fold.first, literals.collect::<Option<_>>()?)
            }
            _ => None,
        },
        _ => None,
    }
}

/// The test that `expr`, if it is a path, is one of the literals.
///
/// `path.orValue(default)` is such a test as long as the default would not pass it.
fn test(expr: &Expr, mut any_of: Vec<Literal>) -> Option<RequiredTest> {
    let Kind::Chain(chain) = &expr.kind else {
        return None;
    };
    let (path, links) = path_of(chain)?;
    match (&chain.links[links..], path.access) {
        ([], Access::Required) => {}
        ([last], Access::Optional) => match &last.kind {
            LinkKind::OrValue(default) => {
                let default = literal(default)?;
                if any_of.contains(&default) {
                    return None;
                }
            }
            _ => return None,
        },
        _ => return None,
    }
    any_of.sort();
    any_of.dedup();
    Some(RequiredTest { path, any_of })
}

fn literal(expr: &Expr) -> Option<Literal> {
    match &expr.kind {
        Kind::Literal(literal) => Literal::of(&literal.value()),
        _ => None,
    }
}
