//! Objects in a folder.

use std::time::Duration;

use ensue_objects::{Bucket, BucketAddress, BucketObjects};
use ensue_test_support::records::LOG;

/// Files have times in nanoseconds.
pub(crate) const HOUR: Duration = Duration::from_millis(200);

pub(crate) fn opened(folder: &std::path::Path) -> BucketObjects {
    let bucket = Bucket::open(&BucketAddress::Folder(folder.to_owned())).unwrap();
    bucket.check().unwrap();
    bucket.objects(LOG)
}

#[test]
fn check_leaves_nothing_and_reports_a_folder_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    opened(folder.path());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(Bucket::open(&BucketAddress::Folder(file)).is_err());
}
