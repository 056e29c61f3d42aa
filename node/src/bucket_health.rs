//! What `ensue doctor` says about the object store for outputs and artifacts.

use ensue_api::ports::Finding;
use ensue_objects::{Bucket, BucketError};

use crate::machine::{bad, good};

/// Tries what the node does in a bucket. Waits for a store that does not answer.
pub(crate) fn finding(bucket: &Bucket) -> Finding {
    const CHECK: &str = "object store";
    let address = bucket.address();
    match bucket.check() {
        Ok(()) => good(CHECK, &format!("{address} can be written, listed and read")),
        Err(BucketError::Refused(why)) => bad(
            CHECK,
            format!("{address} refuses what the node does there: {why}"),
            "correct the permissions of the node, or the address in `objects`",
        ),
        Err(BucketError::Unavailable(why)) => bad(
            CHECK,
            format!("{address} does not answer, so attempts that publish artifacts fail: {why}"),
            "start the store; outputs are copied to it later",
        ),
    }
}
