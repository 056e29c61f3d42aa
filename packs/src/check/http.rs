//! Checks a request: where it goes, its expressions, and what it has instead of a connection.

use ensue_engine::catalog::{AnswerForm, ConnectionKind, HttpBody, HttpRequest, RequestSigning, Schema, TextDecoding, WithoutConnection};
use ensue_expression::{Expression, Template, ValueType, nearest};
use serde_json::{Value, json};

use super::Checking;
use super::connections::{self, Address};
use super::expression_findings::Taker;
use super::literals::literal;
use super::scope::Scope;
use super::url;
use crate::diagnostics::{Code, Report};
use crate::fields::is_one_expression;
use crate::source::SourceText;
use crate::syntax::{self, WrittenBody};
use crate::yaml::{Content, Node};

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Compiles a request. Only its headers and its body may read keys, and a URL that is a secret.
pub(super) fn request(
    checking: &Checking<'_>,
    (file, written): (&SourceText, &syntax::Http),
    parameters: Option<&Schema>,
    (plain, with_keys): (&Scope<'_>, &Scope<'_>),
    report: &mut Report,
) -> Option<HttpRequest> {
    let (connection, address) =
        connections::resolve(checking, ConnectionKind::Http, written.connection.as_ref(), parameters, file, report)?;
    let scopes = (plain, with_keys);
    let without_connection = match &written.without_connection {
        Some(instead) if address == Address::Either => Some(self::instead((file, written), instead, scopes, report)),
        Some(instead) => {
            report
                .error(
                    Code::FieldOutOfPlace,
                    file,
                    instead.at.clone(),
                    "`without_connection` is never used: the connection always has a value",
                )
                .hint("remove it, or make the parameter or setting of the connection optional");
            return None;
        }
        None => None,
    };
    let address = if without_connection.is_some() { Address::BelowConnection } else { address };
    let target = target(&written.url, address, scopes, file, report);
    check_method(written.method.as_ref(), file, report);
    let method = or_literal(written.method.as_ref(), &json!("GET"), plain, report);
    let headers = or_literal(written.headers.as_ref(), &json!({}), with_keys, report);
    let query = or_literal(written.query.as_ref(), &json!({}), plain, report);
    let body = match &written.body {
        WrittenBody::None => Some(HttpBody::None),
        WrittenBody::Json(node) => with_keys.template(node, report).map(HttpBody::Json),
        WrittenBody::Text(node) => with_keys.template(node, report).map(HttpBody::Text),
        WrittenBody::Form(node) => with_keys.template(node, report).map(HttpBody::Form),
        WrittenBody::Either { json, text } => {
            let (json, text) = (with_keys.template(json, report), with_keys.template(text, report));
            json.zip(text).map(|(json, text)| HttpBody::Either { json, text })
        }
    };
    check_parse(written.parse.as_ref(), file, report);
    check_text_decoding(written, file, report);
    let taker = Taker { takes: ValueType::text().or_null(), name: "`parse`".to_owned() };
    let parse = written.parse.as_ref().map(|node| plain.template_for(node, Some(&taker), report));
    let signing = written.signing.as_ref().map(|signing| self::signing(signing, with_keys, file, report));
    Some(HttpRequest {
        connection,
        without_connection: super::literals::optional(without_connection)?.map(Box::new),
        url: target?,
        method: method?,
        headers: headers?,
        query: query?,
        body: body?,
        parse: super::literals::optional(parse)?,
        text_decoding: written.text_decoding.clone(),
        signing: super::literals::optional(signing)?,
    })
}

/// Compiles how a request is signed. The key must come from the vault, not from the file.
fn signing(written: &syntax::Signing, with_keys: &Scope<'_>, file: &SourceText, report: &mut Report) -> Option<RequestSigning> {
    let taker = Taker { takes: ValueType::text(), name: "`key`".to_owned() };
    let key = with_keys.template_for(&written.key, Some(&taker), report)?;
    let reads_keys =
        |expression: &Expression| expression.reads().iter().any(|path| path.segments.first().is_some_and(|root| root == "keys"));
    if !is_one_expression(&written.key) || !key.expressions().into_iter().any(reads_keys) {
        report
            .error(Code::InvalidValue, file, written.key.span.clone(), "`key` of `sign` must be one expression that reads `keys`")
            .hint("set the key with `ensue keys set`, and write for example `key: ${{ keys[\"shop.signing\"] }}`");
        return None;
    }
    Some(RequestSigning { scheme: written.scheme, key })
}

/// Compiles what a request has instead of a connection.
fn instead(
    (file, request): (&SourceText, &syntax::Http),
    written: &syntax::WithoutConnection,
    scopes: (&Scope<'_>, &Scope<'_>),
    report: &mut Report,
) -> Option<WithoutConnection> {
    let with_keys = scopes.1;
    let target = target(&written.url, Address::Whole, scopes, file, report);
    let headers = or_literal(written.headers.as_ref(), &json!({}), with_keys, report);
    let json = written.json.as_ref().map(|node| with_keys.template(node, report));
    if written.json.is_some() && !matches!(request.body, WrittenBody::Json(_)) {
        report
            .error(
                Code::FieldOutOfPlace,
                file,
                written.at.clone(),
                "`json` of `without_connection` adds fields, but the request has no `json`",
            )
            .hint("give `json` in `http`, at least `json: {}`");
        return None;
    }
    Some(WithoutConnection { url: target?, headers: headers?, json: super::literals::optional(json)? })
}

fn target(
    written: &syntax::Url,
    address: Address,
    scopes: (&Scope<'_>, &Scope<'_>),
    file: &SourceText,
    report: &mut Report,
) -> Option<Template> {
    let taker = Taker { takes: ValueType::text(), name: "`url`".to_owned() };
    url::compile(written, (address, &taker), scopes, file, report)
}

fn check_method(method: Option<&Node>, file: &SourceText, report: &mut Report) {
    let Some(Node { content: Content::Text { value, .. }, span }) = method else { return };
    if !value.contains("${{") && !METHODS.contains(&value.as_str()) {
        let upper = value.to_ascii_uppercase();
        report
            .error(Code::InvalidValue, file, span.clone(), format!("`{value}` is not an HTTP method"))
            .did_you_mean(METHODS.contains(&upper.as_str()).then_some(upper.as_str()).or_else(|| nearest(&upper, METHODS)))
            .hint(format!("use one of {}", crate::fields::quote_names(&METHODS)));
    }
}

/// Returns the form of the answer that a request writes out; `None` if it has none or computes it.
pub(super) fn written_form(parse: Option<&Node>) -> Option<AnswerForm> {
    let Some(Node { content: Content::Text { value, .. }, .. }) = parse else { return None };
    AnswerForm::ALL.into_iter().find(|form| form.as_str() == value)
}

fn check_parse(parse: Option<&Node>, file: &SourceText, report: &mut Report) {
    let Some(node @ Node { content: Content::Text { value, .. }, span }) = parse else { return };
    if !value.contains("${{") && written_form(Some(node)).is_none() {
        let names = AnswerForm::ALL.map(AnswerForm::as_str);
        report
            .error(Code::InvalidValue, file, span.clone(), format!("`{value}` is not a way to read an answer"))
            .did_you_mean(nearest(&value.to_ascii_lowercase(), names))
            .hint(format!("use one of {}", crate::fields::quote_names(&names)));
    }
}

/// Reports `charset` and `invalid` of an answer whose bytes never become text.
fn check_text_decoding(written: &syntax::Http, file: &SourceText, report: &mut Report) {
    let Some(parse) = written.parse.as_ref().filter(|_| written.text_decoding != TextDecoding::default()) else { return };
    if let Some(form @ (AnswerForm::Base64 | AnswerForm::Artifact)) = written_form(Some(parse)) {
        let message = format!("`charset` and `invalid` have no effect with `parse: {}`", form.as_str());
        report.error(Code::FieldOutOfPlace, file, parse.span.clone(), message).hint("remove them, or use `parse: text` or `parse: json`");
    }
}

fn or_literal(given: Option<&Node>, otherwise: &Value, scope: &Scope<'_>, report: &mut Report) -> Option<Template> {
    match given {
        Some(node) => scope.template(node, report),
        None => Some(literal(otherwise)),
    }
}
