//! Taking the fields of a mapping one by one, each with its type, telling of all that does not fit.
//!
//! It knows which fields a mapping may have, not what they mean.

use std::ops::Range;
use std::time::Duration;

use crate::diagnostics::{Code, Report, nearest};
use crate::source::SourceText;
use crate::yaml::{Content, Entry, Node, Spanned, quoted};

/// What a mapping of one kind may hold.
pub(crate) struct Shape {
    /// What it is, with its article: `a rule`.
    pub(crate) what: &'static str,
    /// Its fields.
    pub(crate) fields: &'static [&'static str],
    /// Fields that the pack language has and this release does not, each with what it brings.
    pub(crate) later: &'static [(&'static str, &'static str)],
}

/// The fields of a mapping that are not taken yet.
pub(crate) struct Fields<'a> {
    pub(crate) file: &'a SourceText,
    /// Where the mapping begins: what is missing is told there.
    pub(crate) start: Range<usize>,
    what: &'static str,
    entries: Vec<Entry>,
    /// Fields about which something was told already: misspelt, or empty. They are not missing too.
    told: Vec<String>,
}

impl<'a> Fields<'a> {
    /// Opens a mapping of a shape; tells of every field that does not belong there, or is empty.
    pub(crate) fn open(node: Node, shape: &Shape, file: &'a SourceText, report: &mut Report) -> Option<Self> {
        let span = node.span.clone();
        let what = node.what();
        let entries = match node.content {
            Content::Map(entries) => entries,
            Content::Poisoned => return None,
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text { .. } | Content::List(_) => {
                report
                    .error(Code::WrongType, file, span, format!("{} is a mapping of fields; this is {what}", shape.what))
                    .hint(format!("its fields are {}", listed(shape.fields)));
                return None;
            }
        };
        let start = entries.first().map_or(span, |first| first.key.span.clone());
        let mut kept = Vec::new();
        let mut told = Vec::new();
        for entry in entries {
            let name = entry.key.value.as_str();
            if shape.fields.contains(&name) {
                if matches!(entry.value.content, Content::Null) {
                    tell_empty(&entry, file, report);
                    told.push(entry.key.value);
                } else {
                    kept.push(entry);
                }
            } else {
                told.extend(tell_unknown(&entry, shape, file, report));
            }
        }
        Some(Self { file, start, what: shape.what, entries: kept, told })
    }

    /// Takes a field as it is.
    pub(crate) fn take(&mut self, name: &str) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.key.value == name)?;
        Some(self.entries.remove(at))
    }

    /// Says that what is wrong about a field has been told, so that it is not missed too.
    pub(crate) fn was_told(&mut self, name: &str) {
        self.told.push(name.to_owned());
    }

    /// Gives where a field's value stands, or where the mapping begins.
    pub(crate) fn span_of(&self, name: &str) -> Range<usize> {
        let entry = self.entries.iter().find(|entry| entry.key.value == name);
        entry.map_or(self.start.clone(), |entry| entry.value.span.clone())
    }

    /// Takes a field that must be there.
    pub(crate) fn take_required(&mut self, name: &str, example: &str, report: &mut Report) -> Option<Entry> {
        let taken = self.take(name);
        if taken.is_none() {
            self.tell_missing(name, example, report);
        }
        taken
    }

    fn tell_missing(&self, name: &str, example: &str, report: &mut Report) {
        if self.told.iter().any(|told| told == name) {
            return;
        }
        report
            .error(Code::MissingField, self.file, self.start.clone(), format!("{} needs the field `{name}`", self.what))
            .hint(format!("for example\n{example}"));
    }

    pub(crate) fn text(&mut self, name: &str, report: &mut Report) -> Option<Spanned<String>> {
        let entry = self.take(name)?;
        text(entry.value, &format!("`{name}`"), self.file, report)
    }

    pub(crate) fn boolean(&mut self, name: &str, report: &mut Report) -> Option<bool> {
        let entry = self.take(name)?;
        match entry.value.content {
            Content::Bool(value) => Some(value),
            _ => {
                wrong_type(&entry.value, &format!("`{name}`"), "true or false", self.file, report);
                None
            }
        }
    }

    pub(crate) fn integer(&mut self, name: &str, range: std::ops::RangeInclusive<i64>, report: &mut Report) -> Option<i64> {
        let entry = self.take(name)?;
        let number = match &entry.value.content {
            Content::Number(number) => number.as_i64(),
            _ => None,
        };
        let wanted = format!("a whole number from {} to {}", range.start(), range.end());
        match number {
            Some(number) if range.contains(&number) => Some(number),
            Some(number) => {
                report.error(Code::InvalidValue, self.file, entry.value.span, format!("`{name}` is {wanted}; this is {number}"));
                None
            }
            None => {
                wrong_type(&entry.value, &format!("`{name}`"), &wanted, self.file, report);
                None
            }
        }
    }

    pub(crate) fn duration(&mut self, name: &str, report: &mut Report) -> Option<Duration> {
        let text = self.text(name, report)?;
        let parsed = parse_duration(&text.value);
        if parsed.is_none() {
            report
                .error(Code::InvalidDuration, self.file, text.span, format!("`{}` is not a duration", text.value))
                .hint("write a number and a unit: `250ms`, `90s`, `10m`, `24h`; at most 8760h");
        }
        parsed
    }

    /// Takes a field that is one of a few words.
    pub(crate) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&'static str, T)], report: &mut Report) -> Option<T> {
        let text = self.text(name, report)?;
        let found = choices.iter().find(|(word, _)| *word == text.value).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            report
                .error(Code::InvalidValue, self.file, text.span, format!("`{name}` cannot be `{}`", text.value))
                .did_you_mean(nearest(&text.value, words.iter().copied()))
                .hint(format!("it is one of {}", listed(&words)));
        }
        found
    }

    /// Takes a field that is a mapping of anything, as its entries.
    pub(crate) fn mapping(&mut self, name: &str, report: &mut Report) -> Option<Vec<Entry>> {
        let entry = self.take(name)?;
        match entry.value.content {
            Content::Map(entries) => Some(entries),
            _ => {
                wrong_type(&entry.value, &format!("`{name}`"), "a mapping", self.file, report);
                None
            }
        }
    }

    /// Takes a field that is a list of texts.
    pub(crate) fn texts(&mut self, name: &str, report: &mut Report) -> Option<Vec<Spanned<String>>> {
        let entry = self.take(name)?;
        match entry.value.content {
            Content::List(items) => {
                let what = format!("an item of `{name}`");
                Some(items.into_iter().filter_map(|item| text(item, &what, self.file, report)).collect())
            }
            _ => {
                wrong_type(&entry.value, &format!("`{name}`"), "a list of texts, `[a, b]`", self.file, report);
                None
            }
        }
    }
}

/// Takes a node as a text.
pub(crate) fn text(node: Node, name: &str, file: &SourceText, report: &mut Report) -> Option<Spanned<String>> {
    match node.content {
        Content::Text { value, .. } => Some(Spanned { value, span: node.span }),
        _ => {
            wrong_type(&node, name, "a text", file, report);
            None
        }
    }
}

/// Tells of a value of the wrong type, unless something was told of it already.
pub(crate) fn wrong_type(node: &Node, name: &str, wanted: &str, file: &SourceText, report: &mut Report) {
    if matches!(node.content, Content::Poisoned) {
        return;
    }
    let written = file.slice(&node.span).trim_end().to_owned();
    let message = format!("{name} is {wanted}, not {}", node.what());
    let span = first_line(&node.span, file);
    let told = report.error(Code::WrongType, file, span, message);
    if wanted.starts_with("a text") && matches!(node.content, Content::Bool(_) | Content::Number(_)) {
        told.hint(format!("quote it: {}", quoted(&written)));
        told.suggestion = Some(quoted(&written));
    }
}

/// The part of a span that is on its first line, and at least a character.
pub(crate) fn first_line(span: &Range<usize>, file: &SourceText) -> Range<usize> {
    let line_end = file.line_span(span.start).end;
    span.start..span.end.min(line_end).max(span.start + 1)
}

fn tell_empty(entry: &Entry, file: &SourceText, report: &mut Report) {
    let name = &entry.key.value;
    report
        .error(Code::EmptyField, file, entry.key.span.clone(), format!("`{name}` is there, and empty"))
        .hint("give it a value, or remove the line");
}

/// Tells of a field that does not belong there; gives the one that was probably meant.
fn tell_unknown(entry: &Entry, shape: &Shape, file: &SourceText, report: &mut Report) -> Option<String> {
    let name = entry.key.value.as_str();
    let span = entry.key.span.clone();
    if let Some((_, brings)) = shape.later.iter().find(|(later, _)| *later == name) {
        report
            .error(Code::NotYet, file, span, format!("`{name}` ({brings}) is not in this release yet"))
            .hint("docs/roadmap.md says what comes when");
        return None;
    }
    let known = shape.fields.iter().copied();
    let near = nearest(name, known.chain(shape.later.iter().map(|(later, _)| *later)));
    let told = report.error(Code::UnknownField, file, span, format!("unknown field `{name}`"));
    told.did_you_mean(near);
    if near.is_none() {
        told.hint(format!("{} has the fields {}", shape.what, listed(shape.fields)));
    }
    near.map(str::to_owned)
}

pub(crate) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    quoted.join(", ")
}

/// The longest duration that a pack may write: a year.
const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads `250ms`, `90s`, `10m`, `24h`.
fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().ok()?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let duration = Duration::from_millis(number.checked_mul(millis)?);
    (duration <= DURATION_MAX).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(parse_duration("10m"), Some(Duration::from_secs(600)));
        assert_eq!(parse_duration("24h"), Some(Duration::from_secs(86_400)));
        for bad in ["", "s", "10", "10 m", "1.5h", "-1s", "1d", "8761h", "99999999999999999999s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
