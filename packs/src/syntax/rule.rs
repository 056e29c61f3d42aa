//! `rules/*.yaml`: when an event leads to an action.

use std::ops::Range;

use ensue_engine::catalog::{Mode, STEPS_MAX};
use ensue_engine::schedule::SCHEDULE_TRIGGER;
use ensue_engine::schedule::plan::Plan;

use super::concurrency::CONCURRENCY_OF_RULE;
use super::flow::{DEBOUNCE, DEDUPE, FlowStage, MISSING, THROTTLE, WINDOW, read_flow};
use super::local_names::{LOCAL, read_local};
use super::retry::{RETRY, Retry, read_retry};
use super::schedule::{self, SCHEDULE};
use super::timing::{PRIORITY, read_priority};
use super::workflow::{self, STEP, Workflow};
use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, first_line, text, wrong_type};
use crate::shape::{FieldConstraint, Form, Kind, Shape, optional_field, words};
use crate::source::SourceText;
use crate::yaml::{Content, Node, WithSpan, YamlEntry};

const MODES: [(&str, Mode); 3] = [("enabled", Mode::Enabled), ("disabled", Mode::Disabled), ("shadow", Mode::Shadow)];
const MODE_WORDS: [&str; 3] = words(&MODES);

pub(crate) static RULE: Shape = Shape {
    what: "a rule",
    fields: &[
        optional_field("description", Kind::Text(Form::Any), "What the rule is for, in a sentence."),
        optional_field(
            "mode",
            Kind::Choice(&MODE_WORDS),
            "`enabled` (default), `disabled`, or `shadow`: events are judged and recorded, but not acted on.",
        ),
        optional_field(
            "trigger",
            Kind::TextOrTexts(Form::Ref),
            "The kind of event that the rule judges: one trigger, or a list of them. `ensue triggers list` shows the installed ones.",
        ),
        optional_field(
            "schedule",
            Kind::Fields(&SCHEDULE),
            "When the rule is due, instead of `trigger`. Each time is an event of `core.schedule` (`scheduled_at`, `late_seconds`), \
             which only this rule judges.",
        ),
        optional_field(
            "when",
            Kind::Expression,
            "An expression that decides for which events the rule acts. It reads `event`, `local`, `config` and `rule`, and returns \
             true or false. Without it, every event matches. Best written as a `|` block.",
        ),
        LOCAL,
        DEDUPE,
        THROTTLE,
        DEBOUNCE,
        WINDOW,
        MISSING,
        CONCURRENCY_OF_RULE,
        optional_field(
            "action",
            Kind::Text(Form::Ref),
            "What to do: the ref of an action, never an expression. `ensue actions list` shows the installed ones.",
        ),
        optional_field(
            "with",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "The action's parameters, by name. A value may contain `${{ … }}`; if the expression is the whole value, it keeps its type.",
        ),
        optional_field(
            "steps",
            Kind::Named { names: Form::OwnName, of: &STEP, most: STEPS_MAX },
            "What to do, as steps by name, instead of `action`. They read what the rule reads, and `steps.<name>` of earlier steps.",
        ),
        optional_field("retry", Kind::Fields(&RETRY), "Whether failed attempts of the action are retried; overrides what the action says."),
        PRIORITY,
    ],
    later: &[("labels", "labels for search and grants")],
    between: &[
        FieldConstraint::ExactlyOneOf(&["trigger", "schedule"]),
        FieldConstraint::ExactlyOneOf(&["action", "steps"]),
        FieldConstraint::OnlyBeside { field: "with", other: "action" },
        FieldConstraint::OnlyBeside { field: "retry", other: "action" },
    ],
};

pub(crate) struct Rule {
    pub(crate) description: String,
    pub(crate) mode: Mode,
    pub(crate) triggers: Vec<WithSpan<String>>,
    /// When it is due. Its trigger is then that of schedules.
    pub(crate) schedule: Option<Plan>,
    pub(crate) when: Option<Node>,
    pub(crate) local: Vec<YamlEntry>,
    /// The flow controls, in the order in which they are applied.
    pub(crate) flow: Vec<FlowStage>,
    pub(crate) task: Task,
    /// The retry settings, and where they are written.
    pub(crate) retry: Option<(Retry, Range<usize>)>,
    pub(crate) priority: Option<i8>,
}

/// What a rule runs: exactly one of the two.
pub(crate) enum Task {
    Action { action: WithSpan<String>, with: Option<Node> },
    Steps(Workflow),
}

pub(super) fn read(node: Node, file: &SourceText, report: &mut Report) -> Option<Rule> {
    let start = first_line(&node.span, file);
    let mut fields = FieldReader::open(node, &RULE, file, report)?;
    let description = fields.text("description", report).map_or(String::new(), |text| text.value);
    let mode = fields.choice("mode", &MODES, report).unwrap_or_default();
    let occasion = read_occasion(&mut fields, report);
    let when = fields.take("when").map(|entry| entry.value);
    let local = read_local(&mut fields, report);
    let flow = read_flow(&mut fields, report);
    let retry_key = fields.key_of("retry");
    if fields.has("retry") && fields.has("steps") && !fields.has("action") {
        fields.take("retry");
        report
            .error(Code::FieldOutOfPlace, file, retry_key.clone(), "`retry` retries an action that failed, but the rule has `steps`")
            .hint("set it in the steps");
    }
    let has_retry = fields.has("retry");
    let retry = read_retry(&mut fields, report);
    let is_retry_wrong = has_retry && retry.is_none();
    let task = read_task(&mut fields, start, report);
    let priority = read_priority(&mut fields, report);
    let (triggers, schedule) = occasion?;
    if is_retry_wrong {
        return None;
    }
    let retry = retry.map(|retry| (retry, retry_key));
    Some(Rule { description, mode, triggers, schedule, when, local: local?, flow: flow?, task: task?, retry, priority })
}

fn read_task(fields: &mut FieldReader<'_>, start: Range<usize>, report: &mut Report) -> Option<Task> {
    let (file, with_key) = (fields.file, fields.key_of("with"));
    let (action, with, steps) = (fields.take("action"), fields.take("with"), fields.take("steps"));
    match (action, steps) {
        (Some(_), Some(steps)) => {
            report
                .error(Code::NotExactlyOne, file, steps.key.span, "a rule must have either `action` or `steps`, not both")
                .hint("make the action one of the steps: `run: { action: …, with: … }`");
            None
        }
        (Some(action), None) => {
            let action = text(action.value, "`action`", file, report)?;
            Some(Task::Action { action, with: with.map(|entry| entry.value) })
        }
        (None, Some(steps)) => {
            if with.is_some() {
                let message = "`with` sets the parameters of an action, but the rule has `steps`";
                report.error(Code::FieldOutOfPlace, file, with_key, message).hint("set it in the steps");
            }
            workflow::read_steps(steps, file, report).map(Task::Steps)
        }
        (None, None) => {
            if !fields.has_reported("action") && !fields.has_reported("steps") {
                report
                    .error(Code::NotExactlyOne, file, start, "the rule does nothing: it has neither `action` nor `steps`")
                    .hint("for example\naction: core.echo");
            }
            None
        }
    }
}

/// Reads what the rule evaluates: the events of triggers, or its own schedule.
fn read_occasion(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<(Vec<WithSpan<String>>, Option<Plan>)> {
    let file = fields.file;
    let (has_trigger, schedule) = (fields.has("trigger"), fields.take("schedule"));
    match schedule {
        Some(entry) if has_trigger => {
            report
                .error(Code::NotExactlyOne, file, entry.key.span, "a rule must have either `trigger` or `schedule`, not both")
                .hint("split it into two rules");
            fields.take("trigger");
            None
        }
        Some(entry) => {
            let trigger = WithSpan { value: SCHEDULE_TRIGGER.to_owned(), span: entry.key.span.clone() };
            let plan = schedule::read(entry.value, &SCHEDULE, file, report)?;
            Some((vec![trigger], Some(plan)))
        }
        None if fields.has_reported("schedule") => {
            fields.take("trigger");
            None
        }
        None => read_triggers(fields, report).map(|triggers| (triggers, None)),
    }
}

fn read_triggers(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Vec<WithSpan<String>>> {
    let file = fields.file;
    let entry = fields.take_required_like("trigger", "trigger: github.push", report)?;
    match entry.value.content {
        Content::Text { value, .. } => Some(vec![WithSpan { value, span: entry.value.span }]),
        Content::List(items) if !items.is_empty() => {
            let triggers: Vec<_> = items.into_iter().map(|item| text(item, "a trigger", file, report)).collect();
            let triggers: Vec<WithSpan<String>> = triggers.into_iter().collect::<Option<_>>()?;
            for (index, trigger) in triggers.iter().enumerate() {
                if triggers[..index].iter().any(|first| first.value == trigger.value) {
                    report
                        .error(Code::InvalidValue, file, trigger.span.clone(), format!("`{}` is in the list twice", trigger.value))
                        .hint("remove one of the two: an event of it would still be judged only once");
                }
            }
            Some(triggers)
        }
        Content::Map(entries) if entries.iter().any(|entry| entry.key.value == "schedule") => {
            report
                .error(Code::WrongType, file, entry.key.span, "`schedule` replaces `trigger` and cannot be inside it")
                .hint("for example\nschedule: { cron: \"0 9 * * 1-5\", timezone: Europe/Berlin }");
            None
        }
        _ => {
            wrong_type(&entry.value, "`trigger`", "the name of a trigger or a list of at least one", file, report);
            None
        }
    }
}
