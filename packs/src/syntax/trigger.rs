//! `triggers/*.yaml`: a kind of event, and the schema of its payload.

use std::collections::BTreeMap;
use std::ops::Range;

use ensue_engine::catalog::Schema;
use ensue_engine::events::version::{TRIGGER_VERSION_MAX, TriggerVersion};
use ensue_expression::nearest;

use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, quote_names};
use crate::schema;
use crate::shape::{FieldConstraint, Form, Kind, Naming, Shape, optional_field};
use crate::source::SourceText;
use crate::yaml::Node;

pub(crate) static TRIGGER: Shape = Shape {
    what: "a trigger",
    fields: &[
        optional_field("description", Kind::Text(Form::Any), "What such an event reports, in a sentence."),
        optional_field(
            "payload",
            Kind::Schema(Naming::Theirs),
            "The payload of such an event: names with their types. An event that does not match is rejected. A payload may have more \
             fields than are listed here. Without it, any payload matches.",
        ),
        optional_field(
            "version",
            Kind::Integer { from: 1, to: TRIGGER_VERSION_MAX as i64 },
            "The version of `payload`, 1 if it is not given. Senders name an older one as `shop.ordered@1`; without it, a payload is of the \
             newest.",
        ),
        optional_field(
            "upcasts",
            Kind::Mapping { names: Form::OlderVersion, of: &Kind::Value },
            "For each older version, what turns a `payload` of it into one of the next.",
        ),
        optional_field(
            "index",
            Kind::Texts { of: Form::Any, least: 0 },
            "Top-level fields of the payload that are meant for filtering events.",
        ),
    ],
    between: &[FieldConstraint::OnlyBeside { field: "upcasts", other: "version" }],
    ..Shape::BARE
};

pub(crate) struct Trigger {
    pub(crate) description: String,
    /// The schema of its payload; `None` if it has errors.
    pub(crate) payload: Option<Schema>,
    pub(crate) version: TriggerVersion,
    /// Where its version is written, or where the file begins.
    pub(crate) version_at: Range<usize>,
    /// What turns a payload of each older version into one of the next, from version 1 on; `None` if it has errors.
    pub(crate) upcasts: Option<Vec<Node>>,
    pub(crate) index: Vec<String>,
}

pub(super) fn read(node: Node, file: &SourceText, report: &mut Report) -> Option<Trigger> {
    let mut fields = FieldReader::open(node, &TRIGGER, file, report)?;
    let description = fields.text("description", report).map_or(String::new(), |text| text.value);
    let payload = match fields.take("payload") {
        Some(entry) => schema::read(entry.value, Naming::Theirs, file, report),
        None => Some(Schema::Any),
    };
    let index = fields.texts("index", report).unwrap_or_default();
    if let Some(known) = payload.as_ref().and_then(Schema::fields) {
        let names: Vec<&str> = known.0.iter().map(|field| field.name.as_str()).collect();
        for one in index.iter().filter(|one| known.get(&one.value).is_none()) {
            report
                .error(Code::UnknownRead, file, one.span.clone(), format!("the payload has no field `{}` to filter by", one.value))
                .did_you_mean(nearest(&one.value, names.iter().copied()))
                .hint(format!("its fields are {}", quote_names(&names)));
        }
    }
    let version_at = fields.key_of("version");
    let version = if fields.has("version") { version(&mut fields, report)? } else { TriggerVersion::FIRST };
    let upcasts = upcasts(&mut fields, (version, version_at.clone()), report);
    Some(Trigger { description, payload, version, version_at, upcasts, index: index.into_iter().map(|one| one.value).collect() })
}

fn version(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<TriggerVersion> {
    u32::try_from(fields.integer("version", report)?).ok().and_then(TriggerVersion::new)
}

/// Takes what turns a payload of each older version into one of the next: one for each of them, and no other.
fn upcasts(fields: &mut FieldReader<'_>, (version, version_at): (TriggerVersion, Range<usize>), report: &mut Report) -> Option<Vec<Node>> {
    let at = if fields.has("upcasts") { fields.key_of("upcasts") } else { version_at };
    let mut found: BTreeMap<u32, Node> = BTreeMap::new();
    let mut is_whole = true;
    let entries = if fields.has("upcasts") { fields.values("upcasts", report)? } else { Vec::new() };
    for entry in entries {
        let written = &entry.key.value;
        let number = written.parse::<u32>().ok().filter(|number| *number > 0 && number.to_string() == *written);
        match number {
            Some(number) if number < version.number() => drop(found.insert(number, entry.value)),
            Some(number) => {
                is_whole = false;
                report
                    .error(
                        Code::VersionGap,
                        fields.file,
                        entry.key.span,
                        format!("{number} is not an older version: the newest is {version}"),
                    )
                    .hint(format!(
                        "set `version: {}` if the payload has changed since version {number}, or remove this",
                        number.saturating_add(1)
                    ));
            }
            None => {
                is_whole = false;
                report
                    .error(Code::InvalidValue, fields.file, entry.key.span, format!("`{written}` is not the number of a version"))
                    .hint("write the version that a payload has before the upcast: `upcasts: { 1: … }`");
            }
        }
    }
    let missing: Vec<String> =
        (1..version.number()).filter(|number| !found.contains_key(number)).map(|number| number.to_string()).collect();
    if let (true, Some(first)) = (is_whole, missing.first()) {
        is_whole = false;
        report
            .error(Code::VersionGap, fields.file, at, format!("no upcast turns a payload of version {} into the next", missing.join(", ")))
            .hint(format!("write one for each older version:\nupcasts:\n  {first}: {{ new_name: \"${{{{ payload.old_name }}}}\" }}"));
    }
    is_whole.then(|| found.into_values().collect())
}
