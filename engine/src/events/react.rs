//! What follows from an event: the steps go on that wait for it, then what the rules make of it.

use std::sync::Arc;

use ensue_expression::Document;

use crate::command::{Context, Moment};
use crate::engine::{Engine, Reaction};
use crate::events::facts::EventReceived;
use crate::ids::EventId;
use crate::record::Record;
use crate::rules::judge::{EventView, Judgement, judge};
use crate::rules::react as rules;
use crate::workflows::waits;

/// Gives the `next`-th consequence of an event.
pub(crate) fn react(engine: &Engine, record: &Record, fact: &EventReceived, next: u32, at: &Moment, with: &Context<'_>) -> Reaction {
    // What a rule leads to may be much, or nothing that can be worked out: who waits for the event does not wait for that.
    if next == 0
        && let Some(reaction) = waits::of_event(engine, record, fact, with)
    {
        return reaction;
    }
    if !fact.concerns_rules() {
        return Reaction::nothing();
    }
    match judgement(record, fact, with) {
        Ok(judgement) => rules::react(engine, record, fact, &judgement, next, at, with),
        Err(reaction) => reaction,
    }
}

/// Gives the judgement that came with an event, or, where that is gone (after a restart) or another catalog's, judges again: the
/// same catalog says the same of the same payload.
pub(crate) fn judgement(record: &Record, fact: &EventReceived, with: &Context<'_>) -> Result<Arc<Judgement>, Reaction> {
    match with.judgements.get(&EventId(record.id)) {
        Some(judgement) if judgement.catalog == fact.catalog => Ok(judgement.clone()),
        Some(_) | None => judged_again(record, fact, with),
    }
}

fn judged_again(record: &Record, fact: &EventReceived, with: &Context<'_>) -> Result<Arc<Judgement>, Reaction> {
    let body = record.body_handle().ok_or_else(|| Reaction::Impossible("the event has no payload".to_owned()))?;
    let plain = with.bodies.plain(&body).ok_or_else(|| Reaction::Needs(vec![body]))?;
    let catalog = with
        .catalogs
        .at(fact.catalog)
        .ok_or_else(|| Reaction::Impossible(format!("the catalog of revision {} cannot be built", fact.catalog)))?;
    let payload = Document::parse(plain).map_err(|why| Reaction::Impossible(format!("the payload is no longer JSON: {why}")))?;
    let view = EventView {
        id: EventId(record.id),
        trigger: &fact.trigger,
        source: &fact.source,
        time: fact.occurred_at,
        payload: &payload,
        only: fact.rule.as_ref(),
    };
    Ok(Arc::new(judge(&catalog, &view).as_recorded(fact.matched + fact.erred)))
}
