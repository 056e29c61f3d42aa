//! Results: converts what a program printed or a server answered to the value that the execution returns.
//!
//! This module keeps no output; `output.rs` does.

use std::borrow::Cow;

use bytes::Bytes;
use ensue_content::{JsonBodyError, decode, decode_text};
use ensue_engine::catalog::{Action, Extra, Invalid};
use ensue_engine::executions::facts::{Failure, FailureKind};
use ensue_engine::record::Body;
use ensue_expression::{Document, NodeKind};

use crate::attempt::AttemptError;
use crate::ports::format_misfits;

/// The maximum number of bytes of standard output that become a program's result.
pub(crate) const RESULT_BYTES_MAX: usize = 1 << 20;

/// The beginning of a program's output.
#[derive(Debug, Default)]
pub(crate) struct OutputHead {
    /// The first [`RESULT_BYTES_MAX`] bytes.
    pub(crate) bytes: Vec<u8>,
    /// The total number of bytes.
    pub(crate) total: u64,
}

impl OutputHead {
    /// Adds the bytes that were printed next.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let room = RESULT_BYTES_MAX - self.bytes.len();
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.total += bytes.len() as u64;
    }

    /// Sets the total number of printed bytes, if not all of them were heard.
    pub(crate) fn note_total(&mut self, total: u64) {
        self.total = self.total.max(total);
    }

    fn is_whole(&self) -> bool {
        self.total == self.bytes.len() as u64
    }
}

/// How many bytes at the end of standard error are searched for the last line.
const TAIL_BYTES_MAX: usize = 4 << 10;
/// The maximum number of characters of that line that a message shows.
const LAST_LINE_CHARS_MAX: usize = 300;

/// The end of a program's output.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    /// Adds the bytes that were printed next.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let new = &bytes[bytes.len().saturating_sub(TAIL_BYTES_MAX)..];
        let over = (self.bytes.len() + new.len()).saturating_sub(TAIL_BYTES_MAX);
        self.bytes.drain(..over);
        self.bytes.extend_from_slice(new);
    }

    /// Returns true if one of its lines is such a line. White space at the end of a line is left out.
    pub(crate) fn has_line(&self, is_such: impl Fn(&str) -> bool) -> bool {
        String::from_utf8_lossy(&self.bytes).lines().any(|line| is_such(line.trim_end()))
    }

    /// Returns the last line that is not blank, without control characters, or none if there is no such line.
    pub(crate) fn last_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        let mut characters = line.chars().filter(|character| !character.is_control());
        let mut shown: String = characters.by_ref().take(LAST_LINE_CHARS_MAX).collect();
        if characters.next().is_some() {
            shown.push('…');
        }
        (!shown.is_empty()).then_some(shown)
    }
}

/// Converts a program's output to its result: JSON if the action declares a result or if the output is an
/// object, otherwise the text without the last line break.
pub(crate) fn parse_printed(action: &Action, head: OutputHead) -> Result<Body, AttemptError> {
    if action.result.is_none() {
        return Ok(undeclared_result(head));
    }
    if !head.is_whole() {
        let message = format!("the program printed {} bytes; the limit for a declared result is {RESULT_BYTES_MAX}", head.total);
        return Err(AttemptError::with_body(Failure::new(FailureKind::OutputLimit, message), Some(text(&head.bytes))));
    }
    let bytes = Bytes::from(head.bytes);
    match document(&bytes) {
        Ok(document) => fitting(action, &document),
        Err(error) => {
            let message = format!("the action declares a result, so its standard output must contain only JSON: {error}");
            Err(AttemptError::with_body(Failure::new(FailureKind::ResultInvalid, message), Some(text(&bytes))))
        }
    }
}

/// Returns all that a program printed as text, without the last line break.
pub(crate) fn whole_text(head: &OutputHead) -> Result<String, AttemptError> {
    if !head.is_whole() {
        let message = format!("the program printed {} bytes; the limit for `output` is {RESULT_BYTES_MAX}", head.total);
        return Err(AttemptError::with_body(Failure::new(FailureKind::OutputLimit, message), Some(text(&head.bytes))));
    }
    Ok(without_line_break(&decode_output(&head.bytes)).to_owned())
}

/// Converts a program's output as far as possible, for the record of its failure. Returns none if it printed
/// nothing.
pub(crate) fn printed_nevertheless(head: OutputHead) -> Option<Body> {
    (head.total > 0).then(|| undeclared_result(head))
}

/// Checks a result against the action's schema, if it has one.
pub(crate) fn fitting(action: &Action, document: &Document) -> Result<Body, AttemptError> {
    let body = Body::json(document.bytes().clone());
    let Some(schema) = &action.result else {
        return Ok(body);
    };
    let misfits = schema.misfits(document.root(), Extra::Allowed);
    if misfits.is_empty() {
        return Ok(body);
    }
    let message = format!("the result does not fit: {}", format_misfits(&misfits));
    Err(AttemptError::with_body(Failure::new(FailureKind::ResultInvalid, message), Some(body)))
}

fn undeclared_result(head: OutputHead) -> Body {
    let is_whole = head.is_whole();
    let bytes = Bytes::from(head.bytes);
    let text = decode_output(&bytes);
    if is_whole
        && text.trim_start().starts_with('{')
        && let Ok(document) = document(&bytes)
        && document.root().kind() == NodeKind::Object
    {
        return Body::json(document.bytes().clone());
    }
    Body::json(json_text(without_line_break(&text)))
}

/// Reads what a program printed as JSON. A byte order mark is skipped. An empty output is invalid, unlike
/// an empty body of an answer.
fn document(bytes: &Bytes) -> Result<Document, JsonBodyError> {
    Ok(Document::parse(decode(bytes, None, Invalid::Reject)?)?)
}

/// Returns bytes as a JSON text, without the last line break.
fn text(bytes: &[u8]) -> Body {
    Body::json(json_text(without_line_break(&decode_output(bytes))))
}

/// Returns bytes as a terminal shows them: a byte order mark says their charset, and invalid bytes are U+FFFD. The output of the
/// program is kept as it is elsewhere.
fn decode_output(bytes: &[u8]) -> String {
    decode_text(bytes, None, Invalid::Replace).expect("no charset is named, so none is unknown")
}

fn without_line_break(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}

/// Writes a text as JSON.
pub(crate) fn json_text(text: &str) -> String {
    serde_json::Value::from(Cow::Borrowed(text)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(bytes: &[u8]) -> OutputHead {
        let mut head = OutputHead::default();
        head.push(bytes);
        head
    }

    fn json_of(body: &Body) -> String {
        String::from_utf8(body.content.clone().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn json_object_is_the_result_byte_for_byte() {
        assert_eq!(json_of(&undeclared_result(head(b" {\"n\": 1.0}\n"))), " {\"n\": 1.0}\n");
    }

    #[test]
    fn other_output_is_text_without_its_last_line_break() {
        assert_eq!(json_of(&undeclared_result(head(b"v1.2\n"))), r#""v1.2""#);
        assert_eq!(json_of(&undeclared_result(head(b"[1]\r\n"))), r#""[1]""#);
        assert_eq!(json_of(&undeclared_result(head(b"{oops}"))), r#""{oops}""#);
        assert_eq!(json_of(&undeclared_result(head(b""))), r#""""#);
    }

    #[test]
    fn invalid_utf_8_is_replaced() {
        assert_eq!(json_of(&undeclared_result(head(b"a\xffb"))), "\"a\u{fffd}b\"");
    }

    #[test]
    fn byte_order_mark_is_skipped() {
        assert_eq!(json_of(&undeclared_result(head(b"\xef\xbb\xbf{\"n\": 1.0}\n"))), "{\"n\": 1.0}\n");
        assert_eq!(json_of(&undeclared_result(head(b"\xef\xbb\xbfdone\r\n"))), r#""done""#);
        let wide: Vec<u8> = "\u{feff}{\"n\": \"é\"}\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(json_of(&undeclared_result(head(&wide))), "{\"n\": \"é\"}\r\n");
        assert_eq!(whole_text(&head(b"\xef\xbb\xbfdone\n")).ok().as_deref(), Some("done"));
    }

    #[test]
    fn output_that_is_not_json_says_where() {
        let error = |bytes: &'static [u8]| document(&Bytes::from_static(bytes)).err().map(|error| error.to_string());
        assert_eq!(error(b"\xef\xbb\xbf[1]"), None);
        assert_eq!(error(b"{\"t\": \"caf\xe9\"}").as_deref(), Some("the bytes at offset 10 are not valid UTF-8"));
        assert!(error(b"{\"a\": 1, \"a\": 2}").unwrap().starts_with("line 1, column 10"));
        for empty in [b"".as_slice(), b" \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n", b"\xff\xfe"] {
            assert!(error(empty).is_some(), "{empty:?}");
        }
    }

    #[test]
    fn last_line_of_a_tail_is_not_blank_and_bounded() {
        let last_line = |pieces: &[&str]| {
            let mut tail = Tail::default();
            pieces.iter().for_each(|piece| tail.push(piece.as_bytes()));
            tail.last_line()
        };
        assert_eq!(last_line(&[]), None);
        assert_eq!(last_line(&["\n \n"]), None);
        assert_eq!(last_line(&["connecting\nno rou", "te to h07\r\n\n"]).as_deref(), Some("no route to h07"));
        assert_eq!(last_line(&["\u{1b}[31mred\u{1b}[0m\n"]).as_deref(), Some("[31mred[0m"));
        let long = "é".repeat(TAIL_BYTES_MAX);
        assert_eq!(last_line(&["first\n", &long, &long]).unwrap().chars().count(), LAST_LINE_CHARS_MAX + 1);
    }

    #[test]
    fn long_text_is_truncated_with_its_length() {
        let mut head = head(&vec![b'a'; RESULT_BYTES_MAX]);
        head.push(b"more");
        assert_eq!((head.bytes.len(), head.total), (RESULT_BYTES_MAX, RESULT_BYTES_MAX as u64 + 4));
        assert!(!head.is_whole());
    }
}
