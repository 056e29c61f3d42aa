//! Authentication and authorization: the credential of a request, and the proof that its holder has a permission.
//!
//! The node, not this file, stores credentials and compares secrets. A secret is never written anywhere.

use std::marker::PhantomData;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use ensue_engine::access::limit::Target;
use ensue_engine::access::permission;
use ensue_engine::access::rights::Reach;
use ensue_engine::explain::Explain;
use ensue_engine::ids::IdentityId;
use ensue_engine::record::CredentialId;
use ensue_views::{ReachLimits, RowReach, RowScope, View};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::addresses::PeerCertificates;
use crate::context::RequestContext;
use crate::cookies;
use crate::operation::LinkSessions;
use crate::permissions::Permission;
use crate::ports::{Access, Credential, Holder, NotAdmitted, OnBehalf, Ports, VouchedCaller};
use crate::problem::{Missing, Problem, RecordedRefusal};
use crate::threads::Threads;

/// The prefix of every token.
pub const TOKEN_PREFIX: &str = "ens_";
/// The prefix of every token of an attempt.
const PROGRAM_PREFIX: &str = "ensp_";
/// The prefix of every refresh token.
const REFRESH_PREFIX: &str = "ensr_";
/// The maximum length of a token's secret in characters.
const SECRET_CHARS_MAX: usize = 128;
/// Names of parameters in which people put tokens. A token in a URL ends up in every log on the way.
const TOKEN_PARAMETERS: &[&str] = &["token", "access_token", "api_key", "apikey", "api-key", "key_id", "auth", "authorization"];

/// Why a caller is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error, Explain)]
#[non_exhaustive]
pub(crate) enum AuthRefusal {
    /// There is no token.
    #[error("this path requires a token")]
    #[explain(slug = "unauthenticated", fault = Unauthenticated,
        hint = "send `Authorization: Bearer ens_…`; create a token with `ensue tokens add <name> --role <role>`")]
    Missing,
    /// The token is invalid.
    #[error("the token is unknown or was revoked")]
    #[explain(slug = "token-invalid", fault = Unauthenticated,
        hint = "compare it with the token that was shown when it was created; a revoked token never becomes valid again")]
    Invalid,
    /// The token has expired.
    #[error("the token has expired")]
    #[explain(slug = "token-expired", fault = Unauthenticated,
        hint = "ask for a new one; `ensue tokens rotate <name>` replaces a token before it expires")]
    Expired,
    /// The attempt does not run.
    #[error("the token counts only while its attempt runs, and it does not run")]
    #[explain(slug = "token-invalid", fault = Unauthenticated,
        hint = "use the token of an attempt only in its program; a later attempt has another one")]
    NotRunning,
    /// The identity is disabled.
    #[error("the identity that holds this token is disabled")]
    #[explain(slug = "identity-disabled", fault = Unauthenticated,
        hint = "ask an administrator to enable it with `ensue identities enable <name>`")]
    Disabled,
    /// The session has ended.
    #[error("the session has ended")]
    #[explain(slug = "session-unknown", fault = Unauthenticated,
        hint = "log in again: in the browser, or with `ensue login`")]
    NoSession,
    /// The session is for one inquiry.
    #[error("the session of this link sees and answers one inquiry, and nothing else")]
    #[explain(slug = "only-one-inquiry", fault = Unauthenticated, hint = "log in for everything else")]
    OnlyOneInquiry,
    /// No configured issuer signed the token.
    #[error("no issuer is configured that may sign this token")]
    #[explain(slug = "issuer-unknown", fault = Unauthenticated,
        hint = "add the issuer to `login.issuers` of `ensue.yaml`, with `use: [bearer]`; its `issuer` must be the token's `iss`, byte for byte")]
    IssuerUnknown,
    /// There are several tokens.
    #[error("the request has more than one `Authorization` header, so the caller is ambiguous")]
    #[explain(slug = "doubled-authorization", fault = Malformed, hint = "send exactly one `Authorization` header")]
    Doubled,
    /// The token is in the URL.
    #[error("the request has a token in its URL; treat it as leaked and revoke it")]
    #[explain(slug = "token-in-url", fault = Malformed, hint = "send it as `Authorization: Bearer ens_…`")]
    InUrl,
    /// The caller lacks the permission.
    #[error("this request requires the permission `{0}`, which the token does not have")]
    #[explain(slug = "forbidden", fault = Forbidden,
        hint = "ask an administrator for a token with a role that has it; `ensue whoami` shows what yours may do")]
    Forbidden(&'static str),
}

/// The caller has the permission, but not for this resource.
#[derive(Clone, Debug, PartialEq, Eq, Error, Explain)]
#[error("this request requires the permission `{permission}` for `{name}`, which the token does not have")]
#[explain(slug = "forbidden", fault = Forbidden,
    hint = "`ensue auth can-i {permission} --on …` shows what is missing; ask an administrator for a grant that covers it")]
pub(crate) struct BeyondLimit {
    permission: &'static str,
    name: String,
}

impl From<NotAdmitted> for AuthRefusal {
    fn from(why: NotAdmitted) -> Self {
        match why {
            NotAdmitted::Unknown => Self::Invalid,
            NotAdmitted::Expired => Self::Expired,
            NotAdmitted::Disabled => Self::Disabled,
            NotAdmitted::NoSession => Self::NoSession,
            NotAdmitted::NotRunning => Self::NotRunning,
        }
    }
}

/// The proof that a request was authenticated, and that its sender may make it.
pub(crate) trait Proof: Send + Sync + Sized + 'static {
    /// Checks the sender of a request.
    fn demand(access: &dyn Access, parts: &Parts, secrecy: &Secrecy) -> Result<Self, Problem>;

    /// Returns the holder of the credential.
    fn holder(&self) -> &Arc<Holder>;

    /// Returns true if the proof covers only a part of the resources.
    fn is_limited(&self) -> bool;

    /// Returns what the records call the caller.
    fn caller(&self) -> String {
        self.holder().caller()
    }

    /// Returns the caller for the records of the request.
    fn on_behalf(&self, context: &RequestContext) -> OnBehalf {
        OnBehalf { actor: self.holder().actor(), trace: Some(context.recorded_trace()), request: None }
    }
}

/// The proof that a caller has a valid credential. It may allow nothing.
pub(crate) struct KnownCaller {
    holder: Arc<Holder>,
    credential: Credential,
}

/// A proof that can end while a request lasts.
pub(crate) trait Lasting: Send + Sync + 'static {
    /// Reports whether the request may continue: long-lasting requests check again.
    fn still_holds(&self, access: &dyn Access) -> bool;
}

/// The reaches of several permissions of a caller, for as long as none of them changes.
pub(crate) struct Reaches {
    credential: Credential,
    reaches: Vec<(permission::Permission, RowReach)>,
}

impl Reaches {
    /// Reports whether the credential is still valid, whatever its holder may do.
    pub(crate) fn is_admitted(credential: &Credential, access: &dyn Access) -> bool {
        access.admit(credential).is_ok()
    }
}

impl Lasting for Reaches {
    fn still_holds(&self, access: &dyn Access) -> bool {
        let unchanged = |holder: &Holder| self.reaches.iter().all(|(permission, reach)| rows_of(holder, *permission) == *reach);
        access.admit(&self.credential).is_ok_and(|holder| unchanged(&holder))
    }
}

impl KnownCaller {
    /// Returns the credential.
    pub(crate) fn credential(&self) -> &Credential {
        &self.credential
    }

    /// Returns the rows of views that a permission of the caller covers; `None` if the caller does not have it.
    pub(crate) fn rows(&self, permission: permission::Permission) -> Option<RowReach> {
        self.holder.rights.reach(permission).map(|_| rows_of(&self.holder, permission))
    }

    /// Returns the proof that these permissions reach these rows, for a long-lasting request.
    pub(crate) fn reaching(&self, reaches: Vec<(permission::Permission, RowReach)>) -> Reaches {
        Reaches { credential: self.credential.clone(), reaches }
    }

    /// Returns the problem of a caller that lacks a permission.
    pub(crate) fn lacks(&self, permission: permission::Permission) -> Problem {
        let problem: Problem = AuthRefusal::Forbidden(permission.name()).into();
        problem.refusing(RecordedRefusal::Request { caller: self.holder.actor(), permission: permission.name() })
    }
}

impl Proof for KnownCaller {
    fn demand(access: &dyn Access, parts: &Parts, _: &Secrecy) -> Result<Self, Problem> {
        let (credential, holder) = holder_of(access, parts)?;
        Ok(Self { holder, credential })
    }

    fn holder(&self) -> &Arc<Holder> {
        &self.holder
    }

    fn is_limited(&self) -> bool {
        false
    }
}

/// The proof that a caller has the permission `P`. Only [`Proof::demand`] makes one.
pub(crate) struct AllowedCaller<P> {
    holder: Arc<Holder>,
    reach: Reach,
    credential: Credential,
    /// What a long-lasting request is about.
    about: WatchedResource,
    permission: PhantomData<P>,
}

/// What a long-lasting request is about.
enum WatchedResource {
    /// No resource in particular.
    Nothing,
    /// The execution that the caller is.
    Itself,
    /// A row that belongs there, if it belongs anywhere.
    Row(Option<RowScope>),
}

/// The answer to a caller without the permission.
pub(crate) enum Secrecy {
    /// The permission is missing: the existence of such resources is not secret.
    Open,
    /// The resource of this name is reported as missing, unless the caller can read such resources.
    ThingNamed(String),
}

impl<P: Permission> Proof for AllowedCaller<P> {
    /// Checks that the sender of the request has the permission, for some resources at least.
    fn demand(access: &dyn Access, parts: &Parts, secrecy: &Secrecy) -> Result<Self, Problem> {
        let (credential, holder) = holder_of(access, parts)?;
        if let Some(reach) = holder.rights.reach(P::IS) {
            return Ok(Self { holder, reach, credential, about: WatchedResource::Nothing, permission: PhantomData });
        }
        let problem: Problem = match secrecy {
            // A caller that sees some of them gets the same answer for all, and so learns nothing about which
            // exist.
            Secrecy::ThingNamed(name) if P::IS.read().is_some_and(|read| holder.rights.reach(read).is_none()) => {
                Missing::new(P::THING, name).into()
            }
            Secrecy::ThingNamed(_) | Secrecy::Open => AuthRefusal::Forbidden(P::IS.name()).into(),
        };
        Err(problem.refusing(RecordedRefusal::Request { caller: holder.actor(), permission: P::IS.name() }))
    }

    fn holder(&self) -> &Arc<Holder> {
        &self.holder
    }

    fn is_limited(&self) -> bool {
        self.reach != Reach::All
    }
}

impl<P: Permission> AllowedCaller<P> {
    /// Checks that the sender of the request has the permission for all resources.
    pub(crate) fn demand_whole(access: &dyn Access, parts: &Parts) -> Result<Self, Problem> {
        let allowed = Self::demand(access, parts, &Secrecy::Open)?;
        if allowed.is_limited() { Err(allowed.refusing(AuthRefusal::Forbidden(P::IS.name()).into())) } else { Ok(allowed) }
    }

    /// Returns the name to show: that of the identity, or of the token if no identity holds it.
    pub(crate) fn name(&self) -> &str {
        self.holder.name()
    }

    /// Returns what the records call the caller.
    pub(crate) fn caller(&self) -> String {
        self.holder.caller()
    }

    /// Returns the roles and groups by which inquiries ask the caller.
    pub(crate) fn roles(&self) -> &[String] {
        &self.holder.roles
    }

    /// Returns the rows of views that the permission covers.
    pub(crate) fn rows(&self) -> RowReach {
        rows_of(&self.holder, P::IS)
    }

    /// Returns the rows of views that another permission of the caller covers; `None` if the caller does not have it.
    pub(crate) fn rows_for<O: Permission>(&self) -> Option<RowReach> {
        self.holder.rights.reach(O::IS).map(|_| rows_of(&self.holder, O::IS))
    }

    /// Checks that the permission covers a row. If not, a caller that may not see the row is told that it does not exist.
    pub(crate) fn demand_row(&self, row: &impl View, name: &str) -> Result<(), Problem> {
        if self.rows().covers_row(name, row) {
            return Ok(());
        }
        let reads = P::IS.read().filter(|read| *read != P::IS);
        let is_seen = reads.is_some_and(|read| rows_of(&self.holder, read).covers_row(name, row));
        if is_seen { Err(self.beyond_limit(name)) } else { Err(Missing::new(P::THING, name).into()) }
    }

    /// Returns the proof for a long-lasting request about this row: it holds as long as the permission covers the row.
    pub(crate) fn about(self, row: &impl View) -> Self {
        let scope = row.scope();
        // A row that no limit covers was reached because it is the caller itself.
        let about =
            if scope.is_some() && !self.rows().covers(scope.as_ref()) { WatchedResource::Itself } else { WatchedResource::Row(scope) };
        Self { about, ..self }
    }

    /// Returns true if the permission covers a thing.
    pub(crate) fn includes(&self, target: &Target<'_>) -> bool {
        self.holder.rights.include(P::IS, target)
    }

    /// Checks that the permission covers the named resource. A caller that may not see the resource gets the answer that
    /// it does not exist.
    pub(crate) fn demand_on(&self, name: &str, target: &Target<'_>) -> Result<(), Problem> {
        if self.includes(target) {
            return Ok(());
        }
        let is_seen = P::IS.read().is_none_or(|read| read != P::IS && self.holder.rights.include(read, target));
        if is_seen { Err(self.beyond_limit(name)) } else { Err(self.refusing(Missing::new(P::THING, name).into())) }
    }

    /// Returns the problem of a thing that the permission does not cover.
    pub(crate) fn beyond_limit(&self, name: &str) -> Problem {
        self.refusing(BeyondLimit { permission: P::IS.name(), name: name.chars().take(200).collect() }.into())
    }

    /// Returns a problem that is recorded in the log.
    fn refusing(&self, problem: Problem) -> Problem {
        problem.refusing(RecordedRefusal::Request { caller: self.holder.actor(), permission: P::IS.name() })
    }

    /// Returns the caller for the records of the request.
    pub(crate) fn on_behalf(&self, context: &RequestContext) -> OnBehalf {
        Proof::on_behalf(self, context)
    }
}

impl<P: Permission> Lasting for AllowedCaller<P> {
    fn still_holds(&self, access: &dyn Access) -> bool {
        access.admit(&self.credential).is_ok_and(|holder| match &self.about {
            WatchedResource::Row(Some(about)) => rows_of(&holder, P::IS).covers(Some(about)),
            WatchedResource::Itself => holder.rights.reach_itself(P::IS),
            WatchedResource::Nothing | WatchedResource::Row(None) => holder.rights.reach(P::IS).is_some_and(|reach| reach >= self.reach),
        })
    }
}

/// Returns the credential of a request with its holder.
fn holder_of(access: &dyn Access, parts: &Parts) -> Result<(Credential, Arc<Holder>), Problem> {
    let credential = credential_of(parts)?;
    let holder = access.admit(&credential).map_err(|why| {
        let identity = match (why, &credential) {
            // A caller that knows only the id of a token did not prove to be its holder.
            (NotAdmitted::Expired | NotAdmitted::Disabled, Credential::Token { id, .. }) => {
                access.directory().token(id).and_then(|token| token.identity)
            }
            _ => None,
        };
        credential_problem(why.into(), identity)
    })?;
    Ok((credential, holder))
}

/// Checks what the session of a link may reach: its own inquiry, by the routes that serve it. `names` are those in the
/// path of the request.
pub(crate) fn demand_in_link<'n>(
    holder: &Holder,
    links: LinkSessions,
    mut names: impl Iterator<Item = &'n str>,
) -> Result<(), AuthRefusal> {
    let Some(only) = holder.only else { return Ok(()) };
    let is_own = names.all(|name| name.parse() == Ok(only));
    if links == LinkSessions::Served && is_own { Ok(()) } else { Err(AuthRefusal::OnlyOneInquiry) }
}

/// Returns the problem of a caller that lacks a permission, for an answer that only describes it.
pub(crate) fn lacking<P: Permission>() -> Problem {
    AuthRefusal::Forbidden(P::IS.name()).into()
}

/// Returns the rows of views that a permission of a holder covers.
pub(crate) fn rows_of(holder: &Holder, permission: permission::Permission) -> RowReach {
    let within = match holder.rights.reach(permission) {
        None => return RowReach::nothing(),
        Some(Reach::All) => return RowReach::Everything,
        Some(Reach::Limited) => holder.rights.limits(permission),
        Some(Reach::WhatIsAsked | Reach::Itself) => vec![Vec::new()],
    };
    let itself = match holder.by {
        CredentialId::Execution(attempt) if holder.rights.reach_itself(permission) => Some(attempt.execution),
        _ => None,
    };
    let is_asked = holder.rights.reach_what_is_asked(permission);
    let asked = if is_asked { holder.asked_as() } else { Vec::new() };
    RowReach::Within(Arc::new(ReachLimits { all_of: within, asked, itself }))
}

/// Returns the problem of a credential that is not accepted, so that it is recorded.
fn credential_problem(why: AuthRefusal, identity: Option<IdentityId>) -> Problem {
    Problem::from(why).refusing(RecordedRefusal::Token { identity })
}

/// A credential that was verified before its request is answered.
#[derive(Clone)]
struct VerifiedCredential(Credential);

/// Admits the caller that a trusted proxy names, or verifies the signed token of an issuer, if the request has one. The issuer
/// may answer slowly, so this happens before anything else, and not on the thread of the request.
pub(crate) async fn verify(ports: &Ports, threads: &Arc<Threads>, parts: &mut Parts) -> Result<(), Problem> {
    if parts.extensions.get::<VouchedCaller>().is_some() {
        cookies::demand_alone(parts)?;
    } else if let Some(vouched) = by_certificate(ports, parts)? {
        parts.extensions.insert(vouched);
    }
    if let Some(vouched) = parts.extensions.get::<VouchedCaller>().cloned() {
        cookies::demand_own_page_of_browser(parts)?;
        let credential = match ports.vouching.known_credential(&vouched) {
            Some(known) => known,
            None => threads.verifying(move |ports| ports.vouching.admit(&vouched)).await??,
        };
        parts.extensions.insert(VerifiedCredential(credential));
        return Ok(());
    }
    let Ok(Credential::Signed(token)) = credential_of(parts) else { return Ok(()) };
    if let Some(credential) = ports.issuers.cached_credential(&token) {
        parts.extensions.insert(VerifiedCredential(credential));
        return Ok(());
    }
    // The node itself may have signed it.
    if ports.access.admit(&Credential::Signed(token.clone())).err() != Some(NotAdmitted::Unknown) {
        return Ok(());
    }
    let outcome = threads.verifying(move |ports| ports.issuers.verify(&token)).await?;
    let verified = outcome.map_err(Problem::from).and_then(|verified| Ok(verified.ok_or(AuthRefusal::IssuerUnknown)?));
    let refused = |problem: Problem| match problem.status() {
        StatusCode::UNAUTHORIZED => problem.refusing(RecordedRefusal::Token { identity: None }),
        _ => problem,
    };
    parts.extensions.insert(VerifiedCredential(verified.map_err(refused)?));
    Ok(())
}

/// Reports whether the node accepts the caller of a request: by the cookie of a session, or because a proxy or a certificate
/// vouches for it. A request that is refused for another reason than its caller, such as plain HTTP, counts as one with a caller,
/// because the next request says what is wrong.
pub(crate) async fn is_logged_in(ports: &Ports, threads: &Arc<Threads>, parts: &Parts) -> bool {
    let is_by_browser = parts.extensions.get::<VouchedCaller>().is_some()
        || parts.extensions.get::<PeerCertificates>().is_some()
        || cookies::is_given(&parts.headers);
    if !is_by_browser || parts.headers.contains_key(AUTHORIZATION) {
        return false;
    }
    let mut parts = parts.clone();
    let verified = verify(ports, threads, &mut parts).await;
    match verified.and_then(|()| KnownCaller::demand(&*ports.access, &parts, &Secrecy::Open)) {
        Ok(_) => true,
        Err(problem) => problem.status() != StatusCode::UNAUTHORIZED,
    }
}

/// Returns the caller that the certificate of the connection names. A credential in the request itself takes precedence: a
/// gateway may send requests of many callers over its connection.
fn by_certificate(ports: &Ports, parts: &Parts) -> Result<Option<VouchedCaller>, Problem> {
    let Some(PeerCertificates(chain)) = parts.extensions.get() else { return Ok(None) };
    if cookies::demand_alone(parts).is_err() {
        return Ok(None);
    }
    let vouched = ports.vouching.by_certificate(chain);
    vouched.map_err(|declined| Problem::from(declined).refusing(RecordedRefusal::Certificate))
}

/// Returns the one credential of a request.
fn credential_of(parts: &Parts) -> Result<Credential, Problem> {
    if let Some(VerifiedCredential(credential)) = parts.extensions.get() {
        return Ok(credential.clone());
    }
    if parts.uri.query().is_some_and(names_a_token) {
        return Err(AuthRefusal::InUrl.into());
    }
    match cookies::session(parts)? {
        Some(session) => Ok(session),
        None => authorization(parts).map_err(|why| match why {
            AuthRefusal::Invalid => credential_problem(why, None),
            _ => why.into(),
        }),
    }
}

/// Returns the credential in the header `Authorization`.
fn authorization(parts: &Parts) -> Result<Credential, AuthRefusal> {
    let mut given = parts.headers.get_all(AUTHORIZATION).iter();
    let value = given.next().ok_or(AuthRefusal::Missing)?;
    if given.next().is_some() {
        return Err(AuthRefusal::Doubled);
    }
    let text = value.to_str().map_err(|_| AuthRefusal::Invalid)?;
    let (scheme, token) = text.split_once(' ').ok_or(AuthRefusal::Invalid)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthRefusal::Invalid);
    }
    parse_token(token).or_else(|| program_token(token)).or_else(|| signed_token(token)).ok_or(AuthRefusal::Invalid)
}

pub(crate) fn parse_token(text: &str) -> Option<Credential> {
    let (id, secret) = text.strip_prefix(TOKEN_PREFIX)?.split_once('_')?;
    let is_secret =
        (1..=SECRET_CHARS_MAX).contains(&secret.len()) && secret.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_secret {
        return None;
    }
    Some(Credential::Token { id: id.parse().ok()?, secret_sha256: Sha256::digest(secret.as_bytes()).into() })
}

/// Returns a credential that has the form of the token of an attempt: `ensp_<execution>_<attempt>_<mark>`.
fn program_token(text: &str) -> Option<Credential> {
    let (execution, rest) = text.strip_prefix(PROGRAM_PREFIX)?.split_once('_')?;
    let (number, mark) = rest.split_once('_')?;
    let attempt = format!("{execution}/{number}").parse().ok()?;
    let is_plain = mark.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let mark: [u8; 32] = hex::decode(mark).ok().filter(|_| is_plain)?.try_into().ok()?;
    Some(Credential::Program { attempt, mark })
}

/// Returns a credential that has the form of a signed token: three parts of base64url.
fn signed_token(text: &str) -> Option<Credential> {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let is_signed = text.starts_with("eyJ") && text.split('.').count() == 3 && text.split('.').all(is_part);
    is_signed.then(|| Credential::Signed(text.into()))
}

fn names_a_token(query: &str) -> bool {
    query.split('&').any(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        TOKEN_PARAMETERS.iter().any(|known| name.eq_ignore_ascii_case(known))
            || [TOKEN_PREFIX, REFRESH_PREFIX, PROGRAM_PREFIX].iter().any(|prefix| pair.contains(prefix))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01980000-0000-7000-8000-00000000000a";

    #[test]
    fn token_is_a_prefix_an_id_and_a_secret() {
        let Some(Credential::Token { id, secret_sha256 }) = parse_token(&format!("ens_{ID}_s3cret_with-both")) else { panic!("no token") };
        assert_eq!(id.to_string(), ID);
        assert_eq!(secret_sha256[..], Sha256::digest(b"s3cret_with-both")[..]);
    }

    #[test]
    fn token_of_an_attempt_is_a_prefix_an_attempt_and_a_mark() {
        let mark = "0f".repeat(32);
        let Some(Credential::Program { attempt, mark: read }) = program_token(&format!("ensp_{ID}_12_{mark}")) else { panic!("no token") };
        assert_eq!((attempt.to_string(), read), (format!("{ID}/12"), [0x0f; 32]));
        for bad in [
            format!("ens_{ID}_1_{mark}"),
            format!("ensp_{ID}_{mark}"),
            format!("ensp_{ID}_01_{mark}"),
            format!("ensp_{ID}_+1_{mark}"),
            format!("ensp_{ID}_4294967296_{mark}"),
            format!("ensp_{}_1_{mark}", ID.to_uppercase()),
            format!("ensp_{ID}_1_{}", mark.to_uppercase()),
            format!("ensp_{ID}_1_{}", &mark[2..]),
            format!("ensp_{ID}_1_{mark}0f"),
            format!("ensp_{ID}_1_{mark}_1"),
        ] {
            assert!(program_token(&bad).is_none() && parse_token(&bad).is_none_or(|_| bad.starts_with("ens_")), "{bad}");
        }
    }

    #[test]
    fn signed_token_is_three_parts_of_base64url() {
        assert!(matches!(signed_token("eyJh.eyJz.c2ln-_"), Some(Credential::Signed(text)) if &*text == "eyJh.eyJz.c2ln-_"));
        for text in ["eyJh", "eyJh.eyJz", "eyJh.eyJz.", "eyJh.eyJz.x.y", "eyJh.eyJz.a=b", "xyJh.eyJz.c2ln"] {
            assert!(signed_token(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn malformed_token_is_rejected() {
        let upper = format!("ens_{}_x", ID.to_uppercase());
        for text in ["", "nothing", "ens_", "ens_x_y", &format!("ens_{ID}"), &format!("ens_{ID}_"), &format!("ens_{ID}_a b"), &upper] {
            assert!(parse_token(text).is_none(), "{text:?}");
        }
        assert!(parse_token(&format!("ens_{ID}_{}", "x".repeat(129))).is_none());
    }

    #[test]
    fn token_in_the_url_is_detected() {
        assert!(names_a_token("limit=1&api_key=x"));
        assert!(names_a_token("Token=x"));
        assert!(names_a_token("name=ens_1234") && names_a_token("name=ensr_1234") && names_a_token("name=ensp_1234"));
        assert!(!names_a_token("limit=1&action=core.echo"));
    }
}
