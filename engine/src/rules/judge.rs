//! Judging: what each rule makes of an event, as a pure function of the event and the catalog.
//!
//! It runs on the threads of the edges, and again in the core if the catalog has changed or the first
//! judgement is gone. Decisions that depend on the state (a disabled rule, a chain that grew too long) are
//! not made here.

pub use super::view::EventView;
pub(crate) use super::view::{EventTexts, event_value};
use crate::text::describe;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ensue_expression::{Budget, Document, ErrorKind, EvaluationError, Scope, Value};

use crate::catalog::{Action, Catalog, Extra, Flow, Misfit, Rule, Schema};
use crate::events::version::TriggerVersion;
use crate::executions::facts::Pace;
use crate::executions::labels::Labels;
use crate::locks::facts::Claim;
use crate::record::{Body, CatalogRevision};
use crate::rules::flow::match_keys::{self, Keys, NoKeys};
use crate::rules::local;
use crate::text::cut;
use crate::vars::reads::RuleReads;
use crate::vars::values::SeenVars;

/// How many steps all rules together may take for one event before the remaining rules are judged later, each
/// in its own turn.
pub const EVENT_STEPS_MAX: u64 = 1_000_000;
/// The maximum number of steps that one rule may take for one event, whatever the other rules take.
pub const RULE_STEPS_MAX: u64 = 100_000;
/// The maximum length of a rule's error in bytes, as stored.
const ERROR_BYTES_MAX: usize = 1024;

/// The verdicts of all rules of a catalog on an event; those that do not match are not listed.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// The catalog that judged.
    pub catalog: CatalogRevision,
    /// The rules that match or err, ordered by ref.
    pub verdicts: Vec<RuleVerdict>,
    /// The rules that are undecided for lack of steps, by their places, with the verdicts that older releases gave.
    short_of_steps: Vec<(usize, Verdict)>,
}

impl Judgement {
    /// Returns the judgement of a catalog that has no rule for an event.
    pub fn of_no_rule(catalog: CatalogRevision) -> Self {
        Self { catalog, verdicts: Vec::new(), short_of_steps: Vec::new() }
    }

    /// Returns how many rules it leaves undecided.
    pub fn undecided_count(&self) -> u32 {
        let undecided = self.verdicts.iter().filter(|one| matches!(one.verdict, Verdict::Undecided)).count();
        u32::try_from(undecided).unwrap_or(u32::MAX)
    }

    /// Returns the judgement as it was recorded with an event; `decided` is the number of rules that the
    /// record counts as decided at once. Older releases also decided a rule that was not done within the
    /// steps that the rules before it left over: that rule erred, or was rejected, and that verdict stays.
    #[must_use]
    pub fn as_recorded(mut self, decided: u32) -> Self {
        let found = self.verdicts.len() - self.undecided_count() as usize;
        if decided as usize > found {
            for (at, verdict) in std::mem::take(&mut self.short_of_steps) {
                if let Some(judged) = self.verdicts.get_mut(at) {
                    judged.verdict = verdict;
                }
            }
        }
        self
    }
}

/// The verdict of one rule on an event.
#[derive(Clone, Debug)]
pub struct RuleVerdict {
    /// The rule.
    pub rule: Arc<Rule>,
    /// Its verdict.
    pub verdict: Verdict,
}

/// The verdict of a rule on an event, unless it does not match.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It matches.
    Matched(Plan),
    /// It is judged once the event is in the log: either it reads `vars` and needs their values at that time,
    /// or the rules before it used up the steps that all rules share at once.
    Undecided,
    /// Its condition could not be evaluated.
    Erred {
        /// Why.
        message: String,
    },
}

/// What a match requests.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Run the rule's action with these parameters.
    Run {
        /// The parameters, completed.
        params: Body,
        /// Whether its attempts hold a worker slot.
        pace: Pace,
        /// The lock of the action that it must hold.
        claim: Option<Claim>,
        /// The labels that the action gives it.
        labels: Labels,
    },
    /// The action cannot be run with this input.
    Reject {
        /// Why.
        error: String,
    },
    /// It must pass the rule's flow control, which depends on earlier matches.
    Controlled {
        /// The keys that distinguish the match from others.
        keys: Keys,
        /// What it requests after that; `None` if that is known only with the other events of its window.
        run: Option<Box<Plan>>,
    },
}

/// Judges the event by every rule of its trigger. A rule that reads `vars` is left undecided, unless its
/// condition does not read them and is false. So is a rule that is not done within the steps that the rules
/// before it left over.
pub fn judge(catalog: &Catalog, event: &EventView<'_>) -> Judgement {
    let mut steps_left = EVENT_STEPS_MAX;
    let candidates = match event.only {
        Some(rule) => catalog.rules().get(rule).filter(|rule| rule.schedule.is_some()).into_iter().collect(),
        None => catalog.index().candidates(event),
    };
    let mut judgement = Judgement::of_no_rule(catalog.revision());
    if !candidates.is_empty() {
        let texts = EventTexts::of(event);
        let value = event_value(event, &texts);
        for rule in candidates {
            let mut budget = Budget::steps(RULE_STEPS_MAX.min(steps_left));
            let verdict = match catalog.reads_vars(&rule.name) {
                Some(reads) => may_match(rule, reads, &value, &mut budget).then_some(Verdict::Undecided),
                None => match judge_one(rule, &value, &SeenVars::default(), &mut budget) {
                    RuleEvaluation::OutOfSteps(verdict) if steps_left < RULE_STEPS_MAX => {
                        judgement.short_of_steps.push((judgement.verdicts.len(), as_before(verdict)));
                        Some(Verdict::Undecided)
                    }
                    judged => judged.verdict(),
                },
            };
            steps_left = steps_left.saturating_sub(budget.steps_spent());
            if let Some(verdict) = verdict {
                judgement.verdicts.push(RuleVerdict { rule: rule.clone(), verdict });
            }
        }
    }
    judgement
}

/// Judges an event whose payload, in the view, is still of the version that it came in. If it cannot be brought to the newest
/// one, every rule that would judge the event errs.
pub fn judge_stored(catalog: &Catalog, event: &EventView<'_>, version: TriggerVersion) -> Judgement {
    let why = match catalog.newest(event.trigger, version, event.payload) {
        Ok(newest) => return judge(catalog, &EventView { payload: &newest, ..*event }),
        Err(why) => cut(why.to_string(), ERROR_BYTES_MAX),
    };
    let rules = match event.only {
        Some(rule) => catalog.rules().get(rule).map_or(&[][..], std::slice::from_ref),
        None => catalog.index().of_trigger(event.trigger),
    };
    let erred = |rule: &Arc<Rule>| RuleVerdict { rule: rule.clone(), verdict: Verdict::Erred { message: why.clone() } };
    Judgement { verdicts: rules.iter().map(erred).collect(), ..Judgement::of_no_rule(catalog.revision()) }
}

/// Returns the verdict of older releases for a rule that was not done within the steps left over. How many
/// these were differs from event to event: a message with their number would have been a new error each time.
fn as_before(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Erred { .. } => {
            Verdict::Erred { message: format!("budget: all rules together take more than {EVENT_STEPS_MAX} steps for this event") }
        }
        Verdict::Matched(_) | Verdict::Undecided => verdict,
    }
}

/// Judges an event by one rule alone, whatever the index says.
pub fn judge_rule(rule: &Rule, event: &EventView<'_>, vars: &SeenVars) -> Option<Verdict> {
    judge_counted(rule, event, vars).0
}

/// Does the same, and also returns how many steps it took.
pub(crate) fn judge_counted(rule: &Rule, event: &EventView<'_>, vars: &SeenVars) -> (Option<Verdict>, u64) {
    let texts = EventTexts::of(event);
    let mut budget = Budget::steps(RULE_STEPS_MAX);
    let judged = judge_one(rule, &event_value(event, &texts), vars, &mut budget);
    (judged.verdict(), budget.steps_spent())
}

/// Returns true if a rule that reads `vars` may match an event, or err on it.
fn may_match(rule: &Rule, reads: &RuleReads, event: &Value<'_>, budget: &mut Budget) -> bool {
    let Some(when) = rule.when.as_ref().filter(|_| !reads.in_condition) else { return true };
    let held = catch_unwind(AssertUnwindSafe(|| {
        let mut scope = base_scope(rule, event);
        if when.reads_root("local") {
            local::computable(&mut scope, &rule.local, budget)?;
        }
        when.holds(&scope, budget)
    }));
    !matches!(held, Ok(Ok(false)))
}

/// The result of evaluating a rule.
enum RuleEvaluation {
    /// The rule's verdict; `None` if it does not match.
    Decided(Option<Verdict>),
    /// The rule was not done within the steps that it had: its verdict if it gets no more.
    OutOfSteps(Verdict),
}

impl RuleEvaluation {
    fn verdict(self) -> Option<Verdict> {
        match self {
            Self::Decided(verdict) => verdict,
            Self::OutOfSteps(verdict) => Some(verdict),
        }
    }
}

fn judge_one(rule: &Rule, event: &Value<'_>, vars: &SeenVars, budget: &mut Budget) -> RuleEvaluation {
    // The evaluation of each rule is contained: an internal error in it becomes that rule's error, and the
    // others continue.
    match catch_unwind(AssertUnwindSafe(|| verdict(rule, event, vars, budget))) {
        Ok(Ok(judged)) => judged,
        Ok(Err(error)) => {
            let verdict = Verdict::Erred { message: cut(describe(&error), ERROR_BYTES_MAX) };
            if error.kind == ErrorKind::Budget { RuleEvaluation::OutOfSteps(verdict) } else { RuleEvaluation::Decided(Some(verdict)) }
        }
        Err(_) => RuleEvaluation::Decided(Some(Verdict::Erred { message: "the evaluation stopped at an internal error".to_owned() })),
    }
}

fn verdict(rule: &Rule, event: &Value<'_>, vars: &SeenVars, budget: &mut Budget) -> Result<RuleEvaluation, EvaluationError> {
    let base = || vars.within(base_scope(rule, event));
    if let Some(when) = &rule.when {
        let mut scope = base();
        // The local values of a rule often only make sense if its condition holds: they are computed first
        // only if the condition reads them, and one that errs is an error only where it is read.
        let failed = if when.reads_root("local") { local::computable(&mut scope, &rule.local, budget)? } else { Vec::new() };
        if !when.holds(&scope, budget).map_err(|error| local::cause(when, error, &failed))? {
            return Ok(RuleEvaluation::Decided(None));
        }
    }
    let plan = match &rule.flow {
        None => render(rule, base(), budget),
        Some(flow) => plan_with_flow(rule, flow, base(), budget),
    };
    Ok(match plan {
        Ok(plan) => RuleEvaluation::Decided(Some(Verdict::Matched(plan))),
        Err(error) if error.kind == ErrorKind::Budget => RuleEvaluation::OutOfSteps(Verdict::Matched(rejected_plan(&error))),
        Err(error) => RuleEvaluation::Decided(Some(Verdict::Matched(rejected_plan(&error)))),
    })
}

fn rejected_plan(error: &EvaluationError) -> Plan {
    Plan::Reject { error: cut(describe(error), ERROR_BYTES_MAX) }
}

/// A match that cannot be run is rejected before flow control, if that can be known: it uses nothing up, and
/// does not displace another match.
fn plan_with_flow<'a>(rule: &'a Rule, flow: &'a Flow, base: Scope<'a>, budget: &mut Budget) -> Result<Plan, EvaluationError> {
    let keys = match match_keys::keys(rule, flow, base.clone(), budget) {
        Ok(keys) => keys,
        Err(NoKeys::Rejected(error)) => return Ok(Plan::Reject { error: cut(error, ERROR_BYTES_MAX) }),
        Err(NoKeys::Budget(error)) => return Err(error),
    };
    if flow.gathers() {
        return Ok(Plan::Controlled { keys, run: None });
    }
    Ok(match render(rule, base, budget)? {
        run @ Plan::Run { .. } => Plan::Controlled { keys, run: Some(Box::new(run)) },
        other @ (Plan::Reject { .. } | Plan::Controlled { .. }) => other,
    })
}

/// Returns what a match requests that flow control has held. `events` are the events of its window, the
/// oldest first; the last is its own.
pub(crate) fn render_released(rule: &Rule, events: &[EventView<'_>], vars: &SeenVars) -> Plan {
    let texts: Vec<EventTexts> = events.iter().map(EventTexts::of).collect();
    let values: Vec<Value<'_>> = events.iter().zip(&texts).map(|(event, texts)| event_value(event, texts)).collect();
    let Some(event) = values.last() else { return Plan::Reject { error: "there is no event".to_owned() } };
    let mut scope = vars.within(base_scope(rule, event));
    let listed = list_events(rule, events, &values);
    if let Some(listed) = &listed {
        scope.set("events", Value::list(listed.iter().cloned()));
    }
    let mut budget = Budget::steps(RULE_STEPS_MAX);
    let plan = render(rule, scope, &mut budget);
    let plan = plan.and_then(|plan| with_events(rule, plan, listed.as_deref()));
    plan.unwrap_or_else(|error| rejected_plan(&error))
}

/// Returns the events as the rule lists them: the oldest first, or in the order of its window's triggers.
/// Returns `None` if the rule acts on one event.
fn list_events<'a>(rule: &Rule, events: &[EventView<'_>], values: &[Value<'a>]) -> Option<Vec<Value<'a>>> {
    let flow = rule.flow.as_ref().filter(|flow| flow.gathers())?;
    let mut listed: Vec<(usize, &Value<'a>)> = events
        .iter()
        .zip(values)
        .map(|(event, value)| {
            let place = flow.order_of_events().and_then(|order| order.iter().position(|trigger| trigger == event.trigger));
            (place.unwrap_or_default(), value)
        })
        .collect();
    // The sort is stable: events of one place stay in the order of their arrival.
    listed.sort_by_key(|(place, _)| *place);
    Some(listed.into_iter().map(|(_, value)| value.clone()).collect())
}

/// The steps of a rule that acts on several events read them: the events are the parameters.
fn with_events(rule: &Rule, plan: Plan, events: Option<&[Value<'_>]>) -> Result<Plan, EvaluationError> {
    match (plan, events) {
        (Plan::Run { pace, claim, labels, .. }, Some(events)) if rule.has_steps() => {
            let events = Value::map([("events", Value::list(events.iter().cloned()))]);
            Ok(Plan::Run { pace, claim, labels, params: Body::json(events.to_json_text()?) })
        }
        (plan, _) => Ok(plan),
    }
}

fn render<'a>(rule: &'a Rule, mut scope: Scope<'a>, budget: &mut Budget) -> Result<Plan, EvaluationError> {
    local::all(&mut scope, &rule.local, budget)?;
    let rendered = rule.with.render_document(&scope, budget)?;
    Ok(match complete(&rule.action.parameters, rendered) {
        Ok(params) => match asked_of(&rule.action, &params) {
            Ok((pace, claim, labels)) => Plan::Run { pace, claim, labels, params: Body::json(params.bytes().clone()) },
            Err(misfit) => Plan::Reject { error: format!("the parameters do not fit `{}`: {misfit}", rule.action.name) },
        },
        Err(misfits) => {
            let misfits = misfits.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            Plan::Reject { error: cut(format!("the parameters do not fit `{}`: {misfits}", rule.action.name), ERROR_BYTES_MAX) }
        }
    })
}

/// Returns what an action derives from its parameters before an execution exists.
fn asked_of(action: &Action, params: &Document) -> Result<(Pace, Option<Claim>, Labels), Misfit> {
    Ok((action.pace(params.root())?, action.claim(params.root())?, action.labels_of(params.root())?))
}

/// Completes parameters with their defaults and checks them; returns them as they are stored, or why they do not fit.
pub fn complete(parameters: &Schema, params: Document) -> Result<Document, Vec<Misfit>> {
    let document = match parameters.fields() {
        Some(fields) if fields.lack_defaults(params.root()) => {
            let mut values = params.root().to_value();
            values.as_object_mut().into_iter().for_each(|values| fields.complete(values));
            Document::from_value(&values)
        }
        Some(_) | None => params,
    };
    let misfits = parameters.misfits(document.root(), Extra::Refused);
    if misfits.is_empty() { Ok(document) } else { Err(misfits) }
}

pub(super) fn base_scope<'a>(rule: &'a Rule, event: &Value<'a>) -> Scope<'a> {
    let about = Value::map([("ref", Value::from(rule.name.as_str()))]);
    Scope::new().with("event", event.clone()).with("config", Value::from_json(&rule.config)).with("rule", about)
}
