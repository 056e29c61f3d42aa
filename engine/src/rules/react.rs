//! The consequences of an event: each rule that matches decides once, each error is counted.

use std::collections::BTreeSet;

use crate::catalog::{LockConflict, Mode, Rule};
use crate::command::{Context, Moment, Settings};
use crate::events::facts::{AGAIN_MAX, EventReceived};
use crate::events::internal::{InternalTrigger, InternalTriggers};
use crate::executions::facts::{ExecutionRequested, GivenEvent, Pace};
use crate::executions::labels::Labels;
use crate::executions::rights;
use crate::executions::scope::ExecutionScope;
use crate::fact::Fact;
use crate::ids::{EnforcementId, EventId, ExecutionId, Id, Role};
use crate::locks::facts::{Claim, LockOwner};
use crate::locks::react::skipped_because;
use crate::reaction::{Consequence, Reaction};
use crate::record::{Body, CatalogRevision, Cause, Digest, Draft, Record, StreamId};
use crate::rules::facts::{EnforcementMade, LoopStopped, Outcome, RuleErred, RuleErrorsCounted};
use crate::rules::flow::facts::ControlledMatch;
use crate::rules::flow::react::{self as flow, Match};
use crate::rules::flow::state::HeldEvent;
use crate::rules::judge::{EventView, Judgement, Plan, RuleVerdict, Verdict, judge_counted};
use crate::state::State;
use crate::time::millis;
use crate::vars::reads::RuleReads;
use crate::vars::values::NotSeen;

pub use crate::record::DEPTH_MAX;

/// Returns the `next`-th consequence of an event: that of its `next`-th verdict.
pub(crate) fn react(
    state: &State,
    record: &Record,
    fact: &EventReceived,
    judgement: &Judgement,
    next: Consequence,
    at: &Moment,
    with: &Context<'_>,
) -> Reaction {
    let Some(judged) = judgement.verdicts.get(next.0 as usize) else { return Reaction::nothing() };
    let event = EventReaction { state, record, fact, event: EventId(record.id), settings: with.settings };
    let mode = state.rules().mode_at(&judged.rule, record.position);
    let mut steps = 0;
    let decided = match judged.verdict {
        Verdict::Undecided if mode != Mode::Disabled => match judge_undecided(state, record, fact, (judgement, &judged.rule), with) {
            Ok((Some(verdict), taken)) => {
                steps = taken;
                verdict
            }
            Ok((None, taken)) => return go_on(judgement, next, Vec::new()).taking(taken),
            Err(reaction) => return reaction,
        },
        Verdict::Undecided | Verdict::Matched(_) | Verdict::Erred { .. } => judged.verdict.clone(),
    };
    // The engine's own reports about a loop are not part of the loop.
    let is_too_deep = record.cause.depth > DEPTH_MAX && InternalTrigger::of(&fact.trigger).is_none();
    let drafts = match (mode, &decided) {
        (Mode::Disabled, _) | (_, Verdict::Undecided) => Vec::new(),
        (Mode::Enabled | Mode::Shadow, Verdict::Erred { message }) => event.draft_error(judged, message, at),
        (Mode::Enabled | Mode::Shadow, Verdict::Matched(_)) if is_too_deep => event.loop_stopped(judged),
        (_, Verdict::Matched(Plan::Controlled { keys, run })) => {
            let Some(flow) = judged.rule.flow.as_deref() else { return Reaction::nothing() };
            let found = Match { event, rule: &judged.rule, flow, keys, run: run.as_deref(), mode };
            match flow::react_to_match(&found, next, at, with) {
                Ok(drafts) => drafts,
                Err(reaction) => return reaction,
            }
        }
        (Mode::Enabled | Mode::Shadow, Verdict::Matched(Plan::Reject { error })) => {
            vec![event.enforcement(&judged.rule, Outcome::Rejected { error: error.clone() }, None)]
        }
        (Mode::Shadow, Verdict::Matched(Plan::Run { .. })) => vec![event.enforcement(&judged.rule, Outcome::Shadowed, None)],
        (Mode::Enabled, Verdict::Matched(Plan::Run { params, pace, claim, labels })) => {
            event.draft_execution(&judged.rule, params, (*pace, claim.clone().into_iter().collect(), labels.clone()), (None, &[]))
        }
    };
    go_on(judgement, next, drafts).taking(steps)
}

fn go_on(judgement: &Judgement, next: Consequence, drafts: Vec<Draft>) -> Reaction {
    if next.0 as usize + 1 == judgement.verdicts.len() { Reaction::last(drafts) } else { Reaction::more(drafts) }
}

/// Judges an event by a rule that was left undecided, with the current values of the vars that it reads.
/// Returns its verdict, or `None` if it does not match, and how many steps that took.
fn judge_undecided(
    state: &State,
    record: &Record,
    fact: &EventReceived,
    (judgement, rule): (&Judgement, &Rule),
    with: &Context<'_>,
) -> Result<(Option<Verdict>, u64), Reaction> {
    let body = record.body_handle().ok_or_else(|| Reaction::Impossible("the event has no payload".to_owned()))?;
    let catalog = with.catalogs.at(judgement.catalog);
    let known = catalog.as_ref().and_then(|catalog| catalog.reads_vars(&rule.name)).map(|reads| reads.all.clone());
    let reads = known.or_else(|| RuleReads::of(rule).map(|reads| reads.all)).unwrap_or_default();
    let vars = match (state.vars().collect_values(&reads, with.bodies), with.bodies.document(&body)) {
        (Ok(vars), Some(payload)) => Ok((vars, payload)),
        (Err(NotSeen::TooLarge(message)), Some(_)) => Err(Ok((Some(Verdict::Erred { message }), 0))),
        (Err(NotSeen::Missing(mut missing)), payload) => {
            missing.extend(payload.is_none().then_some(body));
            Err(Err(Reaction::Needs(missing)))
        }
        (Ok(_) | Err(NotSeen::TooLarge(_)), None) => Err(Err(Reaction::Needs(vec![body]))),
    };
    let (vars, payload) = match vars {
        Ok(both) => both,
        Err(otherwise) => return otherwise,
    };
    let payload = match catalog.map_or(Ok(payload.clone()), |catalog| catalog.newest(&fact.trigger, fact.version, &payload)) {
        Ok(newest) => newest,
        Err(why) => return Ok((Some(Verdict::Erred { message: why.to_string() }), 0)),
    };
    let view = EventView {
        id: EventId(record.id),
        trigger: &fact.trigger,
        source: &fact.source,
        time: fact.occurred_at,
        payload: &payload,
        only: fact.rule.as_ref(),
    };
    Ok(judge_counted(rule, &view, &vars))
}

/// An event, and its consequences.
pub(crate) struct EventReaction<'a> {
    pub(crate) state: &'a State,
    pub(crate) record: &'a Record,
    pub(crate) fact: &'a EventReceived,
    pub(crate) event: EventId,
    pub(crate) settings: &'a Settings,
}

impl EventReaction<'_> {
    /// Returns the event as the steps of a rule see it.
    pub(crate) fn given_event(&self) -> Option<GivenEvent> {
        Some(GivenEvent {
            trigger: self.fact.trigger.clone(),
            version: self.fact.version,
            source: self.fact.source.clone(),
            occurred_at: self.fact.occurred_at,
            payload: self.record.body_handle()?,
        })
    }

    pub(crate) fn draft_execution(
        &self,
        rule: &Rule,
        params: &Body,
        run: (Pace, Vec<Claim>, Labels),
        (flow, gathered): (Option<ControlledMatch>, &[HeldEvent]),
    ) -> Vec<Draft> {
        if let Err(error) = rights::rule_may_run(self.state, rule) {
            return vec![self.enforcement(rule, Outcome::Rejected { error }, flow)];
        }
        if let Some(reason) = why_skipped(self.state, self.fact.catalog, &run.1) {
            return vec![self.enforcement(rule, Outcome::Skipped { reason }, flow)];
        }
        let enforcement = self.enforcement_id(rule);
        let execution = ExecutionId(Id::derive(self.state.log(), enforcement.0, Role::Execution));
        let given = if rule.has_steps() { self.given_event() } else { None };
        let internal_above = flow::above_all(self.fact.internal_above_what_follows(), gathered);
        let request = build_request(rule, self.fact.catalog, (self.event, enforcement), given, run, internal_above, self.settings);
        let requested = self
            .draft(StreamId::Execution(execution), request.into())
            .beginning(execution.0)
            .because(self.record.cause.from_parent(enforcement.0))
            .with_body(params.clone());
        vec![self.enforcement(rule, Outcome::Executed { execution }, flow), requested]
    }

    pub(crate) fn enforcement(&self, rule: &Rule, outcome: Outcome, flow: Option<ControlledMatch>) -> Draft {
        let id = self.enforcement_id(rule);
        let (name, catalog) = (rule.name.clone(), self.fact.catalog);
        let made = EnforcementMade { rule: name, rule_id: rule.id, catalog, event: self.event, outcome, flow };
        self.draft(StreamId::Enforcement(id), made.into()).beginning(id.0)
    }

    pub(crate) fn enforcement_id(&self, rule: &Rule) -> EnforcementId {
        EnforcementId(Id::derive(self.state.log(), self.event.0, Role::Enforcement(rule.id)))
    }

    /// The first occurrence of an error is recorded; later ones are counted by a summary, one minute after
    /// the last record of that error.
    fn draft_error(&self, judged: &RuleVerdict, message: &str, at: &Moment) -> Vec<Draft> {
        let error = Digest::of(message.as_bytes());
        let rule = judged.rule.name.clone();
        let fact: Fact = match self.state.rules().way(judged.rule.id, error) {
            None => RuleErred { rule, rule_id: judged.rule.id, event: self.event, error, message: message.to_owned() }.into(),
            Some((first, way)) => {
                // If the error became known only after the event was received (by another event of the same
                // command, or while this one waited), the event's record could not count it. It is counted
                // here, so that none is missing.
                let is_listed = self.fact.again.contains(&first) || self.fact.again.len() >= AGAIN_MAX;
                let count = way.uncounted + u64::from(!is_listed);
                let is_due = !is_listed || at.time >= way.due();
                if count == 0 || !is_due {
                    return Vec::new();
                }
                RuleErrorsCounted { rule, rule_id: judged.rule.id, event: self.event, error: first, count }.into()
            }
        };
        vec![self.draft(StreamId::Rule(judged.rule.name.clone()), fact)]
    }

    fn loop_stopped(&self, judged: &RuleVerdict) -> Vec<Draft> {
        let rule = judged.rule.name.clone();
        let fact = LoopStopped { rule: rule.clone(), rule_id: judged.rule.id, event: self.event, depth: self.record.cause.depth };
        vec![self.draft(StreamId::Rule(rule), fact.into())]
    }

    fn draft(&self, stream: StreamId, fact: Fact) -> Draft {
        let cause: Cause = self.record.cause.from_parent(self.record.id);
        Draft::by_engine(stream, fact).because(cause)
    }
}

/// Returns why a match of a rule is not acted on: the rule limits how many of its executions may be open, and
/// does not wait.
pub(crate) fn why_skipped(state: &State, catalog: CatalogRevision, claims: &[Claim]) -> Option<String> {
    let of_rule = claims.iter().find(|claim| matches!(claim.owner, LockOwner::Rule(_)));
    let claim = of_rule.filter(|claim| claim.conflict == LockConflict::Skip && state.locks().hinders(claim, catalog))?;
    Some(skipped_because(state, &claim.lock()))
}

/// Returns the request that an enforcement of a rule on an event makes.
pub(crate) fn build_request(
    rule: &Rule,
    catalog: CatalogRevision,
    (event, enforcement): (EventId, EnforcementId),
    given: Option<GivenEvent>,
    (pace, locks, labels): (Pace, Vec<Claim>, Labels),
    internal_above: InternalTriggers,
    settings: &Settings,
) -> ExecutionRequested {
    let action = &rule.action;
    let scope = ExecutionScope::of_root(Some(&rule.name), &action.name, &labels, &settings.scope_labels);
    ExecutionRequested {
        action: action.name.clone(),
        catalog,
        rule: Some(rule.name.clone()),
        event: Some(event),
        enforcement: Some(enforcement),
        given: given.map(Box::new),
        part_of: None,
        rerun_of: None,
        priority: rule.priority.unwrap_or(action.priority),
        queue: action.queue.clone(),
        labels,
        scope: scope.into_recorded(Some(&rule.name), &action.name),
        // The rule says it.
        principal: None,
        given_labels: BTreeSet::new(),
        idempotent: action.idempotent,
        on_lost: action.on_lost,
        timeout_millis: millis(action.timeout),
        grace_millis: millis(action.grace),
        failures_max: rule.retry.as_ref().or(action.retry.as_ref()).map(|retry| retry.attempts),
        limit_millis: action.limit.map(millis),
        start_at: None,
        locks,
        wait_millis: None,
        pace,
        internal_above,
        link: None,
    }
}
