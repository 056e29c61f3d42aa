//! Bodies of answers: without their compression, and read as the JSON, the text or the bytes that they are.
//!
//! The runner `http`, polls and connections share these rules. A body that cannot be read is an error with its place: no
//! byte is replaced in silence.

use std::borrow::Cow;

use bytes::Bytes;
use ensue_content::{
    ContentType, DecodeError, DecompressError, JsonBodyError, Limit, charset_in_document, decode, decode_text, decompress, parse_json,
};
use ensue_engine::catalog::TextDecoding;
use ensue_expression::{Document, JsonError};
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use thiserror::Error;

use crate::masks::Masks;

/// The codings that a request accepts, unless its author says which.
pub(crate) const ACCEPTED_CODINGS: &str = "gzip, deflate, br, zstd";

/// What the header `Content-Type` says of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyKind {
    /// JSON.
    Json,
    /// A text, or nothing.
    Text,
    /// Anything else.
    Binary,
}

/// A body without its compression.
pub(crate) struct AnswerBody {
    bytes: Bytes,
    content_type: ContentType,
}

/// Why a body cannot be read.
#[derive(Debug, Error)]
pub(crate) enum UnreadableBody {
    /// It is larger than it may be.
    #[error("its body is larger than {0} bytes when it is decompressed")]
    TooLarge(usize),
    /// It cannot be decompressed.
    #[error("its body cannot be decompressed: {0}")]
    Compressed(DecompressError),
    /// Its bytes are not text.
    #[error("its body is not text: {0}")]
    NotText(#[from] DecodeError),
    /// Its text is not JSON.
    #[error("its body is not JSON: {0}")]
    NotJson(#[from] JsonError),
    /// Its text is JSON only with the value of a key, which is masked.
    #[error("its body is JSON, but not once the value of a key in it is masked")]
    Masked,
}

impl From<JsonBodyError> for UnreadableBody {
    fn from(error: JsonBodyError) -> Self {
        match error {
            JsonBodyError::NotText(error) => error.into(),
            JsonBodyError::NotJson(error) => error.into(),
        }
    }
}

impl AnswerBody {
    /// Removes the compression of a body, which may have up to `bytes_max` bytes without it. How much it grows is not
    /// limited: repetitive JSON grows by more than a thousand times.
    pub(crate) fn decompress(headers: &HeaderMap, body: Bytes, bytes_max: usize) -> Result<Self, UnreadableBody> {
        let codings = join_values(headers, &CONTENT_ENCODING);
        let bytes = decompress(body, &codings, Limit { bytes_max, growth_max: usize::MAX }).map_err(|error| match error {
            DecompressError::TooLarge { bytes_max } => UnreadableBody::TooLarge(bytes_max),
            error => UnreadableBody::Compressed(error),
        })?;
        Ok(Self::plain(headers, bytes))
    }

    /// Returns the body of bytes without a type of their own.
    pub(crate) fn opaque(bytes: Bytes) -> Self {
        Self { bytes, content_type: ContentType::parse("application/octet-stream") }
    }

    fn plain(headers: &HeaderMap, bytes: Bytes) -> Self {
        Self { bytes, content_type: ContentType::parse(&content_type(headers)) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns what the server says that it is. Without a type it is text, as the answers of small servers are.
    pub(crate) fn kind(&self) -> BodyKind {
        match () {
            () if self.content_type.is_json() => BodyKind::Json,
            () if self.content_type.is_text() || self.content_type.essence().is_empty() => BodyKind::Text,
            () => BodyKind::Binary,
        }
    }

    /// Returns its type, in lower case and without parameters.
    pub(crate) fn essence(&self) -> &str {
        self.content_type.essence()
    }

    /// Returns its bytes, with the values of keys masked.
    pub(crate) fn bytes(&self, masks: Option<&Masks>) -> Bytes {
        masks.map_or_else(|| self.bytes.clone(), |masks| masks.whole(&self.bytes).into())
    }

    /// Reads it as text in UTF-8. Its charset is that of its byte order mark, of the header, of the HTML or XML document
    /// itself, or of the author.
    pub(crate) fn text(&self, decoding: &TextDecoding, masks: Option<&Masks>) -> Result<String, UnreadableBody> {
        let is_document = self.content_type.declares_charset_itself();
        let declared = is_document.then(|| charset_in_document(&self.bytes)).flatten();
        self.decode(self.content_type.charset().or(declared.as_deref()), decoding, masks)
    }

    /// Reads it as the text in UTF-8 that JSON is written in, which declares no charset itself.
    pub(crate) fn text_of_json(&self, decoding: &TextDecoding, masks: Option<&Masks>) -> Result<String, UnreadableBody> {
        self.decode(self.content_type.charset(), decoding, masks)
    }

    fn decode(&self, declared: Option<&str>, decoding: &TextDecoding, masks: Option<&Masks>) -> Result<String, UnreadableBody> {
        let text = decode_text(&self.bytes, declared.or(decoding.charset.as_deref()), decoding.invalid)?;
        Ok(match masks {
            Some(masks) => masks.text(&text),
            None => text,
        })
    }

    /// Reads it as JSON.
    pub(crate) fn json(&self, decoding: &TextDecoding, masks: Option<&Masks>) -> Result<Document, UnreadableBody> {
        let TextDecoding { charset, invalid } = decoding;
        let text = decode(&self.bytes, self.content_type.charset().or(charset.as_deref()), *invalid)?;
        let Some(masks) = masks else { return Ok(parse_json(&text, None, *invalid)?) };
        let masked = Bytes::from(masks.whole(&text));
        parse_json(&masked, None, *invalid).map_err(|error| match parse_json(&text, None, *invalid) {
            Ok(_) => UnreadableBody::Masked,
            Err(_) => error.into(),
        })
    }
}

/// Returns true if a body has a compression, as its headers say.
pub(crate) fn is_compressed(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_ENCODING)
}

/// Returns the type that the headers state first. A server behind a proxy may send the header twice, and a proxy may join
/// both lines with a comma.
fn content_type(headers: &HeaderMap) -> String {
    let line = headers.get(CONTENT_TYPE).map(header_text).unwrap_or_default();
    let (mut is_quoted, mut is_escaped) = (false, false);
    let end = line.find(|character| {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = is_quoted,
            '"' => is_quoted = !is_quoted,
            ',' => return !is_quoted,
            _ => {}
        }
        false
    });
    line[..end.unwrap_or(line.len())].to_owned()
}

/// Returns the values of a header as one text.
pub(crate) fn join_values(headers: &HeaderMap, name: &HeaderName) -> String {
    let values: Vec<_> = headers.get_all(name).iter().map(header_text).collect();
    values.join(", ")
}

/// Returns the value of a header as text. It has no charset: what is not UTF-8 is ISO-8859-1, as HTTP once said.
pub(crate) fn header_text(value: &HeaderValue) -> Cow<'_, str> {
    let bytes = value.as_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use ensue_engine::catalog::Invalid;

    use super::*;

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap())).collect()
    }

    fn body(kind: &str, bytes: &[u8]) -> AnswerBody {
        AnswerBody::plain(&headers(&[(CONTENT_TYPE, kind)]), Bytes::copy_from_slice(bytes))
    }

    fn text(kind: &str, bytes: &[u8]) -> Result<String, String> {
        body(kind, bytes).text(&TextDecoding::default(), None).map_err(|error| error.to_string())
    }

    #[test]
    fn kind_depends_on_the_type_alone() {
        for (kind, is) in [
            ("application/json; charset=x", BodyKind::Json),
            ("application/problem+json", BodyKind::Json),
            ("text/html", BodyKind::Text),
            ("application/xml", BodyKind::Text),
            ("", BodyKind::Text),
            ("image/png", BodyKind::Binary),
            ("application/octet-stream", BodyKind::Binary),
        ] {
            assert_eq!(body(kind, b"\xff").kind(), is, "{kind}");
        }
        assert_eq!(AnswerBody::plain(&HeaderMap::new(), Bytes::new()).kind(), BodyKind::Text);
    }

    #[test]
    fn first_of_several_types_counts() {
        let kind = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| (CONTENT_TYPE, *line)).collect();
            let body = AnswerBody::plain(&headers(&lines), Bytes::new());
            (body.essence().to_owned(), body.content_type.charset().map(str::to_owned))
        };
        let json = || ("application/json".to_owned(), None);
        assert_eq!(kind(&["application/json", "application/json"]), json());
        assert_eq!(kind(&["application/json", "image/png"]), json());
        assert_eq!(kind(&["application/json, application/json; charset=utf-8"]), json());
        let quoted = "text/plain; x=\"a\\\", b\"; charset=latin1, text/html";
        assert_eq!(kind(&[quoted]), ("text/plain".to_owned(), Some("latin1".to_owned())), "the comma is in quotes");
    }

    #[test]
    fn charset_of_text_is_that_of_its_mark_its_header_or_its_document() {
        assert_eq!(text("text/plain; charset=windows-1251", b"\xcf").unwrap(), "П");
        assert_eq!(text("text/plain; charset=windows-1251", b"\xef\xbb\xbf\xc3\xa9").unwrap(), "é");
        assert_eq!(
            text("text/xml", b"<?xml version=\"1.0\" encoding=\"iso-8859-1\"?><a>\xe9</a>").unwrap().chars().rev().nth(4),
            Some('é')
        );
        let declares_what_it_is_not = "<?xml version=\"1.0\" encoding=\"utf-16\"?><a>é</a>";
        assert_eq!(text("text/xml", declares_what_it_is_not.as_bytes()).unwrap(), declares_what_it_is_not);
        for label in ["unicode", "ucs-2", "unicodefffe", "unheard-of"] {
            let untrue = declares_what_it_is_not.replace("utf-16", label);
            assert_eq!(text("application/xml", untrue.as_bytes()).unwrap(), untrue);
        }
    }

    #[test]
    fn only_a_document_declares_its_charset() {
        let mentions = "<meta charset=latin1>\u{e9}";
        for kind in ["text/plain", "text/csv", "application/x-www-form-urlencoded", "application/octet-stream"] {
            assert_eq!(text(kind, mentions.as_bytes()).unwrap(), mentions, "{kind}");
        }
        for kind in ["text/html", "application/xhtml+xml", ""] {
            assert_eq!(text(kind, mentions.as_bytes()).unwrap(), "<meta charset=latin1>\u{c3}\u{a9}", "{kind}");
        }
    }

    #[test]
    fn text_and_json_that_cannot_be_read_say_where() {
        assert_eq!(text("text/plain", b"caf\xe9").unwrap_err(), "its body is not text: the bytes at offset 3 are not valid UTF-8");
        assert_eq!(text("text/plain; charset=ebcdic", b"a").unwrap_err(), "its body is not text: the charset `ebcdic` is not known");
        let json = |bytes: &[u8]| body("application/json", bytes).json(&TextDecoding::default(), None).map_err(|error| error.to_string());
        assert!(json(b"{\"a\": 1, \"a\": 2}").unwrap_err().starts_with("its body is not JSON: line 1, column 10"));
        assert!(json(b"\"\\ud83d\"").unwrap_err().starts_with("its body is not JSON: line 1, column 2"));
        assert!(json(b" \n").unwrap().root().is_null());
    }

    #[test]
    fn charset_of_the_author_is_for_bodies_that_declare_none() {
        let decoding = TextDecoding { charset: Some("windows-1252".into()), ..TextDecoding::default() };
        let text = |kind: &str, bytes: &[u8]| body(kind, bytes).text(&decoding, None).unwrap();
        assert_eq!(text("text/csv", b"caf\xe9"), "café");
        assert_eq!(text("text/csv; charset=utf-8", "café".as_bytes()), "café");
        assert_eq!(text("text/csv", "\u{feff}café".as_bytes()), "café");
        assert_eq!(text("text/html", "<meta charset=utf-8>café".as_bytes()), "<meta charset=utf-8>café");
        let json = body("application/json", b"\"caf\xe9\"");
        assert_eq!(json.json(&decoding, None).unwrap().root().raw(), "\"café\"");
        assert_eq!(json.text_of_json(&decoding, None).unwrap(), "\"café\"");
    }

    #[test]
    fn what_is_not_valid_is_replaced_if_the_author_wants_it() {
        let decoding = TextDecoding { invalid: Invalid::Replace, ..TextDecoding::default() };
        assert_eq!(body("text/plain", b"caf\xe9").text(&decoding, None).unwrap(), "caf\u{fffd}");
        let json = |bytes: &[u8]| body("application/json", bytes).json(&decoding, None).map(|document| document.root().raw().to_owned());
        assert_eq!(json(b"{\"a\":1,\"a\":\"\xe9\"}").unwrap(), "{\"a\":\"\u{fffd}\"}");
        assert!(json(b"{oops").is_err());
    }

    #[test]
    fn values_of_keys_are_masked_in_any_charset() {
        let masks = Masks::of_values([("demo.token", b"sesame-open".as_slice())]);
        let wide: Vec<u8> = "\u{feff}{\"token\":\"sesame-open\"}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let document = body("application/json", &wide).json(&TextDecoding::default(), masks.as_deref()).unwrap();
        assert_eq!(document.root().raw(), r#"{"token":"[redacted demo.token]"}"#);
        let number = Masks::of_values([("demo.pin", b"1234567890".as_slice())]);
        let error = body("application/json", b"{\"pin\":1234567890}").json(&TextDecoding::default(), number.as_deref()).unwrap_err();
        assert!(matches!(error, UnreadableBody::Masked) && !error.to_string().contains("1234"));
    }

    #[test]
    fn compressed_body_is_read_within_its_limit() {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(&[b'a'; 10_000]).unwrap();
        let gzip = Bytes::from(writer.finish().unwrap());
        let headers = headers(&[(CONTENT_ENCODING, "GZIP"), (CONTENT_TYPE, "text/plain")]);
        let read = |bytes: Bytes, max| AnswerBody::decompress(&headers, bytes, max);
        assert_eq!(read(gzip.clone(), 10_000).unwrap().text(&TextDecoding::default(), None).unwrap(), "a".repeat(10_000));
        assert!(matches!(read(gzip.clone(), 9_999), Err(UnreadableBody::TooLarge(9_999))));
        let error = read(gzip.slice(..20), 10_000).err().unwrap().to_string();
        assert!(error.starts_with("its body cannot be decompressed: it is not valid `gzip`: "), "{error}");
        assert!(read(Bytes::new(), 10_000).unwrap().is_empty(), "as in an answer to HEAD");
    }

    #[test]
    fn repetitive_body_may_grow_up_to_its_limit() {
        let text = "{\"id\":null,\"state\":\"ok\"},".repeat(60_000);
        let mut brotli = Vec::new();
        brotli::CompressorWriter::new(&mut brotli, 4096, 9, 22).write_all(text.as_bytes()).unwrap();
        let zstd = zstd::stream::encode_all(text.as_bytes(), 3).unwrap();
        for (coding, packed) in [("br", brotli), ("zstd", zstd)] {
            assert!(packed.len() < text.len() / 2_000, "{coding}: {}", packed.len());
            let headers = headers(&[(CONTENT_ENCODING, coding), (CONTENT_TYPE, "text/plain")]);
            let read = |max| AnswerBody::decompress(&headers, packed.clone().into(), max);
            assert_eq!(read(text.len()).unwrap().bytes, text, "{coding}");
            assert!(matches!(read(text.len() - 1), Err(UnreadableBody::TooLarge(_))), "{coding}");
        }
    }

    #[test]
    fn header_that_is_not_utf_8_loses_nothing() {
        let value = HeaderValue::from_bytes(b"caf\xe9").unwrap();
        assert_eq!(header_text(&value), "café");
        assert_eq!(header_text(&HeaderValue::from_bytes("café".as_bytes()).unwrap()), "café");
    }
}
