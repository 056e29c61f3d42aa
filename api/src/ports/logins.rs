//! Logins of people through issuers, in a browser.

use ensue_engine::ids::IdentityId;
use ensue_engine::names::IssuerName;
use ensue_engine::ports::Secret;

use super::{PortError, SessionEnds};

/// The logins that browsers began. Each is bound to its browser by the secret of a cookie.
pub trait Logins: Send + Sync {
    /// Names the issuers through which people log in. Quick.
    fn issuers(&self) -> Vec<IssuerName>;
    /// Starts a login. Blocking: it may ask the issuer.
    fn start(&self, login: AskedLogin) -> Result<StartedLogin, PortError>;
    /// SessionEnds the login of this cookie with the callback of an issuer, which counts once. Adds the identity if it is new.
    /// Blocking: it asks the issuer and may write to the log.
    fn finish(&self, issuer: &IssuerName, cookie: &Secret, query: &str) -> Result<FinishedLogin, PortError>;
    /// Ends the sessions that a logout token of an issuer names. Blocking: it may ask the issuer, and writes to the log.
    fn log_out(&self, issuer: &IssuerName, token: &Secret) -> Result<(), PortError>;
    /// Lets the login of a terminal wait for the consent of its person, and returns the secret of a new cookie. Quick.
    fn ask_consent(&self, login: TerminalLogin) -> Result<Secret, PortError>;
    /// Returns the login that waits for consent under this cookie. Quick.
    fn waiting(&self, cookie: &Secret) -> Option<TerminalLogin>;
    /// Returns the login that waits for consent under this cookie, once. Quick.
    fn take_waiting(&self, cookie: &Secret) -> Option<TerminalLogin>;
}

/// A login that is to start.
#[derive(Clone, Debug)]
pub struct AskedLogin {
    /// The issuer.
    pub issuer: IssuerName,
    /// Where the issuer sends the browser back.
    pub redirect_uri: String,
    /// What follows.
    pub then: AfterLogin,
}

/// What follows a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterLogin {
    /// The browser has a session, and goes to this path of the node.
    Page(String),
    /// A terminal on the machine of the browser gets a session, if the person consents.
    Terminal(Terminal),
}

/// A terminal that waits for a login, on the machine of the browser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// The port at which it listens.
    pub port: u16,
    /// The SHA-256 of its verifier (PKCE S256).
    pub challenge: String,
    /// What it expects to get back with the code.
    pub state: String,
}

/// A login that was started.
pub struct StartedLogin {
    /// Where the browser goes.
    pub url: String,
    /// The secret of the cookie that binds the login to the browser.
    pub cookie: Secret,
}

/// A login that an issuer confirmed.
#[derive(Clone, Debug)]
pub struct FinishedLogin {
    /// Who logged in.
    pub identity: IdentityId,
    /// What ends the session before its own time is over.
    pub ends: SessionEnds,
    /// What follows.
    pub then: AfterLogin,
}

/// A login of a terminal that waits for the consent of its person.
#[derive(Clone, Debug)]
pub struct TerminalLogin {
    /// Who logged in.
    pub identity: IdentityId,
    /// How: a word of `session.opened`.
    pub way: String,
    /// What ends the session before its own time is over.
    pub ends: SessionEnds,
    /// Where the code goes.
    pub terminal: Terminal,
}
