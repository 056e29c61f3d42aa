//! Reports of rejected requests and logins, for the log.

use std::net::IpAddr;

use ensue_engine::ids::IdentityId;
use ensue_engine::record::Actor;

/// Receives reports of rejected requests and logins. Frequent ones are added up before they are recorded. Quick.
pub trait Refusals: Send + Sync {
    /// Reports that a request of a caller was rejected because it lacks a permission.
    fn note_denied(&self, caller: Actor, permission: &'static str);

    /// Reports that a login was rejected.
    fn login_refused(&self, login: RefusedLogin<'_>);
}

/// A login that was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedLogin<'a> {
    /// The way: `token`, `password`, `oidc/<issuer>`.
    pub way: &'a str,
    /// The identity that it named, if it exists.
    pub identity: Option<IdentityId>,
    /// The address that it came from, if it is known.
    pub address: Option<IpAddr>,
}
