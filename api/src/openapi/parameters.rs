//! The parameters of operations: in the path, in the query, and in headers.
//!
//! The table of routes defines which ones an operation has.

use serde_json::{Value, json};

use crate::cloudevents::{ATTRIBUTES, Attribute, STRUCTURED};
use crate::context::REQUEST_ID_CHARS_MAX;
use crate::idempotency::KEY_BYTES_MAX;
use crate::operation::{Conditional, HonoredHeader, Operation, Takes, WaitsFor};
use crate::query::{Multiplicity, Parameter};
use crate::route::Route;

/// The pattern of an `If-Match`: `*`, or tags in quotation marks.
const TAGS: &str = r#"^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$"#;

/// An example of a tag, as `ETag` returns it.
const TAG: &str = "\"47DEQpj8HBSa-_TImW-5JQ\"";

/// Returns the parameters of a route.
pub(super) fn of(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Value> =
        in_path.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })).collect();
    all.extend(route.operation.query.iter().copied().flatten().map(in_query));
    all.extend(route.operation.honors.iter().map(|honored| header(describe_header(*honored), &json!({ "type": "string" }))));
    if route.is_tagged() {
        all.push(header(describe_header(HonoredHeader::IfNoneMatch), &json!({ "type": "string", "examples": [TAG] })));
    }
    if route.may_be_keyed() {
        let told =
            ("Idempotency-Key", "A request with the same key and content within 24 hours is carried out once, and gets the same answer.");
        let shape = format!("^(\"[!#-\\[\\]-~]{{1,{KEY_BYTES_MAX}}}\"|[!#-\\[\\]-~]{{1,{KEY_BYTES_MAX}}})$");
        all.push(header(told, &json!({ "type": "string", "pattern": shape })));
    }
    if route.operation.conditional != Conditional::Nothing {
        let told = (
            "If-Match",
            "The `ETag`s of the versions that the caller read, one of which must be current; or `*`: the resource must exist.",
        );
        all.push(header(told, &json!({ "type": "string", "pattern": TAGS, "examples": ["*", TAG] })));
    }
    if route.operation.conditional == Conditional::MakingOrChange {
        let told = ("If-None-Match", "`*`: the resource must not exist yet. Cannot be combined with `If-Match`.");
        all.push(header(told, &json!({ "type": "string", "enum": ["*"] })));
    }
    match route.operation.waits_for {
        WaitsFor::Views => {
            let told = ("Ensue-Position", "The answer waits until it can include this position.");
            all.push(header(told, &json!({ "type": "integer", "minimum": 0 })));
        }
        WaitsFor::Nothing | WaitsFor::NothingAtPosition => {}
    }
    if takes_binary_events(&route.operation) {
        // Their values are checked only if they make the request an event, which no schema of a header can
        // express.
        let schema = |attribute: &Attribute| json!({ "type": "string", "examples": [attribute.example] });
        all.extend(ATTRIBUTES.iter().map(|attribute| header((attribute.header, attribute.means), &schema(attribute))));
    }
    if route.is_coded() {
        let told =
            ("Accept-Encoding", "The accepted codings, `zstd`, `br` and `gzip`, each with its weight if they are not equally welcome.");
        all.push(header(told, &json!({ "type": "string", "examples": ["gzip", "zstd, br;q=0.8, gzip;q=0.5"] })));
    }
    let told = format!(
        "The id of the request: 1 to {REQUEST_ID_CHARS_MAX} of `A-Z a-z 0-9 - _ .`. If it is invalid or absent, the node creates one."
    );
    all.push(header(("X-Request-Id", &told), &json!({ "type": "string", "examples": ["order-17"] })));
    let told = (
        "traceparent",
        "The trace and the span that the request is part of (W3C Trace Context). Without a valid value, the request starts a new trace.",
    );
    all.push(header(told, &json!({ "type": "string", "examples": ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] })));
    let told =
        ("tracestate", "Vendor data that belongs to `traceparent`. It is stored and forwarded only together with a valid `traceparent`.");
    all.push(header(told, &json!({ "type": "string", "examples": ["vendor=opaque"] })));
    all
}

/// Returns true if an operation accepts an event in headers, in addition to JSON.
fn takes_binary_events(operation: &Operation) -> bool {
    matches!(operation.takes, Takes::JsonOr { others, .. } if others.iter().any(|(media, _)| *media == STRUCTURED))
}

/// Returns the name of a header, and its description.
fn describe_header(honored: HonoredHeader) -> (&'static str, &'static str) {
    match honored {
        HonoredHeader::Prefer => ("Prefer", "`wait=30`: the number of seconds to wait for the end, at most 60."),
        HonoredHeader::PreferAsync => ("Prefer", "`respond-async`: return at once, and continue without the request."),
        HonoredHeader::LastEventId => ("Last-Event-ID", "The id of the last event that was received: the stream continues after it."),
        HonoredHeader::Range => ("Range", "The part of the file to return, such as `bytes=0-499`."),
        HonoredHeader::IfRange => {
            ("If-Range", "The `ETag` of the file that the part belongs to. If the file has another one, all of it is returned.")
        }
        HonoredHeader::IfNoneMatch => ("If-None-Match", "The `ETag`s of the versions that the caller has, or `*`."),
    }
}

fn header((name, description): (&str, &str), schema: &Value) -> Value {
    json!({ "name": name, "in": "header", "description": description, "schema": schema })
}

fn in_query(parameter: &Parameter) -> Value {
    let Parameter { name, description, .. } = parameter;
    let mut shown = json!({ "name": name, "in": "query", "description": description, "schema": all_values(parameter) });
    if parameter.is_required {
        shown["required"] = true.into();
    }
    if parameter.multiplicity == Multiplicity::List {
        shown["explode"] = false.into();
    }
    shown
}

/// Returns the schema of all values of a parameter.
fn all_values(parameter: &Parameter) -> Value {
    let mut schema = (parameter.schema)();
    match parameter.multiplicity {
        Multiplicity::Once => schema,
        Multiplicity::List => json!({ "type": "array", "items": schema }),
        Multiplicity::Repeated(most) => json!({ "type": "array", "items": schema, "maxItems": most }),
        Multiplicity::Several(most) => {
            // Words of a closed list have no commas. The node also accepts several of them separated by commas.
            if schema["enum"].is_null() {
                schema["pattern"] = json!(format!("^[^\\u0000,]*(,[^\\u0000,]*){{0,{}}}$", most - 1));
            }
            json!({ "type": "array", "items": schema, "maxItems": most })
        }
    }
}
