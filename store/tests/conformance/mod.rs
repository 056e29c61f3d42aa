//! The behavior that every implementation of a port must have: named cases, each run on all of them.
//!
//! Aspects of a single implementation, such as files, permissions and damage, are tested with that
//! implementation.

mod blobs;
pub(crate) mod crash_disk;
mod log;
mod objects;
mod outputs;
mod vault;
mod views;
