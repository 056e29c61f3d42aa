//! Logins: sessions of browsers and of programs.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, header};
use ensue_engine::access::facts::SessionEnd;
use ensue_engine::access::state::Session;
use ensue_engine::explain::Explain;
use ensue_engine::ids::SessionId;
use ensue_engine::ports::Secret;
use ensue_engine::record::CredentialId;
use thiserror::Error;

use super::Routes;
use super::guard::note_refused;
use super::login_attempts::{address, attempt_of, current, from, network, private, problem_of};
use crate::auth::{AllowedCaller, AuthRefusal, KnownCaller, Proof as _, parse_token};
use crate::call::Call;
use crate::cookies;
use crate::listing;
use crate::operation::{Content, Operation, Takes, WRITTEN};
use crate::paging::PageQuery;
use crate::permissions::{Permission as _, TokensRead, TokensWrite};
use crate::ports::{AskedLoginLink, Credential, Holder, Login, LoginOf, OpenedSession, Ports, RedeemedCode, SessionForm, SessionSecret};
use crate::problem::{Missing, Outcome, Problem, RecordedRefusal};
use crate::query::Query;
use crate::rates::{self, Class};
use crate::respond::{self, WriteOutcome};
use crate::route::Public;
use crate::wire::sessions::{WireKeySet, WireLogin, WireLoginLink, WireOpenedSession, WirePair, WireRefresh, WireSession};

/// What such a resource is called if it is missing.
const THING: &str = "session";
/// The name of the session of the request itself.
const CURRENT: &str = "current";

/// How long a login link is valid.
const LINK_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// A login with none or several proofs.
#[derive(Debug, Error, Explain)]
#[error("a login needs either `token`, or `code` with the `verifier` of a program that began the login, or `name` and `password`")]
#[explain(slug = "body-invalid", fault = Invalid, hint = r#"send, for example, {{"token": "ens_…"}}"#)]
struct OneProof;

/// The parameter of the list of sessions.
#[derive(Query)]
struct AllQuery {
    /// Whether to list the sessions of everybody, which requires `tokens:read`.
    all: bool,
}

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    const EXAMPLE: &str = r#"{"token": "ens_01980000-0000-7000-8000-00000000000a_secret"}"#;
    const REFUSED: &[(u16, &str)] = &[
        (409, "link_used"),
        (410, "link_expired"),
        (422, "body_invalid"),
        (422, "password_weak"),
        (401, "login_refused"),
        (401, "otp_required"),
        (403, "passwords_off"),
        (429, "login_throttled"),
        (503, "busy"),
        (401, "token_invalid"),
        (401, "token_expired"),
        (401, "identity_disabled"),
        (403, "insecure_transport"),
        (429, "rate_limited"),
    ];
    routes.public(
        Public::OpenSession,
        open,
        Operation::new("session_open", "Opens a session of a browser: the answer sets its cookie")
            .takes_json::<WireLogin>(EXAMPLE)
            .gives::<WireOpenedSession>(201, "The session is open.", WRITTEN)
            .refuses(REFUSED),
    );
    routes.for_any_caller(
        Method::GET,
        "/sessions",
        list,
        Operation::lists::<WireSession>(
            "session_list",
            "Lists the caller's own open sessions, or all",
            &[AllQuery::PARAMETERS, PageQuery::PARAMETERS],
        )
        .refuses(&[(403, "forbidden")]),
    );
    routes.for_any_caller(
        Method::DELETE,
        "/sessions/{id}",
        end,
        Operation::new("session_end", "SessionEnds a session: one of the caller's own, or any. `current` is that of the request")
            .gives_content(204, "The session has ended.", Content::Nothing, WRITTEN)
            .refuses(&[(404, "not_found")]),
    );
    routes.public(
        Public::Login,
        login,
        Operation::new("auth_login", "Opens a session of a program, and returns its tokens")
            .takes_json::<WireLogin>(EXAMPLE)
            .gives::<WirePair<'static>>(200, "The session is open.", WRITTEN)
            .refuses(REFUSED),
    );
    routes.public(
        Public::Refresh,
        refresh,
        Operation::new("auth_refresh", "Exchanges a refresh token for the next pair. The same token within 10 s returns the same pair")
            .takes_json::<WireRefresh>(r#"{"refresh_token": "ensr_01980000-0000-7000-8000-00000000000a_1_00"}"#)
            .gives::<WirePair<'static>>(200, "The next pair.", &[])
            .refuses(&[(401, "token_invalid"), (401, "session_unknown"), (401, "refresh_reused"), (403, "insecure_transport")]),
    );
    routes.post::<TokensWrite>(
        "/tokens/{name}/login_links",
        add_login_link,
        Operation::new("token_add_login_link", "Creates a code that opens one session of a token within a day, and shows it once")
            .takes(Takes::Empty)
            .passes_keys_over()
            .gives::<WireLoginLink<'static>>(201, "The code is valid.", WRITTEN)
            .refuses(&[(403, "beyond_own_rights"), (409, "limit_reached")]),
    );
    routes.for_any_caller(
        Method::POST,
        "/auth/logout",
        logout,
        Operation::new("auth_logout", "SessionEnds the session of the request")
            .takes(Takes::Empty)
            .passes_keys_over()
            .gives_content(204, "The session has ended.", Content::Nothing, WRITTEN)
            .refuses(&[(404, "not_found")]),
    );
    routes.public(
        Public::PublicKeys,
        public_keys,
        Operation::shows::<WireKeySet>("auth_jwks", "Returns the public keys that verify access tokens"),
    );
}

/// Opens a session of a browser.
pub(super) async fn open(call: Call) -> Outcome {
    let (standing, opened) = logged_in(call, SessionForm::Cookie).await;
    rates::standing(standing, opened.and_then(|opened| with_cookie(&opened)))
}

/// Opens a session of a program.
pub(super) async fn login(call: Call) -> Outcome {
    let (standing, opened) = logged_in(call, SessionForm::Pair).await;
    let answer = |opened: OpenedSession| {
        let SessionSecret::Pair(pair) = &opened.secret else { return Err(Problem::bug(&"a session of a program has no tokens")) };
        let shown = WirePair::new(pair).map_err(|why| Problem::bug(&why))?;
        Ok(private(respond::answer_write(WriteOutcome::Done, opened.committed.position, &shown)?))
    };
    rates::standing(standing, opened.and_then(answer))
}

/// Returns the answer that sets the cookie of a new session.
pub(super) fn with_cookie(opened: &OpenedSession) -> Outcome {
    let OpenedSession { id, until, secret, committed } = opened;
    let SessionSecret::Cookie(secret) = secret else { return Err(Problem::bug(&"a session of a browser has no cookie")) };
    let response = respond::answer_write(WriteOutcome::Created, committed.position, &WireOpenedSession { id: *id, until: *until })?;
    let mut response = private(response);
    let cookie = cookies::set(*id, secret).ok_or_else(|| Problem::bug(&"a secret does not fit into a header"))?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

/// How somebody logs in.
enum Proof {
    /// With a token.
    Token(Secret),
    /// With a code, and the verifier of the login that a program began.
    Code(Secret, Option<Secret>),
    /// With a password.
    Password { name: String, password: Secret, otp: Option<Secret> },
}

impl Proof {
    fn of(login: WireLogin) -> Result<Self, OneProof> {
        let WireLogin { token, code, verifier, name, password, otp } = login;
        let [token, code, verifier, password, otp] = [token, code, verifier, password, otp].map(|given| given.map(|given| given.0));
        match (token, code, name.zip(password), verifier, otp) {
            (Some(token), None, None, None, None) => Ok(Self::Token(token)),
            (None, Some(code), None, verifier, None) => Ok(Self::Code(code, verifier)),
            (None, None, Some((name, password)), None, otp) => Ok(Self::Password { name, password, otp }),
            _ => Err(OneProof),
        }
    }
}

/// Checks the credential of a login, and opens its session. The node counts attempts with passwords itself.
async fn logged_in(mut call: Call, form: SessionForm) -> (Option<rates::RateStanding>, Result<OpenedSession, Problem>) {
    let api = call.api().clone();
    let asked = async {
        cookies::demand_private(call.request())?;
        Ok(Proof::of(call.json().await?)?)
    };
    let asked: Result<Proof, Problem> = asked.await;
    let standing = match asked {
        Ok(Proof::Password { .. }) => None,
        Ok(Proof::Token(_) | Proof::Code(..)) | Err(_) => api.rates.count(Class::Logins, || network(&call)),
    };
    let from = from(&call, form);
    let opened = async {
        standing.map_or(Ok(()), |standing| standing.demand())?;
        match asked? {
            Proof::Token(token) => {
                let login = Login::of(of_token(&call, &token)?, "token", &from);
                Ok(api.threads.blocking(move |ports| ports.sessions.open(&login)).await??)
            }
            Proof::Code(code, verifier) => {
                let open = move |ports: &Ports| {
                    let RedeemedCode { of, way, link, ends } = ports.sessions.redeem(&code, verifier.as_ref())?;
                    ports.sessions.open(&Login { ends, link, ..Login::of(of, &way, &from) })
                };
                Ok(api.threads.blocking(open).await??)
            }
            Proof::Password { name, password, otp } => {
                let attempt = attempt_of(&call, name, (password, otp), None);
                let opened = api.threads.hashing(move |ports| ports.passwords.open(&attempt, &from)).await?;
                opened.map_err(problem_of)
            }
        }
    };
    let opened: Result<OpenedSession, Problem> = opened.await;
    if let Err(problem) = &opened {
        note_refused(&*api.ports.refusals, problem, address(&call));
    }
    (standing, opened)
}

/// Opens the session of a login that succeeded.
pub(super) async fn open_session(call: &Call, login: RedeemedCode, form: SessionForm) -> Result<OpenedSession, Problem> {
    let RedeemedCode { of, way, link, ends } = login;
    let login = Login { ends, link, ..Login::of(of, &way, &from(call, form)) };
    Ok(call.api().threads.blocking(move |ports| ports.sessions.open(&login)).await??)
}

/// Returns whose rights a token has, if it is valid.
fn of_token(call: &Call, token: &Secret) -> Result<LoginOf, Problem> {
    let refused = |why: AuthRefusal| Problem::from(why).refusing(RecordedRefusal::Token { identity: None });
    let credential = std::str::from_utf8(token.reveal()).ok().and_then(parse_token).ok_or_else(|| refused(AuthRefusal::Invalid))?;
    call.api().ports.access.admit(&credential).map_err(|why| refused(why.into()))?;
    match credential {
        Credential::Token { id, .. } => {
            call.api().ports.access.note_use(&CredentialId::Token(id));
            Ok(LoginOf::Token(id))
        }
        Credential::Session { .. } | Credential::Program { .. } | Credential::Signed(_) | Credential::Issuer { .. } => {
            Err(refused(AuthRefusal::Invalid))
        }
    }
}

/// Creates a code that opens a session of a token once. The caller must be able to do what the token carries, as for
/// replacing it.
pub(super) async fn add_login_link(allowed: AllowedCaller<TokensWrite>, mut call: Call) -> Outcome {
    let name = call.part("name").to_owned();
    call.json_or_nothing::<crate::call::Nothing>().await?;
    let access = &call.api().ports.access;
    let token = access.directory().token_named(&name).map(|(id, _)| id);
    let token = token.ok_or_else(|| Missing::new(TokensWrite::THING, &name))?;
    let (asked, by) = (AskedLoginLink { token, name, valid_for: LINK_LIFETIME }, allowed.on_behalf(call.context()));
    let (minted, committed) = call.api().threads.blocking(move |ports| ports.sessions.mint_login_link(&asked, &by)).await??;
    let code = std::str::from_utf8(minted.code.reveal()).map_err(|why| Problem::bug(&why))?;
    let shown = WireLoginLink { code, until: minted.until };
    let mut response = private(respond::answer_write(WriteOutcome::Done, committed.position, &shown)?);
    *response.status_mut() = axum::http::StatusCode::CREATED;
    Ok(response)
}

/// Exchanges a refresh token.
pub(super) async fn refresh(mut call: Call) -> Outcome {
    cookies::demand_private(call.request())?;
    let WireRefresh { refresh_token } = call.json().await?;
    let pair = call.api().threads.blocking(move |ports| ports.sessions.refresh(&refresh_token.0)).await??;
    Ok(private(respond::json(&WirePair::new(&pair).map_err(|why| Problem::bug(&why))?)?))
}

/// Lists open sessions, oldest first.
pub(super) async fn list(known: KnownCaller, call: Call) -> Outcome {
    let ports = &call.api().ports;
    let AllQuery { all: is_all } = call.parameters()?;
    if is_all {
        AllowedCaller::<TokensRead>::demand_whole(&*ports.access, call.request())?;
    }
    let (directory, current) = (ports.access.directory(), current(known.holder()));
    let fitting = directory.sessions().filter(|(_, session)| is_all || is_own(session, known.holder(), &directory));
    let shown = fitting.map(|(id, session)| WireSession::new((*id, session), ports.sessions.last_seen(*id), &*ports.access, current));
    let listed = listing::of_catalog(&call, &known, shown, |session| session.id().to_string())?;
    call.answer_page(listed.items, listed.next.as_deref(), &listed.page)
}

/// SessionEnds a session.
pub(super) async fn end(known: KnownCaller, call: Call) -> Outcome {
    let named = call.part("id");
    let missing = || Problem::from(Missing::new(THING, named));
    let current = current(known.holder());
    let id = if named == CURRENT { current } else { named.parse().ok() };
    let id: SessionId = id.ok_or_else(missing)?;
    let directory = call.api().ports.access.directory();
    let session = directory.session(&id).ok_or_else(missing)?;
    if !is_own(session, known.holder(), &directory) {
        let access = &*call.api().ports.access;
        AllowedCaller::<TokensRead>::demand_whole(access, call.request()).map_err(|_| missing())?;
        AllowedCaller::<TokensWrite>::demand_whole(access, call.request())?;
    }
    let reason = if current == Some(id) { SessionEnd::Logout } else { SessionEnd::EndedBy };
    end_session(&known, &call, id, reason).await
}

/// SessionEnds the session of the request.
pub(super) async fn logout(known: KnownCaller, mut call: Call) -> Outcome {
    call.json_or_nothing::<crate::call::Nothing>().await?;
    let id = current(known.holder()).ok_or_else(|| Missing::new(THING, CURRENT))?;
    end_session(&known, &call, id, SessionEnd::Logout).await
}

async fn end_session(known: &KnownCaller, call: &Call, id: SessionId, reason: SessionEnd) -> Outcome {
    let by = known.on_behalf(call.context());
    let committed = call.api().threads.blocking(move |ports| ports.sessions.end(vec![id], reason, &by)).await??;
    let mut response = respond::no_content(committed.position);
    if reason == SessionEnd::Logout && cookies::is_given(call.headers()) {
        response.headers_mut().insert(header::SET_COOKIE, cookies::remove());
    }
    Ok(response)
}

/// Returns the public keys that verify access tokens.
pub(super) async fn public_keys(call: Call) -> Outcome {
    respond::json(&WireKeySet { keys: call.api().ports.sessions.public_keys() })
}

/// Returns true if a session belongs to the caller: to its identity, or to its token if no identity holds it.
fn is_own(session: &Session, holder: &Arc<Holder>, directory: &ensue_engine::access::state::Access) -> bool {
    let credential = match &holder.by {
        CredentialId::Token(id) => Some(*id),
        CredentialId::Session(id) => directory.session(id).and_then(|own| own.credential),
        CredentialId::Issuer(_) | CredentialId::Code(_) | CredentialId::Execution(_) => None,
    };
    session.is_of(holder.identity.as_ref().map(|(id, _)| *id), credential)
}
