//! Bodies of deliveries: decompresses them, and reads them as JSON, whatever form they are sent in.
//!
//! Proofs cover the raw bytes, so they are checked before anything here runs.

mod multipart;

use std::io::{self, BufRead as _, Read};

use bytes::Bytes;
use ensue_engine::catalog::{BodyForm, HookMethod, Webhook};
use ensue_engine::ports::HookRequest;
use ensue_expression::Document;
use serde_json::Value;

use crate::forms;
use crate::limits::{UNPACKED_BYTES_MAX, UNPACKED_TIMES_MAX};
use crate::refusal::HookRefusal;

/// The largest window of a zstd frame, as the power of two of its bytes.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Reads the body of a delivery. A delivery by GET or DELETE may have none, which is `null`.
pub(crate) fn document(webhook: &Webhook, request: &HookRequest) -> Result<Document, HookRefusal> {
    let may_be_empty = matches!(request.method, HookMethod::Get | HookMethod::Delete);
    if may_be_empty && request.body.is_empty() {
        return Ok(Document::from_value(&Value::Null));
    }
    // Amazon SNS declares its JSON as a text.
    if webhook.verify.sns().is_some() {
        return Document::parse(request.body.clone()).map_err(HookRefusal::NotJson);
    }
    let declared = Declared::of(webhook, &request.headers)?;
    let bytes = unpacked(webhook, request)?;
    match declared.form {
        BodyForm::Json => Document::parse(bytes).map_err(HookRefusal::NotJson),
        BodyForm::Form => {
            let mut fields = Gathered::default();
            for (name, value) in forms::pairs(&bytes).map_err(|why| unreadable("a form", why))? {
                fields.add(name, value);
            }
            Ok(Document::from_value(&Value::Object(fields.0)))
        }
        BodyForm::Multipart => multipart::fields(&bytes, declared.boundary.as_deref()).map(|fields| Document::from_value(&fields)),
        BodyForm::Text => {
            let text = std::str::from_utf8(&bytes).map_err(|_| unreadable("a text in UTF-8", "it contains other bytes"))?;
            Ok(Document::from_value(&Value::from(text)))
        }
    }
}

/// Returns the refusal of a body that is not what its type says.
fn unreadable(form: &'static str, why: impl Into<String>) -> HookRefusal {
    HookRefusal::Unreadable { form, why: why.into() }
}

/// The form of a body, as its sender declares it.
struct Declared {
    form: BodyForm,
    /// The text between the parts of a multipart body.
    boundary: Option<String>,
}

impl Declared {
    /// Demands a declared type that the hook accepts. The type is never guessed.
    fn of(webhook: &Webhook, headers: &[(String, String)]) -> Result<Self, HookRefusal> {
        let refuse = |given: String| Err(HookRefusal::WrongType { given, accepted: accepted(&webhook.accepts) });
        let mut types = headers.iter().filter(|(name, _)| name == "content-type").map(|(_, value)| value.as_str());
        let one = match (types.next(), types.next()) {
            (None, _) => return refuse("sent without a content type".into()),
            (Some(_), Some(_)) => return refuse("sent with more than one content type".into()),
            (Some(one), None) => one,
        };
        let mut parameters = one.split(';').map(str::trim);
        let essence = parameters.next().unwrap_or_default().to_ascii_lowercase();
        let parameters: Vec<&str> = parameters.collect();
        let form = form_of(&essence).filter(|form| webhook.accepts.contains(form) && parameters.iter().all(|one| is_utf8_at_most(one)));
        match form {
            Some(form) => Ok(Self { form, boundary: parameters.into_iter().find_map(boundary_of) }),
            None => refuse(format!("`{}`", brief(one))),
        }
    }
}

fn form_of(essence: &str) -> Option<BodyForm> {
    let is_application = essence.starts_with("application/");
    match essence {
        "application/json" => Some(BodyForm::Json),
        "application/x-www-form-urlencoded" => Some(BodyForm::Form),
        "multipart/form-data" => Some(BodyForm::Multipart),
        "application/xml" => Some(BodyForm::Text),
        _ if is_application && essence.ends_with("+json") => Some(BodyForm::Json),
        _ if is_application && essence.ends_with("+xml") => Some(BodyForm::Text),
        _ if essence.starts_with("text/") => Some(BodyForm::Text),
        _ => None,
    }
}

/// Returns the accepted forms, as a sender declares them.
fn accepted(forms: &[BodyForm]) -> String {
    let written = |form: &BodyForm| match form {
        BodyForm::Json => "`application/json`",
        BodyForm::Form => "`application/x-www-form-urlencoded`",
        BodyForm::Multipart => "`multipart/form-data`",
        BodyForm::Text => "`text/*` and XML",
    };
    forms.iter().map(written).collect::<Vec<_>>().join(", ")
}

/// Rejects charsets other than UTF-8, because JSON is UTF-8 (RFC 8259 §8.1). Other parameters are ignored.
fn is_utf8_at_most(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8"),
        Some(_) | None => true,
    }
}

fn boundary_of(parameter: &str) -> Option<String> {
    let (name, value) = parameter.split_once('=')?;
    name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
}

/// Returns the body without its compression, within limits: a small body can be huge when decompressed.
fn unpacked(webhook: &Webhook, request: &HookRequest) -> Result<Bytes, HookRefusal> {
    let mut encodings = request.headers.iter().filter(|(name, _)| name == "content-encoding").map(|(_, value)| value.trim());
    let encoding = match (encodings.next(), encodings.next()) {
        (None, _) => return Ok(request.body.clone()),
        (Some(one), None) => one.to_ascii_lowercase(),
        (Some(_), Some(_)) => "more than one coding".to_owned(),
    };
    let own_max = webhook.body_bytes_max.map_or(UNPACKED_BYTES_MAX, |bytes| bytes as usize);
    let bytes_max = own_max.min(UNPACKED_BYTES_MAX).min(request.body.len().saturating_mul(UNPACKED_TIMES_MAX));
    let read = match encoding.as_str() {
        "identity" => return Ok(request.body.clone()),
        "gzip" | "x-gzip" => read_up_to(flate2::bufread::MultiGzDecoder::new(&request.body[..]), bytes_max),
        "zstd" => zstd_reader(&request.body).and_then(|reader| read_up_to(reader, bytes_max)),
        _ => {
            let given = format!("compressed as `{}`", brief(&encoding));
            return Err(HookRefusal::WrongType { given, accepted: "bodies that are not compressed, `gzip` and `zstd`".into() });
        }
    };
    match read {
        Ok(Some(bytes)) => Ok(bytes),
        Ok(None) => Err(HookRefusal::TooLarge { bytes_max }),
        Err(why) => Err(HookRefusal::Unreadable { form: "compressed as its `Content-Encoding` says", why: why.to_string() }),
    }
}

fn zstd_reader(body: &[u8]) -> io::Result<impl Read> {
    let mut reader = zstd::stream::read::Decoder::with_buffer(body)?;
    reader.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(reader)
}

/// Reads everything, or returns `None` if it is more than `bytes_max`.
fn read_up_to(reader: impl Read, bytes_max: usize) -> io::Result<Option<Bytes>> {
    let mut bytes = Vec::new();
    let mut reader = io::BufReader::new(reader.take(bytes_max as u64 + 1));
    while !reader.fill_buf()?.is_empty() {
        let read = reader.buffer().len();
        bytes.extend_from_slice(reader.buffer());
        reader.consume(read);
    }
    Ok((bytes.len() <= bytes_max).then(|| bytes.into()))
}

/// Cuts a text of a sender to what an error repeats.
fn brief(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(80).collect()
}

/// Fields with their values, as they gather: a name that repeats has the list of its values.
#[derive(Default)]
struct Gathered(serde_json::Map<String, Value>);

impl Gathered {
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
