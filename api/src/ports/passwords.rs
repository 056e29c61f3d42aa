//! Passwords and authenticator apps of persons.

use std::net::IpAddr;
use std::time::Duration;

use ensue_engine::explain::Explain;
use ensue_engine::ids::{IdentityId, SessionId};
use ensue_engine::ports::{Committed, Secret};

use super::{Declined, LoginFrom, MintedCode, OnBehalf, OpenedSession};

/// The passwords and authenticator apps. Every method blocks, and returns after the commit.
pub trait Passwords: Send + Sync {
    /// Returns true if people log in with passwords.
    fn are_allowed(&self) -> bool;
    /// Opens a session of the person whose password it is. The attempt is counted before it is evaluated.
    fn open(&self, attempt: &Attempt, from: &LoginFrom) -> Result<OpenedSession, RefusedAttempt>;
    /// Replaces a password, and ends the other sessions of the person.
    fn change(&self, attempt: &Attempt, new: &Secret, by: &OnBehalf) -> Result<Committed, RefusedAttempt>;
    /// Creates a code with which a person sets a password once; it is returned only now.
    fn reset(&self, id: IdentityId, otp: OtpAtReset, by: &OnBehalf) -> Result<MintedCode, Declined>;
    /// Sets the password of the person whom a code is for, and ends its sessions.
    fn set_by_code(&self, code: &Secret, new: &Secret, trace: Option<String>) -> Result<Committed, Declined>;
    /// Returns the secret of a new authenticator app. It counts once [`Self::confirm_otp`] has confirmed it.
    fn add_otp(&self, attempt: &Attempt) -> Result<NewOtp, RefusedAttempt>;
    /// Confirms the new authenticator app with a code of it. Returns the recovery codes, which are shown only now.
    fn confirm_otp(&self, id: IdentityId, code: &Secret, by: &OnBehalf) -> Result<(Vec<Secret>, Committed), Declined>;
    /// Removes the authenticator app, whose code is part of the attempt.
    fn remove_otp(&self, attempt: &Attempt, by: &OnBehalf) -> Result<Committed, RefusedAttempt>;
}

/// Somebody who says who it is, and proves it with a password.
pub struct Attempt {
    /// The name that was typed, whether or not somebody has it.
    pub name: String,
    /// The password.
    pub password: Secret,
    /// A code of the authenticator app, or a recovery code.
    pub otp: Option<Secret>,
    /// The address that the attempt comes from, if it is known.
    pub address: Option<IpAddr>,
    /// The session whose cookie the device still has, with the secret of the cookie. It may have ended.
    pub device: Option<(SessionId, Secret)>,
    /// The session of the request, if somebody is logged in already.
    pub session: Option<SessionId>,
}

/// What happens to the authenticator app when a password is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtpAtReset {
    /// It stays.
    Kept,
    /// It is removed.
    Removed,
}

/// A new authenticator app.
pub struct NewOtp {
    /// The URL that the app reads as a QR code (`otpauth:`). It has the secret.
    pub url: Secret,
}

/// An attempt that did not succeed.
pub struct RefusedAttempt {
    /// The reason.
    pub declined: Declined,
    /// Whether it is recorded.
    pub noted: Noted,
    /// When the next attempt is evaluated, if this one was not.
    pub retry_after: Option<Duration>,
}

/// Whether a refused attempt is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is, for the identity that has the name, if there is one.
    Refused(Option<IdentityId>),
    /// It is not: nobody was refused.
    Nothing,
}

impl<E: Explain + Send + Sync + 'static> From<E> for RefusedAttempt {
    fn from(why: E) -> Self {
        Self { declined: why.into(), noted: Noted::Nothing, retry_after: None }
    }
}

impl From<Declined> for RefusedAttempt {
    fn from(declined: Declined) -> Self {
        Self { declined, noted: Noted::Nothing, retry_after: None }
    }
}
