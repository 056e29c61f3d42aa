//! `labels`: the labels that the executions of an action are found by.

use ensue_engine::executions::labels::LABELS_MAX;
use ensue_engine::names::{LabelName, NAME_BYTES_MAX};

use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, is_scalar};
use crate::shape::{Kind, ShapeField, optional_field};
use crate::source::SourceText;
use crate::yaml::{Node, YamlEntry};

pub(super) const LABELS: ShapeField = optional_field(
    "labels",
    Kind::Labels { most: LABELS_MAX },
    "What its executions can be found by, as in `ensue executions list --label site=eu`: names with a string each, in which `${{ … }}` \
     can read `params` and `config`. At most 16, each of at most 256 bytes on one line.",
);

/// A label, with its value not compiled yet.
pub(crate) struct Label {
    pub(crate) name: LabelName,
    pub(crate) value: Node,
}

/// Takes the labels of an action that have no errors; the others have been reported.
pub(super) fn read_labels(fields: &mut FieldReader<'_>, report: &mut Report) -> Vec<Label> {
    let at = fields.key_of("labels");
    let entries = fields.mapping("labels", report).unwrap_or_default();
    if entries.len() > LABELS_MAX {
        let message = format!("there are {} labels, but an execution can have at most {LABELS_MAX}", entries.len());
        report.error(Code::InvalidValue, fields.file, at, message).hint("keep only the labels that somebody searches for");
    }
    entries.into_iter().filter_map(|entry| label(entry, fields.file, report)).collect()
}

fn label(YamlEntry { key, value }: YamlEntry, file: &SourceText, report: &mut Report) -> Option<Label> {
    let is_fine = is_scalar(&value, &format!("`{}`", key.value), file, report);
    if let Ok(name) = key.value.parse() {
        return is_fine.then_some(Label { name, value });
    }
    let mended: String = key.value.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    let diagnostic = report.error(Code::InvalidName, file, key.span, format!("`{}` is not a valid label name", key.value));
    diagnostic.hint(format!("begin with a-z, continue with a-z, 0-9 and `_`, at most {NAME_BYTES_MAX} characters in all"));
    diagnostic.did_you_mean(mended.parse::<LabelName>().is_ok().then_some(mended.as_str()));
    None
}
