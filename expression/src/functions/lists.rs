//! Functions on lists, and `size` of everything that has one.

use std::cmp::Ordering;

use super::signature::{BYTES, Gives, INT, LIST, MAP, ORDERED, STRING, takes};
use super::{Arguments, CallForm, Function};
use crate::compare;
use crate::error::Fault;
use crate::value::{Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(CallForm::Either, "size", "size(x)", &[takes(&[STRING.or(BYTES).or(LIST).or(MAP)], Gives::Size)], size),
    Function::new(CallForm::Method, "slice", "list.slice(from, to)", &[takes(&[LIST, INT, INT], Gives::LikeFirst)], slice),
    Function::new(CallForm::Method, "flatten", "list.flatten(levels)", &[takes(&[LIST, INT], Gives::A(LIST)).or_without_last()], flatten),
    Function::new(CallForm::Method, "sort", "list.sort()", &[takes(&[LIST], Gives::LikeFirst).of_elements(ORDERED)], sort),
    Function::new(CallForm::Method, "distinct", "list.distinct()", &[takes(&[LIST], Gives::LikeFirst)], distinct),
    Function::new(CallForm::Method, "max", "list.max()", &[takes(&[LIST], Gives::Element).of_elements(ORDERED)], |arguments| {
        extreme(arguments, Ordering::Greater)
    }),
    Function::new(CallForm::Method, "min", "list.min()", &[takes(&[LIST], Gives::Element).of_elements(ORDERED)], |arguments| {
        extreme(arguments, Ordering::Less)
    }),
    Function::new(CallForm::Method, "first", "list.first()", &[takes(&[LIST], Gives::OptionalElement)], |arguments| {
        let items = arguments.list(0)?;
        items.into_iter().next().map_or(Ok(Value::NONE), Value::some)
    }),
    Function::new(CallForm::Method, "last", "list.last()", &[takes(&[LIST], Gives::OptionalElement)], |arguments| {
        let mut items = arguments.list(0)?;
        items.pop().map_or(Ok(Value::NONE), Value::some)
    }),
    Function::new(CallForm::Function, "lists.range", "lists.range(10)", &[takes(&[INT], Gives::ListOf(INT))], range),
];

fn size<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let size = match &arguments.values[0] {
        Value::String(text) => {
            arguments.budget.charge_bytes(text.len())?;
            text.chars().count()
        }
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.items().len(),
        Value::Map(map) => map.entries().len(),
        Value::Json(node) => {
            arguments.budget.charge(node.values() / 16)?;
            node.len()
        }
        _ => return Err(arguments.unfit()),
    };
    Ok(Value::Int(i64::try_from(size).unwrap_or(i64::MAX)))
}

fn slice<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let items = arguments.list(0)?;
    let (from, to) = (arguments.int(1)?, arguments.int(2)?);
    let bounds = usize::try_from(from).ok().zip(usize::try_from(to).ok());
    match bounds {
        Some((from, to)) if from <= to && to <= items.len() => Value::made_list(items[from..to].to_vec()),
        _ => Err(arguments.out_of_range(format_args!("{from} to {to} is not a valid range in a list of {} elements", items.len()))),
    }
}

fn flatten<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let levels = match arguments.len() {
        2 => arguments.int(1)?,
        _ => 1,
    };
    if levels < 0 {
        return Err(arguments.invalid("the number of levels cannot be negative"));
    }
    let mut items = arguments.list(0)?;
    for _ in 0..levels {
        if items.iter().all(|item| item.kind() != Type::List) {
            break;
        }
        let mut flat = Vec::with_capacity(items.len());
        for item in items {
            arguments.budget.charge(1)?;
            if item.kind() != Type::List {
                flat.push(item);
                continue;
            }
            let mut elements = compare::Elements::of(&item);
            while let Some(inner) = elements.next(arguments.budget)? {
                flat.push(inner);
            }
        }
        items = flat;
    }
    Value::made_list(items)
}

fn sort<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let keyed = arguments.list(0)?.into_iter().map(|item| (item.clone(), item)).collect();
    Value::made_list(compare::sort_by_keys(keyed, arguments.budget)?)
}

/// Returns the first element that no other is greater, or less, than.
fn extreme<'a>(arguments: &mut Arguments<'_, 'a>, side: Ordering) -> Result<Value<'a>, Fault> {
    let mut items = arguments.list(0)?.into_iter();
    let Some(mut best) = items.next() else {
        return Err(arguments.invalid("the list is empty"));
    };
    // Alone in its list, a value is compared with itself: one without an order is an error in every list.
    let mut is_ordered = compare::order(&best, &best, arguments.budget)?.is_some();
    for item in items {
        match compare::order(&item, &best, arguments.budget)? {
            Some(order) if order == side => best = item,
            Some(_) => {}
            None => is_ordered = false,
        }
    }
    if is_ordered { Ok(best) } else { Err(arguments.invalid("NaN cannot be compared: it is neither less nor greater than another number")) }
}

fn distinct<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let mut kept: Vec<Value<'a>> = Vec::new();
    for item in arguments.list(0)? {
        let mut is_new = true;
        for other in &kept {
            arguments.budget.charge(1)?;
            if compare::equal(&item, other, arguments.budget)? {
                is_new = false;
                break;
            }
        }
        if is_new {
            kept.push(item);
        }
    }
    Value::made_list(kept)
}

fn range<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let end = arguments.int(0)?;
    let Ok(count) = u64::try_from(end) else {
        return Value::made_list(Vec::new());
    };
    arguments.budget.charge(count)?;
    Value::made_list((0..end).map(Value::Int).collect())
}
