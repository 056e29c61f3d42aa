//! What a condition implies about the paths in it, once it is known to be true or false.

use super::chains::{SEPARATOR, name_of, path_of, root_path};
use super::facts::{Fact, Weight};
use super::{Checker, Truth};
use crate::ast::{Chain, Comparison, Expr, Fold, Kind, LinkKind, Literal, Operator, Presence};
use crate::functions::signature::{NULL, NUMBER};
use crate::types::{Range, ValueType};
use crate::value::Value;

impl Checker<'_> {
    /// States what holds if the condition is true, or if it is false.
    pub(super) fn assume(&mut self, condition: &Expr, truth: Truth, weight: Weight) {
        match (&condition.kind, truth) {
            (Kind::All(operands), Truth::True) | (Kind::Any(operands), Truth::False) => {
                for operand in operands {
                    self.assume(operand, truth, weight);
                }
            }
            (Kind::Not(operand, times), _) => {
                self.assume(operand, if times % 2 == 1 { truth.negate() } else { truth }, weight);
            }
            (Kind::Has(chain), _) => self.assume_has(chain, truth, weight),
            (Kind::Chain(_) | Kind::Local(_), _) => {
                self.state_is(condition, ValueType::truth(truth == Truth::True), weight);
            }
            (Kind::Fold(fold), _) => self.assume_fold(fold, truth, weight),
            (
                Kind::Literal(_)
                | Kind::Type(_)
                | Kind::Root(_)
                | Kind::Call(_)
                | Kind::List(_)
                | Kind::Map(_)
                | Kind::All(_)
                | Kind::Any(_)
                | Kind::Negate(..)
                | Kind::Choose(_)
                | Kind::Bind(_),
                _,
            ) => {}
        }
    }

    fn assume_has(&mut self, chain: &Chain, truth: Truth, weight: Weight) {
        let Some(path) = path_of(chain, chain.links.len()) else { return };
        match truth {
            Truth::True => self.state_present(chain, chain.links.len(), weight),
            // With an optional, the field may be missing because something before it is missing.
            Truth::False if are_required(chain, chain.links.len()) => self.facts.state(&path, Fact::Absent, weight),
            Truth::False => {}
        }
    }

    fn assume_fold(&mut self, fold: &Fold, truth: Truth, weight: Weight) {
        let [(operator, other)] = fold.rest.as_slice() else { return };
        match operator {
            Operator::Equal | Operator::NotEqual => {
                let truth = if *operator == Operator::Equal { truth } else { truth.negate() };
                match (literal(&fold.first), literal(other)) {
                    (None, Some(literal)) => self.assume_equal(&fold.first, literal, truth, weight),
                    (Some(literal), None) => self.assume_equal(other, literal, truth, weight),
                    _ => {}
                }
            }
            Operator::Less | Operator::LessOrEqual | Operator::Greater | Operator::GreaterOrEqual => {
                let Some(comparison) = operator.comparison() else { return };
                match (literal(&fold.first), literal(other)) {
                    (None, Some(literal)) => self.assume_order(&fold.first, literal, comparison, truth, weight),
                    (Some(literal), None) => self.assume_order(other, literal, comparison.swap_sides(), truth, weight),
                    _ => {}
                }
            }
            Operator::In => {
                let Kind::List(elements) = &other.kind else { return };
                let literals: Option<Vec<&Literal>> =
                    elements.iter().map(|element| literal(&element.value).filter(|_| element.presence == Presence::Required)).collect();
                let Some(literals) = literals else { return };
                let all = match truth {
                    Truth::True => literals.iter().fold(ValueType::nothing(), |all, literal| all.or(equal_to(literal))),
                    Truth::False => literals.iter().fold(ValueType::anything(), |all, literal| all.and(&other_than(literal))),
                };
                self.state_is(&fold.first, all, weight);
            }
            Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {}
        }
    }

    fn assume_equal(&mut self, path: &Expr, literal: &Literal, truth: Truth, weight: Weight) {
        let is = match truth {
            Truth::True => equal_to(literal),
            Truth::False => other_than(literal),
        };
        self.state_is(path, is, weight);
    }

    fn assume_order(&mut self, path: &Expr, literal: &Literal, comparison: Comparison, truth: Truth, weight: Weight) {
        let value = literal.value();
        if !matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_)) {
            return;
        }
        let range = match truth {
            Truth::True => Range::beside(&value, comparison),
            Truth::False => Range::beside(&value, comparison.complement()).or_undefined(),
        };
        self.state_is(path, ValueType::within(NUMBER, range), weight);
    }

    /// States what the value of a path is, and that it is there.
    fn state_is(&mut self, expr: &Expr, is: ValueType, weight: Weight) {
        match &expr.kind {
            Kind::Local(_) => {
                if let Some(path) = root_path(expr) {
                    self.facts.state(&path, Fact::Is(is), weight);
                }
            }
            Kind::Chain(chain) if are_required(chain, chain.links.len()) => {
                let Some(path) = path_of(chain, chain.links.len()) else { return };
                self.state_present(chain, chain.links.len() - 1, weight);
                self.facts.state(&path, Fact::Is(is), weight);
            }
            _ => {}
        }
    }

    /// States that each of the first links of a chain is there.
    fn state_present(&mut self, chain: &Chain, count: usize, weight: Weight) {
        let Some(mut path) = root_path(&chain.base) else { return };
        for link in &chain.links[..count] {
            let Some(name) = name_of(link) else { return };
            path.push(SEPARATOR);
            path.push_str(name);
            self.facts.state(&path, Fact::Present, weight);
        }
    }
}

/// Returns true if the first links of a chain read fields that must be there.
fn are_required(chain: &Chain, count: usize) -> bool {
    chain.links[..count].iter().all(|link| {
        matches!(link.kind, LinkKind::Field { presence: Presence::Required, .. } | LinkKind::Index { presence: Presence::Required, .. })
    })
}

fn literal(expr: &Expr) -> Option<&Literal> {
    match &expr.kind {
        Kind::Literal(literal) => Some(literal),
        _ => None,
    }
}

/// Returns all values that are equal to a literal.
fn equal_to(literal: &Literal) -> ValueType {
    let value = literal.value();
    match literal {
        // Numbers are equal by value, whatever their types.
        Literal::Int(_) | Literal::Uint(_) | Literal::Double(_) => ValueType::within(NUMBER, Range::of(&value)),
        Literal::Null | Literal::Bool(_) | Literal::String(_) | Literal::Bytes(_) => ValueType::of_value(&value),
    }
}

/// Returns all values that are not equal to a literal.
fn other_than(literal: &Literal) -> ValueType {
    let value = literal.value();
    match literal {
        Literal::Null => ValueType::anything().without(NULL),
        Literal::Bool(value) => ValueType::anything().but_truth(*value),
        Literal::Int(_) | Literal::Uint(_) | Literal::Double(_) => ValueType::anything().but_number(&value),
        Literal::String(text) => ValueType::anything().but_text(text),
        Literal::Bytes(_) => ValueType::anything(),
    }
}
