//! Runs a case: sends its input, answers with its mocks, and compares the outcome with its expectations.

use std::collections::BTreeMap;
use std::sync::Arc;

use ensue_engine::catalog::{Catalog, Mode};
use ensue_engine::ids::{EventId, ExecutionId, Id};
use ensue_engine::names::{RuleRef, VarName};
use ensue_engine::rules::explain::explain;
use ensue_engine::rules::facts::Outcome;
use ensue_engine::rules::flow::facts::SupersededBecause;
use ensue_engine::rules::judge::EventView;
use ensue_engine::vars::values::SeenVars;
use ensue_expression::Document;
use ensue_expression::Outcome::Truth;
use ensue_packs::cases::{Case, CaseInput, ExpectedEnforcement, ExpectedOutcome, ExpectedVar, GivenEvent, Subject, Suite};
use serde_json::Value;

use crate::error::RehearsalError;
use crate::findings::{Difference, UnmetExpectation, compare_params, end_of};
use crate::history::Enforcement;
use crate::messages::{Keys, Messages, differences, make_checked_events};
use crate::script::Script;
use crate::stage::{ErredRule, OutsideWorld, RehearsalStage};

/// The outcome of a case.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The expectations that are not met; empty if the case passes.
    pub findings: Vec<UnmetExpectation>,
}

impl Verdict {
    /// Returns true if the outcome matches every expectation of the case.
    pub fn is_passed(&self) -> bool {
        self.findings.is_empty()
    }
}

/// The rehearsal of a pack's cases. Cases with the same settings share a catalog.
pub struct Rehearsal<'s> {
    suite: &'s Suite,
    messages: Option<&'s dyn Messages>,
    catalogs: BTreeMap<String, Arc<Catalog>>,
}

impl<'s> Rehearsal<'s> {
    /// Prepares the rehearsal of a suite.
    pub fn of(suite: &'s Suite) -> Self {
        Self { suite, messages: None, catalogs: BTreeMap::new() }
    }

    /// Has the events of messages of sensors made by `messages`.
    #[must_use]
    pub fn reading(self, messages: &'s dyn Messages) -> Self {
        Self { messages: Some(messages), ..self }
    }

    /// Runs a case of the suite with its mocks.
    pub fn run(&mut self, case: &Case) -> Verdict {
        let none = BTreeMap::new();
        let mut script = Script { mocks: case.mocks.as_ref().unwrap_or(&none), actions: &self.suite.mocks };
        let findings = self.catalog(case).and_then(|catalog| self.play(catalog, case, case.mocks.is_some(), &mut script));
        verdict(case, findings)
    }

    /// Runs a case of the suite in a world of the caller's. Its catalog comes from [`catalog`](Self::catalog).
    pub fn run_in(&self, case: &Case, catalog: Arc<Catalog>, world: &mut impl OutsideWorld) -> Verdict {
        verdict(case, self.play(catalog, case, true, world))
    }

    /// Returns the catalog that a case runs in.
    ///
    /// # Errors
    /// If it cannot be built, which is an internal error.
    pub fn catalog(&mut self, case: &Case) -> Result<Arc<Catalog>, RehearsalError> {
        let settings = Value::Object(case.config.clone()).to_string();
        if let Some(catalog) = self.catalogs.get(&settings) {
            return Ok(catalog.clone());
        }
        let catalog = self.suite.catalog(case).map_err(|error| RehearsalError::NoCatalog(error.to_string()))?;
        self.catalogs.insert(settings, catalog.clone());
        Ok(catalog)
    }

    fn play(
        &self,
        catalog: Arc<Catalog>,
        case: &Case,
        runs_what_rules_decide: bool,
        cast: &mut impl OutsideWorld,
    ) -> Result<Vec<UnmetExpectation>, RehearsalError> {
        let mut stage = RehearsalStage::set(catalog)?;
        for (name, value) in &case.vars {
            stage.set_var(name, value)?;
        }
        let mut findings = match &case.subject {
            Subject::Run { action, with, expect } => {
                let execution = stage.request(action, with)?;
                stage.play(cast)?;
                end_of(stage.history(), execution, "the run", expect)
            }
            Subject::Events { given, expect } => {
                let (events, mut findings) = self.receive(&mut stage, given)?;
                if runs_what_rules_decide {
                    stage.play(cast)?;
                }
                stage.let_go()?;
                findings.extend(compare_decisions(&stage, &events, expect, case.line));
                findings
            }
        };
        findings.extend(vars_after(&stage, case));
        Ok(findings)
    }

    /// Has the events and messages of a case come. Returns the events, and how messages differ from what was expected.
    fn receive(&self, stage: &mut RehearsalStage, given: &[CaseInput]) -> Result<(Vec<GivenEvent>, Vec<UnmetExpectation>), RehearsalError> {
        let (mut events, mut findings, mut keys) = (Vec::new(), Vec::new(), Keys::default());
        for one in given {
            let message = match one {
                CaseInput::Event(event) => {
                    stage.wait(event.after_millis)?;
                    stage.receive(event)?;
                    events.push(event.clone());
                    continue;
                }
                CaseInput::Message(message) => message,
            };
            stage.wait(message.after_millis)?;
            let messages = self.messages.ok_or_else(|| RehearsalError::NoMessages(message.sensor.clone()))?;
            let made = make_checked_events(stage.catalog(), messages, message);
            findings.extend(differences(message, &made));
            for event in made.unwrap_or_default().into_iter().filter_map(|event| keys.event(message, event)) {
                stage.receive(&event)?;
                events.push(event);
            }
        }
        Ok((events, findings))
    }
}

fn verdict(case: &Case, findings: Result<Vec<UnmetExpectation>, RehearsalError>) -> Verdict {
    let stuck = |stuck: RehearsalError| vec![UnmetExpectation::plain(case.line, stuck.to_string(), stuck.hint())];
    Verdict { findings: findings.unwrap_or_else(stuck) }
}

/// Compares the final vars with those that the case expects.
fn vars_after(stage: &RehearsalStage, case: &Case) -> Vec<UnmetExpectation> {
    if case.vars_after.is_empty() {
        return Vec::new();
    }
    let got: BTreeMap<VarName, Value> =
        stage.vars().into_iter().filter_map(|(name, value)| Some((name, serde_json::from_str(value.root().raw()).ok()?))).collect();
    let different = case.vars_after.iter().filter_map(|ExpectedVar { line, name, value }| {
        let got = got.get(name).unwrap_or(&Value::Null);
        let shown = |value: &Value| Some(value.to_string()).filter(|_| !value.is_null());
        let difference = Difference { at: "value".to_owned(), expected: shown(value), got: shown(got) };
        let what = format!("var `{name}`");
        (got != value).then(|| UnmetExpectation { line: *line, what, differences: vec![difference], hint: None })
    });
    different.collect()
}

/// A rule's decision on an event.
enum RuleDecision<'h> {
    Made(&'h Enforcement),
    Erred(&'h ErredRule),
}

impl RuleDecision<'_> {
    fn rule(&self) -> &RuleRef {
        match self {
            Self::Made(enforcement) => &enforcement.rule,
            Self::Erred(erred) => &erred.rule,
        }
    }

    fn outcome(&self) -> ExpectedOutcome {
        match self {
            Self::Made(enforcement) => match &enforcement.outcome {
                Outcome::Executed { .. } => ExpectedOutcome::Executed,
                Outcome::Skipped { .. } => ExpectedOutcome::Skipped,
                Outcome::Shadowed => ExpectedOutcome::Shadowed,
                Outcome::Rejected { .. } => ExpectedOutcome::Rejected,
                Outcome::Deduplicated { .. } => ExpectedOutcome::Deduplicated,
                Outcome::Throttled => ExpectedOutcome::Throttled,
                // A case ends only when nothing is held, so this one was superseded.
                Outcome::Held { .. } => ExpectedOutcome::Superseded,
            },
            Self::Erred(_) => ExpectedOutcome::Erred,
        }
    }

    fn error(&self) -> Option<&str> {
        match self {
            Self::Made(Enforcement { outcome: Outcome::Rejected { error } | Outcome::Skipped { reason: error }, .. }) => Some(error),
            Self::Made(enforcement) => enforcement.superseded.map(SupersededBecause::as_str),
            Self::Erred(erred) => Some(&erred.message),
        }
    }

    fn execution(&self) -> Option<ExecutionId> {
        match self {
            Self::Made(Enforcement { outcome: Outcome::Executed { execution }, .. }) => Some(*execution),
            Self::Made(_) | Self::Erred(_) => None,
        }
    }
}

/// Compares all decisions of rules with the expected ones. The order matters within a rule, but not between
/// rules.
fn compare_decisions(stage: &RehearsalStage, events: &[GivenEvent], expect: &[ExpectedEnforcement], line: usize) -> Vec<UnmetExpectation> {
    let made = stage.history().enforcements().iter().map(RuleDecision::Made);
    let mut there: Vec<RuleDecision<'_>> = made.chain(stage.erred_rules().iter().map(RuleDecision::Erred)).collect();
    let mut findings = Vec::new();
    for expected in expect {
        match there.iter().position(|decision| *decision.rule() == expected.rule) {
            Some(place) => findings.extend(one(stage, expected, &there.remove(place))),
            None => findings.push(missing(stage, events, expected)),
        }
    }
    findings.extend(there.iter().map(|decision| unexpected_decision(stage, decision, line)));
    findings
}

fn one(stage: &RehearsalStage, expected: &ExpectedEnforcement, decision: &RuleDecision<'_>) -> Vec<UnmetExpectation> {
    let mut differences = Vec::new();
    let (wanted, got) = (expected.outcome, decision.outcome());
    if wanted != got {
        let difference =
            Difference { at: "outcome".to_owned(), expected: Some(wanted.as_str().to_owned()), got: Some(got.as_str().to_owned()) };
        differences.push(difference);
    }
    let execution = decision.execution().and_then(|id| Some((id, stage.history().execution(id)?)));
    if let Some((_, execution)) = execution {
        if let Some(action) = expected.action.as_ref().filter(|action| **action != execution.action) {
            let (expected, got) = (Some(action.to_string()), Some(execution.action.to_string()));
            differences.push(Difference { at: "action".to_owned(), expected, got });
        }
        if let Some(with) = &expected.with {
            differences.extend(compare_params(with, &execution.params, expected.end.closeness));
        }
    }
    let message = expected.end.error.as_ref().and_then(|error| error.message.as_deref());
    if let (Some(message), Some(error)) = (message, decision.error())
        && !error.contains(message)
    {
        let quoted = |text: &str| Some(Value::from(text).to_string());
        differences.push(Difference { at: "error.message".to_owned(), expected: quoted(message), got: quoted(error) });
    }
    let what = format!("rule `{}`", expected.rule);
    let mut findings = Vec::new();
    if !differences.is_empty() {
        let hint = decision.error().map(str::to_owned);
        findings.push(UnmetExpectation { line: expected.line, what: what.clone(), differences, hint });
    }
    if let Some((id, _)) = execution
        && !expected.end.is_anything()
    {
        findings.extend(end_of(stage.history(), id, &what, &expected.end));
    }
    findings
}

fn missing(stage: &RehearsalStage, events: &[GivenEvent], expected: &ExpectedEnforcement) -> UnmetExpectation {
    let difference = Difference { at: "outcome".to_owned(), expected: Some(expected.outcome.as_str().to_owned()), got: None };
    let what = format!("rule `{}` makes no decision", expected.rule);
    UnmetExpectation { line: expected.line, what, differences: vec![difference], hint: why_not(stage, events, &expected.rule) }
}

/// Explains why a rule does not match any of the events: which parts of its condition are not met.
fn why_not(stage: &RehearsalStage, events: &[GivenEvent], name: &RuleRef) -> Option<String> {
    let rule = stage.catalog().rules().get(name)?;
    if rule.mode == Mode::Disabled {
        return Some("it is disabled".to_owned());
    }
    let Some(event) = events.iter().find(|event| rule.triggers.contains(&event.trigger)) else {
        let triggers: Vec<&str> = rule.triggers.iter().map(|trigger| trigger.as_str()).collect();
        return Some(format!("it listens to {}, but there is no event of that kind", triggers.join(", ")));
    };
    let payload = Document::from_value(&event.payload);
    let trigger = stage.catalog().triggers().get(&event.trigger)?;
    let payload = trigger.newest(event.version.unwrap_or(trigger.version), &payload).ok()?;
    let time = event.time.unwrap_or_else(|| stage.now());
    let view =
        EventView { id: EventId(Id::root(time, 0)), trigger: &event.trigger, source: &event.source, time, payload: &payload, only: None };
    let explanation = explain(rule, &view, &SeenVars::from_values(stage.vars())).when?;
    let parts = explanation.decisive().into_iter().map(|part| {
        let truth = if part.outcome == Truth(true) { "true" } else { "false" };
        let note = part.note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
        format!("`{}` is {truth}{note}", part.source)
    });
    Some(format!("it does not match: {}", parts.collect::<Vec<_>>().join("; ")))
}

fn unexpected_decision(stage: &RehearsalStage, decision: &RuleDecision<'_>, line: usize) -> UnmetExpectation {
    let does = match decision.execution().and_then(|id| stage.history().execution(id)) {
        Some(execution) => format!("executed {} with {}", execution.action, execution.params),
        None => decision.outcome().as_str().to_owned(),
    };
    let difference = Difference { at: "outcome".to_owned(), expected: None, got: Some(does) };
    let hint = match decision {
        RuleDecision::Erred(erred) => Some(erred.message.clone()),
        RuleDecision::Made(_) => decision.error().map(str::to_owned),
    };
    UnmetExpectation { line, what: format!("rule `{}` is not expected", decision.rule()), differences: vec![difference], hint }
}
