//! Events: what was observed outside, as it enters the log.

pub mod decide;
pub mod facts;
pub mod internal;
pub mod react;
pub mod version;
