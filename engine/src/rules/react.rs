//! What follows from an event: each rule that matches decides once, each that errs is counted.

use crate::catalog::{Action, Given, Mode, Run};
use crate::command::Moment;
use crate::engine::{Engine, Reaction};
use crate::events::facts::{AGAIN_MAX, EventReceived};
use crate::executions::decide::millis;
use crate::executions::facts::{ExecutionRequested, GivenEvent, Pace};
use crate::fact::Fact;
use crate::ids::{EnforcementId, EventId, ExecutionId, Id, Role};
use crate::mutants;
use crate::record::{Actor, Body, Cause, Digest, Draft, Record, StreamId};
use crate::rules::facts::{EnforcementMade, LoopStopped, Outcome, RuleErred, RuleErrorsCounted};
use crate::rules::judge::{Judgement, Plan, RuleVerdict, Verdict};
use crate::rules::state::ERROR_SUMMARY_MILLIS;

/// The most events that may stand above an event in its chain; a rule that matches one deeper is suspended.
pub const DEPTH_MAX: u32 = 16;

/// Gives the `next`-th consequence of an event: what its `next`-th verdict leads to.
pub(crate) fn react(engine: &Engine, record: &Record, fact: &EventReceived, judgement: &Judgement, next: u32, at: &Moment) -> Reaction {
    let Some(judged) = judgement.verdicts.get(next as usize) else { return Reaction::nothing() };
    let event = EventReaction { engine, record, fact, event: EventId(record.id) };
    let mode = match engine.rules().mode_at(&judged.rule, record.position) {
        Mode::Shadow if mutants::is("shadow rule acts") => Mode::Enabled,
        _ if mutants::is("mode of now") => engine.rules().mode(&judged.rule),
        mode => mode,
    };
    let depth_max = DEPTH_MAX + u32::from(mutants::is("loop stopped late"));
    let drafts = match (mode, &judged.verdict) {
        (Mode::Disabled, _) => Vec::new(),
        (Mode::Enabled | Mode::Shadow, Verdict::Erred { message }) => event.erred(judged, message, at),
        (Mode::Enabled | Mode::Shadow, Verdict::Matched(_)) if record.cause.depth > depth_max => event.loop_stopped(judged),
        (Mode::Shadow, Verdict::Matched(_)) => vec![event.enforcement(judged, Outcome::Shadowed)],
        (Mode::Enabled, Verdict::Matched(Plan::Reject { error })) => {
            vec![event.enforcement(judged, Outcome::Rejected { error: error.clone() })]
        }
        (Mode::Enabled, Verdict::Matched(Plan::Run { params, pace })) => event.executed(judged, params, *pace),
    };
    if next as usize + 1 == judgement.verdicts.len() { Reaction::last(drafts) } else { Reaction::more(drafts) }
}

struct EventReaction<'a> {
    engine: &'a Engine,
    record: &'a Record,
    fact: &'a EventReceived,
    event: EventId,
}

impl EventReaction<'_> {
    /// Gives the event as the steps of a rule see it.
    fn given(&self, action: &Action) -> Option<GivenEvent> {
        let Run::Workflow(workflow) = &action.run else { return None };
        match workflow.given() {
            Given::Parameters => None,
            Given::Event => Some(GivenEvent {
                trigger: self.fact.trigger.clone(),
                source: self.fact.source.clone(),
                occurred_at: self.fact.occurred_at,
                payload: self.record.body_handle()?,
            }),
        }
    }

    fn executed(&self, judged: &RuleVerdict, params: &Body, pace: Pace) -> Vec<Draft> {
        let enforcement = self.enforcement_id(judged);
        let execution = ExecutionId(Id::derived(self.engine.log(), enforcement.0, Role::Execution));
        let action = &judged.rule.action;
        let request = ExecutionRequested {
            action: action.name.clone(),
            catalog: self.fact.catalog,
            rule: Some(judged.rule.name.clone()),
            event: Some(self.event),
            enforcement: Some(enforcement),
            given: self.given(action),
            part_of: None,
            priority: judged.rule.priority.unwrap_or(action.priority),
            idempotent: action.idempotent,
            on_lost: action.on_lost,
            timeout_millis: millis(action.timeout),
            grace_millis: millis(action.grace),
            failures_max: action.retry.as_ref().map(|retry| retry.attempts),
            limit_millis: action.limit.map(millis),
            start_at: None,
            wait_millis: None,
            pace,
        };
        let requested = Draft {
            stream: StreamId::Execution(execution),
            begins: Some(execution.0),
            cause: Some(self.record.cause.from_parent(enforcement.0)),
            body: Some(params.clone()),
            ..self.draft(StreamId::Event(self.event), request.into())
        };
        vec![self.enforcement(judged, Outcome::Executed { execution }), requested]
    }

    fn enforcement(&self, judged: &RuleVerdict, outcome: Outcome) -> Draft {
        let id = self.enforcement_id(judged);
        let made = EnforcementMade {
            rule: judged.rule.name.clone(),
            rule_id: judged.rule.id,
            catalog: self.fact.catalog,
            event: self.event,
            outcome,
        };
        Draft { begins: Some(id.0), ..self.draft(StreamId::Enforcement(id), made.into()) }
    }

    fn enforcement_id(&self, judged: &RuleVerdict) -> EnforcementId {
        EnforcementId(Id::derived(self.engine.log(), self.event.0, Role::Enforcement(judged.rule.id)))
    }

    /// The first error of a way is a record; later ones are counted by one, at most once a minute.
    fn erred(&self, judged: &RuleVerdict, message: &str, at: &Moment) -> Vec<Draft> {
        let error = Digest::of(message.as_bytes());
        let rule = judged.rule.name.clone();
        let fact: Fact = match self.engine.rules().way(judged.rule.id, error) {
            None => RuleErred { rule, rule_id: judged.rule.id, event: self.event, error, message: message.to_owned() }.into(),
            Some((first, way)) => {
                // Where the way became known only after the event was received, by another event of the same command or while this
                // one waited, the event's record could not count it: it is counted here, so that none is missing.
                let is_listed = self.fact.again.contains(&first) || self.fact.again.len() >= AGAIN_MAX;
                let count = way.uncounted + u64::from(!is_listed);
                let is_due = !is_listed || at.time >= way.recorded_at.plus_millis(ERROR_SUMMARY_MILLIS);
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
        Draft { stream, begins: None, actor: Actor::Engine, cause: Some(cause), trace: None, fact, body: None }
    }
}
