//! Chains: fields, indices, methods and macros on a value, in order, and the errors for missing fields.

use std::fmt::Write as _;
use std::sync::Arc;

use super::Evaluation;
use crate::ast::{Chain, Flatness, Kind, Link, LinkKind, Presence};
use crate::compare::{element, look_up, made_entry};
use crate::error::{ErrorKind, Fault, fault};
use crate::functions::Arguments;
use crate::json::NodeKind;
use crate::planted_bug;
use crate::value::{Type, Value};

impl<'a> Evaluation<'_, 'a> {
    #[inline(never)]
    pub(super) fn chain(&mut self, chain: &'a Chain) -> Result<Value<'a>, Fault> {
        self.links(chain, chain.links.len())
    }

    /// Returns the value after the first `count` links.
    pub(crate) fn links(&mut self, chain: &'a Chain, count: usize) -> Result<Value<'a>, Fault> {
        let mut value = self.value(&chain.base)?;
        for (position, link) in chain.links[..count].iter().enumerate() {
            self.budget.charge(1).map_err(|fault| fault.at(link.span.range()))?;
            value = match &link.kind {
                LinkKind::Field { name, presence } => {
                    self.field(&value, name, *presence).map_err(|fault| self.with_hint(fault, chain, position))
                }
                LinkKind::Index { index, presence } => {
                    let index = self.value(index)?;
                    self.index(&value, &index, *presence).map_err(|fault| self.with_hint(fault, chain, position))
                }
                _ => self.apply(value, link),
            }
            .map_err(|fault| fault.at(link.span.range()))?;
        }
        Ok(value)
    }

    #[inline(never)]
    fn apply(&mut self, value: Value<'a>, link: &'a Link) -> Result<Value<'a>, Fault> {
        match &link.kind {
            LinkKind::Field { name, presence } => self.field(&value, name, *presence),
            LinkKind::Index { index, presence } => {
                let index = self.value(index)?;
                self.index(&value, &index, *presence)
            }
            LinkKind::Call(call) => {
                let mut values = Vec::with_capacity(call.arguments.len() + 1);
                values.push(value);
                for argument in &call.arguments {
                    values.push(self.value(argument)?);
                }
                Arguments {
                    function: call.function,
                    values: &values,
                    budget: self.budget,
                    pattern: call.pattern.as_ref(),
                    patterns: &mut self.patterns,
                }
                .call()
            }
            LinkKind::Loop(turns) => self.turns(&value, turns),
            LinkKind::Or(other) => match optional(&value, "or")? {
                Some(_) => Ok(value),
                None => {
                    let other = self.value(other)?;
                    optional(&other, "or")?;
                    Ok(other)
                }
            },
            LinkKind::OrValue(other) => match optional(&value, "orValue")? {
                Some(present) => Ok(present),
                None => self.value(other),
            },
            LinkKind::OptMap { body, flatness } => {
                let Some(present) = optional(&value, "optMap")? else {
                    return Ok(Value::NONE);
                };
                let value = self.with_locals([present], |evaluation| evaluation.value(body))?;
                match flatness {
                    Flatness::Wrapped => Value::some(value),
                    Flatness::Flat => optional(&value, "optFlatMap").map(|_| value),
                }
            }
        }
    }

    /// `has(chain)`
    #[inline(never)]
    pub(super) fn has(&mut self, chain: &'a Chain) -> Result<bool, Fault> {
        let Some((last, before)) = chain.links.split_last() else {
            return Ok(true);
        };
        let value = self.links(chain, before.len())?;
        self.budget.charge(1)?;
        let LinkKind::Field { name, .. } = &last.kind else {
            return Ok(true);
        };
        match self.field(&value, name, Presence::Optional) {
            Ok(Value::Optional(found)) => Ok(found.is_some()),
            Ok(_) => Ok(true),
            Err(fault) => Err(self.with_hint(fault, chain, before.len()).at(last.span.range())),
        }
    }

    /// `value.name`
    fn field(&mut self, value: &Value<'a>, name: &'a str, presence: Presence) -> Result<Value<'a>, Fault> {
        planted_bug::strike(name);
        let found = match value {
            Value::Json(node) if node.kind() == NodeKind::Object => look_up(*node, name, self.budget)?,
            Value::Map(map) => map.get_str(name).cloned(),
            Value::Optional(inner) => match inner.as_deref() {
                None => return Ok(Value::NONE),
                // `.?x` may find null on its way, as below; `.x` after an optional may not.
                Some(Value::Null) if presence == Presence::Required => return Err(no_fields(&Value::Null, name)),
                Some(inner) => return self.field(inner, name, Presence::Optional),
            },
            // JSON writes absent values as null, so a value that may be absent may be null.
            Value::Null if presence == Presence::Optional => None,
            other => return Err(no_fields(other, name)),
        };
        match (presence, found) {
            (Presence::Required, Some(found)) => Ok(found),
            (Presence::Required, None) => Err(fault(ErrorKind::Missing, format!("has no field `{name}`"))),
            (Presence::Optional, Some(found)) => Value::some(found),
            (Presence::Optional, None) => Ok(Value::NONE),
        }
    }

    /// `value[index]`
    fn index(&mut self, value: &Value<'a>, index: &Value<'a>, presence: Presence) -> Result<Value<'a>, Fault> {
        let found = match value {
            Value::List(list) => {
                let position = position(index)?;
                position.and_then(|position| list.items().get(position)).cloned()
            }
            Value::Json(node) if node.kind() == NodeKind::Array => match position(index)? {
                Some(position) => element(*node, position, self.budget)?,
                None => None,
            },
            Value::Map(map) => made_entry(map, index, self.budget)?.cloned(),
            Value::Json(node) => match index {
                Value::String(name) => look_up(*node, name, self.budget)?,
                _ => None,
            },
            Value::Optional(inner) => match inner.as_deref() {
                None => return Ok(Value::NONE),
                Some(Value::Null) if presence == Presence::Required => return Err(nothing_at(&Value::Null, index)),
                Some(inner) => return self.index(inner, index, Presence::Optional),
            },
            Value::Null if presence == Presence::Optional => None,
            other => return Err(nothing_at(other, index)),
        };
        match (presence, found) {
            (Presence::Required, Some(found)) => Ok(found),
            (Presence::Required, None) => Err(fault(
                ErrorKind::Missing,
                match value.kind() {
                    Type::List => format!("has no element {}", index.brief()),
                    _ => format!("has no key {}", index.brief()),
                },
            )),
            (Presence::Optional, Some(found)) => Value::some(found),
            (Presence::Optional, None) => Ok(Value::NONE),
        }
    }

    /// Puts the path before the message, and shows how to write the path so that a missing part is not an
    /// error.
    #[cold]
    fn with_hint(&self, mut error: Fault, chain: &Chain, position: usize) -> Fault {
        if error.span != (0..0) || !matches!(error.kind, ErrorKind::Missing | ErrorKind::Type) {
            return error;
        }
        let from = chain.base.span.start as usize;
        let owner = &self.source[from..chain.links[position].span.start as usize];
        error.message = format!("`{owner}` {}", error.message);
        let Some(mut path) = plain_path(chain, position) else {
            return error;
        };
        let is_whole = chain.links.iter().all(|link| matches!(link.kind, LinkKind::Field { .. }));
        let first = match error.kind {
            // `null` was found instead of an object: the field before it is the one that may be absent.
            ErrorKind::Type => position.saturating_sub(1),
            _ => position,
        };
        path.truncate(path_end(&path, first));
        for link in &chain.links[first..] {
            match &link.kind {
                LinkKind::Field { name, .. } => {
                    let _ = write!(path, ".?{name}");
                }
                LinkKind::Index { .. } => {
                    let text = &self.source[link.span.range()];
                    let _ = write!(path, "[?{}", text.trim_start_matches("[?").trim_start_matches('['));
                }
                _ => break,
            }
        }
        let default = if is_whole { "\"\"" } else { "…" };
        error.hint(format!("write `{path}.orValue({default})`"))
    }
}

/// Returns the names of a chain of plain fields up to `position`, or nothing if the chain is anything else.
fn plain_path(chain: &Chain, position: usize) -> Option<String> {
    let Kind::Root(root) = &chain.base.kind else {
        return None;
    };
    let mut path = root.to_string();
    for link in &chain.links[..position] {
        match &link.kind {
            LinkKind::Field { name, presence: Presence::Required } => {
                path.push('.');
                path.push_str(name);
            }
            _ => return None,
        }
    }
    Some(path)
}

/// Returns where the first `links` fields of a path end in its text. Roots may contain dots themselves.
fn path_end(path: &str, links: usize) -> usize {
    let fields = path.matches('.').count();
    let drop = fields.saturating_sub(links);
    let mut end = path.len();
    for _ in 0..drop {
        end = path[..end].rfind('.').unwrap_or(end);
    }
    end
}

fn no_fields(value: &Value<'_>, name: &str) -> Fault {
    fault(ErrorKind::Type, format!("is {} and has no field `{name}`", value.kind()))
}

fn nothing_at(value: &Value<'_>, index: &Value<'_>) -> Fault {
    fault(ErrorKind::Type, format!("is {} and cannot be indexed with {}", value.kind(), index.brief()))
}

/// Returns a position in a list, or nothing if it is before the first element.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the double is a whole number in range")]
fn position(index: &Value<'_>) -> Result<Option<usize>, Fault> {
    match index {
        Value::Int(index) => Ok(usize::try_from(*index).ok()),
        Value::Uint(index) => Ok(usize::try_from(*index).ok()),
        Value::Double(index) if index.fract() == 0.0 => Ok((0.0..1e15).contains(index).then_some(*index as usize)),
        other => Err(fault(ErrorKind::Type, format!("is a list, so its index must be an integer, not {}", other.kind()))),
    }
}

/// Returns the content of an optional.
pub(crate) fn optional<'a>(value: &Value<'a>, method: &str) -> Result<Option<Value<'a>>, Fault> {
    match value {
        Value::Optional(inner) => Ok(inner.as_ref().map(|inner| Value::clone(Arc::as_ref(inner)))),
        other => Err(fault(ErrorKind::Type, format!("`{method}` needs an optional, not {}", other.kind()))
            .hint("create an optional with `.?field`, `[?index]` or `optional.of(x)`")),
    }
}
