//! What the routes of logins share: where a login comes from, and how it is counted and refused.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{HeaderMap, Response, header};
use ensue_engine::ids::SessionId;
use ensue_engine::ports::Secret;
use ensue_engine::record::CredentialId;

use crate::addresses::{Sender, network_of};
use crate::call::Call;
use crate::cookies;
use crate::ports::{Holder, LoginFrom, PasswordAttempt, RefusalNote, RefusedAttempt, SessionForm};
use crate::problem::{Problem, RecordedRefusal};
use crate::quotas::Caller;

/// The maximum number of characters that are stored of the program that logs in.
const AGENT_CHARS_MAX: usize = 100;

/// Returns where a login comes from.
pub(super) fn from(call: &Call, form: SessionForm) -> LoginFrom {
    LoginFrom { form, agent: agent(call.headers()), address: address(call), trace: Some(call.context().recorded_trace()) }
}

/// Returns the address of the sender.
pub(super) fn address(call: &Call) -> Option<IpAddr> {
    call.request().extensions.get::<Sender>().map(|sender| sender.address)
}

/// Returns the session of a holder, if it came by one.
pub(super) fn current(holder: &Holder) -> Option<SessionId> {
    match holder.by {
        CredentialId::Session(id) => Some(id),
        CredentialId::Token(_) | CredentialId::Issuer(_) | CredentialId::Code(_) | CredentialId::Execution(_) => None,
    }
}

/// Returns the network of the sender, by which its attempts are counted.
pub(super) fn network(call: &Call) -> Caller {
    call.request().extensions.get::<Sender>().map_or(Caller::Nobody, |sender| Caller::Address(network_of(sender.address)))
}

/// Returns the name of the program that sent a request, in a few words.
pub(super) fn agent(headers: &HeaderMap) -> String {
    let text = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    text.chars().take(AGENT_CHARS_MAX).collect()
}

/// Marks an answer as one that nobody may store.
pub(super) fn private(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CACHE_CONTROL, axum::http::HeaderValue::from_static("no-store"));
    response
}

/// Returns an attempt with what the request says about the device.
pub(super) fn attempt_of(
    call: &Call,
    name: String,
    (password, otp): (Secret, Option<Secret>),
    session: Option<SessionId>,
) -> PasswordAttempt {
    PasswordAttempt { name, password, otp, address: address(call), device: cookies::device(call.headers()), session }
}

/// Returns the problem of an attempt that did not succeed, with what is recorded of it.
pub(super) fn problem_of(refused: RefusedAttempt) -> Problem {
    let RefusedAttempt { declined, noted, retry_after } = refused;
    let problem = Problem::from(declined);
    let problem = match retry_after {
        Some(period) => problem.retry_after(period),
        None => problem,
    };
    match noted {
        RefusalNote::Refused(identity) => problem.refusing(RecordedRefusal::Password { identity }),
        RefusalNote::Nothing => problem,
    }
}
