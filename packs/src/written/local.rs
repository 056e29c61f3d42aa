//! Names that are computed first: the field `local` of rules and actions.

use crate::diagnostics::Report;
use crate::fields::Fields;
use crate::schema::{is_our_name, tell_bad_name};
use crate::shape::{Field, Form, Kind, optional};
use crate::yaml::Entry;

/// Names that are computed first.
pub(super) const LOCAL: Field = optional(
    "local",
    Kind::Mapping { names: Form::OwnName, of: &Kind::Expression },
    "Names with an expression each, computed in order. Expressions read them as `local.<name>`, including the ones below.",
);

/// Takes the names that are computed first, in order. Returns `None` if one of them is not a valid name.
pub(super) fn read_local(fields: &mut Fields<'_>, report: &mut Report) -> Option<Vec<Entry>> {
    read_names("local", fields, report)
}

/// Takes a mapping of the pack's own names. Returns `None` if one of them is not valid.
pub(super) fn read_names(field: &str, fields: &mut Fields<'_>, report: &mut Report) -> Option<Vec<Entry>> {
    let mut is_whole = true;
    let entries = fields.mapping(field, report).unwrap_or_default();
    for entry in entries.iter().filter(|entry| !is_our_name(&entry.key.value)) {
        tell_bad_name(&entry.key.value, &entry.key.span, fields.file, report);
        is_whole = false;
    }
    is_whole.then_some(entries)
}
