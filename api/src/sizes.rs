//! The sizes that several files count with: what is read, listed or sent at once at the most.
//!
//! A limit that only one file knows stands in that file; what the operator sets is `settings.rs`'s.

/// The most bytes that are held of a request before its handler takes them; a head must fit.
pub(crate) const READ_BYTES_MAX: usize = 32 * 1024;
/// The most items of a page of a list.
pub(crate) const LIMIT_MAX: usize = 200;
/// The most bytes of a file or an output that are read at once where all of it is given.
pub(crate) const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// How many such chunks wait for a caller that reads slowly.
pub(crate) const CHUNKS_WAITING_MAX: usize = 2;
/// The most roles of a token.
pub(crate) const ROLES_MAX: usize = 16;
