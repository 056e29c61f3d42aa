//! Tests of objects in a folder, and in a server that speaks the protocol of S3.

#![allow(clippy::unwrap_used, reason = "a store that cannot be opened is a failed test")]

#[path = "../../tests/support/moto.rs"]
mod moto;
#[path = "../../tests/support/skipped.rs"]
mod skipped;

mod folder;
mod s3;

/// Runs each case in an empty folder, and under an empty prefix of a bucket.
macro_rules! on_every_object_store {
    ($($case:ident)*) => {
        mod in_a_folder {
            $(#[test] fn $case() {
                let folder = tempfile::tempdir().unwrap();
                let objects = crate::folder::opened(folder.path());
                super::$case(&super::Store::with_own_clock(&objects, crate::folder::HOUR));
            })*
        }
        mod on_s3 {
            $(#[test] fn $case() {
                let Some(bucket) = crate::s3::bucket(stringify!($case)) else { return };
                let objects = bucket.objects(ensue_test_support::records::LOG);
                super::$case(&super::Store::with_own_clock(&objects, crate::s3::HOUR));
            })*
        }
    };
}

#[path = "../../store/tests/conformance/objects/cases.rs"]
mod cases;
