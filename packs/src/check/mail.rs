//! Checks a mail: its expressions, and what can be known of its server and its addresses before it is sent.

use ensue_engine::catalog::{ConnectionKind, MailMessage, MailRelay, MailSecurity, MailServer, Schema};
use ensue_expression::{Template, ValueType, nearest};
use serde_json::Value;

use super::Checking;
use super::connections::{self, Address};
use super::expression_findings::Taker;
use super::literals::literal;
use super::scope::Scope;
use crate::diagnostics::{Code, Report};
use crate::fields::{first_line, quote_names};
use crate::source::SourceText;
use crate::syntax;
use crate::yaml::{Content, Node};

/// Compiles a mail. Only its server may read keys.
pub(super) fn mail(
    checking: &Checking<'_>,
    (file, written): (&SourceText, &syntax::Mail),
    parameters: Option<&Schema>,
    (plain, with_keys): (&Scope<'_>, &Scope<'_>),
    report: &mut Report,
) -> Option<MailMessage> {
    let relay = relay(checking, (file, written), parameters, with_keys, report);
    let at = first_line(&written.from.span, file);
    if written.text.is_none() && written.html.is_none() && written.attachments.is_none() {
        report.error(Code::MissingParameter, file, at, "the mail is empty").hint("give `text`, `html` or both");
        return None;
    }
    if written.to.is_none() && written.cc.is_none() && written.bcc.is_none() {
        report.error(Code::MissingParameter, file, at, "the mail has no recipient").hint("give `to`, `cc` or `bcc`");
        return None;
    }
    let text = ValueType::text();
    let addresses = || ValueType::text().or(ValueType::list(ValueType::text())).or_null();
    let mut take = |name: &str, node: Option<&Node>, takes: ValueType| compile_field(plain, name, node, takes, report);
    let from = take("from", Some(&written.from), text);
    let to = take("to", written.to.as_ref(), addresses());
    let cc = take("cc", written.cc.as_ref(), addresses());
    let bcc = take("bcc", written.bcc.as_ref(), addresses());
    let reply_to = take("reply_to", written.reply_to.as_ref(), addresses());
    let files = ValueType::list(ValueType::object()).or_null();
    let attachments = take("attachments", written.attachments.as_ref(), files);
    let mut any = |node: Option<&Node>| or_null(plain, node, report);
    let (subject, text, html) = (any(written.subject.as_ref()), any(written.text.as_ref()), any(written.html.as_ref()));
    let (in_reply_to, headers) = (any(written.in_reply_to.as_ref()), any(written.headers.as_ref()));
    Some(MailMessage {
        relay: relay?,
        from: from?,
        to: to?,
        cc: cc?,
        bcc: bcc?,
        reply_to: reply_to?,
        subject: subject?,
        text: text?,
        html: html?,
        in_reply_to: in_reply_to?,
        headers: headers?,
        attachments: attachments?,
    })
}

fn relay(
    checking: &Checking<'_>,
    (file, written): (&SourceText, &syntax::Mail),
    parameters: Option<&Schema>,
    with_keys: &Scope<'_>,
    report: &mut Report,
) -> Option<MailRelay> {
    let (connection, address) =
        connections::resolve(checking, ConnectionKind::Smtp, written.connection.as_ref(), parameters, file, report)?;
    let server = match &written.server {
        Some(written) => Some(Box::new(server(file, written, with_keys, report)?)),
        None => None,
    };
    let at = written.connection.as_ref().map_or_else(|| written.from.span.clone(), |node| node.span.clone());
    match (connection, address, server) {
        (None, _, Some(server)) => Some(MailRelay::Server(server)),
        (Some(used), Address::Either, Some(server)) => Some(MailRelay::Either(used, server)),
        (Some(used), Address::Whole | Address::BelowConnection, None) => Some(MailRelay::Connection(used)),
        (None, _, None) | (Some(_), Address::Either, None) => {
            report
                .error(Code::MissingParameter, file, at, "without the optional connection, the mail has no server")
                .hint("remove `optional` from the connection, or give `server` for mails without it");
            None
        }
        (Some(_), Address::Whole | Address::BelowConnection, Some(_)) => {
            report
                .error(Code::ValueUnfit, file, at, "the mail has two servers: that of the connection, and `server`")
                .hint("remove `server`, or name an optional connection");
            None
        }
    }
}

fn server(file: &SourceText, written: &syntax::MailServer, with_keys: &Scope<'_>, report: &mut Report) -> Option<MailServer> {
    check_security(written.security.as_ref(), file, report);
    check_port(written.port.as_ref(), file, report);
    let mut any = |node: Option<&Node>| or_null(with_keys, node, report);
    let (host, port, security) = (any(Some(&written.host)), any(written.port.as_ref()), any(written.security.as_ref()));
    let (user, password) = (any(written.user.as_ref()), any(written.password.as_ref()));
    let (authority, hello) = (any(written.authority.as_ref()), any(written.hello.as_ref()));
    Some(MailServer {
        host: host?,
        port: port?,
        security: security?,
        user: user?,
        password: password?,
        authority: authority?,
        hello: hello?,
    })
}

fn check_security(security: Option<&Node>, file: &SourceText, report: &mut Report) {
    let Some(Node { content: Content::Text { value, .. }, span }) = security else { return };
    let words = MailSecurity::ALL.map(MailSecurity::as_str);
    if !value.contains("${{") && !words.contains(&value.as_str()) {
        report
            .error(Code::ValueUnfit, file, span.clone(), format!("`{value}` is not a way to encrypt the connection to a mail server"))
            .did_you_mean(nearest(value, words))
            .hint(format!("use one of {}", quote_names(&words)));
    }
}

fn check_port(port: Option<&Node>, file: &SourceText, report: &mut Report) {
    let Some(node) = port else { return };
    let is_computed = matches!(&node.content, Content::Text { value, .. } if value.contains("${{"));
    let text = match node.to_value() {
        Value::String(text) => text,
        other => other.to_string(),
    };
    if !is_computed && !text.parse::<u16>().is_ok_and(|port| port > 0) {
        report
            .error(Code::ValueUnfit, file, node.span.clone(), format!("`{text}` is not a port"))
            .hint("use a number from 1 to 65535; mail is usually sent to 587 or 465");
    }
}

fn compile_field(scope: &Scope<'_>, name: &str, node: Option<&Node>, takes: ValueType, report: &mut Report) -> Option<Template> {
    match node {
        Some(node) => scope.template_for(node, Some(&Taker { takes, name: format!("`{name}`") }), report),
        None => Some(literal(&Value::Null)),
    }
}

fn or_null(scope: &Scope<'_>, node: Option<&Node>, report: &mut Report) -> Option<Template> {
    match node {
        Some(node) => scope.template(node, report),
        None => Some(literal(&Value::Null)),
    }
}
