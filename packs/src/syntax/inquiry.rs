//! `inquiry`: a question to people, its assignees, and the time limit for an answer.

use std::ops::Range;

use ensue_engine::catalog::Schema;
use ensue_engine::inquiries::question::{ASSIGNEES_MAX, ESCALATIONS_MAX, REMINDERS_MAX, VETO_BYTES_MAX};

use super::timing::{Period, read_period};
use crate::diagnostics::{Code, Report};
use crate::fields::{FieldReader, first_line, text, wrong_type};
use crate::schema;
use crate::shape::{FieldConstraint, Form, Kind, Naming, Shape, optional_field, required_field, words};
use crate::source::SourceText;
use crate::yaml::{Content, Node, WithSpan, YamlEntry};

pub(super) static INQUIRY: Shape = Shape {
    what: "`inquiry`",
    fields: &[
        required_field(
            "title",
            "title: Ship ${{ params.version }}?",
            Kind::Text(Form::Any),
            "The question, in one line. It may contain `${{ … }}`.",
        ),
        optional_field("text", Kind::Text(Form::Any), "Further information for the people who are asked. It may contain `${{ … }}`."),
        required_field(
            "answer",
            "answer:\n  ship: boolean\n  note: string?",
            Kind::Schema(Naming::Ours),
            "The form of an answer: its fields by name, or a whole JSON Schema. Later steps read the answer as `steps.<name>.answer`.",
        ),
        required_field(
            "assignees",
            "assignees: role:release_managers",
            Kind::TextOrTexts(Form::Any),
            "Who may answer: `role:<role>` for everybody who has that role, or the name of a token; one, or a list. Each may contain \
             `${{ … }}`, including one that returns a list.",
        ),
        optional_field(
            "quorum",
            Kind::Integer { from: 1, to: ASSIGNEES_MAX as i64 },
            "How many different people must answer. The default is 1. The last answer is the step's `answer`.",
        ),
        optional_field(
            "veto",
            Kind::Expression,
            "An expression over `answer`: if it is true, that one answer decides, whatever the quorum.",
        ),
        optional_field(
            "exclude",
            Kind::TextOrTexts(Form::Any),
            "Assignees who may not answer: `requester`, the person who requested the outermost workflow, or the name of a token.",
        ),
        optional_field(
            "digest",
            Kind::Choice(&DIGEST_WORDS),
            "Whether an answer must include the digest of the question that was shown: `required` (default), or `optional`.",
        ),
        optional_field(
            "expires",
            Kind::Text(Form::Period),
            "How long people have to answer: `24h`. It may contain `${{ … }}`. By default, there is no limit.",
        ),
        optional_field(
            "on_expire",
            Kind::WordOrFields("fail", &ON_EXPIRE),
            "What happens when the inquiry expires: `fail` (default), with an error of kind `expired`, or `{ answer: … }`, which then \
                counts as the answer.",
        ),
        optional_field(
            "notify",
            Kind::Fields(&NOTIFY),
            "An action that notifies the people who are asked: when the inquiry is opened, and with each `remind` and `escalate`. \
                Nothing waits for it.",
        ),
        optional_field("remind", Kind::Fields(&REMIND), "When `notify` runs again while nobody has decided."),
        optional_field("escalate", Kind::List(&ESCALATION), "Further people to ask if nobody has decided after some time."),
    ],
    later: &[],
    between: &[
        FieldConstraint::OnlyBeside { field: "on_expire", other: "expires" },
        FieldConstraint::OnlyBeside { field: "remind", other: "notify" },
    ],
};

const DIGEST: [(&str, &str); 2] = [("required", "required"), ("optional", "optional")];
const DIGEST_WORDS: [&str; 2] = words(&DIGEST);

static ON_EXPIRE: Shape = Shape {
    what: "`on_expire`",
    fields: &[required_field("answer", "answer: { ship: false }", Kind::Value, "The answer that then counts. It may contain `${{ … }}`.")],
    ..Shape::BARE
};

static NOTIFY: Shape = Shape {
    what: "`notify`",
    fields: &[
        required_field(
            "action",
            "action: chat.post",
            Kind::Text(Form::Ref),
            "What notifies them: the ref of an action that is not a workflow and does not wait.",
        ),
        optional_field(
            "with",
            Kind::Mapping { names: Form::Any, of: &Kind::Anything },
            "The action's parameters, by name. In addition to what the step's own fields can read, `inquiry` has `id`, `title`, `text`, \
             `url`, `link`, `assignees`, `expires_at` and `occasion`: `opened`, `reminded` or `escalated`.",
        ),
    ],
    ..Shape::BARE
};

static REMIND: Shape = Shape {
    what: "`remind`",
    fields: &[
        required_field("every", "every: 2h", Kind::Text(Form::Period), "The time between two reminders. It may contain `${{ … }}`."),
        optional_field("max", Kind::Integer { from: 1, to: REMINDERS_MAX as i64 }, "The maximum number of reminders. The default is 3."),
    ],
    ..Shape::BARE
};

static ESCALATION: Shape = Shape {
    what: "an escalation",
    fields: &[
        required_field(
            "after",
            "after: 8h",
            Kind::Text(Form::Period),
            "After how long, counted from when the inquiry was opened. It may contain `${{ … }}`.",
        ),
        required_field(
            "to",
            "to: role:leads",
            Kind::TextOrTexts(Form::Any),
            "The people who are also asked from then on, in the form of `assignees`.",
        ),
    ],
    ..Shape::BARE
};

/// A question to people.
pub(crate) struct Inquiry {
    pub(crate) title: Node,
    pub(crate) text: Option<Node>,
    /// `None` if it has an error that has been reported.
    pub(crate) answer: Option<Schema>,
    pub(crate) assignees: Vec<Node>,
    pub(crate) quorum: Option<i64>,
    pub(crate) veto: Option<Node>,
    pub(crate) exclude: Option<Vec<Node>>,
    /// Whether an answer must contain the digest of what was shown, as written.
    pub(crate) digest: Option<&'static str>,
    pub(crate) expires: Option<Period>,
    /// The answer that applies if nobody gave one.
    pub(crate) on_expire: Option<Node>,
    pub(crate) notify: Option<Notify>,
    pub(crate) remind: Option<Remind>,
    pub(crate) escalate: Vec<Escalation>,
}

/// The notification of the assignees.
pub(crate) struct Notify {
    pub(crate) action: WithSpan<String>,
    pub(crate) with: Option<Node>,
}

/// When the assignees are reminded.
pub(crate) struct Remind {
    pub(crate) every: Period,
    pub(crate) max: Option<i64>,
    /// Its place.
    pub(crate) at: Range<usize>,
}

/// Additional assignees after some time.
pub(crate) struct Escalation {
    pub(crate) after: Period,
    pub(crate) to: Vec<Node>,
    /// Its place.
    pub(crate) at: Range<usize>,
}

/// Reads the value of `inquiry`. Returns `None` if it has errors that have been reported.
pub(super) fn read_inquiry(node: Node, file: &SourceText, report: &mut Report) -> Option<Inquiry> {
    let mut fields = FieldReader::open(node, &INQUIRY, file, report)?;
    let title = fields.take_required("title", report).map(|entry| entry.value);
    let text = fields.take("text").map(|entry| entry.value);
    let answer = fields.take_required("answer", report);
    let answer = answer.map(|entry| schema::read(entry.value, Naming::Ours, file, report));
    if !fields.has("assignees") {
        fields.take_required("assignees", report);
    }
    let assignees =
        fields.text_or_texts("assignees", ("`role:<role>` or the name of a token", "name somebody; otherwise nobody could answer"), report);
    let quorum = fields.integer("quorum", report);
    let veto = fields.take("veto").map(|entry| entry.value);
    let has_exclude = fields.has("exclude");
    let exclude = fields.text_or_texts("exclude", ("`requester` or the name of a token", "remove the line if nobody is excluded"), report);
    let has_digest = fields.has("digest");
    let digest = fields.choice("digest", &DIGEST, report);
    let has_expires = fields.has("expires");
    let expires = read_period("expires", &mut fields, report);
    let on_expire = read_on_expire(&mut fields, has_expires, report);
    let (asks_notify, asks_remind) = (fields.has("notify"), fields.has("remind"));
    let notify = fields.take("notify").and_then(|entry| read_notify(entry.value, file, report));
    if asks_remind && !asks_notify {
        report
            .error(Code::FieldOutOfPlace, file, fields.key_of("remind"), "`remind` says when `notify` runs again, but there is no `notify`")
            .hint("for example\nnotify: { action: chat.post, with: { text: \"${{ inquiry.title }} ${{ inquiry.url }}\" } }");
    }
    let remind = fields.take("remind").and_then(|entry| read_remind(entry, file, report));
    let escalate = read_escalate(&mut fields, report);
    for (node, name) in [(&title, "`title`"), (&text, "`text`")] {
        if let Some(node) = node
            && !matches!(node.content, Content::Text { .. } | Content::Poisoned)
        {
            wrong_type(node, name, "a string", file, report);
            return None;
        }
    }
    if let Some(Node { span, content: Content::Text { value, .. } }) = &veto
        && value.len() > VETO_BYTES_MAX
    {
        let message = format!("`veto` has {} bytes, but may have at most {VETO_BYTES_MAX}", value.len());
        report.error(Code::InvalidValue, file, span.clone(), message).hint("shorten it");
        return None;
    }
    if (has_exclude && exclude.is_none())
        || (has_digest && digest.is_none())
        || (has_expires && expires.is_none())
        || (asks_notify && notify.is_none())
        || (asks_remind && remind.is_none())
    {
        return None;
    }
    let (title, answer, assignees, escalate) = (title?, answer?, assignees?, escalate?);
    Some(Inquiry { title, text, answer, assignees, quorum, veto, exclude, digest, expires, on_expire, notify, remind, escalate })
}

fn read_notify(node: Node, file: &SourceText, report: &mut Report) -> Option<Notify> {
    let mut fields = FieldReader::open(node, &NOTIFY, file, report)?;
    let with = fields.take("with").map(|entry| entry.value);
    let action = fields.take_required("action", report).and_then(|entry| text(entry.value, "`action`", file, report));
    Some(Notify { action: action?, with })
}

fn read_remind(entry: YamlEntry, file: &SourceText, report: &mut Report) -> Option<Remind> {
    let at = entry.key.span;
    let mut fields = FieldReader::open(entry.value, &REMIND, file, report)?;
    if !fields.has("every") {
        fields.take_required("every", report);
    }
    let every = read_period("every", &mut fields, report);
    let max = fields.integer("max", report);
    Some(Remind { every: every?, max, at })
}

fn read_escalate(fields: &mut FieldReader<'_>, report: &mut Report) -> Option<Vec<Escalation>> {
    let file = fields.file;
    let Some(entry) = fields.take("escalate") else { return Some(Vec::new()) };
    match entry.value.content {
        Content::List(items) if (1..=ESCALATIONS_MAX).contains(&items.len()) => {
            items.into_iter().map(|item| read_escalation(item, file, report)).collect::<Vec<_>>().into_iter().collect()
        }
        Content::List(items) => {
            let message = format!("`escalate` has {} entries, but must have 1 to {ESCALATIONS_MAX}", items.len());
            report
                .error(Code::InvalidValue, file, entry.key.span, message)
                .hint("for example\nescalate:\n  - { after: 8h, to: role:leads }\nor remove it");
            None
        }
        _ => {
            wrong_type(&entry.value, "`escalate`", "a list such as `[{ after: 8h, to: role:leads }]`", file, report);
            None
        }
    }
}

fn read_escalation(node: Node, file: &SourceText, report: &mut Report) -> Option<Escalation> {
    let at = first_line(&node.span, file);
    let mut fields = FieldReader::open(node, &ESCALATION, file, report)?;
    for field in ["after", "to"] {
        if !fields.has(field) {
            fields.take_required(field, report);
        }
    }
    let after = read_period("after", &mut fields, report);
    let to = fields.text_or_texts("to", ("`role:<role>` or the name of a token", "name somebody; otherwise nobody would be asked"), report);
    Some(Escalation { after: after?, to: to?, at })
}

/// Reports an `on_expire` at this place that has no `expires` next to it.
pub(super) fn never_expires(file: &SourceText, at: Range<usize>, report: &mut Report) {
    let message = "`on_expire` says what happens when the inquiry expires, but there is no `expires`";
    report.error(Code::FieldOutOfPlace, file, at, message).hint("for example\nexpires: 24h");
}

/// Reads `on_expire`: `fail`, which returns no answer, or the answer that applies.
fn read_on_expire(fields: &mut FieldReader<'_>, has_expires: bool, report: &mut Report) -> Option<Node> {
    let file = fields.file;
    let YamlEntry { key, value } = fields.take("on_expire")?;
    if !has_expires {
        never_expires(file, key.span, report);
        return None;
    }
    match &value.content {
        Content::Text { value, .. } if value == "fail" => None,
        Content::Map(_) => FieldReader::open(value, &ON_EXPIRE, file, report)?.take_required("answer", report).map(|entry| entry.value),
        _ => {
            wrong_type(&value, "`on_expire`", "`fail` or an answer, `{ answer: { … } }`", file, report);
            None
        }
    }
}
