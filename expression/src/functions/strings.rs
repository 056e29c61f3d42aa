//! Functions on text; positions count characters (code points), from 0.

use super::signature::{BOOL, Gives, INT, LIST, STRING, takes};
use super::{Arguments, CallForm, Function, format};
use crate::error::Fault;
use crate::value::{Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new(
        CallForm::Method,
        "startsWith",
        "text.startsWith(\"refs/tags/\")",
        &[takes(&[STRING, STRING], Gives::A(BOOL))],
        |arguments| {
            let (text, start) = (arguments.text(0)?, arguments.read_text(1)?);
            Ok(Value::Bool(text.starts_with(&*start)))
        },
    ),
    Function::new(CallForm::Method, "endsWith", "text.endsWith(\".rs\")", &[takes(&[STRING, STRING], Gives::A(BOOL))], |arguments| {
        let (text, end) = (arguments.text(0)?, arguments.read_text(1)?);
        Ok(Value::Bool(text.ends_with(&*end)))
    }),
    Function::new(CallForm::Method, "contains", "text.contains(\"part\")", &[takes(&[STRING, STRING], Gives::A(BOOL))], |arguments| {
        let (text, part) = (arguments.read_text(0)?, arguments.read_text(1)?);
        Ok(Value::Bool(text.contains(&*part)))
    }),
    Function::new(CallForm::Method, "charAt", "text.charAt(0)", &[takes(&[STRING, INT], Gives::A(STRING))], char_at),
    Function::new(
        CallForm::Method,
        "indexOf",
        "text.indexOf(\"part\", from)",
        &[takes(&[STRING, STRING, INT], Gives::A(INT)).or_without_last()],
        index_of,
    ),
    Function::new(
        CallForm::Method,
        "lastIndexOf",
        "text.lastIndexOf(\"part\", up_to)",
        &[takes(&[STRING, STRING, INT], Gives::A(INT)).or_without_last()],
        last_index_of,
    ),
    Function::new(CallForm::Method, "lowerAscii", "text.lowerAscii()", &[takes(&[STRING], Gives::A(STRING))], |arguments| {
        let text = arguments.read_text(0)?.to_ascii_lowercase();
        arguments.charge_text(text)
    }),
    Function::new(CallForm::Method, "upperAscii", "text.upperAscii()", &[takes(&[STRING], Gives::A(STRING))], |arguments| {
        let text = arguments.read_text(0)?.to_ascii_uppercase();
        arguments.charge_text(text)
    }),
    Function::new(
        CallForm::Method,
        "replace",
        "text.replace(\"old\", \"new\", at_most)",
        &[takes(&[STRING, STRING, STRING, INT], Gives::A(STRING)).or_without_last()],
        replace,
    ),
    Function::new(
        CallForm::Method,
        "split",
        "text.split(\",\", at_most)",
        &[takes(&[STRING, STRING, INT], Gives::ListOf(STRING)).or_without_last()],
        split,
    ),
    Function::new(
        CallForm::Method,
        "join",
        "list.join(\", \")",
        &[takes(&[LIST, STRING], Gives::A(STRING)).of_elements(STRING).or_without_last()],
        join,
    ),
    Function::new(
        CallForm::Method,
        "substring",
        "text.substring(from, to)",
        &[takes(&[STRING, INT, INT], Gives::A(STRING)).or_without_last()],
        substring,
    ),
    Function::new(CallForm::Method, "trim", "text.trim()", &[takes(&[STRING], Gives::A(STRING))], |arguments| {
        let text = arguments.read_text(0)?.trim_matches(is_space).to_owned();
        arguments.charge_text(text)
    }),
    Function::new(CallForm::Method, "reverse", "text.reverse(), list.reverse()", &[takes(&[STRING.or(LIST)], Gives::LikeFirst)], reverse),
    Function::new(CallForm::Function, "strings.quote", "strings.quote(text)", &[takes(&[STRING], Gives::A(STRING))], quote),
    Function::new(
        CallForm::Method,
        "format",
        "\"%s has %d\".format([name, count])",
        &[takes(&[STRING, LIST], Gives::A(STRING))],
        format::format,
    ),
];

/// Returns true for white space as defined by Unicode, not for a byte order mark.
fn is_space(character: char) -> bool {
    character.is_whitespace()
}

fn char_at<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let (text, position) = (arguments.read_text(0)?, arguments.int(1)?);
    let at = check_position(arguments, position, text.chars().count())?;
    let character = text.chars().nth(at).map(String::from).unwrap_or_default();
    arguments.charge_text(character)
}

fn index_of<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let (text, part) = (arguments.read_text(0)?, arguments.read_text(1)?);
    let from = match arguments.len() {
        3 => {
            let from = arguments.int(2)?;
            check_position(arguments, from, text.chars().count())?
        }
        _ => 0,
    };
    let start = byte_at(&text, from);
    let found = text[start..].find(&*part).map(|at| from + text[start..start + at].chars().count());
    Ok(position(found))
}

fn last_index_of<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let (text, part) = (arguments.read_text(0)?, arguments.read_text(1)?);
    let end = match arguments.len() {
        3 => {
            // The last position at which the part may begin.
            let up_to = arguments.int(2)?;
            let up_to = check_position(arguments, up_to, text.chars().count())?;
            (byte_at(&text, up_to) + part.len()).min(text.len())
        }
        _ => text.len(),
    };
    let found = text[..text.floor_char_boundary(end)].rfind(&*part).map(|at| text[..at].chars().count());
    Ok(position(found))
}

fn replace<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let (text, old, new) = (arguments.read_text(0)?, arguments.read_text(1)?, arguments.read_text(2)?);
    let at_most = match arguments.len() {
        4 => usize::try_from(arguments.int(3)?).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let times = text.matches(&*old).take(at_most).count();
    let len = times.saturating_mul(new.len()).saturating_add(text.len());
    arguments.budget.charge(times as u64)?;
    arguments.budget.charge_bytes(len)?;
    Ok(Value::from(text.replacen(&*old, &new, times)))
}

fn split<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let (text, separator) = (arguments.read_text(0)?, arguments.read_text(1)?);
    let at_most = match arguments.len() {
        3 => usize::try_from(arguments.int(2)?).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let mut items = Vec::new();
    let mut rest = &*text;
    while items.len() + 1 < at_most {
        // Without a separator, every character is a part of its own.
        let cut = match separator.is_empty() {
            true => rest.chars().next().map(char::len_utf8).filter(|&len| len < rest.len()),
            false => rest.find(&*separator),
        };
        let Some(cut) = cut else {
            break;
        };
        items.push(part(arguments, &rest[..cut])?);
        rest = &rest[cut + separator.len()..];
    }
    if at_most > 0 && !(separator.is_empty() && text.is_empty()) {
        items.push(part(arguments, rest)?);
    }
    Value::made_list(items)
}

fn part<'a>(arguments: &mut Arguments<'_, 'a>, text: &str) -> Result<Value<'a>, Fault> {
    arguments.budget.charge(2)?;
    arguments.charge_text(text.to_owned())
}

fn join<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let items = arguments.list(0)?;
    let separator = match arguments.len() {
        2 => arguments.text(1)?.to_string(),
        _ => String::new(),
    };
    let mut out = String::new();
    for (index, item) in items.iter().enumerate() {
        let Value::String(text) = item else {
            let error = arguments.invalid(format_args!("element {index} is {}, not a string", item.kind()));
            return Err(error.hint("write `list.map(x, string(x)).join(…)`"));
        };
        arguments.budget.charge_bytes(text.len() + separator.len())?;
        if index > 0 {
            out.push_str(&separator);
        }
        out.push_str(text);
    }
    Ok(Value::from(out))
}

fn substring<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let text = arguments.read_text(0)?;
    let characters = text.chars().count();
    let from = arguments.int(1)?;
    let from = check_position(arguments, from, characters)?;
    let to = match arguments.len() {
        3 => {
            let to = arguments.int(2)?;
            check_position(arguments, to, characters)?
        }
        _ => characters,
    };
    if from > to {
        return Err(arguments.out_of_range(format_args!("the start {from} is after the end {to}")));
    }
    let text = text[byte_at(&text, from)..byte_at(&text, to)].to_owned();
    arguments.charge_text(text)
}

fn reverse<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    if arguments.values[0].kind() == Type::List {
        let mut items = arguments.list(0)?;
        items.reverse();
        return Value::made_list(items);
    }
    let text = arguments.read_text(0)?.chars().rev().collect();
    arguments.charge_text(text)
}

fn quote<'a>(arguments: &mut Arguments<'_, 'a>) -> Result<Value<'a>, Fault> {
    let text = arguments.read_text(0)?;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for character in text.chars() {
        match character {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            other => out.push(other),
        }
    }
    out.push('"');
    arguments.charge_text(out)
}

/// Returns a position that must be in a text of this many characters, or at its end.
fn check_position(arguments: &Arguments<'_, '_>, position: i64, characters: usize) -> Result<usize, Fault> {
    usize::try_from(position)
        .ok()
        .filter(|&position| position <= characters)
        .ok_or_else(|| arguments.out_of_range(format_args!("position {position} is outside a string of {characters} characters")))
}

/// Returns where the character at `position` begins, in bytes.
fn byte_at(text: &str, position: usize) -> usize {
    text.char_indices().nth(position).map_or(text.len(), |(at, _)| at)
}

/// Returns a position, or -1 for none.
fn position<'a>(found: Option<usize>) -> Value<'a> {
    Value::Int(found.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))
}
