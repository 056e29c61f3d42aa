//! The runner `workflow`: steps, each with what it needs, whether it starts and what it does.
//!
//! `check/workflows.rs` resolves the steps and determines what they may read.

use std::ops::Range;

use ensue_engine::catalog::{ENOUGH_OF_MAX, Enough, FailAt, ITEMS_MAX, ItemFailure, OnFailure, PARALLEL_DEFAULT, Rest, STEPS_MAX};

use super::inquiry::{INQUIRY, Inquiry, read_inquiry};
use super::local_names::{LOCAL, read_local};
use super::repeat::{REPEAT, Repeat, read_repeat};
use super::retry::{RETRY, Retry, read_retry};
use super::timing::{PRIORITY, Period, read_period, read_priority};
use super::wait::{CANCEL_WHEN, CancelWhen, WAIT, Wait, read_cancel_when, read_wait};
use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, first_line, text, wrong_type};
use crate::schema::{is_our_name, report_bad_name};
use crate::shape::{FieldConstraint, Form, Kind, Shape, optional_field, required_field, words};
use crate::source::SourceText;
use crate::yaml::{Content, Node, WithSpan, YamlEntry, quote_yaml};

const ON_FAILURE: [(&str, OnFailure); 2] = [("fail", OnFailure::Fail), ("continue", OnFailure::Continue)];
const ON_FAILURE_WORDS: [&str; 2] = words(&ON_FAILURE);

pub(super) static WORKFLOW: Shape = Shape {
    what: "`workflow`",
    fields: &[
        required_field(
            "steps",
            "steps:\n  build:\n    action: core.shell\n    with: { script: make }",
            Kind::Named { names: Form::OwnName, of: &STEP, most: STEPS_MAX },
            "The steps, by name. Each runs once all steps that it needs have ended; steps that need nothing start at once, in parallel.",
        ),
        optional_field(
            "result",
            Kind::Value,
            "What the workflow returns, with `${{ … }}` for computed values. It reads every step, as `steps.<name>.result`, `.status`, \
             `.error` and, with `for_each`, `.items`. It must fit the action's `result`, if one is declared.",
        ),
    ],
    ..Shape::BARE
};

pub(super) static STEP: Shape = Shape {
    what: "a step",
    fields: &[
        optional_field(
            "needs",
            Kind::TextsOrFields(Form::OwnName, &ANY),
            "The steps that must have ended before this one starts: a name, or a list of names. Only these, and the steps that they \
             need, can be read here as `steps.<name>`. `{ any: 2, of: [a, b, c] }` starts it as soon as two of them succeeded.",
        ),
        optional_field(
            "if",
            Kind::Expression,
            "An expression that decides whether the step starts; otherwise it is skipped. Without it, or if it calls none of \
             `succeeded()`, `failed()` and `always()`, the step starts only if all steps that it needs succeeded.",
        ),
        optional_field(
            "for_each",
            Kind::Expression,
            "An expression that returns a list. The step runs once for each item; `with` can read `item` and `index`.",
        ),
        optional_field(
            "parallel",
            Kind::Integer { from: 1, to: ITEMS_MAX as i64 },
            "How many items of `for_each` run at once. The default is 16. More than 1,000 count as 1,000, unless the step only sleeps, \
             asks or waits.",
        ),
        optional_field(
            "fail_at",
            Kind::CountOrPercent { most: ITEMS_MAX as i64 },
            "How many items of `for_each` may fail: a number, or a percentage of the list as `10%`, rounded down and at least 1. Up to \
             that, the step succeeds; one more fails it, and no further item starts. By default, one failure fails the step.",
        ),
        optional_field("fail_fast", Kind::Boolean, "Whether the failure of one item stops the others. The default is false."),
        optional_field(
            "repeat",
            Kind::Fields(&REPEAT),
            "How the step is repeated, one turn after the other. `with` can read `previous`, the result of the turn before, and \
             `iteration`, from 1.",
        ),
        optional_field(
            "action",
            Kind::Text(Form::Ref),
            "What the step runs: the ref of an action, never an expression. `ensue actions list` shows the installed ones.",
        ),
        optional_field(
            "with",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "The action's parameters, by name. A value may contain `${{ … }}`; if the expression is the whole value, it keeps its type.",
        ),
        optional_field("inquiry", Kind::Fields(&INQUIRY), "The step asks people, and continues with their answer: `steps.<name>.answer`."),
        optional_field("wait", Kind::Fields(&WAIT), "The step waits for an event, and continues with it: `steps.<name>.event`."),
        optional_field(
            "sleep",
            Kind::Text(Form::Wait),
            "The step waits this long, for example `10m`, and holds no worker meanwhile. It may contain `${{ … }}`.",
        ),
        optional_field(
            "cancel_when",
            Kind::Fields(&CANCEL_WHEN),
            "The event that cancels an `inquiry`, a `wait` or a `sleep`: the step then counts as skipped, and `steps.<name>.event` is the \
             event.",
        ),
        optional_field("fail", Kind::Text(Form::Any), "The step fails, and this is the reason. It may contain `${{ … }}`."),
        optional_field(
            "assert",
            Kind::Expression,
            "An expression that must be true: then the step succeeds. If it is false, the step fails, and its error explains each part.",
        ),
        optional_field(
            "message",
            Kind::Text(Form::Any),
            "The reason if the expression in `assert` is false; by default the expression. It may contain `${{ … }}`.",
        ),
        optional_field(
            "undo",
            Kind::Fields(&UNDO),
            "What reverses the step if it succeeded and the workflow fails, takes too long or is cancelled; with `for_each`, for each \
             item that succeeded. It runs once all steps have ended, one after the other, the newest first.",
        ),
        optional_field(
            "on_failure",
            Kind::Choice(&ON_FAILURE_WORDS),
            "What the step's failure means: `fail` (default), then the only steps that still start are those whose `if` calls \
             `failed()` or `always()`; or `continue`.",
        ),
        optional_field(
            "cancel_others",
            Kind::Boolean,
            "Whether the step's failure cancels the steps that run at the same time. The default is false: they run to their end.",
        ),
        optional_field("retry", Kind::Fields(&RETRY), "Whether failed attempts are retried; overrides what the action says."),
        optional_field(
            "timeout",
            Kind::Text(Form::Period),
            "How long the step may take as a whole, including all its attempts and waits; with `for_each`, each item. It may contain \
             `${{ … }}`.",
        ),
        LOCAL,
        PRIORITY,
    ],
    later: &[],
    between: &[
        FieldConstraint::ExactlyOneOf(&["action", "inquiry", "wait", "sleep", "fail", "assert"]),
        FieldConstraint::OnlyBeside { field: "with", other: "action" },
        FieldConstraint::OnlyBeside { field: "for_each", other: "action" },
        FieldConstraint::OnlyBeside { field: "repeat", other: "action" },
        FieldConstraint::OnlyBeside { field: "undo", other: "action" },
        FieldConstraint::NotBoth("for_each", "repeat"),
        FieldConstraint::OnlyBeside { field: "priority", other: "action" },
        FieldConstraint::OnlyBeside { field: "retry", other: "action" },
        FieldConstraint::OnlyBeside { field: "timeout", other: "action" },
        FieldConstraint::OnlyBeside { field: "parallel", other: "for_each" },
        FieldConstraint::OnlyBeside { field: "fail_fast", other: "for_each" },
        FieldConstraint::OnlyBeside { field: "fail_at", other: "for_each" },
        FieldConstraint::OnlyBeside { field: "message", other: "assert" },
        FieldConstraint::OnlyBesideOneOf { field: "cancel_when", others: &CANCELLABLE },
        FieldConstraint::NotBesideTrue { field: "fail_at", flag: "fail_fast" },
    ],
};

static ANY: Shape = Shape {
    what: "`needs`",
    fields: &[
        required_field(
            "any",
            "any: 2",
            Kind::Integer { from: 1, to: ENOUGH_OF_MAX as i64 },
            "How many of the steps in `of` must have succeeded before this one starts; with an `if` that calls `failed()`, must have failed; \
             with `always()`, must have ended. It is skipped as soon as that many cannot be reached.",
        ),
        required_field("of", "of: [build, check]", Kind::TextOrTexts(Form::OwnName), "The steps: a list of names."),
        optional_field(
            "cancel_rest",
            Kind::Boolean,
            "Whether the other steps in `of` are then cancelled, so that their ends do not count. The default is false: they go on.",
        ),
    ],
    ..Shape::BARE
};

pub(super) static UNDO: Shape = Shape {
    what: "`undo`",
    fields: &[
        required_field("action", "action: release.roll_back", Kind::Text(Form::Ref), "What reverses the step: the ref of an action."),
        optional_field(
            "with",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "The action's parameters, by name. In addition to what the step's own `with` can read, `result` is the result of the step \
                or the item.",
        ),
        optional_field("retry", Kind::Fields(&RETRY), "Whether failed attempts are retried; overrides what the action says."),
        optional_field(
            "timeout",
            Kind::Text(Form::Period),
            "How long it may take as a whole, including all its attempts and waits. It may contain `${{ … }}`.",
        ),
    ],
    ..Shape::BARE
};

pub(crate) struct Workflow {
    /// The place of its name: missing fields are reported there.
    pub(crate) at: Range<usize>,
    /// All steps, including those with errors, so that others can name them.
    pub(crate) steps: Vec<WrittenStep>,
    pub(crate) result: Option<Node>,
}

pub(crate) struct WrittenStep {
    pub(crate) name: WithSpan<String>,
    /// The names of other steps; `None` if they have errors that have been reported.
    pub(crate) needs: Option<Vec<WithSpan<String>>>,
    /// How many of them are enough.
    pub(crate) enough: Option<Enough>,
    pub(crate) condition: Option<Node>,
    /// Its local names, in order; `None` if one of them is not a valid name, which has been reported.
    pub(crate) local: Option<Vec<YamlEntry>>,
    pub(crate) for_each: Option<ForEach>,
    pub(crate) repeat: Option<Repeat>,
    /// What it does; `None` if that has errors that have been reported.
    pub(crate) task: Option<StepTask>,
    /// The event that cancels it; `Some(None)` if that has errors that have been reported.
    pub(crate) cancel_when: Option<Option<CancelWhen>>,
    pub(crate) undo: Option<Undo>,
    pub(crate) on_failure: OnFailure,
    pub(crate) retry: Option<Retry>,
    pub(crate) timeout: Option<Period>,
    pub(crate) priority: Option<i8>,
}

pub(crate) struct ForEach {
    pub(crate) items: Node,
    pub(crate) parallel: u32,
    pub(crate) failure: ItemFailure,
    pub(crate) fail_at: Option<FailAt>,
}

pub(crate) struct Undo {
    pub(crate) action: WithSpan<String>,
    pub(crate) with: Option<Node>,
    pub(crate) retry: Option<Retry>,
    pub(crate) timeout: Option<Period>,
}

pub(crate) enum StepTask {
    Action { action: WithSpan<String>, with: Option<Node> },
    Inquiry(Box<Inquiry>),
    Wait(Box<Wait>),
    Sleep { duration: Node },
    Fail { message: Node },
    Assert { condition: Node, message: Option<Node> },
}

pub(super) fn read(key: Range<usize>, node: Node, file: &SourceText, report: &mut Report) -> Option<Workflow> {
    let mut fields = FieldReader::open(node, &WORKFLOW, file, report)?;
    let steps = fields.take_required("steps", report).and_then(|entry| named_steps(entry, file, report));
    let result = fields.take("result").map(|entry| entry.value);
    let steps = steps?.into_iter().map(|entry| read_step(entry, file, report)).collect();
    Some(Workflow { at: key, steps, result })
}

/// Reads the steps of a rule.
pub(super) fn read_steps(entry: YamlEntry, file: &SourceText, report: &mut Report) -> Option<Workflow> {
    let at = entry.key.span.clone();
    let steps = named_steps(entry, file, report)?.into_iter().map(|entry| read_step(entry, file, report)).collect();
    Some(Workflow { at, steps, result: None })
}

fn named_steps(entry: YamlEntry, file: &SourceText, report: &mut Report) -> Option<Vec<YamlEntry>> {
    let span = first_line(&entry.value.span, file);
    match entry.value.content {
        Content::Map(steps) if steps.is_empty() => {
            report
                .error(Code::MissingField, file, entry.key.span, "a workflow must have at least one step")
                .hint("for example\nsteps:\n  build: { action: core.shell, with: { script: make } }");
            None
        }
        Content::Map(steps) if steps.len() > STEPS_MAX => {
            let message = format!("a workflow can have at most {STEPS_MAX} steps, but this one has {}", steps.len());
            report
                .error(Code::InvalidValue, file, entry.key.span, message)
                .hint("move parts of it into workflows that it runs as steps, or run one step `for_each` item of a list");
            None
        }
        Content::Map(steps) => Some(steps),
        Content::List(_) => {
            report.error(Code::WrongType, file, span, "`steps` must be a mapping of names to steps, not a list").hint(
                "name each step, and use `needs` to say which steps it waits for:\nsteps:\n  build: { … }\n  test: { needs: build, … }",
            );
            None
        }
        _ => {
            wrong_type(&entry.value, "`steps`", "a mapping of names to steps", file, report);
            None
        }
    }
}

fn read_step(entry: YamlEntry, file: &SourceText, report: &mut Report) -> WrittenStep {
    let YamlEntry { key: name, value } = entry;
    if !is_our_name(&name.value) {
        report_bad_name(&name.value, &name.span, file, report);
    }
    let Some(mut fields) = FieldReader::open(value, &STEP, file, report) else {
        let on_failure = OnFailure::default();
        return WrittenStep {
            name,
            needs: None,
            enough: None,
            condition: None,
            local: None,
            for_each: None,
            repeat: None,
            task: None,
            cancel_when: None,
            undo: None,
            on_failure,
            retry: None,
            timeout: None,
            priority: None,
        };
    };
    let (needs, enough) = read_needs(&mut fields, report);
    let condition = fields.take("if").map(|entry| entry.value);
    let local = read_local(&mut fields, report);
    reject_unqualified(&mut fields, report);
    reject_double_loop(&mut fields, report);
    let for_each = read_for_each(&mut fields, report);
    let repeat = read_repeat(&mut fields, report);
    let priority = read_priority(&mut fields, report);
    let retry = read_retry(&mut fields, report);
    let timeout = read_period("timeout", &mut fields, report);
    let undo = read_undo(&mut fields, report);
    let on_failure = read_on_failure(&mut fields, report);
    reject_cancel_when(&mut fields, report);
    let cancel_when = fields.take("cancel_when").map(|entry| read_cancel_when(entry.value, file, report));
    let task = read_task(&name, &mut fields, report);
    WrittenStep { name, needs, enough, condition, local, for_each, repeat, task, cancel_when, undo, on_failure, retry, timeout, priority }
}

fn read_undo(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Undo> {
    let file = fields.file;
    let mut fields = FieldReader::open(fields.take("undo")?.value, &UNDO, file, report)?;
    let with = fields.take("with").map(|entry| entry.value);
    let retry = read_retry(&mut fields, report);
    let timeout = read_period("timeout", &mut fields, report);
    let action = fields.take_required("action", report).and_then(|entry| text(entry.value, "`action`", file, report));
    Some(Undo { action: action?, with, retry, timeout })
}

fn read_on_failure(fields: &mut FieldReader<'_>, report: &mut Report) -> OnFailure {
    let cancels_others = fields.has("cancel_others").then(|| fields.key_of("cancel_others"));
    let on_failure = fields.choice("on_failure", &ON_FAILURE, report).unwrap_or_default();
    let is_asked = fields.boolean("cancel_others", report).unwrap_or(false);
    match (on_failure, cancels_others.filter(|_| is_asked)) {
        (OnFailure::Continue, Some(key)) => {
            let message = "`cancel_others` cancels other steps if this one fails, but `on_failure: continue` lets the workflow continue";
            report.warning(Code::FieldOutOfPlace, fields.file, key, message).hint("keep one of the two");
            OnFailure::Continue
        }
        (OnFailure::Fail, Some(_)) => OnFailure::CancelOthers,
        (on_failure, _) => on_failure,
    }
}

/// Reports a step with both `for_each` and `repeat`, and removes the latter.
fn reject_double_loop(fields: &mut FieldReader<'_>, report: &mut Report) {
    if fields.has("for_each") && fields.has("repeat") {
        report
            .error(Code::FieldOutOfPlace, fields.file, fields.key_of("repeat"), "a step can have either `for_each` or `repeat`, not both")
            .hint("move one of them into a workflow, and run that as the action of a step with the other");
        fields.take("repeat");
    }
}

/// A field that qualifies another one.
struct QualifyingField {
    field: &'static str,
    other: &'static str,
    /// Its purpose.
    is: &'static str,
    hint: &'static str,
}

const NAME_THE_ACTION: &str = "name the action, or remove the line";
const FOR_EACH_EXAMPLE: &str = "for example\nfor_each: params.regions";

/// Ordered so that a field comes after the field that it qualifies.
const BESIDE: [QualifyingField; 11] = [
    QualifyingField { field: "with", other: "action", is: "`with` sets the parameters of an action", hint: NAME_THE_ACTION },
    QualifyingField {
        field: "for_each",
        other: "action",
        is: "`for_each` runs an action for each item",
        hint: "name the action, or remove the line; a step with `fail` fails only once",
    },
    QualifyingField { field: "repeat", other: "action", is: "`repeat` runs an action repeatedly", hint: NAME_THE_ACTION },
    QualifyingField { field: "undo", other: "action", is: "`undo` reverses what an action did", hint: NAME_THE_ACTION },
    QualifyingField { field: "priority", other: "action", is: "`priority` says which executions run first", hint: NAME_THE_ACTION },
    QualifyingField { field: "retry", other: "action", is: "`retry` retries an action that failed", hint: NAME_THE_ACTION },
    QualifyingField { field: "timeout", other: "action", is: "`timeout` says how long an action may take", hint: NAME_THE_ACTION },
    QualifyingField { field: "parallel", other: "for_each", is: "`parallel` says how many items run at once", hint: FOR_EACH_EXAMPLE },
    QualifyingField { field: "fail_fast", other: "for_each", is: "`fail_fast` stops the other items", hint: FOR_EACH_EXAMPLE },
    QualifyingField { field: "fail_at", other: "for_each", is: "`fail_at` says how many items may fail", hint: FOR_EACH_EXAMPLE },
    QualifyingField {
        field: "message",
        other: "assert",
        is: "`message` is the reason if the expression in `assert` is false",
        hint: "write the condition, for example\nassert: steps.probe.result.ok\nor use `fail` for a step that always fails",
    },
];

/// Reports fields that qualify a missing field, and removes them.
fn reject_unqualified(fields: &mut FieldReader<'_>, report: &mut Report) {
    for QualifyingField { field, other, is, hint } in BESIDE {
        if !fields.has(field) || fields.has(other) {
            continue;
        }
        // A step that does nothing is reported separately, as is a related field that is misspelled or
        // belongs to a later release.
        let is_told = fields.has_reported(other) || (other == "action" && TASKS.iter().all(|task| !fields.has(task)));
        if !is_told {
            let message = format!("{is}, but there is no `{other}`");
            report.error(Code::FieldOutOfPlace, fields.file, fields.key_of(field), message).hint(hint);
        }
        fields.take(field);
        fields.mark_reported(field);
    }
}

type Needs = (Option<Vec<WithSpan<String>>>, Option<Enough>);

fn read_needs(fields: &mut FieldReader<'_>, report: &mut Report) -> Needs {
    match fields.take_mapping("needs") {
        Some(node) => read_any(node, fields.file, report).map_or((None, None), |(needs, enough)| (Some(needs), Some(enough))),
        None => (read_all(fields, report), None),
    }
}

/// Reads steps of which some are enough.
fn read_any(node: Node, file: &SourceText, report: &mut Report) -> Option<(Vec<WithSpan<String>>, Enough)> {
    let mut fields = FieldReader::open(node, &ANY, file, report)?;
    for field in ["any", "of"] {
        if !fields.has(field) {
            fields.take_required(field, report);
        }
    }
    let any_at = fields.span_of("any");
    let count = fields.integer("any", report).and_then(|number| u32::try_from(number).ok());
    let rest = if fields.boolean("cancel_rest", report).unwrap_or(false) { Rest::IsCancelled } else { Rest::GoesOn };
    let of_at = fields.key_of("of");
    let names = fields.text_or_texts("of", ("the name of a step", "name the steps"), report)?;
    let names = names.into_iter().map(|name| text(name, "an item of `of`", file, report)).collect::<Option<Vec<_>>>()?;
    let count = count?;
    if names.len() > ENOUGH_OF_MAX {
        let message = format!("`of` names {} steps; the limit is {ENOUGH_OF_MAX}", names.len());
        report.error(Code::InvalidValue, file, of_at, message).hint("put a step that needs some of them before this one");
        return None;
    }
    if names.len() < count as usize {
        let message = format!("`any` is {count}, but `of` names only {}", names.len());
        report.error(Code::InvalidValue, file, any_at, message).hint("name more steps, or lower `any`");
        return None;
    }
    Some((names, Enough { count, rest }))
}

fn read_all(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Vec<WithSpan<String>>> {
    if fields.has_reported("needs") {
        return None;
    }
    if !fields.has("needs") {
        return Some(Vec::new());
    }
    let names = fields.text_or_texts("needs", ("the name of a step", "remove the line if the step needs nothing"), report)?;
    names.into_iter().map(|name| text(name, "an item of `needs`", fields.file, report)).collect()
}

fn read_for_each(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<ForEach> {
    let parallel = fields.integer("parallel", report).and_then(|number| u32::try_from(number).ok()).unwrap_or(PARALLEL_DEFAULT);
    let failure = if fields.boolean("fail_fast", report).unwrap_or(false) { ItemFailure::StopsOthers } else { ItemFailure::OthersGoOn };
    let fail_at_key = fields.key_of("fail_at");
    let fail_at = fields.count_or_percent("fail_at", report);
    if fail_at.is_some() && failure == ItemFailure::StopsOthers {
        report
            .error(
                Code::FieldOutOfPlace,
                fields.file,
                fail_at_key,
                "`fail_at` lets some items fail, but `fail_fast` stops the others at the first failure",
            )
            .hint("keep one of the two");
    }
    let is_told = fields.has_reported("for_each");
    let items = match fields.take("for_each") {
        Some(entry) => entry.value,
        // A misspelled or empty one counts as present, or `item` would be reported too.
        None => return is_told.then_some(ForEach { items: Node { span: 0..0, content: Content::Poisoned }, parallel, failure, fail_at }),
    };
    if let Content::List(_) = items.content {
        let file = fields.file;
        let span = first_line(&items.span, file);
        let diagnostic = report.error(Code::WrongType, file, span, "`for_each` must be an expression, not a list");
        let json = items.to_value().to_string();
        if json.len() <= 80 && !json.contains("${{") {
            diagnostic.hint(format!("quote it:\nfor_each: {}", quote_yaml(&json)));
        } else {
            diagnostic.hint("read a list from `params`, `config` or a step that this one needs");
        }
        return Some(ForEach { items: Node { span: items.span, content: Content::Poisoned }, parallel, failure, fail_at });
    }
    Some(ForEach { items, parallel, failure, fail_at })
}

/// The tasks that an event can cancel.
const CANCELLABLE: [&str; 3] = ["inquiry", "wait", "sleep"];

/// Reports a `cancel_when` of a step that does not wait, and removes it.
fn reject_cancel_when(fields: &mut FieldReader<'_>, report: &mut Report) {
    let is_told = CANCELLABLE.iter().any(|task| fields.has(task) || fields.has_reported(task));
    let Some(task) = TASKS.iter().find(|task| fields.has(task)).filter(|_| fields.has("cancel_when") && !is_told) else { return };
    let message = format!("`cancel_when` cancels an `inquiry`, a `wait` or a `sleep`, but this step has `{task}`");
    report
        .error(Code::FieldOutOfPlace, fields.file, fields.key_of("cancel_when"), message)
        .hint("put a step with `wait` beside it, and end the other with `cancel_others`; or remove the line");
    fields.take("cancel_when");
}

/// The alternatives of what a step does.
const TASKS: [&str; 6] = ["action", "inquiry", "wait", "sleep", "fail", "assert"];

fn read_task(name: &WithSpan<String>, fields: &mut FieldReader<'_>, report: &mut Report) -> Option<StepTask> {
    let file = fields.file;
    let is_told = TASKS.iter().any(|task| fields.has_reported(task));
    let with = fields.take("with").map(|entry| entry.value);
    let reason = fields.take("message").map(|entry| entry.value);
    let mut tasks: Vec<YamlEntry> = TASKS.iter().filter_map(|task| fields.take(task)).collect();
    tasks.sort_by_key(|task| task.key.span.start);
    if let [first, second, ..] = tasks.as_slice() {
        let [action, other] = if second.key.value == "action" { [second, first] } else { [first, second] };
        report
            .error(
                Code::NotExactlyOne,
                file,
                second.key.span.clone(),
                format!("a step can do only one thing; `{}` and `{}` are two", action.key.value, other.key.value),
            )
            .hint("split it into two steps, where the second `needs` the first");
        return None;
    }
    let Some(YamlEntry { key, value }) = tasks.pop() else {
        if !is_told {
            report
                .error(Code::NotExactlyOne, file, name.span.clone(), format!("the step `{}` does nothing", name.value))
                .hint("give it an `action`, an `inquiry`, a `wait`, a `sleep`, a `fail` or an `assert`, for example\naction: core.echo");
        }
        return None;
    };
    let is_text = matches!(value.content, Content::Text { .. });
    match key.value.as_str() {
        "action" => Some(StepTask::Action { action: text(value, "`action`", file, report)?, with }),
        "inquiry" => Some(StepTask::Inquiry(Box::new(read_inquiry(value, file, report)?))),
        "wait" => Some(StepTask::Wait(Box::new(read_wait(value, file, report)?))),
        "sleep" if is_text => Some(StepTask::Sleep { duration: value }),
        "sleep" => {
            wrong_type(&value, "`sleep`", "a duration such as `10m`", file, report);
            None
        }
        "assert" => match &reason {
            Some(reason) if !matches!(reason.content, Content::Text { .. } | Content::Poisoned) => {
                wrong_type(reason, "`message`", "a string that says why", file, report);
                None
            }
            Some(_) | None => Some(StepTask::Assert { condition: value, message: reason }),
        },
        _ if is_text => Some(StepTask::Fail { message: value }),
        _ => {
            wrong_type(&value, "`fail`", "a string that says why", file, report);
            None
        }
    }
}
