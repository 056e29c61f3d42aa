//! Vars: small values that are not secret, which actions and operators set and expressions read.

pub mod decide;
pub mod facts;
pub mod reads;
pub mod state;
pub mod values;
