//! Every function by name: how it is written, what it accepts and returns, and what it does.
//!
//! Macros are not here: they evaluate their arguments themselves, and belong to the parser and the evaluator.

mod convert;
mod encode;
mod format;
mod lists;
mod math;
mod network;
mod optional;
mod pattern;
pub(crate) mod signature;
mod strings;
mod time;
mod versions;

use crate::budget::Budget;
use crate::compare::Elements;
use crate::error::{ErrorKind, Fault, fault};
use crate::value::{Text, Type, Value};

pub(crate) use pattern::{PATTERNS_BYTES_MAX, Pattern, PatternCache, Syntax, certain_start};
use signature::Signature;

/// How a function is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallForm {
    /// `size(x)`, `math.least(1, 2)`
    Function,
    /// `text.trim()`
    Method,
    /// Both ways; the receiver is the first argument.
    Either,
}

type Body = for<'c, 'a> fn(&mut Arguments<'c, 'a>) -> Result<Value<'a>, Fault>;

/// A function of the language.
pub(crate) struct Function {
    pub(crate) name: &'static str,
    /// How to write a call, for messages.
    pub(crate) usage: &'static str,
    form: CallForm,
    /// The ways in which it can be called.
    pub(crate) signatures: &'static [Signature],
    /// The language of the last argument, if that is a pattern.
    pub(crate) pattern: Option<Syntax>,
    body: Body,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Function {
    const fn new(form: CallForm, name: &'static str, usage: &'static str, signatures: &'static [Signature], body: Body) -> Self {
        Self { name, usage, form, signatures, pattern: None, body }
    }

    const fn with_pattern(mut self, syntax: Syntax) -> Self {
        self.pattern = Some(syntax);
        self
    }

    pub(crate) fn takes(&self, values: usize) -> bool {
        self.signatures.iter().any(|signature| signature.fits(values))
    }
}

const ALL: [&[Function]; 11] = [
    convert::FUNCTIONS,
    strings::FUNCTIONS,
    pattern::FUNCTIONS,
    lists::FUNCTIONS,
    math::FUNCTIONS,
    time::FUNCTIONS,
    time::parse::FUNCTIONS,
    optional::FUNCTIONS,
    encode::FUNCTIONS,
    network::FUNCTIONS,
    versions::FUNCTIONS,
];

/// Returns the function of that name that can be called in that form.
pub(crate) fn find(name: &str, form: CallForm) -> Option<&'static Function> {
    ALL.into_iter().flatten().find(|function| function.name == name && (function.form == form || function.form == CallForm::Either))
}

/// Returns all functions.
#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = &'static Function> {
    ALL.into_iter().flatten()
}

/// Returns the names of all functions of a form.
pub(crate) fn names(form: CallForm) -> impl Iterator<Item = &'static str> {
    ALL.into_iter()
        .flatten()
        .filter(move |function| function.form == form || function.form == CallForm::Either)
        .map(|function| function.name)
}

/// Returns true if `name` is a function's name with its namespace.
pub(crate) fn is_namespaced(name: &str) -> bool {
    name.contains('.') && find(name, CallForm::Function).is_some()
}

/// A call in progress: its values, receiver first, and its budget.
pub(crate) struct Arguments<'c, 'a> {
    pub(crate) function: &'static Function,
    pub(crate) values: &'c [Value<'a>],
    pub(crate) budget: &'c mut Budget,
    pub(crate) pattern: Option<&'a Pattern>,
    pub(crate) patterns: &'c mut PatternCache,
}

impl<'a> Arguments<'_, 'a> {
    #[inline(never)]
    pub(crate) fn call(&mut self) -> Result<Value<'a>, Fault> {
        (self.function.body)(self)
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    fn value(&self, index: usize) -> Value<'a> {
        self.values[index].clone()
    }

    fn text(&self, index: usize) -> Result<Text<'a>, Fault> {
        match &self.values[index] {
            Value::String(text) => Ok(text.clone()),
            _ => Err(self.unfit()),
        }
    }

    /// Returns a text, and charges for it because it will be read in full.
    fn read_text(&mut self, index: usize) -> Result<Text<'a>, Fault> {
        let text = self.text(index)?;
        self.budget.charge_bytes(text.len())?;
        Ok(text)
    }

    fn int(&self, index: usize) -> Result<i64, Fault> {
        match &self.values[index] {
            Value::Int(value) => Ok(*value),
            _ => Err(self.unfit()),
        }
    }

    /// Returns a list's elements, and charges for their number.
    fn list(&mut self, index: usize) -> Result<Vec<Value<'a>>, Fault> {
        if self.values[index].kind() != Type::List {
            return Err(self.unfit());
        }
        let mut items = Vec::new();
        let mut elements = Elements::of(&self.values[index]);
        while let Some(item) = elements.next(self.budget)? {
            items.push(item);
        }
        Ok(items)
    }

    /// Returns a text that the function made.
    fn charge_text(&mut self, text: String) -> Result<Value<'a>, Fault> {
        self.budget.charge_bytes(text.len())?;
        Ok(Value::from(text))
    }

    /// Returns the error for values that the function does not accept.
    #[cold]
    fn unfit(&self) -> Fault {
        let kinds: Vec<_> = self.values.iter().map(|value| value.kind().to_string()).collect();
        fault(ErrorKind::Type, format!("`{}` does not accept {}", self.function.name, kinds.join(" and ")))
            .hint(format!("write `{}`", self.function.usage))
    }

    /// Returns the error for a value that is of the right type but not valid.
    #[cold]
    fn invalid(&self, what: impl std::fmt::Display) -> Fault {
        fault(ErrorKind::Invalid, format!("`{}`: {what}", self.function.name))
    }

    #[cold]
    fn out_of_range(&self, what: impl std::fmt::Display) -> Fault {
        fault(ErrorKind::Overflow, format!("`{}`: {what}", self.function.name))
    }
}
