//! Opening, refreshing and ending sessions.

use std::net::IpAddr;
use std::time::Duration;

use ensue_engine::access::facts::SessionEnd;
use ensue_engine::ids::{IdentityId, InquiryId, LinkId, SessionId, TokenId};
use ensue_engine::ports::{CommitReceipt, Secret};
use ensue_engine::record::Digest;
use ensue_engine::time::Timestamp;

use super::{OnBehalf, PortError};

/// The sessions. Methods that return a `Result` block, and return after the commit.
pub trait Sessions: Send + Sync {
    /// Opens a session; its secrets are returned only this once.
    fn open(&self, login: &Login) -> Result<OpenedSession, PortError>;
    /// Exchanges a refresh token for the next pair. At most one successor of a token ever exists.
    fn refresh(&self, token: &Secret) -> Result<Pair, PortError>;
    /// Creates a code that opens a session once; it is returned only now.
    fn mint(&self, code: &AskedCode) -> Result<MintedCode, PortError>;
    /// Uses up a code. `verifier` is the secret of whoever began the login, whose SHA-256 the code was created with; a
    /// code that was created without one needs none.
    fn redeem(&self, code: &Secret, verifier: Option<&Secret>) -> Result<RedeemedCode, PortError>;
    /// Creates a link that opens a session once with the rights of a token; its code is returned only now.
    fn mint_login_link(&self, link: &AskedLoginLink, by: &OnBehalf) -> Result<(MintedCode, CommitReceipt), PortError>;
    /// Creates a link with which one person sees and answers one inquiry, and nothing else; its code is returned only now.
    fn mint_link(&self, link: &AskedInquiryLink, by: &OnBehalf) -> Result<(MintedCode, CommitReceipt), PortError>;
    /// Opens the session of such a link. It works once, while the inquiry waits for answers.
    fn open_link(&self, code: &Secret, from: &LoginFrom) -> Result<OpenedSession, PortError>;
    /// SessionEnds sessions; those that are not open stay as they are.
    fn end(&self, sessions: Vec<SessionId>, reason: SessionEnd, by: &OnBehalf) -> Result<CommitReceipt, PortError>;
    /// Returns what is known of an open session besides the log. Quick.
    fn last_seen(&self, id: SessionId) -> Option<SeenSession>;
    /// Returns the public keys that verify access tokens, as JSON Web Keys. Quick.
    fn public_keys(&self) -> Vec<serde_json::Value>;
}

/// A login that succeeded.
#[derive(Clone, Debug)]
pub struct Login {
    /// Whose rights the session has.
    pub of: LoginOf,
    /// How: `token`, `password`, or another word of `session.opened`.
    pub way: String,
    /// The login link that was used, if one was.
    pub link: Option<LinkId>,
    /// What the session is used with.
    pub form: SessionForm,
    /// What ends it before its own time is over.
    pub ends: SessionEnds,
    /// The program that logged in, in a few words.
    pub agent: String,
    /// The address that it came from.
    pub address: Option<IpAddr>,
    /// The W3C trace of the request.
    pub trace: Option<String>,
}

/// What ends a session before its own time is over.
#[derive(Clone, Debug, Default)]
pub struct SessionEnds {
    /// The time at which it ends at the latest.
    pub by: Option<Timestamp>,
    /// The login at an issuer with which it ends.
    pub with: Option<AtIssuer>,
}

/// A login at an issuer.
#[derive(Clone)]
pub enum AtIssuer {
    /// One that has just succeeded, in the node's own form.
    New(Secret),
    /// That of another session.
    Of(SessionId),
}

impl std::fmt::Debug for AtIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::New(_) => f.write_str("New"),
            Self::Of(session) => f.debug_tuple("Of").field(session).finish(),
        }
    }
}

/// Where a login comes from, and what its session is used with.
#[derive(Clone, Debug)]
pub struct LoginFrom {
    /// What the session is used with.
    pub form: SessionForm,
    /// The program that logs in, in a few words.
    pub agent: String,
    /// The address that it comes from.
    pub address: Option<IpAddr>,
    /// The W3C trace of the request.
    pub trace: Option<String>,
}

impl Login {
    /// Creates a login of somebody that comes from there.
    pub fn of(of: LoginOf, way: &str, from: &LoginFrom) -> Self {
        let LoginFrom { form, agent, address, trace } = from.clone();
        Self { of, way: way.to_owned(), link: None, form, ends: SessionEnds::default(), agent, address, trace }
    }
}

/// A link to an inquiry that is asked for.
#[derive(Clone, Debug)]
pub struct AskedInquiryLink {
    /// The inquiry.
    pub inquiry: InquiryId,
    /// The digest of what it asks.
    pub digest: Digest,
    /// When the inquiry expires.
    pub expires_at: Option<Timestamp>,
    /// The person.
    pub identity: IdentityId,
    /// The name of the person.
    pub name: String,
}

/// Whose rights a session has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOf {
    /// Those of a token, with which the session ends.
    Token(TokenId),
    /// Those of an identity.
    Identity(IdentityId),
}

/// A login link that is asked for.
#[derive(Clone, Debug)]
pub struct AskedLoginLink {
    /// The token whose rights the session will have.
    pub token: TokenId,
    /// Its name.
    pub name: String,
    /// How long the link is valid.
    pub valid_for: Duration,
}

/// A code that is asked for.
#[derive(Clone, Debug)]
pub struct AskedCode {
    /// Whose rights the session will have.
    pub of: LoginOf,
    /// How its holder logs in: the word of `session.opened`.
    pub way: String,
    /// How long the code is valid.
    pub valid_for: Duration,
    /// The SHA-256 of the verifier in base64url without padding (PKCE S256, RFC 7636), if only the program that began
    /// the login may use the code.
    pub challenge: Option<String>,
    /// What ends the session before its own time is over.
    pub ends: SessionEnds,
}

/// A code that was just created.
pub struct MintedCode {
    /// The code, which is not stored.
    pub code: Secret,
    /// Until when it is valid.
    pub until: Timestamp,
}

/// What a code stands for.
#[derive(Clone, Debug)]
pub struct RedeemedCode {
    /// Whose rights the session has.
    pub of: LoginOf,
    /// How its holder logs in.
    pub way: String,
    /// The login link that the code is of.
    pub link: Option<LinkId>,
    /// What ends the session before its own time is over.
    pub ends: SessionEnds,
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
    pub committed: CommitReceipt,
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
