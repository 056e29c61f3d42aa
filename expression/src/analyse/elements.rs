//! What of a list is read: how many elements it has, or fields of them that are named.
//!
//! What it cannot tell it takes for the whole list.

use std::collections::BTreeSet;

use super::{Path, path_of};
use crate::ast::{Call, Expr, Kind, Link, LinkKind, Literal, Loop, LoopKind};

/// What of the value at a path is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it, as far as can be told.
    Whole,
    /// Where it is a list, no more than how many elements it has and these fields of theirs.
    FieldsOfElements(BTreeSet<String>),
}

impl Extent {
    pub(super) fn nothing() -> Self {
        Self::FieldsOfElements(BTreeSet::new())
    }

    /// Says whether a field of a list's elements may be read.
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

/// What is read of a value by what is selected or called on it.
pub(super) fn extent_of(links: &[Link]) -> Extent {
    let Some((first, rest)) = links.split_first() else { return Extent::Whole };
    match &first.kind {
        LinkKind::Call(call) if call.function.name == "size" => Extent::nothing(),
        LinkKind::Loop(turns) => {
            let read = read_by_turns(turns);
            match turns.kind {
                LoopKind::All | LoopKind::Exists | LoopKind::ExistsOne | LoopKind::List | LoopKind::Map | LoopKind::Entries => read,
                // These give elements again.
                LoopKind::Filter | LoopKind::SortBy => read.and(extent_of(rest)),
            }
        }
        LinkKind::Index { .. } => field_of(rest.first()),
        LinkKind::Field { .. } | LinkKind::Call(_) | LinkKind::Or(_) | LinkKind::OrValue(_) | LinkKind::OptMap { .. } => Extent::Whole,
    }
}

/// The path of `size(path)`, of which no element is read.
pub(super) fn counted(call: &Call) -> Option<Path> {
    let ([Expr { kind: Kind::Chain(chain), .. }], "size") = (call.arguments.as_slice(), call.function.name) else { return None };
    let (path, links) = path_of(chain)?;
    (links == chain.links.len()).then(|| Path { extent: Extent::nothing(), ..path })
}

/// What the turns of a macro read of the elements: which variable is whose is not followed, so that each counts as the element.
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

/// The field that a link selects, by its name.
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
