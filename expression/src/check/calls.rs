//! Calls: checks values against the signatures of the function, and determines what it returns.

use super::{Checker, FindingKind, InferredPart, Reads};
use crate::ast::{Call, Span};
use crate::error::ErrorKind;
use crate::functions::signature::{ALL, BOOL, Gives, INT, Kinds, LIST, MAP, NUMBER, OPTIONAL, STRING, Signature, TYPE, UINT};
use crate::functions::{Arguments, Function, PatternCache};
use crate::types::{MapType, Occurrence, Others, Range, ValueType};
use crate::value::{Type, Value};

/// The maximum number of calls with known values that are tried.
const TRIES_MAX: usize = 16;

/// A value of a call, and where it is written.
type ArgumentType = (ValueType, Span);

impl<'c> Checker<'c> {
    pub(super) fn call(&mut self, call: &'c Call, receiver: Option<ArgumentType>, span: Span) -> InferredPart {
        let mut reads = Reads::Nothing;
        let mut values: Vec<ArgumentType> = receiver.into_iter().collect();
        for argument in &call.arguments {
            let known = self.value(argument);
            reads = reads.max(known.reads);
            values.push((known.value, argument.span));
        }
        let value =
            if values.iter().any(|(value, _)| value.is_nothing()) { ValueType::nothing() } else { self.given_by(call, &values, span) };
        InferredPart { value, reads }
    }

    fn given_by(&mut self, call: &'c Call, values: &[ArgumentType], span: Span) -> ValueType {
        let function = call.function;
        let fitting: Vec<&Signature> = function.signatures.iter().filter(|signature| signature.fits(values.len())).collect();
        let possible: Vec<&&Signature> = fitting.iter().filter(|signature| misfit(signature, values).is_none()).collect();
        if possible.is_empty() {
            let at = fitting.iter().filter_map(|signature| misfit(signature, values)).max().unwrap_or(0);
            self.report_unfit(function, &fitting, values, at);
            return ValueType::nothing();
        }
        if let Some(tried) = self.evaluate_constants(call, values, span) {
            return tried;
        }
        possible.into_iter().fold(ValueType::nothing(), |all, signature| all.or(gives(function, signature, values)))
    }

    /// Returns the result of the call if all values are known, or nothing if they are not, or are too many.
    fn evaluate_constants(&mut self, call: &'c Call, values: &[ArgumentType], span: Span) -> Option<ValueType> {
        let mut calls: Vec<Vec<Value<'static>>> = vec![Vec::new()];
        for (value, _) in values {
            let constants = value.constants()?;
            calls = calls.iter().flat_map(|call| constants.iter().map(|one| call.iter().cloned().chain([one.clone()]).collect())).collect();
            if calls.len() > TRIES_MAX {
                return None;
            }
        }
        let mut given = ValueType::nothing();
        let mut erred = None;
        for values in &calls {
            let (budget, patterns) = (&mut self.budget, &mut PatternCache::default());
            match (Arguments { function: call.function, values, budget, pattern: call.pattern.as_ref(), patterns }).call() {
                Ok(value) => given = given.or(ValueType::of_value(&value)),
                Err(fault) if fault.kind == ErrorKind::Budget => return None,
                Err(fault) => erred = erred.or(Some(fault)),
            }
        }
        if let (true, Some(fault)) = (given.is_nothing(), erred) {
            self.report_fault(&fault, span);
        }
        Some(given)
    }

    fn report_unfit(&mut self, function: &Function, fitting: &[&Signature], values: &[ArgumentType], at: usize) {
        let (value, span) = &values[at];
        let taken = fitting.iter().fold(Kinds::NONE, |all, signature| all.or(signature.at(at)));
        let (message, hint) = if value.can_be(taken) {
            let list = values.iter().find(|(value, _)| value.can_be(LIST)).map_or(value, |(list, _)| list);
            (format!("`{}` does not accept a list with an element that is {}", function.name, list.element()), None)
        } else {
            let hint = self.conversion(value, taken, *span);
            (format!("`{}` does not accept {value}", function.name), hint)
        };
        let hint = hint.unwrap_or_else(|| format!("write `{}`", function.usage));
        self.report(FindingKind::Unfit, *span, message, Some(hint));
    }

    /// Returns how to convert a value to what a function accepts.
    fn conversion(&self, value: &ValueType, taken: Kinds, span: Span) -> Option<String> {
        let text = self.text(span);
        let wants_text = taken.is_within(STRING.or(LIST)) && taken.has(Type::String);
        if value.kinds().is_within(OPTIONAL) {
            return Some(format!("add a default for when it is absent: `{text}.orValue(…)`"));
        }
        if wants_text && value.kinds().is_within(NUMBER.or(BOOL)) {
            return Some(format!("convert it to a string: `string({text})`"));
        }
        if value.kinds().is_within(STRING) && taken.has(Type::Timestamp) {
            return Some(format!("convert it to a timestamp: `timestamp({text})`"));
        }
        if value.kinds().is_within(INT.or(UINT)) && taken.has(Type::Double) {
            return Some(format!("convert it to a double: `double({text})`"));
        }
        None
    }
}

/// Returns the first value that a signature does not accept.
fn misfit(signature: &Signature, values: &[ArgumentType]) -> Option<usize> {
    values.iter().enumerate().position(|(index, (value, _))| {
        let is_taken = value.can_be(signature.at(index));
        let has_strangers = value.kinds().is_within(LIST)
            && value.list_known().is_some_and(|list| list.len.is_some_and(|len| len > 0) && !list.element.can_be(signature.elements));
        !is_taken || has_strangers
    })
}

fn gives(function: &Function, signature: &Signature, values: &[ArgumentType]) -> ValueType {
    let first = values.first().map_or_else(ValueType::nothing, |(value, _)| value.only(signature.at(0)));
    match signature.gives {
        Gives::A(MAP) => version(),
        Gives::A(BOOL) => ValueType::boolean(),
        Gives::A(STRING) => ValueType::text(),
        Gives::A(TYPE) => ValueType::type_of(values.first().map_or(ALL, |(value, _)| value.kinds())),
        Gives::A(kinds) => ValueType::of_computed(kinds),
        Gives::Size => ValueType::within(INT, Range::natural()),
        Gives::Json => ValueType::json(),
        Gives::First => first,
        Gives::LikeFirst => first.another(),
        Gives::ListOf(kinds) => ValueType::list(ValueType::of_computed(kinds)),
        Gives::Optional => ValueType::optional(first, Occurrence::Always),
        Gives::MaybeOptional => ValueType::optional(first, Occurrence::Sometimes),
        Gives::OptionalElement => {
            let len = first.list_known().and_then(|list| list.len);
            match len {
                Some(0) => ValueType::absent(),
                Some(_) => ValueType::optional(first.element(), Occurrence::Always),
                None => ValueType::optional(first.element(), Occurrence::Sometimes),
            }
        }
        Gives::Element => first.element(),
        Gives::Absent => ValueType::absent(),
        Gives::Inner => first.inner(),
        Gives::PresentElements => {
            debug_assert!(signature.elements == OPTIONAL, "{} takes no optionals", function.name);
            ValueType::list(first.element().inner())
        }
    }
}

/// Returns the type of the parts of a version, as returned by `semver`.
fn version() -> ValueType {
    let whole = ["major", "minor", "patch"]
        .into_iter()
        .fold(MapType::new(Others::None), |map, name| map.with(name, ValueType::integer(), Occurrence::Always));
    let texts = ["pre", "build"].into_iter().fold(whole, |map, name| map.with(name, ValueType::text(), Occurrence::Always));
    ValueType::map(texts)
}
