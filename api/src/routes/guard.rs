//! A route that demands a proof of its caller: what happens before its handler and after it.
//!
//! The handler of each route has a type of its own. It is boxed here, so that what surrounds it is compiled once and not for each
//! route.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use ensue_engine::record::{CredentialId, Position};

use super::Handler;
use crate::addresses::Sender;
use crate::api::{Api, wanted_position};
use crate::as_of::ENSUE_AS_OF;
use crate::auth::{self, KnownCaller, Proof, Secrecy};
use crate::call::Call;
use crate::compression::Coding;
use crate::context::ENSUE_POSITION;
use crate::operation::{Operation, Sharing, WaitsFor};
use crate::ports::{Access, Holder, Refusals, RefusedLogin};
use crate::problem::{Outcome, Problem, RecordedRefusal};
use crate::quotas::Caller;
use crate::rates::{self, Class};
use crate::route::{Demand, is_keyed, is_write, shows_views};
use crate::shared_answers::{Question, WantedForm};
use crate::tags;

/// The outcome of a request that a handler works on.
pub(super) type PendingOutcome = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// Checks the caller of a request, and binds the handler to its proof.
type Admit = dyn Fn(&dyn Access, &Parts, &Secrecy) -> Result<AdmittedCall, Problem> + Send + Sync;

/// A caller that may make its request, and the handler of the request.
struct AdmittedCall {
    holder: Arc<Holder>,
    handle: Box<dyn FnOnce(Call) -> PendingOutcome + Send>,
}

/// A route with its handler.
pub(super) struct Guard {
    api: Arc<Api>,
    demands: Demand,
    operation: Operation,
    class: Class,
    may_be_keyed: bool,
    is_read: bool,
    is_write: bool,
    shows_views: bool,
    admit: Box<Admit>,
}

impl Guard {
    pub(super) fn new<A: Proof>(api: Arc<Api>, method: &Method, demands: Demand, operation: Operation, handler: impl Handler<A>) -> Self {
        let admit = move |access: &dyn Access, parts: &Parts, secrecy: &Secrecy| {
            let (proof, handler) = (A::demand(access, parts, secrecy)?, handler.clone());
            let holder = Arc::clone(proof.holder());
            Ok(AdmittedCall { holder, handle: Box::new(move |call| Box::pin(handler.handle(proof, call))) })
        };
        Self {
            api,
            demands,
            operation,
            class: if is_write(method) { Class::Writes } else { Class::Reads },
            may_be_keyed: is_keyed(method, &operation),
            is_read: method == Method::GET,
            is_write: is_write(method),
            shows_views: shows_views(method, &operation),
            admit: Box::new(admit),
        }
    }

    /// Answers a request.
    pub(super) async fn answer(&self, params: RawPathParams, request: Request) -> Outcome {
        let ports = &self.api.ports;
        let (mut parts, body) = request.into_parts();
        let sender = parts.extensions.get::<Sender>().map(|sender| sender.address);
        auth::verify(ports, &self.api.threads, &mut parts).await.inspect_err(|problem| note_refused(&*ports.refusals, problem, sender))?;
        let admitted = (self.admit)(&*ports.access, &parts, &secrecy(&params));
        let admitted = in_link(admitted, &self.api, &parts, (&self.operation, &params))
            .inspect_err(|problem| note_refused(&*ports.refusals, problem, sender))?;
        let holder = Arc::clone(&admitted.holder);
        ports.access.note_use(&holder.by);
        let caller = Caller::Token(holder.caller());
        let counted = self.api.rates.count(self.class, || caller.clone());
        let handled = async {
            counted.map_or(Ok(()), |standing| standing.demand())?;
            self.handle(admitted, caller, &params, Request::from_parts(parts, body)).await
        };
        let outcome = handled.await;
        if let Err(problem) = &outcome {
            match (problem.refusal(), self.demands) {
                (None, Demand::Permission { name, .. }) if problem.status() == StatusCode::FORBIDDEN => {
                    ports.refusals.note_denied(holder.actor(), name);
                }
                _ => note_refused(&*ports.refusals, problem, sender),
            }
        }
        rates::standing(counted, outcome)
    }

    /// Prepares a request of an admitted caller, and has it handled.
    async fn handle(&self, admitted: AdmittedCall, caller: Caller, params: &RawPathParams, request: Request) -> Outcome {
        let known: Vec<_> = match self.is_read {
            true => request.headers().get_all(header::IF_NONE_MATCH).iter().cloned().collect(),
            false => Vec::new(),
        };
        let mut call = Call::new(self.api.clone(), &self.operation, params, caller, request)?;
        if self.is_write {
            call.take_condition(self.operation.conditional)?;
        }
        if self.may_be_keyed {
            call.take_key(&admitted.holder).await?;
        }
        match self.operation.waits_for {
            WaitsFor::Views => call.see().await?,
            WaitsFor::Nothing | WaitsFor::NothingAtPosition => {}
        }
        call.take_as_of().await?;
        let as_of = call.as_of();
        // The views only move on, so whatever the handler reads is at this position or after it.
        let now = *call.api().ports.views_at.borrow();
        let is_shared = self.operation.sharing == Sharing::ByRights && as_of.is_none() && is_of_page(&admitted.holder, call.request());
        let (position, response) = match is_shared {
            true => self.answer_shared(admitted, call, (now, &known)).await?,
            false => (now, (admitted.handle)(call).await?),
        };
        let mut response = if self.is_read { tags::tag_answer(response, &known).await? } else { response };
        if self.shows_views && is_json_or_unchanged(&response) {
            response.headers_mut().insert(ENSUE_POSITION, HeaderValue::from(position.0));
        }
        if let Some(as_of) = as_of {
            response.headers_mut().insert(ENSUE_AS_OF, HeaderValue::from(as_of.0));
        }
        Ok(response)
    }

    /// Has a request handled, unless a caller with the same rights just got the answer to the same request.
    async fn answer_shared(
        &self,
        admitted: AdmittedCall,
        call: Call,
        (now, known): (Position, &[HeaderValue]),
    ) -> Result<(Position, Response<Body>), Problem> {
        let api = Arc::clone(&self.api);
        let target = call.request().uri.to_string();
        let wanted = wanted_position(call.headers())?;
        let form = WantedForm { known, coding: Coding::negotiate(&Method::GET, call.headers()) };
        let question = Question { target: &target, rights: &admitted.holder.rights, now, wanted };
        let answered = api.shared_answers.answer(&question, (admitted.handle)(call)).await?;
        Ok((answered.position, answered.render(form, &api.threads).await?))
    }
}

/// Reports whether a page reads the rows that changed. It has a session, and names the position that its stream of changes has reached.
/// Others name the position of their last write, and may have read more since. A list that is read from its start mostly has a cursor,
/// which is its caller's own.
fn is_of_page(holder: &Holder, request: &Parts) -> bool {
    let names_rows = request.uri.query().is_some_and(|query| query.split('&').any(|parameter| parameter.starts_with("id=")));
    matches!(holder.by, CredentialId::Session(_)) && names_rows
}

/// Restricts a caller with the session of a link to its inquiry. Nothing else tells it what else there is.
fn in_link(
    admitted: Result<AdmittedCall, Problem>,
    api: &Api,
    parts: &Parts,
    (operation, params): (&Operation, &RawPathParams),
) -> Result<AdmittedCall, Problem> {
    let demand = |holder: &Holder| auth::demand_in_link(holder, operation.links, params.iter().map(|(_, value)| value));
    match admitted {
        Ok(admitted) => demand(&admitted.holder).map(|()| admitted).map_err(Problem::from),
        Err(problem) => match KnownCaller::demand(&*api.ports.access, parts, &Secrecy::Open) {
            Ok(known) => Err(demand(known.holder()).err().map_or(problem, Problem::from)),
            Err(_) => Err(problem),
        },
    }
}

/// Reports a rejected caller.
pub(super) fn note_refused(refusals: &dyn Refusals, problem: &Problem, address: Option<IpAddr>) {
    match problem.refusal() {
        Some(RecordedRefusal::Request { caller, permission }) => refusals.note_denied(caller.clone(), permission),
        Some(RecordedRefusal::Token { identity }) => refusals.login_refused(RefusedLogin { way: "token", identity: *identity, address }),
        Some(RecordedRefusal::Certificate) => refusals.login_refused(RefusedLogin { way: "certificate", identity: None, address }),
        Some(RecordedRefusal::Password { identity }) => {
            refusals.login_refused(RefusedLogin { way: "password", identity: *identity, address })
        }
        None => {}
    }
}

/// Reports whether an answer is JSON, or reports that the caller has it already.
fn is_json_or_unchanged(response: &Response<Body>) -> bool {
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|media| media.as_bytes().ends_with(b"json"));
    response.status() == StatusCode::NOT_MODIFIED || (response.status() == StatusCode::OK && is_json)
}

/// Returns whether the name in a path must be hidden from callers that may not see such things.
fn secrecy(params: &RawPathParams) -> Secrecy {
    let names: Vec<&str> = params.iter().map(|(_, value)| value).collect();
    if names.is_empty() { Secrecy::Open } else { Secrecy::ThingNamed(names.join("/")) }
}
