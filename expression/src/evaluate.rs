//! Evaluates a tree in a scope.
//!
//! Names, limits and patterns were resolved when the tree was made. What functions do is in `functions`.

mod chain;
mod turns;

use crate::arithmetic;
use crate::ast::{Choose, Element, Entry, Expr, Fold, Kind, Operator, Presence, Times};
use crate::budget::Budget;
use crate::compare;
use crate::error::{ErrorKind, EvaluationError, Fault, fault};
use crate::functions::{Arguments, PatternCache};
use crate::scope::Scope;
use crate::value::Value;

/// An evaluation in progress.
pub(crate) struct Evaluation<'s, 'a> {
    /// For messages that show how a field was written.
    source: &'s str,
    scope: &'s Scope<'a>,
    pub(crate) budget: &'s mut Budget,
    /// The variables of the macros around the current node, outermost first.
    locals: Vec<Value<'a>>,
    patterns: PatternCache,
}

impl<'s, 'a> Evaluation<'s, 'a> {
    pub(crate) fn new(source: &'s str, scope: &'s Scope<'a>, budget: &'s mut Budget) -> Self {
        Self::within(source, scope, budget, Vec::new())
    }

    /// Returns an evaluation inside of macros, whose variables have these values, outermost first.
    pub(crate) fn within(source: &'s str, scope: &'s Scope<'a>, budget: &'s mut Budget, locals: Vec<Value<'a>>) -> Self {
        Self { source, scope, budget, locals, patterns: PatternCache::default() }
    }

    /// Returns the value of `expr`. An error names the smallest part that failed.
    pub(crate) fn value(&mut self, expr: &'a Expr) -> Result<Value<'a>, Fault> {
        self.budget.charge(1).map_err(|fault| fault.at(expr.span.range()))?;
        match &expr.kind {
            Kind::Literal(literal) => Ok(literal.value()),
            Kind::Type(kind) => Ok(Value::Type(*kind)),
            Kind::Root(name) => self.root(expr, name),
            Kind::Local(index) => Ok(self.locals[*index].clone()),
            Kind::Chain(chain) => self.chain(chain),
            Kind::Call(call) => {
                let values = self.values(&call.arguments)?;
                Arguments {
                    function: call.function,
                    values: &values,
                    budget: self.budget,
                    pattern: call.pattern.as_ref(),
                    patterns: &mut self.patterns,
                }
                .call()
                .map_err(|fault| fault.at(expr.span.range()))
            }
            Kind::List(elements) => self.list(elements).map_err(|fault| fault.at(expr.span.range())),
            Kind::Map(entries) => self.map(entries).map_err(|fault| fault.at(expr.span.range())),
            Kind::All(operands) => self.all(operands).map(Value::Bool),
            Kind::Any(operands) => self.any(operands).map(Value::Bool),
            Kind::Not(operand, times) => self.truth(operand).map(|truth| Value::Bool(truth ^ (times % 2 == 1))),
            Kind::Negate(operand, times) => self.negate(operand, *times).map_err(|fault| fault.at(expr.span.range())),
            Kind::Fold(fold) => self.fold(fold),
            Kind::Choose(choose) => self.choose(choose),
            Kind::Has(chain) => self.has(chain).map(Value::Bool),
            Kind::Bind(parts) => self.bind(&parts.0, &parts.1),
        }
    }

    /// Returns the value of a part that must be true or false.
    pub(crate) fn truth(&mut self, expr: &'a Expr) -> Result<bool, Fault> {
        match self.value(expr)? {
            Value::Bool(truth) => Ok(truth),
            other => Err(not_boolean(&other).at(expr.span.range())),
        }
    }

    #[inline(never)]
    fn root(&mut self, expr: &'a Expr, name: &str) -> Result<Value<'a>, Fault> {
        self.scope.get(name).cloned().ok_or_else(|| fault(ErrorKind::Missing, format!("`{name}` has no value here")).at(expr.span.range()))
    }

    /// Returns false as soon as one operand is false. Returns an error only if none is false.
    fn all(&mut self, operands: &'a [Expr]) -> Result<bool, Fault> {
        self.junction(operands, false)
    }

    /// Returns true as soon as one operand is true. Returns an error only if none is true.
    fn any(&mut self, operands: &'a [Expr]) -> Result<bool, Fault> {
        self.junction(operands, true)
    }

    #[inline(never)]
    fn junction(&mut self, operands: &'a [Expr], decisive: bool) -> Result<bool, Fault> {
        let mut absorbed = None;
        for operand in operands {
            match self.truth(operand) {
                Ok(truth) if truth == decisive => return Ok(decisive),
                Ok(_) => {}
                Err(fault) if fault.is_final() => return Err(fault),
                Err(fault) => absorbed = absorbed.or(Some(fault)),
            }
        }
        absorbed.map_or(Ok(!decisive), Err)
    }

    #[inline(never)]
    fn negate(&mut self, operand: &'a Expr, times: Times) -> Result<Value<'a>, Fault> {
        let mut value = self.value(operand)?;
        for _ in 0..times {
            value = arithmetic::negate(&value)?;
        }
        Ok(value)
    }

    #[inline(never)]
    fn fold(&mut self, fold: &'a Fold) -> Result<Value<'a>, Fault> {
        let mut value = self.value(&fold.first)?;
        for (operator, operand) in &fold.rest {
            let other = self.value(operand)?;
            value = binary(*operator, &value, &other, self.budget).map_err(|fault| fault.at(fold.first.span.to(operand.span).range()))?;
        }
        Ok(value)
    }

    #[inline(never)]
    fn choose(&mut self, choose: &'a Choose) -> Result<Value<'a>, Fault> {
        for (condition, then) in &choose.branches {
            if self.truth(condition)? {
                return self.value(then);
            }
        }
        self.value(&choose.otherwise)
    }

    #[inline(never)]
    fn bind(&mut self, value: &'a Expr, body: &'a Expr) -> Result<Value<'a>, Fault> {
        let value = self.value(value)?;
        self.with_locals([value], |evaluation| evaluation.value(body))
    }

    #[inline(never)]
    fn list(&mut self, elements: &'a [Element]) -> Result<Value<'a>, Fault> {
        let mut items = Vec::with_capacity(elements.len());
        for element in elements {
            let value = self.value(&element.value)?;
            match element.presence {
                Presence::Required => items.push(value),
                Presence::Optional => items.extend(present(&value, &element.value)?),
            }
        }
        Value::made_list(items)
    }

    #[inline(never)]
    fn map(&mut self, entries: &'a [Entry]) -> Result<Value<'a>, Fault> {
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries {
            let key = self.value(&entry.key)?;
            let value = self.value(&entry.value)?;
            match entry.presence {
                Presence::Required => items.push((key, value)),
                Presence::Optional => items.extend(present(&value, &entry.value)?.map(|value| (key, value))),
            }
        }
        Value::made_map(items, self.budget)
    }

    pub(crate) fn values(&mut self, exprs: &'a [Expr]) -> Result<Vec<Value<'a>>, Fault> {
        exprs.iter().map(|expr| self.value(expr)).collect()
    }

    /// Evaluates with additional variables, which are removed afterwards even if it fails.
    fn with_locals<const N: usize, T>(
        &mut self,
        values: [Value<'a>; N],
        evaluate: impl FnOnce(&mut Self) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let outer = self.locals.len();
        self.locals.extend(values);
        let result = evaluate(self);
        self.locals.truncate(outer);
        result
    }
}

/// Returns the value of `one operator other`.
pub(crate) fn binary<'a>(operator: Operator, one: &Value<'a>, other: &Value<'a>, budget: &mut Budget) -> Result<Value<'a>, Fault> {
    budget.charge(1)?;
    Ok(Value::Bool(match operator {
        Operator::Equal => compare::equal(one, other, budget)?,
        Operator::NotEqual => !compare::equal(one, other, budget)?,
        Operator::In => compare::contains(other, one, budget)?,
        Operator::Less => compare::order(one, other, budget)?.is_some_and(|order| order.is_lt()),
        Operator::LessOrEqual => compare::order(one, other, budget)?.is_some_and(|order| order.is_le()),
        Operator::Greater => compare::order(one, other, budget)?.is_some_and(|order| order.is_gt()),
        Operator::GreaterOrEqual => compare::order(one, other, budget)?.is_some_and(|order| order.is_ge()),
        Operator::Add | Operator::Subtract | Operator::Multiply | Operator::Divide | Operator::Remainder => {
            return arithmetic::apply(operator, one, other, budget);
        }
    }))
}

/// Returns what `?x` adds to a list or map literal: the value of a present optional.
fn present<'a>(value: &Value<'a>, expr: &Expr) -> Result<Option<Value<'a>>, Fault> {
    match value {
        Value::Optional(value) => Ok(value.as_deref().cloned()),
        other => Err(fault(ErrorKind::Type, format!("`?` needs an optional, not {}", other.kind())).at(expr.span.range())),
    }
}

fn not_boolean(value: &Value<'_>) -> Box<EvaluationError> {
    let error = fault(ErrorKind::Type, format!("expected true or false, not {}", value.kind()));
    match value {
        Value::Optional(_) => error.hint("add a default for when it is absent: `.orValue(false)`"),
        Value::Null => error.hint("compare it: `… == true`"),
        _ => error.hint("compare it, for example with `==`"),
    }
}
