//! Bodies of deliveries: decompresses them, and reads them as JSON, whatever form they are sent in.
//!
//! Proofs cover the raw bytes, so they are checked before anything here runs.

mod multipart;

use bytes::Bytes;
use ensue_content::{
    CODINGS, ContentType, DecodeError, DecompressError, Limit, charset_in_document, decode, decode_part, decode_text, decompress,
    has_byte_order_mark, parse_json,
};
use ensue_engine::catalog::{BodyForm, HookMethod, Invalid, Webhook};
use ensue_engine::ports::HookRequest;
use ensue_expression::Document;
use serde_json::Value;

use crate::forms;
use crate::limits::UNPACKED_TIMES_MAX;
use crate::refusal::{HookRefusal, shorten};

/// Reads the body of a delivery. An empty body is `null`, except in a form and in a text, which can be empty.
pub(crate) fn document(webhook: &Webhook, request: &HookRequest) -> Result<Document, HookRefusal> {
    // Amazon SNS declares its JSON as a text.
    if webhook.verify.sns().is_some() {
        return parse_json(&request.body, None, webhook.text_decoding.invalid).map_err(HookRefusal::NotJson);
    }
    let declared = content_type(webhook, &request.headers)?;
    let declared_form = declared.as_ref().and_then(|declared| form_of(webhook, declared));
    let wrong = || match &declared {
        Some(declared) => wrong_type(webhook, &format!("of type `{}`", shorten(declared.essence()))),
        None => wrong_type(webhook, "sent without a content type"),
    };
    if declared_form.is_none() && may_come_from_a_page(request) {
        return Err(wrong());
    }
    if request.body.is_empty() && declared_form.is_none_or(|form| form == BodyForm::Json) {
        return Ok(Document::from_value(&Value::Null));
    }
    let bytes = unpack(webhook, request)?;
    let apparent = || declared.is_none().then(|| apparent_form(&webhook.accepts, &bytes)).flatten();
    let form = declared_form.or_else(apparent).ok_or_else(wrong)?;
    let text = TextReader::of(webhook, declared.as_ref(), form, &bytes)?;
    match form {
        BodyForm::Json => parse_json(&bytes, text.charset(), text.invalid).map_err(HookRefusal::NotJson),
        BodyForm::Form => {
            let (bytes, text) = text.without_mark(bytes).map_err(|why| unreadable("a form", why.to_string()))?;
            let mut fields = FieldValues::default();
            for (name, value) in forms::pairs(&bytes, |bytes| text.read_part(bytes)).map_err(|why| unreadable("a form", why))? {
                fields.add(name, value);
            }
            Ok(Document::from_value(&Value::Object(fields.0)))
        }
        BodyForm::Multipart => {
            let boundary = declared.as_ref().and_then(ContentType::boundary);
            let bytes = bytes.strip_prefix(UTF_8_MARK).unwrap_or(&bytes);
            multipart::fields(bytes, boundary, |bytes| text.read_part(bytes)).map(|fields| Document::from_value(&fields))
        }
        BodyForm::Text => {
            let text = text.read(&bytes).map_err(|why| unreadable("a text", why.to_string()))?;
            Ok(Document::from_value(&Value::from(text)))
        }
    }
}

/// The byte order mark of UTF-8 (RFC 3629 §6).
const UTF_8_MARK: &[u8] = b"\xef\xbb\xbf";

/// Returns true if a page in a browser may have sent a delivery.
///
/// A page may send a body of some types, or without a type, to any server. It needs the server's consent for a type such as
/// that of JSON, which no hook gives. So a body counts only as what it is declared to be. `GET` and `DELETE` without a body
/// say nothing by their type.
fn may_come_from_a_page(request: &HookRequest) -> bool {
    let is_of_a_page = request.headers.iter().any(|(name, value)| match name.as_str() {
        "origin" => true,
        "sec-fetch-site" => !matches!(value.trim(), "same-origin" | "none"),
        _ => false,
    });
    let is_without_content = request.body.is_empty() && matches!(request.method, HookMethod::Get | HookMethod::Delete);
    is_of_a_page && !is_without_content
}

/// Returns the refusal of a body that is not what its type says.
fn unreadable(form: &'static str, why: impl Into<String>) -> HookRefusal {
    HookRefusal::Unreadable { form, why: why.into() }
}

/// Reads the texts of a body.
struct TextReader {
    charset: Option<String>,
    invalid: Invalid,
}

impl TextReader {
    /// The sender's charset counts before that of the document, and the author's is for bodies without either.
    fn of(webhook: &Webhook, declared: Option<&ContentType>, form: BodyForm, bytes: &Bytes) -> Result<Self, HookRefusal> {
        let sent = declared.and_then(ContentType::charset).map(str::to_owned);
        if let Some(label) = sent.as_deref().filter(|label| !ensue_content::is_charset(label)) {
            let given = format!("in the charset `{}`", shorten(label));
            return Err(HookRefusal::WrongType { given, accepted: "the charsets of WHATWG's Encoding Standard, such as `utf-8`".into() });
        }
        // A text that only mentions a document does not choose its charset.
        let is_document = form == BodyForm::Text && declared.is_none_or(ContentType::declares_charset_itself);
        let in_document = || is_document.then(|| charset_in_document(bytes)).flatten();
        let charset = sent.or_else(in_document).or_else(|| webhook.text_decoding.charset.clone());
        Ok(Self { charset, invalid: webhook.text_decoding.invalid })
    }

    fn charset(&self) -> Option<&str> {
        self.charset.as_deref()
    }

    /// Reads a whole body.
    fn read(&self, bytes: &[u8]) -> Result<String, DecodeError> {
        decode_text(bytes, self.charset(), self.invalid)
    }

    /// Reads a part of a body, which has no byte order mark of its own.
    fn read_part(&self, bytes: &[u8]) -> Result<String, DecodeError> {
        decode_part(bytes, self.charset(), self.invalid)
    }

    /// Removes the byte order mark of a body that is read in parts, with the charset that it tells.
    fn without_mark(self, bytes: Bytes) -> Result<(Bytes, Self), DecodeError> {
        if !has_byte_order_mark(&bytes) {
            return Ok((bytes, self));
        }
        Ok((decode(&bytes, self.charset(), self.invalid)?, Self { charset: None, ..self }))
    }
}

/// Returns the content type that a delivery declares, or `None` if it declares none.
fn content_type(webhook: &Webhook, headers: &[(String, String)]) -> Result<Option<ContentType>, HookRefusal> {
    let mut types =
        headers.iter().filter(|(name, value)| name == "content-type" && !value.trim().is_empty()).map(|(_, value)| value.as_str());
    match (types.next(), types.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => Ok(Some(ContentType::parse(one))),
        (Some(_), Some(_)) => Err(wrong_type(webhook, "sent with more than one content type")),
    }
}

/// Returns the form of a declared type, if the hook accepts it.
fn form_of(webhook: &Webhook, declared: &ContentType) -> Option<BodyForm> {
    if let Some(form) = webhook.types.get(declared.essence()) {
        return Some(*form);
    }
    let form = match declared.essence() {
        _ if declared.is_json() => BodyForm::Json,
        "application/x-www-form-urlencoded" => BodyForm::Form,
        "multipart/form-data" => BodyForm::Multipart,
        _ if declared.is_text() => BodyForm::Text,
        _ => return None,
    };
    webhook.accepts.contains(&form).then_some(form)
}

/// Returns the form of a body without a declared type: the only one that the hook accepts without a boundary. Of several,
/// it is JSON if the body begins like an object or a list, then a text, then a form.
fn apparent_form(accepts: &[BodyForm], body: &[u8]) -> Option<BodyForm> {
    let possible: Vec<BodyForm> = accepts.iter().copied().filter(|form| *form != BodyForm::Multipart).collect();
    if let [only] = possible[..] {
        return Some(only);
    }
    let begins_like_json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
    let wanted = if begins_like_json { BodyForm::Json } else { BodyForm::Text };
    [wanted, BodyForm::Text, BodyForm::Form].into_iter().find(|form| possible.contains(form))
}

fn wrong_type(webhook: &Webhook, given: &str) -> HookRefusal {
    HookRefusal::WrongType { given: given.to_owned(), accepted: accepted_types(webhook) }
}

/// Returns the accepted types, as a sender declares them.
fn accepted_types(webhook: &Webhook) -> String {
    let written = |form: &BodyForm| match form {
        BodyForm::Json => "`application/json`",
        BodyForm::Form => "`application/x-www-form-urlencoded`",
        BodyForm::Multipart => "`multipart/form-data`",
        BodyForm::Text => "`text/*` and XML",
    };
    let named = webhook.types.keys().map(|name| format!("`{name}`"));
    webhook.accepts.iter().map(|form| written(form).to_owned()).chain(named).collect::<Vec<_>>().join(", ")
}

/// Returns the body without its compression, within limits: a small body can be huge when decompressed.
fn unpack(webhook: &Webhook, request: &HookRequest) -> Result<Bytes, HookRefusal> {
    let codings: Vec<&str> =
        request.headers.iter().filter(|(name, _)| name == "content-encoding").map(|(_, value)| value.as_str()).collect();
    let bytes_max = webhook.body_bytes_max.map_or(request.body_bytes_max, |own| request.body_bytes_max.min(own as usize));
    let limit = Limit { bytes_max, growth_max: UNPACKED_TIMES_MAX };
    decompress(request.body.clone(), &codings.join(","), limit).map_err(|why| match why {
        DecompressError::TooLarge { bytes_max } => HookRefusal::TooLarge { bytes_max },
        DecompressError::Unknown(_) | DecompressError::TooOften => HookRefusal::WrongType {
            given: format!("compressed: {why}"),
            accepted: format!("bodies that are not compressed, and {CODINGS}"),
        },
        DecompressError::Damaged { .. } => unreadable("compressed as its `Content-Encoding` says", why.to_string()),
    })
}

/// Fields with their values, as they gather: a name that repeats has the list of its values.
#[derive(Default)]
struct FieldValues(serde_json::Map<String, Value>);

impl FieldValues {
    fn add(&mut self, name: String, value: String) {
        match self.0.get_mut(&name) {
            None => drop(self.0.insert(name, value.into())),
            Some(Value::Array(values)) => values.push(value.into()),
            Some(first) => *first = Value::from(vec![first.take(), value.into()]),
        }
    }
}

#[cfg(test)]
mod tests;
