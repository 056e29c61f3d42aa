//! Who may come in and what may be read: that keys and tokens exist. Their values are the vault's.

pub mod decide;
pub mod facts;
pub mod state;
