//! The files of packs.

use std::collections::BTreeMap;

use ensue_derive::wire;
use ensue_engine::record::Digest;
use ensue_packs::{Diagnostic, FileMode, PackFile};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::shapes;

/// A file of an installed pack.
#[wire(Serialize)]
pub(crate) struct WireInstalledFile {
    path: String,
    bytes: u64,
    digest: Digest,
    is_executable: bool,
    /// Only for a single file: its text; null if it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Option<String>>,
}

impl WireInstalledFile {
    /// Shows a file as an item of a list.
    pub(crate) fn listed(path: &str, file: &PackFile) -> Self {
        Self {
            path: path.to_owned(),
            bytes: file.bytes.len() as u64,
            digest: Digest::of(&file.bytes),
            is_executable: file.mode == FileMode::Executable,
            text: None,
        }
    }

    /// Shows a single file.
    pub(crate) fn whole(path: &str, file: &PackFile) -> Self {
        let text = std::str::from_utf8(&file.bytes).ok().map(str::to_owned);
        Self { text: Some(text), ..Self::listed(path, file) }
    }
}

/// Changes of a pack's files to check.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireToCheck {
    /// The new texts by path; null for a file that is removed. All other files are the installed ones.
    pub(crate) files: BTreeMap<String, Option<String>>,
}

/// The findings about a pack.
#[wire(Serialize)]
pub(crate) struct WireChecked {
    /// Whether the pack could be installed.
    is_good: bool,
    /// Errors, warnings and notes.
    #[schemars(with = "Vec<shapes::PackFinding>")]
    findings: Vec<Value>,
}

impl WireChecked {
    pub(crate) fn new(is_good: bool, findings: &[Diagnostic]) -> Self {
        Self { is_good, findings: findings.iter().map(Diagnostic::to_json).collect() }
    }
}
