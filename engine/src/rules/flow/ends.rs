//! When nothing is kept for the flow control of a rule any more: it changed, or its rule is gone or disabled. What it holds is told of.

use crate::catalog::{Catalog, Mode};
use crate::command::Context;
use crate::ids::{EnforcementId, RuleId};
use crate::mutants;
use crate::names::RuleRef;
use crate::reaction::Reaction;
use crate::record::{Actor, Digest, Draft, Record, StreamId};
use crate::rules::flow::facts::{EnforcementSuperseded, FlowEndedBecause, RuleFlowEnded, SupersededBecause};
use crate::rules::flow::state::{FlowOfRule, Held};
use crate::schedule::react::Changed;
use crate::state::State;

/// The most held enforcements that one consequence of a record ends; the others are its next.
const ENDED_AT_ONCE_MAX: usize = 100;

/// Ends what a record has changed: what it leads to is worked out of what is installed and what is kept, so that doing it again changes
/// nothing.
pub(crate) fn follow(state: &State, record: &Record, changed: Changed<'_>, with: &Context<'_>) -> Reaction {
    if state.flows().rules().all(|(_, of)| !changed.is_of_rule(&of.rule)) || mutants::is("what a rule holds outlives its flow control") {
        return Reaction::nothing();
    }
    let revision = state.catalog_revision();
    match with.catalogs.at(revision) {
        Some(catalog) => aligned(state, record, &catalog, |rule| changed.is_of_rule(rule)),
        None => Reaction::Impossible(format!("the catalog of revision {revision} cannot be built")),
    }
}

/// Ends what should have ended, at the start of a node: what was put aside, for a catalog that could not be built or a bug of ours, is not
/// kept for good.
pub(crate) fn at_start(state: &State, record: &Record, with: &Context<'_>) -> Option<Reaction> {
    let catalog = with.catalogs.at(state.catalog_revision())?;
    match aligned(state, record, &catalog, |_| true) {
        Reaction::Drafts { drafts, .. } if drafts.is_empty() => None,
        Reaction::Drafts { drafts, .. } => Some(Reaction::more(drafts)),
        other @ (Reaction::Needs(_) | Reaction::Held(_) | Reaction::Impossible(_)) => Some(other),
    }
}

fn aligned(state: &State, record: &Record, catalog: &Catalog, is_asked: impl Fn(&RuleRef) -> bool) -> Reaction {
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

/// Ends what is kept for a rule, or a part of it where that is much.
pub(super) fn end(state: &State, record: &Record, (id, of): (RuleId, &FlowOfRule), why: FlowEndedBecause) -> Vec<Draft> {
    let held = state.flows().held_for(id).take(ENDED_AT_ONCE_MAX);
    let mut drafts: Vec<Draft> = held.map(|held| superseded(record, held, why.into(), None)).collect();
    if drafts.len() < ENDED_AT_ONCE_MAX {
        let fact = RuleFlowEnded { rule: of.rule.clone(), rule_id: id, why };
        let cause = Some(record.cause.from_parent(record.id));
        let stream = StreamId::Rule(of.rule.clone());
        drafts.push(Draft { stream, begins: None, actor: Actor::Engine, cause, trace: None, fact: fact.into(), body: None });
    }
    drafts
}

/// Says why the flow control by which something was kept or judged is not the rule's any more; none where it is.
pub(super) fn why_ended(state: &State, catalog: &Catalog, (rule, id): (&RuleRef, RuleId), flow: Digest) -> Option<FlowEndedBecause> {
    let Some(now) = catalog.rules().get(rule).filter(|rule| rule.id == id) else { return Some(FlowEndedBecause::Removed) };
    if now.flow.as_ref().is_none_or(|now| now.digest() != flow) {
        return Some(FlowEndedBecause::Changed);
    }
    matches!(state.rules().mode(now), Mode::Disabled).then_some(FlowEndedBecause::Disabled)
}

/// Says that a held enforcement is not acted on, which a record has led to.
pub(super) fn superseded(record: &Record, (id, held): (EnforcementId, &Held), why: SupersededBecause, by: Option<EnforcementId>) -> Draft {
    let fact = EnforcementSuperseded { rule: held.rule.clone(), rule_id: held.rule_id, why, by };
    // What came in its place is what led to it.
    let parent = by.map_or(record.id, |by| by.0);
    let (stream, cause) = (StreamId::Enforcement(id), Some(held.cause(parent)));
    Draft { stream, begins: None, actor: Actor::Engine, cause, trace: None, fact: fact.into(), body: None }
}
