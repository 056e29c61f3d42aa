//! Objects in S3.

use std::path::Path;
use std::sync::{LazyLock, Once};
use std::time::Duration;

use ensue_engine::ids::{Id, LogId};
use ensue_objects::{Bucket, BucketAddress, BucketError};
use ensue_store::objects::{Object, ObjectKind, ObjectOwner, Objects as _};
use ensue_test_support::NOON;
use ensue_test_support::records::LOG;

use crate::moto::Moto;
use crate::skipped::not_installed;

/// Its times are in seconds.
pub(crate) const HOUR: Duration = Duration::from_secs(2);

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python");

/// One server for all tests but those that need another one.
static MOTO: LazyLock<Option<Moto>> = LazyLock::new(|| Moto::start(Path::new(PYTHON)));

fn address(bucket: &str, prefix: &str) -> BucketAddress {
    BucketAddress::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() }
}

/// Opens a bucket under a prefix without objects. Returns `None` and skips the test if moto is not installed.
pub(crate) fn bucket(prefix: &str) -> Option<Bucket> {
    opened(&address(Moto::BUCKET, prefix))
}

fn opened(address: &BucketAddress) -> Option<Bucket> {
    opened_at(MOTO.as_ref(), address)
}

fn opened_at(moto: Option<&Moto>, address: &BucketAddress) -> Option<Bucket> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    match moto {
        Some(moto) => Some(Bucket::open_with(address, moto.environment().into_iter()).unwrap()),
        None => {
            not_installed("objects in S3", "moto");
            None
        }
    }
}

#[test]
fn logs_in_one_bucket_are_independent() {
    let Some(bucket) = bucket("several/logs") else { return };
    bucket.check().unwrap();
    let owner = ObjectOwner { kind: ObjectKind::Output, name: "a".to_owned() };
    let object = Object { owner: owner.clone(), part: "stdout/0".to_owned(), content: b"out".to_vec() };
    bucket.objects(LOG).put(&[object], NOON).unwrap();
    let other = bucket.objects(LogId(Id::root(NOON, 2)));
    assert_eq!((bucket.objects(LOG).parts(&owner).unwrap().len(), other.parts(&owner).unwrap()), (1, vec![]));
}

#[test]
fn more_objects_than_a_page_of_the_list_expire() {
    let Some(bucket) = bucket("many") else { return };
    let objects = bucket.objects(LOG);
    let owner = ObjectOwner { kind: ObjectKind::Output, name: "a".to_owned() };
    let part = |number: u32| Object { owner: owner.clone(), part: format!("stdout/{number}"), content: vec![7] };
    objects.put(&(0..1_100).map(part).collect::<Vec<_>>(), NOON).unwrap();
    assert_eq!(objects.parts(&owner).unwrap().len(), 1_100);
    let nothing = ensue_store::retention::RetentionLimits { quota_bytes: 0, keep: None };
    assert_eq!(objects.expire(ObjectKind::Output, nothing, NOON).unwrap(), 1);
    assert_eq!(objects.parts(&owner).unwrap(), []);
}

#[test]
fn missing_bucket_is_refused() {
    let Some(bucket) = opened(&address("ensue-missing", "")) else { return };
    let refused = bucket.check().unwrap_err();
    assert!(matches!(&refused, BucketError::Refused(why) if why.contains("NoSuchBucket")), "{refused:?}");
}

#[test]
fn wrong_credentials_are_refused() {
    let moto = Moto::start_without_users(Path::new(PYTHON));
    let Some(bucket) = opened_at(moto.as_ref(), &address(Moto::BUCKET, "")) else { return };
    let refused = bucket.check().unwrap_err();
    assert!(matches!(&refused, BucketError::Refused(why) if why.contains("InvalidAccessKeyId")), "{refused:?}");
}

#[test]
fn server_that_is_gone_is_unavailable() {
    let Some(moto) = &*MOTO else { return };
    let mut environment = moto.environment();
    environment[0].1 = "http://127.0.0.1:9".to_owned();
    let bucket = Bucket::open_with(&address(Moto::BUCKET, ""), environment.into_iter()).unwrap();
    assert!(matches!(bucket.check(), Err(BucketError::Unavailable(_))));
}
