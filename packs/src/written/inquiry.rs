//! `inquiry`: what people are asked, who they are, and how long there is time for an answer.

use std::time::Duration;

use ensue_engine::catalog::Schema;
use ensue_engine::inquiries::question::{ASSIGNEES_MAX, VETO_BYTES_MAX};

use super::action::read_some_time;
use crate::diagnostics::{Code, Report};
use crate::fields::{Fields, wrong_type};
use crate::schema;
use crate::shape::{Between, Form, Kind, Naming, Shape, optional, required};
use crate::source::SourceText;
use crate::yaml::{Content, Entry, Node};

pub(super) static INQUIRY: Shape = Shape {
    what: "`inquiry`",
    fields: &[
        required("title", "title: Ship ${{ params.version }}?", Kind::Text(Form::Any), "What is asked, in a line. It may hold `${{ … }}`."),
        optional("text", Kind::Text(Form::Any), "What else there is to say to those who are asked. It may hold `${{ … }}`."),
        required(
            "answer",
            "answer:\n  ship: boolean\n  note: string?",
            Kind::Schema(Naming::Ours),
            "What an answer has to look like: its fields by name, or a whole JSON Schema. Later steps read it as `steps.<name>.answer`.",
        ),
        required(
            "assignees",
            "assignees: role:release_managers",
            Kind::TextOrTexts(Form::Any),
            "Who may answer: `role:<role>` for all who have that role, or the name of a token; one, or a list. Each may hold `${{ … }}`, \
             also one that gives a list.",
        ),
        optional(
            "quorum",
            Kind::Integer { from: 1, to: ASSIGNEES_MAX as i64 },
            "How many different people must answer; one where nothing is said. The last of them is the step's `answer`.",
        ),
        optional("veto", Kind::Expression, "An expression over `answer`: where it holds, that one answer decides, whatever the quorum."),
        optional(
            "exclude",
            Kind::TextOrTexts(Form::Any),
            "Who may not answer though asked: `requester`, who asked for the outermost workflow, or the name of a token.",
        ),
        optional("expires", Kind::Text(Form::SomeTime), "How long there is time for an answer, `24h`. For ever where nothing is said."),
        optional(
            "on_expire",
            Kind::WordOrFields("fail", &ON_EXPIRE),
            "What becomes of it when time is over: `fail` (default), with an error of kind `expired`, or `{ answer: … }`, which then stands.",
        ),
    ],
    later: &[
        ("notify", "an action that tells those who are asked"),
        ("remind", "telling them again"),
        ("escalate", "asking others after a while"),
    ],
    between: &[Between::OnlyBeside { field: "on_expire", other: "expires" }],
};

static ON_EXPIRE: Shape = Shape {
    what: "`on_expire`",
    fields: &[required("answer", "answer: { ship: false }", Kind::Value, "The answer that stands. It may hold `${{ … }}`.")],
    later: &[],
    between: &[],
};

/// What people are asked.
pub(crate) struct Inquiry {
    pub(crate) title: Node,
    pub(crate) text: Option<Node>,
    /// Nothing where it has a mistake that has been told.
    pub(crate) answer: Option<Schema>,
    pub(crate) assignees: Vec<Node>,
    pub(crate) quorum: Option<i64>,
    pub(crate) veto: Option<Node>,
    pub(crate) exclude: Option<Vec<Node>>,
    pub(crate) expires: Option<Duration>,
    /// The answer that stands where nobody gave one.
    pub(crate) on_expire: Option<Node>,
}

/// Reads the value of `inquiry`; nothing where it has mistakes that have been told.
pub(super) fn read_inquiry(node: Node, file: &SourceText, report: &mut Report) -> Option<Inquiry> {
    let mut fields = Fields::open(node, &INQUIRY, file, report)?;
    let title = fields.take_required("title", report).map(|entry| entry.value);
    let text = fields.take("text").map(|entry| entry.value);
    let answer = fields.take_required("answer", report);
    let answer = answer.map(|entry| schema::read(entry.value, Naming::Ours, file, report));
    if !fields.has("assignees") {
        fields.take_required("assignees", report);
    }
    let assignees =
        fields.text_or_texts("assignees", ("`role:<role>` or the name of a token", "name somebody: nobody could answer"), report);
    let quorum = fields.integer("quorum", report);
    let veto = fields.take("veto").map(|entry| entry.value);
    let has_exclude = fields.has("exclude");
    let exclude = fields.text_or_texts("exclude", ("`requester` or the name of a token", "leave the line out where nobody is"), report);
    let has_expires = fields.has("expires");
    let expires = read_some_time("expires", &mut fields, report);
    let on_expire = read_on_expire(&mut fields, has_expires, report);
    for (node, name) in [(&title, "`title`"), (&text, "`text`")] {
        if let Some(node) = node
            && !matches!(node.content, Content::Text { .. } | Content::Poisoned)
        {
            wrong_type(node, name, "a text", file, report);
            return None;
        }
    }
    if let Some(Node { span, content: Content::Text { value, .. } }) = &veto
        && value.len() > VETO_BYTES_MAX
    {
        let message = format!("`veto` takes {} bytes, {VETO_BYTES_MAX} is the most", value.len());
        report.error(Code::InvalidValue, file, span.clone(), message).hint("say less in it");
        return None;
    }
    if (has_exclude && exclude.is_none()) || (has_expires && expires.is_none()) {
        return None;
    }
    Some(Inquiry { title: title?, text, answer: answer?, assignees: assignees?, quorum, veto, exclude, expires, on_expire })
}

/// Reads `fail`, which is nothing, or the answer that stands.
fn read_on_expire(fields: &mut Fields<'_>, has_expires: bool, report: &mut Report) -> Option<Node> {
    let file = fields.file;
    let Entry { key, value } = fields.take("on_expire")?;
    if !has_expires {
        report
            .error(
                Code::FieldOutOfPlace,
                file,
                key.span,
                "`on_expire` says what becomes of it when time is over, and there is no `expires`",
            )
            .hint("for example\nexpires: 24h");
        return None;
    }
    match &value.content {
        Content::Text { value, .. } if value == "fail" => None,
        Content::Map(_) => Fields::open(value, &ON_EXPIRE, file, report)?.take_required("answer", report).map(|entry| entry.value),
        _ => {
            wrong_type(&value, "`on_expire`", "`fail`, or an answer, `{ answer: { … } }`", file, report);
            None
        }
    }
}
