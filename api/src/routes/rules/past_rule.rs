//! A rule as it was at an earlier position: its definition at that time, its mode, its errors, and its schedule. Its
//! matches are in the streams of enforcements, so they are left out.

use ensue_engine::catalog::DefinitionRef;
use ensue_engine::explain::Explain;
use ensue_engine::fact::Fact;
use ensue_engine::ids::RuleId;
use ensue_engine::names::{PackName, RuleRef};
use ensue_engine::ports::{LogError, ReadLimit};
use ensue_engine::record::{CatalogRevision, Position, Revision, StreamId};
use ensue_engine::schedule::facts::ScheduleOwner;
use ensue_views::view::Touch;
use ensue_views::{RuleActivity, Schedule, View as _};
use thiserror::Error;

use crate::as_of::{NotThen, each_until};
use crate::permissions::{Permission as _, RulesRead};
use crate::ports::Ports;
use crate::problem::Problem;
use crate::wire::rules::WireRule;

/// The maximum number of records of a rule that are folded for an answer. Each time of a schedule has two.
const FOLDED_MAX: usize = 200_000;

/// The definitions of that time are no longer stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[error("the catalog of revision {0} is no longer stored")]
#[explain(slug = "catalog-gone", fault = Missing, hint = "ask for a later position, or leave out `as_of` to see the current rule")]
struct DefinitionsGone(CatalogRevision);

/// Shows a rule as it was. Blocking.
pub(super) fn rule_at(ports: &Ports, name: &RuleRef, at: Position) -> Result<WireRule, Problem> {
    let not_then = || NotThen { noun: RulesRead::THING, name: name.to_string(), at, from: None };
    let revision = revision_at(ports, &name.pack(), at)?.ok_or_else(not_then)?;
    let catalog = ports.installed.at(revision).ok_or(DefinitionsGone(revision))?;
    let rule = catalog.rules().get(name).ok_or_else(not_then)?;
    let (activity, schedule) = fold_rule(ports, name, rule.id, at)?;
    let place = catalog.places().get(&DefinitionRef::Rule(name.clone()));
    Ok(WireRule::new(rule, place, activity, schedule).without_matches())
}

/// Returns the revision of the catalog at a position, as far as the installed packs and the rule's own say it; none
/// if there was none of them. Blocking.
fn revision_at(ports: &Ports, own: &PackName, at: Position) -> Result<Option<CatalogRevision>, LogError> {
    let current = ports.installed.current();
    let packs = current.packs().keys().filter(|pack| *pack != own).chain([own]);
    let revisions = packs.map(|pack| last_change(ports, &StreamId::Pack(pack.clone()), at)).collect::<Result<Vec<_>, _>>()?;
    Ok(revisions.into_iter().max().flatten())
}

/// Returns the revision that the last change of a pack up to a position led to. Blocking.
fn last_change(ports: &Ports, stream: &StreamId, at: Position) -> Result<Option<CatalogRevision>, LogError> {
    let mut next = ports.log.newest_until(stream, at)?;
    while let Some(record) = next {
        match &record.fact {
            Fact::PackInstalled(fact) => return Ok(Some(fact.catalog)),
            Fact::PackRemoved(fact) => return Ok(Some(fact.catalog)),
            // The permissions of the pack were set.
            _ => {}
        }
        let Some(before) = record.revision.0.checked_sub(2) else { break };
        next = ports.log.read_stream(stream, Revision(before), ReadLimit { records: 1, ..ReadLimit::default() })?.into_iter().next();
    }
    Ok(None)
}

/// Folds the rule's own records. A rule that was deleted and created again is another one in the same stream. Blocking.
fn fold_rule(ports: &Ports, name: &RuleRef, id: RuleId, at: Position) -> Result<(Option<RuleActivity>, Option<Schedule>), Problem> {
    let (mut activity, mut schedule): (Option<RuleActivity>, Option<Schedule>) = (None, None);
    let owner = ScheduleOwner::Rule(name.clone(), id);
    each_until(ports, &StreamId::Rule(name.clone()), at, FOLDED_MAX, |record| {
        if matches!(RuleActivity::key(record), Some(Touch::Begins(of) | Touch::Changes(of)) if of == id) {
            activity = RuleActivity::project(activity.take(), record);
        }
        match Schedule::key(record) {
            Some(Touch::Begins(_)) => {
                if let Some(set) = Schedule::project(None, record).filter(|set| set.owner == owner) {
                    schedule = Some(set);
                }
            }
            Some(Touch::Changes(of)) if schedule.as_ref().is_some_and(|set| set.id == of) => {
                schedule = Schedule::project(schedule.take(), record);
            }
            Some(Touch::Changes(_)) | None => {}
        }
    })?;
    Ok((activity, schedule))
}
