//! The origin of a record: its actor, and the record that led to it.

use crate::ids::{ExecutionId, Id, IdentityId, SessionId, TokenId};
use crate::names::{IssuerName, SensorRef};
use std::fmt;
use std::str::FromStr;

/// The actor that asked for a record, written `<kind>`, `<kind>/<name>`, `identity/<id>/<credential>` or
/// `execution/<id>/<attempt>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Actor {
    /// The engine itself.
    Engine,
    /// The holder of a named token.
    Token(String),
    /// An identity, by one of its credentials.
    Identity {
        /// The identity.
        id: IdentityId,
        /// The credential.
        by: CredentialId,
    },
    /// The program of an execution, by the token of its attempt.
    Execution(AttemptOf),
    /// A sensor, on behalf of a sender with its key.
    Sensor(SensorRef),
    /// A worker that reports on an attempt.
    Worker(String),
    /// An operator who opened the data directory while no node was running on it.
    Operator,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine => f.write_str("engine"),
            Self::Token(name) => write!(f, "token/{name}"),
            Self::Identity { id, by } => write!(f, "identity/{id}/{by}"),
            Self::Execution(attempt) => write!(f, "execution/{attempt}"),
            Self::Sensor(name) => write!(f, "sensor/{name}"),
            Self::Worker(name) => write!(f, "worker/{name}"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

impl FromStr for Actor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            None if text == "engine" => Ok(Self::Engine),
            None if text == "operator" => Ok(Self::Operator),
            Some(("token", name)) => Ok(Self::Token(name.to_owned())),
            Some(("identity", rest)) => {
                let (id, by) = rest.split_once('/').ok_or_else(|| format!("`{}` is not an actor", cut(text)))?;
                Ok(Self::Identity { id: id.parse()?, by: by.parse()? })
            }
            Some(("execution", attempt)) => attempt.parse().map(Self::Execution),
            Some(("sensor", name)) => name.parse().map(Self::Sensor).map_err(|e| format!("{e}")),
            Some(("worker", name)) => Ok(Self::Worker(name.to_owned())),
            None | Some(_) => Err(format!("`{}` is not an actor", cut(text))),
        }
    }
}

/// An attempt of an execution, written `<execution>/<number of the attempt>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptOf {
    /// The execution.
    pub execution: ExecutionId,
    /// The number of the attempt, from 1.
    pub number: u32,
}

impl fmt::Display for AttemptOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.execution, self.number)
    }
}

impl FromStr for AttemptOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(execution, number)| {
            // Each attempt has one form: no sign, no leading zero.
            let is_plain = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
            Some(Self { execution: execution.parse().ok()?, number: number.parse().ok().filter(|_| is_plain)? })
        });
        parts.ok_or_else(|| format!("`{}` is not an attempt of an execution", cut(text)))
    }
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The credential by which a caller acts, written `<kind>/<id>`. It is not secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CredentialId {
    /// A token.
    Token(TokenId),
    /// A session.
    Session(SessionId),
    /// A token that an issuer signed; the id is the issuer's name.
    Issuer(IssuerName),
    /// A code that is used once, to set a password.
    Code(Id),
    /// The token of an attempt, which its program has.
    Execution(AttemptOf),
}

impl CredentialId {
    /// Returns the kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::Session(_) => "session",
            Self::Issuer(_) => "issuer",
            Self::Code(_) => "code",
            Self::Execution(_) => "execution",
        }
    }

    /// Returns the id as text.
    pub fn id(&self) -> String {
        match self {
            Self::Token(id) => id.to_string(),
            Self::Session(id) => id.to_string(),
            Self::Issuer(name) => name.to_string(),
            Self::Code(id) => id.to_string(),
            Self::Execution(attempt) => attempt.to_string(),
        }
    }
}

impl fmt::Display for CredentialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind(), self.id())
    }
}

impl FromStr for CredentialId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some(("token", id)) => id.parse().map(Self::Token),
            Some(("session", id)) => id.parse().map(Self::Session),
            Some(("code", id)) => id.parse().map(Self::Code),
            Some(("issuer", name)) => name.parse().map(Self::Issuer).map_err(|e| format!("{e}")),
            Some(("execution", attempt)) => attempt.parse().map(Self::Execution),
            None | Some(_) => Err(format!("`{}` is not a credential", cut(text))),
        }
    }
}

/// The maximum number of events above an event in its chain; a rule that matches a deeper one is suspended.
pub const DEPTH_MAX: u32 = 16;

/// The cause of a record: the record that led to it, and its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// The record that led to this one; `None` if it came from outside.
    pub parent: Option<Id>,
    /// The first record of the chain; a record without a parent is its own root.
    pub root: Id,
    /// How many events are above it in the chain.
    pub depth: u32,
    /// The W3C trace of the request at the chain's beginning: its `traceparent`, then a space and its
    /// `tracestate` if it had one.
    pub trace: Option<String>,
}

impl Cause {
    /// Begins a chain at the record `id`.
    pub fn root(id: Id, trace: Option<String>) -> Self {
        Self { parent: None, root: id, depth: 0, trace }
    }

    /// Continues the same chain, for a consequence of the record `parent`.
    #[must_use]
    pub fn from_parent(&self, parent: Id) -> Self {
        Self { parent: Some(parent), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actor_is_read_back_as_it_was_written() {
        const ID: &str = "01980000-0000-7000-8000-00000000000a";
        for text in [
            "engine",
            "operator",
            "token/ci/deploy",
            "sensor/github.pushes",
            "worker/local-1",
            &format!("execution/{ID}/1"),
            &format!("identity/{ID}/token/{ID}"),
            &format!("identity/{ID}/issuer/corp"),
            &format!("identity/{ID}/execution/{ID}/4294967295"),
        ] {
            assert_eq!(text.parse::<Actor>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "execution",
            &format!("execution/{ID}"),
            &format!("execution/{ID}/"),
            &format!("execution/{ID}/0"),
            &format!("execution/{ID}/01"),
            &format!("execution/{ID}/+1"),
            &format!("execution/{ID}/4294967296"),
            &format!("execution/{ID}/1/2"),
            "execution/ana/1",
        ] {
            assert!(bad.parse::<Actor>().is_err(), "{bad:?}");
        }
    }
}
