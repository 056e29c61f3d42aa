//! Macros over lists and maps: one turn for each element or entry, with maps in key order.

use super::Evaluation;
use crate::ast::{Expr, Loop, LoopKind, Variables};
use crate::compare::{self, sorted_entries};
use crate::error::{ErrorKind, Fault, fault};
use crate::json::{Items, NodeKind};
use crate::value::{List, Type, Value};

impl<'a> Evaluation<'_, 'a> {
    #[inline(never)]
    pub(super) fn turns(&mut self, range: &Value<'a>, turns: &'a Loop) -> Result<Value<'a>, Fault> {
        if turns.kind == LoopKind::SortBy && range.kind() != Type::List {
            return Err(fault(ErrorKind::Type, format!("`sortBy` needs a list, not {}", range.kind())));
        }
        let range = self.range(range)?;
        match turns.kind {
            LoopKind::All => self.quantify(range, turns, Decisive::False),
            LoopKind::Exists => self.quantify(range, turns, Decisive::True),
            LoopKind::ExistsOne => self.exists_one(range, turns),
            LoopKind::List => self.collect_items(range, turns),
            LoopKind::Filter => self.filter_items(range, turns),
            LoopKind::Map | LoopKind::Entries => self.build_map(range, turns),
            LoopKind::SortBy => self.sorted_by(range, turns),
        }
    }

    fn quantify(&mut self, range: Range<'a>, turns: &'a Loop, decisive: Decisive) -> Result<Value<'a>, Fault> {
        let decisive = decisive == Decisive::True;
        let mut absorbed = None;
        for turn in range {
            match self.turn_truth(turn, turns.variables, &turns.body) {
                Ok(truth) if truth == decisive => return Ok(Value::Bool(decisive)),
                Ok(_) => {}
                Err(fault) if fault.is_final() => return Err(fault),
                Err(fault) => absorbed = absorbed.or(Some(fault)),
            }
        }
        absorbed.map_or(Ok(Value::Bool(!decisive)), Err)
    }

    fn exists_one(&mut self, range: Range<'a>, turns: &'a Loop) -> Result<Value<'a>, Fault> {
        let mut count = 0_usize;
        for turn in range {
            count += usize::from(self.turn_truth(turn, turns.variables, &turns.body)?);
        }
        Ok(Value::Bool(count == 1))
    }

    fn collect_items(&mut self, range: Range<'a>, turns: &'a Loop) -> Result<Value<'a>, Fault> {
        let mut items = Vec::new();
        for turn in range {
            if self.is_kept(&turn, turns)? {
                items.push(self.turn(turn, turns.variables, &turns.body)?);
            }
        }
        Value::made_list(items)
    }

    fn filter_items(&mut self, range: Range<'a>, turns: &'a Loop) -> Result<Value<'a>, Fault> {
        let mut items = Vec::new();
        for turn in range {
            let element = turn.element.clone();
            if self.turn_truth(turn, turns.variables, &turns.body)? {
                items.push(element);
            }
        }
        Value::made_list(items)
    }

    fn build_map(&mut self, range: Range<'a>, turns: &'a Loop) -> Result<Value<'a>, Fault> {
        let mut entries = Vec::new();
        for turn in range {
            if !self.is_kept(&turn, turns)? {
                continue;
            }
            let key = turn.key.clone();
            let value = self.turn(turn, turns.variables, &turns.body)?;
            match turns.kind {
                LoopKind::Entries if value.kind() != Type::Map => {
                    return Err(fault(ErrorKind::Type, format!("each iteration must return a map of entries, not {}", value.kind()))
                        .at(turns.body.span.range()));
                }
                LoopKind::Entries => entries.extend(sorted_entries(&value, self.budget)?),
                _ => entries.push((key, value)),
            }
        }
        Value::made_map(entries, self.budget)
    }

    fn sorted_by(&mut self, range: Range<'a>, turns: &'a Loop) -> Result<Value<'a>, Fault> {
        let mut keyed = Vec::new();
        for turn in range {
            let element = turn.element.clone();
            keyed.push((self.turn(turn, turns.variables, &turns.body)?, element));
        }
        compare::sort_by_keys(keyed, self.budget).and_then(Value::made_list).map_err(|fault| fault.at(turns.body.span.range()))
    }

    /// Returns true if the macro has no filter, or its filter keeps this turn.
    fn is_kept(&mut self, turn: &LoopTurn<'a>, turns: &'a Loop) -> Result<bool, Fault> {
        match &turns.filter {
            Some(filter) => self.turn_truth(turn.clone(), turns.variables, filter),
            None => Ok(true),
        }
    }

    fn turn(&mut self, turn: LoopTurn<'a>, variables: Variables, body: &'a Expr) -> Result<Value<'a>, Fault> {
        self.budget.charge(1).and_then(|()| self.budget.charge_bytes(turn.copied_len)).map_err(|fault| fault.at(body.span.range()))?;
        if turn.is_rounded {
            self.budget.note_rounded();
        }
        match variables {
            Variables::One => self.with_locals([turn.element], |evaluation| evaluation.value(body)),
            Variables::Two => self.with_locals([turn.key, turn.value], |evaluation| evaluation.value(body)),
        }
    }

    fn turn_truth(&mut self, turn: LoopTurn<'a>, variables: Variables, body: &'a Expr) -> Result<bool, Fault> {
        match self.turn(turn, variables, body)? {
            Value::Bool(truth) => Ok(truth),
            other => Err(super::not_boolean(&other).at(body.span.range())),
        }
    }

    /// Returns what the macro iterates over.
    pub(crate) fn range(&mut self, value: &Value<'a>) -> Result<Range<'a>, Fault> {
        match value {
            Value::List(list) => Ok(Range::List { list: list.clone(), next: 0 }),
            Value::Json(node) if node.kind() == NodeKind::Array => Ok(Range::Json { items: node.items(), next: 0 }),
            Value::Map(_) | Value::Json(_) => Ok(Range::Map(sorted_entries(value, self.budget)?.into_iter())),
            other => Err(fault(ErrorKind::Type, format!("a macro needs a list or a map to iterate over, not {}", other.kind()))),
        }
    }
}

/// The truth of a turn that decides for all of them.
#[derive(Clone, Copy, PartialEq)]
enum Decisive {
    True,
    False,
}

/// The values of the variables in one turn.
#[derive(Clone)]
pub(crate) struct LoopTurn<'a> {
    /// The single variable: a list's element, a map's key.
    pub(crate) element: Value<'a>,
    /// The first of two variables: the index or the key.
    pub(crate) key: Value<'a>,
    /// The second of two variables.
    pub(crate) value: Value<'a>,
    /// The number of bytes of the document that were copied for it.
    copied_len: usize,
    /// Whether it is the nearest double of a whole number that does not fit in 64 bits.
    is_rounded: bool,
}

impl<'a> LoopTurn<'a> {
    /// Returns the values of the macro's variables.
    pub(crate) fn variables(self, variables: Variables) -> Vec<Value<'a>> {
        match variables {
            Variables::One => vec![self.element],
            Variables::Two => vec![self.key, self.value],
        }
    }
}

pub(crate) enum Range<'a> {
    List { list: List<'a>, next: usize },
    Json { items: Items<'a>, next: usize },
    Map(std::vec::IntoIter<(Value<'a>, Value<'a>)>),
}

impl<'a> Iterator for Range<'a> {
    type Item = LoopTurn<'a>;

    fn next(&mut self) -> Option<LoopTurn<'a>> {
        let (value, copied_len, is_rounded, next) = match self {
            Self::List { list, next } => (list.items().get(*next)?.clone(), 0, false, next),
            Self::Json { items, next } => {
                let node = items.next()?;
                (Value::from(node), node.copied_len(), node.is_rounded(), next)
            }
            Self::Map(entries) => {
                let (key, value) = entries.next()?;
                return Some(LoopTurn { element: key.clone(), key, value, copied_len: 0, is_rounded: false });
            }
        };
        let key = Value::Int(i64::try_from(*next).unwrap_or(i64::MAX));
        *next += 1;
        Some(LoopTurn { element: value.clone(), key, value, copied_len, is_rounded })
    }
}
