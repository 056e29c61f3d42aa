//! `triggers/*.yaml`: a kind of event, and the schema of its payload.

use ensue_engine::catalog::Schema;
use ensue_expression::nearest;

use crate::diagnostics::{Code, Report};
use crate::fields::{Fields, listed};
use crate::schema;
use crate::shape::{Form, Kind, Naming, Shape, optional};
use crate::source::SourceText;
use crate::yaml::Node;

pub(crate) static TRIGGER: Shape = Shape {
    what: "a trigger",
    fields: &[
        optional("description", Kind::Text(Form::Any), "What such an event reports, in a sentence."),
        optional(
            "payload",
            Kind::Schema(Naming::Theirs),
            "The payload of such an event: names with their types. An event that does not match is rejected. A payload may have more \
             fields than are listed here. Without it, any payload matches.",
        ),
        optional("index", Kind::Texts { of: Form::Any, least: 0 }, "Top-level fields of the payload that are meant for filtering events."),
    ],
    ..Shape::BARE
};

pub(crate) struct Trigger {
    pub(crate) description: String,
    /// The schema of its payload; `None` if it has errors.
    pub(crate) payload: Option<Schema>,
    pub(crate) index: Vec<String>,
}

pub(super) fn read(node: Node, file: &SourceText, report: &mut Report) -> Option<Trigger> {
    let mut fields = Fields::open(node, &TRIGGER, file, report)?;
    let description = fields.text("description", report).map_or(String::new(), |text| text.value);
    let payload = match fields.take("payload") {
        Some(entry) => schema::read(entry.value, Naming::Theirs, file, report),
        None => Some(Schema::Any),
    };
    let index = fields.texts("index", report).unwrap_or_default();
    if let Some(known) = payload.as_ref().and_then(Schema::fields) {
        let names: Vec<&str> = known.0.iter().map(|field| field.name.as_str()).collect();
        for one in index.iter().filter(|one| known.named(&one.value).is_none()) {
            report
                .error(Code::UnknownRead, file, one.span.clone(), format!("the payload has no field `{}` to filter by", one.value))
                .did_you_mean(nearest(&one.value, names.iter().copied()))
                .hint(format!("its fields are {}", listed(&names)));
        }
    }
    Some(Trigger { description, payload, index: index.into_iter().map(|one| one.value).collect() })
}
