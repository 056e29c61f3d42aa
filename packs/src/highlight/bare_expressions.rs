//! The fields of a file whose whole text is an expression, such as `when`, found with the shapes that the checks use.

use std::collections::BTreeSet;

use crate::diagnostics::Report;
use crate::shape::{Kind, Shape};
use crate::source::SourceText;
use crate::syntax::{ACTION, EVENT_CASE, PACK, RULE, RUN_CASE, RUNS, SENSOR, TRIGGER};
use crate::yaml::{self, Content, Node};

/// Returns where each text that is an expression begins, in bytes. A file that cannot be read has none.
pub(super) fn expressions(path: &str, file: &SourceText) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let Some(node) = yaml::parse(file, &mut Report::default()) else { return found };
    match path.split_once('/') {
        None => of_shape(&node, &PACK, &mut found),
        Some(("triggers", _)) => of_definitions(&node, "triggers", &TRIGGER, &mut found),
        Some(("sensors", _)) => of_definitions(&node, "sensors", &SENSOR, &mut found),
        Some(("actions", _)) => of_definitions(&node, "actions", &ACTION, &mut found),
        Some(("rules", _)) => of_definitions(&node, "rules", &RULE, &mut found),
        Some(("tests", _)) => {
            for case in items(&node) {
                let shape = if value(case, RUNS).is_some() { &RUN_CASE } else { &EVENT_CASE };
                of_shape(case, shape, &mut found);
            }
        }
        Some(_) => {}
    }
    found
}

/// Looks at the one definition of a file, or at each of those under `several`.
fn of_definitions(node: &Node, several: &str, shape: &Shape, found: &mut BTreeSet<usize>) {
    match value(node, several) {
        Some(definitions) => values(definitions).for_each(|definition| of_shape(definition, shape, found)),
        None => of_shape(node, shape, found),
    }
}

fn of_shape(node: &Node, shape: &Shape, found: &mut BTreeSet<usize>) {
    let Content::Map(entries) = &node.content else { return };
    for entry in entries {
        if let Some(field) = shape.field(&entry.key.value) {
            of_kind(&entry.value, &field.kind, found);
        }
    }
}

fn of_kind(node: &Node, kind: &Kind, found: &mut BTreeSet<usize>) {
    match kind {
        Kind::Expression => {
            if matches!(node.content, Content::Text { .. } | Content::Bool(_) | Content::Number(_) | Content::Null) {
                found.insert(node.span.start);
            }
        }
        Kind::Mapping { of, .. } | Kind::MappingOrExpression { of, .. } => values(node).for_each(|value| of_kind(value, of, found)),
        Kind::Fields(shape) | Kind::WordOrFields(_, shape) | Kind::ChoiceOrFields(_, shape) => of_shape(node, shape, found),
        Kind::List(shape) | Kind::Listing(shape) | Kind::ListOfChoiceOrFields(_, shape) => {
            items(node).for_each(|item| of_shape(item, shape, found));
        }
        Kind::Nested(shape) => match &node.content {
            Content::List(items) => items.iter().for_each(|item| of_kind(item, kind, found)),
            _ => of_shape(node, shape, found),
        },
        Kind::Named { of, .. } => values(node).for_each(|value| of_shape(value, of, found)),
        Kind::ByWord { field, shapes } => {
            let word = value(node, field).and_then(|node| match &node.content {
                Content::Text { value, .. } => Some(value.as_str()),
                _ => None,
            });
            if let Some((_, shape)) = shapes.iter().find(|(known, _)| Some(*known) == word) {
                of_shape(node, shape, found);
            }
        }
        Kind::Text(_)
        | Kind::CountOrPercent { .. }
        | Kind::Scalar
        | Kind::Scalars
        | Kind::Boolean
        | Kind::True
        | Kind::Integer { .. }
        | Kind::Choice(_)
        | Kind::Words(_)
        | Kind::Texts { .. }
        | Kind::TextOrTexts(_)
        | Kind::TextsOrFields(..)
        | Kind::TextOrFields(..)
        | Kind::Labels { .. }
        | Kind::Value
        | Kind::Anything
        | Kind::Schema(_)
        | Kind::Type => {}
    }
}

fn value<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Content::Map(entries) = &node.content else { return None };
    entries.iter().find(|entry| entry.key.value == name).map(|entry| &entry.value)
}

fn values(node: &Node) -> impl Iterator<Item = &Node> {
    let entries = match &node.content {
        Content::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    entries.iter().map(|entry| &entry.value)
}

fn items(node: &Node) -> impl Iterator<Item = &Node> {
    match &node.content {
        Content::List(items) => items.iter(),
        _ => [].iter(),
    }
}
