//! The JSON text of a value, written without a tree in between: compact, with an object's keys in the order
//! of their text.
//!
//! `convert` lists what has no JSON form and what is too large.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::{Text, Value, convert};
use crate::error::Fault;
use crate::json::{Node, NodeKind, Number};

/// Returns the text of the result of [`Value::to_json`].
pub(crate) fn json_text(value: &Value<'_>) -> Result<String, Fault> {
    convert::small_enough(value)?;
    let mut out = Vec::new();
    if let Value::Json(node) = value {
        out.reserve_exact(node.raw_len());
    }
    write_value(value, 0, &mut out)?;
    Ok(String::from_utf8(out).expect("JSON is written as UTF-8"))
}

/// Like `json_text`, but a part of a document counts by its bytes alone.
pub(super) fn result_text(value: &Value<'_>) -> Result<String, Fault> {
    let Value::Json(node) = value else { return json_text(value) };
    convert::few_enough_bytes(node.raw_len() as u64)?;
    convert::shallow_enough(*node, 0)?;
    let mut out = Vec::with_capacity(node.raw_len());
    write_node(*node, &mut out);
    Ok(String::from_utf8(out).expect("JSON is written as UTF-8"))
}

fn write_value(value: &Value<'_>, depth: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
    match value {
        Value::String(text) => write_text(text, out),
        Value::List(list) => {
            let depth = convert::deeper(depth)?;
            out.push(b'[');
            for (index, item) in list.items().iter().enumerate() {
                separate(index, out);
                write_value(item, depth, out)?;
            }
            out.push(b']');
        }
        Value::Map(map) => {
            let depth = convert::deeper(depth)?;
            let mut entries: Vec<_> = map.entries().iter().map(|(key, value)| (text_of_key(key), value)).collect();
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            if let Some(pair) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                return Err(convert::same_key(&pair[0].0));
            }
            out.push(b'{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                separate(index, out);
                write_text(&key, out);
                out.push(b':');
                write_value(value, depth, out)?;
            }
            out.push(b'}');
        }
        Value::Json(node) => {
            convert::shallow_enough(*node, depth)?;
            write_node(*node, out);
        }
        Value::Optional(Some(value)) => write_value(value, depth, out)?,
        scalar => write_scalar(&convert::json_at(scalar, depth, convert::Foreign::Refused)?, out),
    }
    Ok(())
}

fn write_node(node: Node<'_>, out: &mut Vec<u8>) {
    match node.kind() {
        NodeKind::Array => {
            out.push(b'[');
            for (index, item) in node.items().enumerate() {
                separate(index, out);
                write_node(item, out);
            }
            out.push(b']');
        }
        NodeKind::Object => {
            let mut entries: Vec<_> = node.entries().collect();
            entries.sort_unstable_by(|one, other| one.0.cmp(&other.0));
            out.push(b'{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                separate(index, out);
                write_text(&key, out);
                out.push(b':');
                write_node(value, out);
            }
            out.push(b'}');
        }
        NodeKind::Number => match node.number() {
            Some(Number::Double(value)) if !node.is_rounded() => write_scalar(&Json::from(value), out),
            // Whole numbers have one form.
            Some(Number::Int(_) | Number::Uint(_) | Number::Double(_)) | None => out.extend_from_slice(node.raw().as_bytes()),
        },
        NodeKind::String if node.copied_len() > 0 => write_text(&node.as_str().unwrap_or_default(), out),
        NodeKind::Null | NodeKind::Bool | NodeKind::String => out.extend_from_slice(node.raw().as_bytes()),
    }
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
}

fn text_of_key<'v>(key: &'v Value<'_>) -> Cow<'v, str> {
    match key {
        Value::String(Text::Borrowed(text)) => Cow::Borrowed(text),
        Value::String(Text::Shared(text)) => Cow::Borrowed(text),
        other => Cow::Owned(convert::key_text(other)),
    }
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a vector takes all that is written to it");
}

fn write_scalar(scalar: &Json, out: &mut Vec<u8>) {
    serde_json::to_writer(out, scalar).expect("a vector takes all that is written to it");
}
