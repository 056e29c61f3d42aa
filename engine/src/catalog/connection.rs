//! Connections as packs see them: the name of an endpoint that the operator defines in `ensue.yaml`, and its kind.
//!
//! The address and the credentials are not here: a pack never has them.

use crate::names::{ConnectionName, Names};

/// What kind of server a connection leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Names)]
pub enum ConnectionKind {
    /// A server that speaks HTTP.
    Http,
    /// A server that takes mail.
    Smtp,
}

/// The connection that a request uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UsedConnection {
    /// The one with this name, which the pack lists.
    Named(ConnectionName),
    /// The one that this parameter names. The pack that gave the parameter lists it.
    Parameter(String),
    /// The one that this setting of the pack names. The operator chose it.
    Setting(String),
}
