//! The forms of a value that are searched for: as it is, in Base64, in hexadecimal, percent-encoded for URLs,
//! and escaped for JSON.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

/// The line lengths of Base64 in common tools: `openssl` and PEM, and `base64`.
const BASE64_LINES: [usize; 2] = [64, 76];
/// The line length of `xxd -p`.
const HEX_LINE: usize = 60;

/// The bytes, besides letters and digits, that common URL encoders leave unchanged.
const PLAIN_IN_URLS: [&[u8]; 5] = [b"-._~", b"-._~/", b"-._~!'()*", b"-._*", b"-._~!'()*;,/?:@&=+$#"];

const LOWER: &[u8; 16] = b"0123456789abcdef";
const UPPER: &[u8; 16] = b"0123456789ABCDEF";

/// Returns all forms of a value, each once.
pub(super) fn of(value: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::from([value.to_vec()]);
    in_base64(value, &mut forms);
    for hex in [hex::encode(value), hex::encode_upper(value)] {
        forms.insert(in_lines(&hex, HEX_LINE));
        forms.insert(hex.into_bytes());
    }
    for plain in PLAIN_IN_URLS {
        for digits in [LOWER, UPPER] {
            for space in [b"%20".as_slice(), b"+"] {
                forms.insert(percent_encoded(value, plain, digits, space));
            }
        }
    }
    if let Ok(text) = std::str::from_utf8(value) {
        in_json(text, &mut forms);
    }
    forms
}

/// Adds a value's Base64 in full, and the part of it that stays the same whatever comes before and after the
/// value.
fn in_base64(value: &[u8], forms: &mut BTreeSet<Vec<u8>>) {
    let mut add = |form: &str| {
        forms.insert(form.as_bytes().to_vec());
        forms.insert(form.replace('+', "-").replace('/', "_").into_bytes());
    };
    for before in 0..3 {
        let encoded = STANDARD_NO_PAD.encode([&[0; 3][..before], value].concat());
        let (first, behind) = ((before * 8).div_ceil(6), (before + value.len()) * 8 / 6);
        add(&encoded[first..behind]);
        add(&encoded[first..]);
    }
    let whole = STANDARD.encode(value);
    add(&whole);
    for line in BASE64_LINES {
        add(&String::from_utf8_lossy(&in_lines(&whole, line)));
    }
}

/// Breaks an ASCII text into lines of `line` characters.
fn in_lines(text: &str, line: usize) -> Vec<u8> {
    let lines: Vec<&[u8]> = text.as_bytes().chunks(line).collect();
    lines.join(&b'\n')
}

fn percent_encoded(value: &[u8], plain: &[u8], digits: &[u8; 16], space: &[u8]) -> Vec<u8> {
    let mut encoded = Vec::with_capacity(value.len());
    for byte in value {
        match byte {
            b' ' => encoded.extend_from_slice(space),
            byte if byte.is_ascii_alphanumeric() || plain.contains(byte) => encoded.push(*byte),
            byte => encoded.extend([b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]),
        }
    }
    encoded
}

/// Adds a text as it appears between the quotes of a JSON string, with and without the escapes that encoders
/// need not write.
fn in_json(text: &str, forms: &mut BTreeSet<Vec<u8>>) {
    for digits in [LOWER, UPPER] {
        for escapes_foreign in [false, true] {
            for escapes_markup in [false, true] {
                for escapes_slash in [false, true] {
                    let escapes = |character: char| match character {
                        '<' | '>' | '&' | '\'' => escapes_markup,
                        '\u{7f}'.. => escapes_foreign,
                        _ => false,
                    };
                    forms.insert(json_escaped(text, digits, escapes_slash, escapes));
                }
            }
        }
    }
}

fn json_escaped(text: &str, digits: &[u8; 16], escapes_slash: bool, escapes: impl Fn(char) -> bool) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for character in text.chars() {
        let short = match character {
            '"' => Some(b'"'),
            '\\' => Some(b'\\'),
            '\n' => Some(b'n'),
            '\r' => Some(b'r'),
            '\t' => Some(b't'),
            '\u{8}' => Some(b'b'),
            '\u{c}' => Some(b'f'),
            '/' if escapes_slash => Some(b'/'),
            _ => None,
        };
        match short {
            Some(letter) => escaped.extend([b'\\', letter]),
            None if character < ' ' || escapes(character) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    escaped.extend(b"\\u");
                    escaped.extend([12, 8, 4, 0].map(|shift| digits[usize::from(*unit >> shift & 15)]));
                }
            }
            None => escaped.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::Masks;

    const VALUE: &str = "p/ss wörd+<\"1\">\n~k?y";

    fn mask(text: &str) -> String {
        Masks::of_values([("a.b", VALUE.as_bytes())]).unwrap().text(text)
    }

    #[test]
    fn value_is_masked_in_each_encoding() {
        let bytes = VALUE.as_bytes();
        for text in [
            VALUE.to_owned(),
            hex::encode(bytes),
            hex::encode_upper(bytes),
            serde_json::to_string(VALUE).unwrap().trim_matches('"').to_owned(),
            // Python, Go, PHP.
            r#"p/ss w\u00f6rd+<\"1\">\n~k?y"#.to_owned(),
            r#"p/ss wörd+\u003c\"1\"\u003e\n~k?y"#.to_owned(),
            r#"p\/ss w\u00f6rd+<\"1\">\n~k?y"#.to_owned(),
            // `encodeURIComponent`, Python's `quote`, forms, and lower case.
            "p%2Fss%20w%C3%B6rd%2B%3C%221%22%3E%0A~k%3Fy".to_owned(),
            "p/ss%20w%C3%B6rd%2B%3C%221%22%3E%0A~k%3Fy".to_owned(),
            "p%2Fss+w%C3%B6rd%2B%3C%221%22%3E%0A%7Ek%3Fy".to_owned(),
            "p%2fss%20w%c3%b6rd%2b%3c%221%22%3e%0a~k%3fy".to_owned(),
        ] {
            assert_eq!(mask(&format!("<{text}>")), "<[redacted a.b]>", "{text}");
        }
    }

    #[test]
    fn value_is_masked_in_base64_at_each_alignment() {
        use base64::Engine as _;
        use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

        for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
            for before in ["", "u", "us", "user:"] {
                for behind in ["", "\n", "xy", "xyz"] {
                    let encoded = engine.encode(format!("{before}{VALUE}{behind}"));
                    let masked = mask(&encoded);
                    assert!(masked.contains("[redacted a.b]"), "{before} {behind}: {masked}");
                    // Apart from bytes that are not part of the value, at most four bits of the value are
                    // left on either side.
                    let left = masked.replace("[redacted a.b]", "");
                    assert!(left.len() <= (before.len() + behind.len()) * 4 / 3 + 6, "{before} {behind}: {masked}");
                }
            }
        }
    }

    #[test]
    fn encoded_value_that_was_broken_into_lines_is_masked() {
        use base64::Engine as _;

        let value = "a long value of a key, ".repeat(20);
        let masks = Masks::of_values([("a.b", value.trim().as_bytes())]).unwrap();
        let broken = |text: String, line: usize| text.as_bytes().chunks(line).collect::<Vec<_>>().join(&b'\n');
        let base64 = base64::engine::general_purpose::STANDARD.encode(value.trim());
        for text in [broken(base64.clone(), 76), broken(base64, 64), broken(hex::encode(value.trim()), 60)] {
            assert_eq!(masks.whole(&text), b"[redacted a.b]");
        }
    }

    #[test]
    fn whitespace_around_a_value_is_not_part_of_it() {
        let masks = Masks::of_values([("a.b", b" \tpassword-1\n".as_slice())]).unwrap();
        assert_eq!(masks.text("password-1"), "[redacted a.b]");
    }

    #[test]
    fn value_changed_in_another_way_is_not_masked() {
        let reversed: String = VALUE.chars().rev().collect();
        let spaced: String = VALUE.chars().flat_map(|character| [character, ' ']).collect();
        for text in [reversed, spaced] {
            assert_eq!(mask(&text), text);
        }
    }
}
