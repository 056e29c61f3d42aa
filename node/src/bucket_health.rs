//! What `ensue doctor` says about the object store for outputs and artifacts.

use ensue_api::ports::Finding;
use ensue_objects::Bucket;

use crate::machine::{bad, good};

/// Tries what the node does in a bucket. Waits for a store that does not answer.
pub(crate) fn finding(bucket: &Bucket) -> Finding {
    const CHECK: &str = "object store";
    let address = bucket.address();
    match bucket.check() {
        Ok(()) => good(CHECK, &format!("{address} can be written, listed and read")),
        Err(why) => bad(
            CHECK,
            format!("{address} cannot be used, so attempts that publish artifacts fail: {why}"),
            "start the store, or correct its permissions; outputs are copied to it later",
        ),
    }
}
