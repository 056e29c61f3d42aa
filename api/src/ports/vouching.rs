//! Callers whom somebody else vouches for: a trusted proxy, or the authority of a client certificate.

use std::net::IpAddr;

use axum::http::HeaderMap;
use ensue_engine::names::{GroupName, IssuerName};

use super::{Credential, PortError};

/// Whom somebody vouches for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VouchedCaller {
    /// Who vouches, as the source of groups.
    pub source: IssuerName,
    /// The name of the caller.
    pub name: String,
    /// The groups of the caller, with the prefix of their source; `None` if nothing is said about them.
    pub groups: Option<Vec<GroupName>>,
}

/// The trusted proxies and the authorities of client certificates that the operator configured.
pub trait Vouching: Send + Sync {
    /// Returns the caller that the headers name, in a request from the address `peer`; `None` if there is no such header.
    /// Does not block.
    fn by_proxy(&self, peer: IpAddr, headers: &HeaderMap) -> Result<Option<VouchedCaller>, PortError>;

    /// Returns the caller that a chain of certificates names, which begins with the caller's own; `None` if it names
    /// nobody. Does not block.
    fn by_certificate(&self, chain: &[Vec<u8>]) -> Result<Option<VouchedCaller>, PortError>;

    /// Returns the credential of a known identity whose groups have not changed. Does not wait.
    fn known_credential(&self, vouched: &VouchedCaller) -> Option<Credential>;

    /// Adds the identity if it is new, and sets its groups. Blocking: it writes to the log.
    fn admit(&self, vouched: &VouchedCaller) -> Result<Credential, PortError>;
}
