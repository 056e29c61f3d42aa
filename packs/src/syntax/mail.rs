//! `run.mail`: a mail, and the server that takes it.

use crate::diagnostics::Report;
use crate::fields::{FieldReader, are_numbers_exact};
use crate::shape::{FieldConstraint, Form, Kind, Shape, optional_field, required_field};
use crate::source::SourceText;
use crate::yaml::Node;

pub(super) static MAIL: Shape = Shape {
    what: "`mail`",
    fields: &[
        optional_field(
            "connection",
            Kind::Text(Form::Connection),
            "The connection whose server takes the mail, with its credentials: a name that `pack.yaml` lists, or exactly \
             `${{ params.<name> }}` or `${{ config.<name> }}` of the type `connection<smtp>`.",
        ),
        optional_field(
            "server",
            Kind::Fields(&SERVER),
            "The SMTP server, if there is no `connection`, or if it is optional and has no value. It must be listed in `egress.allow` \
             of `ensue.yaml`, with its port.",
        ),
        required_field(
            "from",
            "from: Deployments <deploy@example.org>",
            Kind::Text(Form::Any),
            "The sender: `ada@example.org` or `Ada <ada@example.org>`.",
        ),
        optional_field("to", Kind::Value, "The recipients: an address, or a list of addresses. Null means none."),
        optional_field("cc", Kind::Value, "Recipients of a copy, as for `to`."),
        optional_field("bcc", Kind::Value, "Recipients of a copy whom the others do not see, as for `to`."),
        optional_field("reply_to", Kind::Value, "Where replies go, as for `to`. The default is the sender."),
        optional_field("subject", Kind::Scalar, "The subject, in one line."),
        optional_field("text", Kind::Scalar, "The text. A mail has `text`, `html` or both."),
        optional_field("html", Kind::Scalar, "The same as HTML. Values that it contains are not escaped."),
        optional_field("in_reply_to", Kind::Scalar, "The `Message-ID` of the mail that this one answers, with its angle brackets."),
        optional_field(
            "headers",
            Kind::MappingOrExpression { names: Form::Any, of: &Kind::Scalar },
            "Other headers, by name, or one expression that returns them.",
        ),
        optional_field(
            "attachments",
            Kind::Value,
            "The attached files: a list of `{ name, type, text }` or `{ name, type, base64 }`. The default of `type` is \
             `application/octet-stream`.",
        ),
    ],
    between: &[FieldConstraint::AtLeastOneOf(&["connection", "server"])],
    ..Shape::BARE
};

static SERVER: Shape = Shape {
    what: "`server`",
    fields: &[
        required_field("host", "host: smtp.example.org", Kind::Text(Form::Any), "The name or address of the server."),
        optional_field("port", Kind::Scalar, "The port. The default is 587 for `starttls`, 465 for `tls`, and 25 for `none`."),
        optional_field(
            "security",
            Kind::Text(Form::Any),
            "How the connection is encrypted: `starttls` (default), `tls` from its beginning, or `none`, over which no password is sent.",
        ),
        optional_field("user", Kind::Scalar, "The user name to log in with. If it is absent, the node does not log in."),
        optional_field("password", Kind::Scalar, "The user's password, from a key: `${{ keys[\"mail.password\"] }}`."),
        optional_field("ca", Kind::Scalar, "The certificate of the authority to trust, as PEM, instead of those that the machine trusts."),
        optional_field("hello", Kind::Scalar, "The name with which the client introduces itself. The default is `[127.0.0.1]`."),
    ],
    ..Shape::BARE
};

pub(crate) struct Mail {
    pub(crate) connection: Option<Node>,
    pub(crate) server: Option<MailServer>,
    pub(crate) from: Node,
    pub(crate) to: Option<Node>,
    pub(crate) cc: Option<Node>,
    pub(crate) bcc: Option<Node>,
    pub(crate) reply_to: Option<Node>,
    pub(crate) subject: Option<Node>,
    pub(crate) text: Option<Node>,
    pub(crate) html: Option<Node>,
    pub(crate) in_reply_to: Option<Node>,
    pub(crate) headers: Option<Node>,
    pub(crate) attachments: Option<Node>,
}

pub(crate) struct MailServer {
    pub(crate) host: Node,
    pub(crate) port: Option<Node>,
    pub(crate) security: Option<Node>,
    pub(crate) user: Option<Node>,
    pub(crate) password: Option<Node>,
    pub(crate) authority: Option<Node>,
    pub(crate) hello: Option<Node>,
}

pub(super) fn read_mail(node: Node, file: &SourceText, report: &mut Report) -> Option<Mail> {
    let mut fields = FieldReader::open(node, &MAIL, file, report)?;
    let connection = fields.text_node("connection", report);
    let server = match fields.take("server") {
        Some(entry) => Some(read_server(entry.value, file, report)?),
        None if connection.is_none() => {
            let example = "server: { host: smtp.example.org }\n\nor name a `connection`";
            fields.take_required_like("server", example, report);
            return None;
        }
        None => None,
    };
    let from = required_text(&mut fields, "from", report);
    let mut value = |name: &str| fields.take(name).map(|entry| entry.value);
    let (to, cc, bcc, reply_to) = (value("to"), value("cc"), value("bcc"), value("reply_to"));
    let attachments = value("attachments");
    let are_exact = attachments.as_ref().is_none_or(|node| are_numbers_exact(node, file, report));
    let mut scalar = |name: &str| fields.scalar(name, report);
    let (subject, text, html, in_reply_to) = (scalar("subject"), scalar("text"), scalar("html"), scalar("in_reply_to"));
    let headers = fields.mapping_or_expression("headers", report);
    if !are_exact {
        return None;
    }
    Some(Mail { connection, server, from: from?, to, cc, bcc, reply_to, subject, text, html, in_reply_to, headers, attachments })
}

fn read_server(node: Node, file: &SourceText, report: &mut Report) -> Option<MailServer> {
    let mut fields = FieldReader::open(node, &SERVER, file, report)?;
    let host = required_text(&mut fields, "host", report);
    let security = fields.text_node("security", report);
    let mut scalar = |name: &str| fields.scalar(name, report);
    let (port, user) = (scalar("port"), scalar("user"));
    let (password, authority, hello) = (scalar("password"), scalar("ca"), scalar("hello"));
    Some(MailServer { host: host?, port, security, user, password, authority, hello })
}

/// Takes a required text as written.
fn required_text(fields: &mut FieldReader<'_>, name: &str, report: &mut Report) -> Option<Node> {
    if fields.has(name) { fields.text_node(name, report) } else { fields.take_required(name, report).map(|entry| entry.value) }
}
