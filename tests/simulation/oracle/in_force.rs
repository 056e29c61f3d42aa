//! The log's state of the rules at a position: which edition of the pack is in force, and which modes were
//! set.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::oracle::records::Raw;
use crate::oracle::{Ledger, Violation, demand};
use crate::pack::{Edition, WrittenRule};

/// The log's state of the rules at a position.
#[derive(Default)]
pub(super) struct InForce<'w> {
    /// The newest catalog.
    pub(super) catalog: u64,
    /// By catalog.
    revisions: BTreeMap<u64, Revision<'w>>,
    /// The last mode that was set, by rule id.
    pub(super) modes: BTreeMap<String, String>,
}

/// The pack in a revision of the catalog.
#[derive(Clone, Default)]
pub(super) struct Revision<'w> {
    /// The edition, or `None` before the first.
    pub(super) edition: Option<&'w Edition>,
    /// The ids of its rules by ref.
    pub(super) ids: BTreeMap<String, String>,
    /// The operator's setting for it.
    pub(super) least: u64,
}

impl<'w> Revision<'w> {
    /// Returns a rule by its ref and id, or `None` if the revision has no such rule or another one of that
    /// name.
    pub(super) fn rule(&self, name: &str, id: &str) -> Option<&'w WrittenRule> {
        let bare = name.strip_prefix("sim.")?;
        let is_it = self.ids.get(name).is_some_and(|known| known == id);
        self.edition.filter(|_| is_it)?.rules.iter().find(|rule| rule.name == bare)
    }
}

impl<'w> InForce<'w> {
    /// Returns the pack in a catalog.
    pub(super) fn revision(&self, catalog: u64) -> Revision<'w> {
        self.revisions.get(&catalog).cloned().unwrap_or_default()
    }

    /// Returns the current pack.
    pub(super) fn now(&self) -> Revision<'w> {
        self.revision(self.catalog)
    }

    /// Handles a record.
    pub(super) fn note(&mut self, record: &Raw, ledger: &Ledger<'w>) -> Result<(), Violation> {
        match record.kind.as_str() {
            "pack.installed" | "pack.removed" => {
                let mut revision = self.now();
                self.catalog = record.number("catalog");
                if record.text("name") == "sim" {
                    let number = record.text("version").rsplit('.').next().and_then(|number| number.parse::<usize>().ok());
                    revision.edition = number.and_then(|number| ledger.editions.get(number));
                    demand!(revision.edition.is_some(), "I4", "edition {} of the pack was never written", record.text("version"));
                    revision.ids = BTreeMap::new();
                    revision.least = ledger.ground.operated_at(record.epoch).map_or(0, |operated| operated.least);
                    if let Some(rules) = record.payload().get("rules").and_then(Value::as_object) {
                        revision.ids.extend(rules.iter().map(|(name, id)| (name.clone(), id.as_str().unwrap_or_default().to_owned())));
                    }
                }
                self.revisions.insert(self.catalog, revision);
            }
            "rule.mode_set" => self.set_mode(record, record.text("mode")),
            "loop.stopped" => self.set_mode(record, "disabled"),
            _ => {}
        }
        Ok(())
    }

    fn set_mode(&mut self, record: &Raw, mode: &str) {
        self.modes.insert(record.text("rule_id").to_owned(), mode.to_owned());
    }
}
