//! Actions: list them, show one, and run one by hand.

use ensue_views::RowReach;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ensue_engine::access::limit::Target;
use ensue_engine::catalog::{Action, Builtin, Misfit, Run};
use ensue_engine::command::{Answer, Ask, FirstAnswer, RequestExecution};
use ensue_engine::explain::Explain;
use ensue_engine::ids::ExecutionId;
use ensue_engine::inquiries::question::ANSWER;
use ensue_engine::names::ActionRef;
use ensue_engine::record::{Body, Position};
use ensue_engine::rules::judge::complete;
use ensue_expression::Document;
use ensue_packs::whole_schema;
use ensue_views::Execution;
use serde_json::Value;
use thiserror::Error;
use tokio::time::Instant;

use super::Routes;
use super::installed_packs::PackQuery;
use crate::api::Api;
use crate::auth::AllowedCaller;
use crate::call::Call;
use crate::execution_ends::EndState;
use crate::listing;
use crate::operation::{BodyPresence, Header, HonoredHeader, Operation, Takes, schema_of};
use crate::paging::PageQuery;
use crate::permissions::{ActionsExecute, ActionsRead, ExecutionsRead, Permission};
use crate::problem::{Missing, Outcome, Problem};
use crate::respond::{self, WriteOutcome};
use crate::routes::executions::{as_of, whole};
use crate::wire::actions::{WireAction, WireExecute};
use crate::wire::executions::WireExecution;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// The longest time that a caller can wait for an execution to end.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// How often the view is read while a request waits for an execution's end, in case that the end was not reported.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Parameters that do not match the action's schema.
#[derive(Debug, Error, Explain)]
#[error("the parameters do not fit the action `{0}`")]
#[explain(slug = "parameters-invalid", fault = Invalid, hint = "see its parameters with `ensue actions show {0}`")]
pub(super) struct ParametersMisfit(pub(super) ActionRef);

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.get::<ActionsRead>(
        "/actions",
        list,
        Operation::lists::<WireAction>("action_list", "Lists actions", &[PackQuery::PARAMETERS, PageQuery::PARAMETERS]),
    );
    routes.get::<ActionsRead>("/actions/{ref}", get, Operation::shows::<WireAction>("action_get", "Returns an action with its parameters"));
    routes.post::<ActionsExecute>(
        "/actions/{ref}/execute",
        execute,
        Operation::new("action_execute", "Runs an action")
            .can_be_tried()
            .honors(&[HonoredHeader::Prefer])
            .takes(Takes::Json {
                schema: schema_of::<WireExecute>,
                example: r#"{"params": {"message": "hi"}}"#,
                presence: BodyPresence::Optional,
            })
            .gives::<WireExecution>(202, "The execution was requested.", &[Header::Position, Header::Location, Header::PreferenceApplied])
            .gives::<WireExecution>(
                200,
                "The execution ended within the time that the caller preferred to wait.",
                &[Header::Position, Header::Location, Header::PreferenceApplied],
            )
            .refuses(&[(409, "chain_too_deep"), (422, "parameters_invalid"), (422, "labels_invalid")])
            .demands_admission(),
    );
}

/// Lists actions.
pub(super) async fn list(allowed: AllowedCaller<ActionsRead>, call: Call) -> Outcome {
    let catalog = call.api().ports.installed.current();
    let PackQuery { pack } = call.parameters()?;
    let of_pack = catalog.actions().values().filter(|action| pack.as_ref().is_none_or(|pack| action.name.pack().as_str() == pack));
    let of_pack = of_pack.filter(|action| allowed.includes(&Target::of_action(action.name.as_str())));
    let listed = listing::of_catalog(&call, &allowed, of_pack, |action| action.name.to_string())?;
    let items = listed.items.iter().map(|action| WireAction::for_list(action, &catalog)).collect();
    call.answer_page(items, listed.next.as_deref(), &listed.page)
}

/// Shows an action.
pub(super) async fn get(allowed: AllowedCaller<ActionsRead>, call: Call) -> Outcome {
    let name: ActionRef = call.parse_part("ref", ActionsRead::THING)?;
    allowed.demand_on(name.as_str(), &Target::of_action(name.as_str()))?;
    let catalog = call.api().ports.installed.current();
    let action = catalog.actions().get(&name).ok_or_else(|| Missing::new(ActionsRead::THING, name.as_str()))?;
    respond::json(&WireAction::whole(action, &catalog))
}

/// Runs an action: 202 with the execution, or, if the caller prefers to wait and it ends in time, 200 with the
/// ended execution.
pub(super) async fn execute(allowed: AllowedCaller<ActionsExecute>, mut call: Call) -> Outcome {
    let api = call.api().clone();
    let name: ActionRef = call.parse_part("ref", ActionsRead::THING)?;
    allowed.demand_on(name.as_str(), &Target::of_action(name.as_str()))?;
    if let Some((before, _)) = call.before().await? {
        return repeat_answer(call, &before).await;
    }
    let catalog = api.ports.installed.current();
    if !catalog.actions().contains_key(&name) {
        return Err(Missing::new(ActionsRead::THING, name.as_str()).into());
    }
    drop(catalog);
    call.admission()?;
    let given = call.json_or_nothing().await?;
    let request = request_of(&api, name, given).await?;
    request_execution(&allowed, call, request).await
}

/// Returns the request to run an action of the current catalog, with complete and valid parameters.
pub(super) async fn request_of(api: &Api, name: ActionRef, given: WireExecute) -> Result<RequestExecution, Problem> {
    let WireExecute { params, template, labels, start_at } = given;
    let catalog = api.ports.installed.current();
    let action = catalog.actions().get(&name).ok_or_else(|| Missing::new(ActionsRead::THING, name.as_str()))?;
    let params = match params {
        None => Value::Object(serde_json::Map::new()),
        Some(params) => serde_json::from_str(params.get()).map_err(|why| Problem::bug(&why))?,
    };
    let params = match template {
        Some(template) => over_template(action, &template, params)?,
        None => params,
    };
    let params = complete(&action.parameters, Document::from_value(&params))
        .map_err(|misfits| Problem::from(ParametersMisfit(name.clone())).with_errors(misfits))?;
    if matches!(action.run, Run::Builtin(Builtin::Inquiry)) {
        let (asking, params) = (action.clone(), params.clone());
        if let Some(misfit) = api.threads.checking(move || unanswerable(&asking, &params)).await? {
            return Err(Problem::from(ParametersMisfit(name)).with_errors([misfit]));
        }
    }
    Ok(RequestExecution {
        action: name,
        definition: action.clone(),
        catalog: catalog.revision(),
        body: Body::json(params.bytes().clone()),
        params,
        start_at,
        labels,
        rerun: None,
    })
}

/// Requests an execution, or only checks the request in a dry run, and responds with the execution.
pub(super) async fn request_execution<P: Permission>(allowed: &AllowedCaller<P>, mut call: Call, request: RequestExecution) -> Outcome {
    let api = call.api().clone();
    if call.is_dry_run()? {
        return call.check(call.on_behalf(allowed)?, Ask::RequestExecution(request)).await;
    }
    let committed = api.submit(call.on_behalf(allowed)?, Ask::RequestExecution(request)).await?;
    call.let_go();
    match committed.answer {
        Answer::Execution(execution) => answer(&call, execution, committed.position).await,
        Answer::Before(before) => answer(&call, asked_before(&before)?, committed.position).await,
        other => Err(Problem::bug(&format!("a request for an execution was answered with {other:?}"))),
    }
}

/// Responds as before to a request that was sent again.
pub(super) async fn repeat_answer(mut call: Call, before: &FirstAnswer) -> Outcome {
    call.let_go();
    answer(&call, asked_before(before)?, before.position).await
}

/// Merges parameters over those of a template.
fn over_template(action: &Action, name: &str, params: Value) -> Result<Value, Problem> {
    let Some(template) = action.templates.get(name) else {
        let known: Vec<String> = action.templates.keys().map(|name| format!("`{name}`")).collect();
        let message = match known.is_empty() {
            true => "the action has no templates".to_owned(),
            false => format!("is not one of the action's templates, which are {}", known.join(", ")),
        };
        let misfit = Misfit { pointer: "/template".to_owned(), message };
        return Err(Problem::from(ParametersMisfit(action.name.clone())).with_errors([misfit]));
    };
    Ok(match params {
        Value::Object(given) => Value::Object(template.clone().into_iter().chain(given).collect()),
        // Anything that is not an object matches no schema, and is reported as such.
        other => other,
    })
}

/// Returns the error in the answer schema of an inquiry that is about to be requested: the core does not know
/// schemas and would open an inquiry that nobody can answer.
pub(super) fn unanswerable(action: &Action, params: &Document) -> Option<Misfit> {
    let Run::Builtin(Builtin::Inquiry) = action.run else { return None };
    let wrong = whole_schema(params.root().get(ANSWER)?.to_value()).err()?;
    Some(Misfit { pointer: format!("/{ANSWER}{}", wrong.pointer), ..wrong })
}

/// Returns the execution that the first request of a key requested. The path is a part of the request, so there
/// is one.
pub(super) fn asked_before(before: &FirstAnswer) -> Result<ExecutionId, Problem> {
    before.execution.ok_or_else(|| Problem::bug(&format!("the request at position {} is not for an execution", before.position)))
}

/// Returns how long a caller prefers to wait: `Prefer: wait=30` (RFC 7240 §4.3). A malformed header counts as
/// no preference.
fn preferred_wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences = headers.get_all(&PREFER).iter().filter_map(|value| value.to_str().ok()).flat_map(|text| text.split([',', ';']));
    let seconds =
        preferences.filter_map(|preference| preference.trim().strip_prefix("wait=")).find_map(|seconds| seconds.trim().parse().ok())?;
    Some(Duration::from_secs(seconds).min(WAIT_MAX))
}

/// Responds that an execution was requested: the request is in the log, and nothing that is read afterwards may
/// suggest otherwise.
pub(super) async fn answer(call: &Call, id: ExecutionId, position: Position) -> Outcome {
    let (api, wait) = (call.api(), preferred_wait(call.headers()));
    let shown = match wait {
        // A repeat of the request must find it as it was.
        None if call.is_keyed() => None,
        Some(wait) => at_its_end(api, id, position, wait).await.ok(),
        None if api.see_position(position).await.is_err() => None,
        None => api.row::<Execution>(id.to_string(), ExecutionsRead::THING, RowReach::Everything).await.ok(),
    };
    let execution = match shown {
        Some(execution) => execution,
        None => as_of(api, id, position).await?,
    };
    let is_over = wait.is_some() && execution.status.is_end();
    let listed = execution.clone();
    let wire = match api.threads.blocking(move |ports| whole(ports, execution)).await {
        Ok(Ok(wire)) => wire,
        Ok(Err(_)) | Err(_) => WireExecution::for_list(listed),
    };
    let mut response = respond::answer_write(if is_over { WriteOutcome::Done } else { WriteOutcome::Accepted }, position, &wire)?;
    if let Some(wait) = wait {
        let applied = HeaderValue::from_str(&format!("wait={}", wait.as_secs())).map_err(|why| Problem::bug(&why))?;
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    Ok(respond::with_location(response, &format!("{}/executions/{id}", crate::route::BASE)))
}

/// Returns an execution that was requested at a position: once it has ended, or as it is when the time is up or the
/// node stops.
pub(super) async fn at_its_end(api: &Arc<Api>, id: ExecutionId, requested: Position, wait: Duration) -> Result<Execution, Problem> {
    let deadline = Instant::now() + wait;
    let mut awaited = api.ports.ends.wait(id);
    let mut look_at = match awaited.end_state() {
        EndState::Ended(at) | EndState::Unsure(at) => Some(at.max(requested)),
        EndState::Open => None,
    };
    loop {
        // If the views lag, they may still reach the end in time.
        if let Some(position) = look_at
            && tokio::select! {
                biased;
                () = api.stopping.wait() => false,
                () = tokio::time::sleep_until(deadline) => false,
                seen = api.see_position(position) => seen.is_ok(),
            }
        {
            let execution: Execution = api.row(id.to_string(), ExecutionsRead::THING, RowReach::Everything).await?;
            if execution.status.is_end() {
                return Ok(execution);
            }
        }
        look_at = tokio::select! {
            biased;
            () = api.stopping.wait() => None,
            () = tokio::time::sleep_until(deadline) => None,
            at = awaited.await_end() => Some(at.max(requested)),
            () = tokio::time::sleep(LOOK_EVERY) => Some(requested),
        };
        if look_at.is_none() {
            api.saw_position(requested)?;
            return api.row(id.to_string(), ExecutionsRead::THING, RowReach::Everything).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preferred_seconds(text: &'static str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(PREFER, HeaderValue::from_static(text));
        preferred_wait(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn prefer_wait_is_parsed_and_limited() {
        assert_eq!(preferred_seconds("wait=30"), Some(30));
        assert_eq!(preferred_seconds("respond-async, wait=5"), Some(5));
        assert_eq!(preferred_seconds("wait=99999"), Some(60));
        for none in ["wait=-1", "wait=soon", "respond-async", ""] {
            assert_eq!(preferred_seconds(none), None, "{none}");
        }
    }
}
