//! Consequences of an event: first the steps that wait for it continue, then the rules decide.

use std::sync::Arc;

use ensue_expression::Document;

use crate::command::{Context, Moment};
use crate::events::facts::EventReceived;
use crate::ids::EventId;
use crate::reaction::{Consequence, Reaction};
use crate::record::Record;
use crate::rules::judge::{EventView, Judgement, judge_stored};
use crate::rules::react as rules;
use crate::state::State;
use crate::workflows::waits;

/// Returns the `next`-th consequence of an event.
pub(crate) fn react(state: &State, record: &Record, fact: &EventReceived, next: Consequence, at: &Moment, with: &Context<'_>) -> Reaction {
    // The rules may have many consequences, or none that can be computed. Steps that wait for the event do
    // not wait for that.
    if next == Consequence::FIRST
        && let Some(reaction) = waits::of_event(state, record, fact, with)
    {
        return reaction;
    }
    if !fact.concerns_rules() {
        return Reaction::nothing();
    }
    match judgement(record, fact, with) {
        Ok(judgement) => rules::react(state, record, fact, &judgement, next, at, with),
        Err(reaction) => reaction,
    }
}

/// Returns the judgement that came with an event. If it is gone, after a restart, or belongs to another
/// catalog, judges again: the same catalog gives the same judgement for the same payload.
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
    Ok(Arc::new(judge_stored(&catalog, &view, fact.version).as_recorded(fact.matched + fact.erred)))
}
