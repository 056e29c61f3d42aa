//! Fields that may be missing: determines whether the whole expression surely fails without one of them.
//!
//! The checker tries it: it examines the expression once more without the field, and reports the field only
//! if no value is left.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::facts::{Fact, Weight};
use super::{Checker, FindingKind, Purpose, SUSPECTS_MAX};
use crate::ast::{Chain, Expr, Kind, Link, LinkKind, Literal, Operator, Presence, Span};
use crate::functions::signature::{BOOL, Kinds, LIST, MAP, NULL, NUMBER, STRING};
use crate::types::Occurrence;

/// A field that may be missing, but is read as if it were there.
#[derive(Clone, Debug)]
pub(super) struct Suspect {
    pub(super) path: String,
    /// The path as written.
    pub(super) span: Span,
    pub(super) name: Box<str>,
    pub(super) occurrence: Occurrence,
    /// What each of the maps is called, if only some of them have the field.
    pub(super) each: Option<&'static str>,
}

impl<'c> Checker<'c> {
    pub(super) fn suspect(&mut self, suspect: Suspect) {
        if self.findings.is_some() {
            self.suspects.push(suspect);
        }
    }

    pub(super) fn report_suspects(&mut self, tree: &'c Expr, purpose: Purpose) {
        let suspects = std::mem::take(&mut self.suspects);
        let mut tried: BTreeSet<&str> = BTreeSet::new();
        let mut reported: Vec<Span> = Vec::new();
        for suspect in &suspects {
            // A chain is reported once, because the hint covers everything that follows, too.
            let is_reported = reported.iter().any(|span| span.start == suspect.span.start);
            if suspect.path.starts_with('#') || is_reported || !tried.insert(&suspect.path) || tried.len() > SUSPECTS_MAX {
                continue;
            }
            let mut without = Checker {
                steps: self.steps,
                steps_max: self.steps_max,
                budget: self.budget.clone(),
                ..Checker::new(self.source, self.known)
            };
            without.facts.state(&suspect.path, Fact::Absent, Weight::Firm);
            let is_left = !without.whole(tree, purpose).is_nothing();
            self.steps = without.steps;
            if !is_left {
                reported.push(suspect.span);
                self.report_missing(tree, suspect);
            }
        }
    }

    fn report_missing(&mut self, tree: &'c Expr, suspect: &Suspect) {
        let path = self.text(suspect.span);
        let message = match (suspect.occurrence, suspect.each) {
            (Occurrence::InSome, Some(each)) => format!("`{}` is not in {each}; where it is missing, reading it is an error", suspect.name),
            _ => format!("`{path}` may be missing; if it is, reading it is an error"),
        };
        let place = chain_at(tree, suspect.span).filter(|place| place.reading == ChainRead::Value);
        let optional = place.map(|place| self.optional_form(&place, suspect));
        let hint = match optional {
            Some(optional) => format!("write `{optional}`, or check first with `has({path})`"),
            None => format!("check first with `has({path})`"),
        };
        self.report(FindingKind::MayBeMissing, suspect.span, message, Some(hint));
    }

    /// Returns the path with `.?` from the possibly missing field on, and a default for it.
    fn optional_form(&mut self, place: &ChainUse<'c>, suspect: &Suspect) -> String {
        let chain = place.chain;
        let first = chain.links.iter().position(|link| link.span.end == suspect.span.end).unwrap_or(0);
        let count = first + chain.links[first..].iter().take_while(|link| is_plain(link)).count();
        let mut text = self.text(Span { start: chain.base.span.start, end: chain.links[first].span.start }).to_owned();
        for link in &chain.links[first..count] {
            match &link.kind {
                LinkKind::Field { name, .. } => {
                    let _ = write!(text, ".?{name}");
                }
                _ => {
                    let index = self.text(link.span);
                    let _ = write!(text, "[?{}", index.trim_start_matches('['));
                }
            }
        }
        let muted = self.findings.take();
        let mark = self.facts.len();
        self.facts.state(&suspect.path, Fact::Present, Weight::Firm);
        let value = self.chain(chain, count).value;
        self.facts.truncate(mark);
        self.findings = muted;
        let default = default_of(value.kinds().without(NULL))
            .or_else(|| chain.links.get(count).and_then(|link| default_for(&link.kind)))
            .or(place.beside.and_then(default_like))
            .unwrap_or(if place.is_condition { "false" } else { "\"\"" });
        let _ = write!(text, ".orValue({default})");
        text.push_str(self.text(Span { start: chain.links[count - 1].span.end, end: place.end }));
        text
    }
}

/// A chain in an expression, and its purpose there.
struct ChainUse<'c> {
    chain: &'c Chain,
    end: u32,
    /// The value that it is compared with.
    beside: Option<&'c Expr>,
    is_condition: bool,
    reading: ChainRead,
}

/// What is read of a chain.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ChainRead {
    /// Its value.
    Value,
    /// Whether its last field is there.
    Presence,
}

/// Returns the chain that begins with a path, searched for from the top.
fn chain_at(expr: &Expr, span: Span) -> Option<ChainUse<'_>> {
    let mut expr = expr;
    let mut beside = None;
    let mut is_condition = true;
    loop {
        let chain = match &expr.kind {
            Kind::Chain(chain) => Some((chain, ChainRead::Value)),
            Kind::Has(chain) => Some((chain, ChainRead::Presence)),
            _ => None,
        };
        if let Some((chain, reading)) = chain
            && chain.base.span.start == span.start
            && chain.links.iter().any(|link| link.span.end == span.end)
        {
            return Some(ChainUse { chain, end: expr.span.end, beside, is_condition, reading });
        }
        let child = expr.children().into_iter().find(|child| child.span.start <= span.start && span.end <= child.span.end)?;
        beside = match &expr.kind {
            Kind::Fold(fold) => other_side(fold.first.span, &fold.first, &fold.rest, child),
            _ => None,
        };
        is_condition = match &expr.kind {
            Kind::All(_) | Kind::Any(_) | Kind::Not(..) => true,
            Kind::Choose(choose) => choose.branches.iter().any(|(condition, _)| condition.span == child.span),
            _ => false,
        };
        expr = child;
    }
}

fn other_side<'c>(first_span: Span, first: &'c Expr, rest: &'c [(Operator, Expr)], child: &Expr) -> Option<&'c Expr> {
    match rest {
        [(_, only)] if first_span == child.span => Some(only),
        [(_, _)] => Some(first),
        _ => None,
    }
}

fn is_plain(link: &Link) -> bool {
    matches!(link.kind, LinkKind::Field { presence: Presence::Required, .. } | LinkKind::Index { presence: Presence::Required, .. })
}

/// Returns a default for a value of a single type.
fn default_of(kinds: Kinds) -> Option<&'static str> {
    let only = |some: Kinds| !kinds.is_empty() && kinds.is_within(some);
    match kinds {
        _ if only(STRING) => Some("\"\""),
        _ if only(NUMBER) => Some("0"),
        _ if only(BOOL) => Some("false"),
        _ if only(LIST) => Some("[]"),
        _ if only(MAP) => Some("{}"),
        _ => None,
    }
}

/// Returns a default for the receiver of a method.
fn default_for(link: &LinkKind) -> Option<&'static str> {
    match link {
        LinkKind::Call(call) => {
            let kinds = call.function.signatures.iter().fold(Kinds::NONE, |all, signature| all.or(signature.at(0)));
            default_of(kinds).or(if kinds.has(crate::value::Type::List) { Some("[]") } else { None })
        }
        LinkKind::Loop(_) => Some("[]"),
        LinkKind::Field { .. } | LinkKind::Index { .. } | LinkKind::Or(_) | LinkKind::OrValue(_) | LinkKind::OptMap { .. } => None,
    }
}

/// Returns a default of the same type as the other side of an operator.
fn default_like(beside: &Expr) -> Option<&'static str> {
    match &beside.kind {
        Kind::Literal(Literal::String(_)) => Some("\"\""),
        Kind::Literal(Literal::Int(_) | Literal::Uint(_)) => Some("0"),
        Kind::Literal(Literal::Double(_)) => Some("0.0"),
        Kind::Literal(Literal::Bool(_)) => Some("false"),
        Kind::Literal(Literal::Null) => Some("null"),
        _ => None,
    }
}
