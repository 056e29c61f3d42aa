//! `+ - * / %` and negation: checked for whole numbers, by IEEE rules for doubles, never mixed.

use chrono::{DateTime, TimeDelta, Utc};

use crate::ast::Operator;
use crate::budget::Budget;
use crate::compare::Elements;
use crate::error::{ErrorKind, Fault, fault};
use crate::value::{Type, Value, in_range};

/// The value of `one operator other` for whole numbers of one type.
macro_rules! whole {
    ($kind:ident, $operator:expr, $one:expr, $other:expr) => {{
        let value = match $operator {
            Operator::Add => $one.checked_add(*$other),
            Operator::Subtract => $one.checked_sub(*$other),
            Operator::Multiply => $one.checked_mul(*$other),
            Operator::Divide => {
                nonzero(*$other != 0, "division")?;
                $one.checked_div(*$other)
            }
            Operator::Remainder => {
                nonzero(*$other != 0, "remainder")?;
                $one.checked_rem(*$other)
            }
            _ => return Err(unfit($operator, Type::$kind, Type::$kind)),
        };
        value.map(Value::$kind).ok_or_else(|| overflow($operator, Type::$kind))
    }};
}

/// The value of `one operator other`.
pub(crate) fn apply<'a>(operator: Operator, one: &Value<'a>, other: &Value<'a>, budget: &mut Budget) -> Result<Value<'a>, Fault> {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => whole!(Int, operator, one, other),
        (Value::Uint(one), Value::Uint(other)) => whole!(Uint, operator, one, other),
        (Value::Double(one), Value::Double(other)) => Ok(Value::Double(match operator {
            Operator::Add => one + other,
            Operator::Subtract => one - other,
            Operator::Multiply => one * other,
            Operator::Divide => one / other,
            _ => return Err(unfit(operator, Type::Double, Type::Double)),
        })),
        _ => match operator {
            Operator::Add => add(one, other, budget),
            Operator::Subtract => subtract(one, other),
            _ => Err(unfit(operator, one.kind(), other.kind())),
        },
    }
}

fn add<'a>(one: &Value<'a>, other: &Value<'a>, budget: &mut Budget) -> Result<Value<'a>, Fault> {
    match (one, other) {
        (Value::String(one), Value::String(other)) => {
            budget.charge_bytes(one.len() + other.len())?;
            Ok(Value::shared_text(format!("{}{}", &**one, &**other)))
        }
        (Value::Bytes(one), Value::Bytes(other)) => {
            budget.charge_bytes(one.len() + other.len())?;
            Ok(Value::Bytes([&**one, &**other].concat().into()))
        }
        (Value::Timestamp(moment), Value::Duration(span)) | (Value::Duration(span), Value::Timestamp(moment)) => {
            shift_moment(moment, Some(*span))
        }
        (Value::Duration(one), Value::Duration(other)) => {
            one.checked_add(*other).map(Value::Duration).ok_or_else(|| overflow(Operator::Add, Type::Duration))
        }
        _ if one.kind() == Type::List && other.kind() == Type::List => {
            let mut items = Vec::new();
            for list in [one, other] {
                let mut elements = Elements::of(list);
                while let Some(item) = elements.next(budget)? {
                    items.push(item);
                }
            }
            Value::made_list(items)
        }
        _ => Err(unfit(Operator::Add, one.kind(), other.kind())),
    }
}

fn subtract<'a>(one: &Value<'a>, other: &Value<'a>) -> Result<Value<'a>, Fault> {
    match (one, other) {
        (Value::Timestamp(moment), Value::Duration(span)) => shift_moment(moment, span.checked_neg()),
        (Value::Timestamp(one), Value::Timestamp(other)) => one
            .signed_duration_since(*other)
            .num_nanoseconds()
            .map(Value::Duration)
            .ok_or_else(|| overflow(Operator::Subtract, Type::Duration)),
        (Value::Duration(one), Value::Duration(other)) => {
            one.checked_sub(*other).map(Value::Duration).ok_or_else(|| overflow(Operator::Subtract, Type::Duration))
        }
        _ => Err(unfit(Operator::Subtract, one.kind(), other.kind())),
    }
}

/// `-value`
pub(crate) fn negate<'a>(value: &Value<'a>) -> Result<Value<'a>, Fault> {
    match value {
        Value::Int(value) => value.checked_neg().map(Value::Int).ok_or_else(|| overflow(Operator::Subtract, Type::Int)),
        Value::Double(value) => Ok(Value::Double(-value)),
        other => Err(fault(ErrorKind::Type, format!("`-` needs an int or a double, not {}", other.kind()))),
    }
}

/// Returns a moment shifted by some nanoseconds, if both are in range.
fn shift_moment<'a>(moment: &DateTime<Utc>, nanoseconds: Option<i64>) -> Result<Value<'a>, Fault> {
    nanoseconds
        .and_then(|nanoseconds| moment.checked_add_signed(TimeDelta::nanoseconds(nanoseconds)))
        .and_then(in_range)
        .map(Value::Timestamp)
        .ok_or_else(|| overflow(Operator::Add, Type::Timestamp))
}

fn nonzero(is_nonzero: bool, what: &str) -> Result<(), Fault> {
    if is_nonzero {
        return Ok(());
    }
    Err(fault(ErrorKind::DivisionByZero, format!("{what} by zero")))
}

fn overflow(operator: Operator, kind: Type) -> Fault {
    fault(ErrorKind::Overflow, format!("the result of `{}` is out of range for {kind}", operator.symbol()))
}

/// Returns the error for types that the operator does not accept together.
pub(crate) fn unfit(operator: Operator, one: Type, other: Type) -> Fault {
    let error = fault(ErrorKind::Type, format!("`{}` cannot be applied to {one} and {other}", operator.symbol()));
    let is_number = |kind| matches!(kind, Type::Int | Type::Uint | Type::Double);
    if is_number(one) && is_number(other) && operator != Operator::Remainder {
        return error.hint("convert one of them: `double(x)`, `int(x)` or `uint(x)`");
    }
    match (operator, one, other) {
        (Operator::Add, Type::String, _) | (Operator::Add, _, Type::String) => error.hint("convert the other to a string: `string(x)`"),
        (Operator::Remainder, Type::Double, _) => error.hint("convert it: `int(x)`"),
        _ => error,
    }
}
