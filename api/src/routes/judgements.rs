//! The judgements of one rule: what it decided about past events, and which parts of its condition decided.
//!
//! Nothing is stored: each page is worked out from the events and the definitions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ensue_engine::catalog::Rule;
use ensue_engine::names::TriggerRef;
use ensue_engine::rules::judge::EVENT_STEPS_MAX;
use ensue_views::{Column, Event, Filter, ListQuery, ViewName};

use super::Routes;
use super::event_verdicts::{DefinitionsQuery, EventVerdicts};
use super::rules::rule_of;
use crate::auth::{AllowedCaller, Proof as _, Secrecy};
use crate::call::Call;
use crate::listing::{self, SCANNED_MAX};
use crate::operation::{Header, Operation};
use crate::paging::PageQuery;
use crate::period::PeriodQuery;
use crate::permissions::{EventsRead, RulesRead};
use crate::ports::Ports;
use crate::problem::{Outcome, Problem};
use crate::query::{Query, words};
use crate::respond;
use crate::wire::judgements::{WireDecidedGroup, WireJudgedEvent, WireJudgements};
use crate::wire::verdicts::{WireDefinitions, WireJudgement};

/// How long one request may judge events; it then returns what it has, with a next page.
const TIME_MAX: Duration = Duration::from_secs(1);

/// The parameter that selects judgements.
#[derive(Query)]
struct VerdictQuery {
    /// Only judgements with one of these verdicts.
    verdict: Vec<WireJudgement>,
}

words!(WireJudgement);

/// Declares the route of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<RulesRead>(
        "/rules/{ref}/judgements",
        list,
        Operation::new("rule_judgements", "Lists what a rule decided about past events, and which parts of its condition decided")
            .with_query(&[VerdictQuery::PARAMETERS, DefinitionsQuery::PARAMETERS, PeriodQuery::PARAMETERS, PageQuery::PARAMETERS])
            .gives::<WireJudgements>(200, "A page of the judgements.", &[Header::Link])
            .sees_views(),
    );
}

/// Lists what a rule decided about past events, the newest first.
pub(super) async fn list(allowed: AllowedCaller<RulesRead>, call: Call) -> Outcome {
    let rule = rule_of(&allowed, &call)?;
    // A caller that may see rules may not see every event.
    let sees = AllowedCaller::<EventsRead>::demand(&*call.api().ports.access, call.request(), &Secrecy::Open)?;
    let asked = JudgementsQuery {
        verdicts: call.parameters::<VerdictQuery>()?.verdict,
        definitions: call.parameters::<DefinitionsQuery>()?.definitions.unwrap_or_default(),
    };
    let page = call.page(&allowed)?;
    let triggers = rule.triggers.iter().map(TriggerRef::to_string).collect();
    let events = ListQuery {
        filters: vec![Filter::any_of(Column::Trigger, triggers)],
        after: page.after.as_deref().map(listing::place).transpose()?,
        limit: SCANNED_MAX,
        ..listing::list_query(call.query(), ViewName::Events, sees.rows())?
    };
    let limit = page.limit;
    let judged = call.api().threads.explaining(move |ports| judge(ports, &rule, &events, &asked, limit));
    let (judgements, next) = judged.await??;
    call.answer_page_as(next.as_deref(), &page, |next| respond::json(&WireJudgements { next, ..judgements }))
}

/// What a request asks for.
struct JudgementsQuery {
    /// Only these verdicts; all if it is empty.
    verdicts: Vec<WireJudgement>,
    definitions: WireDefinitions,
}

/// Judges events until the page is full or the budget is used up, and returns the place of the last one if there may be
/// more. Blocking.
fn judge(
    ports: &Ports,
    rule: &Arc<Rule>,
    events: &ListQuery,
    asked: &JudgementsQuery,
    limit: usize,
) -> Result<(WireJudgements, Option<String>), Problem> {
    let found = ports.views.find(events)?;
    let is_whole = found.rows.len() < SCANNED_MAX;
    let (mut judgements, mut groups) = (WireJudgements::default(), BTreeMap::<_, WireDecidedGroup>::new());
    let (mut last, mut steps_left, until) = (None, EVENT_STEPS_MAX, Instant::now() + TIME_MAX);
    let mut is_cut = false;
    for row in &found.rows {
        if judgements.items.len() == limit || last.is_some() && (steps_left == 0 || Instant::now() >= until) {
            is_cut = true;
            break;
        }
        let event: Event = row.read()?;
        last = Some(event.position.0.to_string());
        judgements.examined += 1;
        let judged = match EventVerdicts::from_stored(ports, &event, asked.definitions) {
            Ok(judged) => judged,
            Err(problem) if ["catalog_gone", "payload_erased"].contains(&problem.code().as_str()) => {
                judgements.unreadable += 1;
                continue;
            }
            Err(problem) => return Err(problem),
        };
        // The rule may not have existed then, or have had other triggers.
        let Some(then) = judged.rules().iter().find(|one| one.name == rule.name) else { continue };
        let (verdict, decisive) = judged.brief_verdict(then, &mut steps_left);
        if !asked.verdicts.is_empty() && !asked.verdicts.contains(&verdict.name()) {
            continue;
        }
        let group = groups.entry((verdict.name(), decisive.clone()));
        group.or_insert_with(|| WireDecidedGroup::new(verdict.name(), &decisive, event.id)).count += 1;
        judgements.items.push(WireJudgedEvent::new(&event, verdict, decisive));
    }
    judgements.groups = groups.into_values().collect();
    judgements.groups.sort_by_key(|group| std::cmp::Reverse(group.count));
    let next = match is_cut || !is_whole {
        true => last,
        false => found.stopped_at.map(|stopped| stopped.0.to_string()),
    };
    Ok((judgements, next))
}
