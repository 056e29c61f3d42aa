//! The escapes of JSON strings: checked once when a document is parsed, decoded when a text is requested.

/// Decodes the escapes of a string that [`escape_len`] accepted at every backslash.
pub(super) fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for part in parts(text) {
        match part {
            Part::Plain(text) => out.push_str(text),
            Part::Escaped(character) => out.push(character),
        }
    }
    out
}

/// Returns true if a string with escapes decodes to `plain`. Stops at the first difference.
pub(super) fn reads_as(text: &str, plain: &str) -> bool {
    let mut rest = plain;
    for part in parts(text) {
        let after = match part {
            Part::Plain(text) => rest.strip_prefix(text),
            Part::Escaped(character) => rest.strip_prefix(character),
        };
        match after {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// A piece of a string with escapes.
enum Part<'t> {
    Plain(&'t str),
    Escaped(char),
}

fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let len = match rest.find('\\') {
            None if rest.is_empty() => return None,
            None => rest.len(),
            Some(0) => {
                let (character, len) = escape(&rest.as_bytes()[1..]);
                rest = &rest[len..];
                return Some(Part::Escaped(character));
            }
            Some(at) => at,
        };
        let (plain, after) = rest.split_at(len);
        rest = after;
        Some(Part::Plain(plain))
    })
}

/// Returns the character of an escape without its backslash, and the length of both.
fn escape(escape: &[u8]) -> (char, usize) {
    match escape[0] {
        b'b' => ('\u{8}', 2),
        b'f' => ('\u{c}', 2),
        b'n' => ('\n', 2),
        b'r' => ('\r', 2),
        b't' => ('\t', 2),
        b'u' => unicode(escape).expect("escapes were checked when the document was parsed"),
        other => (char::from(other), 2),
    }
}

/// Returns the length of the escape whose backslash is at the start of `bytes`, or what is wrong with it.
pub(super) fn escape_len(bytes: &[u8]) -> Result<usize, &'static str> {
    match bytes.get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => unicode(&bytes[1..]).map(|(_, len)| len),
        Some(_) => Err("unknown escape; JSON has \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX"),
        None => Err("the text ends inside a string"),
    }
}

/// Parses `uXXXX`, with its second half if it is a surrogate pair. The length includes the backslash.
fn unicode(escape: &[u8]) -> Result<(char, usize), &'static str> {
    const LONE: &str = "lone surrogate: \\uD800 to \\uDFFF must come in pairs";
    let first = hex4(&escape[1..])?;
    if let Some(character) = char::from_u32(first) {
        return Ok((character, 6));
    }
    if first >= 0xDC00 || escape.get(5..7) != Some(b"\\u") {
        return Err(LONE);
    }
    let second = hex4(&escape[7..])?;
    if !(0xDC00..0xE000).contains(&second) {
        return Err(LONE);
    }
    let code = 0x1_0000 + (((first - 0xD800) << 10) | (second - 0xDC00));
    char::from_u32(code).map(|character| (character, 12)).ok_or(LONE)
}

fn hex4(bytes: &[u8]) -> Result<u32, &'static str> {
    let digits = bytes.get(..4).ok_or("the text ends inside a string")?;
    digits.iter().try_fold(0, |code, &digit| {
        char::from(digit).to_digit(16).map(|value| code * 16 + value).ok_or("\\u needs four hexadecimal digits")
    })
}
