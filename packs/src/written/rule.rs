//! `rules/*.yaml`: when an event leads to an action.

use ensue_engine::catalog::Mode;

use crate::diagnostics::{Code, Report};
use crate::fields::{Fields, text, wrong_type};
use crate::schema::{is_our_name, tell_bad_name};
use crate::shape::{Field, Form, Kind, Shape, optional, required, words};
use crate::source::SourceText;
use crate::yaml::{Content, Entry, Node, Spanned};

const MODES: [(&str, Mode); 3] = [("enabled", Mode::Enabled), ("disabled", Mode::Disabled), ("shadow", Mode::Shadow)];
const MODE_WORDS: [&str; 3] = words(&MODES);

pub(crate) static RULE: Shape = Shape {
    what: "a rule",
    fields: &[
        optional("description", Kind::Text(Form::Any), "What the rule is for, in a sentence."),
        optional("mode", Kind::Choice(&MODE_WORDS), "`enabled` (default), `disabled`, or `shadow`: judged and recorded, not acted on."),
        required(
            "trigger",
            "trigger: github.push",
            Kind::TextOrTexts(Form::Ref),
            "The kind of event that the rule judges: one trigger, or a list of them. `ensue triggers list` has those that are installed.",
        ),
        optional(
            "when",
            Kind::Expression,
            "An expression that says for which events the rule acts. It reads `event`, `local`, `config` and `rule`, and gives true or false. \
             Without it, every event matches. Best written as a `|` block.",
        ),
        LOCAL,
        required(
            "action",
            "action: core.echo",
            Kind::Text(Form::Ref),
            "What to do: the ref of an action, never an expression. `ensue actions list` has those that are installed.",
        ),
        optional(
            "with",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "The action's parameters, by name. A value may hold `${{ … }}`; one that is exactly that keeps its type.",
        ),
        PRIORITY,
    ],
    later: &[
        ("steps", "a workflow in place"),
        ("dedupe", "events of one key once"),
        ("throttle", "a limit in time"),
        ("debounce", "once it is quiet"),
        ("window", "several events together"),
        ("missing", "an event that does not come"),
        ("concurrency", "a limit on what runs at once"),
        ("retry", "trying again"),
        ("labels", "labels for search and grants"),
        ("schedule", "events by the clock"),
    ],
    between: &[],
};

/// Names that are computed first.
pub(super) const LOCAL: Field = optional(
    "local",
    Kind::Mapping { names: Form::OwnName, of: &Kind::Expression },
    "Names with an expression each, computed in order. They are read as `local.<name>`, also by those below.",
);

pub(super) const PRIORITY: Field = optional(
    "priority",
    Kind::Integer { from: -100, to: 100 },
    "Which executions go first when they have to wait: −100 to 100, higher first, 0 where nothing is said. A rule's goes over its action's.",
);

pub(crate) struct Rule {
    pub(crate) description: String,
    pub(crate) mode: Mode,
    pub(crate) triggers: Vec<Spanned<String>>,
    pub(crate) when: Option<Node>,
    pub(crate) local: Vec<Entry>,
    pub(crate) action: Spanned<String>,
    pub(crate) with: Option<Node>,
    pub(crate) priority: Option<i8>,
}

pub(super) fn read(node: Node, file: &SourceText, report: &mut Report) -> Option<Rule> {
    let is_workflow = matches!(&node.content, Content::Map(entries) if entries.iter().any(|entry| entry.key.value == "steps"));
    let mut fields = Fields::open(node, &RULE, file, report)?;
    let description = fields.text("description", report).map_or(String::new(), |text| text.value);
    let mode = fields.choice("mode", &MODES, report).unwrap_or_default();
    let triggers = read_triggers(&mut fields, report);
    let when = fields.take("when").map(|entry| entry.value);
    let local = read_local(&mut fields, report);
    let action = read_action(&mut fields, is_workflow, report);
    let with = fields.take("with").map(|entry| entry.value);
    let priority = read_priority(&mut fields, report);
    Some(Rule { description, mode, triggers: triggers?, when, local: local?, action: action?, with, priority })
}

/// Takes the names that are computed first, in their order; nothing where one of them is no name.
pub(super) fn read_local(fields: &mut Fields<'_>, report: &mut Report) -> Option<Vec<Entry>> {
    let mut is_whole = true;
    let entries = fields.mapping("local", report).unwrap_or_default();
    for entry in entries.iter().filter(|entry| !is_our_name(&entry.key.value)) {
        tell_bad_name(&entry.key.value, &entry.key.span, fields.file, report);
        is_whole = false;
    }
    is_whole.then_some(entries)
}

pub(super) fn read_priority(fields: &mut Fields<'_>, report: &mut Report) -> Option<i8> {
    fields.integer("priority", report).and_then(|number| i8::try_from(number).ok())
}

fn read_action(fields: &mut Fields<'_>, is_workflow: bool, report: &mut Report) -> Option<Spanned<String>> {
    if is_workflow {
        // That `steps` are to come has been told; that the action is missing is the same mistake.
        fields.was_told("action");
    }
    let entry = fields.take_required("action", report)?;
    text(entry.value, "`action`", fields.file, report)
}

fn read_triggers(fields: &mut Fields<'_>, report: &mut Report) -> Option<Vec<Spanned<String>>> {
    let file = fields.file;
    let entry = fields.take_required("trigger", report)?;
    match entry.value.content {
        Content::Text { value, .. } => Some(vec![Spanned { value, span: entry.value.span }]),
        Content::List(items) if !items.is_empty() => {
            let triggers: Vec<_> = items.into_iter().map(|item| text(item, "a trigger", file, report)).collect();
            let triggers: Vec<Spanned<String>> = triggers.into_iter().collect::<Option<_>>()?;
            for (index, trigger) in triggers.iter().enumerate() {
                if triggers[..index].iter().any(|first| first.value == trigger.value) {
                    report
                        .error(Code::InvalidValue, file, trigger.span.clone(), format!("`{}` stands twice in the list", trigger.value))
                        .hint("an event of it would be judged once all the same; leave one out");
                }
            }
            Some(triggers)
        }
        Content::Map(entries) if entries.iter().any(|entry| entry.key.value == "schedule") => {
            report
                .error(Code::NotYet, file, entry.key.span, "`schedule` (events by the clock) is not in this release yet")
                .hint("docs/roadmap.md says what comes when; until then let cron post to /api/v1/events");
            None
        }
        _ => {
            wrong_type(&entry.value, "`trigger`", "the name of a trigger or a list of them", file, report);
            None
        }
    }
}
