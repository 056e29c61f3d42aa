//! Access: which keys and tokens exist. Their values are in the vault.

pub mod decide;
pub mod facts;
pub mod keys;
pub mod permission;
pub mod state;
