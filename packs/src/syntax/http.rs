//! `run.http`: a request, and the server that gets it.

use std::ops::Range;

use ensue_engine::catalog::{SigningScheme, TextDecoding};

use super::text_decoding::{INVALID_WORDS, read_text_decoding};
use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, are_numbers_exact, first_line, is_one_expression};
use crate::shape::{FieldConstraint, Form, Kind, Shape, ShapeField, optional_field, required_field, words};
use crate::source::SourceText;
use crate::yaml::{Content, Node, YamlEntry};

const TARGET: ShapeField = required_field(
    "url",
    "url: https://example.test/items",
    Kind::TextOrFields(Form::Url, &SECRET_URL),
    "The URL. The scheme and host are written out, and each `${{ … }}` after them is percent-encoded; or the whole URL is one \
     expression. Private addresses are refused unless the operator allows them. With a `connection`, it is a path below the \
     address of that, and begins with `/`. A URL that contains a key is written as `{ secret: true, value: … }`.",
);
const CONNECTION: ShapeField = optional_field(
    "connection",
    Kind::Text(Form::Connection),
    "The connection whose server the request goes to, with its credentials: a name that `pack.yaml` lists, or exactly \
     `${{ params.<name> }}` or `${{ config.<name> }}` of the type `connection<http>`.",
);
const INSTEAD: ShapeField = optional_field(
    "without_connection",
    Kind::Fields(&WITHOUT_CONNECTION),
    "What the request has instead if the optional parameter or setting in `connection` has no value. `url` is then only a path \
     below a connection.",
);
const METHOD: ShapeField = optional_field("method", Kind::Text(Form::Method), "The HTTP method. The default is `GET`.");
const HEADERS: ShapeField = optional_field(
    "headers",
    Kind::MappingOrExpression { names: Form::Any, of: &Kind::Scalar },
    "Headers, by name, or one expression that returns them.",
);
const QUERY: ShapeField = optional_field(
    "query",
    Kind::MappingOrExpression { names: Form::Any, of: &Kind::Scalars },
    "Appended to the URL, encoded: by name, or one expression that returns it. A list repeats its name.",
);
const JSON: ShapeField = optional_field("json", Kind::Value, "The value to send, as JSON. Use either this or `body`.");
const BODY: ShapeField = optional_field("body", Kind::Scalar, "The string to send, as it is. Use either this or `json`.");
const FORM: ShapeField = optional_field(
    "form",
    Kind::MappingOrExpression { names: Form::Any, of: &Kind::Value },
    "The fields of a form to send (`application/x-www-form-urlencoded`), by name, or one expression that returns them. A list \
     repeats its name, and an object becomes fields named `name[key]`. Not available next to `json` and `body`.",
);
const PARSE: ShapeField = optional_field(
    "parse",
    Kind::Text(Form::AnswerForm),
    "What `body` of the result is: `json`, a value; `text`, a string; `base64`, a string with the bytes in Base64; `artifact`, an \
     object that names the file that the bytes are kept as. By default, the content type of the answer decides.",
);
const CHARSET: ShapeField = optional_field(
    "charset",
    Kind::Text(Form::Any),
    "The charset of answers that name none, for example `windows-1252`. The default is UTF-8.",
);
const INVALID: ShapeField = optional_field(
    "invalid",
    Kind::Choice(&INVALID_WORDS),
    "What happens to characters of the answer that are not valid, and to several fields of the same name in an object: `reject` \
     (default) fails the attempt, `replace` writes U+FFFD for the characters and keeps the last of the fields.",
);
const SIGN: ShapeField = optional_field(
    "sign",
    Kind::Fields(&SIGNING),
    "How the request is signed, so that its receiver knows the sender: with headers that cover the body. `Idempotency-Key` does not \
     change.",
);
const BETWEEN: &[FieldConstraint] = &[
    FieldConstraint::NotBothWritten("json", "body"),
    FieldConstraint::NotBoth("form", "json"),
    FieldConstraint::NotBoth("form", "body"),
    FieldConstraint::OnlyBeside { field: "without_connection", other: "connection" },
];

/// The request of an action.
pub(super) static HTTP: Shape = Shape {
    what: "`http`",
    fields: &[TARGET, CONNECTION, INSTEAD, METHOD, HEADERS, QUERY, JSON, BODY, FORM, PARSE, CHARSET, INVALID, SIGN],
    later: &[],
    between: BETWEEN,
};

/// The request of a poll, whose answers are read with `decode`.
pub(super) static POLLED_HTTP: Shape = Shape {
    what: "`http`",
    fields: &[TARGET, CONNECTION, INSTEAD, METHOD, HEADERS, QUERY, JSON, BODY, FORM],
    later: &[],
    between: BETWEEN,
};

/// The schemes that sign, by name.
const SIGNING_SCHEMES: [(&str, SigningScheme); 1] = [("standard", SigningScheme::Standard)];
const SIGNING_WORDS: [&str; 1] = words(&SIGNING_SCHEMES);

static SIGNING: Shape = Shape {
    what: "`sign`",
    fields: &[
        required_field(
            "scheme",
            "scheme: standard",
            Kind::Choice(&SIGNING_WORDS),
            "`standard`: Standard Webhooks, as the scheme `standard` of `verify` checks it.",
        ),
        required_field(
            "key",
            "key: ${{ keys[\"shop.signing\"] }}",
            Kind::Text(Form::Any),
            "The key, as exactly one `${{ … }}` that reads `keys`. Its value is `whsec_` and base64.",
        ),
    ],
    ..Shape::BARE
};

static WITHOUT_CONNECTION: Shape = Shape {
    what: "`without_connection`",
    fields: &[
        required_field(
            "url",
            "url: ${{ config.api }}/items",
            Kind::TextOrFields(Form::Url, &SECRET_URL),
            "The whole URL, as it is written without a `connection`.",
        ),
        optional_field(
            "headers",
            Kind::MappingOrExpression { names: Form::Any, of: &Kind::Scalar },
            "Headers that are sent in addition, such as `Authorization` with a key of the pack: by name, or one expression that returns \
             them.",
        ),
        optional_field(
            "json",
            Kind::MappingOrExpression { names: Form::Any, of: &Kind::Value },
            "Fields that are sent in addition to those of `json`, which must return an object: by name, or one expression that returns \
             them.",
        ),
    ],
    ..Shape::BARE
};

static SECRET_URL: Shape = Shape {
    what: "`url`",
    fields: &[
        required_field("secret", "secret: true", Kind::True, "The URL is a secret: it is in no record, error, log, span or metric."),
        required_field(
            "value",
            "value: https://example.test/hooks/${{ keys[\"chat.hook\"] }}",
            Kind::Text(Form::Url),
            "The URL, as above. After the host, which is written out, it may also read `keys`.",
        ),
    ],
    ..Shape::BARE
};

/// A request.
pub(crate) struct Http {
    pub(crate) url: Url,
    pub(crate) connection: Option<Node>,
    pub(crate) without_connection: Option<WithoutConnection>,
    pub(crate) method: Option<Node>,
    pub(crate) headers: Option<Node>,
    pub(crate) query: Option<Node>,
    pub(crate) body: WrittenBody,
    pub(crate) parse: Option<Node>,
    pub(crate) text_decoding: TextDecoding,
    pub(crate) signing: Option<Signing>,
}

/// How a request is signed.
pub(crate) struct Signing {
    pub(crate) scheme: SigningScheme,
    pub(crate) key: Node,
}

/// What a request has instead if its connection has no value.
pub(crate) struct WithoutConnection {
    pub(crate) at: Range<usize>,
    pub(crate) url: Url,
    pub(crate) headers: Option<Node>,
    pub(crate) json: Option<Node>,
}

/// The URL of a request.
pub(crate) struct Url {
    pub(crate) node: Node,
    pub(crate) secrecy: Secrecy,
}

/// Whether a URL may contain keys.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrecy {
    /// It contains none.
    Public,
    /// It may contain some, and is never shown.
    Secret,
}

/// The body of a request.
pub(crate) enum WrittenBody {
    None,
    Json(Node),
    Text(Node),
    Form(Node),
    /// Both, each as one expression: which of them is present is known once it is computed.
    Either {
        json: Node,
        text: Node,
    },
}

/// Reads a request in the shape of [`HTTP`] or [`POLLED_HTTP`].
pub(super) fn read_http(node: Node, shape: &'static Shape, file: &SourceText, report: &mut Report) -> Option<Http> {
    let mut fields = FieldReader::open(node, shape, file, report)?;
    let url = fields.take_required("url", report);
    let is_connected = fields.has("connection");
    let connection = fields.text_node("connection", report);
    if is_connected && connection.is_none() {
        // Its error has been reported, and the address is not known without it.
        return None;
    }
    let without_connection = match fields.take("without_connection") {
        Some(entry) if is_connected => Some(read_without_connection(entry, file, report)?),
        Some(entry) => {
            report
                .error(Code::FieldOutOfPlace, file, entry.key.span, "`without_connection` needs a `connection` that is optional")
                .hint("write its fields into `http`, or name a connection: `connection: ${{ config.connection }}`");
            return None;
        }
        None => None,
    };
    let method = fields.text_node("method", report);
    let headers = fields.mapping_or_expression("headers", report);
    let query = fields.mapping_or_expression("query", report);
    let form = fields.mapping_or_expression("form", report).filter(|form| are_numbers_exact(form, file, report));
    if let (Some(form), true) = (&form, fields.has("json") || fields.has("body")) {
        report
            .error(Code::NotExactlyOne, file, first_line(&form.span, file), "`form` cannot be sent together with `json` or `body`")
            .hint("keep one: a request has one body");
        return None;
    }
    let body_at = fields.key_of("body");
    let body = match (fields.take("json").map(|entry| entry.value), fields.scalar("body", report)) {
        (Some(json), Some(text)) if is_one_expression(&json) && is_one_expression(&text) => WrittenBody::Either { json, text },
        (Some(_), Some(_)) => {
            report
                .error(Code::NotExactlyOne, file, body_at, "`body` and `json` cannot both be sent")
                .hint("keep one: `json` sends a value as JSON, `body` sends a string as it is");
            return None;
        }
        (Some(json), None) => WrittenBody::Json(json),
        (None, Some(text)) => WrittenBody::Text(text),
        (None, None) => form.map_or(WrittenBody::None, WrittenBody::Form),
    };
    let parse = fields.text_node("parse", report);
    let text_decoding = read_text_decoding(&mut fields, report);
    let signing = match fields.take("sign") {
        Some(entry) => Some(read_signing(entry.value, file, report)?),
        None => None,
    };
    let url = url.and_then(|url| read_url(url.value, file, report));
    Some(Http { url: url?, connection, without_connection, method, headers, query, body, parse, text_decoding: text_decoding?, signing })
}

fn read_signing(node: Node, file: &SourceText, report: &mut Report) -> Option<Signing> {
    let mut fields = FieldReader::open(node, &SIGNING, file, report)?;
    let scheme = if fields.has("scheme") {
        fields.choice("scheme", &SIGNING_SCHEMES, report)
    } else {
        fields.take_required("scheme", report);
        None
    };
    let key = fields.take_required("key", report);
    Some(Signing { scheme: scheme?, key: key?.value })
}

fn read_without_connection(entry: YamlEntry, file: &SourceText, report: &mut Report) -> Option<WithoutConnection> {
    let at = entry.key.span;
    let mut fields = FieldReader::open(entry.value, &WITHOUT_CONNECTION, file, report)?;
    let url = fields.take_required("url", report).and_then(|url| read_url(url.value, file, report));
    let headers = fields.mapping_or_expression("headers", report);
    let json = fields.mapping_or_expression("json", report);
    Some(WithoutConnection { at, url: url?, headers, json })
}

fn read_url(node: Node, file: &SourceText, report: &mut Report) -> Option<Url> {
    if !matches!(node.content, Content::Map(_)) {
        return Some(Url { node, secrecy: Secrecy::Public });
    }
    let mut fields = FieldReader::open(node, &SECRET_URL, file, report)?;
    let at = fields.span_of("secret");
    let (secret, value) = (fields.take_required("secret", report), fields.take_required("value", report));
    if !matches!(secret?.value.content, Content::Bool(true)) {
        report
            .error(Code::InvalidValue, file, at, "`secret` can only be `true`")
            .hint("write a URL without a secret as a text: `url: https://example.test/`");
        return None;
    }
    Some(Url { node: value?.value, secrecy: Secrecy::Secret })
}
