//! The page that asks a person whether a terminal may act for them.

use std::time::Duration;

use axum::http::{StatusCode, header};
use ensue_engine::ports::Secret;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Routes;
use super::logins::{StateUnknown, leading_to};
use crate::call::Call;
use crate::cookies;
use crate::html::{self, HTML, HtmlForm, escape_html};
use crate::operation::{Content, Header, Operation};
use crate::ports::{AskedCode, LoginOf, TerminalLogin};
use crate::problem::{Outcome, Problem};
use crate::query::encode_component;
use crate::route::Public;

/// How long a terminal has to exchange its code.
const CODE_LIFETIME: Duration = Duration::from_secs(60);
/// The answer of a person who consents.
const ALLOWED: &str = "allow";

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.public(
        Public::ConsentPage,
        ask,
        Operation::new("consent_ask", "Asks a person who has just logged in whether a terminal may act for them")
            .gives_content(200, "The page.", Content::Text(&[HTML]), &[])
            .refuses(&[(400, "state_unknown"), (403, "insecure_transport")]),
    );
    routes.public(
        Public::Consent,
        answer,
        Operation::new("consent_give", "Takes the answer of the page, and sends the browser to the terminal with a code that counts once")
            .gives_content(303, "The address of the terminal.", Content::Nothing, &[Header::Location])
            .refuses(&[
                (400, "state_unknown"),
                (403, "insecure_transport"),
                (403, "origin_refused"),
                (409, "limit_reached"),
                (415, "unsupported_media_type"),
            ]),
    );
}

/// Asks for consent.
pub(super) async fn ask(call: Call) -> Outcome {
    let is_page = html::is_wanted(&call);
    let asked = || {
        cookies::demand_private(call.request())?;
        let cookie = cookies::login(call.headers()).ok_or(StateUnknown)?;
        let TerminalLogin { identity, ends, terminal, .. } = call.api().ports.logins.waiting(&cookie).ok_or(StateUnknown)?;
        let name = call.api().ports.access.name_of(identity).ok_or(StateUnknown)?;
        let until = ends.by.map(|until| format!(" At the latest, this ends at {until}.")).unwrap_or_default();
        let (name, port, token) = (escape_html(&name), terminal.port, token_of(&cookie));
        let body = format!(
            "<p>A terminal on this computer (port {port}) wants to act as <strong>{name}</strong> on this node.{until}</p>\
             <p>Allow it only if you have just run <code>ensue login</code> yourself.</p>\
             <form method=\"post\" action=\"{}\"><input type=\"hidden\" name=\"token\" value=\"{token}\">\
             <button name=\"answer\" value=\"{ALLOWED}\">Allow</button><button name=\"answer\" value=\"deny\">Deny</button></form>",
            Public::Consent.path()
        );
        html::page("Log in on a terminal", &body, Some(&origin_of(port)))
    };
    html::for_people(is_page, "No login is waiting", "/", asked())
}

/// Takes the answer.
pub(super) async fn answer(mut call: Call) -> Outcome {
    let is_page = html::is_wanted(&call);
    let outcome = handle_answer(&mut call).await;
    html::for_people(is_page, "The login failed", "/", outcome)
}

async fn handle_answer(call: &mut Call) -> Outcome {
    let form = HtmlForm::read(call).await?;
    let cookie = cookies::login(call.headers()).ok_or(StateUnknown)?;
    // A page of another site cannot read the token, so it cannot send it.
    if !bool::from(form.field("token").as_bytes().ct_eq(token_of(&cookie).as_bytes())) {
        return Err(StateUnknown.into());
    }
    let login = call.api().ports.logins.take_waiting(&cookie).ok_or(StateUnknown)?;
    let TerminalLogin { identity, way, ends, terminal } = login;
    let state = encode_component(&terminal.state);
    let said = if form.field("answer") == ALLOWED {
        let of = LoginOf::Identity(identity);
        let asked = AskedCode { of, way, valid_for: CODE_LIFETIME, challenge: Some(terminal.challenge), ends };
        let minted = call.api().threads.blocking(move |ports| ports.sessions.mint(&asked)).await??;
        let code = std::str::from_utf8(minted.code.reveal()).map_err(|why| Problem::bug(&why))?;
        format!("code={}", encode_component(code))
    } else {
        "error=access_denied".to_owned()
    };
    let mut response = leading_to(StatusCode::SEE_OTHER, &format!("{}/?{said}&state={state}", origin_of(terminal.port)))?;
    response.headers_mut().insert(header::SET_COOKIE, cookies::login_removed());
    Ok(response)
}

/// Returns the token of the page's form: it follows from the cookie, which nobody but the browser knows.
fn token_of(cookie: &Secret) -> String {
    hex::encode(Sha256::new().chain_update(b"ensue consent\0").chain_update(cookie.reveal()).finalize())
}

/// Returns the origin of the terminal.
fn origin_of(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
