//! `fake/server.yaml`: what another system answers to the actions of a pack in `ensue pack test --real`.
//!
//! This module holds only the shapes. `check/fake.rs` reads the file and checks it against the pack.

use super::test::SENT_KEYS;
use crate::fake::Encoding;
use crate::shape::{FieldConstraint, Form, Kind, Shape, optional_field, required_field, words};

/// How a body can be written.
pub(crate) const ENCODINGS: [(&str, Encoding); 2] = [("json", Encoding::Json), ("form", Encoding::Form)];
const ENCODING_WORDS: [&str; 2] = words(&ENCODINGS);

pub(crate) static FAKE: Shape = Shape {
    what: "a fake vendor",
    fields: &[
        optional_field(
            "setting",
            Kind::Text(Form::OwnName),
            "The setting of the pack that holds the vendor's address. The default is `api`.",
        ),
        optional_field("keys", SENT_KEYS, "The values of the pack's keys that the vendor accepts, by name. A case can send others."),
        optional_field(
            AUTH,
            Kind::Fields(&FAKE_AUTH),
            "How a connection to the vendor proves who sends a request, for cases with `connection: true`: as `auth` of a connection in \
             `ensue.yaml`, with a key of the pack. The vendor then accepts the value of the connection in place of this key.",
        ),
        optional_field(
            "unauthorized",
            Kind::Fields(&ANSWER),
            "The answer to a request for which `authorized` does not hold. The default is the status 401 without a body.",
        ),
        optional_field(
            "invalid",
            Kind::Fields(&ANSWER),
            "The answer to a request that does not fit its route. The default is the status 400 without a body.",
        ),
        required_field(
            "routes",
            "routes:\n  - request: GET /items/{id}\n    answers: [{ body: { id: \"${{ path.id }}\" } }]",
            Kind::List(&ROUTE),
            "The requests that the vendor accepts. A case that sends another request fails.",
        ),
    ],
    ..Shape::BARE
};

/// The field that says how a connection proves who sends a request.
pub(crate) const AUTH: &str = "auth";

pub(crate) static FAKE_AUTH: Shape = Shape {
    what: "`auth`",
    fields: &[
        optional_field("bearer", Kind::Fields(&KEY_OF), "`Authorization: Bearer` with the value."),
        optional_field("header", Kind::Fields(&AUTH_HEADER), "A header with the value."),
        optional_field("json_field", Kind::Fields(&JSON_FIELD), "A field of the JSON object that is the body."),
    ],
    between: &[FieldConstraint::ExactlyOne],
    ..Shape::BARE
};

pub(crate) static KEY_OF: Shape = Shape {
    what: "a key of the pack",
    fields: &[required_field("key", "key: token", Kind::Text(Form::KeyName), "The name of the key.")],
    ..Shape::BARE
};

pub(crate) static AUTH_HEADER: Shape = Shape {
    what: "`header`",
    fields: &[
        required_field("name", "name: X-Api-Key", Kind::Text(Form::Header), "The name of the header."),
        optional_field("prefix", Kind::Text(Form::Any), "The text before the value. Default: empty."),
        required_field("value", "value: { key: token }", Kind::Fields(&KEY_OF), "The key."),
    ],
    ..Shape::BARE
};

pub(crate) static JSON_FIELD: Shape = Shape {
    what: "`json_field`",
    fields: &[
        required_field("name", "name: routing_key", Kind::Text(Form::Any), "The name of the field."),
        required_field("value", "value: { key: token }", Kind::Fields(&KEY_OF), "The key."),
    ],
    ..Shape::BARE
};

pub(crate) static ROUTE: Shape = Shape {
    what: "a route",
    fields: &[
        required_field(
            "request",
            "request: POST /items/{id}",
            Kind::Text(Form::Any),
            "The method and the path. `{id}` is any text up to the next `/`, which expressions read as `path.id`.",
        ),
        optional_field(
            "authorized",
            Kind::Expression,
            "Whether the request proves its sender. It reads `headers`, `query`, `path`, `body` and `keys`. Without it, no proof is needed.",
        ),
        optional_field(
            "headers",
            Kind::Mapping { names: Form::Header, of: &Kind::Text(Form::Any) },
            "The headers that the request must have, with a regular expression that some part of each must match.",
        ),
        optional_field("query", Kind::Value, "The JSON Schema of the query, an object of strings."),
        optional_field(
            "encoding",
            Kind::Choice(&ENCODING_WORDS),
            "How the body is written: `json` (default), or `form`, an object of strings.",
        ),
        optional_field("body", Kind::Value, "The JSON Schema of the body. Without it, the request must have no body."),
        required_field(
            "answers",
            "answers: [{ status: 201, body: { id: 7 } }]",
            Kind::List(&ANSWER),
            "The answers. The first one whose `when` holds is given.",
        ),
    ],
    ..Shape::BARE
};

pub(crate) static ANSWER: Shape = Shape {
    what: "an answer",
    fields: &[
        optional_field(
            "when",
            Kind::Expression,
            "The condition. It reads `headers`, `query`, `path`, `body`, `keys`, and in `calls` how many requests of the case this route \
             took before. Without it, always.",
        ),
        optional_field("status", Kind::Integer { from: 200, to: 599 }, "The status. The default is 200."),
        optional_field("headers", Kind::Mapping { names: Form::Header, of: &Kind::Text(Form::Any) }, "The headers."),
        optional_field("body", Kind::Value, "The body, which is sent as JSON. It may contain `${{ … }}`, which reads what `when` reads."),
    ],
    ..Shape::BARE
};
