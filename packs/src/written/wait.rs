//! `wait`: for which event a step waits, and how long.

use std::time::Duration;

use ensue_engine::catalog::Since;

use super::action::read_some_time;
use crate::diagnostics::Report;
use crate::fields::{Fields, text};
use crate::shape::{Form, Kind, Shape, optional, required, words};
use crate::source::SourceText;
use crate::yaml::{Node, Spanned};

const SINCE: [(&str, Since); 2] = [("start", Since::Start), ("step", Since::Step)];
const SINCE_WORDS: [&str; 2] = words(&SINCE);

pub(super) static WAIT: Shape = Shape {
    what: "`wait`",
    fields: &[
        required("trigger", "trigger: github.workflow_run", Kind::Text(Form::Ref), "Of which kind the event is: the ref of a trigger."),
        optional(
            "when",
            Kind::Expression,
            "What must hold for the event, which is `event` here. Without it, the first event of the trigger is it. One with `event.payload.… == …` \
             is found without trying all that wait.",
        ),
        optional("expires", Kind::Text(Form::SomeTime), "How long the step waits, `1h`; then it fails. For ever where nothing is said."),
        optional(
            "since",
            Kind::Choice(&SINCE_WORDS),
            "From when on events count: `start` (default), from the workflow's beginning; or `step`, from the step's, whose `when` may read the steps \
             that it needs.",
        ),
    ],
    later: &[],
    between: &[],
};

/// What a step waits for.
pub(crate) struct Wait {
    pub(crate) trigger: Spanned<String>,
    pub(crate) when: Option<Node>,
    pub(crate) expires: Option<Duration>,
    pub(crate) since: Since,
}

/// Reads the value of `wait`; nothing where it has mistakes that have been told.
pub(super) fn read_wait(node: Node, file: &SourceText, report: &mut Report) -> Option<Wait> {
    let mut fields = Fields::open(node, &WAIT, file, report)?;
    let when = fields.take("when").map(|entry| entry.value);
    let has_expires = fields.has("expires");
    let expires = read_some_time("expires", &mut fields, report);
    let since = fields.choice("since", &SINCE, report).unwrap_or_default();
    let trigger = fields.take_required("trigger", report).and_then(|entry| text(entry.value, "`trigger`", file, report));
    if has_expires && expires.is_none() {
        return None;
    }
    Some(Wait { trigger: trigger?, when, expires, since })
}
