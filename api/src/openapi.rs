//! The OpenAPI 3.1 document, which describes every route to callers and their tools.
//!
//! It is generated from the table of routes and from the wire types; no route is described here.

mod examples;
pub(crate) mod page;
mod parameters;
mod portable;
mod tags;

use std::collections::{BTreeMap, BTreeSet};

use schemars::Schema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

use crate::as_of::AsOfQuery;
use crate::operation::{Admission, BodyPresence, Conditional, Content, Header, Strangers, SuccessAnswer, Takes, WaitsFor, schema_of};
use crate::paging::PageQuery;
use crate::problem::WireProblem;
use crate::route::{Demand, Route};
use crate::sse::EVENT_STREAM;

/// The document as it is kept in the repository and served, compressed. A test compares it with the routes.
pub(crate) const COMPRESSED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.json.deflate"));

/// The media type of problems.
const PROBLEM: &str = "application/problem+json";

/// The prefix of wire types in the code, which the document leaves out.
const WIRE: &str = "Wire";

/// The extension in which a response lists the codes of its problems, for programs that check them.
const CODES: &str = "x-problem-codes";

/// The problem for an unsupported method, which belongs to no operation.
const OF_NO_OPERATION: &str = "method_not_allowed";

/// The problems of every route.
const OF_ALL: &[(u16, &str)] = &[
    (400, "request_ambiguous"),
    (400, "request_malformed"),
    (417, "expectation_unknown"),
    (421, "host_unknown"),
    (429, "rate_limited"),
    (429, "too_many_connections"),
    (414, "target_too_long"),
    (431, "headers_too_large"),
    (500, "internal_error"),
    (503, "busy"),
];
/// The problems of a route that rejects unknown parameters.
const OF_PARAMETERS: &[(u16, &str)] =
    &[(400, "unknown_header"), (400, "unknown_parameter"), (400, "doubled_parameter"), (400, "bad_parameter")];
/// The problems of a route that requires a permission.
const OF_GUARDED: &[(u16, &str)] = &[
    (400, "doubled_authorization"),
    (400, "token_in_url"),
    (401, "unauthenticated"),
    (401, "token_invalid"),
    (401, "token_expired"),
    (401, "identity_disabled"),
    (401, "issuer_unknown"),
    (401, "session_unknown"),
    (401, "only_one_inquiry"),
    (403, "claims_refused"),
    (403, "forbidden"),
    (403, "groups_overage"),
    (403, "insecure_transport"),
    (403, "origin_refused"),
    (404, "not_found"),
    (503, "issuer_unavailable"),
    (503, "log_unavailable"),
    (503, "log_index_damaged"),
    (503, "log_unreadable"),
    (503, "views_damaged"),
    (503, "views_unavailable"),
];
/// The problems of a request that can have a key.
const OF_KEYED: &[(u16, &str)] = &[
    (400, "idempotency_key_invalid"),
    (409, "request_under_way"),
    (422, "idempotency_key_reused"),
    (503, "outcome_unknown"),
    (503, "stopping"),
];
/// The problems of every write: an unsupported condition is rejected.
const OF_CONDITIONS: &[(u16, &str)] = &[(400, "condition_invalid")];
/// The problems of a write that honors conditions.
const OF_CONDITIONAL: &[(u16, &str)] = &[(412, "precondition_failed"), (503, "view_behind")];
/// The problems of a route that waits for the views.
const OF_WAITING: &[(u16, &str)] = &[(400, "bad_parameter"), (503, "view_behind")];
/// The problems of a route that answers about earlier positions.
const OF_EARLIER: &[(u16, &str)] = &[(422, "as_of_unavailable")];
/// The problems of a route that needs memory for its input.
const OF_ADMISSION: &[(u16, &str)] = &[(503, "memory_short")];
/// The problems of a write.
const OF_WRITES: &[(u16, &str)] = &[
    (409, "catalog_moved"),
    (429, "quota_exceeded"),
    (413, "too_large_to_record"),
    (503, "outcome_unknown"),
    (503, "stopping"),
    (503, "storage_full"),
    (503, "too_much_open"),
];
/// The problems of a list.
const OF_LISTS: &[(u16, &str)] = &[(400, "cursor_invalid")];
/// The problems of a route with a request body.
const OF_BODIES: &[(u16, &str)] = &[
    (400, "body_not_json"),
    (400, "body_incomplete"),
    (408, "body_timeout"),
    (413, "body_too_large"),
    (415, "unsupported_media_type"),
    (422, "body_invalid"),
    (429, "over_share"),
];

/// Generates the document of a table of routes.
pub(crate) fn document(table: &[Route]) -> Value {
    let mut parts = Components::new();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for route in table {
        paths.entry(&route.path).or_default().insert(route.method.as_str().to_lowercase(), describe_operation(route, &mut parts));
    }
    let mut document = without_prefix(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ensue",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The REST API of an Ensue node. The reference describes the conventions that apply to every path.",
            "contact": { "name": "The maintainers of Ensue" },
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "tags": tags::ALL.iter().map(|(name, means)| json!({ "name": name, "description": means })).collect::<Vec<_>>(),
        "paths": paths,
        "components": {
            "headers": headers(),
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer", "description": "A token. `ensue tokens add` shows it once." },
            },
            "responses": parts.problems.values().map(|named| (named.name.clone(), named.response.clone())).collect::<Map<_, _>>(),
            "schemas": parts.schemas(),
        },
    }));
    portable::make(&mut document);
    examples::add(&mut document);
    document
}

/// The components that operations refer to. Request schemas say which members are optional, response schemas
/// which are always present.
struct Components {
    requests: SchemaGenerator,
    answers: SchemaGenerator,
    /// Problems, by their status and their codes: most routes share them.
    problems: BTreeMap<(u16, Vec<&'static str>), NamedResponse>,
    /// The codes of all problems.
    codes: BTreeSet<&'static str>,
}

/// A response with the name of its component.
struct NamedResponse {
    name: String,
    response: Value,
}

impl Components {
    fn new() -> Self {
        let settings = || SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
        Self {
            requests: settings().into_generator(),
            answers: settings().for_serialize().into_generator(),
            problems: BTreeMap::new(),
            codes: BTreeSet::from([OF_NO_OPERATION]),
        }
    }

    fn schemas(mut self) -> Map<String, Value> {
        let mut all = self.requests.take_definitions(true);
        let codes = std::mem::take(&mut self.codes);
        for (name, shape) in self.answers.take_definitions(true) {
            let other = all.insert(name.clone(), shape.clone());
            assert!(other.is_none_or(|other| other == shape), "`{name}` is asked for in one shape, and given in another");
        }
        if let Some(code) = all.get_mut("ProblemCode") {
            code["enum"] = codes.into_iter().collect();
        }
        all
    }

    /// Returns a problem, numbered among those of its status.
    fn problem(&mut self, status: u16, codes: Vec<&'static str>) -> &NamedResponse {
        self.codes.extend(&codes);
        let Self { answers, problems, .. } = self;
        let before = problems.keys().filter(|(other, _)| *other == status).count();
        problems.entry((status, codes)).or_insert_with_key(|(status, codes)| NamedResponse {
            name: if before == 0 { format!("problem_{status}") } else { format!("problem_{status}_{}", before + 1) },
            response: problem(*status, codes, answers),
        })
    }
}

fn describe_operation(route: &Route, parts: &mut Components) -> Value {
    let operation = &route.operation;
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [tag(route)],
        "parameters": parameters::of(route),
        "responses": responses(route, parts),
        "security": match route.demands {
            Demand::Nothing => json!([]),
            Demand::Permission { .. } | Demand::Token => json!([{ "token": [] }]),
        },
    });
    described["description"] = match route.demands {
        Demand::Permission { name, .. } => format!("Requires the permission `{name}`.").into(),
        Demand::Token => "Requires a token, with any permissions.".into(),
        Demand::Nothing => "Requires no token.".into(),
    };
    if let Some(body) = request_body(operation.takes, &mut parts.requests) {
        described["requestBody"] = body;
    }
    described
}

/// Returns the first named part of the path.
fn tag(route: &Route) -> &str {
    let path = route.path.strip_prefix(crate::route::BASE).unwrap_or(&route.path);
    path.trim_start_matches('/').split('/').next().unwrap_or_default()
}

fn request_body(takes: Takes, schemas: &mut SchemaGenerator) -> Option<Value> {
    let parsed =
        |example: &str| serde_json::from_str::<Value>(example).expect("our own examples are JSON, as a test of this document shows");
    match takes {
        Takes::Nothing => None,
        Takes::Empty => {
            let schema = schema_of::<crate::call::Nothing>(schemas);
            Some(json!({ "required": false, "content": { "application/json": { "schema": schema, "example": {} } } }))
        }
        Takes::Json { schema, example, presence } => Some(json!({
            "required": presence == BodyPresence::Required,
            "content": { "application/json": { "schema": schema(schemas), "example": parsed(example) } },
        })),
        Takes::AnyJson { example } => {
            Some(json!({ "required": true, "content": { "application/json": { "schema": {}, "example": parsed(example) } } }))
        }
        // If a body has several media types, generated clients ask for all of them at once, and send one
        // type's content under another. The other formats are for callers that write the body themselves.
        Takes::JsonOr { schema, example, others } => {
            let others: Vec<String> = others.iter().map(|(media, means)| format!("as `{media}`: {means}")).collect();
            Some(json!({
                "required": true,
                "description": format!("Also accepted: {}.", others.join("; ")),
                "content": { "application/json": { "schema": schema(schemas), "example": parsed(example) } },
            }))
        }
    }
}

fn responses(route: &Route, parts: &mut Components) -> Map<String, Value> {
    let mut responses = Map::new();
    for given in route.operation.gives.iter().flatten() {
        responses.insert(given.status.to_string(), answer(given, &mut parts.answers));
    }
    if route.is_tagged() {
        responses["200"]["headers"]["ETag"] = header_references(&[Header::ETag])["ETag"].take();
        let mut headers: &[Header] = &[Header::ETag];
        if route.shows_views() {
            headers = &[Header::ETag, Header::Position];
            responses["200"]["headers"]["Ensue-Position"] = header_references(&[Header::Position])["Ensue-Position"].take();
        }
        if route.operation.has_query(AsOfQuery::PARAMETERS) {
            headers = &[Header::ETag, Header::Position, Header::AsOf];
            responses["200"]["headers"]["Ensue-As-Of"] = header_references(&[Header::AsOf])["Ensue-As-Of"].take();
        }
        let known = SuccessAnswer { status: 304, means: "The caller has the current version.", content: Content::Nothing, headers };
        responses.insert(known.status.to_string(), answer(&known, &mut parts.answers));
    }
    let mut codes: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for (status, code) in problems(route) {
        let codes = codes.entry(status).or_default();
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    for (status, codes) in codes {
        match responses.get_mut(&status.to_string()) {
            // A probe's own answer and a problem share a status.
            Some(response) => {
                let mut problem = problem(status, &codes, &mut parts.answers);
                response["content"][PROBLEM] = problem["content"][PROBLEM].take();
                response[CODES] = problem[CODES].take();
            }
            None => {
                let NamedResponse { name, .. } = parts.problem(status, codes);
                responses.insert(status.to_string(), json!({ "$ref": format!("#/components/responses/{name}") }));
            }
        }
    }
    responses
}

/// Lists the problems of a route.
fn problems(route: &Route) -> impl Iterator<Item = (u16, &'static str)> {
    let operation = &route.operation;
    let is_guarded = route.demands != Demand::Nothing;
    let takes_body = !matches!(operation.takes, Takes::Nothing);
    let kinds = [
        (true, OF_ALL),
        (operation.strangers == Strangers::Refused, OF_PARAMETERS),
        (is_guarded, OF_GUARDED),
        (route.may_be_keyed(), OF_KEYED),
        (route.looks_at_conditions(), OF_CONDITIONS),
        (operation.conditional != Conditional::Nothing, OF_CONDITIONAL),
        (operation.waits_for == WaitsFor::Views, OF_WAITING),
        (operation.has_query(AsOfQuery::PARAMETERS), OF_EARLIER),
        (operation.admission == Admission::Demanded, OF_ADMISSION),
        (operation.is_write(), OF_WRITES),
        (operation.has_query(PageQuery::PARAMETERS), OF_LISTS),
        (takes_body, OF_BODIES),
        (true, operation.refuses),
    ];
    kinds.into_iter().filter(|(has, _)| *has).flat_map(|(_, problems)| problems.iter().copied())
}

fn problem(status: u16, codes: &[&str], schemas: &mut SchemaGenerator) -> Value {
    let names: &[Header] = match status {
        429 | 503 => &[Header::RetryAfter],
        416 => &[Header::ContentRange],
        _ => &[],
    };
    let schema = schema_of::<WireProblem<'static>>(schemas);
    // Only the schema: generators do not support answers whose members are narrowed here.
    json!({
        "description": format!("A problem: {}.", codes.iter().map(|code| format!("`{code}`")).collect::<Vec<_>>().join(", ")),
        "headers": header_references(names),
        "content": { PROBLEM: { "schema": schema } },
        CODES: codes,
    })
}

fn answer(given: &SuccessAnswer, schemas: &mut SchemaGenerator) -> Value {
    let text = json!({ "schema": { "type": "string" } });
    let content = match given.content {
        Content::Nothing => json!({}),
        Content::Json(schema) => json!({ "application/json": { "schema": schema(schemas) } }),
        Content::JsonForms(forms) => {
            forms.iter().map(|(media, schema)| ((*media).to_owned(), json!({ "schema": schema(schemas) }))).collect::<Map<_, _>>().into()
        }
        Content::JsonTextOrEvents { json, data } => json!({
            "application/json": { "schema": json(schemas) },
            "text/plain": text,
            EVENT_STREAM: { "schema": events(&data(schemas)) },
        }),
        Content::JsonOrText { json, text: media } => {
            let others = media.iter().map(|media| ((*media).to_owned(), text.clone()));
            let json = ("application/json".to_owned(), json!({ "schema": json(schemas) }));
            [json].into_iter().chain(others).collect::<Map<_, _>>().into()
        }
        Content::Text(media) => media.iter().map(|media| ((*media).to_owned(), text.clone())).collect::<Map<_, _>>().into(),
        Content::Events(data) => json!({ EVENT_STREAM: { "schema": events(&data(schemas)) } }),
        // With the first media type, generated clients return the bytes.
        Content::File => json!({ "application/octet-stream": { "schema": { "type": "string", "format": "binary" } }, "*/*": {} }),
    };
    json!({ "description": given.means, "headers": header_references(given.headers), "content": content })
}

/// Where the schema of the data is in the schema of a stream of events.
const DATA_OF_EVENTS: &str = "/properties/data/contentSchema/anyOf/0";

/// Returns the schema of a stream of events: that of one event, as OpenAPI 3.2 describes streams. It has no `type`, because
/// OpenAPI 3.1 takes it for that of the whole text.
fn events(data: &Schema) -> Value {
    let end = json!({
        "description": "The data of the event `end`: why the node ended the stream.",
        "type": "object",
        "properties": { "reason": { "type": "string" }, "status": { "type": "string" } },
        "minProperties": 1,
        "additionalProperties": false,
    });
    json!({
        "description": "Server-Sent Events, each with these fields. If the node ends the stream, the last event is named `end`.",
        "properties": {
            "id": { "type": "string", "description": "The place in the stream: `Last-Event-ID` continues after it." },
            "event": { "type": "string" },
            "data": { "type": "string", "contentMediaType": "application/json", "contentSchema": { "anyOf": [data, end] } },
        },
    })
}

fn header_references(names: &[Header]) -> Map<String, Value> {
    let named = names.iter().map(|header| describe_header(*header).0);
    OF_EVERY_ANSWER
        .into_iter()
        .map(|(name, _)| name)
        .chain(named)
        .map(|name| (name.to_owned(), json!({ "$ref": format!("#/components/headers/{name}") })))
        .collect()
}

/// The headers that any answer can have.
const OF_EVERY_ANSWER: [(&str, &str); 8] = [
    ("X-Request-Id", "The id of the request."),
    ("traceparent", "The trace of the request (W3C Trace Context)."),
    (
        "Content-Encoding",
        "The coding of the answer, chosen by `Accept-Encoding`. Absent if the answer is not compressed, for example because it is short or answers a write.",
    ),
    ("RateLimit-Policy", "The class of the request and its rate: `q` requests in `w` seconds. Absent if no rate is set."),
    ("RateLimit", "`r` requests are left, and the full rate is available again in `t` seconds. Absent if no rate is set."),
    ("X-RateLimit-Limit", "The same as `q`."),
    ("X-RateLimit-Remaining", "The same as `r`."),
    ("X-RateLimit-Reset", "The same as `t`, in seconds from now."),
];

/// Returns the response headers by name.
fn headers() -> Map<String, Value> {
    const ALL: [Header; 12] = [
        Header::Position,
        Header::AsOf,
        Header::Location,
        Header::Link,
        Header::PreferenceApplied,
        Header::RetryAfter,
        Header::ETag,
        Header::ContentRange,
        Header::ContentDisposition,
        Header::Allow,
        Header::AllowedOrigin,
        Header::AllowedRate,
    ];
    let told = OF_EVERY_ANSWER.into_iter().chain(ALL.map(describe_header));
    told.map(|(name, means)| (name.to_owned(), json!({ "description": means, "schema": { "type": "string" } }))).collect()
}

fn describe_header(header: Header) -> (&'static str, &'static str) {
    match header {
        Header::Position => (
            "Ensue-Position",
            "The position of a write, absent if nothing was written; or the position of the log that the answer of a read shows at least. A read that sends it in this header shows that position or a later one.",
        ),
        Header::AsOf => ("Ensue-As-Of", "The earlier position that the answer is about. Only with `as_of`."),
        Header::Location => ("Location", "The path of the resource."),
        Header::Link => ("Link", "The next page, with `rel=\"next\"`; absent on the last one."),
        Header::PreferenceApplied => ("Preference-Applied", "The preference that was applied, if any."),
        Header::RetryAfter => ("Retry-After", "The number of seconds to wait before the next try."),
        Header::ETag => (
            "ETag",
            "A hash of the answer or of the file. For a write, the hash of the answer that a read now returns. Absent from a stream, and from a write that was overwritten immediately or that the views do not show in time.",
        ),
        Header::ContentRange => ("Content-Range", "The part of the file that is returned."),
        Header::ContentDisposition => ("Content-Disposition", "The file name to save the file under."),
        Header::Allow => ("Allow", "The methods that the path supports."),
        Header::AllowedOrigin => ("WebHook-Allowed-Origin", "The origin that asked, if there was one: it may send here."),
        Header::AllowedRate => {
            ("WebHook-Allowed-Rate", "The allowed requests per minute, or `*` if no rate is set. Absent if no origin asked.")
        }
    }
}

/// Removes the code's own prefix from the schemas' names.
fn without_prefix(value: Value) -> Value {
    let bare = |name: &str| name.strip_prefix(WIRE).unwrap_or(name).to_owned();
    match value {
        Value::String(text) => match text.strip_prefix("#/components/schemas/") {
            Some(name) => format!("#/components/schemas/{}", bare(name)).into(),
            None => text.into(),
        },
        Value::Array(items) => items.into_iter().map(without_prefix).collect(),
        Value::Object(fields) => {
            let mut named = Map::new();
            for (name, value) in fields {
                let other = named.insert(bare(&name), without_prefix(value));
                assert!(other.is_none(), "`{name}` would take the place of another of that name");
            }
            named.into()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}
