//! Charsets: bytes as text in UTF-8.

use bytes::Bytes;
use encoding_rs::{DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};
use ensue_engine::catalog::Invalid;
use thiserror::Error;

/// How many bytes at the beginning of a document are searched for its charset, as in the HTML standard.
const DECLARATION_BYTES_MAX: usize = 1024;

/// Why bytes are not text in a charset.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// A charset that is not known.
    #[error("the charset `{0}` is not known")]
    Unknown(String),
    /// Bytes that are invalid in it.
    #[error("the bytes at offset {offset} are not valid {charset}")]
    Malformed {
        /// The name of the charset.
        charset: &'static str,
        /// Where, from the start of the body.
        offset: usize,
    },
}

/// Returns true if bytes can be decoded from a charset of this name.
pub fn is_charset(label: &str) -> bool {
    Encoding::for_label_no_replacement(label.as_bytes()).is_some()
}

/// Returns true if a charset of this name is compatible with ASCII, so that line breaks can be found before bytes are decoded.
/// UTF-16 and ISO-2022-JP are not.
pub fn is_ascii_compatible(label: &str) -> bool {
    Encoding::for_label_no_replacement(label.as_bytes()).is_some_and(Encoding::is_ascii_compatible)
}

/// Decodes bytes to UTF-8. A byte order mark tells their charset and is left out; otherwise `charset` does, by the labels
/// of [WHATWG's Encoding Standard](https://encoding.spec.whatwg.org/); without both, it is UTF-8.
///
/// # Errors
/// If the charset is not known, or bytes are not valid in it and `invalid` does not replace them.
pub fn decode(bytes: &Bytes, charset: Option<&str>, invalid: Invalid) -> Result<Bytes, DecodeError> {
    match Encoding::for_bom(bytes) {
        Some((encoding, mark)) => decode_after(bytes, mark, encoding, invalid),
        None => decode_after(bytes, 0, encoding_of(charset)?, invalid),
    }
}

/// Decodes a part of a body to a text, such as a field of a form. A byte order mark is a character of it, because the mark
/// that tells a charset is at the beginning of a whole body.
///
/// # Errors
/// As [`decode`].
pub fn decode_part(bytes: &[u8], charset: Option<&str>, invalid: Invalid) -> Result<String, DecodeError> {
    decode_line(&Bytes::copy_from_slice(bytes), charset, invalid).map(into_text)
}

/// Decodes a line to UTF-8, as [`decode_part`] does.
///
/// # Errors
/// As [`decode`].
pub fn decode_line(bytes: &Bytes, charset: Option<&str>, invalid: Invalid) -> Result<Bytes, DecodeError> {
    decode_after(bytes, 0, encoding_of(charset)?, invalid)
}

/// Returns true if a body begins with a byte order mark.
pub fn has_byte_order_mark(bytes: &[u8]) -> bool {
    Encoding::for_bom(bytes).is_some()
}

fn encoding_of(charset: Option<&str>) -> Result<&'static Encoding, DecodeError> {
    let Some(label) = charset else { return Ok(UTF_8) };
    let unknown = || DecodeError::Unknown(label.chars().filter(|one| !one.is_control()).take(80).collect());
    Encoding::for_label_no_replacement(label.as_bytes()).ok_or_else(unknown)
}

/// Decodes the bytes after a byte order mark of this length.
fn decode_after(bytes: &Bytes, mark: usize, encoding: &'static Encoding, invalid: Invalid) -> Result<Bytes, DecodeError> {
    let body = bytes.slice(mark..);
    if encoding == UTF_8 && std::str::from_utf8(&body).is_ok() {
        return Ok(body);
    }
    if invalid == Invalid::Replace {
        let (text, _) = encoding.decode_without_bom_handling(&body);
        return Ok(Bytes::from(text.into_owned()));
    }
    match encoding.decode_without_bom_handling_and_without_replacement(&body) {
        Some(text) => Ok(Bytes::from(text.into_owned())),
        None => Err(DecodeError::Malformed { charset: encoding.name(), offset: mark + first_malformed(encoding, &body) }),
    }
}

/// Decodes bytes to a text, as [`decode`] does.
///
/// # Errors
/// As [`decode`].
pub fn decode_text(bytes: &[u8], charset: Option<&str>, invalid: Invalid) -> Result<String, DecodeError> {
    decode(&Bytes::copy_from_slice(bytes), charset, invalid).map(into_text)
}

fn into_text(decoded: Bytes) -> String {
    String::from_utf8(decoded.into()).expect("decoded text is UTF-8")
}

/// Returns where the first bytes are that are not valid.
fn first_malformed(encoding: &'static Encoding, body: &[u8]) -> usize {
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut out = [0; 4096];
    let mut read = 0;
    loop {
        let (result, more, _) = decoder.decode_to_utf8_without_replacement(&body[read..], &mut out, true);
        read += more;
        match result {
            DecoderResult::OutputFull => {}
            DecoderResult::Malformed(bytes, after) => return read.saturating_sub(usize::from(bytes) + usize::from(after)),
            DecoderResult::InputEmpty => return read,
        }
    }
}

/// Returns the charset that an XML or HTML document declares at its beginning: `<?xml … encoding="…"?>` or
/// `<meta … charset=…>`.
///
/// Returns `None` if it declares no charset, an unknown one, or UTF-16: the declaration itself was read as ASCII, so the document
/// is not in UTF-16.
pub fn charset_in_document(bytes: &[u8]) -> Option<String> {
    let label = label_in_document(bytes)?;
    let encoding = Encoding::for_label_no_replacement(label.as_bytes())?;
    (encoding != UTF_16LE && encoding != UTF_16BE).then_some(label)
}

fn label_in_document(bytes: &[u8]) -> Option<String> {
    let head = &bytes[..bytes.len().min(DECLARATION_BYTES_MAX)];
    let head: String = head.iter().map(|byte| if byte.is_ascii() { char::from(*byte).to_ascii_lowercase() } else { '?' }).collect();
    if let Some(declaration) = head.trim_start().strip_prefix("<?xml")
        && let Some((declaration, _)) = declaration.split_once("?>")
    {
        return declaration.split_once("encoding").and_then(|(_, after)| value_after_equals(after));
    }
    head.split("<meta").skip(1).find_map(|tag| {
        let tag = tag.split('>').next().unwrap_or_default();
        tag.split_once("charset").and_then(|(_, after)| value_after_equals(after))
    })
}

fn value_after_equals(text: &str) -> Option<String> {
    let value = text.trim_start().strip_prefix('=')?.trim_start().trim_start_matches(['"', '\'']);
    let end = value.find(|one: char| !(one.is_ascii_alphanumeric() || "-_:.".contains(one))).unwrap_or(value.len());
    (end > 0).then(|| value[..end].to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(bytes: &[u8], charset: Option<&str>) -> Result<String, DecodeError> {
        decode(&Bytes::copy_from_slice(bytes), charset, Invalid::Reject).map(|text| String::from_utf8(text.into()).unwrap())
    }

    #[test]
    fn labels_are_those_of_the_standard() {
        assert_eq!(text(b"10 \xa4", Some("ISO-8859-15")).unwrap(), "10 €");
        assert_eq!(text(b"\x80", Some("us-ascii")).unwrap(), "€", "which the standard reads as windows-1252");
        assert_eq!(text("é".as_bytes(), Some("utf8")).unwrap(), "é");
        assert_eq!(text(b"\x93\xfa", Some("shift_jis")).unwrap(), "日");
        assert_eq!(text(b"x", Some("ebcdic")), Err(DecodeError::Unknown("ebcdic".into())));
        assert!(is_charset("Windows-1251") && !is_charset("utf-7") && !is_charset(""));
    }

    #[test]
    fn byte_order_mark_decides_and_is_left_out() {
        assert_eq!(text(b"\xef\xbb\xbfa", None).unwrap(), "a");
        assert_eq!(text(b"\xff\xfea\0", Some("utf-8")).unwrap(), "a");
        assert_eq!(text(b"\xfe\xff\0a", None).unwrap(), "a");
    }

    #[test]
    fn bytes_that_are_not_valid_are_named_by_their_offset() {
        let malformed = |charset, offset| Err(DecodeError::Malformed { charset, offset });
        assert_eq!(text(b"caf\xe9", None), malformed("UTF-8", 3));
        assert_eq!(text(b"\xef\xbb\xbfa\xff", None), malformed("UTF-8", 4));
        assert_eq!(text(b"\xff\xfea", None), malformed("UTF-16LE", 2), "half a character");
        assert_eq!(text(&[&[b'a'; 9_000][..], b"\x81\xff"].concat(), Some("shift_jis")), malformed("Shift_JIS", 9_000));
    }

    #[test]
    fn replaced_bytes_are_the_replacement_character() {
        let replaced = |bytes: &'static [u8]| decode(&Bytes::from_static(bytes), None, Invalid::Replace).unwrap();
        assert_eq!(replaced(b"caf\xe9!"), "caf\u{fffd}!".as_bytes());
    }

    #[test]
    fn byte_order_mark_of_a_line_is_a_part_of_it() {
        let read = |bytes: &'static [u8], invalid| decode_line(&Bytes::from_static(bytes), None, invalid);
        assert_eq!(read(b"\xff\xfea", Invalid::Reject), Err(DecodeError::Malformed { charset: "UTF-8", offset: 0 }));
        assert_eq!(read(b"\xff\xfea", Invalid::Replace).unwrap(), "\u{fffd}\u{fffd}a".as_bytes());
        assert_eq!(read(b"\xef\xbb\xbfa", Invalid::Reject).unwrap(), &b"\xef\xbb\xbfa"[..]);
        let latin = decode_line(&Bytes::from_static(b"\xff\xfe"), Some("iso-8859-1"), Invalid::Reject);
        assert_eq!(latin.unwrap(), "\u{ff}\u{fe}".as_bytes());
        assert!(is_ascii_compatible("Shift_JIS") && !is_ascii_compatible("utf-16le") && !is_ascii_compatible("iso-2022-jp"));
    }

    #[test]
    fn documents_declare_their_charset() {
        let declared = |text: &str| charset_in_document(text.as_bytes());
        assert_eq!(declared("\n<?xml version=\"1.0\" encoding='Windows-1251'?><a/>").as_deref(), Some("windows-1251"));
        assert_eq!(declared("<html><head><meta charset=latin1>").as_deref(), Some("latin1"));
        let long = "<meta http-equiv=content-type content=\"text/html; charset=utf-8\">";
        assert_eq!(declared(long).as_deref(), Some("utf-8"));
        assert_eq!(declared("<?xml version=\"1.0\"?><meta charset=no>"), None);
        assert_eq!(declared("charset=utf-8"), None);
    }

    #[test]
    fn declaration_that_is_read_as_ascii_is_not_of_utf_16() {
        for label in ["utf-16", "UTF-16LE", "utf-16be", "unicode", "csunicode", "ucs-2", "iso-10646-ucs-2", "unicodefeff", "unicodefffe"] {
            assert_eq!(charset_in_document(format!("<?xml version=\"1.0\" encoding=\"{label}\"?><a/>").as_bytes()), None, "{label}");
            assert_eq!(charset_in_document(format!("<meta charset={label}>").as_bytes()), None, "{label}");
        }
        assert_eq!(charset_in_document(b"<meta charset=ebcdic>"), None, "nor of a charset that is not known");
    }

    #[test]
    fn byte_order_mark_of_a_part_is_a_character() {
        assert_eq!(decode_part(b"\xef\xbb\xbfx", None, Invalid::Reject).unwrap(), "\u{feff}x");
        assert_eq!(decode_part(b"\xff\xfeab", Some("iso-8859-1"), Invalid::Reject).unwrap(), "\u{ff}\u{fe}ab");
        assert_eq!(decode_part(b"a\xff", None, Invalid::Reject), Err(DecodeError::Malformed { charset: "UTF-8", offset: 1 }));
        assert!(has_byte_order_mark(b"\xff\xfea\0") && !has_byte_order_mark(b"a\xff\xfe"));
    }

    proptest! {
        #[test]
        fn text_of_a_part_has_each_of_its_characters(text in any::<String>(), marked in any::<bool>()) {
            let text = if marked { format!("\u{feff}{text}") } else { text };
            prop_assert_eq!(decode_part(text.as_bytes(), None, Invalid::Reject), Ok(text));
        }

        #[test]
        fn any_declaration_is_none_or_names_a_charset_that_reads_ascii(bytes in r#"[ -~]{0,20}(<meta|<\?xml)[ -~]{0,60}"#) {
            if let Some(label) = charset_in_document(bytes.as_bytes()) {
                prop_assert!(decode_part(bytes.as_bytes(), Some(&label), Invalid::Reject).is_ok(), "{label}");
            }
        }

        #[test]
        fn any_bytes_are_text_or_an_error_within_them(bytes in proptest::collection::vec(any::<u8>(), 0..200), charset in 0..6usize) {
            let charset = [None, Some("utf-8"), Some("utf-16le"), Some("gb18030"), Some("iso-2022-jp"), Some("euc-kr")][charset];
            let body = Bytes::from(bytes.clone());
            match decode(&body, charset, Invalid::Reject) {
                Ok(text) => prop_assert!(std::str::from_utf8(&text).is_ok()),
                Err(DecodeError::Malformed { offset, .. }) => prop_assert!(offset < bytes.len(), "{offset}"),
                Err(error) => prop_assert!(false, "{error}"),
            }
            prop_assert!(std::str::from_utf8(&decode(&body, charset, Invalid::Replace).unwrap()).is_ok());
        }

        #[test]
        fn text_comes_back_from_each_charset_that_has_it(text in "[a-zA-Z0-9 äöüßéèàçñ]{0,60}", charset in 0..4usize) {
            let label = ["utf-8", "windows-1252", "iso-8859-15", "gb18030"][charset];
            let encoding = Encoding::for_label(label.as_bytes()).unwrap();
            let (bytes, _, is_lossy) = encoding.encode(&text);
            prop_assert!(!is_lossy);
            prop_assert_eq!(&decode(&Bytes::from(bytes.into_owned()), Some(label), Invalid::Reject).unwrap()[..], text.as_bytes());
        }
    }
}
