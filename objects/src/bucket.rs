//! A bucket, and the objects of one log in it.
//!
//! The name of an object is `PREFIX/LOG/KIND/OWNER/PART`. The store notes the time of each object with its own clock.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use ensue_engine::ids::LogId;
use ensue_engine::time::Timestamp;
use ensue_store::disk_retention::RetentionLimits;
use ensue_store::objects::{Object, ObjectError, ObjectKind, ObjectOwner, ObjectPart, Objects, StoredThing, select_expired};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutPayload, RetryConfig};
// Its features bring TLS to the client of `object_store`.
use reqwest as _;
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};

use crate::address::{BucketAddress, Provider};

/// How long requests are tried again, and how often.
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);
const RETRIES_MAX: usize = 4;

/// How long a call may take in all. The list of a large bucket takes several requests.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// How long the check of a bucket may take in all. The start of a node and `ensue doctor` wait for it.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(15);

/// How many requests of one call run at once.
const REQUESTS_MAX: usize = 8;

/// What an error says about a request that the store refused.
const REFUSALS: [&str; 5] = ["status code: 400", "status code: 401", "status code: 403", "code: AccessDenied", "code: 403"];

/// The object that is written and removed to find out whether the bucket can be used.
const CHECK: &str = "check";

/// A bucket, or a folder that is used like one.
#[derive(Clone)]
pub struct Bucket {
    address: BucketAddress,
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    io: Arc<Io>,
}

/// Why a bucket cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BucketError {
    /// The bucket does not exist, or refuses what the node does there. It will not pass by itself.
    #[error("{0}")]
    Refused(String),
    /// The bucket does not answer now.
    #[error("{0}")]
    Unavailable(String),
}

impl Bucket {
    /// Opens a bucket. Its endpoint and credentials are those of the environment, in the variables of the provider's own tools.
    /// Nothing is connected.
    pub fn open(address: &BucketAddress) -> Result<Self, BucketError> {
        // No provider has a variable whose value is not text.
        Self::open_with(
            address,
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))),
        )
    }

    /// Opens a bucket as [`open`](Self::open) does, with these variables.
    pub fn open_with(address: &BucketAddress, environment: impl Iterator<Item = (String, String)>) -> Result<Self, BucketError> {
        let refused = |error: StoreError| BucketError::Refused(error.to_string());
        let retry = RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
        let (store, prefix): (Arc<dyn ObjectStore>, _) = match address {
            BucketAddress::Bucket { provider: Provider::S3, name, prefix } => {
                let store = settings::<AmazonS3ConfigKey>(Provider::S3, environment)
                    .fold(AmazonS3Builder::new(), |store, (setting, value)| store.with_config(setting, value));
                (Arc::new(store.with_bucket_name(name).with_retry(retry).build().map_err(refused)?), prefix.as_str())
            }
            BucketAddress::Bucket { provider: Provider::Gcs, name, prefix } => {
                let store = settings::<GoogleConfigKey>(Provider::Gcs, environment)
                    .fold(GoogleCloudStorageBuilder::new(), |store, (setting, value)| store.with_config(setting, value));
                (Arc::new(store.with_bucket_name(name).with_retry(retry).build().map_err(refused)?), prefix)
            }
            BucketAddress::Bucket { provider: Provider::Azure, name, prefix } => {
                let store = settings::<AzureConfigKey>(Provider::Azure, environment)
                    .fold(MicrosoftAzureBuilder::new(), |store, (setting, value)| store.with_config(setting, value));
                (Arc::new(store.with_container_name(name).with_retry(retry).build().map_err(refused)?), prefix)
            }
            BucketAddress::Folder(folder) => {
                std::fs::create_dir_all(folder).map_err(|error| BucketError::Refused(error.to_string()))?;
                (Arc::new(LocalFileSystem::new_with_prefix(folder).map_err(refused)?.with_fsync(true)), "")
            }
        };
        let prefix = Path::parse(prefix).map_err(|error| BucketError::Refused(error.to_string()))?;
        let io = Io::start().map_err(|error| BucketError::Unavailable(error.to_string()))?;
        Ok(Self { address: address.clone(), store, prefix, io: Arc::new(io) })
    }

    /// Returns the address that the bucket was opened with.
    pub fn address(&self) -> &BucketAddress {
        &self.address
    }

    /// Writes an object, lists and reads it, and removes it. This takes at most [`CHECK_TIMEOUT`].
    pub fn check(&self) -> Result<(), BucketError> {
        let (store, prefix) = (self.store.clone(), self.prefix.clone());
        let checked = self.io.wait(CHECK_TIMEOUT, async move {
            let path = prefix.clone().join(CHECK);
            store.put(&path, PutPayload::from_static(CHECK.as_bytes())).await?;
            store.list(Some(&prefix)).next().await.transpose()?;
            // Another node may check at the same time, and remove it first.
            unless_missing(store.get(&path).await)?;
            unless_missing(store.delete(&path).await)
        });
        match checked {
            None => Err(BucketError::Unavailable(no_answer(CHECK_TIMEOUT))),
            Some(Ok(())) => Ok(()),
            Some(Err(error)) if is_refusal(&error) => Err(BucketError::Refused(error.to_string())),
            Some(Err(error)) => Err(BucketError::Unavailable(error.to_string())),
        }
    }

    /// Returns the objects of a log.
    pub fn objects(&self, log: LogId) -> BucketObjects {
        BucketObjects { bucket: self.clone(), root: self.prefix.clone().join(log.to_string()) }
    }
}

/// The outputs and artifacts of a log in a bucket.
pub struct BucketObjects {
    bucket: Bucket,
    root: Path,
}

impl BucketObjects {
    fn kind(&self, kind: ObjectKind) -> Path {
        self.root.clone().join(kind.as_str())
    }

    fn owner(&self, owner: &ObjectOwner) -> Path {
        self.kind(owner.kind).join(owner.name.as_str())
    }

    fn object(&self, owner: &ObjectOwner, part: &str) -> Path {
        part.split('/').fold(self.owner(owner), |path, name| path.join(name))
    }

    fn call<T: Send + 'static>(&self, call: impl Future<Output = Result<T, StoreError>> + Send + 'static) -> Result<T, ObjectError> {
        let done = self.bucket.io.wait(CALL_TIMEOUT, call).ok_or_else(|| ObjectError(no_answer(CALL_TIMEOUT)))?;
        done.map_err(|error| ObjectError(error.to_string()))
    }

    fn list(&self, under: Path) -> Result<Vec<ObjectMeta>, ObjectError> {
        let store = self.bucket.store.clone();
        self.call(async move { store.list(Some(&under)).try_collect().await })
    }
}

impl Objects for BucketObjects {
    /// The limits of the data directory are enough.
    fn bytes_max(&self, _: ObjectKind) -> u64 {
        u64::MAX
    }

    fn put(&self, objects: &[Object], _: Timestamp) -> Result<(), ObjectError> {
        let named: Vec<(Path, PutPayload)> =
            objects.iter().map(|object| (self.object(&object.owner, &object.part), object.content.clone().into())).collect();
        let store = self.bucket.store.clone();
        self.call(async move {
            let put = |(path, content): (Path, PutPayload)| {
                let store = store.clone();
                async move { store.put(&path, content).await }
            };
            stream::iter(named).map(put).buffered(REQUESTS_MAX).try_for_each(|_| async { Ok(()) }).await
        })
    }

    fn parts(&self, owner: &ObjectOwner) -> Result<Vec<ObjectPart>, ObjectError> {
        let under = self.owner(owner);
        let found = self.list(under.clone())?;
        let mut parts: Vec<ObjectPart> = found
            .iter()
            .filter_map(|meta| Some(ObjectPart { name: join_parts(meta.location.prefix_match(&under)?), bytes: meta.size }))
            .collect();
        parts.sort();
        Ok(parts)
    }

    fn get(&self, owner: &ObjectOwner, parts: &[String]) -> Result<Vec<Object>, ObjectError> {
        let named: Vec<(String, Path)> = parts.iter().map(|part| (part.clone(), self.object(owner, part))).collect();
        let (store, owner) = (self.bucket.store.clone(), owner.clone());
        self.call(async move {
            let get = |(part, path): (String, Path)| {
                let (store, owner) = (store.clone(), owner.clone());
                async move {
                    match store.get(&path).await {
                        Ok(found) => Ok(Some(Object { owner, part, content: found.bytes().await?.into() })),
                        Err(StoreError::NotFound { .. }) => Ok(None),
                        Err(error) => Err(error),
                    }
                }
            };
            let found: Vec<Option<Object>> = stream::iter(named).map(get).buffered(REQUESTS_MAX).try_collect().await?;
            Ok(found.into_iter().flatten().collect())
        })
    }

    fn expire(&self, kind: ObjectKind, limits: RetentionLimits, now: Timestamp) -> Result<u64, ObjectError> {
        let under = self.kind(kind);
        let mut things: BTreeMap<String, StoredThing<Vec<Path>>> = BTreeMap::new();
        for meta in self.list(under.clone())? {
            let Some(owner) = meta.location.prefix_match(&under).and_then(|mut names| names.next()) else { continue };
            let at = Timestamp::from_micros(meta.last_modified.timestamp_micros());
            let thing = things.entry(owner.as_ref().to_owned()).or_insert(StoredThing { at, bytes: 0, content: Vec::new() });
            thing.at = thing.at.max(at);
            thing.bytes = thing.bytes.saturating_add(meta.size);
            thing.content.push(meta.location);
        }
        let due = select_expired(things.into_values().collect(), limits, now);
        let removed = due.len() as u64;
        let due: Vec<_> = due.into_iter().flatten().map(Ok).collect();
        let store = self.bucket.store.clone();
        self.call(async move {
            let mut deleted = store.delete_stream(stream::iter(due).boxed());
            while let Some(path) = deleted.next().await {
                // Another node may have removed it.
                unless_missing(path)?;
            }
            Ok(removed)
        })
    }
}

/// Returns the settings of a provider among the variables of the environment.
fn settings<Key: FromStr>(provider: Provider, environment: impl Iterator<Item = (String, String)>) -> impl Iterator<Item = (Key, String)> {
    let named = environment.filter(move |(name, _)| name.starts_with(provider.variables()));
    named.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value)))
}

fn join_parts<'a>(names: impl Iterator<Item = object_store::path::PathPart<'a>>) -> String {
    names.map(|name| name.as_ref().to_owned()).collect::<Vec<_>>().join("/")
}

fn no_answer(limit: Duration) -> String {
    format!("no answer within {} s", limit.as_secs())
}

/// Ignores that an object is missing.
fn unless_missing<T>(done: Result<T, StoreError>) -> Result<(), StoreError> {
    match done {
        Ok(_) | Err(StoreError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Returns true if the same request will fail again: the bucket is missing, or the credentials are wrong or permit too little.
fn is_refusal(error: &StoreError) -> bool {
    match error {
        StoreError::NotFound { .. }
        | StoreError::PermissionDenied { .. }
        | StoreError::Unauthenticated { .. }
        | StoreError::NotSupported { .. } => true,
        // A refused list or removal has no variant of its own. A machine without a role answers a request for a token alike.
        StoreError::Generic { source, .. } => {
            let text = source.to_string();
            REFUSALS.iter().any(|refusal| text.contains(refusal)) && !text.contains("token request")
        }
        _ => false,
    }
}

/// The threads that send requests, so that any thread can wait for one, also a thread of another runtime.
struct Io(Option<Runtime>);

impl Io {
    fn start() -> io::Result<Self> {
        Builder::new_multi_thread().worker_threads(1).thread_name("bucket-io").enable_all().build().map(|runtime| Self(Some(runtime)))
    }

    /// Waits for a result on this thread. Returns `None` if it takes longer than the limit.
    fn wait<T: Send + 'static>(&self, limit: Duration, call: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (done, answer) = sync_channel(1);
        let task = self.0.as_ref()?.spawn(async move {
            // Nobody waits any longer if this fails.
            let _ = done.send(call.await);
        });
        let answered = answer.recv_timeout(limit).ok();
        task.abort();
        answered
    }
}

impl Drop for Io {
    /// A runtime must not be dropped by a thread of another one.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
