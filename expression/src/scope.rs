//! The names that an expression may use, and their values for one evaluation.

use crate::value::Value;

/// The names that an expression may use, declared before any value is known.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    names: Vec<String>,
    container: String,
}

impl Roots {
    /// Declares `names`. A dotted name (`a.b`) is a name of its own, not a field of `a`. A name with brackets
    /// (`a()`) is written as a function without arguments, and its value comes from the scope like any other.
    pub fn new<N: Into<String>>(names: impl IntoIterator<Item = N>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), container: String::new() }
    }

    /// Adds a name.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Returns the same names, looked up from inside `container`: `x` in `a.b` is `a.b.x`, else `a.x`, else
    /// `x`. A name after a leading dot is looked up as it is.
    #[must_use]
    pub fn within(mut self, container: impl Into<String>) -> Self {
        self.container = container.into();
        self
    }

    /// Returns true if `name` is declared.
    pub fn contains(&self, name: &str) -> bool {
        self.names.iter().any(|known| known == name)
    }

    /// Returns the names in the order of their declaration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Returns true if a dotted name may begin with `first` and a dot.
    pub(crate) fn has_dotted(&self, first: &str) -> bool {
        !self.container.is_empty() || self.names().any(|name| name.strip_prefix(first).is_some_and(|rest| rest.starts_with('.')))
    }

    /// Returns the full name that `name` refers to: the innermost one of the container that is `known`, or
    /// `name` itself.
    pub(crate) fn resolve(&self, name: &str, at: LookUp, known: impl Fn(&str) -> bool) -> Option<Box<str>> {
        let mut container = match at {
            LookUp::Container => self.container.as_str(),
            LookUp::Top => "",
        };
        while !container.is_empty() {
            let whole = format!("{container}.{name}");
            if known(&whole) {
                return Some(whole.into());
            }
            container = container.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
        known(name).then(|| name.into())
    }

    pub(crate) fn sentence(&self) -> String {
        if self.names.is_empty() {
            return "no names are available here".to_owned();
        }
        let quoted: Vec<_> = self.names().map(|name| format!("`{name}`")).collect();
        format!("available names: {}", quoted.join(", "))
    }
}

/// Where a name is looked up first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LookUp {
    /// In the container, from the innermost outwards.
    Container,
    /// As it is, because it was written with a leading dot.
    Top,
}

/// The values of the names, for one evaluation.
#[derive(Clone, Debug, Default)]
pub struct Scope<'a> {
    values: Vec<(&'a str, Value<'a>)>,
}

impl<'a> Scope<'a> {
    /// Returns a scope without names.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a name. A later value hides an earlier one of the same name.
    #[must_use]
    pub fn with(mut self, name: &'a str, value: impl Into<Value<'a>>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets the value of `name`. A later value hides an earlier one.
    pub fn set(&mut self, name: &'a str, value: impl Into<Value<'a>>) {
        self.values.push((name, value.into().into_native()));
    }

    /// Removes a name.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.values.retain(|(known, _)| *known != name);
        self
    }

    /// Returns the value of a name.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.values.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}
