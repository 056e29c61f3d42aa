//! Sessions: logins that are in force.

use std::fmt;

use ensue_derive::wire;
use ensue_engine::access::state::Session;
use ensue_engine::ids::{InquiryId, SessionId};
use ensue_engine::ports::Secret;
use ensue_engine::time::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::ports::{Access, Pair, SeenSession};

/// A session.
#[wire(Serialize)]
pub(crate) struct WireSession {
    id: SessionId,
    /// The name of the identity, or of the token if no identity holds it.
    of: String,
    /// How it logged in: `token`, `password`, `link`, `device` or `oidc/<issuer>`.
    way: String,
    opened_at: Timestamp,
    used_at: Timestamp,
    /// When it ends at the latest.
    until: Timestamp,
    /// The program that logged in, in a few words.
    agent: String,
    /// The address that it came from.
    address: String,
    /// Whether the request belongs to it.
    current: bool,
    /// The only inquiry that it serves, if a link opened it.
    only: Option<InquiryId>,
}

impl WireSession {
    /// Shows a session.
    pub(crate) fn new(
        (id, session): (SessionId, &Session),
        seen: Option<SeenSession>,
        access: &dyn Access,
        current: Option<SessionId>,
    ) -> Self {
        let opened_at = Timestamp::from_micros(i64::try_from(id.0.unix_millis() * 1_000).unwrap_or(i64::MAX));
        let of_identity = session.identity.map(|id| access.name_of(id).unwrap_or_else(|| id.to_string()));
        let of_token = || session.credential.and_then(|token| access.directory().token(&token).map(|token| token.name.clone()));
        let seen = seen.unwrap_or(SeenSession { used_at: opened_at, agent: String::new(), address: String::new() });
        Self {
            id,
            of: of_identity.or_else(of_token).unwrap_or_default(),
            way: session.way.clone(),
            opened_at,
            used_at: seen.used_at,
            until: session.until,
            agent: seen.agent,
            address: seen.address,
            current: current == Some(id),
            only: session.only,
        }
    }

    /// Returns the id.
    pub(crate) fn id(&self) -> SessionId {
        self.id
    }
}

/// A secret in a request.
pub(crate) struct GivenSecret(pub(crate) Secret);

impl fmt::Debug for GivenSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given(…)")
    }
}

impl<'de> Deserialize<'de> for GivenSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Secret::new(String::deserialize(deserializer)?.into_bytes())))
    }
}

/// A request to log in.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireLogin {
    /// A token: the session has its rights, and ends with it.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(crate) token: Option<GivenSecret>,
    /// The code of a login link, or of a login that a program began.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(crate) code: Option<GivenSecret>,
    /// The verifier of a login that a program began (RFC 7636).
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(crate) verifier: Option<GivenSecret>,
    /// The name of a person.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// The password of the person.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(crate) password: Option<GivenSecret>,
    /// A code of the authenticator app of the person, or a recovery code.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub(crate) otp: Option<GivenSecret>,
}

/// A request to replace the caller's own password.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireNewPassword {
    /// The password until now.
    #[schemars(with = "String")]
    pub(crate) old: GivenSecret,
    /// The new password: at least 12 bytes, and not a common one.
    #[schemars(with = "String")]
    pub(crate) new: GivenSecret,
}

/// A request to set a password with a code.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WirePasswordByCode {
    /// The code.
    #[schemars(with = "String")]
    pub(crate) code: GivenSecret,
    /// The new password: at least 12 bytes, and not a common one.
    #[schemars(with = "String")]
    pub(crate) new: GivenSecret,
}

/// What happens at a reset besides the password.
#[wire(Deserialize)]
#[derive(Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireReset {
    /// Whether the authenticator app is removed as well.
    #[serde(default)]
    pub(crate) otp: bool,
}

/// A request to add an authenticator app.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireAskedOtp {
    /// The password of the caller.
    #[schemars(with = "String")]
    pub(crate) password: GivenSecret,
}

/// A new authenticator app.
#[wire(Serialize)]
pub(crate) struct WireNewOtp<'o> {
    /// The secret, for apps that do not read the URL. It is shown only now.
    pub(crate) secret: &'o str,
    /// The URL that an app reads as a QR code. It is shown only now.
    pub(crate) url: &'o str,
}

/// The first code of a new authenticator app.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireOtpCode {
    /// The code that the app shows.
    #[schemars(with = "String")]
    pub(crate) code: GivenSecret,
}

/// Codes for when the authenticator app is lost.
#[wire(Serialize)]
pub(crate) struct WireRecoveryCodes {
    /// The codes, which are shown only now. Each works once.
    pub(crate) recovery_codes: Vec<String>,
}

/// A request to remove the authenticator app.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireGoneOtp {
    /// The password of the caller.
    #[schemars(with = "String")]
    pub(crate) password: GivenSecret,
    /// A code of the app, or a recovery code.
    #[schemars(with = "String")]
    pub(crate) otp: GivenSecret,
}

/// A code that opens a session of a token once.
#[wire(Serialize)]
pub(crate) struct WireLoginLink<'c> {
    /// The code, which is shown only now.
    pub(crate) code: &'c str,
    /// Until when it is valid.
    pub(crate) until: Timestamp,
}

/// A session that was opened with a cookie.
#[wire(Serialize)]
pub(crate) struct WireOpenedSession {
    pub(crate) id: SessionId,
    /// When it ends at the latest.
    pub(crate) until: Timestamp,
}

/// A request to exchange a refresh token.
#[wire(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WireRefresh {
    #[schemars(with = "String")]
    pub(crate) refresh_token: GivenSecret,
}

/// The tokens of a session.
#[wire(Serialize)]
pub(crate) struct WirePair<'p> {
    /// Send it as `Authorization: Bearer …`.
    access_token: &'p str,
    /// `Bearer`.
    token_type: &'static str,
    /// For how many seconds the access token is valid.
    expires_in: u64,
    /// Exchanges for the next pair, once.
    refresh_token: &'p str,
    session: SessionId,
}

impl<'p> WirePair<'p> {
    /// Shows a pair.
    pub(crate) fn new(pair: &'p Pair) -> Result<Self, std::str::Utf8Error> {
        Ok(Self {
            access_token: std::str::from_utf8(pair.access.reveal())?,
            token_type: "Bearer",
            expires_in: pair.expires_in,
            refresh_token: std::str::from_utf8(pair.refresh.reveal())?,
            session: pair.session,
        })
    }
}

/// The keys that verify access tokens (RFC 7517).
#[wire(Serialize)]
pub(crate) struct WireKeySet {
    pub(crate) keys: Vec<serde_json::Value>,
}
