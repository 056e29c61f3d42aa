//! Access: which keys, tokens, identities, roles, grants and sessions exist. Values and names are in the vault.

pub mod audit;
pub mod config;
pub mod decide;
pub mod facts;
pub mod issuers;
pub mod keys;
pub mod limit;
pub mod people;
pub mod permission;
pub mod principal;
pub mod quota;
pub mod rights;
pub mod scope;
pub mod sessions;
pub mod state;
pub mod subject;
