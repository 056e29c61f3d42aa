//! Addresses of mail: parsed, so that none can be more than an address.

use ensue_engine::executions::facts::FailureKind;
use lettre::message::Mailbox;
use serde_json::Value;

use crate::attempt::{Broken, failed};
use crate::render::shown;

/// The maximum length of an address with its name, in bytes.
const ADDRESS_BYTES_MAX: usize = 500;

/// Parses a field with one address.
pub(super) fn one(place: &str, value: Value) -> Result<Mailbox, Broken> {
    let mut given = several(place, value)?;
    match (given.pop(), given.is_empty()) {
        (Some(mailbox), true) => Ok(mailbox),
        _ => Err(invalid(format!("`{place}` must be one address"))),
    }
}

/// Parses a field with an address, or a list of addresses; null and an empty string are none.
pub(super) fn several(place: &str, value: Value) -> Result<Vec<Mailbox>, Broken> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) if text.is_empty() => Ok(Vec::new()),
        Value::String(text) => Ok(vec![parsed(place, &text)?]),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => parsed(place, &text),
                other => {
                    Err(invalid(format!("`{place}` contains {}, which is not an address", shown(&other.to_string(), ADDRESS_BYTES_MAX))))
                }
            })
            .collect(),
        other => {
            Err(invalid(format!("`{place}` is {}; give an address or a list of addresses", shown(&other.to_string(), ADDRESS_BYTES_MAX))))
        }
    }
}

fn parsed(place: &str, text: &str) -> Result<Mailbox, Broken> {
    let example = "write `ada@example.org` or `Ada <ada@example.org>`";
    let refused = || invalid(format!("`{place}` has {}, which is not an address; {example}", shown(text, ADDRESS_BYTES_MAX)));
    if text.len() > ADDRESS_BYTES_MAX || text.contains(char::is_control) {
        return Err(refused());
    }
    text.parse().map_err(|_| refused())
}

fn invalid(message: String) -> Broken {
    failed(FailureKind::ParametersInvalid, message)
}
