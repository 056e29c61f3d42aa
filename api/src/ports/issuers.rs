//! The issuers whose tokens admit callers, and the identities that they name.

use ensue_engine::ids::IdentityId;
use ensue_engine::names::IssuerName;
use ensue_engine::ports::CommitReceipt;

use super::{Credential, OnBehalf, PortError};

/// The issuers that the operator configured.
pub trait Issuers: Send + Sync {
    /// Returns the credential of a signed token that was verified before and still counts. Quick.
    fn cached_credential(&self, token: &str) -> Option<Credential>;

    /// Verifies a signed token, and adds its identity if it is new. Returns `None` if no configured issuer signed it.
    /// Blocking: it may ask the issuer and write to the log.
    fn verify(&self, token: &str) -> Result<Option<Credential>, PortError>;

    /// Lets an issuer be a way in for an identity, under this subject. Blocking.
    fn link(&self, id: IdentityId, link: &AskedLink, by: &OnBehalf) -> Result<CommitReceipt, PortError>;

    /// Ends that an issuer is a way in for an identity. Blocking.
    fn unlink(&self, id: IdentityId, issuer: &IssuerName, by: &OnBehalf) -> Result<CommitReceipt, PortError>;
}

/// An issuer that is to be a way in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedLink {
    /// The issuer.
    pub issuer: IssuerName,
    /// What identifies the identity at the issuer: `sub` of a person, the rendered name of a service.
    pub subject: String,
}
