//! Logins of terminals without a browser: a person approves them elsewhere, with a code (RFC 8628).

use axum::http::{Method, StatusCode, header};
use ensue_engine::access::state::Access;
use ensue_engine::explain::Explain;
use ensue_engine::ports::Secret;
use ensue_engine::record::CredentialId;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;

use super::Routes;
use super::login_attempts::{agent, network, private};
use super::logins::start_of;
use super::sessions::open_session;
use crate::addresses::Sender;
use crate::auth::{AuthRefusal, KnownCaller, Proof as _};
use crate::call::Call;
use crate::cookies;
use crate::html::{self, HTML, HtmlForm, escape_html};
use crate::operation::{Content, Operation, WRITTEN};
use crate::ports::{
    AtIssuer, BegunDevice, CodeNotFound, DeviceDecision, Holder, LoginOf, SessionEnds, SessionForm, SessionSecret, WaitingDevice,
};
use crate::problem::{Missing, Outcome, Problem};
use crate::rates::{self, Class};
use crate::respond::{self, WriteOutcome};
use crate::route::Public;
use crate::wire::devices::{WireBegunDevice, WireDeviceAnswer, WireDeviceDecision, WirePolledDevice, WireUserCode, WireWaitingDevice};
use crate::wire::sessions::WirePair;

/// What such a resource is called if it is missing.
const THING: &str = "terminal that waits under the code";
/// The answer of a person who approves a terminal.
const APPROVED: &str = "approve";

/// The caller cannot pass on its rights to a terminal.
#[derive(Debug, Error, Explain)]
#[error("a terminal can be approved with a token or a session, but not with a token of an issuer or an answer link")]
#[explain(slug = "forbidden", fault = Forbidden, hint = "log in with `ensue login`, or in a browser, and approve it there")]
struct CannotPassOn;

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    const CODE: &str = r#"{"user_code": "WDJB-MJHT"}"#;
    routes.public(
        Public::BeginDevice,
        begin,
        Operation::new("device_begin", "Begins a login of a terminal, which a person approves elsewhere (RFC 8628)")
            .takes(crate::operation::Takes::Empty)
            .gives::<WireBegunDevice<'static>>(200, "The codes.", &[])
            .refuses(&[(403, "device_logins_off"), (403, "insecure_transport"), (429, "rate_limited"), (503, "busy")]),
    );
    routes.public(
        Public::PollDevice,
        poll,
        Operation::new(
            "device_poll",
            "Returns the tokens of a terminal, once after its approval. Until then, the problem's code says what to do",
        )
        .takes_json::<WirePolledDevice>(r#"{"device_code": "0000"}"#)
        .gives::<WirePair<'static>>(200, "The session is open.", WRITTEN)
        .refuses(&[
            (400, "authorization_pending"),
            (400, "slow_down"),
            (400, "expired_token"),
            (400, "access_denied"),
            (401, "token_invalid"),
            (403, "insecure_transport"),
            (409, "limit_reached"),
        ]),
    );
    routes.for_any_caller(
        Method::POST,
        "/auth/device/look_up",
        look_up,
        Operation::new("device_look_up", "Shows the terminal of a code, before the caller decides about it")
            .takes_json::<WireUserCode>(CODE)
            .passes_keys_over()
            .gives::<WireWaitingDevice>(200, "The terminal.", &[])
            .refuses(&[(404, "not_found"), (429, "rate_limited")]),
    );
    routes.for_any_caller(
        Method::POST,
        "/auth/device/decide",
        decide,
        Operation::new("device_decide", "Approves a terminal, which then may do what the caller may do, or denies it")
            .takes_json::<WireDeviceDecision>(r#"{"user_code": "WDJB-MJHT", "decision": "approve"}"#)
            .passes_keys_over()
            .gives_content(204, "The terminal learns the decision.", Content::Nothing, &[])
            .refuses(&[(403, "forbidden"), (404, "not_found"), (429, "rate_limited")]),
    );
    routes.public(
        Public::DevicePage,
        ask,
        Operation::new("device_page_get", "Returns the page where people type the code of a terminal").gives_content(
            200,
            "The page.",
            Content::Text(&[HTML]),
            &[],
        ),
    );
    routes.public(
        Public::DeviceForm,
        answer,
        Operation::new("device_page_send", "Takes the form of that page: a code, and then the decision")
            .gives_content(200, "The next page.", Content::Text(&[HTML]), &[])
            .refuses(&[
                (400, "doubled_authorization"),
                (401, "session_unknown"),
                (401, "unauthenticated"),
                (403, "forbidden"),
                (403, "insecure_transport"),
                (403, "origin_refused"),
                (404, "not_found"),
                (415, "unsupported_media_type"),
                (429, "rate_limited"),
            ]),
    );
}

/// Begins a login of a terminal.
pub(super) async fn begin(mut call: Call) -> Outcome {
    let standing = call.api().rates.count(Class::Logins, || network(&call));
    let asked = async {
        standing.map_or(Ok(()), |standing| standing.demand())?;
        cookies::demand_private(call.request())?;
        call.json_or_nothing::<crate::call::Nothing>().await?;
        let terminal = WaitingDevice {
            address: call.request().extensions.get::<Sender>().map(|sender| sender.address),
            agent: agent(call.headers()),
            asked_at: call.api().ports.access.now(),
        };
        let BegunDevice { device_code, user_code, valid_for, interval } = call.api().ports.devices.begin(terminal)?;
        let shown = WireBegunDevice {
            device_code: std::str::from_utf8(device_code.reveal()).map_err(|why| Problem::bug(&why))?,
            user_code: &user_code,
            verification_uri: format!("{}{}", call.api().settings.base_url, Public::DevicePage.path()),
            expires_in: valid_for.as_secs(),
            interval: interval.as_secs(),
        };
        Ok(private(respond::json(&shown)?))
    };
    let outcome = asked.await;
    rates::standing(standing, outcome)
}

/// Opens the session of a terminal that was approved.
pub(super) async fn poll(mut call: Call) -> Outcome {
    cookies::demand_private(call.request())?;
    let WirePolledDevice { device_code } = call.json().await?;
    let redeemed = call.api().ports.devices.poll(&device_code.0)?;
    let session = open_session(&call, redeemed, SessionForm::Pair).await?;
    let SessionSecret::Pair(pair) = &session.secret else { return Err(Problem::bug(&"a session of a program has no tokens")) };
    let shown = WirePair::new(pair).map_err(|why| Problem::bug(&why))?;
    Ok(private(respond::answer_write(WriteOutcome::Done, session.committed.position, &shown)?))
}

/// Shows the terminal of a code.
pub(super) async fn look_up(known: KnownCaller, mut call: Call) -> Outcome {
    let WireUserCode { user_code } = call.json().await?;
    let found = call.api().ports.devices.look_up(&user_code, &known.caller());
    respond::json(&WireWaitingDevice::from(found.map_err(|why| not_found(why, &user_code))?))
}

/// Decides about the terminal of a code.
pub(super) async fn decide(known: KnownCaller, mut call: Call) -> Outcome {
    let WireDeviceDecision { user_code, decision } = call.json().await?;
    record_decision(&call, known.holder(), &user_code, decision)?;
    Ok(respond::nothing())
}

fn record_decision(call: &Call, holder: &Holder, user_code: &str, decision: WireDeviceAnswer) -> Result<(), Problem> {
    let decision = match decision {
        WireDeviceAnswer::Approve => approval_by(holder, &call.api().ports.access.directory()).ok_or(CannotPassOn)?,
        WireDeviceAnswer::Deny => DeviceDecision::Deny,
    };
    call.api().ports.devices.decide(user_code, &holder.caller(), decision).map_err(|why| not_found(why, user_code))
}

/// Returns the approval of a terminal by a caller. The terminal may not do more than the caller, and not for longer, and its
/// session names the login link of the caller's.
fn approval_by(holder: &Holder, directory: &Access) -> Option<DeviceDecision> {
    match &holder.by {
        _ if holder.only.is_some() => None,
        CredentialId::Token(id) => {
            let ends = SessionEnds { by: holder.until, with: None };
            Some(DeviceDecision::Approve { of: LoginOf::Token(*id), link: None, ends })
        }
        CredentialId::Session(id) => {
            let session = directory.session(id)?;
            let of = session.credential.map(LoginOf::Token).or(session.identity.map(LoginOf::Identity))?;
            let ends = SessionEnds { by: Some(session.until), with: Some(AtIssuer::Of(*id)) };
            Some(DeviceDecision::Approve { of, link: session.link, ends })
        }
        CredentialId::Issuer(_) | CredentialId::Code(_) | CredentialId::Execution(_) => None,
    }
}

fn not_found(why: CodeNotFound, user_code: &str) -> Problem {
    match why {
        CodeNotFound::Unknown => Missing::new(THING, user_code).into(),
        CodeNotFound::TooManyWrong { free_in } => Problem::too_many_codes(free_in),
    }
}

/// Shows the form for a code. The page does not depend on the caller, so it needs no cookie.
pub(super) async fn ask(_: Call) -> Outcome {
    asking("")
}

fn asking(before: &str) -> Outcome {
    let body = format!(
        "{before}<p>A program that has no browser shows you a code.</p><form method=\"post\" action=\"{}\">\
         <p><label>Code: <input name=\"user_code\" autocomplete=\"off\" autocapitalize=\"characters\" spellcheck=\"false\" \
         maxlength=\"20\" required></label> <button>Continue</button></p></form>",
        Public::DeviceForm.path()
    );
    html::page("Log in on another device", &body, None)
}

/// Takes a code, or a decision.
pub(super) async fn answer(mut call: Call) -> Outcome {
    let is_page = html::is_wanted(&call);
    let outcome = handle_answer(&mut call).await;
    match outcome {
        Err(problem) if is_page && matches!(problem.status(), StatusCode::UNAUTHORIZED) => {
            let mut page = asking(&ways_in(&call))?;
            *page.status_mut() = StatusCode::UNAUTHORIZED;
            page.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer realm=\"ensue\""));
            Ok(page)
        }
        outcome => html::for_people(is_page, "Log in on another device", Public::DevicePage.path(), outcome),
    }
}

async fn handle_answer(call: &mut Call) -> Outcome {
    let form = HtmlForm::read(call).await?;
    let (credential, secret) = cookies::session_of_form(call.request())?.ok_or(AuthRefusal::Missing)?;
    let access = &call.api().ports.access;
    let holder = access.admit(&credential).map_err(AuthRefusal::from)?;
    access.note_use(&holder.by);
    let user_code = form.field("user_code");
    let token = token_of(&secret, user_code);
    let decision = match form.field("answer") {
        "" => return asking_about(call, &holder, user_code, &token),
        APPROVED => WireDeviceAnswer::Approve,
        _ => WireDeviceAnswer::Deny,
    };
    // A page of another site cannot read the token, so it cannot send it.
    if !bool::from(form.field("token").as_bytes().ct_eq(token.as_bytes())) {
        return Err(super::logins::StateUnknown.into());
    }
    record_decision(call, &holder, user_code, decision)?;
    let said = if decision == WireDeviceAnswer::Approve { "The device is logged in." } else { "The device was denied." };
    html::page("Log in on another device", &format!("<p>{said} You can close this page.</p>"), None)
}

/// Asks whether the terminal of a code may act for its person.
fn asking_about(call: &Call, holder: &Holder, user_code: &str, token: &str) -> Outcome {
    let found = call.api().ports.devices.look_up(user_code, &holder.caller());
    let WaitingDevice { address, agent, asked_at } = found.map_err(|why| not_found(why, user_code))?;
    let address = address.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
    let body = format!(
        "<p>Did you start this login? The device would act as <strong>{}</strong>.</p>\
         <dl><dt>Address</dt><dd>{address}</dd><dt>Program</dt><dd>{}</dd><dt>Asked at</dt><dd>{asked_at}</dd></dl>\
         <p>If somebody sent you the code, deny it.</p>\
         <form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"user_code\" value=\"{}\">\
         <input type=\"hidden\" name=\"token\" value=\"{token}\"><button name=\"answer\" value=\"{APPROVED}\">Approve</button>\
         <button name=\"answer\" value=\"deny\">Deny</button></form>",
        escape_html(holder.name()),
        escape_html(&agent),
        Public::DeviceForm.path(),
        escape_html(user_code),
    );
    html::page("Log in on another device", &body, None)
}

/// Returns links with which a person logs in first.
fn ways_in(call: &Call) -> String {
    let issuers = call.api().ports.logins.issuers();
    let link = |issuer: &ensue_engine::names::IssuerName| {
        let start = format!("{}&next={}", start_of(issuer.as_str()), Public::DevicePage.path());
        format!("<li><a href=\"{}\">Log in with {}</a></li>", escape_html(&start), escape_html(issuer.as_str()))
    };
    if issuers.is_empty() {
        return "<p>You are not logged in here. Approve the device on a terminal instead: <code>ensue login approve CODE</code></p>"
            .to_owned();
    }
    format!(
        "<p>You are not logged in here. Log in first, and type the code again:</p><ul>{}</ul>",
        issuers.iter().map(link).collect::<String>()
    )
}

/// Returns the token of a form about a code: it follows from the cookie, which nobody but the browser knows.
fn token_of(cookie: &Secret, user_code: &str) -> String {
    let hash = Sha256::new().chain_update(b"ensue device\0").chain_update(cookie.reveal()).chain_update(b"\0").chain_update(user_code);
    hex::encode(hash.finalize())
}
