//! `webhook` of a sensor: an endpoint for deliveries, and what it replies.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use ensue_engine::catalog::{
    BodyForm, CONTENT_TYPES_MAX, CREDENTIAL_HEADERS, DELIVERY_BYTES_MAX, HookMethod, HookRate, KEPT_HEADERS_MAX, NETWORKS_MAX,
    PATH_PARTS_MAX, PathPart, REPLIES_MAX, REPLY_WAIT_MILLIS_MAX, Repeats, TextDecoding,
};
use ensue_engine::time::parse_duration;
use ensue_expression::nearest;

use super::text_decoding::{INVALID_WORDS, read_text_decoding};
use super::verify::{self, VERIFY, Verify};
use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, is_scalar, quote_names, wrong_type};
use crate::shape::{FieldConstraint, Form, Kind, Shape, optional_field, required_field, words};
use crate::source::SourceText;
use crate::yaml::{Content, Node, WithSpan, YamlEntry};

const REPEATS: [(&str, Repeats); 2] = [("drop", Repeats::Drop), ("allow", Repeats::Allow)];
const REPEATS_WORDS: [&str; 2] = words(&REPEATS);
const FORM_WORDS: [&str; 4] = words(&FORMS);
const METHOD_WORDS: [&str; 4] = words(&METHODS);
const FORMS: [(&str, BodyForm); 4] =
    [("json", BodyForm::Json), ("form", BodyForm::Form), ("multipart", BodyForm::Multipart), ("text", BodyForm::Text)];
const METHODS: [(&str, HookMethod); 4] =
    [("POST", HookMethod::Post), ("GET", HookMethod::Get), ("PUT", HookMethod::Put), ("DELETE", HookMethod::Delete)];
/// The largest body that a hook may set as its limit, in bytes: the longest that a node accepts.
const BODY_BYTES_MAX: i64 = DELIVERY_BYTES_MAX as i64;
/// The maximum number of deliveries of a rate.
const DELIVERIES_MAX: u32 = 1_000_000;
/// The longest period of a rate.
const PERIOD_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Headers of a reply that belong to the connection or to the node.
const HEADERS_OF_THE_NODE: [&str; 12] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-security-policy",
    "date",
    "keep-alive",
    "set-cookie",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) static WEBHOOK: Shape = Shape {
    what: "`webhook`",
    fields: &[
        required_field(
            "verify",
            "verify: { scheme: github, key: release.webhook_secret }",
            Kind::ByWord { field: "scheme", shapes: &VERIFY },
            "How the sender of a delivery is verified. Nothing else in the delivery is read before that.",
        ),
        optional_field(
            "repeats",
            Kind::Choice(&REPEATS_WORDS),
            "What happens if the same signed body arrives again within 24 hours, with any headers but another signed id: `drop` \
             (default), or `allow` for a sender whose different deliveries have identical bodies.",
        ),
        optional_field(
            "accept",
            Kind::Words(&FORM_WORDS),
            "The forms of bodies: `json` (default), `form`, `multipart`, and `text` for texts and XML. A delivery in another form is \
             rejected.",
        ),
        optional_field(
            "types",
            Kind::Mapping { names: Form::ContentType, of: &Kind::Choice(&FORM_WORDS) },
            "Further content types, and the form that a body of each has, for example `application/csp-report: json`.",
        ),
        optional_field(
            "charset",
            Kind::Text(Form::Any),
            "The charset of bodies whose sender names none, for example `windows-1252`. By default, UTF-8.",
        ),
        optional_field(
            "invalid",
            Kind::Choice(&INVALID_WORDS),
            "What happens to characters that are not valid, and to several fields of the same name in an object: `reject` (default) \
             rejects the delivery, `replace` writes U+FFFD for the characters and keeps the last of the fields.",
        ),
        optional_field(
            "decode",
            Kind::Expression,
            "An expression that returns a text in the body, for example `body.payload`. The text is JSON, and is the `body` from there \
             on. A delivery without the text is left as it is.",
        ),
        optional_field("methods", Kind::Words(&METHOD_WORDS), "The methods of deliveries: `POST` (default), `GET`, `PUT` and `DELETE`."),
        optional_field(
            "path",
            Kind::Text(Form::Any),
            "The path below the name of the sensor, for example `/rooms/{room}`. Expressions read its parameters as `path.room`.",
        ),
        optional_field(
            "allow",
            Kind::Texts { of: Form::Any, least: 1 },
            "The networks from which deliveries are accepted, for example `192.0.2.0/24`. By default, all.",
        ),
        optional_field(
            "headers",
            Kind::Texts { of: Form::Any, least: 1 },
            "Headers that are kept with a delivery and shown to people, besides those that describe it and those that expressions read.",
        ),
        optional_field(
            "rate",
            Kind::Text(Form::Any),
            "How many deliveries are accepted in a period, for example `600/1m`, besides the limit that the operator sets for each hook.",
        ),
        optional_field(
            "body_max",
            Kind::Integer { from: 1, to: BODY_BYTES_MAX },
            "The longest body in bytes, before and after it is decompressed. A node accepts 4 MiB, unless its operator sets \
             `webhooks.body_max`.",
        ),
        optional_field(
            "reply",
            Kind::List(&REPLY),
            "What the sender gets instead of the ids of the events. The first item whose `when` holds replies, and no event is created; \
             an item with `wait`, which must be the last, replies with what came of the events.",
        ),
    ],
    ..Shape::BARE
};

static REPLY: Shape = Shape {
    what: "an item of `reply`",
    fields: &[
        optional_field("when", Kind::Expression, "To which deliveries it is the reply. Without it, to all."),
        optional_field(
            "unproven",
            Kind::True,
            "If `true`, anyone gets the reply, before the proof is checked. It may read only `query`, `method` and `headers`, and is a \
             text of at most 1,024 bytes.",
        ),
        optional_field(
            "wait",
            Kind::Text(Form::SomeTime),
            "How long the reply waits for the execution that a rule requests, at most `25s`. Events are created as without it.",
        ),
        optional_field(
            "rule",
            Kind::Text(Form::Ref),
            "The rule of this pack whose execution the reply waits for. Without it, the first execution that a rule of this pack requests.",
        ),
        STATUS,
        HEADERS,
        optional_field(
            "body",
            Kind::Value,
            "The body of the reply: a text as it is, anything else as JSON. With `wait`, it reads `result`, `status`, `event.id`, \
             `execution.id` and `execution.url`.",
        ),
        optional_field(
            "late",
            Kind::Fields(&ANSWER),
            "The reply if the execution has not ended in time. By default, 202 with the ids of the events and `Location`.",
        ),
        optional_field("failed", Kind::Fields(&ANSWER), "The reply if the execution failed; it also reads `error.kind`. By default, 502."),
        optional_field(
            "none",
            Kind::Fields(&ANSWER),
            "The reply if the delivery created no event, or no rule requested an execution. By default, the ids of the events.",
        ),
    ],
    between: &[
        FieldConstraint::NotBoth("unproven", "wait"),
        FieldConstraint::NotBoth("unproven", "headers"),
        FieldConstraint::OnlyBeside { field: "rule", other: "wait" },
        FieldConstraint::OnlyBeside { field: "late", other: "wait" },
        FieldConstraint::OnlyBeside { field: "failed", other: "wait" },
        FieldConstraint::OnlyBeside { field: "none", other: "wait" },
    ],
    ..Shape::BARE
};

static ANSWER: Shape = Shape {
    what: "a reply",
    fields: &[
        STATUS,
        HEADERS,
        optional_field(
            "body",
            Kind::Value,
            "The body: a text as it is, anything else as JSON. It reads what the `body` of the item reads.",
        ),
    ],
    ..Shape::BARE
};

const STATUS: crate::shape::ShapeField = optional_field(
    "status",
    Kind::Integer { from: 200, to: 599 },
    "The status of the reply, 200 by default; 202 in `late`, 502 in `failed`.",
);

const HEADERS: crate::shape::ShapeField = optional_field(
    "headers",
    Kind::Mapping { names: Form::Header, of: &Kind::Scalar },
    "The headers of the reply, for example `content-type`, with `${{ … }}` for computed values.",
);

/// An endpoint for deliveries, as written.
pub(crate) struct Webhook {
    pub(crate) verify: Verify,
    pub(crate) repeats: Repeats,
    pub(crate) accepts: Vec<BodyForm>,
    pub(crate) types: BTreeMap<String, BodyForm>,
    pub(crate) text_decoding: TextDecoding,
    pub(crate) decode: Option<Node>,
    pub(crate) methods: Vec<HookMethod>,
    pub(crate) path: Vec<PathPart>,
    pub(crate) allow: Vec<String>,
    pub(crate) headers: Vec<String>,
    pub(crate) rate: Option<HookRate>,
    pub(crate) body_bytes_max: Option<u32>,
    pub(crate) replies: Vec<Early>,
    pub(crate) waits: Option<WrittenWaitingReply>,
}

/// A reply that ends a delivery, as written.
pub(crate) struct Early {
    pub(crate) when: Option<Node>,
    pub(crate) is_unproven: bool,
    pub(crate) answer: ReplyContent,
}

/// A reply that waits, as written.
pub(crate) struct WrittenWaitingReply {
    /// The place of `wait`.
    pub(crate) at: std::ops::Range<usize>,
    pub(crate) when: Option<Node>,
    pub(crate) wait_millis: u64,
    pub(crate) rule: Option<WithSpan<String>>,
    pub(crate) succeeded: ReplyContent,
    pub(crate) late: Option<ReplyContent>,
    pub(crate) failed: Option<ReplyContent>,
    pub(crate) none: Option<ReplyContent>,
}

/// The content of a reply, as written.
pub(crate) struct ReplyContent {
    pub(crate) status: Option<u16>,
    pub(crate) headers: Vec<YamlEntry>,
    pub(crate) body: Option<Node>,
}

pub(super) fn read(node: Node, file: &SourceText, report: &mut Report) -> Option<Webhook> {
    let mut fields = FieldReader::open(node, &WEBHOOK, file, report)?;
    let repeats = fields.choice("repeats", &REPEATS, report).unwrap_or_default();
    let accepts = read_words(&mut fields, "accept", &FORMS, BodyForm::Json, report);
    let types = read_types(&mut fields, report);
    let text_decoding = read_text_decoding(&mut fields, report);
    let methods = read_words(&mut fields, "methods", &METHODS, HookMethod::Post, report);
    let decode = fields.take("decode").map(|entry| entry.value);
    let path = match fields.text("path", report) {
        Some(path) => read_path(&path, file, report),
        None => Some(Vec::new()),
    };
    let allow = read_networks(&mut fields, report);
    let headers = read_kept_headers(&mut fields, report);
    let rate = match fields.text("rate", report) {
        Some(rate) => read_rate(&rate, file, report).map(Some),
        None => Some(None),
    };
    let body_bytes_max = read_body_max(&mut fields, report);
    let replies = match fields.take("reply") {
        Some(entry) => read_replies(entry.value, file, report),
        None => Some((Vec::new(), None)),
    };
    let entry = fields.take_required("verify", report)?;
    let verify = verify::read(entry.value, file, report)?;
    let (replies, waits) = replies?;
    Some(Webhook {
        verify,
        repeats,
        accepts: accepts?,
        types: types?,
        text_decoding: text_decoding?,
        decode,
        methods: methods?,
        path: path?,
        allow: allow?,
        headers: headers?,
        rate: rate?,
        body_bytes_max,
        replies,
        waits,
    })
}

/// Takes a list of words; without the field, only the first is meant.
fn read_words<T: Copy + PartialEq>(
    fields: &mut FieldReader<'_>,
    name: &str,
    known: &[(&'static str, T)],
    default: T,
    report: &mut Report,
) -> Option<Vec<T>> {
    if !fields.has(name) {
        return Some(vec![default]);
    }
    let place = fields.span_of(name);
    let words = fields.texts(name, report)?;
    let mut read = Vec::new();
    for word in &words {
        let names = known.iter().map(|(name, _)| *name);
        match known.iter().find(|(name, _)| *name == word.value) {
            Some((_, value)) if !read.contains(value) => read.push(*value),
            Some(_) => {
                let message = format!("`{}` is in the list twice", word.value);
                report.error(Code::InvalidValue, fields.file, word.span.clone(), message).hint("remove one of the two");
                return None;
            }
            None => {
                report
                    .error(Code::InvalidValue, fields.file, word.span.clone(), format!("`{name}` cannot contain `{}`", word.value))
                    .did_you_mean(nearest(&word.value, names.clone()))
                    .hint(format!("use one of {}", quote_names(&names.collect::<Vec<_>>())));
                return None;
            }
        }
    }
    if read.is_empty() {
        report
            .error(Code::InvalidValue, fields.file, place, format!("`{name}` is empty, so no delivery would be accepted"))
            .hint("remove it");
        return None;
    }
    Some(read)
}

fn read_types(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<BTreeMap<String, BodyForm>> {
    let mut types = BTreeMap::new();
    let place = fields.span_of("types");
    for entry in fields.mapping("types", report).unwrap_or_default() {
        let written = &entry.key.value;
        let name = written.to_ascii_lowercase();
        let is_part =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte));
        if !name.split_once('/').is_some_and(|(kind, subtype)| is_part(kind) && is_part(subtype)) {
            report
                .error(Code::InvalidValue, fields.file, entry.key.span, format!("`{written}` is not a content type"))
                .hint("write its two parts without parameters, for example `application/csp-report`");
            return None;
        }
        let word = match &entry.value.content {
            Content::Text { value, .. } => FORMS.iter().find(|(word, _)| word == value),
            _ => None,
        };
        let Some((_, form)) = word else {
            report
                .error(Code::InvalidValue, fields.file, entry.value.span, format!("a body of `{written}` cannot be read in this form"))
                .hint(format!("write one of {}", quote_names(&FORM_WORDS)));
            return None;
        };
        if types.insert(name, *form).is_some() && !report.is_of_installed() {
            let message = format!("`{written}` is there twice, because the case of a content type does not matter");
            report.error(Code::DuplicateKey, fields.file, entry.key.span, message).hint("remove one of the two");
            return None;
        }
    }
    if types.len() > CONTENT_TYPES_MAX {
        let message = format!("`types` has {} content types; the limit is {CONTENT_TYPES_MAX}", types.len());
        report.error(Code::InvalidValue, fields.file, place, message);
        return None;
    }
    Some(types)
}

fn read_body_max(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<u32> {
    let bytes = if report.is_of_installed() {
        // An earlier release accepted up to 64 MiB here.
        match fields.take("body_max")?.value.content {
            Content::Number(number) => number.as_i64().map(|bytes| bytes.min(BODY_BYTES_MAX)),
            _ => None,
        }
    } else {
        fields.integer("body_max", report)
    };
    bytes.and_then(|bytes| u32::try_from(bytes).ok())
}

fn read_path(path: &WithSpan<String>, file: &SourceText, report: &mut Report) -> Option<Vec<PathPart>> {
    let mut parts = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
    for part in path.value.strip_prefix('/').unwrap_or_default().split('/') {
        let parameter = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        match parameter {
            Some(name) if crate::schema::is_our_name(name) && !names.contains(&name) => {
                names.push(name);
                parts.push(PathPart::Parameter(name.to_owned()));
            }
            None if is_plain(part) => parts.push(PathPart::Text(part.to_owned())),
            Some(_) | None => {
                report
                    .error(Code::InvalidValue, file, path.span.clone(), format!("`{}` is not a path", path.value))
                    .hint("write parts and parameters, each parameter once, for example `/rooms/{room}`");
                return None;
            }
        }
    }
    if parts.len() > PATH_PARTS_MAX {
        let message = format!("the path has {} parts; the limit is {PATH_PARTS_MAX}", parts.len());
        report.error(Code::InvalidValue, file, path.span.clone(), message);
        return None;
    }
    Some(parts)
}

fn read_networks(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Vec<String>> {
    let mut networks = Vec::new();
    for network in read_some(fields, "allow", "networks", NETWORKS_MAX, report)? {
        if network.value.parse::<ipnet::IpNet>().is_err() {
            report
                .error(Code::InvalidValue, fields.file, network.span, format!("`{}` is not a network", network.value))
                .hint("write an address and the bits of its network: `192.0.2.0/24`, `192.0.2.7/32`, `2001:db8::/32`");
            return None;
        }
        networks.push(network.value);
    }
    Some(networks)
}

fn read_kept_headers(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for name in read_some(fields, "headers", "names", KEPT_HEADERS_MAX, report)? {
        let lower = name.value.to_ascii_lowercase();
        if CREDENTIAL_HEADERS.contains(&lower.as_str()) {
            let message = format!("`{lower}` has credentials of the sender, and is kept nowhere");
            report.error(Code::InvalidValue, fields.file, name.span, message);
            return None;
        }
        names.push(lower);
    }
    Some(names)
}

/// Reads a list that has 1 to `max` texts if it is written. `what` is their plural, for its error.
fn read_some(
    fields: &mut FieldReader<'_>,
    field: &'static str,
    what: &str,
    max: usize,
    report: &mut Report,
) -> Option<Vec<WithSpan<String>>> {
    if !fields.has(field) {
        return Some(Vec::new());
    }
    let place = fields.span_of(field);
    let written = fields.texts(field, report)?;
    if written.is_empty() || written.len() > max {
        let message = format!("`{field}` has {} {what}; write 1 to {max}, or remove it", written.len());
        report.error(Code::InvalidValue, fields.file, place, message);
        return None;
    }
    Some(written)
}

fn read_rate(rate: &WithSpan<String>, file: &SourceText, report: &mut Report) -> Option<HookRate> {
    let read = rate.value.split_once('/').and_then(|(deliveries, period)| {
        let is_plain = deliveries.bytes().all(|byte| byte.is_ascii_digit());
        let deliveries: NonZeroU32 = deliveries.parse().ok().filter(|_| is_plain)?;
        let period = parse_duration(period).filter(|period| *period <= PERIOD_MAX && period.subsec_nanos() == 0)?;
        let seconds = NonZeroU32::new(u32::try_from(period.as_secs()).ok()?)?;
        (deliveries.get() <= DELIVERIES_MAX).then_some(HookRate { deliveries, seconds })
    });
    if read.is_none() {
        report
            .error(Code::InvalidValue, file, rate.span.clone(), format!("`{}` is not a rate", rate.value))
            .hint(format!("write 1 to {DELIVERIES_MAX} deliveries in a period of whole seconds, at most a day: `600/1m`"));
    }
    read
}

/// The replies that end a delivery, and the one that waits.
type Replies = (Vec<Early>, Option<WrittenWaitingReply>);

fn read_replies(node: Node, file: &SourceText, report: &mut Report) -> Option<Replies> {
    let span = node.span.clone();
    let items = match node.content {
        Content::List(items) if (1..=REPLIES_MAX).contains(&items.len()) => items,
        Content::List(items) => {
            let message = format!("`reply` has {} items; write 1 to {REPLIES_MAX}, or remove it", items.len());
            report.error(Code::InvalidValue, file, span, message);
            return None;
        }
        _ => {
            wrong_type(&node, "`reply`", "a list of replies", file, report);
            return None;
        }
    };
    let (mut early, mut waits) = (Vec::new(), None);
    let last = items.len() - 1;
    for (index, item) in items.into_iter().enumerate() {
        match read_reply(item, file, report)? {
            Item::Early(reply) => early.push(reply),
            Item::Waiting(reply) if index == last => waits = Some(*reply),
            Item::Waiting(reply) => {
                let message = "the item with `wait` must be the last, because no item after it would be reached";
                report.error(Code::FieldOutOfPlace, file, reply.at, message).hint("move it to the end of `reply`");
                return None;
            }
        }
    }
    Some((early, waits))
}

enum Item {
    Early(Early),
    Waiting(Box<WrittenWaitingReply>),
}

fn read_reply(node: Node, file: &SourceText, report: &mut Report) -> Option<Item> {
    let mut fields = FieldReader::open(node, &REPLY, file, report)?;
    for (field, other) in [("unproven", "wait"), ("unproven", "headers")] {
        if fields.has(field) && fields.has(other) {
            let message = format!("a reply cannot have both `{field}` and `{other}`");
            report.error(Code::FieldOutOfPlace, file, fields.key_of(other), message).hint(format!("remove `{other}`"));
            return None;
        }
    }
    let waits = fields.has("wait");
    if !waits && let Some(field) = ["rule", "late", "failed", "none"].into_iter().find(|field| fields.has(field)) {
        report
            .error(Code::FieldOutOfPlace, file, fields.key_of(field), format!("`{field}` needs `wait`"))
            .hint("add for example `wait: 2500ms`, or remove it");
        return None;
    }
    let when = fields.take("when").map(|entry| entry.value);
    let unproven_at = fields.span_of("unproven");
    let unproven = fields.boolean("unproven", report);
    if unproven == Some(false) {
        report.error(Code::InvalidValue, file, unproven_at, "`unproven` can only be `true`").hint("remove it");
        return None;
    }
    if !waits {
        let answer = read_answer(&mut fields, report)?;
        return Some(Item::Early(Early { when, is_unproven: unproven.is_some(), answer }));
    }
    let at = fields.span_of("wait");
    let wait = fields.duration("wait", report)?;
    let wait_millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    if !(1..=REPLY_WAIT_MILLIS_MAX).contains(&wait_millis) {
        report
            .error(Code::InvalidValue, file, at, "`wait` must be from 1ms to 25s")
            .hint("senders do not wait longer; let the execution itself tell the sender later");
        return None;
    }
    let rule = fields.text("rule", report);
    let mut other = |name: &str, fields: &mut FieldReader<'_>| match fields.take(name) {
        None => Some(None),
        Some(entry) => {
            let mut fields = FieldReader::open(entry.value, &ANSWER, file, report)?;
            read_answer(&mut fields, report).map(Some)
        }
    };
    let (late, failed, none) = (other("late", &mut fields), other("failed", &mut fields), other("none", &mut fields));
    let succeeded = read_answer(&mut fields, report)?;
    Some(Item::Waiting(Box::new(WrittenWaitingReply { at, when, wait_millis, rule, succeeded, late: late?, failed: failed?, none: none? })))
}

fn read_answer(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<ReplyContent> {
    let status = fields.integer("status", report).and_then(|status| u16::try_from(status).ok());
    let headers = fields.mapping("headers", report).unwrap_or_default();
    for header in &headers {
        let name = header.key.value.to_ascii_lowercase();
        let is_header = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let is_of_the_node =
            HEADERS_OF_THE_NODE.contains(&name.as_str()) || ["access-control-", "ensue-"].iter().any(|of| name.starts_with(of));
        if !is_header || is_of_the_node {
            report
                .error(
                    Code::InvalidValue,
                    fields.file,
                    header.key.span.clone(),
                    format!("a reply cannot have the header `{}`", header.key.value),
                )
                .hint("use for example `content-type`, or a header of your own");
            return None;
        }
    }
    if headers.iter().any(|header| !is_scalar(&header.value, &format!("`{}`", header.key.value), fields.file, report)) {
        return None;
    }
    let body = fields.take("body").map(|entry| entry.value);
    Some(ReplyContent { status, headers, body })
}
