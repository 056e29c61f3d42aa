//! The notification of the people whom a step asks: a separate execution, for which neither the step nor the
//! workflow waits.

use ensue_expression::{Budget, EVALUATION_STEPS_MAX, Value};

use crate::catalog::{Notify, Step};
use crate::executions::state::Execution;
use crate::fact::Fact;
use crate::ids::{ExecutionId, Id, InquiryId, Role};
use crate::inquiries::facts::{InquiryNotificationFailed, InquiryNotified, Occasion};
use crate::inquiries::question::Question;
use crate::inquiries::state::Inquiry;
use crate::reaction::Reaction;
use crate::record::{Draft, StreamId};
use crate::workflows::facts::PartOf;
use crate::workflows::inputs::Ends;
use crate::workflows::run::Nth;
use crate::workflows::run::StepError;
use crate::workflows::run::WorkflowRun;

/// What people are notified about.
pub(crate) struct Asked<'a> {
    /// The inquiry in its current state.
    pub(crate) inquiry: (InquiryId, &'a Inquiry),
    /// Its question.
    pub(crate) question: &'a Question<'a>,
    /// The occasion of the notification.
    pub(crate) of: Occasion,
}

impl WorkflowRun<'_> {
    /// Returns the request of the execution that notifies people of an inquiry, and the record of it; `None`
    /// if the step has no notification.
    pub(crate) fn notified(&self, asking: (ExecutionId, &Execution, &PartOf), asked: &Asked<'_>) -> Option<Reaction> {
        let (stream, execution, part_of) = asking;
        let (inquiry, of) = (asked.inquiry.0, asked.of);
        let step = self.workflow.step(&part_of.step)?;
        let notify = step.notify.as_ref()?;
        let draft = |fact: Fact| Draft {
            stream: StreamId::Execution(stream),
            cause: Some(execution.cause(self.record.id)),
            ..self.draft(fact, None)
        };
        let teller = ExecutionId(Id::derived(self.state.log(), self.record.id, Role::Execution));
        Some(match self.notification(step, notify, teller, asked) {
            Ok(request) => Reaction::last(vec![draft(InquiryNotified { inquiry, execution: teller, of }.into()), request]),
            Err(StepError::Fails(error)) => Reaction::last(vec![draft(InquiryNotificationFailed { inquiry, of, error }.into())]),
            Err(StepError::Stuck(reaction)) => reaction,
        })
    }

    fn notification(&self, step: &Step, notify: &Notify, teller: ExecutionId, asked: &Asked<'_>) -> Result<Draft, StepError> {
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        let inputs = self.inputs(Ends { succeeded: true, failed: false }, &notify.with.reads())?;
        let scope = self.scope(&inputs, &notify.with.expressions(), &mut budget)?;
        let scope = scope.with("inquiry", asked.value(&self.with.settings.inquiries_url));
        self.requested(step, Nth::Notification(teller), &notify.action, &notify.with, &scope, &mut budget)
    }
}

impl Asked<'_> {
    /// Returns the value that expressions read as `inquiry`.
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
