//! The mail: its recipients, and the bytes that are sent.
//!
//! Its `Message-ID` comes from the execution, so that all attempts send the same mail: whoever gets it twice can tell.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ensue_engine::catalog::MailMessage;
use ensue_engine::executions::facts::FailureKind;
use lettre::Message;
use lettre::address::Envelope;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Body, Mailbox, MessageBuilder, MultiPart, SinglePart};
use serde_json::{Map, Value};

use super::address::{self, Addressee};
use super::wire::dot_stuff;
use crate::attempt::{AttemptContext, AttemptError, attempt_failure};
use crate::render::{Renderer, entries, quote, scalar};

/// The maximum number of recipients.
pub(super) const RECIPIENTS_MAX: usize = 100;
/// The maximum size of a mail, in bytes as they are sent.
pub(super) const MAIL_BYTES_MAX: usize = 25 << 20;
/// The maximum number of headers that an action may declare, and of attached files.
const HEADERS_MAX: usize = 50;
const ATTACHMENTS_MAX: usize = 20;
/// The maximum length of a subject and of a header, in bytes.
const HEADER_BYTES_MAX: usize = 2000;

/// Headers that the mail gets from its other fields, or that only servers write.
const REFUSED_HEADERS: [&str; 14] = [
    "bcc",
    "cc",
    "content-transfer-encoding",
    "content-type",
    "date",
    "from",
    "in-reply-to",
    "message-id",
    "mime-version",
    "received",
    "reply-to",
    "return-path",
    "subject",
    "to",
];

/// A mail.
pub(super) struct Mail {
    /// Its `Message-ID`.
    pub(super) id: String,
    /// The sender.
    pub(super) from: Addressee,
    /// All recipients, each once.
    pub(super) recipients: Vec<Addressee>,
    /// The first address, as it was written, that only a server with SMTPUTF8 takes.
    pub(super) utf8: Option<String>,
    /// What is sent after `DATA`, without the end.
    pub(super) bytes: Vec<u8>,
}

impl Mail {
    /// Renders and assembles a mail.
    pub(super) fn render<'r>(
        written: &'r MailMessage,
        attempt: &AttemptContext<'_>,
        renderer: &mut Renderer<'r>,
    ) -> Result<Self, AttemptError> {
        let from = address::one("from", renderer.value("from", &written.from)?)?;
        let to = address::several("to", renderer.value("to", &written.to)?)?;
        let cc = address::several("cc", renderer.value("cc", &written.cc)?)?;
        let bcc = address::several("bcc", renderer.value("bcc", &written.bcc)?)?;
        let reply_to = address::several("reply_to", renderer.value("reply_to", &written.reply_to)?)?;
        let id = format!("<{}@{}>", attempt.dispatch.execution, from.mailbox.email.domain());
        let mut builder = Message::builder().from(from.mailbox.clone()).message_id(Some(id.clone())).date(date(attempt));
        let boxes = |of: &[Addressee]| of.iter().map(|one| one.mailbox.clone()).collect::<Vec<Mailbox>>();
        builder = boxes(&to).into_iter().fold(builder, MessageBuilder::to);
        builder = boxes(&cc).into_iter().fold(builder, MessageBuilder::cc);
        builder = boxes(&reply_to).into_iter().fold(builder, MessageBuilder::reply_to);
        // An address in a header needs it as well as one in the envelope.
        let all = std::iter::once(&from).chain(&to).chain(&cc).chain(&bcc).chain(&reply_to);
        let utf8 = all.into_iter().find(|one| one.needs_utf8()).map(|one| one.written.clone());
        let recipients = recipients([to, cc, bcc])?;
        let subject = renderer.scalar("subject", &written.subject)?.unwrap_or_default();
        check_header("subject", &subject)?;
        builder = builder.subject(subject);
        if let Some(answered) = renderer.scalar("in_reply_to", &written.in_reply_to)?.filter(|id| !id.is_empty()) {
            check_message_id(&answered)?;
            builder = builder.in_reply_to(answered.clone()).references(answered);
        }
        builder = headers(builder, entries("headers", renderer.value("headers", &written.headers)?)?)?;
        let text = renderer.scalar("text", &written.text)?;
        let html = renderer.scalar("html", &written.html)?;
        let attachments = attachments(renderer.value("attachments", &written.attachments)?)?;
        let named = recipients.iter().map(|one| one.mailbox.email.clone()).collect();
        let envelope = Envelope::new(Some(from.mailbox.email.clone()), named).map_err(|error| invalid(error.to_string()))?;
        let message = assemble(builder.envelope(envelope), text, html, attachments)?;
        let bytes = dot_stuff(&message.formatted());
        if bytes.len() > MAIL_BYTES_MAX {
            return Err(invalid(format!("the mail has {} bytes; the limit is {MAIL_BYTES_MAX}", bytes.len())));
        }
        Ok(Self { id, from, recipients, utf8, bytes })
    }
}

fn recipients(given: [Vec<Addressee>; 3]) -> Result<Vec<Addressee>, AttemptError> {
    let mut recipients: Vec<Addressee> = Vec::new();
    for addressee in given.into_iter().flatten() {
        if recipients.iter().all(|known| known.mailbox.email != addressee.mailbox.email) {
            recipients.push(addressee);
        }
    }
    match recipients.len() {
        0 => Err(invalid("the mail has no recipient; give `to`, `cc` or `bcc`".to_owned())),
        1..=RECIPIENTS_MAX => Ok(recipients),
        count => Err(invalid(format!("the mail has {count} recipients; the limit is {RECIPIENTS_MAX}"))),
    }
}

/// Returns when the attempt began, by the log's time: the same for everything that shows it.
fn date(attempt: &AttemptContext<'_>) -> SystemTime {
    let micros = u64::try_from(attempt.dispatch.started_at.micros()).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_micros(micros)
}

fn headers(mut builder: MessageBuilder, given: Vec<(String, Value)>) -> Result<MessageBuilder, AttemptError> {
    if given.len() > HEADERS_MAX {
        return Err(invalid(format!("{} headers are given; the limit is {HEADERS_MAX}", given.len())));
    }
    for (name, value) in given {
        let is_name = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
        let parsed = HeaderName::new_from_ascii(name.clone()).ok().filter(|_| is_name);
        let parsed = parsed.ok_or_else(|| invalid(format!("{} is not a valid name for a header", quote(&name, 80))))?;
        if REFUSED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(invalid(format!("the header `{name}` cannot be set: other fields of the mail make it, or only servers write it")));
        }
        let Some(text) = scalar(&format!("headers.{name}"), value)? else { continue };
        check_header(&format!("headers.{name}"), &text)?;
        builder = builder.raw_header(HeaderValue::new(parsed, text));
    }
    Ok(builder)
}

fn check_header(place: &str, text: &str) -> Result<(), AttemptError> {
    if text.contains(char::is_control) {
        return Err(invalid(format!("`{place}` contains a line break or another control character")));
    }
    if text.len() > HEADER_BYTES_MAX {
        return Err(invalid(format!("`{place}` has {} bytes; the limit is {HEADER_BYTES_MAX}", text.len())));
    }
    Ok(())
}

fn check_message_id(id: &str) -> Result<(), AttemptError> {
    let is_id = id.starts_with('<') && id.ends_with('>') && id.contains('@') && id.bytes().all(|byte| byte.is_ascii_graphic());
    if is_id && id.len() <= HEADER_BYTES_MAX {
        return Ok(());
    }
    Err(invalid(format!("`in_reply_to` is {}, which is not a Message-ID such as `<1@example.org>`", quote(id, 200))))
}

fn assemble(
    builder: MessageBuilder,
    text: Option<String>,
    html: Option<String>,
    attachments: Vec<SinglePart>,
) -> Result<Message, AttemptError> {
    for (place, content) in [("text", &text), ("html", &html)] {
        if content.as_ref().is_some_and(|content| content.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))) {
            return Err(invalid(format!("`{place}` contains a control character; a mail has line breaks and tabs only")));
        }
    }
    let message = match (text, html, attachments.is_empty()) {
        (None, None, true) => return Err(invalid("the mail is empty; give `text`, `html` or both".to_owned())),
        (Some(text), Some(html), true) => builder.multipart(MultiPart::alternative_plain_html(text, html)),
        (Some(text), None, true) => builder.singlepart(SinglePart::plain(text)),
        (None, Some(html), true) => builder.singlepart(SinglePart::html(html)),
        (text, html, false) => {
            let mixed = MultiPart::mixed();
            let mixed = match (text, html) {
                (Some(text), Some(html)) => mixed.multipart(MultiPart::alternative_plain_html(text, html)),
                (None, Some(html)) => mixed.singlepart(SinglePart::html(html)),
                (text, None) => mixed.singlepart(SinglePart::plain(text.unwrap_or_default())),
            };
            builder.multipart(attachments.into_iter().fold(mixed, MultiPart::singlepart))
        }
    };
    message.map_err(|error| invalid(format!("the mail cannot be written: {error}")))
}

fn attachments(value: Value) -> Result<Vec<SinglePart>, AttemptError> {
    let items = match value {
        Value::Null => Vec::new(),
        Value::Array(items) => items,
        _ => return Err(invalid("`attachments` must be a list".to_owned())),
    };
    if items.len() > ATTACHMENTS_MAX {
        return Err(invalid(format!("{} files are attached; the limit is {ATTACHMENTS_MAX}", items.len())));
    }
    items.into_iter().enumerate().map(|(index, item)| attachment(&format!("attachments[{index}]"), item)).collect()
}

fn attachment(place: &str, item: Value) -> Result<SinglePart, AttemptError> {
    let Value::Object(mut fields) = item else { return Err(invalid(format!("`{place}` must be an object"))) };
    let name = take_field(&mut fields, place, "name")?.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| invalid(format!("`{place}` has no `name`")))?;
    check_header(&format!("{place}.name"), &name)?;
    let kind = take_field(&mut fields, place, "type")?;
    let content = match (take_field(&mut fields, place, "text")?, take_field(&mut fields, place, "base64")?) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(base64)) => {
            BASE64_STANDARD.decode(base64.as_bytes()).map_err(|error| invalid(format!("`{place}.base64` is not Base64: {error}")))?
        }
        _ => return Err(invalid(format!("`{place}` needs either `text` or `base64`"))),
    };
    if let Some(unknown) = fields.keys().next() {
        let unknown = quote(unknown, 80);
        return Err(invalid(format!("`{place}` has the unknown field {unknown}; it has `name`, `type`, and `text` or `base64`")));
    }
    let kind = kind.as_deref().unwrap_or("application/octet-stream");
    let kind = ContentType::parse(kind)
        .map_err(|_| invalid(format!("`{place}.type` is {}, which is not a media type such as `text/csv`", quote(kind, 80))))?;
    // Base64 keeps every byte; the lines of a mail do not.
    let body = Body::new_with_encoding(content, ContentTransferEncoding::Base64);
    let body = body.map_err(|_| invalid(format!("`{place}` cannot be written")))?;
    Ok(Attachment::new(name).body(body, kind))
}

fn take_field(fields: &mut Map<String, Value>, place: &str, name: &str) -> Result<Option<String>, AttemptError> {
    fields.remove(name).map_or(Ok(None), |value| scalar(&format!("{place}.{name}"), value))
}

fn invalid(message: String) -> AttemptError {
    attempt_failure(FailureKind::ParametersInvalid, message)
}
