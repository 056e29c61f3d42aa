//! The consequences of a match of a rule with flow control, and of the end of a hold.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ensue_expression::{Document, EVALUATION_BYTES_MAX};

use crate::catalog::{Acts, Catalog, Control, Does, Flow, Mode, Rule};
use crate::command::{Context, Moment, Settings};
use crate::events::internal::InternalTriggers;
use crate::executions::facts::GivenEvent;
use crate::executions::rights;
use crate::fact::Fact;
use crate::ids::{EnforcementId, ExecutionId, Id, Role};
use crate::locks::facts::{Claim, LockOwner};
use crate::reaction::{Consequence, Reaction};
use crate::record::{BodyHandle, CatalogRevision, Digest, Draft, Record, StreamId};
use crate::rules::facts::Outcome;
use crate::rules::flow::ends::{draft_superseded, end, why_ended};
use crate::rules::flow::facts::{
    ControlKey, ControlledMatch, EnforcementHeldOn, EnforcementReleased, FlowEndedBecause, Release, RuleKeyForgotten, SupersededBecause,
};
use crate::rules::flow::match_keys::Keys;
use crate::rules::flow::state::{HeldEnforcement, HeldEvent};
use crate::rules::flow::walk::{HoldTimer, MatchFate, Walk, WalkOutcome};
use crate::rules::judge::{EventView, Plan, render_released};
use crate::rules::react::{EventReaction, build_request, why_skipped};
use crate::state::State;
use crate::timers::facts::{TimerKind, TimerSet};
use crate::timers::state::{TimerId, TimerOwner};
use crate::vars::reads::RuleReads;
use crate::vars::values::{NotSeen, SeenVars};

/// A match of a rule with flow control.
pub(crate) struct Match<'a> {
    pub(crate) event: EventReaction<'a>,
    pub(crate) rule: &'a Arc<Rule>,
    pub(crate) flow: &'a Flow,
    pub(crate) keys: &'a Keys,
    /// What to run if it passes at once; `None` if that is known only with the other events of its window.
    pub(crate) run: Option<&'a Plan>,
    pub(crate) mode: Mode,
}

/// Returns the consequences of a match. If state of an earlier flow control of the rule must end first, that
/// comes first, and the caller asks again from the `next`-th consequence on.
pub(crate) fn react_to_match(found: &Match<'_>, next: Consequence, at: &Moment, with: &Context<'_>) -> Result<Vec<Draft>, Reaction> {
    let (state, record, rule) = (found.event.state, found.event.record, found.rule);
    if let Some(why) = why_outdated(found, with)? {
        return Ok(found.without_state(why));
    }
    if let Some(of) = state.flows().of(rule.id).filter(|of| of.flow != found.flow.digest()) {
        return Err(Reaction::from(end(state, record, (rule.id, of), FlowEndedBecause::Changed), next));
    }
    let walk = Walk {
        flows: state.flows(),
        timers: state.timers(),
        rule: rule.id,
        keys: &found.keys.of,
        distinct: found.keys.distinct,
        trigger: &found.event.fact.trigger,
        payload_bytes: record.body_handle().map_or(0, |payload| payload.bytes),
        now: at.time,
        most: with.settings.flow_keys_max,
    };
    let walked = walk.through(found.flow.stages());
    match walked.place {
        MatchFate::After(newest) => Err(Reaction::from(row_released(state, record, newest, next, at, with)?, next)),
        MatchFate::Through | MatchFate::Held { .. } | MatchFate::Deduplicated(_) | MatchFate::Throttled => found.drafts(&walked, with),
    }
}

/// Returns why the flow control that a match was judged by is no longer the rule's: the match may have been
/// owed for a while.
fn why_outdated(found: &Match<'_>, with: &Context<'_>) -> Result<Option<FlowEndedBecause>, Reaction> {
    let state = found.event.state;
    let catalog = current(state, with)?;
    Ok(why_ended(state, &catalog, (&found.rule.name, found.rule.id), found.flow.digest()))
}

fn current(state: &State, with: &Context<'_>) -> Result<Arc<Catalog>, Reaction> {
    let revision = state.catalog_revision();
    with.catalogs.at(revision).ok_or_else(|| Reaction::Impossible(format!("the catalog of revision {revision} cannot be built")))
}

impl Match<'_> {
    fn drafts(&self, walked: &WalkOutcome, with: &Context<'_>) -> Result<Vec<Draft>, Reaction> {
        let (event, id) = (&self.event, self.event.enforcement_id(self.rule));
        let mut drafts: Vec<Draft> = Vec::new();
        let controlled = self.controlled_match(walked);
        match walked.place {
            MatchFate::Through => match self.plan(&walked.gathered, with)? {
                Plan::Run { .. } if self.mode == Mode::Shadow => drafts.push(event.enforcement(self.rule, Outcome::Shadowed, controlled)),
                Plan::Run { params, pace, claim, labels } => {
                    let claims = claims(self.rule, &self.keys.of, claim);
                    drafts.extend(event.draft_execution(self.rule, &params, (pace, claims, labels), (controlled, &walked.gathered)));
                }
                Plan::Reject { error } => drafts.push(event.enforcement(self.rule, Outcome::Rejected { error }, controlled)),
                Plan::Controlled { .. } => {}
            },
            MatchFate::Held { by, until, .. } => drafts.push(event.enforcement(self.rule, Outcome::Held { by, until }, controlled)),
            MatchFate::Deduplicated(of) => drafts.push(event.enforcement(self.rule, Outcome::Deduplicated { of }, controlled)),
            MatchFate::Throttled => drafts.push(event.enforcement(self.rule, Outcome::Throttled, controlled)),
            // The caller asks again once that row is released.
            MatchFate::After(_) => {}
        }
        let cause = event.record.cause.from_parent(id.0);
        if let MatchFate::Held { until, timer: HoldTimer::Own, .. } = walked.place {
            drafts.push(timer(event.state, id, 1, until).because(cause.clone()));
        }
        drafts.extend(leaves(event.state, event.record, id, walked));
        for (control, key) in &walked.forgotten {
            let fact = RuleKeyForgotten { rule: self.rule.name.clone(), rule_id: self.rule.id, control: *control, key: *key };
            drafts.push(draft(StreamId::Rule(self.rule.name.clone()), fact.into()).because(cause.clone()));
        }
        Ok(drafts)
    }

    /// Returns the records for a match whose flow control is no longer the rule's: it holds nothing, and
    /// keeps no state for a match that it lets through.
    fn without_state(&self, why: FlowEndedBecause) -> Vec<Draft> {
        let is_late = || match why {
            FlowEndedBecause::Changed => "the flow control of the rule was changed before this match was processed",
            FlowEndedBecause::Removed => "the rule was removed before this match was processed",
            FlowEndedBecause::Disabled => "the rule was disabled before this match was processed",
        };
        match self.run {
            _ if self.mode == Mode::Shadow => vec![self.event.enforcement(self.rule, Outcome::Shadowed, None)],
            Some(Plan::Run { params, pace, claim, labels }) if !self.flow.holds() => {
                let claims = claims(self.rule, &self.keys.of, claim.clone());
                self.event.draft_execution(self.rule, params, (*pace, claims, labels.clone()), (None, &[]))
            }
            Some(Plan::Run { .. } | Plan::Reject { .. } | Plan::Controlled { .. }) | None => {
                vec![self.event.enforcement(self.rule, Outcome::Rejected { error: is_late().to_owned() }, None)]
            }
        }
    }

    /// Returns what the state keeps of the match; `None` if nothing.
    fn controlled_match(&self, walked: &WalkOutcome) -> Option<ControlledMatch> {
        let is_held = |control: Control| matches!(walked.place, MatchFate::Held { by, .. } if control >= by);
        let keys = self.keys.of.iter().filter_map(|(control, key)| {
            let until = walked.known.get(control).copied();
            (until.is_some() || is_held(*control)).then_some((*control, ControlKey { key: *key, until }))
        });
        let keys: BTreeMap<_, _> = keys.collect();
        let given = matches!(walked.place, MatchFate::Held { .. }).then(|| self.event.given_event()).flatten();
        let internal_above = given.as_ref().map(|_| self.event.fact.internal_above_what_follows()).unwrap_or_default();
        let distinct = self.keys.distinct.filter(|_| is_held(Control::Window));
        (!keys.is_empty()).then(|| ControlledMatch { flow: self.flow.digest(), keys, distinct, given, internal_above })
    }

    /// Returns what to run if the match passes at once.
    fn plan(&self, gathered: &[HeldEvent], with: &Context<'_>) -> Result<Plan, Reaction> {
        match (self.run, self.event.given_event()) {
            (Some(plan), _) => Ok(plan.clone()),
            (None, Some(given)) => {
                let event = HeldEvent { id: self.event.event, given, internal_above: self.event.fact.internal_above_what_follows() };
                let judging = (&**self.rule, self.event.fact.catalog);
                render_plan(self.event.state, judging, (&event, gathered), with)
            }
            (None, None) => Err(Reaction::Impossible("the event has no payload".to_owned())),
        }
    }
}

/// Returns the consequences of an enforcement's timer that has fired.
pub(crate) fn react_to_timer(
    state: &State,
    record: &Record,
    (id, number): (EnforcementId, u32),
    next: Consequence,
    at: &Moment,
    with: &Context<'_>,
) -> Reaction {
    let Some(held) = state.flows().get(id).filter(|held| held.holds == number) else { return Reaction::nothing() };
    let released = judging_rule(held, with).and_then(|rule| match ends_with(&rule, held.control) {
        HoldEnd::Passes => Ok(vec![draft_superseded(record, (id, held), SupersededBecause::WindowPassed, None)]),
        HoldEnd::Alone => release_held(state, record, (id, held), &[], next, at, with),
        HoldEnd::InRow => match state.flows().row_of(held).last() {
            // Its row continues until the newest match is due, which has a timer of its own.
            Some((_, newest)) if newest.until > held.until => Ok(Vec::new()),
            Some((newest, _)) => row_released(state, record, *newest, next, at, with),
            None => Ok(Vec::new()),
        },
    });
    released.map_or_else(|reaction| reaction, Reaction::last)
}

/// What happens to a held match once it is due.
enum HoldEnd {
    /// It continues alone.
    Alone,
    /// It continues with all others of its row.
    InRow,
    /// Its window has passed.
    Passes,
}

fn ends_with(rule: &Rule, control: Control) -> HoldEnd {
    match rule.flow.as_ref().and_then(|flow| flow.stage(control)).map(|stage| &stage.does) {
        Some(Does::Window { .. } | Does::Distinct { .. } | Does::Each { .. }) => HoldEnd::Passes,
        Some(Does::Digest { .. } | Does::Debounce { acts: Acts::OnAll, .. }) => HoldEnd::InRow,
        Some(
            Does::Debounce { acts: Acts::OnLast, .. }
            | Does::Dedupe { .. }
            | Does::Throttle { .. }
            | Does::Missing { .. }
            | Does::Concurrency { .. },
        )
        | None => HoldEnd::Alone,
    }
}

/// Returns the rule that judged a held match.
fn judging_rule(held: &HeldEnforcement, with: &Context<'_>) -> Result<Arc<Rule>, Reaction> {
    let judged = with.catalogs.at(held.catalog);
    let rule = judged.as_ref().and_then(|catalog| catalog.rules().get(&held.rule)).cloned();
    rule.ok_or_else(|| Reaction::Impossible(format!("the catalog of revision {} cannot be built", held.catalog)))
}

/// Releases a row of held matches: the newest continues, with the events of the others.
fn row_released(
    state: &State,
    record: &Record,
    newest: EnforcementId,
    next: Consequence,
    at: &Moment,
    with: &Context<'_>,
) -> Result<Vec<Draft>, Reaction> {
    let Some(held) = state.flows().get(newest) else { return Ok(Vec::new()) };
    let mut others = state.flows().row_of(held);
    others.retain(|(id, _)| *id != newest);
    release_held(state, record, (newest, held), &others, next, at, with)
}

/// Releases an enforcement from the flow control that held it, with the others of its row, to continue through
/// the later flow controls.
fn release_held(
    state: &State,
    record: &Record,
    (id, held): (EnforcementId, &HeldEnforcement),
    others: &[(EnforcementId, &HeldEnforcement)],
    next: Consequence,
    at: &Moment,
    with: &Context<'_>,
) -> Result<Vec<Draft>, Reaction> {
    let now = current(state, with)?;
    let flow = state.flows().of(held.rule_id).map(|of| of.flow);
    if let Some(why) = flow.and_then(|flow| why_ended(state, &now, (&held.rule, held.rule_id), flow)) {
        let all = others.iter().copied().chain(std::iter::once((id, held)));
        return Ok(all.map(|held| draft_superseded(record, held, why.into(), None)).collect());
    }
    let rule = judging_rule(held, with)?;
    let Some(present) = now.rules().get(&held.rule) else {
        return Err(Reaction::Impossible(format!("the catalog of revision {} has no rule `{}`", state.catalog_revision(), held.rule)));
    };
    let stages = rule.flow.as_ref().map_or(&[][..], |flow| flow.after(held.control));
    let walk = Walk {
        flows: state.flows(),
        timers: state.timers(),
        rule: held.rule_id,
        keys: &held.keys,
        distinct: held.distinct,
        trigger: &held.event.given.trigger,
        payload_bytes: held.event.given.payload.bytes,
        now: at.time,
        most: with.settings.flow_keys_max,
    };
    let mut walked = walk.through(stages);
    if walked.gathered.is_empty() {
        walked.gathered.extend(held.gathered.iter().chain(others.iter().map(|(_, other)| &other.event)).cloned());
    }
    walked.superseded.extend(others.iter().map(|(other, _)| (*other, SupersededBecause::WindowFilled)));
    let own = |fact: Fact| draft(StreamId::Enforcement(id), fact).because(held.cause(record.id));
    let mut drafts = match walked.place {
        MatchFate::After(newest) => return Err(Reaction::from(row_released(state, record, newest, next, at, with)?, next)),
        MatchFate::Held { by, until, timer: by_timer } => {
            let on = EnforcementHeldOn { rule: held.rule.clone(), rule_id: held.rule_id, by, until };
            let timer = timer(state, id, held.holds.saturating_add(1), until);
            let timer = timer.because(held.cause(record.id));
            std::iter::once(own(on.into())).chain((by_timer == HoldTimer::Own).then_some(timer)).collect()
        }
        // A match that was held is never dropped by a later flow control.
        MatchFate::Through | MatchFate::Deduplicated(_) | MatchFate::Throttled => {
            let mode = state.rules().mode_at(present, record.position);
            let plan = render_plan(state, (&rule, held.catalog), (&held.event, &walked.gathered), with)?;
            let (outcome, request) = acted_on(state, &rule, (id, held, &walked.gathered), (plan, mode), with.settings);
            let fact = EnforcementReleased { rule: held.rule.clone(), rule_id: held.rule_id, outcome };
            std::iter::once(own(fact.into())).chain(request).collect::<Vec<_>>()
        }
    };
    drafts.extend(leaves(state, record, id, &walked));
    Ok(drafts)
}

/// Returns the outcome of a released enforcement, and its request; no request if its rule only observes.
fn acted_on(
    state: &State,
    rule: &Rule,
    (id, held, gathered): (EnforcementId, &HeldEnforcement, &[HeldEvent]),
    (plan, mode): (Plan, Mode),
    settings: &Settings,
) -> (Release, Option<Draft>) {
    match plan {
        Plan::Reject { error } => (Release::Rejected { error }, None),
        Plan::Run { .. } if mode == Mode::Shadow => (Release::Shadowed, None),
        Plan::Controlled { .. } => (Release::Shadowed, None),
        Plan::Run { params, pace, claim, labels } => {
            if let Err(error) = rights::rule_may_run(state, rule) {
                return (Release::Rejected { error }, None);
            }
            let claims = claims(rule, &held.keys, claim);
            if let Some(reason) = why_skipped(state, held.catalog, &claims) {
                return (Release::Skipped { reason }, None);
            }
            let execution = ExecutionId(Id::derive(state.log(), id.0, Role::Execution));
            let given = rule.has_steps().then(|| held.event.given.clone());
            let internal_above = above_all(held.event.internal_above.clone(), gathered);
            let request = build_request(rule, held.catalog, (held.event.id, id), given, (pace, claims, labels), internal_above, settings);
            let (begins, cause) = (Some(execution.0), Some(held.cause(id.0)));
            let request = draft(StreamId::Execution(execution), request.into()).beginning(begins).because(cause).with_body(params);
            (Release::Executed { execution }, Some(request))
        }
    }
}

/// Returns the locks that the execution of a match must hold: that of its rule, then that of its action.
fn claims(rule: &Rule, keys: &BTreeMap<Control, Digest>, of_action: Option<Claim>) -> Vec<Claim> {
    let stage = rule.flow.as_ref().and_then(|flow| flow.stage(Control::Concurrency));
    let of_rule = stage.and_then(|stage| match stage.does {
        Does::Concurrency { limit, conflict } => {
            let (owner, key) = (LockOwner::Rule(rule.name.clone()), *keys.get(&Control::Concurrency)?);
            Some(Claim { owner, key, limit, conflict })
        }
        _ => None,
    });
    of_rule.into_iter().chain(of_action).collect()
}

/// Returns the records of enforcements that are no longer held because of another one.
fn leaves(state: &State, record: &Record, by: EnforcementId, walked: &WalkOutcome) -> Vec<Draft> {
    let superseded = walked.superseded.iter().filter_map(|(id, why)| {
        let held = state.flows().get(*id)?;
        Some(draft_superseded(record, (*id, held), *why, Some(by)))
    });
    superseded.collect()
}

/// Adds the engine's own triggers that have an event above the consequences of gathered events.
pub(crate) fn above_all(internal_above: InternalTriggers, gathered: &[HeldEvent]) -> InternalTriggers {
    gathered.iter().fold(internal_above, |above, event| &above | &event.internal_above)
}

/// Renders what to run for an event, with the others of its window; returns which bodies must be loaded first.
fn render_plan(
    state: &State,
    (rule, catalog): (&Rule, CatalogRevision),
    (event, gathered): (&HeldEvent, &[HeldEvent]),
    with: &Context<'_>,
) -> Result<Plan, Reaction> {
    let bytes: u64 = gathered.iter().chain([event]).map(|event| event.given.payload.bytes).sum();
    if !gathered.is_empty() && bytes > EVALUATION_BYTES_MAX {
        let count = gathered.len() + 1;
        let error = format!("the {count} events of the window are {bytes} bytes together; the limit is {EVALUATION_BYTES_MAX}");
        return Ok(Plan::Reject { error });
    }
    let mut missing: Vec<BodyHandle> = Vec::new();
    let mut document = |event: &HeldEvent| {
        let found = with.bodies.document(&event.given.payload);
        missing.extend(found.is_none().then_some(event.given.payload));
        found.unwrap_or_else(|| Document::from_value(&serde_json::Value::Null))
    };
    let stored: Vec<Document> = gathered.iter().chain([event]).map(&mut document).collect();
    let reads = RuleReads::of(rule).map(|reads| reads.all).unwrap_or_default();
    let vars = match state.vars().collect_values(&reads, with.bodies) {
        Ok(vars) => vars,
        Err(NotSeen::TooLarge(error)) => return Ok(Plan::Reject { error }),
        Err(NotSeen::Missing(values)) => {
            missing.extend(values);
            SeenVars::default()
        }
    };
    if !missing.is_empty() {
        return Err(Reaction::Needs(missing));
    }
    let catalog = with.catalogs.at(catalog);
    let newest = |(event, payload): (&HeldEvent, Document)| match &catalog {
        Some(catalog) => catalog.newest(&event.given.trigger, event.given.version, &payload),
        None => Ok(payload),
    };
    let payloads: Vec<Document> = match gathered.iter().chain([event]).zip(stored).map(newest).collect() {
        Ok(payloads) => payloads,
        Err(why) => return Ok(Plan::Reject { error: why.to_string() }),
    };
    let events: Vec<EventView<'_>> = gathered.iter().chain([event]).zip(&payloads).map(|(event, payload)| event.view(payload)).collect();
    let plan = catch_unwind(AssertUnwindSafe(|| render_released(rule, &events, &vars)));
    Ok(plan.unwrap_or_else(|_| Plan::Reject { error: "the evaluation stopped at an internal error".to_owned() }))
}

impl HeldEvent {
    fn view<'a>(&'a self, payload: &'a Document) -> EventView<'a> {
        let GivenEvent { trigger, source, occurred_at, .. } = &self.given;
        EventView { id: self.id, trigger, source, time: *occurred_at, payload, only: None }
    }
}

fn timer(state: &State, id: EnforcementId, number: u32, due: crate::time::Timestamp) -> Draft {
    let (owner, kind) = (TimerOwner::Enforcement(id), TimerKind::Hold);
    let begins = Some(TimerId { owner, kind, number }.record_id(state.log()));
    draft(StreamId::Enforcement(id), TimerSet { kind, number, due, schedule: None }.into()).beginning(begins)
}

fn draft(stream: StreamId, fact: Fact) -> Draft {
    Draft::by_engine(stream, fact)
}
