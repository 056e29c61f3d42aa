//! Opening, refreshing and ending sessions.

use std::net::IpAddr;
use std::sync::Arc;

use ensue_engine::access::facts::SessionEnd;
use ensue_engine::ids::SessionId;
use ensue_engine::ports::{Committed, Secret};
use ensue_engine::time::Timestamp;

use super::{Declined, Holder, OnBehalf};

/// The sessions. Methods that return a `Result` block, and return after the commit.
pub trait Sessions: Send + Sync {
    /// Opens a session; its secrets are returned only this once.
    fn open(&self, login: &Login) -> Result<OpenedSession, Declined>;
    /// Exchanges a refresh token for the next pair. At most one successor of a token ever exists.
    fn refresh(&self, token: &Secret) -> Result<Pair, Declined>;
    /// Ends sessions; those that are not open stay as they are.
    fn end(&self, sessions: Vec<SessionId>, reason: SessionEnd, by: &OnBehalf) -> Result<Committed, Declined>;
    /// Returns what is known of an open session besides the log. Quick.
    fn seen(&self, id: SessionId) -> Option<SeenSession>;
    /// Returns the public keys that verify access tokens, as JSON Web Keys. Quick.
    fn public_keys(&self) -> Vec<serde_json::Value>;
}

/// A login that succeeded.
#[derive(Clone, Debug)]
pub struct Login {
    /// The holder of the credential that proved it.
    pub holder: Arc<Holder>,
    /// How: `token`, `password`, or another word of `session.opened`.
    pub way: String,
    /// What the session is used with.
    pub form: SessionForm,
    /// The program that logged in, in a few words.
    pub agent: String,
    /// The address that it came from.
    pub address: Option<IpAddr>,
    /// The W3C trace of the request.
    pub trace: Option<String>,
}

/// What a session is used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionForm {
    /// A cookie of a browser.
    Cookie,
    /// An access token and a refresh token of a program.
    Pair,
}

/// A session that was just opened.
pub struct OpenedSession {
    /// Its id.
    pub id: SessionId,
    /// When it ends at the latest.
    pub until: Timestamp,
    /// What its holder sends from now on.
    pub secret: SessionSecret,
    /// The sequencer's reply.
    pub committed: Committed,
}

/// What the holder of a session sends.
pub enum SessionSecret {
    /// The secret of a cookie.
    Cookie(Secret),
    /// Tokens of a program.
    Pair(Pair),
}

/// The tokens of a session.
pub struct Pair {
    /// The session.
    pub session: SessionId,
    /// The access token.
    pub access: Secret,
    /// For how many seconds the access token is still valid.
    pub expires_in: u64,
    /// The refresh token.
    pub refresh: Secret,
}

/// What is known of an open session besides the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenSession {
    /// When it was last used.
    pub used_at: Timestamp,
    /// The program that logged in, in a few words.
    pub agent: String,
    /// The address that it came from.
    pub address: String,
}
