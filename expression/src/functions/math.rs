//! The `math` functions.

use std::cmp::Ordering;

use super::signature::{BOOL, DOUBLE, Gives, INT, LIST, NUMBER, Signature, UINT, takes};
use super::{Arguments, CallForm, Function};
use crate::compare;
use crate::error::Fault;
use crate::value::{Type, Value};

const EXTREME: &[Signature] = &[takes(&[LIST], Gives::A(NUMBER)).of_elements(NUMBER), takes(&[NUMBER], Gives::A(NUMBER)).or_more()];

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(CallForm::Function, "math.greatest", "math.greatest(a, b, …)", EXTREME, |arguments| {
        extreme(arguments, Ordering::Greater)
    }),
    Function::new(CallForm::Function, "math.least", "math.least(a, b, …)", EXTREME, |arguments| extreme(arguments, Ordering::Less)),
    Function::new(CallForm::Function, "math.ceil", "math.ceil(double)", &[takes(&[DOUBLE], Gives::A(DOUBLE))], |arguments| {
        round_double(arguments, f64::ceil)
    }),
    Function::new(CallForm::Function, "math.floor", "math.floor(double)", &[takes(&[DOUBLE], Gives::A(DOUBLE))], |arguments| {
        round_double(arguments, f64::floor)
    }),
    Function::new(CallForm::Function, "math.round", "math.round(double)", &[takes(&[DOUBLE], Gives::A(DOUBLE))], |arguments| {
        round_double(arguments, f64::round)
    }),
    Function::new(CallForm::Function, "math.trunc", "math.trunc(double)", &[takes(&[DOUBLE], Gives::A(DOUBLE))], |arguments| {
        round_double(arguments, f64::trunc)
    }),
    Function::new(CallForm::Function, "math.sqrt", "math.sqrt(x)", &[takes(&[NUMBER], Gives::A(DOUBLE))], sqrt),
    Function::new(CallForm::Function, "math.abs", "math.abs(x)", &[takes(&[NUMBER], Gives::LikeFirst)], abs),
    Function::new(CallForm::Function, "math.sign", "math.sign(x)", &[takes(&[NUMBER], Gives::LikeFirst)], sign),
    Function::new(CallForm::Function, "math.isNaN", "math.isNaN(double)", &[takes(&[DOUBLE], Gives::A(BOOL))], |arguments| {
        test_double(arguments, f64::is_nan)
    }),
    Function::new(CallForm::Function, "math.isInf", "math.isInf(double)", &[takes(&[DOUBLE], Gives::A(BOOL))], |arguments| {
        test_double(arguments, f64::is_infinite)
    }),
    Function::new(CallForm::Function, "math.isFinite", "math.isFinite(double)", &[takes(&[DOUBLE], Gives::A(BOOL))], |arguments| {
        test_double(arguments, f64::is_finite)
    }),
    Function::new(
        CallForm::Function,
        "math.bitAnd",
        "math.bitAnd(a, b)",
        &[takes(&[INT, INT], Gives::A(INT)), takes(&[UINT, UINT], Gives::A(UINT))],
        |arguments| bits(arguments, |one, other| one & other),
    ),
    Function::new(
        CallForm::Function,
        "math.bitOr",
        "math.bitOr(a, b)",
        &[takes(&[INT, INT], Gives::A(INT)), takes(&[UINT, UINT], Gives::A(UINT))],
        |arguments| bits(arguments, |one, other| one | other),
    ),
    Function::new(
        CallForm::Function,
        "math.bitXor",
        "math.bitXor(a, b)",
        &[takes(&[INT, INT], Gives::A(INT)), takes(&[UINT, UINT], Gives::A(UINT))],
        |arguments| bits(arguments, |one, other| one ^ other),
    ),
    Function::new(CallForm::Function, "math.bitNot", "math.bitNot(a)", &[takes(&[INT.or(UINT)], Gives::LikeFirst)], |arguments| {
        match arguments.values[0] {
            Value::Int(value) => Ok(Value::Int(!value)),
            Value::Uint(value) => Ok(Value::Uint(!value)),
            _ => Err(arguments.unfit()),
        }
    }),
    Function::new(
        CallForm::Function,
        "math.bitShiftLeft",
        "math.bitShiftLeft(a, by)",
        &[takes(&[INT.or(UINT), INT], Gives::LikeFirst)],
        |arguments| shift_bits(arguments, u64::checked_shl),
    ),
    Function::new(
        CallForm::Function,
        "math.bitShiftRight",
        "math.bitShiftRight(a, by)",
        &[takes(&[INT.or(UINT), INT], Gives::LikeFirst)],
        |arguments| shift_bits(arguments, u64::checked_shr),
    ),
];

/// Returns the greatest or least of the arguments, or of the one list.
fn extreme<'a>(arguments: &mut Arguments<'_, 'a>, side: Ordering) -> Result<Value<'a>, Fault> {
    let values = match arguments.values {
        [list] if list.kind() == Type::List => arguments.list(0)?,
        values => values.to_vec(),
    };
    let is_number = |value: &Value<'_>| matches!(value, Value::Int(_) | Value::Uint(_) | Value::Double(_));
    if let Some(other) = values.iter().find(|value| !is_number(value)) {
        return Err(arguments.invalid(format_args!("{} is not a number", other.kind())));
    }
    let mut values = values.into_iter();
    let Some(mut best) = values.next() else {
        return Err(arguments.invalid("the list is empty"));
    };
    for value in values {
        match compare::order(&value, &best, arguments.budget)? {
            Some(order) if order == side => best = value,
            Some(_) => {}
            None => return Err(arguments.invalid("NaN cannot be compared: it is neither less nor greater than another number")),
        }
    }
    Ok(best)
}

fn round_double<'a>(arguments: &mut Arguments<'_, 'a>, round: fn(f64) -> f64) -> Result<Value<'a>, Fault> {
    match arguments.values[0] {
        Value::Double(value) => Ok(Value::Double(round(value))),
        _ => Err(arguments.unfit()),
    }
}

fn test_double<'a>(arguments: &mut Arguments<'_, 'a>, ask: fn(f64) -> bool) -> Result<Value<'a>, Fault> {
    match arguments.values[0] {
        Value::Double(value) => Ok(Value::Bool(ask(value))),
        _ => Err(arguments.unfit()),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a root is a double anyway")]
fn sqrt<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    Ok(Value::Double(match arguments.values[0] {
        Value::Double(value) => value.sqrt(),
        Value::Int(value) => (value as f64).sqrt(),
        Value::Uint(value) => (value as f64).sqrt(),
        _ => return Err(arguments.unfit()),
    }))
}

fn abs<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    match arguments.values[0] {
        Value::Int(value) => value
            .checked_abs()
            .map(Value::Int)
            .ok_or_else(|| arguments.out_of_range(format_args!("the absolute value of {value} does not fit in an int"))),
        Value::Uint(value) => Ok(Value::Uint(value)),
        Value::Double(value) => Ok(Value::Double(value.abs())),
        _ => Err(arguments.unfit()),
    }
}

fn sign<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    match arguments.values[0] {
        Value::Int(value) => Ok(Value::Int(value.signum())),
        Value::Uint(value) => Ok(Value::Uint(value.min(1))),
        Value::Double(value) if value.is_nan() => Ok(Value::Double(value)),
        // Without the sign that a zero may have.
        Value::Double(0.0) => Ok(Value::Double(0.0)),
        Value::Double(value) => Ok(Value::Double(value.signum())),
        _ => Err(arguments.unfit()),
    }
}

fn bits<'a>(arguments: &mut Arguments<'_, 'a>, join: fn(u64, u64) -> u64) -> Result<Value<'a>, Fault> {
    match arguments.values {
        [Value::Int(one), Value::Int(other)] => Ok(Value::Int(join(one.cast_unsigned(), other.cast_unsigned()).cast_signed())),
        [Value::Uint(one), Value::Uint(other)] => Ok(Value::Uint(join(*one, *other))),
        _ => Err(arguments.unfit()),
    }
}

/// Shifts the bits of a number, ignoring its sign. After 64 places all bits are gone.
fn shift_bits<'a>(arguments: &mut Arguments<'_, 'a>, shift: fn(u64, u32) -> Option<u64>) -> Result<Value<'a>, Fault> {
    let by = arguments.int(1)?;
    if by < 0 {
        return Err(arguments.invalid(format_args!("cannot shift by a negative number of places: {by}")));
    }
    let by = u32::try_from(by).unwrap_or(u32::MAX);
    match arguments.values[0] {
        Value::Int(value) => Ok(Value::Int(shift(value.cast_unsigned(), by).unwrap_or(0).cast_signed())),
        Value::Uint(value) => Ok(Value::Uint(shift(value, by).unwrap_or(0))),
        _ => Err(arguments.unfit()),
    }
}
