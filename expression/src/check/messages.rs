//! The checker's messages that say more than two types, and the hints that show how to write it.

use super::operators::{Operand, comparable};
use super::{Checker, FindingKind, Truth};
use crate::ast::{Expr, Kind, Operator, Span};
use crate::functions::signature::{DURATION, Kinds, LIST, MAP, NULL, NUMBER, OPTIONAL, STRING, TIMESTAMP};
use crate::functions::{self, CallForm};
use crate::nearest::nearest;
use crate::types::{MapType, ValueType};
use crate::value::Value;

/// The maximum number of names that a message lists.
const NAMES_MAX: usize = 30;
/// The maximum length of a part that a hint repeats, in bytes.
const WRITTEN_OUT_MAX: usize = 100;

impl Checker<'_> {
    pub(super) fn report_unknown_field(&mut self, map: &MapType, name: &str, owner: Span, span: Span) {
        let owner = self.text(owner);
        let fields = map.fields().keys().map(|name| &**name);
        let whose = map.fields_called().map_or_else(|| format!("`{owner}`"), str::to_owned);
        let mut message = format!("there is no `{name}` in {whose}");
        if let Some(near) = nearest(name, fields.clone()) {
            message.push_str(&format!("; did you mean `{}`?", field_access(owner, near)));
        }
        let hint = match (map.fields_called(), quote_names(fields)) {
            (Some(fields), Some(names)) => format!("{fields} are {names}"),
            (Some(fields), None) => format!("{fields}: none"),
            (None, Some(names)) => format!("`{owner}` has the fields {names}"),
            (None, None) => format!("`{owner}` has no fields"),
        };
        self.report(FindingKind::UnknownField, span, message, Some(hint));
    }

    /// Reports a field that may be there, if another field has a similar name.
    pub(super) fn report_unlikely_field(&mut self, map: &MapType, name: &str, owner: Span, span: Span) {
        if let Some(near) = nearest(name, map.fields().keys().map(|name| &**name)) {
            let owner = self.text(owner);
            let message = format!("`{name}` is not declared in `{owner}`; did you mean `{}`?", field_access(owner, near));
            self.report(FindingKind::UnlikelyField, span, message, None);
        }
    }

    /// Reports a test that has only one outcome.
    pub(super) fn report_constant(&mut self, expr: &Expr, truth: Truth) {
        let kind = match truth {
            Truth::True => FindingKind::AlwaysTrue,
            Truth::False => FindingKind::AlwaysFalse,
        };
        let (message, hint) = match (&expr.kind, truth) {
            (Kind::Has(_), Truth::True) => {
                let field = self.text(expr.span).trim_start_matches("has(").trim_end_matches(')').trim();
                (format!("`{field}` is always present"), "read it without `has(…)`")
            }
            (_, Truth::True) => ("this is always true".to_owned(), "remove it, or test a value that can differ"),
            (_, Truth::False) => ("this is never true".to_owned(), "remove it, or test a value that can differ"),
        };
        self.report(kind, expr.span, message, Some(hint.to_owned()));
    }

    /// Reports an operand that contradicts another operand.
    pub(super) fn report_contradiction(&mut self, operand: &Expr, needed: Truth) {
        let Some(beside) = self.borrowed.1 else { return };
        let (this, that) = (self.text(operand.span), self.text(beside));
        match needed {
            Truth::True => self.report(
                FindingKind::AlwaysFalse,
                operand.span,
                format!("this is never true together with `{that}`"),
                Some(format!("write `{that} || {this}` if one of them is enough")),
            ),
            Truth::False => self.report(
                FindingKind::AlwaysTrue,
                operand.span,
                format!("either this or `{that}` is always true"),
                Some(format!("write `{that} && {this}` if both are needed")),
            ),
        }
    }

    pub(super) fn report_impossible(&mut self, operator: Operator, left: &Operand<'_>, right: &Operand<'_>) {
        if left.is_borrowed || right.is_borrowed {
            return;
        }
        let span = left.span.to(right.span);
        for (one, other) in [(left, right), (right, left)] {
            if other.value.kinds() == NULL {
                let (kind, hint) = match operator {
                    Operator::NotEqual => (FindingKind::AlwaysTrue, "remove the test"),
                    _ => (FindingKind::AlwaysFalse, "remove the test, or declare that the value may be missing"),
                };
                let message = format!("`{}` is never null", self.text(one.span));
                return self.report(kind, span, message, Some(hint.to_owned()));
            }
        }
        if left.value.constant().is_some() && right.value.constant().is_some() && are_alike(&left.value, &right.value) {
            return;
        }
        let (subject, literal) = if left.value.constant().is_some() { (right, left) } else { (left, right) };
        let (text, written) = (self.text(subject.span), self.text(literal.span));
        let (message, hint) = if are_alike(&subject.value, &literal.value) {
            match (subject.value.texts(), literal.value.constant()) {
                (Some(texts), Some(Value::String(given))) => {
                    let near = nearest(&given, texts.iter().map(|text| &**text)).map(|near| format!("did you mean `\"{near}\"`?"));
                    (format!("`{text}` is never `{written}`: it is {}", alternatives(texts.iter().map(|text| &**text))), near)
                }
                _ => (format!("`{text}` never equals `{written}`"), None),
            }
        } else {
            let message = format!("`{text}` is {} and never equals {}", subject.value, literal.value);
            (message, self.comparison_hint(operator, subject, literal))
        };
        self.report(FindingKind::Impossible, span, message, hint);
    }

    pub(super) fn report_unordered(&mut self, operator: Operator, left: &Operand<'_>, right: &Operand<'_>) {
        let message = format!("`{}` cannot compare {} with {}", operator.symbol(), left.value, right.value);
        let hint = self.comparison_hint(operator, left, right).or_else(|| self.comparison_hint(operator, right, left));
        self.report(FindingKind::Unfit, left.span.to(right.span), message, hint);
    }

    pub(super) fn report_not_among(&mut self, needle: &Operand<'_>, hay: &Operand<'_>, element: &ValueType) {
        if needle.is_borrowed || hay.is_borrowed {
            return;
        }
        let text = self.text(needle.span);
        let span = needle.span.to(hay.span);
        let (message, hint) = match (needle.value.texts(), element.texts()) {
            (Some(can_be), Some(given)) => {
                let near = given.iter().find_map(|given| nearest(given, can_be.iter().map(|text| &**text)));
                let message =
                    format!("`{text}` never equals an element of this list: it is {}", alternatives(can_be.iter().map(|text| &**text)));
                (message, near.map(|near| format!("did you mean `\"{near}\"`?")))
            }
            _ if are_alike(&needle.value, element) => (format!("`{text}` never equals an element of the list"), None),
            _ => {
                let message = format!("`{text}` is {} and never equals an element of the list, which is {element}", needle.value);
                (message, None)
            }
        };
        self.report(FindingKind::Impossible, span, message, hint);
    }

    /// Returns how to write one side so that it can be compared with the other.
    fn comparison_hint(&self, operator: Operator, subject: &Operand<'_>, other: &Operand<'_>) -> Option<String> {
        let (text, written) = (self.text(subject.span), self.text(other.span));
        let symbol = operator.symbol();
        let (kinds, others) = (subject.value.kinds().without(NULL), other.value.kinds().without(NULL));
        let only = |kinds: Kinds, some: Kinds| !kinds.is_empty() && kinds.is_within(some);
        if others.is_within(OPTIONAL) || kinds.is_within(OPTIONAL) {
            return Some("add a default for when the optional is absent: `.orValue(…)`".to_owned());
        }
        if let Some(literal) = other.value.constant() {
            let mended = match literal {
                Value::String(given) if only(kinds, NUMBER) && given.trim().parse::<f64>().is_ok() => Some(given.trim().to_owned()),
                Value::String(given) if only(kinds, Kinds::of(crate::value::Type::Bool)) && matches!(&*given, "true" | "false") => {
                    Some(given.to_string())
                }
                Value::String(_) if only(kinds, TIMESTAMP) => Some(format!("timestamp({written})")),
                Value::String(_) if only(kinds, DURATION) => Some(format!("duration({written})")),
                Value::Int(_) | Value::Uint(_) | Value::Double(_) | Value::Bool(_) if only(kinds, STRING) => Some(format!("\"{written}\"")),
                _ => None,
            };
            if let Some(mended) = mended {
                return Some(format!("write `{text} {symbol} {mended}`"));
            }
        }
        if !kinds.and(STRING).is_empty() && only(others, TIMESTAMP) {
            return Some(format!("convert it to a timestamp: `timestamp({text})`"));
        }
        if !others.and(STRING).is_empty() && only(kinds, TIMESTAMP) {
            return Some(format!("convert it to a timestamp: `timestamp({written})`"));
        }
        if only(kinds, LIST.or(MAP).or(STRING)) && only(others, NUMBER) {
            return Some(format!("compare its size: `size({text})`"));
        }
        if only(kinds, NUMBER) && only(others, STRING) {
            return Some(format!("convert it to a string: `string({text})`"));
        }
        None
    }

    /// Returns how to turn a value into a condition.
    pub(super) fn condition_hint(&self, expr: &Expr, value: &ValueType) -> Option<String> {
        let text = self.text(expr.span);
        if text.len() > WRITTEN_OUT_MAX {
            return Some("compare it, for example with `==`".to_owned());
        }
        let is_one_part = matches!(expr.kind, Kind::Chain(_) | Kind::Call(_) | Kind::Root(_) | Kind::Local(_) | Kind::Literal(_))
            || (text.starts_with('(') && text.ends_with(')'));
        let text = if is_one_part { text.to_owned() } else { format!("({text})") };
        let kinds = value.kinds();
        let kinds = if kinds == NULL { kinds } else { kinds.without(NULL) };
        Some(match value.texts().and_then(|texts| texts.iter().next()) {
            Some(one) if !matches!(expr.kind, Kind::Literal(_)) => format!("compare it: `{text} == \"{one}\"`"),
            _ if kinds.is_within(OPTIONAL) => format!("add a default for when it is absent: `{text}.orValue(false)`"),
            _ if kinds.is_within(STRING) => format!("compare it: `{text} != \"\"`"),
            _ if kinds.is_within(NUMBER) => format!("compare it: `{text} != 0`"),
            _ if kinds.is_within(LIST.or(MAP)) => format!("check its size: `size({text}) > 0`"),
            _ if kinds == NULL => format!("compare it: `{text} == true`"),
            _ => "compare it, for example with `==`".to_owned(),
        })
    }

    /// Returns what was probably meant by a field of a value without fields.
    pub(super) fn field_hint(&self, value: &ValueType, name: &str, owner: &str) -> Option<String> {
        let has_size = value.kinds().without(NULL).is_within(STRING.or(LIST)) && !value.kinds().is_within(NULL);
        if has_size && matches!(name, "size" | "length" | "len" | "count") {
            return Some(format!("write `size({owner})`"));
        }
        functions::find(name, CallForm::Method).map(|function| format!("call the method with parentheses: `{}`", function.usage))
    }
}

/// Returns true if some types of the one are compared with some of the other by their value.
fn are_alike(one: &ValueType, other: &ValueType) -> bool {
    let (one, other) = (one.kinds().without(NULL), other.kinds().without(NULL));
    !comparable(one, other).is_empty() || !one.and(other).is_empty()
}

/// Returns a field as it is written after its owner.
fn field_access(owner: &str, name: &str) -> String {
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && !name.starts_with(|c: char| c.is_ascii_digit());
    if is_word { format!("{owner}.{name}") } else { format!("{owner}[\"{name}\"]") }
}

fn quote_names<'n>(names: impl Iterator<Item = &'n str>) -> Option<String> {
    let mut quoted: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    if quoted.len() > NAMES_MAX {
        quoted.truncate(NAMES_MAX);
        quoted.push("…".to_owned());
    }
    (!quoted.is_empty()).then(|| quoted.join(", "))
}

fn alternatives<'n>(texts: impl Iterator<Item = &'n str>) -> String {
    let quoted: Vec<String> = texts.map(|text| format!("`\"{text}\"`")).collect();
    match quoted.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => quoted.concat(),
    }
}
