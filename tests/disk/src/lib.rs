//! A disk in memory that fails as real disks fail. SQLite itself runs on it; the process can be killed, the
//! power cut, and a sync can fail.
//!
//! Read in this order: [`Disk`] is the test's interface; `file` decides what a power cut leaves of a file,
//! `folder` what it leaves of the names; `locks` are SQLite's locks; `vfs` connects all of it to SQLite;
//! [`fault`] describes planned faults and [`trace`] records operations.
//!
//! The disk knows nothing about the meaning of the files, and no production node uses it. All randomness
//! comes from the disk's seed, in the order of the operations: equal seeds and equal operations leave equal
//! disks. The random values that SQLite draws itself (the salts of a write-ahead log) change bytes but never
//! the operations.
//!
//! One thing differs from a real machine: each connection has its own copy of the shared index of the
//! write-ahead log, which is brought up to date with each lock. Changes to it are shared word by word.

mod disk;
pub mod fault;
mod file;
mod folder;
mod locks;
mod paths;
mod random;
pub mod trace;
mod vfs;

pub use disk::{Disk, PowerCut, Sectors};
pub use paths::{create, exists, remove, rename, sync_folder, write_again};
pub use random::Random;
pub use vfs::VFS;

#[cfg(test)]
mod tests;
