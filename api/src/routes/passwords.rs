//! Passwords and authenticator apps of persons.

use axum::body::Body;
use axum::http::{Method, Response, StatusCode};
use ensue_engine::explain::Explain;
use ensue_engine::ports::Secret;
use thiserror::Error;

use super::Routes;
use super::guard::note_refused;
use super::login_attempts::{address, attempt_of, current, network, private, problem_of};
use crate::auth::{AllowedCaller, KnownCaller, Proof as _};
use crate::call::Call;
use crate::cookies;
use crate::operation::{BodyPresence, Content, Operation, Takes, WRITTEN, schema_of};
use crate::permissions::{IdentitiesRead, IdentitiesWrite, Permission as _};
use crate::ports::{OtpAtReset, PasswordAttempt};
use crate::problem::{Missing, Outcome, Problem};
use crate::rates::{self, Class};
use crate::respond;
use crate::route::Public;
use crate::wire::sessions::{
    WireAskedOtp, WireGoneOtp, WireLoginLink, WireNewOtp, WireNewPassword, WireOtpCode, WirePasswordByCode, WireRecoveryCodes, WireReset,
};

/// The parameter of the URL of an authenticator app that has its secret.
const SECRET_PARAMETER: &str = "secret=";

/// The caller is no person.
#[derive(Debug, Error, Explain)]
#[error("no person holds this token, so it has no password")]
#[explain(slug = "person-required", fault = Conflict, hint = "log in as a person")]
struct NoPerson;

/// Declares the routes of this file.
pub(super) fn declare(routes: &mut Routes) {
    const REFUSED: &[(u16, &str)] = &[
        (401, "login_refused"),
        (401, "otp_required"),
        (403, "insecure_transport"),
        (403, "passwords_off"),
        (409, "otp_exists"),
        (409, "otp_missing"),
        (409, "person_required"),
        (422, "password_weak"),
        (429, "login_throttled"),
        (503, "busy"),
    ];
    routes.for_any_caller(
        Method::POST,
        "/auth/password",
        change,
        Operation::new("auth_change_password", "Replaces the caller's password, and ends its other sessions")
            .takes_json::<WireNewPassword>(r#"{"old": "correct horse battery", "new": "staple of the harbor"}"#)
            .passes_keys_over()
            .gives_content(204, "The password counts from now on.", Content::Nothing, WRITTEN)
            .refuses(REFUSED),
    );
    routes.public(
        Public::ResetPassword,
        set_by_code,
        Operation::new("auth_reset", "Sets the password of the person whom a code is for, and ends its sessions")
            .takes_json::<WirePasswordByCode>(r#"{"code": "01980000-0000-7000-8000-00000000000a_c0de", "new": "staple of the harbor"}"#)
            .gives_content(204, "The password counts from now on.", Content::Nothing, WRITTEN)
            .refuses(&[
                (401, "token_invalid"),
                (403, "insecure_transport"),
                (403, "passwords_off"),
                (409, "link_used"),
                (410, "link_expired"),
                (422, "password_weak"),
                (429, "rate_limited"),
                (503, "busy"),
            ]),
    );
    routes.post::<IdentitiesWrite>(
        "/identities/{name}/reset",
        reset,
        Operation::new("identity_reset", "Creates a code with which a person sets a password within a day, and shows it once")
            .takes(Takes::Json { schema: schema_of::<WireReset>, example: r#"{"otp": false}"#, presence: BodyPresence::Optional })
            .passes_keys_over()
            .gives::<WireLoginLink<'static>>(201, "The code is valid.", &[])
            .refuses(&[(403, "beyond_own_rights"), (403, "passwords_off"), (409, "limit_reached"), (409, "person_required")]),
    );
    routes.for_any_caller(
        Method::POST,
        "/auth/otp",
        add_otp,
        Operation::new("auth_add_otp", "Begins a new authenticator app of the caller, and shows its secret once")
            .takes_json::<WireAskedOtp>(r#"{"password": "correct horse battery"}"#)
            .passes_keys_over()
            .gives::<WireNewOtp<'static>>(200, "The app counts once it is confirmed.", &[])
            .refuses(REFUSED),
    );
    routes.for_any_caller(
        Method::POST,
        "/auth/otp/confirm",
        confirm_otp,
        Operation::new("auth_confirm_otp", "Confirms the new authenticator app with a code of it, and shows the recovery codes once")
            .takes_json::<WireOtpCode>(r#"{"code": "123456"}"#)
            .passes_keys_over()
            .gives::<WireRecoveryCodes>(200, "Logins need a code from now on.", WRITTEN)
            .refuses(&[
                (403, "insecure_transport"),
                (403, "passwords_off"),
                (409, "otp_exists"),
                (409, "otp_missing"),
                (409, "person_required"),
                (422, "otp_wrong"),
            ]),
    );
    routes.for_any_caller(
        Method::POST,
        "/auth/otp/remove",
        remove_otp,
        Operation::new("auth_remove_otp", "Removes the authenticator app of the caller")
            .takes_json::<WireGoneOtp>(r#"{"password": "correct horse battery", "otp": "123456"}"#)
            .passes_keys_over()
            .gives_content(204, "Logins need no code from now on.", Content::Nothing, WRITTEN)
            .refuses(REFUSED),
    );
}

/// Replaces the caller's password.
pub(super) async fn change(known: KnownCaller, mut call: Call) -> Outcome {
    cookies::demand_private(call.request())?;
    let WireNewPassword { old, new } = call.json().await?;
    let (attempt, by) = (own_attempt(&known, &call, old.0, None)?, known.on_behalf(call.context()));
    let changed = call.api().threads.hashing(move |ports| ports.passwords.change(&attempt, &new.0, &by)).await?;
    Ok(respond::no_content(changed.map_err(problem_of)?.position))
}

/// Sets a password with a code.
pub(super) async fn set_by_code(mut call: Call) -> Outcome {
    let api = call.api().clone();
    let standing = api.rates.count(Class::Logins, || network(&call));
    let asked = async {
        standing.map_or(Ok(()), |standing| standing.demand())?;
        cookies::demand_private(call.request())?;
        let WirePasswordByCode { code, new } = call.json().await?;
        let trace = Some(call.context().recorded_trace());
        let committed = api.threads.hashing(move |ports| ports.passwords.set_by_code(&code.0, &new.0, trace)).await??;
        Ok(respond::no_content(committed.position))
    };
    let outcome: Outcome = asked.await;
    if let Err(problem) = &outcome {
        note_refused(&*api.ports.refusals, problem, address(&call));
    }
    rates::standing(standing, outcome)
}

/// Creates a code with which a person sets a password.
pub(super) async fn reset(allowed: AllowedCaller<IdentitiesWrite>, mut call: Call) -> Outcome {
    cookies::demand_private(call.request())?;
    let name = call.part("name").to_owned();
    let WireReset { otp } = call.json_or_nothing().await?;
    let id = call.api().ports.access.identity_named(&name).ok_or_else(|| Missing::new(IdentitiesRead::THING, &name))?;
    let otp = if otp { OtpAtReset::Removed } else { OtpAtReset::Kept };
    let by = allowed.on_behalf(call.context());
    let minted = call.api().threads.blocking(move |ports| ports.passwords.reset(id, otp, &by)).await??;
    let code = std::str::from_utf8(minted.code.reveal()).map_err(|why| Problem::bug(&why))?;
    let mut response = private(respond::json(&WireLoginLink { code, until: minted.until })?);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// Begins a new authenticator app.
pub(super) async fn add_otp(known: KnownCaller, mut call: Call) -> Outcome {
    cookies::demand_private(call.request())?;
    let WireAskedOtp { password } = call.json().await?;
    let attempt = own_attempt(&known, &call, password.0, None)?;
    let added = call.api().threads.hashing(move |ports| ports.passwords.add_otp(&attempt)).await?.map_err(problem_of)?;
    let url = std::str::from_utf8(added.url.reveal()).map_err(|why| Problem::bug(&why))?;
    let parameters = url.split_once('?').map(|(_, parameters)| parameters).unwrap_or_default();
    let secret = parameters.split('&').find_map(|parameter| parameter.strip_prefix(SECRET_PARAMETER)).unwrap_or_default();
    Ok(private(respond::json(&WireNewOtp { secret, url })?))
}

/// Confirms a new authenticator app.
pub(super) async fn confirm_otp(known: KnownCaller, mut call: Call) -> Outcome {
    cookies::demand_private(call.request())?;
    let WireOtpCode { code } = call.json().await?;
    let (id, _) = known.holder().identity.clone().ok_or(NoPerson)?;
    let by = known.on_behalf(call.context());
    let (codes, committed) = call.api().threads.blocking(move |ports| ports.passwords.confirm_otp(id, &code.0, &by)).await??;
    let recovery_codes = codes.iter().map(|code| String::from_utf8_lossy(code.reveal()).into_owned()).collect();
    let answer: Response<Body> =
        respond::answer_write(crate::respond::WriteOutcome::Done, committed.position, &WireRecoveryCodes { recovery_codes })?;
    Ok(private(answer))
}

/// Removes the authenticator app.
pub(super) async fn remove_otp(known: KnownCaller, mut call: Call) -> Outcome {
    cookies::demand_private(call.request())?;
    let WireGoneOtp { password, otp } = call.json().await?;
    let (attempt, by) = (own_attempt(&known, &call, password.0, Some(otp.0))?, known.on_behalf(call.context()));
    let removed = call.api().threads.hashing(move |ports| ports.passwords.remove_otp(&attempt, &by)).await?;
    Ok(respond::no_content(removed.map_err(problem_of)?.position))
}

/// Returns the attempt of a caller who proves once more who it is.
fn own_attempt(known: &KnownCaller, call: &Call, password: Secret, otp: Option<Secret>) -> Result<PasswordAttempt, NoPerson> {
    let (_, name) = known.holder().identity.clone().ok_or(NoPerson)?;
    Ok(attempt_of(call, name, (password, otp), current(known.holder())))
}
