//! Takes the fields of a mapping one by one, as its shape declares them, and reports everything that does not
//! fit.
//!
//! The fields of a mapping are declared by its [`Shape`]; `written/` interprets them.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use crate::diagnostics::{Code, Report};
use crate::shape::{Form, Kind, Need, Shape, ShapeField};
use crate::source::SourceText;
use crate::yaml::{Content, Node, WithSpan, YamlEntry, is_plain_number, quote_yaml};
use ensue_engine::catalog::FailAt;
use ensue_engine::time::parse_duration;
use ensue_expression::{Value, nearest};

/// How to write a duration.
pub(crate) const DURATION_HINT: &str =
    "write numbers with units, or the form of ISO 8601: `250ms`, `90s`, `1h30m`, `2d`, `PT1H`; at most 365d";

/// The fields of a mapping that have not been taken yet.
pub(crate) struct FieldReader<'a> {
    pub(crate) file: &'a SourceText,
    /// Where the mapping begins: missing fields are reported there.
    pub(crate) start: Range<usize>,
    shape: &'a Shape,
    entries: Vec<YamlEntry>,
    /// Fields already reported as misspelled or empty. They are not reported as missing too.
    reported: Vec<String>,
}

impl<'a> FieldReader<'a> {
    /// Opens a mapping of a shape; reports every field that is unknown or empty.
    pub(crate) fn open(node: Node, shape: &'a Shape, file: &'a SourceText, report: &mut Report) -> Option<Self> {
        let span = node.span.clone();
        let what = node.what();
        let entries = match node.content {
            Content::Map(entries) => entries,
            Content::Poisoned => return None,
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text { .. } | Content::List(_) => {
                report
                    .error(Code::WrongType, file, span, format!("{} must be a mapping of fields, not {what}", shape.what))
                    .hint(format!("its fields are {}", quote_names(&shape.names())));
                return None;
            }
        };
        let start = entries.first().map_or(span, |first| first.key.span.clone());
        let mut kept = Vec::new();
        let mut reported = Vec::new();
        for entry in entries {
            let name = entry.key.value.as_str();
            if shape.field(name).is_some() {
                if matches!(entry.value.content, Content::Null) {
                    report_empty(&entry, file, report);
                    reported.push(entry.key.value);
                } else {
                    kept.push(entry);
                }
            } else {
                reported.extend(report_unknown(&entry, shape, file, report));
            }
        }
        Some(Self { file, start, shape, entries: kept, reported })
    }

    /// Takes a field without checks.
    pub(crate) fn take(&mut self, name: &str) -> Option<YamlEntry> {
        let at = self.entries.iter().position(|entry| entry.key.value == name)?;
        Some(self.entries.remove(at))
    }

    /// Marks a field as reported, so that it is not reported as missing too.
    pub(crate) fn mark_reported(&mut self, name: &str) {
        self.reported.push(name.to_owned());
    }

    /// Reports whether a field is present.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.key.value == name)
    }

    /// Returns the span of a field's name, or the start of the mapping.
    pub(crate) fn key_of(&self, name: &str) -> Range<usize> {
        let entry = self.entries.iter().find(|entry| entry.key.value == name);
        entry.map_or(self.start.clone(), |entry| entry.key.span.clone())
    }

    /// Returns true if something was reported about a field.
    pub(crate) fn has_reported(&self, name: &str) -> bool {
        self.reported.iter().any(|reported| reported == name)
    }

    /// Returns the span of a field's value, or the start of the mapping.
    pub(crate) fn span_of(&self, name: &str) -> Range<usize> {
        let entry = self.entries.iter().find(|entry| entry.key.value == name);
        entry.map_or(self.start.clone(), |entry| entry.value.span.clone())
    }

    /// Takes a required field.
    pub(crate) fn take_required(&mut self, name: &str, report: &mut Report) -> Option<YamlEntry> {
        let example = match self.field(name).need {
            Need::Required { example } => example,
            Need::Optional => "",
        };
        self.take_required_like(name, example, report)
    }

    /// Takes a required field, with an example for this place.
    pub(crate) fn take_required_like(&mut self, name: &str, example: &str, report: &mut Report) -> Option<YamlEntry> {
        let taken = self.take(name);
        if taken.is_none() {
            self.report_missing(name, example, report);
        }
        taken
    }

    fn report_missing(&self, name: &str, example: &str, report: &mut Report) {
        if self.has_reported(name) {
            return;
        }
        report
            .error(Code::MissingField, self.file, self.start.clone(), format!("{} needs the field `{name}`", self.shape.what))
            .hint(format!("for example\n{example}"));
    }

    fn field(&self, name: &str) -> &'static ShapeField {
        self.shape.field(name).expect("only fields of the shape are taken")
    }

    pub(crate) fn text(&mut self, name: &str, report: &mut Report) -> Option<WithSpan<String>> {
        let entry = self.take(name)?;
        text(entry.value, &format!("`{name}`"), self.file, report)
    }

    /// Takes a text field as written.
    pub(crate) fn text_node(&mut self, name: &str, report: &mut Report) -> Option<Node> {
        let entry = self.take(name)?;
        if matches!(entry.value.content, Content::Text { .. }) {
            return Some(entry.value);
        }
        wrong_type(&entry.value, &format!("`{name}`"), "a string", self.file, report);
        None
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

    /// Takes a whole number, within the bounds of its field.
    pub(crate) fn integer(&mut self, name: &str, report: &mut Report) -> Option<i64> {
        let entry = self.take(name)?;
        let Kind::Integer { from, to } = self.field(name).kind else { return None };
        let number = match &entry.value.content {
            Content::Number(number) => number.as_i64(),
            _ => None,
        };
        let wanted = format!("an integer from {from} to {to}");
        match number {
            Some(number) if (from..=to).contains(&number) => Some(number),
            Some(number) => {
                report.error(Code::InvalidValue, self.file, entry.value.span, format!("`{name}` must be {wanted}, not {number}"));
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
            report.error(Code::InvalidDuration, self.file, text.span, format!("`{}` is not a duration", text.value)).hint(DURATION_HINT);
        }
        parsed
    }

    /// Takes a field whose text contains expressions; leaves any other.
    pub(crate) fn take_computed(&mut self, name: &str) -> Option<Node> {
        let is_computed = |entry: &&YamlEntry| matches!(&entry.value.content, Content::Text { value, .. } if value.contains("${{"));
        self.entries.iter().find(|entry| entry.key.value == name).filter(is_computed)?;
        self.take(name).map(|entry| entry.value)
    }

    /// Takes a field that holds a mapping; leaves any other.
    pub(crate) fn take_mapping(&mut self, name: &str) -> Option<Node> {
        let is_mapping = |entry: &&YamlEntry| matches!(entry.value.content, Content::Map(_));
        self.entries.iter().find(|entry| entry.key.value == name).filter(is_mapping)?;
        self.take(name).map(|entry| entry.value)
    }

    /// Takes a whole number from 1 on, or a percentage, as [`Kind::CountOrPercent`] declares it.
    pub(crate) fn count_or_percent(&mut self, name: &str, report: &mut Report) -> Option<FailAt> {
        let entry = self.take(name)?;
        let Kind::CountOrPercent { most } = self.field(name).kind else { return None };
        let found = match &entry.value.content {
            Content::Number(number) => number
                .as_i64()
                .filter(|number| (1..=most).contains(number))
                .and_then(|number| u32::try_from(number).ok())
                .map(FailAt::Count),
            Content::Text { value, .. } => percent(value).map(FailAt::Percent),
            _ => None,
        };
        if found.is_none() && !entry.value.is_poisoned() {
            let span = first_line(&entry.value.span, self.file);
            let message = format!("`{name}` must be an integer from 1 to {most}, or a percentage from 1% to 100%");
            report.error(Code::InvalidValue, self.file, span, message).hint("for example `3` or `10%`");
        }
        found
    }

    /// Takes a field that holds one of a few words.
    pub(crate) fn choice<T: Copy>(&mut self, name: &str, choices: &[(&'static str, T)], report: &mut Report) -> Option<T> {
        let text = self.text(name, report)?;
        let found = choices.iter().find(|(word, _)| *word == text.value).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            report
                .error(Code::InvalidValue, self.file, text.span, format!("`{name}` cannot be `{}`", text.value))
                .did_you_mean(nearest(&text.value, words.iter().copied()))
                .hint(format!("use one of {}", quote_names(&words)));
        }
        found
    }

    /// Takes a field that becomes text once it is computed: a text, a number or a boolean.
    pub(crate) fn scalar(&mut self, name: &str, report: &mut Report) -> Option<Node> {
        let entry = self.take(name)?;
        is_scalar(&entry.value, &format!("`{name}`"), self.file, report).then_some(entry.value)
    }

    /// Takes a mapping of names to values of the field's kind, or one expression that returns it.
    pub(crate) fn mapping_or_expression(&mut self, name: &str, report: &mut Report) -> Option<Node> {
        let entry = self.take(name)?;
        if let (Content::Map(entries), Kind::MappingOrExpression { names, of }) = (&entry.value.content, &self.field(name).kind) {
            let are_names = *names != Form::Variable || are_variables(entries, self.file, report);
            return (are_values(of, entries, self.file, report) && are_names).then_some(entry.value);
        }
        if is_one_expression(&entry.value) {
            return Some(entry.value);
        }
        wrong_type(&entry.value, &format!("`{name}`"), "a mapping or one expression that returns it", self.file, report);
        None
    }

    /// Takes a mapping of environment variables. Returns `None` if a name is not a valid variable or has no
    /// value.
    pub(crate) fn variables(&mut self, name: &str, report: &mut Report) -> Option<Vec<YamlEntry>> {
        let entries = self.mapping(name, report).unwrap_or_default();
        let Kind::Mapping { of, .. } = &self.field(name).kind else { return None };
        let are_names = are_variables(&entries, self.file, report);
        (are_values(of, &entries, self.file, report) && are_names).then_some(entries)
    }

    /// Takes a mapping of values. Returns `None` if a name has no value.
    pub(crate) fn values(&mut self, name: &str, report: &mut Report) -> Option<Vec<YamlEntry>> {
        let entries = self.mapping(name, report)?;
        let Kind::Mapping { of, .. } = &self.field(name).kind else { return None };
        are_values(of, &entries, self.file, report).then_some(entries)
    }

    /// Takes a mapping of any values, as its entries.
    pub(crate) fn mapping(&mut self, name: &str, report: &mut Report) -> Option<Vec<YamlEntry>> {
        let entry = self.take(name)?;
        match entry.value.content {
            Content::Map(entries) => Some(entries),
            _ => {
                wrong_type(&entry.value, &format!("`{name}`"), "a mapping", self.file, report);
                None
            }
        }
    }

    /// Takes a field that is a text, or a non-empty list of texts without duplicates; `one` describes a text,
    /// and `empty` says what to write instead of an empty list.
    pub(crate) fn text_or_texts(&mut self, name: &str, (one, empty): (&str, &str), report: &mut Report) -> Option<Vec<Node>> {
        let entry = self.take(name)?;
        let items = match entry.value.content {
            Content::Text { .. } => return Some(vec![entry.value]),
            Content::List(items) if items.is_empty() => {
                let message = format!("`{name}` is empty; it must be {one}, or a list with at least one item");
                report.error(Code::WrongType, self.file, entry.value.span, message).hint(empty);
                return None;
            }
            Content::List(items) => items,
            _ => {
                wrong_type(&entry.value, &format!("`{name}`"), &format!("{one}, or a list of these"), self.file, report);
                return None;
            }
        };
        let mut seen = BTreeSet::new();
        let mut is_whole = true;
        for item in &items {
            match &item.content {
                Content::Text { value, .. } if seen.insert(value.as_str()) => {}
                Content::Text { value, .. } => {
                    report
                        .error(Code::InvalidValue, self.file, item.span.clone(), format!("`{value}` is in the list twice"))
                        .hint("remove one of the two");
                }
                _ => {
                    wrong_type(item, &format!("an item of `{name}`"), "a string", self.file, report);
                    is_whole = false;
                }
            }
        }
        is_whole.then_some(items)
    }

    /// Takes a field that is a list of texts.
    pub(crate) fn texts(&mut self, name: &str, report: &mut Report) -> Option<Vec<WithSpan<String>>> {
        let entry = self.take(name)?;
        match entry.value.content {
            Content::List(items) => {
                let what = format!("an item of `{name}`");
                Some(items.into_iter().filter_map(|item| text(item, &what, self.file, report)).collect())
            }
            _ => {
                wrong_type(&entry.value, &format!("`{name}`"), "a list of strings such as `[a, b]`", self.file, report);
                None
            }
        }
    }
}

/// Converts a node to a text.
fn percent(text: &str) -> Option<u32> {
    let digits = text.strip_suffix('%').filter(|digits| !digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().filter(|percent| (1..=100).contains(percent))
}

pub(crate) fn text(node: Node, name: &str, file: &SourceText, report: &mut Report) -> Option<WithSpan<String>> {
    match node.content {
        Content::Text { value, .. } => Some(WithSpan { value, span: node.span }),
        _ => {
            wrong_type(&node, name, "a string", file, report);
            None
        }
    }
}

/// Returns true if each value of a mapping is of its kind; reports those that are not.
fn are_values(kind: &Kind, entries: &[YamlEntry], file: &SourceText, report: &mut Report) -> bool {
    let mut is_fine = true;
    for entry in entries {
        let name = format!("`{}`", entry.key.value);
        is_fine &= match (kind, &entry.value.content) {
            (Kind::Value, Content::Null) => {
                report_empty(entry, file, report);
                false
            }
            (Kind::Scalars, Content::List(items)) => {
                let name = format!("an item of {name}");
                items.iter().filter(|item| !is_scalar(item, &name, file, report)).count() == 0
            }
            (Kind::Scalar | Kind::Scalars, _) => is_scalar(&entry.value, &name, file, report),
            (_, _) => true,
        };
    }
    is_fine
}

/// Returns true if the names of a mapping are environment variables that a pack may set; reports those that
/// are not.
fn are_variables(entries: &[YamlEntry], file: &SourceText, report: &mut Report) -> bool {
    let mut is_fine = true;
    for entry in entries {
        let name = entry.key.value.as_str();
        let is_variable =
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let is_ours = name.starts_with("ENSUE_");
        if !is_variable || is_ours {
            is_fine = false;
            let message = if is_ours {
                format!("`{name}` is one of Ensue's own variables")
            } else {
                format!("`{name}` is not a valid variable name")
            };
            report
                .error(Code::InvalidName, file, entry.key.span.clone(), message)
                .hint("use letters, digits and `_`, and do not begin with a digit or with `ENSUE_`, for example `DEPLOY_REGION`");
        }
    }
    is_fine
}

/// Returns true if a value becomes text once it is computed, and a number exactly the text that was written;
/// reports it if not.
pub(crate) fn is_scalar(node: &Node, name: &str, file: &SourceText, report: &mut Report) -> bool {
    let is_scalar = matches!(node.content, Content::Text { .. } | Content::Number(_) | Content::Bool(_));
    if !is_scalar {
        wrong_type(node, name, "a string, a number or a boolean", file, report);
    }
    is_scalar && are_numbers_exact(node, file, report)
}

/// Returns true if each number in a value that becomes text, or several texts, becomes what was written;
/// reports those that do not: `3.10` would become `3.1`.
pub(crate) fn are_numbers_exact(node: &Node, file: &SourceText, report: &mut Report) -> bool {
    let inexact = inexact_numbers(node, file, report);
    for InexactNumber { node, written, text, .. } in &inexact {
        let message = format!("`{written}` is a number, and becomes the text `{text}` here");
        let diagnostic = report.error(Code::AmbiguousValue, file, node.span.clone(), message);
        diagnostic.hint(format!("quote it: {}", quote_yaml(written)));
        diagnostic.suggestion = Some(quote_yaml(written));
    }
    inexact.is_empty()
}

/// Reports a number whose text is not what was written, in a value that may be used as text or as a number.
pub(crate) fn report_inexact(number: &InexactNumber<'_>, file: &SourceText, report: &mut Report) {
    let InexactNumber { node, written, text, .. } = number;
    // Its text is a number that YAML takes, except for a very large or small one.
    let as_number = if is_plain_number(text) { format!(", {text} if it is a number") } else { String::new() };
    report
        .error(
            Code::AmbiguousValue,
            file,
            node.span.clone(),
            format!("`{written}` is a number, and becomes `{text}` where it is used as text"),
        )
        .hint(format!("write {} if it is a string{as_number}", quote_yaml(written)))
        .suggestion = Some(quote_yaml(written));
}

/// A number whose text is not what was written.
pub(crate) struct InexactNumber<'a> {
    pub(crate) node: &'a Node,
    /// Its place in the value, as a JSON Pointer.
    pub(crate) pointer: String,
    pub(crate) written: &'a str,
    /// The text that it becomes.
    pub(crate) text: String,
}

/// Returns the numbers in a value whose text is not what was written; none for a pack that is installed, because
/// earlier releases took them.
pub(crate) fn inexact_numbers<'a>(node: &'a Node, file: &'a SourceText, report: &Report) -> Vec<InexactNumber<'a>> {
    let mut found = Vec::new();
    if !report.is_of_installed() {
        collect_inexact(node, String::new(), file, &mut found);
    }
    found
}

fn collect_inexact<'a>(node: &'a Node, pointer: String, file: &'a SourceText, found: &mut Vec<InexactNumber<'a>>) {
    match &node.content {
        Content::Number(_) => {
            let written = file.slice(&node.span).trim_end();
            let text = Value::from_json(&node.to_value()).scalar_text().unwrap_or_default();
            if text != written {
                found.push(InexactNumber { node, pointer, written, text });
            }
        }
        Content::List(items) => {
            for (index, item) in items.iter().enumerate() {
                collect_inexact(item, format!("{pointer}/{index}"), file, found);
            }
        }
        Content::Map(entries) => {
            for YamlEntry { key, value } in entries {
                collect_inexact(value, format!("{pointer}/{}", key.value.replace('~', "~0").replace('/', "~1")), file, found);
            }
        }
        Content::Null | Content::Bool(_) | Content::Text { .. } | Content::Poisoned => {}
    }
}

/// Returns true if a value is exactly one expression, and so may be of any type, or null.
pub(crate) fn is_one_expression(node: &Node) -> bool {
    matches!(&node.content, Content::Text { value, .. } if value.starts_with("${{") && value.ends_with("}}"))
}

/// Reports a value of the wrong type, unless something was reported about it already.
pub(crate) fn wrong_type(node: &Node, name: &str, wanted: &str, file: &SourceText, report: &mut Report) {
    if matches!(node.content, Content::Poisoned) {
        return;
    }
    let written = file.slice(&node.span).trim_end().to_owned();
    let message = format!("{name} must be {wanted}, not {}", node.what());
    let span = first_line(&node.span, file);
    let diagnostic = report.error(Code::WrongType, file, span, message);
    if wanted.starts_with("a string") && matches!(node.content, Content::Bool(_) | Content::Number(_)) {
        diagnostic.hint(format!("quote it: {}", quote_yaml(&written)));
        diagnostic.suggestion = Some(quote_yaml(&written));
    }
}

/// Returns the part of a span on its first line, at least one character.
pub(crate) fn first_line(span: &Range<usize>, file: &SourceText) -> Range<usize> {
    let line_end = file.line_span(span.start).end;
    span.start..span.end.min(line_end).max(span.start + 1)
}

fn report_empty(entry: &YamlEntry, file: &SourceText, report: &mut Report) {
    let name = &entry.key.value;
    report.error(Code::EmptyField, file, entry.key.span.clone(), format!("`{name}` is empty")).hint("give it a value, or remove the line");
}

/// The names that other tools use for our fields.
const OTHER_NAMES: [(&str, &str); 13] = [
    ("on", "trigger"),
    ("event", "trigger"),
    ("if", "when"),
    ("condition", "when"),
    ("criteria", "when"),
    ("when", "if"),
    ("do", "action"),
    ("uses", "action"),
    ("parameters", "with"),
    ("depends_on", "needs"),
    ("after", "needs"),
    ("loop", "for_each"),
    ("foreach", "for_each"),
];

/// Reports an unknown field. Returns the field that was probably meant.
fn report_unknown(entry: &YamlEntry, shape: &Shape, file: &SourceText, report: &mut Report) -> Option<String> {
    let name = entry.key.value.as_str();
    let span = entry.key.span.clone();
    if let Some((_, brings)) = shape.later.iter().find(|(later, _)| *later == name) {
        report
            .error(Code::NotYet, file, span, format!("`{name}` ({brings}) is not in this release yet"))
            .hint("see docs/roadmap.md for what is planned");
        return None;
    }
    let names = shape.names();
    let near = nearest(name, names.iter().copied().chain(shape.later.iter().map(|(later, _)| *later)));
    let near = OTHER_NAMES.iter().find(|(theirs, ours)| *theirs == name && names.contains(ours)).map(|(_, ours)| *ours).or(near);
    let diagnostic = report.error(Code::UnknownField, file, span, format!("unknown field `{name}`"));
    diagnostic.did_you_mean(near);
    if near.is_none() {
        diagnostic.hint(format!("{} has the fields {}", shape.what, quote_names(&names)));
    }
    near.map(str::to_owned)
}

pub(crate) fn quote_names<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::yaml;

    /// Returns the text that a value becomes, if `check` takes it, and what is reported.
    fn text_of(written: &str) -> (Option<String>, Report) {
        let file = SourceText::new("a.yaml".to_owned(), format!("a: {written}\n"));
        let mut report = Report::default();
        let node = yaml::parse(&file, &mut report);
        let value = node.as_ref().and_then(|node| node.at("/a"));
        let text = value
            .filter(|value| is_scalar(value, "`a`", &file, &mut report))
            .and_then(|value| Value::from_json(&value.to_value()).scalar_text());
        (text, report)
    }

    #[test]
    fn number_that_is_written_as_its_text_is_taken() {
        for written in ["0", "3", "-7", "3.1", "-0.5", "18446744073709551615", "0.0001", "true"] {
            assert_eq!(text_of(written).0.as_deref(), Some(written));
        }
    }

    proptest! {
        #[test]
        fn number_that_is_proposed_is_taken_and_is_the_same(written in r"-?(0|[1-9][0-9]{0,24})\.[0-9]{1,12}") {
            let file = SourceText::new("a.yaml".to_owned(), format!("a: {written}\n"));
            let mut report = Report::default();
            let node = yaml::parse(&file, &mut report).unwrap();
            for number in inexact_numbers(&node, &file, &report) {
                let mut report = Report::default();
                report_inexact(&number, &file, &mut report);
                let hint = report.into_sorted(None).remove(0).hint.unwrap();
                let Some((_, proposed)) = hint.trim_end_matches(" if it is a number").split_once(", ") else { continue };
                let (taken, _) = text_of(proposed);
                prop_assert_eq!(taken.as_deref(), Some(proposed));
                prop_assert_eq!(proposed.parse::<f64>().unwrap(), written.parse::<f64>().unwrap());
            }
        }

        #[test]
        fn value_becomes_the_text_that_was_written_or_is_refused(
            written in prop_oneof![
                r"[-+]?[0-9]{1,22}\.[0-9]{0,20}",
                r"[-+]?[0-9_.:xXoObBeE]{1,8}",
                r"[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{2}:[0-9]{2}:[0-9]{2})?",
                Just("~".to_owned()), Just("yes".to_owned()), Just("Off".to_owned()), Just("null".to_owned()),
            ],
        ) {
            let (text, report) = text_of(&written);
            match text {
                Some(text) => prop_assert_eq!(text, written),
                None => prop_assert!(report.has_errors(), "{} is refused without a word", written),
            }
        }
    }
}
