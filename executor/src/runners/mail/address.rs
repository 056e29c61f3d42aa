//! Addresses of mail: parsed, so that none can be more than an address.

use ensue_engine::executions::facts::FailureKind;
use lettre::Address;
use lettre::message::Mailbox;
use serde_json::Value;

use crate::attempt::{AttemptError, attempt_failure};
use crate::render::quote;

/// The maximum length of an address with its name, in bytes.
const ADDRESS_BYTES_MAX: usize = 500;

/// An address, perhaps with a name.
#[derive(Debug)]
pub(super) struct Addressee {
    /// The address as it is sent: its domain is in ASCII.
    pub(super) mailbox: Mailbox,
    /// The address without the name, as it was written.
    pub(super) written: String,
}

impl Addressee {
    /// Returns true if only a server that offers SMTPUTF8 (RFC 6531) takes the address.
    pub(super) fn needs_utf8(&self) -> bool {
        !self.mailbox.email.user().is_ascii()
    }
}

/// Parses a field with one address.
pub(super) fn one(place: &str, value: Value) -> Result<Addressee, AttemptError> {
    let mut given = several(place, value)?;
    match (given.pop(), given.is_empty()) {
        (Some(addressee), true) => Ok(addressee),
        _ => Err(invalid(format!("`{place}` must be one address"))),
    }
}

/// Parses a field with an address, or a list of addresses; null and an empty string are none.
pub(super) fn several(place: &str, value: Value) -> Result<Vec<Addressee>, AttemptError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) if text.is_empty() => Ok(Vec::new()),
        Value::String(text) => Ok(vec![parse_address(place, &text)?]),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => parse_address(place, &text),
                other => {
                    Err(invalid(format!("`{place}` contains {}, which is not an address", quote(&other.to_string(), ADDRESS_BYTES_MAX))))
                }
            })
            .collect(),
        other => {
            Err(invalid(format!("`{place}` is {}; give an address or a list of addresses", quote(&other.to_string(), ADDRESS_BYTES_MAX))))
        }
    }
}

fn parse_address(place: &str, text: &str) -> Result<Addressee, AttemptError> {
    let example = "write `ada@example.org` or `Ada <ada@example.org>`";
    let refused = || invalid(format!("`{place}` has {}, which is not an address; {example}", quote(text, ADDRESS_BYTES_MAX)));
    if text.len() > ADDRESS_BYTES_MAX || text.contains(char::is_control) {
        return Err(refused());
    }
    let mailbox: Mailbox = text.parse().map_err(|_| refused())?;
    let written = mailbox.email.to_string();
    let mailbox = with_ascii_domain(mailbox).ok_or_else(refused)?;
    Ok(Addressee { mailbox, written })
}

/// Returns an address with its domain in ASCII (IDNA), which every server understands; `None` if it has no such form.
fn with_ascii_domain(mailbox: Mailbox) -> Option<Mailbox> {
    let domain = mailbox.email.domain();
    if domain.is_ascii() {
        return Some(mailbox);
    }
    let domain = idna::domain_to_ascii(domain).ok()?;
    let email = Address::new(mailbox.email.user(), domain).ok()?;
    Some(Mailbox::new(mailbox.name, email))
}

fn invalid(message: String) -> AttemptError {
    attempt_failure(FailureKind::ParametersInvalid, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn domain_is_sent_in_ascii_and_the_address_is_shown_as_it_was_written() {
        for (text, written, sent) in [
            ("Ada <a@bücher.example>", "a@bücher.example", "a@xn--bcher-kva.example"),
            ("jürgen@Example.ORG", "jürgen@Example.ORG", "jürgen@Example.ORG"),
            ("用户@例え。テスト", "用户@例え。テスト", "用户@xn--r8jz45g.xn--zckzah"),
        ] {
            let Ok(addressee) = parse_address("to", text) else { panic!("{text} is not an address") };
            assert_eq!((addressee.written.as_str(), addressee.mailbox.email.to_string().as_str()), (written, sent));
        }
    }

    proptest! {
        #[test]
        fn address_is_refused_or_fits_into_a_command(text in "[a-zü<>@. \"'\\u{ad}ß。例\\r\\n\\[\\]-]{1,30}") {
            if let Ok(addressee) = parse_address("to", &text) {
                let sent = addressee.mailbox.email.to_string();
                prop_assert!(addressee.mailbox.email.domain().is_ascii(), "{}", sent);
                prop_assert!(!sent.contains(char::is_control), "{sent}");
                prop_assert_eq!(addressee.needs_utf8(), !sent.is_ascii());
            }
        }
    }
}
