//! Creates and inspects optionals. `or`, `orValue` and `optMap` are macros, because they may skip their
//! argument.

use super::signature::{ALL, BOOL, Gives, LIST, OPTIONAL, takes};
use super::{Arguments, CallForm, Function};
use crate::error::{ErrorKind, Fault, fault};
use crate::value::{Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(CallForm::Function, "optional.of", "optional.of(x)", &[takes(&[ALL], Gives::Optional)], |arguments| {
        Value::some(arguments.value(0))
    }),
    Function::new(CallForm::Function, "optional.none", "optional.none()", &[takes(&[], Gives::Absent)], |_| Ok(Value::NONE)),
    Function::new(
        CallForm::Function,
        "optional.ofNonZeroValue",
        "optional.ofNonZeroValue(x)",
        &[takes(&[ALL], Gives::MaybeOptional)],
        |arguments| {
            if is_zero(&arguments.values[0]) { Ok(Value::NONE) } else { Value::some(arguments.value(0)) }
        },
    ),
    Function::new(
        CallForm::Function,
        "optional.unwrap",
        "optional.unwrap(list)",
        &[takes(&[LIST], Gives::PresentElements).of_elements(OPTIONAL)],
        unwrap,
    ),
    Function::new(
        CallForm::Method,
        "unwrapOpt",
        "list.unwrapOpt()",
        &[takes(&[LIST], Gives::PresentElements).of_elements(OPTIONAL)],
        unwrap,
    ),
    Function::new(CallForm::Method, "hasValue", "optional.hasValue()", &[takes(&[OPTIONAL], Gives::A(BOOL))], |arguments| match &arguments
        .values[0]
    {
        Value::Optional(inner) => Ok(Value::Bool(inner.is_some())),
        _ => Err(arguments.unfit()),
    }),
    Function::new(CallForm::Method, "value", "optional.value()", &[takes(&[OPTIONAL], Gives::Inner)], |arguments| {
        match &arguments.values[0] {
            Value::Optional(Some(inner)) => Ok(Value::clone(inner)),
            Value::Optional(None) => {
                Err(fault(ErrorKind::Missing, "the optional is absent").hint("add a default for when it is absent: `.orValue(…)`"))
            }
            _ => Err(arguments.unfit()),
        }
    }),
];

/// Returns the values of the present optionals of a list.
fn unwrap<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let mut items = Vec::new();
    for item in arguments.list(0)? {
        match item {
            Value::Optional(inner) => items.extend(inner.as_deref().cloned()),
            other => {
                return Err(arguments.invalid(format_args!("{} is not an optional", other.kind())));
            }
        }
    }
    Value::made_list(items)
}

fn is_zero(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Optional(None) => true,
        Value::Bool(value) => !value,
        Value::Int(value) => *value == 0,
        Value::Uint(value) => *value == 0,
        Value::Double(value) => *value == 0.0,
        Value::String(text) => text.is_empty(),
        Value::Bytes(bytes) => bytes.is_empty(),
        Value::List(list) => list.items().is_empty(),
        Value::Map(map) => map.entries().is_empty(),
        Value::Json(node) => matches!(value.kind(), Type::List | Type::Map) && node.values() == 1,
        Value::Timestamp(moment) => moment.timestamp() == 0 && moment.timestamp_subsec_nanos() == 0,
        Value::Duration(nanoseconds) => *nanoseconds == 0,
        Value::Type(_) | Value::Optional(Some(_)) => false,
    }
}
