//! Outputs and artifacts in an object store: a bucket of S3 or of a server that speaks its protocol, or a folder that
//! several machines mount.

mod address;
mod bucket;

pub use address::{BucketAddress, BucketAddressError};
pub use bucket::{Bucket, BucketError, BucketObjects};
