//! What a rule decided about an event, and why; and the requests that ask for it.

use ensue_derive::wire;
use ensue_engine::catalog::{Mode, Rule};
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::ids::{EnforcementId, EventId, ExecutionId, RuleId};
use ensue_engine::names::{ActionRef, Names, RuleRef, TriggerRef};
use ensue_engine::record::CatalogRevision;
use ensue_engine::rules::explain::{ErredLocal, LocalValue, Reason};
use ensue_engine::rules::judge::{Plan, Verdict};
use ensue_expression::{Explanation, Outcome};
use ensue_views::Enforcement;
use ensue_views::enforcements::OutcomeName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::shapes::{self, WireSpan};
use crate::wire::backtests::WireFileText;
use crate::wire::embed_body;
use crate::wire::enforcements::{WireBecame, WireHeld};

/// The definitions with which an event is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema, Names)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireDefinitions {
    /// The definitions that judged it when it arrived.
    #[default]
    Then,
    /// The definitions that judge new events.
    Now,
}

/// What one rule decided about an event, and why.
#[wire(Serialize)]
pub(crate) struct WireVerdict {
    rule: RuleRef,
    rule_id: RuleId,
    verdict: WireJudgement,
    /// The parts of the condition that decided, one per line; empty if the rule has no condition.
    why: Vec<String>,
    when: Option<String>,
    #[serde(flatten)]
    reason: WireReason,
    erred: Option<WireErred>,
    enforcement: Option<EnforcementId>,
    outcome: Option<OutcomeName>,
    /// The flow control that holds the match, or held it last; null if it was never held.
    held: Option<WireHeld>,
    /// What became of the match after it was held.
    became: Option<WireBecame>,
    error: Option<String>,
    execution: Option<ExecutionId>,
}

/// A rule's verdict on an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema, Names)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireJudgement {
    /// Its condition holds.
    Matched,
    /// Its condition does not hold.
    NotMatched,
    /// Its condition, or something that it reads, failed with an error.
    Erred,
    /// It reads `vars` as a whole, and the vars of that time cannot be determined.
    Undecided,
}

/// A condition in its parts; null if the rule has none, or if it could not be evaluated again.
#[derive(Serialize, JsonSchema)]
struct WireReason {
    /// Every part with its value.
    #[schemars(with = "Option<shapes::ConditionTree>")]
    explanation: Value,
    /// The smallest set of parts that decided.
    #[schemars(with = "Option<Vec<shapes::ConditionPart>>")]
    decisive: Value,
    /// Changes that would reverse the verdict.
    #[schemars(with = "Option<Vec<shapes::ConditionFlip>>")]
    flips: Value,
}

/// Why a rule could not be evaluated.
#[derive(Serialize, JsonSchema)]
struct WireErred {
    /// The expression's place: `when`, or `local.<name>`.
    r#in: String,
    /// The expression.
    source: String,
    message: String,
    hint: Option<String>,
    /// The range in the expression, in bytes; null if it is not known.
    span: Option<WireSpan>,
}

impl WireVerdict {
    /// Shows what a rule decided about an event: `verdict` is none if it does not match, `reason` is none if it
    /// was not worked out.
    pub(crate) fn new(rule: &Rule, verdict: Option<&Verdict>, reason: Option<&Reason>, enforcement: Option<&Enforcement>) -> Self {
        let when = reason.and_then(|reason| reason.when.as_ref());
        let local = reason.and_then(|reason| reason.erred_local.as_ref());
        let (name, erred) = match verdict {
            None => (WireJudgement::NotMatched, None),
            Some(Verdict::Matched(_)) => (WireJudgement::Matched, None),
            Some(Verdict::Undecided) => (WireJudgement::Undecided, None),
            Some(Verdict::Erred { message }) => (WireJudgement::Erred, Some(WireErred::new(rule, message, when, local))),
        };
        let why = match (&erred, when) {
            (Some(erred), _) if erred.r#in != "when" => vec![format!("{}  → error: {}", erred.r#in, erred.message)],
            (_, Some(when)) => when.decisive().iter().map(ToString::to_string).collect(),
            (Some(erred), None) => vec![erred.message.clone()],
            (None, None) => Vec::new(),
        };
        Self {
            rule: rule.name.clone(),
            rule_id: rule.id,
            verdict: name,
            why,
            when: rule.when.as_ref().map(|when| when.source().to_owned()),
            reason: WireReason::new(when),
            erred,
            enforcement: enforcement.map(|enforcement| enforcement.id),
            outcome: enforcement.map(|enforcement| enforcement.outcome),
            held: enforcement.and_then(|enforcement| enforcement.held).map(WireHeld::from),
            became: enforcement.and_then(|enforcement| enforcement.became).map(WireBecame::from),
            error: enforcement.and_then(|enforcement| enforcement.error.clone()),
            execution: enforcement.and_then(|enforcement| enforcement.execution),
        }
    }

    /// Returns the verdict.
    pub(crate) fn name(&self) -> WireJudgement {
        self.verdict
    }

    /// Returns the parts of the condition that decided, one per line.
    pub(crate) fn into_why(self) -> Vec<String> {
        self.why
    }

    /// Returns true if the rule matched; a rule that failed with an error did not match.
    pub(crate) fn is_match(&self) -> bool {
        self.verdict == WireJudgement::Matched
    }

    /// Leaves out the parts: a trace is for reading.
    pub(crate) fn without_explanation(self) -> Self {
        Self { reason: WireReason::new(None), ..self }
    }
}

impl WireReason {
    fn new(when: Option<&Explanation>) -> Self {
        let mut told = when.map(Explanation::to_json).unwrap_or_default();
        Self { explanation: told["explanation"].take(), decisive: told["decisive"].take(), flips: told["flips"].take() }
    }
}

impl WireErred {
    /// Creates the error as the condition, or a local value that it reads, reports it with its place; otherwise
    /// as the judgement reported it.
    fn new(rule: &Rule, message: &str, when: Option<&Explanation>, local: Option<&ErredLocal>) -> Self {
        let source = rule.when.as_ref().map(|when| when.source().to_owned()).unwrap_or_default();
        let (name, source, error) = match (local, when.map(Explanation::outcome)) {
            (Some(local), _) => (format!("local.{}", local.name), local.source.clone(), &local.error),
            (None, Some(Outcome::Erred(error))) => ("when".to_owned(), source, error),
            _ => return Self { r#in: "when".into(), source, message: message.to_owned(), hint: None, span: None },
        };
        Self {
            r#in: name,
            source,
            message: error.message.clone(),
            hint: error.hint.clone(),
            span: Some(WireSpan { start: error.span.start, end: error.span.end }),
        }
    }
}

/// What one rule decided about an event, with all details.
#[derive(Serialize, JsonSchema)]
pub(crate) struct WireExplained {
    #[serde(flatten)]
    subject: WireSubject,
    #[serde(flatten)]
    verdict: WireVerdict,
    locals: Vec<WireLocalValue>,
    plan: Option<WirePlan>,
}

/// The event that was judged, and the definitions that judged it.
#[wire(Serialize)]
pub(crate) struct WireSubject {
    /// Null if the event was never sent.
    pub(crate) event: Option<EventId>,
    pub(crate) trigger: TriggerRef,
    /// The version of the trigger in which the payload came.
    pub(crate) version: u32,
    /// The version in which the rule reads it, if it is upcast; otherwise null.
    pub(crate) upcast_to: Option<u32>,
    pub(crate) definitions: WireDefinitions,
    pub(crate) catalog: CatalogRevision,
    /// The rule's current mode, which decides what becomes of its matches.
    pub(crate) mode: Mode,
}

/// A short form of a rule's local value.
#[derive(Serialize, JsonSchema)]
struct WireLocalValue {
    name: String,
    value: String,
}

/// What a match requests: the parameters for the action, or why it cannot be run with them.
#[wire(Serialize)]
struct WirePlan {
    action: ActionRef,
    params: Option<Box<RawValue>>,
    rejected: Option<String>,
}

impl WireExplained {
    /// Shows all details.
    pub(crate) fn new(
        subject: WireSubject,
        rule: &Rule,
        verdict: Option<&Verdict>,
        reason: &Reason,
        enforcement: Option<&Enforcement>,
    ) -> Self {
        let local = |local: &LocalValue| WireLocalValue { name: local.name.clone(), value: local.value.clone() };
        let plan = match verdict {
            Some(Verdict::Matched(plan)) => Some(WirePlan::new(rule, plan)),
            Some(Verdict::Erred { .. } | Verdict::Undecided) | None => None,
        };
        let verdict = WireVerdict::new(rule, verdict, Some(reason), enforcement);
        Self { subject, verdict, locals: reason.locals.iter().map(local).collect(), plan }
    }
}

impl WirePlan {
    fn new(rule: &Rule, plan: &Plan) -> Self {
        let (params, rejected) = match plan {
            Plan::Run { params, .. } => (params.content.as_ref().map(embed_body), None),
            Plan::Reject { error } => (None, Some(error.clone())),
            Plan::Controlled { run: Some(run), .. } => return Self::new(rule, run),
            // The parameters are not known until the other events are.
            Plan::Controlled { run: None, .. } => (None, None),
        };
        Self { action: rule.action.name.clone(), params, rejected }
    }
}

/// The event to explain: the id of a stored event, or an event itself.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireExplain {
    #[schemars(with = "WireAsked")]
    pub(crate) event: Box<RawValue>,
    /// The rule's file with the contents to judge with; without it, the installed rule judges.
    #[serde(default)]
    pub(crate) file: Option<WireFileText>,
}

/// The forms of `event`, for the OpenAPI document. Parsed by hand, so that errors are reported well.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum WireAsked {
    /// A stored event, by its id.
    Stored(shapes::EventId),
    /// An event that exists only in the request.
    Given(WireImagined),
}

/// An event that exists only in the request, to be explained.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireImagined {
    pub(crate) trigger: VersionedTrigger,
    pub(crate) payload: Box<RawValue>,
    #[serde(default)]
    pub(crate) source: Option<String>,
}
