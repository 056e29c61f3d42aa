//! Judges one event again and again by the packs installed in a data directory, without a running node, for a
//! measurement. It is not part of a running node.

use std::sync::Arc;

use bytes::Bytes;
use ensue_engine::catalog::Catalog;
use ensue_engine::command::{Moment, Refusal};
use ensue_engine::ids::{EventId, Id};
use ensue_engine::names::TriggerRef;
use ensue_engine::rules::judge::{EventView, judge};
use ensue_expression::Document;

use crate::catalogs::NodeCatalogs;
use crate::clock::{SteppedClock, SystemClock};
use crate::config::Config;
use crate::log_runtime::open::{OpenedDirectory, open};
use crate::offline::OfflineError;
use crate::start_error::StartError;

/// An event and the rules that judge it.
pub struct EventJudge {
    catalog: Arc<Catalog>,
    moment: Moment,
    trigger: TriggerRef,
    payload: Document,
}

impl EventJudge {
    /// Reads the rules that are installed in the data directory of `config`.
    pub fn open(config: &Config, trigger: TriggerRef, payload: Bytes) -> Result<Self, OfflineError> {
        let clock = SystemClock::default();
        let OpenedDirectory { data, log, engine, .. } = open(config, &clock)?;
        let reader = log.reader().map_err(StartError::from)?;
        let catalogs = NodeCatalogs::open(data.packs(), engine.packs().clone(), reader).map_err(StartError::from)?;
        let payload = Document::parse(payload).map_err(|why| Refusal::Bug(why.to_string()))?;
        Ok(Self { catalog: catalogs.current(), moment: clock.moment(), trigger, payload })
    }

    /// Judges the event once. Returns how many rules match it or err.
    pub fn judge(&self) -> usize {
        let Moment { time, entropy } = self.moment;
        let id = EventId(Id::root(time, entropy));
        let view = EventView { id, trigger: &self.trigger, source: "webhook", time, payload: &self.payload, only: None };
        judge(&self.catalog, &view).verdicts.len()
    }
}
