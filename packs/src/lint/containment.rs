//! Finds rules whose events are all matched by another rule too.
//!
//! The proof is in `expression/src/implication.rs`. It is reported only with an event that both conditions match when they
//! are evaluated.

use std::collections::{BTreeMap, BTreeSet};

use ensue_engine::catalog::{Extra, Field, Mode, Presence, Schema, Type};
use ensue_engine::names::{RuleRef, TriggerRef};
use ensue_expression::{Budget, ComparableCondition, Document, Expression, Literal, Scope};
use serde_json::{Map, Value, json};

use super::{Findings, LintFinding, RuleInPack};
use crate::definitions::PackDefinitions;
use crate::diagnostics::{Code, Severity};
use crate::fields::first_line;
use crate::syntax::RuleTask;
use crate::yaml::Node;

/// The most pairs of ways that are examined in one run, so that thousands of rules of a trigger take seconds. Of the
/// pairs of rules beyond it, none is reported.
const WORK_MAX: usize = 100_000;
/// The maximum number of steps for evaluating a condition on an example.
const STEPS_MAX: u64 = 10_000;

/// A rule with its condition.
struct Candidate<'a> {
    rule: &'a RuleInPack<'a>,
    when: &'a Expression,
    node: &'a Node,
    condition: ComparableCondition<'a>,
}

/// The schemas of payloads, by their triggers.
type Payloads<'a> = BTreeMap<&'a TriggerRef, &'a Schema>;

pub(super) fn look(packs: &[PackDefinitions<'_>], rules: &[RuleInPack<'_>], never: &BTreeSet<RuleRef>, findings: &mut Findings) {
    let payloads: Payloads<'_> =
        packs.iter().flat_map(|pack| &pack.parts.triggers).map(|trigger| (&trigger.name, &trigger.payload)).collect();
    let candidates: Vec<Candidate<'_>> = rules.iter().filter(|rule| !never.contains(rule.name())).filter_map(candidate).collect();
    let mut of_trigger: BTreeMap<&TriggerRef, Vec<usize>> = BTreeMap::new();
    for (at, candidate) in candidates.iter().enumerate() {
        for trigger in &candidate.rule.checked.triggers {
            of_trigger.entry(trigger).or_default().push(at);
        }
    }
    let mut work_left = WORK_MAX;
    for (at, inner) in candidates.iter().enumerate() {
        let Some(first) = inner.rule.checked.triggers.first() else { continue };
        let mut contains = |narrow: &Candidate<'_>, wide: &Candidate<'_>| contains(narrow, wide, &payloads, &mut work_left);
        let mut wider: Vec<(Likeness, &Candidate<'_>)> = Vec::new();
        for other in of_trigger[first].iter().filter(|other| **other != at) {
            let outer = &candidates[*other];
            // Of two rules that match the same events, the second is reported.
            if contains(inner, outer) && (*other < at || !contains(outer, inner)) {
                wider.push((likeness(inner.rule, outer.rule), outer));
            }
        }
        wider.sort_by_key(|(likeness, outer)| (*likeness, outer.rule.name().clone()));
        for (likeness, outer) in wider {
            if let Some(payload) = witness(inner, outer, &payloads) {
                report_containment(inner, outer, likeness, &payload, findings);
                break;
            }
        }
    }
}

/// Returns a rule that is compared. One that is not evaluated has no effect, flow control may act on other matches, the
/// events of a schedule belong to its rule, and a pack of another author is not the caller's to fix.
fn candidate<'a>(rule: &'a RuleInPack<'a>) -> Option<Candidate<'a>> {
    let (checked, written) = (rule.checked, rule.written);
    let (Some(when), Some(node)) = (&checked.when, &written.when) else { return None };
    let is_compared = checked.mode == Mode::Enabled && checked.flow.is_none() && checked.schedule.is_none() && rule.pack.is_reported;
    let reads_others = || when.reads().iter().any(|path| !matches!(path.segments.first().map(String::as_str), Some("event" | "config")));
    (is_compared && !reads_others()).then(|| Candidate { rule, when, node, condition: ComparableCondition::of(when) })
}

/// Returns true if `wide` surely matches every event that `narrow` matches.
fn contains(narrow: &Candidate<'_>, wide: &Candidate<'_>, payloads: &Payloads<'_>, work_left: &mut usize) -> bool {
    let work = narrow.condition.work(&wide.condition);
    if work > *work_left {
        return false;
    }
    *work_left -= work;
    let triggers = &narrow.rule.checked.triggers;
    let reads_settings = || wide.when.reads().iter().any(|path| path.segments.first().is_some_and(|root| root == "config"));
    if !triggers.iter().all(|trigger| wide.rule.checked.triggers.contains(trigger))
        // Settings of two packs are different values.
        || (narrow.rule.pack.pack.name != wide.rule.pack.pack.name && reads_settings())
    {
        return false;
    }
    let is_required = |name: &String, trigger: &TriggerRef| {
        let fields = payloads.get(trigger).and_then(|schema| schema.fields()).map(|fields| fields.0.as_slice()).unwrap_or_default();
        fields.iter().any(|field| field.name == *name && field.presence == Presence::Required)
    };
    let is_given = |path: &[String]| match path {
        [event, name] if event == "event" => ["trigger", "source", "payload", "id", "time"].contains(&name.as_str()),
        [event, payload, name] if event == "event" && payload == "payload" => triggers.iter().all(|trigger| is_required(name, trigger)),
        _ => false,
    };
    narrow.condition.is_contained_in(&wide.condition, &is_given)
}

/// Returns the payload of an event that both conditions match.
fn witness(narrow: &Candidate<'_>, wide: &Candidate<'_>, payloads: &Payloads<'_>) -> Option<Value> {
    let trigger = narrow.rule.checked.triggers.first()?;
    let schema = payloads.get(trigger).copied();
    narrow.condition.examples().find_map(|example| {
        let mut payload = Map::new();
        for field in schema.and_then(Schema::fields).map(|fields| fields.0.as_slice()).unwrap_or_default() {
            if field.presence == Presence::Required {
                payload.insert(field.name.clone(), example_of(field));
            }
        }
        let mut event = json!({ "trigger": trigger.as_str(), "source": "api", "payload": payload });
        for (path, literal) in example {
            match path.split_first() {
                Some((root, rest)) if root == "event" => set(&mut event, rest, json_of(literal)?)?,
                // The condition is evaluated with the settings as they are.
                Some(_) | None => {}
            }
        }
        let payload = event["payload"].clone();
        let document = Document::from_value(&payload);
        let fits = schema.is_none_or(|schema| schema.misfits(document.root(), Extra::Allowed).is_empty());
        (fits && [narrow, wide].iter().all(|one| holds(one, &event))).then_some(payload)
    })
}

fn holds(candidate: &Candidate<'_>, event: &Value) -> bool {
    let config = &candidate.rule.checked.config;
    let (event, config) = (Document::from_value(event), Document::from_value(config));
    let scope = Scope::new()
        .with("event", ensue_expression::Value::from(event.root()))
        .with("config", ensue_expression::Value::from(config.root()));
    candidate.when.holds(&scope, &mut Budget::steps(STEPS_MAX)).unwrap_or(false)
}

/// Sets the value at a path of an object; `None` if something else than an object is in between.
fn set(of: &mut Value, path: &[String], value: Value) -> Option<()> {
    let Some((name, rest)) = path.split_first() else {
        *of = value;
        return Some(());
    };
    let fields = of.as_object_mut()?;
    set(fields.entry(name.clone()).or_insert_with(|| json!({})), rest, value)
}

fn json_of(literal: Literal) -> Option<Value> {
    Some(match literal {
        Literal::Null => Value::Null,
        Literal::Bool(truth) => truth.into(),
        Literal::Int(number) => number.into(),
        Literal::Uint(number) => number.into(),
        Literal::Double(number) => serde_json::Number::from_f64(number)?.into(),
        Literal::String(text) => text.into(),
    })
}

/// Returns a value of a field's type.
fn example_of(field: &Field) -> Value {
    match &field.kind {
        Type::Any | Type::String { .. } | Type::Connection(_) => json!("text"),
        Type::Integer | Type::Number => json!(1),
        Type::Boolean => json!(true),
        Type::Object => json!({}),
        Type::List(_) => json!([]),
        Type::OneOf(texts) => json!(texts.first()),
    }
}

/// How similar the effects of two rules are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    SameRun,
    SameAction,
    OtherAction,
}

fn likeness(one: &RuleInPack<'_>, other: &RuleInPack<'_>) -> Likeness {
    if one.checked.runs() != other.checked.runs() {
        return Likeness::OtherAction;
    }
    // Two rules with steps each run their own.
    let given = |rule: &RuleInPack<'_>| match &rule.written.task {
        RuleTask::Action { with, .. } => with.as_ref().map(Node::to_value),
        RuleTask::Steps(_) => None,
    };
    let locals = |rule: &RuleInPack<'_>| -> Vec<(String, String)> {
        rule.checked.local.iter().map(|(name, local)| (name.clone(), local.source().trim().to_owned())).collect()
    };
    let is_same = given(one) == given(other) && locals(one) == locals(other) && one.pack.pack.name == other.pack.pack.name;
    if is_same { Likeness::SameRun } else { Likeness::SameAction }
}

fn report_containment(inner: &Candidate<'_>, outer: &Candidate<'_>, likeness: Likeness, payload: &Value, findings: &mut Findings) {
    let (rule, other) = (inner.rule, outer.rule);
    let message = format!(
        "every event that matches the rule `{}` also matches `{}`, for example one with the payload `{payload}`",
        rule.name(),
        other.name()
    );
    let action = rule.checked.runs();
    let (severity, hint) = match likeness {
        Likeness::SameRun => {
            (Severity::Warning, format!("both run `{action}` with the same parameters, so it runs twice: keep one of the two"))
        }
        Likeness::SameAction => (
            Severity::Warning,
            format!("both run `{action}` with different parameters: if only one of them should run, narrow the condition of the other"),
        ),
        Likeness::OtherAction => {
            (Severity::Note, format!("this one runs `{action}`, the other `{}`: both run for each such event", other.checked.runs()))
        }
    };
    let place = other.file.place(other.written.triggers.first().map_or(0, |trigger| trigger.span.start));
    let hint = format!("{hint}\n`{}` is at {}:{}", other.name(), other.file.path(), place.line);
    let span = first_line(&inner.node.span, rule.file);
    findings.report(&rule.pack.pack.name, rule.file, LintFinding { severity, code: Code::RuleContained, span, message, hint });
}
