//! The forms in which YAML silently changes a meaning, and what to write instead.
//!
//! This module reports them. They are found from the parser's events (`yaml.rs`) and in the scalars
//! (`scalar.rs`).

use std::ops::Range;

use super::Stop;
use super::scalar::Ambiguity;
use crate::diagnostics::{Code, Report};
use crate::source::SourceText;

/// The most characters of a value that an error quotes.
const SHOWN_CHARS_MAX: usize = 60;

const TAG_MESSAGE: &str = "`!` begins a tag in YAML, and most parsers drop the tag together with the `!`";

/// The most lines above the place where the parser stopped that are searched for an unclosed quote.
const LINES_BACK_MAX: usize = 100;

/// An error that does not stop parsing.
pub(super) struct YamlTrap {
    pub(super) span: Range<usize>,
    kind: Kind,
}

enum Kind {
    Tag,
    Anchor,
    Ambiguous(Ambiguity),
    QuestionMark,
    Comment,
    MergeKey,
    Duplicate { key: String, first_line: usize },
}

impl YamlTrap {
    pub(super) fn tag(span: Range<usize>) -> Self {
        Self { span, kind: Kind::Tag }
    }

    /// An unused anchor, before the node that begins at `start`.
    pub(super) fn anchor(file: &SourceText, start: usize) -> Option<Self> {
        let line = file.line_span(start).start;
        let at = line + file.slice(&(line..start)).rfind('&')?;
        let name = file.slice(&(at..start)).split_whitespace().next().map_or(1, str::len);
        Some(Self { span: at..at + name, kind: Kind::Anchor })
    }

    pub(super) fn ambiguous(span: Range<usize>, why: Ambiguity) -> Self {
        Self { span, kind: Kind::Ambiguous(why) }
    }

    pub(super) fn question_mark(span: Range<usize>) -> Self {
        Self { span, kind: Kind::QuestionMark }
    }

    pub(super) fn comment(span: Range<usize>) -> Self {
        Self { span, kind: Kind::Comment }
    }

    pub(super) fn merge_key(span: Range<usize>) -> Self {
        Self { span, kind: Kind::MergeKey }
    }

    pub(super) fn duplicate(span: Range<usize>, key: &str, first_line: usize) -> Self {
        Self { span, kind: Kind::Duplicate { key: key.to_owned(), first_line } }
    }

    /// Returns true if several findings of the kind on one line may be one error.
    pub(super) fn shares_its_line(&self) -> bool {
        matches!(self.kind, Kind::Tag | Kind::Anchor)
    }

    pub(super) fn report(self, file: &SourceText, report: &mut Report) {
        let span = self.span;
        let written = file.slice(&span).to_owned();
        match self.kind {
            Kind::Tag => {
                let line = Line::of(file, span.start);
                let hint = if line.has_plain_tag(&written) {
                    "remove the tag: packs do not use tags".to_owned()
                } else if line.text.starts_with(['{', '[']) {
                    let rest = file.slice(&(span.start..file.line_span(span.start).end));
                    format!("quote it: {}", quote_yaml(rest.split([',', ']', '}']).next().unwrap_or(rest).trim_end()))
                } else {
                    line.quoted_hint()
                };
                report.error(Code::YamlTag, file, span, TAG_MESSAGE).hint(hint);
            }
            Kind::Anchor => {
                let hint = format!("if it belongs to the text, {}\nif not, remove it", Line::of(file, span.start).quoted_hint());
                let message = format!("`{written}` is an anchor in YAML and not part of the value, but no alias refers to it");
                report.error(Code::YamlAlias, file, span, message).hint(hint);
            }
            Kind::Ambiguous(why) => {
                let (message, hint) = ambiguous(&written, why);
                report.error(Code::AmbiguousValue, file, span, message).hint(hint);
            }
            Kind::QuestionMark => {
                report
                    .error(
                        Code::QuestionMarkInFlow,
                        file,
                        span,
                        format!("`{written}` is not quoted inside `{{ }}` or `[ ]`, where some YAML parsers reject a `?`"),
                    )
                    .hint(format!("quote it: {}\nor write the mapping on separate lines", quote_yaml(&written)))
                    .suggestion = Some(quote_yaml(&written));
            }
            Kind::Comment => {
                let (text, comment) = written.split_once('#').unwrap_or((&written, ""));
                report
                    .warning(
                        Code::CommentAfterText,
                        file,
                        span,
                        format!("the text ends before `#`; `#{}` is a comment", comment.chars().take(40).collect::<String>()),
                    )
                    .hint(format!("if it belongs to the text: {}\nif it is a comment: put it on a separate line", quote_yaml(&written)))
                    .suggestion = Some(quote_yaml(text.trim_end()));
            }
            Kind::MergeKey => {
                report.error(Code::YamlMergeKey, file, span, "only some YAML parsers merge mappings for `<<`").hint("write the fields out");
            }
            Kind::Duplicate { key, first_line } => {
                report
                    .error(Code::DuplicateKey, file, span, format!("duplicate key `{key}`"))
                    .hint(format!("it is first on line {first_line}; keep one of the two"));
            }
        }
    }
}

fn ambiguous(written: &str, why: Ambiguity) -> (String, String) {
    if written.chars().count() > SHOWN_CHARS_MAX {
        let cut: String = written.chars().take(SHOWN_CHARS_MAX - 1).chain(['…']).collect();
        let (message, _) = ambiguous(&cut, why);
        return (message, "put quotation marks around it if it is a string".to_owned());
    }
    let text = quote_yaml(written);
    match why {
        Ambiguity::Boolean(value) => (
            format!("some YAML parsers read `{written}` as {value}, others as a string"),
            format!("write `{value}` if it is a boolean, {text} if it is a string"),
        ),
        Ambiguity::Number => {
            let plain: String = written.chars().filter(|c| *c != '_').collect();
            let plain = plain.trim_start_matches('+').trim_start_matches('0');
            let number = plain.parse::<i64>().map_or(String::new(), |number| format!("`{number}` if it is a number, "));
            (
                format!("YAML parsers read `{written}` as different numbers, or as a string"),
                format!("write {number}{text} if it is a string"),
            )
        }
        Ambiguity::NoJsonNumber => {
            (format!("`{written}` is not a number that JSON can represent"), format!("write {text} if it is a string"))
        }
        Ambiguity::Date => (format!("some YAML parsers read `{written}` as a date, others as a string"), format!("write {text}")),
    }
}

/// Reports why the parser stopped. Returns the value to replace so that the rest can be read.
pub(super) fn explain(file: &SourceText, stop: &Stop, report: &mut Report) -> Option<Range<usize>> {
    // The parser may stop inside a character.
    let offset = file.text().floor_char_boundary(stop.offset);
    let line = Line::of(file, offset);
    let value = line.value.clone().filter(|value| value.contains(&offset) || value.end == offset);
    let Some(value) = value.filter(|value| value.len() >= 2 && stop.code != Code::SeveralDocuments) else {
        report_parser_message(file, stop, offset, report);
        return None;
    };
    let text = file.slice(&value).to_owned();
    if stop.code == Code::YamlAlias && !text.starts_with('*') {
        let rest = file.slice(&(offset..value.end));
        let alias = rest.split([',', ']', '}', ' ']).next().unwrap_or(rest);
        let message = if stop.message.contains("inside") {
            stop.message.clone()
        } else {
            format!("`{alias}` is an alias in YAML, but there is no anchor of that name above it")
        };
        report
            .error(stop.code, file, offset..offset + alias.len().max(1), message)
            .hint(format!("if it is a string, quote it: {}", quote_yaml(alias)));
        return None;
    }
    if stop.code == Code::YamlAlias {
        report
            .error(
                stop.code,
                file,
                value.clone(),
                format!("`{text}` is an alias in YAML, but there is no anchor `&{}` above it", &text[1..]),
            )
            .hint(line.quoted_hint());
        return Some(value);
    }
    if text.starts_with(['|', '>', '*', '&']) || stop.code != Code::YamlSyntax {
        report.error(stop.code, file, offset..offset + 1, stop.message.clone());
        return None;
    }
    if text.starts_with('!') {
        report.error(Code::YamlTag, file, value.clone(), TAG_MESSAGE).hint(line.quoted_hint());
        return Some(value);
    }
    if text.starts_with(['{', '[']) && offset == value.start {
        let message = format!("the `{}` is not closed", &text[..1]);
        report.error(Code::YamlSyntax, file, value.start..value.start + 1, message).hint("close it, or write it on separate lines");
        return Some(value);
    }
    let open = open_brackets(&text[..offset.min(value.end) - value.start]);
    if text.starts_with(['{', '[']) && open > 0 && !text.contains("{{") {
        report.error(stop.code, file, offset..offset + 1, stop.message.clone());
        return Some(value);
    }
    let message = if text.starts_with("{{") {
        "`{{ … }}` is a mapping in YAML; write an expression as `${{ … }}`, in quotes".to_owned()
    } else {
        "YAML ends the value here; if it is one string, quote it".to_owned()
    };
    report.error(Code::UnquotedExpression, file, offset..value.end.max(offset + 1), message).hint(line.quoted_hint());
    Some(value)
}

/// Reports the parser's message, if no value of a line is to blame.
fn report_parser_message(file: &SourceText, stop: &Stop, offset: usize, report: &mut Report) {
    if let Some(quote) = unclosed_quote(file, offset).filter(|_| stop.message.contains("quoted")) {
        report
            .error(stop.code, file, quote.clone(), format!("the {} is not closed", file.slice(&quote)))
            .hint("close it on its line; for a string of several lines, use a `|` block");
        return;
    }
    let diagnostic = report.error(stop.code, file, offset..offset + 1, stop.message.clone());
    if stop.code == Code::SeveralDocuments {
        diagnostic.hint("write a file for each, or put several in one: `rules: { a: {…}, b: {…} }`");
    } else if stop.code == Code::ComplexKey {
        diagnostic.hint("quote the key, or write `'${{ … }}'` if you meant an expression");
    } else if stop.message.contains("expected key") {
        diagnostic.hint("indent all fields of a mapping equally");
    } else if stop.message.contains("mapping values") {
        diagnostic.hint("write a field as `name: value`, with a space after the colon; the error may be on the line above");
    } else if stop.message.contains("illegal placement") {
        diagnostic.hint("check whether a bracket or brace above is not closed");
    } else if stop.message.contains("directive") {
        diagnostic.hint("remove the line: a pack's files are YAML 1.2");
    } else if stop.message.contains("tab") {
        diagnostic.hint("indent with spaces");
    }
}

/// Returns the quote that opens a value at or above a place and is not closed on its line.
fn unclosed_quote(file: &SourceText, offset: usize) -> Option<Range<usize>> {
    let mut at = offset;
    for _ in 0..LINES_BACK_MAX {
        let value = Line::of(file, at).value;
        if let Some(value) = value.filter(|value| file.slice(value).starts_with(['"', '\''])) {
            let text = file.slice(&value);
            let is_open = text.len() == 1 || !text.ends_with(&text[..1]);
            return is_open.then(|| value.start..value.start + 1);
        }
        at = file.line_span(at).start.checked_sub(1)?;
    }
    None
}

/// Replaces a value that cannot be read with a quoted text of the same length.
pub(super) fn set_aside(text: &mut String, value: &Range<usize>) {
    let filler = format!("'{}'", "x".repeat(value.len() - 2));
    text.replace_range(value.clone(), &filler);
}

/// Quotes a text so that YAML reads it unchanged, in the simplest form that works.
pub(crate) fn quote_yaml(text: &str) -> String {
    if !text.contains('\'') {
        format!("'{text}'")
    } else if !text.contains(['"', '\\']) {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// A line of the form `key: value` or `- value`.
struct Line {
    /// The text before the value, without indentation.
    head: String,
    value: Option<Range<usize>>,
    text: String,
}

impl Line {
    fn of(file: &SourceText, offset: usize) -> Self {
        let span = file.line_span(offset);
        let line = file.slice(&span);
        let indent = line.len() - line.trim_start_matches([' ', '-']).len();
        let key = line[indent..].find(':').filter(|colon| is_key(&line[indent..indent + colon]));
        let start = match key {
            Some(colon) => indent + colon + 1,
            None if line[..indent].contains('-') => indent,
            None => return Self { head: String::new(), value: None, text: String::new() },
        };
        let rest = &line[start..];
        let start = start + rest.len() - rest.trim_start().len();
        let text = line[start..].split(" #").next().unwrap_or("").trim_end();
        let value = span.start + start..span.start + start + text.len();
        Self { head: line[..start].trim_start().to_owned(), value: Some(value), text: text.to_owned() }
    }

    /// Returns true if a tag is followed by a collection, or is one of YAML's own: then it was meant as a
    /// tag.
    fn has_plain_tag(&self, tag: &str) -> bool {
        let rest = self.text.strip_prefix(tag).unwrap_or("").trim_start();
        tag.starts_with("!!") || rest.starts_with(['{', '['])
    }

    /// Returns the line with its value in quotes, ready to paste.
    fn quoted_hint(&self) -> String {
        let text = self.text.as_str();
        if let Some(inner) = text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")) {
            return format!("quote it:\n{}{}", self.head, quote_yaml(&format!("${{{{{inner}}}}}")));
        }
        if text.starts_with(['{', '[']) && text.contains("{{") {
            let by_interpolation = with_quoted_interpolations(text);
            let mended = if by_interpolation == text { with_quoted_items(text) } else { by_interpolation };
            if mended == text {
                return "write the fields on separate lines, and quote each value that contains brackets or braces".to_owned();
            }
            return format!("quote the text between the braces:\n{}{mended}", self.head);
        }
        if text.contains('\'') && text.contains('"') {
            return format!("write it as a block:\n{}|\n  {text}", self.head);
        }
        format!("quote it:\n{}{}", self.head, quote_yaml(text))
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
}

/// Quotes each unquoted `${{ … }}` of a flow mapping.
fn with_quoted_interpolations(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${{") {
        let end = rest[at..].find("}}").map_or(rest.len(), |end| at + end + 2);
        out.push_str(&rest[..at]);
        let one = &rest[at..end];
        let is_quoted = rest[..at].ends_with(['\'', '"']);
        out.push_str(&if is_quoted {
            one.to_owned()
        } else if one.contains('"') {
            quote_yaml(one)
        } else {
            format!("\"{one}\"")
        });
        rest = &rest[end..];
    }
    out + rest
}

/// Quotes each plain value of a flow mapping or list that contains brackets, braces or quotes:
/// `headers["x-id"]`.
fn with_quoted_items(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '"' | '\'' => rest[1..].find(first).map_or(rest.len(), |end| end + 2),
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            space if space.is_whitespace() => space.len_utf8(),
            _ => {
                let end = end_of_item(rest);
                let item = rest[..end].trim_end();
                out.push_str(&if item.contains(['[', ']', '{', '}', '"', '\'']) { quote_yaml(item) } else { item.to_owned() });
                rest = &rest[item.len()..];
                continue;
            }
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

/// Returns where a plain item of a flow mapping or list ends; brackets opened in the item belong to it.
fn end_of_item(text: &str) -> usize {
    let mut open = 0_usize;
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => open += 1,
            (None, ',' | ']' | '}') if open == 0 => return at,
            (None, ']' | '}') => open -= 1,
            (None, ':') if open == 0 && text[at + 1..].starts_with(' ') => return at,
            (None, _) => {}
        }
    }
    text.len()
}

/// Returns how many brackets are open at the end of a text, ignoring those in quotes.
fn open_brackets(text: &str) -> usize {
    let mut open = 0_usize;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => open += 1,
            (None, ']' | '}') => open = open.saturating_sub(1),
            (None, _) => {}
        }
    }
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_value_is_truncated_in_the_message() {
        let (message, hint) = ambiguous(&"9".repeat(4_000), Ambiguity::NoJsonNumber);
        assert_eq!(message, format!("`{}…` is not a number that JSON can represent", "9".repeat(SHOWN_CHARS_MAX - 1)));
        assert_eq!(hint, "put quotation marks around it if it is a string");
        assert_eq!(ambiguous(".inf", Ambiguity::NoJsonNumber).1, "write '.inf' if it is a string");
    }
}
