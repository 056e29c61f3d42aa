//! Determines how much of a list is read: only its number of elements, or named fields of them.
//!
//! If this is unclear, the whole list counts as read.

use std::collections::BTreeSet;

use super::{Path, path_of};
use crate::ast::{Call, Expr, Kind, Link, LinkKind, Literal, Loop, LoopKind};

/// How much of the value at a path is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it, as far as is known.
    Whole,
    /// If it is a list, only its number of elements and these fields of them.
    FieldsOfElements(BTreeSet<String>),
}

impl Extent {
    pub(super) fn nothing() -> Self {
        Self::FieldsOfElements(BTreeSet::new())
    }

    /// Returns true if a field of a list's elements may be read.
    pub fn may_hold(&self, field: &str) -> bool {
        match self {
            Self::Whole => true,
            Self::FieldsOfElements(fields) => fields.contains(field),
        }
    }

    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::FieldsOfElements(mut fields), Self::FieldsOfElements(others)) => {
                fields.extend(others);
                Self::FieldsOfElements(fields)
            }
            (Self::Whole, _) | (_, Self::Whole) => Self::Whole,
        }
    }
}

/// Returns how much of a value is read, from the links that follow it.
pub(super) fn extent_of(links: &[Link]) -> Extent {
    let Some((first, rest)) = links.split_first() else { return Extent::Whole };
    match &first.kind {
        LinkKind::Call(call) if call.function.name == "size" => Extent::nothing(),
        LinkKind::Loop(turns) => {
            let read = read_by_turns(turns);
            match turns.kind {
                LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne | LoopKind::List | LoopKind::Map | LoopKind::Entries => read,
                // These return elements again.
                LoopKind::Filter | LoopKind::SortBy => read.and(extent_of(rest)),
            }
        }
        LinkKind::Index { .. } => field_of(rest.first()),
        LinkKind::Field { .. } | LinkKind::Call(_) | LinkKind::Or(_) | LinkKind::OrValue(_) | LinkKind::OptMap { .. } => Extent::Whole,
    }
}

/// Returns the path of `size(path)`, of which no element is read.
pub(super) fn sized_path(call: &Call) -> Option<Path> {
    let ([Expr { kind: Kind::Chain(chain), .. }], "size") = (call.arguments.as_slice(), call.function.name) else { return None };
    let (path, links) = path_of(chain)?;
    (links == chain.links.len()).then(|| Path { extent: Extent::nothing(), ..path })
}

/// Returns which part of the elements a macro's turns read. Variables are not told apart, so each counts as
/// the element.
fn read_by_turns(turns: &Loop) -> Extent {
    turns.filter.iter().chain([&turns.body]).fold(Extent::nothing(), |read, expr| read.and(read_by(expr)))
}

fn read_by(expr: &Expr) -> Extent {
    let of_all = |parts: Vec<&Expr>| parts.into_iter().fold(Extent::nothing(), |read, part| read.and(read_by(part)));
    match &expr.kind {
        Kind::Local(_) => Extent::Whole,
        Kind::Chain(chain) | Kind::Has(chain) if matches!(chain.base.kind, Kind::Local(_)) => {
            field_of(chain.links.first()).and(of_all(chain.links.iter().flat_map(Link::children).collect()))
        }
        _ => of_all(expr.children()),
    }
}

/// Returns the field that a link selects, by its name.
fn field_of(link: Option<&Link>) -> Extent {
    let name = match link.map(|link| &link.kind) {
        Some(LinkKind::Field { name, .. }) => name,
        Some(LinkKind::Index { index, .. }) => match &index.kind {
            Kind::Literal(Literal::String(name)) => name,
            _ => return Extent::Whole,
        },
        Some(LinkKind::Call(_) | LinkKind::Loop(_) | LinkKind::Or(_) | LinkKind::OrValue(_) | LinkKind::OptMap { .. }) | None => {
            return Extent::Whole;
        }
    };
    Extent::FieldsOfElements(BTreeSet::from([name.to_string()]))
}
