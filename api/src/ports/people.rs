//! Creating and erasing identities, whose names are in the vault.

use ensue_engine::access::facts::IdentityKind;
use ensue_engine::ids::IdentityId;
use ensue_engine::names::GroupName;
use ensue_engine::ports::CommitReceipt;

use super::{OnBehalf, PortError};

/// The identities. Every method blocks, and returns after the commit.
pub trait People: Send + Sync {
    /// Creates an identity.
    fn add(&self, identity: &AskedIdentity, by: &OnBehalf) -> Result<(IdentityId, CommitReceipt), PortError>;
    /// Erases an identity: its tokens, the grants to it, and its name.
    fn erase(&self, id: IdentityId, by: &OnBehalf) -> Result<CommitReceipt, PortError>;
}

/// An identity that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedIdentity {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: IdentityKind,
    /// Its groups.
    pub groups: Vec<GroupName>,
}
