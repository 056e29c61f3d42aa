//! `sensors/*.yaml`: what watches the world, and the events that it emits.

use ensue_engine::schedule::plan::Plan;

use super::schedule::{self, TIMER};
use super::webhook::{self, WEBHOOK, Webhook};
use crate::diagnostics::{Code, Report};
use crate::fields::{Fields, text};
use crate::shape::{Between, Form, Kind, Shape, optional, required};
use crate::source::SourceText;
use crate::yaml::{Content, Node, Spanned};

const WEBHOOK_EXAMPLE: &str = "webhook:\n  verify: { scheme: github, key: release.webhook_secret }";
const TIMER_EXAMPLE: &str = "timer: { every: 5m }";

pub(crate) static SENSOR: Shape = Shape {
    what: "a sensor",
    fields: &[
        optional("description", Kind::Text(Form::Any), "What the sensor watches, in a sentence."),
        optional("webhook", Kind::Fields(&WEBHOOK), "An endpoint for deliveries: `/hooks/<pack>/<sensor>`."),
        optional("timer", Kind::Fields(&TIMER), "When the sensor is due, instead of `webhook`."),
        required(
            "emits",
            "emits:\n  - trigger: release.tag_pushed",
            Kind::List(&EMIT),
            "The events that a delivery, or a time, may create. Each item that matches creates one; either all of them are accepted or \
                none.",
        ),
    ],
    later: &[
        ("process", "events from a program"),
        ("poll", "events from polling a URL"),
        ("file", "events from changes to a path"),
        ("nats", "events from NATS"),
        ("kafka", "events from Kafka"),
        ("rabbitmq", "events from RabbitMQ"),
        ("redis", "events from Redis"),
        ("mqtt", "events from MQTT"),
        ("postgres", "events from PostgreSQL"),
    ],
    between: &[Between::ExactlyOneOf(&["webhook", "timer"])],
};

static EMIT: Shape = Shape {
    what: "an item of `emits`",
    fields: &[
        required("trigger", "trigger: release.tag_pushed", Kind::Text(Form::Ref), "The trigger of the event that is created."),
        optional(
            "when",
            Kind::Expression,
            "An expression that decides for which deliveries the event is created. It reads `headers` (in lower case), `body`, `query`, \
             `method`, `path` and `config`; for a `timer`, `scheduled_at`, `late_seconds` and `config`. Without it, for all.",
        ),
        optional(
            "dedupe",
            Kind::Expression,
            "An expression that returns the delivery's own id. The same id is accepted once within 24 hours. If the delivery lacks a \
             field that the expression reads, the event is accepted without an id. Not for a `timer`, because each of its times is due \
             only once.",
        ),
        optional(
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
    pub(crate) source: Source,
    pub(crate) emits: Vec<Emit>,
}

/// What a sensor watches.
pub(crate) enum Source {
    Webhook(Box<Webhook>),
    Timer(Plan),
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
    if has_later_source || fields.has_reported("timer") {
        fields.mark_reported("webhook");
    }
    let description = fields.text("description", report).map_or(String::new(), |text| text.value);
    let source = read_source(&mut fields, report);
    let emits = read_emits(&mut fields, report);
    Some(Sensor { description, source: source?, emits: emits? })
}

fn read_source(fields: &mut Fields<'_>, report: &mut Report) -> Option<Source> {
    let file = fields.file;
    let Some(timer) = fields.take("timer") else {
        if !fields.has("webhook") && !fields.has_reported("webhook") {
            report
                .error(Code::NotExactlyOne, file, fields.start.clone(), "a sensor needs either `webhook` or `timer`")
                .hint(format!("for example\n{WEBHOOK_EXAMPLE}\nor\n{TIMER_EXAMPLE}"));
        }
        let webhook = fields.take("webhook")?;
        return webhook::read(webhook.value, file, report).map(|webhook| Source::Webhook(Box::new(webhook)));
    };
    if fields.take("webhook").is_some() {
        report
            .error(Code::NotExactlyOne, file, timer.key.span, "a sensor must have either `webhook` or `timer`, not both")
            .hint("split it into two sensors");
        return None;
    }
    schedule::read(timer.value, &TIMER, file, report).map(Source::Timer)
}

fn read_emits(fields: &mut Fields<'_>, report: &mut Report) -> Option<Vec<Emit>> {
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
    let mut fields = Fields::open(node, &EMIT, file, report)?;
    let trigger = fields.take_required("trigger", report);
    Some(Emit {
        when: fields.take("when").map(|entry| entry.value),
        dedupe: fields.take("dedupe").map(|entry| entry.value),
        payload: fields.take("payload").map(|entry| entry.value),
        trigger: text(trigger?.value, "`trigger`", file, report)?,
    })
}
