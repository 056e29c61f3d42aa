//! Splits source text into tokens, one at a time; literals carry their value.
//!
//! What the tokens mean together is determined by the parser.

use std::ops::Range;

use crate::ast::Span;
use crate::error::CompileError;

type Result<T> = std::result::Result<T, Box<CompileError>>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// A name, which may be a reserved word.
    Name(Box<str>),
    /// A field name in backticks: never a variable or a keyword.
    QuotedName(Box<str>),
    /// A whole number without its sign.
    Int(u64),
    Uint(u64),
    Double(f64),
    String(Box<str>),
    Bytes(Vec<u8>),
    /// An operator, bracket or other mark.
    Mark(&'static str),
    End,
}

/// All marks, longer ones before their prefixes.
const MARKS: [&str; 26] = [
    "&&", "||", "==", "!=", "<=", ">=", "(", ")", "[", "]", "{", "}", ".", ",", "?", ":", "+", "-", "*", "/", "%", "!", "<", ">", "=", "&",
];

pub(crate) struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

impl<'s> Lexer<'s> {
    /// Returns a lexer that begins at byte `at` of `source`.
    pub(crate) fn new(source: &'s str, at: usize) -> Self {
        Self { source, at }
    }

    /// Returns where the next token is searched for.
    pub(crate) fn offset(&self) -> usize {
        self.at
    }

    /// Returns the next token and its place, or `Token::End` at the end and from then on.
    pub(crate) fn next(&mut self) -> Result<(Token, Span)> {
        self.skip_space();
        let start = self.at;
        let token = self.token()?;
        Ok((token, span(start, self.at)))
    }

    fn token(&mut self) -> Result<Token> {
        let Some(first) = self.peek(0) else {
            return Ok(Token::End);
        };
        if let Some(prefix) = self.string_prefix() {
            return self.quoted_literal(prefix);
        }
        if first.is_ascii_alphabetic() || first == b'_' {
            let len = self.rest().bytes().take_while(|&byte| is_word(byte)).count();
            return Ok(Token::Name(self.take(len).into()));
        }
        if first.is_ascii_digit() || (first == b'.' && self.peek(1).is_some_and(|byte| byte.is_ascii_digit())) {
            return self.number();
        }
        if first == b'`' {
            return self.quoted_name();
        }
        for mark in MARKS {
            if self.rest().starts_with(mark) {
                if mark == "=" || mark == "&" {
                    return Err(self
                        .error(self.at..self.at + 1, format!("unknown operator `{mark}`"))
                        .hint(format!("write `{mark}{mark}`")));
                }
                self.at += mark.len();
                return Ok(Token::Mark(mark));
            }
        }
        let character = self.rest().chars().next().unwrap_or_default();
        let place = self.at..self.at + character.len_utf8();
        let error = self.error(place, format!("unexpected character `{character}`"));
        Err(match character {
            '|' => error.hint("write `||`"),
            '\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}' => error.hint("use straight quotes: `\"` or `'`"),
            '$' => error.hint("write `${{ … }}` around the whole expression, not inside it"),
            _ => error,
        })
    }

    fn number(&mut self) -> Result<Token> {
        let start = self.at;
        if self.rest().starts_with("0x") || self.rest().starts_with("0X") {
            self.at += 2;
            let digits = self.take_digits(|byte| byte.is_ascii_hexdigit());
            if digits.is_empty() {
                return Err(self.error(start..self.at, "the hexadecimal number has no digits"));
            }
            return self.whole(start, u64::from_str_radix(digits, 16).ok());
        }
        self.take_digits(|byte| byte.is_ascii_digit());
        let mut is_double = false;
        if self.peek(0) == Some(b'.') && self.peek(1).is_some_and(|byte| byte.is_ascii_digit()) {
            is_double = true;
            self.at += 1;
            self.take_digits(|byte| byte.is_ascii_digit());
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            is_double = true;
            self.at += 1;
            if matches!(self.peek(0), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.take_digits(|byte| byte.is_ascii_digit()).is_empty() {
                return Err(self.error(start..self.at, "the exponent has no digits"));
            }
        }
        let text = &self.source[start..self.at];
        if !is_double {
            let value = text.parse().ok();
            return self.whole(start, value);
        }
        self.refuse_word(start)?;
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Token::Double(value)),
            _ => Err(self.error(start..self.at, "the number is too large for a double")),
        }
    }

    fn whole(&mut self, start: usize, value: Option<u64>) -> Result<Token> {
        let is_unsigned = matches!(self.peek(0), Some(b'u' | b'U'));
        if is_unsigned {
            self.at += 1;
        }
        self.refuse_word(start)?;
        match value {
            Some(value) if is_unsigned => Ok(Token::Uint(value)),
            Some(value) => Ok(Token::Int(value)),
            None => Err(self.error(start..self.at, "the number does not fit in 64 bits")),
        }
    }

    /// Rejects a number that runs into a word: `12px`, `0x`.
    fn refuse_word(&mut self, start: usize) -> Result<()> {
        if self.peek(0).is_some_and(is_word) {
            let len = self.rest().bytes().take_while(|&byte| is_word(byte)).count();
            return Err(self.error(start..self.at + len, "not a number"));
        }
        Ok(())
    }

    fn quoted_name(&mut self) -> Result<Token> {
        let start = self.at;
        let rest = &self.source[start + 1..];
        let Some(len) = rest.find('`') else {
            return Err(self.error(start..self.source.len(), "the backtick is not closed"));
        };
        let name = &rest[..len];
        self.at = start + len + 2;
        let is_allowed = |byte: u8| is_word(byte) || matches!(byte, b'.' | b'-' | b'/' | b' ');
        if name.is_empty() || !name.bytes().all(is_allowed) {
            return Err(self
                .error(start..self.at, "a name in backticks must consist of letters, digits, `_`, `.`, `-`, `/` and spaces")
                .hint("for any other name, write `[\"…\"]`"));
        }
        Ok(Token::QuotedName(name.into()))
    }

    /// Parses the prefix (`r`, `b`, both or none) of a string that begins here.
    fn string_prefix(&self) -> Option<Prefix> {
        let mut prefix = Prefix { len: 0, raw: Escapes::Read, form: LiteralForm::Text };
        loop {
            match self.peek(prefix.len)? {
                b'"' | b'\'' => return Some(prefix),
                b'r' | b'R' if prefix.raw == Escapes::Read => prefix.raw = Escapes::Raw,
                b'b' | b'B' if prefix.form == LiteralForm::Text => prefix.form = LiteralForm::Bytes,
                _ => return None,
            }
            prefix.len += 1;
        }
    }

    fn quoted_literal(&mut self, prefix: Prefix) -> Result<Token> {
        let start = self.at;
        self.at += prefix.len;
        let quote = &self.rest()[..1];
        let quote = if self.rest().starts_with(&quote.repeat(3)) { quote.repeat(3) } else { quote.to_owned() };
        self.at += quote.len();
        let mut bytes = Vec::new();
        loop {
            let rest = self.rest();
            if rest.starts_with(&quote) {
                self.at += quote.len();
                break;
            }
            match rest.chars().next() {
                Some('\n' | '\r') if quote.len() == 1 => {
                    return Err(self
                        .error(start..self.at, "the string is not closed on its line")
                        .hint("close it, or use three quotes for a string of several lines"));
                }
                Some('\\') if prefix.raw == Escapes::Read => self.escape(prefix.form, &mut bytes)?,
                Some('\\') => {
                    // Raw strings keep the backslash, and a quote after it does not close them.
                    let len = rest[1..].chars().next().map_or(0, char::len_utf8);
                    bytes.extend_from_slice(self.take(1 + len).as_bytes());
                }
                Some(character) => bytes.extend_from_slice(self.take(character.len_utf8()).as_bytes()),
                None => return Err(self.error(start..self.at, "the string is not closed")),
            }
        }
        match prefix.form {
            LiteralForm::Bytes => Ok(Token::Bytes(bytes)),
            LiteralForm::Text => String::from_utf8(bytes)
                .map(|text| Token::String(text.into()))
                .map_err(|_| self.error(start..self.at, "the string is not valid UTF-8")),
        }
    }

    /// Parses the escape that begins here into `bytes`.
    fn escape(&mut self, form: LiteralForm, bytes: &mut Vec<u8>) -> Result<()> {
        let start = self.at;
        let Some(letter) = self.rest()[1..].chars().next() else {
            return Err(self.error(start..self.source.len(), "the string is not closed"));
        };
        self.at += 1 + letter.len_utf8();
        let plain = match letter {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '\\' | '?' | '"' | '\'' | '`' => letter,
            'x' | 'X' => return self.code(start, Code { radix: 16, digits: 2 }, form, bytes),
            'u' if form == LiteralForm::Text => return self.code(start, Code { radix: 16, digits: 4 }, form, bytes),
            'U' if form == LiteralForm::Text => return self.code(start, Code { radix: 16, digits: 8 }, form, bytes),
            '0'..='3' => {
                self.at -= 1;
                return self.code(start, Code { radix: 8, digits: 3 }, form, bytes);
            }
            _ => {
                return Err(self
                    .error(start..self.at, format!("unknown escape `\\{letter}`"))
                    .hint("write `\\\\` for a backslash, or use a raw string: `r\"…\"`"));
            }
        };
        let mut buffer = [0; 4];
        bytes.extend_from_slice(plain.encode_utf8(&mut buffer).as_bytes());
        Ok(())
    }

    fn code(&mut self, start: usize, code: Code, form: LiteralForm, bytes: &mut Vec<u8>) -> Result<()> {
        let digits = self.rest().get(..code.digits).unwrap_or_default();
        let is_valid = digits.len() == code.digits && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = u32::from_str_radix(digits, code.radix).ok().filter(|_| is_valid);
        let Some(value) = value else {
            // The characters instead of the digits may be longer than a byte.
            let end = self.source.ceil_char_boundary((self.at + code.digits).min(self.source.len()));
            return Err(self.error(start..end, format!("the escape needs {} digits", code.digits)));
        };
        self.at += code.digits;
        match (form, char::from_u32(value)) {
            (LiteralForm::Bytes, _) => match u8::try_from(value) {
                Ok(byte) => bytes.push(byte),
                Err(_) => return Err(self.error(start..self.at, "the escape does not fit in a byte")),
            },
            (LiteralForm::Text, Some(character)) => {
                let mut buffer = [0; 4];
                bytes.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
            }
            (LiteralForm::Text, None) => return Err(self.error(start..self.at, "the escape is not a valid character")),
        }
        Ok(())
    }

    /// Skips spaces, line ends and comments.
    fn skip_space(&mut self) {
        loop {
            while self.peek(0).is_some_and(|byte| byte.is_ascii_whitespace()) {
                self.at += 1;
            }
            if !self.rest().starts_with("//") {
                return;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
    }

    fn take_digits(&mut self, is_digit: impl Fn(u8) -> bool) -> &'s str {
        let len = self.rest().bytes().take_while(|&byte| is_digit(byte)).count();
        self.take(len)
    }

    fn take(&mut self, len: usize) -> &'s str {
        let text = &self.source[self.at..self.at + len];
        self.at += len;
        text
    }

    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.source.as_bytes().get(self.at + ahead).copied()
    }

    #[allow(clippy::unused_self, reason = "reads as the lexer's own error")]
    fn error(&self, place: Range<usize>, message: impl Into<String>) -> Box<CompileError> {
        CompileError::new(message, place)
    }
}

#[derive(Clone, Copy)]
struct Prefix {
    len: usize,
    raw: Escapes,
    form: LiteralForm,
}

#[derive(Clone, Copy, PartialEq)]
enum Escapes {
    Read,
    Raw,
}

#[derive(Clone, Copy, PartialEq)]
enum LiteralForm {
    Text,
    Bytes,
}

/// The form of a numeric escape.
#[derive(Clone, Copy)]
struct Code {
    radix: u32,
    digits: usize,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[allow(clippy::cast_possible_truncation, reason = "the length of a source is bounded before it is read")]
pub(crate) fn span(start: usize, end: usize) -> Span {
    Span { start: start as u32, end: end as u32 }
}
