//! Running several actions in one request, with a result for each.
//!
//! Each execution is requested by its own command, as if it had been requested alone: some may be refused while
//! others are requested. The commands share commits.

use std::sync::Arc;

use ensue_engine::access::limit::Target;
use ensue_engine::command::{Answer, Ask};
use ensue_engine::explain::Explain;
use ensue_engine::ids::ExecutionId;
use ensue_engine::record::{Digest, Position};
use futures_util::{StreamExt as _, stream};
use thiserror::Error;

use super::Routes;
use super::actions::{asked_before, request_of};
use crate::api::Api;
use crate::auth::AllowedCaller;
use crate::body::{self, BodyRefusal};
use crate::call::Call;
use crate::item_lists::{Items, is_list};
use crate::operation::{BodyPresence, Header, Operation, Takes, schema_of};
use crate::permissions::ActionsExecute;
use crate::ports::OnBehalf;
use crate::problem::{Outcome, Problem};
use crate::respond::{self, WriteOutcome};
use crate::wire::actions::{EXECUTIONS_MAX, WireRequest, WireRequests};
use crate::wire::bulk::{WireRefused, WireRequested, WireRequestedList};

/// How many commands are submitted at once: they share commits.
const AT_ONCE: usize = 16;

/// A list has too many items.
#[derive(Debug, Error, Explain)]
#[error("the list has {given} executions; the limit for one request is {EXECUTIONS_MAX}")]
#[explain(slug = "too-many-executions", fault = TooLarge, hint = "request them in several requests")]
struct TooMany {
    /// The length of the list.
    given: usize,
}

/// Declares the route of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.post::<ActionsExecute>(
        "/executions",
        run,
        Operation::new("executions_request", "Runs several actions, with an outcome for each")
            .can_be_tried()
            .takes(Takes::Json {
                schema: schema_of::<WireRequests>,
                example: r#"[{"action": "core.echo", "params": {"message": "hi"}}]"#,
                presence: BodyPresence::Required,
            })
            .gives::<WireRequestedList>(200, "The outcome for each item, in the order of the list.", &[Header::Position])
            .refuses(&[(413, "too_many_executions")])
            .demands_admission(),
    );
}

/// Runs the actions of a list, and answers with the outcome for each, in their order.
pub(super) async fn run(allowed: AllowedCaller<ActionsExecute>, mut call: Call) -> Outcome {
    // Another request may have had the key. Each item is remembered under a key of its own.
    call.before().await?;
    call.admission()?;
    body::demand_json(call.headers())?;
    let body = call.bytes().await?;
    let text = body::strict(&body)?;
    if !is_list(&body) {
        return Err(BodyRefusal::OfOtherShape("the body must be a list".to_owned()).into());
    }
    let Items { first, given } = Items::<EXECUTIONS_MAX>::of(text)?;
    if given > EXECUTIONS_MAX {
        return Err(TooMany { given }.into());
    }
    let mut items = Vec::with_capacity(first.len());
    for (index, text) in (0_u32..).zip(first) {
        let request: WireRequest = body::parse_part(&format!("/{index}"), text.get())?;
        items.push(ListItem { index, content: Digest::of(text.get().as_bytes()), request });
    }
    let list = Arc::new(ListRequest { api: call.api().clone(), by: call.on_behalf(&allowed)?, is_dry: call.is_dry_run()?, allowed });
    let each = stream::iter(items).map(move |item| outcome_of(list.clone(), item));
    answer_list(each.buffered(AT_ONCE).collect().await)
}

fn answer_list(items: Vec<WireRequested>) -> Outcome {
    match items.iter().filter_map(|item| item.position).max() {
        Some(position) => respond::answer_write(WriteOutcome::Done, position, &WireRequestedList { items }),
        None => respond::json(&WireRequestedList { items }),
    }
}

/// An item of the list.
struct ListItem {
    index: u32,
    /// The hash of its text.
    content: Digest,
    request: WireRequest,
}

/// What the items of a request have in common.
struct ListRequest {
    api: Arc<Api>,
    by: OnBehalf,
    allowed: AllowedCaller<ActionsExecute>,
    is_dry: bool,
}

/// Returns what became of an item.
async fn outcome_of(list: Arc<ListRequest>, item: ListItem) -> WireRequested {
    match list.request(item).await {
        Ok(requested) => {
            let (execution, position) = requested.unzip();
            WireRequested { execution, position, error: None }
        }
        Err(problem) => WireRequested { execution: None, position: None, error: Some(WireRefused::from(&problem)) },
    }
}

impl ListRequest {
    /// Requests the execution of an item; `None` in a dry run.
    async fn request(&self, item: ListItem) -> Result<Option<(ExecutionId, Position)>, Problem> {
        let ListItem { index, content, request } = item;
        let (action, options) = request.into_parts();
        self.allowed.demand_on(action.as_str(), &Target::of_action(action.as_str()))?;
        let ask = Ask::RequestExecution(request_of(&self.api, action, options).await?);
        if self.is_dry {
            self.api.submit(OnBehalf { request: None, ..self.by.clone() }, Ask::Check(Box::new(ask))).await?;
            return Ok(None);
        }
        let request = self.by.request.as_ref().map(|request| request.of_item(index, content));
        let committed = self.api.submit(OnBehalf { request, ..self.by.clone() }, ask).await?;
        match committed.answer {
            Answer::Execution(execution) => Ok(Some((execution, committed.position))),
            Answer::Before(before) => Ok(Some((asked_before(&before)?, before.position))),
            other => Err(Problem::bug(&format!("a request for an execution was answered with {other:?}"))),
        }
    }
}
