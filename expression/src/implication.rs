//! What is certain about a condition before any value is known: that it never holds, or only if another does.
//!
//! Only what is proven is reported, and not everything that is true is found. Nothing that reads a name is
//! evaluated.

mod partial;
mod term;
mod test;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub use partial::Partial;

use crate::analyse::{Access, Literal, path_of};
use crate::ast::{self, Chain, Expr, Fold, Kind, Link, LinkKind, Operator, Presence};
use crate::budget::Budget;
use crate::evaluate::Evaluation;
use crate::expression::Expression;
use crate::scope::Scope;
use term::{spelled_chain, spelled_path, spelling_of};
use test::{Test, TestKind};

/// The maximum number of ways in which a condition may hold for each to be examined. If there are more, less
/// is known.
const WAYS_MAX: usize = 64;
/// The maximum number of steps for evaluating a part that reads no name.
const CONSTANT_STEPS_MAX: u64 = 1_000;
/// The maximum number of parts joined by `&&` that are compared with each other to name the contradicting
/// ones.
const PARTS_MAX: usize = 32;

impl Expression {
    /// Returns the places of the one or two parts joined by `&&` that are never true, or never true together,
    /// as far as this can be proven.
    pub fn contradiction(&self) -> Option<Vec<Range<usize>>> {
        let tree = self.tree();
        let parts: Vec<&Expr> = match &tree.kind {
            Kind::All(operands) => operands.iter().take(PARTS_MAX).collect(),
            _ => vec![tree],
        };
        let never = |parts: &[&Expr]| {
            let ways = together(parts.iter().map(|part| ways_of(part, true)));
            ways.iter().all(|claims| Alternative::of(claims, self.source()).is_contradictory())
        };
        let alone = parts.iter().find(|part| never(&[part])).map(|part| vec![part.span.range()]);
        let pairs = || parts.iter().enumerate().flat_map(|(at, other)| parts[..at].iter().map(move |one| [*one, *other]));
        let two = || pairs().find(|pair| never(pair)).map(|pair| pair.iter().map(|part| part.span.range()).collect());
        alone.or_else(two)
    }
}

/// A condition, prepared for comparison with what is known of its names.
#[derive(Debug)]
pub struct Condition {
    /// The ways in which it can hold. Together they are complete.
    ways: Vec<Alternative>,
}

/// What is known if a condition holds in one way.
#[derive(Clone, Debug, Default)]
struct Alternative {
    /// What is known about each term, by its spelling.
    tests: BTreeMap<String, Vec<Test>>,
    /// The terms that are plain paths.
    paths: BTreeMap<String, Vec<String>>,
    /// The paths that are read without an error, by their spelling.
    present: BTreeMap<String, Vec<String>>,
    /// Paths for which `has(…)` is false.
    absent: BTreeSet<String>,
    /// Whether a part cannot have the truth that it would need.
    is_impossible: bool,
}

/// A part other than `&&`, `||`, `!` or `? :`, and the truth that it has.
type Claim<'e> = (&'e Expr, bool);

impl Condition {
    /// Prepares a condition.
    pub fn of(expression: &Expression) -> Self {
        let claims = ways_of(expression.tree(), true);
        let ways = claims.iter().map(|claims| Alternative::of(claims, expression.source())).filter(|way| !way.is_contradictory()).collect();
        Self { ways }
    }

    /// Returns true if it never holds.
    pub fn never_holds(&self) -> bool {
        self.ways.is_empty()
    }

    /// Returns true if it never holds given this knowledge of the names.
    pub fn never_holds_given(&self, known: &Partial) -> bool {
        self.ways.iter().all(|way| way.contradicts(known))
    }
}

/// A condition, prepared for comparison with others over the same names.
#[derive(Debug)]
pub struct ComparableCondition<'e> {
    source: &'e str,
    /// The ways in which it can hold. Together they are complete.
    holds: Vec<Alternative>,
    /// The ways in which it can be false, each as the claims that hold together.
    fails: Vec<Vec<Claim<'e>>>,
    /// The paths that it reads, and that must be there.
    required: Vec<Vec<String>>,
}

impl<'e> ComparableCondition<'e> {
    /// Prepares a condition.
    pub fn of(expression: &'e Expression) -> Self {
        let required = expression.reads().into_iter().filter(|path| path.access == Access::Required).map(|path| path.segments);
        Self {
            source: expression.source(),
            holds: Condition::of(expression).ways,
            fails: ways_of(expression.tree(), false),
            required: required.collect(),
        }
    }

    /// Returns how many pairs of ways a comparison with `wide` examines.
    pub fn work(&self, wide: &ComparableCondition<'_>) -> usize {
        self.holds.len().saturating_mul(wide.fails.len()).max(1)
    }

    /// Returns true if it is proven that `wide` is not false when this one holds, and that nothing is missing then that
    /// `wide` reads. `is_given` says which paths are always there. A condition that never holds is contained in none.
    pub fn is_contained_in(&self, wide: &ComparableCondition<'_>, is_given: &dyn Fn(&[String]) -> bool) -> bool {
        let is_there = |path: &Vec<String>| is_given(path) || self.holds.iter().all(|way| way.present.contains_key(&spelled_path(path)));
        let excludes = |way: &Alternative, claims: &Vec<Claim<'_>>| {
            let mut both = way.clone();
            for (expr, truth) in claims {
                both.note(expr, *truth, wide.source);
            }
            both.is_contradictory()
        };
        !self.holds.is_empty()
            && wide.required.iter().all(is_there)
            && self.holds.iter().all(|way| wide.fails.iter().all(|claims| excludes(way, claims)))
    }

    /// Returns values of paths with which it probably holds: for each way in which it can, if some are found.
    pub fn examples(&self) -> impl Iterator<Item = Vec<(Vec<String>, Literal)>> {
        self.holds.iter().filter_map(|way| {
            let of_path = |(spelling, path): (&String, &Vec<String>)| {
                let tests = way.tests.get(spelling).map(Vec::as_slice).unwrap_or_default();
                Some((path.clone(), test::passing(tests)?))
            };
            way.paths.iter().map(of_path).collect()
        })
    }
}

/// Returns the ways in which a tree can have this `truth`, each as the claims that hold together.
fn ways_of(expr: &Expr, truth: bool) -> Vec<Vec<Claim<'_>>> {
    match &expr.kind {
        Kind::All(operands) if truth => together(operands.iter().map(|operand| ways_of(operand, true))),
        Kind::All(operands) => apart(operands.iter().map(|operand| ways_of(operand, false))),
        Kind::Any(operands) if truth => apart(operands.iter().map(|operand| ways_of(operand, true))),
        Kind::Any(operands) => together(operands.iter().map(|operand| ways_of(operand, false))),
        Kind::Not(operand, times) => ways_of(operand, truth == (times % 2 == 0)),
        Kind::Choose(choose) => {
            let mut ways = Vec::new();
            for (at, (condition, then)) in choose.branches.iter().enumerate() {
                let earlier = choose.branches[..at].iter().map(|(condition, _)| ways_of(condition, false));
                ways.push(together(earlier.chain([ways_of(condition, true), ways_of(then, truth)])));
            }
            let none = choose.branches.iter().map(|(condition, _)| ways_of(condition, false));
            ways.push(together(none.chain([ways_of(&choose.otherwise, truth)])));
            apart(ways.into_iter())
        }
        Kind::Literal(_)
        | Kind::Type(_)
        | Kind::Root(_)
        | Kind::Local(_)
        | Kind::Chain(_)
        | Kind::Call(_)
        | Kind::List(_)
        | Kind::Map(_)
        | Kind::Negate(..)
        | Kind::Fold(_)
        | Kind::Has(_)
        | Kind::Bind(_) => vec![vec![(expr, truth)]],
    }
}

/// Returns the ways in which all parts have the required truth. Parts that would lead to too many ways are
/// left out, so that less is known about each.
fn together<'e>(parts: impl Iterator<Item = Vec<Vec<Claim<'e>>>>) -> Vec<Vec<Claim<'e>>> {
    let mut ways: Vec<Vec<Claim<'e>>> = vec![Vec::new()];
    for part in parts {
        if ways.len() * part.len() <= WAYS_MAX {
            ways = ways.iter().flat_map(|way| part.iter().map(|more| [way.as_slice(), more.as_slice()].concat())).collect();
        }
    }
    ways
}

/// Returns the ways in which one of the parts has the required truth. If there are too many, nothing is
/// known.
fn apart<'e>(parts: impl Iterator<Item = Vec<Vec<Claim<'e>>>>) -> Vec<Vec<Claim<'e>>> {
    let ways: Vec<Vec<Claim<'e>>> = parts.flatten().take(WAYS_MAX + 1).collect();
    if ways.len() > WAYS_MAX { vec![Vec::new()] } else { ways }
}

impl Alternative {
    fn of(claims: &[Claim<'_>], source: &str) -> Self {
        let mut way = Self::default();
        for (expr, truth) in claims {
            way.note(expr, *truth, source);
        }
        way
    }

    fn note(&mut self, expr: &Expr, truth: bool, source: &str) {
        if let Some(constant) = constant(expr, source) {
            self.is_impossible |= constant != Constant::Truth(truth);
            return;
        }
        self.note_reads(expr);
        let asked = TermTest::of(expr, truth);
        if let (Kind::Has(chain), Some((path, _))) = (&expr.kind, has_path(expr)) {
            if truth {
                self.note_path(&path);
            } else {
                self.absent.insert(spelled_path(&path));
            }
            self.note_chain(chain, chain.links.len() - 1);
        }
        if let Some(path) = asked.plain_path()
            && asked.default.as_ref().is_none_or(|default| asked.test.outcome(default) == Some(false))
        {
            let spelling = spelled_path(&path);
            self.note_path(&path);
            self.paths.insert(spelling.clone(), path);
            if spelling != asked.term {
                self.tests.entry(spelling).or_default().push(asked.test.clone());
            }
        }
        self.tests.entry(asked.term).or_default().push(asked.test);
    }

    /// Records which paths are there if the part has a value.
    fn note_reads(&mut self, expr: &Expr) {
        match &expr.kind {
            Kind::Chain(chain) => {
                self.note_chain(chain, chain.links.len());
                self.note_reads(&chain.base);
                for link in &chain.links {
                    match &link.kind {
                        LinkKind::Field { presence: Presence::Required, .. } => {}
                        LinkKind::Index { index, presence: Presence::Required } => self.note_reads(index),
                        LinkKind::Call(call) => call.arguments.iter().for_each(|argument| self.note_reads(argument)),
                        // Whatever follows a link that may return nothing may be skipped, and bodies see
                        // names of their own.
                        LinkKind::Field { .. }
                        | LinkKind::Index { .. }
                        | LinkKind::Loop(_)
                        | LinkKind::Or(_)
                        | LinkKind::OrValue(_)
                        | LinkKind::OptMap { .. } => return,
                    }
                }
            }
            Kind::Call(call) => call.arguments.iter().for_each(|argument| self.note_reads(argument)),
            Kind::List(elements) => elements.iter().for_each(|element| self.note_reads(&element.value)),
            Kind::Map(entries) => entries.iter().for_each(|entry| {
                self.note_reads(&entry.key);
                self.note_reads(&entry.value);
            }),
            Kind::Negate(operand, _) => self.note_reads(operand),
            Kind::Fold(fold) => {
                self.note_reads(&fold.first);
                fold.rest.iter().for_each(|(_, operand)| self.note_reads(operand));
            }
            // These can have a value even if one of their parts has none.
            Kind::All(_) | Kind::Any(_) | Kind::Not(..) | Kind::Choose(_) | Kind::Bind(_) | Kind::Has(_) => {}
            Kind::Literal(_) | Kind::Type(_) | Kind::Root(_) | Kind::Local(_) => {}
        }
    }

    /// Records that the fields at the beginning of a chain of links are there, up to the first that may be
    /// absent.
    fn note_chain(&mut self, chain: &Chain, links: usize) {
        let Kind::Root(root) = &chain.base.kind else { return };
        let mut path = vec![root.to_string()];
        for link in &chain.links[..links] {
            let Some(name) = required_field(&link.kind) else { return };
            path.push(name.to_owned());
            self.present.insert(spelled_path(&path), path.clone());
        }
    }

    fn note_path(&mut self, path: &[String]) {
        for length in 2..=path.len() {
            let prefix = &path[..length];
            self.present.insert(spelled_path(prefix), prefix.to_vec());
        }
    }

    fn is_contradictory(&self) -> bool {
        self.is_impossible
            || self.tests.values().any(|tests| test::contradict(tests))
            || self.absent.iter().any(|path| self.present.contains_key(path))
    }

    /// Returns true if it is impossible given this knowledge.
    fn contradicts(&self, known: &Partial) -> bool {
        let lacks = |path: &[String]| known.lacks(path);
        let refutes = |(spelling, path): (&String, &Vec<String>)| {
            let Some(found) = known.at(path) else { return false };
            self.tests.get(spelling).is_some_and(|tests| found.refutes(tests))
        };
        self.present.values().any(|path| lacks(path)) || self.paths.iter().any(refutes)
    }
}

/// What a part tests about which term.
struct TermTest<'e> {
    term: String,
    test: Test,
    /// The tested chain, without the link that makes it a test, if it is a chain.
    chain: Option<(&'e Chain, usize)>,
    /// The replacement for the path if it is absent: `path.orValue(default)`.
    default: Option<Literal>,
}

impl<'e> TermTest<'e> {
    fn of(expr: &'e Expr, truth: bool) -> Self {
        let asked = match &expr.kind {
            Kind::Fold(fold) => Self::of_fold(fold, truth),
            Kind::Chain(chain) => Self::of_text(chain, truth),
            _ => None,
        };
        asked.unwrap_or_else(|| Self::itself(expr, truth))
    }

    /// Returns the test for a part that is itself true or false.
    fn itself(expr: &'e Expr, truth: bool) -> Self {
        let test = Test { kind: TestKind::OneOf(vec![Literal::Bool(truth)]), holds: true };
        Self::about(expr, test)
    }

    fn about(expr: &'e Expr, test: Test) -> Self {
        match &expr.kind {
            Kind::Chain(chain) => Self::about_chain(chain, chain.links.len(), test),
            _ => Self { term: spelling_of(expr), test, chain: None, default: None },
        }
    }

    fn about_chain(chain: &'e Chain, links: usize, test: Test) -> Self {
        let term = spelled_chain(&chain.base, &chain.links[..links]);
        match chain.links[..links].split_last() {
            Some((Link { kind: LinkKind::OrValue(other), .. }, before)) => {
                let default = literal(other);
                let chain = default.is_some().then_some((chain, before.len()));
                Self { term, test, chain, default }
            }
            Some(_) => Self { term, test, chain: Some((chain, links)), default: None },
            None => Self { term, test, chain: None, default: None },
        }
    }

    fn of_fold(fold: &'e Fold, truth: bool) -> Option<Self> {
        let [(operator, other)] = fold.rest.as_slice() else { return None };
        let first = &fold.first;
        if let Some(comparison) = operator.comparison() {
            return match (literal(first), literal(other)) {
                (None, Some(literal)) => Some(Self::about(first, Test { kind: TestKind::Order(comparison, literal), holds: truth })),
                (Some(literal), None) => {
                    Some(Self::about(other, Test { kind: TestKind::Order(comparison.swap_sides(), literal), holds: truth }))
                }
                (_, _) => None,
            };
        }
        if let Operator::In = operator {
            return Some(Self::about(first, Test { kind: TestKind::OneOf(literals(other)?), holds: truth }));
        }
        let is_equality = matches!(operator, Operator::Equal | Operator::NotEqual);
        let holds = truth == (*operator == Operator::Equal);
        is_equality.then(|| match (literal(first), literal(other)) {
            (None, Some(literal)) => Self::about(first, Test { kind: TestKind::OneOf(vec![literal]), holds }),
            (Some(literal), None) => Self::about(other, Test { kind: TestKind::OneOf(vec![literal]), holds }),
            (_, _) => Self::of_two(first, other, holds),
        })
    }

    /// Returns the test for `a == b`, or `a != b` negated, if neither is a literal.
    fn of_two(one: &Expr, other: &Expr, holds: bool) -> Self {
        let (one, other) = (spelling_of(one), spelling_of(other));
        let term = if one > other { format!("({other} == {one})") } else { format!("({one} == {other})") };
        Self { term, test: Test { kind: TestKind::OneOf(vec![Literal::Bool(holds)]), holds: true }, chain: None, default: None }
    }

    /// Returns the test for `text.startsWith("literal")` and similar calls.
    fn of_text(chain: &'e Chain, truth: bool) -> Option<Self> {
        let (last, before) = chain.links.split_last()?;
        let LinkKind::Call(call) = &last.kind else { return None };
        let [Expr { kind: Kind::Literal(ast::Literal::String(text)), .. }] = call.arguments.as_slice() else { return None };
        let kind = match call.function.name {
            "startsWith" => TestKind::StartsWith(text.to_string()),
            "endsWith" => TestKind::EndsWith(text.to_string()),
            "contains" => TestKind::Contains(text.to_string()),
            _ => return None,
        };
        let test = Test { kind, holds: truth };
        if before.is_empty() {
            return Some(Self::about(&chain.base, test));
        }
        Some(Self::about_chain(chain, before.len(), test))
    }

    /// Returns the tested path, as it would be read by plain dots.
    fn plain_path(&self) -> Option<Vec<String>> {
        let (chain, links) = self.chain?;
        let (path, length) = path_of(chain)?;
        let is_optional = path.access == Access::Optional;
        (length == links && is_optional == self.default.is_some()).then_some(path.segments)
    }
}

/// Returns the path in `has(path)`, in which each field except the last is required, and its spelling.
fn has_path(expr: &Expr) -> Option<(Vec<String>, String)> {
    let Kind::Has(chain) = &expr.kind else { return None };
    let (path, links) = path_of(chain)?;
    let is_plain = links == chain.links.len() && path.access != Access::Optional;
    is_plain.then(|| {
        let spelling = spelled_path(&path.segments);
        (path.segments, spelling)
    })
}

fn required_field(link: &LinkKind) -> Option<&str> {
    match link {
        LinkKind::Field { name, presence: Presence::Required } => Some(name),
        LinkKind::Index { index, presence: Presence::Required } => match &index.kind {
            Kind::Literal(ast::Literal::String(name)) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

fn literal(expr: &Expr) -> Option<Literal> {
    match &expr.kind {
        Kind::Literal(literal) => Literal::of(&literal.value()),
        _ => None,
    }
}

/// Returns the literals of a list that contains nothing else.
fn literals(expr: &Expr) -> Option<Vec<Literal>> {
    let Kind::List(elements) = &expr.kind else { return None };
    let one = |element: &ast::Element| match element.presence {
        Presence::Required => literal(&element.value),
        Presence::Optional => None,
    };
    elements.iter().map(one).collect()
}

/// The value of a part that reads no name.
#[derive(Clone, Copy, PartialEq)]
enum Constant {
    Truth(bool),
    /// An error, or not a boolean.
    Neither,
}

fn constant(expr: &Expr, source: &str) -> Option<Constant> {
    if reads_a_name(expr) {
        return None;
    }
    let scope = Scope::new();
    let mut budget = Budget::steps(CONSTANT_STEPS_MAX);
    match Evaluation::new(source, &scope, &mut budget).truth(expr) {
        Ok(truth) => Some(Constant::Truth(truth)),
        // Over the budget, nothing is known: the whole may have a larger one.
        Err(fault) if fault.is_final() => None,
        Err(_) => Some(Constant::Neither),
    }
}

fn reads_a_name(expr: &Expr) -> bool {
    matches!(expr.kind, Kind::Root(_)) || expr.children().into_iter().any(reads_a_name)
}
