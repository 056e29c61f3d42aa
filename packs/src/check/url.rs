//! Checks that the destination of a request is fixed: the scheme and host of a URL are literal, unless the
//! whole URL is one expression, or it begins with an expression that reads only the configuration.
//!
//! When the request is made, interpolated values are encoded and egress is checked.

use ensue_expression::{Piece, Template};

use super::connections::Address;
use super::expression_findings::Taker;
use super::scope::Scope;
use crate::diagnostics::{Code, Report};
use crate::fields::first_line;
use crate::source::SourceText;
use crate::syntax::{Secrecy, Url};
use crate::yaml::{Content, Node};

/// Compiles the URL of a request. One that is a secret may read keys after its host.
pub(super) fn compile(
    url: &Url,
    (address, taker): (Address, &Taker),
    (plain, with_keys): (&Scope<'_>, &Scope<'_>),
    file: &SourceText,
    report: &mut Report,
) -> Option<Template> {
    let in_url = plain.clone().in_url();
    let scope = match url.secrecy {
        Secrecy::Public => &in_url,
        Secrecy::Secret => with_keys,
    };
    let template = scope.template_for(&url.node, Some(taker), report)?;
    check((&url.node, &template), address, scope, file, report);
    let is_whole = template.parts().first().is_some_and(|part| part.sole_expression().is_some());
    if url.secrecy == Secrecy::Secret && is_whole {
        report
            .error(Code::TemplateInHost, file, first_line(&url.node.span, file), "the host of a secret URL must be written out")
            .hint("write for example `https://example.test/hooks/${{ keys[\"chat.hook\"] }}`, and set the key to the rest of the URL");
        return None;
    }
    Some(template)
}

fn check((node, template): (&Node, &Template), address: Address, scope: &Scope<'_>, file: &SourceText, report: &mut Report) {
    let Content::Text { value, .. } = &node.content else {
        crate::fields::wrong_type(node, "`url`", "a string", file, report);
        return;
    };
    let parts = template.parts();
    if address != Address::Whole {
        let is_whole = parts.first().is_some_and(|part| part.sole_expression().is_some());
        let is_path = value.starts_with('/') && !value.starts_with("//");
        if !is_whole && !is_path {
            report
                .error(
                    Code::InvalidValue,
                    file,
                    scope.locate(node, 0..value.len()),
                    "with a `connection`, `url` is a path below its address",
                )
                .hint("begin it with `/`: `/items/${{ params.id }}`");
        }
        return;
    }
    let literal = match parts.first() {
        None => value.as_str(),
        Some(part) if part.sole_expression().is_some() => return,
        // The operator's own setting may be the beginning, up to the path.
        Some(part) if part.pieces.first().is_some_and(|piece| piece.is_setting()) && has_end_after_setting(part.pieces.get(1)) => return,
        Some(part) => match part.pieces.first() {
            Some(Piece::Text(text)) => text.as_str(),
            Some(_) | None => "",
        },
    };
    let is_open = !parts.is_empty();
    let fault = match literal.strip_prefix("https://").or_else(|| literal.strip_prefix("http://")) {
        None => Some("a URL must begin with `https://` or `http://`, written out"),
        Some(rest) => {
            let host = rest.split(['/', '?', '#']).next().unwrap_or("");
            if host.is_empty() {
                Some("the host of a URL must be written out")
            } else if host.len() == rest.len() && is_open {
                Some("the host of a URL must be written out, up to a `/`")
            } else if host.contains('@') {
                Some("a URL must not contain a user name or password; send them in a header")
            } else {
                None
            }
        }
    };
    if let Some(fault) = fault {
        let code = if is_open { Code::TemplateInHost } else { Code::InvalidValue };
        report
            .error(code, file, scope.locate(node, 0..value.len()), fault)
            .hint("write for example `https://example.test/items/${{ params.id }}`, or make the whole URL one expression: `${{ config.api + \"/items/\" + string(params.id) }}`, which is checked when it is evaluated, and in which nothing is percent-encoded");
    }
}

/// Returns true if nothing can be appended to a host that a setting ends with.
fn has_end_after_setting(next: Option<&&Piece>) -> bool {
    matches!(next, Some(Piece::Text(text)) if text.starts_with(['/', '?', '#']))
}
