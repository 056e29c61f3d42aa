//! Passwords and authenticator apps of persons.

use std::net::IpAddr;
use std::time::Duration;

use ensue_engine::explain::Explain;
use ensue_engine::ids::{IdentityId, SessionId};
use ensue_engine::ports::{CommitReceipt, Secret};

use super::{LoginFrom, MintedCode, OnBehalf, OpenedSession, PortError};

/// The passwords and authenticator apps. Every method blocks, and returns after the commit.
pub trait Passwords: Send + Sync {
    /// Returns true if people log in with passwords.
    fn are_allowed(&self) -> bool;
    /// Opens a session of the person whose password it is. The attempt is counted before it is evaluated.
    fn open(&self, attempt: &PasswordAttempt, from: &LoginFrom) -> Result<OpenedSession, RefusedAttempt>;
    /// Replaces a password, and ends the other sessions of the person.
    fn change(&self, attempt: &PasswordAttempt, new: &Secret, by: &OnBehalf) -> Result<CommitReceipt, RefusedAttempt>;
    /// Creates a code with which a person sets a password once; it is returned only now.
    fn reset(&self, id: IdentityId, otp: OtpAtReset, by: &OnBehalf) -> Result<MintedCode, PortError>;
    /// Sets the password of the person whom a code is for, and ends its sessions.
    fn set_by_code(&self, code: &Secret, new: &Secret, trace: Option<String>) -> Result<CommitReceipt, PortError>;
    /// Returns the secret of a new authenticator app. It counts once [`Self::confirm_otp`] has confirmed it.
    fn add_otp(&self, attempt: &PasswordAttempt) -> Result<NewOtp, RefusedAttempt>;
    /// Confirms the new authenticator app with a code of it. Returns the recovery codes, which are shown only now.
    fn confirm_otp(&self, id: IdentityId, code: &Secret, by: &OnBehalf) -> Result<(Vec<Secret>, CommitReceipt), PortError>;
    /// Removes the authenticator app, whose code is part of the attempt.
    fn remove_otp(&self, attempt: &PasswordAttempt, by: &OnBehalf) -> Result<CommitReceipt, RefusedAttempt>;
}

/// Somebody who says who it is, and proves it with a password.
pub struct PasswordAttempt {
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
    pub declined: PortError,
    /// Whether it is recorded.
    pub noted: RefusalNote,
    /// When the next attempt is evaluated, if this one was not.
    pub retry_after: Option<Duration>,
}

/// Whether a refused attempt is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalNote {
    /// It is, for the identity that has the name, if there is one.
    Refused(Option<IdentityId>),
    /// It is not: nobody was refused.
    Nothing,
}

impl<E: Explain + Send + Sync + 'static> From<E> for RefusedAttempt {
    fn from(why: E) -> Self {
        Self { declined: why.into(), noted: RefusalNote::Nothing, retry_after: None }
    }
}

impl From<PortError> for RefusedAttempt {
    fn from(declined: PortError) -> Self {
        Self { declined, noted: RefusalNote::Nothing, retry_after: None }
    }
}
