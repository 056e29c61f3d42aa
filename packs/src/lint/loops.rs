//! Finds rules that trigger themselves: a rule's action emits an event that matches the rule, or another rule
//! that leads back to it.
//!
//! The events of an action are known only if its trigger is written literally. Events sent by a program or
//! another system are not known.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ensue_engine::catalog::{Mode, Run};
use ensue_engine::events::version::VersionedTrigger;
use ensue_engine::names::{ActionRef, RuleRef, TriggerRef};
use ensue_engine::rules::react::DEPTH_MAX;
use ensue_expression::{Condition, Literal, Partial, Value};

use super::{Findings, LintFinding, RuleInPack};
use crate::definitions::PackDefinitions;
use crate::diagnostics::{Code, Severity};
use crate::syntax;
use crate::yaml::{Content, Node};

/// The library's action that emits an event from its parameters.
const EMIT: &str = "core.emit";
/// The most rules of a circle that are listed.
const LOOP_RULES_MAX: usize = 12;

pub(super) fn look(packs: &[PackDefinitions<'_>], rules: &[RuleInPack<'_>], findings: &mut Findings) {
    let actions: BTreeMap<ActionRef, Emits<'_>> = packs.iter().flat_map(emitting_actions).collect();
    // Rules that are disabled or only evaluated lead to nothing.
    let acting: Vec<&RuleInPack<'_>> = rules.iter().filter(|rule| rule.checked.mode == Mode::Enabled).collect();
    let conditions: Vec<Option<Condition>> = acting.iter().map(|rule| rule.checked.when.as_ref().map(Condition::of)).collect();
    let mut listening: BTreeMap<&TriggerRef, Vec<usize>> = BTreeMap::new();
    for (at, rule) in acting.iter().enumerate() {
        for trigger in rule.checked.triggers.iter().collect::<BTreeSet<_>>() {
            listening.entry(trigger).or_default().push(at);
        }
    }
    let mut leads_to: Vec<Vec<Edge>> = Vec::new();
    for rule in &acting {
        let mut edges = Vec::new();
        if let Some(emitted) = emitted_by(rule, &actions) {
            for next in listening.get(&emitted.trigger).into_iter().flatten() {
                let is_excluded = conditions[*next].as_ref().is_some_and(|condition| condition.never_holds_given(&emitted.event()));
                if !is_excluded {
                    edges.push(Edge { to: *next, trigger: emitted.trigger.clone() });
                }
            }
        }
        leads_to.push(edges);
    }
    let mut reported: BTreeSet<BTreeSet<usize>> = BTreeSet::new();
    for start in 0..acting.len() {
        if let Some(way) = shortest_way(&leads_to, start)
            && reported.insert(way.iter().map(|step| step.rule).collect())
        {
            report_loop(&acting, &way, findings);
        }
    }
}

/// An event that an action emits.
struct Emits<'a> {
    trigger: Option<VersionedTrigger>,
    payload: Option<&'a Node>,
}

/// The known parts of an event that a rule leads to.
struct PartialEvent {
    trigger: TriggerRef,
    payload: Partial,
}

impl PartialEvent {
    fn event(&self) -> Partial {
        let trigger = Partial::Literal(Literal::String(self.trigger.to_string()));
        let fields = BTreeMap::from([("trigger".to_owned(), trigger), ("payload".to_owned(), self.payload.clone())]);
        Partial::AtLeast(BTreeMap::from([("event".to_owned(), Partial::AtLeast(fields))]))
    }
}

struct Edge {
    to: usize,
    trigger: TriggerRef,
}

/// A rule on the path, and the trigger that leads to the next.
struct LoopStep {
    rule: usize,
    trigger: TriggerRef,
}

fn emitting_actions<'a>(pack: &'a PackDefinitions<'a>) -> impl Iterator<Item = (ActionRef, Emits<'a>)> {
    pack.parts.actions.iter().filter_map(move |action| {
        let Run::Emit { trigger, .. } = &action.run else {
            return (action.name.as_str() == EMIT).then(|| (action.name.clone(), Emits { trigger: None, payload: None }));
        };
        let written = pack.pack.actions.get(action.name.name())?.body.as_ref()?;
        let syntax::WrittenRun::Emit { payload, .. } = &written.run else { return None };
        Some((action.name.clone(), Emits { trigger: Some(trigger.clone()), payload: payload.as_ref() }))
    })
}

/// Returns the event that a rule's action emits, if it is known.
fn emitted_by(rule: &RuleInPack<'_>, actions: &BTreeMap<ActionRef, Emits<'_>>) -> Option<PartialEvent> {
    let syntax::RuleTask::Action { with, .. } = &rule.written.task else { return None };
    let emits = actions.get(rule.checked.runs())?;
    let given = with.as_ref();
    let given_at = |name: &str| given.and_then(|node| node.at(&format!("/{name}")));
    let Some(trigger) = &emits.trigger else {
        let Content::Text { value, .. } = &given_at("trigger")?.content else { return None };
        let payload = given_at("payload").map_or(Partial::Unknown, |node| partial_value(node, &|_| Partial::Unknown));
        let VersionedTrigger { name: trigger, version } = value.parse().ok()?;
        return Some(PartialEvent { trigger, payload: if version.is_none() { payload } else { Partial::Unknown } });
    };
    let parameter = |name: &str| given_at(name).map_or(Partial::Unknown, |node| partial_value(node, &|_| Partial::Unknown));
    let VersionedTrigger { name: trigger, version } = trigger.clone();
    let payload = match emits.payload {
        // What a rule sees of an older version is known only after its upcasts.
        _ if version.is_some() => Partial::Unknown,
        Some(node) => partial_value(node, &parameter),
        None => Partial::Map(BTreeMap::new()),
    };
    Some(PartialEvent { trigger, payload })
}

/// Returns what is known of a value as written; `parameter` returns what is known of a parameter.
fn partial_value(node: &Node, parameter: &dyn Fn(&str) -> Partial) -> Partial {
    match &node.content {
        Content::Map(entries) => {
            Partial::Map(entries.iter().map(|entry| (entry.key.value.clone(), partial_value(&entry.value, parameter))).collect())
        }
        Content::Text { value, .. } if value.contains("${{") => {
            let inner = value.trim().strip_prefix("${{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim);
            let name = inner.and_then(|inner| inner.strip_prefix("params.")).filter(|name| ensue_engine::names::is_name(name));
            name.map_or(Partial::Unknown, parameter)
        }
        Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text { .. } => {
            Literal::of(&Value::from_json(&node.to_value())).map_or(Partial::Unknown, Partial::Literal)
        }
        Content::List(_) | Content::Poisoned => Partial::Unknown,
    }
}

/// Returns the shortest path from a rule back to itself.
fn shortest_way(leads_to: &[Vec<Edge>], start: usize) -> Option<Vec<LoopStep>> {
    let mut came_from: BTreeMap<usize, LoopStep> = BTreeMap::new();
    let mut waiting = VecDeque::from([start]);
    while let Some(at) = waiting.pop_front() {
        for edge in &leads_to[at] {
            if came_from.contains_key(&edge.to) {
                continue;
            }
            came_from.insert(edge.to, LoopStep { rule: at, trigger: edge.trigger.clone() });
            if edge.to == start {
                let mut way = Vec::new();
                let mut before = came_from.remove(&start);
                while let Some(step) = before {
                    let rule = step.rule;
                    way.push(step);
                    before = if rule == start { None } else { came_from.remove(&rule) };
                }
                way.reverse();
                return Some(way);
            }
            waiting.push_back(edge.to);
        }
    }
    None
}

fn report_loop(rules: &[&RuleInPack<'_>], way: &[LoopStep], findings: &mut Findings) {
    // The loop is reported at the first of its rules that belongs to the caller.
    let Some(first) = way.iter().position(|step| rules[step.rule].pack.is_reported) else { return };
    let way: Vec<&LoopStep> = way[first..].iter().chain(&way[..first]).collect();
    let rule = rules[way[0].rule];
    let begin = way.last().map_or(&way[0].trigger, |last| &last.trigger);
    let name = |step: &LoopStep| -> &RuleRef { rules[step.rule].name() };
    let mut lines = vec![format!("`{begin}`")];
    for step in way.iter().take(LOOP_RULES_MAX) {
        lines.push(format!("→ rule `{}` → action `{}` → `{}`", name(step), rules[step.rule].checked.runs(), step.trigger));
    }
    if way.len() > LOOP_RULES_MAX {
        lines.push(format!("→ … {} more rules …", way.len() - LOOP_RULES_MAX));
    }
    lines.push("and so on".to_owned());
    let span = rule.written.triggers.iter().find(|written| written.value == begin.as_str()).map_or(0..0, |written| written.span.clone());
    let message = match way.len() {
        1 => format!("the rule `{}` can trigger itself", rule.name()),
        _ => format!("the rule `{}` can trigger itself, through {}", rule.name(), others(&way[1..], rules)),
    };
    let hint = format!(
        "the loop:\n{}\nadd a condition that separates these events, or emit another trigger; after {DEPTH_MAX} events in a row, the \
            rule is suspended",
        lines.join("\n")
    );
    findings.report(
        &rule.pack.pack.name,
        rule.file,
        LintFinding { severity: Severity::Warning, code: Code::RuleTriggersItself, span, message, hint },
    );
}

fn others(way: &[&LoopStep], rules: &[&RuleInPack<'_>]) -> String {
    let names: Vec<String> = way.iter().take(3).map(|step| format!("`{}`", rules[step.rule].name())).collect();
    let more = way.len().saturating_sub(names.len());
    if more == 0 { names.join(" and ") } else { format!("{} and {more} more", names.join(", ")) }
}
