//! Finds rules whose conditions probably match too much or too little: no event satisfies them, or another
//! rule matches all their events.
//!
//! The proofs about conditions are in `expression/src/imply.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ensue_engine::catalog::{Mode, Schema, Type};
use ensue_engine::names::TriggerRef;
use ensue_expression::{Condition, Expression, Literal, Partial};

use super::{Finding, Findings, RuleInPack, located};
use crate::checked::Definitions;
use crate::diagnostics::{Code, Severity};
use crate::fields::first_line;
use crate::written::RuleTask;

/// The most rules of one trigger that are compared with each other: a million pairs. If there are more, none
/// are compared, which is reported.
const COMPARED_MAX: usize = 1_000;

pub(super) fn look(packs: &[Definitions<'_>], rules: &[RuleInPack<'_>], findings: &mut Findings) {
    let triggers = packs.iter().flat_map(|pack| &pack.parts.triggers).map(|trigger| (&trigger.name, &trigger.payload)).collect();
    let prepared: Vec<Option<Condition<'_>>> = rules.iter().map(|rule| rule.checked.when.as_ref().map(Condition::of)).collect();
    let never: Vec<bool> =
        rules.iter().zip(&prepared).map(|(rule, condition)| tell_never(rule, condition.as_ref(), &triggers, findings)).collect();
    let candidates: Vec<Judged<'_>> = rules
        .iter()
        .zip(&prepared)
        .zip(never)
        // A rule that is never evaluated has no effect, flow control may act on other matches, and a pack of
        // another author is not the caller's to fix.
        .filter(|((rule, _), never)| !never && rule.checked.mode == Mode::Enabled && rule.checked.flow.is_none() && rule.pack.is_told_of)
        .map(|((rule, condition), _)| Judged { rule, condition: condition.as_ref() })
        .collect();
    tell_contained(&candidates, findings);
}

/// Reports a rule that never matches, or never matches one of its triggers. Returns true if it never matches.
fn tell_never(
    rule: &RuleInPack<'_>,
    condition: Option<&Condition<'_>>,
    triggers: &BTreeMap<&TriggerRef, &Schema>,
    findings: &mut Findings,
) -> bool {
    let (Some(condition), Some(node), Some(when)) = (condition, &rule.written.when, &rule.checked.when) else { return false };
    let is_excluded = |trigger: &&TriggerRef| condition.never_holds_given(&event_of(trigger, triggers.get(*trigger).copied()));
    let excluded: Vec<&TriggerRef> = rule.checked.triggers.iter().filter(is_excluded).collect();
    let is_by_payload = excluded.iter().any(|trigger| !condition.never_holds_given(&event_of(trigger, None)));
    let is_never = excluded.len() == rule.checked.triggers.len();
    // The checks have already reported on this condition.
    if excluded.is_empty() || !rule.pack.is_told_of || rule.pack.told.tells_within(rule.file, &node.span) {
        return is_never;
    }
    let spans = when.contradiction().unwrap_or_default();
    let place = |span: &Range<usize>| located(rule.file, node, when, span.clone());
    let written = |span: &Range<usize>| when.source().get(span.clone()).unwrap_or("").trim().to_owned();
    let (span, why) = match spans.as_slice() {
        [alone] => (place(alone), format!("`{}` is never true", written(alone))),
        [one, other, ..] => (place(other), format!("`{}` and `{}` are never true together", written(one), written(other))),
        [] => (first_line(&node.span, rule.file), "its parts are never true together".to_owned()),
    };
    let (span, message) = if is_never && condition.never_holds() {
        (span, format!("the rule `{}` never matches: {why}", rule.name()))
    } else if is_never && is_by_payload {
        (
            first_line(&node.span, rule.file),
            format!("the rule `{}` never matches: no integer satisfies what `when` requires of an `integer` of the payload", rule.name()),
        )
    } else {
        let names = crate::fields::listed(&excluded.iter().map(ToString::to_string).collect::<Vec<_>>());
        let which = if is_never { "never matches".to_owned() } else { format!("never matches an event of {names}") };
        (
            first_line(&node.span, rule.file),
            format!("the rule `{}` {which}: `event.trigger` never has the value that `when` requires there", rule.name()),
        )
    };
    let hint = if is_never {
        "fix the condition; to turn the rule off, set `mode: disabled`".to_owned()
    } else {
        "remove the trigger from the list, or fix the condition".to_owned()
    };
    findings.tell(
        &rule.pack.pack.name,
        rule.file,
        Finding { severity: Severity::Warning, code: Code::RuleNeverMatches, span, message, hint },
    );
    is_never
}

/// What is known of every event of a trigger; with the schema of its payload, also which fields are whole
/// numbers.
fn event_of(trigger: &TriggerRef, payload: Option<&Schema>) -> Partial {
    let name = Partial::Literal(Literal::String(trigger.to_string()));
    let fields = payload.and_then(Schema::fields).into_iter().flat_map(|fields| &fields.0).filter(|field| field.kind == Type::Integer);
    let payload = Partial::AtLeast(fields.map(|field| (field.name.clone(), Partial::Integer)).collect());
    let event = Partial::AtLeast(BTreeMap::from([("trigger".to_owned(), name), ("payload".to_owned(), payload)]));
    Partial::AtLeast(BTreeMap::from([("event".to_owned(), event)]))
}

/// A rule with its condition; without a condition it always holds.
struct Judged<'a> {
    rule: &'a RuleInPack<'a>,
    condition: Option<&'a Condition<'a>>,
}

/// How similar the effects of two rules are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    SameRun,
    SameAction,
    OtherAction,
}

fn tell_contained(rules: &[Judged<'_>], findings: &mut Findings) {
    let mut of_trigger: BTreeMap<&TriggerRef, Vec<usize>> = BTreeMap::new();
    // The events of a rule's schedule belong to that rule.
    let listens = |(_, judged): &(usize, &Judged<'_>)| judged.rule.checked.schedule.is_none();
    for (at, judged) in rules.iter().enumerate().filter(listens) {
        for trigger in &judged.rule.checked.triggers {
            of_trigger.entry(trigger).or_default().push(at);
        }
    }
    for (trigger, listening) in &of_trigger {
        if listening.len() > COMPARED_MAX
            && let Some(first) = listening.first()
        {
            tell_not_compared(trigger, listening.len(), rules[*first].rule, findings);
        }
    }
    for (at, inner) in rules.iter().enumerate().filter(listens) {
        let Some(first) = inner.rule.checked.triggers.first() else { continue };
        let listening = &of_trigger[first];
        if listening.len() > COMPARED_MAX {
            continue;
        }
        let wider = listening.iter().filter(|other| **other != at && contains(&rules[**other], inner));
        let wider = wider.filter(|other| {
            // Of two rules that match the same events, the second is reported.
            **other < at || !contains(inner, &rules[**other])
        });
        let mut wider: Vec<(Likeness, &Judged<'_>)> = wider.map(|other| (likeness(inner, &rules[*other]), &rules[*other])).collect();
        // That a rule without a condition matches every event is reported only if it does the same.
        wider.retain(|(likeness, outer)| *likeness != Likeness::OtherAction || outer.condition.is_some());
        wider.sort_by_key(|(likeness, outer)| (*likeness, outer.rule.name().clone()));
        if let Some((likeness, outer)) = wider.first() {
            let is_same = contains(inner, outer);
            tell_one_contained(inner, outer, *likeness, is_same, findings);
        }
    }
}

fn tell_not_compared(trigger: &TriggerRef, count: usize, rule: &RuleInPack<'_>, findings: &mut Findings) {
    let written = rule.written.triggers.iter().zip(&rule.checked.triggers).find(|(_, checked)| *checked == trigger);
    findings.tell(
        &rule.pack.pack.name,
        rule.file,
        Finding {
            severity: Severity::Note,
            code: Code::RulesNotCompared,
            span: written.map_or(0..0, |(written, _)| written.span.clone()),
            message: format!("{count} rules listen to `{trigger}`, too many to check whether one matches everything that another matches"),
            hint: format!("run `ensue lint` on fewer packs at once: up to {COMPARED_MAX} rules of a trigger are compared with each other"),
        },
    );
}

fn tell_one_contained(inner: &Judged<'_>, outer: &Judged<'_>, likeness: Likeness, is_same: bool, findings: &mut Findings) {
    let (rule, other) = (inner.rule, outer.rule);
    let span = match &rule.written.when {
        Some(node) => first_line(&node.span, rule.file),
        None => rule.written.triggers.first().map_or(0..0, |trigger| trigger.span.clone()),
    };
    let message = if is_same {
        format!("the rule `{}` matches exactly the same events as `{}`", rule.name(), other.name())
    } else {
        format!("every event that matches the rule `{}` also matches `{}`", rule.name(), other.name())
    };
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
    findings.tell(&rule.pack.pack.name, rule.file, Finding { severity, code: Code::RuleContained, span, message, hint });
}

/// Returns true if one rule surely matches every event that another one matches.
fn contains(outer: &Judged<'_>, inner: &Judged<'_>) -> bool {
    let triggers = |judged: &Judged<'_>| judged.rule.checked.triggers.iter().cloned().collect::<BTreeSet<_>>();
    if inner.rule.checked.triggers.len() > 1 && !triggers(inner).is_subset(&triggers(outer)) {
        return false;
    }
    match (outer.condition, inner.condition) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(outer_condition), Some(inner_condition)) => {
            has_same_names(outer.rule, inner.rule) && inner_condition.implies(outer_condition)
        }
    }
}

/// Returns true if the names that the condition of `outer` reads have the same values for `inner`.
fn has_same_names(outer: &RuleInPack<'_>, inner: &RuleInPack<'_>) -> bool {
    let Some(when) = &outer.checked.when else { return true };
    let reads: BTreeSet<String> = when.reads().into_iter().filter_map(|path| path.segments.into_iter().next()).collect();
    let is_one_pack = outer.pack.pack.name == inner.pack.pack.name;
    let sources = |rule: &RuleInPack<'_>| -> Vec<(String, String)> {
        rule.checked.local.iter().map(|(name, expression)| (name.clone(), source_of(expression))).collect()
    };
    let has_locals = || inner.checked.when.as_ref().is_some_and(|when| when.reads().iter().any(|path| path.segments[0] == "local"));
    reads.iter().all(|root| match root.as_str() {
        "event" => true,
        "config" => is_one_pack,
        // If both compute them, an event for which one of them errs makes the other err too.
        "local" => is_one_pack && has_locals() && sources(outer) == sources(inner),
        _ => false,
    })
}

fn source_of(expression: &Expression) -> String {
    expression.source().trim().to_owned()
}

fn likeness(one: &Judged<'_>, other: &Judged<'_>) -> Likeness {
    let (one, other) = (one.rule, other.rule);
    if one.checked.runs() != other.checked.runs() {
        return Likeness::OtherAction;
    }
    // Two rules with steps each run their own.
    let given = |rule: &RuleInPack<'_>| match &rule.written.task {
        RuleTask::Action { with, .. } => with.as_ref().map(crate::yaml::Node::to_value),
        RuleTask::Steps(_) => None,
    };
    let locals =
        |rule: &RuleInPack<'_>| rule.checked.local.iter().map(|(name, local)| (name.clone(), source_of(local))).collect::<Vec<_>>();
    let is_same = given(one) == given(other) && locals(one) == locals(other) && one.pack.pack.name == other.pack.pack.name;
    if is_same { Likeness::SameRun } else { Likeness::SameAction }
}
