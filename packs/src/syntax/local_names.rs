//! Names that are computed first: the field `local` of rules and actions.

use crate::diagnostics::Report;
use crate::fields::FieldReader;
use crate::schema::{is_our_name, report_bad_name};
use crate::shape::{Form, Kind, ShapeField, optional_field};
use crate::yaml::YamlEntry;

/// Names that are computed first.
pub(super) const LOCAL: ShapeField = optional_field(
    "local",
    Kind::Mapping { names: Form::OwnName, of: &Kind::Expression },
    "Names with an expression each, computed in order. Expressions read them as `local.<name>`, including the ones below.",
);

/// Takes the names that are computed first, in order. Returns `None` if one of them is not a valid name.
pub(super) fn read_local(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Vec<YamlEntry>> {
    read_names("local", fields, report)
}

/// Takes a mapping of the pack's own names. Returns `None` if one of them is not valid.
pub(super) fn read_names(field: &str, fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Vec<YamlEntry>> {
    let mut is_whole = true;
    let entries = fields.mapping(field, report).unwrap_or_default();
    for entry in entries.iter().filter(|entry| !is_our_name(&entry.key.value)) {
        report_bad_name(&entry.key.value, &entry.key.span, fields.file, report);
        is_whole = false;
    }
    is_whole.then_some(entries)
}
