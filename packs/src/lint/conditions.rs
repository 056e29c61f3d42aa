//! Finds rules whose conditions no event satisfies.
//!
//! The proofs about conditions are in `expression/src/implication.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use ensue_engine::catalog::{Schema, Type};
use ensue_engine::names::{RuleRef, TriggerRef};
use ensue_expression::{Condition, Expression, Literal, Partial};

use super::{Findings, LintFinding, RuleInPack, locate_part};
use crate::definitions::PackDefinitions;
use crate::diagnostics::{Code, Severity};
use crate::fields::first_line;
use crate::yaml::Node;

/// The schemas of payloads, by their triggers.
type Payloads<'a> = BTreeMap<&'a TriggerRef, &'a Schema>;

/// Reports rules that never match, and returns the names of those.
pub(super) fn look(packs: &[PackDefinitions<'_>], rules: &[RuleInPack<'_>], findings: &mut Findings) -> BTreeSet<RuleRef> {
    let triggers = packs.iter().flat_map(|pack| &pack.parts.triggers).map(|trigger| (&trigger.name, &trigger.payload)).collect();
    let mut never = BTreeSet::new();
    for rule in rules {
        if let (Some(node), Some(when)) = (&rule.written.when, &rule.checked.when)
            && report_never(rule, node, when, &triggers, findings)
        {
            never.insert(rule.name().clone());
        }
    }
    never
}

/// Reports a rule that never matches, or never matches one of its triggers. Returns true if it never matches.
fn report_never(rule: &RuleInPack<'_>, node: &Node, when: &Expression, triggers: &Payloads<'_>, findings: &mut Findings) -> bool {
    let condition = Condition::of(when);
    let is_excluded = |trigger: &&TriggerRef| condition.never_holds_given(&event_of(trigger, triggers.get(*trigger).copied()));
    let excluded: Vec<&TriggerRef> = rule.checked.triggers.iter().filter(is_excluded).collect();
    let is_by_payload = excluded.iter().any(|trigger| !condition.never_holds_given(&event_of(trigger, None)));
    let is_never = excluded.len() == rule.checked.triggers.len();
    // The checks have already reported on this condition.
    if excluded.is_empty() || !rule.pack.is_reported || rule.pack.report.has_within(rule.file, &node.span) {
        return is_never;
    }
    let spans = when.contradiction().unwrap_or_default();
    let place = |span: &Range<usize>| locate_part(rule.file, node, when, span.clone());
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
        let names = crate::fields::quote_names(&excluded.iter().map(ToString::to_string).collect::<Vec<_>>());
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
    findings.report(
        &rule.pack.pack.name,
        rule.file,
        LintFinding { severity: Severity::Warning, code: Code::RuleNeverMatches, span, message, hint },
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
