//! The sizes that several files share: maximum amounts that are read, listed or sent at once.
//!
//! A limit that only one file uses is defined in that file; the operator's settings are in `settings.rs`.

/// The maximum bytes of a request that are buffered before its handler reads them; a head must fit.
pub(crate) const READ_BYTES_MAX: usize = 32 * 1024;
/// The maximum number of items on a page of a list.
pub(crate) const LIMIT_MAX: usize = 200;
/// The maximum bytes of a file or an output that are read at once if all of it is sent.
pub(crate) const CHUNK_BYTES_MAX: usize = 64 * 1024;
/// How many such chunks wait for a caller that reads slowly.
pub(crate) const CHUNKS_WAITING_MAX: usize = 2;
/// The maximum number of roles of a token.
pub(crate) const ROLES_MAX: usize = 16;
