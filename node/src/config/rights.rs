//! The settings for rights: the labels by which they can be limited, and what packs may do.

use std::collections::BTreeSet;

use ensue_engine::access::scope::Scope;
use ensue_engine::executions::scope::SCOPE_LABELS_MAX;
use ensue_engine::names::LabelName;
use serde::Deserialize;

/// What the packs of the folder may do with other packs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AcceptedPermissions {
    /// What their `permissions` list; a pack without `permissions` may do everything.
    #[default]
    All,
    /// Only what their `permissions` list.
    Listed,
}

impl AcceptedPermissions {
    /// Returns what a pack of the folder may do, given what it asks for; `None` if it may do everything.
    pub(crate) fn of(self, asked: Option<Vec<Scope>>) -> Option<Vec<Scope>> {
        match self {
            Self::All => asked,
            Self::Listed => Some(asked.unwrap_or_default()),
        }
    }
}

/// The settings for rights as written in the file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WrittenRights {
    labels: BTreeSet<LabelName>,
    packs: AcceptedPermissions,
}

impl WrittenRights {
    /// Returns the names of the labels by which rights can be limited, and what packs may do; or what is wrong with the
    /// names.
    pub(super) fn read(self) -> Result<(BTreeSet<LabelName>, AcceptedPermissions), String> {
        match self.labels.len() {
            ..=SCOPE_LABELS_MAX => Ok((self.labels, self.packs)),
            count => Err(format!("`access.labels` has {count} names; the limit is {SCOPE_LABELS_MAX}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_can_be_limited_by_four_labels_at_most() {
        let read = |names: &[&str]| {
            let labels = names.iter().map(|name| name.parse().unwrap()).collect();
            WrittenRights { labels, ..WrittenRights::default() }.read()
        };
        assert_eq!(read(&["site", "team", "stage", "zone"]).unwrap().0.len(), 4);
        assert!(read(&["site", "team", "stage", "zone", "color"]).unwrap_err().contains("the limit is 4"));
    }
}
