//! Objects in buckets. Moto speaks the protocol of S3, and so also what a client of Google Cloud Storage uses of it. Azurite speaks
//! that of Azure.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    // A page has 1,000 objects, but 5,000 on Azure, where this is a single one.
    const COUNT: u32 = 1_100;
    let Some(bucket) = bucket(provider, "many") else { return };
    let objects = bucket.objects(LOG);
    let owner = ObjectOwner { kind: ObjectKind::Output, name: "a".to_owned() };
    let part = |number: u32| Object { owner: owner.clone(), part: format!("stdout/{number}"), content: vec![7] };
    objects.put(&(0..COUNT).map(part).collect::<Vec<_>>(), NOON).unwrap();
    assert_eq!(objects.parts(&owner).unwrap().len(), COUNT as usize);
    let nothing = ensue_store::disk_retention::RetentionLimits { quota_bytes: 0, keep: None };
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
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
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

/// What a server answers: a status and a body.
type Answer = (&'static str, &'static str);

/// Returns the answer to a request by its first line, if it is refused.
type Refuses = fn(&str) -> Option<Answer>;

/// Starts a server with the protocol of S3 that refuses some requests. Returns its address.
fn refusing(refuses: Refuses) -> String {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", server.local_addr().unwrap());
    let answer = move |mut connection: TcpStream| {
        let mut request = BufReader::new(connection.try_clone().unwrap());
        let (mut first, mut bytes) = (String::new(), 0);
        request.read_line(&mut first).unwrap();
        loop {
            let mut line = String::new();
            request.read_line(&mut line).unwrap();
            if line.trim().is_empty() {
                break;
            }
            if let Some(length) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                bytes = length.trim().parse().unwrap();
            }
        }
        request.read_exact(&mut vec![0; bytes]).unwrap();
        let (status, body) = refuses(&first).unwrap_or(match &*first {
            list if list.contains("list-type") => ("200 OK", "<ListBucketResult></ListBucketResult>"),
            many if many.contains("?delete") => ("200 OK", "<DeleteResult><Deleted><Key>S3/check</Key></Deleted></DeleteResult>"),
            _ => ("200 OK", ""),
        });
        let head = format!("HTTP/1.1 {status}\r\nETag: \"1\"\r\nLast-Modified: Sat, 28 Nov 2026 12:00:00 GMT\r\nConnection: close\r\n");
        let _ = write!(connection, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
    };
    std::thread::spawn(move || server.incoming().for_each(|connection| answer(connection.unwrap())));
    address
}

#[test]
fn credentials_that_permit_too_little_are_refused() {
    let Some((address, mut environment)) = place(Provider::S3, "") else { return };
    const REFUSED: Answer = ("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>");
    const NOT_REMOVED: Answer =
        ("200 OK", "<DeleteResult><Error><Key>S3/check</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>");
    let cases: [(&str, Refuses); 5] = [
        ("nothing", |_| None),
        ("the read", |first| (first.starts_with("GET") && !first.contains("list-type")).then_some(REFUSED)),
        ("the list", |first| first.contains("list-type").then_some(REFUSED)),
        ("each removal", |first| first.contains("?delete").then_some(REFUSED)),
        ("this removal", |first| first.contains("?delete").then_some(NOT_REMOVED)),
    ];
    for (refused, refuses) in cases {
        environment[0].1 = refusing(refuses);
        let checked = Bucket::open_with(&address, environment.clone().into_iter()).unwrap().check();
        match refused {
            "nothing" => assert_eq!(checked, Ok(())),
            _ => assert!(matches!(checked, Err(BucketError::Refused(_))), "{refused}: {checked:?}"),
        }
    }
}

#[test]
fn request_is_tried_again_while_the_server_is_busy() {
    static REQUESTS: AtomicUsize = AtomicUsize::new(0);
    let Some((address, mut environment)) = place(Provider::S3, "") else { return };
    environment[0].1 = refusing(|_| (REQUESTS.fetch_add(1, Ordering::SeqCst) < 2).then_some(("503 Service Unavailable", "")));
    assert_eq!(Bucket::open_with(&address, environment.into_iter()).unwrap().check(), Ok(()));
}

#[test]
fn machine_without_an_identity_is_unavailable() {
    let Some((address, mut environment)) = place(Provider::Azure, "") else { return };
    environment.retain(|(name, _)| name != "AZURE_STORAGE_ACCOUNT_KEY");
    environment.push(("AZURE_MSI_ENDPOINT".to_owned(), refusing(|_| Some(("400 Bad Request", "")))));
    let checked = Bucket::open_with(&address, environment.into_iter()).unwrap().check();
    assert!(matches!(&checked, Err(BucketError::Unavailable(why)) if why.contains("token request")), "{checked:?}");
}

#[test]
fn variable_without_the_prefix_of_the_provider_is_no_setting() {
    let Some((address, mut environment)) = place(Provider::S3, "") else { return };
    environment.push(("ENDPOINT".to_owned(), "http://127.0.0.1:9/gone".to_owned()));
    assert_eq!(Bucket::open_with(&address, environment.into_iter()).unwrap().check(), Ok(()));
}

#[test]
fn account_of_azure_is_required() {
    let Some((address, _)) = place(Provider::Azure, "") else { return };
    let refused = Bucket::open_with(&address, std::iter::empty()).err().unwrap();
    assert!(matches!(&refused, BucketError::Refused(why) if why.contains("Account must be specified")), "{refused:?}");
}
