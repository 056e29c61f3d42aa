//! What a delivery may cost at most.

/// The maximum number of steps for all expressions of one delivery together.
pub const DELIVERY_STEPS_MAX: u64 = 1_000_000;
/// How many times larger than the compressed body the decompressed one may be.
pub const UNPACKED_TIMES_MAX: usize = 100;
/// The maximum number of fields of a form, and of parts of a multipart body.
pub const FIELDS_MAX: usize = 1_000;
/// The maximum size of a file in a multipart body, in bytes.
pub const FILE_BYTES_MAX: usize = 64 * 1024;
