//! Checks a workflow against the catalog: its steps need existing steps, read steps that have ended, and pass
//! valid parameters.

mod graph;
mod inquiry;
mod reach;
mod recursion;
mod repeat;
mod step_ends;
mod undo;
mod wait;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use ensue_engine::catalog::{self, Extra, Run, Schema, StartsIf};
use ensue_engine::names::{StepName, TriggerRef};
use ensue_engine::time::parse_duration;
use ensue_expression::{Expression, MapType, Occurrence, Others, Path, Template, ValueType};
use serde_json::json;

use super::Checking;
use super::connections;
use super::expression_findings::Taker;
use super::literals::{literal, optional};
use super::parameters::{MappingCheck, with};
use super::refs::{NamedAction, action_named};
use super::roots::{Locals, locals};
use super::schemas::{ValueForm, type_of};
use super::scope::{Holds, Scope};
use crate::diagnostics::{Code, Report};
use crate::fields::{DURATION_HINT, first_line, quote_names};
use crate::source::SourceText;
use crate::syntax::{ForEach, Period, StepTask, Workflow, WrittenStep};
use crate::yaml::{Content, Node, WithSpan, YamlEntry};
use graph::Graph;
use reach::CanEnd;
use step_ends::{Cancels, KnownEnd, ReadableStep, Results, Times};

/// The action that implements `sleep`.
const SLEEP: &str = "core.sleep";

/// The most names that a hint lists.
const HINT_NAMES_MAX: usize = 8;

pub(super) fn workflow(
    checking: &mut Checking<'_>,
    file: &SourceText,
    result: Option<&Schema>,
    (given, written): (catalog::WorkflowInput, &Workflow),
    plain: &Scope<'_>,
    report: &mut Report,
) -> Option<Run> {
    let graph = Graph::of(&written.steps, file, report);
    let mut actions = Vec::with_capacity(written.steps.len());
    let mut undo_actions = Vec::with_capacity(written.steps.len());
    let mut notify_actions = Vec::with_capacity(written.steps.len());
    let mut events = Vec::with_capacity(written.steps.len());
    let mut cancel_events = Vec::with_capacity(written.steps.len());
    for step in &written.steps {
        undo_actions.push(step.undo.as_ref().and_then(|undo| action_named(checking, file, &undo.action, "step", report)));
        notify_actions.push(match &step.task {
            Some(StepTask::Inquiry(asked)) => {
                asked.notify.as_ref().and_then(|notify| action_named(checking, file, &notify.action, "step", report))
            }
            _ => None,
        });
        actions.push(match &step.task {
            Some(StepTask::Action { action, with }) => {
                let named = action_named(checking, file, action, "step", report);
                let parameters = named.as_ref().and_then(|(_, action)| action.as_ref()?.parameters.as_ref());
                connections::check_passed(checking, with.as_ref(), parameters, file, report);
                named
            }
            Some(StepTask::Inquiry(_) | StepTask::Wait(_) | StepTask::Sleep { .. } | StepTask::Fail { .. } | StepTask::Assert { .. })
            | None => None,
        });
        events.push(match &step.task {
            Some(StepTask::Wait(wait)) => wait::event_of(checking, file, &wait.trigger, report),
            _ => None,
        });
        let cancel = step.cancel_when.iter().flatten().next();
        cancel_events.push(cancel.and_then(|cancel| wait::event_of(checking, file, &cancel.trigger, report)));
    }
    recursion::report_recursion(checking.world, file, written, report);
    let can_end = vec![CanEnd::ANYHOW; written.steps.len()];
    let mut steps = Steps {
        file,
        written: &written.steps,
        graph,
        actions,
        undo_actions,
        notify_actions,
        events,
        cancel_events,
        results: Results::default(),
        can_end,
        unneeded: BTreeSet::new(),
    };
    let mut compiled: Vec<Option<catalog::Step>> = vec![None; written.steps.len()];
    // The steps that a step needs are checked before it; steps in a circle come last.
    let order = steps.graph.order().to_vec();
    let is_ordered: BTreeSet<usize> = order.iter().copied().collect();
    for place in order.into_iter().chain((0..written.steps.len()).filter(|place| !is_ordered.contains(place))) {
        compiled[place] = steps.step(place, plain, report);
    }
    let result = steps.result(written, result, plain, report);
    let compiled: Vec<catalog::Step> = compiled.into_iter().collect::<Option<_>>()?;
    match catalog::Workflow::new(given, compiled, result?) {
        Ok(workflow) => Some(Run::Workflow(Arc::new(workflow))),
        Err(error) => {
            // Every error has been reported at its place.
            if !report.has_errors() {
                report.error(Code::InvalidValue, file, written.at.clone(), error.to_string());
            }
            None
        }
    }
}

/// The steps of a workflow while they are checked.
struct Steps<'a> {
    file: &'a SourceText,
    written: &'a [WrittenStep],
    graph: Graph<'a>,
    /// The action of each step, if it has an existing one.
    actions: Vec<Option<NamedAction<'a>>>,
    /// The action that undoes each step, if it has an existing one.
    undo_actions: Vec<Option<NamedAction<'a>>>,
    /// The action that notifies the assignees of each step's inquiry, if it has an existing one.
    notify_actions: Vec<Option<NamedAction<'a>>>,
    /// The event that each step waits for: its trigger and its type.
    events: Vec<Option<(TriggerRef, ValueType)>>,
    /// The event that cancels each step: its trigger and its type.
    cancel_events: Vec<Option<(TriggerRef, ValueType)>>,
    results: Results,
    /// How each step can end.
    can_end: Vec<CanEnd>,
    /// The pairs of steps already reported because the first reads the second without needing it. Each is
    /// reported once, in however many fields.
    unneeded: BTreeSet<(usize, usize)>,
}

/// A reader of steps.
#[derive(Clone, Copy)]
enum Reader {
    /// A step, by its index.
    Step(usize),
    /// The result of the workflow, which is computed when all steps have ended.
    Result,
}

/// The steps that a field reads.
#[derive(Default)]
struct Reads {
    places: BTreeSet<usize>,
    /// The names of unknown steps, which have been reported.
    strangers: BTreeSet<String>,
    /// Whether it also reads other steps, which has been reported.
    is_open: bool,
}

impl<'a> Steps<'a> {
    fn step(&mut self, place: usize, plain: &Scope<'_>, report: &mut Report) -> Option<catalog::Step> {
        let written = &self.written[place];
        // A step without local names sees those of the workflow as they are.
        let outer = plain;
        let (local, with_local) = self.local(place, outer, report);
        let plain = &with_local;
        let condition = written.condition.as_ref().map(|node| self.condition(place, node, plain, report));
        let is_known = !matches!(condition, Some(None));
        let starts = StartsIf::of(condition.flatten());
        self.can_end[place] = self.ends_of(place, is_known.then_some(&starts), plain, report);
        let end = match starts {
            StartsIf::Succeeded | StartsIf::SucceededAnd(_) if is_known => KnownEnd::Success,
            StartsIf::Succeeded | StartsIf::SucceededAnd(_) | StartsIf::Holds { .. } => KnownEnd::Any,
        };
        let scope = if written.condition.is_some() { plain.clone().after(starts.condition()) } else { plain.clone() };
        let for_each = written.for_each.as_ref().map(|each| self.for_each(place, each, &scope, end, report));
        let scope = match &for_each {
            Some((_, item)) => scope.with("item", item.clone()).with("index", ValueType::integer()),
            None => scope,
        };
        let undo = written.undo.as_ref().map(|undo| self.undo(place, undo, &scope, end, report));
        let repeat = written.repeat.as_ref().map(|repeat| self.repeat(place, repeat, &scope, end, report));
        let scope = if written.repeat.is_some() { self.in_turn(place, scope) } else { scope };
        let wait = match &written.task {
            // The condition of a wait is evaluated when an event comes, and does not see the step's local names.
            Some(StepTask::Wait(wait)) => Some(self.wait(place, wait, outer, &scope, end, report)),
            _ => None,
        };
        let cancel_when = match &written.cancel_when {
            None => None,
            Some(None) => Some(None),
            Some(Some(cancel)) => Some(self.cancel_when(place, cancel, (outer, &scope), end, report)),
        };
        let notify = match &written.task {
            Some(StepTask::Inquiry(asked)) => asked.notify.as_ref().map(|notify| self.notify(place, (asked, notify), &scope, end, report)),
            _ => None,
        };
        let timeout = self.period(place, written.timeout.as_ref(), "`timeout`", &scope, end, report);
        let task = self.task(place, scope, end, report);
        let retry = match &written.retry {
            Some(retry) => {
                let step = format!("the step `{}`", written.name.value);
                let has = super::retry::has_attempts(self.file, self.actions[place].as_ref(), &written.name.span, &step, report);
                Some(if has { super::retry::retry(self.file, retry, report) } else { None })
            }
            None => None,
        };
        Some(catalog::Step {
            name: written.name.value.parse().ok()?,
            needs: self.needed_names(written)?,
            enough: written.enough,
            starts: if is_known { starts } else { return None },
            local: local?,
            for_each: optional(for_each.map(|(compiled, _)| compiled))?,
            repeat: optional(repeat)?,
            task: task?,
            wait: optional(wait)?,
            cancel_when: optional(cancel_when)?,
            undo: optional(undo)?,
            notify: optional(notify)?,
            on_failure: written.on_failure,
            retry: optional(retry)?,
            timeout: optional(timeout)?,
            priority: written.priority,
        })
    }

    /// Compiles the local names of a step. Returns them with the scope that has them as well as those of the workflow.
    fn local<'s>(&mut self, place: usize, plain: &Scope<'s>, report: &mut Report) -> (Locals, Scope<'s>)
    where
        'a: 's,
    {
        let written: &'a WrittenStep = &self.written[place];
        let Some(entries) = &written.local else { return (None, plain.clone().with("local", ValueType::anything())) };
        let mut reads = Reads::default();
        let mut is_fine = true;
        for entry in entries {
            if plain.has_local(&entry.key.value) {
                let message = format!("`{}` is already a name of the `local` around the steps", entry.key.value);
                report.error(Code::DuplicateDefinition, self.file, entry.key.span.clone(), message).hint("use another name");
                is_fine = false;
            }
            let found = self.look(Reader::Step(place), plain, &entry.value, Holds::Expression, report);
            reads.places.extend(found.places);
            reads.strangers.extend(found.strangers);
            reads.is_open |= found.is_open;
        }
        let known = self.steps_type(&reads, Some(place), KnownEnd::Any);
        let (local, scope) = locals(&plain.clone().with("steps", known), entries, report);
        (local.filter(|_| is_fine), plain.clone().with_locals_of(&scope))
    }

    /// Compiles a duration of a step.
    fn period(
        &mut self,
        place: usize,
        period: Option<&Period>,
        name: &str,
        scope: &Scope<'_>,
        end: KnownEnd,
        report: &mut Report,
    ) -> Option<Option<catalog::Period>> {
        let node = match period? {
            Period::Fixed(duration) => return Some(Some(catalog::Period::Fixed(*duration))),
            Period::Computed(node) => node,
        };
        let reads = self.look(Reader::Step(place), scope, node, Holds::Value, report);
        let scope = self.with_steps(scope.clone(), &reads, place, end);
        Some(scope.template_for(node, Some(&period_taker(name)), report).map(catalog::Period::Computed))
    }

    fn needed_names(&self, step: &WrittenStep) -> Option<Vec<StepName>> {
        step.needs.as_ref()?.iter().map(|needed| needed.value.parse().ok()).collect()
    }

    fn condition(&mut self, place: usize, node: &Node, plain: &Scope<'_>, report: &mut Report) -> Option<Expression> {
        let asking = reach::asking(plain);
        let reads = self.look(Reader::Step(place), &asking, node, Holds::Expression, report);
        self.with_steps(asking, &reads, place, KnownEnd::Any).condition(node, "`if`", report)
    }

    /// Compiles the list of items. Returns it with the type of an item.
    fn for_each(
        &mut self,
        place: usize,
        each: &ForEach,
        scope: &Scope<'_>,
        end: KnownEnd,
        report: &mut Report,
    ) -> (Option<catalog::ForEach>, ValueType) {
        let reads = self.look(Reader::Step(place), scope, &each.items, Holds::Expression, report);
        let scope = self.with_steps(scope.clone(), &reads, place, end);
        let Some((items, value)) = scope.expression(&each.items, "`for_each`", report) else { return (None, ValueType::anything()) };
        if !value.is_unknown_or_nothing() && !value.overlaps(&ValueType::list(ValueType::anything())) {
            let span = first_line(&each.items.span, self.file);
            let diagnostic = report.error(Code::TypeMismatch, self.file, span, format!("`for_each` must be a list, not {value}"));
            let is_path = items.source().trim().bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
            let written = if is_path { items.source().trim() } else { "…" };
            if value.overlaps(&ValueType::object()) {
                diagnostic.hint(format!("for the list of its names, write `{written}.map(name, name)`"));
            } else if value.overlaps(&ValueType::text()) {
                diagnostic.hint(format!("for the list of its parts, write `{written}.split(\",\")`"));
            }
            return (None, ValueType::anything());
        }
        let item = if value.is_unknown_or_nothing() { ValueType::json() } else { value.element().to_json_type() };
        (Some(catalog::ForEach { items, parallel: each.parallel, failure: each.failure, fail_at: each.fail_at }), item)
    }

    fn task(&mut self, place: usize, scope: Scope<'_>, end: KnownEnd, report: &mut Report) -> Option<catalog::Task> {
        match self.written[place].task.as_ref()? {
            StepTask::Action { action, with: given } => {
                let scope = match given {
                    Some(node) => {
                        let reads = self.look(Reader::Step(place), &scope, node, Holds::Value, report);
                        self.with_steps(scope, &reads, place, end)
                    }
                    None => scope,
                };
                let named = self.actions[place].as_ref();
                let parameters = named.and_then(|(_, action)| action.as_ref()?.parameters.as_ref());
                let with = with(self.file, action, given.as_ref(), parameters, &scope, report);
                Some(catalog::Task::Action { action: named?.0.clone(), with: with? })
            }
            StepTask::Inquiry(asked) => self.inquiry(place, asked, &scope, end, report),
            StepTask::Wait(wait) => {
                let action = catalog::WAIT.parse().expect("the name of a library's action is one");
                let trigger = wait.trigger.value.as_str();
                Some(catalog::Task::Action { action, with: literal(&json!({ "trigger": trigger })) })
            }
            StepTask::Sleep { duration } => {
                let reads = self.look(Reader::Step(place), &scope, duration, Holds::Value, report);
                let scope = self.with_steps(scope, &reads, place, end);
                self.sleep(duration, &scope, report)
            }
            StepTask::Fail { message } => {
                let reads = self.look(Reader::Step(place), &scope, message, Holds::Value, report);
                let scope = self.with_steps(scope, &reads, place, end);
                let taker = Taker { takes: ValueType::text(), name: "`fail`".to_owned() };
                Some(catalog::Task::Fail { message: scope.template_for(message, Some(&taker), report)? })
            }
            StepTask::Assert { condition, message } => {
                let reads = self.look(Reader::Step(place), &scope, condition, Holds::Expression, report);
                let asserted = self.with_steps(scope.clone(), &reads, place, end).condition(condition, "`assert`", report);
                let message = message.as_ref().map(|message| {
                    let reads = self.look(Reader::Step(place), &scope, message, Holds::Value, report);
                    let taker = Taker { takes: ValueType::text(), name: "`message`".to_owned() };
                    self.with_steps(scope.clone(), &reads, place, end).template_for(message, Some(&taker), report)
                });
                Some(catalog::Task::Assert { condition: asserted?, message: optional(message)? })
            }
        }
    }

    /// A sleep runs the library's action for it.
    fn sleep(&self, duration: &Node, scope: &Scope<'_>, report: &mut Report) -> Option<catalog::Task> {
        if let Content::Text { value, .. } = &duration.content
            && !value.contains("${{")
            && parse_duration(value).is_none()
        {
            report
                .error(Code::InvalidDuration, self.file, duration.span.clone(), format!("`{value}` is not a duration"))
                .hint(DURATION_HINT);
            return None;
        }
        let taker = Taker { takes: ValueType::text(), name: "`sleep`".to_owned() };
        scope.template_for(duration, Some(&taker), report)?;
        let key = WithSpan { value: "duration".to_owned(), span: duration.span.clone() };
        let with = Node { span: duration.span.clone(), content: Content::Map(vec![YamlEntry { key, value: duration.clone() }]) };
        let action = SLEEP.parse().expect("the name of a library's action is one");
        Some(catalog::Task::Action { action, with: scope.template(&with, report)? })
    }

    /// Compiles the result of the workflow, and checks it against the declared result of its action.
    fn result(&mut self, written: &Workflow, schema: Option<&Schema>, plain: &Scope<'_>, report: &mut Report) -> Option<Option<Template>> {
        let Some(node) = &written.result else {
            if schema.is_some() {
                report
                    .error(
                        Code::MissingParameter,
                        self.file,
                        written.at.clone(),
                        "the action declares a `result`, but its workflow returns none",
                    )
                    .hint("write next to `steps` what it returns, for example\nresult: { version: '${{ steps.build.result.version }}' }");
                return None;
            }
            return Some(None);
        };
        let reads = self.look(Reader::Result, plain, node, Holds::Value, report);
        let known = self.steps_type(&reads, None, KnownEnd::Any);
        let scope = plain.clone().with("steps", known);
        let taker = schema.map(|schema| {
            let (at, taker) = (written.at.clone(), "the result".to_owned());
            MappingCheck { file: self.file, node: Some(node), at, taker: taker.clone(), called: "field" }.check(
                schema,
                Extra::Refused,
                report,
            );
            Taker { takes: type_of(schema, ValueForm::Accepted, "", None), name: taker }
        });
        scope.template_for(node, taker.as_ref(), report).map(Some)
    }

    /// Finds the steps that a field reads; reports those that do not exist or may not have ended.
    fn look(&mut self, reader: Reader, scope: &Scope<'_>, node: &Node, holds: Holds, report: &mut Report) -> Reads {
        let scope = scope.clone().with("steps", ValueType::anything());
        let mut reads = Reads::default();
        for (path, span) in scope.reads(node, holds, report) {
            if path.segments[0] == "steps" {
                self.look_at(reader, &path, span, &mut reads, report);
            }
        }
        reads
    }

    fn look_at(&mut self, reader: Reader, path: &Path, span: Range<usize>, reads: &mut Reads, report: &mut Report) {
        let Some(name) = path.segments.get(1) else {
            reads.is_open = true;
            report
                .error(
                    Code::UnknownStep,
                    self.file,
                    span,
                    "the name of a step must be written out, so that it is known which steps are read",
                )
                .hint("write for example `steps.build.result`");
            return;
        };
        let Some(place) = self.graph.place(name) else {
            if reads.strangers.insert(name.clone()) {
                self.graph.report_unknown(name, span, self.file, report);
            }
            return;
        };
        if !reads.places.insert(place) || !self.graph.is_whole {
            return;
        }
        if let Reader::Step(reading) = reader
            && !self.graph.is_before(place, reading)
            && self.unneeded.insert((reading, place))
        {
            self.report_not_needed(place, reading, span, report);
        }
    }

    fn report_not_needed(&self, read: usize, reading: usize, span: Range<usize>, report: &mut Report) {
        let (name, reader) = (&self.written[read].name.value, &self.written[reading]);
        if read == reading {
            report
                .error(
                    Code::StepNotNeeded,
                    self.file,
                    span,
                    format!("the step `{name}` reads itself, but has not ended when this is evaluated"),
                )
                .hint("read its result in a step that needs it");
        } else if self.graph.is_before(reading, read) {
            let message = format!("the step `{name}` starts only after this step, which it needs, has ended");
            report.error(Code::StepNotNeeded, self.file, span, message).hint("read it in a step that needs it");
        } else if reader.enough.is_some() {
            let without: Vec<usize> = self.graph.enough_without(read, reading).collect();
            // A step that ends before the one that is read cannot need it.
            let can_need = without.iter().all(|place| !self.graph.is_before(*place, read) && self.written[*place].enough.is_none());
            let names: Vec<&str> = without.iter().map(|place| self.written[*place].name.value.as_str()).collect();
            let hint = if can_need && names.len() <= HINT_NAMES_MAX {
                format!("add `{name}` to the `needs` of {}, so that it has ended whichever of them are enough", quote_names(&names))
            } else {
                let both = format!("needs: [{}, {name}]", reader.name.value);
                format!("read it in a step that also needs it, for example one after this step with\n{both}")
            };
            let message = format!("the step `{name}` may not have ended when enough of the steps that `{}` needs have", reader.name.value);
            report.error(Code::StepNotNeeded, self.file, span, message).hint(hint);
        } else {
            let mut needs: Vec<&str> = reader.needs.iter().flatten().map(|needed| needed.value.as_str()).collect();
            needs.push(name);
            let hint = if needs.len() > HINT_NAMES_MAX {
                format!("add `{name}` to its `needs`")
            } else {
                format!("needs: [{}]", needs.join(", "))
            };
            report
                .error(
                    Code::StepNotNeeded,
                    self.file,
                    span,
                    format!("the step `{}` does not need `{name}`, which may not have ended when this is evaluated", reader.name.value),
                )
                .hint(hint);
        }
    }

    /// Adds the type of `steps`, as seen by a step, to a scope.
    fn with_steps<'s>(&mut self, scope: Scope<'s>, reads: &Reads, place: usize, end: KnownEnd) -> Scope<'s> {
        let known = self.steps_type(reads, Some(place), end);
        scope.with("steps", known)
    }

    /// Returns the type of the fields of `steps` that are read. `end` states how the steps ended that the reading
    /// step needs directly.
    fn steps_type(&mut self, reads: &Reads, reading: Option<usize>, end: KnownEnd) -> ValueType {
        if reads.is_open {
            return ValueType::anything();
        }
        let mut fields = MapType::new(Others::None);
        for name in &reads.strangers {
            fields = fields.with(name.as_str(), ValueType::anything(), Occurrence::Always);
        }
        for place in &reads.places {
            let is_needed = reading.is_some_and(|reading| self.graph.needs(reading).contains(place));
            // If the workflow continues after a failure of the step, nothing is known of how the step ended.
            let is_one_of = is_needed && reading.is_some_and(|reading| self.written[reading].enough.is_some());
            let is_sure = is_needed && !is_one_of && self.written[*place].on_failure.fails();
            let end = if is_sure { end } else { KnownEnd::Any };
            let event = self.events[*place].as_ref().map(|(_, event)| event);
            let cancels = self.cancel_events[*place].as_ref().map(|(_, event)| event);
            let step = &self.written[*place];
            let ended = readable_step(step, self.actions[*place].as_ref(), (event, cancels));
            let value = self.results.of(ended, end);
            let value = if is_one_of { value.or(step_ends::not_chosen()) } else { value };
            fields = fields.with(self.written[*place].name.value.as_str(), value, Occurrence::Always);
        }
        ValueType::map(fields)
    }
}

/// Returns what a computed duration must be: a text, or a number of seconds.
fn period_taker(name: &str) -> Taker {
    Taker { takes: ValueType::text().or(ValueType::number()), name: name.to_owned() }
}

/// Returns what can be read of a step.
fn readable_step<'n>(
    step: &'n WrittenStep,
    action: Option<&'n NamedAction<'_>>,
    (event, cancels): (Option<&'n ValueType>, Option<&'n ValueType>),
) -> ReadableStep<'n> {
    let cancels = Cancels { is_possible: step.cancel_when.is_some(), event: cancels };
    match (&step.task, action) {
        (Some(StepTask::Fail { .. }), _) => ReadableStep::Fail,
        (Some(StepTask::Assert { .. }), _) => ReadableStep::Assert,
        (Some(StepTask::Sleep { .. }), _) => ReadableStep::Sleep { cancels },
        (Some(StepTask::Wait(wait)), _) => ReadableStep::Wait { event, on_expire: wait.on_expire, cancels },
        (Some(StepTask::Inquiry(asked)), _) => ReadableStep::Inquiry { answer: asked.answer.as_ref(), cancels },
        (Some(StepTask::Action { .. }), Some((name, action))) => ReadableStep::Action {
            name,
            result: action.and_then(|action| action.result.as_ref()),
            times: match (&step.for_each, &step.repeat) {
                (Some(_), _) => Times::ForEachItem,
                (None, Some(repeat)) if repeat.collect.is_some() => Times::Collected,
                (None, Some(repeat)) if repeat.while_holds.is_some() => Times::Perhaps,
                (None, Some(_) | None) => Times::Once,
            },
        },
        (Some(StepTask::Action { .. }), None) | (None, _) => ReadableStep::Unknown,
    }
}
