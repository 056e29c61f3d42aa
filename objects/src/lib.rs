//! Outputs and artifacts in an object store: a bucket of S3, Google Cloud Storage or Azure Blob Storage, or of a server that
//! speaks the protocol of one of them, or a folder that several machines mount.

mod address;
mod bucket;

pub use address::{BucketAddress, BucketAddressError, Provider};
pub use bucket::{Bucket, BucketError, BucketObjects, CHECK_TIMEOUT};
