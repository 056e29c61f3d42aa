//! `sensors/*.yaml`: what watches the world, and which events it makes.

use std::ops::Range;

use ensue_engine::catalog::{HmacAlgorithm, SignatureEncoding};

use crate::diagnostics::{Code, Report, nearest};
use crate::fields::{Fields, Shape, listed, text};
use crate::source::SourceText;
use crate::yaml::{Content, Node, Spanned};

const SENSOR: Shape = Shape {
    what: "a sensor",
    fields: &["description", "webhook", "emits"],
    later: &[
        ("timer", "events by the clock"),
        ("process", "events from a program"),
        ("poll", "events from asking a URL again and again"),
        ("file", "events from a path that changes"),
        ("nats", "events from NATS"),
        ("kafka", "events from Kafka"),
        ("rabbitmq", "events from RabbitMQ"),
        ("redis", "events from Redis"),
        ("mqtt", "events from MQTT"),
        ("postgres", "events from PostgreSQL"),
    ],
};

const WEBHOOK: Shape = Shape { what: "`webhook`", fields: &["verify"], later: &[] };

const EMIT: Shape = Shape { what: "an item of `emits`", fields: &["trigger", "when", "dedupe", "payload"], later: &[] };

const VERIFY_GITHUB: Shape = Shape { what: "`verify` with the scheme `github`", fields: &["scheme", "key"], later: &[] };

const VERIFY_HMAC: Shape =
    Shape { what: "`verify` with the scheme `hmac`", fields: &["scheme", "key", "header", "algorithm", "encoding", "prefix"], later: &[] };

const VERIFY_NONE: Shape = Shape { what: "`verify` with the scheme `none`", fields: &["scheme"], later: &[] };

const SCHEMES: [&str; 3] = ["github", "hmac", "none"];
const SCHEMES_LATER: [&str; 3] = ["stripe", "slack", "standard"];

pub(crate) struct Sensor {
    pub(crate) description: String,
    pub(crate) verify: Verify,
    pub(crate) emits: Vec<Emit>,
}

pub(crate) enum Verify {
    Github {
        key: Spanned<String>,
    },
    Hmac {
        key: Spanned<String>,
        header: String,
        algorithm: HmacAlgorithm,
        encoding: SignatureEncoding,
        prefix: String,
    },
    /// Not at all; told as a warning at this place.
    None(Range<usize>),
}

pub(crate) struct Emit {
    pub(crate) trigger: Spanned<String>,
    pub(crate) when: Option<Node>,
    pub(crate) dedupe: Option<Node>,
    pub(crate) payload: Option<Node>,
}

pub(super) fn read(node: Node, file: &SourceText, report: &mut Report) -> Option<Sensor> {
    let is_of_later = |name: &str| SENSOR.later.iter().any(|(later, _)| *later == name);
    let has_later_source = matches!(&node.content, Content::Map(entries) if entries.iter().any(|entry| is_of_later(&entry.key.value)));
    let mut fields = Fields::open(node, &SENSOR, file, report)?;
    if has_later_source {
        fields.was_told("webhook");
    }
    let description = fields.text("description", report).map_or(String::new(), |text| text.value);
    let example = "webhook:\n  verify: { scheme: github, key: release.webhook_secret }";
    let webhook = fields.take_required("webhook", example, report);
    let verify = webhook
        .and_then(|entry| Fields::open(entry.value, &WEBHOOK, file, report))
        .and_then(|mut webhook| webhook.take_required("verify", "verify: { scheme: github, key: release.webhook_secret }", report))
        .and_then(|entry| read_verify(entry.value, file, report));
    let emits = read_emits(&mut fields, report);
    Some(Sensor { description, verify: verify?, emits: emits? })
}

fn read_emits(fields: &mut Fields<'_>, report: &mut Report) -> Option<Vec<Emit>> {
    let file = fields.file;
    let entry = fields.take_required("emits", "emits:\n  - trigger: release.tag_pushed", report)?;
    let items = match entry.value.content {
        Content::List(items) if !items.is_empty() => items,
        Content::List(_) => {
            report
                .error(Code::MissingField, file, entry.value.span, "`emits` is empty: the sensor would make no event")
                .hint("for example\nemits:\n  - trigger: release.tag_pushed");
            return None;
        }
        _ => {
            crate::fields::wrong_type(&entry.value, "`emits`", "a list of the events to make", file, report);
            return None;
        }
    };
    items.into_iter().map(|item| read_emit(item, file, report)).collect::<Vec<_>>().into_iter().collect()
}

fn read_emit(node: Node, file: &SourceText, report: &mut Report) -> Option<Emit> {
    let mut fields = Fields::open(node, &EMIT, file, report)?;
    let trigger = fields.take_required("trigger", "trigger: release.tag_pushed", report);
    Some(Emit {
        when: fields.take("when").map(|entry| entry.value),
        dedupe: fields.take("dedupe").map(|entry| entry.value),
        payload: fields.take("payload").map(|entry| entry.value),
        trigger: text(trigger?.value, "`trigger`", file, report)?,
    })
}

fn read_verify(node: Node, file: &SourceText, report: &mut Report) -> Option<Verify> {
    let scheme = node.at("/scheme").and_then(|scheme| match &scheme.content {
        Content::Text { value, .. } => Some(Spanned { value: value.clone(), span: scheme.span.clone() }),
        _ => None,
    });
    match scheme.as_ref().map(|scheme| scheme.value.as_str()) {
        Some("github") => {
            let mut fields = Fields::open(node, &VERIFY_GITHUB, file, report)?;
            Some(Verify::Github { key: read_key(&mut fields, report)? })
        }
        Some("hmac") => read_hmac(node, file, report),
        Some("none") => {
            let fields = Fields::open(node, &VERIFY_NONE, file, report)?;
            Some(Verify::None(scheme.map_or(fields.start, |scheme| scheme.span)))
        }
        Some(_) | None => {
            let mut fields = Fields::open(node, &VERIFY_HMAC, file, report)?;
            let entry = fields.take_required("scheme", "verify: { scheme: github, key: release.webhook_secret }", report)?;
            let scheme = text(entry.value, "`scheme`", file, report)?;
            if SCHEMES_LATER.contains(&scheme.value.as_str()) {
                report
                    .error(Code::NotYet, file, scheme.span, format!("the scheme `{}` is not in this release yet", scheme.value))
                    .hint("docs/roadmap.md says what comes when; `hmac` describes most signatures in full");
            } else {
                report
                    .error(Code::InvalidValue, file, scheme.span, format!("`{}` is not a scheme of signatures", scheme.value))
                    .did_you_mean(nearest(&scheme.value, SCHEMES))
                    .hint(format!("it is one of {}", listed(&SCHEMES)));
            }
            None
        }
    }
}

fn read_hmac(node: Node, file: &SourceText, report: &mut Report) -> Option<Verify> {
    let mut fields = Fields::open(node, &VERIFY_HMAC, file, report)?;
    let key = read_key(&mut fields, report);
    let header =
        fields.take_required("header", "header: x-signature", report).and_then(|entry| text(entry.value, "`header`", file, report));
    let algorithms = [("sha256", HmacAlgorithm::Sha256), ("sha512", HmacAlgorithm::Sha512)];
    let encodings = [("hex", SignatureEncoding::Hex), ("base64", SignatureEncoding::Base64)];
    let algorithm = fields.choice("algorithm", &algorithms, report).unwrap_or(HmacAlgorithm::Sha256);
    let encoding = fields.choice("encoding", &encodings, report).unwrap_or(SignatureEncoding::Hex);
    let prefix = fields.text("prefix", report).map_or(String::new(), |text| text.value);
    let header = header?;
    if !is_header(&header.value) {
        report
            .error(Code::InvalidValue, file, header.span, format!("`{}` is not the name of a header", header.value))
            .hint("letters, digits and `-`, for example `x-signature`");
        return None;
    }
    Some(Verify::Hmac { key: key?, header: header.value.to_ascii_lowercase(), algorithm, encoding, prefix })
}

fn read_key(fields: &mut Fields<'_>, report: &mut Report) -> Option<Spanned<String>> {
    let entry = fields.take_required("key", "key: release.webhook_secret", report)?;
    text(entry.value, "`key`", fields.file, report)
}

fn is_header(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}
