//! Streams: the things that records belong to.

use crate::ids::{EnforcementId, EventId, ExecutionId, GrantId, IdentityId, LogId, SessionId, TokenId};
use crate::names::{KeyRef, PackName, RoleName, RuleRef, SensorRef, VarName};
use std::fmt;
use std::str::FromStr;

/// The thing that a record belongs to, written `<noun>/<name or id>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    /// An event.
    Event(EventId),
    /// An enforcement.
    Enforcement(EnforcementId),
    /// An execution, with its attempts.
    Execution(ExecutionId),
    /// A pack.
    Pack(PackName),
    /// A rule, by its ref: its errors and its suspension.
    Rule(RuleRef),
    /// A sensor: deliveries and times that created no events.
    Sensor(SensorRef),
    /// A key: that it was set, never its value.
    Key(KeyRef),
    /// An access token: that it exists, never its secret.
    Token(TokenId),
    /// A var: its values, and who set them.
    Var(VarName),
    /// An identity: that it exists, never its name.
    Identity(IdentityId),
    /// A role that is not built in.
    Role(RoleName),
    /// A grant of a role.
    Grant(GrantId),
    /// A session: that it is open, never its secret.
    Session(SessionId),
    /// The log itself: its nodes, its clock, its parked reactions.
    Log(LogId),
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(id) => write!(f, "event/{id}"),
            Self::Enforcement(id) => write!(f, "enforcement/{id}"),
            Self::Execution(id) => write!(f, "execution/{id}"),
            Self::Pack(name) => write!(f, "pack/{name}"),
            Self::Rule(name) => write!(f, "rule/{name}"),
            Self::Sensor(name) => write!(f, "sensor/{name}"),
            Self::Key(name) => write!(f, "key/{name}"),
            Self::Token(id) => write!(f, "token/{id}"),
            Self::Var(name) => write!(f, "var/{name}"),
            Self::Identity(id) => write!(f, "identity/{id}"),
            Self::Role(name) => write!(f, "role/{name}"),
            Self::Grant(id) => write!(f, "grant/{id}"),
            Self::Session(id) => write!(f, "session/{id}"),
            Self::Log(id) => write!(f, "log/{id}"),
        }
    }
}

crate::as_text::as_text!(StreamId);

impl FromStr for StreamId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("`{}` is not a stream; write `<noun>/<id>`", text.chars().take(80).collect::<String>());
        let (noun, name) = text.split_once('/').ok_or_else(unknown)?;
        match noun {
            "event" => name.parse().map(Self::Event),
            "enforcement" => name.parse().map(Self::Enforcement),
            "execution" => name.parse().map(Self::Execution),
            "pack" => name.parse().map(Self::Pack).map_err(|e| e.to_string()),
            "rule" => name.parse().map(Self::Rule).map_err(|e| e.to_string()),
            "sensor" => name.parse().map(Self::Sensor).map_err(|e| e.to_string()),
            "key" => name.parse().map(Self::Key).map_err(|e| e.to_string()),
            "token" => name.parse().map(Self::Token),
            "var" => name.parse().map(Self::Var).map_err(|e| e.to_string()),
            "identity" => name.parse().map(Self::Identity),
            "role" => name.parse().map(Self::Role).map_err(|e| e.to_string()),
            "grant" => name.parse().map(Self::Grant),
            "session" => name.parse().map(Self::Session),
            "log" => name.parse().map(Self::Log),
            _ => Err(unknown()),
        }
    }
}
