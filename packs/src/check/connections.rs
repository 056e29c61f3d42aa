//! Checks the connections that requests use: each is listed in `pack.yaml`, or is passed in as a parameter or a setting of the
//! right kind.
//!
//! `ensue.yaml` defines connections. What a pack lists is compared with it in `declared.rs`.

use ensue_engine::catalog::{ConnectionKind, Field, Fields, Presence, Schema, Type, UsedConnection};
use ensue_engine::names::ConnectionName;
use ensue_expression::nearest;

use super::Checking;
use crate::diagnostics::{Code, Report};
use crate::fields::{first_line, quote_names};
use crate::source::SourceText;
use crate::yaml::{Content, Node};

/// Whose address a request or a mail goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// Its own.
    Whole,
    /// That of a connection, or one below it.
    BelowConnection,
    /// Either, because the connection is optional.
    Either,
}

/// Returns the connection of a kind that a request or a mail names, and whose address it goes to. `None` if there is an error.
pub(super) fn resolve(
    checking: &Checking<'_>,
    kind: ConnectionKind,
    node: Option<&Node>,
    parameters: Option<&Schema>,
    file: &SourceText,
    report: &mut Report,
) -> Option<(Option<UsedConnection>, Address)> {
    let Some(node) = node else { return Some((None, Address::Whole)) };
    let Content::Text { value, .. } = &node.content else { return None };
    let at = first_line(&node.span, file);
    let Some(inner) = value.trim().strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")) else {
        let name = listed_name(checking, value, node, file, report)?;
        return Some((Some(UsedConnection::Named(name)), Address::BelowConnection));
    };
    let (root, name) = inner.trim().split_once('.').unwrap_or((inner.trim(), ""));
    let root = if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') { root } else { "" };
    let (of, schema) = match root {
        "params" if parameters.is_some() => ("parameter", parameters),
        "config" => ("setting", checking.pack.manifest.config.as_ref()),
        _ => {
            let passed = if parameters.is_some() { "`${{ params.<name> }}` or `${{ config.<name> }}`" } else { "`${{ config.<name> }}`" };
            report
                .error(Code::InvalidValue, file, at, "`connection` cannot be computed in this way")
                .hint(format!("write the name of a connection, or exactly {passed}"));
            return None;
        }
    };
    // A schema with an error has been reported.
    let schema = schema?;
    let wanted = Type::Connection(kind);
    let field = schema.fields().and_then(|fields| fields.get(name));
    let Some(field) = field else {
        let names: Vec<&str> = of_kind(schema.fields(), kind).map(|field| field.name.as_str()).collect();
        let diagnostic = report.error(Code::UnknownConnection, file, at, format!("there is no {of} `{name}` that names a connection"));
        diagnostic.did_you_mean(nearest(name, names.iter().copied()).map(|near| format!("${{{{ {root}.{near} }}}}")).as_deref());
        diagnostic.hint(format!("declare it: `{name}: {wanted}`"));
        return None;
    };
    if field.kind != wanted {
        report
            .error(Code::ConnectionKind, file, at, format!("the {of} `{name}` is declared as {}, not as `{wanted}`", field.kind))
            .hint(format!("declare it: `{name}: {wanted}`"));
        return None;
    }
    let address = if field.presence == Presence::Optional { Address::Either } else { Address::BelowConnection };
    let name = name.to_owned();
    Some((Some(if root == "params" { UsedConnection::Parameter(name) } else { UsedConnection::Setting(name) }), address))
}

/// Checks the connections that are written out among the parameters passed to an action, and notes them.
pub(super) fn check_passed(
    checking: &mut Checking<'_>,
    node: Option<&Node>,
    parameters: Option<&Schema>,
    file: &SourceText,
    report: &mut Report,
) {
    let Some(Node { content: Content::Map(entries), .. }) = node else { return };
    for entry in entries {
        let field = parameters.and_then(Schema::fields).and_then(|fields| fields.get(&entry.key.value));
        let Some(Field { kind: Type::Connection(kind), .. }) = field else { continue };
        let Content::Text { value, .. } = &entry.value.content else { continue };
        if value.contains("${{") {
            continue;
        }
        if let Some(name) = listed_name(checking, value, &entry.value, file, report) {
            checking.uses.note_connection(name, *kind);
        }
    }
}

/// Returns the name of a connection that the pack lists.
fn listed_name(checking: &Checking<'_>, text: &str, node: &Node, file: &SourceText, report: &mut Report) -> Option<ConnectionName> {
    let at = first_line(&node.span, file);
    let Ok(name) = text.parse::<ConnectionName>() else {
        crate::schema::report_bad_name(text, &at, file, report);
        return None;
    };
    // A list with an error has been reported.
    let known = checking.pack.manifest.connections.as_ref()?;
    if known.iter().any(|one| one.value == name) {
        return Some(name);
    }
    let names: Vec<&str> = known.iter().map(|one| one.value.as_str()).collect();
    let diagnostic = report.error(Code::UnknownConnection, file, at, format!("`pack.yaml` does not list the connection `{name}`"));
    diagnostic.did_you_mean(nearest(name.as_str(), names.iter().copied()));
    let has = if names.is_empty() { String::new() } else { format!("; it lists {}", quote_names(&names)) };
    diagnostic.hint(format!("add it to `connections` in `pack.yaml`: `connections: [{name}]`{has}"));
    None
}

fn of_kind(fields: Option<&Fields>, kind: ConnectionKind) -> impl Iterator<Item = &Field> {
    fields.into_iter().flat_map(|fields| &fields.0).filter(move |field| field.kind == Type::Connection(kind))
}
