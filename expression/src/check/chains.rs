//! Chains: what a field, an index, a method or a macro returns for the value before it.

use super::facts::PathPresence as Fact;
use super::infer::words_optional;
use super::missing::Suspect;
use super::{Checker, FindingKind, InferredPart, Reads};
use crate::ast::{Chain, Expr, Flatness, Kind, Link, LinkKind, Literal, Presence, Span};
use crate::functions::signature::{LIST, MAP, NULL, NUMBER, OPTIONAL};
use crate::types::{FieldLookup, Occurrence, Truths, ValueType};
use crate::value::Value;

/// The separator between the names of a path. No name contains it.
pub(super) const SEPARATOR: char = '\u{1f}';

/// A position in a chain: the links before it, and their path if they are one.
struct ChainPosition<'c> {
    chain: &'c Chain,
    position: usize,
    path: Option<String>,
}

/// Whether a field is there, as far as the checker knows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum There {
    Always,
    Maybe,
    Never,
}

impl<'c> Checker<'c> {
    /// Returns what is known about the first `count` links of a chain.
    pub(super) fn chain(&mut self, chain: &'c Chain, count: usize) -> InferredPart {
        let InferredPart { mut value, mut reads } = self.value(&chain.base);
        let mut path = root_path(&chain.base);
        for (position, link) in chain.links[..count].iter().enumerate() {
            if value.is_nothing() {
                break;
            }
            path = path.zip(name_of(link)).map(|(path, name)| format!("{path}{SEPARATOR}{name}"));
            let at = ChainPosition { chain, position, path: path.clone() };
            let (next, link_reads) = self.link(value, link, &at);
            value = next;
            reads = reads.max(link_reads);
        }
        InferredPart { value, reads }
    }

    fn link(&mut self, value: ValueType, link: &'c Link, at: &ChainPosition<'c>) -> (ValueType, Reads) {
        match &link.kind {
            LinkKind::Field { name, presence } => (self.field(&value, name, *presence, at), Reads::Nothing),
            LinkKind::Index { index, presence } => {
                let InferredPart { value: index_value, reads } = self.value(index);
                if index_value.is_nothing() {
                    return (index_value, reads);
                }
                let next = match index_value.constant() {
                    Some(Value::String(name)) if value.can_be(MAP.or(OPTIONAL)) || !value.can_be(LIST) => {
                        self.field(&value, &name, *presence, at)
                    }
                    _ => self.index(&value, index, &index_value, *presence, at),
                };
                (next, reads)
            }
            LinkKind::Call(call) => {
                let known = self.call(call, Some((value, at.before())), at.through());
                (known.value, known.reads)
            }
            LinkKind::Loop(turns) => self.turns(&value, turns, at.before()),
            LinkKind::Or(other) => {
                let InferredPart { value: other_value, reads } = self.value(other);
                if !self.demand_optional_at(&value, "or", at.before()) {
                    return (ValueType::nothing(), reads);
                }
                let next = match value.optional_known() {
                    // An operand that always fails does so only if it is needed.
                    known if !self.demand_optional_at(&other_value, "or", other.span) => match known {
                        Some(optional) if optional.inner.is_nothing() => ValueType::nothing(),
                        Some(optional) => ValueType::optional(optional.inner.clone(), Occurrence::Always),
                        None => value.only(OPTIONAL),
                    },
                    Some(optional) if optional.occurrence == Occurrence::Always => value,
                    Some(optional) if optional.inner.is_nothing() => other_value,
                    Some(optional) => {
                        let present = ValueType::optional(optional.inner.clone(), Occurrence::Always);
                        self.join(present, other_value.only(OPTIONAL))
                    }
                    None => self.join(value.only(OPTIONAL), other_value.only(OPTIONAL)),
                };
                (next, reads)
            }
            LinkKind::OrValue(other) => {
                let InferredPart { value: other_value, reads } = self.value(other);
                if !self.demand_optional_at(&value, "orValue", at.before()) {
                    return (ValueType::nothing(), reads);
                }
                let is_always = value.optional_known().is_some_and(|optional| optional.occurrence == Occurrence::Always);
                let next = if is_always { value.inner() } else { self.join(value.inner(), other_value) };
                (next, reads)
            }
            LinkKind::OptMap { body, flatness } => {
                if !self.demand_optional_at(&value, "optMap", at.before()) {
                    return (ValueType::nothing(), Reads::Nothing);
                }
                let occurrence = value.optional_known().map_or(Occurrence::Sometimes, |optional| optional.occurrence);
                let inner = value.inner();
                if inner.is_nothing() {
                    return (ValueType::absent(), Reads::Nothing);
                }
                self.locals.push(inner);
                let InferredPart { value: given, reads } = self.value(body);
                self.locals.pop();
                let reads = self.outside(Reads::Nothing, reads);
                let present = match flatness {
                    Flatness::Wrapped if given.is_nothing() => given,
                    Flatness::Wrapped => ValueType::optional(given, Occurrence::Always),
                    Flatness::Flat => given.only(OPTIONAL),
                };
                let absent = if occurrence == Occurrence::Always { ValueType::nothing() } else { ValueType::absent() };
                (self.join(present, absent), reads)
            }
        }
    }

    fn demand_optional_at(&mut self, value: &ValueType, method: &str, span: Span) -> bool {
        if value.is_nothing() {
            return false;
        }
        if !value.can_be(OPTIONAL) {
            self.report(FindingKind::Unfit, span, format!("`{method}` needs an optional, not {value}"), Some(words_optional()));
            return false;
        }
        true
    }

    /// `value.name`
    fn field(&mut self, value: &ValueType, name: &str, presence: Presence, at: &ChainPosition<'c>) -> ValueType {
        let mut given = ValueType::nothing();
        if value.can_be(MAP) {
            let Some((found, there)) = self.look_up(value, name, at) else {
                return ValueType::nothing();
            };
            let next = match (presence, there) {
                (Presence::Required, There::Never) => ValueType::nothing(),
                (Presence::Required, There::Always | There::Maybe) => found,
                (Presence::Optional, There::Always) => ValueType::optional(found, Occurrence::Always),
                (Presence::Optional, There::Maybe) => ValueType::optional(found, Occurrence::Sometimes),
                (Presence::Optional, There::Never) => ValueType::absent(),
            };
            given = self.join(given, next);
        }
        if let Some(optional) = value.optional_known() {
            let inner = if presence == Presence::Required { optional.inner.without(NULL) } else { optional.inner.clone() };
            let below = if inner.is_nothing() { inner } else { self.field(&inner, name, Presence::Optional, at) };
            given = self.join(given, below);
            if optional.occurrence != Occurrence::Always {
                given = self.join(given, ValueType::absent());
            }
        } else if value.can_be(OPTIONAL) {
            given = self.join(given, ValueType::of_computed(OPTIONAL));
        }
        if value.can_be(NULL) && presence == Presence::Optional {
            given = self.join(given, ValueType::absent());
        }
        if !value.can_be(MAP.or(OPTIONAL)) && given.is_nothing() {
            let owner = self.text(at.before());
            let hint = self.field_hint(value, name, owner);
            self.report(FindingKind::Unfit, at.through(), format!("`{owner}` is {value} and has no field `{name}`"), hint);
        }
        given
    }

    /// Returns what a map has under a name, and whether it is there, or nothing if an error was reported for
    /// it.
    fn look_up(&mut self, value: &ValueType, name: &str, at: &ChainPosition<'c>) -> Option<(ValueType, There)> {
        let (found, there, occurrence) = match value.map_known().map(|map| (map, map.find(name))) {
            None => (value.below(), There::Maybe, None),
            Some((_, FieldLookup::Field(field))) => {
                let there = if field.occurrence == Occurrence::Always { There::Always } else { There::Maybe };
                (field.value.clone(), there, Some(field.occurrence))
            }
            Some((map, FieldLookup::Open(others))) => {
                self.report_unlikely_field(map, name, at.before(), at.through());
                (others.clone(), There::Maybe, None)
            }
            Some((map, FieldLookup::Unknown)) => {
                self.report_unknown_field(map, name, at.before(), at.through());
                return None;
            }
        };
        let Some(path) = &at.path else { return Some((found, there)) };
        let said = self.facts.of(path);
        let (declared, promised) = (found, there);
        let there = match said.presence {
            Some(Fact::Present) => There::Always,
            Some(Fact::Absent) => There::Never,
            None => promised,
        };
        let found = said.is.map_or_else(|| declared.clone(), |is| declared.and(&is));
        if there != promised || found != declared {
            self.borrow(said.beside);
        }
        let is_plain = matches!(
            &at.chain.links[at.position].kind,
            LinkKind::Field { presence: Presence::Required, .. } | LinkKind::Index { presence: Presence::Required, .. }
        );
        if let (true, There::Maybe, Some(occurrence)) = (is_plain, there, occurrence) {
            let each = value.map_known().and_then(|map| map.each_called());
            self.suspect(Suspect { path: path.clone(), span: at.through(), name: name.into(), occurrence, each });
        }
        Some((found, there))
    }

    /// `value[index]`, if the index is not a literal name.
    fn index(&mut self, value: &ValueType, index: &Expr, at_index: &ValueType, presence: Presence, at: &ChainPosition<'c>) -> ValueType {
        let mut given = ValueType::nothing();
        let mut is_told = false;
        if value.can_be(LIST) {
            if at_index.can_be(NUMBER) {
                let there = is_element(value, at_index);
                let next = match (presence, there) {
                    (Presence::Required, There::Never) => ValueType::nothing(),
                    (Presence::Required, There::Always | There::Maybe) => value.element(),
                    (Presence::Optional, There::Never) => ValueType::absent(),
                    (Presence::Optional, There::Always | There::Maybe) => ValueType::optional(value.element(), Occurrence::Sometimes),
                };
                given = self.join(given, next);
                if presence == Presence::Required && there == There::Never {
                    is_told = true;
                    let list = self.text(at.before());
                    let message = format!("`{list}` has no element {}", self.text(index.span));
                    self.report(FindingKind::Erring, at.through(), message, Some("count elements from 0".to_owned()));
                }
            } else if !value.can_be(MAP.or(OPTIONAL)) {
                is_told = true;
                let list = self.text(at.before());
                let message = format!("`{list}` is a list, so its index must be an integer, not {at_index}");
                self.report(FindingKind::Unfit, index.span, message, None);
            }
        }
        if value.can_be(MAP) {
            let any = self.any_field(value);
            let next = match presence {
                Presence::Required => any,
                Presence::Optional => ValueType::optional(any, Occurrence::Sometimes),
            };
            given = self.join(given, next);
        }
        if let Some(optional) = value.optional_known() {
            let inner = optional.inner.clone();
            let below = if inner.is_nothing() { inner } else { self.index(&inner, index, at_index, Presence::Optional, at) };
            given = self.join(given, below);
            given = self.join(given, ValueType::absent());
        } else if value.can_be(OPTIONAL) {
            given = self.join(given, ValueType::of_computed(OPTIONAL));
        }
        if value.can_be(NULL) && presence == Presence::Optional {
            given = self.join(given, ValueType::absent());
        }
        if given.is_nothing() && !is_told && !value.can_be(MAP.or(OPTIONAL).or(LIST)) {
            let owner = self.text(at.before());
            self.report(
                FindingKind::Unfit,
                at.through(),
                format!("`{owner}` is {value} and cannot be indexed with `{}`", self.text(index.span)),
                None,
            );
        }
        given
    }

    /// `has(chain)`
    pub(super) fn has(&mut self, chain: &'c Chain) -> InferredPart {
        let Some(position) = chain.links.len().checked_sub(1) else {
            return InferredPart { value: ValueType::boolean(), reads: Reads::Names };
        };
        let InferredPart { value, reads } = self.chain(chain, position);
        let link = &chain.links[position];
        let (LinkKind::Field { name, .. }, false) = (&link.kind, value.is_nothing()) else {
            return InferredPart { value: ValueType::nothing(), reads };
        };
        let at = ChainPosition { chain, position, path: path_of(chain, position + 1) };
        let mut truths = Truths::NEITHER;
        if value.can_be(MAP) {
            let suspects = self.suspects.len();
            let Some((_, there)) = self.look_up(&value, name, &at) else {
                return InferredPart { value: ValueType::nothing(), reads };
            };
            self.suspects.truncate(suspects);
            truths = match there {
                There::Always => Truths::of(true),
                There::Never => Truths::of(false),
                There::Maybe => Truths::BOTH,
            };
        }
        if value.can_be(OPTIONAL) {
            truths = Truths::BOTH;
        }
        truths.no |= value.can_be(NULL);
        if truths == Truths::NEITHER {
            let owner = self.text(at.before());
            self.report(FindingKind::Unfit, at.through(), format!("`{owner}` is {value} and has no field `{name}`"), None);
        }
        InferredPart { value: ValueType::truths(truths), reads }
    }
}

impl ChainPosition<'_> {
    /// Returns the range of the chain before the current link.
    fn before(&self) -> Span {
        Span { start: self.chain.base.span.start, end: self.chain.links[self.position].span.start }
    }

    /// Returns the range of the chain up to and including the current link.
    fn through(&self) -> Span {
        Span { start: self.chain.base.span.start, end: self.chain.links[self.position].span.end }
    }
}

/// Returns the path of a name or variable alone.
pub(super) fn root_path(base: &Expr) -> Option<String> {
    match &base.kind {
        Kind::Root(name) => Some(name.to_string()),
        Kind::Local(index) => Some(format!("#{index}")),
        _ => None,
    }
}

/// Returns the name of the field that a link reads, if it is a literal.
pub(super) fn name_of(link: &Link) -> Option<&str> {
    match &link.kind {
        LinkKind::Field { name, .. } => Some(name),
        LinkKind::Index { index, .. } => match &index.kind {
            Kind::Literal(Literal::String(name)) => Some(name),
            _ => None,
        },
        LinkKind::Call(_) | LinkKind::Loop(_) | LinkKind::Or(_) | LinkKind::OrValue(_) | LinkKind::OptMap { .. } => None,
    }
}

/// Returns the path of the first `count` links of a chain, if they form one.
pub(super) fn path_of(chain: &Chain, count: usize) -> Option<String> {
    chain.links[..count].iter().try_fold(root_path(&chain.base)?, |path, link| Some(format!("{path}{SEPARATOR}{}", name_of(link)?)))
}

/// Returns whether the element at an index is there.
fn is_element(list: &ValueType, index: &ValueType) -> There {
    let Some(len) = list.list_known().and_then(|list| list.len) else { return There::Maybe };
    let Some(indices) = index.constants() else { return There::Maybe };
    let is_inside = |index: &Value<'_>| index.as_i64().and_then(|index| usize::try_from(index).ok()).is_some_and(|index| index < len);
    if indices.iter().any(|index| is_inside(index) || matches!(index, Value::Double(_))) { There::Maybe } else { There::Never }
}
