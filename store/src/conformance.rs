//! What every implementation of a port must do: named cases, each run on all of them.
//!
//! What only one implementation has — files, permissions, damage — is tested beside it.

mod blobs;
pub(crate) mod crash_disk;
mod log;
mod outputs;
pub(crate) mod records;
mod vault;
mod views;
