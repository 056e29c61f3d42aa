//! What the log has about access besides its changes: rejected requests and logins, and exports.

pub(crate) mod decide;
pub mod facts;
pub mod sums;
