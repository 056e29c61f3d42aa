//! `wait`: the event that a step waits for, and the time limit. `cancel_when`: the event that cancels a step.

use ensue_engine::catalog::{OnExpire, Since};

use super::inquiry::never_expires;
use super::timing::{Period, read_period};
use crate::diagnostics::Report;
use crate::fields::{FieldReader, text};
use crate::shape::{FieldConstraint, Form, Kind, Shape, optional_field, required_field, words};
use crate::source::SourceText;
use crate::yaml::{Node, WithSpan};

const SINCE: [(&str, Since); 2] = [("start", Since::Start), ("step", Since::Step)];
const ON_EXPIRE: [(&str, OnExpire); 2] = [("fail", OnExpire::Fail), ("succeed", OnExpire::Succeed)];
const ON_EXPIRE_WORDS: [&str; 2] = words(&ON_EXPIRE);
const SINCE_WORDS: [&str; 2] = words(&SINCE);

pub(super) static WAIT: Shape = Shape {
    what: "`wait`",
    fields: &[
        required_field("trigger", "trigger: github.workflow_run", Kind::Text(Form::Ref), "The kind of event: the ref of a trigger."),
        optional_field(
            "when",
            Kind::Expression,
            "What must be true for the event, which is `event` here. Without it, the first event of the trigger is accepted. An \
             expression with `event.payload.… == …` is found without trying all waiting steps.",
        ),
        optional_field(
            "expires",
            Kind::Text(Form::Period),
            "How long the step waits: `1h`. It may contain `${{ … }}`. By default, there is no limit.",
        ),
        optional_field(
            "on_expire",
            Kind::Choice(&ON_EXPIRE_WORDS),
            "How the step ends if no event came in time: `fail` (default), with an error of the kind `expired`; or `succeed`, with a \
                null `event`.",
        ),
        optional_field(
            "since",
            Kind::Choice(&SINCE_WORDS),
            "From when events count: `start` (default), from the beginning of the workflow; or `step`, from the beginning of the step, \
             whose `when` may then read the steps that it needs.",
        ),
    ],
    later: &[],
    between: &[FieldConstraint::OnlyBeside { field: "on_expire", other: "expires" }],
};

pub(super) static CANCEL_WHEN: Shape = Shape {
    what: "`cancel_when`",
    fields: &[
        required_field("trigger", "trigger: shop.refunded", Kind::Text(Form::Ref), "The kind of event: the ref of a trigger."),
        optional_field(
            "when",
            Kind::Expression,
            "What must be true for the event, which is `event` here. Without it, the first event of the trigger cancels the step.",
        ),
        optional_field(
            "since",
            Kind::Choice(&SINCE_WORDS),
            "From when events count: `start` (default), from the beginning of the workflow, so that one before the step skips it; or \
             `step`, from the beginning of the step, whose `when` may then read the steps that it needs.",
        ),
    ],
    ..Shape::BARE
};

/// The event that cancels a step.
pub(crate) struct CancelWhen {
    pub(crate) trigger: WithSpan<String>,
    pub(crate) when: Option<Node>,
    pub(crate) since: Since,
}

/// Reads `cancel_when`. Returns `None` if it has errors that have been reported.
pub(super) fn read_cancel_when(node: Node, file: &SourceText, report: &mut Report) -> Option<CancelWhen> {
    let mut fields = FieldReader::open(node, &CANCEL_WHEN, file, report)?;
    let when = fields.take("when").map(|entry| entry.value);
    let since = fields.choice("since", &SINCE, report).unwrap_or_default();
    let trigger = fields.take_required("trigger", report).and_then(|entry| text(entry.value, "`trigger`", file, report));
    Some(CancelWhen { trigger: trigger?, when, since })
}

/// The event that a step waits for.
pub(crate) struct Wait {
    pub(crate) trigger: WithSpan<String>,
    pub(crate) when: Option<Node>,
    pub(crate) expires: Option<Period>,
    pub(crate) on_expire: OnExpire,
    pub(crate) since: Since,
}

/// Reads the value of `wait`. Returns `None` if it has errors that have been reported.
pub(super) fn read_wait(node: Node, file: &SourceText, report: &mut Report) -> Option<Wait> {
    let mut fields = FieldReader::open(node, &WAIT, file, report)?;
    let when = fields.take("when").map(|entry| entry.value);
    let has_expires = fields.has("expires");
    let expires = read_period("expires", &mut fields, report);
    let on_expire = read_on_expire(&mut fields, has_expires, report);
    let since = fields.choice("since", &SINCE, report).unwrap_or_default();
    let trigger = fields.take_required("trigger", report).and_then(|entry| text(entry.value, "`trigger`", file, report));
    if has_expires && expires.is_none() {
        return None;
    }
    Some(Wait { trigger: trigger?, when, expires, on_expire, since })
}

fn read_on_expire(fields: &mut FieldReader<'_>, has_expires: bool, report: &mut Report) -> OnExpire {
    if fields.has("on_expire") && !has_expires {
        never_expires(fields.file, fields.key_of("on_expire"), report);
    }
    fields.choice("on_expire", &ON_EXPIRE, report).unwrap_or_default()
}
