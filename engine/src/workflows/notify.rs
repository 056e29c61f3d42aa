//! The notification of the people whom a step asks: a separate execution, for which neither the step nor the
//! workflow waits.

use ensue_expression::{Budget, EVALUATION_STEPS_MAX, Path, Value};

use crate::catalog::{Notify, Step};
use crate::executions::facts::WantedLink;
use crate::executions::state::Execution;
use crate::fact::Fact;
use crate::ids::{ExecutionId, Id, InquiryId, Role};
use crate::inquiries::facts::{Assignee, InquiryNotificationFailed, InquiryNotified, Occasion};
use crate::inquiries::question::Question;
use crate::inquiries::state::Inquiry;
use crate::reaction::Reaction;
use crate::record::{Draft, StreamId};
use crate::workflows::facts::PartOf;
use crate::workflows::inputs::Ends;
use crate::workflows::run::Nth;
use crate::workflows::run::StepError;
use crate::workflows::run::WorkflowRun;

/// The name under which parameters read the inquiry.
const INQUIRY: &str = "inquiry";
/// Its field for the link.
const LINK: &str = "link";

/// What people are notified about.
pub(crate) struct InquiryNotice<'a> {
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
    pub(crate) fn notify_people(&self, asking: (ExecutionId, &Execution, &PartOf), asked: &InquiryNotice<'_>) -> Option<Reaction> {
        let (stream, execution, part_of) = asking;
        let (inquiry, of) = (asked.inquiry.0, asked.of);
        let step = self.workflow.step(&part_of.step)?;
        let notify = step.notify.as_ref()?;
        let draft = |fact: Fact| Draft {
            stream: StreamId::Execution(stream),
            cause: Some(execution.cause(self.record.id)),
            ..self.draft(fact, None)
        };
        let teller = ExecutionId(Id::derive(self.state.log(), self.record.id, Role::Execution));
        Some(match self.notification(step, notify, teller, asked) {
            Ok(request) => Reaction::last(vec![draft(InquiryNotified { inquiry, execution: teller, of }.into()), request]),
            Err(StepError::Fails(error)) => Reaction::last(vec![draft(InquiryNotificationFailed { inquiry, of, error }.into())]),
            Err(StepError::Stuck(reaction)) => reaction,
        })
    }

    fn notification(&self, step: &Step, notify: &Notify, teller: ExecutionId, asked: &InquiryNotice<'_>) -> Result<Draft, StepError> {
        let mut budget = Budget::steps(EVALUATION_STEPS_MAX);
        let inputs = self.inputs_of(step, Ends { succeeded: true, failed: false }, notify.with.reads())?;
        let scope = self.scope_of(step, &inputs, &notify.with.expressions(), &mut budget)?;
        let url = format!("{}{}", self.with.settings.inquiries_url, asked.inquiry.0);
        let link = asked.link(&url, teller).filter(|_| reads_link(notify));
        let scope = scope.with(INQUIRY, asked.value(&url, link.as_ref()));
        let mut request = self.request_step(step, Nth::Notification(teller), &notify.action, &notify.with, &scope, &mut budget)?;
        if let Fact::ExecutionRequested(fact) = &mut request.fact {
            fact.link = link.map(Box::new);
        }
        Ok(request)
    }
}

/// Returns true if the parameters of a notification may read the link.
fn reads_link(notify: &Notify) -> bool {
    let names =
        |path: &Path| path.segments.first().is_some_and(|root| root == INQUIRY) && path.segments.get(1).is_none_or(|field| field == LINK);
    notify.with.reads().iter().any(names)
}

impl InquiryNotice<'_> {
    /// Returns the link that the notification may contain; `None` unless the inquiry asks exactly one person.
    ///
    /// Nobody knows the id of the notification before it is requested, so no text from outside can name the place.
    fn link(&self, url: &str, teller: ExecutionId) -> Option<WantedLink> {
        let (id, inquiry) = self.inquiry;
        let [Assignee::Token(name)] = inquiry.assignees.as_slice() else { return None };
        let place = format!("{url}#link-{teller}");
        Some(WantedLink { inquiry: id, r#for: name.clone(), digest: inquiry.digest, until: inquiry.expires_at, place })
    }

    /// Returns the value that expressions read as `inquiry`.
    fn value(&self, url: &str, link: Option<&WantedLink>) -> Value<'static> {
        let (id, inquiry) = self.inquiry;
        let text = |text: &str| Value::from(text.to_owned());
        let assignees = inquiry.assignees.iter().map(|assignee| Value::from(assignee.to_string()));
        Value::map([
            ("id", Value::from(id.to_string())),
            ("title", text(&self.question.title)),
            ("text", text(self.question.text.as_deref().unwrap_or_default())),
            ("url", text(url)),
            (LINK, text(link.map_or(url, |link| &link.place))),
            ("assignees", Value::list(assignees)),
            ("expires_at", inquiry.expires_at.map_or(Value::Null, |at| Value::from(at.to_string()))),
            ("occasion", text(self.of.as_str())),
        ])
    }
}
