//! The settings for rights: the labels by which they can be limited.

use std::collections::BTreeSet;

use ensue_engine::executions::scope::SCOPE_LABELS_MAX;
use ensue_engine::names::LabelName;
use serde::Deserialize;

/// The settings for rights as written in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenRights {
    labels: BTreeSet<LabelName>,
}

impl WrittenRights {
    /// Returns the names of the labels by which rights can be limited, or what is wrong with them.
    pub(super) fn read(self) -> Result<BTreeSet<LabelName>, String> {
        match self.labels.len() {
            ..=SCOPE_LABELS_MAX => Ok(self.labels),
            count => Err(format!("`access.labels` has {count} names; the limit is {SCOPE_LABELS_MAX}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_can_be_limited_by_four_labels_at_most() {
        let read = |names: &[&str]| WrittenRights { labels: names.iter().map(|name| name.parse().unwrap()).collect() }.read();
        assert_eq!(read(&["site", "team", "stage", "zone"]).unwrap().len(), 4);
        assert!(read(&["site", "team", "stage", "zone", "color"]).unwrap_err().contains("the limit is 4"));
    }
}
