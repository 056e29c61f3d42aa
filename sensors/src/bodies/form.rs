//! Forms: `application/x-www-form-urlencoded`.

use percent_encoding::percent_decode;
use serde_json::Value;

use super::{FIELDS_MAX, Gathered, unreadable};
use crate::refusal::HookRefusal;

/// Returns the fields of a form: an object of texts, or of lists of texts where a name repeats.
pub(super) fn fields(body: &[u8]) -> Result<Value, HookRefusal> {
    let mut fields = Gathered::default();
    for (name, value) in pairs(body)? {
        fields.add(name, value);
    }
    Ok(Value::Object(fields.0))
}

/// Returns the names and values of a form, in order.
pub(crate) fn pairs(body: &[u8]) -> Result<Vec<(String, String)>, HookRefusal> {
    let pairs = body.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    let mut read = Vec::new();
    for pair in pairs {
        if read.len() == FIELDS_MAX {
            return Err(unreadable("a form", format!("it has more than {FIELDS_MAX} fields")));
        }
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &[][..]),
        };
        read.push((decoded(name)?, decoded(value)?));
    }
    Ok(read)
}

fn decoded(text: &[u8]) -> Result<String, HookRefusal> {
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded: Vec<u8> = percent_decode(&spaced).collect();
    String::from_utf8(decoded).map_err(|_| unreadable("a form", "a field is not UTF-8"))
}
