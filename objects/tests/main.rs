//! Tests of objects in a folder, and in servers that speak the protocols of S3, Google Cloud Storage and Azure Blob Storage.

#![allow(clippy::unwrap_used, reason = "a store that cannot be opened is a failed test")]

#[path = "../../tests/support/moto.rs"]
mod moto;
#[path = "../../tests/support/skipped.rs"]
mod skipped;

mod azurite;
mod buckets;
mod folder;

/// Runs each case in an empty folder, and under an empty prefix of a bucket of each provider.
macro_rules! on_every_object_store {
    ($($case:ident)*) => {
        mod in_a_folder {
            $(#[test] fn $case() {
                let folder = tempfile::tempdir().unwrap();
                let objects = crate::folder::open_objects(folder.path());
                super::$case(&super::Store::with_own_clock(&objects, crate::folder::HOUR));
            })*
        }
        mod on_s3 {
            $(#[test] fn $case() {
                let Some(bucket) = crate::buckets::bucket(ensue_objects::Provider::S3, stringify!($case)) else { return };
                let objects = bucket.objects(ensue_test_support::records::LOG);
                super::$case(&super::Store::with_own_clock(&objects, crate::buckets::HOUR));
            })*
        }
        mod on_gcs {
            $(#[test] fn $case() {
                let Some(bucket) = crate::buckets::bucket(ensue_objects::Provider::Gcs, stringify!($case)) else { return };
                let objects = bucket.objects(ensue_test_support::records::LOG);
                super::$case(&super::Store::with_own_clock(&objects, crate::buckets::HOUR));
            })*
        }
        mod on_azure {
            $(#[test] fn $case() {
                let Some(bucket) = crate::buckets::bucket(ensue_objects::Provider::Azure, stringify!($case)) else { return };
                let objects = bucket.objects(ensue_test_support::records::LOG);
                super::$case(&super::Store::with_own_clock(&objects, crate::buckets::HOUR));
            })*
        }
    };
}

#[path = "../../store/tests/conformance/objects/cases.rs"]
mod cases;
