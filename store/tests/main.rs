//! What every store must do, and what a failing disk does to the files of a store.

#![allow(clippy::unwrap_used, reason = "a store that cannot be opened is a failed test")]

mod conformance;
mod crashes;
mod planned_faults;
mod released_caches;
