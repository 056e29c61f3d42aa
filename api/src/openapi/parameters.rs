//! The parameters of operations: in the path, in the query, and in headers.
//!
//! The table of routes defines which ones an operation has.

use ensue_engine::access::permission::Permission;
use ensue_engine::executions::facts;
use ensue_engine::executions::labels::LABELS_MAX;
use ensue_engine::ports::OutputStream;
use ensue_views::series::SeriesKind;
use ensue_views::{dead_letters, enforcements, executions, inquiries};
use serde_json::{Value, json};

use crate::as_of::AS_OF;
use crate::cloudevents::{ATTRIBUTES, Attribute, STRUCTURED};
use crate::context::REQUEST_ID_CHARS_MAX;
use crate::deliveries::DeliveryOutcome;
use crate::idempotency::KEY_BYTES_MAX;
use crate::listing::SORTS;
use crate::operation::{Conditional, HonoredHeader, Operation, Takes, WaitsFor};
use crate::paging::LIMIT_DEFAULT;
use crate::query::SEVERAL;
use crate::route::{INQUIRY_LIST, Route};
use crate::routes::audit::AUDIT_LIST;
use crate::routes::changes::{CHANGE_STREAM, KINDS};
use crate::routes::counts::{BY, COUNTED};
use crate::routes::log::RECORD_LIST;
use crate::routes::search::{SEARCHED_CHARS_MAX, SEARCHED_CHARS_MIN};
use crate::routes::series::{self, SERIES_GET};
use crate::routes::streams::RECORD_STREAM;
use crate::routes::traces::TRACE_GET;
use crate::routes::usage::USAGE_GET;
use crate::shapes::SUBJECT;
use crate::sizes::LIMIT_MAX;
use crate::wire::audit::kinds;
use crate::wire::verdicts::{WireDefinitions, WireJudgement};
use crate::wire::waits::WireWaitKind;

/// The pattern of an `If-Match`: `*`, or tags in quotation marks.
const TAGS: &str = r#"^(\*|(W/)?"[!#-~]*"(, *(W/)?"[!#-~]*")*)$"#;

/// The pattern of a label.
const LABEL: &str = "^[a-z][a-z0-9_]{0,63}=[^\\u0000-\\u001f\\u007f-\\u009f]{1,256}$";

/// The pattern of a position or a time.
const AS_OF_PATTERN: &str = "^([0-9]{1,20}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[^\\u0000]{2,40})$";

/// An example of a tag, as `ETag` returns it.
const TAG: &str = "\"47DEQpj8HBSa-_TImW-5JQ\"";

/// Returns the parameters of a route.
pub(super) fn of(route: &Route) -> Vec<Value> {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Value> =
        in_path.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } })).collect();
    all.extend(route.operation.query.iter().map(|name| {
        let (schema, description) =
            in_query(&route.operation, name).expect("a test of the document checks that every parameter of the table is described here");
        let is_required =
            matches!(*name, "permission" | "of" | "q") && ![AUDIT_LIST, CHANGE_STREAM, USAGE_GET].contains(&route.operation.id);
        let mut parameter = json!({ "name": name, "in": "query", "description": description, "schema": schema });
        if is_required {
            parameter["required"] = true.into();
        }
        if (*name, route.operation.id) == ("of", CHANGE_STREAM) {
            parameter["explode"] = false.into();
        }
        parameter
    }));
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

/// Returns the schema of a parameter, and its description; `None` if no operation has it.
fn in_query(operation: &Operation, name: &str) -> Option<(Value, &'static str)> {
    let (schema, description) = of_one_value(operation, name)?;
    let several = SEVERAL.iter().find(|(several, _)| *several == name);
    let schema = several.map_or(schema.clone(), |(_, most)| several_of(schema, *most));
    Some((schema, description))
}

/// Returns the schema of a parameter that may be repeated, and whose values may themselves be several.
fn several_of(mut schema: Value, most: usize) -> Value {
    // Words of a closed list have no commas. The node also accepts several of them separated by commas.
    if schema["enum"].is_null() {
        schema["pattern"] = json!(format!("^[^\\u0000,]*(,[^\\u0000,]*){{0,{}}}$", most - 1));
    }
    json!({ "type": "array", "items": schema, "maxItems": most })
}

/// Returns the schema of one value of a parameter, and the description of the parameter.
fn of_one_value(operation: &Operation, name: &str) -> Option<(Value, &'static str)> {
    let text = json!({ "type": "string", "pattern": "^[^\\u0000]*$" });
    let yes_or_no = json!({ "type": "boolean" });
    let words = |words: &[&str]| json!({ "type": "string", "enum": words });
    let number = |most: u64| json!({ "type": "integer", "minimum": 0, "maximum": most });
    let time = json!({ "type": "string", "format": "date-time" });
    Some(match name {
        "limit" => (
            json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT }),
            "The maximum number of items on a page.",
        ),
        "cursor" => (text, "`next` of the previous page, unchanged."),
        "status" if operation.id == INQUIRY_LIST => {
            (words(&inquiries::InquiryStatus::ALL.map(inquiries::InquiryStatus::as_str)), "Only those with one of these statuses.")
        }
        "mine" => (yes_or_no, "Whether to list only inquiries that ask the caller, by name or by role."),
        "overdue" => (
            yes_or_no,
            "Whether to list only open inquiries of which people were reminded or that are older than a day, or only the others.",
        ),
        "execution" => (text, "Only the inquiry that this execution opened."),
        "assignee" => (text, "Only inquiries that ask this assignee: `role:<role>`, or the name of a token."),
        "status" if operation.id == "dead_letter_list" => {
            (words(&dead_letters::LetterStatus::ALL.map(dead_letters::LetterStatus::as_str)), "Only those with one of these statuses.")
        }
        "status" => (words(&executions::Status::ALL.map(executions::Status::as_str)), "Only those with one of these statuses."),
        "outcome" if operation.id == "hook_get" => {
            (words(&DeliveryOutcome::ALL.map(DeliveryOutcome::as_str)), "Only deliveries with one of these outcomes.")
        }
        "since" if operation.id == "hook_get" => (time, "Only deliveries at or after this time."),
        "outcome" => {
            (words(&enforcements::OutcomeName::ALL.map(enforcements::OutcomeName::as_str)), "Only those with one of these outcomes.")
        }
        "verdict" => (words(&WireJudgement::ALL.map(|(name, _)| name)), "Only judgements with one of these verdicts."),
        "definitions" => {
            (words(&WireDefinitions::ALL.map(|(name, _)| name)), "Judged by the definitions at that time, or by the current ones.")
        }
        "error_kind" => (
            words(&facts::FailureKind::ALL.map(facts::FailureKind::as_str)),
            "Only those that failed for this kind of reason. A request examines at most 500, so a page may hold fewer than `limit` and still have a `next`.",
        ),
        "again" => (yes_or_no, "Whether executions that were already rerun are rerun again. Without it, they are left out."),
        "bodies" => (yes_or_no, "Whether each record includes its body, as `content`. A page may then hold fewer than `limit`."),
        "dry_run" => (yes_or_no, "Whether to check everything and do nothing."),
        "all" => (yes_or_no, "Whether to list the sessions of everybody, which requires `tokens:read`."),
        "stream" if matches!(operation.id, RECORD_LIST | RECORD_STREAM) => {
            (text, "Only records of this stream, such as `execution/` and an id.")
        }
        "kind" if operation.id == RECORD_STREAM => (text, "Only records of one of these kinds."),
        "kind" => (
            text,
            "Only records of one of these kinds. With a filter, a request examines at most 10,000 records, so a page may hold fewer than `limit` and still have a `next`.",
        ),
        "actor" if operation.id == AUDIT_LIST => (text, "Only what this actor did: the name of an identity or a token, or `operator`."),
        "what" => (words(&kinds()), "Only records of one of these kinds."),
        "of" if operation.id == AUDIT_LIST => {
            (text, "Only what is about this thing: the stream of a record, such as `key/release.deploy_token` or `identity/ana`.")
        }
        "actor" => (text, "Only records that this actor asked for, such as `token/ana`."),
        "root" => (text, "Only records that were caused, directly or not, by the record with this id, and that record."),
        "stream" => (words(&OutputStream::ALL.map(OutputStream::as_str)), "Only this stream."),
        "follow" => (yes_or_no, "Whether to continue with new output as it is printed."),
        "named" => (yes_or_no, "Whether each event is named after the kind of its record. `false` by default."),
        "sort" if operation.id == RECORD_LIST => (
            words(&SORTS.map(|(name, _)| name)),
            "The order by position: the oldest first (`position`, the default) or the newest first (`-position`, which does not go with `after`).",
        ),
        "sort" => (
            words(&SORTS.map(|(name, _)| name)),
            "The order by position: the newest first (`-position`, the default) or the oldest first (`position`).",
        ),
        "since" if operation.id == SERIES_GET => (time, "The bucket with this time is the first one. By default, there are 60 buckets."),
        "until" if operation.id == SERIES_GET => (time, "The first bucket that begins at or after this time is left out. By default, now."),
        "since" => (time, "Only those at or after this time."),
        "until" => (time, "Only those before this time."),
        "of" if operation.id == CHANGE_STREAM => {
            let kinds = json!({ "type": "array", "items": words(&KINDS.map(|(name, _)| name)) });
            (kinds, "The kinds of things, separated by commas. Without it, those up to `timers` that the caller may see.")
        }
        "of" if operation.id == SERIES_GET => (words(&SeriesKind::ALL.map(SeriesKind::as_str)), "What is counted. Required."),
        "by" if operation.id == SERIES_GET => {
            (words(&series::BY), "What makes a series: one of them. Without it, everything is one series.")
        }
        "bucket" => {
            (words(&series::BUCKETS.map(|(name, _)| name)), "The length of a bucket, `1m` by default. At most 500 buckets are returned.")
        }
        "sensor" if operation.id == SERIES_GET => (text, "Only what came through this sensor."),
        "of" if operation.id == USAGE_GET => (text, "The name of another identity, which requires `usage:read`."),
        "of" => (words(&COUNTED.map(|(name, _)| name)), "What is counted. Required."),
        "by" => (words(&BY.map(|(name, _)| name)), "The values that make a group. Without it, all are one group."),
        "attempts_min" => {
            (number(u32::MAX.into()), "Only those with at least this number of attempts. Examines rows as `error_kind` does.")
        }
        "is_root" => (yes_or_no, "Whether to list only executions that are not steps, or only steps. Examines rows as `error_kind` does."),
        "min_share" => (
            json!({ "type": "number", "minimum": 0, "maximum": 1, "default": 0 }),
            "Leaves out ended executions that took less than this share of the whole, and what is below them.",
        ),
        "waits_for" => (
            words(&WireWaitKind::ALL.map(WireWaitKind::as_str)),
            "Only those that wait for this kind of thing. Examines rows as `error_kind` does.",
        ),
        "became" => (
            words(&enforcements::ReleasedName::ALL.map(enforcements::ReleasedName::as_str)),
            "Only those that were held and became this. A request examines at most 500, so a page may hold fewer than `limit` and still have a `next`.",
        ),
        "matched" => (
            words(&["none", "any"]),
            "Only those that no rule matched, or only the others. A request examines at most 500, so a page may hold fewer than `limit` and still have a `next`.",
        ),
        "query" => (
            json!({ "type": "string", "maxLength": ensue_manual::QUERY_CHARS_MAX, "pattern": "^[^\\u0000]*$" }),
            "The words that a part of the documentation must have.",
        ),
        "q" => (
            json!({ "type": "string", "minLength": SEARCHED_CHARS_MIN, "maxLength": SEARCHED_CHARS_MAX, "pattern": "^[^\\u0000]*$" }),
            "What is searched for: the beginning of an id, a part of a name, a label such as `site=eu`, or a part of the title of an inquiry. Required.",
        ),
        AS_OF => (
            json!({ "type": "string", "pattern": AS_OF_PATTERN, "examples": ["17", "2026-03-28T09:00:00Z"] }),
            "A position of the log, or a time, which means the last position before the first later record. The answer is what it was at that position; what the caller may see is decided by the current rights, and what was erased since is not there.",
        ),
        "attempt" => (number(u32::MAX.into()), "The number of the attempt."),
        "offset" => (number(u64::MAX), "The number of bytes of the stream to skip."),
        "tail" => (number(u64::MAX), "How many bytes from the end of the stream to return. Not with `offset` or `follow`."),
        "after" if operation.id == TRACE_GET => (number(u64::MAX), "Only what began after this position: `next` of the previous page."),
        "after" => (number(u64::MAX), "The position to start after."),
        "revision" => (number(u64::MAX), "The file as it was in this revision of the catalog; without it, as it is installed."),
        "fold" => (words(&["items"]), "Counts the items of steps, and what is below them, instead of returning each."),
        "label" => {
            let label = json!({ "type": "string", "pattern": LABEL, "examples": ["site=eu"] });
            let labels = json!({ "type": "array", "items": label, "maxItems": LABELS_MAX });
            (labels, "Only those with this label, `<name>=<value>`. If it is given more than once, those with all of the labels.")
        }
        "permission" => {
            (words(&Permission::ALL.iter().map(|permission| permission.name()).collect::<Vec<_>>()), "The permission. Required.")
        }
        "pack" | "action" | "hook" if operation.id == "can_i_get" => (text, "The resource: one of a pack, an action or a webhook."),
        "issuer" => (text, "The issuer, if there are several."),
        "next" => (text, "The path of the node to which the login leads. Anything else counts as `/`."),
        "cli" => (
            json!({ "type": "integer", "minimum": 1, "maximum": u16::MAX }),
            "The port at which a terminal of the browser's machine waits for the login.",
        ),
        "challenge" => (text, "The SHA-256 of the terminal's verifier in base64url (PKCE S256). With `cli`."),
        "state" => (text, "What the terminal gets back with its code. With `cli`."),
        "as" => (text, "The name of another identity."),
        "group" => (text, "Only identities of this group."),
        "subject" => (
            json!({ "type": "string", "pattern": SUBJECT }),
            "Only grants to this subject: `identity:<name>`, `group:<name>` or `everyone`.",
        ),
        "role" => (text, "Only grants of this role."),
        "rerun_of" => (text, "Only reruns of this execution."),
        "parent" => (text, "Only steps of this workflow execution."),
        "id" => (text, "Only those with one of these ids."),
        "trigger" | "rule" | "action" => (text, "Only those with one of these names."),
        "source" | "correlation" | "event" | "pack" | "sensor" | "name" => (text, "Only those with this name or id."),
        _ => return None,
    })
}
