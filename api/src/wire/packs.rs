//! Packs.

use std::sync::Arc;

use ensue_derive::wire;
use ensue_engine::catalog::Pack;
use ensue_engine::names::{KeyRef, PackName};
use ensue_engine::record::Digest;
use ensue_engine::time::Timestamp;
use ensue_packs::Diagnostic;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::shapes;

/// A pack: as installed, as found in the folder, or both.
#[wire(Serialize)]
pub(crate) struct WirePack {
    name: PackName,
    status: WirePackStatus,
    version: Option<String>,
    description: Option<String>,
    digest: Option<Digest>,
    config: Option<Arc<Value>>,
    keys: Vec<KeyRef>,
    /// What it may do with other packs; null if it may do everything, or is not installed.
    permissions: Option<Vec<String>>,
    installed_at: Option<Timestamp>,
    installed_by: Option<String>,
    /// Errors, warnings and notes about its files in the folder. If there are errors, the last good version
    /// stays installed.
    #[schemars(with = "Vec<shapes::PackFinding>")]
    findings: Vec<Value>,
}

/// The state of a pack.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum WirePackStatus {
    /// It is installed.
    Installed,
    /// Its files have errors, and there is no earlier version without errors.
    NotTaken,
}

impl WirePack {
    /// Shows a pack. A pack that is not installed has errors in its files, and no earlier version without
    /// errors.
    pub(crate) fn new(name: &PackName, pack: Option<&Pack>, installed: Option<ensue_views::Pack>, findings: &[Diagnostic]) -> Self {
        Self {
            name: name.clone(),
            status: if pack.is_some() { WirePackStatus::Installed } else { WirePackStatus::NotTaken },
            version: pack.map(|pack| pack.version.clone()),
            description: pack.map(|pack| pack.description.clone()),
            digest: pack.map(|pack| pack.digest),
            config: pack.map(|pack| pack.config.clone()),
            keys: pack.map(|pack| pack.keys.iter().cloned().collect()).unwrap_or_default(),
            permissions: installed.as_ref().and_then(|installed| installed.permissions.clone()),
            installed_at: installed.as_ref().map(|installed| installed.installed_at),
            installed_by: installed.map(|installed| installed.installed_by),
            findings: findings.iter().map(Diagnostic::to_json).collect(),
        }
    }
}
