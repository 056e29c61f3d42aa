//! The end of a rule's flow control state: the flow control changed, or its rule is gone or disabled. Held
//! enforcements are reported.

use crate::catalog::{Catalog, Mode};
use crate::command::Context;
use crate::ids::{EnforcementId, RuleId};
use crate::names::RuleRef;
use crate::reaction::Reaction;
use crate::record::{Digest, Draft, Record, StreamId};
use crate::rules::flow::facts::{EnforcementSuperseded, FlowEndedBecause, RuleFlowEnded, SupersededBecause};
use crate::rules::flow::state::{FlowOfRule, HeldEnforcement};
use crate::schedule::react::ChangedDefinitions;
use crate::state::State;

/// The maximum number of held enforcements that one consequence of a record ends; further consequences end the others.
const ENDED_AT_ONCE_MAX: usize = 100;

/// Ends the flow control state that a record makes obsolete. The consequences depend only on the installed
/// rules and the kept state, so repeating this changes nothing.
pub(crate) fn follow(state: &State, record: &Record, changed: ChangedDefinitions<'_>, with: &Context<'_>) -> Reaction {
    if state.flows().rules().all(|(_, of)| !changed.is_of_rule(&of.rule)) {
        return Reaction::nothing();
    }
    let revision = state.catalog_revision();
    match with.catalogs.at(revision) {
        Some(catalog) => end_outdated_flows(state, record, &catalog, |rule| changed.is_of_rule(rule)),
        None => Reaction::Impossible(format!("the catalog of revision {revision} cannot be built")),
    }
}

/// Ends obsolete state when a node starts: state that was left over, because a catalog could not be built or
/// because of an internal error, is not kept permanently.
pub(crate) fn at_start(state: &State, record: &Record, with: &Context<'_>) -> Option<Reaction> {
    let catalog = with.catalogs.at(state.catalog_revision())?;
    end_outdated_flows(state, record, &catalog, |_| true).unless_nothing()
}

fn end_outdated_flows(state: &State, record: &Record, catalog: &Catalog, is_asked: impl Fn(&RuleRef) -> bool) -> Reaction {
    let asked = state.flows().rules().filter(|(_, of)| is_asked(&of.rule));
    let ended = asked.filter_map(|(id, of)| Some((id, of, why_ended(state, catalog, (&of.rule, id), of.flow)?)));
    let mut drafts = Vec::new();
    for (id, of, why) in ended {
        drafts.extend(end(state, record, (id, of), why));
        if drafts.len() >= ENDED_AT_ONCE_MAX {
            return Reaction::more(drafts);
        }
    }
    Reaction::last(drafts)
}

/// Ends the state kept for a rule, or a part of it if there is much.
pub(super) fn end(state: &State, record: &Record, (id, of): (RuleId, &FlowOfRule), why: FlowEndedBecause) -> Vec<Draft> {
    let held = state.flows().held_for(id).take(ENDED_AT_ONCE_MAX);
    let mut drafts: Vec<Draft> = held.map(|held| draft_superseded(record, held, why.into(), None)).collect();
    if drafts.len() < ENDED_AT_ONCE_MAX {
        let fact = RuleFlowEnded { rule: of.rule.clone(), rule_id: id, why };
        let cause = Some(record.cause.from_parent(record.id));
        let stream = StreamId::Rule(of.rule.clone());
        drafts.push(Draft::by_engine(stream, fact).because(cause));
    }
    drafts
}

/// Returns why a flow control that something was kept or judged by is no longer the rule's; `None` if it still is.
pub(super) fn why_ended(state: &State, catalog: &Catalog, (rule, id): (&RuleRef, RuleId), flow: Digest) -> Option<FlowEndedBecause> {
    let Some(now) = catalog.rules().get(rule).filter(|rule| rule.id == id) else { return Some(FlowEndedBecause::Removed) };
    if now.flow.as_ref().is_none_or(|now| now.digest() != flow) {
        return Some(FlowEndedBecause::Changed);
    }
    matches!(state.rules().mode(now), Mode::Disabled).then_some(FlowEndedBecause::Disabled)
}

/// Returns the record that a held enforcement is not acted on, caused by another record.
pub(super) fn draft_superseded(
    record: &Record,
    (id, held): (EnforcementId, &HeldEnforcement),
    why: SupersededBecause,
    by: Option<EnforcementId>,
) -> Draft {
    let fact = EnforcementSuperseded { rule: held.rule.clone(), rule_id: held.rule_id, why, by };
    // Its cause is the enforcement that replaces it.
    let parent = by.map_or(record.id, |by| by.0);
    let (stream, cause) = (StreamId::Enforcement(id), Some(held.cause(parent)));
    Draft::by_engine(stream, fact).because(cause)
}
