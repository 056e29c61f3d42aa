//! Objects in a folder.

use std::time::Duration;

use ensue_objects::{Bucket, BucketAddress, BucketObjects};
use ensue_store::disk_retention::RetentionLimits;
use ensue_store::objects::{Object, ObjectKind, ObjectOwner, Objects as _};
use ensue_test_support::NOON;
use ensue_test_support::records::LOG;

/// Files have times in nanoseconds.
pub(crate) const HOUR: Duration = Duration::from_millis(200);

pub(crate) fn open_objects(folder: &std::path::Path) -> BucketObjects {
    let bucket = Bucket::open(&BucketAddress::Folder(folder.to_owned())).unwrap();
    bucket.check().unwrap();
    bucket.objects(LOG)
}

#[test]
fn check_leaves_nothing_and_reports_a_folder_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    open_objects(folder.path());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(Bucket::open(&BucketAddress::Folder(file)).is_err());
}

#[test]
fn all_parts_of_an_owner_count_for_the_quota() {
    let folder = tempfile::tempdir().unwrap();
    let objects = open_objects(folder.path());
    let owner = ObjectOwner { kind: ObjectKind::Output, name: "a".to_owned() };
    let part = |part: &str| Object { owner: owner.clone(), part: part.to_owned(), content: vec![7; 40] };
    objects.put(&[part("stdout/0"), part("stdout/1")], NOON).unwrap();
    let quota = |quota_bytes| objects.expire(ObjectKind::Output, RetentionLimits { quota_bytes, keep: None }, NOON).unwrap();
    assert_eq!((quota(80), quota(79)), (0, 1));
}

#[test]
fn nodes_that_check_at_the_same_time_do_not_disturb_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let buckets = [0, 1].map(|_| Bucket::open(&BucketAddress::Folder(folder.path().to_owned())).unwrap());
    std::thread::scope(|scope| {
        for bucket in &buckets {
            scope.spawn(|| (0..200).for_each(|_| bucket.check().unwrap()));
        }
    });
}
