//! What tells the people whom a step asks: an execution of its own, for which neither the step nor the workflow waits.

use ensue_expression::{Budget, EVALUATION_STEPS_MAX, Value};

use crate::engine::Reaction;
use crate::executions::state::Execution;
use crate::fact::Fact;
use crate::ids::{ExecutionId, InquiryId};
use crate::inquiries::facts::{InquiryNotificationFailed, InquiryNotified, Occasion};
use crate::inquiries::question::Question;
use crate::inquiries::state::Inquiry;
use crate::record::{Draft, StreamId};
use crate::workflows::facts::PartOf;
use crate::workflows::react::{Going, Hindrance, Nth};
use crate::workflows::sight::Ends;

/// What people are told of.
pub(crate) struct Asked<'a> {
    /// The inquiry, as it stands now.
    pub(crate) inquiry: (InquiryId, &'a Inquiry),
    /// What it asks.
    pub(crate) question: &'a Question<'a>,
    /// What they are told of.
    pub(crate) of: Occasion,
}

impl Going<'_> {
    /// Gives the request of what tells people of an inquiry, and the record of it; none where the step says of nothing that does.
    pub(crate) fn notified(&self, asking: (ExecutionId, &Execution, &PartOf), asked: &Asked<'_>) -> Option<Reaction> {
        let (stream, execution, part_of) = asking;
        let (inquiry, of) = (asked.inquiry.0, asked.of);
        self.workflow.step(&part_of.step)?.notify.as_ref()?;
        let told = |fact: Fact| Draft {
            stream: StreamId::Execution(stream),
            cause: Some(execution.cause(self.record.id)),
            ..self.draft(fact, None)
        };
        Some(match self.notification(part_of, asked) {
            Ok(request) => match request.stream {
                StreamId::Execution(execution) => Reaction::last(vec![told(InquiryNotified { inquiry, execution, of }.into()), request]),
                _ => Reaction::nothing(),
            },
            Err(Hindrance::Fails(error)) => Reaction::last(vec![told(InquiryNotificationFailed { inquiry, of, error }.into())]),
            Err(Hindrance::Stuck(reaction)) => reaction,
        })
    }

    fn notification(&self, part_of: &PartOf, asked: &Asked<'_>) -> Result<Draft, Hindrance> {
        let step = self.workflow.step(&part_of.step);
        let Some((step, notify)) = step.and_then(|step| Some((step, step.notify.as_ref()?))) else {
            return Err(Reaction::Impossible(format!("nothing says what tells of the step `{}`", part_of.step)).into());
        };
        let items = self.state(&part_of.step).and_then(|state| state.items.as_ref());
        let element = match part_of.item.zip(items) {
            Some((item, items)) => Some((item, self.element(items, item)?)),
            None => None,
        };
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        let sight = self.sight(Ends { succeeded: true, failed: false }, &notify.with.reads())?;
        let scope = self.scope(&sight, &notify.with.expressions(), &mut budget)?;
        let mut scope = scope.with("inquiry", asked.value(&self.with.settings.inquiries_url));
        if let Some((index, element)) = &element {
            scope = scope.with("item", element.root()).with("index", Value::from(i64::from(*index)));
        }
        self.requested(step, Nth::Notification, &notify.action, &notify.with, &scope, &mut budget)
    }
}

impl Asked<'_> {
    /// Gives what expressions read as `inquiry`.
    fn value(&self, url: &str) -> Value<'static> {
        let (id, inquiry) = self.inquiry;
        let text = |text: &str| Value::from(text.to_owned());
        let assignees = inquiry.assignees.iter().map(|assignee| Value::from(assignee.to_string()));
        Value::map([
            ("id", Value::from(id.to_string())),
            ("title", text(&self.question.title)),
            ("text", text(self.question.text.as_deref().unwrap_or_default())),
            ("url", Value::from(format!("{url}{id}"))),
            ("assignees", Value::list(assignees)),
            ("expires_at", inquiry.expires_at.map_or(Value::Null, |at| Value::from(at.to_string()))),
            ("occasion", text(self.of.as_str())),
        ])
    }
}
