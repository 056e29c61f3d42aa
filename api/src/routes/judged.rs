//! What rules made of an event, worked out again from the log: by the catalog that judged it, on the payload as it came.
//!
//! Nothing of it is kept; what a rule decided is in its enforcement.

use std::sync::Arc;

use ensue_engine::catalog::{Catalog, Rule};
use ensue_engine::explain::{Explain, Fault};
use ensue_engine::record::CatalogRevision;
use ensue_engine::rules::judge::{EventView, RULE_STEPS_MAX, with_rule_scope};
use ensue_expression::{Budget, Document};
use ensue_views::{Enforcement, Event};
use thiserror::Error;

use crate::ports::Ports;
use crate::problem::Problem;
use crate::wire::rules::WireVerdict;

/// Why it cannot be worked out what rules made of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
enum Forgotten {
    /// What judged it is gone.
    #[error("the catalog of revision {0}, which judged this event, is not kept any more")]
    Catalog(CatalogRevision),
    /// What was judged is gone.
    #[error("the payload of this event was erased")]
    Payload,
}

impl Explain for Forgotten {
    fn slug(&self) -> &'static str {
        match self {
            Self::Catalog(_) => "catalog-gone",
            Self::Payload => "payload-erased",
        }
    }

    fn fault(&self) -> Fault {
        match self {
            Self::Catalog(_) | Self::Payload => Fault::Conflict,
        }
    }

    fn hint(&self) -> Option<String> {
        Some("the enforcements of the event, and the errors of its rules, are still there".into())
    }
}

/// An event with what judged it.
pub(super) struct Judged<'a> {
    event: &'a Event,
    catalog: Arc<Catalog>,
    payload: Document,
}

impl<'a> Judged<'a> {
    /// Fetches what judged an event, and what was judged. Blocking.
    pub(super) fn read(ports: &Ports, event: &'a Event) -> Result<Self, Problem> {
        let catalog = ports.installed.at(event.catalog).ok_or(Forgotten::Catalog(event.catalog))?;
        let handle = event.payload.ok_or(Forgotten::Payload)?;
        let payload = ports.log.body(handle.position)?.ok_or(Forgotten::Payload)?;
        // What stands in the log was JSON when it was taken in.
        let payload = Document::parse(payload).map_err(|why| Problem::bug(&why))?;
        Ok(Self { event, catalog, payload })
    }

    /// Gives the rules of the event's trigger, in the order of their refs.
    pub(super) fn rules(&self) -> &[Arc<Rule>] {
        self.catalog.index().of_trigger(&self.event.trigger)
    }

    /// Has a rule judge the event again and explain itself; `enforcement` is what it decided then.
    pub(super) fn verdict(&self, rule: &Rule, enforcement: Option<&Enforcement>) -> WireVerdict {
        let Event { id, trigger, source, time, .. } = self.event;
        let view = EventView { id: *id, trigger, source, time: *time, payload: &self.payload };
        let explain = |when: &ensue_expression::Expression| {
            with_rule_scope(rule, &view, |scope| when.explain(scope, &mut Budget::steps(RULE_STEPS_MAX)))
        };
        WireVerdict::new(rule, rule.when.as_ref().map(explain).as_ref(), enforcement)
    }
}
