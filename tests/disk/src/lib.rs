//! A disk in memory that fails as disks fail: real SQLite runs on it, is killed, loses its power, and is told lies by `sync`.
//!
//! Read in this order: [`Disk`] is what a test holds; `file` says what a power cut leaves of a file, `folder` what it leaves of the names;
//! `locks` are SQLite's; `vfs` hands all of it to SQLite; [`fault`] says what is to go wrong and [`trace`] what was done.
//!
//! It knows nothing of what the files mean, and no node at work uses it. Everything random comes from the seed of a disk, in the order
//! of the operations on it: equal seeds and equal operations leave equal disks. What SQLite draws at random by itself (the salts of a
//! write-ahead log) changes bytes, and never which operations there are.
//!
//! One thing is not as on a machine: each connection has a copy of the shared index of the write-ahead log, brought up to date with each lock.
//! What it changes of that is shared word by word.

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
