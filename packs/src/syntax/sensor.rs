//! `sensors/*.yaml`: what watches the world, and the events that it emits.

use ensue_engine::schedule::plan::Plan;

use super::pull_source::{
    self, DECODE, DECODE_WORDS, FILE, MessageReading, ON_POISON_WORDS, POISON, POLL, PROCESS, PULLED, PulledSource, READING,
};
use super::schedule::{self, TIMER};
use super::webhook::{self, WEBHOOK, Webhook};
use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, text};
use crate::shape::{FieldConstraint, Form, Kind, Naming, Shape, optional_field, required_field};
use crate::source::SourceText;
use crate::yaml::{Content, Node, WithSpan, YamlEntry};

const WEBHOOK_EXAMPLE: &str = "webhook:\n  verify: { scheme: github, key: release.webhook_secret }";
const TIMER_EXAMPLE: &str = "timer: { every: 5m }";

/// The sources of a sensor: it has exactly one of them.
const SOURCES: [&str; 5] = ["webhook", "timer", "process", "poll", "file"];

pub(crate) static SENSOR: Shape = Shape {
    what: "a sensor",
    fields: &[
        optional_field("description", Kind::Text(Form::Any), "What the sensor watches, in a sentence."),
        optional_field("webhook", Kind::Fields(&WEBHOOK), "An endpoint for deliveries: `/hooks/<pack>/<sensor>`."),
        optional_field("timer", Kind::Fields(&TIMER), "When the sensor is due, instead of `webhook`."),
        optional_field("process", Kind::Fields(&PROCESS), "A program that the node runs: each line that it prints is a message."),
        optional_field("poll", Kind::Fields(&POLL), "A server that the node asks repeatedly: each item of its answers is a message."),
        optional_field("file", Kind::Fields(&FILE), "Files that the node watches: each change, or each line, is a message."),
        optional_field(
            "decode",
            Kind::ChoiceOrFields(&DECODE_WORDS, &DECODE),
            "The form of the messages of `process`, `poll` and `file`: `json` (default) or `text`. For the lines of a `file`, `text` is \
             the default. `{ charset: windows-1252 }` names their charset, and `{ invalid: replace }` replaces bytes that are not valid in it.",
        ),
        optional_field(
            "schema",
            Kind::Schema(Naming::Theirs),
            "The schema of the messages of `process`, `poll` and `file`. A message that does not fit is refused.",
        ),
        optional_field(
            "poison",
            Kind::Fields(&POISON),
            "How many messages of `process`, `poll` and `file` may be refused, with none that is accepted, before the sensor is \
             shown as failing. The default is 100 a minute.",
        ),
        optional_field(
            "on_poison",
            Kind::Choice(&ON_POISON_WORDS),
            "What happens to a message of `process`, `poll` and `file` that cannot be read: `letter` (default), it becomes a dead letter; \
             `stop`, the sensor fails.",
        ),
        required_field(
            "emits",
            "emits:\n  - trigger: release.tag_pushed",
            Kind::List(&EMIT),
            "The events that a delivery, or a time, may create. Each item that matches creates one; either all of them are accepted or \
                none.",
        ),
    ],
    later: &[
        ("nats", "events from NATS"),
        ("kafka", "events from Kafka"),
        ("rabbitmq", "events from RabbitMQ"),
        ("redis", "events from Redis"),
        ("mqtt", "events from MQTT"),
        ("postgres", "events from PostgreSQL"),
    ],
    between: &[
        FieldConstraint::ExactlyOneOf(&SOURCES),
        FieldConstraint::OnlyBesideOneOf { field: "decode", others: &PULLED },
        FieldConstraint::OnlyBesideOneOf { field: "schema", others: &PULLED },
        FieldConstraint::OnlyBesideOneOf { field: "poison", others: &PULLED },
        FieldConstraint::OnlyBesideOneOf { field: "on_poison", others: &PULLED },
    ],
};

static EMIT: Shape = Shape {
    what: "an item of `emits`",
    fields: &[
        required_field(
            "trigger",
            "trigger: release.tag_pushed",
            Kind::Text(Form::VersionedRef),
            "The trigger of the event that is created, perhaps with a version: `shop.ordered@1`.",
        ),
        optional_field(
            "when",
            Kind::Expression,
            "An expression that decides for which deliveries the event is created. It reads `headers` (in lower case), `body`, `query`, \
             `method`, `path` and `config`; for a `timer`, `scheduled_at`, `late_seconds` and `config`; for a `process`, `line`; for a `poll`, `item`, \
             `index` and `page`; for a `file`, `file` or `line`. Without it, for all.",
        ),
        optional_field(
            "dedupe",
            Kind::Expression,
            "An expression that returns the delivery's own id. The same id is accepted once within 24 hours. If the delivery lacks a \
             field that the expression reads, the event is accepted without an id. Without `dedupe`, it is the id that the scheme of a \
             webhook has for a delivery, if it has one; `none` turns that off. Not for a `timer`, because each of its times is due only \
             once.",
        ),
        optional_field(
            "payload",
            Kind::Value,
            "The event's payload, with `${{ … }}` for computed values. Without it, the body as received; for a `timer`, `scheduled_at` \
             and `late_seconds`.",
        ),
    ],
    ..Shape::BARE
};

pub(crate) struct Sensor {
    pub(crate) description: String,
    pub(crate) source: SensorSource,
    pub(crate) emits: Vec<Emit>,
}

/// What a sensor watches.
pub(crate) enum SensorSource {
    Webhook(Box<Webhook>),
    Timer(Plan),
    Pulled(PulledSource, Box<MessageReading>),
}

pub(crate) struct Emit {
    pub(crate) trigger: WithSpan<String>,
    pub(crate) when: Option<Node>,
    pub(crate) dedupe: Option<Node>,
    /// Where the author turned the natural key off, if so.
    pub(crate) no_key: Option<std::ops::Range<usize>>,
    pub(crate) payload: Option<Node>,
}

pub(super) fn read(node: Node, file: &SourceText, report: &mut Report) -> Option<Sensor> {
    let is_of_later = |name: &str| SENSOR.later.iter().any(|(later, _)| *later == name);
    let has_later_source = matches!(&node.content, Content::Map(entries) if entries.iter().any(|entry| is_of_later(&entry.key.value)));
    let mut fields = FieldReader::open(node, &SENSOR, file, report)?;
    if has_later_source || SOURCES.iter().any(|source| *source != "webhook" && fields.has_reported(source)) {
        fields.mark_reported("webhook");
    }
    let description = fields.text("description", report).map_or(String::new(), |text| text.value);
    let source = read_source(&mut fields, report);
    let emits = read_emits(&mut fields, report);
    Some(Sensor { description, source: source?, emits: emits? })
}

fn read_source(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<SensorSource> {
    let file = fields.file;
    let mut given: Vec<YamlEntry> = SOURCES.into_iter().filter_map(|name| fields.take(name)).collect();
    if let [first, second, ..] = given.as_slice() {
        let message = format!("a sensor must have either `{}` or `{}`, not both", first.key.value, second.key.value);
        report.error(Code::NotExactlyOne, file, second.key.span.clone(), message).hint("split it into two sensors");
        return None;
    }
    let Some(source) = given.pop() else {
        if !SOURCES.iter().any(|name| fields.has_reported(name)) {
            report
                .error(Code::NotExactlyOne, file, fields.start.clone(), "a sensor needs `webhook`, `timer`, `process`, `poll` or `file`")
                .hint(format!("for example\n{WEBHOOK_EXAMPLE}\nor\n{TIMER_EXAMPLE}"));
        }
        return None;
    };
    if PULLED.contains(&source.key.value.as_str()) {
        let reading = pull_source::read_reading(fields, report);
        return pull_source::read(source, file, report)
            .zip(reading)
            .map(|(pulled, reading)| SensorSource::Pulled(pulled, Box::new(reading)));
    }
    if let Some(name) = READING.into_iter().find(|name| fields.has(name)) {
        let message = format!("`{name}` is only for `process`, `poll` and `file`, whose messages the node reads itself");
        report.error(Code::FieldOutOfPlace, file, fields.key_of(name), message).hint("remove it");
        return None;
    }
    if source.key.value == "timer" {
        return schedule::read(source.value, &TIMER, file, report).map(SensorSource::Timer);
    }
    webhook::read(source.value, file, report).map(|webhook| SensorSource::Webhook(Box::new(webhook)))
}

fn read_emits(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Vec<Emit>> {
    let file = fields.file;
    let entry = fields.take_required("emits", report)?;
    let items = match entry.value.content {
        Content::List(items) if !items.is_empty() => items,
        Content::List(_) => {
            report
                .error(Code::MissingField, file, entry.value.span, "`emits` is empty: the sensor would create no events")
                .hint("for example\nemits:\n  - trigger: release.tag_pushed");
            return None;
        }
        _ => {
            crate::fields::wrong_type(&entry.value, "`emits`", "a list of the events to create", file, report);
            return None;
        }
    };
    items.into_iter().map(|item| read_emit(item, file, report)).collect::<Vec<_>>().into_iter().collect()
}

fn read_emit(node: Node, file: &SourceText, report: &mut Report) -> Option<Emit> {
    let mut fields = FieldReader::open(node, &EMIT, file, report)?;
    let trigger = fields.take_required("trigger", report);
    let is_none = |node: &Node| matches!(&node.content, Content::Text { value, .. } if value == "none");
    let dedupe = fields.take("dedupe").map(|entry| entry.value);
    Some(Emit {
        when: fields.take("when").map(|entry| entry.value),
        no_key: dedupe.as_ref().filter(|node| is_none(node)).map(|node| node.span.clone()),
        dedupe: dedupe.filter(|node| !is_none(node)),
        payload: fields.take("payload").map(|entry| entry.value),
        trigger: text(trigger?.value, "`trigger`", file, report)?,
    })
}
