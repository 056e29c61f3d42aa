//! Logins of people through issuers: the browser goes to the issuer, and comes back with a code.

use axum::http::{HeaderValue, Response, StatusCode, header};
use ensue_engine::access::state::ISSUER_WAY;
use ensue_engine::explain::Explain;
use ensue_engine::names::IssuerName;
use ensue_engine::ports::Secret;
use thiserror::Error;

use super::Routes;
use super::login_attempts::{network, private};
use super::sessions::open_session;
use crate::addresses::Sender;
use crate::auth::AuthRefusal;
use crate::call::Call;
use crate::cookies;
use crate::html::{self, HtmlForm};
use crate::local_path::local_path;
use crate::operation::{Content, Header, Operation};
use crate::ports::{
    AfterLogin, AskedLogin, Credential, FinishedLogin, LoginOf, RedeemedCode, RefusedLogin, SessionForm, SessionSecret, StartedLogin,
    Terminal, TerminalLogin,
};
use crate::problem::{Missing, Outcome, Problem};
use crate::query::{Query, bad};
use crate::rates::{self, Class};
use crate::route::{BASE, Public};
use serde_json::json;

/// What an issuer is called if it is missing.
const THING: &str = "issuer through which people log in";
/// The path to which issuers send browsers back, without the name of the issuer.
const CALLBACK: &str = "/auth/oidc/callback/";
/// The path where a login starts.
const START: &str = "/auth/oidc/start";
/// The number of characters of a challenge: a SHA-256 in base64url (RFC 7636).
const CHALLENGE_CHARS: usize = 43;
/// The most characters of the state of a terminal.
const STATE_CHARS_MAX: usize = 128;

/// A login through an issuer that does not exist.
#[derive(Debug, Error, Explain)]
#[explain(slug = "issuer-unknown", fault = Invalid)]
enum NoIssuer {
    /// The name is unknown.
    #[error("people do not log in through an issuer `{0}`")]
    #[explain(hint = "`GET /api/v1/public/status` lists the issuers; `login.issuers` of `ensue.yaml` needs one with `use: [browser]`")]
    Named(String),
    /// It is not clear which one is meant.
    #[error("the node has {0} issuers through which people log in, so the request must name one")]
    #[explain(hint = "add `?issuer=<name>`; `GET /api/v1/public/status` lists them")]
    OneOf(usize),
}

/// A request with no logout token, or with several.
#[derive(Debug, Error, Explain)]
#[error("the form must have one field `logout_token`")]
#[explain(slug = "logout-token-invalid", fault = Malformed, hint = "send it as OpenID Connect Back-Channel Logout 1.0 says")]
struct OneToken;

/// The callback belongs to no login of this browser.
#[derive(Debug, Error, Explain)]
#[error("this login was not started here, took longer than 10 minutes, or has ended")]
#[explain(slug = "state-unknown", fault = Malformed, hint = "start the login again")]
pub(super) struct StateUnknown;

/// The parameters of the start of a login.
#[derive(Query)]
struct LoginQuery {
    /// The issuer, if there are several.
    issuer: Option<String>,
    /// The path of the node to which the login leads. Anything else counts as `/`.
    next: Option<String>,
    /// The port at which a terminal of the browser's machine waits for the login.
    #[query(what = "the port at which the terminal listens", schema = json!({ "type": "integer", "minimum": 1, "maximum": u16::MAX }))]
    cli: Option<u16>,
    /// The SHA-256 of the terminal's verifier in base64url (PKCE S256). With `cli`.
    challenge: Option<String>,
    /// What the terminal gets back with its code. With `cli`.
    state: Option<String>,
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    routes.public(
        Public::IssuerLogout,
        log_out,
        Operation::new("login_log_out", "Takes a logout token of an issuer, and ends the sessions of the logins that it names")
            .gives_content(200, "The sessions have ended.", Content::Nothing, &[])
            .refuses(&[
                (400, "logout_token_invalid"),
                (403, "insecure_transport"),
                (404, "not_found"),
                (415, "unsupported_media_type"),
                (429, "rate_limited"),
                (503, "issuer_unavailable"),
            ]),
    );
    routes.public(
        Public::StartLogin,
        start,
        Operation::new("login_start", "Sends a browser to an issuer, through which its person logs in")
            .with_query(&[LoginQuery::PARAMETERS])
            .gives_content(302, "The login page of the issuer.", Content::Nothing, &[Header::Location])
            .refuses(&[
                (400, "bad_parameter"),
                (403, "insecure_transport"),
                (422, "issuer_unknown"),
                (429, "rate_limited"),
                (503, "issuer_unavailable"),
            ]),
    );
    routes.public(
        Public::FinishLogin,
        finish,
        Operation::new("login_finish", "Takes a browser back from an issuer: opens its session, or asks for consent to that of a terminal")
            .passes_strangers_over()
            .gives_content(303, "The page where the login began.", Content::Nothing, &[Header::Location])
            .refuses(&[
                (400, "state_unknown"),
                (401, "login_refused"),
                (401, "identity_disabled"),
                (403, "claims_refused"),
                (403, "groups_overage"),
                (403, "insecure_transport"),
                (409, "name_taken"),
                (409, "limit_reached"),
                (503, "issuer_unavailable"),
            ]),
    );
}

/// Takes a logout token of an issuer (OpenID Connect Back-Channel Logout 1.0). Only tokens that are refused count towards
/// the limit: an issuer reports every logout from one address.
pub(super) async fn log_out(mut call: Call) -> Outcome {
    let outcome = logged_out(&mut call).await;
    let is_refused = outcome.as_ref().is_err_and(|problem| problem.status() != StatusCode::SERVICE_UNAVAILABLE);
    let standing = if is_refused { call.api().rates.count(Class::Logins, || network(&call)) } else { None };
    let outcome = standing.map_or(Ok(()), |standing| standing.demand()).and(outcome);
    rates::standing(standing, outcome)
}

async fn logged_out(call: &mut Call) -> Outcome {
    cookies::demand_private(call.request())?;
    let form = HtmlForm::of_anybody(call).await?;
    let (token, named) = (form.field("logout_token"), call.part("issuer"));
    if token.is_empty() || form.is_doubled("logout_token") {
        return Err(OneToken.into());
    }
    let issuer: IssuerName = named.parse().map_err(|_| Missing::new(THING, named))?;
    if !call.api().ports.logins.issuers().contains(&issuer) {
        return Err(Missing::new(THING, named).into());
    }
    let token = Secret::new(token.as_bytes().to_vec());
    call.api().threads.verifying(move |ports| ports.logins.log_out(&issuer, &token)).await??;
    Ok(private(Response::new(axum::body::Body::empty())))
}

/// Starts a login.
pub(super) async fn start(call: Call) -> Outcome {
    let is_page = html::is_wanted(&call);
    let standing = call.api().rates.count(Class::Logins, || network(&call));
    let asked = async {
        cookies::demand_private(call.request())?;
        standing.map_or(Ok(()), |standing| standing.demand())?;
        let query: LoginQuery = call.parameters()?;
        let issuer = issuer_of(&call, query.issuer.as_deref())?;
        let then = match terminal(&query)? {
            Some(terminal) => AfterLogin::Terminal(terminal),
            None => AfterLogin::Page(local_path(query.next.as_deref().unwrap_or("/")).to_owned()),
        };
        let redirect_uri = format!("{}{BASE}{CALLBACK}{issuer}", call.api().settings.base_url);
        let asked = AskedLogin { issuer, redirect_uri, then };
        let started = call.api().threads.verifying(move |ports| ports.logins.start(asked)).await??;
        let StartedLogin { url, cookie } = started;
        let mut response = leading_to(StatusCode::FOUND, &url)?;
        set_login(&mut response, &cookie)?;
        Ok(response)
    };
    let outcome = asked.await;
    rates::standing(standing, html::for_people(is_page, "The login cannot start", "/", outcome))
}

/// SessionEnds a login.
pub(super) async fn finish(call: Call) -> Outcome {
    let is_page = html::is_wanted(&call);
    cookies::demand_private(call.request())?;
    let named = call.part("issuer").to_owned();
    let outcome = finish_login(&call, &named).await;
    if let Err(problem) = &outcome
        && matches!(problem.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
    {
        let address = call.request().extensions.get::<Sender>().map(|sender| sender.address);
        call.api().ports.refusals.login_refused(RefusedLogin { way: &way_of(&named), identity: None, address });
    }
    html::for_people(is_page, "The login failed", &start_of(&named), outcome)
}

async fn finish_login(call: &Call, named: &str) -> Outcome {
    let issuer: IssuerName = named.parse().map_err(|_| StateUnknown)?;
    let cookie = cookies::login(call.headers()).ok_or(StateUnknown)?;
    let query = call.request().uri.query().unwrap_or_default().to_owned();
    let way = way_of(named);
    let asked = issuer.clone();
    let finished = call.api().threads.verifying(move |ports| ports.logins.finish(&asked, &cookie, &query)).await??;
    let FinishedLogin { identity, ends, then } = finished;
    let access = &call.api().ports.access;
    access.admit(&Credential::Issuer { identity, issuer, until: access.now().plus_millis(60_000) }).map_err(AuthRefusal::from)?;
    match then {
        AfterLogin::Page(path) => {
            let login = RedeemedCode { of: LoginOf::Identity(identity), way, link: None, ends };
            let session = open_session(call, login, SessionForm::Cookie).await?;
            let SessionSecret::Cookie(secret) = session.secret else { return Err(Problem::bug(&"a session of a browser has no cookie")) };
            let mut response = leading_to(StatusCode::SEE_OTHER, &path)?;
            let cookie = cookies::set(session.id, &secret).ok_or_else(|| Problem::bug(&"a secret does not fit into a header"))?;
            response.headers_mut().append(header::SET_COOKIE, cookie);
            response.headers_mut().append(header::SET_COOKIE, cookies::login_removed());
            Ok(response)
        }
        AfterLogin::Terminal(terminal) => {
            let cookie = call.api().ports.logins.ask_consent(TerminalLogin { identity, way, ends, terminal })?;
            let mut response = leading_to(StatusCode::SEE_OTHER, Public::ConsentPage.path())?;
            set_login(&mut response, &cookie)?;
            Ok(response)
        }
    }
}

/// Returns the path where a login through an issuer starts.
pub(super) fn start_of(issuer: &str) -> String {
    format!("{BASE}{START}?issuer={}", crate::query::encode_component(issuer))
}

/// Returns the word of `session.opened` for logins through an issuer.
fn way_of(issuer: &str) -> String {
    format!("{ISSUER_WAY}{issuer}")
}

/// Returns the issuer that a request names, or the only one.
fn issuer_of(call: &Call, named: Option<&str>) -> Result<IssuerName, NoIssuer> {
    let issuers = call.api().ports.logins.issuers();
    match (named, &issuers[..]) {
        (Some(named), _) => {
            let found = issuers.iter().find(|issuer| issuer.as_str() == named).cloned();
            found.ok_or_else(|| NoIssuer::Named(crate::problem::quote(named)))
        }
        (None, [only]) => Ok(only.clone()),
        (None, several) => Err(NoIssuer::OneOf(several.len())),
    }
}

/// Returns the terminal that waits for the login, if one does.
fn terminal(query: &LoginQuery) -> Result<Option<Terminal>, Problem> {
    let Some(port) = query.cli else { return Ok(None) };
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let challenge = query.challenge.as_deref().filter(|text| text.len() == CHALLENGE_CHARS && is_word(text));
    let state = query.state.as_deref().filter(|text| !text.is_empty() && text.len() <= STATE_CHARS_MAX && is_word(text));
    match (port, challenge, state) {
        (0, _, _) => Err(bad("cli", "must be the port at which the terminal listens").into()),
        (_, None, _) => Err(bad("challenge", "must be a SHA-256 in base64url without padding (PKCE S256)").into()),
        (_, _, None) => Err(bad("state", "must have from 1 to 128 letters, digits, `-` and `_`").into()),
        (port, Some(challenge), Some(state)) => Ok(Some(Terminal { port, challenge: challenge.to_owned(), state: state.to_owned() })),
    }
}

/// Returns an answer that sends the browser elsewhere.
pub(super) fn leading_to(status: StatusCode, url: &str) -> Outcome {
    let mut response = private(Response::new(axum::body::Body::empty()));
    *response.status_mut() = status;
    let url = HeaderValue::from_str(url).map_err(|why| Problem::bug(&why))?;
    response.headers_mut().insert(header::LOCATION, url);
    Ok(response)
}

/// Binds a login to the browser.
fn set_login(response: &mut Response<axum::body::Body>, secret: &Secret) -> Result<(), Problem> {
    let cookie = cookies::set_login(secret).ok_or_else(|| Problem::bug(&"a secret does not fit into a header"))?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(())
}
