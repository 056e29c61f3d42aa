//! `labels`: what the executions of an action are found by.

use ensue_engine::executions::labels::LABELS_MAX;
use ensue_engine::names::{LabelName, NAME_BYTES_MAX};

use crate::diagnostics::{Code, Report};
use crate::fields::Fields;
use crate::shape::{Field, Kind, optional};
use crate::yaml::{Entry, Spanned};

pub(super) const LABELS: Field = optional(
    "labels",
    Kind::Labels { most: LABELS_MAX },
    "What its executions are found by, `ensue executions list --label site=eu`: names with a text each, in which `${{ … }}` reads `params` and \
     `config`. At most 16, each of at most 256 bytes on one line.",
);

/// A label, its value not compiled yet.
pub(crate) struct Label {
    pub(crate) name: Spanned<LabelName>,
    pub(crate) value: crate::yaml::Node,
}

/// Takes the labels of an action; nothing where they have mistakes, which have been told.
pub(super) fn read_labels(fields: &mut Fields<'_>, report: &mut Report) -> Option<Vec<Label>> {
    let at = fields.key_of("labels");
    let is_there = fields.has("labels");
    let entries = fields.scalars("labels", report);
    if !is_there {
        return Some(Vec::new());
    }
    let entries = entries?;
    if entries.len() > LABELS_MAX {
        let message = format!("these are {} labels; an execution has at most {LABELS_MAX}", entries.len());
        report.error(Code::InvalidValue, fields.file, at, message).hint("keep those that somebody looks for");
        return None;
    }
    let labels: Vec<Option<Label>> = entries.into_iter().map(|entry| label(entry, fields, report)).collect();
    labels.into_iter().collect()
}

fn label(Entry { key, value }: Entry, fields: &Fields<'_>, report: &mut Report) -> Option<Label> {
    if let Ok(name) = key.value.parse() {
        return Some(Label { name: Spanned { value: name, span: key.span }, value });
    }
    let mended: String = key.value.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }).collect();
    let told = report.error(Code::InvalidName, fields.file, key.span, format!("`{}` is not the name of a label", key.value));
    told.hint(format!("a name starts with a-z, goes on with a-z, 0-9 and `_`, and is at most {NAME_BYTES_MAX} long"));
    told.did_you_mean(mended.parse::<LabelName>().is_ok().then_some(mended.as_str()));
    None
}
