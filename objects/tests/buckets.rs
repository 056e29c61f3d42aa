//! Objects in buckets. Moto speaks the protocol of S3, and so also what a client of Google Cloud Storage uses of it. Azurite speaks
//! that of Azure.

use std::path::Path;
use std::sync::{LazyLock, Once};
use std::time::Duration;

use ensue_engine::ids::{Id, LogId};
use ensue_objects::{Bucket, BucketAddress, BucketError, Provider};
use ensue_store::objects::{Object, ObjectKind, ObjectOwner, Objects as _};
use ensue_test_support::NOON;
use ensue_test_support::records::LOG;

use crate::azurite::Azurite;
use crate::moto::Moto;
use crate::skipped::not_installed;

/// Their times are in seconds.
pub(crate) const HOUR: Duration = Duration::from_secs(2);

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/python");
const NPM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/npm");

/// One server of each kind for all tests but those that need another one.
static MOTO: LazyLock<Option<Moto>> = LazyLock::new(|| Moto::start(Path::new(PYTHON)));
static AZURITE: LazyLock<Option<Azurite>> = LazyLock::new(|| Azurite::start(Path::new(NPM)));

/// Returns the bucket and the variables of the server for a provider. Returns `None` if it is not installed.
fn server(provider: Provider) -> Option<(&'static str, Vec<(String, String)>)> {
    match provider {
        Provider::S3 => MOTO.as_ref().map(|moto| (Moto::BUCKET, moto.environment().into())),
        Provider::Gcs => MOTO.as_ref().map(|moto| (Moto::BUCKET, moto.environment_of_gcs().into())),
        Provider::Azure => AZURITE.as_ref().map(|azurite| (Azurite::CONTAINER, azurite.environment().into())),
    }
}

/// Returns the address of the bucket of a server under a prefix without objects, and the variables of the server. Returns `None`
/// and skips the test if it is not installed.
fn place(provider: Provider, prefix: &str) -> Option<(BucketAddress, Vec<(String, String)>)> {
    static CRYPTO: Once = Once::new();
    CRYPTO.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    let Some((name, environment)) = server(provider) else {
        not_installed("objects in a bucket", if provider == Provider::Azure { "Azurite" } else { "moto" });
        return None;
    };
    // Two providers share a server.
    let prefix = format!("{provider:?}/{prefix}");
    Some((BucketAddress::Bucket { provider, name: name.to_owned(), prefix }, environment))
}

pub(crate) fn bucket(provider: Provider, prefix: &str) -> Option<Bucket> {
    let (address, environment) = place(provider, prefix)?;
    Some(Bucket::open_with(&address, environment.into_iter()).unwrap())
}

/// Runs each case on each provider.
macro_rules! on_each_provider {
    ($($case:ident)*) => {
        mod on_s3 {
            $(#[test] fn $case() { super::$case(super::Provider::S3); })*
        }
        mod on_gcs {
            $(#[test] fn $case() { super::$case(super::Provider::Gcs); })*
        }
        mod on_azure {
            $(#[test] fn $case() { super::$case(super::Provider::Azure); })*
        }
    };
}

on_each_provider! {
    logs_in_one_bucket_are_independent
    more_objects_than_a_page_of_the_list_expire
    missing_bucket_is_refused
    server_that_is_gone_is_unavailable
}

fn logs_in_one_bucket_are_independent(provider: Provider) {
    let Some(bucket) = bucket(provider, "several/logs") else { return };
    bucket.check().unwrap();
    let owner = ObjectOwner { kind: ObjectKind::Output, name: "a".to_owned() };
    let object = Object { owner: owner.clone(), part: "stdout/0".to_owned(), content: b"out".to_vec() };
    bucket.objects(LOG).put(&[object], NOON).unwrap();
    let other = bucket.objects(LogId(Id::root(NOON, 2)));
    assert_eq!((bucket.objects(LOG).parts(&owner).unwrap().len(), other.parts(&owner).unwrap()), (1, vec![]));
}

fn more_objects_than_a_page_of_the_list_expire(provider: Provider) {
    /// A page of S3 and of Google has 1,000 objects; one of Azure has 5,000, which take long to write.
    const COUNT: u32 = 1_100;
    let Some(bucket) = bucket(provider, "many") else { return };
    let objects = bucket.objects(LOG);
    let owner = ObjectOwner { kind: ObjectKind::Output, name: "a".to_owned() };
    let part = |number: u32| Object { owner: owner.clone(), part: format!("stdout/{number}"), content: vec![7] };
    objects.put(&(0..COUNT).map(part).collect::<Vec<_>>(), NOON).unwrap();
    assert_eq!(objects.parts(&owner).unwrap().len(), COUNT as usize);
    let nothing = ensue_store::retention::RetentionLimits { quota_bytes: 0, keep: None };
    assert_eq!(objects.expire(ObjectKind::Output, nothing, NOON).unwrap(), 1);
    assert_eq!(objects.parts(&owner).unwrap(), []);
}

fn missing_bucket_is_refused(provider: Provider) {
    let Some((_, environment)) = place(provider, "") else { return };
    let address = BucketAddress::Bucket { provider, name: "ensuemissing".to_owned(), prefix: String::new() };
    let refused = Bucket::open_with(&address, environment.into_iter()).unwrap().check().unwrap_err();
    let code = if provider == Provider::Azure { "ContainerNotFound" } else { "NoSuchBucket" };
    assert!(matches!(&refused, BucketError::Refused(why) if why.contains(code)), "{refused:?}");
}

fn server_that_is_gone_is_unavailable(provider: Provider) {
    let Some((address, mut environment)) = place(provider, "") else { return };
    // The first variable is the address of the server.
    environment[0].1 = "http://127.0.0.1:9/gone".to_owned();
    let bucket = Bucket::open_with(&address, environment.into_iter()).unwrap();
    assert!(matches!(bucket.check(), Err(BucketError::Unavailable(_))));
}

#[test]
fn server_that_does_not_answer_is_unavailable_within_the_limit_of_a_check() {
    let Some((address, mut environment)) = place(Provider::S3, "") else { return };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    environment[0].1 = format!("http://{}", silent.local_addr().unwrap());
    let bucket = Bucket::open_with(&address, environment.into_iter()).unwrap();
    assert!(matches!(bucket.check(), Err(BucketError::Unavailable(why)) if why == "no answer within 15 s"));
}

#[test]
fn wrong_credentials_are_refused_by_s3() {
    let Some(moto) = Moto::start_without_users(Path::new(PYTHON)) else { return };
    let Some((address, _)) = place(Provider::S3, "") else { return };
    let refused = Bucket::open_with(&address, moto.environment().into_iter()).unwrap().check().unwrap_err();
    assert!(matches!(&refused, BucketError::Refused(why) if why.contains("InvalidAccessKeyId")), "{refused:?}");
}

#[test]
fn wrong_credentials_are_refused_by_azure() {
    let Some((address, mut environment)) = place(Provider::Azure, "") else { return };
    let key = environment.iter_mut().find(|(name, _)| name == "AZURE_STORAGE_ACCOUNT_KEY").unwrap();
    key.1 = "b3RoZXI=".to_owned();
    let refused = Bucket::open_with(&address, environment.into_iter()).unwrap().check().unwrap_err();
    assert!(matches!(&refused, BucketError::Refused(why) if why.contains("AuthorizationFailure")), "{refused:?}");
}

#[test]
fn account_of_azure_is_required() {
    let Some((address, _)) = place(Provider::Azure, "") else { return };
    let refused = Bucket::open_with(&address, std::iter::empty()).err().unwrap();
    assert!(matches!(&refused, BucketError::Refused(why) if why.contains("Account must be specified")), "{refused:?}");
}
