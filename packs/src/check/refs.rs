//! Resolves refs to triggers and actions across packs. An unknown ref is reported with the nearest known one.
//!
//! This module checks only that a definition exists, not its content.

use ensue_engine::catalog::{Schema, WAIT};
use ensue_engine::events::internal::is_of_the_engine;
use ensue_engine::names::{ActionRef, NameError, PackName, RuleRef, TriggerRef};
use ensue_engine::schedule::SCHEDULE_TRIGGER;
use ensue_expression::nearest;

use super::{Checking, World};
use crate::diagnostics::{Code, Report};
use crate::fields::quote_names;
use crate::library;
use crate::source::SourceText;
use crate::syntax;
use crate::yaml::WithSpan;

/// The engine's own triggers that a later release adds.
const TRIGGERS_LATER: [&str; 1] = ["core.backlog_high"];

/// What one who writes `core.schedule` means instead.
const BY_THE_CLOCK: &str = "to run a rule on a schedule, replace `trigger`, for example with\n\
    schedule: { cron: \"0 9 * * 1-5\", timezone: Europe/Berlin }";

/// Finds the trigger of a ref for a listener. Returns it with the schema of its payload, if that is known.
pub(super) fn trigger_named<'a>(
    checking: &mut Checking<'a>,
    file: &SourceText,
    written: &WithSpan<String>,
    report: &mut Report,
) -> Option<(TriggerRef, Option<&'a Schema>)> {
    if TRIGGERS_LATER.contains(&written.value.as_str()) {
        report
            .error(
                Code::NotYet,
                file,
                written.span.clone(),
                format!("the engine's own trigger `{}` is not in this release yet", written.value),
            )
            .hint("see docs/roadmap.md for what is planned");
        return None;
    }
    if written.value == SCHEDULE_TRIGGER {
        report
            .error(
                Code::InvalidRef,
                file,
                written.span.clone(),
                "the engine's own trigger `core.schedule` is only for rules with `schedule`",
            )
            .hint(BY_THE_CLOCK);
        return None;
    }
    let trigger: TriggerRef = parse_ref(&written.value, "trigger", checking, file, written, report)?;
    checking.uses.note(trigger.pack(), file, &written.span);
    let world = checking.world;
    let found = world.packs.get(&trigger.pack()).and_then(|pack| pack.triggers.get(trigger.name()));
    match found {
        Some(defined) => Some((trigger, defined.body.as_ref().and_then(|trigger| trigger.payload.as_ref()))),
        None => {
            let known = refs(world, |pack| pack.triggers.keys());
            report_unknown_ref(Code::UnknownTrigger, "trigger", &trigger.pack(), &known, world, file, written, report);
            None
        }
    }
}

/// Finds the trigger of the events that a sensor or an action emits. Returns it with the schema of its
/// payload, if that is known.
pub(super) fn trigger_to_make<'a>(
    checking: &mut Checking<'a>,
    file: &SourceText,
    written: &WithSpan<String>,
    report: &mut Report,
) -> Option<(TriggerRef, Option<&'a Schema>)> {
    if written.value.parse().is_ok_and(|trigger| is_of_the_engine(&trigger)) {
        let message = format!("only the engine can create events of its own trigger `{}`", written.value);
        let hint = match written.value.as_str() {
            SCHEDULE_TRIGGER => BY_THE_CLOCK,
            _ => "define a trigger in this pack, and let rules listen to both",
        };
        report.error(Code::InvalidRef, file, written.span.clone(), message).hint(hint);
        return None;
    }
    let named = trigger_named(checking, file, written, report)?;
    let pack = named.0.pack();
    if pack != checking.pack.name {
        checking.uses.need(&format!("events:write on pack={pack}"), format!("emits `{}`", named.0), file, &written.span);
    }
    Some(named)
}

/// Returns the trigger of schedules, with the schema of its payload if the library is available.
pub(super) fn schedule_trigger<'a>(checking: &Checking<'a>) -> Option<(TriggerRef, Option<&'a Schema>)> {
    let trigger: TriggerRef = SCHEDULE_TRIGGER.parse().ok()?;
    let defined = checking.world.packs.get(&trigger.pack()).and_then(|pack| pack.triggers.get(trigger.name()));
    let schema = defined.and_then(|defined| defined.body.as_ref()?.payload.as_ref());
    Some((trigger, schema))
}

/// An existing action with its parsed file; `None` if the file has errors.
pub(super) type NamedAction<'a> = (ActionRef, Option<&'a syntax::Action>);

/// Finds the action of a ref in a rule or a step.
pub(super) fn action_named<'a>(
    checking: &mut Checking<'a>,
    file: &SourceText,
    written: &WithSpan<String>,
    namer: &str,
    report: &mut Report,
) -> Option<NamedAction<'a>> {
    if written.value == WAIT {
        report
            .error(Code::InvalidRef, file, written.span.clone(), format!("`{WAIT}` is only for steps of a workflow, which say what they wait for"))
            .hint("in a step, replace `action`, for example with\nwait: { trigger: github.workflow_run, when: event.payload.action == 'completed' }");
        return None;
    }
    if written.value.contains("${{") {
        report
            .error(
                Code::InvalidRef,
                file,
                written.span.clone(),
                format!("`action` cannot be an expression: what a {namer} can do must be known before it runs"),
            )
            .hint(format!("write a {namer} for each action"));
        return None;
    }
    let action: ActionRef = parse_ref(&written.value, "action", checking, file, written, report)?;
    checking.uses.note(action.pack(), file, &written.span);
    let world = checking.world;
    let found = world.packs.get(&action.pack()).and_then(|pack| pack.actions.get(action.name()));
    match found {
        Some(defined) => {
            if action.pack() != checking.pack.name && defined.body.as_ref().is_none_or(|body| !body.run.is_harmless()) {
                checking.uses.need(&format!("actions:execute on action={action}"), format!("runs `{action}`"), file, &written.span);
            }
            Some((action, defined.body.as_ref()))
        }
        None => {
            let known = refs(world, |pack| pack.actions.keys());
            report_unknown_ref(Code::UnknownAction, "action", &action.pack(), &known, world, file, written, report);
            None
        }
    }
}

fn refs<'a, K>(world: &World<'a>, names: impl Fn(&'a syntax::WrittenPack) -> K) -> Vec<String>
where
    K: Iterator<Item = &'a String>,
{
    world.packs.values().flat_map(|pack| names(pack).map(|name| format!("{}.{name}", pack.name))).collect()
}

fn parse_ref<T: std::str::FromStr<Err = NameError>>(
    text: &str,
    what: &str,
    checking: &Checking<'_>,
    file: &SourceText,
    written: &WithSpan<String>,
    report: &mut Report,
) -> Option<T> {
    match text.parse() {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            let is_own = match what {
                "trigger" => checking.pack.triggers.contains_key(text),
                _ => checking.pack.actions.contains_key(text),
            };
            if is_own {
                let own = format!("{}.{text}", checking.pack.name);
                report
                    .error(Code::InvalidRef, file, written.span.clone(), format!("`{text}` does not name a pack"))
                    .did_you_mean(Some(&own));
            } else {
                report.error(Code::InvalidRef, file, written.span.clone(), error.to_string());
            }
            None
        }
    }
}

#[allow(clippy::too_many_arguments, reason = "all of it is part of one message")]
fn report_unknown_ref(
    code: Code,
    what: &str,
    pack: &PackName,
    known: &[String],
    world: &World<'_>,
    file: &SourceText,
    written: &WithSpan<String>,
    report: &mut Report,
) {
    let text = written.value.as_str();
    // The same name in another pack is nearer than another name in the same pack.
    let name = text.rsplit('.').next().unwrap_or(text);
    let near = nearest(text, known.iter().map(String::as_str))
        .or_else(|| known.iter().map(String::as_str).find(|known| known.rsplit('.').next() == Some(name)));
    let diagnostic = report.error(code, file, written.span.clone(), format!("there is no {what} `{text}`"));
    diagnostic.did_you_mean(near);
    if !world.packs.contains_key(pack) {
        diagnostic.hint(library::how_to_add(pack.as_str()).unwrap_or_else(|| format!("there is no pack `{pack}`")));
    } else if near.is_none() {
        let own: Vec<&String> = known.iter().filter(|known| known.starts_with(&format!("{pack}."))).collect();
        diagnostic.hint(if own.is_empty() { format!("`{pack}` has none") } else { format!("`{pack}` has {}", quote_names(&own)) });
    }
}

/// Finds the rule of a ref among those of the pack itself. The hints are for a pack with rules, which are listed after it, and for
/// one without.
pub(super) fn own_rule(
    checking: &Checking<'_>,
    file: &SourceText,
    written: &WithSpan<String>,
    (hint, hint_without): (&str, &str),
    report: &mut Report,
) -> Option<RuleRef> {
    let pack = checking.pack;
    let parsed: Option<RuleRef> = written.value.parse().ok();
    if let Some(rule) = parsed.filter(|rule| rule.pack() == pack.name && pack.rules.contains_key(rule.name())) {
        return Some(rule);
    }
    let known: Vec<String> = pack.rules.keys().map(|name| format!("{}.{name}", pack.name)).collect();
    let own = format!("{}.{}", pack.name, written.value);
    let near = if known.contains(&own) { Some(own.as_str()) } else { nearest(&written.value, known.iter().map(String::as_str)) };
    let message = format!("the pack has no rule `{}`", written.value);
    let diagnostic = report.error(Code::UnknownRule, file, written.span.clone(), message);
    diagnostic.did_you_mean(near);
    diagnostic.hint(if known.is_empty() { hint_without.to_owned() } else { format!("{hint}: {}", quote_names(&known)) });
    None
}
